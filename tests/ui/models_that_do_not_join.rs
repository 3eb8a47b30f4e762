netspec::netspec! { model Encoder { input x [8]; linear(3); } }
netspec::netspec! { model Decoder { input code [4]; linear(8); } }

const _: () = netspec::joins::<Encoder, Decoder>();

fn main() {}
