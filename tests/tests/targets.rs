//! What the compiler plans for a kernel is what the kernel asks for: the numbers stand in both, since neither crate knows the other.
//! And which layouts it chooses by what they cost.

use netspec::kernels::linear::{self, Linear};
use netspec::kernels::{conv::Conv, depthwise, direct, sparse, winograd};
use netspec::layout::Plane;
use netspec_compiler::emit::planned;
use netspec_compiler::fuse::PlanKind;
use netspec_compiler::ir::{self, Kind, TensorId, Window};
use netspec_compiler::layout;
use netspec_compiler::schedule::{Kernel, Node, Step};
use netspec_compiler::target::{Class, Target};
use netspec_tests::reference::{Numbers, compile_text};

/// Planes of so many channels, now and then with padding in the middle, as `concat` makes them.
fn planes(channels: usize, is_parted: bool) -> Vec<Plane> {
    let parts = if is_parted && channels > 3 { vec![channels / 2, channels - channels / 2] } else { vec![channels] };
    let mut planes = Vec::new();
    for channels in parts {
        planes.extend(vec![Plane::FULL; channels / 16]);
        match channels % 16 {
            0 => {}
            rest => planes.push(Plane { lanes: if rest <= 8 { 8 } else { 16 }, channels: rest }),
        }
    }
    planes
}

fn wide(planes: &[Plane]) -> Vec<layout::Plane> {
    let plane = |plane: &Plane| layout::Plane { lanes: plane.lanes as u64, channels: plane.channels as u64 };
    planes.iter().map(plane).collect()
}

/// Twice the same convolution: the kernels' and the compiler's.
fn convolution(channels: usize, out_channels: usize, size: usize, kernel: usize) -> (Conv, ir::Conv) {
    let padding = kernel / 2;
    let conv = Conv {
        channels,
        out_channels,
        groups: 1,
        size: [1, size, size + 2],
        out_size: [1, size, size + 2],
        kernel: [1, kernel, kernel],
        stride: [1; 3],
        padding: [0, padding, padding],
        dilation: [1; 3],
    };
    let window = Window {
        size: conv.size.map(|size| size as u64),
        out_size: conv.out_size.map(|size| size as u64),
        kernel: conv.kernel.map(|size| size as u64),
        stride: [1; 3],
        padding: conv.padding.map(|size| size as u64),
        dilation: [1; 3],
    };
    (conv, ir::Conv { channels: channels as u64, out_channels: out_channels as u64, groups: 1, window })
}

#[test]
fn kernels_have_the_memory_that_they_ask_for() {
    let mut numbers = Numbers(7);
    let mut between = |least: usize, most: usize| least + (numbers.number().abs() * 1e6) as usize % (most + 1 - least);
    let weight = TensorId(0);
    for _ in 0..500 {
        let (channels, out_channels) = (between(1, 600), between(1, 600));
        let (conv, planned) = convolution(channels, out_channels, between(1, 40), 1 + 2 * between(0, 2));
        let is_image = channels <= 4 && between(0, 1) == 0;
        let x = if is_image { vec![Plane { lanes: channels, channels }] } else { planes(channels, between(0, 3) == 0) };
        let y = planes(out_channels, between(0, 3) == 0);
        let [wide_x, wide_y] = [wide(&x), wide(&y)];
        let scratch = |class: Class, kind: Kind| Target::Cpu.scratch(class, &kind, &planned, &wide_x, &wide_y) as usize;
        let packed = |class: Class, transposed: bool| {
            Target::Cpu.packed_len(class, &planned, &wide_x, &wide_y, transposed) as usize
        };
        let grad_weight = Kind::ConvGradWeight(planned, weight, None);
        let pool_grad_weight = Kind::ConvPoolGradWeight(planned, weight, None);
        let found = [
            packed(Class::Direct, false),
            packed(Class::Direct, true),
            packed(Class::Winograd, false),
            packed(Class::Winograd, true),
            scratch(Class::Direct, grad_weight.clone()),
            scratch(Class::Winograd, grad_weight),
            scratch(Class::Sparse, Kind::ConvPoolGradInput(planned, weight)),
            scratch(Class::Sparse, pool_grad_weight.clone()),
            scratch(Class::Winograd, pool_grad_weight),
            Target::Cpu.batch_scratch(Class::Direct, &planned, &wide_x, &wide_y) as usize,
            Target::Cpu.batch_scratch(Class::Winograd, &planned, &wide_x, &wide_y) as usize,
        ];
        let asked = [
            direct::packed_len(&conv, &x, &y),
            direct::packed_len(&conv, &y, &x),
            winograd::packed_len(&x, &y),
            winograd::packed_len(&y, &x),
            direct::grad_weight_scratch(&conv, &x),
            winograd::scratch(&conv, &x, &y),
            sparse::grad_input_scratch(&conv),
            sparse::grad_weight_scratch(&conv, &x),
            winograd::grad_weight_pool_scratch(&conv, &x, &y),
            direct::grad_weight_scratch(&conv, &x),
            winograd::batch_scratch(&x, &y),
        ];
        assert_eq!(found, asked, "{conv:?}, {x:?}, {y:?}");
    }
}

#[test]
fn linear_layers_have_the_memory_that_they_ask_for() {
    let mut numbers = Numbers(9);
    let mut between = |least: usize, most: usize| least + (numbers.number().abs() * 1e6) as usize % (most + 1 - least);
    for _ in 0..500 {
        let (inputs, outputs) = (between(1, 2000), between(1, 2000));
        let planned = ir::Linear { rows: 1, inputs: inputs as u64, outputs: outputs as u64 };
        let found =
            Target::Cpu.packed_linear_len(&planned, PlanKind::Inference).expect("a layer that is not too large");
        assert_eq!(found as usize, linear::packed_len(&Linear { rows: 1, inputs, outputs }), "{planned:?}");
    }
    // A copy that would cost more than it gives: of what is trained, and of the largest layers.
    let small = ir::Linear { rows: 1, inputs: 1000, outputs: 1000 };
    for kind in [PlanKind::Training, PlanKind::Evaluation, PlanKind::InputGradients] {
        assert_eq!(Target::Cpu.packed_linear_len(&small, kind), None);
    }
    assert_eq!(Target::Cuda.packed_linear_len(&small, PlanKind::Inference), None);
    let large = ir::Linear { rows: 1, inputs: 25_088, outputs: 4096 };
    assert_eq!(Target::Cpu.packed_linear_len(&large, PlanKind::Inference), None);
}

#[test]
fn kernels_of_groups_have_the_memory_that_they_ask_for() {
    let mut numbers = Numbers(8);
    let mut between = |least: usize, most: usize| least + (numbers.number().abs() * 1e6) as usize % (most + 1 - least);
    for _ in 0..500 {
        let (groups, inputs, outputs) = (between(2, 40), between(1, 40), between(1, 40));
        let (mut conv, mut planned) = convolution(groups * inputs, groups * outputs, 5, 1 + 2 * between(0, 2));
        (conv.groups, planned.groups) = (groups, groups as u64);
        let (x, y) = (planes(conv.channels, between(0, 3) == 0), planes(conv.out_channels, between(0, 3) == 0));
        let [wide_x, wide_y] = [wide(&x), wide(&y)];
        let packed = |class: Class, transposed: bool| {
            Target::Cpu.packed_len(class, &planned, &wide_x, &wide_y, transposed) as usize
        };
        let grad_weight = Kind::ConvGradWeight(planned, TensorId(0), None);
        let found = [
            packed(Class::Direct, false),
            packed(Class::Direct, true),
            packed(Class::Depthwise, false),
            packed(Class::Depthwise, true),
            Target::Cpu.scratch(Class::Direct, &grad_weight, &planned, &wide_x, &wide_y) as usize,
        ];
        let asked = [
            direct::packed_len(&conv, &x, &y),
            direct::packed_len(&conv, &y, &x),
            depthwise::packed_len(&conv, &y),
            depthwise::packed_len(&conv, &x),
            direct::grad_weight_scratch(&conv, &x),
        ];
        assert_eq!(found, asked, "{conv:?}, {x:?}, {y:?}");
    }
}

#[test]
fn windows_of_five_are_winograds_where_channels_are_many() {
    use Class::{Direct, Winograd};
    let classes = |channels: usize, out_channels: usize, size: usize| {
        let (_, conv) = convolution(channels, out_channels, size, 5);
        let x = if channels <= 4 { vec![Plane { lanes: channels, channels }] } else { planes(channels, false) };
        [Target::Cpu.forward(&conv, &wide(&x)), Target::Cpu.back(&conv), Target::Cpu.conv(&conv)]
    };
    // Forward, by the input, by the weight: that has too large errors.
    assert_eq!(classes(20, 50, 12), [Winograd, Winograd, Direct]);
    assert_eq!(classes(8, 16, 16), [Winograd, Winograd, Direct]);
    assert_eq!(classes(7, 16, 16), [Direct; 3]);
    // Images, and outputs that fill less than half a vector.
    assert_eq!(classes(3, 16, 32), [Direct; 3]);
    assert_eq!(classes(1, 20, 28), [Direct; 3]);
    assert_eq!(classes(32, 4, 16), [Direct; 3]);
    // A pool behind it makes the backward pass the sparse one.
    assert!(Target::Cpu.is_sparse(&convolution(20, 50, 12, 5).1));
}

#[test]
fn an_images_gradient_through_a_pool_is_winograds_where_it_is_long() {
    use Class::{Sparse, Winograd};
    let class = |channels: usize, out_channels: usize, size: usize, kernel: usize| {
        let (_, conv) = convolution(channels, out_channels, size, kernel);
        Target::Cpu.pool_gradient(&conv, &wide(&[Plane { lanes: channels, channels }]))
    };
    assert_eq!([class(3, 16, 32, 3), class(4, 16, 16, 3), class(3, 8, 17, 3)], [Winograd; 3]);
    // Fewer than 16 tiles: of 13 lines the pool has 12, which are three tiles.
    assert_eq!([class(3, 16, 12, 3), class(3, 16, 13, 3)], [Sparse; 2]);
    // Other channels, other windows, and outputs that fill less than half a vector.
    assert_eq!([class(1, 16, 32, 3), class(2, 16, 32, 3), class(3, 16, 32, 5), class(3, 7, 32, 3)], [Sparse; 4]);
}

#[test]
fn far_weights_take_the_batch_at_once() {
    let is_at_once = |channels: usize, out_channels: usize, size: usize| {
        let (_, conv) = convolution(channels, out_channels, size, 3);
        let [x, y] = [channels, out_channels].map(|channels| wide(&planes(channels, false)));
        [false, true].map(|transposed| {
            let class = if transposed { Target::Cpu.back(&conv) } else { Target::Cpu.forward(&conv, &x) };
            Target::Cpu.is_at_once(class, &conv, &x, &y, transposed)
        })
    };
    assert_eq!(is_at_once(512, 512, 4), [true; 2]);
    assert_eq!(is_at_once(256, 256, 8), [true; 2]);
    // Weights that stay in a cache, a map that is a block by itself, and a direct convolution.
    assert_eq!(is_at_once(64, 64, 4), [false; 2]);
    assert_eq!(is_at_once(128, 128, 16), [false; 2]);
    assert_eq!(is_at_once(512, 512, 2), [false; 2]);
    // In a plan it stands between stages.
    let text = "model M { input x [96, 4, 4]; skip { conv(96, kernel = 3, padding = 1); relu; } flatten; linear(2); }";
    let checked = compile_text(text);
    let plan = planned(&checked, PlanKind::Inference).plan;
    let [Step::Stage(_), Step::Whole(call), Step::Stage(_)] = plan.schedule.steps.as_slice() else {
        panic!("two stages:\n{plan}")
    };
    assert!(matches!(call.kernel, Kernel::Op(Kind::Conv(..) | Kind::ConvAdd(..))), "{plan}");
}

/// The classes of the convolutions in inference of a map of 8 channels, and how many conversions there are beside the one of the end.
fn laid(body: &str) -> (Vec<Class>, usize) {
    let checked = compile_text(&format!("model M {{ input x [8, 16, 16]; {body} flatten; linear(2); }}"));
    let plan = planned(&checked, PlanKind::Inference).plan;
    let [Step::Stage(nodes)] = plan.schedule.steps.as_slice() else { panic!("one stage") };
    let (mut classes, mut conversions) = (Vec::new(), 0);
    for node in nodes {
        let Node::Call(call) = node else { panic!("no loop") };
        match &call.kernel {
            Kernel::Op(Kind::Conv(..) | Kind::ConvPool(..) | Kind::ConvAdd(..)) => classes.push(call.class),
            Kernel::Op(Kind::Copy) => {
                let [from, to] = [&call.reads[0], &call.writes[0].0].map(|operand| plan.schedule.layout(operand));
                conversions += usize::from((from == layout::Layout::Plain) != (to == layout::Layout::Plain));
            }
            _ => {}
        }
    }
    (classes, conversions)
}

#[test]
fn values_are_in_planes_where_that_saves_more_than_the_conversions_cost() {
    use Class::{Direct, Plain};
    // A log_softmax takes plain values. A 1x1 convolution of few channels is not worth two conversions; a 3x3 is, or one between others.
    assert_eq!(laid("log_softmax; conv(8, kernel = 1); log_softmax;"), (vec![Plain], 0));
    assert_eq!(laid("log_softmax; conv(8, kernel = 3, padding = 1); log_softmax;"), (vec![Direct], 2));
    let two = "conv(8, kernel = 1); relu; conv(8, kernel = 1);";
    assert_eq!(laid(&format!("log_softmax; {two} log_softmax;")), (vec![Direct; 2], 2));
    assert_eq!(laid(&format!("log_softmax; {two} log_softmax; conv(8, kernel = 1);")), (vec![Direct; 3], 4));
    // What only convolutions read is never converted.
    assert_eq!(laid("conv(8, kernel = 1);"), (vec![Direct], 1));
    // A pool in a convolution has no kernel on plain values.
    let pooled = "log_softmax; conv(8, kernel = 1); max_pool(2); relu; log_softmax;";
    assert_eq!(laid(pooled), (vec![Direct], 2));
    // Each is weighed for itself.
    assert_eq!(laid("log_softmax; conv(8, kernel = 1); log_softmax; conv(32, kernel = 3);").0, [Plain, Direct]);
}
