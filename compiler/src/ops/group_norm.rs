//! `group_norm`, and what norms of one sample share.

use super::{
    Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, NumberRange, Site, Weight, Window, elements, given,
};
use crate::diag::{Code, Diagnostic};
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct GroupNorm;

static DECL: Decl = Decl {
    name: "group_norm",
    aliases: &[],
    args: &[
        Arg::required("groups", Kind::Integer(1), "the channels are split into this many groups"),
        Arg::with("eps", Kind::Number(NumberRange::POSITIVE), Default::Number(1e-5), "added to the variance"),
        Arg::with("affine", Kind::Bool, Default::Bool(true), "scale and shift each channel by trained numbers"),
        Arg::optional("init_weight", Kind::VectorInit, "initial scale; 1 when absent"),
        Arg::optional("init_bias", Kind::VectorInit, "initial shift; 0 when absent"),
    ],
    docs: "`y = weight * (x - mean) / sqrt(var + eps) + bias`, with the mean and biased variance of each group of channels, sample by sample: \
           the same in training and in inference. Input and output `[channels, …]`; weight, bias `[channels]`. \
           Source: Wu and He 2018; PyTorch, torch.nn.GroupNorm.",
};

impl Layer for GroupNorm {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example { input: "[4, 8, 8]", good: "group_norm(2);", bad: "group_norm(3);", error: Code::N0403 }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let groups = of.args.size("groups");
        lower_channels(to, of, groups)
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let shape = site.input().shape.as_slice();
        let (channels, groups) = (shape[0], site.args.size("groups"));
        if channels % groups != 0 {
            let title = format!("{groups} groups do not divide the {channels} channels of `{}`", site.name);
            let label = format!("{channels} = {} * {groups} + {}", channels / groups, channels % groups);
            let span = site.args.span("groups").unwrap_or(site.head);
            let diagnostic = Diagnostic::new(Code::N0403, title, span, label)
                .label(site.input().made_at, format!("this makes {}", given(shape)))
                .notes(site.args.how("groups"));
            return Err(Failure::with(diagnostic, shape.to_vec()));
        }
        facts_of_channels(site, channels / groups, "group")
    }
}

/// The op of a norm of groups of channels.
pub(super) fn lower_channels(to: &mut Lowering<'_>, of: &Use<'_>, groups: u64) -> ValueId {
    let norm = ir::GroupNorm {
        groups,
        channels: of.output[0] / groups,
        positions: elements(&of.output[1..]),
        eps: of.args.number("eps").unwrap_or_default(),
        shared: false,
    };
    to.op(Op::GroupNorm(norm, of.tensor("weight"), of.tensor("bias")), of.inputs, of.output.clone())
}

/// What is proved of a norm of groups of so many channels, whose weights are of channels.
pub(super) fn facts_of_channels(site: &Site<'_>, channels: u64, group: &str) -> Result<Facts, Box<Failure>> {
    let shape = site.input().shape.as_slice();
    check_count(site, channels.saturating_mul(elements(&shape[1..])), group)?;
    facts(site, &shape[..1])
}

/// What is proved of a norm whose weights are of this shape.
pub(super) fn facts(site: &Site<'_>, of_weights: &[u64]) -> Result<Facts, Box<Failure>> {
    site.check_init("init_weight", "affine")?;
    site.check_init("init_bias", "affine")?;
    let mut weights = Vec::new();
    if site.args.bool("affine") {
        weights.extend(["weight", "bias"].map(|name| Weight::trainable(name, of_weights.to_vec())));
    }
    Ok(Facts { weights, window: Window::Whole, ..Facts::same(&site.input().shape) })
}

/// An error when there is one value to take the mean of.
pub(super) fn check_count(site: &Site<'_>, count: u64, what: &str) -> Result<(), Box<Failure>> {
    if count > 1 {
        return Ok(());
    }
    let shape = &site.input().shape;
    let title = format!("`{}` needs more than 1 value a {what}, but is given {}", site.name, given(shape));
    let diagnostic = site
        .error(Code::N0304, title, format!("normalises 1 value a {what}"))
        .note("the mean of one value is that value, so that nothing but 0 would be left of it");
    Err(Failure::with(diagnostic, shape.clone()))
}
