//! Backward: one reverse walk over a training program.
//!
//! After this pass the program also has the loss and every gradient: ops that say what they read, from which follows what is saved. A
//! gradient is written where it is first found and added to after that, decided here; a loop becomes a reversed loop. Nothing is
//! computed that no parameter needs; or, where the inputs' gradients are wanted, that no input does.

use std::collections::{HashMap, HashSet};

use crate::ir::{Act, Item, Kind, Loop, Op, Order, Program, Store, TensorId, ValueId};
use crate::net::LayerId;
use crate::target::Target;

/// Adds the loss of each output and the backward pass to a training program.
pub fn differentiate(mut program: Program, target: Target) -> Program {
    let forward = std::mem::take(&mut program.body);
    let Walk { mut program, body, .. } = walk(program, &forward, target, Wanted::Parameters);
    program.body = forward;
    program.body.extend(body);
    program
}

/// Adds the loss of each output, and the backward pass to the inputs that `wanted` names by their numbers: the program's outputs are the
/// gradients of all inputs then, 0 of the others.
pub fn differentiate_inputs(mut program: Program, target: Target, wanted: &[bool]) -> Program {
    let forward = std::mem::take(&mut program.body);
    let mut walk = walk(program, &forward, target, Wanted::Inputs(wanted));
    let layer = last_layer(&forward);
    let inputs = wanted.iter().enumerate().filter_map(|(input, wanted)| Some((load_of(&forward, input)?, wanted)));
    let gradients = inputs.map(|(value, wanted)| match walk.gradients.get(&value) {
        Some(&gradient) if *wanted => gradient,
        _ => {
            let gradient = walk.gradient_of(value);
            walk.push(Kind::Zero, &[], Some((gradient, Store::Write)), layer);
            gradient
        }
    });
    let outputs = gradients.collect();
    let Walk { mut program, body, .. } = walk;
    program.outputs = outputs;
    program.body = forward;
    program.body.extend(body);
    program
}

/// Whose gradients are wanted.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// The parameters'.
    Parameters,
    /// These inputs', by their numbers.
    Inputs(&'a [bool]),
}

impl Wanted<'_> {
    /// Whether an op has a source of gradients that are wanted.
    fn begins_at(self, kind: &Kind, frozen: &HashSet<TensorId>) -> bool {
        match (self, kind) {
            (Wanted::Parameters, kind) => trains(kind, frozen),
            (Wanted::Inputs(wanted), Kind::Load(input)) => wanted[*input],
            (Wanted::Inputs(_), _) => false,
        }
    }
}

/// The value that an input is loaded into.
fn load_of(body: &[Item], input: usize) -> Option<ValueId> {
    body.iter().find_map(|item| match item {
        Item::Op(op) if op.kind == Kind::Load(input) => Some(op.writes[0].0),
        _ => None,
    })
}

fn walk<'a>(program: Program, forward: &[Item], target: Target, wanted: Wanted<'a>) -> Walk<'a> {
    let mut needed = HashSet::new();
    // Until nothing is found: what a loop's end needs, its start does too.
    let mut found = None;
    while found != Some(needed.len()) {
        found = Some(needed.len());
        find_needed(forward, wanted, &program.frozen, &mut needed);
    }
    let mut walk = Walk { program, target, wanted, needed, gradients: HashMap::new(), body: Vec::new() };
    let layer = last_layer(forward);
    for (index, output) in walk.program.outputs.clone().into_iter().enumerate() {
        let derivative = walk.gradient_of(output);
        walk.push(Kind::Loss(index as u32), &[output], Some((derivative, Store::Write)), layer);
        // Two outputs can be one value.
        match walk.gradients.get(&output) {
            Some(&sum) => walk.push(Kind::Copy, &[derivative], Some((sum, Store::Add)), layer),
            None => drop(walk.gradients.insert(output, derivative)),
        }
    }
    walk.reverse(forward);
    walk
}

fn last_layer(body: &[Item]) -> LayerId {
    match body.last() {
        Some(Item::Op(op)) => op.layer,
        Some(Item::Loop(looped)) => looped.layer,
        None => LayerId(0),
    }
}

/// Collects the values that depend on what has a gradient that is wanted.
fn find_needed(body: &[Item], wanted: Wanted<'_>, frozen: &HashSet<TensorId>, needed: &mut HashSet<ValueId>) {
    for item in body {
        match item {
            Item::Op(op) => {
                if wanted.begins_at(&op.kind, frozen) || op.reads.iter().any(|read| needed.contains(read)) {
                    needed.extend(op.writes.iter().map(|write| write.0));
                }
            }
            Item::Loop(looped) => {
                if needed.contains(&looped.outer) || needed.contains(&looped.end) {
                    needed.insert(looped.start);
                }
                find_needed(&looped.body, wanted, frozen, needed);
                if needed.contains(&looped.end) {
                    needed.extend([looped.start, looped.result]);
                }
            }
        }
    }
}

/// Whether an op has parameters that are trained, or makes the gradients of such.
fn trains(kind: &Kind, frozen: &HashSet<TensorId>) -> bool {
    let any = |tensors: [Option<TensorId>; 2]| tensors.iter().flatten().any(|tensor| !frozen.contains(tensor));
    match kind {
        Kind::Conv(_, weight, bias, _)
        | Kind::ConvPool(_, weight, bias, _)
        | Kind::ConvTranspose(_, weight, bias, _)
        | Kind::Linear(_, weight, bias, _)
        | Kind::ConvGradWeight(_, weight, bias)
        | Kind::ConvPoolGradWeight(_, weight, bias)
        | Kind::LinearGradWeight(_, weight, bias) => any([Some(*weight), *bias]),
        Kind::GradBias(_, bias) => any([Some(*bias), None]),
        Kind::BatchNorm(_, tensors, ..) => any([tensors.weight, tensors.bias]),
        Kind::GroupNorm(_, weight, bias) => any([*weight, *bias]),
        Kind::Custom(_, tensors) => tensors.iter().any(|tensor| !frozen.contains(tensor)),
        _ => false,
    }
}

struct Walk<'a> {
    program: Program,
    target: Target,
    wanted: Wanted<'a>,
    needed: HashSet<ValueId>,
    /// The gradient of each value that has one so far.
    gradients: HashMap<ValueId, ValueId>,
    body: Vec<Item>,
}

impl Walk<'_> {
    fn gradient_of(&mut self, value: ValueId) -> ValueId {
        let of = &self.program.values[value.0 as usize];
        let (shape, name) = (of.shape.clone(), format!("d {}", of.name));
        self.program.value(shape, name)
    }

    /// Where the next contribution to a value's gradient goes, and whether it is the first. None when nothing needs it.
    fn contribute(&mut self, value: ValueId) -> Option<(ValueId, Store)> {
        if !self.needed.contains(&value) {
            return None;
        }
        if let Some(&gradient) = self.gradients.get(&value) {
            return Some((gradient, Store::Add));
        }
        let gradient = self.gradient_of(value);
        self.gradients.insert(value, gradient);
        Some((gradient, Store::Write))
    }

    fn push(&mut self, kind: Kind, reads: &[ValueId], write: Option<(ValueId, Store)>, layer: LayerId) {
        // What writes no value makes gradients of weights. (A batch norm's are one op with that of what it reads.)
        if write.is_none() && (matches!(self.wanted, Wanted::Inputs(_)) || !trains(&kind, &self.program.frozen)) {
            return;
        }
        let writes = write.into_iter().collect();
        self.body.push(Item::Op(Op { kind, reads: reads.to_vec(), writes, layer }));
    }

    fn reverse(&mut self, forward: &[Item]) {
        for (at, item) in forward.iter().enumerate().rev() {
            match item {
                Item::Op(op) => self.op(op, &forward[..at]),
                Item::Loop(looped) => self.looped(looped),
            }
        }
    }

    /// The gradients of an op's reads and weights, from that of its result; what runs before it.
    fn op(&mut self, op: &Op, before: &[Item]) {
        let Some(&(y, _)) = op.writes.first() else {
            return;
        };
        let Some(&dy) = self.gradients.get(&y) else {
            return;
        };
        // Behind here there are gradients of weights alone.
        if matches!(self.wanted, Wanted::Inputs(_)) && !op.reads.iter().any(|read| self.needed.contains(read)) {
            return;
        }
        let layer = op.layer;
        let x = op.reads.first().copied();
        match &op.kind {
            // y = act(W * x + b): dz = dy act'(y); dx = W^T * dz; dW = dz * x; db = sum dz.
            Kind::Conv(conv, weight, bias, act) => {
                let dz = self.before_act(*act, y, dy, layer);
                self.each_read(x, layer, |_| (Kind::ConvGradInput(*conv, *weight), vec![dz]));
                let reads = [op.reads[0], dz];
                self.push(Kind::ConvGradWeight(*conv, *weight, *bias), &reads, None, layer);
            }
            // The same of y = act(max of W * x + b), dz being 0 but at the maxima.
            Kind::ConvPool(conv, weight, bias, act) => {
                let (dy, places) = (self.before_act(*act, y, dy, layer), op.writes[1].0);
                if self.target.is_sparse(conv) {
                    self.each_read(x, layer, |_| (Kind::ConvPoolGradInput(*conv, *weight), vec![dy, places]));
                    let reads = [op.reads[0], dy, places];
                    self.push(Kind::ConvPoolGradWeight(*conv, *weight, *bias), &reads, None, layer);
                } else {
                    let out = conv.window.out_size;
                    let shape = [conv.out_channels].into_iter().chain(out[3 - self.axes(y)..].iter().copied());
                    let name = format!("d {} before its pool", self.program.values[y.0 as usize].name);
                    let dz = self.program.value(shape.collect(), name);
                    let kind = Kind::MaxPoolGrad(conv.out_channels, conv.pool());
                    self.push(kind, &[dy, places], Some((dz, Store::Write)), layer);
                    self.each_read(x, layer, |_| (Kind::ConvGradInput(*conv, *weight), vec![dz]));
                    self.push(Kind::ConvGradWeight(*conv, *weight, *bias), &[op.reads[0], dz], None, layer);
                }
            }
            // y = act(W^T * x + b): dz = dy act'(y); dx = W * dz; dW = x * dz, the sides exchanged; db = sum dz.
            Kind::ConvTranspose(conv, weight, bias, act) => {
                let (x, dz) = (op.reads[0], self.before_act(*act, y, dy, layer));
                let back = Kind::Conv(*conv, *weight, None, Act::None);
                match self.contribute(x) {
                    Some((dx, Store::Add)) => {
                        let part = self.gradient_of(x);
                        self.push(back, &[dz], Some((part, Store::Write)), layer);
                        self.push(Kind::Copy, &[part], Some((dx, Store::Add)), layer);
                    }
                    Some(first) => self.push(back, &[dz], Some(first), layer),
                    None => {}
                }
                self.push(Kind::ConvGradWeight(*conv, *weight, None), &[dz, x], None, layer);
                if let Some(bias) = bias {
                    self.push(Kind::GradBias(conv.channels, *bias), &[dz], None, layer);
                }
            }
            Kind::Linear(linear, weight, bias, act) => {
                let dz = self.before_act(*act, y, dy, layer);
                self.each_read(x, layer, |_| (Kind::LinearGradInput(*linear, *weight), vec![dz]));
                let reads = [op.reads[0], dz];
                self.push(Kind::LinearGradWeight(*linear, *weight, *bias), &reads, None, layer);
            }
            // y = act(x): dx = dy act'(y).
            Kind::Act(act) => self.each_read(x, layer, |_| (Kind::ActGrad(*act), vec![y, dy])),
            // y = curve(x): dx = dy curve'(x).
            Kind::Curve(curve) => {
                let x = op.reads[0];
                self.each_read(Some(x), layer, |_| (Kind::CurveGrad(*curve), vec![x, dy]));
            }
            // y = max of a window: dx is dy at the maximum's place.
            Kind::MaxPool(channels, window) => {
                let places = op.writes[1].0;
                self.each_read(x, layer, |_| (Kind::MaxPoolGrad(*channels, *window), vec![dy, places]));
            }
            // y = mean of a window: dx is dy shared out.
            Kind::AvgPool(channels, window, counts_padding) => {
                self.each_read(x, layer, |_| (Kind::AvgPoolGrad(*channels, *window, *counts_padding), vec![dy]));
            }
            // y = act(g (x - mean) / sqrt(var + eps) + b), mean and var of the batch (Ioffe and Szegedy 2015, section 3).
            // ReLU's part is found again from x, when it is next to the norm.
            Kind::BatchNorm(norm, tensors, act, order) => {
                let is_recomputed = *act == Act::Relu && *order != Some(Order::Before);
                let dz = if is_recomputed { dy } else { self.before_act(*act, y, dy, layer) };
                let x = op.reads[0];
                // Without a gradient to pass on it still has its own weights'.
                let (dx, store) = self.contribute(x).unwrap_or_else(|| (self.gradient_of(x), Store::Write));
                let act = if is_recomputed { Act::Relu } else { Act::None };
                self.push(Kind::BatchNormGrad(*norm, *tensors, act), &[x, dz], Some((dx, store)), layer);
                if let (Some(_), Some(&residual)) = (order, op.reads.get(1)) {
                    self.hand_on(residual, dz, layer);
                }
            }
            // y = g n + b, n = (x - mean) / sqrt(var + eps) of each group: dx = (g dy - mean(g dy) - n mean(g dy n)) / sqrt(var + eps),
            // dg = dy n, db = dy.
            Kind::GroupNorm(norm, weight, bias) => {
                let (x, moments) = (op.reads[0], op.writes[1].0);
                // Without a gradient to pass on it still has its own weights'.
                let (dx, store) = self.contribute(x).unwrap_or_else(|| (self.gradient_of(x), Store::Write));
                let kind = Kind::GroupNormGrad(*norm, *weight, *bias);
                self.push(kind, &[x, dy, moments], Some((dx, store)), layer);
            }
            // y = m x, with the mask and scale m of the same draw.
            Kind::Dropout(p, units, per_unit, of) => {
                self.each_read(x, layer, |_| (Kind::Dropout(*p, *units, *per_unit, *of), vec![dy]));
            }
            // y = x - log sum exp x: dx = dy - exp(y) sum dy.
            Kind::LogSoftmax(sizes) => self.each_read(x, layer, |_| (Kind::LogSoftmaxGrad(*sizes), vec![y, dy])),
            // As the layer says.
            Kind::Custom(custom, tensors) => {
                let x = op.reads[0];
                let has_weights = matches!(self.wanted, Wanted::Parameters) && trains(&op.kind, &self.program.frozen);
                let into = match self.contribute(x) {
                    // Without a gradient to pass on it still has its own weights'.
                    None if has_weights => Some((self.gradient_of(x), Store::Write)),
                    into => into,
                };
                if into.is_some() {
                    let kind = Kind::CustomGrad(custom.clone(), tensors.clone(), has_weights);
                    self.push(kind, &[x, dy], into, layer);
                }
            }
            // y = exp x / sum exp x: dx = y (dy - sum(dy y)).
            Kind::Softmax(sizes) => self.each_read(x, layer, |_| (Kind::SoftmaxGrad(*sizes), vec![y, dy])),
            // y = a + b: da = dy, db = dy.
            Kind::Add => {
                if let Some((once, other)) = self.sides(op, before) {
                    self.gradients.insert(once, dy);
                    self.hand_on(other, dy, layer);
                    return;
                }
                for &read in &op.reads {
                    self.each_read(Some(read), layer, |_| (Kind::Copy, vec![dy]));
                }
            }
            // y = [a, b, …]: da is dy's first part, db its second.
            Kind::Concat => {
                let mut from = 0;
                for &read in &op.reads {
                    self.each_read(Some(read), layer, |_| (Kind::Slice(from), vec![dy]));
                    from += self.program.len(read);
                }
            }
            Kind::Copy => self.each_read(x, layer, |_| (Kind::Copy, vec![dy])),
            // y = a b, b repeated count times: da = b dy, db = sum over count of a dy.
            Kind::Mul(sizes) => {
                let (a, b) = (op.reads[0], op.reads[1]);
                let sum = if sizes[1] == 1 { Kind::Mul(*sizes) } else { Kind::MulSum(*sizes) };
                self.each_read(Some(a), layer, |_| (Kind::Mul(*sizes), vec![dy, b]));
                self.each_read(Some(b), layer, |_| (sum, vec![dy, a]));
            }
            // y = a part of x, or x and zeros beside it: dx is the same of dy, the other way around.
            Kind::Frame(channels, frame) => {
                self.each_read(x, layer, |_| (Kind::Frame(*channels, frame.reversed()), vec![dy]));
            }
            Kind::Slice(from) => self.each_read(x, layer, |_| (Kind::Place(*from), vec![dy])),
            // y = sum of w x with weights of places alone: dx = sum of w dy.
            Kind::Resample(channels, resample) => {
                self.each_read(x, layer, |_| (Kind::ResampleGrad(*channels, *resample), vec![dy]));
            }
            // y = x in another order: dx is dy put back.
            Kind::Shuffle(channels, groups, positions) => {
                let back = Kind::Shuffle(*channels, channels / groups, *positions);
                self.each_read(x, layer, |_| (back, vec![dy]));
            }
            Kind::Permute(sizes, order) => {
                let moved = order.iter().map(|&of| sizes[of]).collect();
                let place = |of: usize| order.iter().position(|&other| other == of).unwrap_or(of);
                let back = Kind::Permute(moved, (0..order.len()).map(place).collect());
                self.each_read(x, layer, |_| (back, vec![dy]));
            }
            // y = act(g (x - mean) / sqrt(var + eps) + b), mean and var running ones: dx = dz g / sqrt(var + eps).
            Kind::NormByRunning(norm, tensors, act) => {
                let dz = self.before_act(*act, y, dy, layer);
                let kind = Kind::NormByRunningGrad(*norm, *tensors);
                match self.contribute(op.reads[0]) {
                    None => {}
                    Some((dx, Store::Write)) => self.push(kind, &[dz], Some((dx, Store::Write)), layer),
                    Some(sum) => {
                        let own = self.gradient_of(op.reads[0]);
                        self.push(kind, &[dz], Some((own, Store::Write)), layer);
                        self.push(Kind::Copy, &[own], Some(sum), layer);
                    }
                }
            }
            // Inputs end the walk; the others are backward's own or inference's.
            Kind::Load(_) | Kind::Zero | Kind::Loss(_) | Kind::ConvAdd(..) => {}
            Kind::ConvPoolGradInput(..)
            | Kind::ConvPoolGradWeight(..)
            | Kind::ConvGradInput(..)
            | Kind::ConvGradWeight(..)
            | Kind::GradBias(..)
            | Kind::LinearGradInput(..)
            | Kind::LinearGradWeight(..)
            | Kind::ActGrad(_)
            | Kind::MaxPoolGrad(..)
            | Kind::AvgPoolGrad(..)
            | Kind::BatchNormGrad(..)
            | Kind::NormByRunningGrad(..)
            | Kind::CustomGrad(..)
            | Kind::CurveGrad(_)
            | Kind::GroupNormGrad(..)
            | Kind::SoftmaxGrad(_)
            | Kind::LogSoftmaxGrad(_)
            | Kind::MulSum(_)
            | Kind::ResampleGrad(..)
            | Kind::Place(_) => {}
        }
    }

    /// Spatial axes of a map.
    fn axes(&self, value: ValueId) -> usize {
        self.program.values[value.0 as usize].shape.len() - 1
    }

    /// The gradient before a fused nonlinearity.
    fn before_act(&mut self, act: Act, y: ValueId, dy: ValueId, layer: LayerId) -> ValueId {
        if act == Act::None {
            return dy;
        }
        let dz = self.gradient_of(y);
        self.push(Kind::ActGrad(act), &[y, dy], Some((dz, Store::Write)), layer);
        dz
    }

    /// Makes a gradient that nothing reads behind here that of another value too, to be added to from here on.
    fn hand_on(&mut self, value: ValueId, gradient: ValueId, layer: LayerId) {
        if !self.needed.contains(&value) {
            return;
        }
        // A value from outside of a loop has a gradient already, from before the loop.
        match self.gradients.get(&value) {
            Some(&sum) => self.push(Kind::Copy, &[gradient], Some((sum, Store::Add)), layer),
            None => drop(self.gradients.insert(value, gradient)),
        }
    }

    /// The two sides of a sum, if their gradients can be the sum's own without a copy: one that is read once, by an op that only reads it,
    /// before anything is added to the other. (A linear layer may read it for its weights later than that.)
    fn sides(&self, op: &Op, before: &[Item]) -> Option<(ValueId, ValueId)> {
        let makes = |item: &Item, value: ValueId| matches!(item, Item::Op(op) if op.writes[0].0 == value);
        let reads = |item: &Item, value: ValueId| match item {
            Item::Op(op) => op.reads.contains(&value),
            Item::Loop(looped) => {
                let mut outside = Vec::new();
                read_from_outside(std::slice::from_ref(item), &mut HashSet::new(), &mut outside);
                looped.outer == value || outside.contains(&value)
            }
        };
        let only_reads = |item: &Item| match item {
            Item::Op(op) => matches!(
                op.kind,
                Kind::Conv(..)
                    | Kind::ConvPool(..)
                    | Kind::ConvTranspose(..)
                    | Kind::BatchNorm(.., None)
                    | Kind::Act(_)
                    | Kind::Curve(_)
                    | Kind::GroupNorm(..)
                    | Kind::MaxPool(..)
                    | Kind::AvgPool(..)
                    | Kind::Dropout(..)
            ),
            Item::Loop(_) => false,
        };
        let is_fused = |item: &Item| match item {
            Item::Op(op) => matches!(
                op.kind,
                Kind::Conv(.., act) | Kind::ConvPool(.., act) | Kind::ConvTranspose(.., act) if act != Act::None
            ),
            Item::Loop(_) => false,
        };
        [(0, 1), (1, 0)].into_iter().map(|(once, other)| (op.reads[once], op.reads[other])).find(|&(once, other)| {
            let Some(maker) = before.iter().rposition(|item| makes(item, once)) else {
                return false;
            };
            let between = &before[maker + 1..];
            once != other
                && self.needed.contains(&once)
                && !self.gradients.contains_key(&once)
                && only_reads(&before[maker])
                // An op whose own gradient goes to the other side would add to what it reads, but for one with a nonlinearity, which makes
                // a gradient of its own first.
                && (!reads(&before[maker], other) || is_fused(&before[maker]))
                && !between.iter().any(|item| reads(item, other) || reads(item, once))
        })
    }

    /// Adds an op that contributes to the gradient of a value, when that is needed.
    fn each_read(&mut self, read: Option<ValueId>, layer: LayerId, op: impl FnOnce(ValueId) -> (Kind, Vec<ValueId>)) {
        if let Some(read) = read
            && let Some(write) = self.contribute(read)
        {
            let (kind, reads) = op(read);
            self.push(kind, &reads, Some(write), layer);
        }
    }

    fn looped(&mut self, looped: &Loop) {
        let Some(&d_result) = self.gradients.get(&looped.result) else {
            return;
        };
        // Values from outside that the body reads gather their gradients over all iterations, from 0.
        let mut outside = Vec::new();
        read_from_outside(&looped.body, &mut HashSet::from([looped.start]), &mut outside);
        for value in outside {
            if !self.gradients.contains_key(&value)
                && let Some(write) = self.contribute(value)
            {
                self.push(Kind::Zero, &[], Some(write), looped.layer);
            }
        }
        let d_end = self.gradient_of(looped.end);
        self.gradients.insert(looped.end, d_end);
        let before = std::mem::take(&mut self.body);
        self.reverse(&looped.body);
        let d_start = match self.gradients.get(&looped.start) {
            // What a loop ends with is a value of its own.
            Some(&d_start) if d_start == d_end => {
                let own = self.gradient_of(looped.start);
                self.push(Kind::Copy, &[d_start], Some((own, Store::Write)), looped.layer);
                own
            }
            Some(&d_start) => d_start,
            None => {
                // The body does not read what it starts from: the iteration before gets no gradient.
                let d_start = self.gradient_of(looped.start);
                self.push(Kind::Zero, &[], Some((d_start, Store::Write)), looped.layer);
                d_start
            }
        };
        let body = std::mem::replace(&mut self.body, before);
        let into = self.contribute(looped.outer);
        let result = match into {
            Some((gradient, Store::Write)) => gradient,
            _ => self.gradient_of(looped.outer),
        };
        self.body.push(Item::Loop(Loop {
            layer: looped.layer,
            name: looped.name.clone(),
            count: looped.count,
            reversed: true,
            outer: d_result,
            start: d_end,
            end: d_start,
            result,
            body,
        }));
        if let Some((gradient, Store::Add)) = into {
            self.push(Kind::Copy, &[result], Some((gradient, Store::Add)), looped.layer);
        }
    }
}

/// The values that a body reads and does not make.
fn read_from_outside(body: &[Item], made: &mut HashSet<ValueId>, outside: &mut Vec<ValueId>) {
    let mut read = |value: ValueId, made: &HashSet<ValueId>| {
        if !made.contains(&value) && !outside.contains(&value) {
            outside.push(value);
        }
    };
    for item in body {
        match item {
            Item::Op(op) => {
                op.reads.iter().for_each(|&value| read(value, made));
                made.extend(op.writes.iter().map(|write| write.0));
            }
            Item::Loop(looped) => {
                read(looped.outer, made);
                made.insert(looped.start);
                let mut inner = Vec::new();
                read_from_outside(&looped.body, made, &mut inner);
                inner.into_iter().for_each(|value| read(value, made));
                made.insert(looped.result);
            }
        }
    }
}
