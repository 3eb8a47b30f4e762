//! One measurement of burn on its CPU backend, flex: `burn-peer MODEL train|infer BATCH SECONDS` prints a line of JSON.
//!
//! One thread (flex is built without rayon), and processor time of the process, as `netspec-bench` measures.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::{relu, tanh};
use burn::tensor::{Device, Distribution, Int, Tensor};

const WARM_UP: usize = 10;

fn conv(inputs: usize, outputs: usize) -> Conv2dConfig {
    Conv2dConfig::new([inputs, outputs], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
}

fn halves() -> MaxPool2d {
    MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init()
}

/// A model of 3 x 32 x 32 images.
trait Net: Module {
    fn new(device: &Device) -> Self;
    fn forward(&self, images: Tensor<4>) -> Tensor<2>;
}

/// `specs/net.yaml`
#[derive(Module, Debug)]
struct Plain {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    fc1: Linear,
    fc2: Linear,
}

impl Net for Plain {
    fn new(device: &Device) -> Plain {
        Plain {
            conv1: conv(3, 16).init(device),
            conv2: conv(16, 8).init(device),
            pool: halves(),
            fc1: LinearConfig::new(8 * 8 * 8, 32).init(device),
            fc2: LinearConfig::new(32, 2).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(tanh(self.conv1.forward(images)));
        let x = self.pool.forward(tanh(self.conv2.forward(x)));
        self.fc2.forward(tanh(self.fc1.forward(x.flatten(1, 3))))
    }
}

/// The block of `specs/res_deep.yaml`
#[derive(Module, Debug)]
struct ResBlock {
    conv: Conv2d,
    batch_norm: BatchNorm,
}

/// `specs/res_deep.yaml`
#[derive(Module, Debug)]
struct ResDeep {
    conv1: Conv2d,
    resblocks: Vec<ResBlock>,
    pool: MaxPool2d,
    fc1: Linear,
    fc2: Linear,
}

impl Net for ResDeep {
    fn new(device: &Device) -> ResDeep {
        let block = |_| ResBlock {
            conv: conv(32, 32).with_bias(false).init(device),
            batch_norm: BatchNormConfig::new(32).init(device),
        };
        ResDeep {
            conv1: conv(3, 32).init(device),
            resblocks: (0..10).map(block).collect(),
            pool: halves(),
            fc1: LinearConfig::new(8 * 8 * 32, 32).init(device),
            fc2: LinearConfig::new(32, 2).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = self.pool.forward(relu(self.conv1.forward(images)));
        for block in &self.resblocks {
            x = relu(block.batch_norm.forward(block.conv.forward(x.clone()))) + x;
        }
        let x = self.pool.forward(x).flatten(1, 3);
        self.fc2.forward(relu(self.fc1.forward(x)))
    }
}

/// Seconds of processor time that the process has used.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Images a processor second, and how many calls there were.
fn rate(batch: usize, seconds: f64, mut call: impl FnMut()) -> (f64, usize) {
    for _ in 0..WARM_UP {
        call();
    }
    let (begin, mut calls) = (cpu_seconds(), 0);
    while calls == 0 || cpu_seconds() - begin < seconds {
        call();
        calls += 1;
    }
    ((calls * batch) as f64 / (cpu_seconds() - begin), calls)
}

fn measure<N: Net + Clone>(training: bool, batch: usize, seconds: f64, wanted: usize) -> (f64, usize) {
    let device = if training { Device::flex().autodiff() } else { Device::flex() };
    let mut net = N::new(&device);
    assert_eq!(net.num_params(), wanted, "parameters");
    let images = Tensor::<4>::random([batch, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
    if !training {
        return rate(batch, seconds, || drop(net.forward(images.clone()).into_data()));
    }
    let labels: Vec<i64> = (0..batch as i64).map(|sample| sample % 2).collect();
    let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &device);
    let loss: CrossEntropyLoss = CrossEntropyLossConfig::new().init(&device);
    let mut sgd = SgdConfig::new().init();
    rate(batch, seconds, || {
        let loss = loss.forward(net.forward(images.clone()), labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = sgd.step(1e-3, net.clone(), gradients);
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, pass, batch, seconds] = arguments.as_slice() else {
        return Err("burn-peer MODEL train|infer BATCH SECONDS".into());
    };
    let (training, batch, seconds) = (pass == "train", batch.parse()?, seconds.parse()?);
    let (rate, calls) = match model.as_str() {
        "net" => measure::<Plain>(training, batch, seconds, 18_090),
        // Burn counts the running means and variances too.
        "res_deep_10" => measure::<ResDeep>(training, batch, seconds, 159_330 + 10 * 2 * 32),
        other => return Err(format!("no model `{other}` here: net, res_deep_10").into()),
    };
    println!("{{\"images_per_cpu_second\": {rate:.3}, \"calls\": {calls}}}");
    Ok(())
}
