#[rustfmt::skip]
netspec::netspec! {
    model Net {
        input x [8];
        skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { skip { relu; } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } } }
    }
}

fn main() {}
