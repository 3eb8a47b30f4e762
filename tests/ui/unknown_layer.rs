netspec::netspec! {
    model Net {
        input image [3, 32, 32];
        cnov(8, kernel = 3) as conv1;
        relu;
    }
}

fn main() {}
