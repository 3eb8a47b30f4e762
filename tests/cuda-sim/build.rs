//! Gives the library the name under which programs open the CUDA driver: once it is open, `dlopen("libcuda.so")` finds it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Elsewhere libraries have other names, and `open` says so.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    }
}
