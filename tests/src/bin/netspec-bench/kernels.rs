//! Kernels, each alone, with the geometry of a layer of some model: on a tile of eight samples, or on a batch of 64 where a kernel runs
//! once for the whole batch.
//!
//! Kernels of sums of products are told in percents of the peak of multiply-adds. A Winograd or sparse kernel counts the products of the
//! plain sum that it replaces, so it may be above 100 %. Those that move or map values are told in GB/s of values read and written, and
//! in percents of a plain copy of as many bytes: what is read again from a cache, or computed, is not in it.
//!
//! A new kernel is a line in [`all`], or a function like [`linear()`] when it is of a new kind.

use std::sync::Mutex;

use netspec::arena::{self, Pack, Tile, View};
use netspec::kernels::avg_pool::{self, AvgPool};
use netspec::kernels::batch_norm::{self, Norm};
use netspec::kernels::conv::{self, Conv};
use netspec::kernels::dropout::{self, Dropout};
use netspec::kernels::linear::{self, Linear};
use netspec::kernels::log_softmax::{self, LogSoftmax};
use netspec::kernels::max_pool::{self, Pool};
use netspec::kernels::{Act, Epilogue, Store, activation, direct, elementwise, sparse, winograd};
use netspec::layout::{Blocked, Plane};
use netspec::run::{Fold, Plan, Run, TILE};
use netspec::{Adam, Isa, Optimizer, Sgd, Workspace};

use crate::models::numbers;
use netspec_tests::clock;

/// How often a kernel is measured; the best counts.
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
        (0..BURSTS).map(burst).fold(0.0, f64::max)
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

/// Floats of a place, a byte, for each element of a pooled map.
fn places(pooled: &'static Blocked) -> usize {
    direct::pool_places_len(pooled)
}

/// A convolution's kernels on plain values, by columns: what grouped ones run on.
fn by_columns(layer: &str, conv: Conv) -> Vec<Kernel> {
    let mut values = Values::default();
    let x = values.plain(conv.channels * area(conv.size));
    let y = values.plain(conv.out_channels * area(conv.out_size));
    let weights = conv.out_channels * conv.channels / conv.groups * area(conv.kernel);
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        params: weights + conv.out_channels,
        scratch: conv.scratch(),
        ..values.any(format!("conv::{pass}, {layer}"), Work::Flops(2 * weights * area(conv.out_size)), Call::Tile(call))
    };
    vec![
        kernel("forward", Box::new(move |t| conv::forward(t, &conv, x, 0, Some(weights), Act::Relu, y))),
        kernel("grad_input", Box::new(move |t| conv::grad_input(t, &conv, y, 0, x, Store::Write))),
        kernel("grad_weight", Box::new(move |t| conv::grad_weight(t, &conv, x, y, 0, Some(weights)))),
    ]
}

/// What a convolution in planes is made of: products, packed weights.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Direct,
    Winograd,
}

/// A convolution's kernels on planes; `act` behind it, and a pool if `pools`.
fn planes(layer: &str, class: Class, conv: Conv, act: Act, pools: bool) -> Vec<Kernel> {
    let (size, out_size, padding) = (conv.size[1], conv.out_size[1], conv.padding[1]);
    let x_map = map(conv.channels, size, padding);
    let y_map = map(conv.out_channels, if pools { out_size / 2 } else { out_size }, 0);
    // The gradient of what is not pooled has the halo that its kernels read.
    let dy_map = map(conv.out_channels, out_size, conv.kernel[1] - 1 - padding);
    let mut values = Values::default();
    let [x, y, dy] = [x_map, y_map, dy_map].map(|map| values.planes(map));
    let at = values.plain(places(y_map));
    let weights = conv.out_channels * conv.channels * area(conv.kernel);
    let transposed = match class {
        Class::Direct => direct::packed_len(&conv, x_map.planes, y_map.planes),
        Class::Winograd => winograd::packed_len(x_map.planes, y_map.planes),
    }
    .next_multiple_of(16);
    let packed = transposed
        + match class {
            Class::Direct => direct::packed_len(&conv, y_map.planes, x_map.planes),
            Class::Winograd => winograd::packed_len(y_map.planes, x_map.planes),
        };
    let is_image = conv.channels < 5;
    let scratch = match class {
        Class::Winograd => winograd::scratch(&conv, x_map.planes, y_map.planes),
        Class::Direct if pools => {
            sparse::grad_input_scratch(&conv).max(sparse::grad_weight_scratch(&conv, x_map.planes))
        }
        Class::Direct => direct::grad_weight_scratch(&conv, x_map.planes),
    };
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        params: weights + conv.out_channels,
        packed,
        pack: Box::new(move |p| match class {
            Class::Direct => {
                direct::pack(p, &conv, x_map.planes, y_map.planes, 0, 0);
                if !is_image {
                    direct::pack_transposed(p, &conv, x_map.planes, y_map.planes, 0, transposed);
                }
            }
            Class::Winograd => {
                winograd::pack(p, &conv, x_map.planes, y_map.planes, 0, 0);
                winograd::pack_transposed(p, &conv, x_map.planes, y_map.planes, 0, transposed);
            }
        }),
        scratch,
        ..values.any(format!("{pass}, {layer}"), Work::Flops(2 * weights * area(conv.out_size)), Call::Tile(call))
    };
    let ends = Epilogue::bias(weights).act(act);
    let mut all = match (class, pools) {
        (Class::Direct, false) => {
            vec![kernel("direct::forward", Box::new(move |t| direct::forward(t, &conv, x, 0, ends, y)))]
        }
        (Class::Direct, true) => vec![
            kernel("direct::forward_pool", Box::new(move |t| direct::forward_pool(t, &conv, x, 0, ends, y, at))),
            kernel("direct::infer_pool", Box::new(move |t| direct::infer_pool(t, &conv, x, 0, ends, y))),
            kernel("sparse::grad_weight", {
                Box::new(move |t| sparse::grad_weight(t, &conv, x, y, at, 0, Some(weights)))
            }),
        ],
        (Class::Winograd, false) => {
            vec![kernel("winograd::forward", Box::new(move |t| winograd::forward(t, &conv, x, 0, ends, y)))]
        }
        (Class::Winograd, true) => vec![
            kernel("winograd::forward_pool", Box::new(move |t| winograd::forward_pool(t, &conv, x, 0, ends, y, at))),
            kernel("winograd::infer_pool", Box::new(move |t| winograd::infer_pool(t, &conv, x, 0, ends, y))),
        ],
    };
    let write = Store::Write;
    match class {
        Class::Direct if pools && is_image => {}
        Class::Direct if pools => all.push(kernel("sparse::grad_input", {
            Box::new(move |t| sparse::grad_input(t, &conv, y, at, transposed, x, write))
        })),
        Class::Direct => all.extend([
            kernel("direct::grad_input", Box::new(move |t| direct::grad_input(t, &conv, dy, transposed, x, write))),
            kernel("direct::grad_weight", Box::new(move |t| direct::grad_weight(t, &conv, x, dy, 0, Some(weights)))),
        ]),
        Class::Winograd => all.extend([
            kernel("winograd::grad_input", Box::new(move |t| winograd::grad_input(t, &conv, dy, transposed, x, write))),
            kernel("winograd::grad_weight", {
                Box::new(move |t| winograd::grad_weight(t, &conv, x, dy, 0, Some(weights)))
            }),
        ]),
    }
    all
}

/// The three kernels of a linear layer, on a tile.
fn linear(layer: &str, inputs: usize, outputs: usize) -> Vec<Kernel> {
    let linear = Linear { rows: 1, inputs, outputs };
    let mut values = Values::default();
    let [x, y] = [inputs, outputs].map(|len| values.plain(len));
    let weights = inputs * outputs;
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        params: weights + outputs,
        ..values.any(format!("linear::{pass}, {layer}"), Work::Flops(2 * weights), Call::Tile(call))
    };
    vec![
        kernel("forward", Box::new(move |t| linear::forward(t, &linear, x, 0, Some(weights), Act::None, y))),
        kernel("grad_input", Box::new(move |t| linear::grad_input(t, &linear, y, 0, x, Store::Write))),
        kernel("grad_weight", Box::new(move |t| linear::grad_weight(t, &linear, x, y, 0, Some(weights)))),
    ]
}

/// The two kernels that large linear layers have for the whole batch.
fn linear_batch(layer: &str, inputs: usize, outputs: usize) -> Vec<Kernel> {
    let linear = Linear { rows: 1, inputs, outputs };
    let mut values = Values::default();
    let [x, y] = [inputs, outputs].map(|len| values.of_batch(len));
    let weights = inputs * outputs;
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Run<'_>) + Sync>| Kernel {
        params: weights + outputs,
        ..values.any(format!("linear::{pass}, {layer}"), Work::Flops(2 * weights), Call::Batch(call))
    };
    vec![
        kernel(
            "forward_batch",
            Box::new(move |run| linear::forward_batch(run, &linear, x, 0, Some(weights), Act::None, y)),
        ),
        kernel(
            "grad_weight_batch",
            Box::new(move |run| linear::grad_weight_batch(run, &linear, x, y, 0, Some(weights), Store::Write)),
        ),
    ]
}

/// A batch norm with a relu behind it, each of its passes.
fn norm(layer: &str, channels: usize, size: usize) -> Vec<Kernel> {
    let map = map(channels, size, 0);
    let norm = Norm { channels, positions: size * size, eps: 1e-5, momentum: 0.1 };
    let mut values = Values::default();
    let [x, y] = [map; 2].map(|map| values.planes(map));
    let sums = values.of_batch(2 * channels);
    let (weight, bias) = (Some(0), Some(channels));
    let (state, coefficients) = (0, 2 * channels);
    let (relu, write) = (Epilogue::NONE.act(Act::Relu), Store::Write);
    let kernel = |pass: &str, touched: usize, call: Call| Kernel {
        params: 4 * channels,
        state: 5 * channels,
        ..values.any(format!("batch_norm::{pass}, {layer}"), Work::Bytes(4 * touched * map.len()), call)
    };
    let tile = |call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Call::Tile(call);
    vec![
        kernel("statistics", 1, tile(Box::new(move |t| batch_norm::statistics(t, &norm, x, sums)))),
        kernel("forward", 2, {
            tile(Box::new(move |t| batch_norm::forward(t, &norm, x, state, weight, bias, relu, y)))
        }),
        kernel("sums_relu", 2, {
            tile(Box::new(move |t| batch_norm::sums_relu(t, &norm, x, y, state, weight, bias, sums)))
        }),
        kernel("backward_relu", 3, {
            tile(Box::new(move |t| {
                batch_norm::backward_relu(t, &norm, x, y, state, weight, bias, coefficients, y, write);
            }))
        }),
        kernel("infer", 2, {
            tile(Box::new(move |t| {
                // Any mean, and a variance that is none: the scale is not looked at.
                batch_norm::infer(t, &norm, x, weight, bias, 2 * channels, 3 * channels, Act::Relu, y);
            }))
        }),
    ]
}

/// Pools, alone.
fn pools(layer: &str, channels: usize, size: usize, window: usize) -> Vec<Kernel> {
    let (from, to) = (map(channels, size, 0), map(channels, size / window, 0));
    let (kernel, stride) = ([1, window, window], [1, window, window]);
    let (size, out_size) = (from.size, to.size);
    let max = Pool { channels, size, out_size, kernel, stride, padding: [0; 3], dilation: [1; 3] };
    let mean = AvgPool { channels, size, out_size, kernel, stride, padding: [0; 3], count_include_pad: true };
    let mut values = Values::default();
    let [x, y] = [from, to].map(|map| values.planes(map));
    let at = values.plain(max_pool::places_len(&max, y.layout));
    let work = Work::Bytes(4 * (from.len() + to.len()));
    let write = Store::Write;
    let name = |pass: &str| format!("{pass}, {layer}");
    vec![
        values.kernel(name("max_pool::forward"), work, move |t| max_pool::forward(t, &max, x, y, at)),
        values.kernel(name("max_pool::infer"), work, move |t| max_pool::infer(t, &max, x, y)),
        values.kernel(name("max_pool::backward"), work, move |t| max_pool::backward(t, &max, y, at, x, write)),
        values.kernel(name("avg_pool::forward"), work, move |t| avg_pool::forward(t, &mean, x, y)),
        values.kernel(name("avg_pool::backward"), work, move |t| avg_pool::backward(t, &mean, y, x, write)),
    ]
}

/// What goes element by element, and copies from layout to layout.
fn elements() -> Vec<Kernel> {
    const CHANNELS: usize = 32;
    const SIZE: usize = 16;
    const LEN: usize = CHANNELS * SIZE * SIZE;
    let (layer, write) = (format!("{CHANNELS} channels of {SIZE} x {SIZE}"), Store::Write);
    let mut values = Values::default();
    let [a, b] = [(); 2].map(|()| values.plain(LEN));
    let [inner, outer] = [0, 1].map(|halo| values.planes(map(CHANNELS, SIZE, halo)));
    let bytes = |touched: usize| Work::Bytes(4 * touched * LEN);
    let name = |pass: &str| format!("{pass}, {layer}");
    let mut all = vec![
        values.kernel(name("elementwise::copy, plain"), bytes(2), move |t| elementwise::copy(t, a, b, write)),
        values.kernel(name("elementwise::copy, to planes"), bytes(2), move |t| elementwise::copy(t, a, outer, write)),
        values.kernel(name("elementwise::copy, to plain"), bytes(2), move |t| elementwise::copy(t, outer, a, write)),
        values.kernel(name("elementwise::copy, halos"), bytes(2), move |t| elementwise::copy(t, inner, outer, write)),
        values.kernel(name("elementwise::add"), bytes(3), move |t| elementwise::add(t, a, b, b)),
        values.kernel(name("dropout::apply"), bytes(2), {
            move |t| dropout::apply(t, &Dropout { p: 0.5, units: LEN, per_unit: 1 }, 0, a, b, write)
        }),
    ];
    for (act, of) in [(Act::Relu, "relu"), (Act::Tanh, "tanh"), (Act::Sigmoid, "sigmoid")] {
        all.extend([
            values.kernel(name(&format!("activation::forward, {of}")), bytes(2), {
                move |t| activation::forward(t, act, a, b)
            }),
            values.kernel(name(&format!("activation::backward, {of}")), bytes(3), {
                move |t| activation::backward(t, act, a, b, b, write)
            }),
        ]);
    }
    let mut images = Values::default();
    let (plain, image) = (images.plain(3 * 32 * 32), images.planes(map(3, 32, 1)));
    all.push(images.kernel(
        "elementwise::copy, to planes, an image of 3 x 32 x 32".to_owned(),
        Work::Bytes(8 * 3072),
        move |t| elementwise::copy(t, plain, image, write),
    ));
    let softmax = LogSoftmax { outer: 1, size: 10, inner: 1 };
    let mut classes = Values::default();
    let [x, y, dx] = [(); 3].map(|()| classes.plain(10));
    all.extend([
        classes.kernel("log_softmax::forward, 10 classes".to_owned(), Work::Bytes(80), {
            move |t| log_softmax::forward(t, &softmax, x, y)
        }),
        classes.kernel("log_softmax::backward, 10 classes".to_owned(), Work::Bytes(120), {
            move |t| log_softmax::backward(t, &softmax, y, x, dx, write)
        }),
    ]);
    all
}

/// A step of an optimizer; `floats` of each parameter, read and written.
fn update<O: Optimizer + 'static>(name: &str, params: usize, floats: usize, optimizer: fn() -> O) -> Kernel {
    let make = move || -> Update {
        let mut optimizer = optimizer();
        Box::new(move |params: &mut [f32], gradients: &[f32]| optimizer.update(params, gradients))
    };
    let kernel = Values::default().any(
        format!("{name}, {params} parameters"),
        Work::Bytes(4 * floats * params),
        Call::Update(Box::new(make)),
    );
    Kernel { params, ..kernel }
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
    for (layer, class, geometry, act, pools) in [
        ("3 -> 16, 3x3, 32 x 32: conv1 of net", Class::Direct, square(3, 32, 16, 3, 1, 1), Act::Tanh, true),
        ("16 -> 8, 3x3, 16 x 16: conv2 of net", Class::Winograd, square(16, 16, 8, 3, 1, 1), Act::Tanh, true),
        ("1 -> 20, 5x5, 28 x 28: conv1 of lenet_mnist", Class::Direct, square(1, 28, 20, 5, 1, 0), Act::Relu, true),
        ("20 -> 50, 5x5, 12 x 12: conv2 of lenet_mnist", Class::Direct, square(20, 12, 50, 5, 1, 0), Act::Relu, true),
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
        (
            "512 -> 512, 3x3, 4 x 4: stage4 of resnet18_cifar",
            { Class::Winograd },
            square(512, 4, 512, 3, 1, 1),
            Act::Relu,
            false,
        ),
    ] {
        all.extend(planes(layer, class, geometry, act, pools));
    }
    all.extend(by_columns("32 -> 32 in 4 groups, 3x3, 16 x 16", Conv { groups: 4, ..square(32, 16, 32, 3, 1, 1) }));
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
    all.extend(pools("2x2 of 32 channels of 16 x 16: res_deep", 32, 16, 2));
    all.extend(pools("4x4 of 512 channels of 4 x 4: resnet18_cifar", 512, 4, 4));
    all.extend(elements());
    all.extend([
        update("sgd", 1 << 22, 3, || Sgd::new(1e-3)),
        update("sgd with momentum", 1 << 22, 5, || Sgd::new(1e-3).momentum(0.9)),
        update("adam", 1 << 22, 7, || Adam::new(1e-3)),
    ]);
    all
}
