//! The texts a compilation has read, and places in them.
//!
//! A [`Span`] is a range of bytes of one file; everything from the AST on carries spans, never lines or columns, which are
//! worked out only when a diagnostic is printed.

use std::ops::Range;

/// One of the files of a [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A range of bytes `start..end` of one file, on character boundaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes `range` of `file`. Files are limited to 1 MiB (see [`crate::limits`]), so offsets fit 32 bits.
    pub fn new(file: FileId, range: Range<usize>) -> Span {
        Span { file, start: range.start as u32, end: range.end as u32 }
    }

    /// The smallest span that holds `self` and `other`, which is in the same file.
    pub fn to(self, other: Span) -> Span {
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The empty span where this one begins.
    pub fn before(self) -> Span {
        Span { end: self.start, ..self }
    }

    /// The empty span where this one ends.
    pub fn after(self) -> Span {
        Span { start: self.end, ..self }
    }

    /// The bytes, as a range.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Which of the two spellings a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `.netspec` text, also the text inside `netspec! { … }`.
    Netspec,
    /// YAML.
    Yaml,
}

impl Spelling {
    /// The spelling that a path's ending tells: `.yaml` and `.yml` are YAML, `.netspec` is the DSL.
    pub fn of_path(path: &str) -> Option<Spelling> {
        match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Spelling::Yaml),
            "netspec" => Some(Spelling::Netspec),
            _ => None,
        }
    }
}

/// A text that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// As the user named it.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// How it is spelled.
    pub spelling: Spelling,
}

impl File {
    /// Line and column, both from 1, of a byte offset; the column counts characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// Every text of a compilation, in the order they were read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<File>,
}

impl Sources {
    /// Adds a text.
    pub fn add(&mut self, file: File) -> FileId {
        self.files.push(file);
        FileId(self.files.len() as u32 - 1)
    }

    /// The file of an id that [`Sources::add`] gave.
    pub fn file(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }

    /// All files, in the order they were read.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The text of a span.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).text.get(span.range()).unwrap_or_default()
    }

    /// The line, from 1, where a span begins.
    pub fn line(&self, span: Span) -> usize {
        self.file(span.file).line_column(span.start as usize).0
    }
}
