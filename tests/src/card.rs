//! What tests of graphics cards need: NVRTC, and a card: the stand-in or, with `NETSPEC_CARD=real`, the machine's own. Most tests use it as
//! users do; those of single kernels launch them on a [`Card`].
#![allow(unsafe_code)]

use std::env;
use std::io::Write;
use std::sync::Arc;

use cuda_sim::{Argument, Device, Finding, Geometry, Number, Order};
use cudarc::driver::{CudaContext, CudaModule, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use netspec::Precision;
use netspec::cuda::{Compiled, Nvrtc, options};

/// Whether there is a card and NVRTC, so that kernels can be compiled and run; says loudly if NVRTC is not here.
///
/// # Panics
///
/// When it is not, and `NETSPEC_REQUIRE_NVRTC=1` says that it must be; when the stand-in driver cannot be opened.
pub fn is_ready() -> bool {
    if let Err(error) = Nvrtc::get() {
        assert!(env::var_os("NETSPEC_REQUIRE_NVRTC").is_none_or(|wanted| wanted != "1"), "{error}");
        // Not by a macro, whose lines a passing test keeps to itself.
        let line = format!("\n*** SKIPPED, a test of kernels for graphics cards: {error}\n\n");
        std::io::stderr().write_all(line.as_bytes()).expect("the error output can be written");
        return false;
    }
    cuda_sim::unless_real();
    true
}

/// A card whose memory and launches are a test's own. What fails on it but kernels panics.
pub enum Card {
    /// The stand-in, without a driver between.
    StandIn(Device),
    /// The machine's first.
    Real {
        /// The order in which it works.
        stream: Arc<CudaStream>,
        /// Its compute capability, `80` for 8.0.
        arch: u32,
        /// All memory that was asked for.
        memory: Vec<CudaSlice<u8>>,
    },
}

/// Kernels on a [`Card`].
pub enum Loaded {
    /// On the stand-in.
    StandIn(cuda_sim::Module),
    /// On a real card.
    Real(Arc<CudaModule>),
}

/// A byte of memory that nothing has written, on each card.
const UNWRITTEN: u8 = 0xCD;

impl Card {
    /// The stand-in or, with `NETSPEC_CARD=real`, the machine's first card.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Card {
        if cuda_sim::unless_real().is_some() {
            return Card::StandIn(Device::new());
        }
        let context = CudaContext::new(0).expect("a card");
        let (major, minor) = context.compute_capability().expect("a driver that says what its card is");
        let stream = context.new_stream().expect("a stream");
        Card::Real { stream, arch: 10 * major.unsigned_abs() + minor.unsigned_abs(), memory: Vec::new() }
    }

    /// In which order blocks and warps run from now on; a real card has its own.
    pub fn set_order(&mut self, order: Order) {
        match self {
            Card::StandIn(device) => device.set_order(order),
            Card::Real { .. } => {}
        }
    }

    /// NVRTC's options for it.
    pub fn options(&self, precision: Precision) -> Vec<String> {
        match self {
            // For a virtual architecture there is no cubin to make.
            Card::StandIn(_) => {
                let mut options = options(80, precision);
                options[0] = "--gpu-architecture=compute_80".to_owned();
                options
            }
            Card::Real { arch, .. } => options(*arch, precision),
        }
    }

    /// Loads kernels that were compiled with its [`Card::options`].
    pub fn load(&mut self, Compiled { ptx, cubin, .. }: &Compiled) -> Loaded {
        match self {
            Card::StandIn(device) => Loaded::StandIn(device.load(ptx).unwrap_or_else(found)),
            Card::Real { stream, .. } => {
                let module = stream.context().load_module(Ptx::from_binary(cubin.clone()));
                Loaded::Real(module.expect("a module"))
            }
        }
    }

    /// Allocates bytes that are not initialised, and gives their address.
    pub fn alloc(&mut self, bytes: usize) -> u64 {
        match self {
            Card::StandIn(device) => device.alloc(bytes),
            Card::Real { .. } => self.upload(&vec![UNWRITTEN; bytes]),
        }
    }

    /// Allocates numbers with these values, and gives their address.
    pub fn upload<T: Number>(&mut self, values: &[T]) -> u64 {
        match self {
            Card::StandIn(device) => device.upload(values),
            Card::Real { stream, memory, .. } => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bytes()).collect();
                let slice = stream.clone_htod(&bytes).expect("memory");
                let address = slice.device_ptr(stream).0;
                memory.push(slice);
                address
            }
        }
    }

    /// Copies numbers from the card.
    pub fn read<T: Number>(&self, address: u64, count: usize) -> Vec<T> {
        match self {
            Card::StandIn(device) => device.read(address, count).unwrap_or_else(found),
            Card::Real { stream, memory, .. } => {
                let len = count * size_of::<T>();
                let place = |slice: &CudaSlice<u8>| {
                    let from = address.checked_sub(slice.device_ptr(stream).0)? as usize;
                    let bytes = slice.try_slice(from..from + len)?;
                    Some(stream.clone_dtoh(&bytes).expect("what was run before has gone well"))
                };
                let bytes = memory.iter().find_map(place).expect("memory of its own");
                bytes.chunks_exact(size_of::<T>()).map(T::from_bytes).collect()
            }
        }
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    ///
    /// What the stand-in found, or the driver says.
    pub fn launch(
        &mut self,
        kernels: &Loaded,
        kernel: &str,
        geometry: Geometry,
        arguments: &[Argument<'_>],
    ) -> Result<(), String> {
        match (self, kernels) {
            (Card::StandIn(device), Loaded::StandIn(module)) => {
                let ran = device.launch(module, kernel, geometry, arguments);
                ran.map(drop).map_err(|finding| format!("{finding:?}"))
            }
            (Card::Real { stream, .. }, Loaded::Real(module)) => {
                let function = module.load_function(kernel).expect("a kernel of this name");
                let word = |argument: &Argument<'_>| {
                    let mut word = [0; 8];
                    let bytes = argument.bytes();
                    word[..bytes.len()].copy_from_slice(&bytes);
                    u64::from_le_bytes(word)
                };
                let words: Vec<u64> = arguments.iter().map(word).collect();
                let mut launch = stream.launch_builder(&function);
                words.iter().for_each(|word| {
                    launch.arg(word);
                });
                let [[x, y, z], [along_x, along_y, along_z]] = [geometry.grid, geometry.block];
                let config = LaunchConfig {
                    grid_dim: (x, y, z),
                    block_dim: (along_x, along_y, along_z),
                    shared_mem_bytes: geometry.dynamic_shared as u32,
                };
                // SAFETY: none is known: whether kernels stay in their memory is what the tests are to show.
                let told = unsafe { launch.launch(config) };
                told.and_then(|_| stream.synchronize()).map_err(|error| format!("{kernel}: {error}"))
            }
            _ => panic!("the kernels are another card's"),
        }
    }
}

/// Panics with what the stand-in found.
fn found<T>(finding: Finding) -> T {
    panic!("{finding:?}")
}
