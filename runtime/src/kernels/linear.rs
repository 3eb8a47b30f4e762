//! Fully connected layers: one product for the samples of a tile, or for the batch.

use crate::arena::{Parts, Region, Tile, View};
use crate::kernels::gemm::{Matrix, MatrixMut, multiply};
use crate::kernels::{Act, Store};
use crate::run::{self, Run};

/// Output rows of the weight that one task of [`grad_weight_batch`] has.
const BLOCK: usize = 64;

/// A linear layer's geometry. The weight is `[outputs][inputs]`, a sample's value `[rows][inputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Positions of a sample: all dimensions but the last.
    pub rows: usize,
    /// The last dimension of the input.
    pub inputs: usize,
    /// The last dimension of the output.
    pub outputs: usize,
}

impl Linear {
    fn check(&self, x: View, y: View) {
        assert_eq!(x.len, self.rows * self.inputs, "the input is [rows][inputs]");
        assert_eq!(y.len, self.rows * self.outputs, "the output is [rows][outputs]");
    }
}

/// `y[r][o] = act(bias[o] + sum over i of weight[o][i] x[r][i])`.
pub fn forward(t: &mut Tile<'_>, linear: &Linear, x: View, weight: usize, bias: Option<usize>, act: Act, y: View) {
    linear.check(x, y);
    let Linear { rows, inputs, outputs } = *linear;
    let Parts { reads: [x], writes: [mut y], params, isa, .. } = t.parts([x], [y]);
    let weight = Matrix::new(&params[weight..], outputs, inputs, inputs).transposed();
    if let Some(bias) = bias {
        let bias = &params[bias..][..outputs];
        for sample in 0..y.samples() {
            y.row(sample).chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(bias));
        }
    }
    let store = if bias.is_some() { Store::Add } else { Store::Write };
    if rows == 1 {
        multiply(Matrix::of_rows(&x), weight, store, MatrixMut::of_rows(&mut y));
    } else {
        for sample in 0..x.samples() {
            let x = Matrix::new(x.row(sample), rows, inputs, inputs);
            multiply(x, weight, store, MatrixMut::new(y.row(sample), rows, outputs, outputs));
        }
    }
    for sample in 0..y.samples() {
        act.apply(isa, y.row(sample));
    }
}

/// `dx[r][i] = sum over o of dy[r][o] weight[o][i]`.
pub fn grad_input(t: &mut Tile<'_>, linear: &Linear, dy: View, weight: usize, dx: View, store: Store) {
    linear.check(dx, dy);
    let Linear { rows, inputs, outputs } = *linear;
    let Parts { reads: [dy], writes: [mut dx], params, .. } = t.parts([dy], [dx]);
    let weight = Matrix::new(&params[weight..], outputs, inputs, inputs);
    if rows == 1 {
        multiply(Matrix::of_rows(&dy), weight, store, MatrixMut::of_rows(&mut dx));
    } else {
        for sample in 0..dy.samples() {
            let dy = Matrix::new(dy.row(sample), rows, outputs, outputs);
            multiply(dy, weight, store, MatrixMut::new(dx.row(sample), rows, inputs, inputs));
        }
    }
}

/// Adds to the tile's gradient, at `weight` and `bias`: `dweight[o][i] = sum over samples, r of dy[r][o] x[r][i]`, `dbias[o] = sum
/// over samples, r of dy[r][o]`.
pub fn grad_weight(t: &mut Tile<'_>, linear: &Linear, x: View, dy: View, weight: usize, bias: Option<usize>) {
    linear.check(x, dy);
    let Linear { rows, inputs, outputs } = *linear;
    let Parts { reads: [x, dy], gradients, .. } = t.parts([x, dy], []);
    if let Some(bias) = bias {
        let bias = &mut gradients[bias..][..outputs];
        for sample in 0..dy.samples() {
            dy.row(sample).chunks_exact(outputs).for_each(|dy| Store::Add.put(bias, dy.iter().copied()));
        }
    }
    let weight = &mut gradients[weight..][..outputs * inputs];
    if rows == 1 {
        let (x, dy) = (Matrix::of_rows(&x), Matrix::of_rows(&dy).transposed());
        multiply(dy, x, Store::Add, MatrixMut::new(weight, outputs, inputs, inputs));
    } else {
        for sample in 0..x.samples() {
            let x = Matrix::new(x.row(sample), rows, inputs, inputs);
            let dy = Matrix::new(dy.row(sample), rows, outputs, outputs).transposed();
            multiply(dy, x, Store::Add, MatrixMut::new(weight, outputs, inputs, inputs));
        }
    }
}

/// [`grad_weight`] of the whole batch, whose memory has `x` and `dy`: adds to the model's gradient, in parallel over blocks of outputs.
pub fn grad_weight_batch(run: &mut Run<'_>, linear: &Linear, x: View, dy: View, weight: usize, bias: Option<usize>) {
    linear.check(x, dy);
    assert!(x.region == Region::Batch && dy.region == Region::Batch, "values of the whole batch");
    let Linear { rows, inputs, outputs } = *linear;
    let whole = run.whole();
    let (samples, stride) = (whole.samples, whole.batch_stride);
    if samples == 0 {
        return;
    }
    let (x, dy) = (&whole.batch[x.offset..], &whole.batch[dy.offset..]);
    if let Some(bias) = bias {
        let bias = &mut whole.gradients[bias..][..outputs];
        for sample in 0..samples {
            let dy = &dy[sample * stride..][..rows * outputs];
            dy.chunks_exact(outputs).for_each(|dy| Store::Add.put(bias, dy.iter().copied()));
        }
    }
    let weight = &mut whole.gradients[weight..][..outputs * inputs];
    run::blocks(whole.threads, weight, BLOCK * inputs, &|block, weight| {
        let (first, count) = (block * BLOCK, weight.len() / inputs);
        // One product along all samples when a sample is one row, else one for each.
        let (products, terms, x_stride, dy_stride) =
            if rows == 1 { (1, samples, stride, stride) } else { (samples, rows, inputs, outputs) };
        for product in 0..products {
            let x = Matrix::new(&x[product * stride..], terms, inputs, x_stride);
            let dy = Matrix::new(&dy[product * stride + first..], terms, count, dy_stride).transposed();
            multiply(dy, x, Store::Add, MatrixMut::new(weight, count, inputs, inputs));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::naive::{self, Sums};
    use crate::kernels::testing::{Bench, assert_close, bits, pass, product_tolerance, wide};
    use crate::run::Plan;

    #[test]
    fn random_layers_are_their_twins() {
        for seed in 0..60 {
            let mut bench = Bench::new(seed, 1 + seed as usize % 8);
            let rows = if bench.random.coin() { 1 } else { bench.random.between(2, 5) };
            let (inputs, outputs) = (bench.random.between(1, 300), bench.random.between(1, 40));
            let linear = Linear { rows, inputs, outputs };
            let (samples, terms) = (bench.samples, naive::linear(&linear));
            let (x, dy) = (bench.numbers(rows * inputs), bench.numbers(rows * outputs));
            let weight = bench.weights(outputs * inputs);
            let bias = bench.random.coin().then(|| bench.weights(outputs));
            let weight_of = wide(&bench.params[weight..][..outputs * inputs]);
            let (x_of, dy_of) = (bench.wide(x), bench.wide(dy));

            let y = bench.target(rows * outputs, Store::Write);
            bench.run(&[y], |t| forward(t, &linear, x, weight, bias, Act::None, y));
            let mut twin = Sums::zero(samples * rows * outputs);
            for sample in 0..samples {
                let first = sample * rows * outputs;
                if let Some(bias) = bias {
                    (0..rows * outputs).for_each(|o| twin.add(first + o, f64::from(bench.params[bias + o % outputs])));
                }
                terms
                    .iter()
                    .for_each(|&(i, w, o)| twin.add(first + o, x_of[sample * rows * inputs + i] * weight_of[w]));
            }
            assert_close("forward", bench.get(y), &twin.values, &twin.scales, product_tolerance(inputs));

            let store = bench.random.store();
            let dx = bench.target(rows * inputs, store);
            let len = samples * rows * inputs;
            let mut twin = if store == Store::Add { Sums::from(bench.wide(dx)) } else { Sums::zero(len) };
            bench.run(&[dx], |t| grad_input(t, &linear, dy, weight, dx, store));
            for sample in 0..samples {
                let first = sample * rows * inputs;
                terms
                    .iter()
                    .for_each(|&(i, w, o)| twin.add(first + i, dy_of[sample * rows * outputs + o] * weight_of[w]));
            }
            assert_close("grad_input", bench.get(dx), &twin.values, &twin.scales, product_tolerance(outputs));

            let to = bench.gradient(outputs * inputs);
            let bias_to = bias.map(|_| bench.gradient(outputs));
            let before = wide(&bench.gradients);
            bench.run(&[], |t| grad_weight(t, &linear, x, dy, to, bias_to));
            let mut twin = Sums::from(before[to..][..outputs * inputs].to_vec());
            for sample in 0..samples {
                let (x, dy) = (&x_of[sample * rows * inputs..], &dy_of[sample * rows * outputs..]);
                terms.iter().for_each(|&(i, w, o)| twin.add(w, dy[o] * x[i]));
            }
            let tolerance = product_tolerance(samples * rows);
            assert_close(
                "grad_weight",
                &bench.gradients[to..][..outputs * inputs],
                &twin.values,
                &twin.scales,
                tolerance,
            );
            if let Some(to) = bias_to {
                let mut twin = Sums::from(before[to..][..outputs].to_vec());
                dy_of.iter().enumerate().for_each(|(index, &dy)| twin.add(index % outputs, dy));
                assert_close("grad_bias", &bench.gradients[to..][..outputs], &twin.values, &twin.scales, tolerance);
            }
        }
    }

    #[test]
    fn a_sample_has_the_same_bits_alone() {
        let linear = Linear { rows: 1, inputs: 700, outputs: 33 };
        let mut together = Bench::new(1, 8);
        let (x, weight, bias) = (together.numbers(700), together.weights(700 * 33), together.weights(33));
        let y = together.target(33, Store::Write);
        together.run(&[y], |t| forward(t, &linear, x, weight, Some(bias), Act::Sigmoid, y));
        for sample in 0..8 {
            let mut alone = Bench::new(1, 1);
            alone.params = together.params.clone();
            let x = alone.value(together.get(x)[sample * 700..][..700].to_vec());
            let y_alone = alone.target(33, Store::Write);
            alone.run(&[y_alone], |t| forward(t, &linear, x, weight, Some(bias), Act::Sigmoid, y_alone));
            assert_eq!(bits(alone.get(y_alone)), bits(&together.get(y)[sample * 33..][..33]));
        }
    }

    #[test]
    fn the_gradient_of_a_batch_is_its_twin_and_the_same_on_any_threads() {
        for (rows, samples) in [(1, 21), (3, 10)] {
            let linear = Linear { rows, inputs: 11, outputs: 150 };
            let mut random = crate::kernels::testing::Random::new(rows as u64);
            let (inputs, outputs) = (rows * 11, rows * 150);
            let [x_of, dy_of] = [samples * inputs, samples * outputs].map(|len| random.numbers(len));
            let (x, dy) = (crate::arena::batch(2, inputs), crate::arena::batch(3 + inputs, outputs));
            let plan = Plan { batch: 5 + inputs + outputs, ..Plan::default() };
            let (weight, bias) = (1, 1 + 11 * 150 + 1);
            let params = vec![0.0; bias + 150 + 1];
            let gradient = |threads: usize, bias: Option<usize>| {
                let mut gradient = Vec::new();
                pass(threads, plan, &params, None, samples, &[&x_of, &dy_of], |run| {
                    run.stage(&[], |t| {
                        t.load(0, x);
                        t.load(1, dy);
                    });
                    grad_weight_batch(run, &linear, x, dy, weight, bias);
                    // A second time: it adds.
                    grad_weight_batch(run, &linear, x, dy, weight, bias);
                    gradient = run.gradients.to_vec();
                });
                gradient
            };
            let results = gradient(1, Some(bias));
            let mut twin = Sums::zero(params.len());
            for _ in 0..2 {
                for sample in 0..samples {
                    let (x, dy) = (&x_of[sample * inputs..], &dy_of[sample * outputs..]);
                    for (i, w, o) in naive::linear(&linear) {
                        twin.add(weight + w, f64::from(dy[o]) * f64::from(x[i]));
                    }
                    (0..outputs).for_each(|o| twin.add(bias + o % 150, f64::from(dy[o])));
                }
            }
            assert_close("gradient", &results, &twin.values, &twin.scales, product_tolerance(2 * samples * rows));
            for threads in [2, 3, 5] {
                assert_eq!(bits(&gradient(threads, Some(bias))), bits(&results));
            }
            assert!(gradient(1, None)[bias..].iter().all(|&value| value == 0.0));
        }
    }
}
