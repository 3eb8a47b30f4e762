//! Comparisons, predicates, choices, and registers taken apart.

use crate::ptx::instruction::{Comparison, Dest, Logic, Source};
use crate::ptx::types::Type;

use super::Block;
use super::float::flush;
use super::half::{from_bf16, from_f16};
use super::warp::{LANES, Warp, Wide};

impl Block<'_> {
    /// The lanes for which a comparison holds.
    pub(crate) fn compare(&self, warp: &Warp, ty: Type, ftz: bool, how: Comparison, a: Source, b: Source) -> u32 {
        macro_rules! of {
            ($read:ident, $value:expr) => {{
                let (a, b, value) = (self.$read(warp, a), self.$read(warp, b), $value);
                holds(how, |lane| (value(a[lane]), value(b[lane])))
            }};
        }
        match ty {
            Type::F32 if ftz => of!(narrow, |bits| flush(f32::from_bits(bits))),
            Type::F32 => of!(narrow, f32::from_bits),
            Type::F64 => of!(wide, f64::from_bits),
            Type::F16 => of!(narrow, |bits: u32| from_f16(bits & 0xffff)),
            Type::Bf16 => of!(narrow, |bits: u32| from_bf16(bits & 0xffff)),
            Type::S64 => of!(wide, |bits| bits as i64),
            Type::U64 | Type::B64 => of!(wide, |bits: u64| bits),
            Type::S32 => of!(narrow, |bits| bits as i32),
            Type::S16 | Type::S8 => of!(narrow, |bits: u32| ty.extend(bits.into()) as i64),
            _ => of!(narrow, |bits: u32| ty.extend(bits.into()) as u32),
        }
    }

    pub(crate) fn write_comparison(
        &self,
        warp: &mut Warp,
        with: Option<(Logic, Source)>,
        dest: &[Dest; 2],
        outcome: u32,
        mask: u32,
    ) {
        let join = |outcome: u32| match with {
            None => outcome,
            Some((logic, other)) => join(logic, outcome, warp.read_pred(other)),
        };
        let (yes, no) = (join(outcome), join(!outcome));
        warp.write_pred(dest[0], yes, mask);
        warp.write_pred(dest[1], no, mask);
    }

    pub(crate) fn predicate(&self, warp: &mut Warp, how: Option<Logic>, dest: Dest, a: Source, b: Source, mask: u32) {
        let a = warp.read_pred(a);
        let value = how.map_or(a, |how| join(how, a, warp.read_pred(b)));
        warp.write_pred(dest, value, mask);
    }

    pub(crate) fn select(&self, warp: &mut Warp, dest: Dest, a: Source, b: Source, condition: Source, mask: u32) {
        let condition = warp.read_pred(condition);
        if let Dest::Wide(_) = dest {
            let (a, b) = (self.wide(warp, a), self.wide(warp, b));
            let chosen = std::array::from_fn(|lane| if condition >> lane & 1 != 0 { a[lane] } else { b[lane] });
            warp.write64(dest, &chosen, mask);
        } else {
            let (a, b) = (self.narrow(warp, a), self.narrow(warp, b));
            let chosen = std::array::from_fn(|lane| if condition >> lane & 1 != 0 { a[lane] } else { b[lane] });
            warp.write32(dest, &chosen, mask);
        }
    }

    pub(crate) fn pack(&self, warp: &mut Warp, bits: u32, dest: Dest, parts: &[Source], mask: u32) {
        let mut values: Wide = [0; LANES];
        for (at, part) in parts.iter().enumerate() {
            let part = self.wide(warp, *part);
            for lane in 0..LANES {
                values[lane] |= (part[lane] & low(bits)) << (at as u32 * bits);
            }
        }
        warp.write64(dest, &values, mask);
    }

    pub(crate) fn unpack(&self, warp: &mut Warp, bits: u32, dest: &[Dest], source: Source, mask: u32) {
        let values = self.wide(warp, source);
        for (at, dest) in dest.iter().enumerate() {
            let part = values.map(|value| value >> (at as u32 * bits) & low(bits));
            warp.write64(*dest, &part, mask);
        }
    }
}

/// As many ones.
fn low(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

fn join(logic: Logic, a: u32, b: u32) -> u32 {
    match logic {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}

/// The lanes for whose two values a comparison holds. A value that is not itself is NaN.
#[inline(always)]
fn holds<T: PartialOrd + Copy>(how: Comparison, values: impl Fn(usize) -> (T, T)) -> u32 {
    #[inline(always)]
    fn mask<T: Copy>(values: impl Fn(usize) -> (T, T), holds: impl Fn(T, T) -> bool) -> u32 {
        (0..LANES).fold(0, |mask, lane| {
            let (a, b) = values(lane);
            mask | u32::from(holds(a, b)) << lane
        })
    }
    let ordered = |a: T, b: T| a.partial_cmp(&b).is_some();
    match how {
        Comparison::Eq => mask(values, |a, b| a == b),
        Comparison::Ne => mask(values, |a, b| a != b && ordered(a, b)),
        Comparison::Lt => mask(values, |a, b| a < b),
        Comparison::Le => mask(values, |a, b| a <= b),
        Comparison::Gt => mask(values, |a, b| a > b),
        Comparison::Ge => mask(values, |a, b| a >= b),
        Comparison::Equ => mask(values, |a, b| a == b || !ordered(a, b)),
        Comparison::Neu => mask(values, |a, b| a != b),
        Comparison::Ltu => mask(values, |a, b| a < b || !ordered(a, b)),
        Comparison::Leu => mask(values, |a, b| a <= b || !ordered(a, b)),
        Comparison::Gtu => mask(values, |a, b| a > b || !ordered(a, b)),
        Comparison::Geu => mask(values, |a, b| a >= b || !ordered(a, b)),
        Comparison::Num => mask(values, ordered),
        Comparison::Nan => mask(values, |a, b| !ordered(a, b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_is_unordered() {
        let with_nan = |how| holds(how, |lane| if lane == 0 { (1.0, f32::NAN) } else { (1.0, 2.0) }) & 3;
        assert_eq!(with_nan(Comparison::Eq), 0);
        assert_eq!(with_nan(Comparison::Ne), 2);
        assert_eq!(with_nan(Comparison::Lt), 2);
        assert_eq!(with_nan(Comparison::Neu), 3);
        assert_eq!(with_nan(Comparison::Ltu), 3);
        assert_eq!(with_nan(Comparison::Gtu), 1);
        assert_eq!(with_nan(Comparison::Num), 2);
        assert_eq!(with_nan(Comparison::Nan), 1);
    }
}
