//! `relu`.

use super::elementwise::Elementwise;
use super::{Decl, Example};
use crate::diag::Code;
use crate::ir::{Act, Kind as Op};

/// `y = max(x, 0)`
pub(super) static RELU: Elementwise = Elementwise {
    decl: Decl {
        name: "relu",
        aliases: &[],
        args: &[],
        docs: "`y = max(x, 0)`, element by element; any shape. Source: PyTorch, torch.nn.functional.relu. NaN stays NaN.",
    },
    op: |_| Op::Act(Act::Relu),
    example: || Example { input: "[4, 8, 8]", good: "relu;", bad: "relu(2);", error: Code::N0210 },
};
