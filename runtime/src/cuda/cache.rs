//! Compiled kernels that are kept, so that they are compiled once: the folder `kernels` in `netspec` in the user's cache folder, where
//! `netc` builds its programs, too. It can be removed at any time.
//!
//! A file is a line with a sum of what follows and two lengths, then the cubin, then the PTX. What is damaged, or cannot be read or
//! written, is as if it were not there: the kernels are compiled again.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::PathBuf;

use super::nvrtc::Compiled;
use crate::files::write_whole;

/// What kernels follow from.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Key<'a> {
    /// The source.
    pub(super) source: &'a str,
    /// The compiler's options, of which one is the architecture.
    pub(super) options: &'a [String],
    /// The compiler's version.
    pub(super) version: (u32, u32),
}

/// Where they are kept.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The user's; None where there is no folder for it.
    pub(super) fn of_user() -> Option<Cache> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let local = || if cfg!(windows) { absolute("LOCALAPPDATA") } else { None };
        let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".cache"));
        let root = absolute("XDG_CACHE_HOME").or_else(local).or_else(home)?;
        Some(Cache { folder: root.join("netspec").join("kernels") })
    }

    /// What is kept under a key. Its log is empty.
    pub(super) fn get(&self, key: &Key<'_>) -> Option<Compiled> {
        let bytes = fs::read(self.file(key)).ok()?;
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let (head, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
        let mut words = head.split(' ');
        let (sum, cubin, ptx) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse::<usize>().ok()?);
        let (cubin, rest) = body.split_at_checked(cubin)?;
        if sum != self::sum(body) || rest.len() != ptx {
            return None;
        }
        Some(Compiled { cubin: cubin.to_vec(), ptx: String::from_utf8(rest.to_vec()).ok()?, log: String::new() })
    }

    /// Keeps what was compiled, if it can.
    pub(super) fn put(&self, key: &Key<'_>, compiled: &Compiled) {
        let Compiled { cubin, ptx, .. } = compiled;
        let body = [cubin, ptx.as_bytes()].concat();
        let made = fs::create_dir_all(&self.folder);
        // What cannot be kept is compiled again next time.
        let _ = made.map(|()| {
            write_whole(&self.file(key), |file| {
                writeln!(file, "{} {} {}", sum(&body), cubin.len(), ptx.len())?;
                file.write_all(&body)
            })
        });
    }

    fn file(&self, key: &Key<'_>) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.folder.join(format!("{:016x}", hasher.finish()))
    }
}

fn sum(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder for tests");
        let cache = Cache { folder: folder.path().join("made/when/needed") };
        let options = ["--gpu-architecture=sm_80".to_owned()];
        let key = Key { source: "kernel", options: &options, version: (12, 9) };
        let compiled = Compiled { cubin: vec![1, b'\n', 0, 255], ptx: ".version 8.0\n".to_owned(), log: String::new() };
        assert_eq!(cache.get(&key), None);
        cache.put(&key, &compiled);
        assert_eq!(cache.get(&key), Some(compiled.clone()));
        let file = cache.file(&key);
        let entries = fs::read_dir(file.parent().expect("it is in a folder")).expect("it is there");
        assert_eq!(entries.count(), 1, "nothing is left beside");

        let whole = fs::read(&file).expect("it is there");
        for len in 0..whole.len() {
            fs::write(&file, &whole[..len]).expect("it can be written");
            assert_eq!(cache.get(&key), None, "{len} bytes of {}", whole.len());
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).expect("it can be written");
            assert_eq!(cache.get(&key), None, "byte {at} changed");
        }
        cache.put(&key, &compiled);
        assert_eq!(cache.get(&key), Some(compiled));
    }

    #[test]
    fn each_part_of_a_key_matters() {
        let folder = tempfile::tempdir().expect("a folder for tests");
        let cache = Cache { folder: folder.path().to_owned() };
        let options = ["--gpu-architecture=sm_80", "--gpu-architecture=sm_90"].map(str::to_owned);
        let key = Key { source: "kernel", options: &options[..1], version: (12, 9) };
        let others = [
            Key { source: "kerne1", ..key },
            Key { options: &options[1..], ..key },
            Key { options: &options, ..key },
            Key { version: (13, 0), ..key },
        ];
        for other in others {
            assert_ne!(cache.file(&other), cache.file(&key), "{other:?}");
        }
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_is() {
        let folder = tempfile::tempdir().expect("a folder for tests");
        let file = folder.path().join("a file");
        fs::write(&file, b"").expect("it can be written");
        let cache = Cache { folder: file.join("in it") };
        let key = Key { source: "", options: &[], version: (12, 0) };
        cache.put(&key, &Compiled { cubin: Vec::new(), ptx: String::new(), log: String::new() });
        assert_eq!(cache.get(&key), None);
    }
}
