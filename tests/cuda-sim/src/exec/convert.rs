//! Conversions between integers and floats of all sizes.

use crate::ptx::instruction::{Dest, Rounding, Source};
use crate::ptx::types::Type;

use super::Block;
use super::float::{flush, narrow};
use super::half::{from_bf16, from_f16, round_to_odd, to_bf16, to_f16};
use super::warp::{LANES, Warp, Wide};

/// The modifiers of a conversion.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) mode: Option<Rounding>,
    pub(crate) ftz: bool,
    pub(crate) sat: bool,
    pub(crate) relu: bool,
}

impl Block<'_> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    pub(crate) fn convert(
        &self,
        warp: &mut Warp,
        to: Type,
        from: Type,
        how: How,
        dest: Dest,
        source: Source,
        mask: u32,
    ) {
        let values = self.wide(warp, source);
        let converted: Wide = match (from, to) {
            // What kernels do most, without a choice in every lane.
            (Type::S32, Type::F32) if how.mode == Some(Rounding::Nearest) => {
                values.map(|value| u64::from((value as i32 as f32).to_bits()))
            }
            _ if from.float() || to.float() => values.map(|value| convert(value, to, from, how)),
            _ => values.map(|value| integer(from.extend(value), to, from, how.sat)),
        };
        warp.write64(dest, &converted, mask);
    }

    pub(crate) fn convert_pair(
        &self,
        warp: &mut Warp,
        to: Type,
        relu: bool,
        dest: Dest,
        sources: [Source; 2],
        mask: u32,
    ) {
        let [high, low] = sources.map(|source| self.narrow(warp, source));
        let round = |bits: u32| {
            let value = f32::from_bits(bits);
            let value = if relu && value < 0.0 { 0.0 } else { value };
            if to == Type::F16x2 { to_f16(value) } else { to_bf16(value) }
        };
        let pairs = std::array::from_fn::<_, LANES, _>(|lane| round(high[lane]) << 16 | round(low[lane]));
        warp.write32(dest, &pairs, mask);
    }
}

/// An integer of another size: extended as its own type is, and cut off or clamped.
fn integer(value: u64, to: Type, from: Type, sat: bool) -> u64 {
    if !sat {
        return to.extend(value);
    }
    let value = if from.signed() { i128::from(value as i64) } else { i128::from(value) };
    let bits = 8 * to.bytes();
    let (least, most) =
        if to.signed() { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    value.clamp(least, most) as u64
}

/// A conversion from or to a float. Every source fits f64 exactly, but integers of 64 bits, which are not rounded twice into one.
fn convert(bits: u64, to: Type, from: Type, how: How) -> u64 {
    let rounding = how.mode.unwrap_or(Rounding::Nearest);
    let value = match from {
        Type::F32 | Type::Tf32 => {
            let value = f32::from_bits(bits as u32);
            f64::from(if how.ftz { flush(value) } else { value })
        }
        Type::F64 => f64::from_bits(bits),
        Type::F16 => from_f16(bits as u32 & 0xffff).into(),
        Type::Bf16 => from_bf16(bits as u32 & 0xffff).into(),
        _ => {
            let value = from.extend(bits);
            if to == Type::F32 && rounding == Rounding::Nearest {
                let nearest = if from.signed() { value as i64 as f32 } else { value as f32 };
                return finish(f64::from(nearest), to, how);
            }
            if from.signed() { value as i64 as f64 } else { value as f64 }
        }
    };
    let value = match rounding {
        Rounding::NearestInt => value.round_ties_even(),
        Rounding::ZeroInt => value.trunc(),
        Rounding::DownInt => value.floor(),
        Rounding::UpInt => value.ceil(),
        // A conversion into an integer without a rounding of its own is one towards zero.
        _ => value,
    };
    finish(value, to, how)
}

fn finish(value: f64, to: Type, how: How) -> u64 {
    let value = match how.sat && to.float() {
        true if value.is_nan() => 0.0,
        true => value.clamp(0.0, 1.0),
        false => value,
    };
    let value = if how.relu && value < 0.0 { 0.0 } else { value };
    match to {
        Type::F32 => {
            let value = narrow(value, how.mode.unwrap_or(Rounding::Nearest));
            (if how.ftz { flush(value) } else { value }).to_bits().into()
        }
        Type::Tf32 => tf32(value as f32, how.mode).into(),
        Type::F64 => value.to_bits(),
        Type::F16 => to_f16(round_to_odd(value)).into(),
        Type::Bf16 => to_bf16(round_to_odd(value)).into(),
        // `as` clamps to what the type can hold, and NaN becomes zero: so does `cvt`.
        Type::S64 => value as i64 as u64,
        Type::U64 | Type::B64 => value as u64,
        Type::S32 => u64::from(value as i32 as u32),
        Type::S16 => u64::from(value as i16 as u16),
        Type::S8 => value as i8 as u64,
        Type::U16 | Type::B16 => u64::from(value as u16),
        Type::U8 | Type::B8 => u64::from(value as u8),
        _ => u64::from(value as u32),
    }
}

/// The upper 19 bits of an f32, rounded to nearest: ties away from zero (`rna`), or to even (`rn`).
fn tf32(value: f32, mode: Option<Rounding>) -> u32 {
    let bits = value.to_bits();
    if !value.is_finite() {
        return bits;
    }
    let half = match mode {
        Some(Rounding::Nearest) => 0x0fff + (bits >> 13 & 1),
        Some(Rounding::Zero) => 0,
        _ => 0x1000,
    };
    (bits + half) & 0xffff_e000
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: How = How { mode: None, ftz: false, sat: false, relu: false };

    fn rounded(mode: Rounding) -> How {
        How { mode: Some(mode), ..PLAIN }
    }

    fn bits(value: f32) -> u64 {
        value.to_bits().into()
    }

    #[test]
    fn floats_become_integers_that_they_fit() {
        let to_int = |value, mode| convert(bits(value), Type::S32, Type::F32, rounded(mode)) as i32;
        assert_eq!(to_int(2.5, Rounding::NearestInt), 2);
        assert_eq!(to_int(-2.5, Rounding::ZeroInt), -2);
        assert_eq!(to_int(-2.5, Rounding::DownInt), -3);
        assert_eq!(to_int(1e20, Rounding::ZeroInt), i32::MAX);
        assert_eq!(to_int(f32::NAN, Rounding::ZeroInt), 0);
        assert_eq!(convert(bits(-3.0), Type::U32, Type::F32, rounded(Rounding::ZeroInt)), 0);
        assert_eq!(convert(bits(2.5), Type::F32, Type::F32, rounded(Rounding::NearestInt)), bits(2.0));
    }

    #[test]
    fn integers_become_floats_rounded_once() {
        let wide = (1u64 << 40) + (1 << 16) + 1;
        assert_eq!(convert(wide, Type::F32, Type::U64, rounded(Rounding::Nearest)), bits(wide as f32));
        assert_eq!(convert(u64::MAX, Type::F32, Type::S32, rounded(Rounding::Nearest)), bits(-1.0));
        assert_eq!(convert(0xff, Type::F32, Type::U8, rounded(Rounding::Nearest)), bits(255.0));
        assert_eq!(convert(0x0100_0001, Type::F32, Type::U32, rounded(Rounding::Up)), bits(0x0100_0002 as f32));
    }

    #[test]
    fn integers_are_clamped_only_when_asked() {
        assert_eq!(integer(300, Type::U8, Type::U32, false), 44);
        assert_eq!(integer(300, Type::U8, Type::U32, true), 255);
        assert_eq!(integer(-300i64 as u64, Type::S8, Type::S32, true), -128i128 as u64);
    }

    #[test]
    fn tf32_rounds_ties_away_and_bf16_to_even() {
        let tie = f32::from_bits(0x3f80_1000);
        assert_eq!(convert(bits(tie), Type::Tf32, Type::F32, rounded(Rounding::NearestAway)), 0x3f80_2000);
        assert_eq!(convert(bits(tie), Type::Tf32, Type::F32, rounded(Rounding::Nearest)), 0x3f80_0000);
        let tie = f32::from_bits(0x3f80_8000);
        assert_eq!(convert(bits(tie), Type::Bf16, Type::F32, rounded(Rounding::Nearest)), 0x3f80);
        assert_eq!(convert(0x3f80, Type::F32, Type::Bf16, PLAIN), bits(1.0));
    }
}
