//! A vector register of floats, and kernels for each set of instructions from one source.
//!
//! A kernel is written once, generic over [`Lanes`], as an `#[inline(always)]` function; [`dispatch!`] makes of it one function for each
//! set of instructions, compiled with those, and a function that takes an [`Isa`](crate::isa::Isa) and calls the right one. Register blocks must be constants, and
//! arrays of registers may only be indexed by plain loop variables: anything else silently keeps them in memory.
#![allow(unsafe_code)]

use crate::isa::Kind;

/// A vector of [`Lanes::COUNT`] floats. The functions are inlined into one that is compiled with the vector's instructions.
///
/// # Safety
///
/// Whoever calls a function of an implementation other than [`Portable`] is compiled for its instructions, which the machine has.
/// `load` and `store` touch `COUNT` floats from their pointer on, `load_halves` and `store_halves` half of them from each, at any
/// alignment.
#[allow(clippy::missing_safety_doc)]
pub(crate) trait Lanes: Copy {
    /// Floats.
    const COUNT: usize;
    /// The least instructions that have the vector.
    const KIND: Kind;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Half of the floats from each of two places.
    #[inline(always)]
    unsafe fn load_halves(first: *const f32, second: *const f32) -> Self {
        let mut floats = [0.0; 16];
        // SAFETY: the caller gives them, and no vector has more than sixteen.
        unsafe {
            for (half, from) in [first, second].into_iter().enumerate() {
                for at in 0..Self::COUNT / 2 {
                    floats[half * Self::COUNT / 2 + at] = *from.add(at);
                }
            }
            Self::load(floats.as_ptr())
        }
    }
    /// Half of the floats to each of two places.
    #[inline(always)]
    unsafe fn store_halves(self, first: *mut f32, second: *mut f32) {
        let mut floats = [0.0; 16];
        // SAFETY: as above.
        unsafe {
            self.store(floats.as_mut_ptr());
            for (half, to) in [first, second].into_iter().enumerate() {
                for at in 0..Self::COUNT / 2 {
                    *to.add(at) = floats[half * Self::COUNT / 2 + at];
                }
            }
        }
    }
    /// The same float in all lanes.
    unsafe fn splat(value: f32) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self / by` of a `by` that is a normal number above zero, well inside the range of floats: at most 0.51 units in the last place from
    /// it, but for [`Portable`], which divides. It takes half as long as a division of 16 floats, and is the same bits for 8. -0 becomes 0.
    #[inline(always)]
    unsafe fn quotient(self, by: Self) -> Self {
        // SAFETY: the caller's.
        unsafe {
            // The difference of the bits is a reciprocal within 6 %, of which one step leaves 1.3e-3, and the next, Newton's, 1.7e-6.
            let first = Self::guess(by);
            let first = by.mul_sub_from(first, Self::splat(GUESS_STEP)).mul(first);
            let second = by.mul_sub_from(first, Self::splat(1.0)).mul_add(first, first);
            let near = self.mul(second);
            near.mul_sub_from(by, self).mul_add(second, near)
        }
    }
    /// The floats whose bits are those of [`GUESS`] less those of `of`, as whole numbers.
    unsafe fn guess(of: Self) -> Self;
    /// `self * by + to`; rounded once but by [`Portable`].
    unsafe fn mul_add(self, by: Self, to: Self) -> Self;
    /// `to - self * by`; rounded once but by [`Portable`].
    unsafe fn mul_sub_from(self, by: Self, to: Self) -> Self;
    /// `if self > other { self } else { other }`, lane by lane: `other` where either is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// `if self < other { self } else { other }`, lane by lane: `other` where either is NaN.
    unsafe fn min(self, other: Self) -> Self;
    /// `if self > than { yes } else { no }`, lane by lane: `no` where either compared is NaN.
    unsafe fn if_greater(self, than: Self, yes: Self, no: Self) -> Self;
    /// Whether any float of either is NaN.
    unsafe fn have_nan(self, other: Self) -> bool;
    /// Two floats in turns.
    #[inline(always)]
    unsafe fn splat_two(from: *const f32) -> Self {
        // SAFETY: the caller gives two floats, and no vector has more than eight such pairs.
        unsafe { Self::load([from.cast::<[f32; 2]>().read_unaligned(); 8].as_flattened().as_ptr()) }
    }
    /// Half as many floats as the vector has, each with a zero behind it.
    #[inline(always)]
    unsafe fn load_apart(from: *const f32) -> Self {
        let mut floats = [0.0; 16];
        // SAFETY: the caller gives them, and no vector has more than sixteen.
        unsafe {
            for at in 0..Self::COUNT / 2 {
                floats[2 * at] = *from.add(at);
            }
            Self::load(floats.as_ptr())
        }
    }
    /// The sums of neighbours, 0 and 1, 2 and 3, and so on: those of `self` first, then those of `other`.
    #[inline(always)]
    unsafe fn sum_neighbours(self, other: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { sum_floats(self, other) }
    }
    /// The floats of three vectors in turns: the first of each, the second of each, and so on.
    #[inline(always)]
    unsafe fn interleave(from: [Self; 3]) -> [Self; 3] {
        // SAFETY: the caller's.
        unsafe { interleave_floats(from) }
    }
}

/// [`Lanes::interleave`], float by float.
#[inline(always)]
unsafe fn interleave_floats<L: Lanes>(from: [L; 3]) -> [L; 3] {
    let (mut floats, mut turns) = ([[0.0_f32; 16]; 3], [0.0_f32; 48]);
    // SAFETY: no vector has more than 16 floats; the rest is the caller's.
    unsafe {
        for of in 0..3 {
            from[of].store(floats[of].as_mut_ptr());
            for lane in 0..L::COUNT {
                turns[3 * lane + of] = floats[of][lane];
            }
        }
        let of = |number: usize| L::load(turns.as_ptr().add(number * L::COUNT));
        [of(0), of(1), of(2)]
    }
}

/// [`Lanes::sum_neighbours`], float by float.
#[inline(always)]
unsafe fn sum_floats<L: Lanes>(first: L, second: L) -> L {
    let (mut floats, mut sums) = ([0.0_f32; 32], [0.0_f32; 16]);
    // SAFETY: no vector has more than 16 floats; the rest is the caller's.
    unsafe {
        first.store(floats.as_mut_ptr());
        second.store(floats.as_mut_ptr().add(L::COUNT));
        for at in 0..L::COUNT {
            sums[at] = floats[2 * at] + floats[2 * at + 1];
        }
        L::load(sums.as_ptr())
    }
}

/// The bits of a number, less those of another one, are about those of the other's reciprocal.
pub(crate) const GUESS: u32 = 0x7ef3_3400;

/// The number from which a product with such a reciprocal is taken for the first step to it.
const GUESS_STEP: f32 = 2.00125;

/// Eight floats on any machine: loops that compilers make vectors of.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 8]);

macro_rules! each {
    ($lane:ident => $value:expr) => {{
        let mut to = [0.0; 8];
        let mut $lane = 0;
        while $lane < 8 {
            to[$lane] = $value;
            $lane += 1;
        }
        Portable(to)
    }};
}

impl Lanes for Portable {
    const COUNT: usize = 8;
    const KIND: Kind = Kind::Portable;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives eight floats, at the alignment of floats.
        Portable(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Portable([value; 8])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        each!(lane => self.0[lane] + other.0[lane])
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        each!(lane => self.0[lane] - other.0[lane])
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        each!(lane => self.0[lane] * other.0[lane])
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        each!(lane => self.0[lane] / other.0[lane])
    }
    #[inline(always)]
    unsafe fn quotient(self, by: Self) -> Self {
        // Without fused multiply-adds the last step would lose what it is for.
        // SAFETY: the caller's.
        unsafe { self.div(by) }
    }
    #[inline(always)]
    unsafe fn guess(of: Self) -> Self {
        each!(lane => f32::from_bits(GUESS.wrapping_sub(of.0[lane].to_bits())))
    }
    #[inline(always)]
    unsafe fn mul_add(self, by: Self, to: Self) -> Self {
        each!(lane => self.0[lane] * by.0[lane] + to.0[lane])
    }
    #[inline(always)]
    unsafe fn mul_sub_from(self, by: Self, to: Self) -> Self {
        each!(lane => to.0[lane] - self.0[lane] * by.0[lane])
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        each!(lane => if self.0[lane] > other.0[lane] { self.0[lane] } else { other.0[lane] })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        each!(lane => if self.0[lane] < other.0[lane] { self.0[lane] } else { other.0[lane] })
    }
    #[inline(always)]
    unsafe fn if_greater(self, than: Self, yes: Self, no: Self) -> Self {
        each!(lane => if self.0[lane] > than.0[lane] { yes.0[lane] } else { no.0[lane] })
    }
    #[inline(always)]
    unsafe fn have_nan(self, other: Self) -> bool {
        self.0.iter().zip(&other.0).fold(false, |any, (a, b)| any | a.is_nan() | b.is_nan())
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{GUESS, Kind, Lanes, interleave_floats, sum_floats};

    /// Eight floats: a register of AVX2, or half a one of AVX-512.
    #[derive(Clone, Copy)]
    pub(crate) struct F32x8(__m256);

    /// Sixteen floats: a register of AVX-512.
    #[derive(Clone, Copy)]
    pub(crate) struct F32x16(__m512);

    /// The lanes in which a comparison holds. Miri, which knows that of eight floats alone, compares halves.
    ///
    /// # Safety
    ///
    /// The caller is compiled for AVX-512, and the machine has it.
    #[inline(always)]
    pub(crate) unsafe fn compare<const IS: i32>(a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the caller's.
        unsafe {
            if cfg!(miri) {
                let of = |a: __m256, b: __m256| _mm256_movemask_ps(_mm256_cmp_ps::<IS>(a, b)) as u16;
                let low = of(_mm512_castps512_ps256(a), _mm512_castps512_ps256(b));
                return of(_mm512_extractf32x8_ps::<1>(a), _mm512_extractf32x8_ps::<1>(b)) << 8 | low;
            }
            _mm512_cmp_ps_mask::<IS>(a, b)
        }
    }

    // SAFETY of every block below: whoever calls is compiled for these instructions and has asked the machine for them, by the
    // contract of `Lanes`; pointers are as it says.
    impl Lanes for F32x8 {
        const COUNT: usize = 8;
        const KIND: Kind = Kind::Avx2;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            F32x8(unsafe { _mm256_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn load_halves(first: *const f32, second: *const f32) -> Self {
            F32x8(unsafe { _mm256_loadu2_m128(second, first) })
        }
        #[inline(always)]
        unsafe fn store_halves(self, first: *mut f32, second: *mut f32) {
            unsafe { _mm256_storeu2_m128(second, first, self.0) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            F32x8(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn splat_two(from: *const f32) -> Self {
            F32x8(unsafe { _mm256_castpd_ps(_mm256_set1_pd(from.cast::<f64>().read_unaligned())) })
        }
        #[inline(always)]
        unsafe fn load_apart(from: *const f32) -> Self {
            F32x8(unsafe { _mm256_castsi256_ps(_mm256_cvtepu32_epi64(_mm_loadu_si128(from.cast()))) })
        }
        #[inline(always)]
        unsafe fn sum_neighbours(self, other: Self) -> Self {
            if cfg!(miri) {
                // It does not know the instruction.
                return unsafe { sum_floats(self, other) };
            }
            // Of the halves of both in turns.
            let sums = unsafe { _mm256_castps_pd(_mm256_hadd_ps(self.0, other.0)) };
            F32x8(unsafe { _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(sums)) })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            F32x8(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            F32x8(unsafe { _mm256_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            F32x8(unsafe { _mm256_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            F32x8(unsafe { _mm256_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn guess(of: Self) -> Self {
            unsafe {
                let guess = _mm256_set1_epi32(GUESS as i32);
                F32x8(_mm256_castsi256_ps(_mm256_sub_epi32(guess, _mm256_castps_si256(of.0))))
            }
        }
        #[inline(always)]
        unsafe fn mul_add(self, by: Self, to: Self) -> Self {
            F32x8(unsafe { _mm256_fmadd_ps(self.0, by.0, to.0) })
        }
        #[inline(always)]
        unsafe fn mul_sub_from(self, by: Self, to: Self) -> Self {
            F32x8(unsafe { _mm256_fnmadd_ps(self.0, by.0, to.0) })
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            F32x8(unsafe { _mm256_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            F32x8(unsafe { _mm256_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn if_greater(self, than: Self, yes: Self, no: Self) -> Self {
            F32x8(unsafe { _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, than.0)) })
        }
        #[inline(always)]
        unsafe fn have_nan(self, other: Self) -> bool {
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, other.0)) != 0 }
        }
    }

    impl Lanes for F32x16 {
        const COUNT: usize = 16;
        const KIND: Kind = Kind::Avx512;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            F32x16(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            F32x16(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            F32x16(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            F32x16(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            F32x16(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            F32x16(unsafe { _mm512_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn guess(of: Self) -> Self {
            unsafe {
                let guess = _mm512_set1_epi32(GUESS as i32);
                F32x16(_mm512_castsi512_ps(_mm512_sub_epi32(guess, _mm512_castps_si512(of.0))))
            }
        }
        #[inline(always)]
        unsafe fn mul_add(self, by: Self, to: Self) -> Self {
            F32x16(unsafe { _mm512_fmadd_ps(self.0, by.0, to.0) })
        }
        #[inline(always)]
        unsafe fn mul_sub_from(self, by: Self, to: Self) -> Self {
            F32x16(unsafe { _mm512_fnmadd_ps(self.0, by.0, to.0) })
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            match cfg!(miri) {
                // It does not know the instruction.
                true => unsafe { self.if_greater(other, self, other) },
                false => F32x16(unsafe { _mm512_max_ps(self.0, other.0) }),
            }
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            match cfg!(miri) {
                true => unsafe { other.if_greater(self, self, other) },
                false => F32x16(unsafe { _mm512_min_ps(self.0, other.0) }),
            }
        }
        #[inline(always)]
        unsafe fn if_greater(self, than: Self, yes: Self, no: Self) -> Self {
            F32x16(unsafe { _mm512_mask_blend_ps(compare::<_CMP_GT_OQ>(self.0, than.0), no.0, yes.0) })
        }
        #[inline(always)]
        unsafe fn have_nan(self, other: Self) -> bool {
            unsafe { compare::<_CMP_UNORD_Q>(self.0, other.0) != 0 }
        }
        #[inline(always)]
        unsafe fn load_halves(first: *const f32, second: *const f32) -> Self {
            unsafe {
                let low = _mm512_castps256_ps512(_mm256_loadu_ps(first));
                F32x16(_mm512_insertf32x8::<1>(low, _mm256_loadu_ps(second)))
            }
        }
        #[inline(always)]
        unsafe fn store_halves(self, first: *mut f32, second: *mut f32) {
            unsafe {
                _mm256_storeu_ps(first, _mm512_castps512_ps256(self.0));
                _mm256_storeu_ps(second, _mm512_extractf32x8_ps::<1>(self.0));
            }
        }
        #[inline(always)]
        unsafe fn splat_two(from: *const f32) -> Self {
            F32x16(unsafe { _mm512_castpd_ps(_mm512_set1_pd(from.cast::<f64>().read_unaligned())) })
        }
        #[inline(always)]
        unsafe fn load_apart(from: *const f32) -> Self {
            F32x16(unsafe { _mm512_castsi512_ps(_mm512_cvtepu32_epi64(_mm256_loadu_si256(from.cast()))) })
        }
        #[inline(always)]
        unsafe fn sum_neighbours(self, other: Self) -> Self {
            if cfg!(miri) {
                // It does not know the instruction.
                return unsafe { sum_floats(self, other) };
            }
            const EVEN: [i32; 16] = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];
            // SAFETY: the caller's; the places are sixteen whole numbers each.
            unsafe {
                let even = _mm512_loadu_epi32(EVEN.as_ptr());
                let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
                let of = |places| _mm512_permutex2var_ps(self.0, places, other.0);
                F32x16(_mm512_add_ps(of(even), of(odd)))
            }
        }
        #[inline(always)]
        unsafe fn interleave([a, b, c]: [Self; 3]) -> [Self; 3] {
            if cfg!(miri) {
                // It does not know the instruction.
                return unsafe { interleave_floats([a, b, c]) };
            }
            // Of each vector, where its floats come from: those of a and b first, then those of c in between (16 and up: the second).
            const fn places(vector: usize) -> [[i32; 16]; 2] {
                let (mut first, mut second) = ([0; 16], [0; 16]);
                let mut lane = 0;
                while lane < 16 {
                    let (of, from) = ((16 * vector + lane) % 3, ((16 * vector + lane) / 3) as i32);
                    first[lane] = if of == 1 { 16 + from } else { from };
                    second[lane] = if of == 2 { 16 + from } else { lane as i32 };
                    lane += 1;
                }
                [first, second]
            }
            const PLACES: [[[i32; 16]; 2]; 3] = [places(0), places(1), places(2)];
            // SAFETY: the caller's; the places are sixteen whole numbers each.
            let of = |[first, second]: &[[i32; 16]; 2]| unsafe {
                let first = _mm512_permutex2var_ps(a.0, _mm512_loadu_epi32(first.as_ptr()), b.0);
                F32x16(_mm512_permutex2var_ps(first, _mm512_loadu_epi32(second.as_ptr()), c.0))
            };
            [of(&PLACES[0]), of(&PLACES[1]), of(&PLACES[2])]
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{F32x8, F32x16, compare};

/// Makes a function that runs a kernel with the instructions of an [`Isa`](crate::isa::Isa):
///
/// ```text
/// dispatch! {
///     /// What it does.
///     pub(crate) fn name(x: &[f32], y: &mut [f32]) = kernel;
/// }
/// ```
///
/// gives `fn name(isa: Isa, x: &[f32], y: &mut [f32])`, of an `#[inline(always)] unsafe fn kernel<W: Lanes, H: Lanes>(…)`: `W` is the
/// widest vector, of 16 floats with AVX-512 and of 8 else; `H` is always of 8.
macro_rules! dispatch {
    ($($(#[$doc:meta])* $visibility:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $kernel:ident;)*) => {$(
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name(isa: crate::isa::Isa, $($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $type),*) $(-> $result)? {
                // SAFETY: compiled for AVX2 and FMA; the rest is the kernel's argument.
                unsafe { $kernel::<crate::kernels::lanes::F32x8, crate::kernels::lanes::F32x8>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $type),*) $(-> $result)? {
                // SAFETY: compiled for AVX-512; the rest is the kernel's argument.
                unsafe { $kernel::<crate::kernels::lanes::F32x16, crate::kernels::lanes::F32x8>($($arg),*) }
            }
            match isa.kind() {
                // SAFETY: whoever has such an `Isa` has asked the machine.
                #[cfg(target_arch = "x86_64")]
                crate::isa::Kind::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: likewise.
                #[cfg(target_arch = "x86_64")]
                crate::isa::Kind::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: loops for any machine; the rest is the kernel's argument.
                _ => unsafe {
                    $kernel::<crate::kernels::lanes::Portable, crate::kernels::lanes::Portable>($($arg),*)
                },
            }
        }
    )*};
}
pub(crate) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[inline(always)]
    unsafe fn all<W: Lanes, H: Lanes>(x: &[f32], y: &[f32], results: &mut Vec<Vec<f32>>) {
        // SAFETY: both slices are as long as a multiple of either vector, which the test sees to.
        unsafe {
            one::<W>(x, y, results);
            one::<H>(x, y, results);
        }
    }

    #[inline(always)]
    unsafe fn one<L: Lanes>(x: &[f32], y: &[f32], results: &mut Vec<Vec<f32>>) {
        let mut by = |of: &dyn Fn(L, L) -> L| {
            let mut result = vec![0.0; x.len()];
            for at in (0..x.len()).step_by(L::COUNT) {
                // SAFETY: whole vectors of slices of one length.
                unsafe { of(L::load(x[at..].as_ptr()), L::load(y[at..].as_ptr())).store(result[at..].as_mut_ptr()) };
            }
            results.push(result);
        };
        // SAFETY: compiled for these instructions.
        unsafe {
            by(&|x, y| x.add(y));
            by(&|x, y| x.sub(y));
            by(&|x, y| x.mul(y));
            by(&|x, y| x.div(y));
            by(&|x, y| x.max(y));
            by(&|x, y| x.min(y));
            by(&|x, y| x.if_greater(y, L::splat(1.0), L::splat(2.0)));
            by(&|x, y| x.mul_add(y, y));
            by(&|x, y| x.mul_sub_from(y, y));
        }
    }

    /// Whether vectors with a NaN, or an infinity, at one of their lanes have a NaN: as a float for each.
    #[inline(always)]
    unsafe fn nans<W: Lanes, H: Lanes>(results: &mut Vec<[bool; 3]>) {
        #[inline(always)]
        unsafe fn of<L: Lanes>(results: &mut Vec<[bool; 3]>) {
            for lane in 0..L::COUNT {
                let with = |value: f32| {
                    let mut floats = [1.0; 16];
                    floats[lane] = value;
                    floats
                };
                // SAFETY: the caller's; no vector has more floats.
                unsafe {
                    let of = |floats: [f32; 16]| L::load(floats.as_ptr());
                    let (none, nan, infinite) = (of(with(-2.0)), of(with(f32::NAN)), of(with(f32::NEG_INFINITY)));
                    results.push([nan.have_nan(none), none.have_nan(nan), none.have_nan(infinite)]);
                }
            }
        }
        // SAFETY: compiled for these instructions.
        unsafe {
            of::<W>(results);
            of::<H>(results);
        }
    }

    dispatch! {
        fn of_nans(results: &mut Vec<[bool; 3]>) = nans;
    }

    #[test]
    fn a_nan_is_found_at_any_lane() {
        for isa in Isa::available() {
            let mut found = Vec::new();
            of_nans(isa, &mut found);
            assert!(found.len() >= 16 && found.iter().all(|found| *found == [true, true, false]), "{isa}: {found:?}");
        }
    }

    /// What moves floats, or adds neighbours: of 16 floats.
    #[inline(always)]
    unsafe fn moves<W: Lanes, H: Lanes>(x: &[f32; 16], results: &mut Vec<Vec<f32>>) {
        let mut of = |count: usize, store: &dyn Fn(*mut f32)| {
            let mut to = vec![0.0; count];
            store(to.as_mut_ptr());
            results.push(to);
        };
        let x = x.as_ptr();
        // SAFETY: compiled for these instructions; there are as many floats as the widest vector has, and two vectors of eight.
        unsafe {
            of(W::COUNT, &|to| W::splat_two(x.add(1)).store(to));
            of(H::COUNT, &|to| H::splat_two(x.add(1)).store(to));
            of(W::COUNT, &|to| W::load_apart(x.add(1)).store(to));
            of(H::COUNT, &|to| H::load_apart(x.add(1)).store(to));
            of(W::COUNT, &|to| W::load_halves(x.add(1), x).store(to));
            of(H::COUNT, &|to| H::load_halves(x.add(1), x).store(to));
            of(W::COUNT, &|to| W::load(x).store_halves(to.add(W::COUNT / 2), to));
            of(H::COUNT, &|to| H::load(x).store_halves(to.add(H::COUNT / 2), to));
            of(W::COUNT, &|to| W::load(x).sum_neighbours(W::load(x.add(16 - W::COUNT))).store(to));
            of(H::COUNT, &|to| H::load(x).sum_neighbours(H::load(x.add(8))).store(to));
        }
    }

    dispatch! {
        fn of_moves(x: &[f32; 16], results: &mut Vec<Vec<f32>>) = moves;
    }

    #[test]
    fn floats_are_moved_to_their_places() {
        let x = std::array::from_fn(|at| (at + 1) as f32);
        let turns = |count: usize| (0..count).map(|at| [2.0, 3.0][at % 2]).collect::<Vec<f32>>();
        let apart = |count: usize| (0..count).map(|at| [at as f32 / 2.0 + 2.0, 0.0][at % 2]).collect::<Vec<f32>>();
        let halves: Vec<f32> = (0..8).map(|at| (4 * at + 3) as f32).collect();
        for isa in Isa::available() {
            let mut found = Vec::new();
            of_moves(isa, &x, &mut found);
            let wide = found[0].len();
            let sums = if wide == 16 { [&halves[..], &halves].concat() } else { halves.clone() };
            let read = |count: usize| [&x[1..][..count / 2], &x[..count / 2]].concat();
            let written = |count: usize| [&x[count / 2..count], &x[..count / 2]].concat();
            let moved = [turns(wide), turns(8), apart(wide), apart(8), read(wide), read(8), written(wide), written(8)];
            assert_eq!(found[..8], moved, "{isa}");
            assert_eq!(found[8..], [sums, halves.clone()], "{isa}");
        }
    }

    dispatch! {
        fn of_all(x: &[f32], y: &[f32], results: &mut Vec<Vec<f32>>) = all;
    }

    #[inline(always)]
    unsafe fn quotients<W: Lanes, H: Lanes>(x: &[f32], y: &[f32], wide: &mut [f32], half: &mut [f32]) {
        // SAFETY: slices of one length, a multiple of either vector.
        unsafe {
            for at in (0..x.len()).step_by(W::COUNT) {
                W::load(x[at..].as_ptr()).quotient(W::load(y[at..].as_ptr())).store(wide[at..].as_mut_ptr());
            }
            for at in (0..x.len()).step_by(H::COUNT) {
                H::load(x[at..].as_ptr()).quotient(H::load(y[at..].as_ptr())).store(half[at..].as_mut_ptr());
            }
        }
    }

    dispatch! {
        fn quotients_of(x: &[f32], y: &[f32], wide: &mut [f32], half: &mut [f32]) = quotients;
    }

    #[test]
    fn quotients_are_nearly_rounded_and_the_same_for_any_width() {
        // Fewer under Miri, which is some thousand times slower.
        let count = if cfg!(miri) { 1 << 8 } else { 1 << 18 };
        let y: Vec<f32> = (0..count).map(|i| (1.0 + i as f32 / 65536.0) * [1e-3, 0.7, 1e3][i % 3]).collect();
        let x: Vec<f32> = (0..count).map(|i| (i as f32 - 1e5) * 1e-5 * [1.0, 0.317, 2.1e3][i / 7 % 3]).collect();
        for isa in Isa::available() {
            let [mut wide, mut half] = [(); 2].map(|()| vec![0.0; x.len()]);
            quotients_of(isa, &x, &y, &mut wide, &mut half);
            for (at, &found) in wide.iter().enumerate() {
                let exact = f64::from(x[at]) / f64::from(y[at]);
                let unit = f64::from(f32::from_bits(found.abs().to_bits() + 1) - found.abs());
                assert!((f64::from(found) - exact).abs() <= 0.51 * unit, "{isa}: {} / {}", x[at], y[at]);
                assert_eq!(found.to_bits(), half[at].to_bits(), "{isa}: {} / {}", x[at], y[at]);
            }
            let odd = [f32::NAN, 0.0, f32::INFINITY, -1.0];
            let (mut wide, mut half) = ([0.0; 16], [0.0; 16]);
            let (x, y) = (std::array::from_fn::<f32, 16, _>(|i| odd[i % 4]), [3.0; 16]);
            quotients_of(isa, &x, &y, &mut wide, &mut half);
            assert!(wide[0].is_nan() && wide[1] == 0.0 && wide[3] == -1.0 / 3.0, "{isa}: {wide:?}");
            quotients_of(isa, &y, &x, &mut wide, &mut half);
            assert!(wide[0].is_nan(), "{isa}: {wide:?}");
        }
    }

    #[test]
    fn lanes_compute_as_floats_do() {
        let x: Vec<f32> = (0..32).map(|i| [0.1, -3.5, f32::NAN, 7.25, f32::INFINITY][i % 5] * (i + 1) as f32).collect();
        let y: Vec<f32> = (0..32).map(|i| [2.0, f32::NAN, -0.7][i % 3] + i as f32).collect();
        for isa in Isa::available() {
            let mut results = Vec::new();
            of_all(isa, &x, &y, &mut results);
            let is_fused = isa != Isa::PORTABLE;
            let wanted: [&dyn Fn(f32, f32) -> f32; 9] = [
                &|x, y| x + y,
                &|x, y| x - y,
                &|x, y| x * y,
                &|x, y| x / y,
                &|x, y| if x > y { x } else { y },
                &|x, y| if x < y { x } else { y },
                &|x, y| if x > y { 1.0 } else { 2.0 },
                &|x, y| if is_fused { x.mul_add(y, y) } else { x * y + y },
                &|x, y| if is_fused { (-x).mul_add(y, y) } else { y - x * y },
            ];
            for (which, result) in results.iter().enumerate() {
                for ((found, &x), &y) in result.iter().zip(&x).zip(&y) {
                    let wanted = wanted[which % 9](x, y);
                    let same = found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan());
                    assert!(same, "{isa}: function {which} of {x} and {y}: {found} instead of {wanted}");
                }
            }
        }
    }
}
