//! Receptive fields: how much of the model's input an element of a value sees, per spatial axis.
//!
//! A window of `reach` that slides over elements `jump` apart adds `(reach - 1) * jump` (Araujo et al., *Computing Receptive
//! Fields of Convolutional Neural Networks*, Distill 2019). Sizes are the formula's, also where they exceed the map.

use crate::ops::Window;

/// What an element of a value sees of the input that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Input elements seen, for each spatial axis.
    pub sizes: Vec<u64>,
    /// Distance, in input elements, between neighbours of the value; None once its axes are not the input's any more.
    jumps: Option<Vec<u64>>,
    /// The input's spatial sizes.
    whole: Vec<u64>,
}

impl Field {
    /// The field of an input of this shape; None when it has no spatial axes.
    pub fn of_input(shape: &[u64]) -> Option<Field> {
        let whole = shape.get(1..).filter(|spatial| !spatial.is_empty())?.to_vec();
        Some(Field { sizes: vec![1; whole.len()], jumps: Some(vec![1; whole.len()]), whole })
    }

    /// The field behind a layer that looks through `window`.
    pub fn through(&self, window: &Window) -> Field {
        match (window, &self.jumps) {
            (Window::Point, _) => self.clone(),
            (Window::Reshapes, _) => Field { jumps: None, ..self.clone() },
            (Window::Slides { reach, stride }, Some(jumps)) if reach.len() == jumps.len() => Field {
                sizes: (0..jumps.len())
                    .map(|axis| self.sizes[axis].saturating_add((reach[axis] - 1).saturating_mul(jumps[axis])))
                    .collect(),
                jumps: Some((0..jumps.len()).map(|axis| jumps[axis].saturating_mul(stride[axis])).collect()),
                whole: self.whole.clone(),
            },
            (Window::Resamples { reach, size, out_size }, Some(jumps)) if reach.len() == jumps.len() => Field {
                sizes: (0..jumps.len())
                    .map(|axis| self.sizes[axis].saturating_add((reach[axis] - 1).saturating_mul(jumps[axis])))
                    .collect(),
                jumps: (0..jumps.len())
                    .map(|axis| {
                        let apart = jumps[axis].saturating_mul(size[axis]);
                        apart.is_multiple_of(out_size[axis]).then(|| apart / out_size[axis])
                    })
                    .collect(),
                whole: self.whole.clone(),
            },
            (Window::Resamples { reach, .. }, _) if reach.iter().all(|&reach| reach == 1) => self.clone(),
            // Neighbours come closer, by a whole factor or else not counted in the input's elements any more.
            (Window::Spreads { reach, stride }, Some(jumps)) if reach.len() == jumps.len() => Field {
                sizes: (0..jumps.len())
                    .map(|axis| {
                        let seen = reach[axis].div_ceil(stride[axis]);
                        self.sizes[axis].saturating_add((seen - 1).saturating_mul(jumps[axis]))
                    })
                    .collect(),
                jumps: (0..jumps.len())
                    .map(|axis| jumps[axis].is_multiple_of(stride[axis]).then(|| jumps[axis] / stride[axis]))
                    .collect(),
                whole: self.whole.clone(),
            },
            (Window::Whole | Window::Slides { .. } | Window::Resamples { .. } | Window::Spreads { .. }, _) => {
                Field { sizes: self.whole.clone(), jumps: None, whole: self.whole.clone() }
            }
        }
    }

    /// The field of a value made of both: the larger on each axis. None when they look at different inputs.
    pub fn joined(&self, other: &Field) -> Option<Field> {
        if self.whole != other.whole {
            return None;
        }
        let sizes = self.sizes.iter().zip(&other.sizes).map(|(a, b)| *a.max(b)).collect();
        let jumps = if self.jumps == other.jumps { self.jumps.clone() } else { None };
        Some(Field { sizes, jumps, whole: self.whole.clone() })
    }

    /// Whether it is the whole input, as of a layer that looks at all of it.
    pub fn is_whole(&self) -> bool {
        self.jumps.is_none() && self.sizes == self.whole
    }

    /// How much a loop's body adds each time, from its first input and output; None when it does not add the same each time.
    pub fn growth(&self, after: &Field) -> Option<Vec<u64>> {
        (self.jumps == after.jumps)
            .then(|| self.sizes.iter().zip(&after.sizes).map(|(before, after)| after.saturating_sub(*before)).collect())
    }

    /// The field after `times` more iterations of a loop that adds `growth` in each.
    pub fn grown(&self, growth: &[u64], times: u64) -> Field {
        let sizes =
            self.sizes.iter().zip(growth).map(|(size, add)| size.saturating_add(add.saturating_mul(times))).collect();
        Field { sizes, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: u64, stride: u64) -> Window {
        Window::Slides { reach: vec![kernel; 2], stride: vec![stride; 2] }
    }

    #[test]
    fn two_convolutions_with_a_pool_between_see_eight_pixels() {
        let field = Field::of_input(&[3, 32, 32]).unwrap();
        let field = field.through(&window(3, 1)).through(&window(2, 2)).through(&window(3, 1));
        assert_eq!(field.sizes, [8, 8]);
        assert_eq!(field.through(&Window::Reshapes).through(&Window::Whole).sizes, [32, 32]);
    }

    #[test]
    fn upsampling_brings_elements_together_again() {
        let twice = |reach: u64| Window::Resamples { reach: vec![reach; 2], size: vec![4; 2], out_size: vec![8; 2] };
        let halved = Field::of_input(&[3, 32, 32]).unwrap().through(&window(2, 2)).through(&window(2, 2));
        assert_eq!(halved.sizes, [4, 4]);
        // Elements 4 apart, 2 after that, so that a window of 3 adds 4.
        assert_eq!(halved.through(&twice(1)).through(&window(3, 1)).sizes, [8, 8]);
        // A line between two elements sees both.
        assert_eq!(halved.through(&twice(2)).through(&window(3, 1)).sizes, [12, 12]);
        // Halves of an element's distance are no whole number of them.
        assert_eq!(Field::of_input(&[3, 32, 32]).unwrap().through(&twice(1)).through(&window(3, 1)).sizes, [32, 32]);
    }

    #[test]
    fn an_element_of_a_transposed_convolution_sees_what_spreads_to_it() {
        let up = |kernel: u64, stride: u64| Window::Spreads { reach: vec![kernel; 2], stride: vec![stride; 2] };
        let field = Field::of_input(&[3, 32, 32]).unwrap().through(&window(2, 2));
        assert_eq!(field.through(&up(2, 2)).sizes, [2, 2]);
        assert_eq!(field.through(&up(4, 2)).sizes, [4, 4]);
        assert_eq!(field.through(&up(2, 2)).through(&window(3, 1)).sizes, [4, 4]);
        // Half an element of the input apart.
        assert_eq!(field.through(&up(4, 2)).through(&up(4, 2)).sizes, [5, 5]);
    }

    #[test]
    fn a_loop_adds_the_same_each_time() {
        let first = Field::of_input(&[8, 16, 16]).unwrap().through(&window(2, 2));
        let once = first.through(&window(3, 1));
        let growth = first.growth(&once).unwrap();
        let mut walked = first.clone();
        for _ in 0..10 {
            walked = walked.through(&window(3, 1));
        }
        assert_eq!(first.grown(&growth, 10), walked);
    }
}
