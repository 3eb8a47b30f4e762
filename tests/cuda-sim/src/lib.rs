//! A stand-in for the CUDA driver: it runs the PTX that NVRTC made on the CPU, warp by warp, and checks what kernels do.
//!
//! No GPU and no toolkit is needed, so all about kernels but their speed can be tested anywhere. There are two ways to use it.
//!
//! - **As the driver**, under cudarc that is not changed: call [`open`] before anything of cudarc, and go on as with a device. The
//!   [`Driver`] that it gives says what was found and counted.
//!
//!   ```no_run
//!   let sim = cuda_sim::open()?;
//!   // CudaContext::new(0), load_module, launch_builder ... as ever; then:
//!   assert_eq!(sim.findings(), []);
//!   assert_eq!(sim.activity().graph_launches, 1);
//!   # Ok::<(), cuda_sim::OpenError>(())
//!   ```
//!
//!   A crate whose tests do so depends on this one, and cargo builds the library that is opened beside them. What is found and counted,
//!   and the order of blocks, is each thread's own: tests can run side by side, and ask on the thread that launched.
//! - **From Rust**, without cudarc: a [`Device`] loads PTX and launches its kernels.
//!
//! A kernel that breaks a rule stops, and a [`Finding`] says where: each [`Check`] is one rule. The order of blocks and warps can be
//! reversed, and [`Counters`] tell what memory is asked for.
//!
//! # What it cannot tell
//!
//! Speed; what ptxas and the driver do; registers and spills; what happens only when warps really run at the same time. Functions whose
//! error PTX only bounds (`ex2.approx` and the like) are computed to the nearest f32, and tensor cores add in f64. Blocks of a launch are
//! never ordered, so one that waits for another with atomics and fences, as a grid-wide barrier does, is found to race.
//!
//! # How it is built
//!
//! `ptx` reads the text, `exec` runs the instructions on `memory`, whose every word has a `shadow` that knows who touched it and when.
//! `device` puts these together. `driver` is the C interface to it, which keeps `graph`s of work.

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
pub use open::{Driver, OpenError, open, unless_real};
