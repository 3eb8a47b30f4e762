//! Files that are whole or not there at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Error;

/// Writes a file: beside its place first, and renamed when it is whole, so that the old one, if there is one, stays until then.
///
/// # Errors
///
/// [`Error::File`] when the system does not let it be written. Nothing is left behind then.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::write(path, &io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")));
    };
    // As hidden files are named, with the process and a number, so that no two writers meet.
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.{}.tmp", std::process::id(), NUMBER.fetch_add(1, Relaxed)));
    let beside = path.with_file_name(beside);
    let written = File::create_new(&beside).and_then(|file| {
        let mut writer = BufWriter::new(file);
        let written = write(&mut writer).and_then(|()| writer.flush());
        // Closed before it is renamed or removed: some systems want that.
        drop(writer);
        let renamed = written.and_then(|()| fs::rename(&beside, path));
        if renamed.is_err() {
            // What is wrong is said already; a file that stays is the lesser trouble.
            let _ = fs::remove_file(&beside);
        }
        renamed
    });
    written.map_err(|error| Error::write(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_stays_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder for tests");
        let path = folder.path().join("report.txt");
        write_whole(&path, |file| file.write_all(b"first")).expect("it can be written");
        let failed = write_whole(&path, |file| {
            file.write_all(b"half of the sec")?;
            Err(io::Error::other("no more room"))
        });
        let text = format!("cannot write {}: no more room", path.display());
        assert_eq!(failed.map_err(|error| error.to_string()), Err(text));
        assert_eq!(fs::read(&path).expect("it is there"), b"first");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder is there").count(), 1);
        assert!(write_whole(Path::new("/"), |_| Ok(())).is_err());
        assert!(write_whole(&folder.path().join("no/folder"), |_| Ok(())).is_err());
    }
}
