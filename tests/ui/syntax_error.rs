netspec::netspec! {
    model Net {
        input image [3, 32, 32];
        conv(8, kernel = 3)
        relu;
        max_pool(2, );
        relu as;
    }
}

mod of_nothing {
    netspec::netspec! {}
}

fn main() {}
