//! The types and state spaces of PTX.

/// A fundamental type, or one of the packed and alternate formats that instructions name in the same place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    Pred,
    B8,
    U8,
    S8,
    B16,
    U16,
    S16,
    F16,
    Bf16,
    B32,
    U32,
    S32,
    F32,
    F16x2,
    Bf16x2,
    Tf32,
    B64,
    U64,
    S64,
    F64,
}

impl Type {
    /// The type that is written so, without its dot.
    pub(crate) fn named(name: &str) -> Option<Type> {
        use Type::*;
        Some(match name {
            "pred" => Pred,
            "b8" => B8,
            "u8" => U8,
            "s8" => S8,
            "b16" => B16,
            "u16" => U16,
            "s16" => S16,
            "f16" => F16,
            "bf16" => Bf16,
            "b32" => B32,
            "u32" => U32,
            "s32" => S32,
            "f32" => F32,
            "f16x2" => F16x2,
            "bf16x2" => Bf16x2,
            "tf32" => Tf32,
            "b64" => B64,
            "u64" => U64,
            "s64" => S64,
            "f64" => F64,
            _ => return None,
        })
    }

    /// Bytes in memory; a predicate has none.
    pub(crate) fn bytes(self) -> usize {
        use Type::*;
        match self {
            Pred => 0,
            B8 | U8 | S8 => 1,
            B16 | U16 | S16 | F16 | Bf16 => 2,
            B32 | U32 | S32 | F32 | F16x2 | Bf16x2 | Tf32 => 4,
            B64 | U64 | S64 | F64 => 8,
        }
    }

    /// Whether it is a signed integer.
    pub(crate) fn signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    /// Whether arithmetic on it is that of floating point numbers.
    pub(crate) fn float(self) -> bool {
        use Type::*;
        matches!(self, F16 | Bf16 | F32 | F16x2 | Bf16x2 | Tf32 | F64)
    }

    /// The bits of `value` that the type has, sign-extended to 64 if it is signed.
    pub(crate) fn extend(self, value: u64) -> u64 {
        match self {
            Type::S8 => value as i8 as u64,
            Type::S16 => value as i16 as u64,
            Type::S32 => value as i32 as u64,
            _ => match self.bytes() {
                0 | 8 => value,
                bytes => value & ((1 << (8 * bytes)) - 1),
            },
        }
    }
}

/// Where an address points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Space {
    /// The kernel's parameters.
    Param,
    /// Device memory; constant memory too.
    Global,
    /// The memory of a block.
    Shared,
    /// The memory of a thread.
    Local,
    /// Any of them: shared, local and parameter addresses lie in windows of their own, see [`Space::of_generic`].
    Generic,
}

impl Space {
    /// What is added to an address in this space to make it generic.
    pub(crate) fn window(self) -> u64 {
        match self {
            Space::Param => 0x0300_0000_0000_0000,
            Space::Local => 0x0200_0000_0000_0000,
            Space::Shared => 0x0100_0000_0000_0000,
            Space::Global | Space::Generic => 0,
        }
    }

    /// The space of a generic address, and the address there.
    pub(crate) fn of_generic(address: u64) -> (Space, u64) {
        for space in [Space::Param, Space::Local, Space::Shared] {
            if address >= space.window() {
                return (space, address - space.window());
            }
        }
        (Space::Global, address)
    }
}
