//! Kernels that move or map values: norms, pools, elements, and optimizers' updates.

use netspec::Optimizer;
use netspec::arena::Tile;
use netspec::kernels::avg_pool::{self, AvgPool};
use netspec::kernels::batch_norm::{self, Norm};
use netspec::kernels::curve::{self, Curve};
use netspec::kernels::dropout::{self, Dropout};
use netspec::kernels::frame::{self, Frame};
use netspec::kernels::group_norm::{self, GroupNorm};
use netspec::kernels::log_softmax::{self, LogSoftmax};
use netspec::kernels::max_pool::{self, Pool};
use netspec::kernels::multiply::{self, Product};
use netspec::kernels::permute::{self, Permute};
use netspec::kernels::resample::{self, How, Resample};
use netspec::kernels::shuffle::{self, Shuffle};
use netspec::kernels::{Act, Epilogue, Store, activation, elementwise, softmax};
use netspec::run::Run;

use super::{Call, Kernel, Update, Values, Work, map};

/// A batch norm with a relu behind it, each of its passes.
pub(super) fn norm(layer: &str, channels: usize, size: usize) -> Vec<Kernel> {
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
    // What the batch needs of its samples' sums: two numbers a channel of each.
    let merge = |pass: &str, call: Box<dyn Fn(&mut Run<'_>) + Sync>| Kernel {
        work: Work::Bytes(4 * 2 * channels),
        ..kernel(pass, 0, Call::Batch(call))
    };
    vec![
        kernel("statistics", 1, tile(Box::new(move |t| batch_norm::statistics(t, &norm, x, sums)))),
        merge("merge", Box::new(move |run| batch_norm::merge(run, &norm, sums, state, None))),
        kernel("forward", 2, {
            tile(Box::new(move |t| batch_norm::forward(t, &norm, x, state, weight, bias, relu, y)))
        }),
        kernel("sums_relu", 2, {
            tile(Box::new(move |t| batch_norm::sums_relu(t, &norm, x, y, state, weight, bias, sums)))
        }),
        merge("merge_backward", {
            Box::new(move |run| batch_norm::merge_backward(run, &norm, sums, state, weight, coefficients, weight, bias))
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

/// A norm of groups of one sample.
pub(super) fn group_norm(layer: &str, groups: usize, channels: usize, size: usize) -> Vec<Kernel> {
    let map = map(channels, size, 0);
    let norm = GroupNorm { groups, channels: channels / groups, positions: size * size, eps: 1e-5, shared: false };
    let mut values = Values::default();
    let [x, y, dx] = [map; 3].map(|map| values.planes(map));
    let moments = values.plain(2 * groups);
    let (weight, bias) = (Some(0), Some(channels));
    let kernel = |pass: &str, touched: usize, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        params: 2 * channels,
        // More than any of the three asks for.
        scratch: 16 * channels.next_multiple_of(16),
        ..values.any(format!("group_norm::{pass}, {layer}"), Work::Bytes(4 * touched * map.len()), Call::Tile(call))
    };
    vec![
        kernel("forward", 3, Box::new(move |t| group_norm::forward(t, &norm, x, weight, bias, y, moments))),
        kernel("infer", 3, Box::new(move |t| group_norm::infer(t, &norm, x, weight, bias, y))),
        kernel("backward", 5, {
            Box::new(move |t| {
                group_norm::backward(t, &norm, x, y, moments, weight, weight, bias, dx, Store::Write);
            })
        }),
    ]
}

/// Pools, alone.
pub(super) fn pools(layer: &str, channels: usize, size: usize, window: usize) -> Vec<Kernel> {
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
pub(super) fn elements() -> Vec<Kernel> {
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

/// Nonlinearities that read their input in backward, and softmax.
pub(super) fn curves() -> Vec<Kernel> {
    const LEN: usize = 32 * 16 * 16;
    let write = Store::Write;
    let mut values = Values::default();
    let [x, y] = [(); 2].map(|()| values.plain(LEN));
    let mut all = Vec::new();
    for (of, name) in
        [(Curve::Gelu, "gelu"), (Curve::GeluTanh, "gelu_tanh"), (Curve::Silu, "silu"), (Curve::Hardswish, "hardswish")]
    {
        let named = |pass: &str| format!("curve::{pass}, {name}, {LEN} elements");
        all.push(values.kernel(named("forward"), Work::Bytes(8 * LEN), move |t| curve::forward(t, of, x, y)));
        all.push(
            values.kernel(named("backward"), Work::Bytes(12 * LEN), move |t| curve::backward(t, of, x, y, y, write)),
        );
    }
    let mut classes = Values::default();
    let rows = LogSoftmax { outer: 1, size: 10, inner: 1 };
    let [x, y, dx] = [(); 3].map(|()| classes.plain(10));
    all.extend([
        classes.kernel("softmax::forward, 10 classes".to_owned(), Work::Bytes(80), move |t| {
            softmax::forward(t, &rows, x, y);
        }),
        classes.kernel("softmax::backward, 10 classes".to_owned(), Work::Bytes(120), move |t| {
            softmax::backward(t, &rows, y, x, dx, write);
        }),
    ]);
    all
}

/// What moves values, makes maps larger or smaller, or multiplies them by channel.
pub(super) fn moves() -> Vec<Kernel> {
    const CHANNELS: usize = 32;
    const SIZE: usize = 16;
    const LEN: usize = CHANNELS * SIZE * SIZE;
    const SIZES: &[usize] = &[CHANNELS, SIZE, SIZE];
    let layer = format!("{CHANNELS} channels of {SIZE} x {SIZE}");
    let name = |pass: &str| format!("{pass}, {layer}");
    let write = Store::Write;
    let size = [1, SIZE, SIZE];
    let mut values = Values::default();
    let [x, y] = [map(CHANNELS, SIZE, 0); 2].map(|map| values.planes(map));
    let double = values.planes(map(CHANNELS, 2 * SIZE, 0));
    let wide = values.planes(map(CHANNELS, SIZE + 4, 0));
    let scales = values.planes(map(CHANNELS, 1, 0));
    let [flat, turned] = [(); 2].map(|()| values.plain(LEN));
    let larger = |how| Resample { channels: CHANNELS, size, out_size: [1, 2 * SIZE, 2 * SIZE], how };
    let (nearest, linear) = (larger(How::Nearest), larger(How::Linear));
    let shuffle = Shuffle { channels: CHANNELS, groups: 4, positions: SIZE * SIZE };
    let frame = Frame { channels: CHANNELS, size, out_size: [1, SIZE + 4, SIZE + 4], before: [0, 2, 2] };
    let permute = Permute { sizes: SIZES, order: &[1, 2, 0] };
    let scale = Product { outer: CHANNELS, count: SIZE * SIZE, inner: 1 };
    let bytes = |elements: usize| Work::Bytes(4 * elements);
    vec![
        values.kernel(name("resample::forward, nearest to double"), bytes(5 * LEN), move |t| {
            resample::forward(t, &nearest, x, double);
        }),
        values.kernel(name("resample::backward, nearest to double"), bytes(5 * LEN), move |t| {
            resample::backward(t, &nearest, double, x, write);
        }),
        values.kernel(name("resample::forward, linear to double"), bytes(5 * LEN), move |t| {
            resample::forward(t, &linear, x, double);
        }),
        values.kernel(name("resample::backward, linear to double"), bytes(5 * LEN), move |t| {
            resample::backward(t, &linear, double, x, write);
        }),
        values.kernel(name("shuffle::apply, 4 groups"), bytes(2 * LEN), move |t| {
            shuffle::apply(t, &shuffle, x, y, write)
        }),
        values.kernel(name("frame::apply, 2 zeros around"), bytes(2 * LEN), move |t| {
            frame::apply(t, &frame, x, wide, write);
        }),
        values.kernel(name("permute::apply, channels last, plain"), bytes(2 * LEN), move |t| {
            permute::apply(t, &permute, flat, turned, write);
        }),
        values.kernel(name("multiply::product, by channel"), bytes(2 * LEN), move |t| {
            multiply::product(t, &scale, x, scales, y, write);
        }),
        values.kernel(name("multiply::sum, by channel"), bytes(2 * LEN), move |t| {
            multiply::sum(t, &scale, x, y, scales, write);
        }),
    ]
}

/// A step of an optimizer; `floats` of each parameter, read and written.
pub(super) fn update<O: Optimizer + 'static>(name: &str, params: usize, floats: usize, optimizer: fn() -> O) -> Kernel {
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
