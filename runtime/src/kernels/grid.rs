//! Where the lines of a map are, whatever its layout: a plain value is planes of one channel each.

use crate::arena::View;
use crate::layout::{Blocked, Layout};

/// The lines of a map.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    channels: usize,
    size: [usize; 3],
    map: Option<&'static Blocked>,
}

/// Where the positions of one of its planes are, in floats from the plane's first on.
#[derive(Clone, Copy)]
pub(crate) struct Positions {
    pub(crate) lanes: usize,
    origin: usize,
    lines: usize,
    columns: usize,
}

impl Grid {
    /// The grid of a value of so many channels and this size, which is asserted.
    pub(crate) fn new(view: View, channels: usize, size: [usize; 3]) -> Grid {
        let map = match view.layout {
            Layout::Plain => {
                assert_eq!(view.len, channels * size.iter().product::<usize>(), "a value is [channels][size]");
                None
            }
            Layout::Blocked(map) => {
                assert_eq!(
                    (map.channels(), map.size, map.len()),
                    (channels, size, view.len),
                    "a map of [channels][size]"
                );
                Some(map)
            }
        };
        Grid { channels, size, map }
    }

    /// Asserts that two values have the same planes.
    pub(crate) fn check_planes(a: &Grid, b: &Grid) {
        assert_eq!(a.channels, b.channels, "the channels are the same");
        assert_eq!(a.map.map(|map| map.planes), b.map.map(|map| map.planes), "the planes are the same");
    }

    /// How many planes there are.
    pub(crate) fn planes(&self) -> usize {
        self.map.map_or(self.channels, |map| map.planes.len())
    }

    /// Floats of a position of a plane.
    pub(crate) fn lanes(&self, plane: usize) -> usize {
        self.map.map_or(1, |map| map.planes[plane].lanes)
    }

    /// Channels of a plane.
    pub(crate) fn channels(&self, plane: usize) -> usize {
        self.map.map_or(1, |map| map.planes[plane].channels)
    }

    /// The plane of a channel, and its lane there.
    pub(crate) fn place(&self, channel: usize) -> (usize, usize) {
        let Some(map) = self.map else {
            return (channel, 0);
        };
        let (mut plane, mut lane) = (0, channel);
        while lane >= map.planes[plane].channels {
            lane -= map.planes[plane].channels;
            plane += 1;
        }
        (plane, lane)
    }

    /// The first float of a line of a plane.
    pub(crate) fn line(&self, plane: usize, [depth, line]: [usize; 2]) -> usize {
        let first = self.map.map_or(plane * self.size.iter().product::<usize>(), |map| map.plane(plane));
        first + self.positions(plane).at([depth, line, 0])
    }

    /// The positions of a plane.
    pub(crate) fn positions(&self, plane: usize) -> Positions {
        let lanes = self.lanes(plane);
        match self.map {
            None => Positions { lanes, origin: 0, lines: self.size[1], columns: self.size[2] },
            Some(map) => Positions::of(map, lanes),
        }
    }
}

impl Positions {
    /// Those of a plane of so many lanes.
    #[inline(always)]
    pub(crate) fn of(map: &Blocked, lanes: usize) -> Positions {
        let [_, lines, columns] = map.whole();
        Positions { lanes, origin: map.position(0, 0, 0) * lanes, lines, columns }
    }

    /// The first float of a position.
    #[inline(always)]
    pub(crate) fn at(&self, [depth, line, column]: [usize; 3]) -> usize {
        self.origin + ((depth * self.lines + line) * self.columns + column) * self.lanes
    }
}
