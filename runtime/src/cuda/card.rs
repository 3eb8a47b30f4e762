//! A graphics card: whether there is one that can be used, and memory on it.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, ValidAsZeroBits};

use crate::Error;
use crate::error::DeviceProblem;

/// The oldest CUDA whose driver is used: its functions are those that cudarc calls.
const DRIVER: i32 = 12_000;

/// The compute capability from which on a card has what kernels use: products of tf32 and bf16, copies that do not wait.
const CAPABILITY: (u32, u32) = (8, 0);

/// How many cards the driver shows.
///
/// # Errors
///
/// [`DeviceProblem::NoDriver`], [`DeviceProblem::OldDriver`], [`DeviceProblem::Driver`].
pub fn count() -> Result<usize, Error> {
    // cudarc's calls panic without the library, and so does printing their errors: nothing is called before this.
    // SAFETY: it loads and unloads the driver's library.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Device(DeviceProblem::NoDriver));
    }
    let mut version = 0;
    // SAFETY: it writes one number, and may be called before anything else. Every driver has it.
    let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    asked.map_err(|error| failed("say its version", error))?;
    if version < DRIVER {
        let version = version.unsigned_abs();
        return Err(Error::Device(DeviceProblem::OldDriver { found: (version / 1000, version % 1000 / 10) }));
    }
    match CudaContext::device_count() {
        Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        // A library to link with, which a toolkit has where there is no driver.
        Err(DriverError(CUresult::CUDA_ERROR_STUB_LIBRARY)) => Err(Error::Device(DeviceProblem::NoDriver)),
        Err(error) => Err(failed("begin", error)),
    }
}

/// What the driver says of a failure.
pub(crate) fn failed(what: &'static str, error: DriverError) -> Error {
    let text = |text: Result<&std::ffi::CStr, DriverError>| text.map(|text| text.to_string_lossy().into_owned());
    let problem = match (text(error.error_name()), text(error.error_string())) {
        (Ok(name), Ok(text)) => format!("{name}, {text}"),
        _ => format!("the driver's error {}", error.0 as u32),
    };
    Error::Device(DeviceProblem::Driver { what, problem })
}

/// A card, opened, and the one order in which it works for us.
#[derive(Debug)]
pub(crate) struct Card {
    name: String,
    /// Its compute capability, `80` for 8.0.
    arch: u32,
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
}

impl Card {
    /// Opens a card.
    ///
    /// # Errors
    ///
    /// As of [`count`], and [`DeviceProblem::NoDevice`], [`DeviceProblem::OldDevice`].
    pub(crate) fn open(number: usize) -> Result<Arc<Card>, Error> {
        let count = count()?;
        if number >= count {
            return Err(Error::Device(DeviceProblem::NoDevice { number, count }));
        }
        let of = |error| failed("begin", error);
        let context = CudaContext::new(number).map_err(of)?;
        let (major, minor) = context.compute_capability().map_err(of)?;
        let (name, found) = (context.name().map_err(of)?, (major.unsigned_abs(), minor.unsigned_abs()));
        if found < CAPABILITY {
            return Err(Error::Device(DeviceProblem::OldDevice { number, name, found }));
        }
        // SAFETY: all memory is used in the order of one stream, so that nothing is to be waited for. (Events of other memory would be a
        // part of what is captured, and end it.)
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(of)?;
        Ok(Arc::new(Card { name, arch: 10 * found.0 + found.1, context, stream }))
    }

    /// What it calls itself.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its compute capability, `80` for 8.0.
    pub(crate) fn arch(&self) -> u32 {
        self.arch
    }

    /// Bytes of its memory that are free.
    pub(crate) fn free(&self) -> usize {
        self.context.mem_get_info().map_or(0, |(free, _)| free)
    }

    /// Waits until it has done all that it was given.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        self.stream.synchronize().map_err(|error| failed("run the kernels", error))
    }
}

/// Elements on a card.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    slice: CudaSlice<T>,
    len: usize,
    card: Arc<Card>,
}

/// What a buffer is of: numbers, which any bits are.
pub(crate) trait Number: DeviceRepr + ValidAsZeroBits + Copy + Default {}

impl<T: DeviceRepr + ValidAsZeroBits + Copy + Default> Number for T {}

impl<T: Number> Buffer<T> {
    /// So many of any content; `what` they are for.
    pub(crate) fn new(card: &Arc<Card>, len: usize, what: impl FnOnce() -> String) -> Result<Buffer<T>, Error> {
        // The driver gives no memory of no bytes.
        // SAFETY: any bits are numbers, and kernels write what they read.
        let slice = unsafe { card.stream.alloc(len.max(1)) }.map_err(|error| match error {
            DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                Error::Device(DeviceProblem::Memory { what: what(), wanted: len * size_of::<T>(), free: card.free() })
            }
            error => failed("give memory", error),
        })?;
        Ok(Buffer { slice, len, card: card.clone() })
    }

    /// The card that it is on.
    pub(crate) fn card(&self) -> &Arc<Card> {
        &self.card
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the first one is, as kernels are told. It stays there.
    pub(crate) fn address(&self) -> u64 {
        self.slice.device_ptr(&self.card.stream).0
    }

    /// Makes all of them 0.
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        self.card.stream.memset_zeros(&mut self.slice).map_err(|error| failed("be written to", error))
    }

    /// Writes the first elements.
    pub(crate) fn write(&mut self, from: &[T]) -> Result<(), Error> {
        let to = &mut self.slice.slice_mut(..from.len());
        if from.is_empty() {
            Ok(())
        } else {
            self.card.stream.memcpy_htod(from, to).map_err(|error| failed("be written to", error))
        }
    }

    /// Reads some elements, when the card has done all that it was given.
    pub(crate) fn read(&self, from: usize, to: &mut [T]) -> Result<(), Error> {
        let of = |error| failed("run the kernels", error);
        if !to.is_empty() {
            self.card.stream.memcpy_dtoh(&self.slice.slice(from..from + to.len()), to).map_err(of)?;
        }
        self.card.wait()
    }
}

/// Memory of any content that is made anew when more is needed than there is. Gives where it is.
pub(crate) fn grow<T: Number>(
    buffer: &mut Option<Buffer<T>>,
    card: &Arc<Card>,
    len: usize,
    what: impl FnOnce() -> String,
) -> Result<u64, Error> {
    if buffer.as_ref().is_none_or(|buffer| buffer.len() < len) {
        // The old one is given back first.
        *buffer = None;
        *buffer = Some(Buffer::new(card, len, what)?);
    }
    Ok(buffer.as_ref().map_or(0, Buffer::address))
}
