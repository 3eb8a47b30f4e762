//! Kernels, each alone, with the geometry of a layer of some model: on a tile of eight samples, or on a batch of 64 where a kernel runs
//! once for the whole batch.
//!
//! Kernels of sums of products are told in percents of the peak of multiply-adds. A Winograd or sparse kernel counts the products of the
//! plain sum that it replaces, so it may be above 100 %. Those that move or map values are told in GB/s of values read and written, and
//! in percents of a plain copy of as many bytes: what is read again from a cache, or computed, is not in it.
//!
//! A new kernel is a line in [`all`], or a function like [`linear()`] when it is of a new kind.

mod convolutions;
mod linears;
mod values;

use std::sync::Mutex;

use netspec::arena::{self, Pack, Tile, View};
use netspec::kernels::Act;
use netspec::kernels::conv::Conv;
use netspec::layout::{Blocked, Plane};
use netspec::run::{Fold, Plan, Run, TILE};
use netspec::{Adam, Isa, Sgd, Workspace};

use crate::models::numbers;
use convolutions::{Class, at_once, by_columns, depthwise, planes, square};
use linears::{linear, linear_batch};
use netspec_tests::clock;
use values::{curves, elements, group_norm, moves, norm, pools, update};

/// How often a kernel is measured; the best counts. In no seconds, as in tests, it is once.
const BURSTS: usize = 5;

/// Samples of a call on the whole batch.
const BATCH: usize = 64;

/// A call of a kernel.
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) work: Work,
    /// Values that it reads or writes; they are random numbers at first.
    values: Vec<View>,
    /// Floats of parameters, and of their gradient.
    params: usize,
    packed: usize,
    pack: Box<dyn Fn(&mut Pack<'_>) + Sync>,
    scratch: usize,
    state: usize,
    call: Call,
}

/// What a kernel does to one sample; an optimizer, to the parameters.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Multiplications and additions.
    Flops(usize),
    /// Bytes of values, read and written.
    Bytes(usize),
}

/// A step of an optimizer: parameters and their gradient.
type Update = Box<dyn FnMut(&mut [f32], &[f32])>;

/// What is called.
enum Call {
    Tile(Box<dyn Fn(&mut Tile<'_>) + Sync>),
    Batch(Box<dyn Fn(&mut Run<'_>) + Sync>),
    Update(Box<dyn Fn() -> Update + Sync>),
}

impl Work {
    fn count(self) -> usize {
        match self {
            Work::Flops(count) | Work::Bytes(count) => count,
        }
    }
}

impl Kernel {
    /// Samples of a call.
    fn samples(&self) -> usize {
        match self.call {
            Call::Tile(_) => TILE,
            Call::Batch(_) => BATCH,
            Call::Update(_) => 1,
        }
    }

    /// GFLOP or gigabytes a second of processor time.
    pub(crate) fn rate(&self, isa: Isa, seconds: f64) -> f64 {
        let params = numbers(self.params);
        if let Call::Update(make) = &self.call {
            let (mut update, gradients, mut params) = (make(), numbers(self.params), params);
            return self.best(seconds, || update(&mut params, &gradients));
        }
        let end = |region| {
            let of_region = self.values.iter().filter(|view| view.region == region);
            of_region.map(|view| view.offset + view.len).max().unwrap_or(0)
        };
        let (tile, batch) = (end(arena::Region::Tile), end(arena::Region::Batch));
        // A value that is loaded is plain in scratch before it lies in planes.
        let scratch = self.values.iter().map(|view| view.len).fold(self.scratch, usize::max);
        let plan = Plan { tile, batch, state: self.state, scratch, packed: 0, gradients: self.params };
        let feed = |_: usize, _: usize, to: &mut [f32]| to.copy_from_slice(&numbers(to.len()));
        let rate = Mutex::new(0.0_f64);
        let mut workspace = Workspace::with_threads(1).with_isa(isa);
        workspace.bare(&plan, self.samples(), &feed, &params, (self.packed, &*self.pack), &mut |run| {
            run.stage(&[Fold { from: 0, to: 0, len: self.params }], |tile| {
                self.values.iter().for_each(|&value| tile.load(0, value));
                if let Call::Tile(call) = &self.call {
                    *rate.lock().expect("one thread") = self.best(seconds, || call(tile));
                }
            });
            if let Call::Batch(call) = &self.call {
                *rate.lock().expect("one thread") = self.best(seconds, || call(run));
            }
        });
        rate.into_inner().expect("one thread")
    }

    fn best(&self, seconds: f64, mut call: impl FnMut()) -> f64 {
        let burst = |_| {
            let clock::Speed { calls, cpu, .. } = clock::speed(seconds, &mut call);
            (calls * self.samples() * self.work.count()) as f64 * 1e-9 / cpu
        };
        (0..if seconds > 0.0 { BURSTS } else { 1 }).map(burst).fold(0.0, f64::max)
    }

    /// Gigabytes a second, read and written, of a copy of as many bytes as a call has: the same caches hold them.
    pub(crate) fn copy_rate(&self, seconds: f64) -> f64 {
        let from = numbers((self.samples() * self.work.count() / 8).max(1));
        let mut to = from.clone();
        self.best(seconds, || {
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(&mut to);
        })
    }
}

/// The values of a kernel, one behind the other, each from the beginning of a line of the cache on.
#[derive(Default)]
struct Values {
    all: Vec<View>,
    ends: [usize; 2],
}

impl Values {
    fn add(&mut self, view: View) -> View {
        let end = &mut self.ends[view.region as usize];
        let view = View { offset: *end, ..view };
        *end += view.len.next_multiple_of(16);
        self.all.push(view);
        view
    }

    fn plain(&mut self, len: usize) -> View {
        self.add(arena::tile(0, len))
    }

    fn of_batch(&mut self, len: usize) -> View {
        self.add(arena::batch(0, len))
    }

    fn planes(&mut self, map: &'static Blocked) -> View {
        self.add(map.tile(0))
    }

    /// A kernel on a tile, without parameters.
    fn kernel(&self, name: String, work: Work, call: impl Fn(&mut Tile<'_>) + Sync + 'static) -> Kernel {
        self.any(name, work, Call::Tile(Box::new(call)))
    }

    fn any(&self, name: String, work: Work, call: Call) -> Kernel {
        let pack = Box::new(|_: &mut Pack<'_>| ());
        Kernel { name, work, values: self.all.clone(), params: 0, packed: 0, pack, scratch: 0, state: 0, call }
    }
}

fn area(size: [usize; 3]) -> usize {
    size.into_iter().product()
}

/// A map in planes with this halo on each side; of up to four channels, an image. It lives as long as the program.
fn map(channels: usize, size: usize, halo: usize) -> &'static Blocked {
    let planes: Vec<Plane> = match channels {
        1..5 => vec![Plane { lanes: channels, channels }],
        _ => (0..channels)
            .step_by(16)
            .map(|first| {
                let channels = (channels - first).min(16);
                Plane { lanes: if channels > 8 { 16 } else { 8 }, channels }
            })
            .collect(),
    };
    let [before, after] = [[0, halo, halo]; 2];
    Box::leak(Box::new(Blocked { planes: planes.leak(), size: [1, size, size], before, after }))
}

/// All that are measured.
pub(crate) fn all() -> Vec<Kernel> {
    let mut all = Vec::new();
    for (layer, class, geometry, act, pools) in [
        ("3 -> 16, 3x3, 32 x 32: conv1 of net", Class::Direct, square(3, 32, 16, 3, 1, 1), Act::Tanh, true),
        ("3 -> 16, 3x3, 32 x 32: conv1 of net", Class::Winograd, square(3, 32, 16, 3, 1, 1), Act::Tanh, true),
        ("16 -> 8, 3x3, 16 x 16: conv2 of net", Class::Winograd, square(16, 16, 8, 3, 1, 1), Act::Tanh, true),
        ("1 -> 20, 5x5, 28 x 28: conv1 of lenet_mnist", Class::Direct, square(1, 28, 20, 5, 1, 0), Act::Relu, true),
        ("20 -> 50, 5x5, 12 x 12: conv2 of lenet_mnist", Class::Direct, square(20, 12, 50, 5, 1, 0), Act::Relu, true),
        ("20 -> 50, 5x5, 12 x 12: conv2 of lenet_mnist", Class::Winograd, square(20, 12, 50, 5, 1, 0), Act::Relu, true),
        ("16 -> 8, 5x5, 16 x 16: conv2 of net_5x5", Class::Direct, square(16, 16, 8, 5, 1, 2), Act::Tanh, true),
        ("16 -> 8, 5x5, 16 x 16: conv2 of net_5x5", Class::Winograd, square(16, 16, 8, 5, 1, 2), Act::Tanh, true),
        ("16 -> 32, 5x5, 28 x 28", Class::Direct, square(16, 28, 32, 5, 1, 2), Act::Relu, false),
        ("16 -> 32, 5x5, 28 x 28", Class::Winograd, square(16, 28, 32, 5, 1, 2), Act::Relu, false),
        ("8 -> 16, 5x5, 28 x 28", Class::Direct, square(8, 28, 16, 5, 1, 2), Act::Relu, false),
        ("8 -> 16, 5x5, 28 x 28", Class::Winograd, square(8, 28, 16, 5, 1, 2), Act::Relu, false),
        ("3 -> 32, 3x3, 32 x 32: conv1 of res", Class::Winograd, square(3, 32, 32, 3, 1, 1), Act::Relu, true),
        ("32 -> 32, 3x3, 16 x 16: res_deep", Class::Winograd, square(32, 16, 32, 3, 1, 1), Act::Relu, false),
        (
            "64 -> 64, 3x3, 32 x 32: stage1 of resnet18_cifar",
            { Class::Winograd },
            square(64, 32, 64, 3, 1, 1),
            Act::Relu,
            false,
        ),
        (
            "64 -> 128, 3x3 by 2, 32 x 32: stage2 of resnet18_cifar",
            { Class::Direct },
            square(64, 32, 128, 3, 2, 1),
            Act::Relu,
            false,
        ),
        (
            "64 -> 128, 1x1 by 2, 32 x 32: stage2 of resnet18_cifar",
            { Class::Direct },
            square(64, 32, 128, 1, 2, 0),
            Act::Relu,
            false,
        ),
    ] {
        all.extend(planes(layer, class, geometry, act, pools));
    }
    for (layer, channels, size) in [
        ("256 -> 256, 3x3, 8 x 8: stage3 of resnet18_cifar", 256, 8),
        ("512 -> 512, 3x3, 4 x 4: stage4 of resnet18_cifar", 512, 4),
    ] {
        all.extend(at_once(layer, square(channels, size, channels, 3, 1, 1)));
    }
    let groups = "32 -> 32 in 4 groups, 3x3, 16 x 16";
    let grouped = Conv { groups: 4, ..square(32, 16, 32, 3, 1, 1) };
    all.extend(planes(groups, Class::Direct, grouped, Act::Relu, false));
    all.extend(by_columns(groups, grouped));
    for (layer, channels, size, stride) in [
        ("96 channels, 3x3 by 2, 56 x 56: mobilenet_v2", 96, 56, 2),
        ("144 channels, 3x3, 28 x 28: mobilenet_v2", 144, 28, 1),
    ] {
        let conv = Conv { groups: channels, ..square(channels, size, channels, 3, stride, 1) };
        all.extend(depthwise(layer, conv, Act::Hardtanh(0.0, 6.0)));
    }
    for (layer, inputs, outputs) in [
        ("512 -> 32: fc1 of net", 512, 32),
        ("2048 -> 32: fc1 of res_deep", 2048, 32),
        ("512 -> 128: fc3 of fully_connected", 512, 128),
        ("1024 -> 512: fc2 of fully_connected", 1024, 512),
    ] {
        all.extend(linear(layer, inputs, outputs));
    }
    for (layer, inputs, outputs) in [
        ("800 -> 500: fc1 of lenet_mnist", 800, 500),
        ("3072 -> 1024: fc1 of fully_connected", 3072, 1024),
        ("1024 -> 512: fc2 of fully_connected", 1024, 512),
    ] {
        all.extend(linear_batch(layer, inputs, outputs));
    }
    all.extend(norm("32 channels of 16 x 16: res_deep", 32, 16));
    all.extend(group_norm("32 channels of 16 x 16 in 8 groups", 8, 32, 16));
    all.extend(pools("2x2 of 32 channels of 16 x 16: res_deep", 32, 16, 2));
    all.extend(pools("4x4 of 512 channels of 4 x 4: resnet18_cifar", 512, 4, 4));
    all.extend(elements());
    all.extend(curves());
    all.extend(moves());
    all.extend([
        update("sgd", 1 << 22, 3, || Sgd::new(1e-3)),
        update("sgd with momentum", 1 << 22, 5, || Sgd::new(1e-3).momentum(0.9)),
        update("adam", 1 << 22, 7, || Adam::new(1e-3)),
    ]);
    all
}
