//! Values as the passes see them: tiles of outputs, their windows, and the points of a block of them in scratch.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::sizes::{LANES, point, points_len, tile_side};
use super::transform::{self, POINTS, Strided, WINDOW};
use crate::arena::Rows;
use crate::kernels::conv::Conv;
use crate::kernels::lanes::Lanes;
use crate::layout::{Blocked, Plane};

/// A value: samples of `map`, `stride` floats apart. What inner loops need of the map is here: they cannot know that their own writes
/// leave the map as it is.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) first: *const f32,
    pub(super) stride: usize,
    pub(super) map: &'static Blocked,
    /// Positions of a plane, lines of it, and columns of these.
    pub(super) positions: usize,
    pub(super) lines: usize,
    pub(super) columns: usize,
    /// Lines and columns before the map.
    pub(super) before: [usize; 2],
    /// The first position of the map.
    pub(super) origin: usize,
}

/// Points of a block of tiles in scratch: `[point][plane][tile][lanes of the plane]`, with room for `LANES` each.
#[derive(Clone, Copy)]
pub(super) struct Points {
    pub(super) first: *mut f32,
    /// Floats from one point to the next.
    pub(super) point: usize,
    /// Floats from one plane to the next.
    pub(super) plane: usize,
}

impl Points {
    /// Those of so many planes of a block of tiles, at the beginning of `room`, which has [`points_len`] floats for them.
    pub(super) fn new(room: &mut [f32], planes: usize, block: usize) -> Points {
        assert!(room.len() >= points_len(planes, block), "room for the points");
        Points { first: room.as_mut_ptr(), point: point(planes, block), plane: block * LANES }
    }

    /// Those from a plane and a point on.
    ///
    /// # Safety
    ///
    /// There are such.
    #[inline(always)]
    pub(super) unsafe fn at(self, plane: usize, point: usize) -> *mut f32 {
        // SAFETY: the caller's.
        unsafe { self.first.add(plane * self.plane + point * self.point) }
    }
}

/// Room for a window of any plane.
pub(super) type Staged = MaybeUninit<[f32; POINTS * LANES]>;

/// A tile of outputs: its sample and its first output.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) sample: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The tiles that cover an output: of `tile` outputs on a side.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) tile: usize,
    pub(super) lines: usize,
    pub(super) columns: usize,
}

impl Source {
    pub(super) fn new(first: *const f32, stride: usize, map: &'static Blocked) -> Source {
        let ([_, lines, columns], [_, down, right]) = (map.whole(), map.before);
        let (positions, origin) = (map.positions(), map.position(0, 0, 0));
        Source { first, stride, map, positions, lines, columns, before: [down, right], origin }
    }

    pub(super) fn of(rows: Rows<'_>, map: &'static Blocked) -> Source {
        assert_eq!(rows.row_len(), map.len(), "maps have their floats");
        Source::new(rows.as_ptr(), rows.stride(), map)
    }

    /// A square of positions, of which the first is `shift` before the tile's: its first float, and floats from line to line. Where it
    /// reaches out of the value it is copied to `staged`, with zeros.
    #[inline(always)]
    pub(super) unsafe fn window<const SIDE: usize>(
        &self,
        place: &Place,
        plane: usize,
        lanes: usize,
        shift: [usize; 2],
        staged: &mut Staged,
    ) -> Strided {
        let Source { lines, columns, before, origin, .. } = *self;
        // The first position with halo and padding before it.
        let (line, column) = (place.line + before[0], place.column + before[1]);
        let depth = origin - before[0] * columns - before[1];
        // SAFETY: the depth of the map, and a tile of a sample of the value.
        let first = unsafe { self.first.add(place.sample * self.stride + plane + depth * lanes) };
        let is_inside = line >= shift[0]
            && line - shift[0] + SIDE <= lines
            && column >= shift[1]
            && column - shift[1] + SIDE <= columns;
        if is_inside {
            // SAFETY: the whole square lies in the plane.
            let first = unsafe { first.add(((line - shift[0]) * columns + column - shift[1]) * lanes) };
            return Strided { first, line: columns * lanes, column: lanes };
        }
        // SAFETY: as many floats as a window has at most, which are zero then.
        let staged = unsafe {
            let first = staged.as_mut_ptr().cast::<f32>();
            first.write_bytes(0, SIDE * SIDE * lanes);
            std::slice::from_raw_parts_mut(first, SIDE * SIDE * lanes)
        };
        let (skip, least) = (shift[1].saturating_sub(column), column.saturating_sub(shift[1]));
        let width = SIDE.saturating_sub(skip).min(columns.saturating_sub(least));
        for at in 0..SIDE {
            if let Some(from) = (line + at).checked_sub(shift[0])
                && from < lines
            {
                // SAFETY: `width` positions of line `from` of the plane, from column `least` on.
                let values =
                    unsafe { std::slice::from_raw_parts(first.add((from * columns + least) * lanes), width * lanes) };
                staged[(at * SIDE + skip) * lanes..][..width * lanes].copy_from_slice(values);
            }
        }
        Strided { first: staged.as_ptr(), line: SIDE * lanes, column: lanes }
    }
}

impl Grid {
    /// Those of a map of this size: all that `conv` makes, or what a pool behind it sees.
    pub(super) fn new(conv: &Conv, size: [usize; 3]) -> Grid {
        let tile = tile_side(conv);
        Grid { tile, lines: size[1].div_ceil(tile), columns: size[2].div_ceil(tile) }
    }

    pub(super) fn tiles(&self) -> usize {
        self.lines * self.columns
    }

    /// The tiles from number `first` on.
    pub(super) fn places(&self, first: usize, places: &mut [Place]) {
        let (mut sample, tile) = (first / self.tiles(), first % self.tiles());
        let [mut line, mut column] = [tile / self.columns, tile % self.columns];
        for place in places {
            *place = Place { sample, line: line * self.tile, column: column * self.tile };
            column += 1;
            if column == self.columns {
                (line, column) = (line + 1, 0);
            }
            if line == self.lines {
                (sample, line) = (sample + 1, 0);
            }
        }
    }
}

/// Planes whose products are made together: two of 16 lanes, or one.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// The first.
    pub(super) plane: usize,
    pub(super) planes: usize,
    /// Of all of them.
    pub(super) lanes: usize,
    /// Lanes of the planes before.
    pub(super) before: usize,
}

pub(super) fn groups(planes: &[Plane]) -> impl Iterator<Item = Group> {
    let (mut plane, mut before) = (0, 0);
    std::iter::from_fn(move || {
        let first = planes.get(plane)?;
        let is_pair = first.lanes == LANES && planes.get(plane + 1).is_some_and(|second| second.lanes == LANES);
        let count = if is_pair { 2 } else { 1 };
        let group = Group { plane, planes: count, lanes: count * first.lanes, before };
        plane += count;
        before += group.lanes;
        Some(group)
    })
}

/// Calls a kernel of one vector for each vector of a plane, with the vector's first lane and the plane's lanes in front of its arguments:
/// where a vector has all of these, the kernel knows how many they are.
macro_rules! each_vector {
    ($lanes:expr, $kernel:ident::<$wide:ident, $half:ident $(, $side:tt)*>($($argument:expr),* $(,)?)) => {
        if $lanes == $wide::COUNT {
            $kernel::<$wide $(, $side)*>(0, $wide::COUNT, $($argument),*);
        } else if $lanes == $half::COUNT {
            $kernel::<$half $(, $side)*>(0, $half::COUNT, $($argument),*);
        } else {
            for lane in (0..$lanes).step_by($half::COUNT) {
                $kernel::<$half $(, $side)*>(lane, $lanes, $($argument),*);
            }
        }
    };
}
pub(super) use each_vector;

/// Whether a plane has half of the lanes of the widest vector, which then has those of two tiles.
#[inline(always)]
pub(super) fn is_half<W: Lanes, H: Lanes>(plane: &Plane) -> bool {
    W::COUNT == 2 * H::COUNT && plane.lanes == H::COUNT
}

/// The points of the windows of tiles, in some planes.
#[inline(always)]
pub(super) unsafe fn points_of_inputs<W: Lanes, H: Lanes>(
    x: &Source,
    planes: Range<usize>,
    padding: [usize; 2],
    places: &[Place],
    to: Points,
) {
    let mut first = x.map.plane(planes.start);
    for (index, plane) in x.map.planes[planes].iter().enumerate() {
        // SAFETY: the caller's: a block fits into its points.
        unsafe {
            let to = Points { first: to.at(index, 0), ..to };
            if is_half::<W, H>(plane) {
                windows_of_pairs::<W, H>(x, first, padding, places, to);
            } else {
                each_vector!(plane.lanes, windows::<W, H>(x, first, padding, places, to));
            }
        }
        first += plane.lanes * x.map.positions();
    }
}

/// A vector of a plane of [`points_of_inputs`].
#[inline(always)]
unsafe fn windows<L: Lanes>(
    lane: usize,
    lanes: usize,
    x: &Source,
    plane: usize,
    padding: [usize; 2],
    places: &[Place],
    to: Points,
) {
    let mut staged = Staged::uninit();
    for (tile, place) in places.iter().enumerate() {
        // SAFETY: a window has its vectors, and the points have room for the tile.
        unsafe {
            let mut window = x.window::<WINDOW>(place, plane, lanes, padding, &mut staged);
            window.first = window.first.add(lane);
            let to_point = to.first.add(tile * lanes + lane);
            transform::inputs_to_points::<L>(window, to_point, [WINDOW * to.point, to.point]);
        }
    }
}

/// [`windows`] of a plane that [`is_half`] of a vector: two tiles at once.
#[inline(always)]
unsafe fn windows_of_pairs<W: Lanes, H: Lanes>(
    x: &Source,
    plane: usize,
    padding: [usize; 2],
    places: &[Place],
    to: Points,
) {
    let (pairs, last) = places.as_chunks::<2>();
    let mut staged = [const { Staged::uninit() }; 2];
    for (pair, places) in pairs.iter().enumerate() {
        let [first, second] = &mut staged;
        // SAFETY: as in `windows`, of both tiles; H has the plane's lanes, and W twice as many.
        unsafe {
            let first = x.window::<WINDOW>(&places[0], plane, H::COUNT, padding, first);
            let second = x.window::<WINDOW>(&places[1], plane, H::COUNT, padding, second);
            let to_point = to.first.add(pair * W::COUNT);
            transform::inputs_to_points::<W>([first, second], to_point, [WINDOW * to.point, to.point]);
        }
    }
    // SAFETY: the caller's.
    unsafe {
        let to = Points { first: to.first.add(pairs.len() * W::COUNT), ..to };
        windows::<H>(0, H::COUNT, x, plane, padding, last, to);
    }
}
