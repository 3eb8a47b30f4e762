//! `multiply`: the product of named values; also joins a `branch multiply`.

use super::{Arg, Decl, Default, Example, Facts, Failure, Kind, Layer, Shape, Site, elements, given};
use crate::diag::{Code, Diagnostic};
use crate::ir::{Kind as Op, ValueId};
use crate::lower::{Lowering, Use};

pub(super) struct Multiply;

static DECL: Decl = Decl {
    name: "multiply",
    aliases: &[],
    args: &[Arg {
        name: "values",
        kind: Kind::Values,
        default: Default::Required,
        docs: "names of two values or more",
    }],
    docs: "The product of named values, element by element. They have one shape, or one of two has 1 in some neighbouring dimensions and is \
           repeated along those: `[channels, 1, 1]` times `[channels, height, width]` is one factor for each channel, as in \
           squeeze-and-excitation, and `[1, height, width]` one for each position. Source: PyTorch, torch.mul; Hu and others 2018, \
           Squeeze-and-Excitation Networks.",
};

impl Layer for Multiply {
    fn decl(&self) -> &'static Decl {
        &DECL
    }

    fn example(&self) -> Example {
        Example {
            input: "[8, 6, 6]",
            good: "relu as map; global_avg_pool; conv(8, kernel = 1); sigmoid as gate; multiply(map, gate);",
            bad: "relu as map; global_avg_pool; flatten as gate; multiply(map, gate);",
            error: Code::N0303,
        }
    }

    fn lower(&self, to: &mut Lowering<'_>, of: &Use<'_>) -> ValueId {
        let mut values = of.inputs.iter().zip(of.shapes);
        let Some((&first, shape)) = values.next() else {
            return ValueId(0);
        };
        let mut product = (first, shape.clone());
        for (&value, shape) in values {
            product = match (repeated(&product.1, shape), repeated(shape, &product.1)) {
                (Some(sizes), _) => (to.op(Op::Mul(sizes), &[product.0, value], product.1.clone()), product.1),
                (None, Some(sizes)) => (to.op(Op::Mul(sizes), &[value, product.0], shape.clone()), shape.clone()),
                (None, None) => product,
            };
        }
        product.0
    }

    fn check(&self, site: &Site<'_>) -> Result<Facts, Box<Failure>> {
        let first = &site.inputs[0];
        let mut output: Shape = first.shape.clone();
        for other in &site.inputs[1..] {
            if repeated(&output, &other.shape).is_some() {
                continue;
            }
            if repeated(&other.shape, &output).is_some() {
                output.clone_from(&other.shape);
                continue;
            }
            let title = format!("cannot multiply {} by {}", given(&output), given(&other.shape));
            let mut error = Diagnostic::new(Code::N0303, title, site.head, "multiplies values of one shape")
                .label(first.made_at, format!("this makes {}", given(&first.shape)))
                .label(other.made_at, format!("this makes {}", given(&other.shape)))
                .note("one of the two may have 1 in neighbouring dimensions, and is repeated along those");
            let [flat, map] = if output.len() == 1 { [&output, &other.shape] } else { [&other.shape, &output] };
            if let ([features], [channels, spatial @ ..]) = (flat.as_slice(), map.as_slice())
                && features == channels
                && !spatial.is_empty()
            {
                let ones = vec!["1"; spatial.len()].join(", ");
                error = error.note(format!(
                    "`view(-1, {channels}, {ones})` makes of {features} features a factor for each channel"
                ));
            }
            return Err(error.into());
        }
        Ok(Facts::same(&output))
    }
}

/// The sizes `[outer, count, inner]` such that `b`, as `[outer, inner]` and repeated `count` times, has the shape of `a`. None when its
/// shape is neither that of `a` nor has 1 in some neighbouring dimensions of it.
fn repeated(a: &[u64], b: &[u64]) -> Option<[u64; 3]> {
    if a.len() != b.len() {
        return None;
    }
    let differs = |dim: &usize| a[*dim] != b[*dim];
    let Some(first) = (0..a.len()).find(differs) else {
        return Some([elements(a), 1, 1]);
    };
    let end = (0..a.len()).rfind(differs).unwrap_or(first) + 1;
    let are_ones = b[first..end].iter().all(|&size| size == 1);
    are_ones.then(|| [elements(&a[..first]), elements(&a[first..end]), elements(&a[end..])])
}
