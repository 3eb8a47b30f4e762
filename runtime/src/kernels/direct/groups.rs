//! Channels in groups: which lanes of the result are computed together, and which channels of the source they sum over.
//!
//! A plane of the result whose channels are all of one group is computed as a whole. One of several groups is computed by halves of 8
//! lanes, for each of their groups in turn, and of each sum only the group's own lanes are kept: so no result ever meets a float of
//! another group, which might be no number.

use crate::layout::{Plane, channels};

/// Lanes of a part of a plane that has several groups; a part has no more groups than lanes.
pub(super) const HALF: usize = 8;

/// Lanes of a plane that are computed together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) plane: usize,
    /// The first of the lanes in the plane, and how many there are.
    pub(super) lane: usize,
    pub(super) lanes: usize,
    /// The channel in the first of them, and how many are channels.
    pub(super) first: usize,
    pub(super) channels: usize,
    /// The first of their groups, and how many there are.
    pub(super) group: usize,
    pub(super) groups: usize,
}

impl Part {
    /// The lanes, of the part's, that have channels of a group.
    pub(super) fn lanes_of(&self, group: usize, of_group: usize) -> std::ops::Range<usize> {
        let lane = |channel: usize| channel.clamp(self.first, self.first + self.channels) - self.first;
        lane(group * of_group)..lane((group + 1) * of_group)
    }
}

/// The parts of some planes.
pub(super) fn parts(planes: &[Plane], groups: usize) -> impl Iterator<Item = Part> {
    let of_group = channels(planes) / groups;
    let group_of = move |channel: usize| channel / of_group;
    let mut end = 0;
    let with_first = planes.iter().enumerate().map(move |(number, plane)| {
        let first = end;
        end += plane.channels;
        (number, *plane, first)
    });
    with_first.flat_map(move |(number, plane, first)| {
        let is_one = group_of(first) == group_of(first + plane.channels - 1);
        let lanes = if is_one { plane.lanes } else { HALF };
        (0..plane.channels).step_by(lanes).map(move |lane| {
            let (first, channels) = (first + lane, lanes.min(plane.channels - lane));
            let group = group_of(first);
            let groups = group_of(first + channels - 1) + 1 - group;
            Part { plane: number, lane, lanes, first, channels, group, groups }
        })
    })
}

/// Channels of a group in the planes of the source: `channels` from lane `skip` of `planes[0]` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) planes: &'a [Plane],
    /// Of the first plane among all.
    pub(super) plane: usize,
    pub(super) skip: usize,
    pub(super) channels: usize,
}

impl<'a> Source<'a> {
    /// Those of a group.
    pub(super) fn of(planes: &'a [Plane], groups: usize, group: usize) -> Source<'a> {
        let of_group = channels(planes) / groups;
        let (mut plane, mut skip) = (0, group * of_group);
        while skip >= planes[plane].channels {
            skip -= planes[plane].channels;
            plane += 1;
        }
        Source { planes: &planes[plane..], plane, skip, channels: of_group }
    }

    /// The number of each plane, the first of the channels in it, and how many it has.
    pub(super) fn pieces(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (mut skip, mut rest) = (self.skip, self.channels);
        let pieces = self.planes.iter().enumerate().map(move |(number, plane)| {
            let (lane, channels) = (skip, rest.min(plane.channels - skip));
            (skip, rest) = (0, rest - channels);
            (self.plane + number, lane, channels)
        });
        pieces.take_while(|(.., channels)| *channels > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_planes_or_halves_of_them() {
        let planes = [Plane::FULL, Plane { lanes: 16, channels: 12 }, Plane { lanes: 8, channels: 4 }];
        let lanes = |groups: usize| -> Vec<_> {
            parts(&planes, groups).map(|part| (part.plane, part.lane, part.lanes, part.group, part.groups)).collect()
        };
        assert_eq!(lanes(1), [(0, 0, 16, 0, 1), (1, 0, 16, 0, 1), (2, 0, 8, 0, 1)]);
        assert_eq!(lanes(2), [(0, 0, 16, 0, 1), (1, 0, 16, 1, 1), (2, 0, 8, 1, 1)]);
        assert_eq!(lanes(4), [(0, 0, 8, 0, 1), (0, 8, 8, 1, 1), (1, 0, 8, 2, 1), (1, 8, 8, 3, 1), (2, 0, 8, 3, 1)]);
        let part = parts(&planes, 8).nth(1).expect("a second half");
        assert_eq!((part.first, part.channels, part.group, part.groups), (8, 8, 2, 2));
        assert_eq!([2, 3].map(|group| part.lanes_of(group, 4)), [0..4, 4..8]);
        let pieces = |groups: usize, group: usize| Source::of(&planes, groups, group).pieces().collect::<Vec<_>>();
        assert_eq!(pieces(1, 0), [(0, 0, 16), (1, 0, 12), (2, 0, 4)]);
        assert_eq!(pieces(4, 3), [(1, 8, 4), (2, 0, 4)]);
        assert_eq!(pieces(8, 3), [(0, 12, 4)]);
    }
}
