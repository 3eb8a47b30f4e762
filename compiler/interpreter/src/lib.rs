//! The program of a model, run in f64 by plain loops: what everything faster is compared with.
//!
//! It runs any program of [`netspec_compiler::ir`], with or without its backward pass, the whole batch at once. Each op's formula stands in
//! `formulas`, and `kinds` calls them; here is what runs around them: loops and values. A value that a loop makes is kept for
//! each iteration, so that the reversed loop finds that of its own, and a test whatever it looks for. [`scheduled`] runs the same
//! formulas on the memory of a plan.

mod formulas;
mod kinds;
pub mod scheduled;

use std::collections::HashMap;
use std::rc::Rc;

use kinds::Scope;
use netspec_compiler::fuse::Folded;
use netspec_compiler::ir::{Item, Loop, NormTensors, Op, Program, Store, TensorId, ValueId};
use netspec_compiler::net::LayerId;
use netspec_compiler::ops::elements;

/// A value of a batch: `[sample][element]`.
pub type Samples = Vec<Vec<f64>>;

/// The loss of one sample, by its number; those of a second output count on behind the samples of the first.
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

/// Runs a program that [`netspec_compiler::ir::verify`] accepts. `params` and `statistics` are as long as it says; batch norms that use the
/// statistics of the batch change the running ones.
pub fn run(program: &Program, params: &[f64], statistics: &mut [f64], batch: &Batch<'_>) -> Trace {
    run_touched(program, params, statistics, batch, &mut |_, _, _| {})
}

/// Sees each value as it is written, and may change it: the value, the iterations of the loops that it is made in, outermost first,
/// and its samples.
pub type Touch<'a> = dyn FnMut(ValueId, &[u64], &mut Samples) + 'a;

/// As [`run`], with values as `touch` leaves them.
pub fn run_touched(
    program: &Program,
    params: &[f64],
    statistics: &mut [f64],
    batch: &Batch<'_>,
    touch: &mut Touch<'_>,
) -> Trace {
    assert_eq!(params.len() as u64, program.params, "params");
    assert_eq!(statistics.len() as u64, program.statistics, "statistics");
    let mut machine = Machine {
        scope: Scope { program, params, statistics, batch, around: Vec::new(), loss: 0.0 },
        homes: vec![Vec::new(); program.values.len()],
        values: HashMap::new(),
        gradient: vec![0.0; params.len()],
        touch,
    };
    machine.body(&program.body);
    let outputs = program.outputs.iter().map(|&output| machine.read(output).to_vec()).collect();
    let Machine { scope, gradient, values, .. } = machine;
    Trace { outputs, loss: scope.loss, gradient, values }
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

struct Machine<'a, 't> {
    scope: Scope<'a>,
    /// The loops that each value is made in.
    homes: Vec<Vec<LayerId>>,
    values: HashMap<(ValueId, Vec<u64>), Rc<Samples>>,
    gradient: Vec<f64>,
    touch: &'a mut Touch<'t>,
}

impl Machine<'_, '_> {
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
            self.scope.around.push((looped.layer, iteration, looped.count));
            self.write(looped.start, Store::Write, value.to_vec());
            self.body(&looped.body);
            value = self.read(looped.end);
            self.scope.around.pop();
        }
        self.write(looped.result, Store::Write, value.to_vec());
    }

    /// A value and the iterations, here, of the loops it is made in.
    fn key(&self, value: ValueId) -> (ValueId, Vec<u64>) {
        let home = &self.homes[value.0 as usize];
        (value, home.iter().filter_map(|&layer| self.scope.iteration_of(layer)).collect())
    }

    fn read(&self, value: ValueId) -> Rc<Samples> {
        Rc::clone(&self.values[&self.key(value)])
    }

    fn write(&mut self, value: ValueId, store: Store, mut samples: Samples) {
        match store {
            Store::Write => self.homes[value.0 as usize] = self.scope.around.iter().map(|around| around.0).collect(),
            Store::Add => {
                for (sum, old) in samples.iter_mut().zip(&*self.read(value)) {
                    sum.iter_mut().zip(old).for_each(|(sum, old)| *sum += old);
                }
            }
        }
        let key = self.key(value);
        (self.touch)(value, &key.1, &mut samples);
        self.values.insert(key, Rc::new(samples));
    }

    fn op(&mut self, op: &Op) {
        let reads: Vec<Rc<Samples>> = op.reads.iter().map(|&read| self.read(read)).collect();
        let reads: Vec<&[Vec<f64>]> = reads.iter().map(|read| read.as_slice()).collect();
        let len = op.writes.first().map_or(0, |write| self.scope.program.len(write.0) as usize);
        let made = self.scope.made(&op.kind, len, &reads);
        for (tensor, gradient) in made.gradients {
            let (_, at) = self.scope.place(tensor);
            self.gradient[at].iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
        }
        for (&(value, store), samples) in op.writes.iter().zip(made.values) {
            self.write(value, store, samples);
        }
    }
}
