//! `view`: the same elements in another shape.

use super::{
    Arg, Args, Decl, Default, Example, Facts, Failure, Int, Kind, Layer, Shape, Site, Window, elements, given, plural,
    sizes,
};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct View;

static DECL: Decl = Decl {
    name: "view",
    aliases: &[],
    args: &[Arg {
        name: "sizes",
        kind: Kind::Sizes,
        default: Default::Required,
        docs: "-1 for the batch, then the sizes",
    }],
    docs: "The same elements in another shape, in PyTorch's order. The first size is -1 and means the batch, which a shape never names; \
           the others say the output's shape, of as many elements as the input has. Source: PyTorch, torch.Tensor.view.",
};

impl Layer for View {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[8, 8, 8]", good: "view(-1, 512);", bad: "view(-1, 511);", error: Code::N0306 }
    }

    fn output_of_unknown(&self, args: &Args) -> Option<Shape> {
        let [batch, sizes @ ..] = args.axes("sizes")? else { return None };
        let sizes = sizes.iter().map(|size| size.value).filter(|_| batch.value == -1 && !sizes.is_empty());
        sizes.map(|size| u64::try_from(size).ok().filter(|&size| size > 0)).collect()
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op(Op::Copy, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let Some([batch, rest @ ..]) = site.args.axes("sizes") else {
            return Err(Diagnostic::new(Code::N0309, "a view needs -1 and sizes", site.head, "no sizes").into());
        };
        let asked = || rest.iter().map(|size| size.value.max(0).unsigned_abs()).collect::<Vec<u64>>();
        if batch.value != -1 {
            return Err(self.without_batch(site, batch, asked()));
        }
        if let Some(negative) = rest.iter().find(|size| size.value < 1) {
            let title = format!("a view's sizes are at least 1, not {}", negative.value);
            let note =
                "-1 means the batch and stands first; the other sizes are written out, so that they can be checked";
            let mut known: Vec<u64> = rest.iter().filter(|size| size.value > 0).map(|size| size.value as u64).collect();
            let count = elements(&site.input().shape);
            let others = elements(&known).max(1);
            let mut diagnostic =
                Diagnostic::new(Code::N0309, title, negative.span, "not a size").note(note).notes(negative.how.clone());
            if rest.len() == known.len() + 1 && count.is_multiple_of(others) {
                let place = rest.iter().position(|size| size.value < 1).unwrap_or_default();
                known.insert(place, count / others);
                diagnostic = diagnostic.fix("write the size", negative.span, (count / others).to_string());
                return Err(Failure::with(diagnostic, known));
            }
            return Err(diagnostic.into());
        }
        let output = asked();
        if output.is_empty() {
            return Err(
                Diagnostic::new(Code::N0309, "a view needs sizes behind the -1", site.head, "only the batch").into()
            );
        }
        let input = site.input();
        let (has, wants) = (elements(&input.shape), elements(&output));
        if has != wants {
            let title = format!("a view of {wants} value{} is given {has}", plural(wants as usize));
            let diagnostic = Diagnostic::new(
                Code::N0306,
                title,
                rest[0].span.to(rest[rest.len() - 1].span),
                format!("asks for {}", given(&output)),
            )
            .label(input.made_at, format!("this makes {}", given(&input.shape)))
            .note(match input.shape.as_slice() {
                [_] => format!("{} comes in", given(&input.shape)),
                shape => format!("{} = {has}", sizes(shape)),
            })
            .notes((rest.len() > 1).then(|| format!("{} = {wants}", sizes(&output))))
            .notes(rest.iter().filter_map(|size| size.how.clone()));
            let fix = (rest.len() == 1).then(|| rest[0].span);
            let diagnostic = match fix {
                Some(span) => diagnostic.fix("keep the number of values", span, has.to_string()),
                None => diagnostic,
            };
            return Err(Failure::with(diagnostic, output));
        }
        Ok(Facts { output, window: Window::Reshapes, ..Facts::default() })
    }
}

impl View {
    /// A view whose first size is not -1: it names the batch, or forgets it.
    fn without_batch(&self, site: &Site<'_>, batch: &Int, rest: Shape) -> Box<Failure> {
        let title = format!("a view begins with -1, the batch, not with {}", batch.value);
        let label = "the batch is implicit: shapes are of one sample";
        let diagnostic = Diagnostic::new(Code::N0309, title, batch.span, label).notes(batch.how.clone());
        let count = elements(&site.input().shape);
        let all: Shape = std::iter::once(batch.value.max(0).unsigned_abs()).chain(rest.iter().copied()).collect();
        if !rest.is_empty() && elements(&rest) == count {
            return Failure::with(diagnostic.fix("write -1 for the batch", batch.span, "-1"), rest);
        }
        if elements(&all) == count {
            let fix = site.fixes.value_before(batch.span, "begin with the batch", "-1");
            return Failure::with(diagnostic.maybe_fix(fix), all);
        }
        diagnostic.into()
    }
}
