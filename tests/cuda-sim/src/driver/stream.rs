//! Streams, events, capture and graphs.

use std::ffi::{c_int, c_uint};
use std::sync::Arc;
use std::time::Instant;

use super::state::{Event, Machine, Stream, capture_error, machine, ready, run, session};
use super::{Status, exports, put};
use crate::graph::{Capture, Work};

/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: c_uint = 1;
/// `CU_STREAM_CAPTURE_MODE_RELAXED`. Those below are treated alike: only the calls of the thread that captures are looked at.
const RELAXED: c_uint = 2;

fn create(place: *mut usize, flags: c_uint) -> Result<(), Status> {
    ready()?;
    let stream = machine(|machine| {
        let handle = machine.handle();
        machine.streams.insert(handle, Stream { blocking: flags & NON_BLOCKING == 0, capture: None });
        handle
    });
    // SAFETY: the program gives a place for the handle.
    unsafe { put(place, stream) }
}

/// Breaks the capture of a stream that is waited for, which cannot be.
fn wait(stream: usize) -> Result<(), Status> {
    ready()?;
    let captured = machine(|machine| machine.capture(stream).map(|capture| capture.broken = true).is_some());
    if captured {
        return Err(capture_error(Status::CAPTURE_UNSUPPORTED, "a stream is waited for while it is captured"));
    }
    session(|session| session.activity.waits += 1);
    Ok(())
}

fn event_time(machine: &Machine, event: usize) -> Result<Instant, Status> {
    machine.events.get(&event).and_then(|event| event.recorded).ok_or(Status::INVALID_HANDLE)
}

/// An event outside of a capture: what was recorded has happened.
fn passed(event: usize) -> Result<(), Status> {
    ready()?;
    machine(|machine| match machine.events.get(&event) {
        None => Err(Status::INVALID_HANDLE),
        Some(Event { captured: Some(_), .. }) => Err(Status::CAPTURED_EVENT),
        Some(_) => Ok(()),
    })
}

exports! {
    fn cuStreamCreate(stream: *mut usize, flags: c_uint) {
        create(stream, flags)
    }

    fn cuStreamCreateWithPriority(stream: *mut usize, flags: c_uint, _priority: c_int) {
        create(stream, flags)
    }

    fn cuStreamDestroy_v2(stream: usize) {
        machine(|machine| machine.streams.remove(&stream)).map(drop).ok_or(Status::INVALID_HANDLE)
    }

    fn cuStreamSynchronize(stream: usize) {
        wait(stream)
    }

    fn cuStreamWaitEvent(stream: usize, event: usize, _flags: c_uint) {
        ready()?;
        machine(|machine| {
            let event = *machine.events.get(&event).ok_or(Status::INVALID_HANDLE)?;
            match machine.capture(stream) {
                Some(capture) if event.recorded.is_some() && event.captured != Some(capture.id) => {
                    capture.broken = true;
                    Err(capture_error(Status::CAPTURE_ISOLATION, "a captured stream waits for work that is not captured with it"))
                }
                None if event.captured.is_some() => {
                    Err(capture_error(Status::CAPTURE_ISOLATION, "a stream waits for work of another that is captured"))
                }
                _ => Ok(()),
            }
        })
    }

    fn cuEventCreate(event: *mut usize, _flags: c_uint) {
        ready()?;
        let handle = machine(|machine| {
            let handle = machine.handle();
            machine.events.insert(handle, Event::default());
            handle
        });
        unsafe { put(event, handle) }
    }

    fn cuEventDestroy_v2(event: usize) {
        machine(|machine| machine.events.remove(&event)).map(drop).ok_or(Status::INVALID_HANDLE)
    }

    fn cuEventRecord(event: usize, stream: usize) {
        ready()?;
        machine(|machine| {
            let captured = machine.capture(stream).map(|capture| capture.id);
            let event = machine.events.get_mut(&event).ok_or(Status::INVALID_HANDLE)?;
            *event = Event { recorded: Some(Instant::now()), captured };
            Ok(())
        })
    }

    fn cuEventQuery(event: usize) {
        passed(event)
    }

    fn cuEventSynchronize(event: usize) {
        passed(event)?;
        session(|session| session.activity.waits += 1);
        Ok(())
    }

    fn cuEventElapsedTime(milliseconds: *mut f32, start: usize, end: usize) {
        let (start, end) = machine(|machine| Ok((event_time(machine, start)?, event_time(machine, end)?)))?;
        unsafe { put(milliseconds, end.saturating_duration_since(start).as_secs_f32() * 1e3) }
    }

    fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: usize, end: usize) {
        let (start, end) = machine(|machine| Ok((event_time(machine, start)?, event_time(machine, end)?)))?;
        unsafe { put(milliseconds, end.saturating_duration_since(start).as_secs_f32() * 1e3) }
    }

    fn cuStreamBeginCapture_v2(stream: usize, mode: c_uint) {
        ready()?;
        machine(|machine| {
            let id = machine.handle() as u64;
            let Some(found) = machine.streams.get_mut(&stream) else {
                return Err(capture_error(Status::CAPTURE_UNSUPPORTED, "the default stream cannot be captured"));
            };
            if found.capture.is_some() {
                return Err(Status::INVALID_VALUE);
            }
            let thread = std::thread::current().id();
            found.capture = Some(Capture { id, thread, relaxed: mode == RELAXED, broken: false, work: Vec::new() });
            Ok(())
        })
    }

    fn cuStreamIsCapturing(stream: usize, status: *mut c_uint) {
        let found = machine(|machine| match machine.capture(stream) {
            None => 0,
            Some(capture) if capture.broken => 2,
            Some(_) => 1,
        });
        unsafe { put(status, found) }
    }

    fn cuStreamEndCapture(stream: usize, graph: *mut usize) {
        unsafe { put(graph, 0)? };
        let handle = machine(|machine| {
            let found = machine.streams.get_mut(&stream).ok_or(Status::INVALID_VALUE)?;
            let capture = found.capture.take().ok_or(Status::INVALID_VALUE)?;
            for event in machine.events.values_mut().filter(|event| event.captured == Some(capture.id)) {
                *event = Event::default();
            }
            if !capture.relaxed && capture.thread != std::thread::current().id() {
                return Err(capture_error(Status::CAPTURE_WRONG_THREAD, "a capture is ended by another thread than began it"));
            }
            if capture.broken {
                return Err(Status::CAPTURE_INVALIDATED);
            }
            let handle = machine.handle();
            machine.graphs.insert(handle, Arc::new(capture.work));
            Ok(handle)
        })?;
        unsafe { put(graph, handle) }
    }

    fn cuGraphInstantiateWithFlags(executable: *mut usize, graph: usize, _flags: u64) {
        let handle = machine(|machine| {
            let work = machine.graphs.get(&graph).ok_or(Status::INVALID_HANDLE)?.clone();
            let handle = machine.handle();
            machine.graphs.insert(handle, work);
            Ok(handle)
        })?;
        unsafe { put(executable, handle) }
    }

    fn cuGraphUpload(graph: usize, _stream: usize) {
        machine(|machine| machine.graphs.contains_key(&graph).then_some(()).ok_or(Status::INVALID_HANDLE))
    }

    fn cuGraphLaunch(graph: usize, stream: usize) {
        ready()?;
        session(|session| session.activity.graph_launches += 1);
        machine(|machine| {
            let work: Arc<Vec<Work>> = machine.graphs.get(&graph).ok_or(Status::INVALID_HANDLE)?.clone();
            if let Some(capture) = machine.capture(stream) {
                capture.broken = true;
                return Err(capture_error(Status::CAPTURE_UNSUPPORTED, "a graph is launched into a stream that is captured"));
            }
            work.iter().try_for_each(|work| run(machine, work))
        })
    }

    fn cuGraphExecDestroy(graph: usize) {
        machine(|machine| machine.graphs.remove(&graph)).map(drop).ok_or(Status::INVALID_HANDLE)
    }

    fn cuGraphDestroy(graph: usize) {
        machine(|machine| machine.graphs.remove(&graph)).map(drop).ok_or(Status::INVALID_HANDLE)
    }
}
