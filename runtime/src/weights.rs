//! A model's weights: parameters and running statistics, their first values, their names.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Error;
use crate::floats::Floats;
use crate::memory;
use crate::network::{Network, Tensor};
use crate::random::{self, bits};

pub(crate) mod file;
mod fill;

/// Parameters and running statistics of a model.
#[derive(Clone)]
pub struct Weights {
    params: Floats,
    statistics: Floats,
    /// No two weights of a process have one version and different values.
    version: u64,
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("params", &self.params().len())
            .field("statistics", &self.statistics().len())
            .finish_non_exhaustive()
    }
}

fn new_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed)
}

impl Weights {
    fn zeros(form: &Form) -> Weights {
        let [params, statistics] = [form.params, form.statistics].map(|len| Floats::new(memory::zeros(len)));
        Weights { params, statistics, version: new_version() }
    }

    /// The weights that a seed draws.
    pub(crate) fn drawn(form: &Form, seed: u64) -> Weights {
        let mut weights = Weights::zeros(form);
        for tensor in form.tensors {
            for copy in copies(tensor).filter(|copy| copy.owner.is_none()) {
                let key = bits(&[seed, random::text(&copy.name)]);
                fill::fill(tensor, key, weights.values_mut(tensor, copy.offset));
            }
        }
        weights
    }

    /// The parameters, in PyTorch's order.
    pub fn params(&self) -> &[f32] {
        self.params.get()
    }

    /// The parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut [f32] {
        self.both_mut().0
    }

    /// The running statistics.
    pub fn statistics(&self) -> &[f32] {
        self.statistics.get()
    }

    /// The running statistics, to be changed.
    pub fn statistics_mut(&mut self) -> &mut [f32] {
        self.both_mut().1
    }

    /// A number that no other weights of the process have, but those cloned from these while both are as they were. Every mutable
    /// access changes it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Parameters and statistics, to be changed.
    pub(crate) fn both_mut(&mut self) -> (&mut [f32], &mut [f32]) {
        self.version = new_version();
        (self.params.get_mut(), self.statistics.get_mut())
    }

    /// Parameters and statistics, wherever they are.
    #[cfg(feature = "cuda")]
    pub(crate) fn floats(&self) -> [&Floats; 2] {
        [&self.params, &self.statistics]
    }

    /// Notes that the card on which they are has changed them.
    #[cfg(feature = "cuda")]
    pub(crate) fn written(&mut self) {
        self.version = new_version();
        self.params.written();
        self.statistics.written();
    }

    fn values(&self, tensor: &Tensor, offset: usize) -> &[f32] {
        &(if tensor.trainable { self.params() } else { self.statistics() })[offset..][..len(tensor)]
    }

    fn values_mut(&mut self, tensor: &Tensor, offset: usize) -> &mut [f32] {
        let values = if tensor.trainable { self.params.get_mut() } else { self.statistics.get_mut() };
        &mut values[offset..][..len(tensor)]
    }
}

/// What of a [`Network`] its weights follow from.
pub(crate) struct Form {
    pub(crate) model: &'static str,
    pub(crate) spec_hash: u64,
    pub(crate) tensors: &'static [Tensor],
    pub(crate) params: usize,
    pub(crate) statistics: usize,
}

impl Form {
    pub(crate) const fn of<N: Network>() -> Form {
        Form {
            model: N::NAME,
            spec_hash: N::SPEC_HASH,
            tensors: N::TENSORS,
            params: N::PARAMETERS,
            statistics: N::STATISTICS,
        }
    }
}

/// A weight or statistic by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor<'a> {
    /// Its name in a state dict: `resblocks.0.conv.weight`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: &'static [usize],
    /// Its values, the last index running fastest.
    pub values: &'a [f32],
    /// Whether it is a parameter; else a running statistic.
    pub trainable: bool,
}

/// The weights by their names; those of tied repeats once, under index 0.
pub(crate) fn named<'a>(form: Form, weights: &'a Weights) -> impl Iterator<Item = NamedTensor<'a>> {
    form.tensors.iter().flat_map(|tensor| {
        copies(tensor).filter(|copy| copy.owner.is_none()).map(|copy| NamedTensor {
            name: copy.name,
            shape: tensor.shape,
            values: weights.values(tensor, copy.offset),
            trainable: tensor.trainable,
        })
    })
}

/// The places of parameters by their names, of all when there are none: each name is a weight's, `conv1.weight`, or what stands before
/// a dot in it, `conv1` or `resblocks.0`; `*` in it stands for each index. With `matrices` only those of two dimensions or more.
pub(crate) fn select(form: &Form, names: &[&str], matrices: bool) -> Result<Vec<Range<usize>>, Error> {
    let params = || form.tensors.iter().filter(|tensor| tensor.trainable);
    let stored = || params().flat_map(|tensor| copies(tensor).map(move |copy| (tensor, copy)));
    for name in names {
        if !stored().any(|(_, copy)| is_named(&copy.name, name)) {
            let weights = params().map(|tensor| tensor.name.to_owned()).collect();
            return Err(Error::NoSuchWeight { name: (*name).to_owned(), model: form.model, weights });
        }
    }
    let mut places: Vec<Range<usize>> = stored()
        .filter(|(tensor, copy)| {
            (!matrices || tensor.shape.len() > 1)
                && (names.is_empty() || names.iter().any(|name| is_named(&copy.name, name)))
        })
        .map(|(tensor, copy)| copy.offset..copy.offset + len(tensor))
        .collect();
    // Copies that are tied are in one place.
    places.sort_by_key(|place| place.start);
    places.dedup();
    Ok(places)
}

/// Whether a weight is what a name names.
pub(crate) fn is_named(weight: &str, name: &str) -> bool {
    let mut parts = weight.split('.');
    name.split('.').all(|wanted| {
        parts
            .next()
            .is_some_and(|part| part == wanted || wanted == "*" && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// How many values a tensor has.
fn len(tensor: &Tensor) -> usize {
    tensor.shape.iter().product()
}

/// A weight in one iteration of each repeat around it.
struct OneCopy {
    name: String,
    offset: usize,
    /// The name under which it is stored, when that is another iteration's.
    owner: Option<String>,
}

/// A weight in every iteration of the repeats around it, the innermost index running fastest.
fn copies(tensor: &Tensor) -> impl Iterator<Item = OneCopy> {
    let count: usize = tensor.repeats.iter().map(|repeat| repeat.count).product();
    (0..count).map(|number| {
        let (mut rest, mut offset) = (number, tensor.offset);
        let mut indices = vec![0; tensor.repeats.len()];
        for (repeat, index) in tensor.repeats.iter().zip(&mut indices).rev() {
            *index = rest % repeat.count;
            rest /= repeat.count;
            offset += *index * repeat.stride;
        }
        let stored: Vec<usize> = tensor
            .repeats
            .iter()
            .zip(&indices)
            .map(|(repeat, &index)| if repeat.stride == 0 { 0 } else { index })
            .collect();
        let owner = (stored != indices).then(|| with_indices(tensor.name, &stored));
        OneCopy { name: with_indices(tensor.name, &indices), offset, owner }
    })
}

/// `a.*.b` and 3 to `a.3.b`.
fn with_indices(name: &str, indices: &[usize]) -> String {
    let mut parts = name.split('*');
    let mut named = parts.next().unwrap_or_default().to_owned();
    for (index, part) in indices.iter().zip(parts) {
        named.push_str(&index.to_string());
        named.push_str(part);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Fill, Repeat};

    const REPEATED: Tensor = Tensor {
        name: "a.*.b.*.w",
        shape: &[2, 3],
        offset: 5,
        repeats: &[Repeat { count: 2, stride: 10 }, Repeat { count: 3, stride: 0 }],
        fill: Fill::Uniform(0.5),
        trainable: true,
    };

    #[test]
    fn repeats_are_named_like_a_state_dict() {
        let all: Vec<_> = copies(&REPEATED).map(|copy| (copy.name, copy.offset, copy.owner)).collect();
        let owner = |name: &str| Some(name.to_owned());
        let wanted = [
            ("a.0.b.0.w", 5, None),
            ("a.0.b.1.w", 5, owner("a.0.b.0.w")),
            ("a.0.b.2.w", 5, owner("a.0.b.0.w")),
            ("a.1.b.0.w", 15, None),
            ("a.1.b.1.w", 15, owner("a.1.b.0.w")),
            ("a.1.b.2.w", 15, owner("a.1.b.0.w")),
        ];
        assert_eq!(all, wanted.map(|(name, offset, owner)| (name.to_owned(), offset, owner)));
        let plain = Tensor { name: "fc.bias", repeats: &[], ..REPEATED };
        let all: Vec<_> = copies(&plain).map(|copy| (copy.name, copy.offset, copy.owner)).collect();
        assert_eq!(all, [("fc.bias".to_owned(), 5, None)]);
    }

    fn form(tensors: &'static [Tensor], params: usize, statistics: usize) -> Form {
        Form { model: "M", spec_hash: 0, tensors, params, statistics }
    }

    #[test]
    fn a_weight_is_drawn_by_its_name() {
        const FIRST: Tensor = Tensor { name: "w", shape: &[3], offset: 0, repeats: &[], ..REPEATED };
        const MOVED: Tensor = Tensor { offset: 4, ..FIRST };
        const OTHER: Tensor = Tensor { name: "b", offset: 0, ..FIRST };
        let first = Weights::drawn(&form(&[FIRST], 3, 0), 7);
        let moved = Weights::drawn(&form(&[OTHER, MOVED], 7, 0), 7);
        assert_eq!(first.params(), &moved.params()[4..]);
        assert_ne!(first.params(), &moved.params()[..3]);
        assert_ne!(first.params(), Weights::drawn(&form(&[FIRST], 3, 0), 8).params());
    }

    #[test]
    fn parameters_are_selected_by_name() {
        const PLAIN: Tensor = Tensor { name: "fc.weight", offset: 0, shape: &[1, 5], repeats: &[], ..REPEATED };
        const BIAS: Tensor = Tensor { name: "fc.bias", offset: 40, shape: &[2], ..PLAIN };
        const MEAN: Tensor = Tensor { name: "bn.running_mean", offset: 0, trainable: false, ..BIAS };
        let form = form(&[PLAIN, REPEATED, BIAS, MEAN], 42, 2);
        let all = |names: &[&str]| select(&form, names, false).expect("they are there");
        assert_eq!(all(&["fc"]), [0..5, 40..42]);
        assert_eq!(all(&["fc.bias", "a.1"]), [15..21, 40..42]);
        assert_eq!(all(&["a"]), [5..11, 15..21]);
        assert_eq!(all(&["a.*.b.2.w"]), [5..11, 15..21]);
        assert_eq!(all(&[]), [0..5, 5..11, 15..21, 40..42]);
        assert_eq!(select(&form, &[], true).expect("they are there"), [0..5, 5..11, 15..21]);
        for name in ["f", "fc.weights", "a.2", "bn", "fc.weight.0", ""] {
            let error = select(&form, &["fc", name], false).expect_err("it is not there").to_string();
            let wanted = "is no weight of `M`, and no layer with weights; there are fc.weight, a.*.b.*.w, fc.bias";
            assert_eq!(error, format!("`{name}` {wanted}"));
        }
    }

    #[test]
    fn versions_follow_values() {
        let mut weights = Weights::drawn(&form(&[], 2, 1), 0);
        let clone = weights.clone();
        assert_eq!(weights.version(), clone.version());
        weights.params_mut()[0] = 1.0;
        assert_ne!(weights.version(), clone.version());
        let before = weights.version();
        weights.statistics_mut()[0] = 1.0;
        assert_ne!(weights.version(), before);
        assert_eq!(format!("{weights:?}"), "Weights { params: 2, statistics: 1, .. }");
    }
}
