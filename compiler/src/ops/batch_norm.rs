//! `batch_norm`.

use super::{
    Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, NumberRange, Site, Weight, elements, given, ranked,
};
use crate::diag::Code;
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct BatchNorm;

static DECL: Decl = Decl {
    name: "batch_norm",
    aliases: ranked!("batch_norm1d" "batch_norm2d" "batch_norm3d"),
    args: &[
        Arg::with(
            "momentum",
            Kind::Number(NumberRange::FRACTION),
            Default::Number(0.1),
            "weight of the newest batch in the running statistics",
        ),
        Arg::with("eps", Kind::Number(NumberRange::POSITIVE), Default::Number(1e-5), "added to the variance"),
        Arg::with("affine", Kind::Bool, Default::Bool(true), "scale and shift each channel by trained numbers"),
        Arg::optional("init_weight", Kind::VectorInit, "initial scale; 1 when absent"),
        Arg::optional("init_bias", Kind::VectorInit, "initial shift; 0 when absent"),
    ],
    docs: "`y = weight * (x - mean) / sqrt(var + eps) + bias`, channel by channel: in training with the mean and biased variance of the batch, \
           in inference with the running ones (of the unbiased variance). Input and output `[channels, …]` or `[features]`; \
           weight, bias, running_mean, running_var `[channels]`. Source: Ioffe and Szegedy 2015; PyTorch, torch.nn.BatchNorm2d.",
};

impl Layer for BatchNorm {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[4, 8, 8]", good: "batch_norm;", bad: "batch_norm3d;", error: Code::N0308 }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let (channels, positions) = (of.output[0], elements(&of.output[1..]));
        let number = |name| of.args.number(name).unwrap_or_default();
        let norm =
            ir::Norm { channels, positions, eps: number("eps"), momentum: number("momentum"), of: to.use_number() };
        let tensors = ir::NormTensors {
            weight: of.tensor("weight"),
            bias: of.tensor("bias"),
            mean: of.must("running_mean"),
            var: of.must("running_var"),
        };
        to.op(Op::BatchNorm(norm, tensors, ir::Act::None, None), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let shape = site.input().shape.as_slice();
        let Some((&channels, spatial)) = shape.split_first().filter(|(_, spatial)| spatial.len() <= 3) else {
            let title = format!("`{}` needs features or a map, but is given {}", site.name, given(shape));
            return Err(site.error(Code::N0308, title, "takes channels and at most 3 spatial dimensions").into());
        };
        // Features are a map of no spatial dimension, which PyTorch's one-dimensional form takes too.
        if !(spatial.is_empty() && site.rank == Some(1)) {
            site.check_rank(spatial.len())?;
        }
        site.check_init("init_weight", "affine")?;
        site.check_init("init_bias", "affine")?;
        let mut weights = Vec::new();
        if site.args.bool("affine") {
            weights.push(Weight::trainable("weight", vec![channels]));
            weights.push(Weight::trainable("bias", vec![channels]));
        }
        weights.push(Weight::statistic("running_mean", vec![channels]));
        weights.push(Weight::statistic("running_var", vec![channels]));
        Ok(Facts { weights, ..Facts::same(shape) })
    }
}
