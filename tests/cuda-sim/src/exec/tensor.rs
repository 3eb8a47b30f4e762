//! Matrix products of a warp, and the loads that feed them.
//!
//! Which lane holds which element is said by [`a_place`], [`b_place`] and [`c_place`], from the figures of PTX ISA 9.7.14.5 ("Matrix
//! fragments for mma.m16n8k4, k8 and k16"). A second source is CuTe's `MMA_Traits` (NVIDIA/cutlass, `include/cute/atom/mma_traits_sm80.hpp`):
//! a test below goes through its layouts, element by element.
//!
//! Products are exact and are added in f64: a device adds in f32 or a little more, in an order that is not told.

use crate::checks::Fault;
use crate::ptx::instruction::{Address, Dest, Factor, Source};
use crate::ptx::types::Space;
use crate::shadow::Kind;

use super::Block;
use super::half::{from_bf16, from_f16};
use super::warp::{LANES, Narrow, Warp};

/// Rows of the product and of its first factor; columns of it and of its second.
const ROWS: usize = 16;
const COLUMNS: usize = 8;
/// The most columns of the first factor.
const MAX_DEPTH: usize = 16;

/// Row and column of an element of the first factor: of `lane`, in its register `register`, in the half `half` of that if it holds two.
fn a_place(factor: Factor, lane: usize, register: usize, half: usize) -> (usize, usize) {
    let (group, in_group) = (lane / 4, lane % 4);
    let row = group + 8 * (register % 2);
    let column = match factor {
        Factor::Tf32 => in_group + 4 * (register / 2),
        Factor::Bf16 | Factor::F16 => 2 * in_group + half + 8 * (register / 2),
    };
    (row, column)
}

/// Row and column of an element of the second factor.
fn b_place(factor: Factor, lane: usize, register: usize, half: usize) -> (usize, usize) {
    let (group, in_group) = (lane / 4, lane % 4);
    let row = match factor {
        Factor::Tf32 => in_group + 4 * register,
        Factor::Bf16 | Factor::F16 => 2 * in_group + half + 8 * register,
    };
    (row, group)
}

/// Row and column of an element of the product.
fn c_place(lane: usize, register: usize) -> (usize, usize) {
    (lane / 4 + 8 * (register / 2), 2 * (lane % 4) + register % 2)
}

/// An element of a factor. A tf32 is an f32 whose lower 13 bits do not count.
fn element(factor: Factor, register: u32, half: usize) -> f64 {
    let bits = register >> (16 * half) & 0xffff;
    f64::from(match factor {
        Factor::Tf32 => f32::from_bits(register & 0xffff_e000),
        Factor::Bf16 => from_bf16(bits),
        Factor::F16 => from_f16(bits),
    })
}

impl Block<'_> {
    /// `mma.sync`: the product of 16 by `depth` and `depth` by 8 elements, added to a third matrix.
    pub(crate) fn mma(
        &mut self,
        warp: &mut Warp,
        factor: Factor,
        depth: usize,
        dest: &[Dest],
        [a, b, c]: [&[Source]; 3],
    ) {
        self.counters.mma += 1;
        let halves = if factor == Factor::Tf32 { 1 } else { 2 };
        let mut left = [[0f64; MAX_DEPTH]; ROWS];
        for (register, source) in a.iter().enumerate() {
            let values = self.narrow(warp, *source);
            for (lane, half) in (0..LANES).flat_map(|lane| (0..halves).map(move |half| (lane, half))) {
                let (row, column) = a_place(factor, lane, register, half);
                left[row][column] = element(factor, values[lane], half);
            }
        }
        let mut right = [[0f64; COLUMNS]; MAX_DEPTH];
        for (register, source) in b.iter().enumerate() {
            let values = self.narrow(warp, *source);
            for (lane, half) in (0..LANES).flat_map(|lane| (0..halves).map(move |half| (lane, half))) {
                let (row, column) = b_place(factor, lane, register, half);
                right[row][column] = element(factor, values[lane], half);
            }
        }
        let mut product = [[0f64; COLUMNS]; ROWS];
        for (sums, left) in product.iter_mut().zip(&left) {
            for (left, right) in left.iter().zip(&right).take(depth) {
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum += left * right;
                }
            }
        }
        // All of the third matrix is read before the product, which may be the same registers, is written.
        let added: Vec<Narrow> = c.iter().map(|source| self.narrow(warp, *source)).collect();
        for (register, dest) in dest.iter().enumerate() {
            let values = std::array::from_fn(|lane| {
                let (row, column) = c_place(lane, register);
                ((f64::from(f32::from_bits(added[register][lane])) + product[row][column]) as f32).to_bits()
            });
            warp.write32(*dest, &values, !0);
        }
    }

    /// `ldmatrix`: matrices of 8 by 8 elements of 16 bits. Lane `8m + r` has the address of row `r` of matrix `m`.
    pub(crate) fn load_matrix(
        &mut self,
        warp: &mut Warp,
        count: usize,
        transposed: bool,
        dest: &[Dest],
        address: Address,
    ) -> Result<(), Fault> {
        let addresses = self.addresses(warp, address);
        let asked = (u64::MAX >> (64 - 8 * count)) as u32;
        let rows = self.gather::<16>(warp, Space::Shared, &addresses, asked, Kind::Read)?;
        let element = |matrix: usize, row: usize, column: usize| {
            let row = &rows[8 * matrix + row];
            u32::from(u16::from_le_bytes([row[2 * column], row[2 * column + 1]]))
        };
        for (matrix, dest) in dest.iter().enumerate() {
            let values = std::array::from_fn(|lane| {
                let (row, column) = (lane / 4, 2 * (lane % 4));
                let at = |column| if transposed { element(matrix, column, row) } else { element(matrix, row, column) };
                at(column) | at(column + 1) << 16
            });
            warp.write32(*dest, &values, !0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CuTe layout of lanes and values: `((4, 8), values)` to a place in a matrix that is stored column after column.
    struct Layout {
        lane: [usize; 2],
        value: &'static [usize],
    }

    impl Layout {
        /// The place of a lane's value; the values' shape is all twos.
        fn place(&self, lane: usize, value: usize) -> usize {
            let value: usize = self.value.iter().enumerate().map(|(bit, stride)| stride * (value >> bit & 1)).sum();
            self.lane[0] * (lane % 4) + self.lane[1] * (lane / 4) + value
        }
    }

    /// Of `mma_traits_sm80.hpp`: `SM80_16x8x4_F32TF32TF32F32_TN`, `SM80_16x8x8_F32TF32TF32F32_TN`, `SM80_16x8x8_F16F16F16F16_TN`, from which
    /// the one for bf16 is derived, and `SM80_16x8x16_F16F16F16F16_TN`, likewise. `A` is (M, K) and `B` is (N, K).
    const LAYOUTS: [(Factor, usize, Layout, Layout); 4] = [
        (Factor::Tf32, 4, Layout { lane: [16, 1], value: &[8] }, Layout { lane: [8, 1], value: &[] }),
        (Factor::Tf32, 8, Layout { lane: [16, 1], value: &[8, 64] }, Layout { lane: [8, 1], value: &[32] }),
        (Factor::Bf16, 8, Layout { lane: [32, 1], value: &[16, 8] }, Layout { lane: [16, 1], value: &[8] }),
        (Factor::Bf16, 16, Layout { lane: [32, 1], value: &[16, 8, 128] }, Layout { lane: [16, 1], value: &[8, 64] }),
    ];

    /// `SM80_16x8_Row`, the layout of every product.
    const PRODUCT: Layout = Layout { lane: [32, 1], value: &[16, 8] };

    #[test]
    fn fragments_are_laid_out_as_in_cute() {
        for (factor, depth, a, b) in LAYOUTS {
            let halves = if factor == Factor::Tf32 { 1 } else { 2 };
            let mut seen = [[false; MAX_DEPTH]; ROWS];
            for lane in 0..LANES {
                for value in 0..ROWS * depth / LANES {
                    let (row, column) = a_place(factor, lane, value / halves, value % halves);
                    assert_eq!(row + ROWS * column, a.place(lane, value), "A of {factor:?} k{depth}: {lane}, {value}");
                    assert!(!std::mem::replace(&mut seen[row][column], true));
                }
                for value in 0..COLUMNS * depth / LANES {
                    let (row, column) = b_place(factor, lane, value / halves, value % halves);
                    assert_eq!(
                        column + COLUMNS * row,
                        b.place(lane, value),
                        "B of {factor:?} k{depth}: {lane}, {value}"
                    );
                }
            }
        }
        for (lane, value) in (0..LANES).flat_map(|lane| (0..4).map(move |value| (lane, value))) {
            let (row, column) = c_place(lane, value);
            assert_eq!(row + ROWS * column, PRODUCT.place(lane, value), "C: {lane}, {value}");
        }
    }
}
