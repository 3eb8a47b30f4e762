//! `global_avg_pool` and `global_max_pool`: pools of one window, which is all of the map.

use super::window::three;
use super::{Decl, Example, Facts, Failure, Layer, Site, Window};
use crate::diag::Code;
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

/// A pool of a whole map.
pub(super) struct GlobalPool {
    decl: Decl,
    example: fn() -> Example,
    op: fn(u64, ir::Window) -> Op,
}

pub(super) static GLOBAL_AVG_POOL: GlobalPool = GlobalPool {
    decl: Decl {
        name: "global_avg_pool",
        aliases: &[],
        args: &[],
        docs: "The mean of each channel, whatever the map's size. Input `[channels, …]`, output `[channels, 1, …]`: a map of one \
               position, which `flatten` makes `[channels]`. Source: PyTorch, torch.nn.AdaptiveAvgPool2d(1).",
    },
    example: || Example {
        input: "[8, 7, 7]",
        good: "global_avg_pool; flatten; linear(10);",
        bad: "flatten; global_avg_pool;",
        error: Code::N0308,
    },
    op: |channels, window| Op::AvgPool(channels, window, true),
};

pub(super) static GLOBAL_MAX_POOL: GlobalPool = GlobalPool {
    decl: Decl {
        name: "global_max_pool",
        aliases: &[],
        args: &[],
        docs: "The maximum of each channel, whatever the map's size. Input `[channels, …]`, output `[channels, 1, …]`: a map of one \
               position, which `flatten` makes `[channels]`. Source: PyTorch, torch.nn.AdaptiveMaxPool2d(1).",
    },
    example: || Example {
        input: "[8, 7, 7]",
        good: "global_max_pool; flatten; linear(10);",
        bad: "flatten; global_max_pool;",
        error: Code::N0308,
    },
    op: Op::MaxPool,
};

impl Layer for GlobalPool {
    fn decl(&self) -> &Decl {
        &self.decl
    }

    fn example(&self) -> Example {
        (self.example)()
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let size = three(&of.shapes[0][1..]);
        let window =
            ir::Window { size, out_size: [1; 3], kernel: size, stride: size, padding: [0; 3], dilation: [1; 3] };
        to.op((self.op)(of.output[0], window), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        let output = std::iter::once(channels).chain(spatial.iter().map(|_| 1)).collect();
        Ok(Facts { output, window: Window::Whole, ..Facts::default() })
    }
}
