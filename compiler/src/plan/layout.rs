//! Offsets: blocks of known lengths and lives, laid into as few floats as possible.

use super::{Block, Region};

/// Places the blocks of a region, in the best of several orders; gives the region's floats.
pub(super) fn lay_out(blocks: &mut [(usize, Block)], region: Region) -> u64 {
    let of_region: Vec<usize> = (0..blocks.len()).filter(|&index| blocks[index].1.region == region).collect();
    // What must go first differs: large ones, long-lived ones, those that are both, or those that come first.
    let duration = |block: &Block| (block.live.1 - block.live.0) as u64;
    let weights: [&dyn Fn(&Block) -> u64; 4] =
        [&|block| block.len, &duration, &|block| block.len * (duration(block) + 1), &|_| 0];
    let layouts = weights.iter().map(|weight| {
        let mut indices = of_region.clone();
        indices.sort_by_key(|&index| (std::cmp::Reverse(weight(&blocks[index].1)), blocks[index].1.live.0));
        improved(blocks, indices)
    });
    let Some((total, offsets)) = layouts.min_by_key(|(total, _)| *total) else {
        return 0;
    };
    for (index, offset) in offsets {
        blocks[index].1.offset = offset;
    }
    total
}

/// Places blocks in an order, then in that order with what reached highest put first, a few times; gives the best.
fn improved(blocks: &[(usize, Block)], mut order: Vec<usize>) -> (u64, Vec<(usize, u64)>) {
    const TRIES: usize = 16;
    let mut best = in_order(blocks, &order);
    let mut last = best.clone();
    for _ in 0..TRIES {
        let highest = last.1.iter().position(|&(index, offset)| offset + blocks[index].1.len == last.0);
        let Some(highest) = highest.filter(|&place| place > 0) else {
            break;
        };
        order[..=highest].rotate_right(1);
        last = in_order(blocks, &order);
        if last.0 < best.0 {
            best.clone_from(&last);
        }
    }
    best
}

/// Places blocks one by one, each as low as it fits; gives the floats of all, and their offsets.
fn in_order(blocks: &[(usize, Block)], order: &[usize]) -> (u64, Vec<(usize, u64)>) {
    let mut placed: Vec<(usize, u64)> = Vec::with_capacity(order.len());
    let mut total = 0;
    for &index in order {
        let block = &blocks[index].1;
        let mut taken: Vec<(u64, u64)> = placed
            .iter()
            .map(|&(other, offset)| (&blocks[other].1, offset))
            .filter(|(other, _)| other.live.0 <= block.live.1 && block.live.0 <= other.live.1)
            .map(|(other, offset)| (offset, offset + other.len))
            .collect();
        taken.sort_unstable();
        let offset = lowest_gap(&taken, block.len);
        total = total.max(offset + block.len);
        placed.push((index, offset));
    }
    (total, placed)
}

/// The lowest offset where `len` floats fit between ranges that are sorted.
fn lowest_gap(taken: &[(u64, u64)], len: u64) -> u64 {
    let mut at = 0;
    for &(from, to) in taken {
        if at + len <= from {
            return at;
        }
        at = at.max(to);
    }
    at
}

/// The largest sum of the blocks of a region that live at once.
pub(super) fn largest_live(blocks: &[Block], region: Region) -> u64 {
    let of_region = || blocks.iter().filter(|block| block.region == region);
    of_region()
        .map(|at| {
            let now = at.live.0;
            of_region().filter(|block| block.live.0 <= now && now <= block.live.1).map(|block| block.len).sum()
        })
        .max()
        .unwrap_or(0)
}
