//! Random numbers by counter: each is a function of its key, so that no order of work changes it.

/// What all random numbers of one step share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// The training's seed.
    pub seed: u64,
    /// Which step of it.
    pub step: u64,
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014): a bijection of 64-bit
/// numbers that scatters neighbours.
pub const fn scatter(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The random 64 bits of a key.
pub fn bits(key: &[u64]) -> u64 {
    key.iter().fold(0, |state, &part| scatter(state ^ part))
}

/// A part of a key from a text (64-bit FNV-1a: Fowler, Noll and Vo 1991).
pub const fn text(text: &str) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325;
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        state = (state ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
        rest = behind;
    }
    state
}

/// A number in [0, 1) from random bits: multiples of 2^-24, as many as f32 tells apart.
pub fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 * (1.0 / 16_777_216.0)
}

/// Two independent normal numbers of mean 0 and deviation 1 (Box and Muller 1958).
pub fn normals(key: u64) -> [f64; 2] {
    let fraction = |bits: u64| (bits >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0);
    // 1 - fraction is in (0, 1], so that its logarithm is finite.
    let radius = (-2.0 * (1.0 - fraction(scatter(key))).ln()).sqrt();
    let angle = std::f64::consts::TAU * fraction(scatter(key ^ 0x5851_f42d_4c95_7f2d));
    [radius * angle.cos(), radius * angle.sin()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_keys() {
        // Of http://www.isthe.com/chongo/tech/comp/fnv: the empty text, and "foobar".
        assert_eq!((text(""), text("foobar")), (0xcbf2_9ce4_8422_2325, 0x8594_4171_f739_67e8));
    }

    #[test]
    fn units_are_even_and_normals_normal() {
        let n = 100_000;
        let mean = (0..n).map(|i| f64::from(unit(bits(&[1, i])))).sum::<f64>() / n as f64;
        // One deviation of the mean is 0.29 / sqrt(n) = 0.0009.
        assert!((mean - 0.5).abs() < 0.004, "{mean}");
        let numbers: Vec<f64> = (0..n / 2).flat_map(|i| normals(bits(&[2, i]))).collect();
        let mean = numbers.iter().sum::<f64>() / n as f64;
        let variance = numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.013 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
