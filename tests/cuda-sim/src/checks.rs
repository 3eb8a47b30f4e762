//! What is checked while a kernel runs, and how a finding reads.

use std::fmt;

/// A rule that a program broke. The number is what the exported functions of the driver call it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Check {
    /// An access outside of an allocation, of a block's shared memory, or of memory that was freed.
    Bounds = 1,
    /// An address that is not a multiple of the size of the access.
    Alignment = 2,
    /// A read of global memory that nothing has written.
    UninitialisedGlobal = 3,
    /// A read of shared memory that this block has not written.
    UninitialisedShared = 4,
    /// Two threads of a block at the same bytes, one of them writing, with no barrier between them.
    RaceInBlock = 5,
    /// Two blocks of a launch at the same bytes, one of them writing.
    RaceBetweenBlocks = 6,
    /// A barrier that some threads of a block do not come to, or come to somewhere else.
    BarrierDivergence = 7,
    /// A mask of a warp's instruction that names lanes that do not come, or does not name those that do; a shuffle from such a lane.
    WarpMask = 8,
    /// Shared memory that `cp.async` writes, used before the copy was waited for.
    AsyncCopy = 9,
    /// A launch that the kernel or the device does not allow.
    Launch = 10,
    /// A call that must not be made while a stream is captured, or a captured stream that was left open.
    Capture = 11,
    /// A module that cannot be loaded: not PTX, or an instruction that is not known.
    Module = 12,
    /// A kernel that trapped: a failed assertion.
    Trap = 13,
    /// A kernel that does not end.
    Endless = 14,
    /// A read through the cache for what no kernel writes meanwhile (`__ldg`, `const` with `__restrict__`), of what this launch has written.
    ReadOnly = 15,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 15] = [
        Check::Bounds,
        Check::Alignment,
        Check::UninitialisedGlobal,
        Check::UninitialisedShared,
        Check::RaceInBlock,
        Check::RaceBetweenBlocks,
        Check::BarrierDivergence,
        Check::WarpMask,
        Check::AsyncCopy,
        Check::Launch,
        Check::Capture,
        Check::Module,
        Check::Trap,
        Check::Endless,
        Check::ReadOnly,
    ];

    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Check::Bounds => "out of bounds",
            Check::Alignment => "misaligned address",
            Check::UninitialisedGlobal => "uninitialised global memory",
            Check::UninitialisedShared => "uninitialised shared memory",
            Check::RaceInBlock => "race within a block",
            Check::RaceBetweenBlocks => "race between blocks",
            Check::BarrierDivergence => "divergent barrier",
            Check::WarpMask => "wrong mask of a warp",
            Check::AsyncCopy => "copy not waited for",
            Check::Launch => "impossible launch",
            Check::Capture => "capture not isolated",
            Check::Module => "module not loaded",
            Check::Trap => "trap",
            Check::Endless => "endless kernel",
            Check::ReadOnly => "read-only memory was written",
        }
    }
}

/// What broke a rule, and where.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// The rule.
    pub check: Check,
    /// Kernel, line, block, thread and address, what was wanted and what was found.
    pub message: String,
}

impl Finding {
    /// A finding that no thread is to blame for.
    pub fn new(check: Check, message: impl Into<String>) -> Finding {
        Finding { check, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check.name(), self.message)
    }
}

impl std::error::Error for Finding {}

/// A finding inside a warp's instruction, before the kernel's and the block's names are put to it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) check: Check,
    /// The lane that is to blame, if it is one.
    pub(crate) lane: Option<usize>,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(check: Check, lane: impl Into<Option<usize>>, message: impl Into<String>) -> Fault {
        Fault { check, lane: lane.into(), message: message.into() }
    }
}
