//! `identity`.

use super::{Decl, Example, Facts, Failure, Layer, Site};
use crate::diag::Code;
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Identity;

static DECL: Decl = Decl {
    name: "identity",
    aliases: &[],
    args: &[],
    docs: "`y = x`, any shape: an arm that changes nothing, or a place to name a value. Source: PyTorch, torch.nn.Identity.",
};

impl Layer for Identity {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[64]", good: "identity as x;", bad: "identity(1);", error: Code::N0210 }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op(Op::Copy, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        Ok(Facts::same(&site.input().shape))
    }
}
