//! `custom`: a layer of a user's own, a type of Rust that the spec names.
//!
//! The compiler cannot see the type. So the spec asserts the output's shape and declares the weights, and generated code has rustc prove
//! that the type agrees (`netspec::layer::prove`).

use super::{Arg, Decl, Example, Facts, Failure, Kind, Layer, Site, Value, Weight, Window, initialisers};
use crate::diag::{Code, Diagnostic};
use crate::ir::{self, Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Custom;

static DECL: Decl = Decl {
    name: "custom",
    aliases: &[],
    args: &[
        Arg::required("layer", Kind::Type, "the path of a type that is a `netspec::layer::Layer`"),
        Arg::optional(
            "weights",
            Kind::OwnWeights,
            "its weights, in its order: `[scale(8, init = ones), kernel([8, 3], init = orthogonal)]`",
        ),
    ],
    docs: "What a type of Rust makes of each sample: `custom(my_crate::Swish) : [8, 4, 4]`. The output's shape is asserted, always, and \
           rustc proves that it is the type's; input of any shape, in PyTorch's order. A model with such a layer is built by \
           `netspec!`, where the type can be seen. Source: the documentation of `netspec::layer::Layer`.",
};

/// A weight as a use of the layer declares it.
pub static WEIGHT: Decl = Decl {
    name: "weight",
    aliases: &[],
    args: &[
        Arg::required("shape", Kind::PerAxis(1), "its size, or the list of its sizes"),
        Arg::required("init", Kind::Init, "what it is filled with at first"),
    ],
    docs: "A weight of a layer of one's own: `scale(8, init = ones)`, `kernel([8, 3], init = xavier_uniform)`. Source: netspec's own.",
};

impl Layer for Custom {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[4, 8, 8]",
            good: "custom(layers::Scale, weights = [scale(4, init = ones)]) : [4, 8, 8];",
            bad: "custom(layers::Swish);",
            error: Code::N0310,
        }
    }

    fn has_weights(&self) -> bool {
        true
    }

    fn is_foreign(&self) -> bool {
        true
    }

    fn cpu_only(&self) -> Option<&'static str> {
        Some("its formula is Rust, which no graphics card runs")
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let path = match of.args.get("layer") {
            Some(Value::Type(path)) => path.clone(),
            _ => String::new(),
        };
        let weights = match of.args.get("weights") {
            Some(Value::OwnWeights(weights)) => {
                weights.iter().map(|weight| (weight.name.text.clone(), weight.shape.clone())).collect()
            }
            _ => Vec::new(),
        };
        let tensors = of.tensors.iter().map(|(_, tensor)| *tensor).collect();
        let custom = ir::Custom { path, input: of.shapes[0].clone(), output: of.output.clone(), weights };
        to.op(Op::Custom(Box::new(custom), tensors), of.inputs, of.output.clone())
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let Some(asserted) = site.asserted else {
            let title = format!("the output of `{}` is not known", site.name);
            let label = "a type of Rust, which only rustc can see";
            let error = site.error(Code::N0310, title, label);
            return Err(error.note("assert its shape, per sample; rustc will check it").into());
        };
        let output: Vec<u64> = asserted.iter().map(|size| size.value.unsigned_abs()).collect();
        let mut facts = Facts { output, window: Window::Whole, ..Facts::default() };
        if let Some(Value::OwnWeights(weights)) = site.args.get("weights") {
            for weight in weights {
                if let Some(label) = initialisers::needs_matrix(weight.init.decl).filter(|_| weight.shape.len() < 2) {
                    let title =
                        format!("`{}` cannot fill `{}` of `{}`", weight.init.decl.name, weight.name.text, site.name);
                    let problem = Diagnostic::new(Code::N0402, title, weight.init.span, label);
                    return Err(Failure::with(problem, facts.output));
                }
                facts.weights.push(Weight::trainable(weight.name.text.clone(), weight.shape.clone()));
            }
        }
        Ok(facts)
    }
}
