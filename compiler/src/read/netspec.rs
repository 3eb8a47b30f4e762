//! stub
use crate::ast::{Call, Expr, Spec};
use crate::diag::Diagnostic;
use crate::source::{FileId, Span};

/// Reads `.netspec` text.
pub(super) fn read(_text: &str, _file: FileId, _diagnostics: &mut Vec<Diagnostic>) -> Spec {
    Spec::default()
}

/// Reads an argument's value, the text of `span`, for the YAML reader: `8*8*n`, `3e-3`, `kaiming_normal(relu)`, `512 -> 32`
/// (then the `in` comes as the first of two). None when it was reported.
pub(super) fn value(
    _text: &str,
    _span: Span,
    _diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<(Option<&'static str>, Expr)>> {
    None
}
