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
/// # mod decoder {
/// netspec::netspec! { model Decoder { input code [3]; linear(8); } }
/// # }
/// # use decoder::Decoder;
/// const _: () = netspec::joins::<Encoder, Decoder>();
/// ```
///
/// ```compile_fail,E0271
/// # netspec::netspec! { model Encoder { input x [8]; linear(3); } }
/// const _: () = netspec::joins::<Encoder, Encoder>();
/// ```
pub const fn joins<First: Model, Second: Model<Input = First::Output>>() {}
