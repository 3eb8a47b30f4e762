//! A warp: its registers, and where its threads are.

use crate::ptx::instruction::{Comparison, Dest, Source, Special, VoteMode};

use super::Launch;

/// Threads of a warp.
pub(crate) const LANES: usize = 32;

/// A value of every lane.
pub(crate) type Narrow = [u32; LANES];
pub(crate) type Wide = [u64; LANES];

/// The lanes of a mask, the lowest first.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = rest.trailing_zeros() as usize;
        (rest != 0).then(|| {
            rest &= rest - 1;
            lane
        })
    })
}

/// A copy into shared memory that was not waited for.
pub(crate) struct Pending {
    pub(crate) lane: usize,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
    /// Which of its lane's groups it belongs to.
    pub(crate) group: u32,
}

pub(crate) struct Warp {
    /// Its number in the block.
    pub(crate) at: usize,
    /// Lanes that the block has threads for.
    pub(crate) present: u32,
    /// Those that have not ended.
    pub(crate) live: u32,
    /// Those that wait for the block.
    pub(crate) at_barrier: u32,
    /// Those that wait for other lanes, at an instruction that they execute together.
    pub(crate) parked: u32,
    /// Where each lane is; while lanes are executed their counter is elsewhere, see `control`.
    pub(crate) pc: [u32; LANES],
    /// See `shadow`.
    pub(crate) time: u64,
    pub(crate) narrow: Vec<Narrow>,
    pub(crate) wide: Vec<Wide>,
    pub(crate) predicates: Vec<u32>,
    /// Of all lanes, one after another.
    pub(crate) local: Vec<u8>,
    pub(crate) local_bytes: usize,
    /// What lanes say at a barrier that votes, and where the outcome goes.
    pub(crate) vote: u32,
    pub(crate) voting: Option<(VoteMode, Dest)>,
    pub(crate) copies: Vec<Pending>,
    /// How many groups of copies each lane has closed.
    pub(crate) groups: [u32; LANES],
    thread: [Narrow; 3],
    threads: [u32; 3],
    blocks: [u32; 3],
    warps: u32,
    static_shared: u32,
    dynamic_shared: u32,
}

impl Warp {
    pub(crate) fn new(launch: &Launch, at: usize, threads: usize) -> Warp {
        let kernel = launch.kernel;
        let [x, y, _] = launch.block;
        let number: Narrow = std::array::from_fn(|lane| (at * LANES + lane) as u32);
        let left = (threads - at * LANES).min(LANES);
        Warp {
            at,
            present: (u64::MAX >> (64 - left)) as u32,
            live: 0,
            at_barrier: 0,
            parked: 0,
            pc: [0; LANES],
            time: 0,
            narrow: vec![[0; LANES]; kernel.registers.narrow],
            wide: vec![[0; LANES]; kernel.registers.wide],
            predicates: vec![0; kernel.registers.predicates],
            local: vec![0; kernel.local_bytes * LANES],
            local_bytes: kernel.local_bytes,
            vote: 0,
            voting: None,
            copies: Vec::new(),
            groups: [0; LANES],
            thread: [number.map(|at| at % x), number.map(|at| at / x % y), number.map(|at| at / x / y)],
            threads: launch.block,
            blocks: launch.grid,
            warps: threads.div_ceil(LANES) as u32,
            static_shared: kernel.shared_bytes as u32,
            dynamic_shared: launch.dynamic_shared as u32,
        }
    }

    /// At the beginning of a block.
    pub(crate) fn start(&mut self, time: u64) {
        self.live = self.present;
        self.at_barrier = 0;
        self.parked = 0;
        self.pc = [0; LANES];
        self.time = time;
        self.vote = 0;
        self.copies.clear();
        self.groups = [0; LANES];
    }

    /// The index of a lane's thread in its block.
    pub(crate) fn thread(&self, lane: usize) -> [u32; 3] {
        self.thread.map(|axis| axis[lane])
    }

    /// The number of a lane's thread in its block.
    pub(crate) fn number(&self, lane: usize) -> u32 {
        (self.at * LANES + lane) as u32
    }

    pub(crate) fn lanes_at_barrier(&self) -> impl Iterator<Item = usize> {
        lanes(self.at_barrier)
    }

    /// A lane that ended instead of coming to the barrier.
    pub(crate) fn first_without_barrier(&self) -> Option<usize> {
        lanes(self.present & !self.at_barrier).next()
    }

    pub(crate) fn pass_barrier(&mut self) {
        for lane in lanes(self.at_barrier) {
            self.pc[lane] += 1;
        }
        self.at_barrier = 0;
    }

    #[inline(always)]
    pub(crate) fn read32(&self, source: Source, block: &[u32; 3], clock: u64) -> Narrow {
        match source {
            Source::Narrow(at) => self.narrow[at as usize],
            Source::Number(value) => [value as u32; LANES],
            Source::Wide(at) => self.wide[at as usize].map(|value| value as u32),
            Source::Pred(_) | Source::NotPred(_) => {
                let bits = self.read_pred(source);
                std::array::from_fn(|lane| bits >> lane & 1)
            }
            Source::Special(special) => self.special(special, block, clock),
        }
    }

    #[inline(always)]
    pub(crate) fn read64(&self, source: Source, block: &[u32; 3], clock: u64) -> Wide {
        match source {
            Source::Wide(at) => self.wide[at as usize],
            Source::Number(value) => [value; LANES],
            Source::Special(Special::Clock) => [clock; LANES],
            _ => self.read32(source, block, clock).map(u64::from),
        }
    }

    /// A predicate, or whether a number is not zero.
    pub(crate) fn read_pred(&self, source: Source) -> u32 {
        match source {
            Source::Pred(at) => self.predicates[at as usize],
            Source::NotPred(at) => !self.predicates[at as usize],
            Source::Number(0) => 0,
            Source::Number(_) => !0,
            _ => 0,
        }
    }

    #[inline(always)]
    pub(crate) fn write32(&mut self, dest: Dest, values: &Narrow, mask: u32) {
        match dest {
            Dest::Narrow(at) if mask == !0 => self.narrow[at as usize] = *values,
            Dest::Narrow(at) => merge(&mut self.narrow[at as usize], values, mask),
            Dest::Wide(at) => merge(&mut self.wide[at as usize], &values.map(u64::from), mask),
            Dest::Pred(_) | Dest::Nowhere => {}
        }
    }

    #[inline(always)]
    pub(crate) fn write64(&mut self, dest: Dest, values: &Wide, mask: u32) {
        match dest {
            Dest::Wide(at) if mask == !0 => self.wide[at as usize] = *values,
            Dest::Wide(at) => merge(&mut self.wide[at as usize], values, mask),
            Dest::Narrow(_) => self.write32(dest, &values.map(|value| value as u32), mask),
            Dest::Pred(_) | Dest::Nowhere => {}
        }
    }

    pub(crate) fn write_pred(&mut self, dest: Dest, values: u32, mask: u32) {
        if let Dest::Pred(at) = dest {
            let predicate = &mut self.predicates[at as usize];
            *predicate = (*predicate & !mask) | (values & mask);
        }
    }

    fn special(&self, special: Special, block: &[u32; 3], clock: u64) -> Narrow {
        match special {
            Special::Thread(axis) => self.thread[axis as usize],
            Special::Threads(axis) => [self.threads[axis as usize]; LANES],
            Special::Block(axis) => [block[axis as usize]; LANES],
            Special::Blocks(axis) => [self.blocks[axis as usize]; LANES],
            Special::Lane => std::array::from_fn(|lane| lane as u32),
            Special::Warp => [self.at as u32; LANES],
            Special::Warps => [self.warps; LANES],
            Special::LaneMask(how) => std::array::from_fn(|lane| {
                let own = 1u32 << lane;
                match how {
                    Comparison::Lt => own - 1,
                    Comparison::Le => own | (own - 1),
                    Comparison::Gt => !(own | (own - 1)),
                    Comparison::Ge => !(own - 1),
                    _ => own,
                }
            }),
            Special::Clock => [clock as u32; LANES],
            Special::DynamicShared => [self.static_shared; LANES],
            Special::DynamicSharedBytes => [self.dynamic_shared; LANES],
            Special::Zero => [0; LANES],
        }
    }
}

#[inline(always)]
fn merge<T: Copy>(place: &mut [T; LANES], values: &[T; LANES], mask: u32) {
    for lane in 0..LANES {
        if mask >> lane & 1 != 0 {
            place[lane] = values[lane];
        }
    }
}
