//! The most fused multiply-adds that a core does: what a machine gives at the moment, and what kernels are measured by.
//!
//! Twelve chains that do not wait for each other hide the latency of the instruction on every processor so far.
#![allow(unsafe_code)]

use std::hint::black_box;

use netspec::Isa;

use netspec_tests::clock::cpu_seconds;

const CHAINS: usize = 12;
/// Links of a chain in one burst: a millisecond or two.
const LINKS: usize = 400_000;
/// The best of them counts, so that one that was disturbed does not.
const BURSTS: usize = 10;

/// GFLOP a second of processor time; a multiplication and an addition are two.
pub(crate) fn probe(isa: Isa) -> f64 {
    let (lanes, chains): (usize, fn(usize) -> f32) = match isa.name() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` is had only of the machine, which has these instructions: its constructors ask for them.
        "avx512" => (16, |links| unsafe { x86::avx512(links) }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: likewise.
        "avx2" => (8, |links| unsafe { x86::avx2(links) }),
        _ => (8, portable),
    };
    let burst = |_| {
        let begin = cpu_seconds();
        black_box(chains(black_box(LINKS)));
        (2 * CHAINS * lanes * LINKS) as f64 * 1e-9 / (cpu_seconds() - begin)
    };
    (0..BURSTS).map(burst).fold(0.0, f64::max)
}

/// Rounds after each product, as the portable kernels do.
fn portable(links: usize) -> f32 {
    let mut sums = [[1.0_f32; 8]; CHAINS];
    for _ in 0..links {
        for sum in &mut sums {
            for lane in sum {
                *lane = *lane * 0.999_999 + 1e-7;
            }
        }
    }
    sums.as_flattened().iter().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm_cvtss_f32, _mm256_add_ps, _mm256_castps256_ps128, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_add_ps,
        _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
    };

    use super::CHAINS;

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(links: usize) -> f32 {
        let mut sums = [_mm512_set1_ps(1.0); CHAINS];
        let (by, to) = (_mm512_set1_ps(0.999_999), _mm512_set1_ps(1e-7));
        for _ in 0..links {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, by, to);
            }
        }
        _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_set1_ps(0.0), |sum, more| _mm512_add_ps(sum, more)))
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(links: usize) -> f32 {
        let mut sums = [_mm256_set1_ps(1.0); CHAINS];
        let (by, to) = (_mm256_set1_ps(0.999_999), _mm256_set1_ps(1e-7));
        for _ in 0..links {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, by, to);
            }
        }
        let sum = sums.into_iter().fold(_mm256_set1_ps(0.0), |sum, more| _mm256_add_ps(sum, more));
        _mm_cvtss_f32(_mm256_castps256_ps128(sum))
    }
}
