//! The machine a program is for, and which kernels it has: what `fuse`, `differentiate`, `layout` and `schedule` ask, and nobody else
//! decides.
//!
//! A choice is a function of sizes alone, never of a measurement or of the batch that comes: the same page gives the same program
//! everywhere, and a sample's result is the same bits in any batch.

use crate::fuse::PlanKind;
use crate::ir::{Conv, Kind, Linear, Norm, TensorId, Window};
use crate::layout::Plane;

/// The machine the program is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The processor.
    #[default]
    Cpu,
    /// A graphics card, programmed in CUDA.
    Cuda,
}

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Columns of inputs and products of matrices, on plain values: what takes any geometry. Of ops that are no convolutions: their
    /// one kernel.
    #[default]
    Plain,
    /// Output channels in the lanes of vectors, on values in planes.
    Direct,
    /// Of groups of single channels: channels in the lanes of vectors, of input and output alike, on values in planes.
    Depthwise,
    /// Winograd's F(4x4, 3x3), or F(2x2, 5x5), on values in planes.
    Winograd,
    /// Behind a max-pool, only where its maxima were, on values in planes.
    Sparse,
    /// A product of matrices that are never written out, on whole batches: a graphics card's.
    Implicit,
}

/// Outputs of a block of a linear layer's packed weights.
const LINEAR_BLOCK: u64 = 6;

/// The most floats of a linear layer's packed weights: 16 MiB.
const MOST_LINEAR_PACKED: u64 = 4 << 20;

/// Samples that a batch is taken to have where it matters for a choice.
pub(crate) const NOMINAL_BATCH: u64 = 64;

/// Rows of a product that a block of a card makes.
pub(crate) const PRODUCT_ROWS: u64 = 128;

/// Floats of a convolution's weights up to which each tile makes a gradient of them: 64 KiB, which stay in a core's first caches; or 1 MiB
/// where a map has so many positions that the sums outweigh adding that up.
const TILE_GRADIENT: u64 = 16 << 10;
const LARGE_TILE_GRADIENT: (u64, u64) = (256 << 10, 64);

/// What a product of a convolution takes on plain values, and in planes, where lanes that are no channels take as long; and what a
/// conversion takes for each element: picoseconds of one core. The first is what `netspec-bench --kernels` says of small layers (20 to 40
/// GFLOP/s with AVX-512); the others are estimates, of a direct convolution and of a copy. Only their ratios matter.
const PLAIN_PRODUCT: u64 = 60;
const PLANES_PRODUCT: u64 = 15;
const CONVERSION: u64 = 300;

/// The fewest channels of which Winograd's convolution with windows of 5x5 is the faster one.
const LEAST_OF_FIVE: u64 = 8;

/// The fewest of Winograd's tiles over which the gradient by the weight of an image is summed. The worst errors of tens of thousands of
/// random gradients were 3.5 times the tolerance of one tile, 1.2 of four, 0.8 of eight, 0.4 of sixteen.
const LEAST_OF_IMAGE: u64 = 16;

impl Target {
    /// Whether a batch goes through the program in tiles of a few samples; if not, each kernel has all of it.
    pub fn has_tiles(self) -> bool {
        self == Target::Cpu
    }

    /// How a convolution is computed, forward or backward; of the first, and of the gradient by the input, [`Target::forward`] and
    /// [`Target::back`] know better.
    pub fn conv(self, conv: &Conv) -> Class {
        if self == Target::Cuda {
            return if conv.is_depthwise() { Class::Depthwise } else { Class::Implicit };
        }
        let Window { kernel, padding, dilation, out_size, .. } = conv.window;
        // Windows reach into a halo, not further.
        if (0..3).any(|axis| padding[axis] > (kernel[axis] - 1) * dilation[axis]) {
            return Class::Plain;
        }
        if conv.groups > 1 {
            return if conv.is_depthwise() { Class::Depthwise } else { Class::Direct };
        }
        let is_winograd = is_winograd(conv, 3)
            && conv.channels >= 16
            && NOMINAL_BATCH * out_size[1] * out_size[2] >= 256
            && winograd::has_room(conv);
        if is_winograd { Class::Winograd } else { Class::Direct }
    }

    /// How a convolution is computed forward whose input lies in these planes: as [`Target::conv`] says, but by Winograd's of an image and
    /// with windows of 5x5. Their gradients by the weight are direct, or what [`Target::pool_gradient`] says; with windows of 5x5 Winograd's
    /// errors would be too large. Nobody asks for the gradient by an image.
    pub fn forward(self, conv: &Conv, x: &[Plane]) -> Class {
        match self.conv(conv) {
            Class::Direct if winograd::is_image(x) && is_winograd(conv, 3) || is_winograd_of_five(conv) => {
                Class::Winograd
            }
            class => class,
        }
    }

    /// How the gradient by a convolution's input is computed, or the transposed convolution.
    pub fn back(self, conv: &Conv) -> Class {
        let window = Window { size: conv.window.out_size, out_size: conv.window.size, ..conv.window };
        let back = Conv { channels: conv.out_channels, out_channels: conv.channels, window, ..*conv };
        match self.conv(conv) {
            Class::Direct if is_winograd_of_five(&back) => Class::Winograd,
            class => class,
        }
    }

    /// How the gradient by the weight of a convolution with a pool is computed, where it goes by the maxima alone and the input lies in
    /// these planes. Of images of 1 or 2 channels Winograd's was not tried.
    pub fn pool_gradient(self, conv: &Conv, x: &[Plane]) -> Class {
        // An odd last line or column is not pooled.
        let tiles = winograd::tiles_of_sample(conv.window.out_size.map(|size| size / 2 * 2), 3);
        let is_winograd = winograd::is_image(x) && is_winograd(conv, 3) && tiles >= LEAST_OF_IMAGE;
        if is_winograd { Class::Winograd } else { Class::Sparse }
    }

    /// Whether a max-pool runs in the convolution before it: windows of 2 by 2 that do not overlap.
    pub fn pools_in_conv(self, conv: &Conv, pool: &Window, kind: PlanKind) -> bool {
        let is_two_by_two = pool.is_two_by_two()
            && pool.size[0] == 1
            && conv.window.size[0] == 1
            && conv.window.kernel[0] == 1
            && conv.window.is_even()
            && conv.groups == 1;
        let has_backward = match self.conv(conv) {
            Class::Plain | Class::Depthwise => return false,
            Class::Winograd | Class::Implicit => true,
            Class::Direct | Class::Sparse => conv.window.stride == [1; 3] && conv.window.dilation == [1; 3],
        };
        is_two_by_two && (has_backward || !kind.has_backward())
    }

    /// Floats of a sample's sums of a batch norm: two for each channel. A card has them not of samples but of parts of the batch, which
    /// are as many positions as a block of a product makes rows.
    pub fn norm_sums(self, norm: &Norm) -> u64 {
        let parts = match self {
            Target::Cpu => 1,
            Target::Cuda => norm.positions.div_ceil(PRODUCT_ROWS),
        };
        2 * norm.channels * parts
    }

    /// Whether the kernel of an op gives the moments of what it writes too, which a batch norm then need not read for them.
    pub fn gives_moments(self, kind: &Kind, norm: &Norm) -> bool {
        let is = |channels: u64, positions: u64| (channels, positions) == (norm.channels, norm.positions);
        match kind {
            Kind::Conv(conv, ..) => {
                self.conv(conv) == Class::Implicit && is(conv.out_channels, conv.window.positions())
            }
            Kind::Linear(linear, ..) => self == Target::Cuda && linear.rows == 1 && is(linear.outputs, 1),
            _ => false,
        }
    }

    /// Whether the backward pass of a convolution with a pool goes by the maxima alone. Where Winograd's would be used for all of the
    /// gradient it is the faster one.
    pub fn is_sparse(self, conv: &Conv) -> bool {
        self.conv(conv) == Class::Direct
    }

    /// What a convolution takes less in planes than on plain values, of one sample: picoseconds of one core.
    pub fn saved_in_planes(self, conv: &Conv) -> u64 {
        let terms = conv.window.positions().saturating_mul(conv.window.taps() * (conv.channels / conv.groups));
        let (outputs, lanes) = (conv.out_channels, conv.out_channels.next_multiple_of(8));
        terms.saturating_mul((outputs * PLAIN_PRODUCT).saturating_sub(lanes * PLANES_PRODUCT))
    }

    /// What the conversion of so many elements takes, to planes or back.
    pub fn conversion(self, elements: u64) -> u64 {
        elements.saturating_mul(CONVERSION)
    }

    /// Whether a convolution goes through the whole batch at once, and not tile by tile: Winograd's, whose weights are so many that no cache
    /// holds them from one tile to the next, and whose maps are so small that a tile is soon done with them.
    pub fn is_at_once(self, class: Class, conv: &Conv, x: &[Plane], y: &[Plane], transposed: bool) -> bool {
        let Window { size, out_size, kernel, .. } = conv.window;
        let (from, to, size) = if transposed { (y, x, size) } else { (x, y, out_size) };
        class == Class::Winograd && winograd::is_at_once(from, to, size, kernel[1])
    }

    /// Whether the gradient of a convolution's weights is made once for the batch, and not for each tile, by kernels that can.
    pub fn sums_over_batch(self, class: Class, conv: &Conv) -> bool {
        let weights = conv.channels / conv.groups * conv.out_channels * conv.window.taps();
        let (large, positions) = LARGE_TILE_GRADIENT;
        let is_of_tiles = weights <= TILE_GRADIENT || (weights <= large && conv.window.positions() >= positions);
        matches!(class, Class::Direct | Class::Winograd) && conv.groups == 1 && !is_of_tiles
    }

    /// Floats of a convolution's packed weights: for each lane of the planes that a kernel writes, each channel that it reads and each
    /// tap, or each point of Winograd's.
    pub fn packed_len(self, class: Class, conv: &Conv, x: &[Plane], y: &[Plane], transposed: bool) -> u64 {
        let (from, to) = if transposed { (y, x) } else { (x, y) };
        match class {
            Class::Winograd => winograd::packed_len(from, to),
            Class::Depthwise => lanes(to) * conv.window.taps(),
            _ => channels(from) / conv.groups * lanes_by_group(to, conv.groups) * conv.window.taps(),
        }
    }

    /// Floats of a large linear layer's packed weights, where it reads such: for each input, whole blocks of outputs. Only in inference,
    /// where the weights stay as they are from one batch to the next, since the copy takes as long as some thirty batches gain by it; and
    /// not where it would take more memory than most models.
    pub fn packed_linear_len(self, linear: &Linear, kind: PlanKind) -> Option<u64> {
        let len = linear.inputs * linear.outputs.next_multiple_of(LINEAR_BLOCK);
        (self == Target::Cpu && kind == PlanKind::Inference && len <= MOST_LINEAR_PACKED).then_some(len)
    }

    /// Floats that a convolution's kernel on values in planes needs for its own use, whichever way it goes. The kernels' own functions say
    /// the same, which a test compares.
    pub fn scratch(self, class: Class, kind: &Kind, conv: &Conv, x: &[Plane], y: &[Plane]) -> u64 {
        let most = |planes: &[Plane]| planes.iter().map(|plane| plane.channels).max().unwrap_or(0);
        let taps = conv.window.taps();
        match (class, kind) {
            // Exact numerics have the sparse one.
            (Class::Winograd, Kind::ConvPoolGradWeight(..)) => {
                winograd::grad_weight_pool_scratch(y).max(self.scratch(Class::Sparse, kind, conv, x, y))
            }
            (Class::Winograd, _) => winograd::scratch(conv, x, y),
            (Class::Direct, Kind::ConvGradWeight(..)) => taps * most(x) * 2 * WIDEST,
            (Class::Sparse, Kind::ConvPoolGradInput(..)) => {
                let padded = |axis: usize| conv.window.size[axis] + 2 * conv.window.padding[axis];
                padded(1) * padded(2) * WIDEST + WIDEST
            }
            (Class::Sparse, _) if is_image(x) => {
                let [_, down, across] = conv.window.kernel;
                let [_, lines, columns] = conv.window.out_size.map(|size| size / 2);
                let run = across * conv.channels;
                let slot = if run <= 8 { 8 } else { run.next_multiple_of(WIDEST) };
                let staged = (STAGED / (2 * columns * slot + 1)).saturating_sub(down - 1) / 2;
                let staged = if staged == 0 { 1 } else { staged.min(lines) };
                (conv.out_channels * down + (2 * staged + down - 1) * 2 * columns) * slot + WIDEST
            }
            (Class::Sparse, _) => conv.out_channels * taps * WIDEST + WIDEST,
            _ => 0,
        }
    }

    /// Floats that the gradient of a convolution's weights over the whole batch needs for each worker.
    pub fn batch_scratch(self, class: Class, conv: &Conv, x: &[Plane], y: &[Plane]) -> u64 {
        match class {
            Class::Winograd => winograd::batch_scratch(x, y),
            _ => self.scratch(class, &Kind::ConvGradWeight(*conv, TensorId(0), None), conv, x, y),
        }
    }
}

/// Columns of a block of a card's product with so many.
pub(crate) fn product_columns(outputs: u64) -> u64 {
    outputs.next_power_of_two().clamp(8, 64)
}

/// Whether Winograd's convolution takes a geometry with windows of `side` by `side`, and is not most of the time at edges that are computed
/// for nothing: at most 45 %.
fn is_winograd(conv: &Conv, side: u64) -> bool {
    let Window { size, kernel, stride, padding, dilation, out_size } = conv.window;
    let tile = winograd::WINDOW + 1 - side;
    let tiles = tile * tile * out_size[1].div_ceil(tile) * out_size[2].div_ceil(tile);
    kernel == [1, side, side]
        && stride == [1; 3]
        && dilation == [1; 3]
        && padding[1..].iter().all(|&padding| padding <= side / 2)
        && size[0] == 1
        && conv.groups == 1
        && conv.out_channels >= 8
        && 100 * out_size[1] * out_size[2] >= 55 * tiles
}

/// Whether one with windows of 5x5 is faster by Winograd's, whose transforms must cost less than the 64 of 100 products that it saves of each
/// channel. `netspec-bench --kernels --only 5x5` told 1.2 times the direct kernel's speed of 8 channels, 1.2 and 1.7 of 16 (to 8 with a
/// pool, to 32 without), 2.3 of 20 to 50.
fn is_winograd_of_five(conv: &Conv) -> bool {
    is_winograd(conv, 5) && conv.channels >= LEAST_OF_FIVE && winograd::has_room(conv)
}

/// Whether planes are those of an image: one whose few lanes are all channels.
fn is_image(planes: &[Plane]) -> bool {
    matches!(planes, [plane] if plane.lanes < HALF)
}

/// Floats of lines of an image that the gradient by the weight stages, as the constant of `runtime/src/kernels/sparse.rs`.
const STAGED: u64 = 5 << 10;

/// Floats of the widest vector, and of half of it.
const WIDEST: u64 = 16;
const HALF: u64 = 8;

fn lanes(planes: &[Plane]) -> u64 {
    planes.iter().map(|plane| plane.lanes).sum()
}

/// Lanes of planes, as often as they are computed: a plane of several groups in halves, and each half for each of its groups.
fn lanes_by_group(planes: &[Plane], groups: u64) -> u64 {
    let of_group = channels(planes) / groups;
    let (mut first, mut lanes) = (0, 0);
    for plane in planes {
        let groups_of = |first: u64, channels: u64| (first + channels - 1) / of_group + 1 - first / of_group;
        lanes += match groups_of(first, plane.channels) {
            1 => plane.lanes,
            _ => (0..plane.channels)
                .step_by(HALF as usize)
                .map(|lane| HALF * groups_of(first + lane, HALF.min(plane.channels - lane)))
                .sum(),
        };
        first += plane.channels;
    }
    lanes
}

fn channels(planes: &[Plane]) -> u64 {
    planes.iter().map(|plane| plane.channels).sum()
}

/// What the kernels of Winograd's convolutions need: as their own constants, in `runtime/src/kernels/winograd/`.
mod winograd {
    use super::{WIDEST, channels, lanes};
    use crate::ir::Conv;
    use crate::layout::Plane;

    /// Inputs on a side of what a tile sees.
    pub(super) const WINDOW: u64 = 6;
    const POINTS: u64 = WINDOW * WINDOW;
    /// Tiles of a block where a gradient of weights is made.
    const MOST: u64 = 32;
    /// Tiles of a block with far weights, and the fewest floats of such weights.
    const FAR_BLOCK: u64 = 64;
    const FAR: u64 = 1 << 18;
    /// Floats between two points.
    const APART: u64 = 16;
    /// Samples of a tile.
    const SAMPLES: u64 = 8;
    /// Floats of a gradient that is kept from block to block.
    const KEPT: u64 = 1 << 20;
    /// Floats of windows that are staged.
    const WINDOWS: u64 = 9 * WIDEST * 2 * WIDEST;
    const ALIGNMENT: u64 = 15;
    /// Tiles of a block of an image, and floats of a line that they see.
    const IMAGE_TILES: u64 = 8;
    const IMAGE_LINE: u64 = (4 * (4 * IMAGE_TILES + 2)).next_multiple_of(WIDEST) + WIDEST;
    /// Planes of a part of the weights.
    const PART: u64 = 4;

    /// The most floats of one kernel's transformed weights.
    const MOST_WEIGHTS: u64 = 1 << 26;

    /// Whether the transformed weights are not too many.
    pub(super) fn has_room(conv: &Conv) -> bool {
        POINTS * conv.channels * conv.out_channels.next_multiple_of(8) <= MOST_WEIGHTS
    }

    /// Whether planes are an image's of three or four channels: of fewer, the errors are too large.
    pub(super) fn is_image(planes: &[Plane]) -> bool {
        matches!(planes, [plane] if plane.lanes == 3 || plane.lanes == 4)
    }

    /// Whether weights are so many that no cache holds them until they are read again.
    fn are_far(from: &[Plane], to: &[Plane]) -> bool {
        packed_len(from, to) >= FAR
    }

    /// Whether weights are far, and a tile of samples has not a block of Winograd's tiles for them.
    pub(super) fn is_at_once(from: &[Plane], to: &[Plane], size: [u64; 3], side: u64) -> bool {
        are_far(from, to) && tiles(size, side) < FAR_BLOCK
    }

    /// Winograd's tiles of a tile of samples that cover maps of this size, of windows of `side` by `side`.
    fn tiles(size: [u64; 3], side: u64) -> u64 {
        SAMPLES * tiles_of_sample(size, side)
    }

    /// Those of a sample.
    pub(super) fn tiles_of_sample(size: [u64; 3], side: u64) -> u64 {
        let tile = WINDOW + 1 - side;
        size[1].div_ceil(tile) * size[2].div_ceil(tile)
    }

    pub(super) fn batch_scratch(x: &[Plane], y: &[Plane]) -> u64 {
        let [x, y] = [x, y].map(|planes| (planes.len() as u64).min(PART));
        let points = |planes: u64| POINTS * (planes * MOST * WIDEST + APART);
        points(x) + points(y) + WINDOWS + POINTS * x * WIDEST * y * WIDEST + ALIGNMENT
    }

    pub(super) fn packed_len(from: &[Plane], to: &[Plane]) -> u64 {
        POINTS * (channels(from) * lanes(to) + APART)
    }

    /// Of an image's convolution with a pool, of the gradient by the weight.
    pub(super) fn grad_weight_pool_scratch(y: &[Plane]) -> u64 {
        let windows = WINDOW * IMAGE_LINE + IMAGE_TILES * POINTS * 4;
        let gradient = POINTS * (IMAGE_TILES * WIDEST + APART);
        windows + gradient + (4 * 9 + y.len() as u64 * POINTS * 4) * WIDEST + ALIGNMENT
    }

    pub(super) fn scratch(conv: &Conv, x: &[Plane], y: &[Plane]) -> u64 {
        if is_image(x) {
            return WINDOW * IMAGE_LINE + IMAGE_TILES * (POINTS * 4 + 4 * WINDOW * WIDEST) + ALIGNMENT;
        }
        let side = conv.window.kernel[1];
        let tiles = |size: [u64; 3]| tiles(size, side);
        let planes = |planes: &[Plane]| planes.len() as u64;
        let point = |planes: u64, block: u64| planes * block * WIDEST + APART;
        let forward = |from: &[Plane], to: &[Plane], size: [u64; 3]| {
            let block = if are_far(from, to) { FAR_BLOCK } else { tiles(size).min(MOST / 2) };
            POINTS * (point(planes(from), block) + point(planes(to), block))
        };
        let both = forward(x, y, conv.window.out_size).max(forward(y, x, conv.window.size)) + ALIGNMENT;
        if side != 3 {
            return both;
        }
        let block = tiles(conv.window.out_size).min(MOST);
        let whole = planes(x) * lanes(y);
        let is_kept = block < tiles(conv.window.out_size) && POINTS * whole * WIDEST <= KEPT;
        let kept = POINTS * WIDEST * if is_kept { whole } else { 2 * WIDEST };
        let weights =
            POINTS * (point(planes(x), block) + point(planes(y), block)) + kept + planes(y) * WIDEST + WINDOWS;
        both.max(weights + ALIGNMENT)
    }
}
