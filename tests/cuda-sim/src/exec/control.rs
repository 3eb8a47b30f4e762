//! Which lanes of a warp are executed, and where they go.
//!
//! Those at the lowest address run first, all of them that stand there; they run on until they part, or come to where others stand. So lanes
//! meet again after a branch, since compilers lay out code forward. Where it is not so, nothing depends on it: lanes that come alone to an
//! instruction of the whole warp, or to a barrier, wait there until the others come, and only when these cannot come any more is it wrong.

use crate::checks::{Check, Fault};
use crate::ptx::instruction::{Instruction, Op, Source};

use super::Block;
use super::warp::{LANES, Warp, lanes};

/// Where something went wrong, and what.
type Stop = (u32, Fault);

impl Block<'_> {
    /// Runs a warp until all its lanes have ended or wait for the block.
    pub(crate) fn run_warp(&mut self, warp: &mut Warp) -> Result<(), Stop> {
        let code = self.launch.kernel.code.as_slice();
        loop {
            let ready = warp.live & !warp.at_barrier & !warp.parked;
            if ready == 0 {
                match lanes(warp.parked).next() {
                    None => return Ok(()),
                    Some(lane) => return Err((warp.pc[lane], self.deserted(warp, code, warp.pc[lane]))),
                }
            }
            let pc = lanes(ready).map(|lane| warp.pc[lane]).min().unwrap_or(0);
            let (mut here, mut next) = (0, u32::MAX);
            for lane in lanes(ready) {
                if warp.pc[lane] == pc {
                    here |= 1 << lane;
                } else {
                    next = next.min(warp.pc[lane]);
                }
            }
            self.run_lanes(warp, code, pc, here, next)?;
        }
    }

    /// Runs the lanes `here` from `pc` on, until they part, wait, or come to where the `next` lanes stand.
    fn run_lanes(
        &mut self,
        warp: &mut Warp,
        code: &[Instruction],
        mut pc: u32,
        mut here: u32,
        next: u32,
    ) -> Result<(), Stop> {
        loop {
            let instruction = &code[pc as usize];
            let mask = match instruction.guard {
                None => here,
                Some((predicate, negated)) => {
                    let bits = warp.predicates[predicate as usize];
                    here & if negated { !bits } else { bits }
                }
            };
            self.counters.warp_instructions += 1;
            self.counters.lane_instructions += u64::from(mask.count_ones());
            self.counters.divergent_instructions += u64::from(here != warp.live);
            let fallen = |warp: &mut Warp, lanes_left: u32| lanes(lanes_left).for_each(|lane| warp.pc[lane] = pc + 1);
            match &instruction.op {
                _ if mask == 0 => pc += 1,
                Op::Branch { target } => {
                    if *target <= pc && self.counters.warp_instructions > self.launch.max_instructions {
                        let message =
                            format!("still runs after {} instructions of its warps", self.launch.max_instructions);
                        return Err((pc, Fault::new(Check::Endless, None, message)));
                    }
                    if mask != here || *target > next {
                        fallen(warp, here & !mask);
                        lanes(mask).for_each(|lane| warp.pc[lane] = *target);
                        return Ok(());
                    }
                    pc = *target;
                }
                Op::BranchTable { index, targets } => {
                    let index = warp.read32(*index, &self.index, 0);
                    fallen(warp, here & !mask);
                    for lane in lanes(mask) {
                        let Some(target) = targets.get(index[lane] as usize) else {
                            let message = format!("a branch to place {} of {}", index[lane], targets.len());
                            return Err((pc, Fault::new(Check::Bounds, lane, message)));
                        };
                        warp.pc[lane] = *target;
                    }
                    return Ok(());
                }
                Op::Exit => {
                    warp.live &= !mask;
                    here &= !mask;
                    pc += 1;
                    if here == 0 {
                        return Ok(());
                    }
                }
                Op::Barrier | Op::BarrierVote { .. } => {
                    if let Op::BarrierVote { mode, dest, condition } = instruction.op {
                        warp.vote |= warp.read_pred(condition) & mask;
                        warp.voting = Some((mode, dest));
                    }
                    warp.at_barrier |= mask;
                    lanes(mask).for_each(|lane| warp.pc[lane] = pc);
                    fallen(warp, here & !mask);
                    return Ok(());
                }
                op => {
                    if let Some(members) = op.members() {
                        let together = mask | self.parked_at(warp, pc);
                        if !self.complete(warp, members, together) {
                            lanes(mask).for_each(|lane| warp.pc[lane] = pc);
                            warp.parked |= mask;
                            fallen(warp, here & !mask);
                            return Ok(());
                        }
                        if together != mask {
                            // The others go on with these from here.
                            warp.parked &= !together;
                            self.step(warp, instruction, together).map_err(|fault| (pc, fault))?;
                            fallen(warp, here | together);
                            return Ok(());
                        }
                    }
                    self.step(warp, instruction, mask).map_err(|fault| (pc, fault))?;
                    pc += 1;
                }
            }
            if pc >= next {
                lanes(here).for_each(|lane| warp.pc[lane] = pc);
                return Ok(());
            }
        }
    }

    fn parked_at(&self, warp: &Warp, pc: u32) -> u32 {
        lanes(warp.parked).filter(|&lane| warp.pc[lane] == pc).fold(0, |mask, lane| mask | 1 << lane)
    }

    /// Whether all lanes that are named by those that came, came too. Lanes for which the block has no threads need not.
    fn complete(&self, warp: &Warp, members: Source, came: u32) -> bool {
        let members = warp.read32(members, &self.index, 0);
        lanes(came).all(|lane| members[lane] & warp.present & !came == 0)
    }

    /// Why lanes that wait at `pc`, when nothing else can run, wait in vain.
    fn deserted(&self, warp: &Warp, code: &[Instruction], pc: u32) -> Fault {
        let came = self.parked_at(warp, pc);
        let members = code[pc as usize].op.members().unwrap_or(Source::Number(0));
        let named = warp.read32(members, &self.index, 0);
        let lane = lanes(came).find(|&lane| named[lane] & warp.present & !came != 0).unwrap_or(0);
        let message = format!("waits for lanes {:#010x}, of which only {came:#010x} come", named[lane]);
        Fault::new(Check::WarpMask, lane, message)
    }

    /// Executes an instruction that goes on to the next, for some lanes.
    fn step(&mut self, warp: &mut Warp, instruction: &Instruction, mask: u32) -> Result<(), Fault> {
        match &instruction.op {
            Op::Int { op, ty, dest, sources } => self.int(warp, *op, *ty, *dest, sources, mask),
            Op::MulWide { ty, dest, a, b, add } => self.multiply_wide(warp, *ty, *dest, [*a, *b], *add, mask),
            Op::Float { op, ty, mode, dest, sources } => self.float(warp, *op, *ty, *mode, *dest, sources, mask),
            Op::Compare { ty, ftz, how, with, dest, a, b } => {
                let outcome = self.compare(warp, *ty, *ftz, *how, *a, *b);
                self.write_comparison(warp, *with, dest, outcome, mask);
            }
            Op::Set { to, ty, ftz, how, dest, a, b } => {
                let outcome = self.compare(warp, *ty, *ftz, *how, *a, *b);
                let yes = if to.float() { 1f32.to_bits() } else { u32::MAX };
                let values = std::array::from_fn(|lane| if outcome >> lane & 1 != 0 { yes } else { 0 });
                warp.write32(*dest, &values, mask);
            }
            Op::Predicate { how, dest, a, b } => self.predicate(warp, *how, *dest, *a, *b, mask),
            Op::Select { dest, a, b, condition } => self.select(warp, *dest, *a, *b, *condition, mask),
            Op::Convert { to, from, mode, ftz, sat, relu, dest, source } => {
                let how = super::convert::How { mode: *mode, ftz: *ftz, sat: *sat, relu: *relu };
                self.convert(warp, *to, *from, how, *dest, *source, mask);
            }
            Op::ConvertPair { to, relu, dest, high, low } => {
                self.convert_pair(warp, *to, *relu, *dest, [*high, *low], mask);
            }
            Op::Pack { bits, dest, parts } => self.pack(warp, *bits, *dest, parts, mask),
            Op::Unpack { bits, dest, source } => self.unpack(warp, *bits, dest, *source, mask),
            Op::Load { access, dest } => self.load(warp, access, dest, mask)?,
            Op::Store { access, sources } => self.store(warp, access, sources, mask)?,
            Op::Atomic { op, access, dest, a, b } => self.atomic(warp, *op, access, *dest, [*a, *b], mask)?,
            Op::CopyAsync { shared, global, bytes, source_bytes } => {
                self.copy_async(warp, *shared, *global, *bytes, *source_bytes, mask)?;
            }
            Op::CopyCommit => lanes(mask).for_each(|lane| warp.groups[lane] += 1),
            Op::CopyWait { but } => self.copy_wait(warp, *but, mask),
            Op::WarpBarrier { mask: members } => {
                self.check_members(warp, *members, mask)?;
                self.clock.now += 1;
            }
            Op::Shuffle { mode, dest, valid, value, lane, clamp, mask: members } => {
                self.check_members(warp, *members, mask)?;
                let operands = [*value, *lane, *clamp, *members];
                self.shuffle(warp, *mode, [*dest, *valid], operands, mask)?;
            }
            Op::Vote { mode, dest, condition, mask: members } => {
                self.check_members(warp, *members, mask)?;
                self.vote(warp, *mode, *dest, *condition, *members, mask);
            }
            Op::Match { all, dest, same, value, mask: members } => {
                self.check_members(warp, *members, mask)?;
                self.matching(warp, *all, [*dest, *same], *value, *members, mask);
            }
            Op::Reduce { op, signed, dest, value, mask: members } => {
                self.check_members(warp, *members, mask)?;
                self.reduce(warp, *op, *signed, *dest, *value, *members, mask);
            }
            Op::ActiveMask { dest } => warp.write32(*dest, &[mask; LANES], mask),
            Op::LoadMatrix { count, transposed, dest, address } => {
                self.check_whole(mask)?;
                self.load_matrix(warp, *count, *transposed, dest, *address)?;
            }
            Op::Mma { factor, depth, dest, a, b, c } => {
                self.check_whole(mask)?;
                self.mma(warp, *factor, *depth, dest, [a, b, c]);
            }
            Op::Trap { why } => return Err(Fault::new(Check::Trap, lanes(mask).next(), *why)),
            Op::Nothing => {}
            Op::Branch { .. } | Op::BranchTable { .. } | Op::Exit | Op::Barrier | Op::BarrierVote { .. } => {
                unreachable!("`run_lanes` executes what does not go on to the next instruction")
            }
        }
        Ok(())
    }
}
