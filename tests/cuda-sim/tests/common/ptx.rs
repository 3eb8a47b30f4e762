//! PTX for tests: what NVRTC made and is kept beside the sources, and if there is one, what an NVRTC makes now.
//!
//! `NETSPEC_BLESS=1` with `NETSPEC_NVRTC_DIR` writes the files that are kept.

use std::path::PathBuf;

use super::nvrtc::nvrtc;

/// For which compilers and devices the texts are made.
const ARCHITECTURES: [&str; 2] = ["compute_80", "compute_90"];

/// The texts of `tests/kernels/NAME.cu`, compiled with `defines`, each with a word that says where it is from. `kept` is the name of the
/// one that is kept, without `.ptx`.
pub(crate) fn texts(name: &str, defines: &[&str], kept: Option<&str>) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
    let source = std::fs::read_to_string(folder.join(name).with_extension("cu")).unwrap();
    let mut texts = Vec::new();
    if let Some(nvrtc) = nvrtc() {
        for architecture in ARCHITECTURES {
            let architecture = format!("--gpu-architecture={architecture}");
            let options: Vec<&str> =
                [&*architecture, "-lineinfo", "--std=c++17"].iter().chain(defines).copied().collect();
            let text =
                nvrtc.ptx(&format!("{name}.cu"), &source, &options).unwrap_or_else(|log| panic!("{name}.cu: {log}"));
            texts.push((format!("NVRTC {architecture} {defines:?}"), text));
        }
    }
    if let Some(kept) = kept {
        let path = folder.join(format!("{kept}.ptx"));
        if std::env::var_os("NETSPEC_BLESS").is_some_and(|value| value == "1") && !texts.is_empty() {
            // Beside and renamed: other tests may read it.
            let beside = path.with_extension(format!("{:?}", std::thread::current().id()));
            std::fs::write(&beside, &texts[0].1).unwrap();
            std::fs::rename(beside, &path).unwrap();
        }
        texts.push((format!("{kept}.ptx"), std::fs::read_to_string(path).unwrap()));
    }
    texts
}
