use netspec::Workspace;

netspec::netspec!("specs/net.netspec");

fn main() {
    let digit = [[[0.5; 28]; 28]; 1];
    let mut scores = [[0.0; 2]; 1];
    let _ = Net::new(0).infer(&mut Workspace::new(), &[digit], &mut scores);
}
