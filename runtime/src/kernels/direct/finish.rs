//! What becomes of a block's sums: the pool, the bias, what is added, the nonlinearity.
#![allow(unsafe_code)]
// Arrays of registers are indexed by plain loop variables, and nothing else.
#![allow(clippy::needless_range_loop)]

use super::{BLOCK, WIDEST, lanes};
use crate::arena::Rows;
use crate::kernels::lanes::Lanes;
use crate::kernels::{Act, Store};
use crate::layout::{Blocked, Plane};

/// `y = act(sum + bias + before) + after`, written or added.
pub(super) struct Finish<'a> {
    pub(super) bias: Option<&'a [f32]>,
    pub(super) before: Option<(Rows<'a>, &'static Blocked)>,
    pub(super) act: Act,
    pub(super) after: Option<(Rows<'a>, &'static Blocked)>,
    pub(super) store: Store,
}

/// Sums `[line][column][vector]` of some positions of a plane, or of two planes of whole vectors: the first position is `at`, the others
/// lie some lines and columns apart. Behind the sums of a pool is room for the maxima and their places. No vector of them lies across two
/// lines of the cache.
#[repr(align(64))]
pub(super) struct Block {
    pub(super) sums: [f32; BLOCK * WIDEST + 2 * POOLED],
    pub(super) plane: usize,
    /// The first of its lanes in the plane.
    pub(super) lane: usize,
    pub(super) at: [usize; 3],
    pub(super) lines: usize,
    pub(super) columns: usize,
    pub(super) line_step: usize,
    pub(super) column_step: usize,
    /// Lines and columns of a pool's window; 1 without a pool.
    pub(super) window: usize,
}

/// Maxima of a block.
const POOLED: usize = BLOCK / 4 * WIDEST;

/// Two planes' bias, zero where they have no channels.
pub(super) type Bias = [f32; 2 * WIDEST];

/// Where a block lies in a value: its first float, and the floats from one vector to the next, from line to line, from column to column.
#[derive(Clone, Copy)]
struct Side {
    first: usize,
    vector: usize,
    line: usize,
    column: usize,
}

impl Block {
    /// Of a plane from a lane on, with every `steps`th line and column, or all of what is pooled.
    pub(super) fn new(plane: usize, lane: usize, steps: [usize; 3], window: usize) -> Block {
        Block {
            sums: [0.0; BLOCK * WIDEST + 2 * POOLED],
            plane,
            lane,
            at: [0; 3],
            lines: 0,
            columns: 0,
            line_step: steps[1],
            column_step: steps[2],
            window,
        }
    }

    /// Puts it to a position of what is summed.
    #[inline(always)]
    pub(super) fn place(&mut self, [depth, line, column]: [usize; 3], both: bool, columns: usize) {
        self.at = [depth, line / self.window, column / self.window];
        self.lines = if both { 2 } else { 1 };
        self.columns = columns;
    }
}

impl Side {
    #[inline(always)]
    fn of<L: Lanes>(map: &Blocked, block: &Block) -> Side {
        let (lanes, [depth, line, column]) = (map.planes[block.plane].lanes, block.at);
        Side {
            first: map.plane(block.plane) + map.position(depth, line, column) * lanes + block.lane,
            vector: if L::COUNT == lanes { map.positions() * lanes } else { L::COUNT },
            line: block.line_step * map.whole()[2] * lanes,
            column: block.column_step * lanes,
        }
    }

    #[inline(always)]
    fn at(self, vector: usize, line: usize, column: usize) -> usize {
        self.first + vector * self.vector + line * self.line + column * self.column
    }
}

impl Finish<'_> {
    /// The bias of a plane and of the next one.
    pub(super) fn bias_of(&self, planes: &[Plane], plane: usize) -> Bias {
        let mut floats = [0.0; 2 * WIDEST];
        if let Some(bias) = self.bias {
            let mut first: usize = planes[..plane].iter().map(|plane| plane.channels).sum();
            for (plane, floats) in planes[plane..].iter().zip(floats.chunks_exact_mut(WIDEST)) {
                floats[..plane.channels].copy_from_slice(&bias[first..][..plane.channels]);
                first += plane.channels;
            }
        }
        floats
    }

    /// Stores a block into `y`, a value of the map `to`.
    ///
    /// # Safety
    ///
    /// Compiled for the vectors' instructions. The block's positions are the map's, of planes that have `V` vectors `L`; `y` and the
    /// values that are added have their maps' lengths, and equal planes and sizes.
    #[inline(always)]
    pub(super) unsafe fn store<L: Lanes, const V: usize>(
        &self,
        block: &Block,
        bias: &Bias,
        sample: usize,
        to: &Blocked,
        y: *mut f32,
    ) {
        let of = |residual: &Option<(Rows<'_>, &'static Blocked)>| {
            residual.as_ref().map(|(rows, map)| (rows.row(sample).as_ptr(), Side::of::<L>(map, block)))
        };
        let (before, after, side) = (of(&self.before), of(&self.after), Side::of::<L>(to, block));
        // SAFETY: this function's contract.
        unsafe {
            for v in 0..V {
                let bias = L::load(bias.as_ptr().add(block.lane + v * L::COUNT));
                for line in 0..block.lines {
                    for column in 0..block.columns {
                        let sum = ((line * block.columns + column) * V + v) * L::COUNT;
                        let mut value = L::load(block.sums.as_ptr().add(sum)).add(bias);
                        if let Some((residual, side)) = &before {
                            value = value.add(L::load(residual.add(side.at(v, line, column))));
                        }
                        value = self.act.apply_lanes(value);
                        if let Some((residual, side)) = &after {
                            value = value.add(L::load(residual.add(side.at(v, line, column))));
                        }
                        let to = y.add(side.at(v, line, column));
                        if self.store == Store::Add {
                            value = value.add(L::load(to));
                        }
                        value.store(to);
                    }
                }
            }
        }
    }

    /// Stores the maxima of a block of 2x2 windows into `y`, a value of the map `to`, where the block has the place `at`; and their places
    /// in the windows, if wanted, into `places`, a byte each.
    ///
    /// # Safety
    ///
    /// As of [`Finish::store`]; the block has two lines and whole windows, and `places` a byte for each element of the map.
    #[inline(always)]
    pub(super) unsafe fn store_maxima<L: Lanes, const V: usize>(
        &self,
        block: &mut Block,
        bias: &Bias,
        to: &Blocked,
        y: *mut f32,
        places: Option<*mut u8>,
    ) {
        match places {
            // SAFETY: this function's contract.
            Some(places) => unsafe { self.store_pooled::<L, V, true>(block, bias, to, y, places) },
            // SAFETY: likewise; nothing is written to a place.
            None => unsafe { self.store_pooled::<L, V, false>(block, bias, to, y, std::ptr::null_mut()) },
        }
    }

    /// [`Finish::store_maxima`], with places or without.
    #[inline(always)]
    unsafe fn store_pooled<L: Lanes, const V: usize, const PLACES: bool>(
        &self,
        block: &mut Block,
        bias: &Bias,
        to: &Blocked,
        y: *mut f32,
        places: *mut u8,
    ) {
        let side = Side::of::<L>(to, block);
        let windows = block.columns / 2;
        // SAFETY: the caller's; a block has at most POOLED maxima.
        unsafe {
            // Whole numbers as the bits of floats: they are only moved.
            let [first, second, third, fourth] = [0, 1, 2, 3].map(|place| L::splat(f32::from_bits(place)));
            let mut watch = L::splat(0.0);
            let sums = block.sums.as_mut_ptr();
            let maxima = sums.add(BLOCK * WIDEST);
            for window in 0..windows {
                for v in 0..V {
                    let of = |line: usize, column: usize| {
                        sums.add(((line * block.columns + 2 * window + column) * V + v) * L::COUNT)
                    };
                    let [a, b, c, d] = [L::load(of(0, 0)), L::load(of(0, 1)), L::load(of(1, 0)), L::load(of(1, 1))];
                    let sum = a.add(b).add(c.add(d));
                    watch = watch.add(sum.sub(sum));
                    let to = maxima.add((window * V + v) * L::COUNT);
                    if PLACES {
                        let (max, at) = (b.max(a), b.if_greater(a, second, first));
                        let (max, at) = (c.max(max), c.if_greater(max, third, at));
                        let (max, at) = (d.max(max), d.if_greater(max, fourth, at));
                        max.store(to);
                        at.store(to.add(POOLED));
                    } else {
                        d.max(c.max(b.max(a))).store(to);
                    }
                }
            }
            let mut doubt = [0.0_f32; WIDEST];
            watch.store(doubt.as_mut_ptr());
            if doubt.iter().any(|lane| *lane != 0.0) {
                // Something is not a number, or so large that a sum is none.
                exact_maxima(&mut block.sums, block.columns, V * L::COUNT);
            }
            let maxima = block.sums.as_ptr().add(BLOCK * WIDEST);
            // Vectors side by side hide each other's latency.
            if windows * V > 2 {
                self.store_vectors::<L, V, 4>(maxima, windows * V, bias, side, y);
            } else {
                self.store_vectors::<L, V, 2>(maxima, windows * V, bias, side, y);
            }
            if PLACES {
                let (width, [depths, lines, columns]) = (to.planes[block.plane].lanes, to.size);
                let (positions, [depth, line, column]) = (depths * lines * columns, block.at);
                let place = ((depth * lines + line) * columns + column) * width;
                let places = places.add(lanes(&to.planes[..block.plane]) * positions + place);
                let vector = if L::COUNT == width { positions * width } else { L::COUNT };
                for number in 0..windows * V {
                    let from = maxima.add(POOLED + number * L::COUNT);
                    let to = places.add(number % V * vector + number / V * width);
                    for lane in 0..L::COUNT {
                        *to.add(lane) = (*from.add(lane)).to_bits() as u8;
                    }
                }
            }
        }
    }

    /// Stores what the epilogue makes of the first `count` of N maxima `[window][vector]`.
    #[inline(always)]
    unsafe fn store_vectors<L: Lanes, const V: usize, const N: usize>(
        &self,
        maxima: *const f32,
        count: usize,
        bias: &Bias,
        side: Side,
        y: *mut f32,
    ) {
        // SAFETY: the caller's: a block has room for all N, of which `count` are stored.
        unsafe {
            let mut values = [L::splat(0.0); N];
            for number in 0..N {
                let bias = L::load(bias.as_ptr().add(number % V * L::COUNT));
                values[number] = L::load(maxima.add(number * L::COUNT)).add(bias);
            }
            let values = self.act.apply_all(values);
            for number in 0..N {
                if number < count {
                    values[number].store(y.add(side.at(number % V, 0, number / V)));
                }
            }
        }
    }
}

/// The maxima of 2x2 windows and their places, behind the sums, of two lines of positions of `width` floats. NaN is the largest.
#[cold]
fn exact_maxima(sums: &mut [f32; BLOCK * WIDEST + 2 * POOLED], columns: usize, width: usize) {
    let (sums, results) = sums.split_at_mut(BLOCK * WIDEST);
    let (maxima, places) = results.split_at_mut(POOLED);
    for window in 0..columns / 2 {
        for lane in 0..width {
            let of = |place: usize| sums[((place / 2) * columns + 2 * window + place % 2) * width + lane];
            let mut best = 0;
            for place in 1..4 {
                if of(place) > of(best) || of(place).is_nan() {
                    best = place;
                }
            }
            maxima[window * width + lane] = of(best);
            places[window * width + lane] = f32::from_bits(best as u32);
        }
    }
}
