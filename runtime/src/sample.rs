//! Flat data as samples, without a copy, and samples as flat data.

use crate::{Error, Model};

/// `f32`, and arrays of samples: what flat data can be seen as.
///
/// It is sealed: the inputs and outputs that [`netspec!`](crate::netspec) gives are samples, unless the model has several.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not one array of `f32`",
    note = "a model of several inputs takes tuples, which flat data cannot be seen as"
)]
pub trait Sample: Sized + sealed::Sealed {
    /// How many values one sample has.
    const VALUES: usize;

    /// Flat data as samples, the last index running fastest; None when the last sample is not whole.
    fn of_flat(flat: &[f32]) -> Option<&[Self]>;

    /// Samples as flat data.
    fn flat(samples: &[Self]) -> &[f32];

    /// Samples as flat data, to be written.
    fn flat_mut(samples: &mut [Self]) -> &mut [f32];
}

impl Sample for f32 {
    const VALUES: usize = 1;

    fn of_flat(flat: &[f32]) -> Option<&[f32]> {
        Some(flat)
    }

    fn flat(samples: &[f32]) -> &[f32] {
        samples
    }

    fn flat_mut(samples: &mut [f32]) -> &mut [f32] {
        samples
    }
}

impl<T: Sample, const N: usize> Sample for [T; N] {
    const VALUES: usize = N * T::VALUES;

    fn of_flat(flat: &[f32]) -> Option<&[[T; N]]> {
        let (arrays, rest) = T::of_flat(flat)?.as_chunks();
        rest.is_empty().then_some(arrays)
    }

    fn flat(samples: &[[T; N]]) -> &[f32] {
        T::flat(samples.as_flattened())
    }

    fn flat_mut(samples: &mut [[T; N]]) -> &mut [f32] {
        T::flat_mut(samples.as_flattened_mut())
    }
}

/// What a model takes or gives for one sample: one array, or a tuple of up to twelve.
pub trait Parts {
    /// How many arrays.
    const COUNT: usize;

    /// The values of an array, by its place, the last index running fastest.
    fn part(&self, index: usize) -> &[f32];

    /// The values of an array, by its place, to be written.
    fn part_mut(&mut self, index: usize) -> &mut [f32];
}

impl<T: Sample> Parts for T {
    const COUNT: usize = 1;

    fn part(&self, index: usize) -> &[f32] {
        debug_assert_eq!(index, 0, "one array");
        T::flat(std::slice::from_ref(self))
    }

    fn part_mut(&mut self, index: usize) -> &mut [f32] {
        debug_assert_eq!(index, 0, "one array");
        T::flat_mut(std::slice::from_mut(self))
    }
}

macro_rules! parts_of_tuples {
    ($($part:ident $index:tt)*) => {
        impl<$($part: Sample),*> Parts for ($($part,)*) {
            const COUNT: usize = [$($index),*].len();

            fn part(&self, index: usize) -> &[f32] {
                match index {
                    $($index => $part::flat(std::slice::from_ref(&self.$index)),)*
                    _ => unreachable!("a part of the tuple"),
                }
            }

            fn part_mut(&mut self, index: usize) -> &mut [f32] {
                match index {
                    $($index => $part::flat_mut(std::slice::from_mut(&mut self.$index)),)*
                    _ => unreachable!("a part of the tuple"),
                }
            }
        }
    };
}
parts_of_tuples!(A 0 B 1);
parts_of_tuples!(A 0 B 1 C 2);
parts_of_tuples!(A 0 B 1 C 2 D 3);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4 F 5);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4 F 5 G 6);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10);
parts_of_tuples!(A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11);

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl<T: Sealed, const N: usize> Sealed for [T; N] {}
}

/// Flat data as inputs of the model `M`: the values of the first sample, then those of the second.
///
/// ```
/// netspec::netspec! { model Net { input image [3, 32, 32]; view(-1, 3072); linear(2); } }
///
/// let flat = vec![0.5; 2 * 3 * 32 * 32];
/// let images = netspec::samples::<Net>(&flat)?;
/// assert_eq!(images.len(), 2);
/// assert_eq!(images[1][2][31][31], 0.5);
/// # Ok::<(), netspec::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::PartSample`] when the data is not a whole number of samples.
pub fn samples<M: Model<Input: Sample>>(flat: &[f32]) -> Result<&[M::Input], Error> {
    let part = Error::PartSample { values: flat.len(), per_sample: M::Input::VALUES };
    M::Input::of_flat(flat).ok_or(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_data_is_seen_as_arrays_and_back() {
        let flat: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let samples = <[[[f32; 4]; 3]; 1]>::of_flat(&flat).expect("two whole samples");
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[1][0][2], [20.0, 21.0, 22.0, 23.0]);
        assert_eq!(<[[[f32; 4]; 3]; 1]>::flat(samples), flat);
        assert_eq!(<[[[f32; 4]; 3]; 1]>::VALUES, 12);
    }

    #[test]
    fn tuples_have_parts() {
        let mut sample = ([[1.0, 2.0], [3.0, 4.0]], [5.0]);
        sample.part_mut(1)[0] = 6.0;
        sample.part_mut(0)[2] = 7.0;
        assert_eq!((sample.part(0), sample.part(1)), (&[1.0, 2.0, 7.0, 4.0][..], &[6.0][..]));
        assert_eq!([[8.0, 9.0]].part(0), [8.0, 9.0]);
    }

    #[test]
    fn a_part_of_a_sample_is_refused() {
        for values in [1, 11, 13, 23] {
            assert!(<[[f32; 4]; 3]>::of_flat(&vec![0.0; values]).is_none(), "{values}");
        }
        assert_eq!(<[[f32; 4]; 3]>::of_flat(&[]), Some(&[][..]));
    }

    #[test]
    fn samples_reports_the_sizes() {
        #[derive(Clone)]
        struct Net;
        impl Model for Net {
            type Input = [[f32; 4]; 3];
            type Output = [f32; 2];
            const NAME: &'static str = "Net";
            const PARAMETERS: usize = 0;
        }
        assert_eq!(samples::<Net>(&[0.0; 24]).map(<[_]>::len), Ok(2));
        assert_eq!(samples::<Net>(&[0.0; 25]), Err(Error::PartSample { values: 25, per_sample: 12 }));
    }
}
