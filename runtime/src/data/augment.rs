//! Images that are changed a little each time they are trained with, so that a model sees more than there are.
//!
//! What is drawn for a record follows from the seed, the epoch and the record alone: no batch, no thread and no order changes it.

use std::cell::RefCell;

use super::{Error, Split};
use crate::random::{bits, normals, scatter, unit};

/// Keeps these numbers apart from others of the same seed.
const AUGMENT: u64 = 0x0061_7567_6d65_6e74;

/// One way to change an image `[channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Augment {
    /// A part of the image's own size, from anywhere of the image with `padding` black pixels around it. Black is the data's 0, before it
    /// is normalized. Source: torchvision,
    /// [`RandomCrop`](https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomCrop.html).
    Crop {
        /// Pixels on each side.
        padding: usize,
    },
    /// Left and right change places. Source: torchvision,
    /// [`RandomHorizontalFlip`](https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomHorizontalFlip.html).
    Flip {
        /// How often, from 0 to 1.
        probability: f64,
    },
    /// A square around any pixel, or what of it is in the image, is 0: behind normalizing that is the mean. Source: DeVries and Taylor,
    /// *Improved regularization of convolutional neural networks with cutout*, 2017.
    Cutout {
        /// Pixels of a side.
        size: usize,
    },
    /// A weighted mean of the image and of another record's, which has gone through the same changes before; the loss is the same mean of
    /// the losses to both targets. The weight is drawn from `Beta(alpha, alpha)`, for each record anew. It is the last change. Source:
    /// Zhang et al., *mixup: beyond empirical risk minimization*, 2018.
    Mixup {
        /// Above 0; the larger, the more even the mean.
        alpha: f64,
    },
}

/// A change of an image with the numbers that were drawn for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    /// It stays as it is.
    None,
    /// A pixel is that so far down and right; black where that is outside.
    Move { down: isize, right: isize },
    /// Left and right change places.
    Flip,
    /// Zeros from a row and a column to others, without those.
    Blank { rows: [usize; 2], columns: [usize; 2] },
}

/// The other record of a mean of two, and the first one's part in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// The other record.
    pub other: usize,
    /// The part of the record itself, 0 to 1.
    pub own: f32,
}

/// Records of an epoch, changed.
///
/// ```
/// use netspec::data::{self, Augment, Augmented};
///
/// let digits = data::digits()?;
/// let changes = [Augment::Crop { padding: 1 }, Augment::Mixup { alpha: 0.2 }];
/// let (mut first, mut second) = ([0.0; 64], [0.0; 64]);
/// Augmented::new(&digits.train, &digits.shape, &changes, 0, 1)?.feed(7, &mut first);
/// Augmented::new(&digits.train, &digits.shape, &changes, 0, 2)?.feed(7, &mut second);
/// assert_ne!(first, second);
/// # Ok::<(), data::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Augmented<'a> {
    split: &'a Split,
    shape: [usize; 3],
    /// Those of the image alone.
    changes: &'a [Augment],
    /// The alpha of mixup, when it is the last change.
    mixup: Option<f64>,
    seed: u64,
    epoch: u64,
}

thread_local! {
    /// An image before a crop, and the other image of a mean: kept, so that later ones allocate nothing.
    static IMAGES: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    /// The derivative of the loss to the other target.
    static DERIVATIVE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl<'a> Augmented<'a> {
    /// The records of a split, whose inputs have this shape, as they are in an epoch.
    ///
    /// # Errors
    ///
    /// [`Error::Unfit`] when there are changes and inputs are no images, a mixup is not the last change, or a number is out of range.
    pub fn new(
        split: &'a Split,
        shape: &[usize],
        changes: &'a [Augment],
        seed: u64,
        epoch: u64,
    ) -> Result<Augmented<'a>, Error> {
        let unfit = |text: &str| Err(Error::Unfit(text.to_owned()));
        let sizes: [usize; 3] = match (shape.try_into(), changes) {
            (Ok(sizes), _) => sizes,
            (Err(_), []) => [0; 3],
            (Err(_), _) => return unfit("only images can be augmented: channels, height and width"),
        };
        let (changes, mixup) = match changes {
            [changes @ .., Augment::Mixup { alpha }] => (changes, Some(*alpha)),
            changes => (changes, None),
        };
        if mixup.is_some_and(|alpha| !(alpha > 0.0 && alpha.is_finite())) {
            return unfit("the alpha of a mixup is above 0");
        }
        let side = sizes[1].max(sizes[2]);
        for change in changes {
            match *change {
                Augment::Mixup { .. } => return unfit("a mixup is the last change of an image"),
                Augment::Crop { padding } if padding > side => {
                    return unfit("the padding of a crop is at most the longer side of the image");
                }
                Augment::Cutout { size } if size == 0 || size > side => {
                    return unfit("the size of a cutout is from 1 to the longer side of the image");
                }
                Augment::Flip { probability } if !(0.0..=1.0).contains(&probability) => {
                    return unfit("the probability of a flip is between 0 and 1");
                }
                _ => {}
            }
        }
        Ok(Augmented { split, shape: sizes, changes, mixup, seed, epoch })
    }

    /// Writes the input of a record, changed, as [`Split::feed`] does.
    ///
    /// # Panics
    ///
    /// As [`Split::feed`].
    pub fn feed(&self, record: usize, to: &mut [f32]) {
        if self.changes.is_empty() && self.mixup.is_none() {
            return self.split.feed(record, to);
        }
        IMAGES.with_borrow_mut(|[before, other]| {
            self.image(record, to, before);
            if let Some(mix) = self.mix(record) {
                other.resize(to.len(), 0.0);
                self.image(mix.other, other, before);
                to.iter_mut().zip(other).for_each(|(to, other)| *to = mix.own * *to + (1.0 - mix.own) * *other);
            }
        });
    }

    /// With which record the input of this one is mixed; None without mixup.
    pub fn mix(&self, record: usize) -> Option<Mix> {
        let alpha = self.mixup?;
        let key = self.key(record, usize::MAX);
        let other = below(scatter(key), self.split.records());
        Some(Mix { other, own: beta(alpha, key) as f32 })
    }

    /// The loss of the output of a record, changed: `loss` is that to the target of a record as it is, and writes the derivative, as
    /// [`Loss::loss`](crate::Loss::loss).
    pub fn loss(
        &self,
        record: usize,
        output: &[f32],
        derivative: &mut [f32],
        loss: impl Fn(usize, &[f32], &mut [f32]) -> f32,
    ) -> f32 {
        let own = loss(record, output, derivative);
        let Some(mix) = self.mix(record) else {
            return own;
        };
        DERIVATIVE.with_borrow_mut(|others| {
            others.resize(derivative.len(), 0.0);
            let other = loss(mix.other, output, others);
            for (own, other) in derivative.iter_mut().zip(others) {
                *own = mix.own * *own + (1.0 - mix.own) * *other;
            }
            mix.own * own + (1.0 - mix.own) * other
        })
    }

    fn key(&self, record: usize, change: usize) -> u64 {
        bits(&[AUGMENT, self.seed, self.epoch, record as u64, change as u64])
    }

    /// A record's image, changed alone.
    fn image(&self, record: usize, to: &mut [f32], before: &mut Vec<f32>) {
        self.split.feed(record, to);
        let [_, height, width] = self.shape;
        for drawn in self.drawn(record) {
            match drawn {
                Drawn::None => {}
                Drawn::Move { down, right } => {
                    before.clear();
                    before.extend_from_slice(to);
                    self.shift(before, to, down, right);
                }
                Drawn::Flip => to.chunks_exact_mut(width).for_each(<[f32]>::reverse),
                Drawn::Blank { rows: [top, bottom], columns: [left, right] } => {
                    for plane in to.chunks_exact_mut(height * width) {
                        for y in top..bottom {
                            plane[y * width..][left..right].fill(0.0);
                        }
                    }
                }
            }
        }
    }

    /// What is drawn for a record's image, in order: for each image as many.
    pub(crate) fn drawn(&self, record: usize) -> impl Iterator<Item = Drawn> {
        let [_, height, width] = self.shape;
        self.changes.iter().enumerate().map(move |(at, change)| {
            let key = self.key(record, at);
            match *change {
                Augment::Crop { padding } => {
                    let [down, right] = [0, 1].map(|axis| below(scatter(key ^ axis), 2 * padding + 1));
                    let from_padding = |place: usize| place as isize - padding as isize;
                    Drawn::Move { down: from_padding(down), right: from_padding(right) }
                }
                Augment::Flip { probability } if f64::from(unit(key)) < probability => Drawn::Flip,
                Augment::Cutout { size } => {
                    let [rows, columns] = [(0, height), (1, width)].map(|(axis, len)| {
                        let center = below(scatter(key ^ axis), len);
                        [center.saturating_sub(size / 2), (center + size - size / 2).min(len)]
                    });
                    Drawn::Blank { rows, columns }
                }
                Augment::Flip { .. } | Augment::Mixup { .. } => Drawn::None,
            }
        })
    }

    /// An image whose pixels are those so far down and right of another one's, in a black frame.
    fn shift(&self, from: &[f32], to: &mut [f32], down: isize, right: isize) {
        let [_, height, width] = self.shape;
        let planes = to.chunks_exact_mut(height * width).zip(from.chunks_exact(height * width));
        for (channel, (to, from)) in planes.enumerate() {
            let black = self.split.black(channel);
            for (y, row) in to.chunks_exact_mut(width).enumerate() {
                let Some(line) = y.checked_add_signed(down).filter(|line| *line < height) else {
                    row.fill(black);
                    continue;
                };
                for (x, pixel) in row.iter_mut().enumerate() {
                    let place = x.checked_add_signed(right).filter(|place| *place < width);
                    *pixel = place.map_or(black, |place| from[line * width + place]);
                }
            }
        }
    }
}

/// A number below `count`, each as likely as any other to within `count / 2^64`.
fn below(random: u64, count: usize) -> usize {
    ((u128::from(random) * count as u128) >> 64) as usize
}

/// A number of `Beta(alpha, alpha)`: x / (x + y) of two numbers of `Gamma(alpha)`.
fn beta(alpha: f64, key: u64) -> f64 {
    let [x, y] = [1, 2].map(|which| log_gamma_number(alpha, bits(&[key, which])));
    // Of logarithms, since both may be too small for a float when alpha is.
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a number of `Gamma(alpha)` (Marsaglia and Tsang, *A simple method for generating gamma variables*, 2000; for alpha
/// below 1 from one of `alpha + 1`, as they say there).
fn log_gamma_number(alpha: f64, key: u64) -> f64 {
    let open = |random: u64| ((random >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
    let (shape, below_one) = if alpha < 1.0 { (alpha + 1.0, open(bits(&[key, 0])).ln() / alpha) } else { (alpha, 0.0) };
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for round in 1.. {
        let [x, _] = normals(bits(&[key, round]));
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && open(bits(&[key, round, 1])).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln() + below_one;
        }
    }
    // Nineteen of twenty rounds end it.
    unreachable!("the rounds do not end")
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Targets};
    use super::*;

    /// Images of 2 x 3 x 4 whose pixels say where they are; 0 is black, and normalizing takes it to -1.
    fn dataset(records: usize) -> Dataset {
        let values = (0..records * 24).map(|value| value as f32 + 1.0).collect();
        let train = Split::of_floats(values, 24, Targets::Labels((0..records).map(|record| record % 2).collect()));
        let data = Dataset { shape: vec![2, 3, 4], classes: Vec::new(), test: train.clone(), train };
        data.normalized(&[1.0, 1.0], &[1.0, 1.0]).expect("two channels")
    }

    /// The images of a record in so many epochs.
    fn images(changes: &[Augment], record: usize, epochs: u64) -> Vec<[f32; 24]> {
        let data = dataset(3);
        let image = |epoch| {
            let mut image = [f32::NAN; 24];
            let all = Augmented::new(&data.train, &data.shape, changes, 5, epoch).expect("images");
            all.feed(record, &mut image);
            image
        };
        (0..epochs).map(image).collect()
    }

    fn plain(record: usize) -> [f32; 24] {
        std::array::from_fn(|place| (24 * record + place) as f32)
    }

    #[test]
    fn without_changes_a_record_is_as_it_is() {
        assert_eq!(images(&[], 1, 1), [plain(1)]);
        assert!(images(&[Augment::Flip { probability: 0.0 }], 1, 50).iter().all(|image| *image == plain(1)));
    }

    #[test]
    fn a_crop_is_a_part_of_the_padded_image() {
        let padding = 1;
        let mut seen = [[0; 3]; 3];
        for image in images(&[Augment::Crop { padding }], 2, 900) {
            let shifted = |down: usize, right: usize| -> [f32; 24] {
                std::array::from_fn(|place| {
                    let (plane, y, x) = (place / 12, place / 4 % 3 + down, place % 4 + right);
                    let inside = (1..=3).contains(&y) && (1..=4).contains(&x);
                    if inside { plain(2)[12 * plane + 4 * (y - 1) + x - 1] } else { -1.0 }
                })
            };
            let places =
                (0..9).map(|place| (place / 3, place % 3)).filter(|&(down, right)| shifted(down, right) == image);
            let [(down, right)] = places.collect::<Vec<_>>()[..] else { panic!("{image:?}") };
            seen[down][right] += 1;
        }
        // 100 expected; one deviation is 9.4.
        assert!(seen.iter().flatten().all(|count| (60..140).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_flip_turns_half_of_the_images() {
        let flipped: [f32; 24] = std::array::from_fn(|place| plain(0)[place / 4 * 4 + 3 - place % 4]);
        let images = images(&[Augment::Flip { probability: 0.5 }], 0, 400);
        let turned = images.iter().filter(|image| **image == flipped).count();
        assert!(images.iter().all(|image| *image == flipped || *image == plain(0)));
        // One deviation is 10.
        assert!((160..240).contains(&turned), "{turned}");
    }

    #[test]
    fn a_cutout_is_a_square_of_zeros() {
        let images = images(&[Augment::Cutout { size: 2 }], 1, 300);
        let mut counts = [0; 5];
        for image in images {
            let zeros: Vec<usize> = (0..24).filter(|&place| image[place] == 0.0).collect();
            let kept = (0..24).filter(|place| !zeros.contains(place));
            assert!(kept.into_iter().all(|place| image[place] == plain(1)[place]));
            // Both planes alike, and a rectangle of at most 2 by 2.
            let (first, second) = zeros.split_at(zeros.len() / 2);
            assert!(first.iter().zip(second).all(|(first, second)| first + 12 == *second));
            let (rows, columns): (Vec<_>, Vec<_>) = first.iter().map(|place| (place / 4, place % 4)).unzip();
            let span = |of: &[usize]| of.iter().max().unwrap() - of.iter().min().unwrap() + 1;
            assert_eq!(span(&rows) * span(&columns), first.len());
            counts[first.len()] += 1;
        }
        assert!(counts[0] == 0 && counts[3] == 0 && counts[1] > 0 && counts[2] > 0 && counts[4] > 0, "{counts:?}");
    }

    #[test]
    fn a_mixup_is_a_mean_of_two_and_so_is_its_loss() {
        let data = dataset(3);
        let changes = [Augment::Flip { probability: 1.0 }, Augment::Mixup { alpha: 0.5 }];
        let mut others = [0; 3];
        for epoch in 0..300 {
            let all = Augmented::new(&data.train, &data.shape, &changes, 1, epoch).expect("images");
            let mix = all.mix(1).expect("a mixup");
            others[mix.other] += 1;
            let mut image = [f32::NAN; 24];
            all.feed(1, &mut image);
            let place = 7; // flipped, pixel 4
            let wanted = mix.own * plain(1)[4] + (1.0 - mix.own) * plain(mix.other)[4];
            assert!((image[place] - wanted).abs() < 1e-4, "{image:?}");
            let mut derivative = [f32::NAN];
            let loss = all.loss(1, &[0.0], &mut derivative, |record, _, derivative| {
                derivative[0] = 10.0 * record as f32;
                record as f32
            });
            let wanted = mix.own + (1.0 - mix.own) * mix.other as f32;
            assert!((loss - wanted).abs() < 1e-6 && (derivative[0] - 10.0 * wanted).abs() < 1e-5);
        }
        assert!(others.iter().all(|count| (60..140).contains(count)), "{others:?}");
    }

    #[test]
    fn beta_is_beta() {
        for alpha in [0.01, 0.2, 1.0, 4.0] {
            let count = 20_000;
            let numbers: Vec<f64> = (0..count).map(|key| beta(alpha, scatter(key))).collect();
            assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
            let mean = numbers.iter().sum::<f64>() / count as f64;
            let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count as f64;
            // Its variance is 1 / (4 (2 alpha + 1)); the deviation of a mean of so many is at most 0.0036, and of a variance less.
            assert!((mean - 0.5).abs() < 0.015, "{alpha}: {mean}");
            assert!((variance - 0.25 / (2.0 * alpha + 1.0)).abs() < 0.005, "{alpha}: {variance}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let data = dataset(1);
        let refuse = |shape: &[usize], changes: &[Augment], words: &str| {
            let error = Augmented::new(&data.train, shape, changes, 0, 0).expect_err("it does not fit").to_string();
            assert!(error.contains(words), "{error}");
        };
        refuse(&[24], &[Augment::Crop { padding: 1 }], "only images can be augmented");
        refuse(&[2, 3, 4], &[Augment::Mixup { alpha: 1.0 }, Augment::Flip { probability: 0.5 }], "the last change");
        refuse(&[2, 3, 4], &[Augment::Mixup { alpha: 0.0 }], "above 0");
        refuse(&[2, 3, 4], &[Augment::Flip { probability: 1.5 }], "between 0 and 1");
        refuse(&[2, 3, 4], &[Augment::Crop { padding: 5 }], "at most the longer side");
        refuse(&[2, 3, 4], &[Augment::Cutout { size: 0 }], "from 1 to the longer side");
        refuse(&[2, 3, 4], &[Augment::Cutout { size: usize::MAX }], "from 1 to the longer side");
        assert!(Augmented::new(&data.train, &[24], &[], 0, 0).is_ok());
    }
}
