//! Channels dealt out of groups in turn (Zhang and others 2018, ShuffleNet).

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::kernels::grid::Grid;
use crate::layout::Layout;

/// A shuffle's geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    /// Channels.
    pub channels: usize,
    /// Groups that they are dealt out of.
    pub groups: usize,
    /// Elements of a channel.
    pub positions: usize,
}

/// `y[c] = x[c % groups * (channels / groups) + c / groups]`, or adds it. With as many groups as a group has channels it is its own
/// backward.
pub fn apply(t: &mut Tile<'_>, shuffle: &Shuffle, x: View, y: View, store: Store) {
    let Shuffle { channels, groups, positions } = *shuffle;
    let size = match (x.layout, y.layout) {
        (Layout::Plain, Layout::Plain) => [1, 1, positions],
        _ => x.map().size,
    };
    assert!(channels.is_multiple_of(groups) && size.iter().product::<usize>() == positions, "channels in groups");
    let (from, to) = (Grid::new(x, channels, size), Grid::new(y, channels, size));
    let Parts { reads: [x_rows], writes: [mut y_rows], .. } = t.parts([x], [y]);
    for sample in 0..x_rows.samples() {
        let (x, row) = (x_rows.row(sample), y_rows.row(sample));
        for line in 0..size[0] * size[1] {
            let line = [line / size[1], line % size[1]];
            let mut channel = 0;
            for plane in 0..to.planes() {
                let first = to.line(plane, line);
                for lane in 0..to.channels(plane) {
                    let source = channel % groups * (channels / groups) + channel / groups;
                    let (source_plane, source_lane) = from.place(source);
                    let x = &x[from.line(source_plane, line) + source_lane..];
                    let x = x.iter().step_by(from.lanes(source_plane)).copied();
                    let y = row[first + lane..].iter_mut().step_by(to.lanes(plane));
                    match store {
                        Store::Write => y.zip(x).take(size[2]).for_each(|(y, x)| *y = x),
                        Store::Add => y.zip(x).take(size[2]).for_each(|(y, x)| *y += x),
                    }
                    channel += 1;
                }
            }
        }
        if let (Layout::Blocked(map), Store::Write) = (y.layout, store) {
            map.clear_halo(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Bench, axes, map_of, random_planes, seeds};

    #[test]
    fn channels_are_dealt_out_whatever_their_planes() {
        for seed in seeds(0..200) {
            let samples = 1 + seed as usize % 2;
            let mut bench = Bench::new(seed, samples);
            let size = axes(3, || bench.random.between(1, 4));
            let planes = random_planes(&mut bench.random);
            let channels = planes.iter().map(|plane| plane.channels).sum::<usize>();
            let divisors: Vec<usize> = (1..=channels).filter(|&groups| channels.is_multiple_of(groups)).collect();
            let groups = divisors[bench.random.between(0, divisors.len() - 1)];
            let positions = size.iter().product();
            let shuffle = Shuffle { channels, groups, positions };
            // The same channels, in planes of other lanes where they have them.
            let others = crate::kernels::testing::map(channels, [1; 3], [0; 3], [0; 3]).planes;
            let len = samples * channels * positions;
            let (x_of, before) = (bench.random.numbers(len), bench.random.numbers(len));
            for store in [Store::Write, Store::Add] {
                let mut wanted = Vec::new();
                for (at, before) in before.iter().enumerate() {
                    let (sample, c, p) = (at / positions / channels, at / positions % channels, at % positions);
                    // A view of `[groups, channels / groups]`, transposed.
                    let source = (c % groups) * (channels / groups) + c / groups;
                    let x = x_of[(sample * channels + source) * positions + p];
                    wanted.push(if store == Store::Add { before + x } else { x });
                }
                let (x, y) = (bench.value(x_of.clone()), bench.value(before.clone()));
                bench.run(&[y], |t| apply(t, &shuffle, x, y, store));
                assert_eq!(bench.get(y), wanted, "{shuffle:?}, {store:?}");

                let maps = [planes, others].map(|planes| map_of(planes, size, &mut bench.random));
                let x = bench.planes(maps[0], &x_of, f32::NAN);
                let y = bench.target_planes(maps[1], &before, store);
                bench.run(&[y], |t| apply(t, &shuffle, x, y, store));
                assert_eq!(bench.elements(y), wanted, "{shuffle:?}, {store:?}, in planes");
            }
        }
    }

    #[test]
    fn its_backward_is_a_shuffle_of_the_other_groups() {
        let mut bench = Bench::new(5, 1);
        let x = bench.numbers(2 * 6);
        let [y, back] = [12, 12].map(|len| bench.target(len, Store::Write));
        let shuffle = Shuffle { channels: 6, groups: 2, positions: 2 };
        bench.run(&[y], |t| apply(t, &shuffle, x, y, Store::Write));
        bench.run(&[back], |t| apply(t, &Shuffle { groups: 3, ..shuffle }, y, back, Store::Write));
        assert_ne!(bench.get(x), bench.get(y));
        assert_eq!(bench.get(x), bench.get(back));
    }
}
