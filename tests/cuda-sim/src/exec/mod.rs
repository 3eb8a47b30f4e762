//! Runs a kernel: block after block, and the warps of a block in turns, each until it waits for the others.
//!
//! The threads of a warp are executed together, as many as stand at the same instruction; see [`control`] for how they part and meet again.

mod access;
mod compare;
mod control;
mod convert;
mod float;
mod half;
mod int;
mod memory;
mod tensor;
mod warp;
mod warp_ops;

use std::time::Instant;

use crate::checks::{Check, Fault, Finding};
use crate::counters::Counters;
use crate::memory::Memory;
use crate::ptx::instruction::{Kernel, VoteMode};
use crate::shadow::{Clock, FIRST_LAUNCH, Shadow};
use warp::{LANES, Warp};

/// The most threads of a block, and bytes of shared memory of one: those of sm_90.
pub(crate) const MAX_THREADS: u32 = 1024;
pub(crate) const MAX_SHARED: usize = 227 * 1024;
/// Without leave, a launch may have so much shared memory: `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` gives leave for more.
pub(crate) const DEFAULT_SHARED: usize = 48 * 1024;
/// Blocks along the three axes.
const MAX_GRID: [u32; 3] = [0x7fff_ffff, 0xffff, 0xffff];

/// A kernel that runs longer, for minutes, is taken to be endless.
pub(crate) const MAX_INSTRUCTIONS: u64 = 2_000_000_000;

/// In which order blocks and warps run. What a kernel computes must not depend on it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Order {
    /// The first one first.
    #[default]
    Forward,
    /// The last one first.
    Reversed,
}

/// A launch of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Launch<'a> {
    /// What is run.
    pub(crate) kernel: &'a Kernel,
    /// Blocks along x, y and z.
    pub(crate) grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub(crate) block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub(crate) dynamic_shared: usize,
    /// The most of these that the kernel has leave for.
    pub(crate) max_dynamic_shared: usize,
    /// All parameters, where the kernel expects them.
    pub(crate) params: &'a [u8],
    /// Of blocks and of warps.
    pub(crate) order: Order,
    /// Instructions of warps, after which a kernel is taken to be endless.
    pub(crate) max_instructions: u64,
}

/// Runs a launch, from `time` on, which it moves on.
///
/// # Errors
///
/// The first rule that is broken. What was written until then stays written.
pub(crate) fn run(
    launch: &Launch,
    memory: &mut Memory,
    time: &mut u64,
    counters: &mut Counters,
) -> Result<(), Finding> {
    let threads = check(launch)?;
    let start = Instant::now();
    let shared_bytes = launch.kernel.shared_bytes + launch.dynamic_shared;
    let begin = (*time).max(FIRST_LAUNCH);
    let mut block = Block {
        launch,
        memory,
        shared: SharedMemory { data: vec![0; shared_bytes], shadow: Shadow::new(shared_bytes) },
        counters,
        index: [0; 3],
        clock: Clock { launch: begin, block: begin, barrier: begin, now: begin },
        starts: Vec::new(),
        last_allocation: (0, 0),
        last_number: 0,
        fma: fused_multiply_add(),
    };
    block.counters.launches += 1;
    let mut warps: Vec<Warp> = (0..threads.div_ceil(LANES)).map(|at| Warp::new(launch, at, threads)).collect();
    let blocks = launch.grid.iter().map(|&blocks| u64::from(blocks)).product::<u64>();
    let mut result = Ok(());
    for turn in 0..blocks {
        let at = match launch.order {
            Order::Forward => turn,
            Order::Reversed => blocks - 1 - turn,
        };
        result = block.run(at, &mut warps);
        if result.is_err() {
            break;
        }
    }
    // A block that was stopped had gone on from where it began.
    *time = warps.iter().map(|warp| warp.time).fold(block.clock.block.max(block.clock.now), u64::max) + 1;
    counters.nanoseconds += start.elapsed().as_nanos() as u64;
    result
}

/// How many threads a block of this launch has, if it is possible.
fn check(launch: &Launch) -> Result<usize, Finding> {
    let Launch { kernel, grid, block, .. } = launch;
    let wrong =
        |message: String| Err(Finding::new(Check::Launch, format!("kernel `{}`: {message}", launch.kernel.name)));
    let threads = block.iter().map(|&threads| u64::from(threads)).product::<u64>();
    if threads == 0 || threads > MAX_THREADS.into() || block[2] > 64 {
        return wrong(format!("a block of {block:?} threads is not possible: 1 to {MAX_THREADS}, at most 64 along z"));
    }
    if grid.iter().zip(MAX_GRID).any(|(&blocks, most)| blocks == 0 || blocks > most) {
        return wrong(format!("a grid of {grid:?} blocks is not possible: 1 to {MAX_GRID:?}"));
    }
    if let Some(most) = kernel.max_threads.filter(|&most| threads > most.into()) {
        return wrong(format!("{threads} threads of a block are more than its __launch_bounds__({most})"));
    }
    if launch.dynamic_shared > launch.max_dynamic_shared.min(MAX_SHARED - kernel.shared_bytes) {
        return wrong(format!(
            "{} bytes of dynamic shared memory are more than the {} that it has leave for beside its own {}; \
             CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES gives leave for at most {MAX_SHARED} together",
            launch.dynamic_shared, launch.max_dynamic_shared, kernel.shared_bytes
        ));
    }
    if launch.params.len() != kernel.param_bytes {
        return wrong(format!("{} bytes of parameters, where {} should be", launch.params.len(), kernel.param_bytes));
    }
    Ok(threads as usize)
}

/// Whether this processor multiplies and adds in one instruction.
fn fused_multiply_add() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

struct SharedMemory {
    data: Vec<u8>,
    shadow: Shadow,
}

/// The block that runs, and what it works on.
struct Block<'a> {
    launch: &'a Launch<'a>,
    memory: &'a mut Memory,
    shared: SharedMemory,
    counters: &'a mut Counters,
    index: [u32; 3],
    /// Its `now` is that of the warp that runs.
    clock: Clock,
    /// When each block of the launch began, in the order in which they ran.
    starts: Vec<(u64, [u32; 3])>,
    /// Where the last global access was, and the number of that allocation: the next is likely to be there too.
    last_allocation: (u64, u64),
    last_number: usize,
    fma: bool,
}

impl Block<'_> {
    fn run(&mut self, at: u64, warps: &mut [Warp]) -> Result<(), Finding> {
        let [x, y, _] = self.launch.grid.map(u64::from);
        self.index = [(at % x) as u32, (at / x % y) as u32, (at / x / y) as u32];
        let start = self.clock.block + 1;
        self.clock = Clock { launch: self.clock.launch, block: start, barrier: start, now: start };
        self.starts.push((start, self.index));
        self.counters.blocks += 1;
        for warp in warps.iter_mut() {
            warp.start(start);
        }
        let count = warps.len();
        loop {
            for turn in 0..count {
                let at = match self.launch.order {
                    Order::Forward => turn,
                    Order::Reversed => count - 1 - turn,
                };
                let warp = &mut warps[at];
                self.clock.now = warp.time;
                self.run_warp(warp).map_err(|(pc, fault)| self.finding(warp, pc, fault))?;
                warp.time = self.clock.now;
            }
            let end = warps.iter().map(|warp| warp.time).max().unwrap_or(start) + 1;
            if warps.iter().all(|warp| warp.live == 0) {
                // The next block begins after everything that this one did.
                self.clock.block = end;
                return Ok(());
            }
            self.release(warps)?;
            self.counters.barriers += 1;
            self.clock.barrier = end;
            for warp in warps.iter_mut() {
                warp.time = end;
            }
        }
    }

    /// Lets all threads pass the barrier at which they wait, if it is the same one.
    fn release(&mut self, warps: &mut [Warp]) -> Result<(), Finding> {
        let mut meeting = None;
        for warp in warps.iter() {
            for lane in warp.lanes_at_barrier() {
                let first = *meeting.get_or_insert((warp.pc[lane], warp.thread(lane)));
                if first.0 != warp.pc[lane] {
                    let message = format!(
                        "thread {:?} waits at another barrier than thread {:?}, which waits at `{}`",
                        warp.thread(lane),
                        first.1,
                        self.launch.kernel.code[first.0 as usize].text
                    );
                    let fault = Fault::new(Check::BarrierDivergence, lane, message);
                    return Err(self.finding(warp, warp.pc[lane], fault));
                }
            }
        }
        let Some((pc, _)) = meeting else { return Ok(()) };
        for warp in warps.iter() {
            if let Some(lane) = warp.first_without_barrier() {
                let message = "this barrier is not for all threads of the block: this one ended before";
                let fault = Fault::new(Check::BarrierDivergence, lane, message);
                return Err(self.finding(warp, pc, fault));
            }
        }
        let count = warps.iter().map(|warp| warp.vote.count_ones()).sum::<u32>();
        let all = warps.iter().all(|warp| warp.vote & warp.live == warp.live);
        for warp in warps.iter_mut() {
            if let Some((mode, dest)) = warp.voting.take() {
                match mode {
                    VoteMode::Ballot => warp.write32(dest, &[count; LANES], warp.live),
                    VoteMode::Any => warp.write_pred(dest, if count > 0 { !0 } else { 0 }, warp.live),
                    VoteMode::All | VoteMode::Uniform => warp.write_pred(dest, if all { !0 } else { 0 }, warp.live),
                }
            }
            warp.vote = 0;
            warp.pass_barrier();
        }
        Ok(())
    }

    /// A finding with all that is known of where it happened.
    fn finding(&self, warp: &Warp, pc: u32, fault: Fault) -> Finding {
        let instruction = &self.launch.kernel.code[pc as usize];
        let mut message = format!("kernel `{}`", self.launch.kernel.name);
        if let Some(loc) = &instruction.loc {
            message += &format!(" ({loc})");
        }
        message += &format!(", block {:?}", self.index);
        match fault.lane {
            Some(lane) => message += &format!(", thread {:?}", warp.thread(lane)),
            None => message += &format!(", warp {}", warp.at),
        }
        message += &format!(": {}; at `{}` (PTX line {})", fault.message, instruction.text, instruction.line);
        Finding { check: fault.check, message }
    }
}
