//! NVRTC, NVIDIA's compiler of CUDA C: found, loaded and called.
//!
//! Its library is opened here and not by cudarc, which panics where there is none, knows the names of one major version alone, and asks
//! it for PTX but not for a cubin.
#![allow(unsafe_code)]

use std::env;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use libloading::Library;

use crate::Error;
use crate::error::DeviceProblem;

/// The variable with the folder in which NVRTC's library is, where the system does not find it.
pub const FOLDER: &str = "NETSPEC_NVRTC_DIR";

/// The names under which it is installed.
const NAMES: &[&str] = if cfg!(windows) {
    &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"]
} else {
    &["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]
};

/// The oldest version that is used: the major version that the driver must have, too.
const OLDEST: (u32, u32) = (12, 0);

/// A program of NVRTC's.
type Program = *mut c_void;

/// What its functions give: 0 when all went well.
type Status = c_int;

/// A text or binary of a program: what gives its bytes, and what writes them.
type Part = (unsafe extern "C" fn(Program, *mut usize) -> Status, unsafe extern "C" fn(Program, *mut c_char) -> Status);

/// The compiler.
pub struct Nvrtc {
    version: (u32, u32),
    /// The architectures that it compiles for, `80` for sm_80.
    archs: Vec<u32>,
    error_string: unsafe extern "C" fn(Status) -> *const c_char,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    log: Part,
    ptx: Part,
    cubin: Part,
    /// The functions are in it.
    _library: Library,
}

/// Kernels as the driver takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// For one architecture.
    pub cubin: Vec<u8>,
    /// For the driver to compile for any later one.
    pub ptx: String,
    /// What the compiler says: with `--ptxas-options=-v` the registers, the spilled bytes and the shared memory of each kernel.
    pub log: String,
}

impl Nvrtc {
    /// The compiler, loaded once in a process: from the folder that [`FOLDER`] names, else from where the system finds it.
    ///
    /// # Errors
    ///
    /// [`DeviceProblem::NoCompiler`], [`DeviceProblem::OldCompiler`].
    pub fn get() -> Result<&'static Nvrtc, Error> {
        static LOADED: OnceLock<Nvrtc> = OnceLock::new();
        if let Some(nvrtc) = LOADED.get() {
            return Ok(nvrtc);
        }
        let nvrtc = Nvrtc::load(env::var_os(FOLDER).as_deref())?;
        Ok(LOADED.get_or_init(|| nvrtc))
    }

    /// Loads it from a folder, or from where the system finds it.
    fn load(folder: Option<&OsStr>) -> Result<Nvrtc, Error> {
        let none = |problem: String| Error::Device(DeviceProblem::NoCompiler { problem });
        let nvrtc = match folder.filter(|folder| !folder.is_empty()).map(Path::new) {
            Some(folder) => {
                let path = library_in(folder).map_err(none)?;
                Nvrtc::open(path.as_os_str())
            }
            None => {
                let opened = NAMES.iter().map(|name| Nvrtc::open(name.as_ref()));
                opened.reduce(|first, other| first.or(other)).unwrap_or(Err(String::new()))
            }
        };
        let nvrtc = nvrtc.map_err(none)?;
        match nvrtc.version {
            version if version < OLDEST => Err(Error::Device(DeviceProblem::OldCompiler { found: version })),
            _ => Ok(nvrtc),
        }
    }

    /// Opens a library.
    fn open(name: &OsStr) -> Result<Nvrtc, String> {
        // SAFETY: NVRTC's library may be loaded and unloaded, and its functions have the types that `nvrtc.h` gives them. They are copied
        // out of the library, which is kept beside them.
        unsafe {
            let library = Library::new(name).map_err(said)?;
            macro_rules! function {
                ($name:literal) => {
                    *library.get($name.to_bytes_with_nul()).map_err(said)?
                };
            }
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status = function!(c"nvrtcVersion");
            let (mut major, mut minor) = (0, 0);
            version(&mut major, &mut minor);
            let count_archs: unsafe extern "C" fn(*mut c_int) -> Status = function!(c"nvrtcGetNumSupportedArchs");
            let list_archs: unsafe extern "C" fn(*mut c_int) -> Status = function!(c"nvrtcGetSupportedArchs");
            let mut count = 0;
            count_archs(&mut count);
            let mut archs = vec![0; usize::try_from(count).unwrap_or(0)];
            if !archs.is_empty() {
                list_archs(archs.as_mut_ptr());
            }
            Ok(Nvrtc {
                version: (major.unsigned_abs(), minor.unsigned_abs()),
                archs: archs.into_iter().map(c_int::unsigned_abs).collect(),
                error_string: function!(c"nvrtcGetErrorString"),
                create: function!(c"nvrtcCreateProgram"),
                compile: function!(c"nvrtcCompileProgram"),
                destroy: function!(c"nvrtcDestroyProgram"),
                log: (function!(c"nvrtcGetProgramLogSize"), function!(c"nvrtcGetProgramLog")),
                ptx: (function!(c"nvrtcGetPTXSize"), function!(c"nvrtcGetPTX")),
                cubin: (function!(c"nvrtcGetCUBINSize"), function!(c"nvrtcGetCUBIN")),
                _library: library,
            })
        }
    }

    /// Its version: that of the CUDA toolkit that it is a part of.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The newest architecture that it compiles for up to a card's: its own, unless the card is newer. A newer card takes the PTX.
    pub(super) fn arch_for(&self, card: u32) -> u32 {
        self.archs.iter().copied().filter(|arch| *arch <= card).max().unwrap_or(card)
    }

    /// Compiles a source; `name` is what its messages call it.
    ///
    /// # Errors
    ///
    /// [`DeviceProblem::Compile`], with what the compiler says.
    pub fn compile(&self, name: &str, source: &str, options: &[String]) -> Result<Compiled, Error> {
        let failed = |log: String| {
            Error::Device(DeviceProblem::Compile { version: self.version, options: options.join(" "), log })
        };
        let text = |text: &str| CString::new(text).map_err(|error| failed(error.to_string()));
        let (name, source) = (text(name)?, text(source)?);
        let texts = options.iter().map(|option| text(option)).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = texts.iter().map(|option| option.as_ptr()).collect();
        let mut program = Unit { of: self, program: ptr::null_mut() };
        // SAFETY: all texts end with a zero and outlive the calls; there are no headers.
        let status =
            unsafe { (self.create)(&mut program.program, source.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null()) };
        self.check(status).map_err(failed)?;
        // SAFETY: as above; there are as many pointers as options.
        let status = unsafe { (self.compile)(program.program, pointers.len() as c_int, pointers.as_ptr()) };
        let log = program.text(self.log).map_err(failed)?;
        self.check(status).map_err(|problem| failed(if log.is_empty() { problem } else { log.clone() }))?;
        let (ptx, cubin) = (program.text(self.ptx).map_err(failed)?, program.bytes(self.cubin).map_err(failed)?);
        Ok(Compiled { cubin, ptx, log })
    }

    /// What a status means, when it is no success.
    fn check(&self, status: Status) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: it gives a text that is never freed, for any number.
        Err(unsafe { CStr::from_ptr((self.error_string)(status)) }.to_string_lossy().into_owned())
    }
}

/// What is compiled at once.
struct Unit<'a> {
    of: &'a Nvrtc,
    program: Program,
}

impl Unit<'_> {
    fn bytes(&self, (size, get): Part) -> Result<Vec<u8>, String> {
        let mut len = 0;
        // SAFETY: the program lives; `get` writes as many bytes as `size` has said.
        unsafe {
            self.of.check(size(self.program, &mut len))?;
            let mut bytes = vec![0_u8; len];
            self.of.check(get(self.program, bytes.as_mut_ptr().cast()))?;
            Ok(bytes)
        }
    }

    /// A text; it ends with a zero.
    fn text(&self, part: Part) -> Result<String, String> {
        let bytes = self.bytes(part)?;
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

impl Drop for Unit<'_> {
    fn drop(&mut self) {
        if !self.program.is_null() {
            // SAFETY: it was created, and is destroyed once.
            unsafe { (self.of.destroy)(&mut self.program) };
        }
    }
}

/// What the system's loader says.
fn said(error: libloading::Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// NVRTC's library in a folder, the newest of several: `libnvrtc.so.13`, and not `libnvrtc-builtins.so.13.2`.
fn library_in(folder: &Path) -> Result<PathBuf, String> {
    let of = |problem: String| format!("{FOLDER} is {}, {problem}", folder.display());
    let entries = fs::read_dir(folder).map_err(|error| of(format!("which cannot be read: {error}")))?;
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if cfg!(windows) {
            name.starts_with("nvrtc64_") && name.ends_with(".dll")
        } else {
            name.starts_with("libnvrtc.so")
        }
    };
    let library = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_library).max();
    let library = library.ok_or_else(|| of(format!("in which there is no {}", NAMES[0])))?;
    // An absolute path is opened as it stands, wherever the system would look for a name.
    library.canonicalize().map_err(|error| of(format!("and its library cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(folder: &Path) -> String {
        match Nvrtc::load(Some(folder.as_os_str())) {
            Err(Error::Device(DeviceProblem::NoCompiler { problem })) => problem,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("there is none"),
        }
    }

    #[test]
    fn a_folder_without_the_compiler_is_told() {
        let folder = tempfile::tempdir().expect("a folder for tests");
        let path = folder.path();
        fs::write(path.join("libnvrtc-builtins.so.13.2"), b"").expect("it can be written");
        let none = format!("NETSPEC_NVRTC_DIR is {}, in which there is no {}", path.display(), NAMES[0]);
        assert_eq!(problem(path), none);
        let nowhere = path.join("none");
        assert!(problem(&nowhere).starts_with(&format!("{FOLDER} is {}, which cannot be read: ", nowhere.display())));
    }

    #[cfg(unix)]
    #[test]
    fn the_newest_library_of_a_folder_is_taken_and_what_is_none_is_told() {
        let folder = tempfile::tempdir().expect("a folder for tests");
        for name in ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc-builtins.so.13.2", "libnvrtc.alt.so.13"] {
            fs::write(folder.path().join(name), b"no library").expect("it can be written");
        }
        let found = library_in(folder.path()).expect("there is one");
        assert!(found.ends_with("libnvrtc.so.13") && found.is_absolute());
        // In the words of the system's loader.
        assert!(problem(folder.path()).contains("libnvrtc.so.13"));
    }
}
