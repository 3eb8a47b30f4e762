//! `conv_transpose`: transposed convolution over 1, 2 or 3 spatial dimensions.

use super::conv::{check_groups, check_in};
use super::window::{Sliding, window_of};
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Site, Weight, Window, elements, ranked, sizes};
use crate::diag::{Code, Diagnostic};
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct ConvTranspose;

static DECL: Decl = Decl {
    name: "conv_transpose",
    aliases: ranked!("conv_transpose1d" "conv_transpose2d" "conv_transpose3d"),
    args: &[
        Arg::required("out", Kind::Integer(1), "output channels"),
        Arg::optional("in", Kind::Integer(1), "input channels, checked when stated: `16 -> 3`"),
        Arg::required("kernel", Kind::PerAxis(1), "size of the window"),
        Arg::with("stride", Kind::PerAxis(1), Default::Int(1), "distance between the windows in the output"),
        Arg::with("padding", Kind::PerAxis(0), Default::Int(0), "elements cut off the output on each side"),
        Arg::with(
            "output_padding",
            Kind::PerAxis(0),
            Default::Int(0),
            "elements more at the output's far side, below the stride or the dilation",
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
    docs: "Transposed convolution: each input element adds its multiple of the kernel to a window of the output, windows \
           `stride` apart. It is the gradient of a convolution by its input, and makes maps larger: with kernel and stride 2, twice as \
           large. Input `[in, …]`, output `[out, …]`, each spatial size \
           `(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`; weight `[in, out / groups, kernel…]`, \
           bias `[out]`. Source: PyTorch, torch.nn.ConvTranspose2d.",
};

impl Layer for ConvTranspose {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[16, 8, 8]",
            good: "conv_transpose(16 -> 3, kernel = 2, stride = 2);",
            bad: "conv_transpose(3, kernel = 3, stride = 2, output_padding = 2);",
            error: Code::N0211,
        }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let window = window_of(of);
        // Of the convolution from the output to the input.
        let window = ir::Window { size: window.out_size, out_size: window.size, ..window };
        let conv =
            ir::Conv { channels: of.output[0], out_channels: of.shapes[0][0], groups: of.args.size("groups"), window };
        let op = Op::ConvTranspose(conv, of.must("weight"), of.tensor("bias"), ir::Act::None);
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        site.check_init("init_bias", "bias")?;
        let out = site.args.size("out");
        let sliding = Sliding::of(site, spatial.len())?;
        let more = site.per_axis("output_padding", spatial.len())?;
        let output = |axis: usize| {
            // What the windows cover, and what is cut off.
            let covered = (spatial[axis] - 1).saturating_mul(sliding.stride[axis]);
            let covered = covered.saturating_add(sliding.reach(axis)).saturating_add(more[axis]);
            (covered, sliding.padding[axis].saturating_mul(2))
        };
        if let Some(axis) = (0..spatial.len()).find(|&axis| output(axis).0 <= output(axis).1) {
            let (covered, cut) = output(axis);
            let title = format!("`{}` cuts off all that it makes of a map of {}", site.name, sizes(spatial));
            let span = site.args.span("padding").unwrap_or(site.head);
            let error = Diagnostic::new(Code::N0304, title, span, format!("cuts off {cut} of {covered} here"))
                .label(site.input().made_at, format!("this makes {}", super::given(&site.input().shape)))
                .note(format!(
                    "{} window{} of {}, {} apart, cover {covered}",
                    spatial[axis],
                    super::plural(spatial[axis] as usize),
                    sliding.reach(axis),
                    sliding.stride[axis]
                ));
            return Err(error.into());
        }
        let shape: Vec<u64> =
            std::iter::once(out).chain((0..spatial.len()).map(|axis| output(axis).0 - output(axis).1)).collect();
        for (axis, &more) in more.iter().enumerate() {
            let (stride, dilation) = (sliding.stride[axis], sliding.dilation[axis]);
            if more >= stride.max(dilation) {
                let title = format!("`output_padding` of `{}` is {more}, beyond its last window", site.name);
                let label = format!("must be below the stride of {stride} or the dilation of {dilation}");
                let span = site.args.span("output_padding").unwrap_or(site.head);
                let error = Diagnostic::new(Code::N0211, title, span, label);
                return Err(Failure::with(error.notes(site.args.how("output_padding")), shape));
            }
        }
        check_in(site, channels, &shape)?;
        let groups = check_groups(site, channels, out, &shape)?;
        let per_input = elements(&sliding.kernel).saturating_mul(out / groups);
        let mut weights = vec![Weight::trainable("weight", [&[channels, out / groups], &sliding.kernel[..]].concat())];
        if site.args.bool("bias") {
            weights.push(Weight::trainable("bias", vec![out]));
        }
        Ok(Facts {
            macs: elements(&site.input().shape).saturating_mul(per_input),
            window: Window::Spreads {
                reach: (0..spatial.len()).map(|axis| sliding.reach(axis)).collect(),
                stride: sliding.stride,
            },
            output: shape,
            weights,
            ..Facts::default()
        })
    }
}
