//! Shapes in words.

use super::plural;

/// A shape, per sample: channels first, then the spatial sizes.
pub type Shape = Vec<u64>;

/// The number of elements; `u64::MAX` when it does not fit.
pub fn elements(shape: &[u64]) -> u64 {
    shape.iter().fold(1, |product: u64, &size| product.saturating_mul(size))
}

/// `8 x 8 x 8`.
pub fn sizes(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

/// `512 features`, `8 channels of 8 x 8`.
pub fn given(shape: &[u64]) -> String {
    match shape {
        [] => "a single number".to_owned(),
        [features] => format!("{features} feature{}", plural(*features as usize)),
        [channels, spatial @ ..] => format!("{channels} channel{} of {}", plural(*channels as usize), sizes(spatial)),
    }
}

/// `18,090`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_numbers_read_as_words() {
        assert_eq!(given(&[8, 8, 8]), "8 channels of 8 x 8");
        assert_eq!(given(&[1, 28, 28]), "1 channel of 28 x 28");
        assert_eq!(given(&[512]), "512 features");
        assert_eq!([0, 999, 1_000, 18_090, 1_234_567].map(thousands), ["0", "999", "1,000", "18,090", "1,234,567"]);
        assert_eq!(elements(&[u64::MAX, 2]), u64::MAX);
    }
}
