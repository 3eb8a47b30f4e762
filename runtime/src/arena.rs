//! Memory of a run: where values live, and what a kernel may touch of it.
//!
//! A value is a [`View`]: a range of floats of one sample, in one of two regions. Both regions hold one row for each sample, so a tile of
//! samples is a contiguous part of either, and a kernel sees a value as [`Rows`]: the same range of each row.
//!
//! `unsafe` lives here, behind checked calls: [`Tile::parts`] gives out rows of which those written overlap no other, and
//! [`Rows`] and [`RowsMut`] hand out one row at a time, inside the region they were made from.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::isa::{Isa, Numerics};
use crate::kernels::{Store, convert};
use crate::layout::{Blocked, Layout};
use crate::network::{BatchLoss, Feed};
use crate::random::Draw;
use crate::run::Chunks;

/// Which memory a value lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// A worker's own, used again by every tile it runs.
    Tile,
    /// The batch's: kept from stage to stage.
    Batch,
}

/// Where a value lives: floats of one sample's row, and how its elements lie in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The memory.
    pub region: Region,
    /// The first float.
    pub offset: usize,
    /// How many.
    pub len: usize,
    /// How its elements lie.
    pub layout: Layout,
}

/// A plain value in a worker's memory: `len` floats of one sample from `offset` on.
pub const fn tile(offset: usize, len: usize) -> View {
    View { region: Region::Tile, offset, len, layout: Layout::Plain }
}

/// A plain value in the batch's memory: `len` floats of one sample from `offset` on.
pub const fn batch(offset: usize, len: usize) -> View {
    View { region: Region::Batch, offset, len, layout: Layout::Plain }
}

impl Blocked {
    /// A value of this map in a worker's memory, from float `offset` of one sample on.
    pub const fn tile(&'static self, offset: usize) -> View {
        View { region: Region::Tile, offset, len: self.len(), layout: Layout::Blocked(self) }
    }

    /// A value of this map in the batch's memory, from float `offset` of one sample on.
    pub const fn batch(&'static self, offset: usize) -> View {
        View { region: Region::Batch, offset, len: self.len(), layout: Layout::Blocked(self) }
    }
}

impl View {
    /// A part of it.
    pub const fn part(self, offset: usize, len: usize) -> View {
        assert!(offset + len <= self.len, "a part of a value lies inside it");
        View { region: self.region, offset: self.offset + offset, len, layout: Layout::Plain }
    }

    /// The same floats as planes of a map.
    #[cfg(test)]
    pub(crate) fn blocked(self, map: &'static Blocked) -> View {
        assert!(self.len == map.len(), "a map has its floats");
        View { layout: Layout::Blocked(map), ..self }
    }

    /// The map of a value in planes.
    ///
    /// # Panics
    ///
    /// When it is a plain one: the schedule gives no kernel a value of a layout that it does not take.
    pub(crate) fn map(&self) -> &'static Blocked {
        match self.layout {
            Layout::Blocked(map) => map,
            Layout::Plain => panic!("a value in planes"),
        }
    }

    fn overlaps(self, other: View) -> bool {
        self.region == other.region && self.offset < other.offset + other.len && other.offset < self.offset + self.len
    }
}

/// A value of several samples, to be read.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    first: *const f32,
    stride: usize,
    len: usize,
    samples: usize,
    of: PhantomData<&'a [f32]>,
}

/// A value of several samples, to be written.
pub struct RowsMut<'a> {
    first: *mut f32,
    stride: usize,
    len: usize,
    samples: usize,
    of: PhantomData<&'a mut [f32]>,
}

impl<'a> Rows<'a> {
    /// The rows of a contiguous slice: `samples` of `len` floats.
    pub fn of(data: &'a [f32], len: usize) -> Rows<'a> {
        assert!(len > 0 && data.len().is_multiple_of(len), "whole rows");
        Rows { first: data.as_ptr(), stride: len, len, samples: data.len() / len, of: PhantomData }
    }

    /// The value that each of `samples` rows of a region has in a view.
    pub(crate) fn in_region(region: &'a [f32], stride: usize, samples: usize, view: View) -> Rows<'a> {
        let inside = view.offset.checked_add(view.len).is_some_and(|end| end <= stride);
        assert!(inside && samples * stride <= region.len(), "a value lies inside its region");
        Rows { first: region[view.offset..].as_ptr(), stride, len: view.len, samples, of: PhantomData }
    }

    /// How many samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Floats of one sample.
    pub fn row_len(&self) -> usize {
        self.len
    }

    /// Floats from one sample's first to the next one's.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The first sample's first float, for products that take pointers and strides.
    pub fn as_ptr(&self) -> *const f32 {
        self.first
    }

    /// The value of one sample.
    pub fn row(&self, sample: usize) -> &'a [f32] {
        assert!(sample < self.samples, "a sample of the tile");
        // SAFETY: `first` points to `samples` rows of `stride` floats (the last one of at least `len`) that are borrowed for 'a and that
        // nobody writes meanwhile: `Tile::parts`, `of` and `in_region` made it so.
        unsafe { std::slice::from_raw_parts(self.first.add(sample * self.stride), self.len) }
    }
}

impl<'a> RowsMut<'a> {
    /// The rows of a contiguous slice: `samples` of `len` floats.
    pub fn of(data: &'a mut [f32], len: usize) -> RowsMut<'a> {
        assert!(len > 0 && data.len().is_multiple_of(len), "whole rows");
        RowsMut { first: data.as_mut_ptr(), stride: len, len, samples: data.len() / len, of: PhantomData }
    }

    /// How many samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Floats of one sample.
    pub fn row_len(&self) -> usize {
        self.len
    }

    /// Floats from one sample's first to the next one's.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The first sample's first float, for products that take pointers and strides.
    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.first
    }

    /// The value of one sample.
    pub fn row(&mut self, sample: usize) -> &mut [f32] {
        assert!(sample < self.samples, "a sample of the tile");
        // SAFETY: as for `Rows::row`; `&mut self` lets one row out at a time, and nobody else reads or writes these ranges.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(sample * self.stride), self.len) }
    }
}

// SAFETY: a `Rows` is a borrow of floats that nobody writes, like a `&[f32]`.
unsafe impl Send for Rows<'_> {}
// SAFETY: likewise.
unsafe impl Sync for Rows<'_> {}
// SAFETY: a `RowsMut` is a borrow of floats that nobody else touches, like a `&mut [f32]`.
unsafe impl Send for RowsMut<'_> {}

/// What one worker has while it runs one tile: some samples of the batch, and memory for them. Or all samples, of what runs at once.
pub struct Tile<'a> {
    pub(crate) samples: Range<usize>,
    /// Rows of this tile in the worker's memory, `samples.len()` of `tile_stride` floats.
    pub(crate) tile: &'a mut [f32],
    pub(crate) tile_stride: usize,
    /// Rows of this tile in the batch's memory, `samples.len()` of `batch_stride` floats.
    pub(crate) batch: &'a mut [f32],
    pub(crate) batch_stride: usize,
    /// The model's parameters, or what inference packed of them.
    pub(crate) params: &'a [f32],
    /// Copies of the parameters in the order in which kernels read them.
    pub(crate) packed: &'a [f32],
    /// The instructions that kernels use.
    pub(crate) isa: Isa,
    /// The kernels that may run.
    pub(crate) numerics: Numerics,
    /// Numbers of the whole batch that an earlier stage left, such as means.
    pub(crate) state: &'a [f32],
    /// The gradient that this tile alone gives, zero at first.
    pub(crate) gradients: &'a mut [f32],
    /// Memory for a kernel's own use, with any content: as many floats for each of `threads`.
    pub(crate) scratch: &'a mut [f32],
    /// Threads that a kernel may use: more than one where the batch is this tile alone, or runs at once.
    pub(crate) threads: usize,
    /// The losses of each sample of the tile, one for each output.
    pub(crate) losses: &'a mut [f32],
    /// Where inputs come from and what the loss is.
    pub(crate) job: &'a Job<'a>,
    /// Which random numbers dropout draws.
    pub(crate) draw: Draw,
}

/// Where inputs come from and what the loss is.
pub(crate) struct Job<'a> {
    /// Writes an input (its number) of a sample (of the batch).
    pub(crate) feed: &'a Feed<'a>,
    /// The loss.
    pub(crate) loss: BatchLoss<'a>,
    /// Samples of the batch.
    pub(crate) samples: usize,
}

/// What [`Tile::parts`] gives.
pub struct Parts<'t, const READS: usize, const WRITES: usize> {
    /// Values to read.
    pub reads: [Rows<'t>; READS],
    /// Values to write.
    pub writes: [RowsMut<'t>; WRITES],
    /// The model's parameters.
    pub params: &'t [f32],
    /// Copies of the parameters in the order in which kernels read them.
    pub packed: &'t [f32],
    /// The instructions to use.
    pub isa: Isa,
    /// Numbers of the whole batch.
    pub state: &'t [f32],
    /// This tile's gradient.
    pub gradients: &'t mut [f32],
    /// Memory for the kernel's own use, as many floats for each of `threads`.
    pub scratch: &'t mut [f32],
    /// Threads that the kernel may use.
    pub threads: usize,
}

impl Tile<'_> {
    /// The samples of the batch that the tile has.
    pub fn samples(&self) -> Range<usize> {
        self.samples.clone()
    }

    /// Which random numbers dropout draws.
    pub fn draw(&self) -> Draw {
        self.draw
    }

    /// The values of `reads` and `writes`, and the rest of the tile.
    ///
    /// # Panics
    ///
    /// When a written value overlaps another, or lies outside its region: the plan never does either.
    pub fn parts<const READS: usize, const WRITES: usize>(
        &mut self,
        reads: [View; READS],
        writes: [View; WRITES],
    ) -> Parts<'_, READS, WRITES> {
        for (index, write) in writes.iter().enumerate() {
            let others = writes[index + 1..].iter().chain(&reads);
            assert!(others.into_iter().all(|other| !write.overlaps(*other)), "a written value overlaps no other");
        }
        let samples = self.samples.len();
        let regions = [
            (self.tile.as_mut_ptr(), self.tile.len(), self.tile_stride),
            (self.batch.as_mut_ptr(), self.batch.len(), self.batch_stride),
        ];
        let place = |view: View| {
            let (first, len, stride) = regions[view.region as usize];
            let inside = view.offset.checked_add(view.len).is_some_and(|end| end <= stride);
            assert!(inside && samples * stride <= len, "a value lies inside its region");
            // SAFETY: the offset is inside the region, or one past its end when the value is empty.
            (unsafe { first.add(view.offset.min(len)) }, stride)
        };
        // Each value lies inside its region (checked above), which `self` borrows for as long as the rows live; those written overlap
        // no other (checked above), since the same range of each row is disjoint when the ranges are.
        let reads = reads.map(|view| {
            let (first, stride) = place(view);
            Rows { first: first.cast_const(), stride, len: view.len, samples, of: PhantomData }
        });
        let writes = writes.map(|view| {
            let (first, stride) = place(view);
            RowsMut { first, stride, len: view.len, samples, of: PhantomData }
        });
        Parts {
            reads,
            writes,
            params: self.params,
            packed: self.packed,
            isa: self.isa,
            state: self.state,
            gradients: self.gradients,
            scratch: self.scratch,
            threads: self.threads,
        }
    }

    /// Writes input number `input` of the tile's samples into `to`: the first call of a tile.
    pub fn load(&mut self, input: usize, to: View) {
        let (first, feed) = (self.samples.start, self.job.feed);
        let layout = to.layout;
        let Parts { writes: [mut to], scratch, isa, .. } = self.parts([], [to]);
        for sample in 0..to.samples() {
            match layout {
                Layout::Plain => feed(first + sample, input, to.row(sample)),
                Layout::Blocked(map) => {
                    let elements = map.channels() * map.size[0] * map.size[1] * map.size[2];
                    let plain = &mut scratch[..elements];
                    feed(first + sample, input, plain);
                    convert::to_blocked(isa, plain, map, to.row(sample), Store::Write);
                }
            }
        }
    }

    /// The loss of the tile's samples from their outputs; writes the derivative of the batch's mean loss by each output value.
    pub fn loss(&mut self, output: View, derivative: View) {
        self.loss_of(0, output, derivative);
    }

    /// As [`Tile::loss`], of an output of several, by its number.
    pub fn loss_of(&mut self, index: usize, output: View, derivative: View) {
        let (first, loss) = (self.samples.start, self.job.loss);
        let scale = 1.0 / loss.totals[index] as f32;
        let mut losses = std::mem::take(&mut self.losses);
        let Parts { reads: [output], writes: [mut derivative], .. } = self.parts([output], [derivative]);
        for (sample, to) in losses.iter_mut().skip(index).step_by(loss.totals.len()).enumerate() {
            let row = derivative.row(sample);
            *to = (loss.of)(first + sample, index, output.row(sample), row);
            row.iter_mut().for_each(|value| *value *= scale);
        }
        std::mem::swap(&mut self.losses, &mut losses);
    }
}

/// What packs parameters: makes the copies that kernels read, whenever the parameters have changed.
///
/// Several threads pack at once: each runs all of the model's calls, and takes of their parts those that are its own.
pub struct Pack<'a> {
    pub(crate) isa: Isa,
    pub(crate) numerics: Numerics,
    /// The parameters.
    pub(crate) params: &'a [f32],
    /// The copies.
    packed: &'a Chunks<'a>,
    /// Which of how many shares this one is.
    share: (usize, usize),
    /// Parts that were given out before, to whomever.
    parts: usize,
}

impl<'a> Pack<'a> {
    /// One of `share.1` shares of the copies.
    pub(crate) fn new(
        isa: Isa,
        numerics: Numerics,
        params: &'a [f32],
        packed: &'a Chunks<'a>,
        share: (usize, usize),
    ) -> Pack<'a> {
        Pack { isa, numerics, params, packed, share, parts: 0 }
    }

    /// Whether the next part is this share's. Shares take turns, so that parts of one size are as many to each.
    pub(crate) fn takes_next(&mut self) -> bool {
        let part = self.parts;
        self.parts += 1;
        part % self.share.1 == self.share.0
    }

    /// The floats `from..from + len` of the copies, if the next part is this share's; None else.
    ///
    /// # Safety
    ///
    /// All shares make the same calls in the same order, and no two parts overlap.
    pub(crate) unsafe fn part(&mut self, from: usize, len: usize) -> Option<&'a mut [f32]> {
        // SAFETY: a part is one share's, and overlaps no other, by the caller's word.
        self.takes_next().then(|| unsafe { self.packed.chunk(from, len) })
    }

    /// The first of the floats `from..from + len` of the copies.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub(crate) fn room(&self, from: usize, len: usize) -> *mut f32 {
        self.packed.room(from, len)
    }
}

#[cfg(test)]
impl Pack<'_> {
    /// Packs a test's parameters, in three shares.
    pub(crate) fn all(isa: Isa, params: &[f32], packed: &mut [f32], work: impl Fn(&mut Pack<'_>)) {
        let packed = Chunks::new(packed);
        for share in [2, 0, 1] {
            work(&mut Pack::new(isa, Numerics::Fast, params, &packed, (share, 3)));
        }
    }
}
