//! How values lie on a graphics card: maps with channels last wherever a kernel of windows or channels touches them, all else in PyTorch's
//! order.
//!
//! Every kernel there takes every value as it lies: which element is where is arithmetic of its text. So nothing is converted, but for
//! outputs, which are given in PyTorch's order; and a view of a map is the map itself, without a copy.

use std::collections::{HashMap, HashSet};

use super::{BYTE_WINDOW, Laid, Layout, Sets, copy, each_loop, each_op, is_elementwise};
use crate::fuse::PlanKind;
use crate::ir::{Item, Kind, Op, Program, Store, ValueId};
use crate::net::LayerId;
use crate::ops::{Shape, elements};

/// Gives every value its layout.
pub(super) fn lay(mut program: Program, kind: PlanKind) -> Laid {
    let layouts = if kind == PlanKind::Probe { vec![Layout::Plain; program.values.len()] } else { layouts(&program) };
    let mut laid = Laid { program: Program::default(), layouts };
    if kind != PlanKind::Training {
        plain_outputs(&mut program, &mut laid.layouts);
    }
    laid.program = program;
    laid
}

fn layouts(program: &Program) -> Vec<Layout> {
    let shape = |value: ValueId| &program.values[value.0 as usize].shape;
    let mut sets = Sets((0..program.values.len() as u32).collect());
    let (mut touched, mut places, mut views) = (HashSet::new(), HashMap::new(), Vec::new());
    let loaded = loaded(program);
    each_op(&program.body, &mut |op| {
        let values: Vec<ValueId> = op.reads.iter().copied().chain(op.writes.iter().map(|write| write.0)).collect();
        let mut places_lie = |layout: Layout| places.extend(op.writes.get(1).map(|of| (of.0, layout)));
        match &op.kind {
            Kind::ConvPool(conv, ..) => {
                places_lie(Layout::TwoBits { channels: conv.out_channels, positions: conv.pool().positions() });
            }
            // Each of its threads has a channel, and four of one position make a byte.
            &Kind::MaxPool(channels, window) if window.is_two_by_two() && channels.is_multiple_of(4) => {
                places_lie(Layout::TwoBits { channels, positions: window.positions() });
            }
            Kind::MaxPool(_, window) if window.taps() <= BYTE_WINDOW => places_lie(Layout::Bytes),
            Kind::Copy if shape(values[0]) != shape(values[1]) => views.push((values[0], values[1])),
            kind if is_elementwise(kind) && values.iter().all(|&value| shape(value) == shape(values[0])) => {
                values.iter().for_each(|&value| sets.join(value, values[0]));
            }
            _ => {}
        }
        if is_of_channels(op) {
            touched.extend(values.into_iter().filter(|value| !loaded.contains(value)));
        }
    });
    each_loop(&program.body, &mut |looped| {
        [looped.start, looped.end, looped.result].into_iter().for_each(|value| sets.join(value, looped.outer));
    });
    // What maps lie with channels last, set by set.
    let mut maps: HashMap<ValueId, Shape> = HashMap::new();
    for value in touched {
        if shape(value).len() > 1 && !places.contains_key(&value) {
            maps.insert(sets.find(value), shape(value).clone());
        }
    }
    for (from, to) in views {
        let [a, b] = [from, to].map(|value| sets.find(value));
        let (of_a, of_b) = (maps.get(&a).cloned(), maps.get(&b).cloned());
        if of_a.is_none() || of_b.is_none() || of_a == of_b {
            sets.join(a, b);
            if let Some(map) = of_a.or(of_b) {
                maps.insert(sets.find(a), map);
            }
        }
    }
    let values = (0..program.values.len() as u32).map(ValueId);
    let layout = |value: ValueId| {
        if let Some(layout) = places.get(&value) {
            return layout.clone();
        }
        match maps.get(&sets.find(value)) {
            // Of one channel or one position both orders are one.
            Some(map) if map[0] > 1 && elements(&map[1..]) > 1 => {
                Layout::Last { channels: map[0], positions: elements(&map[1..]) }
            }
            _ => Layout::Plain,
        }
    };
    values.map(layout).collect()
}

/// Inputs that are read as they come.
fn loaded(program: &Program) -> HashSet<ValueId> {
    let mut loaded = HashSet::new();
    each_op(&program.body, &mut |op| {
        if let Kind::Load(_) = op.kind {
            loaded.insert(op.writes[0].0);
        }
    });
    loaded
}

/// Ops whose kernels go through a map position by position, with all channels of one next to each other.
fn is_of_channels(op: &Op) -> bool {
    matches!(
        op.kind,
        Kind::Conv(..)
            | Kind::ConvGradInput(..)
            | Kind::ConvGradWeight(..)
            | Kind::ConvTranspose(..)
            | Kind::ConvPool(..)
            | Kind::ConvAdd(..)
            | Kind::MaxPool(..)
            | Kind::MaxPoolGrad(..)
            | Kind::AvgPool(..)
            | Kind::AvgPoolGrad(..)
            | Kind::BatchNorm(..)
            | Kind::BatchNormGrad(..)
            | Kind::NormByRunning(..)
            | Kind::NormByRunningGrad(..)
            | Kind::Frame(..)
            | Kind::Resample(..)
            | Kind::ResampleGrad(..)
    )
}

/// Puts a copy in PyTorch's order behind each output that lies otherwise.
fn plain_outputs(program: &mut Program, layouts: &mut Vec<Layout>) {
    let layer = program.body.last().map_or(LayerId(0), |item| match item {
        Item::Op(op) => op.layer,
        Item::Loop(looped) => looped.layer,
    });
    for at in 0..program.outputs.len() {
        let output = program.outputs[at];
        if layouts[output.0 as usize] != Layout::Plain {
            let of = &program.values[output.0 as usize];
            let (shape, name) = (of.shape.clone(), format!("{} plain", of.name));
            layouts.push(Layout::Plain);
            let plain = program.value(shape, name);
            program.body.push(copy(output, (plain, Store::Write), layer));
            program.outputs[at] = plain;
        }
    }
}
