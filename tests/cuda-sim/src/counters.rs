//! What is counted while kernels run.

use std::ops::AddAssign;

/// Counts of one kernel, or of several.
///
/// The layout is that of C: an exported function of the driver fills it in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Counters {
    /// How often the kernel ran.
    pub launches: u64,
    /// Blocks of all launches.
    pub blocks: u64,
    /// Instructions of warps.
    pub warp_instructions: u64,
    /// The same, each counted for every lane that executed it.
    pub lane_instructions: u64,
    /// Instructions that a warp executed with only a part of its threads that still run.
    pub divergent_instructions: u64,
    /// Multiplications with an addition, of lanes.
    pub fma: u64,
    /// Matrix products of warps.
    pub mma: u64,
    /// Loads of global memory by a warp.
    pub load_requests: u64,
    /// Sectors of 32 bytes that these loads touched: 4 for each request of 32 neighbouring f32.
    pub load_sectors: u64,
    /// Stores to global memory by a warp.
    pub store_requests: u64,
    /// Sectors that these stores touched.
    pub store_sectors: u64,
    /// Loads and stores of shared memory by a warp.
    pub shared_requests: u64,
    /// How often the banks of shared memory were passed for these.
    pub shared_passes: u64,
    /// Passes beyond those that a request without conflicts takes: 1 for 4 bytes of each lane, 2 for 8, 4 for 16.
    pub bank_conflicts: u64,
    /// Atomics, of lanes.
    pub atomics: u64,
    /// Barriers of blocks.
    pub barriers: u64,
    /// Nanoseconds on this machine, which say nothing of a GPU.
    pub nanoseconds: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.launches += other.launches;
        self.blocks += other.blocks;
        self.warp_instructions += other.warp_instructions;
        self.lane_instructions += other.lane_instructions;
        self.divergent_instructions += other.divergent_instructions;
        self.fma += other.fma;
        self.mma += other.mma;
        self.load_requests += other.load_requests;
        self.load_sectors += other.load_sectors;
        self.store_requests += other.store_requests;
        self.store_sectors += other.store_sectors;
        self.shared_requests += other.shared_requests;
        self.shared_passes += other.shared_passes;
        self.bank_conflicts += other.bank_conflicts;
        self.atomics += other.atomics;
        self.barriers += other.barriers;
        self.nanoseconds += other.nanoseconds;
    }
}

/// What a program asked the driver to do: a step of training may be one graph launch that runs many kernels.
///
/// The layout is that of C, as above.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Activity {
    /// Kernels that were launched one by one.
    pub kernel_launches: u64,
    /// Graphs that were launched.
    pub graph_launches: u64,
    /// Kernels that ran, those of graphs among them.
    pub kernels: u64,
    /// Copies to and from the host, and their bytes.
    pub copies_to_device: u64,
    /// Bytes of these.
    pub bytes_to_device: u64,
    /// Copies from the device to the host.
    pub copies_to_host: u64,
    /// Bytes of these.
    pub bytes_to_host: u64,
    /// Allocations of device memory.
    pub allocations: u64,
    /// Waits of the host for the device.
    pub waits: u64,
    /// Modules that were loaded.
    pub modules: u64,
}

impl Counters {
    /// Counts a request to global memory: the sectors that the lanes touch.
    pub(crate) fn global(&mut self, addresses: &[u64; 32], lanes: u32, bytes: usize, write: bool) {
        let mut seen = [0u64; 64];
        let mut count = 0;
        for (lane, &address) in addresses.iter().enumerate() {
            if lanes >> lane & 1 == 0 {
                continue;
            }
            let (first, last) = (address >> 5, (address + bytes as u64 - 1) >> 5);
            for sector in first..=last {
                if count > 0 && (seen[count - 1] == sector || seen[..count].contains(&sector)) {
                    continue;
                }
                seen[count] = sector;
                count += 1;
            }
        }
        let (requests, sectors) = if write {
            (&mut self.store_requests, &mut self.store_sectors)
        } else {
            (&mut self.load_requests, &mut self.load_sectors)
        };
        *requests += 1;
        *sectors += count as u64;
    }

    /// Counts a request to shared memory: a bank gives one word of 4 bytes each pass, and wide accesses are made by halves and quarters of
    /// the warp.
    pub(crate) fn shared(&mut self, addresses: &[u64; 32], lanes: u32, bytes: usize) {
        let words = bytes.div_ceil(4);
        let group = 32 / words;
        let mut passes = 0;
        for first in (0..32).step_by(group) {
            let members = lanes & ((u64::MAX >> (64 - group)) << first) as u32;
            passes += passes_of(addresses, members, words as u64);
        }
        self.shared_requests += 1;
        self.shared_passes += passes;
        self.bank_conflicts += passes - words as u64;
    }
}

/// How often the banks are passed until all lanes have their words: as often as the bank of which most different words are wanted.
fn passes_of(addresses: &[u64; 32], lanes: u32, words: u64) -> u64 {
    let wanted = |lane: usize| addresses[lane] / 4..addresses[lane] / 4 + words;
    let members = (0..32).filter(|lane| lanes >> lane & 1 != 0);
    let mut held = [u64::MAX; 32];
    let mut most = 1;
    for word in members.clone().flat_map(wanted) {
        let holder = &mut held[(word % 32) as usize];
        if *holder == u64::MAX {
            *holder = word;
        } else if *holder != word {
            most = 2;
        }
    }
    if most == 1 {
        return 1;
    }
    // There are conflicts, so it is worth to look closely.
    let mut wanted: Vec<u64> = members.flat_map(wanted).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut counts = [0; 32];
    wanted.iter().for_each(|word| counts[(word % 32) as usize] += 1);
    counts.into_iter().max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(of: impl Fn(u64) -> u64) -> [u64; 32] {
        std::array::from_fn(|lane| of(lane as u64))
    }

    #[test]
    fn sectors_of_a_request() {
        let mut counters = Counters::default();
        counters.global(&addresses(|lane| 4 * lane), !0, 4, false);
        assert_eq!((counters.load_requests, counters.load_sectors), (1, 4));
        counters.global(&addresses(|lane| 4 + 4 * lane), !0, 4, true);
        assert_eq!((counters.store_requests, counters.store_sectors), (1, 5));
        counters.global(&addresses(|lane| 128 * lane), 0xffff, 16, false);
        assert_eq!((counters.load_requests, counters.load_sectors), (2, 4 + 16));
        counters.global(&addresses(|lane| 128 * (lane % 2)), !0, 4, false);
        assert_eq!(counters.load_sectors, 4 + 16 + 2);
    }

    #[test]
    fn conflicts_of_banks() {
        let conflicts = |bytes, of: &dyn Fn(u64) -> u64| {
            let mut counters = Counters::default();
            counters.shared(&addresses(of), !0, bytes);
            counters.bank_conflicts
        };
        assert_eq!(conflicts(4, &|lane| 4 * lane), 0);
        assert_eq!(conflicts(4, &|_| 64), 0);
        assert_eq!(conflicts(4, &|lane| 8 * lane), 1);
        assert_eq!(conflicts(4, &|lane| 128 * lane), 31);
        assert_eq!(conflicts(16, &|lane| 16 * lane), 0);
    }
}
