//! Machines without a card that can be used, or without a driver, each with what is said: in processes of their own, which find another
//! driver first.
#![cfg(target_os = "linux")]

#[path = "../../runtime/tests/line/mod.rs"]
mod line;

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use line::Line;
use netspec::cuda::program::{OnDevice, Pass, Program};
use netspec::{Device, Precision, Workspace};
use netspec_tests::card;

impl OnDevice for Line<8> {
    const PROGRAM: Result<Program, &'static str> = Ok(Program {
        source: "",
        inputs: &[],
        outputs: &[],
        train: Pass::NONE,
        forward: Pass::NONE,
        infer: Pass::NONE,
        input_gradients: Pass::NONE,
    });
}

/// The variable with the device that a process of its own asks for.
const ASKED: &str = "NETSPEC_TEST_DEVICE";

/// Says what comes of asking this machine for a device. Run by itself it sees that nothing panics, whatever machine it is.
#[test]
fn a_device_is_asked_for() {
    let device: Device = env::var(ASKED).as_deref().unwrap_or("auto").parse().expect("the name of a device");
    match Workspace::on::<Line>(device, Precision::F32) {
        Ok(workspace) => println!("{ASKED}: {}", workspace.card().unwrap_or("the processor")),
        Err(error) => println!("{ASKED}: {error}"),
    }
}

/// What a process says that asks for a device, with the libraries of a folder before any other, and these variables.
fn asked(device: &str, libraries: &Path, variables: &[(&str, &str)]) -> String {
    let mut process = Command::new(env::current_exe().expect("this program"));
    process.args(["--exact", "a_device_is_asked_for", "--nocapture"]);
    process.env(ASKED, device).env("LD_LIBRARY_PATH", libraries).envs(variables.iter().copied());
    let output = process.output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = said.lines().find_map(|line| line.split_once(&format!("{ASKED}: ")));
    line.unwrap_or_else(|| panic!("{said}")).1.to_owned()
}

/// A driver that says what its variables say, and can do nothing.
const DRIVER: &str = r#"
#![allow(non_snake_case, unsafe_op_in_unsafe_fn)]
use std::ffi::{c_char, c_int, c_void};

fn set(name: &str, otherwise: c_int) -> c_int {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}
macro_rules! functions {
    ($($name:ident($($arg:ident: $of:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $of),*) -> c_int { $body }
    )*};
}
functions! {
    cuDriverGetVersion(version: *mut c_int) { *version = set("FAKE_VERSION", 12080); 0 }
    cuInit(_flags: u32) { set("FAKE_INIT", 0) }
    cuDeviceGetCount(count: *mut c_int) { *count = set("FAKE_COUNT", 1); 0 }
    cuDeviceGet(device: *mut c_int, number: c_int) { *device = number; 0 }
    cuDeviceGetName(name: *mut c_char, _len: c_int, _device: c_int) { std::ptr::copy(c"Fake".as_ptr(), name, 5); 0 }
    cuDeviceGetAttribute(value: *mut c_int, which: c_int, _device: c_int) {
        // The two parts of the compute capability; no pools of memory.
        *value = match which { 75 => set("FAKE_MAJOR", 9), 76 => 0, _ => 0 };
        0
    }
    cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) { *context = 8 as *mut c_void; 0 }
    cuDevicePrimaryCtxRelease_v2(_device: c_int) { 0 }
    cuCtxGetCurrent(context: *mut *mut c_void) { *context = 8 as *mut c_void; 0 }
    cuCtxSetCurrent(_context: *mut c_void) { 0 }
    cuStreamCreate(stream: *mut *mut c_void, _flags: u32) { *stream = 8 as *mut c_void; 0 }
    cuStreamDestroy_v2(_stream: *mut c_void) { 0 }
    cuModuleLoadData(module: *mut *mut c_void, image: *const c_void) {
        if std::slice::from_raw_parts(image.cast::<u8>(), 3) == b"bad" { return 200; }
        *module = 8 as *mut c_void;
        0
    }
    cuModuleUnload(_module: *mut c_void) { 0 }
    cuMemAlloc_v2(_address: *mut u64, _bytes: usize) { 2 }
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize) { *free = 1 << 19; *total = 1 << 34; 0 }
    cuGetErrorName(_error: c_int, name: *mut *const c_char) { *name = c"CUDA_ERROR_FAKE".as_ptr(); 0 }
    cuGetErrorString(_error: c_int, text: *mut *const c_char) { *text = c"it is not real".as_ptr(); 0 }
}
"#;

/// The folder of that driver, built once.
fn driver() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder for tests");
            let (source, library) = (folder.path().join("fake.rs"), folder.path().join("libcuda.so"));
            fs::write(&source, DRIVER).expect("it can be written");
            let compiler = env::var_os("RUSTC").unwrap_or("rustc".into());
            let mut compile = Command::new(compiler);
            compile.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(&library).arg(&source);
            assert!(compile.status().expect("rustc is there").success());
            let path = folder.path().to_owned();
            (folder, path)
        })
        .1
}

#[test]
fn no_driver_is_told_and_the_processor_runs_instead() {
    // Files that are no libraries hide the machine's own driver, if it has one.
    let folder = tempfile::tempdir().expect("a folder for tests");
    for name in ["libcuda.so", "libcuda.so.1"] {
        fs::write(folder.path().join(name), b"no library").expect("it can be written");
    }
    let none = "no NVIDIA driver was found on this machine (`libcuda`): a graphics card needs one; the device `cpu` does without";
    assert_eq!(asked("cuda", folder.path(), &[]), none);
    assert_eq!(asked("auto", folder.path(), &[]), "the processor");
    assert_eq!(asked("cpu", folder.path(), &[]), "the processor");
    // The library to link with that a toolkit has.
    assert_eq!(asked("cuda", driver(), &[("FAKE_INIT", "34")]), none);
}

#[test]
fn what_a_driver_lacks_is_told() {
    let says = |device: &str, variables: &[(&str, &str)], text: &str| {
        assert_eq!(asked(device, driver(), variables), text);
        assert_eq!(asked("auto", driver(), variables), "the processor");
    };
    says(
        "cuda",
        &[("FAKE_VERSION", "11040")],
        "the NVIDIA driver knows CUDA 11.4, and 12.0 is needed: drivers from 525 on know it; the device `cpu` does without",
    );
    let hidden = "there is no device cuda:0: the NVIDIA driver shows no card; `CUDA_VISIBLE_DEVICES` may hide them, and in a \
                  container they must be handed in";
    says("cuda", &[("FAKE_INIT", "100")], hidden);
    says("cuda", &[("FAKE_COUNT", "0")], hidden);
    says(
        "cuda",
        &[("FAKE_MAJOR", "7")],
        "cuda:0 is a Fake of compute capability 7.0, and 8.0 is needed: cards from Ampere (2020) on have it; the device `cpu` does \
         without",
    );
    let one = "there is no device cuda:3: the NVIDIA driver shows one card, cuda:0";
    assert_eq!(asked("cuda:3", driver(), &[]), one);
}

#[test]
fn what_fails_is_told_in_the_drivers_words() {
    let failed = "the graphics card failed to begin: CUDA_ERROR_FAKE, it is not real";
    for device in ["cuda", "auto"] {
        assert_eq!(asked(device, driver(), &[("FAKE_INIT", "999")]), failed);
    }
}

#[test]
fn a_compiler_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().expect("a folder for tests");
    let said = asked("cuda", driver(), &[("NETSPEC_NVRTC_DIR", folder.path().to_str().expect("UTF-8"))]);
    let wanted = format!(
        "NVRTC, which compiles kernels, cannot be loaded: NETSPEC_NVRTC_DIR is {}, in which there is no libnvrtc.so; it is a part of \
         the CUDA toolkit and of Python's package `nvidia-cuda-nvrtc`, and `NETSPEC_NVRTC_DIR` names the folder of its library where \
         the system does not find it",
        folder.path().display()
    );
    assert_eq!(said, wanted);
}

#[test]
fn too_little_memory_is_told() {
    if !card::is_ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for tests");
    let cache = [("XDG_CACHE_HOME", folder.path().to_str().expect("UTF-8"))];
    let said = asked("cuda", driver(), &cache);
    assert_eq!(said, "a list of numbers takes 0.0 MiB on the card, which has 0.5 MiB free: a smaller batch takes less");
    // The kernels that were compiled are kept.
    assert_eq!(kept(folder.path()).len(), 1);
}

/// The files of compiled kernels in a cache folder.
fn kept(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.join("netspec/kernels")).expect("it was made");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn kept_kernels_that_the_driver_refuses_are_compiled_again() {
    if !card::is_ready() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for tests");
    let cache = [("XDG_CACHE_HOME", folder.path().to_str().expect("UTF-8"))];
    asked("cuda", driver(), &cache);
    let [file] = &kept(folder.path())[..] else { panic!("one file") };
    let whole = fs::read(file).expect("it is there");
    // A file that is whole, with kernels that are none.
    let body = b"bad cubinbad ptx";
    let mut hasher = DefaultHasher::new();
    body[..].hash(&mut hasher);
    let refused = [format!("{:016x} 9 7\n", hasher.finish()).as_bytes(), body].concat();
    for other in [refused, whole[..whole.len() / 2].to_vec(), Vec::new()] {
        fs::write(file, other).expect("it can be written");
        asked("cuda", driver(), &cache);
        assert!(fs::read(file).expect("it is there") == whole, "the kernels are compiled again, and kept");
    }
    // What is good is not made again: a file that was touched would be newer.
    let before = fs::metadata(file).and_then(|found| found.modified()).expect("the time of a file");
    asked("cuda", driver(), &cache);
    assert_eq!(fs::metadata(file).and_then(|found| found.modified()).expect("the time of a file"), before);
}
