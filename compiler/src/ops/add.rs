//! `add`: the sum of named values; also joins a `skip` and a `branch add`.

use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site, given};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Add;

static DECL: Decl = Decl {
    name: "add",
    aliases: &[],
    args: &[Arg {
        name: "values",
        kind: Kind::Values,
        default: Default::Required,
        docs: "names of two values or more",
    }],
    docs: "The sum of named values of one shape, element by element. Source: PyTorch, torch.add.",
};

impl Layer for Add {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[64]",
            good: "linear(8) as a; from a; relu as b; add(a, b);",
            bad: "linear(8) as a; linear(4) as b; add(a, b);",
            error: Code::N0303,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let rest = of.inputs[1..].iter();
        rest.fold(of.inputs[0], |sum, &value| to.op(Op::Add, &[sum, value], of.output.clone()))
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let first = &site.inputs[0];
        if let Some(other) = site.inputs.iter().find(|other| other.shape != first.shape) {
            let title = format!("cannot add {} to {}", given(&other.shape), given(&first.shape));
            let diagnostic = Diagnostic::new(Code::N0303, title, site.head, "adds values of one shape")
                .label(first.made_at, format!("this makes {}", given(&first.shape)))
                .label(other.made_at, format!("this makes {}", given(&other.shape)));
            return Err(diagnostic.into());
        }
        Ok(Facts::same(&first.shape))
    }
}
