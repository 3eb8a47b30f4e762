netspec::netspec!(Net = "specs/no_such_file.yaml");

fn main() {
    let _ = Net::new(0);
}
