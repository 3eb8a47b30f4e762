//! The driver's C interface: what cudarc calls, and nothing else. A call that is not here is not found when it is looked up.
//!
//! All work is done when it is submitted, so streams and events are only kept to see that they are used as they must be.
//!
//! Memory, modules and streams are the process's, as they are a device's. The rest is each thread's own, so tests can run side by side: which
//! context is current, the error that a broken kernel leaves until [`inspect::cudaSimReset`], findings, counters and the order of blocks.
#![expect(unsafe_code, reason = "the interface is C's: every function takes what the program gives it on trust")]

mod context;
pub(crate) mod inspect;
mod memory;
mod module;
mod state;
mod stream;

use std::ffi::c_char;

/// An error of the driver, by its number in `cuda.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    pub(crate) const INVALID_VALUE: Status = Status(1);
    pub(crate) const INVALID_DEVICE: Status = Status(101);
    pub(crate) const INVALID_CONTEXT: Status = Status(201);
    pub(crate) const NO_BINARY_FOR_GPU: Status = Status(209);
    pub(crate) const INVALID_PTX: Status = Status(218);
    pub(crate) const FILE_NOT_FOUND: Status = Status(301);
    pub(crate) const INVALID_HANDLE: Status = Status(400);
    pub(crate) const NOT_FOUND: Status = Status(500);
    pub(crate) const ILLEGAL_ADDRESS: Status = Status(700);
    pub(crate) const LAUNCH_OUT_OF_RESOURCES: Status = Status(701);
    pub(crate) const LAUNCH_TIMEOUT: Status = Status(702);
    pub(crate) const ASSERT: Status = Status(710);
    pub(crate) const MISALIGNED_ADDRESS: Status = Status(716);
    pub(crate) const LAUNCH_FAILED: Status = Status(719);
    pub(crate) const CAPTURE_UNSUPPORTED: Status = Status(900);
    pub(crate) const CAPTURE_INVALIDATED: Status = Status(901);
    pub(crate) const CAPTURE_ISOLATION: Status = Status(905);
    pub(crate) const CAPTURE_IMPLICIT: Status = Status(906);
    pub(crate) const CAPTURED_EVENT: Status = Status(907);
    pub(crate) const CAPTURE_WRONG_THREAD: Status = Status(908);

    /// As `cuda.h` calls it.
    fn name(self) -> &'static std::ffi::CStr {
        match self {
            Status(0) => c"CUDA_SUCCESS",
            Status::INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE",
            Status::INVALID_DEVICE => c"CUDA_ERROR_INVALID_DEVICE",
            Status::INVALID_CONTEXT => c"CUDA_ERROR_INVALID_CONTEXT",
            Status::NO_BINARY_FOR_GPU => c"CUDA_ERROR_NO_BINARY_FOR_GPU",
            Status::INVALID_PTX => c"CUDA_ERROR_INVALID_PTX",
            Status::FILE_NOT_FOUND => c"CUDA_ERROR_FILE_NOT_FOUND",
            Status::INVALID_HANDLE => c"CUDA_ERROR_INVALID_HANDLE",
            Status::NOT_FOUND => c"CUDA_ERROR_NOT_FOUND",
            Status::ILLEGAL_ADDRESS => c"CUDA_ERROR_ILLEGAL_ADDRESS",
            Status::LAUNCH_OUT_OF_RESOURCES => c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
            Status::LAUNCH_TIMEOUT => c"CUDA_ERROR_LAUNCH_TIMEOUT",
            Status::ASSERT => c"CUDA_ERROR_ASSERT",
            Status::MISALIGNED_ADDRESS => c"CUDA_ERROR_MISALIGNED_ADDRESS",
            Status::LAUNCH_FAILED => c"CUDA_ERROR_LAUNCH_FAILED",
            Status::CAPTURE_UNSUPPORTED => c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
            Status::CAPTURE_INVALIDATED => c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
            Status::CAPTURE_ISOLATION => c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
            Status::CAPTURE_IMPLICIT => c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
            Status::CAPTURED_EVENT => c"CUDA_ERROR_CAPTURED_EVENT",
            Status::CAPTURE_WRONG_THREAD => c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
            _ => c"CUDA_ERROR_UNKNOWN",
        }
    }
}

type Outcome = Result<(), Status>;

/// Defines exported functions: their bodies give an [`Outcome`], and the program gets its number.
macro_rules! exports {
    ($($(#[$attribute:meta])* fn $name:ident($($argument:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $ty),*) -> u32 {
            let call = || -> $crate::driver::Outcome { $body };
            call().map_or_else(|status| status.0, |()| 0)
        }
    )*};
}
use exports;

/// Writes a result where the program wants it.
///
/// # Safety
///
/// `place` is null, or a value can be written there.
unsafe fn put<T>(place: *mut T, value: T) -> Outcome {
    if place.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: the caller promises it.
    unsafe { place.write(value) };
    Ok(())
}

/// Writes a text and a NUL, as much of it as there is room for.
///
/// # Safety
///
/// `capacity` bytes can be written at `place`.
unsafe fn put_text(place: *mut c_char, capacity: usize, text: &str) {
    if place.is_null() || capacity == 0 {
        return;
    }
    let length = text.len().min(capacity - 1);
    // SAFETY: `length` and the NUL are not more than `capacity`.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), place.cast::<u8>(), length);
        place.add(length).write(0);
    }
}
