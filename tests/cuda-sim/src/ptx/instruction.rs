//! Instructions as they are executed: names are registers, offsets and numbers, and modifiers are members of an enum.

use super::types::{Space, Type};

/// A kernel, with the functions that it calls written out in place.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    /// Bytes of all parameters.
    pub(crate) param_bytes: usize,
    /// How many registers of 32 bits (and of 16), of 64 bits, and predicates.
    pub(crate) registers: Registers,
    /// Bytes of shared memory that the kernel declares, to a multiple of 16. Dynamic shared memory follows.
    pub(crate) shared_bytes: usize,
    /// Bytes of local memory of each thread.
    pub(crate) local_bytes: usize,
    /// From `__launch_bounds__`.
    pub(crate) max_threads: Option<u32>,
    pub(crate) code: Vec<Instruction>,
}

/// A parameter in the buffer of all parameters.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Registers {
    pub(crate) narrow: usize,
    pub(crate) wide: usize,
    pub(crate) predicates: usize,
}

#[derive(Debug)]
pub(crate) struct Instruction {
    /// Predicate, and whether it is negated.
    pub(crate) guard: Option<(u32, bool)>,
    pub(crate) op: Op,
    /// As the PTX has it.
    pub(crate) text: Box<str>,
    pub(crate) line: u32,
    /// `file:line` of the source.
    pub(crate) loc: Option<Box<str>>,
}

/// A register that is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Dest {
    Narrow(u32),
    Wide(u32),
    Pred(u32),
    /// `_`
    Nowhere,
}

/// What is read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Source {
    Narrow(u32),
    Wide(u32),
    Pred(u32),
    /// A predicate, negated.
    NotPred(u32),
    Number(u64),
    Special(Special),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Special {
    /// Of axis 0, 1 or 2, as the three below.
    Thread(u8),
    Threads(u8),
    Block(u8),
    Blocks(u8),
    Lane,
    Warp,
    Warps,
    /// The lanes that compare so with this one.
    LaneMask(Comparison),
    Clock,
    /// The offset of dynamic shared memory.
    DynamicShared,
    DynamicSharedBytes,
    Zero,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) base: Source,
    pub(crate) offset: i64,
}

/// A memory operand: `count` elements of type `ty`, one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) ty: Type,
    pub(crate) address: Address,
    /// Volatile, relaxed, acquire and release accesses do not race with each other or with atomics.
    pub(crate) strong: bool,
    /// `.nc`: through the cache for what no kernel writes meanwhile.
    pub(crate) read_only: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// The same, and true if an operand is NaN.
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    /// Whether no operand is NaN, and whether one is.
    Num,
    Nan,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// On 16, 32 or 64 bits, signed or not.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum IntOp {
    Move,
    Add,
    AddSat,
    Sub,
    SubSat,
    MulLo,
    MulHi,
    MadLo,
    MadHi,
    Sad,
    Div,
    Rem,
    Min,
    Max,
    Abs,
    Neg,
    And,
    Or,
    Xor,
    Not,
    /// Whether it is zero.
    Cnot,
    Shl,
    Shr,
    Popc,
    Clz,
    Brev,
    Bfind,
    /// `bfind.shiftamt`
    BfindShift,
    Bfe,
    Bfi,
    Prmt,
    /// With its table of truth.
    Lop3(u8),
    /// `dp2a`: two halves times the lower or the higher two bytes, and a sum.
    Dot {
        high: bool,
    },
    /// Funnel shifts, and whether the amount is clamped to 32 or wraps.
    FunnelLeft {
        clamp: bool,
    },
    FunnelRight {
        clamp: bool,
    },
}

/// On any floating point format.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum FloatOp {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Min,
    Max,
    /// A NaN operand gives NaN, where the plain ones give the other operand.
    MinNan,
    MaxNan,
    Abs,
    Neg,
    Sqrt,
    Rcp,
    Rsqrt,
    Exp2,
    Log2,
    Sin,
    Cos,
    Tanh,
    /// The magnitude of the second with the sign of the first.
    Copysign,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
    /// To nearest, ties away from zero: only into tf32.
    NearestAway,
    /// To an integer: to nearest even, towards zero, down, up.
    NearestInt,
    ZeroInt,
    DownInt,
    UpInt,
}

impl Rounding {
    /// The rounding that is written so.
    pub(crate) fn named(name: &str) -> Option<Rounding> {
        Some(match name {
            "rn" => Rounding::Nearest,
            "rz" => Rounding::Zero,
            "rm" => Rounding::Down,
            "rp" => Rounding::Up,
            "rna" => Rounding::NearestAway,
            "rni" => Rounding::NearestInt,
            "rzi" => Rounding::ZeroInt,
            "rmi" => Rounding::DownInt,
            "rpi" => Rounding::UpInt,
            _ => return None,
        })
    }
}

/// How a float result and its operands are treated.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct FloatMode {
    pub(crate) rounding: Rounding,
    /// Subnormals are zero.
    pub(crate) ftz: bool,
    /// The result is clamped to [0, 1], NaN to 0.
    pub(crate) sat: bool,
    /// The result is clamped to 0 from below, NaN stays.
    pub(crate) relu: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uniform,
    Ballot,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum AtomicOp {
    Add,
    Min,
    Max,
    Inc,
    Dec,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
}

/// The formats of a tensor core's factors; it adds in f32.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Factor {
    Tf32,
    Bf16,
    F16,
}

#[derive(Debug)]
pub(crate) enum Op {
    Int {
        op: IntOp,
        ty: Type,
        dest: Dest,
        sources: [Source; 4],
    },
    /// `mul.wide` and `mad.wide`: twice as wide a result.
    MulWide {
        ty: Type,
        dest: Dest,
        a: Source,
        b: Source,
        add: Option<Source>,
    },
    Float {
        op: FloatOp,
        ty: Type,
        mode: FloatMode,
        dest: Dest,
        sources: [Source; 3],
    },
    /// `setp`: into a predicate, and its contrary into another, each joined with a third.
    Compare {
        ty: Type,
        ftz: bool,
        how: Comparison,
        with: Option<(Logic, Source)>,
        dest: [Dest; 2],
        a: Source,
        b: Source,
    },
    /// `set`: the same, into a number of type `to`.
    Set {
        to: Type,
        ty: Type,
        ftz: bool,
        how: Comparison,
        dest: Dest,
        a: Source,
        b: Source,
    },
    Predicate {
        how: Option<Logic>,
        dest: Dest,
        a: Source,
        b: Source,
    },
    Select {
        dest: Dest,
        a: Source,
        b: Source,
        condition: Source,
    },
    Convert {
        to: Type,
        from: Type,
        mode: Option<Rounding>,
        ftz: bool,
        sat: bool,
        relu: bool,
        dest: Dest,
        source: Source,
    },
    /// Two floats into a pair of halves, the first into the upper.
    ConvertPair {
        to: Type,
        relu: bool,
        dest: Dest,
        high: Source,
        low: Source,
    },
    /// `mov` of parts, each of so many bits, into a register, the first into the lowest bits; and the other way.
    Pack {
        bits: u32,
        dest: Dest,
        parts: Vec<Source>,
    },
    Unpack {
        bits: u32,
        dest: Vec<Dest>,
        source: Source,
    },
    Load {
        access: Access,
        dest: Vec<Dest>,
    },
    Store {
        access: Access,
        sources: Vec<Source>,
    },
    Atomic {
        op: AtomicOp,
        access: Access,
        dest: Dest,
        a: Source,
        b: Source,
    },
    /// `cp.async`: `source_bytes` of `bytes` are copied, the others are zero.
    CopyAsync {
        shared: Address,
        global: Address,
        bytes: usize,
        source_bytes: Option<Source>,
    },
    CopyCommit,
    /// Waits for all but the last so many groups of copies; none: for all copies, committed or not.
    CopyWait {
        but: Option<u32>,
    },
    Branch {
        target: u32,
    },
    BranchTable {
        index: Source,
        targets: Vec<u32>,
    },
    Exit,
    Barrier,
    /// `bar.red`: the barrier that also tells all threads for how many, any or all of them `condition` is true.
    BarrierVote {
        mode: VoteMode,
        dest: Dest,
        condition: Source,
    },
    WarpBarrier {
        mask: Source,
    },
    Shuffle {
        mode: ShuffleMode,
        dest: Dest,
        valid: Dest,
        value: Source,
        lane: Source,
        clamp: Source,
        mask: Source,
    },
    Vote {
        mode: VoteMode,
        dest: Dest,
        condition: Source,
        mask: Source,
    },
    /// `match.any` and `match.all`: the lanes with the same value.
    Match {
        all: bool,
        dest: Dest,
        same: Dest,
        value: Source,
        mask: Source,
    },
    /// `redux.sync`
    Reduce {
        op: AtomicOp,
        signed: bool,
        dest: Dest,
        value: Source,
        mask: Source,
    },
    ActiveMask {
        dest: Dest,
    },
    LoadMatrix {
        count: usize,
        transposed: bool,
        dest: Vec<Dest>,
        address: Address,
    },
    Mma {
        factor: Factor,
        depth: usize,
        dest: Vec<Dest>,
        a: Vec<Source>,
        b: Vec<Source>,
        c: Vec<Source>,
    },
    /// `trap`, a failed assertion.
    Trap {
        why: &'static str,
    },
    Nothing,
}

impl Op {
    /// The lanes that must come to an instruction that a warp executes together.
    pub(crate) fn members(&self) -> Option<Source> {
        match self {
            Op::WarpBarrier { mask }
            | Op::Shuffle { mask, .. }
            | Op::Vote { mask, .. }
            | Op::Match { mask, .. }
            | Op::Reduce { mask, .. } => Some(*mask),
            Op::LoadMatrix { .. } | Op::Mma { .. } => Some(Source::Number(u32::MAX.into())),
            _ => None,
        }
    }
}
