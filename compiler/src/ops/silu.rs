//! `silu`.

use super::elementwise::Elementwise;
use super::{Decl, Example};
use crate::diag::Code;
use crate::ir::{Curve, Kind as Op};

/// `y = x / (1 + exp(-x))`
pub(super) static SILU: Elementwise = Elementwise {
    decl: Decl {
        name: "silu",
        aliases: &[],
        args: &[],
        docs: "`y = x / (1 + exp(-x))`, element by element; any shape. \
               Source: Elfwing, Uchibe and Doya 2018; PyTorch, torch.nn.SiLU (also called swish).",
    },
    op: |_| Op::Curve(Curve::Silu),
    example: || Example { input: "[4, 8, 8]", good: "silu;", bad: "silu(2);", error: Code::N0210 },
};
