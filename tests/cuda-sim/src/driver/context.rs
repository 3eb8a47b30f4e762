//! Devices, contexts, and the names of errors.

use std::ffi::{c_char, c_int, c_uint};

use super::state::{machine, ready_outside_capture, session};
use super::{Status, exports, put, put_text};
use crate::exec::{DEFAULT_SHARED, MAX_THREADS};

/// The one context that there is.
const CONTEXT: usize = 0xc0de;
/// Bytes of device memory that the device says it has.
const TOTAL_MEMORY: usize = 16 << 30;
const NAME: &str = "cuda-sim (PTX interpreter)";

/// How much shared memory a block of a device may have.
pub(super) fn max_shared((major, _): (i32, i32)) -> usize {
    1024 * if major >= 9 { 227 } else { 163 }
}

/// A device's attribute by its number in `CUdevice_attribute`: that of an A100 or, with compute capability 9, of an H100.
fn attribute(number: c_int) -> c_int {
    let capability = session(|session| session.capability);
    let shared = max_shared(capability) as c_int;
    let multiprocessors = if capability.0 >= 9 { 132 } else { 108 };
    match number {
        1 => MAX_THREADS as c_int,    // MAX_THREADS_PER_BLOCK
        2 | 3 => 1024,                // MAX_BLOCK_DIM_X, Y
        4 => 64,                      // MAX_BLOCK_DIM_Z
        5 => c_int::MAX,              // MAX_GRID_DIM_X
        6 | 7 => 65535,               // MAX_GRID_DIM_Y, Z
        8 => DEFAULT_SHARED as c_int, // MAX_SHARED_MEMORY_PER_BLOCK
        9 => 65536,                   // TOTAL_CONSTANT_MEMORY
        10 => 32,                     // WARP_SIZE
        12 => 65536,                  // MAX_REGISTERS_PER_BLOCK
        13 => 1_410_000,              // CLOCK_RATE, in kHz
        16 => multiprocessors,        // MULTIPROCESSOR_COUNT
        31 => 1,                      // CONCURRENT_KERNELS
        39 => 2048,                   // MAX_THREADS_PER_MULTIPROCESSOR
        41 => 1,                      // UNIFIED_ADDRESSING
        75 => capability.0,           // COMPUTE_CAPABILITY_MAJOR
        76 => capability.1,           // COMPUTE_CAPABILITY_MINOR
        81 => shared + 1024,          // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        82 => 65536,                  // MAX_REGISTERS_PER_MULTIPROCESSOR
        97 => shared,                 // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        115 => 1,                     // MEMORY_POOLS_SUPPORTED
        _ => 0,
    }
}

fn only_device(device: c_int) -> Result<(), Status> {
    if device == 0 { Ok(()) } else { Err(Status::INVALID_DEVICE) }
}

exports! {
    fn cuInit(_flags: c_uint) {
        Ok(())
    }

    fn cuDriverGetVersion(version: *mut c_int) {
        unsafe { put(version, 12_000) }
    }

    fn cuDeviceGetCount(count: *mut c_int) {
        unsafe { put(count, 1) }
    }

    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        only_device(ordinal)?;
        unsafe { put(device, 0) }
    }

    fn cuDeviceGetName(name: *mut c_char, capacity: c_int, device: c_int) {
        only_device(device)?;
        unsafe { put_text(name, capacity.max(0) as usize, NAME) };
        Ok(())
    }

    fn cuDeviceGetAttribute(value: *mut c_int, number: c_int, device: c_int) {
        only_device(device)?;
        unsafe { put(value, attribute(number)) }
    }

    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) {
        only_device(device)?;
        unsafe { put(uuid, *b"cuda-sim device0") }
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) {
        only_device(device)?;
        unsafe { put(bytes, TOTAL_MEMORY) }
    }

    fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) {
        only_device(device)?;
        unsafe { put(context, CONTEXT) }
    }

    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        only_device(device)
    }

    fn cuCtxGetCurrent(context: *mut usize) {
        unsafe { put(context, session(|session| session.context)) }
    }

    fn cuCtxSetCurrent(context: usize) {
        if context != 0 && context != CONTEXT {
            return Err(Status::INVALID_CONTEXT);
        }
        session(|session| session.context = context);
        Ok(())
    }

    fn cuCtxSynchronize() {
        ready_outside_capture("cuCtxSynchronize")?;
        session(|session| session.activity.waits += 1);
        Ok(())
    }

    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        unsafe {
            put(least, 0)?;
            put(greatest, 0)
        }
    }

    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let used = machine(|machine| machine.device.memory.used());
        unsafe {
            put(free, TOTAL_MEMORY.saturating_sub(used))?;
            put(total, TOTAL_MEMORY)
        }
    }

    fn cuGetErrorName(status: u32, name: *mut *const c_char) {
        unsafe { put(name, Status(status).name().as_ptr()) }
    }

    fn cuGetErrorString(status: u32, text: *mut *const c_char) {
        unsafe { put(text, Status(status).name().as_ptr()) }
    }

    fn cuProfilerStart() {
        Ok(())
    }

    fn cuProfilerStop() {
        Ok(())
    }

}
