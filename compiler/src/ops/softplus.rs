//! `softplus`.

use super::elementwise::Elementwise;
use super::{Arg, Decl, Default, Example, Kind, NumberRange};
use crate::diag::Code;
use crate::ir::{Act, Curve, Kind as Op};

/// `y = log(1 + exp(beta x)) / beta`
pub(super) static SOFTPLUS: Elementwise = Elementwise {
    decl: Decl {
        name: "softplus",
        aliases: &[],
        args: &[
            Arg::with("beta", Kind::Number(NumberRange::F32_POSITIVE), Default::Number(1.0), "how sharp it bends at 0"),
            Arg::with(
                "threshold",
                Kind::Number(NumberRange::F32),
                Default::Number(20.0),
                "where `beta * x` is above this, y is x",
            ),
        ],
        docs: "`y = log(1 + exp(beta * x)) / beta`, or x where `beta * x` is above `threshold`, element by element; any shape. \
               Source: PyTorch, torch.nn.Softplus.",
    },
    op: |args| {
        let number = |name| args.number(name).unwrap_or_default();
        let (beta, threshold) = (number("beta"), number("threshold"));
        match threshold >= Act::SOFTPLUS_IS_LINE {
            true => Op::Act(Act::Softplus(beta, threshold)),
            // It falls from the curve to the line, so that neither place nor slope are told by the result.
            false => Op::Curve(Curve::Softplus(beta, threshold)),
        }
    },
    example: || Example { input: "[4, 8, 8]", good: "softplus(beta = 2);", bad: "softplus(0);", error: Code::N0211 },
};
