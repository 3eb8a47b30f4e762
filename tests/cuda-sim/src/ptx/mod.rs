//! PTX: from the text that NVRTC makes to instructions that can be executed.
//!
//! [`parser`] reads the text, [`lower`] gives its names and opcodes a meaning. What an opcode may look like is in `lower/opcode/`; one that is
//! not known there, or a modifier of it, is an error that names it, so nothing is ever silently ignored.
//!
//! Source: Parallel Thread Execution ISA, version 8.7, <https://docs.nvidia.com/cuda/parallel-thread-execution/>.

pub(crate) mod instruction;
mod lexer;
pub(crate) mod lower;
mod parser;
mod syntax;
pub(crate) mod types;

use std::fmt;

pub(crate) use lower::module;

/// What is wrong with a PTX text.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct PtxError {
    /// Of the text, from 1.
    pub(crate) line: u32,
    pub(crate) message: String,
}

impl PtxError {
    fn new(line: u32, message: impl Into<String>) -> PtxError {
        PtxError { line, message: message.into() }
    }
}

impl fmt::Display for PtxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PTX line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for PtxError {}
