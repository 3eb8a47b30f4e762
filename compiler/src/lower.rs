//! Proof to program: layers become ops, weights get their places.
//!
//! After this pass there are no layers, blocks, shared instances or names, only ops, values, tensors and loops. How a layer becomes
//! ops is its own affair ([`crate::ops::Layer::lower`]).

use std::collections::{HashMap, HashSet};

use crate::check::{Checked, Node};
use crate::ir::{Item, Kind, Loop, Op, Program, Repeat, Store, Tensor, TensorId, ValueId};
use crate::net::{self, LayerId, LayerKind, SharedId};
use crate::ops::{Args, Shape, elements};

/// Lowers a proved model.
pub fn lower(checked: &Checked) -> Program {
    let mut places = Places { checked, tensors: Vec::new(), of_layer: HashMap::new(), pending: Vec::new() };
    let (params, statistics) = places.body(&checked.body, 0);
    let Places { tensors, of_layer, .. } = places;
    let frozen = frozen(checked, &tensors);
    let program = Program { tensors, params, statistics, frozen, ..Program::default() };
    let mut lowering = Lowering {
        checked,
        program,
        of_layer,
        values: HashMap::new(),
        body: Vec::new(),
        layer: LayerId(0),
        name: String::new(),
        uses: 0,
    };
    for (index, input) in checked.net.inputs.iter().enumerate() {
        lowering.name.clone_from(&input.name);
        let value = lowering.op(Kind::Load(index), &[], input.shape.clone().unwrap_or_default());
        lowering.values.insert(net::ValueId::Input(index as u32), value);
    }
    let first = lowering.values.get(&net::ValueId::Input(0)).copied().unwrap_or(ValueId(0));
    let last = lowering.nodes(&checked.body, first);
    lowering.program.outputs = match checked.net.outputs.as_slice() {
        [] => vec![last],
        named => named.iter().filter_map(|output| lowering.values.get(&output.value).copied()).collect(),
    };
    lowering.program.body = lowering.body;
    lowering.program
}

/// The parameters that the training freezes; of a repeat's, if it freezes those of all iterations.
fn frozen(checked: &Checked, tensors: &[Tensor]) -> HashSet<TensorId> {
    let names = checked.net.train.iter().flat_map(|train| &train.tricks.freeze);
    let names: Vec<&str> = names.map(|name| name.text.as_str()).collect();
    let is_named = |tensor: &Tensor, name: &str| {
        let mut parts = tensor.name.split('.');
        name.split('.').all(|wanted| parts.next() == Some(wanted))
    };
    let frozen = tensors.iter().enumerate().filter(|(_, tensor)| names.iter().any(|name| is_named(tensor, name)));
    frozen.map(|(index, _)| TensorId(index as u32)).collect()
}

/// Where tensors lie among the parameters and statistics: in the order the layers run, one set after the other in a repeat.
struct Places<'a> {
    checked: &'a Checked,
    tensors: Vec<Tensor>,
    of_layer: HashMap<LayerId, Vec<TensorId>>,
    /// Shared instances used inside repeats that they are declared outside of: placed at the end of the level they belong to.
    pending: Vec<(usize, &'a Node)>,
}

impl<'a> Places<'a> {
    /// Places the tensors of a level: the model, or the body of `depth` repeats with separate sets. Offsets are from the level's
    /// beginning; gives the level's lengths.
    fn body(&mut self, nodes: &'a [Node], depth: usize) -> (u64, u64) {
        let (mut params, mut statistics) = (0, 0);
        let mut place = |this: &mut Self, first: usize, lens: (u64, u64), times: u64| {
            for tensor in &mut this.tensors[first..] {
                tensor.offset += if tensor.trainable { params } else { statistics };
            }
            params += lens.0 * times;
            statistics += lens.1 * times;
        };
        for node in nodes {
            let first = self.tensors.len();
            let layer = self.checked.net.layer(node.layer);
            match &layer.kind {
                LayerKind::Op(op) => {
                    let lens = self.tensors_of(node, op);
                    place(self, first, lens, 1);
                }
                LayerKind::Repeat { count, tied: false, .. } => {
                    let lens = self.body(&node.bodies[0], depth + 1);
                    for tensor in &mut self.tensors[first..] {
                        let stride = if tensor.trainable { lens.0 } else { lens.1 };
                        tensor.repeats.insert(0, Repeat { layer: node.layer, count: *count, stride });
                    }
                    place(self, first, lens, *count);
                }
                LayerKind::Repeat { count, tied: true, .. } => {
                    let lens = self.body(&node.bodies[0], depth);
                    // A shared instance declared outside is no part of the repeat.
                    let inside = format!("{}.0.", layer.path);
                    for tensor in &mut self.tensors[first..] {
                        if let Some(rest) = tensor.name.strip_prefix(&inside) {
                            tensor.name = format!("{}.*.{rest}", layer.path);
                            tensor.repeats.insert(0, Repeat { layer: node.layer, count: *count, stride: 0 });
                        }
                    }
                    place(self, first, lens, 1);
                }
                LayerKind::Shared(shared) if self.belongs(*shared, &node.bodies[0]) < depth => {
                    let owner = self.belongs(*shared, &node.bodies[0]);
                    if is_first_use(&node.bodies[0]) {
                        self.pending.push((owner, node));
                    }
                }
                _ => {
                    for body in &node.bodies {
                        let first = self.tensors.len();
                        let lens = self.body(body, depth);
                        place(self, first, lens, 1);
                    }
                }
            }
        }
        // Those that belong to this level; placing one may find others inside it.
        while let Some(at) = self.pending.iter().position(|(owner, _)| *owner == depth) {
            let (_, node) = self.pending.remove(at);
            let first = self.tensors.len();
            let lens = self.body(&node.bodies[0], depth);
            place(self, first, lens, 1);
        }
        (params, statistics)
    }

    /// How many separate repeats a shared instance is declared inside of: the `*` in its layers' names.
    fn belongs(&self, _shared: SharedId, body: &[Node]) -> usize {
        let path =
            body.iter().map(|node| self.checked.net.layer(node.layer).path.as_str()).find(|path| !path.is_empty());
        path.map_or(0, |path| path.split('.').filter(|part| *part == "*").count())
    }

    fn tensors_of(&mut self, node: &Node, op: &net::Op) -> (u64, u64) {
        let (mut params, mut statistics) = (0, 0);
        let layer = self.checked.net.layer(node.layer);
        for weight in &node.weights {
            let len = elements(&weight.shape);
            let end = if weight.trainable { &mut params } else { &mut statistics };
            let name = format!("{}.{}", layer.path, weight.name);
            let fill = crate::ops::initialisers::fill(op.layer.decl(), &op.args, weight, &node.weights);
            let id = TensorId(self.tensors.len() as u32);
            let shape = weight.shape.clone();
            self.tensors.push(Tensor {
                name,
                shape,
                offset: *end,
                repeats: Vec::new(),
                fill,
                trainable: weight.trainable,
            });
            self.of_layer.entry(node.layer).or_default().push(id);
            *end += len;
        }
        (params, statistics)
    }
}

/// Whether these nodes have weights of their own, which later uses of a shared instance do not.
fn is_first_use(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| !node.weights.is_empty() || node.bodies.iter().any(|body| is_first_use(body)))
}

/// What layers lower themselves with.
pub struct Lowering<'a> {
    checked: &'a Checked,
    program: Program,
    of_layer: HashMap<LayerId, Vec<TensorId>>,
    values: HashMap<net::ValueId, ValueId>,
    body: Vec<Item>,
    layer: LayerId,
    name: String,
    uses: u32,
}

/// One use of a layer, to be lowered.
pub struct Use<'a> {
    /// The arguments.
    pub args: &'a Args,
    /// The values that come in.
    pub inputs: &'a [ValueId],
    /// Their shapes.
    pub shapes: &'a [Shape],
    /// The output's shape.
    pub output: &'a Shape,
    /// The layer's tensors, by their last names.
    pub tensors: Vec<(String, TensorId)>,
}

impl Use<'_> {
    /// The tensor of this last name, when the layer has it.
    pub fn tensor(&self, name: &str) -> Option<TensorId> {
        self.tensors.iter().find(|(own, _)| own == name).map(|(_, tensor)| *tensor)
    }

    /// The tensor that the layer always has; a layer's shape rule gives it.
    pub fn must(&self, name: &str) -> TensorId {
        self.tensor(name).unwrap_or(TensorId(0))
    }
}

impl<'a> Lowering<'a> {
    /// Adds an op that makes one value of this shape.
    pub fn op(&mut self, kind: Kind, reads: &[ValueId], shape: Shape) -> ValueId {
        let value = self.program.value(shape, self.name.clone());
        self.body.push(Item::Op(Op {
            kind,
            reads: reads.to_vec(),
            writes: vec![(value, Store::Write)],
            layer: self.layer,
        }));
        value
    }

    /// A number for a use that keeps something between forward and backward, or draws random numbers.
    pub fn use_number(&mut self) -> u32 {
        self.uses += 1;
        self.uses - 1
    }

    fn nodes(&mut self, nodes: &'a [Node], mut value: ValueId) -> ValueId {
        for node in nodes {
            value = self.node(node, value);
            self.values.insert(net::ValueId::Layer(node.layer), value);
        }
        value
    }

    fn node(&mut self, node: &'a Node, value: ValueId) -> ValueId {
        let layer = self.checked.net.layer(node.layer);
        self.layer = node.layer;
        self.name = if layer.path.is_empty() { layer.name.clone() } else { layer.path.clone() };
        match &layer.kind {
            LayerKind::Op(op) => {
                let named: Vec<ValueId> =
                    op.values.iter().flatten().filter_map(|value| self.values.get(value).copied()).collect();
                let inputs = if named.is_empty() { vec![value] } else { named };
                let tensors = self.of_layer.get(&node.layer).into_iter().flatten();
                let tensors = tensors.map(|&id| {
                    let name = &self.program.tensors[id.0 as usize].name;
                    (name.rsplit('.').next().unwrap_or_default().to_owned(), id)
                });
                let of = Use {
                    args: &op.args,
                    inputs: &inputs,
                    shapes: &node.inputs,
                    output: &node.output,
                    tensors: tensors.collect(),
                };
                op.layer.lower(self, &of)
            }
            LayerKind::From(from) => self.values.get(from).copied().unwrap_or(value),
            LayerKind::Skip { .. } => {
                let residual = self.nodes(&node.bodies[0], value);
                let other = node.bodies.get(1).map_or(value, |project| self.nodes(project, value));
                self.at(node.layer);
                self.op(Kind::Add, &[residual, other], node.output.clone())
            }
            LayerKind::Branch { join, .. } => {
                let ends: Vec<ValueId> = node.bodies.iter().map(|arm| self.nodes(arm, value)).collect();
                let shapes: Vec<Shape> =
                    ends.iter().map(|end| self.program.values[end.0 as usize].shape.clone()).collect();
                self.at(node.layer);
                let args = Args::default();
                join.lower(
                    self,
                    &Use { args: &args, inputs: &ends, shapes: &shapes, output: &node.output, tensors: Vec::new() },
                )
            }
            LayerKind::Repeat { count: 1, .. } => self.nodes(&node.bodies[0], value),
            LayerKind::Repeat { count, .. } => {
                let name = layer.path.clone();
                let shape = node.output.clone();
                let start = self.program.value(shape.clone(), format!("{name} start"));
                let before = std::mem::take(&mut self.body);
                let mut end = self.nodes(&node.bodies[0], start);
                if end <= start {
                    // What a loop ends with is a value of its own.
                    self.at(node.layer);
                    end = self.op(Kind::Copy, &[end], shape.clone());
                }
                let body = std::mem::replace(&mut self.body, before);
                let result = self.program.value(shape, name.clone());
                self.body.push(Item::Loop(Loop {
                    layer: node.layer,
                    name,
                    count: *count,
                    reversed: false,
                    outer: value,
                    start,
                    end,
                    result,
                    body,
                }));
                result
            }
            LayerKind::Group { .. } | LayerKind::Shared(_) => self.nodes(&node.bodies[0], value),
            LayerKind::Missing => value,
        }
    }

    /// Ops to come are this container's own.
    fn at(&mut self, layer: LayerId) {
        self.layer = layer;
        let layer = self.checked.net.layer(layer);
        self.name = if layer.path.is_empty() { layer.name.clone() } else { layer.path.clone() };
    }
}
