//! `conv`: convolution over 1, 2 or 3 spatial dimensions.

use super::window::{PADDINGS, Sliding, window_of};
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site, Weight, elements, given, plural, ranked};
use crate::diag::{Code, Diagnostic};
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Conv;

static DECL: Decl = Decl {
    name: "conv",
    aliases: ranked!("conv1d" "conv2d" "conv3d"),
    args: &[
        Arg::required("out", Kind::Integer(1), "output channels"),
        Arg::optional("in", Kind::Integer(1), "input channels, checked when stated: `3 -> 16`"),
        Arg::required("kernel", Kind::PerAxis(1), "size of the window"),
        Arg::with("stride", Kind::PerAxis(1), Default::Int(1), "step of the window"),
        Arg::with(
            "padding",
            Kind::PerAxisOr(0, PADDINGS),
            Default::Int(0),
            "zeros on each side; `same` keeps the size at stride 1, `valid` is none",
        ),
        Arg::with("dilation", Kind::PerAxis(1), Default::Int(1), "distance between the window's elements"),
        Arg::with(
            "groups",
            Kind::Integer(1),
            Default::Int(1),
            "channels are split into this many independent convolutions",
        ),
        Arg::with("bias", Kind::Bool, Default::Bool(true), "add a number for each output channel"),
        Arg::optional("init", Kind::Init, "initial weight; PyTorch's default when absent"),
        Arg::optional("init_bias", Kind::VectorInit, "initial bias; PyTorch's default when absent"),
    ],
    docs: "Cross-correlation of a map of `in` channels with `out` kernels: \
           `y[o] = bias[o] + sum over i of weight[o, i] * x[i]`. \
           Input `[in, …]`, output `[out, …]`, each spatial size `floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`; \
           weight `[out, in / groups, kernel…]`, bias `[out]`. With padding `same` and stride 1 the size is kept: \
           `dilation (kernel - 1)` zeros in all, an odd one of them behind the map. Source: PyTorch, torch.nn.Conv2d.",
};

impl Layer for Conv {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[3, 32, 32]",
            good: "conv(3 -> 16, kernel = 3, padding = 1);",
            bad: "conv(16, kernel = 33);",
            error: Code::N0304,
        }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let window = window_of(of);
        let conv =
            ir::Conv { channels: of.shapes[0][0], out_channels: of.output[0], groups: of.args.size("groups"), window };
        let op = Op::Conv(conv, of.must("weight"), of.tensor("bias"), ir::Act::None);
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        site.check_init("init_bias", "bias")?;
        let out = site.args.size("out");
        let sliding = Sliding::of(site, spatial.len())?;
        let outputs = sliding.outputs(site, spatial)?;
        let output: Vec<u64> = std::iter::once(out).chain(outputs).collect();

        check_in(site, channels, &output)?;
        let groups = check_groups(site, channels, out, &output)?;
        let per_output = elements(&sliding.kernel).saturating_mul(channels / groups);
        let mut weights = vec![Weight::trainable("weight", [&[out, channels / groups], &sliding.kernel[..]].concat())];
        if site.args.bool("bias") {
            weights.push(Weight::trainable("bias", vec![out]));
        }
        Ok(Facts {
            macs: elements(&output).saturating_mul(per_output),
            window: sliding.window(),
            output,
            weights,
            ..Facts::default()
        })
    }
}

/// An error when the channels that come in are not those stated.
pub(super) fn check_in(site: &Site<'_>, channels: u64, output: &[u64]) -> Result<(), Box<Failure>> {
    let Some(stated) = site.args.int("in").filter(|stated| stated.value.unsigned_abs() != channels) else {
        return Ok(());
    };
    let input = site.input();
    let title = format!(
        "`{}` takes {} channel{}, but is given {}",
        site.name,
        stated.value,
        plural(stated.value as usize),
        given(&input.shape)
    );
    let diagnostic = Diagnostic::new(Code::N0302, title, stated.span, "stated here")
        .label(input.made_at, format!("this makes {}", given(&input.shape)))
        .notes(stated.how.clone())
        .fix("state the channels that come in", stated.span, channels.to_string());
    Err(Failure::with(diagnostic, output.to_vec()))
}

/// The groups, or an error when they do not divide the channels.
pub(super) fn check_groups(site: &Site<'_>, channels: u64, out: u64, output: &[u64]) -> Result<u64, Box<Failure>> {
    let groups = site.args.size("groups");
    for (what, size) in [("input", channels), ("output", out)] {
        if size % groups != 0 {
            let title = format!(
                "{groups} groups do not divide {size} {what} channel{} of `{}`",
                plural(size as usize),
                site.name
            );
            let diagnostic = Diagnostic::new(
                Code::N0403,
                title,
                site.args.span("groups").unwrap_or(site.head),
                format!("{size} = {} * {groups} + {}", size / groups, size % groups),
            )
            .label(site.input().made_at, format!("this makes {}", given(&site.input().shape)))
            .notes(site.args.how("groups"));
            return Err(Failure::with(diagnostic, output.to_vec()));
        }
    }
    Ok(groups)
}
