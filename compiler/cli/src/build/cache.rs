//! The folder where programs are built: `netspec` in the user's cache folder. It can be removed at any time.
//!
//! ```text
//! lock              held while a program is built
//! target/           cargo's, for all programs, so that what they depend on is compiled once
//! programs/NAME/    a crate; a hash of what is in it is in its name
//! ```

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::Problem;
use super::package::Package;

/// The folder, locked.
pub(super) struct Cache {
    root: PathBuf,
    _lock: File,
}

impl Cache {
    /// Waits until nobody else builds.
    pub(super) fn lock() -> Result<Cache, Problem> {
        let root = root().ok_or_else(|| {
            Problem::new("there is no folder to build in: set XDG_CACHE_HOME to one, or HOME to your own")
        })?;
        fs::create_dir_all(&root).map_err(|error| Problem::of("make the folder", &root, &error))?;
        let path = root.join("lock");
        let of = |error| Problem::of("lock", &path, &error);
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(of)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another netc to build its program");
                lock.lock().map_err(of)?;
            }
            Err(TryLockError::Error(error)) => return Err(of(error)),
        }
        Ok(Cache { root, _lock: lock })
    }

    /// Cargo's target folder.
    pub(super) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Writes a package; gives its folder.
    pub(super) fn write(&self, package: &Package) -> Result<PathBuf, Problem> {
        let folder = self.root.join("programs").join(&package.name);
        let source = folder.join("src");
        fs::create_dir_all(&source).map_err(|error| Problem::of("make the folder", &source, &error))?;
        write(&folder.join("Cargo.toml"), &package.manifest)?;
        write(&source.join("main.rs"), &package.main)?;
        // Cargo leaves out of it what the program does not need.
        let lock = folder.join("Cargo.lock");
        match &package.lock {
            Some(text) if !lock.exists() => write(&lock, text)?,
            _ => {}
        }
        Ok(folder)
    }
}

/// `$XDG_CACHE_HOME/netspec` or `~/.cache/netspec`; on Windows the folder for such things.
fn root() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let local = || if cfg!(windows) { absolute("LOCALAPPDATA") } else { None };
    let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".cache"));
    Some(absolute("XDG_CACHE_HOME").or_else(local).or_else(home)?.join("netspec"))
}

/// Writes a file beside its place and renames it, unless it is so already: cargo builds anew what was written.
fn write(path: &Path, text: &str) -> Result<(), Problem> {
    if fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    let beside = path.with_file_name(temporary(path.file_name().unwrap_or_default()));
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| Problem::of("write", path, &error))
}

/// The name of a file until it is whole: hidden, and with this process in it, so that no two meet.
pub(super) fn temporary(name: &OsStr) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    temporary
}
