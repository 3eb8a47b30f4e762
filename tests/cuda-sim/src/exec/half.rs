//! Floats of 16 bits: what they are as f32, and arithmetic on them, alone or in pairs.

use crate::ptx::instruction::{FloatMode, FloatOp};
use crate::ptx::types::Type;

use super::float::least;
use super::warp::Narrow;

/// The value of a bf16: the upper half of an f32.
#[inline(always)]
pub(crate) fn from_bf16(bits: u32) -> f32 {
    f32::from_bits(bits << 16)
}

/// The bf16 next to a value, ties to even.
#[inline(always)]
pub(crate) fn to_bf16(value: f32) -> u32 {
    if value.is_nan() {
        return 0x7fff;
    }
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1))) >> 16
}

/// The value of an f16.
pub(crate) fn from_f16(bits: u32) -> f32 {
    let magnitude = bits & 0x7fff;
    let value = match magnitude >> 10 {
        0 => magnitude as f32 * 2f32.powi(-24),
        31 => f32::from_bits(0x7f80_0000 | (magnitude & 0x3ff) << 13),
        _ => f32::from_bits((magnitude << 13) + (112 << 23)),
    };
    if bits & 0x8000 != 0 { -value } else { value }
}

/// The f16 next to a value, ties to even.
pub(crate) fn to_f16(value: f32) -> u32 {
    let sign = value.to_bits() >> 16 & 0x8000;
    let magnitude = value.abs();
    // What is halfway from the largest number to the next power of two is rounded up, to infinity.
    if value.is_nan() {
        0x7fff
    } else if magnitude >= 65520.0 {
        sign | 0x7c00
    } else if magnitude < 2f32.powi(-14) {
        sign | (magnitude * 2f32.powi(24)).round_ties_even() as u32
    } else {
        let bits = magnitude.to_bits();
        sign | (((bits + 0x0fff + (bits >> 13 & 1)) >> 13) - (112 << 10))
    }
}

/// The f32 next to a value, on the way to a shorter float: the last bit is set if something was lost, so that what is halfway only after
/// the first rounding is not taken for a tie by the second.
pub(crate) fn round_to_odd(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) == value || !near.is_finite() || near.to_bits() & 1 != 0 {
        return near;
    }
    if (value > f64::from(near)) == near.is_sign_positive() {
        f32::from_bits(near.to_bits() + 1)
    } else {
        f32::from_bits(near.to_bits().wrapping_sub(1))
    }
}

/// An operation on every lane, rounded to nearest.
pub(crate) fn half(op: FloatOp, ty: Type, mode: FloatMode, a: &Narrow, b: &Narrow, c: &Narrow) -> Narrow {
    let f16 = matches!(ty, Type::F16 | Type::F16x2);
    let widen = |bits| if f16 { from_f16(bits) } else { from_bf16(bits) };
    let round = |value| if f16 { to_f16(value) } else { to_bf16(value) };
    let one = |a: u32, b: u32, c: u32| {
        let value = apply(op, widen(a & 0xffff), widen(b & 0xffff), widen(c & 0xffff));
        let value = match mode.sat {
            true if value.is_nan() => 0.0,
            true => value.clamp(0.0, 1.0),
            false => value,
        };
        round(round_to_odd(if mode.relu && value < 0.0 { 0.0 } else { value }))
    };
    let pair = matches!(ty, Type::F16x2 | Type::Bf16x2);
    std::array::from_fn(|lane| {
        let (a, b, c) = (a[lane], b[lane], c[lane]);
        let low = one(a, b, c);
        if pair { low | one(a >> 16, b >> 16, c >> 16) << 16 } else { low }
    })
}

fn apply(op: FloatOp, a: f32, b: f32, c: f32) -> f64 {
    let (wide_a, wide_b, wide_c) = (f64::from(a), f64::from(b), f64::from(c));
    match op {
        FloatOp::Add => wide_a + wide_b,
        FloatOp::Sub => wide_a - wide_b,
        FloatOp::Mul => wide_a * wide_b,
        FloatOp::Fma => wide_a * wide_b + wide_c,
        FloatOp::Div => wide_a / wide_b,
        FloatOp::Min => least(a, b, false).into(),
        FloatOp::MinNan => least(a, b, true).into(),
        FloatOp::Max => (-least(-a, -b, false)).into(),
        FloatOp::MaxNan => (-least(-a, -b, true)).into(),
        FloatOp::Abs => wide_a.abs(),
        FloatOp::Neg => -wide_a,
        FloatOp::Sqrt => wide_a.sqrt(),
        FloatOp::Rcp => 1.0 / wide_a,
        FloatOp::Rsqrt => 1.0 / wide_a.sqrt(),
        FloatOp::Exp2 => wide_a.exp2(),
        FloatOp::Log2 => wide_a.log2(),
        FloatOp::Sin => wide_a.sin(),
        FloatOp::Cos => wide_a.cos(),
        FloatOp::Tanh => wide_a.tanh(),
        FloatOp::Copysign => wide_b.copysign(wide_a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_16_bits_comes_back() {
        for bits in 0..0x1_0000u32 {
            let (f16, bf16) = (from_f16(bits), from_bf16(bits));
            assert!(to_f16(f16) == bits || f16.is_nan(), "f16 {bits:#x} is {f16}");
            assert!(to_bf16(bf16) == bits || bf16.is_nan(), "bf16 {bits:#x} is {bf16}");
        }
        assert_eq!(from_f16(0x3c00), 1.0);
        assert_eq!(from_f16(0x0001), 2f32.powi(-24));
        assert_eq!(from_f16(0xfbff), -65504.0);
    }

    #[test]
    fn ties_go_to_even() {
        assert_eq!(to_f16(2049.0), to_f16(2048.0));
        assert_eq!(to_f16(2051.0), to_f16(2052.0));
        assert_eq!(to_f16(65519.0), 0x7bff);
        assert_eq!(to_f16(65520.0), 0x7c00);
        assert_eq!(to_f16(2f32.powi(-25)), 0);
        assert_eq!(to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
    }

    #[test]
    fn nothing_is_rounded_twice() {
        // Just above halfway between two bf16: as an f32 it would be the tie, which goes down.
        let value = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(to_bf16(round_to_odd(value)), 0x3f81);
        assert_eq!(to_bf16(value as f32), 0x3f80);
    }
}
