//! Initialisers of weights.

use super::{Arg, Decl, Default, Kind, NumberRange};

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
