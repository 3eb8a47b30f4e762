//! Initialisers of weights.

use super::{Arg, Args, Decl, Default, Kind, NumberRange, Value, Weight, elements};
use crate::ir::Fill;

/// What a weight's gain follows, as in `torch.nn.init.calculate_gain`.
const NONLINEARITIES: &[&str] = &["linear", "relu", "leaky_relu", "tanh", "sigmoid"];
const MODES: &[&str] = &["fan_in", "fan_out"];

static KAIMING_ARGS: [Arg; 2] = [
    Arg::with(
        "nonlinearity",
        Kind::Word(NONLINEARITIES),
        Default::Word("leaky_relu"),
        "what follows the layer; it sets the gain",
    ),
    Arg::with(
        "mode",
        Kind::Word(MODES),
        Default::Word("fan_in"),
        "keep the variance of values (fan_in) or of gradients (fan_out)",
    ),
];

/// Every initialiser.
pub static INITIALISERS: &[Decl] = &[
    Decl {
        name: "kaiming_normal",
        aliases: &[],
        args: &KAIMING_ARGS,
        docs: "Normal with deviation `gain / sqrt(fan)`. Source: He et al. 2015; PyTorch, torch.nn.init.kaiming_normal_.",
    },
    Decl {
        name: "kaiming_uniform",
        aliases: &[],
        args: &KAIMING_ARGS,
        docs: "Uniform between `-b` and `b`, `b = gain * sqrt(3 / fan)`. Source: He et al. 2015; PyTorch, torch.nn.init.kaiming_uniform_.",
    },
    Decl {
        name: "constant",
        aliases: &[],
        args: &[Arg::required("value", Kind::Number(NumberRange::ANY), "the number")],
        docs: "Every element the same number; a bare number means this too. Source: PyTorch, torch.nn.init.constant_.",
    },
    Decl { name: "zeros", aliases: &[], args: &[], docs: "Every element 0. Source: PyTorch, torch.nn.init.zeros_." },
    Decl {
        name: "normal",
        aliases: &[],
        args: &[
            Arg::with("mean", Kind::Number(NumberRange::ANY), Default::Number(0.0), "the mean"),
            Arg::with("std", Kind::Number(NumberRange::NOT_NEGATIVE), Default::Number(1.0), "the standard deviation"),
        ],
        docs: "Normal. Source: PyTorch, torch.nn.init.normal_.",
    },
];

/// Whether an initialiser reads the fans of a weight, which a vector does not have.
pub fn needs_fans(decl: &Decl) -> bool {
    decl.name.starts_with("kaiming")
}

/// The initialiser that a bare number means.
pub fn constant() -> &'static Decl {
    &INITIALISERS[2]
}

/// What a weight is filled with: as its argument says, else PyTorch's default. Fans are those of `of_weight`, the shape of the
/// layer's weight: inputs and outputs of an element, times the window's elements.
pub fn fill(args: &Args, argument: &str, weight: &Weight, of_weight: &[u64]) -> Fill {
    let taps = elements(of_weight.get(2..).unwrap_or_default()) as f64;
    let fan = |axis: usize| of_weight.get(axis).copied().unwrap_or(1) as f64 * taps;
    let is_matrix = of_weight.len() > 1;
    let Some(Value::Init(choice)) = args.get(argument).filter(|_| weight.trainable) else {
        return match (weight.name, is_matrix) {
            ("running_var", _) | ("weight", false) => Fill::Constant(1.0),
            ("running_mean", _) | (_, false) => Fill::Constant(0.0),
            // Kaiming-uniform with a = sqrt(5), and the bias that goes with it.
            _ => Fill::Uniform(1.0 / fan(1).sqrt()),
        };
    };
    let number = |name| choice.args.number(name).unwrap_or_default();
    let word = |name| match choice.args.get(name) {
        Some(Value::Word(word)) => word.as_str(),
        _ => "",
    };
    let gain: f64 = match word("nonlinearity") {
        "relu" | "leaky_relu" => 2f64.sqrt(),
        "tanh" => 5.0 / 3.0,
        _ => 1.0,
    };
    let std = gain / fan(usize::from(word("mode") != "fan_out")).sqrt();
    match choice.decl.name {
        "kaiming_normal" => Fill::Normal(0.0, std),
        "kaiming_uniform" => Fill::Uniform(std * 3f64.sqrt()),
        "normal" => Fill::Normal(number("mean"), number("std")),
        _ => Fill::Constant(number("value")),
    }
}
