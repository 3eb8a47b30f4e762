//! Branches, calls and what warps do together, in PTX that no compiler wrote: shapes that NVRTC makes only now and then.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use cuda_sim::{Argument, Check, Counters, Device, Finding, Geometry};

/// A kernel with `y` in %rd1 and the thread's number in %r1, which leaves what is in %r2 at `y[thread]`.
fn kernel(declarations: &str, body: &str) -> String {
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n{declarations}\n.visible .entry k(.param .u64 y) {{
        .reg .pred %p<8>; .reg .b32 %r<16>; .reg .b64 %rd<8>; .reg .f32 %f<8>; .shared .align 4 .b32 s[64];
        ld.param.u64 %rd1, [y]; mov.u32 %r1, %tid.x; mov.u32 %r2, 0; setp.lt.u32 %p1, %r1, 5;
        {body}
        DONE: mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2; st.global.u32 [%rd2], %r2; ret; }}"
    )
}

fn run(ptx: &str, threads: u32) -> Result<(Vec<u32>, Counters), Finding> {
    let mut device = Device::new();
    device.set_max_instructions(100_000);
    let module = device.load(ptx)?;
    let y = device.alloc(4 * threads as usize);
    let geometry = Geometry { grid: [1, 1, 1], block: [threads, 1, 1], dynamic_shared: 0 };
    let counters = device.launch(&module, "k", geometry, &[Argument::Pointer(y)])?;
    Ok((device.read(y, threads as usize)?, counters))
}

fn values(body: &str, threads: u32) -> Vec<u32> {
    run(&kernel("", body), threads).unwrap().0
}

fn finding(body: &str, threads: u32) -> Finding {
    run(&kernel("", body), threads).unwrap_err()
}

fn each(threads: u32, value: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..threads).map(value).collect()
}

#[test]
fn lanes_that_went_far_away_come_back_to_a_barrier() {
    let body = "@%p1 bra FAR; mov.u32 %r2, 1;
        BACK: bar.sync 0; add.u32 %r2, %r2, 10; bra DONE;
        FAR: mov.u32 %r2, 2; bra BACK;";
    assert_eq!(values(body, 40), each(40, |thread| if thread < 5 { 12 } else { 11 }));
}

#[test]
fn lanes_that_went_far_away_come_back_to_a_shuffle() {
    let body = "@%p1 bra FAR; mov.u32 %r2, %r1;
        BACK: shfl.sync.idx.b32 %r2, %r2, 3, 31, -1; bra DONE;
        FAR: add.u32 %r2, %r1, 100; bra BACK;";
    assert_eq!(values(body, 64), each(64, |thread| if thread < 32 { 103 } else { 35 }));
}

#[test]
fn every_lane_has_as_many_rounds_as_it_wants() {
    let body = "mov.u32 %r3, 0;
        NEXT: setp.ge.u32 %p2, %r3, %r1; @%p2 bra DONE;
        add.u32 %r2, %r2, 7; add.u32 %r3, %r3, 1; bra.uni NEXT;";
    let (found, counters) = run(&kernel("", body), 32).unwrap();
    assert_eq!(found, each(32, |thread| 7 * thread));
    assert!(counters.divergent_instructions > 0);
    // The lanes go round together as long as they do: not each for itself.
    assert!(counters.warp_instructions < 5 * 33 + 12, "{counters:?}");
}

#[test]
fn a_table_of_branches() {
    let body = "and.b32 %r3, %r1, 3; mov.u32 %r2, 9;
        table: .branchtargets A, B, DONE, A;
        brx.idx %r3, table;
        A: mov.u32 %r2, 1; bra DONE;
        B: mov.u32 %r2, 2;";
    assert_eq!(values(body, 32), each(32, |thread| [1, 2, 9, 1][thread as usize % 4]));
}

#[test]
fn calls_are_written_out() {
    let twice = ".func (.param .b32 out) twice(.param .b32 in) {
        .reg .b32 %r<4>; .reg .pred %p<2>; ld.param.b32 %r1, [in]; setp.gt.u32 %p1, %r1, 20; mov.u32 %r2, 1;
        st.param.b32 [out], %r2; @%p1 ret; add.u32 %r2, %r1, %r1; st.param.b32 [out], %r2; ret; }";
    let call =
        "{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; call.uni (b), twice, (a); ld.param.b32 %r2, [b]; }";
    let again = call.replace("[a], %r1", "[a], %r2");
    let (found, _) = run(&kernel(twice, &format!("{call} {again}")), 32).unwrap();
    let f = |value| if value > 20 { 1 } else { 2 * value };
    assert_eq!(found, each(32, |thread| f(f(thread))));
}

#[test]
fn barriers_that_vote() {
    let body = "setp.ge.u32 %p2, %r1, 50; bar.red.popc.u32 %r2, 0, %p2; bar.red.or.pred %p3, 0, %p2; bar.red.and.pred %p4, 0, %p2;
        selp.u32 %r3, 100, 0, %p3; selp.u32 %r4, 1000, 0, %p4; add.u32 %r2, %r2, %r3; add.u32 %r2, %r2, %r4;";
    assert_eq!(values(body, 64), each(64, |_| 114));
}

#[test]
fn halves_of_a_warp_take_part_with_masks_of_their_own() {
    let body = "setp.lt.u32 %p2, %r1, 16; selp.b32 %r3, 0xffff, 0xffff0000, %p2; vote.sync.ballot.b32 %r2, %p1, %r3;";
    assert_eq!(values(body, 32), each(32, |thread| if thread < 16 { 0x1f } else { 0 }));
}

#[test]
fn what_does_not_come_together_is_found() {
    let two_barriers = finding("@%p1 bra A; bar.sync 0; bra DONE; A: bar.sync 0;", 32);
    assert_eq!(two_barriers.check, Check::BarrierDivergence);
    assert!(two_barriers.message.contains("waits at another barrier than thread"), "{two_barriers}");
    let not_in_own_mask = finding("vote.sync.ballot.b32 %r2, %p1, 0xff;", 32);
    assert!(not_in_own_mask.message.contains("lane 8 is not in its own mask 0x000000ff"), "{not_in_own_mask}");
    let only_some = finding("@%p1 bra DONE; bar.warp.sync -1;", 32);
    assert_eq!(only_some.check, Check::WarpMask);
    assert!(only_some.message.contains("waits for lanes 0xffffffff, of which only 0xffffffe0 come"), "{only_some}");
    let from_outside = finding("shfl.sync.down.b32 %r2, %r1, 8, 31, 0xffff;", 16);
    assert!(from_outside.message.contains("lane 8 reads from lane 16, which does not take part"), "{from_outside}");
}

#[test]
fn what_a_kernel_did_that_was_stopped_is_past_for_the_next() {
    let mut device = Device::new();
    let y = device.alloc(4 * 32);
    let geometry = Geometry { grid: [1, 1, 1], block: [32, 1, 1], dynamic_shared: 0 };
    let mut run = |body: &str| {
        let module = device.load(&kernel("", body)).unwrap();
        device.launch(&module, "k", geometry, &[Argument::Pointer(y)])
    };
    let stopped = "mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2; bar.sync 0; bar.sync 0; bar.warp.sync -1;
        st.global.u32 [%rd2], %r1; trap;";
    assert_eq!(run(stopped).unwrap_err().check, Check::Trap);
    let reversed = "xor.b32 %r3, %r1, 31; mul.wide.u32 %rd2, %r3, 4; add.s64 %rd2, %rd1, %rd2; ld.global.u32 %r2, [%rd2]; bar.sync 0;";
    run(reversed).unwrap();
    assert_eq!(device.read::<u32>(y, 32).unwrap(), each(32, |thread| 31 - thread));
}

#[test]
fn a_kernel_that_does_not_end_is_stopped() {
    let endless = finding("AGAIN: add.u32 %r2, %r2, 1; bra AGAIN;", 32);
    assert_eq!(endless.check, Check::Endless);
    assert!(endless.message.contains("still runs after 100000 instructions"), "{endless}");
}

#[test]
fn what_is_not_known_is_named_when_the_module_loads() {
    let refused = |body: &str| run(&kernel("", body), 32).unwrap_err();
    for (body, wanted) in [
        ("wgmma.fence.sync.aligned;", "unknown instruction in `wgmma.fence.sync.aligned`"),
        ("add.sideways.u32 %r2, %r1, %r1;", "unknown modifier `.sideways` in `add.sideways.u32 %r2, %r1, %r1`"),
        ("add.u32 %r2, %r1;", "2 operands, where 3 should be, in `add.u32 %r2, %r1`"),
        ("bar.sync 1, 64;", "2 operands, where 1 should be, in `bar.sync 1, 64`"),
        ("bar.sync 1;", "only barrier 0 is supported in `bar.sync 1`"),
        ("mov.u32 %r2, %q7;", "`%q7` is not known here"),
        ("bra NOWHERE;", "there is no label `NOWHERE`"),
        ("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 %r1, %r1, %r1, %r1;", "unknown modifier `.m8n8k4` in `mma."),
        ("call.uni missing;", "the function `missing` is called, but not known"),
        ("cp.async.ca.shared.global [%r2], [%rd1], 4, %p1;", "a predicate that lets the source be ignored"),
        ("lop3.b32 %r2, %r1, %r1, %r1, %r1;", "operand 4 must be a number"),
        ("selp.u32 %r2, 1, 2, %r1;", "operand 3 must be a predicate"),
        ("sqrt.rz.f32 %f1, %f1;", "only rounding to nearest is supported"),
        ("ld.global.v4.b64 {%rd3, %rd4, %rd5, %rd6}, [%rd1];", "a vector of 4 elements of 8 bytes"),
        ("add.u32 %r2 %r1;", "`;` should stand here, but `%r1` does"),
    ] {
        let finding = refused(body);
        assert_eq!(finding.check, Check::Module);
        assert!(finding.message.starts_with("PTX line 8: ") && finding.message.contains(wanted), "{body}: {finding}");
    }
}

#[test]
fn a_launch_must_fit_the_kernel() {
    let mut device = Device::new();
    let module = device.load(&kernel("", "")).unwrap();
    let y = device.alloc(4);
    let geometry = Geometry { grid: [1, 1, 1], block: [1, 1, 1], dynamic_shared: 0 };
    let mut refused = |kernel: &str, geometry: Geometry, arguments: &[Argument]| {
        let finding = device.launch(&module, kernel, geometry, arguments).unwrap_err();
        assert_eq!(finding.check, Check::Launch);
        finding.message
    };
    let y = [Argument::Pointer(y)];
    assert_eq!(refused("l", geometry, &y), "there is no kernel `l`");
    assert_eq!(refused("k", geometry, &[]), "kernel `k` has 1 parameters, not 0");
    let wrong = refused("k", geometry, &[Argument::I32(1)]);
    assert_eq!(wrong, "parameter `y` of kernel `k` has 8 bytes, and I32(1) has 4");
    assert!(refused("k", Geometry { block: [2048, 1, 1], ..geometry }, &y).contains("a block of [2048, 1, 1] threads"));
    assert!(refused("k", Geometry { grid: [1, 70_000, 1], ..geometry }, &y).contains("a grid of [1, 70000, 1] blocks"));
    let most = refused("k", Geometry { dynamic_shared: 300_000, ..geometry }, &y);
    assert!(most.contains("300000 bytes of dynamic shared memory"), "{most}");
}
