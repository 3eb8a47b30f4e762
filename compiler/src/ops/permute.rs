//! `permute`.

use super::{Arg, Args, Decl, Default, Example, Facts, Failure, Kind, Layer, Shape, Site, Window, given};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Permute;

static DECL: Decl = Decl {
    name: "permute",
    aliases: &[],
    args: &[Arg {
        name: "dims",
        kind: Kind::Sizes,
        default: Default::Required,
        docs: "0 for the batch, then the dimensions of a sample, from 1 on, in their new order",
    }],
    docs: "The dimensions in another order, counted as PyTorch does: 0 is the batch, which stays first, and the others count from 1. \
           `permute(0, 2, 3, 1)` makes `[height, width, channels]` of `[channels, height, width]`. Source: PyTorch, torch.permute.",
};

impl Layer for Permute {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[3, 4, 5]", good: "permute(0, 2, 3, 1);", bad: "permute(2, 3, 1);", error: Code::N0308 }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let order = order(of.args);
        let op = match order.is_sorted() {
            true => Op::Copy,
            false => Op::Permute(of.shapes[0].clone(), order),
        };
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let shape = site.input().shape.as_slice();
        let dims = site.args.axes("dims").unwrap_or_default();
        let values: Vec<i64> = dims.iter().map(|dim| dim.value).collect();
        let is_order_of = |dims: &[i64]| {
            let mut sorted = dims.to_vec();
            sorted.sort_unstable();
            sorted == (1..=shape.len() as i64).collect::<Vec<_>>()
        };
        let moved = |dims: &[i64]| -> Shape { dims.iter().map(|&dim| shape[dim as usize - 1]).collect() };
        if let [0, rest @ ..] = values.as_slice()
            && is_order_of(rest)
        {
            let output = moved(rest);
            return Ok(Facts { output, window: Window::Reshapes, ..Facts::default() });
        }
        let all = (1..=shape.len()).map(|dim| dim.to_string()).collect::<Vec<_>>().join(", ");
        let span = dims.first().map_or(site.head, |first| first.span.to(dims[dims.len() - 1].span));
        let title = format!("`{}` is given {}, whose dimensions are 0 (the batch), {all}", site.name, given(shape));
        let error = Diagnostic::new(Code::N0308, title, span, "each of them once, 0 first")
            .label(site.input().made_at, format!("this makes {}", given(shape)));
        if is_order_of(&values) {
            let fix = site.fixes.value_before(dims[0].span, "begin with the batch", "0");
            return Err(Failure::with(error.maybe_fix(fix), moved(&values)));
        }
        Err(error.note("dimensions count as in PyTorch; the batch stays where it is").into())
    }
}

/// Which dimension of the input each one of the output is, counted from 0 without the batch.
fn order(args: &Args) -> Vec<usize> {
    let dims = args.axes("dims").unwrap_or_default();
    dims.iter().skip(1).map(|dim| dim.value.unsigned_abs() as usize - 1).collect()
}
