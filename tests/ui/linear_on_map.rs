// The mistake of `specs/linear_on_map.yaml`, in line.
netspec::netspec! {
    model Net {
        input image [3, 32, 32];
        conv(8, kernel = 3, padding = 1) as conv1;
        relu;
        max_pool(4);
        linear(512 -> 32) as fc1;
        relu;
        linear(2) as fc2;
    }
}

fn main() {}
