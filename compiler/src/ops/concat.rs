//! `concat`: named values side by side; also joins a `branch concat`.

use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site, given};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Concat;

static DECL: Decl = Decl {
    name: "concat",
    aliases: &[],
    args: &[Arg {
        name: "values",
        kind: Kind::Values,
        default: Default::Required,
        docs: "names of two values or more",
    }],
    docs: "Named values side by side along the channels (or features): `[a, …]` and `[b, …]` give `[a + b, …]`. Source: PyTorch, torch.cat with dim = 1.",
};

impl Layer for Concat {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[4, 8, 8]",
            good: "conv(8, kernel = 1) as a; relu as b; concat(a, b);",
            bad: "conv(8, kernel = 1) as a; max_pool(2) as b; concat(a, b);",
            error: Code::N0303,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op(Op::Concat, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let first = &site.inputs[0];
        if let Some(other) = site.inputs.iter().find(|other| other.shape.get(1..) != first.shape.get(1..)) {
            let title = format!("cannot put {} beside {}", given(&other.shape), given(&first.shape));
            let diagnostic =
                Diagnostic::new(Code::N0303, title, site.head, "joins values that differ in channels only")
                    .label(first.made_at, format!("this makes {}", given(&first.shape)))
                    .label(other.made_at, format!("this makes {}", given(&other.shape)));
            return Err(diagnostic.into());
        }
        let mut output = first.shape.clone();
        if let Some(channels) = output.first_mut() {
            *channels = site
                .inputs
                .iter()
                .fold(0, |sum: u64, input| sum.saturating_add(input.shape.first().copied().unwrap_or_default()));
        }
        Ok(Facts { output, ..Facts::default() })
    }
}
