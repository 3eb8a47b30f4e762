//! What is known of every word of memory: who wrote it and who read it last, and when.
//!
//! Time is a number that grows with every barrier, every `__syncwarp`, every block and every launch; so whether two accesses are ordered
//! is seen from the threads that made them and from when they did. Blocks run one after another here, but those of one launch are never
//! ordered: what they do at the same bytes must not depend on it.

/// Where a thread stands in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When the launch began: everything before is done.
    pub(crate) launch: u64,
    /// When the block began.
    pub(crate) block: u64,
    /// When the block was at its last barrier: what its threads did before is done.
    pub(crate) barrier: u64,
    /// Now: what the threads of this warp did before is done.
    pub(crate) now: u64,
}

/// When the host wrote, and when the first launch begins.
const HOST: u64 = 1;
pub(crate) const FIRST_LAUNCH: u64 = 2;

/// What a thread does to some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
    /// Through the cache for what is not written during the launch.
    ReadOnly,
    /// Volatile, relaxed and the like, which do not race with each other or with atomics.
    StrongRead,
    StrongWrite,
    /// Reads and writes.
    Atomic,
    /// `cp.async`: a write that is done when it has been waited for.
    AsyncWrite,
}

impl Kind {
    fn reads(self) -> bool {
        matches!(self, Kind::Read | Kind::ReadOnly | Kind::StrongRead | Kind::Atomic)
    }

    fn writes(self) -> bool {
        !matches!(self, Kind::Read | Kind::ReadOnly | Kind::StrongRead)
    }

    fn strong(self) -> bool {
        matches!(self, Kind::StrongRead | Kind::StrongWrite | Kind::Atomic)
    }
}

/// Why an access is not allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Conflict {
    /// Nothing wrote the bytes.
    Uninitialised,
    /// A copy into the bytes has not been waited for.
    InFlight,
    /// Something in this launch wrote what is read as if nothing did.
    NotReadOnly,
    /// With a thread of this block; none if it was one of several.
    Thread { other: Option<u32>, wrote: bool },
    /// With a block of this launch, which ran at that time.
    Block { time: u64, wrote: bool },
}

/// The shadow of four bytes.
struct Word {
    writer: Writer,
    reader: Reader,
}

impl From<[u64; 2]> for Word {
    #[inline(always)]
    fn from([writer, reader]: [u64; 2]) -> Word {
        Word { writer: Writer(writer), reader: Reader(reader) }
    }
}

impl From<Word> for [u64; 2] {
    #[inline(always)]
    fn from(word: Word) -> [u64; 2] {
        [word.writer.0, word.reader.0]
    }
}

/// Bits 0 to 3: which bytes were ever written. 4 to 7: which the last writer wrote. 8: whether it was a strong write. 9: whether it is a copy
/// that is not done. 10 to 19: the thread. From 20: when.
#[derive(Clone, Copy)]
struct Writer(u64);

impl Writer {
    const STRONG: u64 = 1 << 8;
    const IN_FLIGHT: u64 = 1 << 9;

    fn new(time: u64, thread: u32, bytes: u64, initialised: u64, flags: u64) -> Writer {
        Writer(time << 20 | u64::from(thread) << 10 | flags | bytes << 4 | initialised)
    }

    fn time(self) -> u64 {
        self.0 >> 20
    }

    fn thread(self) -> u32 {
        (self.0 >> 10) as u32 & 0x3ff
    }

    fn bytes(self) -> u64 {
        self.0 >> 4 & 0xf
    }

    fn initialised(self) -> u64 {
        self.0 & 0xf
    }
}

/// Bits 0 to 3: which bytes were read. 4: by several lanes of the warp since it was last in step. 5: by several warps since the last
/// barrier. 6: by several blocks of the launch. 7: by a strong read. 10 to 19: the last thread. From 20: when.
#[derive(Clone, Copy, Default)]
struct Reader(u64);

impl Reader {
    const LANES: u64 = 1 << 4;
    const WARPS: u64 = 1 << 5;
    const BLOCKS: u64 = 1 << 6;
    const STRONG: u64 = 1 << 7;

    fn time(self) -> u64 {
        self.0 >> 20
    }

    fn thread(self) -> u32 {
        (self.0 >> 10) as u32 & 0x3ff
    }

    fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// The reader after `thread` read too. Who read another part of the word is forgotten: that neither misleads nor is often of use.
    fn and(self, clock: &Clock, thread: u32, bytes: u64, strong: bool) -> Reader {
        let mut flags = if strong { Self::STRONG } else { 0 };
        if self.time() >= clock.launch && self.0 & 0xf == bytes {
            flags &= self.0 | !Self::STRONG;
            flags |= self.0 & Self::BLOCKS;
            if self.time() < clock.block {
                flags |= Self::BLOCKS;
            } else if self.time() >= clock.barrier {
                flags |= self.0 & Self::WARPS;
                if self.thread() / 32 != thread / 32 {
                    flags |= Self::WARPS;
                } else if self.time() >= clock.now && (self.thread() != thread || self.has(Self::LANES)) {
                    flags |= Self::LANES;
                }
            }
        }
        Reader(clock.now << 20 | u64::from(thread) << 10 | flags | bytes)
    }
}

/// The shadow of an allocation, or of a block's shared memory.
#[derive(Default)]
pub(crate) struct Shadow {
    /// Each a [`Word`]. In this form fresh ones are memory that the system has not yet given: most of a large allocation may never be touched.
    words: Vec<[u64; 2]>,
}

impl Shadow {
    /// Of memory that nobody has written.
    pub(crate) fn new(bytes: usize) -> Shadow {
        Shadow { words: vec![[0; 2]; bytes.div_ceil(4)] }
    }

    /// Takes note of an access to the bytes from `offset`, all of them in one word or a number of whole ones.
    ///
    /// With `fresh`, what was written before the launch began is not there any more: in shared memory, a block is a launch of its own.
    ///
    /// # Errors
    ///
    /// When it is not allowed; then nothing is noted.
    #[inline(always)]
    pub(crate) fn touch(
        &mut self,
        offset: usize,
        bytes: usize,
        clock: &Clock,
        thread: u32,
        kind: Kind,
        fresh: bool,
    ) -> Result<(), Conflict> {
        let mask = if bytes < 4 { ((1 << bytes) - 1) << (offset & 3) } else { 0xf };
        for words in &mut self.words[offset / 4..(offset + bytes).div_ceil(4)] {
            let mut word = Word::from(*words);
            word.touch(clock, thread, mask, kind, fresh)?;
            *words = word.into();
        }
        Ok(())
    }

    /// A copy into these bytes was waited for by `thread`.
    pub(crate) fn land(&mut self, offset: usize, bytes: usize, now: u64, thread: u32) {
        for words in &mut self.words[offset / 4..(offset + bytes).div_ceil(4)] {
            let writer = Writer(words[0]);
            words[0] = Writer::new(now, thread, writer.bytes(), writer.initialised(), 0).0;
        }
    }

    /// The host wrote these bytes.
    pub(crate) fn host_write(&mut self, offset: usize, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let (first, last) = (offset / 4, (offset + bytes - 1) / 4);
        for (at, words) in self.words[first..=last].iter_mut().enumerate() {
            let mut mask = 0xf;
            if at == 0 {
                mask &= 0xf << (offset & 3);
            }
            if first + at == last {
                mask &= 0xf >> (3 - ((offset + bytes - 1) & 3));
            }
            let writer = Writer::new(HOST, 0, mask, mask | Writer(words[0]).initialised(), 0);
            *words = Word { writer, reader: Reader::default() }.into();
        }
    }

    /// The byte has no value any more.
    pub(crate) fn forget(&mut self, offset: usize) {
        self.words[offset / 4][0] &= !(1 << (offset & 3));
    }

    /// Calls `found` with the place, from `offset` on, of each byte that nothing has written.
    pub(crate) fn for_unwritten(&self, offset: usize, bytes: usize, mut found: impl FnMut(usize)) {
        for at in 0..bytes {
            let writer = Writer(self.words[(offset + at) / 4][0]);
            if writer.initialised() >> ((offset + at) & 3) & 1 == 0 {
                found(at);
            }
        }
    }
}

impl Word {
    #[inline(always)]
    fn touch(&mut self, clock: &Clock, thread: u32, mask: u64, kind: Kind, fresh: bool) -> Result<(), Conflict> {
        let writer = self.writer;
        let gone = fresh && writer.time() < clock.launch;
        let initialised = if gone { 0 } else { writer.initialised() };
        if kind.reads() && mask & !initialised != 0 {
            return Err(Conflict::Uninitialised);
        }
        if writer.time() >= clock.launch && writer.bytes() & mask != 0 {
            if writer.0 & Writer::IN_FLIGHT != 0 {
                return Err(Conflict::InFlight);
            }
            if kind == Kind::ReadOnly {
                return Err(Conflict::NotReadOnly);
            }
            if !(kind.strong() && writer.0 & Writer::STRONG != 0) {
                unordered(clock, thread, writer.time(), writer.thread(), true)?;
            }
        }
        if kind.writes() {
            self.check_readers(clock, thread, mask, kind)?;
            // Another part of the word that the same thread wrote just before is still its own.
            let before = if writer.time() == clock.now && writer.thread() == thread { writer.bytes() } else { 0 };
            let flags = match kind {
                Kind::AsyncWrite => Writer::IN_FLIGHT,
                _ if kind.strong() => Writer::STRONG,
                _ => 0,
            };
            self.writer = Writer::new(clock.now, thread, before | mask, initialised | mask, flags);
        } else {
            self.reader = self.reader.and(clock, thread, mask, kind.strong());
        }
        Ok(())
    }

    fn check_readers(&self, clock: &Clock, thread: u32, mask: u64, kind: Kind) -> Result<(), Conflict> {
        let reader = self.reader;
        if reader.time() < clock.launch || reader.0 & mask == 0 || (kind.strong() && reader.has(Reader::STRONG)) {
            return Ok(());
        }
        if reader.has(Reader::BLOCKS) || reader.time() < clock.block {
            return Err(Conflict::Block { time: reader.time(), wrote: false });
        }
        if reader.time() >= clock.barrier {
            if reader.has(Reader::WARPS) || (reader.has(Reader::LANES) && reader.time() >= clock.now) {
                let other = (reader.thread() != thread).then_some(reader.thread());
                return Err(Conflict::Thread { other, wrote: false });
            }
            unordered(clock, thread, reader.time(), reader.thread(), false)?;
        }
        Ok(())
    }
}

/// Whether nothing orders what `other` did at `time` before what `thread` does now.
fn unordered(clock: &Clock, thread: u32, time: u64, other: u32, wrote: bool) -> Result<(), Conflict> {
    if time < clock.launch {
        Ok(())
    } else if time < clock.block {
        Err(Conflict::Block { time, wrote })
    } else if other == thread || time < clock.barrier || (other / 32 == thread / 32 && time < clock.now) {
        Ok(())
    } else {
        Err(Conflict::Thread { other: Some(other), wrote })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Clock = Clock { launch: 10, block: 20, barrier: 20, now: 20 };

    fn touch(shadow: &mut Shadow, clock: Clock, thread: u32, kind: Kind) -> Result<(), Conflict> {
        shadow.touch(0, 4, &clock, thread, kind, false)
    }

    #[test]
    fn threads_are_ordered_by_barriers_and_warps_by_syncwarp() {
        let mut shadow = Shadow::new(4);
        assert_eq!(touch(&mut shadow, START, 3, Kind::Read), Err(Conflict::Uninitialised));
        touch(&mut shadow, START, 3, Kind::Write).unwrap();
        touch(&mut shadow, START, 3, Kind::Read).unwrap();
        let race = Err(Conflict::Thread { other: Some(3), wrote: true });
        assert_eq!(touch(&mut shadow, START, 4, Kind::Read), race);
        let in_step = Clock { now: 21, ..START };
        touch(&mut shadow, in_step, 4, Kind::Read).unwrap();
        assert_eq!(touch(&mut shadow, in_step, 40, Kind::Read), race);
        touch(&mut shadow, Clock { barrier: 22, now: 22, ..START }, 40, Kind::Read).unwrap();
    }

    #[test]
    fn a_write_waits_for_every_reader() {
        let mut shadow = Shadow::new(4);
        shadow.host_write(0, 4);
        for thread in [1, 2, 3] {
            touch(&mut shadow, START, thread, Kind::Read).unwrap();
        }
        let race = |other| Err(Conflict::Thread { other, wrote: false });
        assert_eq!(touch(&mut shadow, START, 3, Kind::Write), race(None));
        assert_eq!(touch(&mut shadow, START, 1, Kind::Write), race(Some(3)));
        touch(&mut shadow, Clock { now: 21, ..START }, 1, Kind::Write).unwrap();
    }

    #[test]
    fn readers_of_several_warps_are_all_waited_for() {
        let mut shadow = Shadow::new(4);
        shadow.host_write(0, 4);
        for thread in [40, 1] {
            touch(&mut shadow, START, thread, Kind::Read).unwrap();
        }
        let race = Err(Conflict::Thread { other: None, wrote: false });
        assert_eq!(touch(&mut shadow, Clock { now: 21, ..START }, 1, Kind::Write), race);
        touch(&mut shadow, Clock { barrier: 22, now: 22, ..START }, 1, Kind::Write).unwrap();
    }

    #[test]
    fn blocks_are_never_ordered_and_launches_always() {
        let mut shadow = Shadow::new(4);
        touch(&mut shadow, START, 0, Kind::Write).unwrap();
        let next = Clock { block: 30, barrier: 30, now: 30, ..START };
        assert_eq!(touch(&mut shadow, next, 0, Kind::Read), Err(Conflict::Block { time: 20, wrote: true }));
        let launch = Clock { launch: 30, ..next };
        touch(&mut shadow, launch, 5, Kind::Read).unwrap();
        let next = Clock { block: 40, barrier: 40, now: 40, ..launch };
        touch(&mut shadow, next, 5, Kind::Read).unwrap();
        assert_eq!(touch(&mut shadow, next, 5, Kind::Write), Err(Conflict::Block { time: 40, wrote: false }));
    }

    #[test]
    fn bytes_of_a_word_are_apart() {
        let mut shadow = Shadow::new(4);
        shadow.touch(0, 2, &START, 1, Kind::Write, false).unwrap();
        shadow.touch(2, 2, &START, 40, Kind::Write, false).unwrap();
        assert_eq!(
            shadow.touch(2, 1, &START, 1, Kind::Write, false),
            Err(Conflict::Thread { other: Some(40), wrote: true })
        );
        let mut unwritten = Vec::new();
        let mut shadow = Shadow::new(8);
        shadow.host_write(3, 2);
        shadow.for_unwritten(0, 8, |at| unwritten.push(at));
        assert_eq!(unwritten, [0, 1, 2, 5, 6, 7]);
    }

    #[test]
    fn halves_are_changed_in_place_by_their_own_threads() {
        let mut shadow = Shadow::new(4);
        shadow.host_write(0, 4);
        for kind in [Kind::Read, Kind::Write] {
            for thread in [0, 1] {
                shadow.touch(2 * thread as usize, 2, &START, thread, kind, false).unwrap();
            }
        }
        let race = Err(Conflict::Thread { other: Some(1), wrote: true });
        assert_eq!(shadow.touch(0, 4, &START, 0, Kind::Read, false), race);
    }

    #[test]
    fn atomics_race_only_with_what_is_not_atomic() {
        let mut shadow = Shadow::new(4);
        shadow.host_write(0, 4);
        touch(&mut shadow, START, 1, Kind::Atomic).unwrap();
        touch(&mut shadow, START, 40, Kind::Atomic).unwrap();
        touch(&mut shadow, START, 41, Kind::StrongRead).unwrap();
        assert_eq!(touch(&mut shadow, START, 1, Kind::Read), Err(Conflict::Thread { other: Some(40), wrote: true }));
    }

    #[test]
    fn a_copy_must_be_waited_for_and_then_ordered() {
        let mut shadow = Shadow::new(4);
        touch(&mut shadow, START, 1, Kind::AsyncWrite).unwrap();
        assert_eq!(touch(&mut shadow, START, 1, Kind::Read), Err(Conflict::InFlight));
        shadow.land(0, 4, 20, 1);
        touch(&mut shadow, START, 1, Kind::Read).unwrap();
        assert_eq!(touch(&mut shadow, START, 2, Kind::Read), Err(Conflict::Thread { other: Some(1), wrote: true }));
    }
}
