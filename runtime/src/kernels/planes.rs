//! What kernels share that treat each channel by itself: they take the lanes of a map's planes a vector at a time.
#![allow(unsafe_code)]

use crate::arena::{Rows, RowsMut, View};
use crate::isa::Kind;
use crate::kernels::lanes::{GUESS, Lanes, Portable};
use crate::layout::{Blocked, Plane};

/// One float, for planes whose lanes are no vectors: images of 1 to 4 channels. It rounds as [`Portable`] does.
#[derive(Clone, Copy)]
pub(crate) struct One(f32);

#[rustfmt::skip]
impl Lanes for One {
    const COUNT: usize = 1;
    const KIND: Kind = Kind::Portable;
    // SAFETY of both: the caller gives a float.
    #[inline(always)] unsafe fn load(from: *const f32) -> Self { One(unsafe { from.read() }) }
    #[inline(always)] unsafe fn store(self, to: *mut f32) { unsafe { to.write(self.0) } }
    #[inline(always)] unsafe fn splat(value: f32) -> Self { One(value) }
    #[inline(always)] unsafe fn add(self, other: Self) -> Self { One(self.0 + other.0) }
    #[inline(always)] unsafe fn sub(self, other: Self) -> Self { One(self.0 - other.0) }
    #[inline(always)] unsafe fn mul(self, other: Self) -> Self { One(self.0 * other.0) }
    #[inline(always)] unsafe fn div(self, other: Self) -> Self { One(self.0 / other.0) }
    #[inline(always)] unsafe fn quotient(self, by: Self) -> Self { One(self.0 / by.0) }
    #[inline(always)] unsafe fn guess(of: Self) -> Self { One(f32::from_bits(GUESS.wrapping_sub(of.0.to_bits()))) }
    #[inline(always)] unsafe fn mul_add(self, by: Self, to: Self) -> Self { One(self.0 * by.0 + to.0) }
    #[inline(always)] unsafe fn mul_sub_from(self, by: Self, to: Self) -> Self { One(to.0 - self.0 * by.0) }
    #[inline(always)] unsafe fn max(self, other: Self) -> Self { if self.0 > other.0 { self } else { other } }
    #[inline(always)] unsafe fn min(self, other: Self) -> Self { if self.0 < other.0 { self } else { other } }
    #[inline(always)] unsafe fn if_greater(self, than: Self, yes: Self, no: Self) -> Self {
        if self.0 > than.0 { yes } else { no }
    }
    #[inline(always)] unsafe fn have_nan(self, other: Self) -> bool { self.0.is_nan() || other.0.is_nan() }
}

/// Two vectors as one: 16 lanes where the widest vector has 8, so that a line of a full plane is gone through once.
#[derive(Clone, Copy)]
pub(crate) struct Two<L>(L, L);

#[rustfmt::skip]
impl<L: Lanes> Lanes for Two<L> {
    const COUNT: usize = 2 * L::COUNT;
    const KIND: Kind = L::KIND;
    // SAFETY of all: as of these functions, whose vectors are two halves.
    #[inline(always)] unsafe fn load(from: *const f32) -> Self { unsafe { Two(L::load(from), L::load(from.add(L::COUNT))) } }
    #[inline(always)] unsafe fn store(self, to: *mut f32) { unsafe { self.0.store(to); self.1.store(to.add(L::COUNT)) } }
    #[inline(always)] unsafe fn splat(value: f32) -> Self { unsafe { Two(L::splat(value), L::splat(value)) } }
    #[inline(always)] unsafe fn add(self, other: Self) -> Self { unsafe { Two(self.0.add(other.0), self.1.add(other.1)) } }
    #[inline(always)] unsafe fn sub(self, other: Self) -> Self { unsafe { Two(self.0.sub(other.0), self.1.sub(other.1)) } }
    #[inline(always)] unsafe fn mul(self, other: Self) -> Self { unsafe { Two(self.0.mul(other.0), self.1.mul(other.1)) } }
    #[inline(always)] unsafe fn div(self, other: Self) -> Self { unsafe { Two(self.0.div(other.0), self.1.div(other.1)) } }
    #[inline(always)] unsafe fn quotient(self, by: Self) -> Self { unsafe { Two(self.0.quotient(by.0), self.1.quotient(by.1)) } }
    #[inline(always)] unsafe fn guess(of: Self) -> Self { unsafe { Two(L::guess(of.0), L::guess(of.1)) } }
    #[inline(always)] unsafe fn mul_add(self, by: Self, to: Self) -> Self {
        unsafe { Two(self.0.mul_add(by.0, to.0), self.1.mul_add(by.1, to.1)) }
    }
    #[inline(always)] unsafe fn mul_sub_from(self, by: Self, to: Self) -> Self {
        unsafe { Two(self.0.mul_sub_from(by.0, to.0), self.1.mul_sub_from(by.1, to.1)) }
    }
    #[inline(always)] unsafe fn max(self, other: Self) -> Self { unsafe { Two(self.0.max(other.0), self.1.max(other.1)) } }
    #[inline(always)] unsafe fn min(self, other: Self) -> Self { unsafe { Two(self.0.min(other.0), self.1.min(other.1)) } }
    #[inline(always)] unsafe fn if_greater(self, than: Self, yes: Self, no: Self) -> Self {
        unsafe { Two(self.0.if_greater(than.0, yes.0, no.0), self.1.if_greater(than.1, yes.1, no.1)) }
    }
    #[inline(always)] unsafe fn have_nan(self, other: Self) -> bool { unsafe { self.0.have_nan(other.0) || self.1.have_nan(other.1) } }
}

#[rustfmt::skip]
impl<L: Numbers> Numbers for Two<L> {
    // SAFETY of all: as above.
    #[inline(always)] unsafe fn larger(self, numbers: Self, value: Self, number: Self) -> (Self, Self) {
        let (a, b) = unsafe {
            (self.0.larger(numbers.0, value.0, number.0), self.1.larger(numbers.1, value.1, number.1))
        };
        (Two(a.0, b.0), Two(a.1, b.1))
    }
    #[inline(always)] unsafe fn if_same(self, other: Self, yes: Self, no: Self) -> Self {
        unsafe { Two(self.0.if_same(other.0, yes.0, no.0), self.1.if_same(other.1, yes.1, no.1)) }
    }
    #[inline(always)] unsafe fn load_bytes(from: *const u8) -> Self {
        unsafe { Two(L::load_bytes(from), L::load_bytes(from.add(L::COUNT))) }
    }
    #[inline(always)] unsafe fn store_bytes(self, to: *mut u8) {
        unsafe { self.0.store_bytes(to); self.1.store_bytes(to.add(L::COUNT)) }
    }
}

/// Lanes that are whole numbers in the bits of floats: which element of its window a maximum is.
///
/// # Safety
///
/// As of [`Lanes`]; `load_bytes` and `store_bytes` touch `COUNT` bytes.
#[allow(clippy::missing_safety_doc)]
pub(crate) trait Numbers: Lanes {
    /// The larger of this maximum and the value, with its number, `numbers` or `number`: the value where it is larger or not a number.
    unsafe fn larger(self, numbers: Self, value: Self, number: Self) -> (Self, Self);
    /// `if self == other { yes } else { no }`, of numbers.
    unsafe fn if_same(self, other: Self, yes: Self, no: Self) -> Self;
    /// Numbers from bytes.
    unsafe fn load_bytes(from: *const u8) -> Self;
    /// Numbers as bytes.
    unsafe fn store_bytes(self, to: *mut u8);
    /// The same number in all lanes.
    #[inline(always)]
    unsafe fn number(number: usize) -> Self {
        // SAFETY: as of this function.
        unsafe { Self::splat(f32::from_bits(number as u32)) }
    }
}

/// Numbers in vectors of any kind, lane by lane.
macro_rules! lane_by_lane {
    ($lanes:ty, $count:literal) => {
        // SAFETY of every block: arrays are as long as the vector; pointers are as the traits say.
        impl Numbers for $lanes {
            #[inline(always)]
            unsafe fn larger(self, numbers: Self, value: Self, number: Self) -> (Self, Self) {
                let [mut max, mut at, of, number] = [self, numbers, value, number].map(floats);
                for lane in 0..$count {
                    let takes = of[lane] > max[lane] || of[lane].is_nan();
                    max[lane] = if takes { of[lane] } else { max[lane] };
                    at[lane] = if takes { number[lane] } else { at[lane] };
                }
                unsafe { (Self::load(max.as_ptr()), Self::load(at.as_ptr())) }
            }
            #[inline(always)]
            unsafe fn if_same(self, other: Self, yes: Self, no: Self) -> Self {
                let [a, b, yes, mut to] = [self, other, yes, no].map(floats);
                for lane in 0..$count {
                    to[lane] = if a[lane].to_bits() == b[lane].to_bits() { yes[lane] } else { to[lane] };
                }
                unsafe { Self::load(to.as_ptr()) }
            }
            #[inline(always)]
            unsafe fn load_bytes(from: *const u8) -> Self {
                let mut bytes = [0; 8];
                unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), $count) };
                unsafe { Self::load(bytes.map(|byte| f32::from_bits(u32::from(byte))).as_ptr()) }
            }
            #[inline(always)]
            unsafe fn store_bytes(self, to: *mut u8) {
                let numbers = floats(self).map(|number| number.to_bits() as u8);
                unsafe { to.copy_from_nonoverlapping(numbers.as_ptr(), $count) };
            }
        }
    };
}

/// The floats of a vector of at most 8, the first ones.
#[inline(always)]
fn floats<L: Lanes>(vector: L) -> [f32; 8] {
    let mut floats = [0.0; 8];
    assert!(L::COUNT <= 8);
    // SAFETY: the array is as long; only vectors of any machine are asked for.
    unsafe { vector.store(floats.as_mut_ptr()) };
    floats
}

lane_by_lane!(One, 1);
lane_by_lane!(Portable, 8);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Numbers;
    use crate::kernels::lanes::{F32x8, F32x16, Lanes, compare};

    /// The register of a vector: a store and a load that no compiler keeps.
    #[inline(always)]
    unsafe fn half(vector: F32x8) -> __m256 {
        let mut floats = [0.0; 8];
        unsafe { vector.store(floats.as_mut_ptr()) };
        unsafe { _mm256_loadu_ps(floats.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn of_half(vector: __m256) -> F32x8 {
        let mut floats = [0.0; 8];
        unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), vector) };
        unsafe { F32x8::load(floats.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn full(vector: F32x16) -> __m512 {
        let mut floats = [0.0; 16];
        unsafe { vector.store(floats.as_mut_ptr()) };
        unsafe { _mm512_loadu_ps(floats.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn of_full(vector: __m512) -> F32x16 {
        let mut floats = [0.0; 16];
        unsafe { _mm512_storeu_ps(floats.as_mut_ptr(), vector) };
        unsafe { F32x16::load(floats.as_ptr()) }
    }

    // SAFETY of every block below: whoever calls is compiled for these instructions and has asked the machine for them, by the
    // contract of `Lanes`; pointers are as the traits say.
    impl Numbers for F32x8 {
        #[inline(always)]
        unsafe fn larger(self, numbers: Self, value: Self, number: Self) -> (Self, Self) {
            unsafe {
                let (max, of) = (half(self), half(value));
                let takes = _mm256_or_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(of, max), _mm256_cmp_ps::<_CMP_UNORD_Q>(of, of));
                let numbers = _mm256_blendv_ps(half(numbers), half(number), takes);
                (of_half(_mm256_blendv_ps(max, of, takes)), of_half(numbers))
            }
        }
        #[inline(always)]
        unsafe fn if_same(self, other: Self, yes: Self, no: Self) -> Self {
            unsafe {
                let same = _mm256_cmpeq_epi32(_mm256_castps_si256(half(self)), _mm256_castps_si256(half(other)));
                of_half(_mm256_blendv_ps(half(no), half(yes), _mm256_castsi256_ps(same)))
            }
        }
        #[inline(always)]
        unsafe fn load_bytes(from: *const u8) -> Self {
            unsafe { of_half(_mm256_castsi256_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())))) }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8) {
            unsafe {
                let numbers = _mm256_castps_si256(half(self));
                let pairs = _mm_packus_epi32(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers));
                _mm_storel_epi64(to.cast(), _mm_packus_epi16(pairs, pairs));
            }
        }
    }

    impl Numbers for F32x16 {
        #[inline(always)]
        unsafe fn larger(self, numbers: Self, value: Self, number: Self) -> (Self, Self) {
            unsafe {
                let (max, of) = (full(self), full(value));
                let takes = compare::<_CMP_GT_OQ>(of, max) | compare::<_CMP_UNORD_Q>(of, of);
                let numbers = _mm512_mask_blend_ps(takes, full(numbers), full(number));
                (of_full(_mm512_mask_blend_ps(takes, max, of)), of_full(numbers))
            }
        }
        #[inline(always)]
        unsafe fn if_same(self, other: Self, yes: Self, no: Self) -> Self {
            unsafe {
                let same = _mm512_cmpeq_epi32_mask(_mm512_castps_si512(full(self)), _mm512_castps_si512(full(other)));
                of_full(_mm512_mask_blend_ps(same, full(no), full(yes)))
            }
        }
        #[inline(always)]
        unsafe fn load_bytes(from: *const u8) -> Self {
            unsafe { of_full(_mm512_castsi512_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())))) }
        }
        #[inline(always)]
        unsafe fn store_bytes(self, to: *mut u8) {
            unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(full(self)))) }
        }
    }
}

/// The lanes of a plane that one vector holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Lanes of all planes before it.
    pub(crate) before: usize,
    /// The first of the lanes in its plane.
    pub(crate) lane: usize,
    /// Lanes of the whole plane: floats from one position to the next.
    pub(crate) lanes: usize,
    /// The channel in the first lane.
    pub(crate) channel: usize,
    /// How many of the vector's lanes are channels.
    pub(crate) channels: usize,
}

/// What a kernel does with each part of the planes.
pub(crate) trait Work {
    /// Does it.
    ///
    /// # Safety
    ///
    /// The part is one of the map's that the kernel has checked, and the vector's instructions are there.
    unsafe fn part<V: Numbers>(&mut self, part: Part);
}

/// Does the work for all lanes of all planes: full planes in the widest vectors.
///
/// # Safety
///
/// The vectors' instructions are there; the planes are those of the maps of the work.
#[inline(always)]
pub(crate) unsafe fn each_part<W: Numbers, H: Numbers>(planes: &[Plane], work: &mut impl Work) {
    let (mut first, mut before) = (0, 0);
    for &Plane { lanes, channels } in planes {
        let count = match lanes {
            16 => 16,
            8 => H::COUNT,
            _ => 1,
        };
        for lane in (0..lanes).step_by(count) {
            let part =
                Part { before, lane, lanes, channel: first + lane, channels: channels.saturating_sub(lane).min(count) };
            // SAFETY: the caller's argument; each branch's vector is of the lanes counted above.
            unsafe {
                match lanes {
                    16 if W::COUNT == 16 => work.part::<W>(part),
                    16 => work.part::<Two<H>>(part),
                    8 => work.part::<H>(part),
                    _ => work.part::<One>(part),
                }
            }
        }
        first += channels;
        before += lanes;
    }
}

/// A value in planes, to be read, of all samples of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    first: *const f32,
    stride: usize,
    pub(crate) map: &'static Blocked,
}

/// A value in planes, to be written.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    first: *mut f32,
    stride: usize,
    pub(crate) map: &'static Blocked,
}

impl Source {
    /// The rows of a view; they are its map's.
    pub(crate) fn new(view: View, rows: &Rows<'_>) -> Source {
        let map = view.map();
        assert_eq!(rows.row_len(), map.len(), "a value has its map's floats");
        Source { first: rows.as_ptr(), stride: rows.stride(), map }
    }

    /// The value from a sample on.
    pub(crate) fn from(self, sample: usize) -> Source {
        Source { first: self.first.wrapping_add(sample * self.stride), ..self }
    }

    /// The first of the part's lanes at the first position, halo included.
    ///
    /// # Safety
    ///
    /// The sample is one of the rows', the part one of the map's.
    #[inline(always)]
    pub(crate) unsafe fn of(self, sample: usize, part: Part) -> *const f32 {
        // SAFETY: inside the sample's row, which is as long as the map.
        unsafe { self.first.add(sample * self.stride + part.before * self.map.positions() + part.lane) }
    }
}

impl Target {
    /// The rows of a view; they are its map's.
    pub(crate) fn new(view: View, rows: &mut RowsMut<'_>) -> Target {
        let map = view.map();
        assert_eq!(rows.row_len(), map.len(), "a value has its map's floats");
        Target { first: rows.as_mut_ptr(), stride: rows.stride(), map }
    }

    /// The value from a sample on.
    pub(crate) fn from(self, sample: usize) -> Target {
        Target { first: self.first.wrapping_add(sample * self.stride), ..self }
    }

    /// The same value, to be read.
    pub(crate) fn source(self) -> Source {
        Source { first: self.first, stride: self.stride, map: self.map }
    }

    /// The first of the part's lanes at the first position, halo included.
    ///
    /// # Safety
    ///
    /// The sample is one of the rows', the part one of the map's.
    #[inline(always)]
    pub(crate) unsafe fn of(self, sample: usize, part: Part) -> *mut f32 {
        // SAFETY: inside the sample's row, which is as long as the map.
        unsafe { self.first.add(sample * self.stride + part.before * self.map.positions() + part.lane) }
    }
}

/// Asserts that maps have the same planes.
pub(crate) fn check_planes(maps: &[&Blocked]) {
    assert!(maps.windows(2).all(|pair| pair[0].planes == pair[1].planes), "the planes are the same");
}

/// Asserts that maps have the same planes and the same size; their halos may differ.
pub(crate) fn check_maps(maps: &[&Blocked]) {
    check_planes(maps);
    assert!(maps.windows(2).all(|pair| pair[0].size == pair[1].size), "the sizes are the same");
}

/// The first float of each line of a part in each of some maps of one size, counted from [`Source::of`].
///
/// An iterator, and no function that takes a closure: compilers do not always inline closures, and where they do not, vectors go through
/// memory and each of their operations is a call.
pub(crate) struct Lines<const N: usize> {
    at: [usize; N],
    /// Floats from line to line.
    step: [usize; N],
    /// Floats of the halo between the lines of one depth and those of the next.
    gap: [usize; N],
    /// Lines that are left of this depth.
    rest: usize,
    lines: usize,
    depths: usize,
}

impl<const N: usize> Lines<N> {
    #[inline(always)]
    pub(crate) fn new(maps: [&Blocked; N], part: Part) -> Lines<N> {
        let [depths, lines, _] = maps[0].size;
        let at = maps.map(|map| map.position(0, 0, 0) * part.lanes);
        let step = maps.map(|map| map.whole()[2] * part.lanes);
        let gap = maps.map(|map| (map.before[1] + map.after[1]) * map.whole()[2] * part.lanes);
        Lines { at, step, gap, rest: lines, lines, depths }
    }
}

impl<const N: usize> Iterator for Lines<N> {
    type Item = [usize; N];

    #[inline(always)]
    fn next(&mut self) -> Option<[usize; N]> {
        if self.rest == 0 {
            if self.depths <= 1 || self.lines == 0 {
                return None;
            }
            (self.rest, self.depths) = (self.lines, self.depths - 1);
            for n in 0..N {
                self.at[n] += self.gap[n];
            }
        }
        self.rest -= 1;
        let at = self.at;
        for n in 0..N {
            self.at[n] += self.step[n];
        }
        Some(at)
    }
}

/// Writes zeros into the part's lanes, from one float to another of [`Target::of`] it.
///
/// # Safety
///
/// The floats are positions of the part.
#[inline(always)]
pub(crate) unsafe fn clear<V: Lanes>(part: Part, first: *mut f32, from: usize, to: usize) {
    let mut at = from;
    while at < to {
        // SAFETY: the caller's argument.
        unsafe { V::splat(0.0).store(first.add(at)) };
        at += part.lanes;
    }
}

/// Writes zeros into a part's halo.
///
/// # Safety
///
/// `first` is [`Target::of`] the part of the map.
#[inline(always)]
pub(crate) unsafe fn clear_halo<V: Lanes>(map: &Blocked, part: Part, first: *mut f32) {
    if map.before == [0; 3] && map.after == [0; 3] {
        return;
    }
    // From the end of one line to the beginning of the next.
    let (mut from, len) = (0, map.size[2] * part.lanes);
    for [line] in Lines::new([map], part) {
        // SAFETY: all lie in the plane.
        unsafe { clear::<V>(part, first, from, line) };
        from = line + len;
    }
    // SAFETY: likewise.
    unsafe { clear::<V>(part, first, from, map.positions() * part.lanes) };
}

/// The vector of a part's channels: a float for each, 0 in lanes that are no channels.
///
/// # Safety
///
/// The vector's instructions are there.
#[inline(always)]
pub(crate) unsafe fn of_channels<V: Lanes>(part: Part, of: impl Fn(usize) -> f32) -> V {
    let mut floats = [0.0; 16];
    for (lane, float) in floats[..part.channels].iter_mut().enumerate() {
        *float = of(part.channel + lane);
    }
    // SAFETY: no vector is longer than the array.
    unsafe { V::load(floats.as_ptr()) }
}

/// Writes a vector's floats of a part's channels into a slice of one for each channel.
///
/// # Safety
///
/// The vector's instructions are there.
#[inline(always)]
pub(crate) unsafe fn to_channels<V: Lanes>(part: Part, vector: V, to: &mut [f32]) {
    let mut floats = [0.0; 16];
    // SAFETY: no vector is longer than the array.
    unsafe { vector.store(floats.as_mut_ptr()) };
    to[part.channel..][..part.channels].copy_from_slice(&floats[..part.channels]);
}
