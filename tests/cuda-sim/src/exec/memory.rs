//! Loads, stores, atomics and asynchronous copies.

use crate::checks::{Check, Fault};
use crate::ptx::instruction::{Access, Address, AtomicOp, Dest, Source};
use crate::ptx::types::{Space, Type};
use crate::shadow::Kind;

use super::Block;
use super::warp::{LANES, Pending, Warp, Wide, lanes};

/// Calls a method for the size of an access, which PTX has only these of.
macro_rules! for_size {
    ($bytes:expr, $self:ident.$method:ident($($argument:expr),*)) => {
        match $bytes {
            1 => $self.$method::<1>($($argument),*),
            2 => $self.$method::<2>($($argument),*),
            4 => $self.$method::<4>($($argument),*),
            8 => $self.$method::<8>($($argument),*),
            _ => $self.$method::<16>($($argument),*),
        }
    };
}

impl Block<'_> {
    pub(crate) fn load(&mut self, warp: &mut Warp, access: &Access, dest: &[Dest], mask: u32) -> Result<(), Fault> {
        if let (Space::Param, Source::Number(base)) = (access.space, access.address.base) {
            self.load_param(warp, access.ty, base.wrapping_add_signed(access.address.offset), dest, mask);
            return Ok(());
        }
        for_size!(access.ty.bytes() * dest.len(), self.load_bytes(warp, access, dest, mask))
    }

    /// All lanes read the same parameter.
    fn load_param(&self, warp: &mut Warp, ty: Type, offset: u64, dest: &[Dest], mask: u32) {
        for (at, dest) in dest.iter().enumerate() {
            let offset = offset as usize + at * ty.bytes();
            let bytes = self.launch.params.get(offset..offset + ty.bytes()).unwrap_or_default();
            warp.write64(*dest, &[extend(ty, bytes); LANES], mask);
        }
    }

    fn load_bytes<const N: usize>(
        &mut self,
        warp: &mut Warp,
        access: &Access,
        dest: &[Dest],
        mask: u32,
    ) -> Result<(), Fault> {
        let addresses = self.addresses(warp, access.address);
        let kind = match access {
            Access { strong: true, .. } => Kind::StrongRead,
            Access { read_only: true, .. } => Kind::ReadOnly,
            _ => Kind::Read,
        };
        let values = self.gather::<N>(warp, access.space, &addresses, mask, kind)?;
        let size = access.ty.bytes();
        for (at, dest) in dest.iter().enumerate() {
            match size {
                4 => {
                    let values = std::array::from_fn(|lane| word(&values[lane], 4 * at));
                    warp.write32(*dest, &values, mask);
                }
                _ => {
                    let bytes = at * size..(at + 1) * size;
                    let values = std::array::from_fn(|lane| extend(access.ty, &values[lane][bytes.clone()]));
                    warp.write64(*dest, &values, mask);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn store(
        &mut self,
        warp: &mut Warp,
        access: &Access,
        sources: &[Source],
        mask: u32,
    ) -> Result<(), Fault> {
        for_size!(access.ty.bytes() * sources.len(), self.store_bytes(warp, access, sources, mask))
    }

    fn store_bytes<const N: usize>(
        &mut self,
        warp: &mut Warp,
        access: &Access,
        sources: &[Source],
        mask: u32,
    ) -> Result<(), Fault> {
        let addresses = self.addresses(warp, access.address);
        let size = access.ty.bytes();
        let mut values = [[0; N]; LANES];
        for (at, source) in sources.iter().enumerate() {
            let source = self.wide(warp, *source);
            for lane in 0..LANES {
                values[lane][at * size..(at + 1) * size].copy_from_slice(&source[lane].to_le_bytes()[..size]);
            }
        }
        let kind = if access.strong { Kind::StrongWrite } else { Kind::Write };
        self.scatter::<N>(warp, access.space, &addresses, &values, mask, kind)
    }

    pub(crate) fn atomic(
        &mut self,
        warp: &mut Warp,
        op: AtomicOp,
        access: &Access,
        dest: Dest,
        operands: [Source; 2],
        mask: u32,
    ) -> Result<(), Fault> {
        self.counters.atomics += u64::from(mask.count_ones());
        let addresses = self.addresses(warp, access.address);
        let [a, b] = operands.map(|operand| self.wide(warp, operand));
        let size = access.ty.bytes();
        let mut before: Wide = [0; LANES];
        for lane in lanes(mask) {
            let place = self.place(warp, lane, access.space, addresses[lane], size, Kind::Atomic)?;
            before[lane] = extend(access.ty, self.bytes(warp, place, size));
            let after = combine(op, access.ty, before[lane], access.ty.extend(a[lane]), access.ty.extend(b[lane]));
            self.put(warp, place, &after.to_le_bytes()[..size]);
        }
        warp.write64(dest, &before, mask);
        Ok(())
    }

    /// `cp.async`: the bytes are there at once, and not to be touched until the copy has been waited for.
    pub(crate) fn copy_async(
        &mut self,
        warp: &mut Warp,
        shared: Address,
        global: Address,
        bytes: usize,
        source_bytes: Option<Source>,
        mask: u32,
    ) -> Result<(), Fault> {
        let to = self.addresses(warp, shared);
        let from = self.addresses(warp, global);
        let wanted = source_bytes.map_or([bytes as u32; LANES], |source| self.narrow(warp, source));
        let reading = lanes(mask).filter(|&lane| wanted[lane] > 0).fold(0, |reading, lane| reading | 1 << lane);
        self.count(Space::Global, &from, reading, bytes, false);
        self.count(Space::Shared, &to, mask, bytes, true);
        for lane in lanes(mask) {
            let wanted = wanted[lane] as usize;
            if wanted > bytes {
                let message = format!("a copy of {bytes} bytes cannot take {wanted} of its source");
                return Err(Fault::new(Check::Bounds, lane, message));
            }
            if wanted > 0 && !from[lane].is_multiple_of(bytes as u64) {
                let message = format!("a copy of {bytes} bytes from {:#x}, which is not a multiple of it", from[lane]);
                return Err(Fault::new(Check::Alignment, lane, message));
            }
            let mut values = [0; 16];
            // The part of the source that is wanted need not be one access.
            let step = if wanted.is_multiple_of(4) { 4 } else { 1 };
            for at in (0..wanted).step_by(step) {
                let place = self.place(warp, lane, Space::Global, from[lane] + at as u64, step, Kind::Read)?;
                values[at..at + step].copy_from_slice(self.bytes(warp, place, step));
            }
            let place = self.place(warp, lane, Space::Shared, to[lane], bytes, Kind::AsyncWrite)?;
            self.put(warp, place, &values[..bytes]);
            warp.copies.push(Pending { lane, offset: to[lane] as usize, bytes, group: warp.groups[lane] });
        }
        Ok(())
    }

    /// Waits for all groups of copies `but` the last so many, or for all copies.
    pub(crate) fn copy_wait(&mut self, warp: &mut Warp, but: Option<u32>, mask: u32) {
        let (now, at) = (self.clock.now, warp.at);
        let (shadow, groups) = (&mut self.shared.shadow, &warp.groups);
        warp.copies.retain(|copy| {
            let done =
                mask >> copy.lane & 1 != 0 && but.is_none_or(|but| copy.group.saturating_add(but) < groups[copy.lane]);
            if done {
                shadow.land(copy.offset, copy.bytes, now, (at * LANES + copy.lane) as u32);
            }
            !done
        });
    }
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The value of a type that stands in memory, as a register has it.
#[inline(always)]
fn extend(ty: Type, bytes: &[u8]) -> u64 {
    let mut value = [0; 8];
    value[..bytes.len()].copy_from_slice(bytes);
    ty.extend(u64::from_le_bytes(value))
}

/// What an atomic leaves where `old` was.
fn combine(op: AtomicOp, ty: Type, old: u64, a: u64, b: u64) -> u64 {
    match (op, ty) {
        (AtomicOp::Add, Type::F32) => (f32::from_bits(old as u32) + f32::from_bits(a as u32)).to_bits().into(),
        (AtomicOp::Add, Type::F64) => (f64::from_bits(old) + f64::from_bits(a)).to_bits(),
        (AtomicOp::Exchange, _) => a,
        (AtomicOp::CompareAndSwap, _) => {
            if old == a {
                b
            } else {
                old
            }
        }
        (AtomicOp::Inc, _) => {
            if old >= a {
                0
            } else {
                old + 1
            }
        }
        (AtomicOp::Dec, _) => {
            if old == 0 || old > a {
                a
            } else {
                old - 1
            }
        }
        (AtomicOp::Add, _) => old.wrapping_add(a),
        (AtomicOp::Min, _) if ty.signed() => (old as i64).min(a as i64) as u64,
        (AtomicOp::Min, _) => old.min(a),
        (AtomicOp::Max, _) if ty.signed() => (old as i64).max(a as i64) as u64,
        (AtomicOp::Max, _) => old.max(a),
        (AtomicOp::And, _) => old & a,
        (AtomicOp::Or, _) => old | a,
        (AtomicOp::Xor, _) => old ^ a,
    }
}

/// The same on numbers of 32 bits, for reductions.
pub(crate) fn combine32(op: AtomicOp, signed: bool, a: u32, b: u32) -> u32 {
    let ty = if signed { Type::S32 } else { Type::U32 };
    combine(op, ty, ty.extend(a.into()), ty.extend(b.into()), 0) as u32
}
