//! Kernels, each alone on a tile of eight samples, with the geometry of a layer of some model.
//!
//! A new kernel is a line in [`all`], or a function like [`conv()`] when it is of a new kind.

use std::sync::Mutex;

use netspec::arena::{self, Tile, View};
use netspec::kernels::conv::{self, Conv};
use netspec::kernels::linear::{self, Linear};
use netspec::kernels::{Act, Store};
use netspec::run::{Fold, Plan, TILE};
use netspec::{Isa, Workspace};

use crate::models::numbers;
use netspec_tests::clock;

/// How often a kernel is measured; the best counts.
const BURSTS: usize = 5;

/// A call of a kernel.
pub(crate) struct Kernel {
    pub(crate) name: String,
    /// Of one sample; a multiplication and an addition are two.
    flops: usize,
    /// Values that it reads or writes; they are random numbers at first.
    values: Vec<View>,
    /// Floats of parameters, and of their gradient.
    params: usize,
    scratch: usize,
    call: Box<dyn Fn(&mut Tile<'_>) + Sync>,
}

impl Kernel {
    /// GFLOP a second of processor time.
    pub(crate) fn rate(&self, isa: Isa, seconds: f64) -> f64 {
        let (params, rate) = (numbers(self.params), Mutex::new(0.0_f64));
        let tile = self.values.iter().map(|view| view.offset + view.len).max().unwrap_or(0);
        let plan = Plan { tile, batch: 0, state: 0, scratch: self.scratch, packed: 0, gradients: self.params };
        let feed = |_: usize, _: usize, to: &mut [f32]| to.copy_from_slice(&numbers(to.len()));
        let mut workspace = Workspace::with_threads(1).with_isa(isa);
        workspace.bare(&plan, TILE, &feed, &params, (0, &|_| {}), &mut |run| {
            run.stage(&[Fold { from: 0, to: 0, len: self.params }], |tile| {
                self.values.iter().for_each(|&value| tile.load(0, value));
                for _ in 0..BURSTS {
                    let clock::Speed { calls, cpu, .. } = clock::speed(seconds, || (self.call)(tile));
                    let burst = (calls * TILE * self.flops) as f64 * 1e-9 / cpu;
                    let mut rate = rate.lock().expect("one thread");
                    *rate = rate.max(burst);
                }
            });
        });
        *rate.lock().expect("one thread")
    }
}

/// Where `lens` lie, one behind the other, each from the beginning of a line of the cache on.
fn values<const COUNT: usize>(lens: [usize; COUNT]) -> [View; COUNT] {
    let mut offset = 0;
    lens.map(|len| {
        let view = arena::tile(offset, len);
        offset += len.next_multiple_of(16);
        view
    })
}

/// The three kernels of a convolution by columns.
fn conv(layer: &str, conv: Conv) -> [Kernel; 3] {
    let area = |size: [usize; 3]| size.into_iter().product::<usize>();
    let [x, y] = values([conv.channels * area(conv.size), conv.out_channels * area(conv.out_size)]);
    let weights = conv.out_channels * conv.channels / conv.groups * area(conv.kernel);
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        name: format!("conv {pass}, {layer}"),
        flops: 2 * weights * area(conv.out_size),
        values: vec![x, y],
        params: weights + conv.out_channels,
        scratch: conv.scratch(),
        call,
    };
    [
        kernel("forward", Box::new(move |t| conv::forward(t, &conv, x, 0, Some(weights), Act::Relu, y))),
        kernel("grad_input", Box::new(move |t| conv::grad_input(t, &conv, y, 0, x, Store::Write))),
        kernel("grad_weight", Box::new(move |t| conv::grad_weight(t, &conv, x, y, 0, Some(weights)))),
    ]
}

/// The three kernels of a linear layer.
fn linear(layer: &str, inputs: usize, outputs: usize) -> [Kernel; 3] {
    let linear = Linear { rows: 1, inputs, outputs };
    let [x, y] = values([inputs, outputs]);
    let weights = inputs * outputs;
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        name: format!("linear {pass}, {layer}"),
        flops: 2 * weights,
        values: vec![x, y],
        params: weights + outputs,
        scratch: 0,
        call,
    };
    [
        kernel("forward", Box::new(move |t| linear::forward(t, &linear, x, 0, Some(weights), Act::None, y))),
        kernel("grad_input", Box::new(move |t| linear::grad_input(t, &linear, y, 0, x, Store::Write))),
        kernel("grad_weight", Box::new(move |t| linear::grad_weight(t, &linear, x, y, 0, Some(weights)))),
    ]
}

/// A square convolution of square maps.
fn square(channels: usize, size: usize, out_channels: usize, kernel: usize, stride: usize, padding: usize) -> Conv {
    let out = (size + 2 * padding - kernel) / stride + 1;
    Conv {
        channels,
        size: [1, size, size],
        out_channels,
        out_size: [1, out, out],
        kernel: [1, kernel, kernel],
        stride: [1, stride, stride],
        padding: [0, padding, padding],
        dilation: [1; 3],
        groups: 1,
    }
}

/// All that are measured.
pub(crate) fn all() -> Vec<Kernel> {
    let mut all = Vec::new();
    for (layer, geometry) in [
        ("3 -> 16, 3x3, 32 x 32: conv1 of net", square(3, 32, 16, 3, 1, 1)),
        ("16 -> 8, 3x3, 16 x 16: conv2 of net", square(16, 16, 8, 3, 1, 1)),
        ("32 -> 32, 3x3, 16 x 16: res_deep", square(32, 16, 32, 3, 1, 1)),
        ("1 -> 20, 5x5, 28 x 28: conv1 of lenet_mnist", square(1, 28, 20, 5, 1, 0)),
        ("20 -> 50, 5x5, 12 x 12: conv2 of lenet_mnist", square(20, 12, 50, 5, 1, 0)),
        ("64 -> 64, 3x3, 32 x 32: stage1 of resnet18_cifar", square(64, 32, 64, 3, 1, 1)),
        ("64 -> 128, 3x3 by 2, 32 x 32: stage2 of resnet18_cifar", square(64, 32, 128, 3, 2, 1)),
        ("64 -> 128, 1x1 by 2, 32 x 32: stage2 of resnet18_cifar", square(64, 32, 128, 1, 2, 0)),
        ("512 -> 512, 3x3, 4 x 4: stage4 of resnet18_cifar", square(512, 4, 512, 3, 1, 1)),
    ] {
        all.extend(conv(layer, geometry));
    }
    for (layer, inputs, outputs) in [
        ("512 -> 32: fc1 of net", 512, 32),
        ("2048 -> 32: fc1 of res_deep", 2048, 32),
        ("800 -> 500: fc1 of lenet_mnist", 800, 500),
        ("3072 -> 1024: fc1 of fully_connected", 3072, 1024),
    ] {
        all.extend(linear(layer, inputs, outputs));
    }
    all
}
