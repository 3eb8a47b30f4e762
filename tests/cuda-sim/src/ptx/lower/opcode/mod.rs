//! What each opcode means. A family of opcodes is a file; this one only says which is where.

mod arithmetic;
mod memory;
mod select;
mod warp;

use super::super::PtxError;
use super::super::instruction::Op;
use super::super::syntax::Statement;
use super::form::Form;
use super::names::Names;

/// The instruction that a statement is. Branches and calls are not statements of this kind.
///
/// # Errors
///
/// When the opcode, a modifier or an operand is not known: its text.
pub(crate) fn lower(statement: &Statement, names: &Names) -> Result<Op, PtxError> {
    let mut form = Form::new(statement, names);
    let form = &mut form;
    match form.name {
        "add" | "sub" | "mul" | "mul24" | "mad" | "fma" | "div" | "rem" | "min" | "max" | "abs" | "neg" | "sad"
        | "sqrt" | "rcp" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" | "copysign" => arithmetic::lower(form),
        "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "shf" | "popc" | "clz" | "brev" | "bfind" | "bfe"
        | "bfi" | "prmt" | "lop3" => arithmetic::bits(form),
        "dp2a" => arithmetic::dot(form),
        "mov" => select::mov(form),
        "setp" => select::setp(form),
        "set" => select::set(form),
        "selp" => select::selp(form),
        "cvt" => select::cvt(form),
        "cvta" => memory::cvta(form),
        "ld" | "ldu" => memory::load(form),
        "st" => memory::store(form),
        "atom" => memory::atomic(form, true),
        "red" => memory::atomic(form, false),
        "cp" => memory::copy(form),
        "prefetch" | "prefetchu" | "membar" | "fence" | "nanosleep" | "griddepcontrol" => Ok(Op::Nothing),
        "ret" | "exit" => {
            form.take("uni");
            form.done(0)?;
            Ok(Op::Exit)
        }
        "trap" => Ok(Op::Trap { why: "the kernel trapped" }),
        "bar" | "barrier" => warp::barrier(form),
        "shfl" => warp::shuffle(form),
        "vote" => warp::vote(form),
        "match" => warp::matching(form),
        "redux" => warp::reduce(form),
        "activemask" => warp::active_mask(form),
        "ldmatrix" => warp::load_matrix(form),
        "mma" => warp::mma(form),
        _ => Err(form.error("unknown instruction")),
    }
}
