//! What the names in a kernel stand for. Blocks open scopes, and inner names hide outer ones.

use std::collections::HashMap;

use super::super::PtxError;
use super::super::instruction::{Comparison, Dest, Registers, Source, Special};
use super::super::syntax::Operand;
use super::super::types::Type;

/// A name of something in memory.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Symbol {
    /// Its address.
    Global(u64),
    /// Its offset, as in the next three.
    Shared(u64),
    Local(u64),
    Param(u64),
    DynamicShared,
    /// Declared by the module, and not yet part of this kernel.
    StaticShared {
        bytes: usize,
        align: usize,
    },
}

#[derive(Clone, Default)]
struct Scope<'s> {
    symbols: HashMap<&'s str, Symbol>,
    /// One register, or a set of them under the name without its number.
    registers: HashMap<&'s str, (Dest, Option<u32>)>,
}

/// All names that can be seen.
#[derive(Clone)]
pub(crate) struct Names<'s> {
    scopes: Vec<Scope<'s>>,
}

impl Default for Names<'_> {
    fn default() -> Self {
        Names { scopes: vec![Scope::default()] }
    }
}

impl<'s> Names<'s> {
    pub(crate) fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub(crate) fn close(&mut self) {
        self.scopes.pop();
    }

    pub(crate) fn bind(&mut self, name: &'s str, symbol: Symbol) {
        let last = self.scopes.len() - 1;
        self.scopes[last].symbols.insert(name, symbol);
    }

    /// Changes what a name stands for where it was bound.
    pub(crate) fn rebind(&mut self, name: &'s str, symbol: Symbol) {
        if let Some(found) = self.scopes.iter_mut().rev().find_map(|scope| scope.symbols.get_mut(name)) {
            *found = symbol;
        }
    }

    pub(crate) fn symbol(&self, name: &str) -> Option<Symbol> {
        self.scopes.iter().rev().find_map(|scope| scope.symbols.get(name).copied())
    }

    /// Declares registers and gives them the next numbers.
    pub(crate) fn declare(&mut self, name: &'s str, ty: Type, count: Option<u32>, registers: &mut Registers) {
        let (next, first): (_, fn(u32) -> Dest) = match ty {
            Type::Pred => (&mut registers.predicates, Dest::Pred),
            _ if ty.bytes() == 8 => (&mut registers.wide, Dest::Wide),
            _ => (&mut registers.narrow, Dest::Narrow),
        };
        let first = first(*next as u32);
        *next += count.unwrap_or(1) as usize;
        let last = self.scopes.len() - 1;
        self.scopes[last].registers.insert(name, (first, count));
    }

    fn register(&self, name: &str) -> Option<Dest> {
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (set, index) = name.split_at(name.len() - digits);
        self.scopes.iter().rev().find_map(|scope| {
            if let Some((register, None)) = scope.registers.get(name) {
                return Some(*register);
            }
            let (first, Some(count)) = scope.registers.get(set)? else { return None };
            let index = index.parse::<u32>().ok().filter(|index| index < count)?;
            Some(match *first {
                Dest::Narrow(first) => Dest::Narrow(first + index),
                Dest::Wide(first) => Dest::Wide(first + index),
                Dest::Pred(first) => Dest::Pred(first + index),
                Dest::Nowhere => Dest::Nowhere,
            })
        })
    }

    /// The register that an instruction writes.
    pub(crate) fn dest(&self, name: &str, line: u32) -> Result<Dest, PtxError> {
        if name == "_" {
            return Ok(Dest::Nowhere);
        }
        self.register(name).ok_or_else(|| PtxError::new(line, format!("there is no register `{name}`")))
    }

    /// The number of a predicate.
    pub(crate) fn predicate(&self, name: &str, line: u32) -> Result<u32, PtxError> {
        match self.register(name) {
            Some(Dest::Pred(number)) => Ok(number),
            _ => Err(PtxError::new(line, format!("`{name}` should be a predicate"))),
        }
    }

    /// What an instruction reads: a register, a number, or the address of a variable.
    pub(crate) fn source(&self, operand: &Operand, line: u32) -> Result<Source, PtxError> {
        let unknown = || PtxError::new(line, format!("`{operand:?}` is not known here"));
        match operand {
            Operand::Number(value) => Ok(Source::Number(*value)),
            Operand::Not(name) => self.predicate(name, line).map(Source::NotPred),
            Operand::Name(name) => self.named(name).ok_or_else(unknown),
            Operand::Address(base, offset) => match self.source(base, line)? {
                Source::Number(address) => Ok(Source::Number(address.wrapping_add_signed(*offset))),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }

    fn named(&self, name: &str) -> Option<Source> {
        match self.register(name) {
            Some(Dest::Narrow(number)) => return Some(Source::Narrow(number)),
            Some(Dest::Wide(number)) => return Some(Source::Wide(number)),
            Some(Dest::Pred(number)) => return Some(Source::Pred(number)),
            _ => {}
        }
        if let Some(special) = special(name) {
            return Some(special);
        }
        match self.symbol(name)? {
            Symbol::Global(at) | Symbol::Shared(at) | Symbol::Local(at) | Symbol::Param(at) => Some(Source::Number(at)),
            Symbol::DynamicShared => Some(Source::Special(Special::DynamicShared)),
            Symbol::StaticShared { .. } => None,
        }
    }
}

fn special(name: &str) -> Option<Source> {
    let axis = |axis: &str| ["x", "y", "z"].iter().position(|&name| name == axis).map(|axis| axis as u8);
    let special = match name.split_once('.') {
        Some(("%tid", name)) => Special::Thread(axis(name)?),
        Some(("%ntid", name)) => Special::Threads(axis(name)?),
        Some(("%ctaid", name)) => Special::Block(axis(name)?),
        Some(("%nctaid", name)) => Special::Blocks(axis(name)?),
        _ => match name {
            "%laneid" => Special::Lane,
            "%warpid" => Special::Warp,
            "%nwarpid" => Special::Warps,
            "%lanemask_eq" => Special::LaneMask(Comparison::Eq),
            "%lanemask_lt" => Special::LaneMask(Comparison::Lt),
            "%lanemask_le" => Special::LaneMask(Comparison::Le),
            "%lanemask_gt" => Special::LaneMask(Comparison::Gt),
            "%lanemask_ge" => Special::LaneMask(Comparison::Ge),
            "%clock" | "%clock64" | "%globaltimer" | "%globaltimer_lo" => Special::Clock,
            "%smid" | "%gridid" => Special::Zero,
            "%dynamic_smem_size" => Special::DynamicSharedBytes,
            "WARP_SZ" => return Some(Source::Number(32)),
            _ => return None,
        },
    };
    Some(Source::Special(special))
}
