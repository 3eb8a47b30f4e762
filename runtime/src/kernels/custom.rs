//! Layers of a user's own, sample by sample.

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::layer::{Input, Layer, weights_len};

/// `y = layer(x)`; the layer's weights begin at `weights`.
pub fn forward<T: Layer<X>, X: Input>(t: &mut Tile<'_>, x: View, weights: usize, y: View) {
    let Parts { reads: [x], writes: [mut y], params, .. } = t.parts([x], [y]);
    let weights = &params[weights..][..const { weights_len::<T, X>() }];
    for sample in 0..x.samples() {
        let y = y.row(sample);
        if cfg!(debug_assertions) {
            // So that an element that the layer forgets is seen.
            y.fill(f32::NAN);
        }
        T::forward(x.row(sample), weights, y);
    }
}

/// `dx` from `dy`, and the weights' gradient, which begins at `gradient` among the tile's, if there is one.
#[allow(clippy::too_many_arguments)]
pub fn backward<T: Layer<X>, X: Input>(
    t: &mut Tile<'_>,
    x: View,
    dy: View,
    weights: usize,
    gradient: Option<usize>,
    dx: View,
    store: Store,
) {
    let Parts { reads: [x, dy], writes: [mut dx], params, gradients, scratch, .. } = t.parts([x, dy], [dx]);
    let len = const { weights_len::<T, X>() };
    let weights = &params[weights..][..len];
    // What is not wanted has a place in the scratch.
    let (d_weights, scratch) = match gradient {
        Some(gradient) => (&mut gradients[gradient..][..len], scratch),
        None => scratch.split_at_mut(len),
    };
    for sample in 0..x.samples() {
        let (x, dy, dx) = (x.row(sample), dy.row(sample), dx.row(sample));
        let own = match store {
            Store::Write => &mut *dx,
            Store::Add => &mut scratch[..x.len()],
        };
        if cfg!(debug_assertions) {
            own.fill(f32::NAN);
        }
        T::backward(x, weights, dy, own, d_weights);
        if store == Store::Add {
            dx.iter_mut().zip(&*scratch).for_each(|(sum, own)| *sum += own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Bench;
    use crate::layer::{Shape, Weight};

    struct Row;

    impl Input for Row {
        const SHAPE: Shape = Shape::new(&[5]);
    }

    /// `y = (x + shift)^2`, without the last element.
    struct Squares;

    impl<X: Input> Layer<X> for Squares {
        const OUTPUT: Shape = Shape::new(&[X::SHAPE.elements() - 1]);
        const WEIGHTS: &'static [Weight] = &[Weight::new("shift", &[1])];

        fn forward(x: &[f32], shift: &[f32], y: &mut [f32]) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x + shift[0]) * (x + shift[0]));
        }

        fn backward(x: &[f32], shift: &[f32], dy: &[f32], dx: &mut [f32], d_shift: &mut [f32]) {
            dx[dy.len()] = 0.0;
            for (at, dy) in dy.iter().enumerate() {
                dx[at] = 2.0 * (x[at] + shift[0]) * dy;
                d_shift[0] += dx[at];
            }
        }
    }

    #[test]
    fn a_layer_is_run_for_each_sample() {
        let mut bench = Bench::new(0, 3);
        bench.scratch = 5;
        let x = bench.value((0..15).map(|x| x as f32).collect());
        let weights = bench.weights(1);
        bench.params[weights] = 2.0;
        let y = bench.target(4, Store::Write);
        bench.run(&[y], |t| forward::<Squares, Row>(t, x, weights, y));
        let squares = |first: usize| (first..first + 4).map(|x| ((x + 2) * (x + 2)) as f32);
        let wanted: Vec<f32> = [0, 5, 10].into_iter().flat_map(squares).collect();
        assert_eq!(bench.get(y), wanted);

        let dy = bench.value(vec![0.5; 12]);
        let gradient = bench.gradient(1);
        bench.gradients[gradient] = 100.0;
        let dx = bench.target(5, Store::Write);
        bench.run(&[dx], |t| backward::<Squares, Row>(t, x, dy, weights, Some(gradient), dx, Store::Write));
        let slopes = |first: usize| (first..first + 4).map(|x| (x + 2) as f32).chain([0.0]);
        let wanted: Vec<f32> = [0, 5, 10].into_iter().flat_map(slopes).collect();
        assert_eq!(bench.get(dx), wanted);
        let sum: f32 = wanted.iter().sum();
        assert_eq!(bench.gradients[gradient], 100.0 + sum);

        let more = bench.value(vec![1.0; 15]);
        bench.run(&[more], |t| backward::<Squares, Row>(t, x, dy, weights, Some(gradient), more, Store::Add));
        let wanted: Vec<f32> = wanted.iter().map(|dx| dx + 1.0).collect();
        assert_eq!(bench.get(more), wanted);
        assert_eq!(bench.gradients[gradient], 100.0 + 2.0 * sum);

        bench.scratch = 6;
        bench.run(&[more], |t| backward::<Squares, Row>(t, x, dy, weights, None, more, Store::Add));
        let wanted: Vec<f32> = slopes(0).chain(slopes(5)).chain(slopes(10)).map(|dx| 2.0 * dx + 1.0).collect();
        assert_eq!(bench.get(more), wanted);
        assert_eq!(bench.gradients[gradient], 100.0 + 2.0 * sum);
    }
}
