//! What can be wrong with data.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What can be wrong with data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder is not there.
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What was looked for: `a folder with data_batch_1.bin, …`.
        wanted: String,
    },
    /// A file is there and cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file does not hold what it should.
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes; of a packed file where in what it unpacks to.
        offset: u64,
        /// What should be there.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// The data has not what was asked of it: an unknown class, say. The whole text.
    Unfit(String),
}

impl Error {
    /// What the system says of a file that cannot be read.
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Error {
        Error::Unreadable { path: path.to_owned(), reason: error.to_string() }
    }

    /// What is wrong at a place of a file.
    pub(super) fn content(path: &Path, offset: usize, wanted: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Content { path: path.to_owned(), offset: offset as u64, wanted: wanted.into(), found: found.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing { path, wanted } => write!(f, "{}: not found; looked for {wanted}", path.display()),
            Error::Unreadable { path, reason } => write!(f, "{}: cannot be read: {reason}", path.display()),
            Error::Content { path, offset, wanted, found } => {
                write!(f, "{}: at byte {offset}: expected {wanted}, found {found}", path.display())
            }
            Error::Unfit(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
