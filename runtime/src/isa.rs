//! Which instructions kernels use: the machine's best, or the ones that were asked for. And which kernels may run.
//!
//! AVX2 and AVX-512 give the same bits: a kernel's every output element is one chain of fused multiply-adds, in an order that no
//! vector's width changes. The portable loops round after each product, as every machine can, and give their own.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A set of instructions that this machine has.
///
/// There is no other way to one than to ask the machine ([`Isa::best`], [`Isa::available`], [`str::parse`]), so whoever has one may run
/// its instructions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Kind);

/// The instructions themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// What every machine has.
    Portable,
    /// AVX2 and FMA: 16 registers of 8 floats.
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 32 registers of 16 floats.
    Avx512,
}

impl Isa {
    /// Plain loops.
    pub const PORTABLE: Isa = Isa(Kind::Portable);

    /// The fastest of this machine; or the one that the environment variable `NETSPEC_ISA` names, where the machine has it.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let named = std::env::var("NETSPEC_ISA").ok().and_then(|name| name.parse().ok());
            named.or_else(|| Isa::available().last()).unwrap_or(Isa::PORTABLE)
        })
    }

    /// All of this machine, the fastest last.
    pub fn available() -> impl Iterator<Item = Isa> {
        [Kind::Portable, Kind::Avx2, Kind::Avx512].into_iter().filter(|kind| has(*kind)).map(Isa)
    }

    /// `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            Kind::Avx2 => "avx2",
            Kind::Avx512 => "avx512",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// The instructions of a kind.
    ///
    /// # Safety
    ///
    /// The machine has them.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn of(kind: Kind) -> Isa {
        Isa(kind)
    }
}

#[cfg(target_arch = "x86_64")]
fn has(kind: Kind) -> bool {
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match kind {
        Kind::Portable => true,
        Kind::Avx2 => has_avx2,
        Kind::Avx512 => {
            has_avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has(kind: Kind) -> bool {
    kind == Kind::Portable
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No set of instructions that this machine has is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa(String);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available: Vec<&str> = Isa::available().map(Isa::name).collect();
        write!(f, "this machine has no instructions `{}`: it has {}", self.0, available.join(", "))
    }
}

impl std::error::Error for UnknownIsa {}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Isa, UnknownIsa> {
        Isa::available().find(|isa| isa.name() == name).ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// Which kernels may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// The fastest within the tolerance of every kernel: Winograd's convolutions, too.
    #[default]
    Fast,
    /// Convolutions as sums of products of inputs and weights alone; tanh and sigmoid within one unit and two in the last place.
    Exact,
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Numerics::Fast => "fast",
            Numerics::Exact => "exact",
        })
    }
}

impl FromStr for Numerics {
    type Err = String;

    fn from_str(name: &str) -> Result<Numerics, String> {
        [Numerics::Fast, Numerics::Exact]
            .into_iter()
            .find(|numerics| numerics.to_string() == name)
            .ok_or_else(|| "`fast` or `exact` is expected".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_what_the_machine_has() {
        for isa in Isa::available() {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        let unknown = "sse9".parse::<Isa>().expect_err("nobody has it");
        assert!(unknown.to_string().contains("`sse9`: it has portable"), "{unknown}");
    }
}
