//! Parallel regions: one pool of threads for the whole process.
//!
//! A region runs a function on every one of a number of tasks. The caller is worker 0 of it; the others are threads that stay, look
//! for the next region for 20 microseconds, and then sleep. They join a region when they notice it, and the caller waits only for
//! those that did: a region never waits for a thread to wake up. Opening one allocates nothing.
//!
//! If the pool is busy, because a task opens a region itself or another thread has one open, the region runs on the caller alone.
//! Without the feature `threads` every region does.

/// How many threads the machine offers.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work(worker, task)` once for each task below `tasks`, on at most `threads` threads, the caller's among them. `worker` is
/// below `threads`, and no two calls with the same worker run at the same time; nothing else is said of which worker runs what, or
/// when.
///
/// `threads` may be more than the machine offers.
///
/// # Panics
///
/// When a call of `work` does: with its message, once no other call is running. Some tasks may not have been run then.
pub fn run(threads: usize, tasks: usize, work: &(dyn Fn(usize, usize) + Sync)) {
    #[cfg(feature = "threads")]
    if threads.min(tasks) > 1 && workers::run(threads.min(tasks), tasks, work) {
        return;
    }
    let _ = threads;
    (0..tasks).for_each(|task| work(0, task));
}

#[cfg(feature = "threads")]
#[allow(unsafe_code)]
mod workers {
    use std::any::Any;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::ptr;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
    use std::sync::{Mutex, PoisonError, TryLockError};
    use std::thread::{self, Thread};
    use std::time::{Duration, Instant};

    /// How long a thread looks for something to do before it sleeps.
    const SPIN: Duration = Duration::from_micros(20);

    /// The threads besides the callers', worker 1 first. Who holds the lock has the region that is open.
    static THREADS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

    /// The state of the region, in bits: 0..16 how many of `THREADS` are in it, 16 whether more may come in, 17..32 the number that
    /// those who may are below, 32.. its epoch.
    static GATE: AtomicU64 = AtomicU64::new(0);
    const INSIDE: u64 = OPEN - 1;
    const OPEN: u64 = 1 << 16;
    const LIMIT_SHIFT: u32 = 17;
    const LIMIT: u64 = (1 << 15) - 1;
    const EPOCH_SHIFT: u32 = 32;

    /// The region of the current epoch, to be read only from inside it.
    static REGION: AtomicPtr<Region<'static>> = AtomicPtr::new(ptr::null_mut());

    struct Region<'a> {
        work: &'a (dyn Fn(usize, usize) + Sync),
        tasks: usize,
        /// The next task that nobody has taken.
        next: AtomicUsize,
        /// What the first task that panicked said.
        panic: Mutex<Option<Box<dyn Any + Send>>>,
        /// Who opened it.
        caller: Thread,
    }

    impl Region<'_> {
        /// Takes tasks until none is left. It never unwinds.
        fn work(&self, worker: usize) {
            let tasks = || {
                loop {
                    let task = self.next.fetch_add(1, Relaxed);
                    if task >= self.tasks {
                        break;
                    }
                    (self.work)(worker, task);
                }
            };
            // What a panic left half done is seen by nobody but who catches it behind `run`, as without threads.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(tasks)) {
                self.next.store(self.tasks, Relaxed);
                let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
                match &*first {
                    None => *first = Some(panic),
                    // Forgotten, not dropped: its drop could panic in turn.
                    Some(_) => std::mem::forget(panic),
                }
            }
        }
    }

    /// Runs the region, on `workers` threads if there can be so many; false, with nothing done, when it is for the caller alone.
    pub(super) fn run(workers: usize, tasks: usize, work: &(dyn Fn(usize, usize) + Sync)) -> bool {
        let mut threads = match THREADS.try_lock() {
            Ok(threads) => threads,
            Err(TryLockError::Poisoned(threads)) => threads.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let workers = workers.min(LIMIT as usize);
        while threads.len() + 1 < workers {
            let number = threads.len() + 1;
            let named = thread::Builder::new().name(format!("netspec-{number}"));
            let Ok(spawned) = named.spawn(move || serve(number)) else { break };
            threads.push(spawned.thread().clone());
        }
        let workers = workers.min(threads.len() + 1);
        if workers == 1 {
            return false;
        }
        let caller = thread::current();
        let region = Region { work, tasks, next: AtomicUsize::new(0), panic: Mutex::new(None), caller };
        REGION.store((&raw const region).cast::<Region<'static>>().cast_mut(), Relaxed);
        // Nobody is inside and nobody can come in, so that this thread alone changes the gate.
        let epoch = (GATE.load(Relaxed) >> EPOCH_SHIFT).wrapping_add(1);
        // Release: who comes in sees the region.
        GATE.store(epoch << EPOCH_SHIFT | (workers as u64) << LIMIT_SHIFT | OPEN, Release);
        threads[..workers - 1].iter().for_each(Thread::unpark);
        region.work(0);
        // From here to the end of the loop nothing unwinds: the region must outlive those inside.
        let mut gate = GATE.fetch_and(!OPEN, Acquire) & !OPEN;
        while gate & INSIDE != 0 {
            // The last one to leave wakes this thread.
            wait_while(gate);
            gate = GATE.load(Acquire);
        }
        drop(threads);
        if let Some(panic) = region.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
        true
    }

    /// The life of a thread of the pool.
    fn serve(number: usize) {
        let mut last = 0;
        loop {
            let gate = GATE.load(Relaxed);
            let (epoch, limit) = (gate >> EPOCH_SHIFT, gate >> LIMIT_SHIFT & LIMIT);
            if gate & OPEN == 0 || epoch == last || number as u64 >= limit {
                wait_while(gate);
                continue;
            }
            if GATE.compare_exchange(gate, gate + 1, Acquire, Relaxed).is_err() {
                continue;
            }
            last = epoch;
            // SAFETY: the gate was open when this thread came in, so that `REGION` is the region of this epoch; `run` lets it live until
            // nobody is inside. Its fields are `Sync`.
            let region = unsafe { &*REGION.load(Relaxed) };
            let caller = region.caller.clone();
            region.work(number);
            // Release: the caller sees what the tasks wrote. The region may be gone as soon as this thread has left.
            let before = GATE.fetch_sub(1, Release);
            if before & (OPEN | INSIDE) == 1 {
                caller.unpark();
            }
        }
    }

    /// Returns when the gate is not `gate`; who changes it so that a sleeper has something to do unparks the sleeper afterwards.
    fn wait_while(gate: u64) {
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..32 {
                if GATE.load(Relaxed) != gate {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        while GATE.load(Relaxed) == gate {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// Fewer rounds under Miri, which is some thousand times slower.
    const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };

    /// Runs a region and checks that each task ran once, on workers below the limit, one at a time each.
    fn check(threads: usize, tasks: usize) {
        let ran: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        let at_work: Vec<AtomicBool> = (0..threads.max(1)).map(|_| AtomicBool::new(false)).collect();
        run(threads, tasks, &|worker, task| {
            assert!(!at_work[worker].swap(true, SeqCst), "one call of a worker at a time");
            ran[task].fetch_add(1, SeqCst);
            at_work[worker].store(false, SeqCst);
        });
        assert!(ran.iter().all(|count| count.load(SeqCst) == 1), "{threads} threads, {tasks} tasks");
    }

    #[test]
    fn each_task_runs_once() {
        for threads in [0, 1, 2, 3, 7, 20] {
            for tasks in [0, 1, 2, 3, 8, 100] {
                check(threads, tasks);
            }
        }
    }

    #[test]
    fn region_after_region() {
        let mut numbers = vec![0_u64; 4];
        for round in 0..ROUNDS {
            // Plain memory, each task its own: a race would be seen by Miri.
            let cells: Vec<Mutex<&mut u64>> = numbers.iter_mut().map(Mutex::new).collect();
            run(2 + round % 3, 4, &|_, task| **cells[task].try_lock().expect("nobody else has it") += task as u64);
        }
        assert_eq!(numbers, [0, 1, 2, 3].map(|task| task * ROUNDS as u64));
    }

    #[test]
    fn a_region_sees_what_the_last_one_wrote() {
        let numbers: Vec<AtomicUsize> = (0..64).map(|_| AtomicUsize::new(0)).collect();
        for round in 0..ROUNDS / 10 {
            run(3, 64, &|_, task| {
                let before = numbers[(task + round) % 64].load(std::sync::atomic::Ordering::Relaxed);
                assert_eq!(before, round);
            });
            run(3, 64, &|_, task| numbers[task].store(round + 1, std::sync::atomic::Ordering::Relaxed));
        }
    }

    #[test]
    fn regions_in_regions_and_beside_them() {
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS / 100 {
                        run(3, 5, &|_, _| run(3, 5, &|_, _| _ = count.fetch_add(1, SeqCst)));
                    }
                });
            }
        });
        assert_eq!(count.load(SeqCst), 3 * (ROUNDS / 100) * 25);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        for round in 0..ROUNDS.min(200) {
            let bad = round % 8;
            let caught = catch_unwind(AssertUnwindSafe(|| {
                run(3, 8, &|_, task| {
                    if task == bad {
                        std::panic::resume_unwind(Box::new(task));
                    }
                });
            }));
            let payload = caught.expect_err("a task panics");
            assert_eq!(payload.downcast_ref(), Some(&bad));
            check(3, 8);
        }
    }

    #[cfg(feature = "threads")]
    #[test]
    fn several_threads_take_part() {
        // Both tasks wait for each other, so that one thread alone would never end; the other tests may have the pool for a while.
        loop {
            let (met, alone) = (AtomicUsize::new(0), AtomicBool::new(false));
            let start = std::time::Instant::now();
            run(2, 2, &|_, _| {
                met.fetch_add(1, SeqCst);
                while met.load(SeqCst) < 2 && !alone.load(SeqCst) {
                    alone.store(start.elapsed().as_millis() >= 100, SeqCst);
                    std::thread::yield_now();
                }
            });
            if !alone.load(SeqCst) {
                break;
            }
        }
    }
}
