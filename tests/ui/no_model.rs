netspec::netspec! {}

fn main() {}
