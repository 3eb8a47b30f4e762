//! Arithmetic on floats of 32 and 64 bits.
//!
//! Sums, products and quotients are those of IEEE 754, as on the device. Where PTX only bounds the error (`ex2.approx` and the like) the nearest
//! f32 is given, which no device promises.

use crate::ptx::instruction::{Dest, FloatMode, FloatOp, Rounding, Source};
use crate::ptx::types::Type;

use super::Block;
use super::warp::{LANES, Narrow, Warp, Wide};

/// A subnormal as a zero of the same sign.
#[inline(always)]
pub(crate) fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

impl Block<'_> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    pub(crate) fn float(
        &mut self,
        warp: &mut Warp,
        op: FloatOp,
        ty: Type,
        mode: FloatMode,
        dest: Dest,
        sources: &[Source; 3],
        mask: u32,
    ) {
        if op == FloatOp::Fma {
            self.counters.fma += u64::from(mask.count_ones());
        }
        match ty {
            Type::F64 => {
                let [a, b, c] = sources.map(|source| self.wide(warp, source));
                warp.write64(dest, &float64(op, &a, &b, &c), mask);
            }
            Type::F32 | Type::Tf32 => {
                let a = self.narrow(warp, sources[0]);
                let b = self.narrow(warp, sources[1]);
                let values = if op == FloatOp::Fma {
                    let c = self.narrow(warp, sources[2]);
                    self.fused(mode, &a, &b, &c)
                } else {
                    float32(op, mode, &a, &b)
                };
                warp.write32(dest, &values, mask);
            }
            _ => {
                let [a, b, c] = sources.map(|source| self.narrow(warp, source));
                warp.write32(dest, &super::half::half(op, ty, mode, &a, &b, &c), mask);
            }
        }
    }

    fn fused(&self, mode: FloatMode, a: &Narrow, b: &Narrow, c: &Narrow) -> Narrow {
        if mode.rounding != Rounding::Nearest {
            return apply3(mode, a, b, c, |a, b, c| directed(f64::from(a) * f64::from(b), f64::from(c), mode.rounding));
        }
        if mode.ftz || mode.sat {
            return apply3(mode, a, b, c, f32::mul_add);
        }
        #[cfg(target_arch = "x86_64")]
        if self.fma {
            #[expect(unsafe_code, reason = "calls code for instructions that this processor has")]
            // SAFETY: `fma` is only true on processors with AVX2 and FMA, which is all that the function asks for.
            return unsafe { fused_avx(a, b, c) };
        }
        std::array::from_fn(|lane| {
            f32::from_bits(a[lane]).mul_add(f32::from_bits(b[lane]), f32::from_bits(c[lane])).to_bits()
        })
    }
}

/// `a * b + c` of every lane; without the instruction each is a call.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fused_avx(a: &Narrow, b: &Narrow, c: &Narrow) -> Narrow {
    let mut sums = [0; LANES];
    for lane in 0..LANES {
        sums[lane] = f32::from_bits(a[lane]).mul_add(f32::from_bits(b[lane]), f32::from_bits(c[lane])).to_bits();
    }
    sums
}

/// An operand as the mode has it.
#[inline(always)]
fn operand(bits: u32, mode: FloatMode) -> f32 {
    let value = f32::from_bits(bits);
    if mode.ftz { flush(value) } else { value }
}

/// A result as the mode has it.
#[inline(always)]
fn result(value: f32, mode: FloatMode) -> u32 {
    let value = if mode.ftz { flush(value) } else { value };
    let value = match mode.sat {
        true if value.is_nan() => 0.0,
        true => value.clamp(0.0, 1.0),
        false => value,
    };
    value.to_bits()
}

#[inline(always)]
fn apply(mode: FloatMode, a: &Narrow, f: impl Fn(f32) -> f32) -> Narrow {
    std::array::from_fn(|lane| result(f(operand(a[lane], mode)), mode))
}

#[inline(always)]
fn apply2(mode: FloatMode, a: &Narrow, b: &Narrow, f: impl Fn(f32, f32) -> f32) -> Narrow {
    if !mode.ftz && !mode.sat {
        return std::array::from_fn(|lane| f(f32::from_bits(a[lane]), f32::from_bits(b[lane])).to_bits());
    }
    std::array::from_fn(|lane| result(f(operand(a[lane], mode), operand(b[lane], mode)), mode))
}

#[inline(always)]
fn apply3(mode: FloatMode, a: &Narrow, b: &Narrow, c: &Narrow, f: impl Fn(f32, f32, f32) -> f32) -> Narrow {
    std::array::from_fn(|lane| result(f(operand(a[lane], mode), operand(b[lane], mode), operand(c[lane], mode)), mode))
}

/// All but `fma`.
fn float32(op: FloatOp, mode: FloatMode, a: &Narrow, b: &Narrow) -> Narrow {
    let nearest = mode.rounding == Rounding::Nearest;
    match op {
        FloatOp::Add if nearest => apply2(mode, a, b, |a, b| a + b),
        FloatOp::Add => apply2(mode, a, b, |a, b| directed(a.into(), b.into(), mode.rounding)),
        FloatOp::Sub if nearest => apply2(mode, a, b, |a, b| a - b),
        FloatOp::Sub => apply2(mode, a, b, |a, b| directed(a.into(), -f64::from(b), mode.rounding)),
        FloatOp::Mul if nearest => apply2(mode, a, b, |a, b| a * b),
        FloatOp::Mul => apply2(mode, a, b, |a, b| directed(f64::from(a) * f64::from(b), 0.0, mode.rounding)),
        FloatOp::Div if nearest => apply2(mode, a, b, |a, b| a / b),
        FloatOp::Div => apply2(mode, a, b, |a, b| directed_quotient(a, b, mode.rounding)),
        FloatOp::Min => apply2(mode, a, b, |a, b| least(a, b, false)),
        FloatOp::MinNan => apply2(mode, a, b, |a, b| least(a, b, true)),
        FloatOp::Max => apply2(mode, a, b, |a, b| -least(-a, -b, false)),
        FloatOp::MaxNan => apply2(mode, a, b, |a, b| -least(-a, -b, true)),
        FloatOp::Abs => apply(mode, a, f32::abs),
        FloatOp::Neg => apply(mode, a, |a| -a),
        FloatOp::Sqrt => apply(mode, a, f32::sqrt),
        FloatOp::Rcp if nearest => apply(mode, a, |a| 1.0 / a),
        FloatOp::Rcp => apply(mode, a, |a| directed_quotient(1.0, a, mode.rounding)),
        FloatOp::Rsqrt => apply(mode, a, |a| (1.0 / f64::from(a).sqrt()) as f32),
        FloatOp::Exp2 => apply(mode, a, |a| f64::from(a).exp2() as f32),
        FloatOp::Log2 => apply(mode, a, |a| f64::from(a).log2() as f32),
        FloatOp::Sin => apply(mode, a, |a| f64::from(a).sin() as f32),
        FloatOp::Cos => apply(mode, a, |a| f64::from(a).cos() as f32),
        FloatOp::Tanh => apply(mode, a, |a| f64::from(a).tanh() as f32),
        FloatOp::Copysign => apply2(mode, a, b, |a, b| b.copysign(a)),
        FloatOp::Fma => unreachable!("`fused` is for it"),
    }
}

/// The smaller of two, -0 being smaller than +0. A NaN gives the other operand, or with `nan` a NaN.
#[inline(always)]
pub(crate) fn least(a: f32, b: f32, nan: bool) -> f32 {
    if a.is_nan() || b.is_nan() {
        return match nan || a.is_nan() && b.is_nan() {
            true => f32::NAN,
            false if a.is_nan() => b,
            false => a,
        };
    }
    if a < b || (a == b && a.is_sign_negative()) { a } else { b }
}

/// `a + b`, where both are exact in f64, rounded to f32 in a direction.
fn directed(a: f64, b: f64, rounding: Rounding) -> f32 {
    let sum = a + b;
    // What the sum in f64 lost (Knuth's two-sum).
    let part = sum - a;
    let lost = (a - (sum - part)) + (b - part);
    let near = sum as f32;
    toward(near, sum - f64::from(near), lost, rounding)
}

/// `a / b`, rounded to f32 in a direction.
fn directed_quotient(a: f32, b: f32, rounding: Rounding) -> f32 {
    let near = a / b;
    // The sign of what is missing: exact, since the product of two f32 fits f64.
    let missing = (f64::from(a) - f64::from(near) * f64::from(b)) * f64::from(b.signum());
    toward(near, missing, 0.0, rounding)
}

/// The f32 next to `near` in a direction, if the exact value, which is so much more, lies there.
fn toward(near: f32, more: f64, lost: f64, rounding: Rounding) -> f32 {
    let more = if more == 0.0 { lost } else { more };
    if !near.is_finite() {
        // An overflow: the largest finite number is on the way to zero. Of what is infinite itself `more` is NaN.
        let toward_zero = match rounding {
            Rounding::Zero => true,
            Rounding::Down => near > 0.0,
            Rounding::Up => near < 0.0,
            _ => false,
        };
        return if toward_zero && !more.is_nan() { f32::MAX.copysign(near) } else { near };
    }
    match rounding {
        Rounding::Down if more < 0.0 => near.next_down(),
        Rounding::Up if more > 0.0 => near.next_up(),
        Rounding::Zero if near > 0.0 && more < 0.0 => near.next_down(),
        Rounding::Zero if near < 0.0 && more > 0.0 => near.next_up(),
        _ => near,
    }
}

/// An f64 rounded to f32.
pub(crate) fn narrow(value: f64, rounding: Rounding) -> f32 {
    let near = value as f32;
    toward(near, value - f64::from(near), 0.0, rounding)
}

fn float64(op: FloatOp, a: &Wide, b: &Wide, c: &Wide) -> Wide {
    let apply = |f: &dyn Fn(f64, f64, f64) -> f64| -> Wide {
        std::array::from_fn(|lane| {
            f(f64::from_bits(a[lane]), f64::from_bits(b[lane]), f64::from_bits(c[lane])).to_bits()
        })
    };
    match op {
        FloatOp::Add => apply(&|a, b, _| a + b),
        FloatOp::Sub => apply(&|a, b, _| a - b),
        FloatOp::Mul => apply(&|a, b, _| a * b),
        FloatOp::Fma => apply(&|a, b, c| a.mul_add(b, c)),
        FloatOp::Div => apply(&|a, b, _| a / b),
        FloatOp::Min | FloatOp::MinNan => apply(&|a, b, _| a.min(b)),
        FloatOp::Max | FloatOp::MaxNan => apply(&|a, b, _| a.max(b)),
        FloatOp::Abs => apply(&|a, _, _| a.abs()),
        FloatOp::Neg => apply(&|a, _, _| -a),
        FloatOp::Sqrt => apply(&|a, _, _| a.sqrt()),
        FloatOp::Rcp => apply(&|a, _, _| 1.0 / a),
        FloatOp::Rsqrt => apply(&|a, _, _| 1.0 / a.sqrt()),
        FloatOp::Exp2 => apply(&|a, _, _| a.exp2()),
        FloatOp::Log2 => apply(&|a, _, _| a.log2()),
        FloatOp::Sin => apply(&|a, _, _| a.sin()),
        FloatOp::Cos => apply(&|a, _, _| a.cos()),
        FloatOp::Tanh => apply(&|a, _, _| a.tanh()),
        FloatOp::Copysign => apply(&|a, b, _| b.copysign(a)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_in_its_direction() {
        let tiny = f64::from(f32::EPSILON) / 4.0;
        let up = |rounding| directed(1.0, tiny, rounding);
        assert_eq!(up(Rounding::Up), 1f32.next_up());
        assert_eq!(up(Rounding::Down), 1.0);
        assert_eq!(directed(-1.0, -tiny, Rounding::Zero), -1.0);
        assert_eq!(directed(-1.0, -tiny, Rounding::Down), (-1f32).next_down());
        // Lost in f64 already, and not forgotten.
        assert_eq!(directed(1.0, 1e-300, Rounding::Up), 1f32.next_up());
        assert_eq!(narrow(0.1, Rounding::Zero), 0.1f32.next_down());
        assert_eq!(directed_quotient(1.0, 3.0, Rounding::Down), (1.0f32 / 3.0).next_down());
        assert_eq!(directed_quotient(1.0, 3.0, Rounding::Up), 1.0 / 3.0);
        assert_eq!(narrow(1e300, Rounding::Zero), f32::MAX);
        assert_eq!(narrow(f64::INFINITY, Rounding::Zero), f32::INFINITY);
    }

    #[test]
    fn the_least_of_nans_and_zeros() {
        assert_eq!(least(f32::NAN, 2.0, false), 2.0);
        assert!(least(1.0, f32::NAN, true).is_nan());
        assert!(least(0.0, -0.0, false).is_sign_negative());
        assert!(least(-0.0, 0.0, false).is_sign_negative());
    }
}
