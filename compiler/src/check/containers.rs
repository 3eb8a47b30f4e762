//! Skips, branches, repeats, block uses, uses of shared instances.

use super::{Checker, FirstUse, Inside, Node, Value};
use crate::diag::{Code, Diagnostic, Frame};
use crate::net::{LayerId, LayerKind, NetLayer, SharedId, ValueId};
use crate::ops::{self, Args, Shape, Weight, given, sizes};
use crate::receptive::Field;
use crate::source::Span;

impl<'a> Checker<'a> {
    /// The value plus the body's; the value through `project`, when there is one.
    pub(super) fn skip(
        &mut self,
        id: LayerId,
        layer: &'a NetLayer,
        body: &'a [LayerId],
        project: Option<&'a [LayerId]>,
        value: &mut Value,
    ) -> Node {
        let before = value.clone();
        let (body_nodes, residual) = self.body(body, before.clone());
        let mut bodies = vec![body_nodes];
        let mut other = before.clone();
        if let Some(project) = project {
            let (nodes, projected) = self.body(project, before.clone());
            bodies.push(nodes);
            other = projected;
        }
        *value = Value {
            shape: residual.shape.clone().filter(|_| residual.shape == other.shape),
            flat_of: None,
            made_at: layer.call,
            field: super::joined(&[other.clone(), residual.clone()]),
        };
        if let (Some(of_body), Some(of_other)) = (&residual.shape, &other.shape)
            && of_body != of_other
        {
            let beside = if project.is_some() { "the projection" } else { "what comes in" };
            let title = format!("`{}` adds {} to {}", layer.name, given(of_body), given(of_other));
            let mut problem = Diagnostic::new(
                Code::N0303,
                title,
                layer.head,
                format!("its body does not keep the shape of {beside}"),
            )
            .label(residual.made_at, format!("the body makes {}", given(of_body)))
            .label(other.made_at, format!("{beside}: {}", given(of_other)));
            if project.is_none() {
                problem = problem.notes(projection(of_other, of_body, self.fixes.is_yaml(layer.head)));
            }
            self.report(problem);
        }
        Node { bodies, ..self.node(id, value, &[before]) }
    }

    /// Arms on the same value, joined by `add` or `concat`.
    pub(super) fn branch(
        &mut self,
        id: LayerId,
        layer: &'a NetLayer,
        join: &'static dyn ops::Layer,
        arms: &'a [Vec<LayerId>],
        value: &mut Value,
    ) -> Node {
        let before = value.clone();
        let (mut bodies, mut ends) = (Vec::new(), Vec::new());
        for arm in arms {
            let (nodes, end) = self.body(arm, before.clone());
            bodies.push(nodes);
            ends.push(end);
        }
        *value = match self.facts(layer, join, None, &Args::default(), &ends) {
            Ok(facts) => self.made(layer, &facts, &ends),
            Err(likely) => Value::blamed(likely, layer.call),
        };
        Node { bodies, ..self.node(id, value, &[before]) }
    }

    /// A loop: its body is checked once, and must give back the shape it takes.
    pub(super) fn repeat(
        &mut self,
        id: LayerId,
        layer: &'a NetLayer,
        count: u64,
        body: &'a [LayerId],
        value: &mut Value,
    ) -> Node {
        let before = value.clone();
        let times = self.times;
        self.times = times.saturating_mul(count);
        let text = format!("in the body of `{}`", layer.name);
        self.trace.push(Frame { text, used_at: layer.head, is_use: false, times: count });
        let faults = self.faults;
        let (mut nodes, after) = self.body(body, before.clone());
        self.trace.pop();
        self.times = times;
        if let (Some(shape_taken), Some(shape_given)) = (&before.shape, &after.shape)
            && shape_taken != shape_given
            && self.faults == faults
        {
            let (taken, given_back) = (sizes(shape_taken), sizes(shape_given));
            let title = format!("the body of `{}` takes {taken} but gives back {given_back}", layer.name);
            let label = "each iteration takes what the one before gives";
            self.report(
                Diagnostic::new(Code::N0305, title, layer.head, label)
                    .label(before.made_at, format!("this makes {}", given(shape_taken)))
                    .label(after.made_at, format!("the body ends here, with {}", given(shape_given)))
                    .note("`unrolled` checks each iteration alone, for bodies that change the shape"),
            );
            *value = Value::blamed(None, layer.call);
            return Node { bodies: vec![nodes], ..self.node(id, value, &[before]) };
        }
        let mut field = None;
        if let (Some(first), Some(last)) = (&before.field, &after.field) {
            // Rows show the last iteration. Each one before it adds the same to the field, unless it sees all of the input, or
            // reads what is no part of the loop.
            let later = count - 1;
            let grown = |field: &Field| match first.growth(last) {
                _ if later == 0 => Some(field.clone()),
                _ if self.reads_from_before(id, body) => None,
                _ if last.is_whole() => Some(last.clone()),
                growth => growth.map(|growth| field.grown(&growth, later)),
            };
            each_field(&mut nodes, &grown);
            field = after.field.as_ref().and_then(grown);
        }
        *value = Value { field, made_at: layer.call, ..after };
        Node { bodies: vec![nodes], ..self.node(id, value, &[before]) }
    }

    /// Whether a body names a value from before the container that it is in. Layers are numbered as they are written.
    fn reads_from_before(&self, container: LayerId, body: &[LayerId]) -> bool {
        let is_from_before = |value: &ValueId| match value {
            ValueId::Input(_) => true,
            ValueId::Layer(id) => *id < container,
        };
        body.iter().any(|&id| match &self.net.layer(id).kind {
            LayerKind::From(value) => is_from_before(value),
            LayerKind::Op(op) => op.values.iter().flatten().any(is_from_before),
            LayerKind::Skip { body, project } => {
                std::iter::once(body).chain(project).any(|body| self.reads_from_before(container, body))
            }
            LayerKind::Branch { arms, .. } => arms.iter().any(|arm| self.reads_from_before(container, arm)),
            LayerKind::Repeat { body, .. } | LayerKind::Group { body, .. } => self.reads_from_before(container, body),
            // It sees no value of the scope around it.
            LayerKind::Shared(_) | LayerKind::Missing => false,
        })
    }

    /// A block use or an iteration of an unrolled repeat; without words it is the unrolled repeat itself.
    pub(super) fn group(
        &mut self,
        id: LayerId,
        layer: &'a NetLayer,
        (trace, is_use): (&str, bool),
        body: &'a [LayerId],
        value: &mut Value,
    ) -> Node {
        let before = value.clone();
        if !trace.is_empty() {
            self.trace.push(Frame { text: trace.to_owned(), used_at: layer.head, is_use, times: 1 });
        }
        let (nodes, after) = self.body(body, before.clone());
        if !trace.is_empty() {
            self.trace.pop();
        }
        *value = Value { made_at: layer.call, ..after };
        Node { bodies: vec![nodes], ..self.node(id, value, &[before]) }
    }

    /// One set of weights: the first use fixes their shapes, later ones must agree.
    pub(super) fn shared_use(&mut self, id: LayerId, layer: &'a NetLayer, shared: SharedId, value: &mut Value) -> Node {
        let before = value.clone();
        let net = self.net;
        let declared = net.shared(shared);
        let is_later = self.shared.contains_key(&shared);
        if !is_later {
            self.shared.insert(shared, FirstUse { at: layer.head, weights: std::collections::HashMap::new() });
        }
        self.inside.push(Inside { shared, at: layer.head, is_later });
        let text = format!("in the shared `{}`", declared.name);
        self.trace.push(Frame { text, used_at: layer.head, is_use: true, times: 1 });
        let (nodes, after) = self.body(&declared.body, before.clone());
        self.trace.pop();
        self.inside.pop();
        *value = Value { made_at: layer.call, ..after };
        Node { bodies: vec![nodes], ..self.node(id, value, &[before]) }
    }

    /// A later use of a shared instance whose weights would have other shapes.
    pub(super) fn other_sizes(&mut self, layer: &NetLayer, used: (SharedId, Span), id: LayerId, weights: &[Weight]) {
        let (shared, at) = used;
        let name = &self.net.shared(shared).name;
        let Some((first, of_first)) =
            self.shared.get(&shared).and_then(|first| Some((first.at, first.weights.get(&id)?)))
        else {
            return;
        };
        let differing = of_first.iter().zip(weights).find(|(first, here)| first != here);
        let (there, here) =
            differing.map_or_else(Default::default, |(first, here)| (sizes(&first.shape), sizes(&here.shape)));
        let title = format!("the shared `{name}` is used with other sizes");
        let problem = Diagnostic::new(Code::N0401, title, at, "used here with other sizes")
            .label(first, "its first use, which fixes its weights")
            .label(layer.head, format!("its weight: {there} at the first use, {here} at this one"))
            .note("a shared instance has one set of weights; a `block` has new ones at each use");
        self.report(problem);
    }
}

/// Puts `of` each field in its place.
fn each_field(nodes: &mut [Node], of: &impl Fn(&Field) -> Option<Field>) {
    for node in nodes {
        node.field = node.field.as_ref().and_then(of);
        node.bodies.iter_mut().for_each(|body| each_field(body, of));
    }
}

/// How a projection would give one map the shape of another, when a convolution of kernel 1 can.
fn projection(from: &Shape, to: &Shape, yaml: bool) -> Option<String> {
    let ([_, from_map @ ..], [channels, to_map @ ..]) = (from.as_slice(), to.as_slice()) else {
        return None;
    };
    let stride = from_map.first()?.checked_div(*to_map.first()?)?;
    let fits = from_map.len() == to_map.len()
        && stride > 0
        && from_map.iter().zip(to_map).all(|(from, to)| (from - 1) / stride + 1 == *to);
    let conv = match (fits, stride, yaml) {
        (false, ..) => return None,
        (true, 1, false) => format!("conv({channels}, kernel = 1);"),
        (true, 1, true) => format!("conv: {{ out: {channels}, kernel: 1 }}"),
        (true, _, false) => format!("conv({channels}, kernel = 1, stride = {stride});"),
        (true, _, true) => format!("conv: {{ out: {channels}, kernel: 1, stride: {stride} }}"),
    };
    let project = if yaml { format!("project: [ {{ {conv} }} ]") } else { format!("project {{ {conv} }}") };
    Some(format!("`{project}` would bring what comes in to this shape"))
}
