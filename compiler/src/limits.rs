//! What a spec may not exceed, so that every text is decided in bounded time and memory.
//!
//! The checks on text are iterative and run before anything recurses.

/// Bytes of one file, and of all files of a spec together.
pub const FILE_BYTES: usize = 1 << 20;
/// Files of a spec: the main one and those that it uses, or that they do.
pub const FILES: usize = 64;
/// Brackets, braces, parentheses or YAML collections inside each other.
pub const NESTING: usize = 64;
/// Characters of a name.
pub const NAME: usize = 64;
/// Parameters that a model or block declares.
pub const DECLARED_PARAMS: usize = 256;
/// Inputs of a model, and outputs as many: they are a tuple of Rust, for which traits of the runtime are written out so far.
pub const INPUTS: usize = 12;
/// Dimensions of a value, per sample.
pub const DIMENSIONS: usize = 8;
/// Statements, as written and with every block use, shared use and unrolled repeat written out.
pub const STATEMENTS: usize = 20_000;
/// Arguments and numbers, with every block use and unrolled repeat written out: room for fifty of each statement.
pub const ARGUMENTS: usize = 50 * STATEMENTS;
/// Iterations of a `repeat`.
pub const REPEAT: i64 = 10_000;
/// Iterations of a `repeat … unrolled`, the one thing that grows with its count.
pub const UNROLLED: i64 = 256;
/// Elements of one value, per sample.
pub const VALUE_ELEMENTS: u64 = 1 << 31;
/// Trainable parameters of a model.
pub const PARAMETERS: u64 = 1 << 32;
/// Errors reported of one reading: behind that many, the rest is likely an echo.
pub const SYNTAX_ERRORS: usize = 20;
/// Errors told of one spec, and warnings as many.
pub const FINDINGS: usize = 100;
/// Words and numbers of one file, in YAML its lists and maps too: room for every statement with some arguments.
pub const WORDS: usize = 200_000;
