//! Fully connected layers, on the parameters as they lie, and of large ones in inference on a packed copy.
//!
//! An element of a result is one chain of fused multiply-adds: over the inputs in order, from the bias on, in [`forward`]; over the
//! outputs in [`grad_input`]; over the samples, and their rows, in [`grad_weight`]. So its bits depend on no vector's width and on no
//! sample beside it.
#![allow(unsafe_code)]
// Arrays of vectors stay in registers when plain loop variables index them.
#![allow(clippy::needless_range_loop)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::arena::{Parts, Region, Rows, RowsMut, Tile, View};
use crate::isa::Isa;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::{Act, Store};
use crate::pool;
use crate::run::{self, Run, Whole};

mod forward;

use forward::{Packed, forward_packed_rows, forward_rows, outputs_of_task};
pub use forward::{pack, packed_len};

/// Output rows of the weight that one task of [`grad_weight_batch`] has.
const TASK: usize = 64;

/// A linear layer's geometry. The weight is `[outputs][inputs]`, a sample's value `[rows][inputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Positions of a sample: all dimensions but the last.
    pub rows: usize,
    /// The last dimension of the input.
    pub inputs: usize,
    /// The last dimension of the output.
    pub outputs: usize,
}

impl Linear {
    fn check(&self, x: View, y: View) {
        assert_eq!(x.len, self.rows * self.inputs, "the input is [rows][inputs]");
        assert_eq!(y.len, self.rows * self.outputs, "the output is [rows][outputs]");
    }
}

/// `y[r][o] = act(bias[o] + sum over i of weight[o][i] x[r][i])`.
pub fn forward(t: &mut Tile<'_>, linear: &Linear, x: View, weight: usize, bias: Option<usize>, act: Act, y: View) {
    linear.check(x, y);
    let act = act.of(t.numerics);
    let Linear { rows, inputs, outputs } = *linear;
    let Parts { reads: [x], writes: [mut y], params, isa, .. } = t.parts([x], [y]);
    let weight = Matrix::new(&params[weight..], outputs, inputs, inputs);
    let bias = bias.map(|bias| &params[bias..][..outputs]);
    if rows == 1 {
        forward_rows(isa, Matrix::of_rows(&x), weight, bias, act, MatrixMut::of_rows(&mut y));
    } else {
        for sample in 0..x.samples() {
            let x = Matrix::new(x.row(sample), rows, inputs, inputs);
            forward_rows(isa, x, weight, bias, act, MatrixMut::new(y.row(sample), rows, outputs, outputs));
        }
    }
}

/// [`forward`] of the whole batch, whose memory has `x` and takes `y`, in parallel over outputs: the same bits. It reads the
/// weights once for all samples, where tiles read them for each eight of them.
#[allow(clippy::too_many_arguments)]
pub fn forward_batch(
    run: &mut Run<'_>,
    linear: &Linear,
    x: View,
    weight: usize,
    bias: Option<usize>,
    act: Act,
    y: View,
) {
    let Linear { inputs, outputs, .. } = *linear;
    let params = run.params;
    let weight = &params[weight..][..outputs * inputs];
    over_outputs(run, linear, x, bias, act, y, &|isa, x, first, bias, act, y| {
        let weight = Matrix::new(&weight[first * inputs..], y.cols, inputs, inputs);
        forward_rows(isa, x, weight, bias, act, y);
    });
}

/// [`forward_batch`] of a weight that [`pack`] has put at `packed`: the same bits, sooner.
#[allow(clippy::too_many_arguments)]
pub fn forward_packed(
    run: &mut Run<'_>,
    linear: &Linear,
    x: View,
    packed: usize,
    bias: Option<usize>,
    act: Act,
    y: View,
) {
    assert_eq!(linear.rows, 1, "one row for each sample");
    let copies = run.packed;
    let packed = &copies[packed..][..packed_len(linear)];
    over_outputs(run, linear, x, bias, act, y, &|isa, x, first, bias, act, y| {
        forward_packed_rows(isa, x, Packed::new(packed, linear, first), bias, act, y);
    });
}

/// What a task of [`forward_batch`] does: the instructions, rows of x, the first output, the biases, the activation, and where it goes.
type Task<'a> = dyn Fn(Isa, Matrix<'_>, usize, Option<&[f32]>, Act, MatrixMut<'_>) + Sync + 'a;

/// Runs the tasks of [`forward_batch`], each of some outputs.
fn over_outputs(run: &mut Run<'_>, linear: &Linear, x: View, bias: Option<usize>, act: Act, y: View, task: &Task<'_>) {
    linear.check(x, y);
    let Linear { rows, inputs, outputs } = *linear;
    let mut whole = run.whole();
    let batch = Shared::of(&mut whole, x, y);
    let (samples, stride, isa, params) = (whole.samples, whole.batch_stride, whole.isa, whole.params);
    let act = act.of(whole.numerics);
    // Rows that are one behind the other in memory are one matrix.
    let (products, count, x_stride, y_stride) =
        if rows == 1 { (1, samples, stride, stride) } else { (samples, rows, inputs, outputs) };
    let most = outputs_of_task(outputs, whole.threads);
    pool::run(whole.threads, outputs.div_ceil(most), &|_, number| {
        let first = number * most;
        let some = most.min(outputs - first);
        let bias = bias.map(|bias| &params[bias + first..][..some]);
        for product in 0..products {
            // SAFETY: rows of x and y in rows of the batch's memory (`Shared::of`), which is borrowed until the region ends. Nobody writes
            // x, and these columns of y are this task's.
            let (x, y) = unsafe {
                let batch = batch.first().add(product * stride);
                let x = batch.add(x.offset).cast_const();
                (
                    Matrix { first: x, rows: count, cols: inputs, stride: x_stride, step: 1, of: PhantomData },
                    MatrixMut {
                        first: batch.add(y.offset + first),
                        rows: count,
                        cols: some,
                        stride: y_stride,
                        of: PhantomData,
                    },
                )
            };
            task(isa, x, first, bias, act, y);
        }
    });
}

/// The batch's memory, of which each task writes floats of its own.
struct Shared(*mut f32);

// SAFETY: a pointer; whoever uses it sees to it that no two threads use one float.
unsafe impl Sync for Shared {}

impl Shared {
    /// The memory of a batch of which one value is to be read and another written.
    ///
    /// # Panics
    ///
    /// When they are not apart, or not inside it.
    fn of(whole: &mut Whole<'_>, read: View, written: View) -> Shared {
        assert!(read.region == Region::Batch && written.region == Region::Batch, "values of the whole batch");
        let (samples, stride) = (whole.samples, whole.batch_stride);
        let (read, written) = ([read.offset, read.offset + read.len], [written.offset, written.offset + written.len]);
        let apart = read[1] <= written[0] || written[1] <= read[0];
        assert!(apart && read[1] <= stride && written[1] <= stride, "values apart in their region");
        assert!(samples * stride <= whole.batch.len(), "a row for each sample");
        Shared(whole.batch.as_mut_ptr())
    }

    fn first(&self) -> *mut f32 {
        self.0
    }
}

/// `dx[r][i] = sum over o of dy[r][o] weight[o][i]`.
pub fn grad_input(t: &mut Tile<'_>, linear: &Linear, dy: View, weight: usize, dx: View, store: Store) {
    linear.check(dx, dy);
    let Linear { rows, inputs, outputs } = *linear;
    let Parts { reads: [dy], writes: [mut dx], params, isa, .. } = t.parts([dy], [dx]);
    let weight = Matrix::new(&params[weight..], outputs, inputs, inputs);
    if rows == 1 {
        multiply(isa, Matrix::of_rows(&dy), weight, store, MatrixMut::of_rows(&mut dx));
    } else {
        for sample in 0..dy.samples() {
            let dy = Matrix::new(dy.row(sample), rows, outputs, outputs);
            multiply(isa, dy, weight, store, MatrixMut::new(dx.row(sample), rows, inputs, inputs));
        }
    }
}

/// [`grad_input`] of the whole batch, whose memory has `dy` and takes `dx`, in parallel over blocks of inputs: the same bits. It reads the
/// weights once for all samples.
pub fn grad_input_batch(run: &mut Run<'_>, linear: &Linear, dy: View, weight: usize, dx: View, store: Store) {
    linear.check(dx, dy);
    assert!(linear.rows == 1, "one row for each sample");
    let Linear { inputs, outputs, .. } = *linear;
    let mut whole = run.whole();
    let batch = Shared::of(&mut whole, dy, dx);
    let (samples, stride, isa) = (whole.samples, whole.batch_stride, whole.isa);
    let weight = &whole.params[weight..][..outputs * inputs];
    let most = inputs.div_ceil(2 * whole.threads).next_multiple_of(64);
    pool::run(whole.threads, inputs.div_ceil(most), &|_, block| {
        let first = block * most;
        let some = most.min(inputs - first);
        let weight = Matrix::new(&weight[first..], outputs, some, inputs);
        // SAFETY: rows of dy and dx in rows of the batch's memory (`Shared::of`), which is borrowed until the region ends. Nobody writes
        // dy, and these columns of dx are this task's.
        let (dy, dx) = unsafe {
            let (dy, dx) = (batch.first().add(dy.offset).cast_const(), batch.first().add(dx.offset + first));
            (
                Matrix { first: dy, rows: samples, cols: outputs, stride, step: 1, of: PhantomData },
                MatrixMut { first: dx, rows: samples, cols: some, stride, of: PhantomData },
            )
        };
        multiply(isa, dy, weight, store, dx);
    });
}

/// Adds to the tile's gradient, at `weight` and `bias`: `dweight[o][i] = sum over samples, r of dy[r][o] x[r][i]`, `dbias[o] = sum
/// over samples, r of dy[r][o]`.
pub fn grad_weight(t: &mut Tile<'_>, linear: &Linear, x: View, dy: View, weight: usize, bias: Option<usize>) {
    linear.check(x, dy);
    let Linear { rows, inputs, outputs } = *linear;
    let Parts { reads: [x, dy], gradients, isa, .. } = t.parts([x, dy], []);
    if let Some(bias) = bias {
        let bias = &mut gradients[bias..][..outputs];
        for sample in 0..dy.samples() {
            dy.row(sample).chunks_exact(outputs).for_each(|dy| Store::Add.put(bias, dy.iter().copied()));
        }
    }
    let weight = &mut gradients[weight..][..outputs * inputs];
    if rows == 1 {
        let (x, dy) = (Matrix::of_rows(&x), Matrix::of_rows(&dy).transposed());
        multiply(isa, dy, x, Store::Add, MatrixMut::new(weight, outputs, inputs, inputs));
    } else {
        for sample in 0..x.samples() {
            let x = Matrix::new(x.row(sample), rows, inputs, inputs);
            let dy = Matrix::new(dy.row(sample), rows, outputs, outputs).transposed();
            multiply(isa, dy, x, Store::Add, MatrixMut::new(weight, outputs, inputs, inputs));
        }
    }
}

/// [`grad_weight`] of the whole batch, whose memory has `x` and `dy`, in parallel over blocks of outputs: adds to the model's gradient, or
/// writes the weight's, where nothing else has or will before it; the bias's is added.
#[allow(clippy::too_many_arguments)]
pub fn grad_weight_batch(
    run: &mut Run<'_>,
    linear: &Linear,
    x: View,
    dy: View,
    weight: usize,
    bias: Option<usize>,
    store: Store,
) {
    linear.check(x, dy);
    assert!(x.region == Region::Batch && dy.region == Region::Batch, "values of the whole batch");
    let Linear { rows, inputs, outputs } = *linear;
    let whole = run.whole();
    let (samples, stride, isa) = (whole.samples, whole.batch_stride, whole.isa);
    if samples == 0 {
        store.begin(&mut whole.gradients[weight..][..outputs * inputs]);
        return;
    }
    let (x, dy) = (&whole.batch[x.offset..], &whole.batch[dy.offset..]);
    if let Some(bias) = bias {
        let bias = &mut whole.gradients[bias..][..outputs];
        for sample in 0..samples {
            let dy = &dy[sample * stride..][..rows * outputs];
            dy.chunks_exact(outputs).for_each(|dy| Store::Add.put(bias, dy.iter().copied()));
        }
    }
    let weight = &mut whole.gradients[weight..][..outputs * inputs];
    run::blocks(whole.threads, [weight], TASK * inputs, &|first, [weight]| {
        let (first, count) = (first / inputs, weight.len() / inputs);
        // One product along all samples when a sample is one row, else one for each.
        let (products, terms, x_stride, dy_stride) =
            if rows == 1 { (1, samples, stride, stride) } else { (samples, rows, inputs, outputs) };
        for product in 0..products {
            let x = Matrix::new(&x[product * stride..], terms, inputs, x_stride);
            let dy = Matrix::new(&dy[product * stride + first..], terms, count, dy_stride).transposed();
            let store = if product == 0 { store } else { Store::Add };
            multiply(isa, dy, x, store, MatrixMut::new(weight, count, inputs, inputs));
        }
    });
}

/// A matrix to be read. All its elements are in memory that is borrowed as long as it lives.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    first: *const f32,
    rows: usize,
    cols: usize,
    /// Floats from one row to the next.
    stride: usize,
    /// Floats from one column to the next: 1, but for a transposed one.
    step: usize,
    of: PhantomData<&'a [f32]>,
}

/// A matrix to be written, of contiguous rows that do not overlap, which it alone borrows.
struct MatrixMut<'a> {
    first: *mut f32,
    rows: usize,
    cols: usize,
    stride: usize,
    of: PhantomData<&'a mut [f32]>,
}

/// Whether `rows` of `cols` floats, their beginnings `stride` apart, lie inside `len` floats.
fn fits(len: usize, rows: usize, cols: usize, stride: usize) -> bool {
    let last = rows.saturating_sub(1).checked_mul(stride).and_then(|first| first.checked_add(cols));
    rows == 0 || cols == 0 || last.is_some_and(|end| end <= len)
}

impl<'a> Matrix<'a> {
    fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Matrix<'a> {
        assert!(fits(data.len(), rows, cols, stride), "a matrix lies inside its memory");
        Matrix { first: data.as_ptr(), rows, cols, stride, step: 1, of: PhantomData }
    }

    /// The matrix whose rows are the samples' values.
    fn of_rows(rows: &Rows<'a>) -> Matrix<'a> {
        let (first, stride) = (rows.as_ptr(), rows.stride());
        Matrix { first, rows: rows.samples(), cols: rows.row_len(), stride, step: 1, of: PhantomData }
    }

    /// The same elements, rows as columns.
    fn transposed(self) -> Matrix<'a> {
        Matrix { rows: self.cols, cols: self.rows, stride: self.step, step: self.stride, ..self }
    }
}

impl<'a> MatrixMut<'a> {
    fn new(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> MatrixMut<'a> {
        assert!(fits(data.len(), rows, cols, stride), "a matrix lies inside its memory");
        assert!(stride >= cols || rows <= 1, "rows do not overlap");
        MatrixMut { first: data.as_mut_ptr(), rows, cols, stride, of: PhantomData }
    }

    /// The matrix whose rows are the samples' values.
    fn of_rows(rows: &'a mut RowsMut<'_>) -> MatrixMut<'a> {
        let (samples, cols, stride) = (rows.samples(), rows.row_len(), rows.stride());
        assert!(stride >= cols || samples <= 1, "rows do not overlap");
        MatrixMut { first: rows.as_mut_ptr(), rows: samples, cols, stride, of: PhantomData }
    }
}

dispatch! {
    /// `c[r][i] = sum over t of a[r][t] b[t][i]`, or adds it.
    fn multiply_of(a: Matrix<'_>, b: Matrix<'_>, store: Store, c: MatrixMut<'_>) = multiply_kernel;
}

/// `c[r][i] = sum over t of a[r][t] b[t][i]`, or adds it, term by term.
fn multiply(isa: Isa, a: Matrix<'_>, b: Matrix<'_>, store: Store, c: MatrixMut<'_>) {
    assert!(a.rows == c.rows && a.cols == b.rows && b.cols == c.cols, "the sizes of a product fit");
    assert_eq!(b.step, 1, "contiguous rows");
    multiply_of(isa, a, b, store, c);
}

/// Memory of which no vector lies on two cache lines.
#[repr(align(64))]
struct Lines<const LEN: usize>(#[allow(dead_code)] [f32; LEN]);

/// Asks for a float that will be used soon; any address will do.
#[inline(always)]
fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every such machine has SSE, and a prefetch touches nothing that a program could see.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    let _ = at;
}

/// Asks for the line of a float that will be written soon; any address will do.
#[inline(always)]
fn prefetch_to_write(at: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`; a machine that does not know of writing takes it for nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(at.cast_const().cast());
    }
    let _ = at;
}

/// Terms of a product's chains that are added before the next columns: their rows of b stay in the cache for all rows of a.
const TERMS: usize = 64;

/// Rows of the result that run along its columns together.
const ROWS: usize = 16;

/// Floats of a line of the cache.
const LINE: usize = 16;

/// [`multiply`], whose vectors' lanes are columns.
#[inline(always)]
unsafe fn multiply_kernel<W: Lanes, H: Lanes>(a: Matrix<'_>, b: Matrix<'_>, store: Store, c: MatrixMut<'_>) {
    if a.cols == 0 && store == Store::Write {
        for row in 0..c.rows {
            // SAFETY: a row of c.
            unsafe { std::slice::from_raw_parts_mut(c.first.add(row * c.stride), c.cols) }.fill(0.0);
        }
    }
    let mut copied = MaybeUninit::<Lines<{ TERMS * ROWS }>>::uninit();
    let copied = copied.as_mut_ptr().cast::<f32>();
    let product = Product { a: copied, b, c };
    for term in (0..a.cols).step_by(TERMS) {
        let terms = TERMS.min(a.cols - term);
        let adds = store == Store::Add || term > 0;
        for row in (0..product.c.rows).step_by(ROWS) {
            let rows = ROWS.min(product.c.rows - row);
            // SAFETY: the sizes fit (`multiply`), and terms and rows are inside them. The copy has room for both.
            unsafe {
                // Copied: each row, or term, may be in a page of its own, which all columns would meet, and the copy's distances are
                // constants.
                if a.step == 1 {
                    for r in 0..rows {
                        let from = a.first.add((row + r) * a.stride + term);
                        std::ptr::copy_nonoverlapping(from, copied.add(copied_at::<true>(r, 0)), terms);
                    }
                    product.columns::<W, H, true>(row, rows, term, terms, adds);
                } else {
                    for t in 0..terms {
                        let from = a.first.add(row * a.stride + (term + t) * a.step);
                        for r in 0..rows {
                            *copied.add(copied_at::<false>(r, t)) = *from.add(r * a.stride);
                        }
                    }
                    product.columns::<W, H, false>(row, rows, term, terms, adds);
                }
            }
        }
    }
}

/// Where a row's factor of a term lies in the copy: rows one behind the other, or terms.
#[inline(always)]
const fn copied_at<const ALONG: bool>(row: usize, term: usize) -> usize {
    if ALONG { row * TERMS + term } else { term * ROWS + row }
}

/// `c = a b`, or adds it.
struct Product<'a> {
    /// The copy of the rows and terms of a that are at work ([`copied_at`]).
    a: *const f32,
    b: Matrix<'a>,
    c: MatrixMut<'a>,
}

impl Product<'_> {
    /// All columns of some rows and terms.
    #[inline(always)]
    unsafe fn columns<W: Lanes, H: Lanes, const ALONG: bool>(
        &self,
        row: usize,
        rows: usize,
        term: usize,
        terms: usize,
        adds: bool,
    ) {
        let cols = self.c.cols;
        let mut col = 0;
        // SAFETY: columns of c; the rest is the caller's.
        unsafe {
            // Eight rows by three vectors are 24 of AVX-512's 32 registers.
            while W::COUNT == 16 && col + 3 * W::COUNT <= cols {
                self.rows::<W, 3, ALONG>(row, rows, term, terms, adds, col, 0);
                col += 3 * W::COUNT;
            }
            while col + 2 * W::COUNT <= cols {
                self.rows::<W, 2, ALONG>(row, rows, term, terms, adds, col, 0);
                col += 2 * W::COUNT;
            }
            while col + H::COUNT <= cols {
                self.rows::<H, 1, ALONG>(row, rows, term, terms, adds, col, 0);
                col += H::COUNT;
            }
            if col < cols && cols >= H::COUNT {
                // Some columns a second time, which are not stored again.
                let known = H::COUNT - (cols - col);
                self.rows::<H, 1, ALONG>(row, rows, term, terms, adds, cols - H::COUNT, known);
            } else if col < cols {
                self.narrow::<H, ALONG>(row, rows, term, terms, adds);
            }
        }
    }

    /// V vectors of columns from `col` on, of which the first `known` are not stored.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn rows<L: Lanes, const V: usize, const ALONG: bool>(
        &self,
        row: usize,
        rows: usize,
        term: usize,
        terms: usize,
        adds: bool,
        col: usize,
        known: usize,
    ) {
        let mut at = 0;
        // SAFETY: the caller's.
        unsafe {
            while L::COUNT == 16 && at + 8 <= rows {
                self.chains::<L, V, 8, ALONG>(row, at, term, terms, adds, col, known);
                at += 8;
            }
            while at + 4 <= rows {
                self.chains::<L, V, 4, ALONG>(row, at, term, terms, adds, col, known);
                at += 4;
            }
            while at < rows {
                self.chains::<L, V, 1, ALONG>(row, at, term, terms, adds, col, known);
                at += 1;
            }
        }
    }

    /// R rows of it, from the one at `at` on.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    unsafe fn chains<L: Lanes, const V: usize, const R: usize, const ALONG: bool>(
        &self,
        row: usize,
        at: usize,
        term: usize,
        terms: usize,
        adds: bool,
        col: usize,
        known: usize,
    ) {
        // SAFETY: rows, terms and columns are inside the matrices, by the caller's word.
        unsafe {
            let c = self.c.first.add((row + at) * self.c.stride + col);
            let a = self.a.add(copied_at::<ALONG>(at, 0));
            let b = self.b.first.add(term * self.b.stride + col);
            let mut chains = [[L::splat(0.0); V]; R];
            for r in 0..R {
                for v in 0..V {
                    let at = r * self.c.stride + v * L::COUNT;
                    if adds {
                        chains[r][v] = L::load(c.add(at));
                        // The line that the next columns are added to: a large gradient comes from far, and the loop below is long.
                        prefetch_to_write(c.wrapping_add(at + V * L::COUNT));
                    }
                }
            }
            let mut t = 0;
            while t + 4 <= terms {
                // Four in a turn of the loop.
                for t in t..t + 4 {
                    self.term::<L, V, R, ALONG>(a, b, t, &mut chains);
                }
                t += 4;
            }
            while t < terms {
                self.term::<L, V, R, ALONG>(a, b, t, &mut chains);
                t += 1;
            }
            for r in 0..R {
                for v in 0..V {
                    let to = c.add(r * self.c.stride + v * L::COUNT);
                    if known == 0 {
                        chains[r][v].store(to);
                    } else {
                        let mut floats = [0.0_f32; 16];
                        chains[r][v].store(floats.as_mut_ptr());
                        for lane in known..L::COUNT {
                            *to.add(lane) = floats[lane];
                        }
                    }
                }
            }
        }
    }

    /// Adds a term to the chains: those of R rows, whose factors are at `a`, and of the columns at `b`.
    #[inline(always)]
    unsafe fn term<L: Lanes, const V: usize, const R: usize, const ALONG: bool>(
        &self,
        a: *const f32,
        b: *const f32,
        t: usize,
        chains: &mut [[L; V]; R],
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut b_of = [L::splat(0.0); V];
            for v in 0..V {
                let at = t * self.b.stride + v * L::COUNT;
                b_of[v] = L::load(b.add(at));
                if R == 8 {
                    // The next columns of the same row: of rows this far apart no processor guesses them.
                    prefetch(b.wrapping_add(at + V * L::COUNT));
                }
            }
            for r in 0..R {
                let a = L::splat(*a.add(copied_at::<ALONG>(r, t)));
                for v in 0..V {
                    chains[r][v] = a.mul_add(b_of[v], chains[r][v]);
                }
            }
        }
    }

    /// Columns that are no whole vector.
    #[inline(always)]
    unsafe fn narrow<H: Lanes, const ALONG: bool>(
        &self,
        row: usize,
        rows: usize,
        term: usize,
        terms: usize,
        adds: bool,
    ) {
        let cols = self.c.cols;
        for at in 0..rows {
            let mut sums = [0.0_f32; 8];
            // SAFETY: fewer columns than `sums` has floats; rows and terms are the caller's.
            unsafe {
                let c = self.c.first.add((row + at) * self.c.stride);
                if adds {
                    std::ptr::copy_nonoverlapping(c, sums.as_mut_ptr(), cols);
                }
                let mut chain = H::load(sums.as_ptr());
                for t in 0..terms {
                    let mut b = [0.0_f32; 8];
                    std::ptr::copy_nonoverlapping(self.b.first.add((term + t) * self.b.stride), b.as_mut_ptr(), cols);
                    let a = H::splat(*self.a.add(copied_at::<ALONG>(at, t)));
                    chain = a.mul_add(H::load(b.as_ptr()), chain);
                }
                chain.store(sums.as_mut_ptr());
                std::ptr::copy_nonoverlapping(sums.as_ptr(), c, cols);
            }
        }
    }
}

#[cfg(test)]
mod tests;
