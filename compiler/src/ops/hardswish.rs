//! `hardswish`.

use super::elementwise::Elementwise;
use super::{Decl, Example};
use crate::diag::Code;
use crate::ir::{Curve, Kind as Op};

/// `y = x min(max(x + 3, 0), 6) / 6`
pub(super) static HARDSWISH: Elementwise = Elementwise {
    decl: Decl {
        name: "hardswish",
        aliases: &[],
        args: &[],
        docs: "`y = x * min(max(x + 3, 0), 6) / 6`, element by element; any shape. \
               Source: Howard et al. 2019; PyTorch, torch.nn.Hardswish.",
    },
    op: |_| Op::Curve(Curve::Hardswish),
    example: || Example { input: "[4, 8, 8]", good: "hardswish;", bad: "hardswish(2);", error: Code::N0210 },
};
