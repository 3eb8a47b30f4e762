//! What the lanes of a warp tell each other: shuffles, votes, matches and reductions.

use crate::checks::{Check, Fault};
use crate::ptx::instruction::{AtomicOp, Dest, ShuffleMode, Source, VoteMode};

use super::Block;
use super::warp::{LANES, Warp, lanes};

impl Block<'_> {
    /// A lane that executes such an instruction must be named in its own mask.
    pub(crate) fn check_members(&self, warp: &Warp, members: Source, mask: u32) -> Result<(), Fault> {
        let members = self.narrow(warp, members);
        match lanes(mask).find(|&lane| members[lane] >> lane & 1 == 0) {
            None => Ok(()),
            Some(lane) => {
                let message = format!("lane {lane} is not in its own mask {:#010x}", members[lane]);
                Err(Fault::new(Check::WarpMask, lane, message))
            }
        }
    }

    /// Instructions on matrices are for all lanes of a warp.
    pub(crate) fn check_whole(&self, mask: u32) -> Result<(), Fault> {
        if mask == u32::MAX {
            return Ok(());
        }
        let message = format!("only lanes {mask:#010x} come to an instruction of the whole warp");
        Err(Fault::new(Check::WarpMask, None, message))
    }

    /// `shfl`: the pseudocode of PTX ISA 9.7.9.6.
    pub(crate) fn shuffle(
        &self,
        warp: &mut Warp,
        mode: ShuffleMode,
        [dest, valid]: [Dest; 2],
        operands: [Source; 4],
        mask: u32,
    ) -> Result<(), Fault> {
        let [value, amount, clamp, members] = operands.map(|operand| self.narrow(warp, operand));
        let mut values = value;
        let mut in_range = 0;
        for lane in lanes(mask) {
            let own = lane as u32;
            let (segment, bound, amount) = (clamp[lane] >> 8 & 31, clamp[lane] & 31, amount[lane] & 31);
            let least = own & segment;
            let most = least | (bound & !segment);
            let (other, inside) = match mode {
                ShuffleMode::Up => (own.wrapping_sub(amount), own as i32 - amount as i32 >= most as i32),
                ShuffleMode::Down => (own + amount, own + amount <= most),
                ShuffleMode::Butterfly => (own ^ amount, own ^ amount <= most),
                ShuffleMode::Index => (least | (amount & !segment), least | (amount & !segment) <= most),
            };
            if !inside {
                continue;
            }
            in_range |= 1 << lane;
            if (mask & members[lane]) >> other & 1 == 0 {
                let message = format!(
                    "lane {lane} reads from lane {other}, which does not take part: mask {:#010x}",
                    members[lane]
                );
                return Err(Fault::new(Check::WarpMask, lane, message));
            }
            values[lane] = value[other as usize];
        }
        warp.write32(dest, &values, mask);
        warp.write_pred(valid, in_range, mask);
        Ok(())
    }

    pub(crate) fn vote(
        &self,
        warp: &mut Warp,
        mode: VoteMode,
        dest: Dest,
        condition: Source,
        members: Source,
        mask: u32,
    ) {
        let yes = warp.read_pred(condition);
        let members = self.narrow(warp, members);
        let mut ballots = [0; LANES];
        let mut outcome = 0;
        for lane in lanes(mask) {
            let named = members[lane] & mask;
            let holds = match mode {
                VoteMode::All => named & !yes == 0,
                VoteMode::Any => named & yes != 0,
                VoteMode::Uniform => named & yes == 0 || named & !yes == 0,
                VoteMode::Ballot => false,
            };
            ballots[lane] = named & yes;
            outcome |= u32::from(holds) << lane;
        }
        match mode {
            VoteMode::Ballot => warp.write32(dest, &ballots, mask),
            _ => warp.write_pred(dest, outcome, mask),
        }
    }

    pub(crate) fn matching(
        &self,
        warp: &mut Warp,
        all: bool,
        [dest, same]: [Dest; 2],
        value: Source,
        members: Source,
        mask: u32,
    ) {
        let value = self.wide(warp, value);
        let members = self.narrow(warp, members);
        let mut equal = [0; LANES];
        let mut agreed = 0;
        for lane in lanes(mask) {
            let named = members[lane] & mask;
            let same =
                lanes(named).filter(|&other| value[other] == value[lane]).fold(0, |same, other| same | 1 << other);
            equal[lane] = if all && same != named { 0 } else { same };
            agreed |= u32::from(same == named) << lane;
        }
        warp.write32(dest, &equal, mask);
        warp.write_pred(same, agreed, mask);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    pub(crate) fn reduce(
        &self,
        warp: &mut Warp,
        op: AtomicOp,
        signed: bool,
        dest: Dest,
        value: Source,
        members: Source,
        mask: u32,
    ) {
        let value = self.narrow(warp, value);
        let members = self.narrow(warp, members);
        let mut values = [0; LANES];
        for lane in lanes(mask) {
            let named = lanes(members[lane] & mask).map(|other| value[other]);
            values[lane] = named.reduce(|a, b| super::memory::combine32(op, signed, a, b)).unwrap_or(0);
        }
        warp.write32(dest, &values, mask);
    }
}
