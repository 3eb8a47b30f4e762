//! Values from one layout to another.
#![allow(unsafe_code)]

use crate::isa::Isa;
use crate::kernels::Store;
use crate::kernels::lanes::{Lanes, dispatch};
use crate::kernels::transpose::{Transpose, transpose};
use crate::layout::Blocked;

/// A plain value in planes, with its halo, or adds it; lanes that are no channels stay as they are.
pub(crate) fn to_blocked(isa: Isa, plain: &[f32], map: &Blocked, to: &mut [f32], store: Store) {
    check(plain, map, to);
    if store == Store::Write {
        map.clear_halo(to);
    }
    to_planes(isa, plain, map, to, store);
}

/// The plain value of one in planes, or adds it.
pub(crate) fn from_blocked(isa: Isa, from: &[f32], map: &Blocked, plain: &mut [f32], store: Store) {
    check(plain, map, from);
    from_planes(isa, from, map, plain, store);
}

fn check(plain: &[f32], map: &Blocked, planes: &[f32]) {
    let positions: usize = map.size.iter().product();
    assert!(plain.len() == map.channels() * positions && planes.len() == map.len(), "a value is its map's");
}

/// A value in planes as one in other planes, or adds it.
pub(crate) fn between(from: &[f32], map: &Blocked, to: &mut [f32], to_map: &Blocked, store: Store) {
    assert!(map.size == to_map.size && map.channels() == to_map.channels(), "a copy keeps the size");
    if store == Store::Write {
        to_map.clear_halo(to);
    }
    let [depths, lines, columns] = map.size;
    for ((source, step), (target, to_step)) in channels(map).zip(channels(to_map)) {
        for line in 0..depths * lines {
            let place = |map: &Blocked| map.position(line / lines, line % lines, 0);
            let from = from[source + place(map) * step..].iter().step_by(step);
            let to = to[target + place(to_map) * to_step..].iter_mut().step_by(to_step);
            for (from, to) in from.zip(to).take(columns) {
                *to = if store == Store::Add { *to + *from } else { *from };
            }
        }
    }
}

/// Of each channel: its first float, and the floats from one position to the next.
fn channels(map: &Blocked) -> impl Iterator<Item = (usize, usize)> {
    let of_plane = |plane: usize| {
        let (first, lanes) = (map.plane(plane), map.planes[plane].lanes);
        (0..map.planes[plane].channels).map(move |channel| (first + channel, lanes))
    };
    (0..map.planes.len()).flat_map(of_plane)
}

dispatch! {
    /// `to[position][channel] = plain[channel][position]` in each plane, or adds it.
    fn to_planes(plain: &[f32], map: &Blocked, to: &mut [f32], store: Store) = to_kernel;
    /// The other way.
    fn from_planes(from: &[f32], map: &Blocked, plain: &mut [f32], store: Store) = from_kernel;
}

#[inline(always)]
unsafe fn to_kernel<W: Lanes, H: Transpose>(plain: &[f32], map: &Blocked, to: &mut [f32], store: Store) {
    let (plain, to) = (plain.as_ptr(), to.as_mut_ptr());
    let mut channel = 0;
    for plane in 0..map.planes.len() {
        let parts = Parts::of(map, plane, channel);
        let Parts { channels, columns, positions, lanes, .. } = parts;
        for line in 0..parts.lines {
            let (from, planes) = parts.at(map, line);
            // SAFETY: each part lies inside both values, whose lengths are checked.
            unsafe {
                let (from, to) = (plain.add(from), to.add(planes));
                match (store, channels) {
                    (Store::Write, 2) if lanes == 2 => interleave::<2>(from, positions, columns, to),
                    (Store::Write, 3) if lanes == 3 => {
                        let done = columns / W::COUNT * W::COUNT;
                        interleave_vectors::<W>(from, positions, done, to);
                        interleave::<3>(from.add(done), positions, columns - done, to.add(3 * done));
                    }
                    (Store::Write, 4) if lanes == 4 => interleave::<4>(from, positions, columns, to),
                    (Store::Write, _) => transpose::<H, false>(from, positions, channels, columns, to, lanes),
                    (Store::Add, _) => transpose::<H, true>(from, positions, channels, columns, to, lanes),
                }
            }
        }
        channel += channels;
    }
}

#[inline(always)]
unsafe fn from_kernel<W: Lanes, H: Transpose>(from: &[f32], map: &Blocked, plain: &mut [f32], store: Store) {
    let (from, plain) = (from.as_ptr(), plain.as_mut_ptr());
    let mut channel = 0;
    for plane in 0..map.planes.len() {
        let parts = Parts::of(map, plane, channel);
        let Parts { channels, columns, positions, lanes, .. } = parts;
        for line in 0..parts.lines {
            let (to, planes) = parts.at(map, line);
            // SAFETY: as in `to_kernel`.
            unsafe {
                let (from, to) = (from.add(planes), plain.add(to));
                match store {
                    Store::Write => transpose::<H, false>(from, lanes, columns, channels, to, positions),
                    Store::Add => transpose::<H, true>(from, lanes, columns, channels, to, positions),
                }
            }
        }
        channel += channels;
    }
}

/// Floats of a plane that are next to each other in both layouts: its lines, or all of a plane without halo.
struct Parts {
    /// The first channel, and how many.
    channel: usize,
    channels: usize,
    /// How many parts, of `columns` positions each.
    lines: usize,
    columns: usize,
    /// Positions of the map.
    positions: usize,
    lanes: usize,
    /// The plane's first float.
    begin: usize,
}

impl Parts {
    #[inline(always)]
    fn of(map: &Blocked, plane: usize, channel: usize) -> Parts {
        let positions: usize = map.size.iter().product();
        let columns = if map.positions() == positions { positions } else { map.size[2] };
        let (of, begin) = (map.planes[plane], map.plane(plane));
        let lines = positions / columns;
        Parts { channel, channels: of.channels, lines, columns, positions, lanes: of.lanes, begin }
    }

    /// Its first float in the plain value, of `channels` lines one `positions` behind the other; and in the planes, of `lanes` floats a
    /// position.
    #[inline(always)]
    fn at(&self, map: &Blocked, line: usize) -> (usize, usize) {
        let planes = self.begin + map.position(line / map.size[1], line % map.size[1], 0) * self.lanes;
        (self.channel * self.positions + line * self.columns, planes)
    }
}

/// `to[column][channel] = from[channel][column]` for as many channels as a position has floats.
#[inline(always)]
unsafe fn interleave<const N: usize>(from: *const f32, stride: usize, columns: usize, to: *mut f32) {
    // SAFETY: the caller's: N lines to read and one to write, apart from them.
    let (from, to) = unsafe {
        let line = |channel: usize| std::slice::from_raw_parts(from.add(channel * stride), columns);
        (std::array::from_fn::<_, N, _>(line), std::slice::from_raw_parts_mut(to.cast::<[f32; N]>(), columns))
    };
    for (column, to) in to.iter_mut().enumerate() {
        for channel in 0..N {
            to[channel] = from[channel][column];
        }
    }
}

/// [`interleave`] of three channels, of whole vectors of columns.
#[inline(always)]
unsafe fn interleave_vectors<L: Lanes>(from: *const f32, stride: usize, columns: usize, to: *mut f32) {
    for column in (0..columns).step_by(L::COUNT) {
        // SAFETY: the caller's: whole vectors of three lines, and room for as many.
        unsafe {
            let from = from.add(column);
            let [a, b, c] = L::interleave([L::load(from), L::load(from.add(stride)), L::load(from.add(2 * stride))]);
            let to = to.add(3 * column);
            a.store(to);
            b.store(to.add(L::COUNT));
            c.store(to.add(2 * L::COUNT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::elementwise::copy;
    use crate::kernels::testing::{Bench, bits, image, map, seeds};

    #[test]
    fn elements_are_the_same_in_any_layout() {
        let isas: Vec<Isa> = Isa::available().collect();
        // Smaller for Miri.
        let [lines, columns] = if cfg!(miri) { [2, 3] } else { [9, 20] };
        let all_channels = [19, 1, 2, 3, 4, 5, 8, 12, 16, 24, 40];
        for index in seeds(0..11).map(|index| index as usize) {
            let channels = all_channels[index];
            for store in [Store::Write, Store::Add] {
                for round in 0..4 {
                    let mut bench = Bench::new((index * 4 + round) as u64, 3);
                    bench.isa = isas[(index + round) % isas.len()];
                    let r = &mut bench.random;
                    let size = [r.between(1, 2), r.between(1, lines), r.between(1, columns)];
                    let mut halo = || match round {
                        0 => [0; 3],
                        _ => [r.between(0, 1), r.between(0, 2), r.between(0, 3)],
                    };
                    let make = if channels < 5 && round % 2 == 0 { image } else { map };
                    let (before, after) = (halo(), halo());
                    let (first, second) = (make(channels, size, before, after), map(channels, size, halo(), halo()));
                    let len = channels * size.iter().product::<usize>();
                    let [elements, targets] = [(); 2].map(|()| bench.random.numbers(3 * len));
                    let wanted: Vec<f32> = match store {
                        Store::Write => elements.clone(),
                        Store::Add => elements.iter().zip(&targets).map(|(a, b)| a + b).collect(),
                    };
                    let plain = bench.value(elements.clone());
                    let planes = bench.target_planes(first, &targets, store);
                    bench.run(&[planes], |t| copy(t, plain, planes, store));
                    assert_eq!(bits(&bench.elements(planes)), bits(&wanted), "{channels}, {size:?}");

                    for beside in [f32::NAN, 1e30] {
                        let planes = bench.planes(first, &elements, beside);
                        let others = bench.target_planes(second, &targets, store);
                        bench.run(&[others], |t| copy(t, planes, others, store));
                        assert_eq!(bits(&bench.elements(others)), bits(&wanted), "{channels}, {size:?}");

                        let back = bench.value(targets.clone());
                        bench.run(&[back], |t| copy(t, planes, back, store));
                        assert_eq!(bits(bench.get(back)), bits(&wanted), "{channels}, {size:?}");
                    }
                }
            }
        }
    }
}
