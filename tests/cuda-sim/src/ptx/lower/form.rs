//! One statement while its opcode is read: what is taken from it is understood, and what is left over is an error.

use super::super::PtxError;
use super::super::instruction::{Address, Dest, FloatMode, Rounding, Source};
use super::super::syntax::{Operand, Statement};
use super::super::types::Type;
use super::names::{Names, Symbol};

pub(crate) struct Form<'f, 's> {
    pub(crate) name: &'s str,
    /// Those not yet taken.
    modifiers: Vec<&'s str>,
    pub(crate) statement: &'f Statement<'s>,
    names: &'f Names<'s>,
}

impl<'f, 's> Form<'f, 's> {
    pub(crate) fn new(statement: &'f Statement<'s>, names: &'f Names<'s>) -> Form<'f, 's> {
        let mut parts = statement.opcode.split('.');
        let name = parts.next().unwrap_or_default();
        Form { name, modifiers: parts.collect(), statement, names }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> PtxError {
        PtxError::new(self.statement.line, format!("{} in `{}`", message.into(), self.statement.text))
    }

    /// Takes a modifier if it is there.
    pub(crate) fn take(&mut self, modifier: &str) -> bool {
        let found = self.modifiers.iter().position(|&found| found == modifier);
        found.map(|at| self.modifiers.remove(at)).is_some()
    }

    /// Takes the first modifier that `meaning` knows.
    pub(crate) fn take_some<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) = self.modifiers.iter().enumerate().find_map(|(at, name)| Some((at, meaning(name)?)))?;
        self.modifiers.remove(at);
        Some(value)
    }

    /// Takes the first type.
    pub(crate) fn ty(&mut self) -> Result<Type, PtxError> {
        self.take_some(Type::named).ok_or_else(|| self.error("there is no type that is known"))
    }

    /// Takes what says how a float result is rounded and clamped.
    pub(crate) fn float_mode(&mut self) -> FloatMode {
        // The approximations are computed as well as f32 can; `full` is one of them.
        let _ = self.take("approx") || self.take("full");
        FloatMode {
            rounding: self.take_some(Rounding::named).unwrap_or(Rounding::Nearest),
            ftz: self.take("ftz"),
            sat: self.take("sat"),
            relu: self.take("relu"),
        }
    }

    /// All was taken, and there are so many operands.
    pub(crate) fn done(&self, operands: usize) -> Result<(), PtxError> {
        self.done_between(operands, operands)
    }

    pub(crate) fn done_between(&self, least: usize, most: usize) -> Result<(), PtxError> {
        if let Some(modifier) = self.modifiers.first() {
            return Err(self.error(format!("unknown modifier `.{modifier}`")));
        }
        let found = self.statement.operands.len();
        if found < least || found > most {
            return Err(self.error(format!("{found} operands, where {least} should be,")));
        }
        Ok(())
    }

    pub(crate) fn operands(&self) -> usize {
        self.statement.operands.len()
    }

    pub(crate) fn operand(&self, at: usize) -> Result<&'f Operand<'s>, PtxError> {
        self.statement.operands.get(at).ok_or_else(|| self.error(format!("operand {at} is missing")))
    }

    pub(crate) fn dest(&self, at: usize) -> Result<Dest, PtxError> {
        match self.operand(at)? {
            Operand::Name(name) => self.names.dest(name, self.statement.line),
            other => Err(self.error(format!("`{other:?}` cannot be written"))),
        }
    }

    /// `%r1|%p1`, or only `%r1`.
    pub(crate) fn dest_pair(&self, at: usize) -> Result<[Dest; 2], PtxError> {
        let dest = |name| self.names.dest(name, self.statement.line);
        match self.operand(at)? {
            Operand::Pair(first, second) => Ok([dest(first)?, dest(second)?]),
            _ => Ok([self.dest(at)?, Dest::Nowhere]),
        }
    }

    /// `{%r1, %r2}`, or only `%r1`.
    pub(crate) fn dests(&self, at: usize) -> Result<Vec<Dest>, PtxError> {
        match self.operand(at)? {
            Operand::Vector(operands) => operands
                .iter()
                .map(|operand| match operand {
                    Operand::Name(name) => self.names.dest(name, self.statement.line),
                    other => Err(self.error(format!("`{other:?}` cannot be written"))),
                })
                .collect(),
            _ => Ok(vec![self.dest(at)?]),
        }
    }

    pub(crate) fn source(&self, at: usize) -> Result<Source, PtxError> {
        self.names.source(self.operand(at)?, self.statement.line)
    }

    pub(crate) fn sources(&self, at: usize) -> Result<Vec<Source>, PtxError> {
        match self.operand(at)? {
            Operand::Vector(operands) => {
                operands.iter().map(|operand| self.names.source(operand, self.statement.line)).collect()
            }
            _ => Ok(vec![self.source(at)?]),
        }
    }

    /// All operands from the second on; those that are not there are zero.
    pub(crate) fn inputs<const N: usize>(&self) -> Result<[Source; N], PtxError> {
        let mut inputs = [Source::Number(0); N];
        for at in 1..self.operands() {
            *inputs.get_mut(at - 1).ok_or_else(|| self.error("too many operands"))? = self.source(at)?;
        }
        Ok(inputs)
    }

    /// A predicate, or a number that stands for one.
    pub(crate) fn condition(&self, at: usize) -> Result<Source, PtxError> {
        match self.source(at)? {
            source @ (Source::Pred(_) | Source::NotPred(_) | Source::Number(_)) => Ok(source),
            _ => Err(self.error(format!("operand {at} must be a predicate"))),
        }
    }

    /// A number that must be known when the module is loaded.
    pub(crate) fn number(&self, at: usize) -> Result<u64, PtxError> {
        match self.source(at)? {
            Source::Number(value) => Ok(value),
            _ => Err(self.error(format!("operand {at} must be a number"))),
        }
    }

    /// `[%rd1+8]`
    pub(crate) fn address(&self, at: usize) -> Result<Address, PtxError> {
        match self.operand(at)? {
            Operand::Address(base, offset) => {
                Ok(Address { base: self.names.source(base, self.statement.line)?, offset: *offset })
            }
            other => Err(self.error(format!("`{other:?}` is no address"))),
        }
    }

    /// Whether an address is that of a call's argument or result, which is local memory here.
    pub(crate) fn of_call(&self, at: usize) -> bool {
        match self.statement.operands.get(at) {
            Some(Operand::Address(base, _)) => match &**base {
                Operand::Name(name) => matches!(self.names.symbol(name), Some(Symbol::Local(_))),
                _ => false,
            },
            _ => false,
        }
    }
}
