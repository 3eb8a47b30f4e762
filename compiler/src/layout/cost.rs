//! Which groups of values are worth their planes.
//!
//! A group is what `concat`, pools and elementwise ops tie together: all of it is in planes, or none. A convolution whose values are all
//! in planes saves what its kernel on plain values would take longer; an op that has no kernel in planes, or whose values are not all in
//! planes, costs a conversion for each one that is. What both take, `Target` says, from sizes alone.
//!
//! At first all groups are in planes that a convolution touches. Then whatever saves most goes back to PyTorch's order, until nothing
//! does: a group, the two sides of a convolution, or all that convolutions join, since one side alone would have to be converted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Layer, conv_of, is_by_channel, maps_of, runs_in_planes};
use crate::ir::{Item, Kind, Op, ValueId};
use crate::ops::elements;

/// Of an op that touches groups, what it takes of one sample in picoseconds of one core, beside what it takes in planes.
struct Bill {
    /// The groups, and what a conversion of each one's values takes.
    groups: BTreeMap<ValueId, u64>,
    /// Whether all its values are of groups, and it has a kernel in planes.
    may_run: bool,
    /// What that kernel saves.
    saves: u64,
    /// Whether it has no other kernel.
    must_run: bool,
}

impl Bill {
    /// What the op takes when these groups are plain; None if it cannot run.
    fn takes(&self, is_plain: impl Fn(ValueId) -> bool) -> Option<u64> {
        let conversions = self.groups.iter().filter(|(group, _)| !is_plain(**group));
        let in_planes = conversions.clone().count() == self.groups.len();
        match (self.may_run && in_planes, self.must_run) {
            (true, _) => Some(0),
            (false, true) => None,
            (false, false) => {
                Some(conversions.fold(self.saves, |sum, (_, conversion)| sum.saturating_add(*conversion)))
            }
        }
    }
}

impl Layer<'_> {
    /// Leaves in PyTorch's order what costs more in planes than it saves.
    pub(super) fn weigh(&mut self) {
        let (mut bills, program) = (Vec::new(), self.program);
        self.bills(&program.body, 1, &mut bills);
        let mut of_group: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        for (number, bill) in bills.iter().enumerate() {
            bill.groups.keys().for_each(|&group| of_group.entry(group).or_default().push(number));
        }
        let candidates = candidates(&bills, of_group.keys().copied());
        let mut plain: BTreeSet<ValueId> = BTreeSet::new();
        loop {
            let saves = |candidate: &&BTreeSet<ValueId>| {
                let touched: BTreeSet<usize> =
                    candidate.iter().flat_map(|group| of_group[group].iter().copied()).collect();
                let (mut now, mut then) = (0_u64, 0_u64);
                for number in touched {
                    now = now.saturating_add(bills[number].takes(|group| plain.contains(&group)).unwrap_or(u64::MAX));
                    let takes = bills[number].takes(|group| plain.contains(&group) || candidate.contains(&group));
                    then = then.saturating_add(takes.unwrap_or(u64::MAX));
                }
                now.saturating_sub(then)
            };
            // The first of equals.
            let best = candidates.iter().rev().max_by_key(saves).filter(|best| saves(best) > 0);
            let Some(best) = best else { break };
            plain.extend(best);
        }
        self.plain.extend(plain);
    }

    fn bills(&mut self, body: &[Item], times: u64, bills: &mut Vec<Bill>) {
        for item in body {
            match item {
                Item::Loop(looped) => self.bills(&looped.body, times.saturating_mul(looped.count), bills),
                Item::Op(op) => bills.extend(self.bill(op, times)),
            }
        }
    }

    fn bill(&mut self, op: &Op, times: u64) -> Option<Bill> {
        // What comes in is written as it has to be, and a copy converts.
        if matches!(op.kind, Kind::Load(_) | Kind::Zero | Kind::Copy) {
            return None;
        }
        let mut bill = Bill {
            groups: BTreeMap::new(),
            may_run: runs_in_planes(&op.kind, self.target)
                || match op.kind {
                    Kind::Mul(sizes) | Kind::MulSum(sizes) => is_by_channel(sizes, self.shape(op.reads[0])),
                    // If they are cut where planes are.
                    Kind::Slice(_) | Kind::Place(_) => true,
                    _ => false,
                },
            saves: conv_of(&op.kind).map_or(0, |(conv, ..)| times.saturating_mul(self.target.saved_in_planes(conv))),
            must_run: matches!(
                op.kind,
                Kind::ConvPool(..) | Kind::ConvAdd(..) | Kind::ConvPoolGradInput(..) | Kind::ConvPoolGradWeight(..)
            ),
        };
        for value in maps_of(op) {
            // Places lie as the maxima do.
            if self.places.contains_key(&value) {
                continue;
            }
            if !self.is_blocked(value) {
                bill.may_run = false;
                continue;
            }
            let takes = times.saturating_mul(self.target.conversion(elements(self.shape(value))));
            let sum = bill.groups.entry(self.fates.find(value)).or_default();
            *sum = sum.saturating_add(takes);
        }
        if !bill.may_run {
            (bill.saves, bill.must_run) = (0, false);
        }
        (!bill.groups.is_empty()).then_some(bill)
    }
}

/// What may go back together: each group, the groups of each op, and all that ops join.
fn candidates(bills: &[Bill], groups: impl Iterator<Item = ValueId>) -> Vec<BTreeSet<ValueId>> {
    let mut all: Vec<BTreeSet<ValueId>> = groups.map(|group| BTreeSet::from([group])).collect();
    let mut joined: Vec<BTreeSet<ValueId>> = Vec::new();
    let pairs: BTreeSet<BTreeSet<ValueId>> = bills.iter().map(|bill| bill.groups.keys().copied().collect()).collect();
    for pair in pairs.into_iter().filter(|pair| pair.len() > 1) {
        let (apart, mut together): (Vec<_>, Vec<_>) = joined.into_iter().partition(|set| set.is_disjoint(&pair));
        together.push(pair.clone());
        joined = apart;
        joined.push(together.into_iter().flatten().collect());
        all.push(pair);
    }
    all.extend(joined.into_iter().filter(|set| set.len() > 2));
    all
}
