//! Whether the training fits the model.

use super::{Checker, Value};
use crate::diag::{Code, Diagnostic};
use crate::net::{LayerId, LayerKind, Train};
use crate::ops::datasets::DATASETS;
use crate::ops::{self, Choice, given, losses, plural, sizes};

impl Checker<'_> {
    pub(super) fn train(&mut self, train: &Train, outputs: &[Value]) {
        let loss = &train.loss;
        let [output] = outputs else {
            let title = format!("`{}` takes one output, but the model has {}", loss.decl.name, outputs.len());
            let named = self.net.outputs.first().map(|output| output.span);
            let problem = Diagnostic::new(Code::N0501, title, loss.span, "which one?");
            self.report(match named {
                Some(span) => problem.label(span, "the outputs are named here"),
                None => problem,
            });
            return;
        };
        let Some(shape) = &output.shape else {
            return;
        };
        if losses::takes_label(loss.decl) && shape.len() != 1 {
            let title = format!("`{}` takes one number a class, but the output is {}", loss.decl.name, given(shape));
            self.report(
                Diagnostic::new(Code::N0501, title, loss.span, "needs a flat output")
                    .label(output.made_at, format!("this makes {}", given(shape))),
            );
            return;
        }
        if loss.decl.name == "cross_entropy"
            && let Some(last) = self.last_op(&self.net.body)
        {
            let layer = self.net.layer(last);
            let title = format!("`{}` before `cross_entropy`, which takes a log_softmax itself", layer.name);
            let problem = Diagnostic::new(Code::N0908, title, layer.head, "does nothing more here")
                .label(loss.span, "the loss")
                .note("leave the layer out, or take the loss `nll`");
            self.report(problem);
        }
        if let Some(data) = &train.data {
            self.data(data, loss, shape, output);
        }
    }

    /// The last layer of a body, when it is a `log_softmax` and no output is named instead.
    fn last_op(&self, body: &[LayerId]) -> Option<LayerId> {
        let last = *body.last().filter(|_| self.net.outputs.is_empty())?;
        match &self.net.layer(last).kind {
            LayerKind::Op(op) if op.layer.decl().name == "log_softmax" => Some(last),
            LayerKind::Group { body, .. } => self.last_op(body),
            _ => None,
        }
    }

    fn data(&mut self, data: &Choice, loss: &Choice, output_shape: &[u64], output: &Value) {
        let Some(dataset) = DATASETS.iter().find(|dataset| dataset.decl.name == data.decl.name) else {
            return;
        };
        let name = data.decl.name;
        let [input] = self.net.inputs.as_slice() else {
            let title = format!("`{name}` feeds one input, but the model has {}", self.net.inputs.len());
            self.report(Diagnostic::new(Code::N0503, title, data.span, "one value a record"));
            return;
        };
        if let (Some(record), Some(shape)) = (dataset.input, &input.shape)
            && record != shape.as_slice()
        {
            let title = format!("`{name}` gives {}, but `{}` is {}", sizes(record), input.name, sizes(shape));
            let problem = Diagnostic::new(Code::N0503, title, data.span, format!("a record is {}", given(record)))
                .label(input.span, format!("takes {}", given(shape)));
            self.report(problem);
        }
        let channels = dataset.input.map(|record| record[0]).or(input.shape.as_ref().map(|shape| shape[0]));
        for part in ["mean", "std"] {
            if let (Some(ops::Value::Numbers(numbers)), Some(channels)) = (data.args.get(part), channels)
                && numbers.len() as u64 != channels
            {
                let title = format!("`{part}` of `{name}` has {} number{}", numbers.len(), plural(numbers.len()));
                let label = format!("one for each of {channels} channel{}", plural(channels as usize));
                let span = data.args.span(part).unwrap_or(data.span);
                self.report(Diagnostic::new(Code::N0503, title, span, label));
            }
        }
        let classes = match data.args.get("classes") {
            Some(ops::Value::Words(words)) => Some(words.len()),
            _ => dataset.classes.map(<[_]>::len),
        };
        if let (Some(classes), [outputs]) = (classes, output_shape)
            && losses::takes_label(loss.decl)
            && classes as u64 != *outputs
        {
            let title = format!(
                "`{name}` has {classes} class{}, but the output is {}",
                if classes == 1 { "" } else { "es" },
                given(output_shape)
            );
            let span = data.args.span("classes").unwrap_or(data.span);
            let problem = Diagnostic::new(Code::N0503, title, span, format!("{classes} labels, from 0"))
                .label(output.made_at, format!("this makes {}", given(output_shape)));
            self.report(problem);
        }
    }
}
