//! `channel_dropout`: drops whole channels.

use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, NumberRange, Site, elements, ranked};
use crate::diag::Code;
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct ChannelDropout;

static DECL: Decl = Decl {
    name: "channel_dropout",
    aliases: ranked!("dropout1d" "dropout2d" "dropout3d"),
    args: &[Arg::with(
        "p",
        Kind::Number(NumberRange::BELOW_ONE),
        Default::Number(0.5),
        "probability that a channel is dropped",
    )],
    docs: "In training each channel of each sample is zero with probability `p`, else scaled by `1 / (1 - p)`; in inference nothing happens. \
           Input and output `[channels, …]`. Source: Tompson et al. 2015; PyTorch, torch.nn.Dropout2d.",
};

impl Layer for ChannelDropout {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[64, 8, 8]",
            good: "channel_dropout(0.4);",
            bad: "view(-1, 4096); dropout2d;",
            error: Code::N0308,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let (channels, positions) = (of.output[0], elements(&of.output[1..]));
        let op = Op::Dropout(of.args.number("p").unwrap_or_default(), channels, positions, to.use_number());
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let shape = &site.input().shape;
        match site.map() {
            Ok(_) => Ok(Facts::same(shape)),
            Err(failure) => Err(Failure::with(failure.diagnostic, shape.clone())),
        }
    }
}
