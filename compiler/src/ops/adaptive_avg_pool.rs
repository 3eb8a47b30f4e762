//! `adaptive_avg_pool`.

use super::window::three;
use super::{Arg, Decl, Example, Facts, Failure, Kind, Layer, Shape, Site, Window, ranked};
use crate::diag::Code;
use crate::ir::{self, How, Kind as Op, Resample, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct AdaptiveAvgPool;

static DECL: Decl = Decl {
    name: "adaptive_avg_pool",
    aliases: ranked!("adaptive_avg_pool1d" "adaptive_avg_pool2d" "adaptive_avg_pool3d"),
    args: &[Arg::required("size", Kind::PerAxis(1), "the output's size")],
    docs: "Means of windows such that the output has the size asked for: on each axis output o is the mean of the inputs from \
           `floor(o size_in / size)` to before `ceil((o + 1) size_in / size)`, so windows are of one size only where it divides. \
           Input `[channels, …]`, output `[channels, size…]`. Source: PyTorch, torch.nn.AdaptiveAvgPool2d.",
};

impl Layer for AdaptiveAvgPool {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[4, 7, 7]",
            good: "adaptive_avg_pool(3);",
            bad: "adaptive_avg_pool((3, 3, 3));",
            error: Code::N0308,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let (size, out_size) = (three(&of.shapes[0][1..]), three(&of.output[1..]));
        let channels = of.output[0];
        let op = if (0..3).all(|axis| size[axis].is_multiple_of(out_size[axis])) {
            let kernel = [0, 1, 2].map(|axis| size[axis] / out_size[axis]);
            let window = ir::Window { size, out_size, kernel, stride: kernel, padding: [0; 3], dilation: [1; 3] };
            Op::AvgPool(channels, window, true)
        } else {
            Op::Resample(channels, Resample { size, out_size, how: How::Adaptive })
        };
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        let out = site.per_axis("size", spatial.len())?;
        let output: Shape = std::iter::once(channels).chain(out.iter().copied()).collect();
        let window = match out.iter().all(|&out| out == 1) {
            true => Window::Whole,
            false => Window::Resamples {
                reach: spatial.iter().zip(&out).map(|(&size, &out)| widest(size, out)).collect(),
                size: spatial.to_vec(),
                out_size: out,
            },
        };
        Ok(Facts { output, window, ..Facts::default() })
    }
}

/// Inputs that the widest window of an axis has. Where windows do not divide the map, one begins or ends inside an input that its
/// neighbour has too; some do both, unless the part of an input that is left over divides the outputs.
fn widest(size: u64, out: u64) -> u64 {
    match size % out {
        0 => size / out,
        rest => size / out + 1 + u64::from(!out.is_multiple_of(rest)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_widest_window_is_the_widest_of_all() {
        for size in 1_u64..40 {
            for out in 1_u64..40 {
                let windows = (0..out).map(|o| ((o + 1) * size).div_ceil(out) - o * size / out);
                assert_eq!(Some(super::widest(size, out)), windows.max(), "{size} to {out}");
            }
        }
    }
}
