//! How the elements of a value lie, for one sample.
//!
//! A [`Plane`] is a part of the channels, kept for each position of the map as a few floats next to each other, so that a vector
//! register is a position's channels and a kernel needs no loop over them. Beside the map lie zeros, the halo, so that windows may
//! reach over its edge. Who makes a value writes its halo each time ([`Blocked::clear_halo`]); what is in the lanes behind the real
//! channels, nobody may rely on.

use std::ops::Range;

/// How the elements of a value lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// PyTorch's order: channels, then lines, then columns.
    Plain,
    /// In planes.
    Blocked(&'static Blocked),
}

/// A part of a value's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Floats of a position: 16 or 8; the number of channels where they are 1 to 4, for inputs.
    pub lanes: usize,
    /// How many of them are channels; the others are padding.
    pub channels: usize,
}

impl Plane {
    /// 16 channels.
    pub const FULL: Plane = Plane { lanes: 16, channels: 16 };
}

/// Floats of a position in all planes.
pub(crate) const fn lanes(planes: &[Plane]) -> usize {
    let (mut sum, mut plane) = (0, 0);
    while plane < planes.len() {
        sum += planes[plane].lanes;
        plane += 1;
    }
    sum
}

/// Channels of all planes.
pub(crate) const fn channels(planes: &[Plane]) -> usize {
    let (mut sum, mut plane) = (0, 0);
    while plane < planes.len() {
        sum += planes[plane].channels;
        plane += 1;
    }
    sum
}

/// A map in planes: `[plane][depth + halo][lines + halo][columns + halo][lanes]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The channels, in order.
    pub planes: &'static [Plane],
    /// The map; axes that it does not have are 1.
    pub size: [usize; 3],
    /// Zeros before the map on each axis.
    pub before: [usize; 3],
    /// Zeros behind it.
    pub after: [usize; 3],
}

/// Floats behind a value whose planes are no vectors, so that a vector read from its last position stays inside it.
const SLACK: usize = 16;

impl Blocked {
    /// Channels.
    pub const fn channels(&self) -> usize {
        channels(self.planes)
    }

    /// Size with halo.
    pub const fn whole(&self) -> [usize; 3] {
        let (size, before, after) = (self.size, self.before, self.after);
        [before[0] + size[0] + after[0], before[1] + size[1] + after[1], before[2] + size[2] + after[2]]
    }

    /// Positions of a plane, halo included.
    pub const fn positions(&self) -> usize {
        let whole = self.whole();
        whole[0] * whole[1] * whole[2]
    }

    /// Floats of the value.
    pub const fn len(&self) -> usize {
        let (mut plane, mut slack) = (0, 0);
        while plane < self.planes.len() {
            if !self.planes[plane].lanes.is_multiple_of(8) {
                slack = SLACK;
            }
            plane += 1;
        }
        lanes(self.planes) * self.positions() + slack
    }

    /// Whether it has no elements.
    pub const fn is_empty(&self) -> bool {
        self.planes.is_empty() || self.size[0] * self.size[1] * self.size[2] == 0
    }

    /// The first float of a plane.
    pub fn plane(&self, plane: usize) -> usize {
        lanes(&self.planes[..plane]) * self.positions()
    }

    /// The place of a position of the map in its plane, to be multiplied by the plane's lanes.
    pub const fn position(&self, depth: usize, line: usize, column: usize) -> usize {
        let whole = self.whole();
        ((depth + self.before[0]) * whole[1] + line + self.before[1]) * whole[2] + column + self.before[2]
    }

    /// The float of an element.
    pub fn at(&self, channel: usize, depth: usize, line: usize, column: usize) -> usize {
        let (mut plane, mut lane) = (0, channel);
        while lane >= self.planes[plane].channels {
            lane -= self.planes[plane].channels;
            plane += 1;
        }
        self.plane(plane) + self.position(depth, line, column) * self.planes[plane].lanes + lane
    }

    /// The lines of the map: for each plane, and each line of it, the number of the plane and the floats of the line, without halo.
    pub fn lines(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let [depths, lines, columns] = self.size;
        let of_plane = move |plane: usize| {
            let (first, lanes) = (self.plane(plane), self.planes[plane].lanes);
            (0..depths * lines).map(move |line| {
                let from = first + self.position(line / lines, line % lines, 0) * lanes;
                (plane, from..from + columns * lanes)
            })
        };
        (0..self.planes.len()).flat_map(of_plane)
    }

    /// Writes zeros beside the map.
    pub fn clear_halo(&self, value: &mut [f32]) {
        if self.before == [0; 3] && self.after == [0; 3] {
            return;
        }
        let ([depths, lines, columns], [_, whole_lines, whole_columns]) = (self.size, self.whole());
        let mut first = 0;
        for lanes in self.planes.iter().map(|plane| plane.lanes) {
            let end = first + self.positions() * lanes;
            // From the end of one line to the beginning of the next.
            let mut from = first;
            let mut to = first + self.position(0, 0, 0) * lanes;
            for _ in 0..depths {
                for _ in 0..lines {
                    clear(&mut value[from..to]);
                    from = to + columns * lanes;
                    to += whole_columns * lanes;
                }
                to += (whole_lines - lines) * whole_columns * lanes;
            }
            clear(&mut value[from..end]);
            first = end;
        }
    }
}

/// Writes zeros. What lies between two lines is most often two positions: of 16 or 8 lanes, or of an image of 4 or 3. It is too little for
/// a call.
fn clear(floats: &mut [f32]) {
    fn is_cleared<const LEN: usize>(floats: &mut [f32]) -> bool {
        <&mut [f32; LEN]>::try_from(floats).map(|floats| *floats = [0.0; LEN]).is_ok()
    }
    if !(is_cleared::<32>(floats) || is_cleared::<16>(floats) || is_cleared::<8>(floats) || is_cleared::<6>(floats)) {
        floats.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: Blocked = Blocked {
        planes: &[Plane::FULL, Plane { lanes: 8, channels: 5 }],
        size: [1, 3, 2],
        before: [0, 1, 2],
        after: [0, 1, 1],
    };

    #[test]
    fn elements_lie_in_their_planes() {
        assert_eq!((MAP.channels(), MAP.whole(), MAP.positions(), MAP.len()), (21, [1, 5, 5], 25, 24 * 25));
        assert_eq!(MAP.at(0, 0, 0, 0), (5 + 2) * 16);
        assert_eq!(MAP.at(15, 0, 2, 1), (15 + 3) * 16 + 15);
        assert_eq!(MAP.at(17, 0, 2, 1), 25 * 16 + (15 + 3) * 8 + 1);
        let image = Blocked { planes: &[Plane { lanes: 3, channels: 3 }], ..MAP };
        assert_eq!((image.at(2, 0, 0, 1), image.len()), ((5 + 3) * 3 + 2, 75 + 16));
    }

    #[test]
    fn lines_are_the_map_and_the_halo_is_the_rest() {
        let mut value = vec![1.0; MAP.len()];
        MAP.clear_halo(&mut value);
        let mut seen = vec![0.0; MAP.len()];
        for (_, line) in MAP.lines() {
            seen[line].fill(1.0);
        }
        assert_eq!(value, seen);
        for channel in 0..21 {
            for position in 0..6 {
                assert_eq!(seen[MAP.at(channel, 0, position / 2, position % 2)], 1.0);
            }
        }
    }
}
