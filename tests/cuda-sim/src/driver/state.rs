//! What the driver keeps: for the process, and for each thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Instant;

use super::Status;
use crate::checks::{Check, Finding};
use crate::counters::{Activity, Counters};
use crate::device::{Device, Module};
use crate::exec::{DEFAULT_SHARED, Order};
use crate::graph::{Capture, Work};
use crate::ptx::instruction::Kernel;

/// A kernel that was looked up.
pub(crate) struct Function {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) module: usize,
    /// How much dynamic shared memory it has leave for.
    pub(crate) max_dynamic_shared: usize,
}

#[derive(Default)]
pub(crate) struct Stream {
    /// Work of the default stream waits for it, and the other way round.
    pub(crate) blocking: bool,
    pub(crate) capture: Option<Capture>,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Event {
    pub(crate) recorded: Option<Instant>,
    /// In the capture with this number.
    pub(crate) captured: Option<u64>,
}

/// What all threads share.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) device: Device,
    pub(crate) modules: HashMap<usize, Module>,
    pub(crate) functions: HashMap<usize, Function>,
    pub(crate) streams: HashMap<usize, Stream>,
    pub(crate) events: HashMap<usize, Event>,
    pub(crate) graphs: HashMap<usize, Arc<Vec<Work>>>,
    pub(crate) host: HashMap<usize, Vec<u64>>,
    handles: usize,
}

static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(Mutex::default);

/// Calls `f` with what all threads share.
pub(crate) fn machine<T>(f: impl FnOnce(&mut Machine) -> T) -> T {
    f(&mut MACHINE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Machine {
    /// A handle that no other thing has; those of the default streams are less.
    pub(crate) fn handle(&mut self) -> usize {
        self.handles += 1;
        0x1000 + 16 * self.handles
    }

    pub(crate) fn function(&mut self, kernel: Arc<Kernel>, module: usize) -> usize {
        let handle = self.handle();
        let max_dynamic_shared = DEFAULT_SHARED.saturating_sub(kernel.shared_bytes);
        self.functions.insert(handle, Function { kernel, module, max_dynamic_shared });
        handle
    }

    /// The capture of this stream.
    pub(crate) fn capture(&mut self, stream: usize) -> Option<&mut Capture> {
        self.streams.get_mut(&stream)?.capture.as_mut()
    }

    /// Breaks what this thread captures, if a call like this one must not be made meanwhile.
    fn break_captures(&mut self) -> bool {
        let thread = std::thread::current().id();
        let mut found = false;
        for capture in self.streams.values_mut().filter_map(|stream| stream.capture.as_mut()) {
            if capture.thread == thread && !capture.relaxed {
                capture.broken = true;
                found = true;
            }
        }
        found
    }
}

/// What is each thread's own.
pub(crate) struct Session {
    pub(crate) context: usize,
    /// Left by a kernel that broke a rule: nothing works any more.
    pub(crate) error: Option<Status>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) counters: BTreeMap<String, Counters>,
    pub(crate) activity: Activity,
    pub(crate) order: Order,
    /// Major and minor.
    pub(crate) capability: (i32, i32),
    pub(crate) quiet: bool,
}

impl Default for Session {
    fn default() -> Session {
        Session {
            context: 0,
            error: None,
            findings: Vec::new(),
            counters: BTreeMap::new(),
            activity: Activity::default(),
            order: Order::Forward,
            capability: (8, 0),
            quiet: false,
        }
    }
}

thread_local! {
    /// Never dropped: what a thread drops when it ends may still call the driver.
    static SESSION: &'static RefCell<Session> = Box::leak(Box::default());
}

/// Calls `f` with what is this thread's own.
pub(crate) fn session<T>(f: impl FnOnce(&mut Session) -> T) -> T {
    SESSION.with(|session| f(&mut session.borrow_mut()))
}

impl Session {
    /// Keeps a finding, and tells it.
    pub(crate) fn note(&mut self, finding: Finding) {
        if !self.quiet {
            eprintln!("cuda-sim: {finding}");
        }
        self.findings.push(finding);
    }

    /// The same with a finding of a kernel or a module, and the error that the program gets. That of a kernel stays.
    pub(crate) fn found(&mut self, finding: Finding) -> Status {
        let (status, stays) = match finding.check {
            Check::Launch => (Status::INVALID_VALUE, false),
            Check::Module => (Status::INVALID_PTX, false),
            Check::Bounds => (Status::ILLEGAL_ADDRESS, true),
            Check::Alignment => (Status::MISALIGNED_ADDRESS, true),
            Check::Trap => (Status::ASSERT, true),
            Check::Endless => (Status::LAUNCH_TIMEOUT, true),
            _ => (Status::LAUNCH_FAILED, true),
        };
        self.note(finding);
        if stays {
            self.error = Some(status);
        }
        status
    }
}

/// A finding about capture, with the error that the program gets.
pub(crate) fn capture_error(status: Status, message: impl Into<String>) -> Status {
    session(|session| session.note(Finding::new(Check::Capture, message)));
    status
}

/// There is a context, and no kernel broke a rule.
pub(crate) fn ready() -> Result<(), Status> {
    session(|session| match session.error {
        Some(status) => Err(status),
        None if session.context == 0 => Err(Status::INVALID_CONTEXT),
        None => Ok(()),
    })
}

/// The same for a call that must not be made while this thread captures a stream.
pub(crate) fn ready_outside_capture(call: &str) -> Result<(), Status> {
    ready()?;
    if machine(Machine::break_captures) {
        let message = format!("`{call}` must not be called while a stream is captured");
        return Err(capture_error(Status::CAPTURE_UNSUPPORTED, message));
    }
    Ok(())
}

/// Does work, or keeps it if the stream is captured.
pub(crate) fn submit(stream: usize, work: Work) -> Result<(), Status> {
    ready()?;
    machine(|machine| {
        if stream > 2 && !machine.streams.contains_key(&stream) {
            return Err(Status::INVALID_HANDLE);
        }
        if let Some(capture) = machine.capture(stream) {
            capture.work.push(work);
            return Ok(());
        }
        let thread = std::thread::current().id();
        // The default stream is 0, or 1 by its other name; work there waits for blocking streams.
        let implicit = stream <= 1
            && machine.streams.values_mut().any(|stream| {
                let own = stream.capture.as_mut().filter(|capture| stream.blocking && capture.thread == thread);
                own.map(|capture| capture.broken = true).is_some()
            });
        if implicit {
            let message = "work for the default stream would wait for a stream that is captured";
            return Err(capture_error(Status::CAPTURE_IMPLICIT, message));
        }
        run(machine, &work)
    })
}

/// Does work, and counts it.
pub(crate) fn run(machine: &mut Machine, work: &Work) -> Result<(), Status> {
    session(|session| {
        let Session { activity, counters, order, .. } = session;
        let mut count = |name: &str, counts: Counters| match counters.get_mut(name) {
            Some(total) => *total += counts,
            None => {
                counters.insert(name.into(), counts);
            }
        };
        work.run(&mut machine.device, *order, activity, &mut count).map_err(|finding| match work {
            Work::Kernel { .. } => session.found(finding),
            // A copy that cannot be made harms nothing else.
            _ => {
                session.note(finding);
                Status::INVALID_VALUE
            }
        })
    })
}
