//! `channel_shuffle`.

use super::{Arg, Decl, Example, Facts, Failure, Kind, Layer, Site, elements, given};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct ChannelShuffle;

static DECL: Decl = Decl {
    name: "channel_shuffle",
    aliases: &[],
    args: &[Arg::required("groups", Kind::Integer(1), "groups that the channels are dealt out of")],
    docs: "The channels dealt out of groups in turn: the first of each group, then the second of each. Output channel c is input channel \
           `c % groups * (channels / groups) + c / groups`. Input and output `[channels, …]`. Source: Zhang and others 2018, ShuffleNet; \
           PyTorch, torch.nn.ChannelShuffle.",
};

impl Layer for ChannelShuffle {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[6, 4, 4]",
            good: "conv(6, kernel = 1, groups = 3); channel_shuffle(3);",
            bad: "channel_shuffle(4);",
            error: Code::N0403,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let (channels, groups) = (of.output[0], of.args.size("groups"));
        // Of one group, or of as many as there are channels, everything stays where it is.
        let op = match groups == 1 || groups == channels {
            true => Op::Copy,
            false => Op::Shuffle(channels, groups, elements(&of.output[1..])),
        };
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, _) = site.map()?;
        let (shape, groups) = (&site.input().shape, site.args.size("groups"));
        if !channels.is_multiple_of(groups) {
            let title = format!("{channels} channels do not divide into {groups} groups");
            let span = site.args.span("groups").unwrap_or(site.head);
            let error = Diagnostic::new(Code::N0403, title, span, format!("{channels} / {groups} is no whole number"))
                .label(site.input().made_at, format!("this makes {}", given(shape)))
                .notes(site.args.how("groups"));
            return Err(Failure::with(error, shape.clone()));
        }
        Ok(Facts::same(shape))
    }
}
