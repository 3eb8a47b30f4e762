//! Device memory, pinned memory, copies and fills.

use std::ffi::{c_uint, c_void};

use super::state::{machine, ready, ready_outside_capture, session, submit};
use super::{Outcome, Status, exports, put};
use crate::graph::{HostAddress, Work};

fn allocate(place: *mut u64, bytes: usize) -> Outcome {
    if bytes == 0 {
        return Err(Status::INVALID_VALUE);
    }
    session(|session| session.activity.allocations += 1);
    let address = machine(|machine| machine.device.memory.allocate(bytes));
    // SAFETY: the program gives a place for the address.
    unsafe { put(place, address) }
}

fn free(address: u64) -> Outcome {
    if address == 0 || machine(|machine| machine.device.memory.free(address)) {
        Ok(())
    } else {
        Err(Status::INVALID_VALUE)
    }
}

fn to_device(to: u64, from: *const c_void, bytes: usize) -> Work {
    Work::ToDevice { to, from: HostAddress(from as usize), bytes }
}

fn to_host(to: *mut c_void, from: u64, bytes: usize) -> Work {
    Work::ToHost { to: HostAddress(to as usize), from, bytes }
}

/// Copies and fills that the host waits for.
fn submit_now(call: &str, work: Work) -> Outcome {
    ready_outside_capture(call)?;
    submit(0, work)
}

exports! {
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        ready_outside_capture("cuMemAlloc")?;
        allocate(address, bytes)
    }

    /// Memory of a captured step must be there before: a graph that allocates is not supported.
    fn cuMemAllocAsync(address: *mut u64, bytes: usize, _stream: usize) {
        ready_outside_capture("cuMemAllocAsync")?;
        allocate(address, bytes)
    }

    fn cuMemFree_v2(address: u64) {
        ready_outside_capture("cuMemFree")?;
        free(address)
    }

    fn cuMemFreeAsync(address: u64, _stream: usize) {
        ready_outside_capture("cuMemFreeAsync")?;
        free(address)
    }

    fn cuMemHostAlloc(place: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        ready()?;
        let mut memory = vec![0u64; bytes.div_ceil(8)];
        let address = memory.as_mut_ptr();
        machine(|machine| machine.host.insert(address as usize, memory));
        unsafe { put(place, address.cast()) }
    }

    fn cuMemFreeHost(place: *mut c_void) {
        machine(|machine| machine.host.remove(&(place as usize))).map(drop).ok_or(Status::INVALID_VALUE)
    }

    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) {
        submit_now("cuMemcpyHtoD", to_device(to, from, bytes))
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: usize) {
        submit(stream, to_device(to, from, bytes))
    }

    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) {
        submit_now("cuMemcpyDtoH", to_host(to, from, bytes))
    }

    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: usize) {
        submit(stream, to_host(to, from, bytes))
    }

    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) {
        submit_now("cuMemcpyDtoD", Work::Move { to, from, bytes })
    }

    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) {
        submit(stream, Work::Move { to, from, bytes })
    }

    fn cuMemsetD8_v2(to: u64, value: u8, count: usize) {
        submit_now("cuMemsetD8", Work::Fill { to, pattern: vec![value], count })
    }

    fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: usize) {
        submit(stream, Work::Fill { to, pattern: vec![value], count })
    }

    fn cuMemsetD32Async(to: u64, value: u32, count: usize, stream: usize) {
        submit(stream, Work::Fill { to, pattern: value.to_le_bytes().into(), count })
    }
}
