//! stub
/// stub
#[derive(Debug)]
pub struct Net;
