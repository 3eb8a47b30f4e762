netspec::netspec!(Net = "specs/net.netspec", n = 0.5);

fn main() {
    let _ = Net::new(0);
}
