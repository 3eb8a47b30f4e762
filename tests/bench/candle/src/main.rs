//! One measurement of candle on its CPU backend: `candle-peer MODEL train|infer BATCH SECONDS` prints a line of JSON.
//!
//! One thread, and processor time of the process, as `netspec-bench` measures: `RAYON_NUM_THREADS` is set before anything starts.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, Module, ModuleT, Optimizer, SGD, VarBuilder, VarMap, loss,
};

const WARM_UP: usize = 10;

fn conv(inputs: usize, outputs: usize, of: VarBuilder<'_>) -> Result<Conv2d> {
    candle_nn::conv2d(inputs, outputs, 3, Conv2dConfig { padding: 1, ..Default::default() }, of)
}

/// `specs/net.yaml`
struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
}

impl Net {
    fn new(of: VarBuilder<'_>) -> Result<Net> {
        Ok(Net {
            conv1: conv(3, 16, of.pp("conv1"))?,
            conv2: conv(16, 8, of.pp("conv2"))?,
            fc1: candle_nn::linear(8 * 8 * 8, 32, of.pp("fc1"))?,
            fc2: candle_nn::linear(32, 2, of.pp("fc2"))?,
        })
    }
}

impl ModuleT for Net {
    fn forward_t(&self, images: &Tensor, _: bool) -> Result<Tensor> {
        let x = self.conv1.forward(images)?.tanh()?.max_pool2d(2)?;
        let x = self.conv2.forward(&x)?.tanh()?.max_pool2d(2)?;
        self.fc2.forward(&self.fc1.forward(&x.flatten_from(1)?)?.tanh()?)
    }
}

/// `specs/res_deep.yaml`
struct ResDeep {
    conv1: Conv2d,
    blocks: Vec<(Conv2d, BatchNorm)>,
    fc1: Linear,
    fc2: Linear,
}

impl ResDeep {
    fn new(of: VarBuilder<'_>) -> Result<ResDeep> {
        let block = |block: usize| {
            let of = of.pp(format!("resblocks.{block}"));
            let config = Conv2dConfig { padding: 1, ..Default::default() };
            let conv = candle_nn::conv2d_no_bias(32, 32, 3, config, of.pp("conv"))?;
            Ok((conv, candle_nn::batch_norm(32, BatchNormConfig::default(), of.pp("batch_norm"))?))
        };
        Ok(ResDeep {
            conv1: conv(3, 32, of.pp("conv1"))?,
            blocks: (0..10).map(block).collect::<Result<_>>()?,
            fc1: candle_nn::linear(8 * 8 * 32, 32, of.pp("fc1"))?,
            fc2: candle_nn::linear(32, 2, of.pp("fc2"))?,
        })
    }
}

impl ModuleT for ResDeep {
    fn forward_t(&self, images: &Tensor, training: bool) -> Result<Tensor> {
        let mut x = self.conv1.forward(images)?.relu()?.max_pool2d(2)?;
        for (conv, norm) in &self.blocks {
            x = (norm.forward_t(&conv.forward(&x)?, training)?.relu()? + x)?;
        }
        let x = x.max_pool2d(2)?.flatten_from(1)?;
        self.fc2.forward(&self.fc1.forward(&x)?.relu()?)
    }
}

/// Seconds of processor time that the process has used.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    if std::env::var("RAYON_NUM_THREADS").as_deref() != Ok("1") {
        return Err("set RAYON_NUM_THREADS=1: this measures one thread".into());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, pass, batch, seconds] = arguments.as_slice() else {
        return Err("candle-peer MODEL train|infer BATCH SECONDS".into());
    };
    let (batch, seconds): (usize, f64) = (batch.parse()?, seconds.parse()?);
    let vars = VarMap::new();
    let of = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let (net, wanted): (Box<dyn ModuleT>, usize) = match model.as_str() {
        "net" => (Box::new(Net::new(of)?), 18_090),
        "res_deep_10" => (Box::new(ResDeep::new(of)?), 159_330),
        other => return Err(format!("no model `{other}` here: net, res_deep_10").into()),
    };
    let named = vars.data().lock().map_err(|_| "the weights")?;
    let trained = named.iter().filter(|(name, _)| !name.contains("running"));
    let trained: Vec<_> = trained.map(|(_, var)| var.clone()).collect();
    drop(named);
    let found: usize = trained.iter().map(|var| var.elem_count()).sum();
    assert_eq!(found, wanted, "parameters of {model}");

    let images = Tensor::randn(0.0_f32, 1.0, (batch, 3, 32, 32), &Device::Cpu)?;
    let labels = Tensor::from_iter((0..batch as u32).map(|sample| sample % 2), &Device::Cpu)?;
    let mut sgd = SGD::new(trained, 1e-3)?;
    let mut call = || -> Result<()> {
        if pass == "train" {
            sgd.backward_step(&loss::cross_entropy(&net.forward_t(&images, true)?, &labels)?)
        } else {
            net.forward_t(&images, false).map(drop)
        }
    };
    for _ in 0..WARM_UP {
        call()?;
    }
    let (begin, mut calls) = (cpu_seconds(), 0);
    while calls == 0 || cpu_seconds() - begin < seconds {
        call()?;
        calls += 1;
    }
    let rate = (calls * batch) as f64 / (cpu_seconds() - begin);
    println!("{{\"images_per_cpu_second\": {rate:.3}, \"calls\": {calls}}}");
    Ok(())
}
