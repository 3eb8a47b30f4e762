//! The `netspec!` macro: a thin shell around the compiler. Its documentation is in the crate `netspec`, which re-exports it.

mod expand;
mod invocation;
mod report;

/// Reads a spec, proves its shapes and gives the model as a struct.
#[proc_macro]
pub fn netspec(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(input.into()).into()
}
