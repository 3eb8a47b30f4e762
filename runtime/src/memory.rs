//! Memory of floats, aligned to 64 bytes: a line of the cache, and the widest vector. What is large lies in large pages.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// Floats of a line.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats that kernels work in. It never shrinks, so that later passes allocate nothing.
#[derive(Default)]
pub(crate) struct Memory {
    lines: Vec<Line>,
}

impl Memory {
    /// Makes room for at least `len` floats. What was in it is lost when it grows.
    pub(crate) fn reserve(&mut self, len: usize) {
        let lines = len.div_ceil(LINE);
        if self.lines.len() < lines {
            // The old lines are given back first.
            self.lines = Vec::new();
            self.lines = Vec::with_capacity(lines);
            ask_for_large_pages(self.lines.spare_capacity_mut());
            self.lines.resize(lines, Line([0.0; LINE]));
        }
    }

    /// Its first `len` floats.
    pub(crate) fn floats(&self, len: usize) -> &[f32] {
        // SAFETY: a `Line` is 16 floats without padding, so that the lines are 16 times as many floats, borrowed like them.
        let all = unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<f32>(), self.lines.len() * LINE) };
        &all[..len]
    }

    /// Its first `len` floats, to be written.
    pub(crate) fn floats_mut(&mut self, len: usize) -> &mut [f32] {
        let lines = self.lines.len() * LINE;
        // SAFETY: as in `floats`.
        let all = unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<f32>(), lines) };
        &mut all[..len]
    }

    /// The bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }
}

/// Asks that memory which nobody has touched be made of large pages, as far as whole ones lie inside it. Of small ones a processor knows
/// the places of some 8 MiB at once: where weights are read by column, it would look up one for every line. A refusal is no error.
fn ask_for_large_pages<T>(memory: &mut [MaybeUninit<T>]) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::ffi::{c_int, c_void};

        unsafe extern "C" {
            fn madvise(first: *mut c_void, len: usize, advice: c_int) -> c_int;
        }
        /// Bytes of a large page, where small ones have 4 KiB.
        const LARGE_PAGE: usize = 2 << 20;
        /// `MADV_HUGEPAGE`.
        const HUGE_PAGE: c_int = 14;

        let first = memory.as_ptr().addr();
        let (begin, end) =
            (first.next_multiple_of(LARGE_PAGE), (first + size_of_val(memory)) / LARGE_PAGE * LARGE_PAGE);
        if begin < end {
            // SAFETY: `begin..end` is a part of the memory, which is borrowed alone; the advice changes nothing that it holds.
            unsafe { madvise(memory.as_mut_ptr().byte_add(begin - first).cast(), end - begin, HUGE_PAGE) };
        }
    }
    let _ = memory;
}

/// So many floats, which begin at the beginning of a line.
#[derive(Default)]
pub(crate) struct Aligned {
    memory: Memory,
    len: usize,
}

impl Aligned {
    pub(crate) fn zeros(len: usize) -> Aligned {
        let mut zeros = Aligned::default();
        zeros.resize(len);
        zeros
    }

    /// Makes them so many: zeros where there were none ever, of any content else.
    pub(crate) fn resize(&mut self, len: usize) {
        self.memory.reserve(len);
        self.len = len;
    }
}

impl From<&[f32]> for Aligned {
    fn from(floats: &[f32]) -> Aligned {
        let mut aligned = Aligned::zeros(floats.len());
        aligned.copy_from_slice(floats);
        aligned
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.memory.floats(self.len)
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.memory.floats_mut(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_grows() {
        let mut memory = Memory::default();
        assert!(memory.floats(0).is_empty());
        for (len, bytes) in [(1, 64), (17, 128), (3, 128)] {
            memory.reserve(len);
            let floats = memory.floats_mut(len);
            assert_eq!(floats.as_ptr().addr() % 64, 0);
            floats.fill(1.0);
            assert_eq!((memory.floats(len)[len - 1], memory.bytes()), (1.0, bytes));
        }
    }

    #[test]
    fn large_memory_is_zeros_and_may_be_written() {
        // More than two large pages, so that a whole one is inside.
        let len = if cfg!(miri) { 100 } else { (5 << 20) / 4 + 3 };
        let mut floats = Aligned::zeros(len);
        assert!(floats.len() == len && floats.iter().all(|&float| float == 0.0));
        floats[len - 1] = 1.0;
        assert_eq!(Aligned::from(&floats[len - 2..])[..], [0.0, 1.0]);
        floats.resize(2);
        assert_eq!((floats.len(), floats.as_ptr().addr() % 64), (2, 0));
    }
}
