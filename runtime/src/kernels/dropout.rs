//! Dropout (Srivastava and others 2014): some values become zero, the others grow so that the mean stays.

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::random;

/// A dropout's geometry. A sample's value is `[units][per_unit]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability of a zero.
    pub p: f32,
    /// Independent draws of a sample.
    pub units: usize,
    /// Elements that each covers.
    pub per_unit: usize,
}

/// `y[u] = x[u] / (1 - p)` with probability `1 - p`, else 0: forward of `x`, and backward of the gradient, with the same `key`. `x` and
/// `y` may be the same value when `store` writes.
///
/// The draw is a function of seed and step of the run, `key` (the use of the layer with its loop iteration), the sample of the batch,
/// and u.
pub fn apply(t: &mut Tile<'_>, dropout: &Dropout, key: u64, x: View, y: View, store: Store) {
    let Dropout { p, units, per_unit } = *dropout;
    assert!(x.len == units * per_unit && y.len == x.len, "a value is [units][per_unit]");
    let (first, draw) = (t.samples().start, t.draw());
    let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
    let of_sample = |sample: usize| random::bits(&[draw.seed, draw.step, key, (first + sample) as u64]);
    // `random::bits` with the unit as the last part of the key.
    let factor = |of_sample: u64, unit: usize| {
        let kept = random::unit(random::scatter(of_sample ^ unit as u64)) >= p;
        if kept { scale } else { 0.0 }
    };
    if x == y {
        assert_eq!(store, Store::Write, "a value is not added to itself");
        let Parts { writes: [mut y], .. } = t.parts([], [y]);
        for sample in 0..y.samples() {
            let of_sample = of_sample(sample);
            for (unit, y) in y.row(sample).chunks_exact_mut(per_unit).enumerate() {
                let factor = factor(of_sample, unit);
                y.iter_mut().for_each(|y| *y *= factor);
            }
        }
    } else {
        let Parts { reads: [x], writes: [mut y], .. } = t.parts([x], [y]);
        for sample in 0..y.samples() {
            let of_sample = of_sample(sample);
            let units = x.row(sample).chunks_exact(per_unit).zip(y.row(sample).chunks_exact_mut(per_unit));
            for (unit, (x, y)) in units.enumerate() {
                let factor = factor(of_sample, unit);
                store.put(y, x.iter().map(|x| x * factor));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Bench, bits};
    use crate::random::Draw;

    const DROPOUT: Dropout = Dropout { p: 0.25, units: 500, per_unit: 3 };

    /// What becomes of ones: of 4 samples, from sample `first` of the batch on.
    fn of_ones(dropout: &Dropout, key: u64, draw: Draw, first: usize) -> Vec<f32> {
        let mut bench = Bench::new(1, 4);
        (bench.draw, bench.first) = (draw, first);
        let x = bench.value(vec![1.0; 4 * dropout.units * dropout.per_unit]);
        bench.run(&[x], |t| apply(t, dropout, key, x, x, Store::Write));
        bench.get(x).to_vec()
    }

    #[test]
    fn a_unit_is_dropped_or_grows_as_one() {
        let draw = Draw { seed: 1, step: 2 };
        let y = of_ones(&DROPOUT, 3, draw, 0);
        assert!(y.chunks_exact(3).all(|unit| *unit == [0.0; 3] || *unit == [1.0 / 0.75; 3]));
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
        // Of 2000 draws one deviation is 0.01.
        assert!((dropped - 0.25).abs() < 0.04, "{dropped}");
    }

    #[test]
    fn the_draw_is_that_of_its_key() {
        let draw = Draw { seed: 1, step: 2 };
        let y = of_ones(&DROPOUT, 3, draw, 8);
        for (index, y) in y.chunks_exact(3).enumerate() {
            let key = [1, 2, 3, 8 + index as u64 / 500, index as u64 % 500];
            assert_eq!(y[0] == 0.0, random::unit(random::bits(&key)) < 0.25);
        }
        // Tiles that begin elsewhere agree about their samples.
        let before = of_ones(&DROPOUT, 3, draw, 6);
        assert_eq!(before[2 * 1500..], y[..2 * 1500]);
        assert_ne!(y, of_ones(&DROPOUT, 4, draw, 8));
        assert_ne!(y, of_ones(&DROPOUT, 3, Draw { seed: 1, step: 3 }, 8));
        assert_ne!(y, of_ones(&DROPOUT, 3, Draw { seed: 2, step: 2 }, 8));
    }

    #[test]
    fn everything_or_nothing_may_be_dropped() {
        let draw = Draw::default();
        assert!(of_ones(&Dropout { p: 1.0, ..DROPOUT }, 0, draw, 0).iter().all(|&y| y == 0.0));
        assert!(of_ones(&Dropout { p: 0.0, ..DROPOUT }, 0, draw, 0).iter().all(|&y| y == 1.0));
    }

    #[test]
    fn backward_has_the_mask_of_forward_and_may_add() {
        let mut bench = Bench::new(1, 2);
        let dropout = Dropout { units: 9, per_unit: 2, p: 0.5 };
        let (x, added) = (bench.numbers(18), bench.value(vec![1.0; 36]));
        let y = bench.target(18, Store::Write);
        bench.run(&[y], |t| apply(t, &dropout, 7, x, y, Store::Write));
        bench.run(&[added], |t| apply(t, &dropout, 7, x, added, Store::Add));
        let sums: Vec<f32> = bench.get(y).iter().map(|y| 1.0 + y).collect();
        assert_eq!(bits(bench.get(added)), bits(&sums));
    }
}
