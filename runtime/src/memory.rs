//! Memory of floats, aligned to 64 bytes: a line of the cache, and the widest vector.
#![allow(unsafe_code)]

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
            self.lines = vec![Line([0.0; LINE]); lines];
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
}
