//! Work that a stream is given, to be done at once or kept in a graph.

use std::sync::Arc;

use crate::checks::{Check, Finding};
use crate::counters::{Activity, Counters};
use crate::device::{Device, Geometry};
use crate::exec::Order;
use crate::ptx::instruction::Kernel;

/// An address of the host. The program promises that it stays good until the work is done, for work in a graph as long as that is launched.
#[derive(Clone, Copy)]
pub(crate) struct HostAddress(pub(crate) usize);

/// One piece of work.
#[derive(Clone)]
pub(crate) enum Work {
    Kernel { kernel: Arc<Kernel>, geometry: Geometry, max_dynamic_shared: usize, params: Vec<u8> },
    ToDevice { to: u64, from: HostAddress, bytes: usize },
    ToHost { to: HostAddress, from: u64, bytes: usize },
    Move { to: u64, from: u64, bytes: usize },
    Fill { to: u64, pattern: Vec<u8>, count: usize },
}

/// A stream that is captured: its work is kept instead of done.
pub(crate) struct Capture {
    /// No other capture has it.
    pub(crate) id: u64,
    pub(crate) thread: std::thread::ThreadId,
    /// Whether calls that could interfere are let through (`CU_STREAM_CAPTURE_MODE_RELAXED`).
    pub(crate) relaxed: bool,
    /// Something was called that must not be: there will be no graph.
    pub(crate) broken: bool,
    pub(crate) work: Vec<Work>,
}

impl Work {
    /// Does it. The counters of a kernel are given back with its name.
    ///
    /// # Errors
    ///
    /// What a kernel did wrong, or a copy that is out of bounds.
    pub(crate) fn run(
        &self,
        device: &mut Device,
        order: Order,
        activity: &mut Activity,
        count: &mut dyn FnMut(&str, Counters),
    ) -> Result<(), Finding> {
        let bounds = |outcome: Result<(), String>| outcome.map_err(|message| Finding::new(Check::Bounds, message));
        match self {
            Work::Kernel { kernel, geometry, max_dynamic_shared, params } => {
                let mut counters = Counters::default();
                let outcome = device.run(kernel, *geometry, *max_dynamic_shared, params, order, &mut counters);
                activity.kernels += 1;
                count(&kernel.name, counters);
                outcome
            }
            Work::ToDevice { to, from, bytes } => {
                activity.copies_to_device += 1;
                activity.bytes_to_device += *bytes as u64;
                bounds(device.memory.write(*to, from.bytes(*bytes)))
            }
            Work::ToHost { to, from, bytes } => {
                activity.copies_to_host += 1;
                activity.bytes_to_host += *bytes as u64;
                bounds(device.memory.read(*from, to.bytes_mut(*bytes)))
            }
            Work::Move { to, from, bytes } => bounds(device.memory.copy(*to, *from, *bytes)),
            Work::Fill { to, pattern, count } => {
                let fill = |place: &mut [u8]| {
                    place.chunks_exact_mut(pattern.len()).for_each(|place| place.copy_from_slice(pattern));
                };
                bounds(device.memory.write_with(*to, pattern.len() * count, fill))
            }
        }
    }
}

#[expect(unsafe_code, reason = "the host's side of a copy is an address that the program gave")]
impl HostAddress {
    fn bytes<'a>(self, bytes: usize) -> &'a [u8] {
        if bytes == 0 {
            return &[];
        }
        // SAFETY: whoever calls the driver promises that so many bytes can be read there until the copy is done, which is before this returns.
        unsafe { std::slice::from_raw_parts(self.0 as *const u8, bytes) }
    }

    fn bytes_mut<'a>(self, bytes: usize) -> &'a mut [u8] {
        if bytes == 0 {
            return &mut [];
        }
        // SAFETY: the same, for writing.
        unsafe { std::slice::from_raw_parts_mut(self.0 as *mut u8, bytes) }
    }
}
