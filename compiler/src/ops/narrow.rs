//! `narrow`.

use super::window::three;
use super::{Arg, Decl, Example, Facts, Failure, Kind, Layer, Site, Window, elements, given, plural};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Frame, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Narrow;

static DECL: Decl = Decl {
    name: "narrow",
    aliases: &[],
    args: &[
        Arg::required(
            "dim",
            Kind::Integer(1),
            "the dimension, counted as PyTorch does: 0 would be the batch, 1 the channels or features",
        ),
        Arg::required("start", Kind::Integer(0), "the first element that stays, counted from 0"),
        Arg::required("length", Kind::Integer(1), "how many stay"),
    ],
    docs: "A part of a value: the elements from `start` to before `start + length` of one dimension. Any shape; the output's is the same \
           but for `length` in that dimension. Source: PyTorch, torch.narrow.",
};

impl Layer for Narrow {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[8, 6, 6]",
            good: "narrow(1, start = 4, length = 4);",
            bad: "narrow(1, start = 6, length = 4);",
            error: Code::N0211,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let shape = &of.shapes[0];
        let (dim, start) = (of.args.size("dim") as usize - 1, of.args.size("start"));
        let inner = elements(&shape[dim + 1..]);
        let op = match shape.len() {
            _ if dim == 0 => Op::Slice(start * inner),
            // A map stays one.
            2..=4 => {
                let mut before = [0; 3];
                before[dim + 3 - shape.len()] = -start.cast_signed();
                Op::Frame(shape[0], Frame { size: three(&shape[1..]), out_size: three(&of.output[1..]), before })
            }
            _ => {
                let [size, out_size] = [shape[dim], of.output[dim]].map(|size| [1, size, inner]);
                Op::Frame(elements(&shape[..dim]), Frame { size, out_size, before: [0, -start.cast_signed(), 0] })
            }
        };
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let shape = site.input().shape.as_slice();
        let [dim, start, length] = ["dim", "start", "length"].map(|name| site.args.size(name));
        let made = format!("this makes {}", given(shape));
        let Some(&size) = usize::try_from(dim).ok().and_then(|dim| shape.get(dim - 1)) else {
            let title = format!("`{}` takes a part of dimension {dim}, but is given {}", site.name, given(shape));
            let label = match shape.len() {
                1 => "there is dimension 1 alone".to_owned(),
                count => format!("there are dimensions 1 to {count}"),
            };
            let error = Diagnostic::new(Code::N0308, title, site.args.span("dim").unwrap_or(site.head), label)
                .label(site.input().made_at, made)
                .note("the dimensions of one sample count from 1; 0 is the batch");
            return Err(error.into());
        };
        let end = start.saturating_add(length);
        if end > size {
            let title = format!("`{}` asks for elements {start} to {}, but there are {size}", site.name, end - 1);
            let span = site.args.span("length").unwrap_or(site.head);
            let mut error = Diagnostic::new(Code::N0211, title, span, format!("{start} + {length} = {end}"))
                .label(site.input().made_at, made)
                .note("elements count from 0")
                .notes(site.args.how("start"))
                .notes(site.args.how("length"));
            if start < size {
                let left = size - start;
                error = error.fix(
                    format!(
                        "take the element{} that there {}",
                        plural(left as usize),
                        if left == 1 { "is" } else { "are" }
                    ),
                    span,
                    left.to_string(),
                );
            }
            return Err(error.into());
        }
        let mut output = shape.to_vec();
        output[dim as usize - 1] = length;
        // Places stay as far apart as they were.
        let one = vec![1; shape.len() - 1];
        let window = Window::Resamples { reach: one.clone(), size: one.clone(), out_size: one };
        Ok(Facts { output, window, ..Facts::default() })
    }
}
