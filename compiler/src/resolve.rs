//! stub
use crate::{Options, ast::Spec, diag::Diagnostic, net::Net, source::Sources};
/// stub
pub fn resolve(_: &Spec, _: &Options, _: &Sources, _: &mut Vec<Diagnostic>) -> Option<Net> {
    None
}
