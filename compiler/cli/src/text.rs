//! Shapes and numbers, as text and as JSON.

use netspec_compiler::summary::Summary;
use serde::{Serialize, Serializer};

/// `3 x 32 x 32`.
pub(crate) fn shape(sizes: &[u64]) -> String {
    if sizes.is_empty() {
        return "scalar".to_owned();
    }
    netspec_compiler::ops::sizes(sizes)
}

/// `3 x 32 x 32 -> 2`, or with several values `(3 x 32 x 32, 10) -> 2`.
pub(crate) fn arrow(summary: &Summary) -> String {
    let input = several(summary.input.iter().map(|(_, sizes)| shape(sizes)).collect());
    let output = several(summary.output.iter().map(|sizes| shape(sizes)).collect());
    format!("{input} -> {output}")
}

fn several(shapes: Vec<String>) -> String {
    match &shapes[..] {
        [shape] => shape.clone(),
        shapes => format!("({})", shapes.join(", ")),
    }
}

/// One input is its shape, several are an object of shapes by name.
pub(crate) struct Inputs<'a>(pub(crate) &'a [(String, Vec<u64>)]);

impl Serialize for Inputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [(_, shape)] => shape.serialize(serializer),
            inputs => serializer.collect_map(inputs.iter().map(|(name, shape)| (name, shape))),
        }
    }
}

/// One output is its shape, several are a list of shapes.
pub(crate) struct Outputs<'a>(pub(crate) &'a [Vec<u64>]);

impl Serialize for Outputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [shape] => shape.serialize(serializer),
            outputs => serializer.collect_seq(outputs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_its_shape_and_several_are_told_apart() {
        let inputs = [("image".to_owned(), vec![3, 32, 32]), ("meta".to_owned(), vec![10])];
        let json = |one: &[_], outputs: &[_]| serde_json::to_string(&(Inputs(one), Outputs(outputs))).unwrap();
        assert_eq!(json(&inputs[..1], &[vec![2]]), "[[3,32,32],[2]]");
        assert_eq!(json(&inputs, &[vec![2], vec![]]), r#"[{"image":[3,32,32],"meta":[10]},[[2],[]]]"#);
    }

    #[test]
    fn a_model_is_an_arrow_between_shapes() {
        let mut summary = Summary {
            model: "Net".to_owned(),
            parameters: 0,
            macs: 0,
            input: vec![("image".to_owned(), vec![3, 32, 32])],
            output: vec![vec![2]],
            layers: Vec::new(),
        };
        assert_eq!(arrow(&summary), "3 x 32 x 32 -> 2");
        summary.input.push(("meta".to_owned(), vec![10]));
        summary.output.push(Vec::new());
        assert_eq!(arrow(&summary), "(3 x 32 x 32, 10) -> (2, scalar)");
    }
}
