//! What every model is.

/// A model that [`netspec!`](crate::netspec) made: its types and numbers. Its methods are the struct's own.
pub trait Model: Clone + Send + Sync + Sized + 'static {
    /// One sample: an array with the sizes of the spec, `[[[f32; 32]; 32]; 3]` for an image; with several inputs a tuple of
    /// such arrays. A batch is a slice of them.
    type Input: Clone + Send + Sync + 'static;
    /// What comes out for one sample, like `Input`.
    type Output: Clone + Send + Sync + 'static;
    /// The model's name in its spec.
    const NAME: &'static str;
    /// How many trainable parameters it has.
    const PARAMETERS: usize;
}

/// Proves that what `First` gives is what `Second` takes.
///
/// ```
/// netspec::netspec! { model Encoder { input x [8]; linear(3); } }
/// netspec::netspec! { model Decoder { input code [3]; linear(8); } }
///
/// const _: () = netspec::joins::<Encoder, Decoder>();
/// ```
///
/// ```compile_fail,E0277
/// # netspec::netspec! { model Encoder { input x [8]; linear(3); } }
/// const _: () = netspec::joins::<Encoder, Encoder>();
/// ```
pub const fn joins<First: Model, Second: Model<Input: Takes<First::Output>>>() {}

/// Being the type `Given`, for an error that shows both.
#[diagnostic::on_unimplemented(
    message = "the first model gives `{Given}`, but the second takes `{Self}`",
    label = "takes `{Self}`"
)]
pub trait Takes<Given> {}

impl<T> Takes<T> for T {}
