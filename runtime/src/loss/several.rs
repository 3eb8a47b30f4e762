//! Losses of models with several outputs.

use super::Loss;
use crate::Error;
#[cfg(feature = "cuda")]
use crate::cuda::{CardLoss, Targets, program::LossKind};

/// What training makes small: the loss of a model's output, or of all its outputs.
///
/// A [`Loss`] is that of a model with one output. That of a model with several is a tuple of losses, one for each in their order, and a
/// target is a tuple of their targets; [`Same`] gives all of them one target, [`Scaled`] says how much one counts, and [`NoLoss`] that an
/// output has none. What training makes small is the sum of their means over the batch.
///
/// ```
/// netspec::netspec! {
///     model Net {
///         input x [3];
///         linear(8) as features;
///         tanh;
///         linear(2) as class;
///         from features;
///         linear(3) as copy;
///         output class, copy;
///     }
/// }
///
/// use netspec::{CrossEntropy, Loss, Scaled, Sgd, Workspace};
///
/// /// One's own: the sum of `|y - target|`.
/// struct Distance;
///
/// impl Loss<[f32; 3]> for Distance {
///     type Target = [f32; 3];
///
///     fn loss(&self, output: &[f32], target: &[f32; 3], derivative: &mut [f32]) -> f32 {
///         for i in 0..3 {
///             derivative[i] = (output[i] - target[i]).signum();
///         }
///         (0..3).map(|i| (output[i] - target[i]).abs()).sum()
///     }
/// }
///
/// let loss = (CrossEntropy, Scaled(0.3, Distance));
/// let inputs = [[0.5, 1.0, -1.0], [0.0, 0.25, 0.5]];
/// let targets = [(0, inputs[0]), (1, inputs[1])];
/// let (mut net, mut workspace) = (Net::new(0), Workspace::new());
/// let before = net.step(&mut workspace, &inputs, &targets, &loss, &mut Sgd::new(0.1))?;
/// let after = net.step(&mut workspace, &inputs, &targets, &loss, &mut Sgd::new(0.1))?;
/// assert!(after < before);
/// # Ok::<(), netspec::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a loss of the outputs `{Output}`",
    note = "a model of several outputs takes a tuple of losses, one for each; or `Same((…))` of such, with one target for all"
)]
pub trait Losses<Output>: Sync {
    /// What is wanted of one sample.
    type Target: Sync;

    /// The loss of one sample by an output, by its number; as [`Loss::loss`].
    fn loss_of(&self, index: usize, output: &[f32], target: &Self::Target, derivative: &mut [f32]) -> f32;

    /// What a sample counts in the mean of an output's losses, as [`Loss::weight`].
    fn weight_of(&self, index: usize, target: &Self::Target) -> f32;

    /// Says what is wrong with the target of a sample, as [`Loss::check`].
    ///
    /// # Errors
    ///
    /// Any.
    fn check_all(&self, sample: usize, target: &Self::Target) -> Result<(), Error>;

    /// What they are to the kernels of a graphics card, for each output, as [`Loss::on_card`].
    #[cfg(feature = "cuda")]
    fn all_on_card(&self, targets: &[Self::Target]) -> Option<Vec<CardLoss>> {
        let _ = targets;
        None
    }
}

impl<Output, L: Loss<Output>> Losses<Output> for L {
    type Target = L::Target;

    fn loss_of(&self, _: usize, output: &[f32], target: &L::Target, derivative: &mut [f32]) -> f32 {
        self.loss(output, target, derivative)
    }

    fn weight_of(&self, _: usize, target: &L::Target) -> f32 {
        self.weight(target)
    }

    fn check_all(&self, sample: usize, target: &L::Target) -> Result<(), Error> {
        self.check(sample, target)
    }

    #[cfg(feature = "cuda")]
    fn all_on_card(&self, targets: &[L::Target]) -> Option<Vec<CardLoss>> {
        Some(vec![self.on_card(&mut targets.iter())?])
    }
}

/// Losses of a model's outputs that have one target: the label that a classifier and its auxiliary classifiers share.
///
/// ```
/// use netspec::{CrossEntropy, Same, Scaled};
///
/// let googlenet = Same((CrossEntropy, Scaled(0.3, CrossEntropy), Scaled(0.3, CrossEntropy)));
/// # let _ = googlenet;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Same<L>(pub L);

/// A loss that counts this much in the sum of losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled<L>(pub f32, pub L);

impl<Output, L: Loss<Output>> Loss<Output> for Scaled<L> {
    type Target = L::Target;

    fn loss(&self, output: &[f32], target: &L::Target, derivative: &mut [f32]) -> f32 {
        let Scaled(scale, loss) = self;
        let value = loss.loss(output, target, derivative);
        derivative.iter_mut().for_each(|value| *value *= scale);
        scale * value
    }

    fn weight(&self, target: &L::Target) -> f32 {
        self.1.weight(target)
    }

    fn check(&self, sample: usize, target: &L::Target) -> Result<(), Error> {
        self.1.check(sample, target)
    }

    #[cfg(feature = "cuda")]
    fn on_card(&self, targets: &mut dyn Iterator<Item = &L::Target>) -> Option<CardLoss> {
        let loss = self.1.on_card(targets)?;
        Some(CardLoss { scale: self.0 * loss.scale, ..loss })
    }
}

/// The loss of an output that is not trained: 0. What only that output reads stays as it is, but for an optimizer's weight decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoLoss;

impl<Output> Loss<Output> for NoLoss {
    type Target = ();

    fn loss(&self, _: &[f32], (): &(), derivative: &mut [f32]) -> f32 {
        derivative.fill(0.0);
        0.0
    }

    #[cfg(feature = "cuda")]
    fn on_card(&self, _: &mut dyn Iterator<Item = &()>) -> Option<CardLoss> {
        Some(CardLoss::new(LossKind::None, Targets::None))
    }
}

/// Tuples of losses, with a tuple of targets or one target.
macro_rules! losses_of_tuples {
    ($first:ident $first_output:ident 0 $(, $loss:ident $output:ident $index:tt)*) => {
        impl<$first_output, $($output,)* $first: Loss<$first_output>, $($loss: Loss<$output>),*>
            Losses<($first_output, $($output),*)> for ($first, $($loss),*)
        {
            type Target = ($first::Target, $($loss::Target),*);

            fn loss_of(&self, index: usize, output: &[f32], target: &Self::Target, derivative: &mut [f32]) -> f32 {
                match index {
                    0 => self.0.loss(output, &target.0, derivative),
                    $($index => self.$index.loss(output, &target.$index, derivative),)*
                    _ => unreachable!("an output of the model"),
                }
            }

            fn weight_of(&self, index: usize, target: &Self::Target) -> f32 {
                match index {
                    0 => self.0.weight(&target.0),
                    $($index => self.$index.weight(&target.$index),)*
                    _ => unreachable!("an output of the model"),
                }
            }

            fn check_all(&self, sample: usize, target: &Self::Target) -> Result<(), Error> {
                self.0.check(sample, &target.0)?;
                $(self.$index.check(sample, &target.$index)?;)*
                Ok(())
            }

            #[cfg(feature = "cuda")]
            fn all_on_card(&self, targets: &[Self::Target]) -> Option<Vec<CardLoss>> {
                Some(vec![
                    self.0.on_card(&mut targets.iter().map(|target| &target.0))?,
                    $(self.$index.on_card(&mut targets.iter().map(|target| &target.$index))?),*
                ])
            }
        }

        impl<$first_output, $($output,)* $first: Loss<$first_output>, $($loss: Loss<$output, Target = $first::Target>),*>
            Losses<($first_output, $($output),*)> for Same<($first, $($loss),*)>
        {
            type Target = $first::Target;

            fn loss_of(&self, index: usize, output: &[f32], target: &Self::Target, derivative: &mut [f32]) -> f32 {
                match index {
                    0 => self.0.0.loss(output, target, derivative),
                    $($index => self.0.$index.loss(output, target, derivative),)*
                    _ => unreachable!("an output of the model"),
                }
            }

            fn weight_of(&self, index: usize, target: &Self::Target) -> f32 {
                match index {
                    0 => self.0.0.weight(target),
                    $($index => self.0.$index.weight(target),)*
                    _ => unreachable!("an output of the model"),
                }
            }

            fn check_all(&self, sample: usize, target: &Self::Target) -> Result<(), Error> {
                self.0.0.check(sample, target)?;
                $(self.0.$index.check(sample, target)?;)*
                Ok(())
            }

            #[cfg(feature = "cuda")]
            fn all_on_card(&self, targets: &[Self::Target]) -> Option<Vec<CardLoss>> {
                Some(vec![
                    self.0.0.on_card(&mut targets.iter())?,
                    $(self.0.$index.on_card(&mut targets.iter())?),*
                ])
            }
        }
    };
}
losses_of_tuples!(A OA 0, B OB 1);
losses_of_tuples!(A OA 0, B OB 1, C OC 2);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4, F OF 5);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4, F OF 5, G OG 6);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4, F OF 5, G OG 6, H OH 7);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4, F OF 5, G OG 6, H OH 7, I OI 8);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4, F OF 5, G OG 6, H OH 7, I OI 8, J OJ 9);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4, F OF 5, G OG 6, H OH 7, I OI 8, J OJ 9, K OK 10);
losses_of_tuples!(A OA 0, B OB 1, C OC 2, D OD 3, E OE 4, F OF 5, G OG 6, H OH 7, I OI 8, J OJ 9, K OK 10, L OL 11);
