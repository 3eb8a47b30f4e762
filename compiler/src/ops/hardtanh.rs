//! `hardtanh`.

use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, NumberRange, Site};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Act, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Hardtanh;

static DECL: Decl = Decl {
    name: "hardtanh",
    aliases: &[],
    args: &[
        Arg::with("min", Kind::Number(NumberRange::F32), Default::Number(-1.0), "what is below becomes this"),
        Arg::with("max", Kind::Number(NumberRange::F32), Default::Number(1.0), "what is above becomes this"),
    ],
    docs: "`y = min(max(x, min), max)`, element by element; any shape. PyTorch calls the two `min_val` and `max_val`. NaN stays NaN. \
           Source: PyTorch, torch.nn.Hardtanh.",
};

impl Layer for Hardtanh {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[4, 8, 8]",
            good: "hardtanh(min = -2, max = 2);",
            bad: "hardtanh(min = 1);",
            error: Code::N0211,
        }
    }

    fn is_activation(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let number = |name| of.args.number(name).unwrap_or_default();
        to.op(Op::Act(Act::Hardtanh(number("min"), number("max"))), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let shape = &site.input().shape;
        if let (Some(min), Some(max)) = (site.args.number("min"), site.args.number("max"))
            && min >= max
        {
            let title = format!("`min` of `{}` is {min}, which is not below `max`, {max}", site.name);
            let span = site.args.span("min").or(site.args.span("max")).unwrap_or(site.head);
            let diagnostic = Diagnostic::new(Code::N0211, title, span, "leaves nothing between the two");
            return Err(Failure::with(diagnostic, shape.clone()));
        }
        Ok(Facts::same(shape))
    }
}
