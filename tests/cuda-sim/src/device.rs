//! A device without a driver: memory and modules, for tests that are written in Rust.

use std::collections::HashMap;
use std::sync::Arc;

use crate::checks::{Check, Finding};
use crate::counters::Counters;
use crate::exec::{self, Launch, MAX_INSTRUCTIONS, MAX_SHARED, Order};
use crate::memory::Memory;
use crate::ptx;
use crate::ptx::instruction::Kernel;

/// Memory, and the clock by which accesses are ordered.
///
/// ```
/// use cuda_sim::{Argument, Device, Geometry};
///
/// let mut device = Device::new();
/// let module = device.load(
///     ".version 8.0 .target sm_80 .address_size 64
///      .visible .entry answer(.param .u64 out) {
///          .reg .b32 %r<2>; .reg .b64 %rd<2>;
///          ld.param.u64 %rd1, [out];
///          mov.u32 %r1, 42;
///          st.global.u32 [%rd1], %r1;
///          ret;
///      }",
/// )?;
/// let out = device.alloc(4);
/// let one = Geometry { grid: [1, 1, 1], block: [1, 1, 1], dynamic_shared: 0 };
/// let counters = device.launch(&module, "answer", one, &[Argument::Pointer(out)])?;
/// assert_eq!(device.read::<u32>(out, 1)?, [42]);
/// assert_eq!(counters.store_sectors, 1);
/// # Ok::<(), cuda_sim::Finding>(())
/// ```
pub struct Device {
    pub(crate) memory: Memory,
    time: u64,
    order: Order,
    max_instructions: u64,
}

impl Default for Device {
    fn default() -> Device {
        Device { memory: Memory::default(), time: 0, order: Order::Forward, max_instructions: MAX_INSTRUCTIONS }
    }
}

/// How many blocks and threads a launch has, along x, y and z, and how much dynamic shared memory each block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// In bytes.
    pub dynamic_shared: usize,
}

/// An argument of a kernel.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Argument<'a> {
    /// An address on the device.
    Pointer(u64),
    /// An `int`.
    I32(i32),
    /// An `unsigned`.
    U32(u32),
    /// A `long long`.
    I64(i64),
    /// A `float`.
    F32(f32),
    /// A structure, as C lays it out.
    Bytes(&'a [u8]),
}

impl Argument<'_> {
    /// As it stands in memory.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Argument::Pointer(value) => value.to_le_bytes().into(),
            Argument::I32(value) => value.to_le_bytes().into(),
            Argument::U32(value) => value.to_le_bytes().into(),
            Argument::I64(value) => value.to_le_bytes().into(),
            Argument::F32(value) => value.to_le_bytes().into(),
            Argument::Bytes(bytes) => bytes.into(),
        }
    }
}

/// A type of numbers that can be copied to and from a device.
pub trait Number: Copy {
    /// As it stands in memory.
    fn to_bytes(self) -> Vec<u8>;
    /// The other way, of as many bytes as the type has.
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        impl Number for $ty {
            fn to_bytes(self) -> Vec<u8> {
                self.to_le_bytes().into()
            }

            fn from_bytes(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$ty>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    )*};
}
numbers!(u8, u16, u32, i32, u64, f32);

/// A module that was loaded.
pub struct Module {
    pub(crate) kernels: Vec<Arc<Kernel>>,
    pub(crate) globals: HashMap<String, (u64, usize)>,
}

impl Module {
    /// The names of its kernels.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(|kernel| kernel.name.as_str())
    }

    /// Address and bytes of a variable in device memory.
    pub fn global(&self, name: &str) -> Option<(u64, usize)> {
        self.globals.get(name).copied()
    }
}

impl Device {
    /// A device with nothing on it.
    pub fn new() -> Device {
        Device::default()
    }

    /// In which order blocks and warps run from now on.
    pub fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// After how many instructions of its warps a kernel is taken to be endless: two thousand million if nothing is set.
    pub fn set_max_instructions(&mut self, most: u64) {
        self.max_instructions = most;
    }

    /// Loads a module from PTX.
    ///
    /// # Errors
    ///
    /// [`Check::Module`], with the line, when it is not PTX or has an instruction that is not known.
    pub fn load(&mut self, text: &str) -> Result<Module, Finding> {
        let mut placed = Vec::new();
        let memory = &mut self.memory;
        let loaded = ptx::module(text, |values| {
            let address = memory.allocate(values.len());
            placed.push(address);
            // A fresh allocation of that size holds them.
            let _ = memory.write(address, values);
            address
        });
        match loaded {
            Ok(module) => Ok(Module {
                kernels: module.kernels.into_iter().map(Arc::new).collect(),
                globals: module
                    .globals
                    .into_iter()
                    .map(|global| (global.name, (global.address, global.bytes)))
                    .collect(),
            }),
            Err(error) => {
                for address in placed {
                    self.memory.free(address);
                }
                Err(Finding::new(Check::Module, error.to_string()))
            }
        }
    }

    /// Allocates bytes, which are not initialised, and gives their address.
    pub fn alloc(&mut self, bytes: usize) -> u64 {
        self.memory.allocate(bytes)
    }

    /// Allocates numbers with these values.
    pub fn upload<T: Number>(&mut self, values: &[T]) -> u64 {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bytes()).collect();
        let address = self.memory.allocate(bytes.len());
        // A fresh allocation of that size holds them.
        let _ = self.memory.write(address, &bytes);
        address
    }

    /// Copies numbers from the device. Bytes that nothing has written are 0xCD.
    ///
    /// # Errors
    ///
    /// [`Check::Bounds`] when they are not all in one allocation.
    pub fn read<T: Number>(&self, address: u64, count: usize) -> Result<Vec<T>, Finding> {
        let mut bytes = vec![0; count * size_of::<T>()];
        self.memory.read(address, &mut bytes).map_err(|message| Finding::new(Check::Bounds, message))?;
        Ok(bytes.chunks_exact(size_of::<T>()).map(T::from_bytes).collect())
    }

    /// Frees an allocation. False when there is none at this address.
    pub fn free(&mut self, address: u64) -> bool {
        self.memory.free(address)
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    ///
    /// The first rule that it broke. What it wrote until then stays written.
    pub fn launch(
        &mut self,
        module: &Module,
        kernel: &str,
        geometry: Geometry,
        arguments: &[Argument],
    ) -> Result<Counters, Finding> {
        let wrong = |message: String| Finding::new(Check::Launch, message);
        let found = module.kernels.iter().find(|known| known.name == kernel);
        let kernel = found.ok_or_else(|| wrong(format!("there is no kernel `{kernel}`")))?.clone();
        if arguments.len() != kernel.params.len() {
            let message =
                format!("kernel `{}` has {} parameters, not {}", kernel.name, kernel.params.len(), arguments.len());
            return Err(wrong(message));
        }
        let mut params = vec![0; kernel.param_bytes];
        for (argument, param) in arguments.iter().zip(&kernel.params) {
            let bytes = argument.bytes();
            if bytes.len() != param.bytes {
                let message = format!(
                    "parameter `{}` of kernel `{}` has {} bytes, and {argument:?} has {}",
                    param.name,
                    kernel.name,
                    param.bytes,
                    bytes.len()
                );
                return Err(wrong(message));
            }
            params[param.offset..param.offset + param.bytes].copy_from_slice(&bytes);
        }
        let mut counters = Counters::default();
        let order = self.order;
        self.run(&kernel, geometry, MAX_SHARED, &params, order, &mut counters).map(|()| counters)
    }

    /// Runs a kernel whose parameters lie as it expects them.
    pub(crate) fn run(
        &mut self,
        kernel: &Kernel,
        geometry: Geometry,
        max_dynamic_shared: usize,
        params: &[u8],
        order: Order,
        counters: &mut Counters,
    ) -> Result<(), Finding> {
        let Geometry { grid, block, dynamic_shared } = geometry;
        let launch = Launch {
            kernel,
            grid,
            block,
            dynamic_shared,
            max_dynamic_shared,
            params,
            order,
            max_instructions: self.max_instructions,
        };
        exec::run(&launch, &mut self.memory, &mut self.time, counters)
    }
}
