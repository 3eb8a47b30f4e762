//! Maps in another frame: with zeros beside them, or cropped.

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::kernels::grid::Grid;
use crate::layout::Layout;

/// A map and its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Channels.
    pub channels: usize,
    /// Size of the input.
    pub size: [usize; 3],
    /// Size of the output.
    pub out_size: [usize; 3],
    /// Zeros before the input on each axis; below 0, how many of its elements are left out there.
    pub before: [isize; 3],
}

impl Frame {
    /// The input behind an output, if there is one.
    fn input(&self, axis: usize, out: usize) -> Option<usize> {
        out.checked_add_signed(-self.before[axis]).filter(|&at| at < self.size[axis])
    }

    /// The outputs that have an input, along an axis.
    fn filled(&self, axis: usize) -> std::ops::Range<usize> {
        let clip = |at: isize| at.clamp(0, self.out_size[axis].cast_signed()).cast_unsigned();
        let (first, end) = (self.before[axis], self.before[axis] + self.size[axis].cast_signed());
        clip(first)..clip(end)
    }
}

/// `y[c][o] = x[c][o - before]` where that is an input, else 0; or adds it. With the frames exchanged it is its own backward.
pub fn apply(t: &mut Tile<'_>, frame: &Frame, x: View, y: View, store: Store) {
    let (from, to) = (Grid::new(x, frame.channels, frame.size), Grid::new(y, frame.channels, frame.out_size));
    Grid::check_planes(&from, &to);
    let columns = frame.filled(2);
    let Parts { reads: [x_rows], writes: [mut y_rows], .. } = t.parts([x], [y]);
    for sample in 0..x_rows.samples() {
        let (x, row) = (x_rows.row(sample), y_rows.row(sample));
        for plane in 0..to.planes() {
            let lanes = to.lanes(plane);
            for depth in 0..frame.out_size[0] {
                for line in 0..frame.out_size[1] {
                    let first = to.line(plane, [depth, line]);
                    let y = &mut row[first..first + frame.out_size[2] * lanes];
                    let source = frame.input(0, depth).zip(frame.input(1, line));
                    let Some((depth, line)) = source.filter(|_| !columns.is_empty()) else {
                        store.begin(y);
                        continue;
                    };
                    let first = from.line(plane, [depth, line]);
                    let first = first + (columns.start.cast_signed() - frame.before[2]).cast_unsigned() * lanes;
                    let x = &x[first..first + columns.len() * lanes];
                    store.begin(&mut y[..columns.start * lanes]);
                    store.begin(&mut y[columns.end * lanes..]);
                    let y = &mut y[columns.start * lanes..columns.end * lanes];
                    match store {
                        Store::Write => y.copy_from_slice(x),
                        Store::Add => y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
                    }
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
    use crate::kernels::testing::{Bench, Random, axes, map_of, random_planes, seeds};

    fn random(random: &mut Random) -> Frame {
        let count = random.between(1, 3);
        let size = axes(count, || random.between(1, 6));
        let (mut before, mut out_size) = ([0; 3], size);
        for axis in 3 - count..3 {
            // From a crop to zeros on both sides, and now and then nothing but zeros.
            let (low, high) = (random.between(0, 6), random.between(0, 6));
            before[axis] = low as isize - 3;
            out_size[axis] = (size[axis] + high).saturating_add_signed(before[axis] - 2).max(1);
        }
        Frame { channels: random.between(1, 4), size, out_size, before }
    }

    /// What is `y` before, and what it must be behind.
    fn twin(frame: &Frame, samples: usize, x: &[f32], before: &[f32], store: Store) -> Vec<f32> {
        let place = |size: [usize; 3], at: [usize; 3]| (at[0] * size[1] + at[1]) * size[2] + at[2];
        let [plane, out_plane] = [frame.size, frame.out_size].map(|size| size.iter().product::<usize>());
        let mut y = Vec::new();
        for of in 0..samples * frame.channels {
            for out in 0..out_plane {
                let [_, lines, columns] = frame.out_size;
                let at = [out / columns / lines, out / columns % lines, out % columns];
                let inside = [0, 1, 2].map(|axis| at[axis] as isize - frame.before[axis]);
                let is_input = (0..3).all(|axis| 0 <= inside[axis] && inside[axis] < frame.size[axis] as isize);
                let x = if is_input { x[of * plane + place(frame.size, inside.map(|at| at as usize))] } else { 0.0 };
                y.push(if store == Store::Add { before[of * out_plane + out] + x } else { x });
            }
        }
        y
    }

    #[test]
    fn random_frames_are_their_twins() {
        for seed in seeds(0..300) {
            let samples = 1 + seed as usize % 2;
            let mut bench = Bench::new(seed, samples);
            let mut frame = random(&mut bench.random);
            let is_plain = bench.random.coin();
            let planes = random_planes(&mut bench.random);
            let maps = [frame.size, frame.out_size].map(|size| map_of(planes, size, &mut bench.random));
            if !is_plain {
                frame.channels = maps[0].channels();
            }
            let [len, out_len] =
                [frame.size, frame.out_size].map(|size| samples * frame.channels * size.iter().product::<usize>());
            let (x_of, before) = (bench.random.numbers(len), bench.random.numbers(out_len));
            for store in [Store::Write, Store::Add] {
                let wanted = twin(&frame, samples, &x_of, &before, store);
                let found = if is_plain {
                    let x = bench.value(x_of.clone());
                    let y = bench.value(before.clone());
                    bench.run(&[y], |t| apply(t, &frame, x, y, store));
                    bench.get(y).to_vec()
                } else {
                    let x = bench.planes(maps[0], &x_of, f32::NAN);
                    let y = bench.target_planes(maps[1], &before, store);
                    bench.run(&[y], |t| apply(t, &frame, x, y, store));
                    bench.elements(y)
                };
                assert_eq!(found, wanted, "{frame:?}, {store:?}");
            }
        }
    }
}
