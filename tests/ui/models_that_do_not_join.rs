mod encoder {
    netspec::netspec! { model Encoder { input x [8]; linear(3); } }
}
mod decoder {
    netspec::netspec! { model Decoder { input code [4]; linear(8); } }
}

const _: () = netspec::joins::<encoder::Encoder, decoder::Decoder>();

fn main() {}
