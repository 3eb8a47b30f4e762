//! `layer_norm`.

use super::group_norm::{check_count, facts, lower_channels};
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, NumberRange, Site, elements, given, plural};
use crate::diag::{Code, Diagnostic};
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct LayerNorm;

static DECL: Decl = Decl {
    name: "layer_norm",
    aliases: &[],
    args: &[
        Arg::optional(
            "dims",
            Kind::Integer(1),
            "how many of the last dimensions are normalised together; all of a sample when absent",
        ),
        Arg::with("eps", Kind::Number(NumberRange::POSITIVE), Default::Number(1e-5), "added to the variance"),
        Arg::with("affine", Kind::Bool, Default::Bool(true), "scale and shift each element by trained numbers"),
        Arg::optional("init_weight", Kind::VectorInit, "initial scale; 1 when absent"),
        Arg::optional("init_bias", Kind::VectorInit, "initial shift; 0 when absent"),
    ],
    docs: "`y = weight * (x - mean) / sqrt(var + eps) + bias`, with the mean and biased variance of the last `dims` dimensions together, for \
           each index of the others and each sample: the same in training and in inference. Any shape; weight and bias have the sizes of \
           those dimensions, which is PyTorch's `normalized_shape`. \
           Source: Ba, Kiros and Hinton 2016; PyTorch, torch.nn.LayerNorm.",
};

impl Layer for LayerNorm {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[4, 8, 8]", good: "layer_norm(dims = 1);", bad: "layer_norm(dims = 4);", error: Code::N0308 }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let kept = of.output.len() - of.args.int("dims").map_or(of.output.len(), |_| of.args.size("dims") as usize);
        // Without weights all of a map is one group of its channels, whose kernel takes values in planes.
        if kept == 0 && of.tensor("weight").is_none() {
            return lower_channels(to, of, 1);
        }
        let norm = ir::GroupNorm {
            groups: elements(&of.output[..kept]),
            channels: elements(&of.output[kept..]),
            positions: 1,
            eps: of.args.number("eps").unwrap_or_default(),
            shared: true,
        };
        to.op(Op::GroupNorm(norm, of.tensor("weight"), of.tensor("bias")), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let shape = site.input().shape.as_slice();
        let dims = site.args.int("dims").map_or(shape.len(), |_| site.args.size("dims") as usize);
        let Some(kept) = shape.len().checked_sub(dims) else {
            let title = format!("`{}` normalises {dims} dimensions, but is given {}", site.name, given(shape));
            let label = format!("a sample has {} dimension{}", shape.len(), plural(shape.len()));
            let diagnostic = Diagnostic::new(Code::N0308, title, site.args.span("dims").unwrap_or(site.head), label)
                .label(site.input().made_at, format!("this makes {}", given(shape)))
                .notes(site.args.how("dims"));
            return Err(Failure::with(diagnostic, shape.to_vec()));
        };
        check_count(site, elements(&shape[kept..]), "mean")?;
        facts(site, &shape[kept..])
    }
}
