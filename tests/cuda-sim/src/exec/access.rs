//! How lanes get at memory, and what is checked on the way.

use crate::checks::{Check, Fault};
use crate::ptx::instruction::Address;
use crate::ptx::types::Space;
use crate::shadow::{Clock, Conflict, Kind};

use super::Block;
use super::warp::{LANES, Warp, Wide, lanes};

/// The bytes of one access, in a space that is not generic.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Of an allocation, by its number.
    Global(usize, usize),
    Shared(usize),
    Local(usize),
    Param(usize),
}

impl Block<'_> {
    /// The address of every lane.
    #[inline(always)]
    pub(crate) fn addresses(&self, warp: &Warp, address: Address) -> Wide {
        let base = self.wide(warp, address.base);
        base.map(|base| base.wrapping_add_signed(address.offset))
    }

    /// What lanes of `mask` find at their addresses.
    pub(crate) fn gather<const N: usize>(
        &mut self,
        warp: &Warp,
        space: Space,
        addresses: &Wide,
        mask: u32,
        kind: Kind,
    ) -> Result<[[u8; N]; LANES], Fault> {
        self.count(space, addresses, mask, N, false);
        // What is most done is named in a call of its own, so that it has a loop of its own.
        match (space, kind) {
            (Space::Global, Kind::Read) => self.gather_from(warp, Space::Global, addresses, mask, Kind::Read),
            (Space::Shared, Kind::Read) => self.gather_from(warp, Space::Shared, addresses, mask, Kind::Read),
            _ => self.gather_from(warp, space, addresses, mask, kind),
        }
    }

    #[inline(always)]
    fn gather_from<const N: usize>(
        &mut self,
        warp: &Warp,
        space: Space,
        addresses: &Wide,
        mask: u32,
        kind: Kind,
    ) -> Result<[[u8; N]; LANES], Fault> {
        let mut values = [[0; N]; LANES];
        for lane in lanes(mask) {
            let place = self.place(warp, lane, space, addresses[lane], N, kind)?;
            values[lane].copy_from_slice(self.bytes(warp, place, N));
        }
        Ok(values)
    }

    /// Puts values of lanes of `mask` at their addresses.
    pub(crate) fn scatter<const N: usize>(
        &mut self,
        warp: &mut Warp,
        space: Space,
        addresses: &Wide,
        values: &[[u8; N]; LANES],
        mask: u32,
        kind: Kind,
    ) -> Result<(), Fault> {
        self.count(space, addresses, mask, N, true);
        match (space, kind) {
            (Space::Global, Kind::Write) => self.scatter_to(warp, Space::Global, addresses, values, mask, Kind::Write),
            (Space::Shared, Kind::Write) => self.scatter_to(warp, Space::Shared, addresses, values, mask, Kind::Write),
            _ => self.scatter_to(warp, space, addresses, values, mask, kind),
        }
    }

    #[inline(always)]
    fn scatter_to<const N: usize>(
        &mut self,
        warp: &mut Warp,
        space: Space,
        addresses: &Wide,
        values: &[[u8; N]; LANES],
        mask: u32,
        kind: Kind,
    ) -> Result<(), Fault> {
        for lane in lanes(mask) {
            let place = self.place(warp, lane, space, addresses[lane], N, kind)?;
            self.put(warp, place, &values[lane]);
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn bytes<'s>(&'s mut self, warp: &'s Warp, place: Place, bytes: usize) -> &'s [u8] {
        match place {
            Place::Global(at, offset) => &self.memory.allocation(at).data[offset..offset + bytes],
            Place::Shared(offset) => &self.shared.data[offset..offset + bytes],
            Place::Local(offset) => &warp.local[offset..offset + bytes],
            Place::Param(offset) => &self.launch.params[offset..offset + bytes],
        }
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, warp: &mut Warp, place: Place, values: &[u8]) {
        let bytes = values.len();
        match place {
            Place::Global(at, offset) => {
                self.memory.allocation(at).data[offset..offset + bytes].copy_from_slice(values);
            }
            Place::Shared(offset) => self.shared.data[offset..offset + bytes].copy_from_slice(values),
            Place::Local(offset) => warp.local[offset..offset + bytes].copy_from_slice(values),
            // `place` lets nobody write there.
            Place::Param(_) => {}
        }
    }

    pub(crate) fn count(&mut self, space: Space, addresses: &Wide, mask: u32, bytes: usize, write: bool) {
        let space = match (space, lanes(mask).next()) {
            (Space::Generic, Some(lane)) => Space::of_generic(addresses[lane]).0,
            (space, _) => space,
        };
        match space {
            Space::Global => self.counters.global(addresses, mask, bytes, write),
            Space::Shared => self.counters.shared(&addresses.map(|address| address & 0xffff_ffff), mask, bytes),
            _ => {}
        }
    }

    /// Checks an access and takes note of it.
    #[inline(always)]
    pub(crate) fn place(
        &mut self,
        warp: &Warp,
        lane: usize,
        space: Space,
        address: u64,
        bytes: usize,
        kind: Kind,
    ) -> Result<Place, Fault> {
        let (space, address) = match space {
            Space::Generic => Space::of_generic(address),
            space => (space, address),
        };
        if address % bytes as u64 != 0 {
            let message = format!("{} of {bytes} bytes at {}", verb(kind), place_name(space, address));
            let message = format!("{message}, which is not a multiple of {bytes}");
            return Err(Fault::new(Check::Alignment, lane, message));
        }
        let thread = warp.number(lane);
        let outcome = match space {
            Space::Global | Space::Generic => {
                let at = self.allocation(lane, address, bytes, kind)?;
                let allocation = self.memory.allocation(at);
                let offset = (address - allocation.base) as usize;
                let noted = allocation.shadow.touch(offset, bytes, &self.clock, thread, kind, false);
                noted.map(|()| Place::Global(at, offset))
            }
            Space::Shared => {
                let offset = self.within(lane, space, address, bytes, self.shared.data.len(), kind)?;
                // What other blocks did to it was another memory.
                let clock = Clock { launch: self.clock.block, ..self.clock };
                let noted = self.shared.shadow.touch(offset, bytes, &clock, thread, kind, true);
                noted.map(|()| Place::Shared(offset))
            }
            Space::Local => {
                let offset = self.within(lane, space, address, bytes, warp.local_bytes, kind)?;
                Ok(Place::Local(lane * warp.local_bytes + offset))
            }
            Space::Param => {
                let reads = matches!(kind, Kind::Read | Kind::ReadOnly | Kind::StrongRead);
                let size = if reads { self.launch.params.len() } else { 0 };
                Ok(Place::Param(self.within(lane, space, address, bytes, size, kind)?))
            }
        };
        outcome.map_err(|conflict| self.conflict(lane, space, address, bytes, kind, conflict))
    }

    /// The number of the allocation that holds all bytes of an access.
    #[inline(always)]
    fn allocation(&mut self, lane: usize, address: u64, bytes: usize, kind: Kind) -> Result<usize, Fault> {
        let (base, end) = self.last_allocation;
        if address >= base && address + bytes as u64 <= end {
            return Ok(self.last_number);
        }
        let Some(at) = self.memory.find(address, bytes) else {
            let why = self.memory.miss(address, bytes);
            let message = format!("{} of {bytes} bytes at {address:#x} {why}", verb(kind));
            return Err(Fault::new(Check::Bounds, lane, message));
        };
        let allocation = self.memory.allocation(at);
        self.last_allocation = (allocation.base, allocation.end());
        self.last_number = at;
        Ok(at)
    }

    #[inline(always)]
    fn within(
        &self,
        lane: usize,
        space: Space,
        address: u64,
        bytes: usize,
        size: usize,
        kind: Kind,
    ) -> Result<usize, Fault> {
        if address <= size as u64 && address + bytes as u64 <= size as u64 {
            return Ok(address as usize);
        }
        let message =
            format!("{} of {bytes} bytes at {} is outside of its {size} bytes", verb(kind), place_name(space, address));
        Err(Fault::new(Check::Bounds, lane, message))
    }

    #[cold]
    fn conflict(
        &mut self,
        lane: usize,
        space: Space,
        address: u64,
        bytes: usize,
        kind: Kind,
        conflict: Conflict,
    ) -> Fault {
        let what = format!("{} of {bytes} bytes at {}", verb(kind), self.describe(space, address, bytes));
        let did = |wrote: bool| if wrote { "wrote" } else { "read" };
        let (check, why) = match conflict {
            Conflict::Uninitialised if space == Space::Shared => {
                (Check::UninitialisedShared, "which this block has not written".into())
            }
            Conflict::Uninitialised => (Check::UninitialisedGlobal, "which nothing has written".into()),
            Conflict::InFlight => (Check::AsyncCopy, "into which a copy that was not waited for goes".into()),
            Conflict::NotReadOnly => {
                (Check::ReadOnly, "through the read-only cache, which this launch has written".into())
            }
            Conflict::Thread { other, wrote } => {
                let who = other.map_or("other threads".into(), |other| {
                    format!("thread {:?} of the same block", self.thread_index(other))
                });
                (Check::RaceInBlock, format!("which {who} {} with no barrier between", did(wrote)))
            }
            Conflict::Block { time, wrote } => {
                let at = self.starts.partition_point(|(start, _)| *start <= time);
                let block = at.checked_sub(1).map_or([0; 3], |at| self.starts[at].1);
                (Check::RaceBetweenBlocks, format!("which block {block:?} of the same launch {}", did(wrote)))
            }
        };
        Fault::new(check, lane, format!("{what}, {why}"))
    }

    fn thread_index(&self, number: u32) -> [u32; 3] {
        let [x, y, _] = self.launch.block;
        [number % x, number / x % y, number / x / y]
    }

    fn describe(&mut self, space: Space, address: u64, bytes: usize) -> String {
        match (space, self.memory.find(address, bytes)) {
            (Space::Global, Some(at)) => {
                let allocation = self.memory.allocation(at);
                let (offset, size) = (address - allocation.base, allocation.data.len());
                format!("{address:#x}, byte {offset} of an allocation of {size}")
            }
            _ => place_name(space, address),
        }
    }
}

fn place_name(space: Space, address: u64) -> String {
    match space {
        Space::Global | Space::Generic => format!("{address:#x}"),
        Space::Shared => format!("byte {address} of shared memory"),
        Space::Local => format!("byte {address} of local memory"),
        Space::Param => format!("byte {address} of the parameters"),
    }
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Read | Kind::ReadOnly | Kind::StrongRead => "a read",
        Kind::Write | Kind::StrongWrite => "a write",
        Kind::Atomic => "an atomic",
        Kind::AsyncWrite => "a copy",
    }
}
