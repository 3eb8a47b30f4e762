//! Sizes of ops as types and constants of the text.

use super::Emitter;
use crate::emit::calls::float;
use crate::ir::{Act, Conv, Curve, Frame, GroupNorm, How, Linear, Norm, Resample, Window};
use crate::ops::elements;
use crate::schedule::{Call, Epilogue};

impl Emitter<'_> {
    /// A linear layer, whose features lie in another order than PyTorch's as this says.
    pub(super) fn linear(&mut self, layer: &str, linear: &Linear, lies: Option<&str>) -> String {
        let Linear { rows, inputs, outputs } = linear;
        let lies = lies.map_or(String::new(), |lies| format!(", {lies}"));
        self.source.constant(layer, &format!("using @ = Linear<{rows}, {inputs}, {outputs}{lies}>;"))
    }

    pub(super) fn conv_sizes(&mut self, layer: &str, conv: &Conv) -> String {
        let Conv { channels, out_channels, groups, window } = conv;
        let counts = format!("channels = {channels}, out_channels = {out_channels}, groups = {groups}");
        let fields = window_fields(window);
        self.source
            .constant(layer, &format!("struct @ : Convolution {{\n    static constexpr u32 {counts};\n{fields}}};"))
    }

    pub(super) fn window(&mut self, layer: &str, window: &Window) -> String {
        self.source.constant(layer, &format!("struct @ {{\n{}}};", window_fields(window)))
    }

    pub(super) fn frame(&mut self, layer: &str, frame: &Frame) -> String {
        let [d, h, w] = frame.before;
        let fields = [size_text("size", &frame.size), size_text("out", &frame.out_size)].concat();
        self.source.constant(layer, &format!("struct @ {{\n{fields}    using before = Size<{d}, {h}, {w}>;\n}};"))
    }

    pub(super) fn resample(&mut self, layer: &str, resample: &Resample) -> String {
        let fields = [size_text("size", &resample.size), size_text("out", &resample.out_size)].concat();
        self.source.constant(layer, &format!("struct @ {{\n{fields}}};"))
    }

    pub(super) fn norm(&mut self, layer: &str, norm: &Norm) -> String {
        let (eps, momentum) = (float(norm.eps), float(norm.momentum));
        let definition = format!("struct @ {{\n    static constexpr float eps = {eps}f, momentum = {momentum}f;\n}};");
        self.source.constant(layer, &definition)
    }

    pub(super) fn group_norm(&mut self, layer: &str, norm: &GroupNorm) -> String {
        let GroupNorm { groups, channels, positions, eps, shared } = norm;
        let definition = format!(
            "struct @ {{\n    static constexpr u32 groups = {groups}, channels = {channels}, positions = {positions};\n    static \
             constexpr float eps = {}f;\n    static constexpr bool shared = {shared};\n}};",
            float(*eps)
        );
        self.source.constant(layer, &definition)
    }

    /// The type of a nonlinearity.
    pub(super) fn act(&mut self, layer: &str, act: Act) -> String {
        let (name, numbers) = match act {
            Act::LeakyRelu(slope) => ("LeakyRelu", vec![("slope", slope)]),
            Act::Elu(alpha) => ("Elu", vec![("alpha", alpha)]),
            Act::Hardtanh(least, most) => ("Hardtanh", vec![("least", least), ("most", most)]),
            Act::Softplus(beta, threshold) => ("Softplus", vec![("beta", beta), ("threshold", threshold)]),
            Act::None | Act::Relu | Act::Tanh | Act::Sigmoid | Act::Hardsigmoid => return format!("{act:?}"),
        };
        self.with_numbers(layer, name, &numbers)
    }

    /// The nonlinearity through which a call's gradient goes on.
    pub(super) fn back(&mut self, layer: &str, call: &Call) -> String {
        let back = call.epilogue.iter().find_map(|step| match step {
            Epilogue::Back(act) => Some(*act),
            _ => None,
        });
        self.act(layer, back.unwrap_or(Act::None))
    }

    /// The type of a curve.
    pub(super) fn curve(&mut self, layer: &str, curve: Curve) -> String {
        match curve {
            Curve::Softplus(beta, threshold) => {
                self.with_numbers(layer, "SoftplusCurve", &[("beta", beta), ("threshold", threshold)])
            }
            Curve::Gelu | Curve::GeluTanh | Curve::Silu | Curve::Hardswish => format!("{curve:?}"),
        }
    }

    pub(super) fn with_numbers(&mut self, layer: &str, name: &str, numbers: &[(&str, f64)]) -> String {
        let fields: Vec<String> =
            numbers.iter().map(|(name, number)| format!("{name} = {}f", float(*number))).collect();
        let definition = format!("struct @ {{\n    static constexpr float {};\n}};", fields.join(", "));
        format!("{name}<{}>", self.source.constant(layer, &definition))
    }
}

/// Positions of a window's input.
pub(super) fn size(window: &Window) -> u64 {
    window.size.iter().product()
}

pub(super) fn size_text(name: &str, [d, h, w]: &[u64; 3]) -> String {
    format!("    using {name} = Size<{d}, {h}, {w}>;\n")
}

pub(super) fn window_fields(window: &Window) -> String {
    let Window { size, out_size, kernel, stride, padding, dilation } = window;
    let fields = [
        ("size", size),
        ("out", out_size),
        ("kernel", kernel),
        ("stride", stride),
        ("padding", padding),
        ("dilation", dilation),
    ];
    fields.map(|(name, sizes)| size_text(name, sizes)).concat()
}

pub(super) fn how_text(how: How) -> &'static str {
    match how {
        How::Adaptive => "ADAPTIVE",
        How::Nearest => "NEAREST",
        How::Linear => "LINEAR",
        How::LinearCorners => "LINEAR_CORNERS",
    }
}

/// The least draw that is kept and what becomes of a kept 1, as `runtime/src/kernels/dropout.rs` has them.
pub(super) fn dropout_text(p: f64) -> String {
    let p = p as f32;
    let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
    let least = (f64::from(p) * f64::from(1 << 24)).ceil() as u64;
    format!(
        "struct @ {{\n    static constexpr u64 least = {least};\n    static constexpr float scale = {}f;\n}};",
        float(f64::from(scale))
    )
}

/// Where element e of a permuted value comes from.
pub(super) fn permuted(sizes: &[u64], order: &[usize]) -> String {
    let stride = |dim: usize| elements(&sizes[dim + 1..]);
    let mut behind = 1;
    let mut terms = Vec::new();
    for &dim in order.iter().rev() {
        if sizes[dim] > 1 {
            terms.insert(0, format!("e / {behind} % {} * {}", sizes[dim], stride(dim)));
        }
        behind *= sizes[dim];
    }
    if terms.is_empty() { "e".to_owned() } else { terms.join(" + ") }
}
