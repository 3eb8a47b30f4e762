//! Convolutions, in planes and by columns.

use netspec::arena::{Tile, View};
use netspec::kernels::conv::{self, Conv};
use netspec::kernels::{Act, Epilogue, Store, depthwise as single, direct, sparse, winograd};
use netspec::layout::{Blocked, Layout};
use netspec::run::Run;

use super::{Call, Kernel, Values, Work, area, map};

/// Floats of a place, a byte, for each element of a pooled map.
fn places(pooled: &'static Blocked) -> usize {
    direct::pool_places_len(pooled)
}

/// A convolution's kernels on plain values, by columns: what any geometry runs on.
pub(super) fn by_columns(layer: &str, conv: Conv) -> Vec<Kernel> {
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
pub(super) enum Class {
    Direct,
    Winograd,
}

/// A convolution's kernels on planes; `act` behind it, and a pool if `pools`.
pub(super) fn planes(layer: &str, class: Class, conv: Conv, act: Act, pools: bool) -> Vec<Kernel> {
    let (size, out_size, padding) = (conv.size[1], conv.out_size[1], conv.padding[1]);
    let x_map = map(conv.channels, size, padding);
    let y_map = map(conv.out_channels, if pools { out_size / 2 } else { out_size }, 0);
    // The gradient of what is not pooled has the halo that its kernels read.
    let dy_map = map(conv.out_channels, out_size, conv.kernel[1] - 1 - padding);
    let mut values = Values::default();
    let [x, y, dy] = [x_map, y_map, dy_map].map(|map| values.planes(map));
    let at = values.plain(places(y_map));
    let weights = conv.out_channels * conv.channels / conv.groups * area(conv.kernel);
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
        Class::Winograd if is_image && pools => winograd::grad_weight_pool_scratch(&conv, x_map.planes, y_map.planes)
            .max(winograd::scratch(&conv, x_map.planes, y_map.planes)),
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
                if !is_image {
                    winograd::pack_transposed(p, &conv, x_map.planes, y_map.planes, 0, transposed);
                }
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
        Class::Winograd if is_image && pools => all.push(kernel("winograd::grad_weight_pool", {
            Box::new(move |t| winograd::grad_weight_pool(t, &conv, x, y, at, 0, Some(weights)))
        })),
        Class::Winograd if is_image => {}
        Class::Direct if pools => all.push(kernel("sparse::grad_input", {
            Box::new(move |t| sparse::grad_input(t, &conv, y, at, transposed, x, write))
        })),
        Class::Direct => all.extend([
            kernel("direct::grad_input", Box::new(move |t| direct::grad_input(t, &conv, dy, transposed, x, write))),
            kernel("direct::grad_weight", Box::new(move |t| direct::grad_weight(t, &conv, x, dy, 0, Some(weights)))),
        ]),
        Class::Winograd => {
            all.push(kernel("winograd::grad_input", {
                Box::new(move |t| winograd::grad_input(t, &conv, dy, transposed, x, write))
            }));
            // Larger windows have none.
            if conv.kernel[1] == 3 {
                all.push(kernel("winograd::grad_weight", {
                    Box::new(move |t| winograd::grad_weight(t, &conv, x, dy, 0, Some(weights)))
                }));
            }
        }
    }
    all
}

/// The kernels of a convolution with so many weights that it runs on the whole batch at once.
pub(super) fn at_once(layer: &str, conv: Conv) -> Vec<Kernel> {
    let [x_map, y_map] = [conv.channels, conv.out_channels].map(|channels| map(channels, conv.size[1], 1));
    let mut values = Values::default();
    let [x, y] = [x_map, y_map].map(|map| View { layout: Layout::Blocked(map), ..values.of_batch(map.len()) });
    let weights = conv.out_channels * conv.channels * area(conv.kernel);
    let transposed = winograd::packed_len(x_map.planes, y_map.planes).next_multiple_of(16);
    let scratch = winograd::scratch(&conv, x_map.planes, y_map.planes);
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Run<'_>) + Sync>| Kernel {
        params: weights + conv.out_channels,
        packed: transposed + winograd::packed_len(y_map.planes, x_map.planes),
        pack: Box::new(move |p| {
            winograd::pack(p, &conv, x_map.planes, y_map.planes, 0, 0);
            winograd::pack_transposed(p, &conv, x_map.planes, y_map.planes, 0, transposed);
        }),
        scratch: scratch.max(winograd::batch_scratch(x_map.planes, y_map.planes)),
        ..values.any(
            format!("winograd::{pass}, {layer}"),
            Work::Flops(2 * weights * area(conv.out_size)),
            Call::Batch(call),
        )
    };
    let ends = Epilogue::bias(weights).act(Act::Relu);
    vec![
        kernel("forward at once", Box::new(move |run| run.at_once(|t| winograd::forward(t, &conv, x, 0, ends, y)))),
        kernel(
            "grad_input at once",
            Box::new(move |run| run.at_once(|t| winograd::grad_input(t, &conv, y, transposed, x, Store::Write))),
        ),
        kernel(
            "grad_weight_batch",
            Box::new(move |run| winograd::grad_weight_batch(run, &conv, x, y, 0, Some(weights))),
        ),
    ]
}

/// A convolution of single channels, in planes.
pub(super) fn depthwise(layer: &str, conv: Conv, act: Act) -> Vec<Kernel> {
    let (x_map, y_map) = (map(conv.channels, conv.size[1], conv.padding[1]), map(conv.channels, conv.out_size[1], 0));
    let dy_map = map(conv.channels, conv.out_size[1], conv.kernel[1] - 1 - conv.padding[1]);
    let mut values = Values::default();
    let [x, y, dy] = [x_map, y_map, dy_map].map(|map| values.planes(map));
    let weights = conv.channels * area(conv.kernel);
    let transposed = single::packed_len(&conv, x_map.planes).next_multiple_of(16);
    let kernel = |pass: &str, call: Box<dyn Fn(&mut Tile<'_>) + Sync>| Kernel {
        params: weights + conv.channels,
        packed: 2 * transposed,
        pack: Box::new(move |p| {
            single::pack(p, &conv, x_map.planes, y_map.planes, 0, 0);
            single::pack_transposed(p, &conv, x_map.planes, y_map.planes, 0, transposed);
        }),
        ..values.any(
            format!("depthwise::{pass}, {layer}"),
            Work::Flops(2 * weights * area(conv.out_size)),
            Call::Tile(call),
        )
    };
    let ends = Epilogue::bias(weights).act(act);
    vec![
        kernel("forward", Box::new(move |t| single::forward(t, &conv, x, 0, ends, y))),
        kernel("grad_input", Box::new(move |t| single::grad_input(t, &conv, dy, transposed, x, Store::Write))),
        kernel("grad_weight", Box::new(move |t| single::grad_weight(t, &conv, x, dy, 0, Some(weights)))),
    ]
}

/// A square convolution of square maps.
pub(super) fn square(
    channels: usize,
    size: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Conv {
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
