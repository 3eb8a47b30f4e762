//! The program of a model, run in f64 by plain loops: what everything faster is compared with.
//!
//! It runs any program of [`crate::ir`], with or without its backward pass, the whole batch at once. Each op's formula stands in
//! `formulas.rs`; here is what runs around them: loops, values, weights. A value that a loop makes is kept for each iteration, so
//! that the reversed loop finds that of its own, and a test whatever it looks for.

mod formulas;

use std::collections::HashMap;
use std::rc::Rc;

use crate::fuse::Folded;
use crate::ir::{Item, Kind, Loop, NormTensors, Op, Program, Store, TensorId, ValueId};
use crate::net::LayerId;
use crate::ops::elements;

/// A value of a batch: `[sample][element]`.
pub type Samples = Vec<Vec<f64>>;

/// The loss of one sample.
pub type Loss<'a> = dyn Fn(usize, &[f64]) -> (f64, Vec<f64>) + 'a;

/// What a run is given beside the weights.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// The model's inputs.
    pub inputs: &'a [Samples],
    /// The loss of a sample's output, and its derivative by each element of the output. The loss of the batch is the mean.
    pub loss: &'a Loss<'a>,
    /// Whether dropout keeps a unit. Asked again in backward, where the answer must be the same.
    pub keeps: &'a dyn Fn(Draw) -> bool,
}

/// The key of a unit that dropout keeps or drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Draw {
    /// Which use of a dropout.
    pub of: u32,
    /// Which iteration of the loops around it, counted through all of them.
    pub iteration: u64,
    /// Which sample of the batch.
    pub sample: usize,
    /// Which unit of the sample.
    pub unit: usize,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Trace {
    /// The model's outputs.
    pub outputs: Vec<Samples>,
    /// The mean loss; 0 without a backward pass.
    pub loss: f64,
    /// Its derivative by each parameter.
    pub gradient: Vec<f64>,
    /// Every value, of each iteration of the loops around it, outermost first.
    values: HashMap<(ValueId, Vec<u64>), Rc<Samples>>,
}

impl Trace {
    /// The values of a name, with the iterations that they are of, in their order.
    pub fn named(&self, program: &Program, name: &str) -> Vec<(&[u64], &Samples)> {
        let is_named = |value: ValueId| program.values[value.0 as usize].name == name;
        let mut found: Vec<_> = self.values.iter().filter(|((value, _), _)| is_named(*value)).collect();
        found.sort_by_key(|(key, _)| *key);
        found.into_iter().map(|((_, iterations), samples)| (iterations.as_slice(), &**samples)).collect()
    }
}

/// Runs a program that [`crate::ir::verify`] accepts. `params` and `statistics` are as long as it says; batch norms that use the
/// statistics of the batch change the running ones.
pub fn run(program: &Program, params: &[f64], statistics: &mut [f64], batch: &Batch<'_>) -> Trace {
    assert_eq!(params.len() as u64, program.params, "params");
    assert_eq!(statistics.len() as u64, program.statistics, "statistics");
    let mut machine = Machine {
        program,
        params,
        statistics,
        batch,
        around: Vec::new(),
        homes: vec![Vec::new(); program.values.len()],
        values: HashMap::new(),
        loss: 0.0,
        gradient: vec![0.0; params.len()],
    };
    machine.body(&program.body);
    let outputs = program.outputs.iter().map(|&output| machine.read(output).to_vec()).collect();
    let Machine { loss, gradient, values, .. } = machine;
    Trace { outputs, loss, gradient, values }
}

/// The weights that a program with folded batch norms runs on: a copy of the parameters and of the statistics, the folded layers'
/// weights scaled and their biases, behind the statistics if they are new, shifted.
///
/// `norm(W x + b) = g / sqrt(var + eps) W x + g / sqrt(var + eps) (b - mean) + beta`.
pub fn pack(program: &Program, folded: &[Folded], params: &[f64], statistics: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut packed = (params.to_vec(), statistics.to_vec());
    packed.1.resize(program.statistics as usize, 0.0);
    for Folded { weight, bias, folded_bias, norm, sizes } in folded {
        let own = &program.tensor(*weight).repeats;
        let separate: Vec<_> = own.iter().filter(|repeat| repeat.stride > 0).collect();
        let sets: u64 = separate.iter().map(|repeat| repeat.count).product();
        for set in 0..sets {
            let mut rest = set;
            let index: HashMap<LayerId, u64> = (separate.iter().rev())
                .map(|repeat| (repeat.layer, (rest % repeat.count, rest /= repeat.count).0))
                .collect();
            let floats = |tensor: TensorId| -> &[f64] {
                let (trainable, at) = place(program, tensor, |layer| index.get(&layer).copied());
                &(if trainable { params } else { statistics })[at]
            };
            let (scale, shift) = by_running(sizes.eps, norm, floats);
            let bias = bias.map(floats);
            let weight = {
                let (_, at) = place(program, *weight, |layer| index.get(&layer).copied());
                &mut packed.0[at]
            };
            let per_channel = weight.len() / scale.len();
            for (row, scale) in weight.chunks_exact_mut(per_channel).zip(&scale) {
                row.iter_mut().for_each(|w| *w *= scale);
            }
            let (trainable, at) = place(program, *folded_bias, |layer| index.get(&layer).copied());
            let folded_bias = &mut (if trainable { &mut packed.0 } else { &mut packed.1 })[at];
            for (c, folded) in folded_bias.iter_mut().enumerate() {
                *folded = bias.map_or(0.0, |bias| bias[c]) * scale[c] + shift[c];
            }
        }
    }
    packed
}

/// A batch norm by its running statistics, as `scale * x + shift` for each channel.
fn by_running<'a>(eps: f64, norm: &NormTensors, floats: impl Fn(TensorId) -> &'a [f64]) -> (Vec<f64>, Vec<f64>) {
    let (mean, var) = (floats(norm.mean), floats(norm.var));
    let (weight, bias) = (norm.weight.map(&floats), norm.bias.map(&floats));
    let scale: Vec<f64> =
        var.iter().enumerate().map(|(c, var)| weight.map_or(1.0, |g| g[c]) / (var + eps).sqrt()).collect();
    let shift = (0..mean.len()).map(|c| bias.map_or(0.0, |b| b[c]) - mean[c] * scale[c]).collect();
    (scale, shift)
}

/// Whether a tensor is among the parameters, and where its floats are in the iterations that `index` tells.
fn place(
    program: &Program,
    tensor: TensorId,
    index: impl Fn(LayerId) -> Option<u64>,
) -> (bool, std::ops::Range<usize>) {
    let tensor = program.tensor(tensor);
    // A repeat of one iteration is no loop.
    let set: u64 = tensor.repeats.iter().map(|repeat| index(repeat.layer).unwrap_or(0) * repeat.stride).sum();
    let start = (tensor.offset + set) as usize;
    (tensor.trainable, start..start + elements(&tensor.shape) as usize)
}

struct Machine<'a> {
    program: &'a Program,
    params: &'a [f64],
    statistics: &'a mut [f64],
    batch: &'a Batch<'a>,
    /// The loops around, outermost first: layer, iteration, count.
    around: Vec<(LayerId, u64, u64)>,
    /// The loops that each value is made in.
    homes: Vec<Vec<LayerId>>,
    values: HashMap<(ValueId, Vec<u64>), Rc<Samples>>,
    loss: f64,
    gradient: Vec<f64>,
}

impl Machine<'_> {
    fn body(&mut self, body: &[Item]) {
        for item in body {
            match item {
                Item::Op(op) => self.op(op),
                Item::Loop(looped) => self.looped(looped),
            }
        }
    }

    fn looped(&mut self, looped: &Loop) {
        let mut value = self.read(looped.outer);
        for step in 0..looped.count {
            let iteration = if looped.reversed { looped.count - 1 - step } else { step };
            self.around.push((looped.layer, iteration, looped.count));
            self.write(looped.start, Store::Write, value.to_vec());
            self.body(&looped.body);
            value = self.read(looped.end);
            self.around.pop();
        }
        self.write(looped.result, Store::Write, value.to_vec());
    }

    fn iteration_of(&self, layer: LayerId) -> Option<u64> {
        self.around.iter().find(|around| around.0 == layer).map(|around| around.1)
    }

    /// A value and the iterations, here, of the loops it is made in.
    fn key(&self, value: ValueId) -> (ValueId, Vec<u64>) {
        let home = &self.homes[value.0 as usize];
        (value, home.iter().filter_map(|&layer| self.iteration_of(layer)).collect())
    }

    fn read(&self, value: ValueId) -> Rc<Samples> {
        Rc::clone(&self.values[&self.key(value)])
    }

    fn write(&mut self, value: ValueId, store: Store, mut samples: Samples) {
        match store {
            Store::Write => self.homes[value.0 as usize] = self.around.iter().map(|around| around.0).collect(),
            Store::Add => {
                for (sum, old) in samples.iter_mut().zip(&*self.read(value)) {
                    sum.iter_mut().zip(old).for_each(|(sum, old)| *sum += old);
                }
            }
        }
        self.values.insert(self.key(value), Rc::new(samples));
    }

    /// A tensor's floats, of the iterations here.
    fn floats(&self, tensor: TensorId) -> &[f64] {
        let (trainable, at) = place(self.program, tensor, |layer| self.iteration_of(layer));
        if trainable { &self.params[at] } else { &self.statistics[at] }
    }

    fn add_to_gradient(&mut self, tensor: Option<TensorId>, gradient: &[f64]) {
        let Some(tensor) = tensor else {
            return;
        };
        let (_, at) = place(self.program, tensor, |layer| self.iteration_of(layer));
        self.gradient[at].iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
    }

    fn op(&mut self, op: &Op) {
        let reads: Vec<Rc<Samples>> = op.reads.iter().map(|&read| self.read(read)).collect();
        let reads: Vec<&[Vec<f64>]> = reads.iter().map(|read| read.as_slice()).collect();
        let made = self.made(op, &reads);
        for (&(value, store), samples) in op.writes.iter().zip(made) {
            self.write(value, store, samples);
        }
    }

    /// What an op makes of what it reads; what it does to gradients and statistics it does here.
    fn made(&mut self, op: &Op, reads: &[&[Vec<f64>]]) -> Vec<Samples> {
        let len = op.writes.first().map_or(0, |write| self.program.len(write.0) as usize);
        // Most ops see one sample at a time.
        let one = |formula: &dyn Fn(&[f64]) -> Vec<f64>| vec![reads[0].iter().map(|x| formula(x)).collect()];
        let two = |formula: &dyn Fn([&[f64]; 2]) -> Vec<f64>| {
            vec![reads[0].iter().zip(reads[1]).map(|(a, b)| formula([a, b])).collect()]
        };
        match &op.kind {
            Kind::Load(input) => vec![self.batch.inputs[*input].clone()],
            Kind::Conv(conv, weight, bias, act) => {
                let (weight, bias) = (self.floats(*weight), bias.map(|bias| self.floats(bias)));
                one(&|x| formulas::act(*act, formulas::conv(conv, x, weight, bias)))
            }
            Kind::ConvGradInput(conv, weight) => {
                let weight = self.floats(*weight);
                one(&|dy| formulas::conv_grad_input(conv, dy, weight))
            }
            Kind::ConvGradWeight(conv, weight, bias) => {
                for (x, dy) in reads[0].iter().zip(reads[1]) {
                    let (d_weight, d_bias) = formulas::conv_grad_weight(conv, x, dy);
                    self.add_to_gradient(Some(*weight), &d_weight);
                    self.add_to_gradient(*bias, &d_bias);
                }
                Vec::new()
            }
            Kind::Linear(linear, weight, bias, act) => {
                let (weight, bias) = (self.floats(*weight), bias.map(|bias| self.floats(bias)));
                one(&|x| formulas::act(*act, formulas::linear(linear, x, weight, bias)))
            }
            Kind::LinearGradInput(linear, weight) => {
                let weight = self.floats(*weight);
                one(&|dy| formulas::linear_grad_input(linear, dy, weight))
            }
            Kind::LinearGradWeight(linear, weight, bias) => {
                for (x, dy) in reads[0].iter().zip(reads[1]) {
                    let (d_weight, d_bias) = formulas::linear_grad_weight(linear, x, dy);
                    self.add_to_gradient(Some(*weight), &d_weight);
                    self.add_to_gradient(*bias, &d_bias);
                }
                Vec::new()
            }
            Kind::Act(act) => one(&|x| formulas::act(*act, x.to_vec())),
            Kind::ActGrad(act) => two(&|[y, dy]| formulas::act_grad(*act, y, dy)),
            Kind::MaxPool(channels, window) => {
                let (y, places) = reads[0].iter().map(|x| formulas::max_pool(*channels, window, x)).unzip();
                vec![y, places]
            }
            Kind::MaxPoolGrad(channels, window) => {
                two(&|[dy, places]| formulas::max_pool_grad(*channels, window, dy, places))
            }
            Kind::AvgPool(channels, window, counts_padding) => {
                one(&|x| formulas::avg_pool(*channels, window, *counts_padding, x))
            }
            Kind::AvgPoolGrad(channels, window, counts_padding) => {
                one(&|dy| formulas::avg_pool_grad(*channels, window, *counts_padding, dy))
            }
            Kind::BatchNorm(norm, tensors, act) => {
                let moments = formulas::moments(norm, reads[0]);
                let (weight, bias) = (tensors.weight.map(|g| self.floats(g)), tensors.bias.map(|b| self.floats(b)));
                let y = formulas::batch_norm(norm, reads[0], &moments, weight, bias);
                let y = y.into_iter().map(|y| formulas::act(*act, y)).collect();
                // running = (1 - momentum) running + momentum new, the new variance unbiased.
                let count = norm.positions as f64 * reads[0].len() as f64;
                let unbiased = moments.iter().map(|(_, var)| var * count / (count - 1.0));
                let new = [moments.iter().map(|(mean, _)| *mean).collect::<Vec<f64>>(), unbiased.collect()];
                for (tensor, new) in [tensors.mean, tensors.var].into_iter().zip(new) {
                    let (_, at) = place(self.program, tensor, |layer| self.iteration_of(layer));
                    for (running, new) in self.statistics[at].iter_mut().zip(new) {
                        *running = (1.0 - norm.momentum) * *running + norm.momentum * new;
                    }
                }
                vec![y]
            }
            Kind::BatchNormGrad(norm, tensors) => {
                let weight = tensors.weight.map(|weight| self.floats(weight));
                let (dx, d_weight, d_bias) = formulas::batch_norm_grad(norm, reads[0], reads[1], weight);
                self.add_to_gradient(tensors.weight, &d_weight);
                self.add_to_gradient(tensors.bias, &d_bias);
                vec![dx]
            }
            Kind::NormByRunning(norm, tensors, act) => {
                let (scale, shift) = by_running(norm.eps, tensors, |tensor| self.floats(tensor));
                let positions = norm.positions as usize;
                let y = |(at, x): (usize, &f64)| scale[at / positions] * x + shift[at / positions];
                one(&|x| formulas::act(*act, x.iter().enumerate().map(y).collect()))
            }
            // y = x / (1 - p) where a unit is kept, else 0.
            Kind::Dropout(p, _, per_unit, of) => {
                let iteration = self.around.iter().fold(0, |all, (_, iteration, count)| all * count + iteration);
                let factor = |sample: usize, at: usize| {
                    let unit = at / *per_unit as usize;
                    if (self.batch.keeps)(Draw { of: *of, iteration, sample, unit }) { 1.0 / (1.0 - p) } else { 0.0 }
                };
                let masked = |(sample, x): (usize, &Vec<f64>)| {
                    x.iter().enumerate().map(|(at, x)| x * factor(sample, at)).collect()
                };
                vec![reads[0].iter().enumerate().map(masked).collect()]
            }
            Kind::LogSoftmax(sizes) => one(&|x| formulas::log_softmax(*sizes, x)),
            Kind::LogSoftmaxGrad(sizes) => two(&|[y, dy]| formulas::log_softmax_grad(*sizes, y, dy)),
            Kind::Add => two(&|[a, b]| a.iter().zip(b).map(|(a, b)| a + b).collect()),
            Kind::Concat => {
                let of = |sample: usize| reads.iter().flat_map(|part| part[sample].iter().copied()).collect();
                vec![(0..reads[0].len()).map(of).collect()]
            }
            Kind::Slice(from) => one(&|all| all[*from as usize..][..len].to_vec()),
            Kind::Copy => one(&|x| x.to_vec()),
            Kind::Zero => vec![vec![vec![0.0; len]; self.batch.inputs[0].len()]],
            // The mean over the batch.
            Kind::Loss => {
                let count = reads[0].len() as f64;
                let (losses, derivatives): (Vec<f64>, Samples) =
                    reads[0].iter().enumerate().map(|(sample, y)| (self.batch.loss)(sample, y)).unzip();
                self.loss = losses.iter().sum::<f64>() / count;
                vec![derivatives.into_iter().map(|dy| dy.into_iter().map(|dy| dy / count).collect()).collect()]
            }
        }
    }
}
