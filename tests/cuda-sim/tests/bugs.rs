//! Seeded bugs: a kernel that is right has no findings, in either order of blocks and warps, and with one mistake in it the right check
//! finds it. The kernels are in `kernels/bugs.cu`.

mod common;

use cuda_sim::{Argument, Check, Device, Finding, Geometry, Order};

/// Every kernel, and what must be found when it has its bug.
const BUGS: [(&str, Check); 21] = [
    ("barrier", Check::RaceInBlock),
    ("barrier_of_a_loop", Check::RaceInBlock),
    ("syncwarp", Check::RaceInBlock),
    ("atomic_in_block", Check::RaceInBlock),
    ("guard", Check::Bounds),
    ("off_by_one", Check::Bounds),
    ("before_the_first", Check::Bounds),
    ("shared_overrun", Check::Bounds),
    ("unwritten_global", Check::UninitialisedGlobal),
    ("unwritten_shared", Check::UninitialisedShared),
    ("write_across_blocks", Check::RaceBetweenBlocks),
    ("read_across_blocks", Check::RaceBetweenBlocks),
    ("divergent_barrier", Check::BarrierDivergence),
    ("return_before_barrier", Check::BarrierDivergence),
    ("shuffle_mask", Check::WarpMask),
    ("shuffle_mask_too_small", Check::WarpMask),
    ("misaligned_vector", Check::Alignment),
    ("wait_for_copy", Check::AsyncCopy),
    ("read_only", Check::ReadOnly),
    ("launch_bounds", Check::Launch),
    ("failed_assertion", Check::Trap),
];

/// Numbers of each kernel. Those that look at `n` have a last block that is not full.
const N: usize = 128;
const RAGGED: [&str; 4] = ["guard", "off_by_one", "before_the_first", "return_before_barrier"];

fn run(ptx: &str, kernel: &str, order: Order) -> Result<Vec<f32>, Finding> {
    let n = if RAGGED.contains(&kernel) { N - 28 } else { N };
    let mut device = Device::new();
    device.set_order(order);
    let module = device.load(ptx)?;
    let x: Vec<f32> = common::noise(n, 1);
    // The kernel that reads what nothing has written needs it so; the others must not be found for that.
    let y = if kernel == "unwritten_global" { device.alloc(4 * n) } else { device.upload(&vec![0f32; n]) };
    let x = device.upload(&x);
    let geometry = Geometry { grid: [2, 1, 1], block: [64, 1, 1], dynamic_shared: 0 };
    let arguments = [Argument::Pointer(x), Argument::Pointer(y), Argument::I32(n as i32)];
    device.launch(&module, kernel, geometry, &arguments)?;
    device.read(y, n)
}

#[test]
fn right_kernels_have_no_findings_and_do_not_depend_on_the_order() {
    for (from, ptx) in common::ptx::texts("bugs", &[], Some("bugs")) {
        for (kernel, _) in BUGS {
            let forward = run(&ptx, kernel, Order::Forward).unwrap_or_else(|finding| panic!("{from}: {finding}"));
            let reversed = run(&ptx, kernel, Order::Reversed).unwrap_or_else(|finding| panic!("{from}: {finding}"));
            assert_eq!(forward, reversed, "{from}: {kernel}");
        }
    }
}

#[test]
fn every_bug_is_found_by_its_check() {
    for (from, ptx) in common::ptx::texts("bugs", &["-DBUG"], Some("bugs_broken")) {
        for (kernel, check) in BUGS {
            for order in [Order::Forward, Order::Reversed] {
                let finding = run(&ptx, kernel, order).expect_err(kernel);
                assert_eq!(finding.check, check, "{from}, {order:?}: {finding}");
                assert!(finding.message.contains(&format!("kernel `{kernel}`")), "{finding}");
            }
        }
    }
}

/// What a finding says: kernel, line of the source, block, thread, what was done where, and why that is wrong.
#[test]
fn a_finding_says_all_that_is_known() {
    let texts = common::ptx::texts("bugs", &["-DBUG"], Some("bugs_broken"));
    let (_, ptx) = texts.last().unwrap();
    let of = |kernel| run(ptx, kernel, Order::Forward).unwrap_err().to_string();
    let finding = of("syncwarp");
    let wanted = "race within a block: kernel `syncwarp` (bugs.cu:41), block [0, 0, 0], thread [0, 0, 0]: \
                  a read of 4 bytes at byte 4 of shared memory, \
                  which thread [1, 0, 0] of the same block wrote with no barrier between; at `ld.shared.";
    assert!(finding.starts_with(wanted), "{finding}");
    let finding = of("write_across_blocks");
    let wanted = "which block [0, 0, 0] of the same launch wrote; at `st.global.";
    assert!(finding.contains(wanted), "{finding}");
    assert!(finding.contains("byte 0 of an allocation of 512"), "{finding}");
    let finding = of("shuffle_mask");
    assert!(
        finding.contains(": waits for lanes 0xffffffff, of which only 0x0000ffff come; at `shfl.sync.bfly.b32"),
        "{finding}"
    );
    let finding = of("launch_bounds");
    assert_eq!(
        finding,
        "impossible launch: kernel `launch_bounds`: 64 threads of a block are more than its __launch_bounds__(32)"
    );
}

#[test]
fn freed_memory_is_not_read() {
    let texts = common::ptx::texts("bugs", &[], Some("bugs"));
    let (_, ptx) = texts.last().unwrap();
    let mut device = Device::new();
    let module = device.load(ptx).unwrap();
    let (x, y) = (device.upload(&common::noise(N, 1)), device.alloc(4 * N));
    assert!(device.free(x));
    let geometry = Geometry { grid: [2, 1, 1], block: [64, 1, 1], dynamic_shared: 0 };
    let arguments = [Argument::Pointer(x), Argument::Pointer(y), Argument::I32(N as i32)];
    let finding = device.launch(&module, "guard", geometry, &arguments).unwrap_err();
    assert_eq!(finding.check, Check::Bounds);
    assert!(finding.message.contains("is in 512 bytes at"), "{finding}");
}
