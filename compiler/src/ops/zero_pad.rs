//! `zero_pad`.

use super::window::three;
use super::{Arg, Decl, Example, Facts, Failure, Kind, Layer, Shape, Site, plural, ranked};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Frame, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct ZeroPad;

static DECL: Decl = Decl {
    name: "zero_pad",
    aliases: ranked!("zero_pad1d" "zero_pad2d" "zero_pad3d"),
    args: &[Arg::required(
        "padding",
        Kind::PerAxis(0),
        "zeros on every side, or a list of them for each side in PyTorch's order: left, right, top, bottom, front, back",
    )],
    docs: "Zeros beside a map. One number is for every side; a list has two for each spatial dimension, before and behind, and begins with \
           the last dimension: `(left, right)` of a series, `(left, right, top, bottom)` of an image, `(left, right, top, bottom, front, \
           back)` of a volume. Input `[channels, …]`, output `[channels, …]`, each spatial size grown by its two numbers. \
           Source: PyTorch, torch.nn.ZeroPad2d.",
};

impl Layer for ZeroPad {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[3, 8, 8]",
            good: "zero_pad((0, 1, 0, 1)); conv(4, kernel = 2);",
            bad: "zero_pad((0, 1));",
            error: Code::N0308,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let (spatial, out) = (&of.shapes[0][1..], &of.output[1..]);
        let given: Vec<i64> = of.args.axes("padding").unwrap_or_default().iter().map(|zeros| zeros.value).collect();
        let rank = spatial.len();
        let mut before = [0; 3];
        for axis in 0..rank {
            // The last dimension's come first.
            before[3 - rank + axis] = given.get(2 * (rank - 1 - axis)).or(given.first()).copied().unwrap_or_default();
        }
        let frame = Frame { size: three(spatial), out_size: three(out), before };
        to.op(Op::Frame(of.output[0], frame), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        let rank = spatial.len();
        let given: Vec<u64> =
            site.args.axes("padding").unwrap_or_default().iter().map(|zeros| zeros.value.unsigned_abs()).collect();
        let added = |axis: usize| match given.as_slice() {
            [all] => all.saturating_mul(2),
            each => each[2 * (rank - 1 - axis)].saturating_add(each[2 * (rank - 1 - axis) + 1]),
        };
        if given.len() != 1 && given.len() != 2 * rank {
            let title =
                format!("`padding` of `{}` has {} sizes, but the map has {} sides", site.name, given.len(), 2 * rank);
            let sides = ["left, right", "left, right, top, bottom", "left, right, top, bottom, front, back"][rank - 1];
            let span = site.args.span("padding").unwrap_or(site.head);
            let error = Diagnostic::new(Code::N0308, title, span, "one size, or one for each side")
                .label(site.input().made_at, format!("this makes {}", super::given(&site.input().shape)))
                .note(format!("the sides of {rank} dimension{} in PyTorch's order: {sides}", plural(rank)));
            return Err(error.into());
        }
        let grown = spatial.iter().enumerate().map(|(axis, size)| size.saturating_add(added(axis)));
        let output: Shape = std::iter::once(channels).chain(grown).collect();
        Ok(Facts { output, ..Facts::default() })
    }
}
