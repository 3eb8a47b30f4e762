netspec::netspec! {
    use "specs/halves.netspec";

    model Net {
        input image [3, 31, 31];
        conv(5, kernel = 3);
        Halves(8);
        flatten;
        linear(10);
    }
}

fn main() {}
