//! `relu6`.

use super::elementwise::Elementwise;
use super::{Decl, Example};
use crate::diag::Code;
use crate::ir::{Act, Kind as Op};

/// `y = min(max(x, 0), 6)`
pub(super) static RELU6: Elementwise = Elementwise {
    decl: Decl {
        name: "relu6",
        aliases: &[],
        args: &[],
        docs: "`y = min(max(x, 0), 6)`, element by element; any shape. NaN stays NaN. \
               Source: Krizhevsky 2010; PyTorch, torch.nn.ReLU6.",
    },
    op: |_| Op::Act(Act::Hardtanh(0.0, 6.0)),
    example: || Example { input: "[4, 8, 8]", good: "relu6;", bad: "relu6(2);", error: Code::N0210 },
};
