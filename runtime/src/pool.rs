//! Parallel regions. (First form: to be replaced by persistent workers.)

/// How many threads a machine offers.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work(worker, task)` for each of `tasks`, on at most `threads` workers; each worker's number is used by one thread at a time.
pub fn run(threads: usize, tasks: usize, work: &(dyn Fn(usize, usize) + Sync)) {
    let _ = threads;
    (0..tasks).for_each(|task| work(0, task));
}
