//! Dimensions in another order.

use crate::arena::{Parts, Tile, View};
use crate::kernels::Store;
use crate::layout::Layout;

/// The most dimensions of a value.
const DIMENSIONS: usize = 8;

/// Sizes and their new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permute {
    /// The input's.
    pub sizes: &'static [usize],
    /// Which dimension of the input each one of the output is.
    pub order: &'static [usize],
}

/// `y[i] = x[j]`, where index d of i is index `order[d]` of j; or adds it. With the inverse order it is its own backward.
pub fn apply(t: &mut Tile<'_>, permute: &Permute, x: View, y: View, store: Store) {
    let Permute { sizes, order } = *permute;
    let (len, rank) = (sizes.iter().product::<usize>(), sizes.len());
    assert!(x.layout == Layout::Plain && y.layout == Layout::Plain, "values in PyTorch's order");
    assert!(x.len == len && y.len == len && rank == order.len() && rank <= DIMENSIONS, "a value has its sizes");
    // The output's sizes, and how far apart in the input their elements are.
    let (mut size, mut apart) = ([1; DIMENSIONS], [0; DIMENSIONS]);
    for (dim, &of) in order.iter().enumerate() {
        (size[dim], apart[dim]) = (sizes[of], sizes[of + 1..].iter().product::<usize>());
    }
    let (count, step) = (size[rank - 1], apart[rank - 1]);
    let Parts { reads: [x], writes: [mut y], .. } = t.parts([x], [y]);
    for sample in 0..x.samples() {
        let (x, y) = (x.row(sample), y.row(sample));
        let (mut index, mut first) = ([0; DIMENSIONS], 0);
        for y in y.chunks_exact_mut(count) {
            store.put(y, x[first..].iter().step_by(step).copied());
            // The next index of all dimensions but the last.
            for dim in (0..rank - 1).rev() {
                index[dim] += 1;
                first += apart[dim];
                if index[dim] < size[dim] {
                    break;
                }
                first -= size[dim] * apart[dim];
                index[dim] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Bench, seeds};

    #[test]
    fn elements_are_where_their_indices_say() {
        for seed in seeds(0..200) {
            let samples = 1 + seed as usize % 2;
            let mut bench = Bench::new(seed, samples);
            let rank = bench.random.between(1, 5);
            let sizes: Vec<usize> = (0..rank).map(|_| bench.random.between(1, 4)).collect();
            let mut rest: Vec<usize> = (0..rank).collect();
            let order: Vec<usize> =
                (0..rank).map(|_| rest.swap_remove(bench.random.between(0, rest.len() - 1))).collect();
            let len: usize = sizes.iter().product();
            let (x_of, before) = (bench.random.numbers(samples * len), bench.random.numbers(samples * len));
            let inverse =
                (0..rank).map(|dim| order.iter().position(|&of| of == dim).expect("each once")).collect::<Vec<_>>();
            let moved: Vec<usize> = order.iter().map(|&of| sizes[of]).collect();
            for store in [Store::Write, Store::Add] {
                let mut wanted = vec![0.0; samples * len];
                for (at, &x) in x_of.iter().enumerate() {
                    // The index of each dimension, from the last on.
                    let (mut index, mut rest) = (vec![0; rank], at % len);
                    for dim in (0..rank).rev() {
                        (index[dim], rest) = (rest % sizes[dim], rest / sizes[dim]);
                    }
                    let to = order.iter().fold(0, |to, &of| to * sizes[of] + index[of]) + at / len * len;
                    wanted[to] = if store == Store::Add { before[to] + x } else { x };
                }
                let leak = |of: &[usize]| -> &'static [usize] { of.to_vec().leak() };
                let (x, y) = (bench.value(x_of.clone()), bench.value(before.clone()));
                bench.run(&[y], |t| apply(t, &Permute { sizes: leak(&sizes), order: leak(&order) }, x, y, store));
                assert_eq!(bench.get(y), wanted, "{sizes:?} in order {order:?}");
                if store == Store::Write {
                    let back = bench.target(len, Store::Write);
                    let permute = Permute { sizes: leak(&moved), order: leak(&inverse) };
                    bench.run(&[back], |t| apply(t, &permute, y, back, store));
                    assert_eq!(bench.get(back), x_of, "{sizes:?} in order {order:?} and back");
                }
            }
        }
    }
}
