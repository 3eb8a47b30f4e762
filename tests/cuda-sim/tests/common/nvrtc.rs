//! NVRTC, opened from the folder that `NETSPEC_NVRTC_DIR` names. cudarc would look for names of its own version of CUDA only.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::Library;

/// The compiler, or none: then a line says so, and with `NETSPEC_REQUIRE_NVRTC=1` the test fails.
pub(crate) fn nvrtc() -> Option<&'static Nvrtc> {
    static NVRTC: OnceLock<Option<Nvrtc>> = OnceLock::new();
    let found = NVRTC.get_or_init(|| {
        let folder = std::env::var_os("NETSPEC_NVRTC_DIR")?;
        let path = library(Path::new(&folder)).unwrap_or_else(|| panic!("there is no libnvrtc.so.* in {folder:?}"));
        // SAFETY: a library of NVIDIA's, opened as they say.
        let library = unsafe { Library::new(&path) }.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Some(Nvrtc { library })
    });
    if found.is_none() {
        let skipped =
            "SKIPPED: NETSPEC_NVRTC_DIR does not name a folder with libnvrtc.so.* (the wheel nvidia-cuda-nvrtc)";
        assert!(std::env::var_os("NETSPEC_REQUIRE_NVRTC").is_none_or(|value| value != "1"), "{skipped}");
        // Not through `eprintln!`, which a test that passes keeps to itself.
        let _ = writeln!(std::io::stderr(), "{skipped}");
    }
    found.as_ref()
}

fn library(folder: &Path) -> Option<PathBuf> {
    let names = folder.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libnvrtc.so."));
    names.filter(named).min()
}

pub(crate) struct Nvrtc {
    library: Library,
}

impl Nvrtc {
    /// Compiles CUDA C to PTX. In it the source is called `name`, without the folder that NVRTC puts before it.
    ///
    /// # Errors
    ///
    /// The compiler's log.
    pub(crate) fn ptx(&self, name: &str, source: &str, options: &[&str]) -> Result<String, String> {
        let (source, file) = (CString::new(source).unwrap(), CString::new(name).unwrap());
        let options: Vec<CString> = options.iter().map(|option| CString::new(*option).unwrap()).collect();
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: *mut c_void = std::ptr::null_mut();
        // SAFETY: the functions are those of `nvrtc.h`, and all that they are given lives until they return.
        unsafe {
            let none = std::ptr::null::<*const c_char>();
            let create = self.function::<unsafe extern "C" fn(_, _, _, _, _, _) -> c_int>(b"nvrtcCreateProgram\0");
            assert_eq!(create(&mut program, source.as_ptr(), file.as_ptr(), 0, none, none), 0);
            let compile = self.function::<unsafe extern "C" fn(_, _, _) -> c_int>(b"nvrtcCompileProgram\0");
            let status = compile(program, options.len() as c_int, options.as_ptr());
            let text = if status == 0 {
                Ok(self.text(program, b"nvrtcGetPTXSize\0", b"nvrtcGetPTX\0"))
            } else {
                Err(self.text(program, b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0"))
            };
            self.function::<unsafe extern "C" fn(*mut *mut c_void) -> c_int>(b"nvrtcDestroyProgram\0")(&mut program);
            let folder = format!("{}/{name}", std::env::current_dir().unwrap().display());
            text.map(|text| text.replace(&folder, name))
        }
    }

    unsafe fn text(&self, program: *mut c_void, size: &[u8], get: &[u8]) -> String {
        // SAFETY: as above.
        unsafe {
            let mut bytes = 0usize;
            assert_eq!(
                self.function::<unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int>(size)(program, &mut bytes),
                0
            );
            let mut text = vec![0u8; bytes + 1];
            let get = self.function::<unsafe extern "C" fn(*mut c_void, *mut u8) -> c_int>(get);
            assert_eq!(get(program, text.as_mut_ptr()), 0);
            CStr::from_bytes_until_nul(&text).unwrap().to_string_lossy().into_owned()
        }
    }

    unsafe fn function<F: Copy>(&self, name: &[u8]) -> F {
        // SAFETY: the caller gives the type that the function has.
        *unsafe { self.library.get::<F>(name) }.unwrap()
    }
}
