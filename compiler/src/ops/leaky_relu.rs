//! `leaky_relu`.

use super::elementwise::Elementwise;
use super::{Arg, Decl, Default, Example, Kind, NumberRange};
use crate::diag::Code;
use crate::ir::{Act, Kind as Op};

/// `y = x above 0, else negative_slope x`
pub(super) static LEAKY_RELU: Elementwise = Elementwise {
    decl: Decl {
        name: "leaky_relu",
        aliases: &[],
        args: &[Arg::with(
            "negative_slope",
            Kind::Number(NumberRange::F32_NOT_NEGATIVE),
            Default::Number(0.01),
            "the slope below 0; 0 makes it a relu",
        )],
        docs: "`y = x` above 0, else `negative_slope * x`, element by element; any shape. Source: Maas et al. 2013; PyTorch, torch.nn.LeakyReLU.",
    },
    op: |args| Op::Act(Act::LeakyRelu(args.number("negative_slope").unwrap_or_default())),
    example: || Example {
        input: "[4, 8, 8]",
        good: "leaky_relu(0.1);",
        bad: "leaky_relu(negative_slope = -1);",
        error: Code::N0211,
    },
};
