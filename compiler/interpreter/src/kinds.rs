//! What an op makes of what it reads: the part of a run that the interpreters of a program and of its plan share.

use crate::{Batch, Draw, Samples, by_running, formulas, place};
use netspec_compiler::ir::{Act, Kind, Norm, NormTensors, Program, TensorId};
use netspec_compiler::net::LayerId;

/// Mean and variance of each channel, or the means of `dy` and of `dy n`.
pub(crate) type Pairs = Vec<(f64, f64)>;

/// What an op sees beside what it reads.
pub(crate) struct Scope<'a> {
    pub(crate) program: &'a Program,
    pub(crate) params: &'a [f64],
    pub(crate) statistics: &'a mut [f64],
    pub(crate) batch: &'a Batch<'a>,
    /// The loops around, outermost first: layer, iteration, count.
    pub(crate) around: Vec<(LayerId, u64, u64)>,
    pub(crate) loss: f64,
}

/// What an op makes.
#[derive(Default)]
pub(crate) struct Made {
    /// What it writes.
    pub(crate) values: Vec<Samples>,
    /// What it adds to the gradients of tensors.
    pub(crate) gradients: Vec<(TensorId, Vec<f64>)>,
}

/// Gradients of the tensors that there are.
fn of_tensors<const N: usize>(gradients: [(Option<TensorId>, Vec<f64>); N]) -> Vec<(TensorId, Vec<f64>)> {
    gradients.into_iter().filter_map(|(tensor, gradient)| Some((tensor?, gradient))).collect()
}

fn moments(norm: &Norm, x: &[Vec<f64>]) -> Pairs {
    let of_samples: Vec<Pairs> = x.iter().map(|x| formulas::moments_of_sample(norm, x)).collect();
    formulas::moments(&of_samples)
}

impl Scope<'_> {
    pub(crate) fn samples(&self) -> usize {
        self.batch.inputs[0].len()
    }

    pub(crate) fn iteration_of(&self, layer: LayerId) -> Option<u64> {
        self.around.iter().find(|around| around.0 == layer).map(|around| around.1)
    }

    /// Whether a tensor is among the parameters, and where its floats are in the iterations here.
    pub(crate) fn place(&self, tensor: TensorId) -> (bool, std::ops::Range<usize>) {
        place(self.program, tensor, |layer| self.iteration_of(layer))
    }

    /// A tensor's floats, of the iterations here.
    pub(crate) fn floats(&self, tensor: TensorId) -> &[f64] {
        let (trainable, at) = self.place(tensor);
        if trainable { &self.params[at] } else { &self.statistics[at] }
    }

    /// `y` of a batch norm by the moments of the batch.
    pub(crate) fn normed(&self, norm: &Norm, tensors: &NormTensors, moments: &Pairs, x: &[Vec<f64>]) -> Samples {
        let (weight, bias) = (tensors.weight.map(|g| self.floats(g)), tensors.bias.map(|b| self.floats(b)));
        formulas::batch_norm(norm, x, moments, weight, bias)
    }

    /// The gradient before the nonlinearity of a batch norm, whose result is made again from `x`.
    pub(crate) fn before_norm_act(
        &self,
        norm: &Norm,
        tensors: &NormTensors,
        act: Act,
        moments: &Pairs,
        [x, dy]: [&[Vec<f64>]; 2],
    ) -> Samples {
        let y = self.normed(norm, tensors, moments, x).into_iter().map(|y| formulas::act(act, y));
        y.zip(dy).map(|(y, dy)| formulas::act_grad(act, &y, dy)).collect()
    }

    /// `running = (1 - momentum) running + momentum new`, the new variance unbiased.
    pub(crate) fn update_running(&mut self, norm: &Norm, tensors: &NormTensors, moments: &Pairs) {
        let count = norm.positions as f64 * self.samples() as f64;
        let unbiased = moments.iter().map(|(_, var)| var * count / (count - 1.0));
        let new = [moments.iter().map(|(mean, _)| *mean).collect::<Vec<f64>>(), unbiased.collect()];
        for (tensor, new) in [tensors.mean, tensors.var].into_iter().zip(new) {
            let (_, at) = self.place(tensor);
            for (running, new) in self.statistics[at].iter_mut().zip(new) {
                *running = (1.0 - norm.momentum) * *running + norm.momentum * new;
            }
        }
    }

    /// The gradients of a batch norm's tensors, by the means of `dy` and of `dy n`: `dg = sum dy n`, `db = sum dy`.
    pub(crate) fn norm_gradients(
        &self,
        norm: &Norm,
        tensors: &NormTensors,
        means: &Pairs,
    ) -> Vec<(TensorId, Vec<f64>)> {
        let count = (self.samples() as u64 * norm.positions) as f64;
        let (d_bias, d_weight) = means.iter().map(|(dy, dy_n)| (dy * count, dy_n * count)).unzip();
        of_tensors([(tensors.weight, d_weight), (tensors.bias, d_bias)])
    }

    /// What an op makes of what it reads, when its first result has `len` floats; what it does to running statistics it does here.
    pub(crate) fn made(&mut self, kind: &Kind, len: usize, reads: &[&[Vec<f64>]]) -> Made {
        let mut gradients = Vec::new();
        let values = self.values(kind, len, reads, &mut gradients);
        Made { values, gradients }
    }

    fn values(
        &mut self,
        kind: &Kind,
        len: usize,
        reads: &[&[Vec<f64>]],
        gradients: &mut Vec<(TensorId, Vec<f64>)>,
    ) -> Vec<Samples> {
        // Most ops see one sample at a time.
        let one = |formula: &dyn Fn(&[f64]) -> Vec<f64>| vec![reads[0].iter().map(|x| formula(x)).collect()];
        let two = |formula: &dyn Fn([&[f64]; 2]) -> Vec<f64>| {
            vec![reads[0].iter().zip(reads[1]).map(|(a, b)| formula([a, b])).collect()]
        };
        match kind {
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
                    gradients.extend(of_tensors([(Some(*weight), d_weight), (*bias, d_bias)]));
                }
                Vec::new()
            }
            Kind::ConvTranspose(conv, weight, bias, act) => {
                let (weight, bias) = (self.floats(*weight), bias.map(|bias| self.floats(bias)));
                one(&|x| formulas::act(*act, formulas::conv_transpose(conv, x, weight, bias)))
            }
            Kind::GradBias(channels, bias) => {
                gradients.extend(reads[0].iter().map(|dy| (*bias, formulas::grad_bias(*channels, dy))));
                Vec::new()
            }
            Kind::ConvPool(conv, weight, bias, act) => {
                let (weight, bias) = (self.floats(*weight), bias.map(|bias| self.floats(bias)));
                let pooled = |x: &Vec<f64>| {
                    let (y, places) =
                        formulas::max_pool(conv.out_channels, &conv.pool(), &formulas::conv(conv, x, weight, bias));
                    (formulas::act(*act, y), places)
                };
                let (y, places) = reads[0].iter().map(pooled).unzip();
                vec![y, places]
            }
            Kind::ConvPoolGradInput(conv, weight) => {
                let weight = self.floats(*weight);
                two(&|[dy, places]| {
                    let dz = formulas::max_pool_grad(conv.out_channels, &conv.pool(), dy, places);
                    formulas::conv_grad_input(conv, &dz, weight)
                })
            }
            Kind::ConvPoolGradWeight(conv, weight, bias) => {
                for ((x, dy), places) in reads[0].iter().zip(reads[1]).zip(reads[2]) {
                    let dz = formulas::max_pool_grad(conv.out_channels, &conv.pool(), dy, places);
                    let (d_weight, d_bias) = formulas::conv_grad_weight(conv, x, &dz);
                    gradients.extend(of_tensors([(Some(*weight), d_weight), (*bias, d_bias)]));
                }
                Vec::new()
            }
            Kind::ConvAdd(conv, weight, bias, act, order) => {
                let (weight, bias) = (self.floats(*weight), bias.map(|bias| self.floats(bias)));
                let y = reads[0].iter().map(|x| formulas::conv(conv, x, weight, bias)).collect();
                vec![formulas::act_and_sum(*act, y, Some((*order, reads[1])))]
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
                    gradients.extend(of_tensors([(Some(*weight), d_weight), (*bias, d_bias)]));
                }
                Vec::new()
            }
            Kind::Act(act) => one(&|x| formulas::act(*act, x.to_vec())),
            Kind::ActGrad(act) => two(&|[y, dy]| formulas::act_grad(*act, y, dy)),
            Kind::Curve(curve) => one(&|x| formulas::curve(*curve, x)),
            Kind::CurveGrad(curve) => two(&|[x, dy]| formulas::curve_grad(*curve, x, dy)),
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
            Kind::BatchNorm(norm, tensors, act, order) => {
                let moments = moments(norm, reads[0]);
                self.update_running(norm, tensors, &moments);
                let y = self.normed(norm, tensors, &moments, reads[0]);
                vec![formulas::act_and_sum(*act, y, order.map(|order| (order, reads[1])))]
            }
            Kind::BatchNormGrad(norm, tensors, act) => {
                let moments = moments(norm, reads[0]);
                let dy = self.before_norm_act(norm, tensors, *act, &moments, [reads[0], reads[1]]);
                let of_sample = |(x, dy): (&Vec<f64>, &Vec<f64>)| formulas::batch_norm_means(norm, &moments, x, dy);
                let of_samples: Vec<Pairs> = reads[0].iter().zip(&dy).map(of_sample).collect();
                let means = formulas::mean_pairs(&of_samples);
                gradients.extend(self.norm_gradients(norm, tensors, &means));
                let weight = tensors.weight.map(|weight| self.floats(weight));
                vec![formulas::batch_norm_grad(norm, &moments, &means, weight, reads[0], &dy)]
            }
            Kind::NormByRunning(norm, tensors, act) => {
                let (scale, shift) = by_running(norm.eps, tensors, |tensor| self.floats(tensor));
                let positions = norm.positions as usize;
                let y = |(at, x): (usize, &f64)| scale[at / positions] * x + shift[at / positions];
                one(&|x| formulas::act(*act, x.iter().enumerate().map(y).collect()))
            }
            Kind::NormByRunningGrad(norm, tensors) => {
                let (scale, _) = by_running(norm.eps, tensors, |tensor| self.floats(tensor));
                let positions = norm.positions as usize;
                one(&|dy| dy.iter().enumerate().map(|(at, dy)| scale[at / positions] * dy).collect())
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
            Kind::Custom(custom, _) | Kind::CustomGrad(custom, ..) => {
                panic!("`{}` is Rust, which the interpreter cannot run", custom.path)
            }
            Kind::LogSoftmax(sizes) => one(&|x| formulas::log_softmax(*sizes, x)),
            Kind::LogSoftmaxGrad(sizes) => two(&|[y, dy]| formulas::log_softmax_grad(*sizes, y, dy)),
            Kind::Softmax(sizes) => one(&|x| formulas::softmax(*sizes, x)),
            Kind::SoftmaxGrad(sizes) => two(&|[y, dy]| formulas::softmax_grad(*sizes, y, dy)),
            Kind::GroupNorm(norm, weight, bias) => {
                let [weight, bias] = [weight, bias].map(|tensor| tensor.map(|tensor| self.floats(tensor)));
                let (y, moments) = reads[0].iter().map(|x| formulas::group_norm(norm, x, weight, bias)).unzip();
                vec![y, moments]
            }
            Kind::GroupNormGrad(norm, weight, bias) => {
                let weights = weight.map(|weight| self.floats(weight));
                let mut of_x = Vec::new();
                for ((x, dy), moments) in reads[0].iter().zip(reads[1]).zip(reads[2]) {
                    let [dx, d_weight, d_bias] = formulas::group_norm_grad(norm, weights, x, dy, moments);
                    gradients.extend(of_tensors([(*weight, d_weight), (*bias, d_bias)]));
                    of_x.push(dx);
                }
                vec![of_x]
            }
            Kind::Add => two(&|[a, b]| a.iter().zip(b).map(|(a, b)| a + b).collect()),
            Kind::Concat => {
                let of = |sample: usize| reads.iter().flat_map(|part| part[sample].iter().copied()).collect();
                vec![(0..reads[0].len()).map(of).collect()]
            }
            Kind::Mul(sizes) => two(&|[a, b]| formulas::mul(*sizes, a, b)),
            Kind::MulSum(sizes) => two(&|[a, b]| formulas::mul_sum(*sizes, a, b)),
            Kind::Frame(channels, frame) => one(&|x| formulas::frame(*channels, frame, x)),
            Kind::Resample(channels, resample) => one(&|x| formulas::resample(*channels, resample, x)),
            Kind::ResampleGrad(channels, resample) => one(&|dy| formulas::resample_grad(*channels, resample, dy)),
            Kind::Shuffle(channels, groups, positions) => {
                let sizes = [*groups, channels / groups, *positions];
                one(&|x| formulas::permute(&sizes, &[1, 0, 2], x))
            }
            Kind::Permute(sizes, order) => one(&|x| formulas::permute(sizes, order, x)),
            Kind::Place(from) => one(&|part| {
                let mut all = vec![0.0; len];
                all[*from as usize..][..part.len()].copy_from_slice(part);
                all
            }),
            Kind::Slice(from) => one(&|all| all[*from as usize..][..len].to_vec()),
            Kind::Copy => one(&|x| x.to_vec()),
            Kind::Zero => vec![vec![vec![0.0; len]; self.samples()]],
            // The mean over the batch, added to that of other outputs.
            Kind::Loss(output) => {
                let samples = reads[0].len();
                let (count, first) = (samples as f64, *output as usize * samples);
                let (losses, derivatives): (Vec<f64>, Samples) =
                    reads[0].iter().enumerate().map(|(sample, y)| (self.batch.loss)(first + sample, y)).unzip();
                self.loss += losses.iter().sum::<f64>() / count;
                vec![derivatives.into_iter().map(|dy| dy.into_iter().map(|dy| dy / count).collect()).collect()]
            }
        }
    }
}
