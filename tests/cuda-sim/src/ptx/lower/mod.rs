//! A [`syntax::Source`] to kernels: variables get their places, registers their numbers, labels their addresses, and calls are written out.

mod form;
mod names;
mod opcode;

use std::collections::HashMap;

use super::instruction::{Instruction, Kernel, Op, Param};
use super::syntax::{Function, Item, Operand, Source, Statement, Variable};
use super::types::Space;
use super::{PtxError, parser};
use names::{Names, Symbol};

/// How deep calls may be nested: PTX that calls itself cannot be written out.
const MAX_DEPTH: usize = 32;
/// Bytes of shared memory that a kernel may declare: more must be dynamic.
const MAX_STATIC_SHARED: usize = 48 * 1024;

/// A module that was loaded.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) globals: Vec<Global>,
}

/// A variable in device memory.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

/// Reads a module. `place` takes the first values of a variable in device memory and gives its address.
///
/// # Errors
///
/// The first thing that is not PTX or not supported, with its line.
pub(crate) fn module(text: &str, mut place: impl FnMut(&[u8]) -> u64) -> Result<Module, PtxError> {
    let source = parser::parse(text)?;
    let mut module = Module::default();
    let mut names = Names::default();
    for variable in &source.variables {
        let symbol = match (variable.space, variable.length) {
            (Space::Shared, None) => Symbol::DynamicShared,
            (Space::Shared, Some(_)) => Symbol::StaticShared { bytes: variable.bytes(), align: variable.align },
            _ => {
                let address = place(&initial_bytes(variable));
                module.globals.push(Global { name: variable.name.into(), address, bytes: variable.bytes() });
                Symbol::Global(address)
            }
        };
        names.bind(variable.name, symbol);
    }
    for function in source.functions.iter().filter(|function| function.entry) {
        module.kernels.push(kernel(&source, names.clone(), function)?);
    }
    Ok(module)
}

fn initial_bytes(variable: &Variable) -> Vec<u8> {
    let mut bytes = vec![0; variable.bytes()];
    let size = variable.ty.bytes();
    for (place, value) in bytes.chunks_exact_mut(size).zip(&variable.init) {
        place.copy_from_slice(&value.to_le_bytes()[..size]);
    }
    bytes
}

fn kernel<'s>(source: &'s Source<'s>, names: Names<'s>, entry: &'s Function<'s>) -> Result<Kernel, PtxError> {
    let mut kernel = Kernel {
        name: entry.name.into(),
        params: Vec::new(),
        param_bytes: 0,
        registers: Default::default(),
        shared_bytes: 0,
        local_bytes: 0,
        max_threads: entry.max_threads,
        code: Vec::new(),
    };
    let mut lowering = Lowering { source, names, frames: Vec::new(), kernel: &mut kernel };
    lowering.names.open();
    for param in &entry.params {
        let offset = lowering.kernel.param_bytes.next_multiple_of(param.align);
        lowering.kernel.param_bytes = offset + param.bytes();
        lowering.kernel.params.push(Param { name: param.name.into(), offset, bytes: param.bytes() });
        lowering.names.bind(param.name, Symbol::Param(offset as u64));
    }
    lowering.body(entry)?;
    lowering.push(Op::Exit, "ret", entry.line);
    lowering.names.close();
    kernel.shared_bytes = kernel.shared_bytes.next_multiple_of(16);
    kernel.local_bytes = kernel.local_bytes.next_multiple_of(16);
    if kernel.shared_bytes > MAX_STATIC_SHARED {
        let message = format!(
            "kernel `{}` declares {} bytes of shared memory; more than {MAX_STATIC_SHARED} must be dynamic",
            kernel.name, kernel.shared_bytes
        );
        return Err(PtxError::new(entry.line, message));
    }
    Ok(kernel)
}

/// What is being written out: one for the kernel, and one for each call that led to here.
#[derive(Default)]
struct Frame<'s> {
    labels: HashMap<&'s str, u32>,
    tables: HashMap<&'s str, &'s [&'s str]>,
    /// Branches, by their place in the code: labels may be declared after them.
    branches: Vec<(usize, &'s Statement<'s>)>,
}

struct Lowering<'s, 'k> {
    source: &'s Source<'s>,
    names: Names<'s>,
    frames: Vec<Frame<'s>>,
    kernel: &'k mut Kernel,
}

impl<'s> Lowering<'s, '_> {
    fn body(&mut self, function: &'s Function<'s>) -> Result<(), PtxError> {
        let Some(body) = &function.body else {
            return Err(PtxError::new(function.line, format!("the function `{}` has no body", function.name)));
        };
        self.frames.push(Frame::default());
        self.items(body)?;
        let frame = self.frames.pop().unwrap_or_default();
        let end = self.kernel.code.len() as u32;
        for (at, statement) in &frame.branches {
            frame.aim(&mut self.kernel.code[*at].op, statement, end)?;
        }
        Ok(())
    }

    fn items(&mut self, items: &'s [Item<'s>]) -> Result<(), PtxError> {
        self.names.open();
        // A register or a table of labels may be used before the line that declares it.
        for item in items {
            match item {
                Item::Registers { ty, name, count } => {
                    self.names.declare(name, *ty, *count, &mut self.kernel.registers);
                }
                Item::Targets(name, labels) => {
                    self.frame().tables.insert(name, labels);
                }
                _ => {}
            }
        }
        for item in items {
            match item {
                Item::Block(items) => self.items(items)?,
                Item::Label(name) => {
                    let at = self.kernel.code.len() as u32;
                    self.frame().labels.insert(name, at);
                }
                Item::Variable(variable) => self.variable(variable)?,
                Item::Statement(statement) => self.statement(statement)?,
                Item::Registers { .. } | Item::Targets(..) => {}
            }
        }
        self.names.close();
        Ok(())
    }

    fn frame(&mut self) -> &mut Frame<'s> {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn variable(&mut self, variable: &'s Variable<'s>) -> Result<(), PtxError> {
        let kernel = &mut *self.kernel;
        let symbol = match (variable.space, variable.length) {
            (Space::Shared, None) => Symbol::DynamicShared,
            (Space::Shared, Some(_)) => {
                Symbol::Shared(reserve(&mut kernel.shared_bytes, variable.bytes(), variable.align))
            }
            // The arguments and results of a call are the thread's own, as local memory is.
            (Space::Local | Space::Param, _) => {
                Symbol::Local(reserve(&mut kernel.local_bytes, variable.bytes(), variable.align))
            }
            _ => {
                let message = format!("the variable `{}` inside a function is not supported", variable.name);
                return Err(PtxError::new(variable.line, message));
            }
        };
        self.names.bind(variable.name, symbol);
        Ok(())
    }

    fn statement(&mut self, statement: &'s Statement<'s>) -> Result<(), PtxError> {
        let mnemonic = statement.opcode.split('.').next().unwrap_or_default();
        let op = match mnemonic {
            "call" => match self.call(statement)? {
                Some(op) => op,
                None => return Ok(()),
            },
            "bra" | "brx" => self.branch(statement)?,
            "ret" if self.frames.len() > 1 => self.branch(statement)?,
            _ => {
                self.place_shared(statement);
                opcode::lower(statement, &self.names)?
            }
        };
        let guard = match statement.guard {
            Some((name, negated)) => Some((self.names.predicate(name, statement.line)?, negated)),
            None => None,
        };
        self.push(op, statement.text, statement.line);
        if let Some(last) = self.kernel.code.last_mut() {
            last.guard = guard;
            last.loc = statement.loc.map(|(file, line)| location(self.source, file, line));
        }
        Ok(())
    }

    /// A branch to nowhere: its targets are put in when all labels are known.
    fn branch(&mut self, statement: &'s Statement<'s>) -> Result<Op, PtxError> {
        let at = self.kernel.code.len();
        self.frame().branches.push((at, statement));
        match statement.operands.as_slice() {
            [index, _] => Ok(Op::BranchTable { index: self.names.source(index, statement.line)?, targets: Vec::new() }),
            _ => Ok(Op::Branch { target: 0 }),
        }
    }

    fn push(&mut self, op: Op, text: &str, line: u32) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ").into();
        self.kernel.code.push(Instruction { guard: None, op, text, line, loc: None });
    }

    /// Shared memory that the module declares is part of a kernel that names it.
    fn place_shared(&mut self, statement: &'s Statement<'s>) {
        for operand in &statement.operands {
            let name = match operand {
                Operand::Name(name) => name,
                Operand::Address(base, _) => match &**base {
                    Operand::Name(name) => name,
                    _ => continue,
                },
                _ => continue,
            };
            if let Some(Symbol::StaticShared { bytes, align }) = self.names.symbol(name) {
                let offset = reserve(&mut self.kernel.shared_bytes, bytes, align);
                self.names.rebind(name, Symbol::Shared(offset));
            }
        }
    }

    /// Writes out a call, or gives the one instruction that stands for it.
    fn call(&mut self, statement: &'s Statement<'s>) -> Result<Option<Op>, PtxError> {
        let error = |message: String| PtxError::new(statement.line, message);
        let mut operands = statement.operands.iter().peekable();
        let list = |operands: &mut std::iter::Peekable<std::slice::Iter<'s, Operand<'s>>>| match operands.peek() {
            Some(Operand::List(list)) => {
                operands.next();
                list.as_slice()
            }
            _ => &[],
        };
        let results = list(&mut operands);
        let Some(Operand::Name(name)) = operands.next() else {
            return Err(error(format!("`{}` is not supported", statement.text)));
        };
        let arguments = list(&mut operands);
        match *name {
            "__assertfail" => return Ok(Some(Op::Trap { why: "an assertion of the kernel failed" })),
            "vprintf" => return Ok(Some(Op::Nothing)),
            _ => {}
        }
        let function = self.source.functions.iter().find(|function| function.name == *name && function.body.is_some());
        let Some(function) = function else {
            return Err(error(format!("the function `{name}` is called, but not known")));
        };
        if statement.guard.is_some() || self.frames.len() > MAX_DEPTH {
            return Err(error(format!("a conditional or recursive call of `{name}` is not supported")));
        }
        if (results.len(), arguments.len()) != (function.results.len(), function.params.len()) {
            return Err(error(format!("the call of `{name}` does not fit its parameters")));
        }
        let mut bindings = Vec::new();
        for (operand, variable) in results.iter().zip(&function.results).chain(arguments.iter().zip(&function.params)) {
            let symbol = match operand {
                Operand::Name(name) => self.names.symbol(name),
                _ => None,
            };
            let Some(symbol @ Symbol::Local(_)) = symbol else {
                return Err(error(format!("`{operand:?}` as an argument of a call is not supported")));
            };
            bindings.push((variable.name, symbol));
        }
        self.names.open();
        for (name, symbol) in bindings {
            self.names.bind(name, symbol);
        }
        self.body(function)?;
        self.names.close();
        Ok(None)
    }
}

/// Where a variable of `bytes` goes when `used` are taken.
fn reserve(used: &mut usize, bytes: usize, align: usize) -> u64 {
    let offset = used.next_multiple_of(align);
    *used = offset + bytes;
    offset as u64
}

fn location(source: &Source, file: u32, line: u32) -> Box<str> {
    let path = source.files.iter().find(|(index, _)| *index == file).map_or("?", |(_, path)| path);
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("{name}:{line}").into()
}

impl Frame<'_> {
    /// Puts its targets into a branch; `ret` in a function that was written out goes to its `end`.
    fn aim(&self, op: &mut Op, statement: &Statement, end: u32) -> Result<(), PtxError> {
        let error = |message: String| PtxError::new(statement.line, message);
        let label =
            |name: &str| self.labels.get(name).copied().ok_or_else(|| error(format!("there is no label `{name}`")));
        match (op, statement.opcode, statement.operands.as_slice()) {
            (Op::Branch { target }, "ret" | "ret.uni", []) => *target = end,
            (Op::Branch { target }, "bra" | "bra.uni", [Operand::Name(name)]) => *target = label(name)?,
            (Op::BranchTable { targets, .. }, "brx.idx" | "brx.idx.uni", [_, Operand::Name(table)]) => {
                let labels = self.tables.get(table).ok_or_else(|| error(format!("there is no table `{table}`")))?;
                *targets = labels.iter().map(|name| label(name)).collect::<Result<_, _>>()?;
            }
            _ => return Err(error(format!("unknown instruction in `{}`", statement.text))),
        }
        Ok(())
    }
}
