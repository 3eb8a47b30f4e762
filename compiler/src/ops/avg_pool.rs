//! `avg_pool`.

use super::window::{Sliding, window_of};
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site, ranked};
use crate::diag::Code;
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct AvgPool;

static DECL: Decl = Decl {
    name: "avg_pool",
    aliases: ranked!("avg_pool1d" "avg_pool2d" "avg_pool3d"),
    args: &[
        Arg::required("kernel", Kind::PerAxis(1), "size of the window"),
        Arg::optional("stride", Kind::PerAxis(1), "step of the window; the kernel when absent"),
        Arg::with("padding", Kind::PerAxis(0), Default::Int(0), "zeros on each side, at most half the kernel"),
        Arg::with(
            "ceil_mode",
            Kind::Bool,
            Default::Bool(false),
            "round sizes up: a last window may hang over the edge",
        ),
        Arg::with("count_include_pad", Kind::Bool, Default::Bool(true), "whether the padding counts in the mean"),
    ],
    docs: "The mean of each window, channel by channel. Input `[channels, …]`, output `[channels, …]`, each spatial size \
           `floor((size + 2 padding - kernel) / stride) + 1`. Source: PyTorch, torch.nn.AvgPool2d.",
};

impl Layer for AvgPool {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[4, 8, 8]", good: "avg_pool(2);", bad: "avg_pool(9);", error: Code::N0304 }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let counts_padding = of.args.bool("count_include_pad");
        to.op(Op::AvgPool(of.output[0], window_of(of), counts_padding), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        Sliding::of(site, spatial.len())?.pool(site, channels, spatial)
    }
}
