mod page {
    netspec::netspec! {
        model Net {
            input image [3, 32, 32];
            conv(8, kernle = 3) as conv1;
            reul;
        }
    }
}

fn main() {
    let _ = page::Net::new(0);
}
