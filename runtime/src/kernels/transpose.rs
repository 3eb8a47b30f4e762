//! Eight vectors of eight floats as a square whose rows become columns.
#![allow(unsafe_code)]
// Arrays of vectors stay in registers when plain loop variables index them.
#![allow(clippy::needless_range_loop)]

use crate::kernels::lanes::{Lanes, Portable};

/// Vectors of eight floats that can be transposed.
pub(crate) trait Transpose: Lanes {
    /// The vectors of the first floats, of the second ones, and so on.
    ///
    /// # Safety
    ///
    /// That of [`Lanes`].
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8];
}

/// The floats of eight vectors; a compiler keeps them in registers.
#[inline(always)]
unsafe fn floats<L: Lanes>(rows: [L; 8]) -> [[f32; 8]; 8] {
    let mut floats = [[0.0; 8]; 8];
    for row in 0..8 {
        // SAFETY: a row has the vector's eight floats; the rest is the caller's.
        unsafe { rows[row].store(floats[row].as_mut_ptr()) };
    }
    floats
}

/// The vectors of so many floats.
#[inline(always)]
unsafe fn vectors<L: Lanes>(floats: &[[f32; 8]; 8]) -> [L; 8] {
    // SAFETY: as in `floats`.
    unsafe {
        let mut rows = [L::splat(0.0); 8];
        for row in 0..8 {
            rows[row] = L::load(floats[row].as_ptr());
        }
        rows
    }
}

impl Transpose for Portable {
    #[inline(always)]
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8] {
        // SAFETY: the caller's.
        unsafe {
            let (from, mut to) = (floats(rows), [[0.0; 8]; 8]);
            for row in 0..8 {
                for column in 0..8 {
                    to[column][row] = from[row][column];
                }
            }
            vectors(&to)
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Transpose for crate::kernels::lanes::F32x8 {
    #[inline(always)]
    unsafe fn transpose(rows: [Self; 8]) -> [Self; 8] {
        use std::arch::x86_64::*;
        // SAFETY: arrays have eight floats for each vector; the caller is compiled for AVX2.
        unsafe {
            let from = floats(rows);
            let mut r = [_mm256_setzero_ps(); 8];
            for row in 0..8 {
                r[row] = _mm256_loadu_ps(from[row].as_ptr());
            }
            // Pairs of rows, then fours, then all eight.
            let mut pairs = r;
            for pair in 0..4 {
                pairs[2 * pair] = _mm256_unpacklo_ps(r[2 * pair], r[2 * pair + 1]);
                pairs[2 * pair + 1] = _mm256_unpackhi_ps(r[2 * pair], r[2 * pair + 1]);
            }
            let mut fours = r;
            for half in 0..2 {
                let at = 4 * half;
                fours[at] = _mm256_shuffle_ps::<0x44>(pairs[at], pairs[at + 2]);
                fours[at + 1] = _mm256_shuffle_ps::<0xee>(pairs[at], pairs[at + 2]);
                fours[at + 2] = _mm256_shuffle_ps::<0x44>(pairs[at + 1], pairs[at + 3]);
                fours[at + 3] = _mm256_shuffle_ps::<0xee>(pairs[at + 1], pairs[at + 3]);
            }
            let mut to = [[0.0; 8]; 8];
            for row in 0..4 {
                let (low, high) = (fours[row], fours[row + 4]);
                _mm256_storeu_ps(to[row].as_mut_ptr(), _mm256_permute2f128_ps::<0x20>(low, high));
                _mm256_storeu_ps(to[row + 4].as_mut_ptr(), _mm256_permute2f128_ps::<0x31>(low, high));
            }
            vectors(&to)
        }
    }
}

/// Writes the transpose of `[rows][columns]`, whose rows begin `from_stride` apart, as `[columns][rows]`, or adds it.
///
/// # Safety
///
/// That of [`Lanes`]; both are inside memory that may be read and written, and do not overlap.
#[inline(always)]
pub(crate) unsafe fn transpose<H: Transpose, const ADDS: bool>(
    from: *const f32,
    from_stride: usize,
    rows: usize,
    columns: usize,
    to: *mut f32,
    to_stride: usize,
) {
    // SAFETY: squares lie inside both; beside them, one float at a time.
    unsafe {
        let (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
        for row in (0..whole_rows).step_by(8) {
            for column in (0..whole_columns).step_by(8) {
                let mut square = [H::splat(0.0); 8];
                for line in 0..8 {
                    square[line] = H::load(from.add((row + line) * from_stride + column));
                }
                let square = H::transpose(square);
                for line in 0..8 {
                    let to = to.add((column + line) * to_stride + row);
                    let line = if ADDS { H::load(to).add(square[line]) } else { square[line] };
                    line.store(to);
                }
            }
        }
        for row in 0..rows {
            for column in if row < whole_rows { whole_columns } else { 0 }..columns {
                let (to, from) = (to.add(column * to_stride + row), *from.add(row * from_stride + column));
                *to = if ADDS { *to + from } else { from };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::kernels::lanes::dispatch;

    dispatch! {
        fn transposed(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) = kernel;
    }

    #[inline(always)]
    unsafe fn kernel<W: Lanes, H: Transpose>(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
        // SAFETY: both have rows times columns floats, and a stride more in each row.
        unsafe { transpose::<H, false>(from.as_ptr(), columns + 1, rows, columns, to.as_mut_ptr(), rows + 2) }
    }

    #[test]
    fn rows_become_columns() {
        for isa in Isa::available() {
            for (rows, columns) in [(8, 8), (1, 20), (20, 1), (19, 27), (16, 24), (7, 7)] {
                let from: Vec<f32> = (0..rows * (columns + 1)).map(|at| at as f32).collect();
                let mut to = vec![-1.0; columns * (rows + 2)];
                transposed(isa, &from, rows, columns, &mut to);
                for (at, to) in to.iter().enumerate() {
                    let (column, row) = (at / (rows + 2), at % (rows + 2));
                    let wanted = if row < rows { (row * (columns + 1) + column) as f32 } else { -1.0 };
                    assert_eq!(*to, wanted, "{isa}: {row}, {column} of {rows} x {columns}");
                }
            }
        }
    }
}
