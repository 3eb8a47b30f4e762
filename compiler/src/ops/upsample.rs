//! `upsample`.

use super::window::three;
use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Shape, Site, Value, Window};
use crate::diag::{Code, Diagnostic};
use crate::ir::{How, Kind as Op, Resample, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Upsample;

static DECL: Decl = Decl {
    name: "upsample",
    aliases: &[],
    args: &[
        Arg::optional("scale", Kind::PerAxis(1), "how many times as large the output is; or `size`"),
        Arg::optional("size", Kind::PerAxis(1), "the output's size; or `scale`"),
        Arg::with(
            "mode",
            Kind::Word(&["nearest", "linear", "bilinear", "trilinear"]),
            Default::Word("nearest"),
            "`nearest` repeats elements; `linear` draws lines between them on every axis, as `bilinear` does on two and `trilinear` on three",
        ),
        Arg::with(
            "align_corners",
            Kind::Bool,
            Default::Bool(false),
            "whether the lines go from the first element's centre to the last one's, so that those stay what they are; not of `nearest`",
        ),
    ],
    docs: "A map of another size. On each axis of `size_in` elements, output o of `size` is, with `nearest`, the element \
           `floor(o size_in / size)`; with `linear`, on the line between the two elements around \
           `max(0, (o + 1/2) size_in / size - 1/2)`, or with `align_corners` around `o (size_in - 1) / (size - 1)`. Places are computed in \
           whole numbers, where PyTorch rounds to f32. Input `[channels, …]`, output `[channels, size…]`, or `[channels, scale size_in…]`. \
           Source: PyTorch, torch.nn.Upsample.",
};

impl Upsample {
    /// Spatial dimensions that a mode states.
    fn rank_of(mode: &str) -> Option<usize> {
        match mode {
            "bilinear" => Some(2),
            "trilinear" => Some(3),
            _ => None,
        }
    }
}

impl Layer for Upsample {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[4, 8, 8]",
            good: "upsample(2, mode = bilinear);",
            bad: "upsample(2, mode = trilinear);",
            error: Code::N0308,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let how = match (of.args.get("mode"), of.args.bool("align_corners")) {
            (Some(Value::Word(mode)), _) if mode == "nearest" => How::Nearest,
            (_, false) => How::Linear,
            (_, true) => How::LinearCorners,
        };
        let resample = Resample { size: three(&of.shapes[0][1..]), out_size: three(&of.output[1..]), how };
        to.op(Op::Resample(of.output[0], resample), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let (channels, spatial) = site.map()?;
        let rank = spatial.len();
        let out: Vec<u64> = match (site.args.span("scale"), site.args.span("size")) {
            (Some(_), None) => {
                let scale = site.per_axis("scale", rank)?;
                spatial.iter().zip(scale).map(|(size, scale)| size.saturating_mul(scale)).collect()
            }
            (None, Some(_)) => site.per_axis("size", rank)?,
            (None, None) => {
                let title = format!("`{}` needs `scale` or `size`", site.name);
                let label = "no word of how large the output is";
                return Err(Diagnostic::new(Code::N0203, title, site.head, label).into());
            }
            (Some(scale), Some(size)) => {
                let title = format!("`{}` is given both `scale` and `size`", site.name);
                let error = Diagnostic::new(Code::N0209, title, size, "either says how large the output is");
                return Err(error.label(scale, "so does this").into());
            }
        };
        let mode = match site.args.get("mode") {
            Some(Value::Word(mode)) => mode.as_str(),
            _ => "nearest",
        };
        let at_mode = site.args.span("mode").unwrap_or(site.head);
        if let Some(stated) = Upsample::rank_of(mode).filter(|&stated| stated != rank) {
            let title = format!("`{mode}` is of {stated} dimensions, but the map has {rank}");
            let error = Diagnostic::new(Code::N0308, title, at_mode, format!("needs {stated} spatial dimensions"))
                .label(site.input().made_at, format!("this makes {}", super::given(&site.input().shape)))
                .fix("the mode of any number of dimensions", at_mode, "linear");
            let output: Shape = std::iter::once(channels).chain(out).collect();
            return Err(Failure::with(error, output));
        }
        if let Some(span) = site.args.span("align_corners").filter(|_| mode == "nearest") {
            let title = format!("`align_corners` of `{}` has nothing to align", site.name);
            let label = "of the modes that draw lines: `linear`, `bilinear`, `trilinear`";
            return Err(Diagnostic::new(Code::N0211, title, span, label).note("`nearest` repeats elements").into());
        }
        let reach = |(size, out): (&u64, &u64)| if mode == "nearest" || size == out { 1 } else { 2.min(*size) };
        let window = Window::Resamples {
            reach: spatial.iter().zip(&out).map(reach).collect(),
            size: spatial.to_vec(),
            out_size: out.clone(),
        };
        let output = std::iter::once(channels).chain(out).collect();
        Ok(Facts { output, window, ..Facts::default() })
    }
}
