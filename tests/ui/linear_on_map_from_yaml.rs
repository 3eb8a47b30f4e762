netspec::netspec!("specs/linear_on_map.yaml");

fn main() {}
