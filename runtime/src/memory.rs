//! Memory of floats, aligned to 64 bytes: a line of the cache, and the widest vector. What is long of it lies in large pages.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

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
            resize(&mut self.lines, lines, Line([0.0; LINE]));
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

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Makes a vector longer or shorter, with this value where it is new. If that takes memory, it asks for large pages: a pass goes through
/// megabytes of weights and gradients, whose small pages are more than a core keeps the addresses of.
pub(crate) fn resize<T: Clone>(vector: &mut Vec<T>, len: usize, value: T) {
    if len > vector.capacity() {
        vector.reserve_exact(len - vector.len());
        // Before it is written, since a page is as large as the system makes it then.
        ask_for_large_pages(vector.spare_capacity_mut());
    }
    vector.resize(len, value);
}

/// So many zeros, as [`resize`] makes them.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    let mut zeros = Vec::new();
    resize(&mut zeros, len, 0.0);
    zeros
}

/// Asks for large pages where whole ones fit. A system that has none to give goes on with small ones.
fn ask_for_large_pages<T>(room: &mut [MaybeUninit<T>]) {
    let first = room.as_mut_ptr().cast::<u8>();
    let before = first.addr().next_multiple_of(LARGE_PAGE) - first.addr();
    let bytes = size_of_val(room).saturating_sub(before) / LARGE_PAGE * LARGE_PAGE;
    #[cfg(all(target_os = "linux", not(miri)))]
    if bytes > 0 {
        use std::ffi::{c_int, c_void};

        unsafe extern "C" {
            /// That of the C library, on which the standard library stands.
            fn madvise(first: *mut c_void, len: usize, advice: c_int) -> c_int;
        }
        const MADV_HUGEPAGE: c_int = 14;
        // SAFETY: whole pages inside memory that this process has; the advice changes nothing of what is in them.
        unsafe { madvise(first.add(before).cast(), bytes, MADV_HUGEPAGE) };
    }
    let _ = bytes;
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
    fn a_vector_grows_in_whatever_pages() {
        let mut vector = vec![1.0; 3];
        // Two large pages; less under Miri, which is some thousand times slower.
        let most = if cfg!(miri) { 64 } else { 2 * LARGE_PAGE / size_of::<f32>() };
        for len in [2, most, 5] {
            let before = vector.len().min(len);
            resize(&mut vector, len, 2.0);
            assert!(vector.len() == len && vector[before..].iter().all(|&value| value == 2.0));
        }
        assert_eq!((&vector[..2], vector.capacity()), (&[1.0; 2][..], most));
        assert!(zeros(0).is_empty());
    }
}
