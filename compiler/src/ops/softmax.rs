//! `softmax`.

use super::log_softmax::{along_dim, sizes};
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site};
use crate::diag::Code;
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Softmax;

static DECL: Decl = Decl {
    name: "softmax",
    aliases: &[],
    args: &[Arg::with(
        "dim",
        Kind::Integer(1),
        Default::Int(1),
        "the dimension that sums to 1, counted as PyTorch does: 0 would be the batch, 1 the features or channels",
    )],
    docs: "`y = exp(x) / (sum over dim of exp(x))`: probabilities. Any shape. `cross_entropy` takes what comes into it, not what comes out. \
           Source: PyTorch, torch.nn.Softmax.",
};

impl Layer for Softmax {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[10]", good: "softmax;", bad: "softmax(dim = 2);", error: Code::N0308 }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op(Op::Softmax(sizes(of)), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        along_dim(site)
    }
}
