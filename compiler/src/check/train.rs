//! Whether the training fits the model.

use super::{Checker, Node, Value};
use crate::diag::{Code, Diagnostic};
use crate::net::{LayerId, LayerKind, Loss, NetLayer, Op, Output, Settings, ValueId};
use crate::ops::datasets::{DATASETS, Dataset};
use crate::ops::{self, Choice, Shape, given, losses, plural, sizes};

impl Checker<'_> {
    pub(super) fn train(&mut self, settings: &Settings, outputs: &[Value], body: &[Node]) {
        let dataset = |data: &Choice| DATASETS.iter().find(|dataset| dataset.decl.name == data.decl.name);
        let data = settings.data.as_ref().and_then(|data| Some((data, dataset(data)?)));
        if let Some((data, dataset)) = data {
            self.records(data, dataset);
        }
        if let Some(batch) = settings.batch.as_ref().filter(|batch| batch.value == 1) {
            self.batch_of_one(batch, body);
        }
        self.tricks(settings);
        let mut seen: Vec<Option<&Loss>> = vec![None; outputs.len()];
        for loss in &settings.losses {
            let Some(index) = loss.output else {
                self.loss_of_several(loss, outputs.len());
                return;
            };
            let (Some(output), Some(seen)) = (outputs.get(index), seen.get_mut(index)) else {
                continue;
            };
            if let Some(first) = seen.replace(loss) {
                self.second_loss(loss, first, index);
            } else if let Some(shape) = &output.shape {
                self.loss(loss, index, shape, output, data);
            }
        }
        self.one_target(settings, outputs);
        if self.net.train.is_some() && !settings.losses.is_empty() {
            for (index, _) in seen.iter().enumerate().filter(|(_, loss)| loss.is_none()) {
                let Some(output) = self.net.outputs.get(index) else { continue };
                let title = format!("the output `{}` has no loss", output.name);
                let problem = Diagnostic::new(Code::N0910, title, output.span, "nothing is trained by it")
                    .label(settings.losses[0].choice.span, "the losses")
                    .note("the weights that only it reads stay as they are drawn");
                self.report(problem);
            }
        }
    }

    /// A loss that does not say which of several outputs it compares.
    fn loss_of_several(&mut self, loss: &Loss, outputs: usize) {
        let name = loss.choice.decl.name;
        let title = format!("`{name}` takes one output, but the model has {outputs}");
        let problem = Diagnostic::new(Code::N0501, title, loss.choice.span, "which one?");
        let Some(first) = self.net.outputs.first() else {
            self.report(problem);
            return;
        };
        let (first_name, span) = (&first.name, first.span);
        let problem = problem.label(span, "the outputs are named here").note(format!(
            "a loss names its output, `{name}({first_name})`; those of several outputs are a list in `[ ]`"
        ));
        self.report(problem);
    }

    fn second_loss(&mut self, loss: &Loss, first: &Loss, index: usize) {
        let name = self.net.outputs.get(index).map_or("the output".to_owned(), |output| format!("`{}`", output.name));
        let problem = Diagnostic::new(Code::N0501, format!("{name} has two losses"), loss.choice.span, "the second")
            .label(first.choice.span, "the first")
            .note("each output has one loss");
        self.report(problem);
    }

    /// Whether a loss fits its output, and the data both.
    fn loss(
        &mut self,
        loss: &Loss,
        index: usize,
        shape: &[u64],
        output: &Value,
        data: Option<(&Choice, &'static Dataset)>,
    ) {
        let choice = &loss.choice;
        let name = choice.decl.name;
        let labels_of_records = data.filter(|(_, dataset)| dataset.classes.is_some());
        if let Some((data, _)) = labels_of_records
            && losses::takes_label(choice.decl)
            && shape.len() != 1
        {
            let title = format!("`{name}` takes one number a class, but the output is {}", given(shape));
            let problem = Diagnostic::new(Code::N0501, title, choice.span, "needs a flat output")
                .label(output.made_at, format!("this makes {}", given(shape)))
                .note(format!(
                    "of a map it takes a label for each position, and `{}` has one a record",
                    data.decl.name
                ));
            self.report(problem);
            return;
        }
        let classes = shape[0];
        for (argument, each) in [("class_weights", "class"), ("pos_weight", "value")] {
            let numbers = losses::numbers(choice, argument).len();
            // One `pos_weight` is that of all values, several are those of a flat output.
            let is_fit = match argument {
                "pos_weight" => numbers <= 1 || (shape.len() == 1 && numbers as u64 == classes),
                _ => numbers == 0 || numbers as u64 == classes,
            };
            if !is_fit {
                let title = format!("`{argument}` of `{name}` has {numbers} number{}", plural(numbers));
                let span = choice.args.span(argument).unwrap_or(choice.span);
                let label = format!("one for each {each}");
                let problem = Diagnostic::new(Code::N0501, title, span, label)
                    .label(output.made_at, format!("this makes {}", given(shape)));
                self.report(problem);
                return;
            }
        }
        if name == "cross_entropy"
            && let Some(last) = self.last_op(index)
        {
            let layer = self.net.layer(last);
            let is_log = matches!(&layer.kind, LayerKind::Op(op) if op.layer.decl().name == "log_softmax");
            let (label, note) = match is_log {
                true => ("does nothing more here", "leave the layer out, or take the loss `nll`"),
                false => (
                    "makes probabilities, which are no logits",
                    "leave the layer out: of numbers between 0 and 1 the loss cannot come near 0",
                ),
            };
            let title = format!("`{}` before `cross_entropy`, which takes a log_softmax itself", layer.name);
            let problem =
                Diagnostic::new(Code::N0908, title, layer.head, label).label(choice.span, "the loss").note(note);
            self.report(problem);
        }
        if let Some((data, dataset)) = data {
            self.classes(data, dataset, choice, shape, output);
        }
    }

    /// A record has one target, which the losses of all outputs take.
    fn one_target(&mut self, settings: &Settings, outputs: &[Value]) {
        let target = |loss: &Loss| {
            let shape = outputs.get(loss.output?)?.shape.as_deref()?;
            let takes_label = losses::takes_label(loss.choice.decl);
            Some((takes_label, if takes_label { &shape[1..] } else { shape }))
        };
        let words = |(takes_label, shape): (bool, &[u64])| match (takes_label, shape) {
            (true, []) => "a label".to_owned(),
            (true, shape) => format!("{} labels", sizes(shape)),
            (false, shape) => format!("{} values", sizes(shape)),
        };
        let Some((first, rest)) = settings.losses.split_first() else {
            return;
        };
        for loss in rest {
            if let (Some(a), Some(b)) = (target(first), target(loss))
                && a != b
            {
                let title = format!(
                    "`{}` takes {}, but `{}` {}",
                    loss.choice.decl.name,
                    words(b),
                    first.choice.decl.name,
                    words(a)
                );
                let problem = Diagnostic::new(Code::N0501, title, loss.choice.span, format!("of {}", words(b)))
                    .label(first.choice.span, format!("of {}", words(a)))
                    .note("a record of a data set has one target, for all outputs")
                    .note("in Rust each output can have a target of its own: a step takes a tuple of losses");
                self.report(problem);
                return;
            }
        }
    }

    /// The layer that makes an output, when it is a `log_softmax` or a `softmax`.
    fn last_op(&self, output: usize) -> Option<LayerId> {
        let mut last = match self.net.outputs.get(output) {
            Some(Output { value: ValueId::Layer(id), .. }) => Some(*id),
            None => self.net.body.last().copied(),
            Some(_) => None,
        };
        while let Some(LayerKind::Group { body, .. }) = last.map(|id| &self.net.layer(id).kind) {
            last = body.last().copied();
        }
        let is_softmax = |op: &Op| matches!(op.layer.decl().name, "log_softmax" | "softmax");
        last.filter(|&id| matches!(&self.net.layer(id).kind, LayerKind::Op(op) if is_softmax(op)))
    }

    /// A batch of one sample has one value a channel where a layer that normalises over the batch reads no map: PyTorch's
    /// error in training. Blamed once, for the first such layer.
    fn batch_of_one(&mut self, batch: &ops::Int, body: &[Node]) {
        let Some((layer, shape)) = self.normalises_one(body) else {
            return;
        };
        let title = format!("`{}` needs more than 1 value a channel in training", layer.name);
        let problem = Diagnostic::new(Code::N0502, title, batch.span, "1 sample a step")
            .label(layer.head, format!("normalises {}, of 1 value each", given(&shape)))
            .note("the mean of one value is that value, so that nothing but 0 would be left of it");
        self.report(problem.notes(batch.how.clone()));
    }

    /// The first layer that normalises over the batch and has one value a channel in a sample.
    fn normalises_one(&self, nodes: &[Node]) -> Option<(&NetLayer, Shape)> {
        nodes.iter().find_map(|node| {
            let layer = self.net.layer(node.layer);
            match (&layer.kind, node.inputs.as_slice()) {
                (LayerKind::Op(op), [shape]) if op.layer.decl().name == "batch_norm" => {
                    let values = shape.get(1..).map_or(1, ops::elements);
                    (values == 1).then(|| (layer, shape.clone()))
                }
                _ => node.bodies.iter().find_map(|body| self.normalises_one(body)),
            }
        })
    }

    /// Whether the records of a data set fit the input.
    fn records(&mut self, data: &Choice, dataset: &Dataset) {
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
    }

    /// Whether its classes fit the output.
    fn classes(&mut self, data: &Choice, dataset: &Dataset, loss: &Choice, output_shape: &[u64], output: &Value) {
        let name = data.decl.name;
        let classes = match data.args.get("classes") {
            Some(ops::Value::Words(words)) => Some(words.len()),
            Some(_) => None,
            None => dataset.classes.map(<[_]>::len),
        };
        if dataset.classes.is_some() && !losses::takes_label(loss.decl) {
            let title = format!("`{name}` has labels, but `{}` takes a target of the output's shape", loss.decl.name);
            let problem = Diagnostic::new(Code::N0503, title, data.span, "one label a record")
                .label(loss.span, "the loss")
                .note("`cross_entropy` and `nll` take labels");
            self.report(problem);
        }
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
