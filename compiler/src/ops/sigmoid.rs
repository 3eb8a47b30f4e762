//! `sigmoid`.

use super::elementwise::Elementwise;
use super::{Decl, Example};
use crate::diag::Code;
use crate::ir::{Act, Kind as Op};

/// `y = 1 / (1 + exp(-x))`
pub(super) static SIGMOID: Elementwise = Elementwise {
    decl: Decl {
        name: "sigmoid",
        aliases: &[],
        args: &[],
        docs: "`y = 1 / (1 + exp(-x))`, element by element; any shape. Source: PyTorch, torch.nn.functional.sigmoid.",
    },
    op: |_| Op::Act(Act::Sigmoid),
    example: || Example { input: "[4, 8, 8]", good: "sigmoid;", bad: "sigmoid(2);", error: Code::N0210 },
};
