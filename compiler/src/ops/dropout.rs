//! `dropout`: drops units.

use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, NumberRange, Site, elements};
use crate::diag::Code;
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Dropout;

static DECL: Decl = Decl {
    name: "dropout",
    aliases: &[],
    args: &[Arg::with(
        "p",
        Kind::Number(NumberRange::BELOW_ONE),
        Default::Number(0.5),
        "probability that a unit is dropped",
    )],
    docs: "In training each element is zero with probability `p`, else scaled by `1 / (1 - p)`; in inference nothing happens. Any shape. \
           Source: Srivastava et al. 2014; PyTorch, torch.nn.Dropout.",
};

impl Layer for Dropout {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[64]", good: "dropout(0.4);", bad: "dropout(1.5);", error: Code::N0211 }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let op = Op::Dropout(of.args.number("p").unwrap_or_default(), elements(of.output), 1, to.use_number());
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        Ok(Facts::same(&site.input().shape))
    }
}
