//! `max_pool`.

use super::window::{Sliding, window_of};
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site, ranked};
use crate::diag::Code;
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct MaxPool;

static DECL: Decl = Decl {
    name: "max_pool",
    aliases: ranked!("max_pool1d" "max_pool2d" "max_pool3d"),
    args: &[
        Arg::required("kernel", Kind::PerAxis(1), "size of the window"),
        Arg::optional("stride", Kind::PerAxis(1), "step of the window; the kernel when absent"),
        Arg::with("padding", Kind::PerAxis(0), Default::Int(0), "minus infinity on each side, at most half the kernel"),
        Arg::with("dilation", Kind::PerAxis(1), Default::Int(1), "distance between the window's elements"),
        Arg::with(
            "ceil_mode",
            Kind::Bool,
            Default::Bool(false),
            "round sizes up: a last window may hang over the edge",
        ),
    ],
    docs: "The largest element of each window, channel by channel. Input `[channels, …]`, output `[channels, …]`, each spatial size \
           `floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`. A tie gives its gradient to the first; NaN wins. \
           Source: PyTorch, torch.nn.MaxPool2d.",
};

impl Layer for MaxPool {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[4, 8, 8]", good: "max_pool(2);", bad: "max_pool(9);", error: Code::N0304 }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        to.op(Op::MaxPool(of.output[0], window_of(of)), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        Sliding::of(site, spatial.len())?.pool(site, channels, spatial)
    }
}
