//! Net to proof: the shape of every value, with all errors of a spec in one run, each blamed once where it joins.
//!
//! After this pass no shape is open: every layer has its output, weights and cost, and a shared instance is written out at each
//! of its uses. A layer that is wrong is reported and leaves what its output would be, when that can be told, else a value of
//! unknown shape, of which nothing more is said.

mod containers;
mod train;
mod tricks;
mod warnings;

use std::collections::{HashMap, HashSet};

use crate::diag::{Code, Diagnostic, Findings, Frame, Severity};
use crate::fixes::Fixes;
use crate::limits;
use crate::net::{LayerId, LayerKind, Net, NetLayer, Op, SharedId, ValueId};
use crate::ops::{self, Facts, Incoming, Shape, Site, Weight, Window, elements, given, initialisers, sizes, thousands};
use crate::receptive::Field;
use crate::source::{Sources, Span};
use crate::target::Target;

/// A proved model.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What was proved.
    pub net: Net,
    /// Its layers in the order they run, one node for each layer of the body.
    pub body: Vec<Node>,
    /// The outputs' shapes, in the order that `output` names them.
    pub outputs: Vec<Shape>,
    /// Trainable parameters, each weight counted once.
    pub parameters: u64,
    /// The machine it is for.
    pub target: Target,
}

/// One use of a layer, proved.
#[derive(Clone, Debug)]
pub struct Node {
    /// The layer.
    pub layer: LayerId,
    /// Shapes that come in: one, or as many as `add` and `concat` name.
    pub inputs: Vec<Shape>,
    /// The output's shape.
    pub output: Shape,
    /// Its weights; those of a layer in a shared instance stand at its first use only.
    pub weights: Vec<Weight>,
    /// Multiply-accumulates of one sample.
    pub macs: u64,
    /// What an element of the output sees of the input, in the last iteration of the loops around it.
    pub field: Option<Field>,
    /// How often it runs for one sample: the product of the counts of the loops around it.
    pub times: u64,
    /// The parts of a container.
    pub bodies: Vec<Vec<Node>>,
}

/// Proves a net. None when a shape is open, since something of the net is wrong.
pub fn check(net: Net, sources: &Sources, target: Target, findings: &mut Findings) -> Option<Checked> {
    let mut checker = Checker {
        net: &net,
        fixes: Fixes { sources },
        findings,
        values: HashMap::new(),
        named: named(&net),
        shared: HashMap::new(),
        inside: Vec::new(),
        trace: Vec::new(),
        faults: 0,
        times: 1,
        nodes: 0,
        depth: 0,
        over_limit: false,
        parameters: 0,
        largest: None,
    };
    let (body, outputs) = checker.model();
    let parameters = checker.parameters;
    let outputs = outputs.into_iter().map(|output| output.shape).collect::<Option<Vec<Shape>>>()?;
    Some(Checked { net, body, outputs, parameters, target })
}

/// A value on its way through the net.
#[derive(Clone, Debug)]
struct Value {
    /// None when what makes it was blamed.
    shape: Option<Shape>,
    /// The map that it was made flat from.
    flat_of: Option<Shape>,
    /// Where the layer stands that made it.
    made_at: Span,
    field: Option<Field>,
}

impl Value {
    /// A value whose shape is not known, or only likely, since what makes it was blamed.
    fn blamed(likely: Option<Shape>, made_at: Span) -> Value {
        Value { shape: likely, flat_of: None, made_at, field: None }
    }
}

/// The layer with the most parameters.
struct Largest {
    name: String,
    head: Span,
    parameters: u64,
}

/// The first use of a shared instance, which fixes its weights' shapes.
struct FirstUse {
    at: Span,
    weights: HashMap<LayerId, Vec<Weight>>,
}

/// A use of a shared instance around the layer being checked.
struct Inside {
    shared: SharedId,
    at: Span,
    is_later: bool,
}

struct Checker<'a> {
    net: &'a Net,
    fixes: Fixes<'a>,
    findings: &'a mut Findings,
    values: HashMap<ValueId, Value>,
    /// Values that are read by name.
    named: HashSet<ValueId>,
    shared: HashMap<SharedId, FirstUse>,
    inside: Vec<Inside>,
    /// Parts of the net around the layer being checked, outermost first.
    trace: Vec<Frame>,
    /// Errors so far, and values of unknown shape: a part in which there is one is not blamed as a whole.
    faults: usize,
    /// Product of the counts of the loops around.
    times: u64,
    nodes: usize,
    depth: usize,
    over_limit: bool,
    parameters: u64,
    largest: Option<Largest>,
}

impl<'a> Checker<'a> {
    fn report(&mut self, mut diagnostic: Diagnostic) {
        self.faults += usize::from(diagnostic.severity() == Severity::Error);
        diagnostic.trace = Frame::told(&self.trace, diagnostic.primary());
        self.findings.report(diagnostic);
        self.over_limit |= self.findings.is_full();
    }

    fn model(&mut self) -> (Vec<Node>, Vec<Value>) {
        for (index, input) in self.net.inputs.iter().enumerate() {
            let name = format!("the input `{}`", input.name);
            let shape = input.shape.clone().filter(|shape| self.check_elements(shape, input.span, &name));
            let field = shape.as_deref().and_then(Field::of_input);
            let value = Value { shape, flat_of: None, made_at: input.span, field };
            self.values.insert(ValueId::Input(index as u32), value);
        }
        let unknown = Value::blamed(None, self.net.name_span);
        let first = self.values.get(&ValueId::Input(0)).cloned().unwrap_or(unknown.clone());
        let net = self.net;
        let (body, last) = self.body(&net.body, first);
        let outputs: Vec<Value> = match net.outputs.as_slice() {
            [] => vec![last],
            named => {
                named.iter().map(|output| self.values.get(&output.value).cloned().unwrap_or(unknown.clone())).collect()
            }
        };
        if self.parameters > limits::PARAMETERS {
            let title = match self.parameters {
                u64::MAX => format!("`{}` has more parameters than can be counted", net.name),
                parameters => format!("`{}` has {} parameters", net.name, thousands(parameters)),
            };
            let label = format!("a model may have {}", thousands(limits::PARAMETERS));
            let mut problem = Diagnostic::new(Code::N0108, title, net.name_span, label);
            if let Some(Largest { name, head, parameters }) = &self.largest {
                problem = problem.label(*head, format!("`{name}` alone has {}", thousands(*parameters)));
            }
            self.report(problem);
        }
        if let Some(settings) = &net.settings {
            self.train(settings, &outputs, &body);
        }
        (body, outputs)
    }

    /// Checks a body on the value before it; gives its nodes and its last value.
    fn body(&mut self, body: &'a [LayerId], mut value: Value) -> (Vec<Node>, Value) {
        if self.depth > limits::NESTING {
            self.too_much(format!("nested more than {} deep, with every use written out", limits::NESTING));
        }
        self.depth += 1;
        let mut nodes = Vec::with_capacity(body.len());
        let mut before: Option<LayerId> = None;
        for &id in body {
            self.nodes += 1;
            if self.nodes > limits::STATEMENTS {
                self.too_much(format!(
                    "more than {} statements, with every use written out",
                    thousands(limits::STATEMENTS as u64)
                ));
            }
            if self.over_limit {
                value.shape = None;
                break;
            }
            let layer = self.net.layer(id);
            if let Some(before) = before {
                self.warn_of_neighbours(before, id, &value);
            }
            let mut node = self.layer(id, layer, &mut value);
            node.field.clone_from(&value.field);
            self.check_asserted(layer, &mut value);
            self.values.insert(ValueId::Layer(id), value.clone());
            nodes.push(node);
            before = Some(id);
        }
        self.depth -= 1;
        (nodes, value)
    }

    fn too_much(&mut self, title: String) {
        if !self.over_limit {
            self.over_limit = true;
            self.report(Diagnostic::new(Code::N0108, title, self.net.name_span, "in this model"));
        }
    }

    /// Checks one layer or container, and replaces the value before it by its own.
    fn layer(&mut self, id: LayerId, layer: &'a NetLayer, value: &mut Value) -> Node {
        match &layer.kind {
            LayerKind::Op(op) => self.op(id, layer, op, value),
            LayerKind::From(from) => {
                let unknown = Value::blamed(None, layer.call);
                *value = self.values.get(from).cloned().unwrap_or(unknown);
                self.node(id, value, &[])
            }
            LayerKind::Skip { body, project } => self.skip(id, layer, body, project.as_deref(), value),
            LayerKind::Branch { join, arms } => self.branch(id, layer, *join, arms, value),
            LayerKind::Repeat { count, body, .. } => self.repeat(id, layer, *count, body, value),
            LayerKind::Group { trace, is_use, body } => self.group(id, layer, (trace, *is_use), body, value),
            LayerKind::Shared(shared) => self.shared_use(id, layer, *shared, value),
            LayerKind::Missing => {
                self.faults += 1;
                *value = Value::blamed(None, layer.call);
                self.node(id, value, &[])
            }
        }
    }

    /// A node that gives `value`.
    fn node(&self, id: LayerId, value: &Value, inputs: &[Value]) -> Node {
        Node {
            layer: id,
            inputs: inputs.iter().filter_map(|input| input.shape.clone()).collect(),
            output: value.shape.clone().unwrap_or_default(),
            weights: Vec::new(),
            macs: 0,
            field: value.field.clone(),
            times: self.times,
            bodies: Vec::new(),
        }
    }

    fn op(&mut self, id: LayerId, layer: &'a NetLayer, op: &'a Op, value: &mut Value) -> Node {
        let unknown = Value::blamed(None, layer.call);
        let inputs: Vec<Value> = match op.values.as_slice() {
            [] => vec![value.clone()],
            names => names
                .iter()
                .map(|name| name.and_then(|name| self.values.get(&name)).cloned().unwrap_or(unknown.clone()))
                .collect(),
        };
        let facts = self.facts(layer, op.layer, op.rank, &op.args, &inputs);
        let facts = facts.unwrap_or_else(|likely| {
            let known = inputs.iter().all(|input| input.shape.is_some());
            *value = Value::blamed(likely, layer.call);
            if !known {
                value.shape = op.layer.output_of_unknown(&op.args);
            }
            Facts { output: Vec::new(), ..Facts::default() }
        });
        if facts.output.is_empty() {
            return self.node(id, value, &inputs);
        }
        *value = self.made(layer, &facts, &inputs);
        for problem in initialisers::check(op.layer.decl(), &op.args, &facts.weights, &layer.name, layer.head) {
            self.report(problem);
        }
        let weights = self.own(id, layer, facts.weights);
        Node { weights, macs: facts.macs, ..self.node(id, value, &inputs) }
    }

    /// Runs a layer's shape rule. An error is reported, and gives the likely output.
    fn facts(
        &mut self,
        layer: &NetLayer,
        rule: &dyn ops::Layer,
        rank: Option<usize>,
        args: &ops::Args,
        inputs: &[Value],
    ) -> Result<Facts, Option<Shape>> {
        let incoming = inputs.iter().map(|input| {
            let Value { shape, flat_of, made_at, .. } = input;
            Some(Incoming { shape: shape.clone()?, flat_of: flat_of.clone(), made_at: *made_at })
        });
        let Some(incoming) = incoming.collect::<Option<Vec<Incoming>>>() else {
            self.faults += 1;
            return Err(None);
        };
        let site = Site {
            name: &layer.name,
            head: layer.head,
            rank,
            args,
            inputs: &incoming,
            fixes: &self.fixes,
            statement: layer.span,
            asserted: layer.asserted.as_ref().map(|(sizes, _)| sizes.as_slice()),
        };
        match rule.check(&site) {
            Ok(facts) => {
                for warning in &facts.warnings {
                    self.report(warning.clone());
                }
                if self.check_elements(&facts.output, layer.head, &format!("the output of `{}`", layer.name)) {
                    Ok(facts)
                } else {
                    Err(None)
                }
            }
            Err(failure) => {
                self.report(failure.diagnostic);
                Err(failure.likely)
            }
        }
    }

    /// The value that a layer makes.
    fn made(&self, layer: &NetLayer, facts: &Facts, inputs: &[Value]) -> Value {
        let flat_of = match (&facts.window, inputs) {
            (_, [_, _, ..]) => None,
            (Window::Reshapes, [input]) => {
                input.shape.clone().filter(|shape| shape.len() > 1 && facts.output.len() == 1)
            }
            (Window::Point, [input]) => input.flat_of.clone(),
            _ => None,
        };
        Value {
            shape: Some(facts.output.clone()),
            flat_of,
            made_at: layer.call,
            field: joined(inputs).map(|field| field.through(&facts.window)),
        }
    }

    /// A layer's weights, counted. At a later use of a shared instance there are none: they are the first use's, and must agree.
    fn own(&mut self, id: LayerId, layer: &NetLayer, weights: Vec<Weight>) -> Vec<Weight> {
        if let Some(first) = self.inside.last().and_then(|inside| self.shared.get_mut(&inside.shared)) {
            if let Some(inside) = self.inside.last().filter(|inside| inside.is_later) {
                let agrees = first.weights.get(&id).is_none_or(|first| *first == weights);
                let use_of = (inside.shared, inside.at);
                if !agrees {
                    self.other_sizes(layer, use_of, id, &weights);
                }
                return Vec::new();
            }
            first.weights.insert(id, weights.clone());
        }
        let trainable = weights.iter().filter(|weight| weight.trainable);
        let count = trainable.fold(0, |sum: u64, weight| sum.saturating_add(elements(&weight.shape)));
        let parameters = count.saturating_mul(layer.sets);
        self.parameters = self.parameters.saturating_add(parameters);
        if self.largest.as_ref().is_none_or(|largest| largest.parameters < parameters) {
            self.largest = Some(Largest { name: layer.name.clone(), head: layer.head, parameters });
        }
        weights
    }

    /// Whether a value is within the limit; reports it when not.
    fn check_elements(&mut self, shape: &[u64], at: Span, what: &str) -> bool {
        let count = elements(shape);
        if count > limits::VALUE_ELEMENTS {
            let title = format!("{what} has more than {} elements", thousands(limits::VALUE_ELEMENTS));
            self.report(Diagnostic::new(Code::N0108, title, at, format!("makes {}", given(shape))));
        }
        count <= limits::VALUE_ELEMENTS
    }

    /// What stands behind a wrong assertion may agree with it, so the shape is not known from there on.
    fn check_asserted(&mut self, layer: &NetLayer, value: &mut Value) {
        let (Some((asserted, span)), Some(shape)) = (&layer.asserted, &value.shape) else {
            return;
        };
        let stated: Vec<u64> = asserted.iter().map(|size| size.value.unsigned_abs()).collect();
        if stated != *shape {
            let title = format!("`{}` makes {}, not {} as asserted", layer.name, sizes(shape), sizes(&stated));
            let list: Vec<String> = shape.iter().map(u64::to_string).collect();
            self.report(
                Diagnostic::new(Code::N0307, title, *span, "asserted here")
                    .label(layer.head, format!("this makes {}", given(shape)))
                    .notes(asserted.iter().filter_map(|size| size.how.clone()))
                    .fix("assert what it makes", *span, format!("[{}]", list.join(", "))),
            );
            *value = Value::blamed(None, value.made_at);
        }
    }
}

/// The values of a net that are read by name.
fn named(net: &Net) -> HashSet<ValueId> {
    let of_layer = |layer: &NetLayer| match &layer.kind {
        LayerKind::From(value) => vec![*value],
        LayerKind::Op(op) => op.values.iter().flatten().copied().collect(),
        _ => Vec::new(),
    };
    net.layers.iter().flat_map(of_layer).chain(net.outputs.iter().map(|output| output.value)).collect()
}

/// What a layer on these values sees at most.
fn joined(inputs: &[Value]) -> Option<Field> {
    let mut fields = inputs.iter().map(|input| input.field.clone());
    let first = fields.next()??;
    fields.try_fold(first, |joined, field| joined.joined(&field?))
}
