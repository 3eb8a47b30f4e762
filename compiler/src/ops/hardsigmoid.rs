//! `hardsigmoid`.

use super::elementwise::Elementwise;
use super::{Decl, Example};
use crate::diag::Code;
use crate::ir::{Act, Kind as Op};

/// `y = min(max(x + 3, 0), 6) / 6`
pub(super) static HARDSIGMOID: Elementwise = Elementwise {
    decl: Decl {
        name: "hardsigmoid",
        aliases: &[],
        args: &[],
        docs: "`y = min(max(x + 3, 0), 6) / 6`, element by element; any shape. \
               Source: Howard et al. 2019; PyTorch, torch.nn.Hardsigmoid.",
    },
    op: |_| Op::Act(Act::Hardsigmoid),
    example: || Example { input: "[4, 8, 8]", good: "hardsigmoid;", bad: "hardsigmoid(2);", error: Code::N0210 },
};
