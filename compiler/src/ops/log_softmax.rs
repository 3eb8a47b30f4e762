//! `log_softmax`.

use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site, Window, elements, given, plural};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct LogSoftmax;

static DECL: Decl = Decl {
    name: "log_softmax",
    aliases: &[],
    args: &[Arg::with(
        "dim",
        Kind::Integer(1),
        Default::Int(1),
        "the dimension that sums to 1, counted as PyTorch does: 0 would be the batch, 1 the features or channels",
    )],
    docs: "`y = x - log(sum over dim of exp(x))`: logarithms of probabilities. Any shape. Its loss is `nll`; `cross_entropy` does both at once. \
           Source: PyTorch, torch.nn.LogSoftmax.",
};

impl Layer for LogSoftmax {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[10]", good: "log_softmax;", bad: "log_softmax(dim = 2);", error: Code::N0308 }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op(Op::LogSoftmax(sizes(of)), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        along_dim(site)
    }
}

/// `[outer, size, inner]` of a use that sums over its `dim`.
pub(super) fn sizes(of: &Use<'_>) -> [u64; 3] {
    let dim = of.args.size("dim") as usize - 1;
    [elements(&of.output[..dim]), of.output[dim], elements(&of.output[dim + 1..])]
}

/// The shape rule of a layer that sums over its `dim`.
pub(super) fn along_dim(site: &Site<'_>) -> Result<Facts, Box<Failure>> {
    let shape = site.input().shape.as_slice();
    let dim = site.args.size("dim") as usize;
    if dim > shape.len() {
        let title = format!("`{}` sums over dimension {dim}, but is given {}", site.name, given(shape));
        let label = match shape.len() {
            1 => "there is dimension 1 alone".to_owned(),
            count => format!("there are dimensions 1 to {count}"),
        };
        let span = site.args.span("dim").unwrap_or(site.head);
        let diagnostic = Diagnostic::new(Code::N0308, title, span, label)
            .label(site.input().made_at, format!("this makes {}", given(shape)))
            .note(format!(
                "the {} dimension{} of one sample count from 1; 0 is the batch",
                shape.len(),
                plural(shape.len())
            ));
        return Err(Failure::with(diagnostic, shape.to_vec()));
    }
    let window = if dim == 1 && shape.len() > 1 { Window::Point } else { Window::Whole };
    Ok(Facts { window, ..Facts::same(shape) })
}
