//! Copies, sums, zeros.

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::layout::Layout;

/// `y = x`, or `y = y + x`.
pub fn copy(t: &mut Tile<'_>, x: View, y: View, store: Store) {
    if x.layout != y.layout {
        return convert(t, x, y, store);
    }
    assert_eq!(x.len, y.len, "a copy keeps the size");
    let Parts { reads: [x], writes: [mut y], .. } = t.parts([x], [y]);
    for sample in 0..y.samples() {
        store.put(y.row(sample), x.row(sample).iter().copied());
    }
}

/// `y = x`, or `y = y + x`, between layouts.
fn convert(t: &mut Tile<'_>, x: View, y: View, store: Store) {
    let Parts { reads: [from], writes: [mut to], .. } = t.parts([x], [y]);
    let places = |view: View| -> Vec<usize> {
        match view.layout {
            Layout::Plain => (0..view.len).collect(),
            Layout::Blocked(map) => {
                let [d, h, w] = map.size;
                (0..map.channels() * d * h * w)
                    .map(|at| map.at(at / (d * h * w), at / (h * w) % d, at / w % h, at % w))
                    .collect()
            }
        }
    };
    let (x_at, y_at) = (places(x), places(y));
    for sample in 0..to.samples() {
        let (from, to) = (from.row(sample), to.row(sample));
        if let (Layout::Blocked(map), Store::Write) = (y.layout, store) {
            map.clear_halo(to);
        }
        for (&x, &y) in x_at.iter().zip(&y_at) {
            to[y] = if store == Store::Add { to[y] } else { 0.0 } + from[x];
        }
    }
}

/// `y = a + b`; `y` may be the same value as `a`, as `b`, or as both.
pub fn add(t: &mut Tile<'_>, a: View, b: View, y: View) {
    assert!(a.len == y.len && b.len == y.len, "a sum keeps the size");
    if a == y && b == y {
        let Parts { writes: [mut y], .. } = t.parts([], [y]);
        for sample in 0..y.samples() {
            y.row(sample).iter_mut().for_each(|y| *y += *y);
        }
    } else if a == y {
        copy(t, b, y, Store::Add);
    } else if b == y {
        copy(t, a, y, Store::Add);
    } else {
        let Parts { reads: [a, b], writes: [mut y], .. } = t.parts([a, b], [y]);
        for sample in 0..y.samples() {
            let pairs = a.row(sample).iter().zip(b.row(sample));
            Store::Write.put(y.row(sample), pairs.map(|(a, b)| a + b));
        }
    }
}

/// `y = 0`.
pub fn zero(t: &mut Tile<'_>, y: View) {
    let Parts { writes: [mut y], .. } = t.parts([], [y]);
    for sample in 0..y.samples() {
        y.row(sample).fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;

    #[test]
    fn copies_sums_and_zeros() {
        let mut bench = Bench::new(1, 2);
        let (a, b) = (bench.value(vec![1.0, 2.0, 3.0, 4.0]), bench.value(vec![10.0, 20.0, 30.0, 40.0]));
        let y = bench.target(2, Store::Write);
        bench.run(&[y], |t| copy(t, a, y, Store::Write));
        assert_eq!(bench.get(y), [1.0, 2.0, 3.0, 4.0]);
        bench.run(&[y], |t| copy(t, b, y, Store::Add));
        assert_eq!(bench.get(y), [11.0, 22.0, 33.0, 44.0]);
        bench.run(&[y], |t| add(t, a, b, y));
        assert_eq!(bench.get(y), [11.0, 22.0, 33.0, 44.0]);
        bench.run(&[y], |t| add(t, y, b, y));
        assert_eq!(bench.get(y), [21.0, 42.0, 63.0, 84.0]);
        bench.run(&[y], |t| add(t, a, y, y));
        assert_eq!(bench.get(y), [22.0, 44.0, 66.0, 88.0]);
        bench.run(&[y], |t| add(t, y, y, y));
        assert_eq!(bench.get(y), [44.0, 88.0, 132.0, 176.0]);
        bench.run(&[y], |t| zero(t, y));
        assert_eq!(bench.get(y), [0.0; 4]);
    }
}
