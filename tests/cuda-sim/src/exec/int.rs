//! Arithmetic on integers of 16, 32 and 64 bits.

use crate::ptx::instruction::{Dest, IntOp, Source};
use crate::ptx::types::Type;

use super::Block;
use super::warp::{LANES, Narrow, Warp, Wide};

impl Block<'_> {
    /// The value of every lane.
    #[inline(always)]
    pub(crate) fn narrow(&self, warp: &Warp, source: Source) -> Narrow {
        warp.read32(source, &self.index, self.counters.warp_instructions)
    }

    #[inline(always)]
    pub(crate) fn wide(&self, warp: &Warp, source: Source) -> Wide {
        warp.read64(source, &self.index, self.counters.warp_instructions)
    }

    pub(crate) fn int(&self, warp: &mut Warp, op: IntOp, ty: Type, dest: Dest, sources: &[Source; 4], mask: u32) {
        match ty.bytes() {
            8 => self.int64(warp, op, ty.signed(), dest, sources, mask),
            4 => self.int32(warp, op, ty.signed(), dest, sources, mask),
            _ => self.int16(warp, op, ty, dest, sources, mask),
        }
    }

    /// As 32 bits, which are cut off again: a register of 16 bits may hold anything above them.
    fn int16(&self, warp: &mut Warp, op: IntOp, ty: Type, dest: Dest, sources: &[Source; 4], mask: u32) {
        let extend = |values: Narrow| values.map(|value| ty.extend(value.into()) as u32);
        let [a, b, c, _] = sources.map(|source| self.narrow(warp, source));
        // The amount of a shift is no 16 bits.
        let shift = matches!(op, IntOp::Shl | IntOp::Shr);
        let (a, b, c) = (extend(a), if shift { b } else { extend(b) }, extend(c));
        let sources: [Narrow; 4] = [a, b, c, [0; LANES]];
        let values = match op {
            IntOp::MulHi => lanewise(|lane| (a[lane] as i32).wrapping_mul(b[lane] as i32) as u32 >> 16),
            IntOp::Clz => lanewise(|lane| (a[lane] & 0xffff).leading_zeros() - 16),
            _ => int32(op, ty.signed(), &sources),
        };
        warp.write32(dest, &values.map(|value| value & 0xffff), mask);
    }

    fn int32(&self, warp: &mut Warp, op: IntOp, signed: bool, dest: Dest, sources: &[Source; 4], mask: u32) {
        if op == IntOp::Move {
            let values = self.narrow(warp, sources[0]);
            return warp.write32(dest, &values, mask);
        }
        let sources = sources.map(|source| self.narrow(warp, source));
        warp.write32(dest, &int32(op, signed, &sources), mask);
    }

    fn int64(&self, warp: &mut Warp, op: IntOp, signed: bool, dest: Dest, sources: &[Source; 4], mask: u32) {
        let a = self.wide(warp, sources[0]);
        if op == IntOp::Move {
            return warp.write64(dest, &a, mask);
        }
        let b = self.wide(warp, sources[1]);
        let c = if matches!(op, IntOp::MadLo | IntOp::MadHi | IntOp::Bfe | IntOp::Bfi) {
            self.wide(warp, sources[2])
        } else {
            [0; LANES]
        };
        let d = if op == IntOp::Bfi { self.narrow(warp, sources[3]) } else { [0; LANES] };
        warp.write64(dest, &int64(op, signed, &a, &b, &c, &d), mask);
    }

    /// `mul.wide` and `mad.wide`
    pub(crate) fn multiply_wide(
        &self,
        warp: &mut Warp,
        ty: Type,
        dest: Dest,
        factors: [Source; 2],
        add: Option<Source>,
        mask: u32,
    ) {
        let [a, b] = factors.map(|factor| self.narrow(warp, factor));
        let c = add.map_or([0; LANES], |add| self.wide(warp, add));
        let values: Wide = match ty {
            Type::S32 => lanewise(|lane| (i64::from(a[lane] as i32) * i64::from(b[lane] as i32)) as u64),
            Type::U32 => lanewise(|lane| u64::from(a[lane]) * u64::from(b[lane])),
            _ => lanewise(|lane| ty.extend(a[lane].into()).wrapping_mul(ty.extend(b[lane].into()))),
        };
        warp.write64(dest, &lanewise(|lane| values[lane].wrapping_add(c[lane])), mask);
    }
}

#[inline(always)]
fn lanewise<T>(value: impl Fn(usize) -> T) -> [T; LANES] {
    std::array::from_fn(value)
}

#[inline(always)]
fn map(a: &Narrow, f: impl Fn(u32) -> u32) -> Narrow {
    lanewise(|lane| f(a[lane]))
}

#[inline(always)]
fn map2(a: &Narrow, b: &Narrow, f: impl Fn(u32, u32) -> u32) -> Narrow {
    lanewise(|lane| f(a[lane], b[lane]))
}

/// The same of two signed numbers.
#[inline(always)]
fn signed2(a: &Narrow, b: &Narrow, f: impl Fn(i32, i32) -> i32) -> Narrow {
    lanewise(|lane| f(a[lane] as i32, b[lane] as i32) as u32)
}

/// The upper half of a product.
#[inline(always)]
fn high(a: u32, b: u32, signed: bool) -> u32 {
    if signed {
        ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32
    } else {
        ((u64::from(a) * u64::from(b)) >> 32) as u32
    }
}

fn int32(op: IntOp, signed: bool, [a, b, c, d]: &[Narrow; 4]) -> Narrow {
    match op {
        IntOp::Move => *a,
        IntOp::Add => map2(a, b, u32::wrapping_add),
        IntOp::AddSat => signed2(a, b, i32::saturating_add),
        IntOp::Sub => map2(a, b, u32::wrapping_sub),
        IntOp::SubSat => signed2(a, b, i32::saturating_sub),
        IntOp::MulLo => map2(a, b, u32::wrapping_mul),
        IntOp::MulHi => map2(a, b, |a, b| high(a, b, signed)),
        IntOp::MadLo => lanewise(|lane| a[lane].wrapping_mul(b[lane]).wrapping_add(c[lane])),
        IntOp::MadHi => lanewise(|lane| high(a[lane], b[lane], signed).wrapping_add(c[lane])),
        IntOp::Sad if signed => lanewise(|lane| (a[lane] as i32).abs_diff(b[lane] as i32).wrapping_add(c[lane])),
        IntOp::Sad => lanewise(|lane| a[lane].abs_diff(b[lane]).wrapping_add(c[lane])),
        // What the hardware gives for a division by zero; PTX leaves it open.
        IntOp::Div if signed => signed2(a, b, |a, b| if b == 0 { -1 } else { a.wrapping_div(b) }),
        IntOp::Div => map2(a, b, |a, b| a.checked_div(b).unwrap_or(u32::MAX)),
        IntOp::Rem if signed => signed2(a, b, |a, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        IntOp::Rem => map2(a, b, |a, b| a.checked_rem(b).unwrap_or(a)),
        IntOp::Min if signed => signed2(a, b, i32::min),
        IntOp::Min => map2(a, b, u32::min),
        IntOp::Max if signed => signed2(a, b, i32::max),
        IntOp::Max => map2(a, b, u32::max),
        IntOp::Abs => map(a, |a| (a as i32).unsigned_abs()),
        IntOp::Neg => map(a, u32::wrapping_neg),
        IntOp::And => map2(a, b, |a, b| a & b),
        IntOp::Or => map2(a, b, |a, b| a | b),
        IntOp::Xor => map2(a, b, |a, b| a ^ b),
        IntOp::Not => map(a, |a| !a),
        IntOp::Cnot => map(a, |a| u32::from(a == 0)),
        // Amounts beyond the width shift everything out.
        IntOp::Shl => map2(a, b, |a, b| a.checked_shl(b).unwrap_or(0)),
        IntOp::Shr if signed => map2(a, b, |a, b| ((a as i32) >> b.min(31)) as u32),
        IntOp::Shr => map2(a, b, |a, b| a.checked_shr(b).unwrap_or(0)),
        IntOp::Popc => map(a, u32::count_ones),
        IntOp::Clz => map(a, u32::leading_zeros),
        IntOp::Brev => map(a, u32::reverse_bits),
        IntOp::Bfind => map(a, |a| highest_bit(a, signed)),
        IntOp::BfindShift => map(a, |a| match highest_bit(a, signed) {
            u32::MAX => u32::MAX,
            bit => 31 - bit,
        }),
        IntOp::Bfe => lanewise(|lane| extract(a[lane].into(), b[lane], c[lane], 32, signed) as u32),
        IntOp::Bfi => lanewise(|lane| insert(a[lane].into(), b[lane].into(), c[lane], d[lane], 32) as u32),
        IntOp::Prmt => lanewise(|lane| permute(a[lane], b[lane], c[lane])),
        IntOp::Lop3(table) => logic(table, a, b, c),
        IntOp::Dot { high } => lanewise(|lane| dot(a[lane], if high { b[lane] >> 16 } else { b[lane] }, c[lane])),
        IntOp::FunnelLeft { clamp } => lanewise(|lane| {
            let amount = funnel_amount(c[lane], clamp);
            ((u64::from(b[lane]) << 32 | u64::from(a[lane])) << amount >> 32) as u32
        }),
        IntOp::FunnelRight { clamp } => lanewise(|lane| {
            let amount = funnel_amount(c[lane], clamp);
            ((u64::from(b[lane]) << 32 | u64::from(a[lane])) >> amount) as u32
        }),
    }
}

fn int64(op: IntOp, signed: bool, a: &Wide, b: &Wide, c: &Wide, d: &Narrow) -> Wide {
    let high = |a: u64, b: u64| {
        if signed {
            ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64
        } else {
            ((u128::from(a) * u128::from(b)) >> 64) as u64
        }
    };
    match op {
        IntOp::Add => lanewise(|lane| a[lane].wrapping_add(b[lane])),
        IntOp::Sub => lanewise(|lane| a[lane].wrapping_sub(b[lane])),
        IntOp::MulLo => lanewise(|lane| a[lane].wrapping_mul(b[lane])),
        IntOp::MulHi => lanewise(|lane| high(a[lane], b[lane])),
        IntOp::MadLo => lanewise(|lane| a[lane].wrapping_mul(b[lane]).wrapping_add(c[lane])),
        IntOp::MadHi => lanewise(|lane| high(a[lane], b[lane]).wrapping_add(c[lane])),
        IntOp::Div if signed => lanewise(|lane| match b[lane] as i64 {
            0 => u64::MAX,
            b => (a[lane] as i64).wrapping_div(b) as u64,
        }),
        IntOp::Div => lanewise(|lane| a[lane].checked_div(b[lane]).unwrap_or(u64::MAX)),
        IntOp::Rem if signed => lanewise(|lane| match b[lane] as i64 {
            0 => a[lane],
            b => (a[lane] as i64).wrapping_rem(b) as u64,
        }),
        IntOp::Rem => lanewise(|lane| a[lane].checked_rem(b[lane]).unwrap_or(a[lane])),
        IntOp::Min if signed => lanewise(|lane| (a[lane] as i64).min(b[lane] as i64) as u64),
        IntOp::Min => lanewise(|lane| a[lane].min(b[lane])),
        IntOp::Max if signed => lanewise(|lane| (a[lane] as i64).max(b[lane] as i64) as u64),
        IntOp::Max => lanewise(|lane| a[lane].max(b[lane])),
        IntOp::Abs => lanewise(|lane| (a[lane] as i64).unsigned_abs()),
        IntOp::Neg => lanewise(|lane| a[lane].wrapping_neg()),
        IntOp::And => lanewise(|lane| a[lane] & b[lane]),
        IntOp::Or => lanewise(|lane| a[lane] | b[lane]),
        IntOp::Xor => lanewise(|lane| a[lane] ^ b[lane]),
        IntOp::Not => lanewise(|lane| !a[lane]),
        IntOp::Cnot => lanewise(|lane| u64::from(a[lane] == 0)),
        IntOp::Shl => lanewise(|lane| a[lane].checked_shl(b[lane] as u32).unwrap_or(0)),
        IntOp::Shr if signed => lanewise(|lane| ((a[lane] as i64) >> (b[lane] as u32).min(63)) as u64),
        IntOp::Shr => lanewise(|lane| a[lane].checked_shr(b[lane] as u32).unwrap_or(0)),
        IntOp::Popc => lanewise(|lane| a[lane].count_ones().into()),
        IntOp::Clz => lanewise(|lane| a[lane].leading_zeros().into()),
        IntOp::Brev => lanewise(|lane| a[lane].reverse_bits()),
        IntOp::Bfind => lanewise(|lane| {
            let value = if signed && (a[lane] as i64) < 0 { !a[lane] } else { a[lane] };
            value.checked_ilog2().unwrap_or(u32::MAX).into()
        }),
        IntOp::Bfe => lanewise(|lane| extract(a[lane], b[lane] as u32, c[lane] as u32, 64, signed)),
        IntOp::Bfi => lanewise(|lane| insert(a[lane], b[lane], c[lane] as u32, d[lane], 64)),
        // The first is no arithmetic, and the others are refused on 64 bits when the module loads.
        IntOp::Move
        | IntOp::AddSat
        | IntOp::SubSat
        | IntOp::Sad
        | IntOp::BfindShift
        | IntOp::Prmt
        | IntOp::Lop3(_)
        | IntOp::Dot { .. }
        | IntOp::FunnelLeft { .. }
        | IntOp::FunnelRight { .. } => unreachable!("{op:?} on 64 bits"),
    }
}

/// Two halves times two bytes, and a sum.
fn dot(halves: u32, bytes: u32, sum: u32) -> u32 {
    let products = (halves & 0xffff) * (bytes & 0xff) + (halves >> 16) * (bytes >> 8 & 0xff);
    products.wrapping_add(sum)
}

fn highest_bit(value: u32, signed: bool) -> u32 {
    let value = if signed && (value as i32) < 0 { !value } else { value };
    value.checked_ilog2().unwrap_or(u32::MAX)
}

fn funnel_amount(amount: u32, clamp: bool) -> u32 {
    if clamp { amount.min(32) } else { amount & 31 }
}

/// `bfe`: `length` bits from `position` on, of so many as `bits`.
fn extract(value: u64, position: u32, length: u32, bits: u32, signed: bool) -> u64 {
    let (position, length) = (position & 0xff, (length & 0xff).min(bits));
    if length == 0 {
        return 0;
    }
    // The sign is that of the last bit there is.
    let last = (position + length - 1).min(bits - 1);
    let negative = signed && value >> last & 1 != 0;
    let field = value.checked_shr(position).unwrap_or(0);
    let taken = if length == 64 { u64::MAX } else { (1 << length) - 1 };
    let there = bits.saturating_sub(position);
    let known = if there >= 64 { u64::MAX } else { (1 << there) - 1 };
    let fill = if negative { !(taken & known) } else { 0 };
    field & taken & known | fill
}

/// `bfi`: `value` into `length` bits of `into` from `position` on.
fn insert(value: u64, into: u64, position: u32, length: u32, bits: u32) -> u64 {
    let (position, length) = (position & 0xff, (length & 0xff).min(bits));
    let taken = if length == 64 { u64::MAX } else { (1 << length) - 1 };
    let place = u64::checked_shl(taken, position).unwrap_or(0);
    into & !place | value.checked_shl(position).unwrap_or(0) & place
}

/// `prmt` in its plain mode: each nibble of `selector` picks a byte of `b:a`, or with its highest bit that byte's sign.
fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    (0..4).fold(0, |result, place| {
        let pick = selector >> (4 * place) & 0xf;
        let byte = (bytes >> (8 * (pick & 7))) as u8;
        let byte = if pick & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        result | u32::from(byte) << (8 * place)
    })
}

/// `lop3`: bit `4a + 2b + c` of the table is the result.
fn logic(table: u8, a: &Narrow, b: &Narrow, c: &Narrow) -> Narrow {
    let mut result = [0; LANES];
    for term in (0..8u8).filter(|term| table >> term & 1 != 0) {
        let flip = |bit: u8| if term & bit != 0 { 0 } else { u32::MAX };
        let (not_a, not_b, not_c) = (flip(4), flip(2), flip(1));
        for lane in 0..LANES {
            result[lane] |= (a[lane] ^ not_a) & (b[lane] ^ not_b) & (c[lane] ^ not_c);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(op: IntOp, signed: bool, [a, b, c, d]: [u32; 4]) -> u32 {
        int32(op, signed, &[[a; LANES], [b; LANES], [c; LANES], [d; LANES]])[7]
    }

    #[test]
    fn logic_of_three_follows_its_table() {
        let [a, b, c] = [0xf0f0_1234u32, 0xcccc_5678, 0xaaaa_9abc];
        let of = |table| one(IntOp::Lop3(table), false, [a, b, c, 0]);
        assert_eq!(of(0xf0), a);
        assert_eq!(of(0xcc), b);
        assert_eq!(of(0xaa), c);
        assert_eq!(of(0x96), a ^ b ^ c);
        assert_eq!(of(0xf8), a | (b & c));
    }

    #[test]
    fn bits_are_cut_out_and_put_in() {
        let bfe = |signed, value, position, length| one(IntOp::Bfe, signed, [value, position, length, 0]);
        assert_eq!(bfe(false, 0xabcd_ef12, 8, 8), 0xef);
        assert_eq!(bfe(true, 0xabcd_ef12, 8, 8), 0xffff_ffef);
        assert_eq!(bfe(true, 0x8000_0000, 28, 8), 0xffff_fff8);
        assert_eq!(bfe(true, 0x7fff_ffff, 40, 4), 0);
        assert_eq!(bfe(false, 0xabcd_ef12, 0, 0), 0);
        assert_eq!(bfe(false, 0xabcd_ef12, 0, 32), 0xabcd_ef12);
        assert_eq!(one(IntOp::Bfi, false, [0xff, 0x1234_5678, 8, 8]), 0x1234_ff78);
        assert_eq!(one(IntOp::Bfi, false, [0xff, 0x1234_5678, 40, 8]), 0x1234_5678);
    }

    #[test]
    fn bytes_are_permuted() {
        assert_eq!(one(IntOp::Prmt, false, [0x3322_1100, 0x7766_5584, 0x7410, 0]), 0x7784_1100);
        assert_eq!(one(IntOp::Prmt, false, [0x3322_1100, 0x7766_5584, 0xc8c8, 0]), 0xff00_ff00);
    }

    #[test]
    fn halves_are_multiplied_with_bytes() {
        let sources = [0x0003_ffff, 0x0705_0203, 4, 0];
        assert_eq!(one(IntOp::Dot { high: false }, false, sources), 0xffff * 3 + 3 * 2 + 4);
        assert_eq!(one(IntOp::Dot { high: true }, false, sources), 0xffff * 5 + 3 * 7 + 4);
        assert_eq!(one(IntOp::Dot { high: false }, false, [1, 1, u32::MAX, 0]), 0);
    }

    #[test]
    fn shifts_beyond_the_width_are_clamped_or_wrap() {
        assert_eq!(one(IntOp::Shl, false, [1, 32, 0, 0]), 0);
        assert_eq!(one(IntOp::Shr, true, [0x8000_0000, 40, 0, 0]), u32::MAX);
        assert_eq!(one(IntOp::FunnelLeft { clamp: false }, false, [0x8000_0001, 0x0000_0001, 33, 0]), 3);
        assert_eq!(one(IntOp::FunnelLeft { clamp: true }, false, [0x8000_0001, 0x0000_0001, 33, 0]), 0x8000_0001);
        assert_eq!(one(IntOp::FunnelRight { clamp: false }, false, [2, 3, 1, 0]), 0x8000_0001);
    }

    #[test]
    fn the_first_bit_and_products() {
        assert_eq!(one(IntOp::Bfind, false, [0, 0, 0, 0]), u32::MAX);
        assert_eq!(one(IntOp::Bfind, true, [0xffff_fff0, 0, 0, 0]), 3);
        assert_eq!(one(IntOp::MulHi, true, [0xffff_ffff, 5, 0, 0]), u32::MAX);
        assert_eq!(one(IntOp::MulHi, false, [0xffff_ffff, 5, 0, 0]), 4);
        assert_eq!(one(IntOp::Sad, true, [0xffff_ffff, 5, 100, 0]), 106);
    }
}
