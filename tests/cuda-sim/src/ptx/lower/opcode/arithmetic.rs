//! Arithmetic on integers and floats, and on the bits of integers.

use super::super::super::PtxError;
use super::super::super::instruction::{FloatOp, IntOp, Op, Rounding};
use super::super::super::types::Type;
use super::super::form::Form;

/// Arithmetic, whose modifiers depend on whether it is that of integers or of floats.
pub(crate) fn lower(form: &mut Form) -> Result<Op, PtxError> {
    let part = form.take_some(|name| ["lo", "hi", "wide"].into_iter().find(|&part| part == name));
    let nan = form.take("NaN");
    let ty = form.ty()?;
    if ty.float() { float(form, ty, nan) } else { int(form, ty, part.unwrap_or("lo")) }
}

/// `dp2a`, of unsigned numbers.
pub(crate) fn dot(form: &mut Form) -> Result<Op, PtxError> {
    let high = form.take("hi");
    if !high && !form.take("lo") {
        return Err(form.error("unknown instruction"));
    }
    let (ty, bytes) = (form.ty()?, form.ty()?);
    form.done(4)?;
    if (ty, bytes) != (Type::U32, Type::U32) {
        return Err(form.error("an operation on this type is not supported"));
    }
    on(form, IntOp::Dot { high }, ty)
}

fn int(form: &mut Form, ty: Type, part: &str) -> Result<Op, PtxError> {
    let sat = form.take("sat");
    if part == "wide" {
        let add = if form.name == "mad" { Some(form.source(3)?) } else { None };
        form.done(if add.is_some() { 4 } else { 3 })?;
        return Ok(Op::MulWide { ty, dest: form.dest(0)?, a: form.source(1)?, b: form.source(2)?, add });
    }
    let (op, operands) = match (form.name, part, sat) {
        ("add", _, false) => (IntOp::Add, 3),
        ("add", _, true) => (IntOp::AddSat, 3),
        ("sub", _, false) => (IntOp::Sub, 3),
        ("sub", _, true) => (IntOp::SubSat, 3),
        ("mul" | "mul24", "lo", false) => (IntOp::MulLo, 3),
        ("mul", "hi", false) => (IntOp::MulHi, 3),
        ("mad", "lo", false) => (IntOp::MadLo, 4),
        ("mad", "hi", false) => (IntOp::MadHi, 4),
        ("sad", _, false) => (IntOp::Sad, 4),
        ("div", _, false) => (IntOp::Div, 3),
        ("rem", _, false) => (IntOp::Rem, 3),
        ("min", _, false) => (IntOp::Min, 3),
        ("max", _, false) => (IntOp::Max, 3),
        ("abs", _, false) => (IntOp::Abs, 2),
        ("neg", _, false) => (IntOp::Neg, 2),
        _ => return Err(form.error("unknown instruction")),
    };
    form.done(operands)?;
    on(form, op, ty)
}

/// An operation, if it is one on integers of this size.
fn on(form: &Form, op: IntOp, ty: Type) -> Result<Op, PtxError> {
    use IntOp::*;
    let word_only = matches!(
        op,
        AddSat | SubSat | Sad | BfindShift | Prmt | Lop3(_) | Dot { .. } | FunnelLeft { .. } | FunnelRight { .. }
    );
    let no_half = word_only || matches!(op, MadHi | Popc | Brev | Bfind | Bfe | Bfi);
    if (ty.bytes() == 8 && word_only) || (ty.bytes() == 2 && no_half) || ty.bytes() < 2 {
        return Err(form.error("an operation on this size is not supported"));
    }
    Ok(Op::Int { op, ty, dest: form.dest(0)?, sources: form.inputs()? })
}

fn float(form: &mut Form, ty: Type, nan: bool) -> Result<Op, PtxError> {
    let mode = form.float_mode();
    let (op, operands) = match form.name {
        "add" => (FloatOp::Add, 3),
        "sub" => (FloatOp::Sub, 3),
        "mul" => (FloatOp::Mul, 3),
        "fma" | "mad" => (FloatOp::Fma, 4),
        "div" => (FloatOp::Div, 3),
        "min" => (if nan { FloatOp::MinNan } else { FloatOp::Min }, 3),
        "max" => (if nan { FloatOp::MaxNan } else { FloatOp::Max }, 3),
        "abs" => (FloatOp::Abs, 2),
        "neg" => (FloatOp::Neg, 2),
        "sqrt" => (FloatOp::Sqrt, 2),
        "rcp" => (FloatOp::Rcp, 2),
        "rsqrt" => (FloatOp::Rsqrt, 2),
        "ex2" => (FloatOp::Exp2, 2),
        "lg2" => (FloatOp::Log2, 2),
        "sin" => (FloatOp::Sin, 2),
        "cos" => (FloatOp::Cos, 2),
        "tanh" => (FloatOp::Tanh, 2),
        "copysign" => (FloatOp::Copysign, 3),
        _ => return Err(form.error("unknown instruction")),
    };
    form.done(operands)?;
    let directed = matches!(mode.rounding, Rounding::Zero | Rounding::Down | Rounding::Up);
    let any = ty == Type::F32 && matches!(form.name, "add" | "sub" | "mul" | "fma" | "mad" | "div" | "rcp");
    if mode.rounding != Rounding::Nearest && !(directed && any) {
        return Err(form.error("only rounding to nearest is supported"));
    }
    if mode.relu && matches!(ty, Type::F32 | Type::F64) {
        return Err(form.error("unknown modifier `.relu`"));
    }
    Ok(Op::Float { op, ty, mode, dest: form.dest(0)?, sources: form.inputs()? })
}

/// Logic and shifts, and what else looks at single bits.
pub(crate) fn bits(form: &mut Form) -> Result<Op, PtxError> {
    let right = form.take("r");
    let left = form.take("l");
    let clamp = form.take("clamp");
    let wrap = form.take("wrap");
    let shiftamt = form.take("shiftamt");
    let ty = form.ty()?;
    if ty == Type::Pred {
        return super::select::predicate(form);
    }
    let (op, operands) = match form.name {
        "and" => (IntOp::And, 3),
        "or" => (IntOp::Or, 3),
        "xor" => (IntOp::Xor, 3),
        "not" => (IntOp::Not, 2),
        "cnot" => (IntOp::Cnot, 2),
        "shl" => (IntOp::Shl, 3),
        "shr" => (IntOp::Shr, 3),
        "shf" if left && (clamp || wrap) => (IntOp::FunnelLeft { clamp }, 4),
        "shf" if right && (clamp || wrap) => (IntOp::FunnelRight { clamp }, 4),
        "popc" => (IntOp::Popc, 2),
        "clz" => (IntOp::Clz, 2),
        "brev" => (IntOp::Brev, 2),
        "bfind" => (if shiftamt { IntOp::BfindShift } else { IntOp::Bfind }, 2),
        "bfe" => (IntOp::Bfe, 4),
        "bfi" => (IntOp::Bfi, 5),
        "prmt" => (IntOp::Prmt, 4),
        "lop3" => (IntOp::Lop3(form.number(4)? as u8), 5),
        _ => return Err(form.error("unknown instruction")),
    };
    form.done(operands)?;
    on(form, op, ty)
}
