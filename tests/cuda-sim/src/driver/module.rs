//! Modules, their kernels and variables, and launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

use super::state::{machine, ready, ready_outside_capture, session, submit};
use super::{Outcome, Status, exports, put, put_text};
use crate::device::Geometry;
use crate::exec::MAX_THREADS;
use crate::graph::Work;

/// `CU_JIT_ERROR_LOG_BUFFER` and `CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES`.
const ERROR_LOG: c_uint = 5;
const ERROR_LOG_BYTES: c_uint = 6;
/// How the binary formats that are no PTX begin: a cubin and a fatbin.
const BINARIES: [[u8; 4]; 2] = [*b"\x7fELF", *b"\x50\xed\x55\xba"];

/// Loads PTX. What is wrong with it goes into `log` too.
fn load(handle: *mut usize, text: &[u8], log: impl FnOnce(&str)) -> Outcome {
    ready_outside_capture("cuModuleLoadData")?;
    session(|session| session.activity.modules += 1);
    let text = String::from_utf8_lossy(text);
    let loaded = machine(|machine| {
        let module = machine.device.load(&text)?;
        let handle = machine.handle();
        machine.modules.insert(handle, module);
        Ok(handle)
    });
    match loaded {
        // SAFETY: the program gives a place for the handle.
        Ok(module) => unsafe { put(handle, module) },
        Err(finding) => {
            let finding: crate::checks::Finding = finding;
            log(&finding.message);
            Err(session(|session| session.found(finding)))
        }
    }
}

/// The text of an image that a program gives, which ends with a NUL. A binary is none for this device.
///
/// # Safety
///
/// `image` is a text that ends with a NUL, or a binary of four bytes at least.
unsafe fn text_of<'a>(image: *const c_void) -> Result<&'a [u8], Status> {
    if image.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: neither kind of image is shorter, and nothing is read after a NUL.
    let is_binary = BINARIES
        .iter()
        .any(|magic| magic.iter().enumerate().all(|(at, &byte)| unsafe { image.cast::<u8>().add(at).read() == byte }));
    if is_binary {
        return Err(Status::NO_BINARY_FOR_GPU);
    }
    // SAFETY: it is a text, says the caller.
    Ok(unsafe { CStr::from_ptr(image.cast()) }.to_bytes())
}

/// The bytes of all parameters, from the addresses of each.
///
/// # Safety
///
/// There are as many addresses as the kernel has parameters, and each is one of that parameter.
unsafe fn gather(params: &[crate::ptx::instruction::Param], bytes: usize, addresses: *mut *mut c_void) -> Vec<u8> {
    let mut gathered = vec![0; bytes];
    for (at, param) in params.iter().enumerate() {
        let place = &mut gathered[param.offset..param.offset + param.bytes];
        // SAFETY: as above.
        unsafe {
            let from = addresses.add(at).read().cast::<u8>();
            std::ptr::copy_nonoverlapping(from, place.as_mut_ptr(), place.len());
        }
    }
    gathered
}

exports! {
    fn cuModuleLoadData(module: *mut usize, image: *const c_void) {
        load(module, unsafe { text_of(image)? }, |_| {})
    }

    fn cuModuleLoadDataEx(
        module: *mut usize,
        image: *const c_void,
        count: c_uint,
        options: *const c_uint,
        values: *const *mut c_void,
    ) {
        let option = |wanted: c_uint| {
            (0..count as usize).find_map(|at| unsafe { (options.add(at).read() == wanted).then(|| values.add(at).read()) })
        };
        let log = |message: &str| {
            if let (Some(buffer), Some(bytes)) = (option(ERROR_LOG), option(ERROR_LOG_BYTES)) {
                unsafe { put_text(buffer.cast(), bytes as usize, message) };
            }
        };
        load(module, unsafe { text_of(image)? }, log)
    }

    fn cuModuleLoad(module: *mut usize, path: *const c_char) {
        let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
        let image = std::fs::read(Path::new(path.as_ref())).map_err(|_| Status::FILE_NOT_FOUND)?;
        if BINARIES.iter().any(|magic| image.starts_with(magic)) {
            return Err(Status::NO_BINARY_FOR_GPU);
        }
        load(module, &image, |_| {})
    }

    fn cuModuleUnload(module: usize) {
        machine(|machine| {
            let gone = machine.modules.remove(&module).ok_or(Status::INVALID_HANDLE)?;
            machine.functions.retain(|_, function| function.module != module);
            for (address, _) in gone.globals.values() {
                machine.device.memory.free(*address);
            }
            Ok(())
        })
    }

    fn cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) {
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let handle = machine(|machine| {
            let kernels = &machine.modules.get(&module).ok_or(Status::INVALID_HANDLE)?.kernels;
            let kernel = kernels.iter().find(|kernel| kernel.name == name).ok_or(Status::NOT_FOUND)?.clone();
            Ok(machine.function(kernel, module))
        })?;
        unsafe { put(function, handle) }
    }

    fn cuModuleGetGlobal_v2(address: *mut u64, bytes: *mut usize, module: usize, name: *const c_char) {
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let (at, size) = machine(|machine| {
            let module = machine.modules.get(&module).ok_or(Status::INVALID_HANDLE)?;
            module.global(&name).ok_or(Status::NOT_FOUND)
        })?;
        if !bytes.is_null() {
            unsafe { put(bytes, size)? };
        }
        unsafe { put(address, at) }
    }

    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: usize) {
        let found = machine(|machine| {
            let function = machine.functions.get(&function).ok_or(Status::INVALID_HANDLE)?;
            Ok(match attribute {
                0 => function.kernel.max_threads.unwrap_or(MAX_THREADS) as c_int, // MAX_THREADS_PER_BLOCK
                1 => function.kernel.shared_bytes as c_int,                       // SHARED_SIZE_BYTES
                3 => function.kernel.local_bytes as c_int,                        // LOCAL_SIZE_BYTES
                8 => function.max_dynamic_shared as c_int,                        // MAX_DYNAMIC_SHARED_SIZE_BYTES
                _ => 0,
            })
        })?;
        unsafe { put(value, found) }
    }

    fn cuFuncSetAttribute(function: usize, attribute: c_int, value: c_int) {
        let most = super::context::max_shared(session(|session| session.capability));
        machine(|machine| {
            let function = machine.functions.get_mut(&function).ok_or(Status::INVALID_HANDLE)?;
            match attribute {
                8 => {
                    let value = usize::try_from(value).map_err(|_| Status::INVALID_VALUE)?;
                    if value + function.kernel.shared_bytes > most {
                        return Err(Status::INVALID_VALUE);
                    }
                    function.max_dynamic_shared = value;
                    Ok(())
                }
                9 => Ok(()), // PREFERRED_SHARED_MEMORY_CARVEOUT
                _ => Err(Status::INVALID_VALUE),
            }
        })
    }

    fn cuFuncSetCacheConfig(_function: usize, _config: c_uint) {
        Ok(())
    }

    /// By threads and shared memory alone: registers are for ptxas to give.
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks: *mut c_int, function: usize, threads: c_int, dynamic: usize) {
        let most = super::context::max_shared(session(|session| session.capability));
        let shared = machine(|machine| {
            let function = machine.functions.get(&function).ok_or(Status::INVALID_HANDLE)?;
            Ok(function.kernel.shared_bytes + dynamic + 1024)
        })?;
        let by_threads = 2048 / threads.clamp(32, 2048);
        unsafe { put(blocks, by_threads.min((most / shared) as c_int).min(32)) }
    }

    fn cuLaunchKernel(
        function: usize,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        dynamic_shared: c_uint,
        stream: usize,
        params: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) {
        ready()?;
        session(|session| session.activity.kernel_launches += 1);
        let (kernel, max_dynamic_shared) = machine(|machine| {
            let function = machine.functions.get(&function).ok_or(Status::INVALID_HANDLE)?;
            Ok((function.kernel.clone(), function.max_dynamic_shared))
        })?;
        if !extra.is_null() || (params.is_null() && !kernel.params.is_empty()) {
            return Err(Status::INVALID_VALUE);
        }
        let params = unsafe { gather(&kernel.params, kernel.param_bytes, params) };
        let geometry = Geometry {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
            dynamic_shared: dynamic_shared as usize,
        };
        submit(stream, Work::Kernel { kernel, geometry, max_dynamic_shared, params })
    }
}
