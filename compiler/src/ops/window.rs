//! What convolutions and pools share: windows that slide over a map.

use super::{Facts, Failure, Shape, Site, Window, plural, sizes};
use crate::diag::{Code, Diagnostic};
use crate::ir;
use crate::lower::Use;

/// The window of a use, one entry for each spatial axis.
pub(super) struct Sliding {
    pub(super) kernel: Vec<u64>,
    pub(super) stride: Vec<u64>,
    pub(super) padding: Vec<u64>,
    pub(super) dilation: Vec<u64>,
    /// Elements that the padding behind the map has more than that before it.
    pub(super) extra: Vec<u64>,
    pub(super) ceil_mode: bool,
}

/// The words for a padding.
pub(super) const PADDINGS: &[&str] = &["same", "valid"];

impl Sliding {
    /// Reads `kernel`, `stride`, `padding` and `dilation`; an absent `stride` is the kernel (as of a pool), an absent dilation 1. A padding
    /// that is `same` keeps the size at stride 1: `dilation (kernel - 1)` in all, of which the larger half is behind the map.
    pub(super) fn of(site: &Site<'_>, rank: usize) -> Result<Sliding, Box<Failure>> {
        let kernel = site.per_axis("kernel", rank)?;
        let stride = match site.args.axes("stride") {
            Some(_) => site.per_axis("stride", rank)?,
            None => kernel.clone(),
        };
        let dilation = match site.args.axes("dilation") {
            Some(_) => site.per_axis("dilation", rank)?,
            None => vec![1; rank],
        };
        let ceil_mode = site.args.bool("ceil_mode");
        if site.args.word("padding") != Some("same") {
            let padding = site.per_axis("padding", rank)?;
            return Ok(Sliding { kernel, stride, padding, dilation, extra: vec![0; rank], ceil_mode });
        }
        if let Some(step) = stride.iter().find(|&&step| step > 1) {
            let title = format!("`{}` pads to the `same` size, but has stride {step}", site.name);
            let span = site.args.span("padding").unwrap_or(site.head);
            let mut error = Diagnostic::new(Code::N0211, title, span, "needs stride 1")
                .label(site.args.span("stride").unwrap_or(site.head), format!("this divides the size by {step}"));
            let half = |axis: usize| dilation[axis].saturating_mul(kernel[axis] - 1) / 2;
            let halves: Vec<String> = (0..rank).map(|axis| half(axis).to_string()).collect();
            let text = match halves.iter().all(|text| *text == halves[0]) {
                true => halves[0].clone(),
                false => site.fixes.list(span, &halves),
            };
            error = error.fix("state the padding", span, text);
            return Err(error.into());
        }
        let whole = |axis: usize| dilation[axis].saturating_mul(kernel[axis] - 1);
        let padding = (0..rank).map(|axis| whole(axis) / 2).collect();
        let extra = (0..rank).map(|axis| whole(axis) % 2).collect();
        Ok(Sliding { kernel, stride, padding, dilation, extra, ceil_mode })
    }

    /// Input elements that a window spans on an axis: `dilation * (kernel - 1) + 1`.
    pub(super) fn reach(&self, axis: usize) -> u64 {
        self.dilation[axis].saturating_mul(self.kernel[axis] - 1).saturating_add(1)
    }

    /// The output's size on an axis, PyTorch's `pooling_output_shape`: `floor((size + 2 padding - reach) / stride) + 1`; with
    /// `ceil_mode` the quotient is rounded up, but no window may begin behind the map and its left padding. None when not one
    /// window fits.
    pub(super) fn output(&self, axis: usize, size: u64) -> Option<u64> {
        let [size, padding, extra, reach, stride] =
            [size, self.padding[axis], self.extra[axis], self.reach(axis), self.stride[axis]].map(u64::cast_signed);
        let round_up = if self.ceil_mode { stride - 1 } else { 0 };
        let mut windows = (size + 2 * padding + extra - reach + round_up).div_euclid(stride) + 1;
        if self.ceil_mode && (windows - 1) * stride >= size + padding {
            windows -= 1;
        }
        u64::try_from(windows).ok().filter(|&windows| windows > 0)
    }

    /// The output's spatial sizes, or an error that shows the arithmetic of the first axis that has none.
    pub(super) fn outputs(&self, site: &Site<'_>, spatial: &[u64]) -> Result<Shape, Box<Failure>> {
        spatial
            .iter()
            .enumerate()
            .map(|(axis, &size)| self.output(axis, size).ok_or_else(|| self.too_large(site, spatial, axis)))
            .collect()
    }

    fn too_large(&self, site: &Site<'_>, spatial: &[u64], axis: usize) -> Box<Failure> {
        let (size, padding, reach) = (spatial[axis], self.padding[axis], self.reach(axis));
        let kernel = sizes(&self.kernel);
        let title = format!("`{}` has a window of {kernel}, but is given a map of {}", site.name, sizes(spatial));
        let mut error = site.error(Code::N0304, title, format!("needs a map of at least {reach} here"));
        if self.dilation[axis] > 1 {
            error = error
                .note(format!("a kernel of {} with dilation {} spans {reach}", self.kernel[axis], self.dilation[axis]));
        }
        let error = error.note(match padding {
            0 => format!("the map has {size}, and there is no padding"),
            _ => format!("the map has {size}, with padding {size} + 2 * {padding} = {}", size + 2 * padding),
        });
        error.notes(site.args.how("kernel")).into()
    }

    /// What an output element sees.
    pub(super) fn window(&self) -> Window {
        Window::Slides {
            reach: (0..self.kernel.len()).map(|axis| self.reach(axis)).collect(),
            stride: self.stride.clone(),
        }
    }

    /// The facts of a pool: channels stay, each window gives one element.
    pub(super) fn pool(&self, site: &Site<'_>, channels: u64, spatial: &[u64]) -> Result<Facts, Box<Failure>> {
        for axis in 0..spatial.len() {
            // PyTorch's rule, so that no window lies in the padding alone.
            let (kernel, padding) = (self.kernel[axis], self.padding[axis]);
            if padding > kernel / 2 {
                let title = format!("padding {padding} of `{}` is more than half its kernel", site.name);
                let label = format!("the kernel is {kernel}, so at most {}", kernel / 2);
                let span = site.args.span("padding").unwrap_or(site.head);
                return Err(Diagnostic::new(Code::N0211, title, span, label).into());
            }
        }
        let outputs = self.outputs(site, spatial)?;
        let warnings = self.dropped(site, spatial, &outputs).into_iter().collect();
        let output = std::iter::once(channels).chain(outputs).collect();
        Ok(Facts { output, window: self.window(), warnings, ..Facts::default() })
    }

    /// A warning when elements at the far edge are in no window.
    fn dropped(&self, site: &Site<'_>, spatial: &[u64], outputs: &[u64]) -> Option<Diagnostic> {
        let left_over = |axis: usize| {
            let seen = (outputs[axis] - 1) * self.stride[axis] + self.reach(axis);
            (spatial[axis] + self.padding[axis]).saturating_sub(seen)
        };
        // Windows that stand apart leave gaps on purpose.
        let drops: Vec<usize> =
            (0..spatial.len()).filter(|&axis| self.stride[axis] <= self.reach(axis) && left_over(axis) > 0).collect();
        let axis = *drops.first()?;
        let lost: Vec<String> = drops
            .iter()
            .map(|&axis| {
                let name = |count| axis_name(axis, spatial.len(), count);
                match left_over(axis) {
                    1 => format!("the last {}", name(1)),
                    count => format!("the last {count} of {} {}", spatial[axis], name(spatial[axis])),
                }
            })
            .collect();
        let title = format!("`{}` drops the edge of a map of {}", site.name, sizes(spatial));
        let label = format!("leaves out {}", lost.join(" and "));
        Some(site.error(Code::N0905, title, label).note(format!(
            "{} window{} of {}, {} apart, cover {}",
            outputs[axis],
            plural(outputs[axis] as usize),
            self.reach(axis),
            self.stride[axis],
            (outputs[axis] - 1) * self.stride[axis] + self.reach(axis)
        )))
    }
}

/// Spatial sizes, up to three; axes that the map does not have are 1.
pub(super) fn three(spatial: &[u64]) -> [u64; 3] {
    let mut sizes = [1; 3];
    sizes[3 - spatial.len()..].copy_from_slice(spatial);
    sizes
}

/// The window of a proved use; axes that the map does not have are 1.
pub(super) fn window_of(of: &Use<'_>) -> ir::Window {
    let rank = of.output.len() - 1;
    let argument = |name: &str, otherwise: u64| {
        let mut sizes = [otherwise; 3];
        if let Some(given) = of.args.axes(name) {
            let given: Vec<u64> = given.iter().map(|size| size.value.unsigned_abs()).collect();
            match given.as_slice() {
                [one] => sizes[3 - rank..].fill(*one),
                each => sizes[3 - rank..].copy_from_slice(each),
            }
        }
        sizes
    };
    let (kernel, dilation) = (argument("kernel", 1), argument("dilation", 1));
    let stride = if of.args.axes("stride").is_some() { argument("stride", 1) } else { kernel };
    let padding = match of.args.word("padding") {
        Some("same") => [0, 1, 2].map(|axis| dilation[axis] * (kernel[axis] - 1) / 2),
        _ => argument("padding", 0),
    };
    ir::Window { size: three(&of.shapes[0][1..]), out_size: three(&of.output[1..]), kernel, stride, padding, dilation }
}

/// What the elements of an axis are called.
fn axis_name(axis: usize, rank: usize, size: u64) -> String {
    let name = match rank - axis {
        1 if rank == 1 => "place",
        1 => "column",
        2 => "row",
        _ => "slice",
    };
    format!("{name}{}", plural(size as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sliding(kernel: u64, stride: u64, padding: u64, dilation: u64, ceil_mode: bool) -> Sliding {
        Sliding {
            kernel: vec![kernel],
            stride: vec![stride],
            padding: vec![padding],
            dilation: vec![dilation],
            extra: vec![0],
            ceil_mode,
        }
    }

    /// Counts the windows one by one: each lies within the padded map, or with `ceil_mode` begins in the map or the padding before it
    /// and hangs over the far edge by less than a step.
    fn counted(window: &Sliding, size: u64) -> Option<u64> {
        let (stride, padding) = (window.stride[0], window.padding[0]);
        let padded = size + 2 * padding;
        let is_placed = |&start: &u64| {
            let end = start + window.reach(0);
            end <= padded || (window.ceil_mode && start < size + padding && end - padded < stride)
        };
        let count = (0..).step_by(stride as usize).take_while(is_placed).count() as u64;
        (count > 0).then_some(count)
    }

    #[test]
    fn the_formula_counts_windows() {
        for size in 1..12 {
            for kernel in 1..5 {
                for stride in 1..4 {
                    for padding in 0..=kernel / 2 {
                        for dilation in 1..3 {
                            for ceil_mode in [false, true] {
                                let window = sliding(kernel, stride, padding, dilation, ceil_mode);
                                assert_eq!(
                                    window.output(0, size),
                                    counted(&window, size),
                                    "size {size} kernel {kernel} stride {stride} padding {padding} dilation {dilation} {ceil_mode}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
