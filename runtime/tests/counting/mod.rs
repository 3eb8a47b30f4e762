//! An allocator that counts, for tests that say what is allocated. Such a test is the only one of its process, so that nobody else
//! allocates.
// To count allocations is to be the allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts what the whole process takes.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are taken now, and the most there ever were.
static BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it does what `System` does; `realloc` and `alloc_zeroed` are made of these, so that they count too.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, SeqCst);
        PEAK.fetch_max(BYTES.fetch_add(layout.size(), SeqCst) + layout.size(), SeqCst);
        // SAFETY: the caller's word for the layout.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller's word for the memory, which `alloc` took of `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often a call allocates.
pub(crate) fn allocations(run: impl FnOnce()) -> usize {
    let before = COUNT.load(SeqCst);
    run();
    COUNT.load(SeqCst) - before
}

/// Bytes that a call takes at most, beside what is there.
#[allow(dead_code)]
pub(crate) fn peak(run: impl FnOnce()) -> u64 {
    let before = BYTES.load(SeqCst);
    PEAK.store(before, SeqCst);
    run();
    (PEAK.load(SeqCst) - before) as u64
}

/// Starts the threads of the pool, which allocates: the region ends when all are in it.
pub(crate) fn start_threads(threads: usize) {
    let met = AtomicUsize::new(0);
    netspec::pool::run(threads, threads, &|_, _| {
        met.fetch_add(1, SeqCst);
        while met.load(SeqCst) < threads {
            std::thread::yield_now();
        }
    });
}
