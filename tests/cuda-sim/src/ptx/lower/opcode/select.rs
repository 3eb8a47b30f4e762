//! Moves, comparisons, choices and conversions.

use super::super::super::PtxError;
use super::super::super::instruction::{Comparison, IntOp, Logic, Op, Rounding, Source};
use super::super::super::syntax::Operand;
use super::super::super::types::Type;
use super::super::form::Form;

pub(crate) fn mov(form: &mut Form) -> Result<Op, PtxError> {
    let ty = form.ty()?;
    form.done(2)?;
    if let Operand::Vector(_) = form.operand(1)? {
        let parts = form.sources(1)?;
        return Ok(Op::Pack { bits: 8 * ty.bytes() as u32 / parts.len() as u32, dest: form.dest(0)?, parts });
    }
    if let Operand::Vector(_) = form.operand(0)? {
        let dest = form.dests(0)?;
        return Ok(Op::Unpack { bits: 8 * ty.bytes() as u32 / dest.len() as u32, dest, source: form.source(1)? });
    }
    if ty == Type::Pred {
        let zero = Source::Number(0);
        return Ok(Op::Predicate { how: None, dest: form.dest(0)?, a: form.condition(1)?, b: zero });
    }
    Ok(Op::Int { op: IntOp::Move, ty, dest: form.dest(0)?, sources: form.inputs()? })
}

/// `and`, `or`, `xor` and `not` of predicates.
pub(crate) fn predicate(form: &mut Form) -> Result<Op, PtxError> {
    let how = match form.name {
        "and" => Some(Logic::And),
        "or" => Some(Logic::Or),
        "xor" => Some(Logic::Xor),
        _ => None,
    };
    form.done(if how.is_some() { 3 } else { 2 })?;
    let a = match (form.name, form.condition(1)?) {
        ("not", Source::Pred(number)) => Source::NotPred(number),
        ("not", _) => return Err(form.error("unknown instruction")),
        (_, a) => a,
    };
    let b = if how.is_some() { form.condition(2)? } else { Source::Number(0) };
    Ok(Op::Predicate { how, dest: form.dest(0)?, a, b })
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" => Comparison::Eq,
        "ne" => Comparison::Ne,
        "lt" | "lo" => Comparison::Lt,
        "le" | "ls" => Comparison::Le,
        "gt" | "hi" => Comparison::Gt,
        "ge" | "hs" => Comparison::Ge,
        "equ" => Comparison::Equ,
        "neu" => Comparison::Neu,
        "ltu" => Comparison::Ltu,
        "leu" => Comparison::Leu,
        "gtu" => Comparison::Gtu,
        "geu" => Comparison::Geu,
        "num" => Comparison::Num,
        "nan" => Comparison::Nan,
        _ => return None,
    })
}

fn logic(name: &str) -> Option<Logic> {
    Some(match name {
        "and" => Logic::And,
        "or" => Logic::Or,
        "xor" => Logic::Xor,
        _ => return None,
    })
}

pub(crate) fn setp(form: &mut Form) -> Result<Op, PtxError> {
    let how = form.take_some(comparison).ok_or_else(|| form.error("unknown comparison"))?;
    let logic = form.take_some(logic);
    let ftz = form.take("ftz");
    let ty = form.ty()?;
    if matches!(ty, Type::F16x2 | Type::Bf16x2) {
        return Err(form.error("a comparison of pairs is not supported"));
    }
    form.done(if logic.is_some() { 4 } else { 3 })?;
    let with = match logic {
        Some(logic) => Some((logic, form.condition(3)?)),
        None => None,
    };
    Ok(Op::Compare { ty, ftz, how, with, dest: form.dest_pair(0)?, a: form.source(1)?, b: form.source(2)? })
}

pub(crate) fn set(form: &mut Form) -> Result<Op, PtxError> {
    let how = form.take_some(comparison).ok_or_else(|| form.error("unknown comparison"))?;
    let ftz = form.take("ftz");
    let (to, ty) = (form.ty()?, form.ty()?);
    form.done(3)?;
    if !matches!(to, Type::U32 | Type::S32 | Type::F32) || matches!(ty, Type::F16x2 | Type::Bf16x2) {
        return Err(form.error("a comparison of these types is not supported"));
    }
    Ok(Op::Set { to, ty, ftz, how, dest: form.dest(0)?, a: form.source(1)?, b: form.source(2)? })
}

pub(crate) fn selp(form: &mut Form) -> Result<Op, PtxError> {
    form.ty()?;
    form.done(4)?;
    Ok(Op::Select { dest: form.dest(0)?, a: form.source(1)?, b: form.source(2)?, condition: form.condition(3)? })
}

pub(crate) fn cvt(form: &mut Form) -> Result<Op, PtxError> {
    let mode = form.take_some(Rounding::named);
    let (ftz, sat, relu) = (form.take("ftz"), form.take("sat"), form.take("relu"));
    let (to, from) = (form.ty()?, form.ty()?);
    let dest = form.dest(0)?;
    if matches!(to, Type::F16x2 | Type::Bf16x2) {
        form.done(3)?;
        if from != Type::F32 || mode != Some(Rounding::Nearest) || sat {
            return Err(form.error("only a conversion of two f32 to nearest is supported"));
        }
        return Ok(Op::ConvertPair { to, relu, dest, high: form.source(1)?, low: form.source(2)? });
    }
    form.done(2)?;
    // Into an f32 every direction is rounded to, but from integers of 64 bits, which f64 does not hold.
    let directed = matches!(mode, Some(Rounding::Zero | Rounding::Down | Rounding::Up));
    let any = matches!(to, Type::F32 | Type::Tf32) && (from.float() || from.bytes() < 8);
    if directed && !any {
        return Err(form.error("only rounding to nearest is supported"));
    }
    Ok(Op::Convert { to, from, mode, ftz, sat, relu, dest, source: form.source(1)? })
}
