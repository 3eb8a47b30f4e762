//! Loads, stores, atomics and asynchronous copies.

use super::super::super::PtxError;
use super::super::super::instruction::{Access, AtomicOp, Dest, IntOp, Op, Source};
use super::super::super::types::{Space, Type};
use super::super::form::Form;

fn space(name: &str) -> Option<Space> {
    Some(match name {
        "param" | "param::entry" | "param::func" => Space::Param,
        "global" | "const" => Space::Global,
        "shared" | "shared::cta" => Space::Shared,
        "local" => Space::Local,
        _ => return None,
    })
}

/// Takes what says for whom an access is ordered, and whether it is at all.
fn take_order(form: &mut Form) -> bool {
    let strong = ["volatile", "relaxed", "acquire", "release", "acq_rel", "mmio"];
    let found = form.take_some(|name| strong.contains(&name).then_some(()));
    form.take("weak");
    form.take_some(|name| ["cta", "cluster", "gpu", "sys"].contains(&name).then_some(()));
    found.is_some()
}

/// Takes hints to the caches, which change nothing here.
fn take_cache(form: &mut Form) {
    let hint = |name: &str| {
        let known = ["ca", "cg", "cs", "lu", "cv", "wb", "wt"].contains(&name);
        (known || name.starts_with("L1::") || name.starts_with("L2::")).then_some(())
    };
    while form.take_some(hint).is_some() {}
}

/// Takes `.v2`, `.v4` or `.v8`.
fn take_vector(form: &mut Form) -> usize {
    form.take_some(|name| name.strip_prefix('v')?.parse().ok()).unwrap_or(1)
}

fn access(form: &mut Form, address: usize) -> Result<Access, PtxError> {
    let strong = take_order(form);
    let mut space = form.take_some(space).unwrap_or(Space::Generic);
    if space == Space::Param && form.of_call(address) {
        space = Space::Local;
    }
    let read_only = form.take("nc");
    take_cache(form);
    let ty = form.ty()?;
    Ok(Access { space, ty, address: form.address(address)?, strong, read_only })
}

/// A vector has as many elements as its opcode says, and is at most 16 bytes long.
fn check_vector(form: &Form, wanted: usize, found: usize, ty: Type) -> Result<(), PtxError> {
    if wanted != found || wanted * ty.bytes() > 16 {
        return Err(form.error(format!("a vector of {found} elements of {} bytes is not supported", ty.bytes())));
    }
    Ok(())
}

pub(crate) fn load(form: &mut Form) -> Result<Op, PtxError> {
    let vector = take_vector(form);
    let access = access(form, 1)?;
    form.done(2)?;
    let dest = form.dests(0)?;
    check_vector(form, vector, dest.len(), access.ty)?;
    Ok(Op::Load { access, dest })
}

pub(crate) fn store(form: &mut Form) -> Result<Op, PtxError> {
    let vector = take_vector(form);
    let access = access(form, 0)?;
    form.done(2)?;
    let sources = form.sources(1)?;
    check_vector(form, vector, sources.len(), access.ty)?;
    Ok(Op::Store { access, sources })
}

pub(crate) fn atomic(form: &mut Form, returns: bool) -> Result<Op, PtxError> {
    let op = form.take_some(|name| {
        Some(match name {
            "add" => AtomicOp::Add,
            "min" => AtomicOp::Min,
            "max" => AtomicOp::Max,
            "inc" => AtomicOp::Inc,
            "dec" => AtomicOp::Dec,
            "and" => AtomicOp::And,
            "or" => AtomicOp::Or,
            "xor" => AtomicOp::Xor,
            "exch" => AtomicOp::Exchange,
            "cas" => AtomicOp::CompareAndSwap,
            _ => return None,
        })
    });
    let op = op.ok_or_else(|| form.error("unknown operation"))?;
    form.take("noftz");
    let address = usize::from(returns);
    let access = Access { strong: true, ..access(form, address)? };
    if access.ty.bytes() < 4 || (access.ty.float() && !matches!(access.ty, Type::F32 | Type::F64)) {
        return Err(form.error("atomics on this type are not supported"));
    }
    let inputs = if op == AtomicOp::CompareAndSwap { 2 } else { 1 };
    form.done(address + 1 + inputs)?;
    Ok(Op::Atomic {
        op,
        access,
        dest: if returns { form.dest(0)? } else { Dest::Nowhere },
        a: form.source(address + 1)?,
        b: if inputs == 2 { form.source(address + 2)? } else { Source::Number(0) },
    })
}

/// `cp.async` and what waits for it.
pub(crate) fn copy(form: &mut Form) -> Result<Op, PtxError> {
    if !form.take("async") {
        return Err(form.error("unknown instruction"));
    }
    if form.take("commit_group") {
        form.done(0)?;
        return Ok(Op::CopyCommit);
    }
    if form.take("wait_all") {
        form.done(0)?;
        return Ok(Op::CopyWait { but: None });
    }
    if form.take("wait_group") {
        form.done(1)?;
        return Ok(Op::CopyWait { but: Some(form.number(0)? as u32) });
    }
    let whole_line = form.take("cg");
    take_cache(form);
    let shared = form.take_some(space) == Some(Space::Shared) && form.take_some(space) == Some(Space::Global);
    form.done_between(3, 4)?;
    let bytes = form.number(2)? as usize;
    if !shared || !matches!(bytes, 4 | 8 | 16) || (whole_line && bytes != 16) {
        return Err(form.error("unknown instruction"));
    }
    let source_bytes = if form.operands() == 4 { Some(form.source(3)?) } else { None };
    if matches!(source_bytes, Some(Source::Pred(_) | Source::NotPred(_))) {
        return Err(form.error("a predicate that lets the source be ignored is not supported"));
    }
    Ok(Op::CopyAsync { shared: form.address(0)?, global: form.address(1)?, bytes, source_bytes })
}

/// To a generic address, or with `to` from one.
pub(crate) fn cvta(form: &mut Form) -> Result<Op, PtxError> {
    let op = if form.take("to") { IntOp::Sub } else { IntOp::Add };
    let space = form.take_some(space).ok_or_else(|| form.error("unknown state space"))?;
    let ty = form.ty()?;
    form.done(2)?;
    let window = Source::Number(space.window());
    let none = Source::Number(0);
    Ok(Op::Int { op, ty, dest: form.dest(0)?, sources: [form.source(1)?, window, none, none] })
}
