//! `elu`.

use super::elementwise::Elementwise;
use super::{Arg, Decl, Default, Example, Kind, NumberRange};
use crate::diag::Code;
use crate::ir::{Act, Kind as Op};

/// `y = x above 0, else alpha (exp(x) - 1)`
pub(super) static ELU: Elementwise = Elementwise {
    decl: Decl {
        name: "elu",
        aliases: &[],
        args: &[Arg::with(
            "alpha",
            Kind::Number(NumberRange::F32_NOT_NEGATIVE),
            Default::Number(1.0),
            "how far below 0 it goes",
        )],
        docs: "`y = x` above 0, else `alpha * (exp(x) - 1)`, element by element; any shape. \
               Source: Clevert, Unterthiner and Hochreiter 2016; PyTorch, torch.nn.ELU.",
    },
    op: |args| Op::Act(Act::Elu(args.number("alpha").unwrap_or_default())),
    example: || Example { input: "[4, 8, 8]", good: "elu(alpha = 0.5);", bad: "elu(-1);", error: Code::N0211 },
};
