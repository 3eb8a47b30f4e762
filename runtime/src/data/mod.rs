//! Data sets: records of one input and what is wanted of it, read from the files their authors publish.
//!
//! ```
//! use netspec::data;
//!
//! let digits = data::digits()?.normalized(&[0.3], &[0.4])?;
//! assert_eq!((digits.train.records(), digits.test.records()), (1_438, 359));
//! let mut image = [0.0; 64];
//! digits.train.feed(0, &mut image);
//! assert_eq!(digits.train.labels().map(|labels| labels[0]), Some(0));
//! # Ok::<(), data::Error>(())
//! ```
//!
//! Records are kept as their files have them, mostly as bytes; [`Split::feed`] makes one into the numbers that a model reads: a byte
//! divided by 255 (by 16 in [`digits`]), less its channel's mean, divided by its channel's deviation, each step rounded to f32
//! as PyTorch rounds it.
//!
//! | data set | files |
//! | --- | --- |
//! | [`cifar10`] | `data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin`, and `batches.meta.txt` if it is there |
//! | [`cifar100`] | `train.bin`, `test.bin`, and `fine_label_names.txt` if it is there |
//! | [`mnist`] | `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`, each as it is or with `.gz` |
//! | [`digits`] | none: 1,797 digits of 8 x 8 are a part of this crate |
//! | [`safetensors()`] | anyone's data in one file |

mod augment;
mod cifar;
mod digits;
mod error;
mod file;
mod mnist;
mod order;
mod source;
mod tensors;

#[cfg(feature = "cuda")]
pub(crate) use augment::Drawn;
pub use augment::{Augment, Augmented, Mix};
pub use cifar::{CIFAR10, CIFAR100, cifar10, cifar100};
pub use digits::digits;
pub use error::Error;
pub use mnist::mnist;
pub use order::order;
pub use source::Source;
pub use tensors::safetensors;

/// Records to train with and records to test with.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The shape of a record's input.
    pub shape: Vec<usize>,
    /// The classes by their labels; empty when the data does not name them.
    pub classes: Vec<String>,
    /// To train with.
    pub train: Split,
    /// To test with.
    pub test: Split,
}

/// Records: inputs, all of one shape, and targets.
#[derive(Clone, Debug)]
pub struct Split {
    inputs: Inputs,
    targets: Targets,
    /// Values of a record's input.
    values: usize,
    normalization: Normalization,
}

/// Inputs as their file has them, one record after the other.
#[derive(Clone, Debug)]
enum Inputs {
    /// Bytes, and for each channel the number that each byte stands for.
    Bytes { bytes: Vec<u8>, tables: Vec<[f32; 256]> },
    /// Numbers.
    Floats(Vec<f32>),
}

/// What is wanted of each record.
#[derive(Clone, Debug, PartialEq)]
enum Targets {
    /// Its class.
    Labels(Vec<usize>),
    /// A class of each position of a map, so many a record.
    LabelMaps { labels: Vec<usize>, each: usize },
    /// Values, so many a record.
    Values { values: Vec<f32>, each: usize },
}

/// How an element of a file becomes what a model reads: `(x / divisor - mean) / std`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// 255 of bytes, 16 of the digits, 1 of numbers.
    pub divisor: f32,
    /// For each channel, or one for all.
    pub mean: Vec<f32>,
    /// Likewise.
    pub std: Vec<f32>,
}

impl Dataset {
    /// The same records, less the mean and divided by the deviation of each channel (the first number of the shape). An empty
    /// list is a mean of 0, or a deviation of 1.
    ///
    /// # Errors
    ///
    /// [`Error::Unfit`] when a list has not one number for each channel, or a deviation is not above 0.
    pub fn normalized(mut self, mean: &[f32], std: &[f32]) -> Result<Dataset, Error> {
        let channels = self.shape.first().copied().unwrap_or(1);
        for (what, numbers) in [("mean", mean), ("deviation", std)] {
            if !numbers.is_empty() && numbers.len() != channels {
                let found = numbers.len();
                return Err(Error::Unfit(format!("{found} numbers are the {what} of data with {channels} channels")));
            }
        }
        if let Some(std) = std.iter().find(|&&std| std <= 0.0 || std.is_nan()) {
            return Err(Error::Unfit(format!("a deviation is {std}, and must be above 0")));
        }
        for split in [&mut self.train, &mut self.test] {
            split.normalize(mean, std);
        }
        Ok(self)
    }

    /// What [`Split::feed`] does with an element of a file.
    pub fn normalization(&self) -> &Normalization {
        &self.train.normalization
    }
}

impl Split {
    /// Bytes, divided.
    fn of_bytes(bytes: Vec<u8>, divisor: f32, values: usize, targets: Targets) -> Split {
        Split::new(Inputs::Bytes { bytes, tables: Vec::new() }, divisor, values, targets)
    }

    /// Numbers as they are.
    fn of_floats(floats: Vec<f32>, values: usize, targets: Targets) -> Split {
        Split::new(Inputs::Floats(floats), 1.0, values, targets)
    }

    fn new(inputs: Inputs, divisor: f32, values: usize, targets: Targets) -> Split {
        let normalization = Normalization { divisor, mean: Vec::new(), std: Vec::new() };
        let mut split = Split { inputs, targets, values, normalization };
        split.normalize(&[], &[]);
        split
    }

    /// Sets the mean and the deviation of each channel; the lists are empty, or of one length.
    fn normalize(&mut self, mean: &[f32], std: &[f32]) {
        let channels = mean.len().max(std.len()).max(1);
        let list = |numbers: &[f32], otherwise| match numbers {
            [] => vec![otherwise; channels],
            numbers => numbers.to_vec(),
        };
        (self.normalization.mean, self.normalization.std) = (list(mean, 0.0), list(std, 1.0));
        let Normalization { divisor, mean, std } = &self.normalization;
        if let Inputs::Bytes { tables, .. } = &mut self.inputs {
            let table = |(mean, std)| std::array::from_fn(|byte| (byte as f32 / divisor - mean) / std);
            *tables = mean.iter().zip(std).map(table).collect();
        }
    }

    /// What the file's 0 is in a channel, to a model.
    pub(crate) fn black(&self, channel: usize) -> f32 {
        let Normalization { mean, std, .. } = &self.normalization;
        // For each channel, or one for all.
        let of = |numbers: &[f32]| numbers[if numbers.len() == 1 { 0 } else { channel }];
        (0.0 - of(mean)) / of(std)
    }

    /// The bytes of all inputs and, for each channel or for all, the number that each byte stands for; None of other inputs.
    #[cfg(feature = "cuda")]
    pub(crate) fn bytes(&self) -> Option<(&[u8], &[[f32; 256]])> {
        match &self.inputs {
            Inputs::Bytes { bytes, tables } => Some((bytes, tables)),
            Inputs::Floats(_) => None,
        }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        match &self.targets {
            Targets::Labels(labels) => labels.len(),
            Targets::LabelMaps { labels, each } => labels.len() / each,
            Targets::Values { values, each } => values.len() / each,
        }
    }

    /// The class of each record; None when its target is not one class.
    pub fn labels(&self) -> Option<&[usize]> {
        match &self.targets {
            Targets::Labels(labels) => Some(labels),
            Targets::LabelMaps { .. } | Targets::Values { .. } => None,
        }
    }

    /// The classes of each record, one record after the other, and how many each has: one for each position of a map, or one; None when
    /// its target is values.
    pub fn label_maps(&self) -> Option<(&[usize], usize)> {
        match &self.targets {
            Targets::Labels(labels) => Some((labels, 1)),
            Targets::LabelMaps { labels, each } => Some((labels, *each)),
            Targets::Values { .. } => None,
        }
    }

    /// The values that are wanted of each record, one record after the other, and how many each has; None when its target is classes.
    pub fn values(&self) -> Option<(&[f32], usize)> {
        match &self.targets {
            Targets::Labels(_) | Targets::LabelMaps { .. } => None,
            Targets::Values { values, each } => Some((values, *each)),
        }
    }

    /// Writes the input of a record as numbers, in the order of its shape.
    ///
    /// # Panics
    ///
    /// When there is no such record, or `to` is not as long as an input.
    pub fn feed(&self, record: usize, to: &mut [f32]) {
        assert_eq!(to.len(), self.values, "as many numbers as an input has");
        let range = record * self.values..(record + 1) * self.values;
        match &self.inputs {
            Inputs::Bytes { bytes, tables, .. } => {
                let plane = self.values / tables.len();
                let planes = to.chunks_exact_mut(plane).zip(bytes[range].chunks_exact(plane));
                for ((to, from), table) in planes.zip(tables) {
                    to.iter_mut().zip(from).for_each(|(to, &byte)| *to = table[usize::from(byte)]);
                }
            }
            Inputs::Floats(floats) => {
                let Normalization { mean, std, .. } = &self.normalization;
                let plane = self.values / mean.len();
                let planes = to.chunks_exact_mut(plane).zip(floats[range].chunks_exact(plane));
                for ((to, from), (mean, std)) in planes.zip(mean.iter().zip(std)) {
                    to.iter_mut().zip(from).for_each(|(to, &value)| *to = (value - mean) / std);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two records of 2 channels of 2 pixels.
    fn dataset(split: Split) -> Dataset {
        Dataset { shape: vec![2, 1, 2], classes: Vec::new(), train: split.clone(), test: split }
    }

    fn labels() -> Targets {
        Targets::Labels(vec![1, 0])
    }

    fn fed(dataset: &Dataset, record: usize) -> [f32; 4] {
        let mut to = [f32::NAN; 4];
        dataset.train.feed(record, &mut to);
        to
    }

    #[test]
    fn a_record_is_scaled_and_normalized_by_channel() {
        let bytes = dataset(Split::of_bytes(vec![0, 51, 102, 255, 9, 9, 9, 255], 255.0, 4, labels()));
        assert_eq!(fed(&bytes, 0), [0.0, 0.2, 0.4, 1.0]);
        let bytes = bytes.normalized(&[0.2, 0.4], &[0.5, 0.25]).unwrap();
        assert_eq!(fed(&bytes, 0), [-0.4, 0.0, 0.0, 2.4]);
        assert_eq!(fed(&bytes, 1)[3], 2.4);
        let wanted = Normalization { divisor: 255.0, mean: vec![0.2, 0.4], std: vec![0.5, 0.25] };
        assert_eq!(bytes.normalization(), &wanted);

        let floats = dataset(Split::of_floats(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 4, labels()));
        assert_eq!(fed(&floats, 1), [5.0, 6.0, 7.0, 8.0]);
        assert_eq!(fed(&floats.clone().normalized(&[1.0, 2.0], &[]).unwrap(), 1), [4.0, 5.0, 5.0, 6.0]);
        assert_eq!(fed(&floats.normalized(&[], &[1.0, 2.0]).unwrap(), 1), [5.0, 6.0, 3.5, 4.0]);
    }

    #[test]
    fn normalization_needs_a_number_for_each_channel() {
        let data = || dataset(Split::of_floats(vec![0.0; 8], 4, labels()));
        let error = |mean: &[f32], std: &[f32]| data().normalized(mean, std).unwrap_err().to_string();
        assert_eq!(error(&[0.5], &[]), "1 numbers are the mean of data with 2 channels");
        assert_eq!(error(&[], &[1.0, 0.0]), "a deviation is 0, and must be above 0");
    }
}
