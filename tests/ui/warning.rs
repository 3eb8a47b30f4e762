#![deny(deprecated)]

netspec::netspec! {
    model Net {
        input image [3, 32, 32];
        conv(8, kernel = 3, padding = 1);
        batch_norm;
        relu;
        max_pool(2);
        view(-1, 8 * 16 * 16);
        linear(2);
    }
}

fn main() {}
