//! Gives the library the name under which programs open the CUDA driver: once it is open, `dlopen("libcuda.so")` finds it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
}
