//! Opens the stand-in driver, so that whoever looks for `libcuda.so` afterwards finds it.

use std::ffi::{CString, c_char, c_uint};
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::Library;

use crate::checks::{Check, Finding};
use crate::counters::{Activity, Counters};
use crate::exec::Order;

/// The stand-in driver, opened. Its methods speak of what the calling thread did.
#[derive(Clone, Copy)]
pub struct Driver {
    library: &'static Library,
}

/// Why the driver could not be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenError(String);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

/// Opens the driver, once for the process.
///
/// Cargo builds it, as `libcuda_sim.so`, beside the programs that depend on this crate. Call this before anything of cudarc: it looks for
/// `libcuda.so` by name, and that name is this library's own, which the loader prefers to what lies in the system's folders.
///
/// # Errors
///
/// When the library is not where cargo puts it, cannot be opened, or when this is not Linux.
pub fn open() -> Result<Driver, OpenError> {
    static DRIVER: OnceLock<Result<Library, OpenError>> = OnceLock::new();
    match DRIVER.get_or_init(load) {
        Ok(library) => Ok(Driver { library }),
        Err(error) => Err(error.clone()),
    }
}

/// The driver, opened for tests that a real card can run, too: None if `NETSPEC_CARD=real` asks for the machine's own.
///
/// # Panics
///
/// When it cannot be opened.
pub fn unless_real() -> Option<Driver> {
    let is_real = std::env::var_os("NETSPEC_CARD").is_some_and(|card| card == "real");
    (!is_real).then(|| open().expect("cargo builds the stand-in driver beside the tests"))
}

fn load() -> Result<Library, OpenError> {
    let path = path()?;
    #[expect(unsafe_code, reason = "a library is opened")]
    // SAFETY: it is this crate, built as a cdylib, which does nothing when it is opened.
    unsafe { Library::new(&path) }.map_err(|error| OpenError(format!("{} cannot be opened: {error}", path.display())))
}

/// The library beside the running program: in `target/PROFILE/deps`, where tests are, or in `target/PROFILE`.
fn path() -> Result<PathBuf, OpenError> {
    let program =
        std::env::current_exe().map_err(|error| OpenError(format!("the running program is not known: {error}")))?;
    let places = program.ancestors().skip(1).take(2).flat_map(|folder| [folder.join("deps"), folder.to_path_buf()]);
    let mut tried = Vec::new();
    for place in places {
        let path = place.join("libcuda_sim.so");
        if path.is_file() {
            return Ok(path);
        }
        tried.push(place.display().to_string());
    }
    Err(OpenError(format!(
        "libcuda_sim.so is in none of {}: it is built with every program that depends on cuda-sim, on Linux",
        tried.join(", ")
    )))
}

/// Looks up one of the functions in `driver/inspect.rs` and calls it.
macro_rules! call {
    ($driver:expr, $name:ident($($argument:expr),*) of $($ty:ty),*) => {{
        let name = concat!(stringify!($name), "\0");
        #[expect(unsafe_code, reason = "a function of the library is called")]
        // SAFETY: `driver/inspect.rs` defines it so, and the arguments are good until it returns.
        unsafe {
            match $driver.library.get::<unsafe extern "C" fn($($ty),*) -> u32>(name) {
                Ok(function) => function($($argument),*),
                Err(error) => unreachable!("this crate exports {}: {error}", stringify!($name)),
            }
        }
    }};
}

impl Driver {
    /// Forgets the error that a broken kernel left, all findings and all counts. Settings stay.
    pub fn reset(&self) {
        call!(self, cudaSimReset() of);
    }

    /// In which order blocks and warps run from now on.
    pub fn set_order(&self, order: Order) {
        call!(self, cudaSimSetOrder(u32::from(order == Order::Reversed)) of c_uint);
    }

    /// Which compute capability the device says it has: 8.0 if nothing is set.
    pub fn set_compute_capability(&self, major: u32, minor: u32) {
        call!(self, cudaSimSetComputeCapability(major, minor) of c_uint, c_uint);
    }

    /// Whether findings are kept, but not written to the standard error.
    pub fn set_quiet(&self, quiet: bool) {
        call!(self, cudaSimSetQuiet(quiet.into()) of c_uint);
    }

    /// What was found since the last [`Driver::reset`], the oldest first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut count = 0usize;
        call!(self, cudaSimFindingCount(&mut count) of *mut usize);
        (0..count).filter_map(|index| self.finding(index)).collect()
    }

    fn finding(&self, index: usize) -> Option<Finding> {
        let mut number = 0u32;
        let message = text(|length, place, capacity| {
            call!(self, cudaSimFinding(index, &mut number, length, place, capacity)
                of usize, *mut u32, *mut usize, *mut c_char, usize)
        });
        let check = Check::ALL.into_iter().find(|&check| check as u32 == number)?;
        Some(Finding { check, message })
    }

    /// The counts of a kernel since the last reset; none if it did not run.
    pub fn counters(&self, kernel: &str) -> Option<Counters> {
        let name = CString::new(kernel).ok()?;
        let mut counters = Counters::default();
        let status = call!(self, cudaSimCounters(name.as_ptr(), &mut counters) of *const c_char, *mut Counters);
        (status == 0).then_some(counters)
    }

    /// The counts of all kernels together.
    pub fn total(&self) -> Counters {
        let mut counters = Counters::default();
        call!(self, cudaSimCounters(std::ptr::null(), &mut counters) of *const c_char, *mut Counters);
        counters
    }

    /// The names of the kernels that ran since the last reset, in alphabetical order.
    pub fn kernels(&self) -> Vec<String> {
        let mut count = 0usize;
        call!(self, cudaSimKernelCount(&mut count) of *mut usize);
        let name = |index| {
            text(
                |length, place, capacity| call!(self, cudaSimKernelName(index, length, place, capacity) of usize, *mut usize, *mut c_char, usize),
            )
        };
        (0..count).map(name).collect()
    }

    /// What the program asked for since the last reset.
    pub fn activity(&self) -> Activity {
        let mut activity = Activity::default();
        call!(self, cudaSimActivity(&mut activity) of *mut Activity);
        activity
    }
}

/// A text that a function writes: first its length is asked for, then there is room.
fn text(mut write: impl FnMut(*mut usize, *mut c_char, usize) -> u32) -> String {
    let mut length = 0usize;
    write(&mut length, std::ptr::null_mut(), 0);
    let mut bytes = vec![0u8; length + 1];
    write(&mut length, bytes.as_mut_ptr().cast(), bytes.len());
    bytes.pop();
    String::from_utf8_lossy(&bytes).into_owned()
}
