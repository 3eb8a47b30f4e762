//! What a PTX text says, before names and opcodes have a meaning.

use std::fmt;

use super::types::{Space, Type};

/// A module as it is written.
#[derive(Debug, Default)]
pub(crate) struct Source<'a> {
    /// Names of the files that `.loc` speaks of.
    pub(crate) files: Vec<(u32, &'a str)>,
    pub(crate) variables: Vec<Variable<'a>>,
    pub(crate) functions: Vec<Function<'a>>,
}

/// A variable in memory, or a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Variable<'a> {
    pub(crate) line: u32,
    pub(crate) space: Space,
    pub(crate) name: &'a str,
    pub(crate) ty: Type,
    /// In bytes.
    pub(crate) align: usize,
    /// Elements; none when it is declared with `[]`, as dynamic shared memory is.
    pub(crate) length: Option<usize>,
    /// Values of the first elements, the rest are zero.
    pub(crate) init: Vec<u64>,
}

impl Variable<'_> {
    pub(crate) fn bytes(&self) -> usize {
        self.length.unwrap_or(0) * self.ty.bytes()
    }
}

/// A kernel (`.entry`) or a function that kernels call (`.func`).
#[derive(Debug)]
pub(crate) struct Function<'a> {
    pub(crate) line: u32,
    pub(crate) entry: bool,
    pub(crate) name: &'a str,
    pub(crate) results: Vec<Variable<'a>>,
    pub(crate) params: Vec<Variable<'a>>,
    /// The product of `.maxntid` or `.reqntid`.
    pub(crate) max_threads: Option<u32>,
    /// None for a declaration.
    pub(crate) body: Option<Vec<Item<'a>>>,
}

#[derive(Debug)]
pub(crate) enum Item<'a> {
    Block(Vec<Item<'a>>),
    Label(&'a str),
    Registers {
        ty: Type,
        name: &'a str,
        /// `%r<100>` declares `%r0` to `%r99`.
        count: Option<u32>,
    },
    Variable(Variable<'a>),
    /// Where `brx.idx` may go.
    Targets(&'a str, Vec<&'a str>),
    Statement(Statement<'a>),
}

/// An instruction as it is written.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    /// Without its semicolon.
    pub(crate) text: &'a str,
    /// Of the PTX text.
    pub(crate) line: u32,
    /// File and line of the source, from the last `.loc`.
    pub(crate) loc: Option<(u32, u32)>,
    /// The predicate that it depends on, and whether it is negated.
    pub(crate) guard: Option<(&'a str, bool)>,
    /// With its modifiers: `ld.global.f32`.
    pub(crate) opcode: &'a str,
    pub(crate) operands: Vec<Operand<'a>>,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Operand<'a> {
    /// A register, a variable, a label, a function or `_`.
    Name(&'a str),
    /// `!%p1`
    Not(&'a str),
    /// An integer, or the bits of a float.
    Number(u64),
    /// `%r1|%p1`
    Pair(&'a str, &'a str),
    /// `{%r1, %r2}`
    Vector(Vec<Operand<'a>>),
    /// `[%rd1+8]`; and `name+8` in a `mov`, which is the address itself.
    Address(Box<Operand<'a>>, i64),
    /// `(param0, param1)` of a call.
    List(Vec<Operand<'a>>),
}

impl fmt::Debug for Operand<'_> {
    /// As it is written, but numbers in decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, operands: &[Operand]| {
            operands.iter().enumerate().try_for_each(|(at, operand)| {
                let comma = if at == 0 { "" } else { ", " };
                write!(f, "{comma}{operand:?}")
            })
        };
        match self {
            Operand::Name(name) => f.write_str(name),
            Operand::Not(name) => write!(f, "!{name}"),
            Operand::Number(value) => write!(f, "{value}"),
            Operand::Pair(first, second) => write!(f, "{first}|{second}"),
            Operand::Address(base, offset) => write!(f, "[{base:?}+{offset}]"),
            Operand::Vector(operands) => {
                f.write_str("{")?;
                list(f, operands)?;
                f.write_str("}")
            }
            Operand::List(operands) => {
                f.write_str("(")?;
                list(f, operands)?;
                f.write_str(")")
            }
        }
    }
}
