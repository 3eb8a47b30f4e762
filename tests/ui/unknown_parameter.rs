netspec::netspec!("specs/net.netspec", n = 8, n_block = 3);

fn main() {
    let _ = Net::new(0);
}
