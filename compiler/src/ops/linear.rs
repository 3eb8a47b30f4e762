//! `linear`: a fully connected layer on the last dimension.

use super::{
    Arg, Args, Decl, Default, Example, Facts, Failure, Kind, Layer, Shape, Site, Weight, Window, elements, given,
    plural, sizes,
};
use crate::diag::{Code, Diagnostic};
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Linear;

static DECL: Decl = Decl {
    name: "linear",
    aliases: &[],
    args: &[
        Arg::required("out", Kind::Integer(1), "output features"),
        Arg::optional(
            "in",
            Kind::Integer(1),
            "input features, checked when stated: `512 -> 32`; on a map it must be stated",
        ),
        Arg::with("bias", Kind::Bool, Default::Bool(true), "add a number for each output feature"),
        Arg::optional("init", Kind::Init, "initial weight; PyTorch's default when absent"),
        Arg::optional("init_bias", Kind::VectorInit, "initial bias; PyTorch's default when absent"),
    ],
    docs: "`y = W x + bias` on the last dimension. Input `[in]`, output `[out]`; a map `[…, in]` gives `[…, out]` only when `in` is stated, \
           since a forgotten `view` would look just like it. Weight `[out, in]`, bias `[out]`. Source: PyTorch, torch.nn.Linear.",
};

impl Layer for Linear {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[8, 8, 8]",
            good: "view(-1, 512); linear(512 -> 32);",
            bad: "linear(512 -> 32);",
            error: Code::N0301,
        }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn output_of_unknown(&self, args: &Args) -> Option<Shape> {
        // Without a stated size it takes nothing but a flat input.
        args.int("in").is_none().then(|| vec![args.size("out")])
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let (&inputs, rows) = of.shapes[0].split_last().unwrap_or((&1, &[]));
        let linear = ir::Linear { rows: elements(rows), inputs, outputs: of.args.size("out") };
        let op = Op::Linear(linear, of.must("weight"), of.tensor("bias"), ir::Act::None);
        to.op(op, of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        site.check_init("init_bias", "bias")?;
        let out = site.args.size("out");
        let stated = site.args.int("in");
        let input = site.input();
        let shape = input.shape.as_slice();
        let Some((&features, rows)) = shape.split_last() else {
            let title = format!("`{}` needs features, but is given {}", site.name, given(shape));
            return Err(Failure::with(site.error(Code::N0308, title, "needs at least one dimension"), vec![out]));
        };
        let mut facts = Facts::default();
        match (rows, stated) {
            ([], Some(stated)) if stated.value.unsigned_abs() != features => {
                let title = format!(
                    "`{}` takes {} feature{}, but is given {features}",
                    site.name,
                    stated.value,
                    plural(stated.value as usize)
                );
                let diagnostic = Diagnostic::new(Code::N0302, title, stated.span, "stated here")
                    .label(input.made_at, format!("this makes {}", given(shape)))
                    .notes(stated.how.clone())
                    .notes(input.flat_of.as_ref().map(|map| format!("{} = {features}", sizes(map))))
                    .note(format!(
                        "at run time this would be a product of 1 x {features} by {} x {out} (one sample)",
                        stated.value
                    ))
                    .fix("state the features that come in", stated.span, features.to_string());
                return Err(Failure::with(diagnostic, vec![out]));
            }
            ([], _) => {}
            (_, Some(stated)) if stated.value.unsigned_abs() == features => {
                let title = format!("`{}` reads the last dimension of a feature map of {}", site.name, sizes(shape));
                facts.warnings.push(
                    site.error(Code::N0909, title, format!("each of {} rows by itself", elements(rows)))
                        .note(format!("a `view(-1, {})` before it would make one row of the map", elements(shape))),
                );
            }
            _ => {
                return Err(Failure::with(
                    self.on_a_map(site, stated.map(|stated| stated.value.unsigned_abs())),
                    vec![out],
                ));
            }
        }
        facts.output = [rows, &[out]].concat();
        facts.weights.push(Weight::trainable("weight", vec![out, features]));
        if site.args.bool("bias") {
            facts.weights.push(Weight::trainable("bias", vec![out]));
        }
        facts.macs = elements(shape).saturating_mul(out);
        facts.window = Window::Whole;
        Ok(facts)
    }
}

impl Linear {
    /// The famous one: `m1: [64 x 8], m2: [512 x 32]`.
    fn on_a_map(&self, site: &Site<'_>, stated: Option<u64>) -> Diagnostic {
        let shape = site.input().shape.as_slice();
        let count = elements(shape);
        let last = shape.last().copied().unwrap_or_default();
        let out = site.args.size("out");
        let takes = match stated {
            Some(stated) => format!("takes {}", given(&[stated])),
            None => "needs a flat input".to_owned(),
        };
        let title = format!("`{}` {takes}, but is given a feature map of {}", site.name, sizes(shape));
        let error = site.error(Code::N0301, title, format!("reads the last dimension, which is {last}"));
        let error = match stated {
            None => error.note(format!("{} = {count} features, once they are flat", sizes(shape))),
            Some(stated) => {
                let rows = count / last.max(1);
                let error = error.notes(site.args.how("in")).note(format!(
                    "at run time this would be a product of {rows} x {last} by {stated} x {out} (one sample)"
                ));
                if count == stated {
                    error.note(format!("{} = {count}, so the sizes agree; only the shape is wrong", sizes(shape)))
                } else {
                    error.note(format!("{} = {count}, which is not {stated} either", sizes(shape)))
                }
            }
        };
        let fix =
            site.insert_before("flatten the map first", &format!("view(-1, {count})"), &format!("view: [-1, {count}]"));
        error.maybe_fix(fix.filter(|_| stated.is_none_or(|stated| stated == count)))
    }
}
