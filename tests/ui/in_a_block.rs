netspec::netspec! {
    /// Its convolution states the channels of another network.
    block ResBlock(n) {
        skip {
            conv(16 -> n, kernel = 3, padding = 1);
            relu;
        }
    }

    model Net(n_chans = 8) {
        input image [3, 32, 32];
        conv(n_chans, kernel = 3, padding = 1);
        repeat 10 as resblocks { ResBlock(n_chans); }
        view(-1, n_chans * 32 * 32);
        linear(2);
    }
}

fn main() {}
