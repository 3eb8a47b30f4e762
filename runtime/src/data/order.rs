//! The order of an epoch.

use crate::random::bits;

/// Keeps these numbers apart from others of the same seed.
const SHUFFLE: u64 = 0x0073_6875_6666_6c65;

/// The numbers from 0 to `records`, in an order that depends on the seed and the epoch alone (Fisher and Yates, in Durstenfeld's form
/// of 1964).
///
/// ```
/// let order = netspec::data::order(0, 1, 5);
/// assert_ne!(order, netspec::data::order(0, 2, 5));
/// let mut sorted = order.clone();
/// sorted.sort();
/// assert_eq!(sorted, [0, 1, 2, 3, 4]);
/// ```
pub fn order(seed: u64, epoch: u64, records: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..records).collect();
    for last in (1..records).rev() {
        let random = bits(&[SHUFFLE, seed, epoch, last as u64]);
        // The high half of random * (last + 1): each place is as likely as any other to within (last + 1) / 2^64.
        let other = (u128::from(random) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_as_likely() {
        let mut counts = [[0_i32; 4]; 4];
        for seed in 0..100 {
            for epoch in 0..100 {
                for (place, record) in order(seed, epoch, 4).into_iter().enumerate() {
                    counts[place][record] += 1;
                }
            }
        }
        // 2,500 expected; one deviation is sqrt(10,000 * 3/16) = 43.
        assert!(counts.iter().flatten().all(|count| (count - 2_500).abs() < 200), "{counts:?}");
    }

    #[test]
    fn few_records_have_an_order() {
        assert!(order(1, 1, 0).is_empty());
        assert_eq!(order(1, 1, 1), [0]);
    }
}
