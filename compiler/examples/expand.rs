//! tmp
use netspec_compiler::*;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let params: Vec<(String, i64)> = std::env::args()
        .skip(2)
        .map(|a| {
            let (n, v) = a.split_once('=').unwrap();
            (n.into(), v.parse().unwrap())
        })
        .collect();
    let o = compile(Main::File(path.clone()), &Options { params, ..Options::default() }, &mut |p| {
        std::fs::read(p).map_err(|e| e.to_string())
    });
    let c = o.checked.unwrap();
    for k in [fuse::PlanKind::Training, fuse::PlanKind::Inference] {
        let p = emit::planned(&c, k);
        eprintln!("{k:?} tile {} batch {} state {} bound {:?}", p.plan.tile, p.plan.batch, p.plan.state, p.plan.bound);
    }
    println!("{}", emit::program(&c, &o.sources, emit::Naming { visibility: "pub", name: &c.net.name, origin: &path }));
}
