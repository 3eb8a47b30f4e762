//! First values of weights: each a function of the tensor's key and of its place.

use crate::network::{Fill, Tensor};
use crate::random::{normals, scatter, unit};

/// Fills a tensor with its first values.
pub(super) fn fill(tensor: &Tensor, key: u64, values: &mut [f32]) {
    match tensor.fill {
        Fill::Constant(value) => values.fill(value),
        Fill::Uniform(bound) => each(values, key, |key| bound * (2.0 * unit(key) - 1.0)),
        Fill::Between(low, high) => each(values, key, |key| {
            // The sum can round up to the upper end.
            (f64::from(low) + (f64::from(high) - f64::from(low)) * f64::from(unit(key))) as f32
        }),
        Fill::Normal { mean, std } => {
            for (index, pair) in values.chunks_mut(2).enumerate() {
                let drawn = normals(scatter(key ^ index as u64));
                for (value, drawn) in pair.iter_mut().zip(drawn) {
                    *value = (f64::from(mean) + f64::from(std) * drawn) as f32;
                }
            }
        }
        Fill::Truncated { mean, std, low, high } => {
            let [mean, std] = [mean, std].map(f64::from);
            let ends = [low, high].map(|end| (f64::from(end) - mean) / std);
            each(values, key, |key| ((mean + std * truncated(key, ends)) as f32).clamp(low, high));
        }
        Fill::Orthogonal(gain) => {
            let rows = tensor.shape.first().copied().unwrap_or(1);
            orthogonal(key, rows, f64::from(gain), values);
        }
        Fill::Values(given) => values.copy_from_slice(given),
    }
}

/// Fills with what `draw` makes of each place's random bits.
fn each(values: &mut [f32], key: u64, draw: impl Fn(u64) -> f32) {
    for (index, value) in values.iter_mut().enumerate() {
        *value = draw(scatter(key ^ index as u64));
    }
}

/// A normal number of mean 0 and deviation 1, given that it is from `low` to `high`: drawn from a distribution that is near, until one is
/// accepted (Robert, *Simulation of truncated normal variables*, 1995). Of any ends at least one draw in five is.
fn truncated(key: u64, [low, high]: [f64; 2]) -> f64 {
    if high < 0.0 {
        return -truncated(key, [-high, -low]);
    }
    let width = high - low;
    let peak = low.max(0.0);
    // The whole distribution, where much of it is between the ends; a tail beyond `low`; a slice.
    let is_whole = if low <= 0.0 { width > 2.5 } else { low < 0.5 && width > 1.0 };
    let is_tail = low > 0.0 && low * width > 1.0;
    let candidate = |draw: u64| {
        let key = scatter(key ^ scatter(draw));
        let even = |part: u64| (scatter(key.wrapping_add(part)) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0);
        if is_whole {
            let found = normals(key)[0];
            (low <= found && found <= high).then_some(found)
        } else if is_tail {
            // The exponential distribution that touches the tail at `low`.
            let beyond = -(1.0 - even(0)).ln() / low;
            let is_accepted = even(1) < (-0.5 * beyond * beyond).exp();
            (is_accepted && beyond <= width).then_some(low + beyond)
        } else {
            let found = low + width * even(0);
            (even(1) < (0.5 * (peak * peak - found * found)).exp()).then_some(found)
        }
    };
    // It is found long before there are no more numbers.
    (0..=u64::MAX).find_map(candidate).unwrap_or(peak)
}

/// An orthogonal matrix of `rows`, even over all such matrices: Gram and Schmidt's on normal numbers, twice, in f64. (The signs agree with
/// those of PyTorch, which makes the diagonal of R positive.)
fn orthogonal(key: u64, rows: usize, gain: f64, values: &mut [f32]) {
    let columns = values.len() / rows;
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut vectors = vec![0.0f64; count * len];
    for (index, pair) in vectors.chunks_mut(2).enumerate() {
        pair.copy_from_slice(&normals(scatter(key ^ index as u64))[..pair.len()]);
    }
    for index in 0..count {
        let (before, rest) = vectors.split_at_mut(index * len);
        let vector = &mut rest[..len];
        // What rounding leaves of the others after the first time is as large as rounding; after the second it is nothing.
        for other in before.chunks_exact(len).chain(before.chunks_exact(len)) {
            let along = dot(other, vector);
            vector.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let length = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
    }
    for (index, value) in values.iter_mut().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let at = if rows <= columns { row * len + column } else { column * len + row };
        *value = (gain * vectors[at]) as f32;
    }
}

/// A product of vectors, in eight sums side by side, whose order no machine changes.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::bits;

    const SIZE: usize = 40_001;

    fn drawn(fill: Fill, shape: &'static [usize], seed: u64) -> Vec<f32> {
        let tensor = Tensor { name: "w", shape, offset: 0, repeats: &[], fill, trainable: true };
        let mut values = vec![f32::NAN; shape.iter().product()];
        super::fill(&tensor, bits(&[seed]), &mut values);
        values
    }

    fn moments(values: &[f32]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
        (mean, (squares / count).sqrt())
    }

    #[test]
    fn fills_are_what_they_say() {
        let constant = drawn(Fill::Constant(1.0), &[SIZE], 0);
        assert!(constant.iter().all(|&value| value == 1.0));
        let uniform = drawn(Fill::Uniform(0.5), &[SIZE], 1);
        assert!(uniform.iter().all(|value| (-0.5..0.5).contains(value)));
        // Within four deviations of a mean, and of a deviation, of so many.
        let (mean, std) = moments(&uniform);
        assert!(mean.abs() < 0.006 && (std - 0.288_675).abs() < 0.003, "{mean} {std}");
        let (mean, std) = moments(&drawn(Fill::Normal { mean: 1.0, std: 2.0 }, &[SIZE], 2));
        assert!((mean - 1.0).abs() < 0.04 && (std - 2.0).abs() < 0.03, "{mean} {std}");
        let between = drawn(Fill::Between(2.0, 5.0), &[SIZE], 3);
        assert!(between.iter().all(|value| (2.0..=5.0).contains(value)));
        let (mean, std) = moments(&between);
        assert!((mean - 3.5).abs() < 0.018 && (std - 0.866_025).abs() < 0.009, "{mean} {std}");
        assert_eq!(drawn(Fill::Values(&[1.0, -2.0, 0.5, 0.1]), &[2, 2], 4), [1.0, -2.0, 0.5, 0.1]);
    }

    /// Mean and deviation of a truncated normal distribution, by the trapezoid rule.
    fn of_truncated(mean: f64, std: f64, low: f64, high: f64) -> (f64, f64) {
        // Beyond forty deviations there is nothing.
        let high = high.min(mean.max(low) + 40.0 * std);
        let low = low.max(mean.min(high) - 40.0 * std);
        const STEPS: usize = 400_000;
        let peak = (low.max(mean.min(high)) - mean) / std;
        let mut sums = [0.0; 3];
        for step in 0..=STEPS {
            let x = low + (high - low) * step as f64 / STEPS as f64;
            let end = if step == 0 || step == STEPS { 0.5 } else { 1.0 };
            let density = end * (0.5 * (peak * peak - ((x - mean) / std).powi(2))).exp();
            sums.iter_mut().zip([1.0, x, x * x]).for_each(|(sum, power)| *sum += density * power);
        }
        let first = sums[1] / sums[0];
        (first, (sums[2] / sums[0] - first * first).sqrt())
    }

    #[test]
    fn truncated_normals_have_their_moments_and_ends() {
        // PyTorch's default; one side; a slice beside the middle; a far tail, on either side; a wide window; a narrow one far out.
        for (seed, (mean, std, low, high)) in [
            (0.0, 1.0, -2.0, 2.0),
            (0.0, 1.0, -0.25, 1000.0),
            (1.0, 0.5, 1.2, 1.5),
            (0.0, 1.0, 3.0, 1000.0),
            (0.0, 0.5, -1000.0, -2.0),
            (2.0, 3.0, -1e6, 1e6),
            (0.0, 1.0, 0.2, 5.0),
            (0.0, 1.0, 5.0, 5.1),
        ]
        .into_iter()
        .enumerate()
        {
            let fill = Fill::Truncated { mean: mean as f32, std: std as f32, low: low as f32, high: high as f32 };
            let values = drawn(fill, &[SIZE], seed as u64);
            assert!(values.iter().all(|value| (low as f32..=high as f32).contains(value)), "{fill:?}");
            let (found, wanted) = (moments(&values), of_truncated(mean, std, low, high));
            // Four and a half deviations of a mean of so many; a deviation of a deviation is below that of an exponential's, 1.5 times as much.
            let error = 4.5 * wanted.1 / (SIZE as f64).sqrt();
            assert!((found.0 - wanted.0).abs() < error, "{fill:?}: mean {found:?}, not {wanted:?}");
            assert!((found.1 - wanted.1).abs() < 1.5 * error, "{fill:?}: deviation {found:?}, not {wanted:?}");
        }
    }

    #[test]
    fn orthogonal_matrices_are_orthogonal() {
        let shapes: [&'static [usize]; 7] = [&[24, 24], &[10, 70], &[70, 10], &[8, 3, 5, 5], &[1, 9], &[9, 1], &[1, 1]];
        for shape in shapes {
            let gain = 1.5f32;
            let values = drawn(Fill::Orthogonal(gain), shape, 5);
            let rows = shape[0];
            let columns = values.len() / rows;
            let (count, len) = (rows.min(columns), rows.max(columns));
            let at = |vector: usize, place: usize| {
                let index = if rows <= columns { vector * columns + place } else { place * columns + vector };
                f64::from(values[index])
            };
            for a in 0..count {
                for b in 0..count {
                    let product: f64 = (0..len).map(|place| at(a, place) * at(b, place)).sum();
                    let wanted = if a == b { f64::from(gain * gain) } else { 0.0 };
                    // Each element is rounded to f32 once: products are off by 2^-24 gain^2 at most, and by about as much as its square root.
                    assert!((product - wanted).abs() < 4e-7, "{shape:?}: {a} times {b} is {product}, not {wanted}");
                }
            }
        }
    }

    /// Of matrices that are even over all orthogonal ones each element has mean 0 and variance 1 / n, the diagonal too: without the
    /// positive diagonal of R it would not.
    #[test]
    fn orthogonal_matrices_are_even() {
        let mut diagonal = Vec::new();
        let mut others = Vec::new();
        for seed in 0..4_000 {
            let values = drawn(Fill::Orthogonal(1.0), &[4, 4], seed);
            diagonal.push(values[5]);
            others.push(values[3]);
        }
        for values in [diagonal, others] {
            let (mean, std) = moments(&values);
            assert!(mean.abs() < 0.035 && (std - 0.5).abs() < 0.025, "{mean} {std}");
        }
    }

    #[test]
    fn fills_follow_their_key_alone() {
        for fill in [
            Fill::Uniform(1.0),
            Fill::Between(0.0, 1.0),
            Fill::Normal { mean: 0.0, std: 1.0 },
            Fill::Truncated { mean: 0.0, std: 1.0, low: -2.0, high: 2.0 },
            Fill::Orthogonal(1.0),
        ] {
            let values = drawn(fill, &[6, 10], 7);
            assert_eq!(values, drawn(fill, &[6, 10], 7), "{fill:?}");
            assert_ne!(values, drawn(fill, &[6, 10], 8), "{fill:?}");
            let distinct: std::collections::BTreeSet<u32> = values.iter().map(|value| value.to_bits()).collect();
            assert!(distinct.len() > 55, "{fill:?}: {} of 60 values are distinct", distinct.len());
        }
    }
}
