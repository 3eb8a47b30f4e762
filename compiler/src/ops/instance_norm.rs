//! `instance_norm`.

use super::group_norm::{facts_of_channels, lower_channels};
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, NumberRange, Site, ranked};
use crate::diag::Code;
use crate::ir::ValueId;
use crate::lower::{Lowering, Use};

pub(super) struct InstanceNorm;

static DECL: Decl = Decl {
    name: "instance_norm",
    aliases: ranked!("instance_norm1d" "instance_norm2d" "instance_norm3d"),
    args: &[
        Arg::with("eps", Kind::Number(NumberRange::POSITIVE), Default::Number(1e-5), "added to the variance"),
        Arg::with("affine", Kind::Bool, Default::Bool(false), "scale and shift each channel by trained numbers"),
        Arg::optional("init_weight", Kind::VectorInit, "initial scale; 1 when absent"),
        Arg::optional("init_bias", Kind::VectorInit, "initial shift; 0 when absent"),
    ],
    docs: "`y = (x - mean) / sqrt(var + eps)`, with the mean and biased variance of each channel, sample by sample: the same in training and \
           in inference; with `affine` then `weight * y + bias`. Input and output `[channels, …]`; weight, bias `[channels]`. There are no \
           running statistics (PyTorch's `track_running_stats = False`). \
           Source: Ulyanov, Vedaldi and Lempitsky 2016; PyTorch, torch.nn.InstanceNorm2d.",
};

impl Layer for InstanceNorm {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[4, 8, 8]",
            good: "instance_norm(affine = true);",
            bad: "flatten; instance_norm;",
            error: Code::N0308,
        }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        lower_channels(to, of, of.output[0])
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        match site.map() {
            Ok(_) => facts_of_channels(site, 1, "channel"),
            Err(failure) => Err(Failure::with(failure.diagnostic, site.input().shape.clone())),
        }
    }
}
