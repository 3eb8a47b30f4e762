netspec::netspec!("specs/net.netspec", n = 8, n_block = 3);

mod halves {
    netspec::netspec!(pub(crate) Net = "specs/net.netspec", n = 0.5);
}

fn main() {
    let _ = (Net::new(0), halves::Net::new(0));
}
