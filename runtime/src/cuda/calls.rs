//! What a card is told to do, as a list; and the same list told to it at once, as a graph.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::sys::{CUevent_flags, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, DriverError, LaunchConfig, PushKernelArg, result};

use super::card::{Card, failed};
use super::kernels::Kernels;
use crate::Error;

/// Lists whose graphs are kept: a few sizes of batches, and what takes turns, as the batches of an accumulated step do.
const KEPT: usize = 16;

/// Calls in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// The arguments of all kernels. One of 4 bytes is the low half of its word.
    words: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Call {
    /// Zeros.
    Clear { address: u64, bytes: usize },
    /// A kernel, by its number.
    Launch { kernel: usize, grid: [u32; 3], threads: u32, args: Range<usize> },
}

impl Calls {
    pub(super) fn clear(&mut self) {
        self.calls.clear();
        self.words.clear();
    }

    /// Zeros for so many bytes from an address on.
    pub(super) fn zeros(&mut self, address: u64, bytes: usize) {
        self.calls.push(Call::Clear { address, bytes });
    }

    /// A kernel with arguments.
    pub(super) fn launch(&mut self, kernel: usize, grid: [u32; 3], threads: u32, args: &[Word]) {
        let first = self.words.len();
        self.words.extend(args.iter().map(|arg| arg.bits()));
        self.calls.push(Call::Launch { kernel, grid, threads, args: first..self.words.len() });
    }

    /// How many kernels are launched.
    pub(super) fn kernels(&self) -> u64 {
        self.calls.iter().filter(|call| matches!(call, Call::Launch { .. })).count() as u64
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word {
    /// An address on the card.
    Address(u64),
    U64(u64),
    U32(u32),
    F32(f32),
}

impl Word {
    pub(super) fn bytes(self) -> usize {
        match self {
            Word::Address(_) | Word::U64(_) => 8,
            Word::U32(_) | Word::F32(_) => 4,
        }
    }

    fn bits(self) -> u64 {
        match self {
            Word::Address(word) | Word::U64(word) => word,
            // Where the first byte of a word is its highest, its first half is what a kernel reads.
            Word::U32(word) if cfg!(target_endian = "big") => u64::from(word) << 32,
            Word::U32(word) => word.into(),
            Word::F32(number) => Word::U32(number.to_bits()).bits(),
        }
    }
}

/// What tells lists to a card: each the first time call by call, while it is captured, and then as a graph.
#[derive(Default)]
pub(super) struct Player {
    graphs: Vec<(Calls, Graph)>,
    /// Whether nothing is captured, and each list is told call by call.
    pub(super) call_by_call: bool,
    /// Kernels by their numbers and the seconds that each took, when they are timed: each list is told call by call then, too.
    pub(super) times: Option<Vec<(usize, f64)>>,
    pub(super) played: Played,
}

/// What a card was told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Graphs launched.
    pub graphs: u64,
    /// Graphs captured.
    pub captured: u64,
    /// Kernels launched, those of graphs too.
    pub kernels: u64,
}

/// A captured list.
struct Graph(CudaGraph);

// SAFETY: a graph may be used by any thread, by one at a time; it is used through the `&mut` of its player alone.
unsafe impl Send for Graph {}
// SAFETY: as above; nothing is done through a `&`.
unsafe impl Sync for Graph {}

impl Player {
    /// Tells a list to the card. It comes back before the card is done.
    pub(super) fn play(&mut self, card: &Arc<Card>, kernels: &Kernels, calls: &Calls) -> Result<(), Error> {
        let of = |error| failed("run the kernels", error);
        self.played.kernels += calls.kernels();
        if let Some(times) = &mut self.times {
            times.extend(time(card, kernels, calls).map_err(of)?);
            return Ok(());
        }
        if self.call_by_call || calls.calls.len() < 2 {
            return tell(card, kernels, calls).map_err(of);
        }
        let at = match self.graphs.iter().position(|(known, _)| known == calls) {
            Some(at) => at,
            None => {
                let graph = capture(card, kernels, calls).map_err(of)?;
                if self.graphs.len() == KEPT {
                    self.graphs.remove(0);
                }
                self.graphs.push((calls.clone(), Graph(graph)));
                self.played.captured += 1;
                self.graphs.len() - 1
            }
        };
        self.played.graphs += 1;
        self.graphs[at].1.0.launch().map_err(of)
    }
}

/// Captures a list: the card does nothing of it yet.
fn capture(card: &Arc<Card>, kernels: &Kernels, calls: &Calls) -> Result<CudaGraph, DriverError> {
    let stream = &card.stream;
    // Other threads may go on with what cannot be captured.
    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
    let told = tell(card, kernels, calls);
    // Ended also if something went wrong in between, which is what is said then.
    let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    let graph = stream.end_capture(flags);
    told?;
    graph?.ok_or(DriverError(cudarc::driver::sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED))
}

/// Tells a list call by call.
fn tell(card: &Arc<Card>, kernels: &Kernels, calls: &Calls) -> Result<(), DriverError> {
    calls.calls.iter().try_for_each(|call| tell_call(card, kernels, calls, call))
}

fn tell_call(card: &Arc<Card>, kernels: &Kernels, calls: &Calls, call: &Call) -> Result<(), DriverError> {
    let stream = &card.stream;
    match call {
        Call::Clear { address, bytes } => {
            card.context.bind_to_thread()?;
            // SAFETY: the bytes are part of memory that its owner keeps at this address.
            unsafe { result::memset_d8_async(*address, 0, *bytes, stream.cu_stream()) }
        }
        Call::Launch { kernel, grid: [x, y, z], threads, args } => {
            let mut launch = stream.launch_builder(&kernels.kernel(*kernel).function);
            calls.words[args.clone()].iter().for_each(|word| {
                launch.arg(word);
            });
            let config = LaunchConfig { grid_dim: (*x, *y, *z), block_dim: (*threads, 1, 1), shared_mem_bytes: 0 };
            // SAFETY: `Kernels::find` has checked that the kernel takes as many arguments of these sizes. That it stays in the memory
            // it is given is the compiler's to see to, and its tests'.
            unsafe { launch.launch(config) }.map(drop)
        }
    }
}

/// Tells a list call by call, and waits; gives each kernel, by its number, and the seconds between an event before and one behind it.
fn time(card: &Arc<Card>, kernels: &Kernels, calls: &Calls) -> Result<Vec<(usize, f64)>, DriverError> {
    let event = || card.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
    let mut events = vec![event()?];
    for call in &calls.calls {
        tell_call(card, kernels, calls, call)?;
        events.push(event()?);
    }
    let mut times = Vec::new();
    for (call, around) in calls.calls.iter().zip(events.windows(2)) {
        if let Call::Launch { kernel, .. } = call {
            times.push((*kernel, f64::from(around[0].elapsed_ms(&around[1])?) / 1e3));
        }
    }
    Ok(times)
}
