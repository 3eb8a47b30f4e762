//! Schedule to plan: which slots share memory, and where each lies.
//!
//! After this pass every slot has a place: a region, an offset in floats of one sample, and a stride for each loop whose iterations
//! it outlives. Copies that need not be made are gone. What is written in place of what it reads is decided here, and nowhere
//! else: two slots are one when the second begins where the first ends.

mod gradients;
mod layout;
mod rotate;

use std::collections::HashMap;
use std::fmt;

use crate::ir::{Kind, Program, Store};
use crate::layout::Layout;
use crate::net::LayerId;
use crate::ops::thousands;
use crate::schedule::{At, Call, Kernel, LoopId, Node, Operand, Packed, Repeated, Schedule, SlotId, Step};
use crate::target::Target;
use gradients::largest_gradient;
pub use gradients::{GradientGroup, gradient_groups};
use layout::{largest_live, lay_out};
use rotate::rotate;

/// Floats of 64 bytes: slots begin at multiples of it.
const ALIGN: u64 = 16;

/// Memory that a slot lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// A worker's, used again by each tile.
    Tile,
    /// The batch's.
    Batch,
}

/// A schedule with its memory.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What runs; copies within one place are gone.
    pub schedule: Schedule,
    /// Where each slot lies.
    pub places: Vec<Place>,
    /// Floats of one sample, in a worker's memory.
    pub tile: u64,
    /// Floats from one sample to the next, in the batch's memory.
    pub batch: u64,
    /// Where each use of a batch norm keeps its numbers of the batch.
    pub states: HashMap<u32, Strided>,
    /// Floats of those.
    pub state: u64,
    /// Floats of the largest gradient that a stage makes for each tile.
    pub gradients: u64,
    /// Floats that a kernel needs for its own use, the largest, for each worker.
    pub scratch: u64,
    /// The first float of each packed copy, and strides of the loops that have separate weights.
    pub packed: Vec<Strided>,
    /// Floats of all packed copies.
    pub packed_len: u64,
    /// The largest sum of what lives at once, in both: no plan can do with less.
    pub bound: (u64, u64),
    /// Every piece of memory, for `netc plan` and the verifier.
    pub blocks: Vec<Block>,
}

/// The first float of what is kept for each iteration of some loops, and the strides of those.
pub type Strided = (u64, Vec<(LayerId, u64)>);

/// Where a slot lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The memory.
    pub region: Region,
    /// The first float, of the first iteration.
    pub offset: u64,
    /// Floats from one iteration's value to the next one's, for each loop that the slot outlives.
    pub strides: Vec<(LayerId, u64)>,
    /// A carried value's loop, its iterations, and the floats between them: 0 when all share one place.
    pub chain: Option<(LayerId, u64, u64)>,
    /// Which of its loop's carried values the slot is.
    pub at: At,
    /// The piece of memory it is in, of [`Plan::blocks`]; None for a slot that nothing touches.
    pub block: Option<usize>,
}

/// A piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The slots in it.
    pub names: Vec<String>,
    /// The memory.
    pub region: Region,
    /// The first float.
    pub offset: u64,
    /// Floats.
    pub len: u64,
    /// The first and last call that touch it, by number.
    pub live: (usize, usize),
    /// The loops that it lives inside of: each of their iterations takes the memory anew.
    pub inside: Vec<LoopId>,
}

/// An operand's address: `offset + Σ (variable + shift) * stride`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The memory.
    pub region: Region,
    /// Floats.
    pub offset: u64,
    /// A loop's variable, by its repeat's layer, and floats for each of its steps.
    pub terms: Vec<(LayerId, u64)>,
    /// How many floats.
    pub len: u64,
}

impl Plan {
    /// Where an operand is.
    pub fn address(&self, operand: &Operand) -> Address {
        let place = &self.places[operand.slot.0 as usize];
        let (from, len) = self.schedule.floats(operand);
        let mut offset = place.offset + from;
        let mut terms = place.strides.clone();
        if let Some((layer, count, stride)) = place.chain
            && stride > 0
        {
            match if operand.at == At::Here { place.at } else { operand.at } {
                At::Here => terms.push((layer, stride)),
                At::Next => {
                    terms.push((layer, stride));
                    offset += stride;
                }
                At::First => {}
                At::Last => offset += count * stride,
            }
        }
        Address { region: place.region, offset, terms, len }
    }
}

/// Plans the memory of a schedule.
pub fn plan(program: &Program, schedule: Schedule, target: Target) -> Plan {
    let mut planner = Planner::new(schedule);
    planner.join_copies();
    planner.write_in_place();
    let mut plan = planner.place(program);
    if target.has_tiles() {
        plan.batch = apart(plan.batch);
    }
    plan.schedule.steps = rotate(program, std::mem::take(&mut plan.schedule.steps));
    plan
}

/// Floats of a sample in the batch's memory, of at least so many. Of a long one they are an odd number of lines of the cache: products read
/// columns of samples, which then lie all over a cache, where multiples of 4 KiB would meet in a few of its places.
fn apart(floats: u64) -> u64 {
    const LONG: u64 = 256;
    if floats < LONG { floats } else { (floats.div_ceil(ALIGN) | 1) * ALIGN }
}

/// One mention of a slot.
#[derive(Clone, Debug)]
struct Access {
    /// The call's number.
    call: usize,
    writes: bool,
    at: At,
}

/// Where a call stands.
#[derive(Clone, Debug)]
struct Site {
    /// The loops around it.
    path: Vec<LoopId>,
    /// Its stage, and how many of the loops stand around that; None for a call on the whole batch.
    stage: Option<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct LoopInfo {
    layer: LayerId,
    count: u64,
    /// The first and last call in it.
    span: (usize, usize),
}

/// Slots that share one memory.
#[derive(Clone, Debug, Default)]
struct Class {
    accesses: Vec<Access>,
    home: Vec<LoopId>,
    chain: Option<LoopId>,
    len: u64,
    layout: Option<Layout>,
    names: Vec<String>,
}

struct Planner {
    schedule: Schedule,
    calls: Vec<Call>,
    sites: Vec<Site>,
    loops: HashMap<LoopId, LoopInfo>,
    classes: Vec<Class>,
    /// The class that took a slot in, and as which of its carried values.
    joined: Vec<Option<(SlotId, At)>>,
}

impl Planner {
    fn new(schedule: Schedule) -> Planner {
        let classes = schedule
            .slots
            .iter()
            .map(|slot| Class {
                accesses: Vec::new(),
                home: slot.home.clone(),
                chain: slot.chain,
                len: slot.len,
                layout: Some(slot.layout.clone()),
                names: vec![slot.name.clone()],
            })
            .collect();
        let joined = vec![None; schedule.slots.len()];
        let mut planner =
            Planner { schedule, calls: Vec::new(), sites: Vec::new(), loops: HashMap::new(), classes, joined };
        let steps = std::mem::take(&mut planner.schedule.steps);
        let mut stages = 0;
        planner.number_steps(&steps, &mut Vec::new(), &mut stages);
        planner.schedule.steps = steps;
        // Outputs are read behind everything.
        let end = planner.calls.len();
        for output in planner.schedule.outputs.clone() {
            let access = Access { call: end, writes: false, at: output.at };
            planner.classes[output.slot.0 as usize].accesses.push(access);
        }
        planner.sites.push(Site { path: Vec::new(), stage: None });
        planner
    }

    fn number_steps(&mut self, steps: &[Step], path: &mut Vec<LoopId>, stages: &mut usize) {
        for step in steps {
            match step {
                Step::Whole(call) => self.number(call, path, None),
                Step::Stage(nodes) => {
                    *stages += 1;
                    self.number_nodes(nodes, path, (*stages, path.len()));
                }
                Step::Loop(looped) => {
                    let first = self.calls.len();
                    path.push(looped.id);
                    self.number_steps(&looped.body, path, stages);
                    path.pop();
                    self.note_loop(looped, first);
                }
            }
        }
    }

    fn number_nodes(&mut self, nodes: &[Node], path: &mut Vec<LoopId>, stage: (usize, usize)) {
        for node in nodes {
            match node {
                Node::Call(call) => self.number(call, path, Some(stage)),
                Node::Loop(looped) => {
                    let first = self.calls.len();
                    path.push(looped.id);
                    self.number_nodes(&looped.body, path, stage);
                    path.pop();
                    self.note_loop(looped, first);
                }
                Node::Begin(_) => unreachable!("loops begin early once everything has its place"),
            }
        }
    }

    fn note_loop<T>(&mut self, looped: &Repeated<T>, first: usize) {
        let span = (first, self.calls.len().saturating_sub(1).max(first));
        self.loops.insert(looped.id, LoopInfo { layer: looped.layer, count: looped.count, span });
    }

    fn number(&mut self, call: &Call, path: &[LoopId], stage: Option<(usize, usize)>) {
        let number = self.calls.len();
        for read in &call.reads {
            let access = Access { call: number, writes: false, at: read.at };
            self.classes[read.slot.0 as usize].accesses.push(access);
        }
        for (write, _) in &call.writes {
            let access = Access { call: number, writes: true, at: write.at };
            self.classes[write.slot.0 as usize].accesses.push(access);
        }
        self.calls.push(call.clone());
        self.sites.push(Site { path: path.to_vec(), stage });
    }

    /// The class of an operand, and which of its carried values it is.
    fn find(&self, operand: &Operand) -> (SlotId, At) {
        let (mut slot, mut at) = (operand.slot, operand.at);
        while let Some((into, as_what)) = self.joined[slot.0 as usize] {
            if at == At::Here {
                at = as_what;
            }
            slot = into;
        }
        (slot, at)
    }

    fn class(&self, slot: SlotId) -> &Class {
        &self.classes[slot.0 as usize]
    }

    /// Makes `slot` a part of `into`, as one of its carried values.
    fn join(&mut self, slot: SlotId, into: SlotId, at: At) {
        let mut class = std::mem::take(&mut self.classes[slot.0 as usize]);
        for access in &mut class.accesses {
            if access.at == At::Here {
                access.at = at;
            }
        }
        let whole = &mut self.classes[into.0 as usize];
        whole.accesses.append(&mut class.accesses);
        whole.accesses.sort_by_key(|access| access.call);
        whole.names.append(&mut class.names);
        self.joined[slot.0 as usize] = Some((into, at));
    }

    /// Whether a class is read by other iterations than its own: by a reversed loop, that is.
    fn is_saved(&self, class: &Class) -> bool {
        class.accesses.iter().any(|access| {
            let path = &self.sites[access.call].path;
            let is_inside = path.starts_with(&class.home);
            let misses_chain =
                class.chain.is_some_and(|chain| matches!(access.at, At::Here | At::Next) && !path.contains(&chain));
            !is_inside || misses_chain
        })
    }

    /// Makes one of the two sides of a copy where that is the same to every reader.
    fn join_copies(&mut self) {
        for number in 0..self.calls.len() {
            let call = &self.calls[number];
            let (Kernel::Op(Kind::Copy), [read], [(write, Store::Write)]) =
                (&call.kernel, call.reads.as_slice(), call.writes.as_slice())
            else {
                continue;
            };
            if read.part.is_some() || write.part.is_some() {
                continue;
            }
            let ((from, from_at), (to, to_at)) = (self.find(read), self.find(write));
            if from == to {
                continue;
            }
            let (of_from, of_to) = (self.class(from), self.class(to));
            if !is_same_memory(of_from, of_to) {
                continue;
            }
            match (of_from.chain, of_to.chain) {
                (None, None) if of_from.home == of_to.home && self.may_share(from, to, number) => {
                    self.join(to, from, At::Here)
                }
                (None, Some(chain)) if to_at == At::Next && self.may_be_next(from, to, chain) => {
                    self.join(from, to, At::Next)
                }
                (None, Some(_))
                    if to_at == At::First && of_from.home == of_to.home && self.may_be_first(from, to, number) =>
                {
                    self.join(from, to, At::First);
                }
                (Some(_), None)
                    if from_at == At::Last && of_from.home == of_to.home && self.may_share(from, to, number) =>
                {
                    self.join(to, from, At::Last);
                }
                _ => {}
            }
        }
    }

    /// Whether the two sides of a copy can be one: behind it either the source is not touched, or neither is written.
    fn may_share(&self, from: SlotId, to: SlotId, copy: usize) -> bool {
        let (from, to) = (self.class(from), self.class(to));
        let behind = |class: &Class, writes_only: bool| {
            class.accesses.iter().any(|access| access.call > copy && (access.writes || !writes_only))
        };
        let begins_here = to.accesses.iter().all(|access| access.call >= copy);
        begins_here && (!behind(from, false) || (!behind(from, true) && !behind(to, true)))
    }

    /// Whether what a loop's body ends with can be made where the next iteration starts from.
    fn may_be_next(&self, end: SlotId, chain: SlotId, of: LoopId) -> bool {
        let (end, chain) = (self.class(end), self.class(chain));
        let body: Vec<LoopId> = chain.home.iter().copied().chain([of]).collect();
        if end.home != body || chain.accesses.iter().filter(|access| access.at == At::Next).count() != 1 {
            return false;
        }
        if self.is_saved(chain) || self.is_saved(end) {
            return true;
        }
        // One place for all iterations: what it starts from must be done with, or read by a call that may overwrite it.
        let Some(made) = end.accesses.iter().find(|access| access.writes).map(|access| access.call) else {
            return false;
        };
        chain.accesses.iter().filter(|access| access.at == At::Here).all(|access| {
            access.call < made || (access.call == made && !access.writes && self.overwrites(made, end, chain))
        })
    }

    /// Whether a call may write `to` over what it reads of `from`.
    fn overwrites(&self, call: usize, to: &Class, from: &Class) -> bool {
        let call = &self.calls[call];
        let is = |operand: &Operand, class: &Class| std::ptr::eq(self.class(self.find(operand).0), class);
        let [(write, Store::Write)] = call.writes.as_slice() else {
            return false;
        };
        let over = over(&call.kernel);
        is(write, to)
            && write.part.is_none()
            && call
                .reads
                .iter()
                .enumerate()
                .all(|(index, read)| !is(read, from) || (over.contains(&index) && read.part.is_none()))
    }

    /// Whether the value before a loop can lie where the first iteration starts from.
    fn may_be_first(&self, outer: SlotId, chain: SlotId, copy: usize) -> bool {
        let (outer, chain) = (self.class(outer), self.class(chain));
        let is_last = outer.accesses.iter().all(|access| access.call <= copy);
        // A saved chain is never overwritten, so the value may be read on.
        let only_read_on = outer.accesses.iter().all(|access| access.call <= copy || !access.writes);
        chain.accesses.iter().all(|access| access.call >= copy) && (is_last || (self.is_saved(chain) && only_read_on))
    }

    /// Lets kernels that may write over what they read do so, where nothing reads it after.
    fn write_in_place(&mut self) {
        for number in 0..self.calls.len() {
            let call = self.calls[number].clone();
            let [(write, Store::Write)] = call.writes.as_slice() else {
                continue;
            };
            for &index in over(&call.kernel) {
                let read = &call.reads[index];
                if read.part.is_some() || write.part.is_some() {
                    continue;
                }
                let ((from, _), (to, _)) = (self.find(read), self.find(write));
                let (of_from, of_to) = (self.class(from), self.class(to));
                let fits = from != to
                    && of_from.chain.is_none()
                    && of_to.chain.is_none()
                    && of_from.home == of_to.home
                    && self.sites[number].path == of_from.home
                    && is_same_memory(of_from, of_to)
                    && of_from.accesses.iter().all(|access| access.call <= number)
                    && of_to.accesses.iter().all(|access| access.call >= number)
                    && call
                        .reads
                        .iter()
                        .enumerate()
                        .all(|(other, operand)| other == index || self.find(operand).0 != from);
                if fits {
                    self.join(to, from, At::Here);
                    break;
                }
            }
        }
    }

    /// Gives every class its place, and drops the copies that stay where they are.
    fn place(mut self, program: &Program) -> Plan {
        let mut blocks = Vec::new();
        let mut places: Vec<Option<Place>> = vec![None; self.classes.len()];
        for (index, class) in self.classes.iter().enumerate() {
            if self.joined[index].is_some() || class.accesses.is_empty() {
                continue;
            }
            let (place, len) = self.shape_of(class);
            let (names, live) = (class.names.clone(), self.live(class));
            let inside = class.home[..self.common_depth(class)].to_vec();
            places[index] = Some(Place { block: Some(blocks.len()), ..place });
            blocks.push((index, Block { names, region: place.region, offset: 0, len, live, inside }));
        }
        let [tile, batch] = [Region::Tile, Region::Batch].map(|region| lay_out(&mut blocks, region));
        for (index, block) in &blocks {
            if let Some(place) = &mut places[*index] {
                place.offset = block.offset;
            }
        }
        let nowhere =
            Place { region: Region::Tile, offset: 0, strides: Vec::new(), chain: None, at: At::Here, block: None };
        let places: Vec<Place> = (0..self.classes.len())
            .map(|index| {
                let (root, at) = self.find(&Operand { slot: SlotId(index as u32), at: At::Here, part: None });
                let place = places[root.0 as usize].clone().unwrap_or(nowhere.clone());
                Place { at, ..place }
            })
            .collect();
        let blocks: Vec<Block> = blocks.into_iter().map(|(_, block)| block).collect();
        let bound = (largest_live(&blocks, Region::Tile), largest_live(&blocks, Region::Batch));
        let (states, state) = self.states();
        let steps = std::mem::take(&mut self.schedule.steps);
        let schedule = self.schedule;
        let (packed, packed_len) = packed(program, &schedule);
        let mut plan = Plan {
            schedule,
            places,
            tile,
            batch,
            states,
            state,
            gradients: 0,
            scratch: 0,
            packed,
            packed_len,
            bound,
            blocks,
        };
        plan.schedule.steps = without_idle_steps(&plan, steps);
        plan.scratch = self.calls.iter().map(|call| call.scratch).max().unwrap_or(0);
        plan.gradients = largest_gradient(program, &plan.schedule.steps, &mut Vec::new());
        plan
    }

    /// Places for the numbers of each batch norm: mean, deviation, and three coefficients of its backward, for each iteration.
    fn states(&self) -> (HashMap<u32, Strided>, u64) {
        let mut states = HashMap::new();
        let mut end = 0;
        for (call, site) in self.calls.iter().zip(&self.sites) {
            if let Kernel::NormMerge(norm, _) = &call.kernel {
                let mut len = (5 * norm.channels).next_multiple_of(ALIGN);
                let mut terms = Vec::new();
                for id in site.path.iter().rev() {
                    let info = &self.loops[id];
                    terms.insert(0, (info.layer, len));
                    len *= info.count;
                }
                states.insert(norm.of, (end, terms));
                end += len;
            }
        }
        (states, end)
    }

    /// A class's place but for its offset, and its floats with all iterations.
    fn shape_of(&self, class: &Class) -> (Place, u64) {
        let depth = self.common_depth(class);
        let mut len = class.len.next_multiple_of(ALIGN);
        let mut chain = None;
        if let Some(id) = class.chain {
            let info = &self.loops[&id];
            let stride = if self.is_saved(class) { len } else { 0 };
            len += stride * info.count;
            chain = Some((info.layer, info.count, stride));
        }
        let mut strides = Vec::new();
        for id in class.home[depth..].iter().rev() {
            let info = &self.loops[id];
            strides.insert(0, (info.layer, len));
            len *= info.count;
        }
        let mut stages = class.accesses.iter().map(|access| self.sites[access.call].stage);
        let first = stages.next().flatten();
        // In a worker's memory when one stage does it all, and each of its tiles from the beginning.
        let is_local = first.is_some_and(|(_, loops)| class.home.len() >= loops && depth >= loops)
            && stages.all(|stage| stage.map(|(stage, _)| stage) == first.map(|(stage, _)| stage));
        let region = if is_local { Region::Tile } else { Region::Batch };
        (Place { region, offset: 0, strides, chain, at: At::Here, block: None }, len)
    }

    /// How many loops every access to a class is inside of together.
    fn common_depth(&self, class: &Class) -> usize {
        let common = |path: &[LoopId]| class.home.iter().zip(path).take_while(|(a, b)| a == b).count();
        class.accesses.iter().map(|access| common(&self.sites[access.call].path)).min().unwrap_or(0)
    }

    /// The calls between which a class's memory is its own. A loop that touches it, inside of what it lives in, holds it from its first
    /// call to its last.
    fn live(&self, class: &Class) -> (usize, usize) {
        let depth = self.common_depth(class);
        let spans = class.accesses.iter().map(|access| match self.sites[access.call].path.get(depth) {
            Some(inner) => self.loops[inner].span,
            None => (access.call, access.call),
        });
        spans.fold((usize::MAX, 0), |(first, last), (from, to)| (first.min(from), last.max(to)))
    }
}

/// Where each packed copy lies: one behind the other, the sets of a weight that a repeat keeps apart in its order.
fn packed(program: &Program, schedule: &Schedule) -> (Vec<Strided>, u64) {
    let mut end = 0;
    let place = |copy: &Packed| {
        let (first, mut len) = (end, copy.len.next_multiple_of(ALIGN));
        let mut strides = Vec::new();
        for repeat in program.tensor(copy.tensor).repeats.iter().rev().filter(|repeat| repeat.stride > 0) {
            strides.insert(0, (repeat.layer, len));
            len *= repeat.count;
        }
        end += len;
        (first, strides)
    };
    (schedule.packed.iter().map(place).collect(), end)
}

/// Whether the elements of two classes lie in the same order: a view of a map's elements is one too.
fn is_same_memory(a: &Class, b: &Class) -> bool {
    a.len == b.len && a.layout == b.layout
}

/// Which of its reads a kernel may write over.
pub fn over(kernel: &Kernel) -> &'static [usize] {
    match kernel {
        Kernel::Op(Kind::Act(_) | Kind::Curve(_) | Kind::Dropout(..) | Kind::Copy) => &[0],
        Kernel::Op(Kind::ActGrad(_) | Kind::CurveGrad(_)) | Kernel::NormBackward(..) => &[1],
        Kernel::Op(Kind::Add | Kind::Mul([_, 1, _])) => &[0, 1],
        _ => &[],
    }
}

/// Whether a call copies a place to itself.
fn is_idle(plan: &Plan, call: &Call) -> bool {
    match (&call.kernel, call.reads.as_slice(), call.writes.as_slice()) {
        (Kernel::Op(Kind::Copy), [read], [(write, Store::Write)]) => plan.address(read) == plan.address(write),
        _ => false,
    }
}

fn without_idle_steps(plan: &Plan, steps: Vec<Step>) -> Vec<Step> {
    steps
        .into_iter()
        .filter_map(|step| match step {
            Step::Whole(call) => (!is_idle(plan, &call)).then_some(Step::Whole(call)),
            Step::Stage(nodes) => {
                let nodes = without_idle_nodes(plan, nodes);
                (!nodes.is_empty()).then_some(Step::Stage(nodes))
            }
            Step::Loop(looped) => {
                let body = without_idle_steps(plan, looped.body);
                (!body.is_empty()).then_some(Step::Loop(Repeated { body, ..looped }))
            }
        })
        .collect()
}

fn without_idle_nodes(plan: &Plan, nodes: Vec<Node>) -> Vec<Node> {
    nodes
        .into_iter()
        .filter_map(|node| match node {
            Node::Call(call) => (!is_idle(plan, &call)).then_some(Node::Call(call)),
            Node::Loop(looped) => {
                let body = without_idle_nodes(plan, looped.body);
                (!body.is_empty()).then_some(Node::Loop(Repeated { body, ..looped }))
            }
            Node::Begin(begin) => Some(Node::Begin(begin)),
        })
        .collect()
}

/// Says what is wrong with a plan: blocks that share floats while both live, or a slot outside its region.
pub fn verify(plan: &Plan) -> Result<(), String> {
    for (index, block) in plan.blocks.iter().enumerate() {
        let region = if block.region == Region::Tile { plan.tile } else { plan.batch };
        if block.offset + block.len > region || block.offset % ALIGN != 0 {
            return Err(format!("{:?} lies outside its region", block.names));
        }
        for other in &plan.blocks[index + 1..] {
            let same_time = other.live.0 <= block.live.1 && block.live.0 <= other.live.1;
            let same_floats = other.offset < block.offset + block.len && block.offset < other.offset + other.len;
            if other.region == block.region && same_time && same_floats {
                return Err(format!("{:?} and {:?} share floats while both live", block.names, other.names));
            }
        }
    }
    Ok(())
}

/// The memory of a plan as a table: what `netc plan` prints.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |floats: u64| thousands(4 * floats);
        let regions = [
            (Region::Tile, "a worker's memory", self.tile, self.bound.0),
            (Region::Batch, "the batch's memory", self.batch, self.bound.1),
        ];
        for (region, name, len, bound) in regions {
            writeln!(f, "{name}: {} bytes a sample, of which at most {} live at once", bytes(len), bytes(bound))?;
            let mut blocks: Vec<&Block> = self.blocks.iter().filter(|block| block.region == region).collect();
            blocks.sort_by_key(|block| (block.live, block.offset));
            if !blocks.is_empty() {
                writeln!(f, "{:>13}  {:>13}  {:>11}  value", "offset", "bytes", "live")?;
            }
            for block in blocks {
                let live = format!("{}-{}", block.live.0, block.live.1);
                let names = block.names.join(" = ");
                writeln!(f, "{:>13}  {:>13}  {live:>11}  {names}", bytes(block.offset), bytes(block.len))?;
            }
        }
        writeln!(f, "numbers of the whole batch: {} bytes", bytes(self.state))?;
        writeln!(f, "a stage's gradient: {} bytes a tile", bytes(self.gradients))?;
        writeln!(f, "kernels' scratch: {} bytes a worker", bytes(self.scratch))?;
        writeln!(f, "packed weights: {} bytes", bytes(self.packed_len))
    }
}
