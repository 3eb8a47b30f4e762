//! Layers of a user's own: types that a spec names with `custom(path::Type)`.

/// Dimensions of a value at most.
const DIMENSIONS: usize = 8;

/// The shape of one sample's value, or of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    sizes: [usize; DIMENSIONS],
    dimensions: usize,
}

impl Shape {
    /// A shape of these sizes.
    ///
    /// # Panics
    ///
    /// When there are more than eight; in a constant that is an error of rustc.
    pub const fn new(sizes: &[usize]) -> Shape {
        assert!(sizes.len() <= DIMENSIONS, "a shape has eight dimensions at most");
        let mut shape = Shape { sizes: [1; DIMENSIONS], dimensions: sizes.len() };
        let mut at = 0;
        while at < sizes.len() {
            shape.sizes[at] = sizes[at];
            at += 1;
        }
        shape
    }

    /// Its sizes.
    pub const fn sizes(&self) -> &[usize] {
        self.sizes.split_at(self.dimensions).0
    }

    /// Their product.
    pub const fn elements(&self) -> usize {
        let (mut product, mut at) = (1, 0);
        while at < self.dimensions {
            product *= self.sizes[at];
            at += 1;
        }
        product
    }
}

/// What comes into a layer at one use of it. Generated code says it, for each use whose shape is another.
pub trait Input {
    /// The shape of one sample.
    const SHAPE: Shape;
}

/// A weight of a layer of one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Its name, the last part of that in a state dict.
    pub name: &'static str,
    /// Its shape.
    pub shape: Shape,
}

impl Weight {
    /// A weight of this name and these sizes.
    pub const fn new(name: &'static str, sizes: &[usize]) -> Weight {
        Weight { name, shape: Shape::new(sizes) }
    }
}

/// A layer of one's own, on inputs of a shape: `custom(path::Type)` in a spec.
///
/// The shape rule is a constant, [`OUTPUT`](Layer::OUTPUT): any constant expression of `X::SHAPE`, which rustc evaluates for each use.
/// A spec asserts the shape of each use's output, and declares its weights; that both are what the type says rustc proves before there
/// is a program. A rule can refuse an input with `assert!`.
///
/// `forward` and `backward` are given one sample, in PyTorch's order, the last index running fastest. They must be functions of what they
/// are given: samples are run on several threads, in any order, and the same must come out.
///
/// ```
/// use netspec::layer::{Input, Layer, Shape};
///
/// /// `y = x / (1 + exp(-x))` (Ramachandran, Zoph and Le 2017).
/// pub struct Swish;
///
/// impl<X: Input> Layer<X> for Swish {
///     const OUTPUT: Shape = X::SHAPE;
///
///     fn forward(x: &[f32], _weights: &[f32], y: &mut [f32]) {
///         for (y, x) in y.iter_mut().zip(x) {
///             *y = x / (1.0 + (-x).exp());
///         }
///     }
///
///     fn backward(x: &[f32], _weights: &[f32], dy: &[f32], dx: &mut [f32], _d_weights: &mut [f32]) {
///         for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
///             let s = 1.0 / (1.0 + (-x).exp());
///             *dx = dy * (s + x * s * (1.0 - s));
///         }
///     }
/// }
///
/// netspec::netspec! {
///     model Net {
///         input x [4];
///         linear(8);
///         custom(Swish) : [8];
///         linear(2);
///     }
/// }
/// let mut y = [[0.0; 2]];
/// Net::new(0).infer(&mut netspec::Workspace::new(), &[[1.0, 2.0, 3.0, 4.0]], &mut y)?;
/// # Ok::<(), netspec::Error>(())
/// ```
///
/// With weights, which the spec declares with their first values, `custom(Scale, weights = [scale(8, init = ones)]) : [8];`:
///
/// ```
/// use netspec::layer::{Input, Layer, Shape, Weight};
///
/// /// `y = scale * x`, element by element.
/// pub struct Scale;
///
/// impl<X: Input> Layer<X> for Scale {
///     const OUTPUT: Shape = X::SHAPE;
///     const WEIGHTS: &'static [Weight] = &[Weight { name: "scale", shape: X::SHAPE }];
///
///     fn forward(x: &[f32], scale: &[f32], y: &mut [f32]) {
///         for ((y, x), scale) in y.iter_mut().zip(x).zip(scale) {
///             *y = scale * x;
///         }
///     }
///
///     fn backward(x: &[f32], scale: &[f32], dy: &[f32], dx: &mut [f32], d_scale: &mut [f32]) {
///         for (at, dy) in dy.iter().enumerate() {
///             dx[at] = scale[at] * dy;
///             d_scale[at] += x[at] * dy;
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no layer: a spec's `custom(…)` names a type that is a `netspec::layer::Layer`",
    label = "must be a `Layer` on every `Input`, or on this one"
)]
pub trait Layer<X: Input> {
    /// The output's shape.
    const OUTPUT: Shape;
    /// The weights, in the order in which `weights` has them.
    const WEIGHTS: &'static [Weight] = &[];

    /// Writes the output of one sample: all of `y`, which holds anything before (NaN where debug assertions are on). `weights` are the
    /// layer's, one after the other.
    fn forward(x: &[f32], weights: &[f32], y: &mut [f32]);

    /// From the loss's derivatives by the output, `dy`: writes those by the input, all of `dx`, which holds anything before; and *adds*
    /// those by the weights to `d_weights`.
    fn backward(x: &[f32], weights: &[f32], dy: &[f32], dx: &mut [f32], d_weights: &mut [f32]);
}

/// Floats of a layer's weights.
pub(crate) const fn weights_len<T: Layer<X>, X: Input>() -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < T::WEIGHTS.len() {
        sum += T::WEIGHTS[at].shape.elements();
        at += 1;
    }
    sum
}

/// Proves, when rustc evaluates it, that a type makes the shape that a spec asserts, of the weights that it declares. `place` names the
/// use.
///
/// # Panics
///
/// When it does not: then the program does not compile.
pub const fn prove<T: Layer<X>, X: Input>(place: &str, output: &[usize], weights: &[(&str, &[usize])]) {
    let mut message = Message::new().text(place);
    if !is_same(T::OUTPUT.sizes(), output) {
        message = message.text(" makes ").shape(T::OUTPUT.sizes());
        panic!("{}", message.text(", not ").shape(output).text(" as asserted").as_str());
    }
    let own = T::WEIGHTS;
    if own.len() != weights.len() {
        message = message.text(" has ").number(own.len()).text(" weights, but the spec declares ");
        panic!("{}", message.number(weights.len()).as_str());
    }
    let mut at = 0;
    while at < own.len() {
        let (name, shape) = weights[at];
        if !is_same_text(own[at].name, name) || !is_same(own[at].shape.sizes(), shape) {
            message = message.text(" has a weight `").text(own[at].name).text("` of ").shape(own[at].shape.sizes());
            message = message.text(", where the spec declares `").text(name).text("` of ").shape(shape);
            panic!("{}", message.as_str());
        }
        at += 1;
    }
}

const fn is_same(a: &[usize], b: &[usize]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    a.len() == b.len() && at == a.len()
}

const fn is_same_text(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    a.len() == b.len() && at == a.len()
}

/// A text that is put together while rustc evaluates constants, where nothing formats; what does not fit is cut off.
struct Message {
    bytes: [u8; 512],
    len: usize,
}

impl Message {
    const fn new() -> Message {
        Message { bytes: [0; 512], len: 0 }
    }

    const fn text(mut self, text: &str) -> Message {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() && self.len < self.bytes.len() {
            self.bytes[self.len] = text[at];
            self.len += 1;
            at += 1;
        }
        self
    }

    const fn number(mut self, number: usize) -> Message {
        if number >= 10 {
            self = self.number(number / 10);
        }
        let digit = [b'0' + (number % 10) as u8];
        match core::str::from_utf8(&digit) {
            Ok(digit) => self.text(digit),
            Err(_) => self,
        }
    }

    /// `[8, 4, 4]`
    const fn shape(mut self, sizes: &[usize]) -> Message {
        self = self.text("[");
        let mut at = 0;
        while at < sizes.len() {
            self = if at > 0 { self.text(", ") } else { self }.number(sizes[at]);
            at += 1;
        }
        self.text("]")
    }

    const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            // Cut off in a character.
            Err(_) => "a custom layer is not as its spec says",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Map;

    impl Input for Map {
        const SHAPE: Shape = Shape::new(&[8, 4, 12]);
    }

    /// Sums of pairs of channels, weighted.
    struct Pairs;

    impl<X: Input> Layer<X> for Pairs {
        const OUTPUT: Shape = {
            assert!(X::SHAPE.sizes()[0] % 2 == 0, "pairs of channels");
            Shape::new(&[X::SHAPE.sizes()[0] / 2, X::SHAPE.sizes()[1], X::SHAPE.sizes()[2]])
        };
        const WEIGHTS: &'static [Weight] = &[Weight::new("a", &[X::SHAPE.sizes()[0] / 2]), Weight::new("b", &[3, 2])];

        fn forward(_: &[f32], _: &[f32], _: &mut [f32]) {}
        fn backward(_: &[f32], _: &[f32], _: &[f32], _: &mut [f32], _: &mut [f32]) {}
    }

    /// What a proof says that does not hold.
    fn refused(output: &[usize], weights: &[(&str, &[usize])]) -> String {
        let proof = std::panic::catch_unwind(|| prove::<Pairs, Map>("net.yaml:3 `custom: Pairs`", output, weights));
        let panic = proof.expect_err("it does not hold");
        panic.downcast_ref::<String>().expect("a message").clone()
    }

    #[test]
    fn a_layer_is_what_its_spec_says_or_told() {
        const { prove::<Pairs, Map>("", &[4, 4, 12], &[("a", &[4]), ("b", &[3, 2])]) };
        assert_eq!(weights_len::<Pairs, Map>(), 10);
        assert_eq!(Map::SHAPE.elements(), 384);
        assert_eq!(refused(&[4, 4, 4], &[]), "net.yaml:3 `custom: Pairs` makes [4, 4, 12], not [4, 4, 4] as asserted");
        assert_eq!(refused(&[4, 4], &[]), "net.yaml:3 `custom: Pairs` makes [4, 4, 12], not [4, 4] as asserted");
        let words = "net.yaml:3 `custom: Pairs` has 2 weights, but the spec declares 1";
        assert_eq!(refused(&[4, 4, 12], &[("a", &[4])]), words);
        let words = "net.yaml:3 `custom: Pairs` has a weight `b` of [3, 2], where the spec declares `b` of [2, 3]";
        assert_eq!(refused(&[4, 4, 12], &[("a", &[4]), ("b", &[2, 3])]), words);
        let words = "net.yaml:3 `custom: Pairs` has a weight `a` of [4], where the spec declares `as` of [4]";
        assert_eq!(refused(&[4, 4, 12], &[("as", &[4]), ("b", &[2, 3])]), words);
    }
}
