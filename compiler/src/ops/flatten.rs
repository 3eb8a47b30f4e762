//! `flatten`.

use super::{Decl, Example, Facts, Failure, Layer, Site, Window, elements};
use crate::diag::Code;
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Flatten;

static DECL: Decl = Decl {
    name: "flatten",
    aliases: &[],
    args: &[],
    docs: "A map made flat, in PyTorch's order (channels, then rows, then columns). Input any shape, output `[elements]`. \
           Source: PyTorch, torch.flatten with start_dim = 1.",
};

impl Layer for Flatten {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[8, 8, 8]",
            good: "flatten; linear(512 -> 10);",
            bad: "flatten; conv(8, kernel = 3);",
            error: Code::N0308,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op(Op::Copy, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let output = vec![elements(&site.input().shape)];
        Ok(Facts { output, window: Window::Reshapes, ..Facts::default() })
    }
}
