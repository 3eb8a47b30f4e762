//! The driver as cudarc uses it: modules, memory, launches, what is found and counted, streams, capture and graphs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Arc;

use cuda_sim::{Check, Driver, Order};
use cudarc::driver::sys::{CUfunction_attribute, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DriverError, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

/// `y[i] += 1` for every thread of a block, and `y[i] = x[i + 1]`, which is one too far for the last.
const KERNELS: &str = r#"
.version 8.0
.target sm_80
.address_size 64

.global .align 4 .b32 steps[2] = {7, 0};

.visible .entry add_one(.param .u64 y) {
    .reg .b32 %r<2>;
    .reg .f32 %f<3>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [y];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.f32 %f1, [%rd3];
    add.f32 %f2, %f1, 0f3F800000;
    st.global.f32 [%rd3], %f2;
    ret;
}

.visible .entry too_far(.param .u64 x, .param .u64 y) {
    .reg .b32 %r<2>;
    .reg .f32 %f<2>;
    .reg .b64 %rd<7>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.f32 %f1, [%rd4+4];
    st.global.f32 [%rd5], %f1;
    ret;
}
"#;

const ONE_WARP: LaunchConfig = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
const MODE: CUstreamCaptureMode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;

/// A context of this test, whose thread has its own findings and counts.
fn context() -> (Driver, Arc<CudaContext>) {
    let driver = cuda_sim::open().unwrap();
    driver.set_quiet(true);
    (driver, CudaContext::new(0).unwrap())
}

fn kernel(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    context.load_module(Ptx::from_src(KERNELS)).unwrap().load_function(name).unwrap()
}

#[expect(unsafe_code, reason = "what a kernel is given is not checked")]
fn add_one(stream: &Arc<CudaStream>, kernel: &CudaFunction, y: &mut CudaSlice<f32>) -> Result<(), DriverError> {
    // SAFETY: the kernel has one parameter, an address of 32 floats.
    unsafe { stream.launch_builder(kernel).arg(y).launch(ONE_WARP) }.map(drop)
}

#[expect(unsafe_code, reason = "as above")]
fn too_far(stream: &Arc<CudaStream>, kernel: &CudaFunction, x: &CudaSlice<f32>, y: &mut CudaSlice<f32>) -> DriverError {
    // SAFETY: two addresses, and reading too far is what is tested: the stand-in stops it.
    unsafe { stream.launch_builder(kernel).arg(x).arg(y).launch(ONE_WARP) }.unwrap_err()
}

#[test]
fn a_kernel_runs_and_is_counted() {
    let (driver, context) = context();
    let stream = context.default_stream();
    let mut y = stream.clone_htod(&[2f32; 32]).unwrap();
    add_one(&stream, &kernel(&context, "add_one"), &mut y).unwrap();
    assert_eq!(stream.clone_dtoh(&y).unwrap(), [3f32; 32]);
    assert_eq!(driver.findings(), []);
    let counters = driver.counters("add_one").unwrap();
    assert_eq!((counters.launches, counters.blocks, counters.warp_instructions), (1, 1, 8));
    assert_eq!((counters.load_requests, counters.load_sectors, counters.store_sectors), (1, 4, 4));
    assert_eq!(driver.kernels(), ["add_one"]);
    let activity = driver.activity();
    assert_eq!((activity.kernel_launches, activity.kernels, activity.graph_launches), (1, 1, 0));
    assert_eq!((activity.bytes_to_device, activity.bytes_to_host, activity.allocations), (128, 128, 1));
    driver.reset();
    assert_eq!((driver.counters("add_one"), driver.activity()), (None, Default::default()));
}

#[test]
fn a_finding_says_where_and_stays_until_it_is_reset() {
    let (driver, context) = context();
    let stream = context.default_stream();
    let x = stream.clone_htod(&[0f32; 32]).unwrap();
    let mut y = stream.alloc_zeros::<f32>(32).unwrap();
    let error = too_far(&stream, &kernel(&context, "too_far"), &x, &mut y);
    assert_eq!(error.0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    let findings = driver.findings();
    assert_eq!(findings.iter().map(|finding| finding.check).collect::<Vec<_>>(), [Check::Bounds]);
    let wanted = "kernel `too_far`, block [0, 0, 0], thread [31, 0, 0]: a read of 4 bytes at 0x";
    assert!(findings[0].message.starts_with(wanted), "{}", findings[0]);
    let wanted =
        "ends 4 bytes past the end of an allocation of 128 bytes; at `ld.global.f32 %f1, [%rd4+4]` (PTX line 32)";
    assert!(findings[0].message.ends_with(wanted), "{}", findings[0]);
    // As on a device, nothing works any more; and another thread is not troubled.
    assert_eq!(stream.clone_dtoh(&y).unwrap_err().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    std::thread::spawn(|| assert_eq!(cuda_sim::open().unwrap().findings(), [])).join().unwrap();
    driver.reset();
    assert_eq!(stream.clone_dtoh(&y).unwrap().len(), 32);
    assert_eq!(driver.findings(), []);
}

#[test]
fn a_module_that_cannot_be_loaded_says_why() {
    let (driver, context) = context();
    let unknown = KERNELS.replace("add.f32 %f2, %f1, 0f3F800000", "wibble.f32 %f2, %f1, %f1");
    let error = context.load_module(Ptx::from_src(unknown)).err().unwrap();
    assert_eq!(error.0, CUresult::CUDA_ERROR_INVALID_PTX);
    let findings = driver.findings();
    assert_eq!(findings[0].check, Check::Module);
    assert_eq!(findings[0].message, "PTX line 17: unknown instruction in `wibble.f32 %f2, %f1, %f1`");
    // That is no kernel's fault: the next module loads. One that is compiled for a device does not.
    context.load_module(Ptx::from_src(KERNELS)).unwrap();
    let error = context.load_module(Ptx::from_binary(b"\x7fELF\x02\x01\x01".to_vec())).err().unwrap();
    assert_eq!(error.0, CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
}

#[test]
fn a_captured_step_is_one_launch() {
    let (driver, context) = context();
    let stream = context.new_stream().unwrap();
    #[expect(unsafe_code, reason = "who tracks no events orders streams himself")]
    // SAFETY: there is one stream.
    unsafe {
        context.disable_event_tracking();
    }
    let kernel = kernel(&context, "add_one");
    let mut y = stream.alloc_zeros::<f32>(32).unwrap();
    let x = stream.clone_htod(&[5f32; 32]).unwrap();
    stream.begin_capture(MODE).unwrap();
    stream.memset_zeros(&mut y).unwrap();
    stream.memcpy_dtod(&x, &mut y).unwrap();
    add_one(&stream, &kernel, &mut y).unwrap();
    add_one(&stream, &kernel, &mut y).unwrap();
    let graph = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
    assert_eq!(driver.activity().kernels, 0, "what is captured does not run");
    driver.reset();
    graph.launch().unwrap();
    graph.launch().unwrap();
    let activity = driver.activity();
    assert_eq!((activity.graph_launches, activity.kernel_launches, activity.kernels), (2, 0, 4));
    assert_eq!(stream.clone_dtoh(&y).unwrap(), [7f32; 32]);
}

#[test]
fn a_capture_is_isolated() {
    let (driver, context) = context();
    let stream = context.new_stream().unwrap();
    let kernel = kernel(&context, "add_one");
    // With cudarc's events a captured kernel waits for work that was not captured.
    let mut y = stream.alloc_zeros::<f32>(32).unwrap();
    stream.begin_capture(MODE).unwrap();
    let launched = add_one(&stream, &kernel, &mut y);
    let ended = stream.end_capture(CUgraphInstantiate_flags(0)).map(drop);
    assert!(launched.is_err() || ended.is_err());
    assert_eq!(driver.findings()[0].check, Check::Capture);
    driver.reset();
    // And nothing may be allocated.
    stream.begin_capture(MODE).unwrap();
    assert_eq!(stream.alloc_zeros::<f32>(32).unwrap_err().0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    let ended = stream.end_capture(CUgraphInstantiate_flags(0)).err().unwrap();
    assert_eq!(ended.0, CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_eq!(driver.findings()[0].message, "`cuMemAllocAsync` must not be called while a stream is captured");
}

#[test]
fn a_device_says_what_it_is() {
    let (driver, context) = context();
    assert_eq!(context.compute_capability().unwrap(), (8, 0));
    driver.set_compute_capability(9, 0);
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    assert_eq!(context.name().unwrap(), "cuda-sim (PTX interpreter)");
    assert_eq!(CudaContext::device_count().unwrap(), 1);
    assert_eq!(CudaContext::new(1).err().unwrap().0, CUresult::CUDA_ERROR_INVALID_DEVICE);
    let module = context.load_module(Ptx::from_src(KERNELS)).unwrap();
    let stream = context.default_stream();
    let (steps, mut values) = (module.get_global("steps", &stream).unwrap(), [0u8; 8]);
    stream.memcpy_dtoh(&steps, &mut values).unwrap();
    assert_eq!(values, [7, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn the_order_of_blocks_can_be_reversed() {
    let (driver, context) = context();
    let stream = context.default_stream();
    let module = context.load_module(Ptx::from_src(include_str!("kernels/bugs_broken.ptx"))).unwrap();
    let kernel = module.load_function("write_across_blocks").unwrap();
    let (x, mut y) = (stream.clone_htod(&[0f32; 128]).unwrap(), stream.alloc_zeros::<f32>(128).unwrap());
    let blocks = LaunchConfig { grid_dim: (2, 1, 1), block_dim: (64, 1, 1), shared_mem_bytes: 0 };
    for (order, block) in [(Order::Forward, "block [1, 0, 0], thread [0, 0, 0]"), (Order::Reversed, "block [0, 0, 0]")]
    {
        driver.set_order(order);
        #[expect(unsafe_code, reason = "what a kernel is given is not checked")]
        // SAFETY: two addresses of 128 floats, and that number.
        let launched = unsafe { stream.launch_builder(&kernel).arg(&x).arg(&mut y).arg(&128i32).launch(blocks) };
        assert_eq!(launched.err().unwrap().0, CUresult::CUDA_ERROR_LAUNCH_FAILED);
        let findings = driver.findings();
        assert_eq!(findings[0].check, Check::RaceBetweenBlocks);
        assert!(findings[0].message.contains(block), "{}", findings[0]);
        driver.reset();
    }
}

#[test]
fn much_shared_memory_needs_leave() {
    let (driver, context) = context();
    let stream = context.default_stream();
    let kernel = kernel(&context, "add_one");
    let mut y = stream.clone_htod(&[2f32; 32]).unwrap();
    let config = LaunchConfig { shared_mem_bytes: 100 * 1024, ..ONE_WARP };
    #[expect(unsafe_code, reason = "what a kernel is given is not checked")]
    // SAFETY: the kernel has one parameter, an address of 32 floats.
    let mut launch =
        |kernel: &CudaFunction| unsafe { stream.launch_builder(kernel).arg(&mut y).launch(config) }.map(drop);
    assert_eq!(launch(&kernel).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(driver.findings()[0].check, Check::Launch);
    let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    kernel.set_attribute(attribute, 100 * 1024).unwrap();
    launch(&kernel).unwrap();
    // 163 KiB are all that a block may have on an A100, 227 on an H100.
    assert!(kernel.set_attribute(attribute, 200 * 1024).is_err());
    driver.set_compute_capability(9, 0);
    kernel.set_attribute(attribute, 200 * 1024).unwrap();
}

/// What is wrong with a module is in the log that `cuModuleLoadDataEx` is given, as drivers do it.
#[test]
#[expect(unsafe_code, reason = "the driver is called as C does")]
fn the_log_of_a_module_names_what_is_not_known() {
    let (_, _context) = context();
    let text = CString::new(KERNELS.replace("add.f32 %f2", "wibble.f32 %f2")).unwrap();
    let mut log = [0u8; 256];
    let (mut module, options) = (0usize, [5u32, 6]);
    let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), log.len() as *mut c_void];
    // SAFETY: CU_JIT_ERROR_LOG_BUFFER and its size, and a text that ends with a NUL.
    let status = unsafe {
        let library = libloading::Library::new("libcuda.so").unwrap();
        type Load = unsafe extern "C" fn(*mut usize, *const c_char, u32, *const u32, *mut *mut c_void) -> u32;
        let load = library.get::<Load>("cuModuleLoadDataEx").unwrap();
        load(&mut module, text.as_ptr(), 2, options.as_ptr(), values.as_mut_ptr())
    };
    assert_eq!(status, CUresult::CUDA_ERROR_INVALID_PTX as u32);
    let log = CStr::from_bytes_until_nul(&log).unwrap().to_str().unwrap();
    assert_eq!(log, "PTX line 17: unknown instruction in `wibble.f32 %f2, %f1, 0f3F800000`");
}

/// What NVRTC makes, through cudarc: `kernels/products.cu` on a part of a tile.
#[test]
fn what_nvrtc_makes_runs_through_cudarc() {
    let (m, n, k) = (5, 7, 3);
    let (a, b) = (common::noise(m * k, 1), common::noise(k * n, 2));
    let wanted: Vec<f32> =
        (0..m * n).map(|at| (0..k).fold(0.0, |sum, i| a[at / n * k + i].mul_add(b[i * n + at % n], sum))).collect();
    for (from, ptx) in common::ptx::texts("products", &[], Some("products")) {
        let (driver, context) = context();
        let stream = context.default_stream();
        let kernel = context.load_module(Ptx::from_src(ptx)).unwrap().load_function("tiled").unwrap();
        let (a, b) = (stream.clone_htod(&a).unwrap(), stream.clone_htod(&b).unwrap());
        let mut c = stream.alloc_zeros::<f32>(m * n).unwrap();
        let tile = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (16, 16, 1), shared_mem_bytes: 0 };
        let sizes = [m, n, k].map(|size| size as i32);
        let mut launch = stream.launch_builder(&kernel);
        launch.arg(&a).arg(&b).arg(&mut c).arg(&sizes[0]).arg(&sizes[1]).arg(&sizes[2]);
        #[expect(unsafe_code, reason = "what a kernel is given is not checked")]
        // SAFETY: three addresses, of matrices of the three sizes.
        unsafe { launch.launch(tile) }.unwrap_or_else(|error| panic!("{from}: {error}, {:?}", driver.findings()));
        assert_eq!(stream.clone_dtoh(&c).unwrap(), wanted, "{from}");
    }
}
