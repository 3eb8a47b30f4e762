//! Files, whole and in pieces.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::Error;

/// Opens a regular file; None when there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>, Error> {
    // Asked before it is opened: to open a FIFO waits for its writer.
    match fs::metadata(path) {
        Ok(kind) if kind.is_file() => {}
        Ok(_) => {
            return Err(Error::Unreadable { path: path.to_owned(), reason: "it is not a regular file".to_owned() });
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(Error::unreadable(path, &error)),
    }
    File::open(path).map(Some).map_err(|error| Error::unreadable(path, &error))
}

/// The bytes of a file; None when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let Some(mut file) = open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Error::unreadable(path, &error))?;
    Ok(Some(bytes))
}

/// Looks for each of `names` in a folder.
pub(super) fn find(folder: &Path, names: &[&str], dataset: &str) -> Result<(), Error> {
    let is_missing = |name: &&&str| !folder.join(name).exists();
    let missing: Vec<&str> = names.iter().filter(is_missing).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = if folder.is_dir() {
        format!("{} of {dataset}", missing.join(", "))
    } else {
        format!("a folder with {} of {dataset}", names.join(", "))
    };
    Err(Error::Missing { path: folder.to_owned(), wanted })
}

/// What a file holds, from its first byte on, and where that is read.
pub(super) struct Bytes<'a> {
    path: &'a Path,
    from: Box<dyn Read + 'a>,
    offset: usize,
}

impl<'a> Bytes<'a> {
    /// The bytes of a reader, unpacked when the path ends in `.gz`.
    pub(super) fn new(path: &'a Path, from: impl Read + 'a) -> Bytes<'a> {
        let is_packed = path.extension().is_some_and(|ending| ending == "gz");
        let from: Box<dyn Read> =
            if is_packed { Box::new(MultiGzDecoder::new(io::BufReader::new(from))) } else { Box::new(from) };
        Bytes { path, from, offset: 0 }
    }

    /// Where the next byte stands.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The next `count` bytes; `what` names them.
    pub(super) fn take(&mut self, count: usize, what: &str) -> Result<Vec<u8>, Error> {
        // Memory grows with what is there, not with what a header promises.
        let mut bytes = Vec::new();
        let read = (&mut self.from).take(count as u64).read_to_end(&mut bytes);
        let end = self.offset + bytes.len();
        read.map_err(|error| self.problem(end, &error))?;
        if bytes.len() < count {
            return Err(Error::content(
                self.path,
                end,
                format!("{count} bytes of {what}"),
                format!("only {}", bytes.len()),
            ));
        }
        self.offset = end;
        Ok(bytes)
    }

    /// All bytes that follow.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.from.read_to_end(&mut bytes);
        read.map_err(|error| self.problem(self.offset + bytes.len(), &error))?;
        self.offset += bytes.len();
        Ok(bytes)
    }

    /// Asserts that nothing follows.
    pub(super) fn end(&mut self, wanted: &str) -> Result<(), Error> {
        let more = (&mut self.from).take(1).read_to_end(&mut Vec::new());
        match more.map_err(|error| self.problem(self.offset, &error))? {
            0 => Ok(()),
            _ => Err(Error::content(self.path, self.offset, wanted, "more bytes")),
        }
    }

    /// An unpacker says in the same way that a file is damaged as a system that it cannot be read.
    fn problem(&self, offset: usize, error: &io::Error) -> Error {
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                Error::content(self.path, offset, "a gzip file", format!("something else ({error})"))
            }
            _ => Error::unreadable(self.path, error),
        }
    }
}
