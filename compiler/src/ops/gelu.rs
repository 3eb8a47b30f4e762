//! `gelu`.

use super::elementwise::Elementwise;
use super::{Arg, Decl, Default, Example, Kind, Value};
use crate::diag::Code;
use crate::ir::{Curve, Kind as Op};

/// `y = x P(x), P the normal distribution`
pub(super) static GELU: Elementwise = Elementwise {
    decl: Decl {
        name: "gelu",
        aliases: &[],
        args: &[Arg::with(
            "approximate",
            Kind::Word(&["none", "tanh"]),
            Default::Word("none"),
            "`tanh` computes nearly the same by a hyperbolic tangent, as some trained models were",
        )],
        docs: "`y = x * P(x)`, P(x) being the part of the normal distribution below x; with `approximate = tanh` \
               `y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`. Element by element; any shape. \
               Source: Hendrycks and Gimpel 2016; PyTorch, torch.nn.GELU.",
    },
    op: |args| match args.get("approximate") {
        Some(Value::Word(word)) if word == "tanh" => Op::Curve(Curve::GeluTanh),
        _ => Op::Curve(Curve::Gelu),
    },
    example: || Example { input: "[4, 8, 8]", good: "gelu(approximate = tanh);", bad: "gelu(2);", error: Code::N0204 },
};
