//! Device memory: allocations at addresses of their own, with a shadow.
//!
//! Between allocations lie gaps, and an address is never given out twice: an access that is off, or late, hits nothing.

use crate::shadow::Shadow;

/// Where addresses begin.
const FIRST: u64 = 0x7_0000_0000;
/// What every allocation's address is a multiple of, as the driver's are.
const ALIGN: u64 = 256;
/// Bytes between allocations.
const GAP: u64 = 4096;
/// What the host finds where nothing was written: an f32 of -431602080.
const UNWRITTEN: u8 = 0xCD;

/// One allocation.
pub(crate) struct Allocation {
    /// Its address.
    pub(crate) base: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) shadow: Shadow,
}

impl Allocation {
    /// The address after it.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.data.len() as u64
    }
}

/// All allocations of a device.
#[derive(Default)]
pub(crate) struct Memory {
    /// By address.
    allocations: Vec<Allocation>,
    freed: Vec<(u64, u64)>,
    next: u64,
    used: usize,
}

impl Memory {
    /// Bytes that are allocated.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// A new allocation's address.
    pub(crate) fn allocate(&mut self, bytes: usize) -> u64 {
        let base = self.next.max(FIRST);
        self.next = (base + bytes as u64 + GAP).next_multiple_of(ALIGN);
        self.allocations.push(Allocation { base, data: vec![0; bytes], shadow: Shadow::new(bytes) });
        self.used += bytes;
        base
    }

    /// Whether there was an allocation at this address.
    pub(crate) fn free(&mut self, base: u64) -> bool {
        let Ok(at) = self.allocations.binary_search_by_key(&base, |allocation| allocation.base) else {
            return false;
        };
        let gone = self.allocations.remove(at);
        self.used -= gone.data.len();
        self.freed.push((gone.base, gone.end()));
        true
    }

    /// The number of the allocation that holds these bytes. It stays the same until something is freed.
    pub(crate) fn find(&self, address: u64, bytes: usize) -> Option<usize> {
        let at = self.allocations.partition_point(|allocation| allocation.base <= address).checked_sub(1)?;
        (address.checked_add(bytes as u64)? <= self.allocations[at].end()).then_some(at)
    }

    pub(crate) fn allocation(&mut self, at: usize) -> &mut Allocation {
        &mut self.allocations[at]
    }

    /// Why [`Memory::find`] found nothing.
    pub(crate) fn miss(&self, address: u64, bytes: usize) -> String {
        if let Some((base, end)) = self.freed.iter().find(|(base, end)| (*base..*end).contains(&address)) {
            return format!("is in {} bytes at {base:#x} that were freed", end - base);
        }
        let at = self.allocations.partition_point(|allocation| allocation.base <= address);
        let before = at.checked_sub(1).map(|at| &self.allocations[at]);
        let after = self.allocations.get(at);
        let past = before.map(|allocation| (address + bytes as u64).saturating_sub(allocation.end()));
        let short = after.map(|allocation| allocation.base - address);
        match (past, short) {
            (Some(past), short) if short.is_none_or(|short| past <= short) => {
                let before = before.map_or(0, |allocation| allocation.data.len());
                format!("ends {past} bytes past the end of an allocation of {before} bytes")
            }
            (_, Some(short)) => {
                let after = after.map_or(0, |allocation| allocation.data.len());
                format!("begins {short} bytes before an allocation of {after} bytes")
            }
            _ => "is in no allocation".into(),
        }
    }

    /// Copies from the host.
    ///
    /// # Errors
    ///
    /// When no allocation holds all of the bytes: where they are.
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.write_with(address, bytes.len(), |place| place.copy_from_slice(bytes))
    }

    /// The same with what `fill` puts there.
    pub(crate) fn write_with(
        &mut self,
        address: u64,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), String> {
        let at = self.find(address, bytes).ok_or_else(|| self.outside(address, bytes))?;
        let allocation = &mut self.allocations[at];
        let offset = (address - allocation.base) as usize;
        fill(&mut allocation.data[offset..offset + bytes]);
        allocation.shadow.host_write(offset, bytes);
        Ok(())
    }

    /// Copies to the host. Bytes that nothing has written are [`UNWRITTEN`].
    ///
    /// # Errors
    ///
    /// As [`Memory::write`].
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        let at = self.find(address, bytes.len()).ok_or_else(|| self.outside(address, bytes.len()))?;
        let allocation = &self.allocations[at];
        let offset = (address - allocation.base) as usize;
        bytes.copy_from_slice(&allocation.data[offset..offset + bytes.len()]);
        allocation.shadow.for_unwritten(offset, bytes.len(), |at| bytes[at] = UNWRITTEN);
        Ok(())
    }

    /// Copies from one place on the device to another. What was not written there is not written here.
    ///
    /// # Errors
    ///
    /// As [`Memory::write`].
    pub(crate) fn copy(&mut self, to: u64, from: u64, bytes: usize) -> Result<(), String> {
        let source = self.find(from, bytes).ok_or_else(|| self.outside(from, bytes))?;
        let dest = self.find(to, bytes).ok_or_else(|| self.outside(to, bytes))?;
        let allocation = &self.allocations[source];
        let offset = (from - allocation.base) as usize;
        let data = allocation.data[offset..offset + bytes].to_vec();
        let mut unwritten = Vec::new();
        allocation.shadow.for_unwritten(offset, bytes, |at| unwritten.push(at));
        let allocation = &mut self.allocations[dest];
        let offset = (to - allocation.base) as usize;
        allocation.data[offset..offset + bytes].copy_from_slice(&data);
        allocation.shadow.host_write(offset, bytes);
        unwritten.iter().for_each(|at| allocation.shadow.forget(offset + at));
        Ok(())
    }

    fn outside(&self, address: u64, bytes: usize) -> String {
        format!("a copy of {bytes} bytes at {address:#x} {}", self.miss(address, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_reads_what_it_wrote_and_sees_what_nobody_did() {
        let mut memory = Memory::default();
        let address = memory.allocate(8);
        memory.write(address + 1, &[1, 2]).unwrap();
        let mut bytes = [0; 4];
        memory.read(address, &mut bytes).unwrap();
        assert_eq!(bytes, [UNWRITTEN, 1, 2, UNWRITTEN]);
    }

    #[test]
    fn a_miss_says_what_is_near() {
        let mut memory = Memory::default();
        let first = memory.allocate(100);
        let second = memory.allocate(50);
        assert_eq!(memory.miss(first + 100, 4), "ends 4 bytes past the end of an allocation of 100 bytes");
        assert_eq!(memory.miss(second - 4, 4), "begins 4 bytes before an allocation of 50 bytes");
        assert!(memory.free(first) && !memory.free(first));
        assert_eq!(memory.miss(first + 8, 4), format!("is in 100 bytes at {first:#x} that were freed"));
        assert_eq!(memory.find(second, 50), Some(0));
        assert_eq!(memory.find(second, 51), None);
    }
}
