//! The product of rows of x with the weights of outputs, whose vectors' lanes are rows: on the weights as they lie, and packed.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::{LINE, Linear, Lines, Matrix, MatrixMut, prefetch};
use crate::arena::Pack;
use crate::isa::Isa;
use crate::kernels::Act;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::transpose::Transpose;

/// Floats of the transposed inputs that a product has at once: 32 KiB of 64 rows, which then meet each line of weights less often, and of
/// other rows half of it, or as many inputs as a panel of packed weights has; a part of the first cache.
const PANEL: usize = 8192;

/// Floats of the sums that it has at once: those of 64 rows and 528 outputs, 132 KiB, a part of the second cache. The more, the less often
/// inputs are transposed.
const SUMS: usize = 22 * OUTPUTS * 64;

/// Outputs of a task are a multiple of these: whole blocks, and whole times eight chains at once.
const OUTPUTS: usize = 24;

/// Outputs of a block of packed weights: as many as have chains at once.
const BLOCK: usize = 6;

/// Inputs of a panel of packed weights: as many of 64 rows are transposed at once.
const INPUTS: usize = PANEL / 64;

/// Output rows that one task of a batch has: as many as have sums at once, for which the inputs are transposed once; fewer, so that each
/// thread has some.
pub(super) fn outputs_of_task(outputs: usize, threads: usize) -> usize {
    outputs.div_ceil(2 * threads).next_multiple_of(OUTPUTS).clamp(3 * OUTPUTS, SUMS / 64)
}

/// Floats of a packed weight.
pub fn packed_len(linear: &Linear) -> usize {
    linear.inputs * linear.outputs.next_multiple_of(BLOCK)
}

/// Packs the weight `[outputs][inputs]` for [`forward_packed`](super::forward_packed), at `to`: `[panel of 128 inputs][block of 6
/// outputs][input][output]`, zero for outputs that there are not. A product then reads it from the first float to the last.
pub fn pack(p: &mut Pack<'_>, linear: &Linear, weight: usize, to: usize) {
    let Linear { inputs, outputs, .. } = *linear;
    let weight = &p.params[weight..][..outputs * inputs];
    let lanes = outputs.next_multiple_of(BLOCK);
    for first in (0..inputs).step_by(INPUTS) {
        let count = INPUTS.min(inputs - first);
        // SAFETY: panels lie one behind the other, and the copies of the model's weights too.
        let Some(panel) = (unsafe { p.part(to + first * lanes, count * lanes) }) else { continue };
        for (block, packed) in panel.chunks_exact_mut(count * BLOCK).enumerate() {
            for lane in 0..BLOCK {
                let output = block * BLOCK + lane;
                let row = (output < outputs).then(|| &weight[output * inputs + first..][..count]);
                let to = packed[lane..].iter_mut().step_by(BLOCK);
                match row {
                    Some(row) => to.zip(row).for_each(|(to, &weight)| *to = weight),
                    None => to.for_each(|to| *to = 0.0),
                }
            }
        }
    }
}

/// The weights of a product.
trait Weights: Copy {
    /// Floats from an input to the next.
    const STEP: usize;
    /// Whether there are weights for whole blocks of outputs.
    const WHOLE: bool;

    /// Floats from an output to the next, inside a block.
    fn stride(self) -> usize;

    /// The weight of an output, the first of a block, and of the first of `count` inputs of a panel.
    ///
    /// # Safety
    ///
    /// There are such weights.
    unsafe fn at(self, output: usize, input: usize, count: usize) -> *const f32;
}

impl Weights for Matrix<'_> {
    const STEP: usize = 1;
    const WHOLE: bool = false;

    #[inline(always)]
    fn stride(self) -> usize {
        self.stride
    }

    #[inline(always)]
    unsafe fn at(self, output: usize, input: usize, _: usize) -> *const f32 {
        // SAFETY: inside the matrix, by the caller's word.
        unsafe { self.first.add(output * self.stride + input) }
    }
}

/// Packed weights from an output on, the first of a block.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    first: *const f32,
    inputs: usize,
    /// Outputs of all blocks.
    lanes: usize,
    output: usize,
    of: PhantomData<&'a [f32]>,
}

impl<'a> Packed<'a> {
    pub(super) fn new(packed: &'a [f32], linear: &Linear, output: usize) -> Packed<'a> {
        assert!(packed.len() == packed_len(linear) && output.is_multiple_of(BLOCK), "packed weights, whole blocks");
        let lanes = linear.outputs.next_multiple_of(BLOCK);
        Packed { first: packed.as_ptr(), inputs: linear.inputs, lanes, output, of: PhantomData }
    }
}

impl Weights for Packed<'_> {
    const STEP: usize = BLOCK;
    const WHOLE: bool = true;

    #[inline(always)]
    fn stride(self) -> usize {
        1
    }

    #[inline(always)]
    unsafe fn at(self, output: usize, input: usize, count: usize) -> *const f32 {
        // SAFETY: behind the panels of the inputs before, the panel's blocks of the outputs before; there is such a weight, by the caller's
        // word.
        unsafe { self.first.add(input * self.lanes + (self.output + output) * count) }
    }
}

dispatch! {
    /// `y[r][o] = act(bias[o] + sum over i of weight[o][i] x[r][i])`.
    fn forward_of(x: Matrix<'_>, weight: Matrix<'_>, bias: Option<&[f32]>, act: Act, y: MatrixMut<'_>) = forward_kernel;
    /// The same, of packed weights.
    fn packed_of(x: Matrix<'_>, weight: Packed<'_>, bias: Option<&[f32]>, act: Act, y: MatrixMut<'_>) = packed_kernel;
}

/// `y[r][o] = act(bias[o] + sum over i of weight[o][i] x[r][i])`.
pub(super) fn forward_rows(
    isa: Isa,
    x: Matrix<'_>,
    weight: Matrix<'_>,
    bias: Option<&[f32]>,
    act: Act,
    y: MatrixMut<'_>,
) {
    assert!(x.rows == y.rows && x.cols == weight.cols && y.cols == weight.rows, "the sizes of a product fit");
    assert!(x.step == 1 && weight.step == 1 && bias.is_none_or(|bias| bias.len() == y.cols), "contiguous rows");
    forward_of(isa, x, weight, bias, act, y);
}

/// [`forward_rows`] of packed weights.
pub(super) fn forward_packed_rows(
    isa: Isa,
    x: Matrix<'_>,
    weight: Packed<'_>,
    bias: Option<&[f32]>,
    act: Act,
    y: MatrixMut<'_>,
) {
    let outputs = weight.output + y.cols.next_multiple_of(BLOCK);
    assert!(x.rows == y.rows && x.cols == weight.inputs && outputs <= weight.lanes, "the sizes of a product fit");
    assert!(x.step == 1 && bias.is_none_or(|bias| bias.len() == y.cols), "contiguous rows");
    packed_of(isa, x, weight, bias, act, y);
}

/// [`forward_rows`], whose vectors' lanes are rows of x: each weight is broadcast to up to 64 of them. A core that adds 32 products at once
/// cannot read a weight for each 16: the more rows, the fewer of its reads are weights.
#[inline(always)]
unsafe fn forward_kernel<W: Lanes, H: Transpose>(
    x: Matrix<'_>,
    weight: Matrix<'_>,
    bias: Option<&[f32]>,
    act: Act,
    y: MatrixMut<'_>,
) {
    let layer = Layer { x, weight, bias, act, y };
    let mut first = 0;
    while first < layer.x.rows {
        // SAFETY: the sizes fit (`forward_rows`), and there is a row from `first` on.
        first += unsafe {
            if layer.x.rows - first <= 8 {
                forward_panel::<H, H, _, 1, 8>(&layer, first)
            } else if W::COUNT == 16 {
                match layer.x.rows - first {
                    ..=16 => forward_panel::<W, H, _, 1, 8>(&layer, first),
                    17..=32 => forward_panel::<W, H, _, 2, 8>(&layer, first),
                    _ => forward_panel::<W, H, _, 4, BLOCK>(&layer, first),
                }
            } else {
                forward_panel::<W, H, _, 2, BLOCK>(&layer, first)
            }
        };
    }
}

/// [`forward_kernel`] of packed weights: blocks of outputs for any number of rows.
#[inline(always)]
unsafe fn packed_kernel<W: Lanes, H: Transpose>(
    x: Matrix<'_>,
    weight: Packed<'_>,
    bias: Option<&[f32]>,
    act: Act,
    y: MatrixMut<'_>,
) {
    let layer = Layer { x, weight, bias, act, y };
    let mut first = 0;
    while first < layer.x.rows {
        // SAFETY: the sizes fit (`forward_packed_rows`), and there is a row from `first` on.
        first += unsafe {
            match layer.x.rows - first {
                ..=8 => forward_panel::<H, H, _, 1, BLOCK>(&layer, first),
                9..=16 if W::COUNT == 16 => forward_panel::<W, H, _, 1, BLOCK>(&layer, first),
                33.. if W::COUNT == 16 => forward_panel::<W, H, _, 4, BLOCK>(&layer, first),
                _ => forward_panel::<W, H, _, 2, BLOCK>(&layer, first),
            }
        };
    }
}

/// What a product computes.
struct Layer<'a, S> {
    x: Matrix<'a>,
    weight: S,
    bias: Option<&'a [f32]>,
    act: Act,
    y: MatrixMut<'a>,
}

/// The rows of y from `first` on whose sums V vectors have, O outputs at once. Gives how many there may be.
#[inline(always)]
unsafe fn forward_panel<L: Lanes, H: Transpose, S: Weights, const V: usize, const O: usize>(
    layer: &Layer<'_, S>,
    first: usize,
) -> usize {
    let lanes = V * L::COUNT;
    let (inputs, outputs) = (layer.x.cols, layer.y.cols);
    let mut panel = MaybeUninit::<Lines<PANEL>>::uninit();
    let mut sums = MaybeUninit::<Lines<SUMS>>::uninit();
    let (panel, sums) = (panel.as_mut_ptr().cast::<f32>(), sums.as_mut_ptr().cast::<f32>());
    const { assert!(!S::WHOLE || O == BLOCK) };
    // Packed weights are in panels of as many inputs for any rows.
    let most_inputs = if S::WHOLE || lanes == 64 { INPUTS } else { PANEL / 2 / lanes };
    // Whole blocks, of which there are sums.
    let most_outputs = if S::WHOLE { SUMS / lanes / O * O } else { SUMS / lanes };
    for output in (0..outputs).step_by(most_outputs) {
        let some_outputs = most_outputs.min(outputs - output);
        let sums_of = if S::WHOLE { some_outputs.next_multiple_of(O) } else { some_outputs };
        // SAFETY: `panel` has room for `most_inputs` vectors of lanes and `sums` for `most_outputs`; of both only what has been written is
        // read. Outputs, inputs and rows are inside their matrices, and packed weights there are for whole blocks.
        unsafe {
            for at in 0..sums_of {
                let bias = layer.bias.filter(|_| at < some_outputs);
                let bias = L::splat(bias.map_or(0.0, |bias| *bias.get_unchecked(output + at)));
                for v in 0..V {
                    bias.store(sums.add(at * lanes + v * L::COUNT));
                }
            }
            for input in (0..inputs).step_by(most_inputs) {
                let some_inputs = most_inputs.min(inputs - input);
                for group in (0..lanes).step_by(8) {
                    gather::<H>(layer, first + group, input, some_inputs, panel.add(group), lanes);
                }
                let of = |at: usize| (layer.weight.at(output + at, input, some_inputs), sums.add(at * lanes));
                let mut at = 0;
                while at + O <= sums_of {
                    let (first, sums) = of(at);
                    chains::<L, S, V, O>(panel, some_inputs, layer.weight, first, sums);
                    at += O;
                }
                while at + 4 <= sums_of && !S::WHOLE {
                    let (first, sums) = of(at);
                    chains::<L, S, V, 4>(panel, some_inputs, layer.weight, first, sums);
                    at += 4;
                }
                while at < sums_of && !S::WHOLE {
                    let (first, sums) = of(at);
                    chains::<L, S, V, 1>(panel, some_inputs, layer.weight, first, sums);
                    at += 1;
                }
            }
            for group in (0..lanes).step_by(8) {
                scatter::<H>(layer, first + group, output, some_outputs, sums.add(group), lanes);
            }
        }
    }
    lanes
}

/// `panel[i][lane] = x[first + lane][input + i]`, eight lanes; lanes behind the last row have it again.
#[inline(always)]
unsafe fn gather<H: Transpose>(
    layer: &Layer<'_, impl Sized>,
    first: usize,
    input: usize,
    count: usize,
    panel: *mut f32,
    lanes: usize,
) {
    // SAFETY: rows and inputs are inside x; the panel has `count` vectors.
    unsafe {
        let mut rows = [layer.x.first; 8];
        for lane in 0..8 {
            rows[lane] = layer.x.first.add((first + lane).min(layer.x.rows - 1) * layer.x.stride + input);
        }
        let mut at = 0;
        while at + 8 <= count {
            let mut square = [H::splat(0.0); 8];
            for lane in 0..8 {
                square[lane] = H::load(rows[lane].add(at));
            }
            let square = H::transpose(square);
            for i in 0..8 {
                square[i].store(panel.add((at + i) * lanes));
            }
            at += 8;
        }
        while at < count {
            for lane in 0..8 {
                *panel.add(at * lanes + lane) = *rows[lane].add(at);
            }
            at += 1;
        }
    }
}

/// `sums[o][lane] += sum over i of weight[o][i] panel[i][lane]`.
#[inline(always)]
unsafe fn chains<L: Lanes, S: Weights, const V: usize, const O: usize>(
    panel: *const f32,
    count: usize,
    weights: S,
    first_weight: *const f32,
    sums: *mut f32,
) {
    let stride = weights.stride();
    // SAFETY: the panel has `count` vectors, and there are as many weights of O outputs from the first on; `sums` has O vectors.
    unsafe {
        let lanes = V * L::COUNT;
        let mut chains = [[L::splat(0.0); V]; O];
        for o in 0..O {
            for v in 0..V {
                chains[o][v] = L::load(sums.add(o * lanes + v * L::COUNT));
            }
        }
        let mut rows = [first_weight; O];
        for o in 0..O {
            rows[o] = first_weight.add(o * stride);
        }
        for first in (0..count).step_by(LINE) {
            if V > 1 {
                for o in 0..O {
                    // The weights of the next outputs, for the same inputs: those of large batches come from far.
                    prefetch(match S::WHOLE {
                        true => first_weight.wrapping_add((first + count) * O + o * LINE),
                        false => rows[o].wrapping_add(first + O * stride),
                    });
                }
            }
            for i in first..count.min(first + LINE) {
                let mut x = [L::splat(0.0); V];
                for v in 0..V {
                    x[v] = L::load(panel.add(i * lanes + v * L::COUNT));
                }
                for o in 0..O {
                    let weight = L::splat(*rows[o].add(i * S::STEP));
                    for v in 0..V {
                        chains[o][v] = weight.mul_add(x[v], chains[o][v]);
                    }
                }
            }
        }
        for o in 0..O {
            for v in 0..V {
                chains[o][v].store(sums.add(o * lanes + v * L::COUNT));
            }
        }
    }
}

/// `y[first + lane][output + o] = act(sums[o][lane])`, eight lanes, as far as there are rows.
#[inline(always)]
unsafe fn scatter<H: Transpose>(
    layer: &Layer<'_, impl Sized>,
    first: usize,
    output: usize,
    count: usize,
    sums: *const f32,
    lanes: usize,
) {
    let rows = layer.y.rows.saturating_sub(first).min(8);
    if rows == 0 {
        return;
    }
    // SAFETY: rows and outputs are inside y; `sums` has `count` vectors.
    unsafe {
        for at in (0..count).step_by(8) {
            let some = (count - at).min(8);
            let mut square = [H::splat(0.0); 8];
            for o in 0..8 {
                // Those behind the last are the last again, and not stored.
                square[o] = H::load(sums.add((at + o.min(some - 1)) * lanes));
            }
            let square = H::transpose(layer.act.apply_all(square));
            let y = layer.y.first.add(first * layer.y.stride + output + at);
            let mut floats = [[0.0_f32; 8]; 8];
            for lane in 0..8 {
                square[lane].store(floats[lane].as_mut_ptr());
            }
            for lane in 0..rows {
                std::ptr::copy_nonoverlapping(floats[lane].as_ptr(), y.add(lane * layer.y.stride), some);
            }
        }
    }
}
