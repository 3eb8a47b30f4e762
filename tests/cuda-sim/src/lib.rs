//! A stand-in for the CUDA driver. It runs the PTX that NVRTC made on the CPU, warp by warp, and checks what kernels do.
mod checks;
mod counters;
mod device;
mod driver;
mod exec;
mod graph;
mod memory;
mod open;
mod ptx;
mod shadow;

pub use checks::{Check, Finding};
pub use counters::{Activity, Counters};
pub use device::{Argument, Device, Geometry, Module, Number};
pub use exec::Order;
pub use open::{Driver, OpenError, open};
