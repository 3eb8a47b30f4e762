//! What threads do together: barriers, shuffles, votes and matrix products.

use super::super::super::PtxError;
use super::super::super::instruction::{AtomicOp, Dest, Factor, Op, ShuffleMode, Source, VoteMode};
use super::super::super::types::Type;
use super::super::form::Form;

pub(crate) fn barrier(form: &mut Form) -> Result<Op, PtxError> {
    form.take("cta");
    form.take("aligned");
    if form.take("warp") {
        form.take("sync");
        form.done(1)?;
        return Ok(Op::WarpBarrier { mask: form.source(0)? });
    }
    if form.take("red") {
        let mode = form.take_some(|name| {
            Some(match name {
                "popc" => VoteMode::Ballot,
                "and" => VoteMode::All,
                "or" => VoteMode::Any,
                _ => return None,
            })
        });
        let mode = mode.ok_or_else(|| form.error("unknown instruction"))?;
        form.ty()?;
        form.done(3)?;
        whole_block(form, 1)?;
        return Ok(Op::BarrierVote { mode, dest: form.dest(0)?, condition: form.condition(2)? });
    }
    if !form.take("sync") {
        return Err(form.error("unknown instruction"));
    }
    form.done(1)?;
    whole_block(form, 0)?;
    Ok(Op::Barrier)
}

/// Barriers of a part of a block are not supported: they have another number, or a number of threads.
fn whole_block(form: &Form, at: usize) -> Result<(), PtxError> {
    match form.source(at)? {
        Source::Number(0) => Ok(()),
        _ => Err(form.error("only barrier 0 is supported")),
    }
}

pub(crate) fn shuffle(form: &mut Form) -> Result<Op, PtxError> {
    let mode = form.take_some(|name| {
        Some(match name {
            "up" => ShuffleMode::Up,
            "down" => ShuffleMode::Down,
            "bfly" => ShuffleMode::Butterfly,
            "idx" => ShuffleMode::Index,
            _ => return None,
        })
    });
    let mode = mode.ok_or_else(|| form.error("unknown mode"))?;
    sync(form)?;
    form.ty()?;
    form.done(5)?;
    let [dest, valid] = form.dest_pair(0)?;
    Ok(Op::Shuffle {
        mode,
        dest,
        valid,
        value: form.source(1)?,
        lane: form.source(2)?,
        clamp: form.source(3)?,
        mask: form.source(4)?,
    })
}

/// Without `.sync` a warp was always in step: that is gone since sm_70.
fn sync(form: &mut Form) -> Result<(), PtxError> {
    if form.take("sync") {
        Ok(())
    } else {
        Err(form.error("an instruction of a warp without `.sync` is not supported"))
    }
}

pub(crate) fn vote(form: &mut Form) -> Result<Op, PtxError> {
    let mode = form.take_some(|name| {
        Some(match name {
            "all" => VoteMode::All,
            "any" => VoteMode::Any,
            "uni" => VoteMode::Uniform,
            "ballot" => VoteMode::Ballot,
            _ => return None,
        })
    });
    let mode = mode.ok_or_else(|| form.error("unknown mode"))?;
    sync(form)?;
    form.ty()?;
    form.done(3)?;
    Ok(Op::Vote { mode, dest: form.dest(0)?, condition: form.condition(1)?, mask: form.source(2)? })
}

pub(crate) fn matching(form: &mut Form) -> Result<Op, PtxError> {
    let all = form.take("all");
    if !all && !form.take("any") {
        return Err(form.error("unknown mode"));
    }
    sync(form)?;
    form.ty()?;
    form.done(3)?;
    let [dest, same] = form.dest_pair(0)?;
    Ok(Op::Match { all, dest, same, value: form.source(1)?, mask: form.source(2)? })
}

pub(crate) fn reduce(form: &mut Form) -> Result<Op, PtxError> {
    sync(form)?;
    let op = form.take_some(|name| {
        Some(match name {
            "add" => AtomicOp::Add,
            "min" => AtomicOp::Min,
            "max" => AtomicOp::Max,
            "and" => AtomicOp::And,
            "or" => AtomicOp::Or,
            "xor" => AtomicOp::Xor,
            _ => return None,
        })
    });
    let op = op.ok_or_else(|| form.error("unknown operation"))?;
    let ty = form.ty()?;
    form.done(3)?;
    if ty.float() {
        return Err(form.error("a reduction of floats is not supported"));
    }
    Ok(Op::Reduce { op, signed: ty.signed(), dest: form.dest(0)?, value: form.source(1)?, mask: form.source(2)? })
}

pub(crate) fn active_mask(form: &mut Form) -> Result<Op, PtxError> {
    form.ty()?;
    form.done(1)?;
    Ok(Op::ActiveMask { dest: form.dest(0)? })
}

pub(crate) fn load_matrix(form: &mut Form) -> Result<Op, PtxError> {
    sync(form)?;
    form.take("aligned");
    let shape = form.take("m8n8");
    let count = form.take_some(|name| ["x1", "x2", "x4"].iter().position(|&known| known == name).map(|log| 1 << log));
    let transposed = form.take("trans");
    let shared = form.take("shared") || form.take("shared::cta");
    let ty = form.ty()?;
    form.done(2)?;
    let dest = form.dests(0)?;
    match count {
        Some(count) if shape && shared && ty == Type::B16 && dest.len() == count => {
            Ok(Op::LoadMatrix { count, transposed, dest, address: form.address(1)? })
        }
        _ => Err(form.error("unknown instruction")),
    }
}

/// The products of 16 rows and 8 columns, into f32.
pub(crate) fn mma(form: &mut Form) -> Result<Op, PtxError> {
    sync(form)?;
    form.take("aligned");
    let depth = form.take_some(|name| name.strip_prefix("m16n8k")?.parse::<usize>().ok());
    let (row, column) = (form.take("row"), form.take("col"));
    let types = [form.ty()?, form.ty()?, form.ty()?, form.ty()?];
    form.done(4)?;
    let factor = match (types, depth) {
        ([Type::F32, Type::Tf32, Type::Tf32, Type::F32], Some(4 | 8)) => Some(Factor::Tf32),
        ([Type::F32, Type::Bf16, Type::Bf16, Type::F32], Some(8 | 16)) => Some(Factor::Bf16),
        ([Type::F32, Type::F16, Type::F16, Type::F32], Some(8 | 16)) => Some(Factor::F16),
        _ => None,
    };
    let (Some(factor), Some(depth), true, true) = (factor, depth, row, column) else {
        return Err(form.error("unknown shape or format"));
    };
    let (dest, a, b, c) = (form.dests(0)?, form.sources(1)?, form.sources(2)?, form.sources(3)?);
    let per_register = if factor == Factor::Tf32 { 1 } else { 2 };
    let wanted = (4, 16 * depth / 32 / per_register, 8 * depth / 32 / per_register, 4);
    if (dest.len(), a.len(), b.len(), c.len()) != wanted || dest.contains(&Dest::Nowhere) {
        return Err(form.error("operands that do not fit the shape"));
    }
    Ok(Op::Mma { factor, depth, dest, a, b, c })
}
