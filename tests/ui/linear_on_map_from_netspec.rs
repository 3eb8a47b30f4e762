netspec::netspec!(pub(crate) Classifier = "specs/linear_on_map.netspec");

fn main() {}
