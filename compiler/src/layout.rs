//! How the elements of each value lie, and the conversions between values of different layouts.
//!
//! After this pass every value has a [`Layout`] that all its ops take: those of the convolutions' kernels, planes of channels with a
//! halo for the windows that reach over the edge, wherever such a kernel touches the value or one that is tied to it; PyTorch's order
//! everywhere else. Where the two meet stands a copy, a new op of the program.
//!
//! The cost that is saved: a kernel in planes is several times as fast as one on plain values, and a conversion costs about as much as
//! an elementwise op. So a group of values that elementwise ops and pools tie together is in planes as soon as one convolution is
//! ([`Target::conv`]), unless the copies for ops that have no kernel in planes would cost more than that saves (`cost`).

mod cost;
mod last;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::fuse::PlanKind;
use crate::ir::{Conv, Item, Kind, Loop, Op, Program, Store, ValueId};
use crate::net::LayerId;
use crate::ops::elements;
use crate::target::{Class, Target};

/// How the elements of a value lie, for one sample.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// PyTorch's order: channels, then lines, then columns.
    Plain,
    /// Planes of lanes.
    Blocked(Blocked),
    /// One byte for each element of a map of these planes, without halo: which element of its window a maximum was.
    Places(Blocked),
    /// Channels last: `[position][channel]`, of a graphics card.
    Last {
        /// How many channels.
        channels: u64,
        /// How many positions each has.
        positions: u64,
    },
    /// One byte for each element of a value, in the order of the maxima that they are the places of: a graphics card's.
    Bytes,
    /// Two bits for each element of a map, four channels of a position to a byte: places of maxima of windows of 2 by 2, a graphics card's.
    TwoBits {
        /// How many channels.
        channels: u64,
        /// How many positions each has.
        positions: u64,
    },
}

/// A map in planes: `[plane][depth + halo][lines + halo][columns + halo][lanes]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Blocked {
    /// The channels, in order.
    pub planes: Vec<Plane>,
    /// The map; axes that it does not have are 1.
    pub size: [u64; 3],
    /// Zeros before the map, on each axis.
    pub before: [u64; 3],
    /// Zeros behind it.
    pub after: [u64; 3],
}

/// A part of a value's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plane {
    /// Floats of a position: 16 or 8, or the channels of an image.
    pub lanes: u64,
    /// How many of them are channels.
    pub channels: u64,
}

/// Channels of an input that lie next to each other, in no vector.
const IMAGE_CHANNELS: u64 = 4;

/// Floats behind a value whose planes are no vectors, for vectors that are read from its last position.
const SLACK: u64 = 16;

/// The most elements of a window that a byte tells apart; one number is left for a window without any.
const BYTE_WINDOW: u64 = 255;

impl Blocked {
    /// Positions of a plane, halo included.
    fn positions(&self) -> u64 {
        (0..3).map(|axis| self.before[axis] + self.size[axis] + self.after[axis]).product()
    }

    /// Floats of some planes from one on.
    pub fn planes_len(&self, planes: std::ops::Range<usize>) -> u64 {
        self.planes[planes].iter().map(|plane| plane.lanes).sum::<u64>() * self.positions()
    }

    /// Floats of the value.
    pub fn len(&self) -> u64 {
        let has_slack = self.planes.iter().any(|plane| !plane.lanes.is_multiple_of(8));
        self.planes_len(0..self.planes.len()) + if has_slack { SLACK } else { 0 }
    }

    /// Whether it has no floats.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The float of each element, in PyTorch's order.
    pub fn places(&self) -> Vec<usize> {
        let [_, lines, columns] = self.size;
        let whole = |axis: usize| self.before[axis] + self.size[axis] + self.after[axis];
        let mut places = Vec::new();
        let mut first = 0;
        for plane in &self.planes {
            for channel in 0..plane.channels {
                for at in 0..self.size.iter().product() {
                    let [d, h, w] = [at / columns / lines, at / columns % lines, at % columns];
                    let line = (d + self.before[0]) * whole(1) + h + self.before[1];
                    let position = line * whole(2) + w + self.before[2];
                    places.push((first + position * plane.lanes + channel) as usize);
                }
            }
            first += plane.lanes * self.positions();
        }
        places
    }

    fn without_halo(&self) -> Blocked {
        Blocked { before: [0; 3], after: [0; 3], ..self.clone() }
    }
}

impl Layout {
    /// Floats of a value of so many elements.
    pub fn len(&self, elements: u64) -> u64 {
        match self {
            Layout::Plain | Layout::Last { .. } => elements,
            Layout::Bytes => elements.div_ceil(4),
            Layout::TwoBits { channels, positions } => (channels.div_ceil(4) * positions).div_ceil(4),
            Layout::Blocked(map) => map.len(),
            Layout::Places(map) => map.len().div_ceil(4),
        }
    }

    /// The planes, if it has any.
    pub fn blocked(&self) -> Option<&Blocked> {
        match self {
            Layout::Blocked(map) => Some(map),
            Layout::Plain | Layout::Places(_) | Layout::Last { .. } | Layout::Bytes | Layout::TwoBits { .. } => None,
        }
    }
}

/// 16 channels to a plane; what is left over in one of 8 or 16 lanes.
fn dense(channels: u64) -> Vec<Plane> {
    let mut planes = vec![Plane { lanes: 16, channels: 16 }; (channels / 16) as usize];
    if !channels.is_multiple_of(16) {
        planes.push(Plane { lanes: if channels % 16 <= 8 { 8 } else { 16 }, channels: channels % 16 });
    }
    planes
}

/// A program whose values all have a layout.
pub struct Laid {
    /// The program, with conversions.
    pub program: Program,
    /// By value.
    pub layouts: Vec<Layout>,
}

/// Gives every value its layout. The probe, which shows values as they are, is plain.
pub fn lay(program: Program, kind: PlanKind, target: Target) -> Laid {
    if target == Target::Cuda {
        return last::lay(program, kind);
    }
    let mut layer = Layer::new(&program, target);
    if kind != PlanKind::Probe {
        layer.tie(&program.body);
        layer.settle_planes();
        layer.weigh();
        layer.find_images(&program);
        layer.find_halos(&program.body);
    }
    let layouts = (0..program.values.len()).map(|value| layer.layout(ValueId(value as u32))).collect();
    convert(program, layouts, target)
}

/// Sets of values, of which one stands for each.
struct Sets(Vec<u32>);

impl Sets {
    fn find(&mut self, of: ValueId) -> ValueId {
        let mut at = of.0;
        while self.0[at as usize] != at {
            self.0[at as usize] = self.0[self.0[at as usize] as usize];
            at = self.0[at as usize];
        }
        ValueId(at)
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.0.max(b.0) as usize] = a.0.min(b.0);
    }
}

struct Layer<'a> {
    program: &'a Program,
    target: Target,
    /// Values of one layout: elementwise ops tie them.
    same: Sets,
    /// Values of the same planes: pools tie them too.
    planes: Sets,
    /// Values of which all are in planes or none: `concat` ties them too.
    fates: Sets,
    /// Values that a kernel in planes touches.
    touched: HashSet<ValueId>,
    /// A whole and its parts along the channels.
    parts: Vec<(ValueId, Vec<Part>)>,
    /// Planes of sets that are not dense.
    of_parts: HashMap<ValueId, Vec<Plane>>,
    /// Sets that stay plain after all.
    plain: HashSet<ValueId>,
    images: HashSet<ValueId>,
    /// What windows reach before and behind the map, of each set of one layout.
    halos: HashMap<ValueId, [[u64; 3]; 2]>,
    /// Of each value with places, the value whose maxima they are.
    places: HashMap<ValueId, ValueId>,
}

/// A part of a whole: a value, or channels that nobody reads.
#[derive(Clone, Copy)]
enum Part {
    Value(ValueId),
    Unread(u64),
}

impl<'a> Layer<'a> {
    fn new(program: &'a Program, target: Target) -> Layer<'a> {
        let each = || Sets((0..program.values.len() as u32).collect());
        Layer {
            program,
            target,
            same: each(),
            planes: each(),
            fates: each(),
            touched: HashSet::new(),
            parts: Vec::new(),
            of_parts: HashMap::new(),
            plain: HashSet::new(),
            images: HashSet::new(),
            halos: HashMap::new(),
            places: HashMap::new(),
        }
    }

    fn shape(&self, value: ValueId) -> &'a [u64] {
        &self.program.values[value.0 as usize].shape
    }

    fn is_map(&self, value: ValueId) -> bool {
        (2..=4).contains(&self.shape(value).len())
    }

    fn tie_same(&mut self, values: impl IntoIterator<Item = ValueId>) {
        let values: Vec<ValueId> = values.into_iter().collect();
        for pair in values.windows(2) {
            self.same.join(pair[0], pair[1]);
        }
        self.tie_planes(values);
    }

    fn tie_planes(&mut self, values: impl IntoIterator<Item = ValueId>) {
        let values: Vec<ValueId> = values.into_iter().collect();
        for pair in values.windows(2) {
            self.planes.join(pair[0], pair[1]);
            self.fates.join(pair[0], pair[1]);
        }
    }

    fn tie(&mut self, body: &[Item]) {
        let mut slices: BTreeMap<ValueId, Vec<(u64, ValueId)>> = BTreeMap::new();
        self.tie_body(body, &mut slices);
        for (whole, mut of) in slices {
            of.sort_unstable();
            let per_channel = elements(self.shape(whole)) / self.shape(whole)[0];
            let (mut parts, mut at) = (Vec::new(), 0);
            for (from, part) in of {
                // Parts of which one is in another have no planes in common: it is copied by itself.
                if from < at {
                    continue;
                }
                if from > at {
                    parts.push(Part::Unread((from - at) / per_channel));
                }
                parts.push(Part::Value(part));
                at = from + elements(self.shape(part));
            }
            if elements(self.shape(whole)) > at {
                parts.push(Part::Unread((elements(self.shape(whole)) - at) / per_channel));
            }
            self.relate(whole, parts);
        }
    }

    fn relate(&mut self, whole: ValueId, parts: Vec<Part>) {
        for part in &parts {
            if let Part::Value(part) = part {
                self.fates.join(whole, *part);
            }
        }
        self.parts.push((whole, parts));
    }

    fn tie_body(&mut self, body: &[Item], slices: &mut BTreeMap<ValueId, Vec<(u64, ValueId)>>) {
        for item in body {
            match item {
                Item::Loop(looped) => {
                    self.tie_same([looped.outer, looped.start, looped.end, looped.result]);
                    self.tie_body(&looped.body, slices);
                }
                Item::Op(op) => self.tie_op(op, slices),
            }
        }
    }

    fn tie_op(&mut self, op: &Op, slices: &mut BTreeMap<ValueId, Vec<(u64, ValueId)>>) {
        let written = op.writes.first().map(|write| write.0);
        if let Some((conv, ..)) = conv_of(&op.kind) {
            if self.target.conv(conv) != Class::Plain {
                self.touched.extend(op.reads.iter().copied().chain(written));
                if let Kind::ConvAdd(..) = op.kind {
                    self.tie_planes([op.reads[1], op.writes[0].0]);
                }
                // A lane of the input is a lane of the output.
                if self.target.conv(conv) == Class::Depthwise {
                    self.tie_planes(op.reads.iter().copied().chain(written));
                }
            }
            if let (Kind::ConvPool(..), [y, places]) = (&op.kind, op.writes.as_slice()) {
                self.places.insert(places.0, y.0);
            }
            if let (Kind::ConvPoolGradInput(..), [dy, places]) | (Kind::ConvPoolGradWeight(..), [_, dy, places]) =
                (&op.kind, op.reads.as_slice())
            {
                let y = self.places[places];
                self.tie_planes([y, *dy]);
            }
            return;
        }
        match &op.kind {
            Kind::Concat => self.relate(op.writes[0].0, op.reads.iter().map(|&part| Part::Value(part)).collect()),
            Kind::Slice(from) => slices.entry(op.reads[0]).or_default().push((*from, op.writes[0].0)),
            Kind::Place(from) => slices.entry(op.writes[0].0).or_default().push((*from, op.reads[0])),
            Kind::Shuffle(..) => self.fates.join(op.reads[0], op.writes[0].0),
            Kind::Frame(..) | Kind::Resample(..) | Kind::ResampleGrad(..) => {
                self.tie_planes([op.reads[0], op.writes[0].0]);
            }
            Kind::Mul(sizes) | Kind::MulSum(sizes) if is_by_channel(*sizes, self.shape(op.reads[0])) => {
                self.tie_planes([op.reads[0], op.reads[1], op.writes[0].0]);
            }
            Kind::MaxPool(_, window) if window.taps() <= BYTE_WINDOW => {
                self.tie_planes([op.reads[0], op.writes[0].0]);
                if let [y, places] = op.writes.as_slice() {
                    self.places.insert(places.0, y.0);
                }
            }
            Kind::MaxPoolGrad(_, window) if window.taps() <= BYTE_WINDOW => {
                let y = self.places[&op.reads[1]];
                self.tie_planes([op.reads[0], op.writes[0].0, y]);
            }
            Kind::AvgPool(..) | Kind::AvgPoolGrad(..) => self.tie_planes([op.reads[0], op.writes[0].0]),
            Kind::GroupNorm(norm, ..) | Kind::GroupNormGrad(norm, ..) if !norm.shared => {
                let values = maps_of(op).collect::<Vec<ValueId>>();
                self.tie_same(values);
            }
            kind if is_elementwise(kind) => {
                let values: Vec<ValueId> = op.reads.iter().copied().chain(written).collect();
                if values.iter().all(|&value| self.shape(value) == self.shape(values[0])) {
                    self.tie_same(values);
                }
            }
            _ => {}
        }
    }

    /// Finds which sets are in planes, and the planes of those that are put together of parts.
    fn settle_planes(&mut self) {
        let touched: Vec<ValueId> = self.touched.iter().copied().collect();
        self.touched = touched.into_iter().map(|value| self.fates.find(value)).collect();
        let parts = std::mem::take(&mut self.parts);
        // Parts may be wholes themselves: until nothing changes, at most once for each.
        for _ in 0..=parts.len() {
            let mut changed = false;
            for (whole, of) in &parts {
                let is_along_channels = of.iter().all(|part| match part {
                    Part::Value(part) => self.is_map(*part) && self.shape(*part)[1..] == self.shape(*whole)[1..],
                    Part::Unread(_) => true,
                });
                let channels = |this: &Self, part: &Part| match part {
                    Part::Value(part) => this.shape(*part)[0],
                    Part::Unread(channels) => *channels,
                };
                let sum: u64 = of.iter().map(|part| channels(self, part)).sum();
                let set = self.planes.find(*whole);
                if !is_along_channels || sum != self.shape(*whole)[0] {
                    changed |= self.stays_plain(*whole);
                    continue;
                }
                let mut planes = Vec::new();
                for part in of {
                    planes.extend(match part {
                        Part::Value(part) => self.planes_of(*part),
                        Part::Unread(channels) => dense(*channels),
                    });
                }
                if planes == self.planes_of(*whole) {
                    continue;
                }
                // Two ways to put one set together, or one that never ends, have no planes.
                if self.of_parts.insert(set, planes).is_some() {
                    changed |= self.stays_plain(*whole);
                } else {
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        self.parts = parts;
        for index in 0..self.parts.len() {
            // What did not come to rest stays plain.
            let (whole, of) = self.parts[index].clone();
            let mut planes = Vec::new();
            for part in of {
                planes.extend(match part {
                    Part::Value(part) => self.planes_of(part),
                    Part::Unread(channels) => dense(channels),
                });
            }
            if planes != self.planes_of(whole) {
                self.stays_plain(whole);
            }
        }
    }

    fn stays_plain(&mut self, value: ValueId) -> bool {
        let fate = self.fates.find(value);
        self.plain.insert(fate)
    }

    fn planes_of(&mut self, value: ValueId) -> Vec<Plane> {
        let set = self.planes.find(value);
        self.of_parts.get(&set).cloned().unwrap_or_else(|| dense(self.shape(value)[0]))
    }

    fn is_blocked(&mut self, value: ValueId) -> bool {
        let fate = self.fates.find(value);
        self.is_map(value) && self.touched.contains(&fate) && !self.plain.contains(&fate)
    }

    /// Inputs of few channels that only convolutions read.
    fn find_images(&mut self, program: &Program) {
        let mut loaded = HashSet::new();
        let mut others = HashSet::new();
        let mut look = |op: &Op| match &op.kind {
            Kind::Load(_) => drop(loaded.insert(op.writes[0].0)),
            Kind::Conv(conv, ..)
            | Kind::ConvPool(conv, ..)
            | Kind::ConvGradWeight(conv, ..)
            | Kind::ConvPoolGradWeight(conv, ..)
                if self.target.conv(conv) == Class::Direct =>
            {
                others.extend(op.reads[1..].iter().copied());
            }
            _ => others.extend(op.reads.iter().copied()),
        };
        each_op(&program.body, &mut look);
        each_loop(&program.body, &mut |looped| others.extend([looped.outer, looped.end]));
        others.extend(program.outputs.iter().copied());
        for value in loaded {
            if !others.contains(&value) && self.is_blocked(value) && self.shape(value)[0] <= IMAGE_CHANNELS {
                self.images.insert(value);
            }
        }
    }

    /// Notes what windows reach beside the maps.
    fn find_halos(&mut self, body: &[Item]) {
        let mut wanted: Vec<(ValueId, [[u64; 3]; 2], Class)> = Vec::new();
        let target = self.target;
        each_op(body, &mut |op| {
            let Some((conv, reads_x, reads_dy)) = conv_of(&op.kind) else {
                return;
            };
            let class = target.conv(conv);
            if reads_x {
                wanted.push((op.reads[0], reach_of_input(conv), class));
            }
            if reads_dy {
                wanted.push((op.reads[0], reach_of_gradient(conv), class));
            }
            // What a sparse pass scatters beside the map.
            if let Kind::ConvPoolGradInput(conv, _) = &op.kind {
                wanted.push((op.writes[0].0, reach_of_input(conv), class));
            }
        });
        for (value, reach, class) in wanted {
            if class == Class::Plain || !self.is_blocked(value) {
                continue;
            }
            let set = self.same.find(value);
            let halo = self.halos.entry(set).or_default();
            for side in 0..2 {
                for axis in 0..3 {
                    halo[side][axis] = halo[side][axis].max(reach[side][axis]);
                }
            }
        }
    }

    fn layout(&mut self, value: ValueId) -> Layout {
        if let Some(&y) = self.places.get(&value) {
            return match self.layout(y) {
                Layout::Blocked(map) => Layout::Places(map.without_halo()),
                _ => Layout::Plain,
            };
        }
        if !self.is_blocked(value) {
            return Layout::Plain;
        }
        let planes = if self.images.contains(&value) {
            vec![Plane { lanes: self.shape(value)[0], channels: self.shape(value)[0] }]
        } else {
            self.planes_of(value)
        };
        let set = self.same.find(value);
        let [before, after] = self.halos.get(&set).copied().unwrap_or_default();
        Layout::Blocked(Blocked { planes, size: size_of(self.shape(value)), before, after })
    }
}

/// Spatial sizes, missing axes in front being 1.
fn size_of(shape: &[u64]) -> [u64; 3] {
    let spatial = &shape[1..];
    [0, 1, 2].map(|axis| (axis + spatial.len()).checked_sub(3).map_or(1, |at| spatial[at]))
}

/// The convolution of an op; whether its first read is seen through windows as an input, or as a gradient of the output.
fn conv_of(kind: &Kind) -> Option<(&Conv, bool, bool)> {
    match kind {
        Kind::Conv(conv, ..)
        | Kind::ConvPool(conv, ..)
        | Kind::ConvAdd(conv, ..)
        | Kind::ConvGradWeight(conv, ..)
        | Kind::ConvPoolGradWeight(conv, ..) => Some((conv, true, false)),
        Kind::ConvGradInput(conv, _) | Kind::ConvTranspose(conv, ..) => Some((conv, false, true)),
        Kind::ConvPoolGradInput(conv, _) => Some((conv, false, false)),
        _ => None,
    }
}

/// What a convolution's windows reach before and behind its input.
fn reach_of_input(conv: &Conv) -> [[u64; 3]; 2] {
    let window = &conv.window;
    let behind = |axis: usize| {
        let last =
            (window.out_size[axis] - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis];
        (last + 1).saturating_sub(window.padding[axis] + window.size[axis])
    };
    [window.padding, [0, 1, 2].map(behind)]
}

/// What the flipped windows reach before and behind the gradient of a convolution's output; with strides they are clipped.
fn reach_of_gradient(conv: &Conv) -> [[u64; 3]; 2] {
    let window = &conv.window;
    if window.stride != [1; 3] {
        return [[0; 3]; 2];
    }
    let before = |axis: usize| ((window.kernel[axis] - 1) * window.dilation[axis]).saturating_sub(window.padding[axis]);
    let behind = |axis: usize| (window.size[axis] + window.padding[axis]).saturating_sub(window.out_size[axis]);
    [[0, 1, 2].map(before), [0, 1, 2].map(behind)]
}

/// Ops that take values of any layout, if it is one.
fn is_elementwise(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Act(_)
            | Kind::ActGrad(_)
            | Kind::Curve(_)
            | Kind::CurveGrad(_)
            | Kind::Add
            | Kind::Mul([_, 1, _])
            | Kind::Copy
            | Kind::Dropout(..)
            | Kind::BatchNorm(..)
            | Kind::BatchNormGrad(..)
            | Kind::NormByRunning(..)
            | Kind::NormByRunningGrad(..)
    )
}

/// Whether a product over `[outer, count, inner]` of a map of this shape has one factor for each channel.
fn is_by_channel([outer, count, inner]: [u64; 3], map: &[u64]) -> bool {
    map.len() > 1 && count > 1 && inner == 1 && outer == map[0]
}

/// The values of an op whose layout is a choice; a norm's moments are plain.
fn maps_of(op: &Op) -> impl Iterator<Item = ValueId> {
    let (reads, writes) = match op.kind {
        Kind::GroupNorm(..) => (1, 1),
        Kind::GroupNormGrad(..) => (2, 1),
        _ => (op.reads.len(), op.writes.len()),
    };
    op.reads[..reads].iter().copied().chain(op.writes[..writes].iter().map(|write| write.0))
}

/// Ops that have a kernel for values that are all in planes, whatever their planes.
fn runs_in_planes(kind: &Kind, target: Target) -> bool {
    conv_of(kind).is_some_and(|(conv, ..)| target.conv(conv) != Class::Plain)
        || is_elementwise(kind)
        || matches!(
            kind,
            Kind::MaxPool(..)
                | Kind::MaxPoolGrad(..)
                | Kind::AvgPool(..)
                | Kind::AvgPoolGrad(..)
                | Kind::Frame(..)
                | Kind::Resample(..)
                | Kind::ResampleGrad(..)
                | Kind::Shuffle(..)
                | Kind::GradBias(..)
                | Kind::Concat
        )
}

fn each_op(body: &[Item], look: &mut impl FnMut(&Op)) {
    for item in body {
        match item {
            Item::Op(op) => look(op),
            Item::Loop(looped) => each_op(&looped.body, look),
        }
    }
}

fn each_loop(body: &[Item], look: &mut impl FnMut(&Loop)) {
    for item in body {
        if let Item::Loop(looped) = item {
            look(looped);
            each_loop(&looped.body, look);
        }
    }
}

/// Puts a copy wherever an op and its value are of different layouts.
fn convert(mut program: Program, layouts: Vec<Layout>, target: Target) -> Laid {
    let mut added_to = HashSet::new();
    each_op(&program.body, &mut |op| {
        added_to.extend(op.writes.iter().filter(|write| write.1 == Store::Add).map(|write| write.0));
    });
    let body = std::mem::take(&mut program.body);
    let mut converter = Converter { program, layouts, target, added_to };
    let mut plain = HashMap::new();
    let mut body = converter.body(body, &mut plain);
    for at in 0..converter.program.outputs.len() {
        let output = converter.program.outputs[at];
        if converter.layouts[output.0 as usize] != Layout::Plain {
            let layer = body.last().map(|item| match item {
                Item::Op(op) => op.layer,
                Item::Loop(looped) => looped.layer,
            });
            let copy = converter.plain(output, layer.unwrap_or(LayerId(0)), &mut plain, &mut body);
            converter.program.outputs[at] = copy;
        }
    }
    converter.program.body = body;
    Laid { program: converter.program, layouts: converter.layouts }
}

struct Converter {
    program: Program,
    layouts: Vec<Layout>,
    target: Target,
    /// Values that are not final when they are first written.
    added_to: HashSet<ValueId>,
}

impl Converter {
    fn layout(&self, value: ValueId) -> &Layout {
        &self.layouts[value.0 as usize]
    }

    fn shape(&self, value: ValueId) -> &[u64] {
        &self.program.values[value.0 as usize].shape
    }

    /// Whether the planes of a part are planes of the whole, from an element of that on.
    fn has_planes_of(&self, whole: ValueId, from: u64, part: ValueId) -> bool {
        let (Layout::Blocked(all), Layout::Blocked(of)) = (self.layout(whole), self.layout(part)) else {
            return false;
        };
        let (mut first, mut before) = (0, 0);
        while first < all.planes.len() && before < from {
            before += all.planes[first].channels * all.size.iter().product::<u64>();
            first += 1;
        }
        before == from && all.planes[first..].starts_with(&of.planes)
    }

    /// A plain value of the same shape.
    fn twin(&mut self, value: ValueId) -> ValueId {
        let of = &self.program.values[value.0 as usize];
        let (shape, name) = (of.shape.clone(), format!("{} plain", of.name));
        self.layouts.push(Layout::Plain);
        self.program.value(shape, name)
    }

    /// A value in PyTorch's order: the one that was made before, if there is one.
    fn plain(
        &mut self,
        value: ValueId,
        layer: LayerId,
        made: &mut HashMap<ValueId, ValueId>,
        body: &mut Vec<Item>,
    ) -> ValueId {
        if *self.layout(value) == Layout::Plain {
            return value;
        }
        if let Some(&twin) = made.get(&value) {
            return twin;
        }
        let twin = self.twin(value);
        body.push(copy(value, (twin, Store::Write), layer));
        if !self.added_to.contains(&value) {
            made.insert(value, twin);
        }
        twin
    }

    fn body(&mut self, items: Vec<Item>, made: &mut HashMap<ValueId, ValueId>) -> Vec<Item> {
        let mut body = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Loop(mut looped) => {
                    // What is made inside is not there behind.
                    looped.body = self.body(std::mem::take(&mut looped.body), &mut made.clone());
                    body.push(Item::Loop(looped));
                }
                Item::Op(op) => self.op(op, made, &mut body),
            }
        }
        body
    }

    fn op(&mut self, mut op: Op, made: &mut HashMap<ValueId, ValueId>, body: &mut Vec<Item>) {
        let is_blocked = |this: &Self, value: ValueId| *this.layout(value) != Layout::Plain;
        let takes_any = match &op.kind {
            Kind::Load(_) | Kind::Zero => true,
            // A copy converts, but not from planes to planes of another shape.
            Kind::Copy => {
                let (from, to) = (op.reads[0], op.writes[0].0);
                !(is_blocked(self, from) && is_blocked(self, to)) || self.shape(from) == self.shape(to)
            }
            kind => {
                let takes_planes = runs_in_planes(kind, self.target)
                    || match kind {
                        Kind::Mul(sizes) | Kind::MulSum(sizes) => is_by_channel(*sizes, self.shape(op.reads[0])),
                        Kind::Slice(from) => self.has_planes_of(op.reads[0], *from, op.writes[0].0),
                        Kind::Place(from) => self.has_planes_of(op.writes[0].0, *from, op.reads[0]),
                        Kind::GroupNorm(norm, ..) | Kind::GroupNormGrad(norm, ..) => !norm.shared,
                        _ => false,
                    };
                takes_planes && maps_of(&op).all(|value| is_blocked(self, value))
            }
        };
        if takes_any
            || !op.reads.iter().chain(op.writes.iter().map(|write| &write.0)).any(|&value| is_blocked(self, value))
        {
            body.push(Item::Op(op));
            return;
        }
        let layer = op.layer;
        for read in &mut op.reads {
            *read = self.plain(*read, layer, made, body);
        }
        let mut behind = Vec::new();
        for (write, store) in &mut op.writes {
            if is_blocked(self, *write) {
                let twin = self.twin(*write);
                behind.push(copy(twin, (*write, *store), layer));
                (*write, *store) = (twin, Store::Write);
            }
        }
        body.push(Item::Op(op));
        body.extend(behind);
    }
}

fn copy(from: ValueId, to: (ValueId, Store), layer: LayerId) -> Item {
    Item::Op(Op { kind: Kind::Copy, reads: vec![from], writes: vec![to], layer })
}
