//! `tanh`.

use super::elementwise::Elementwise;
use super::{Decl, Example};
use crate::diag::Code;
use crate::ir::{Act, Kind as Op};

/// `y = the hyperbolic tangent`
pub(super) static TANH: Elementwise = Elementwise {
    decl: Decl {
        name: "tanh",
        aliases: &[],
        args: &[],
        docs: "`y = the hyperbolic tangent`, element by element; any shape. Source: PyTorch, torch.nn.functional.tanh.",
    },
    op: |_| Op::Act(Act::Tanh),
    example: || Example { input: "[4, 8, 8]", good: "tanh;", bad: "tanh(2);", error: Code::N0210 },
};
