//! What no other driver has: findings, counters, and the order of blocks and warps. All of it is the calling thread's.
//!
//! From Rust, [`crate::open`] calls these.

use std::ffi::{CStr, c_char, c_uint};

use super::state::{Session, session};
use super::{Status, exports, put, put_text};
use crate::counters::{Activity, Counters};
use crate::exec::Order;

exports! {
    /// Forgets the error that a broken kernel left, all findings and all counts. Settings stay.
    fn cudaSimReset() {
        session(|session| {
            session.error = None;
            session.findings.clear();
            session.counters.clear();
            session.activity = Activity::default();
        });
        Ok(())
    }

    /// 0: the first block and the first warp run first. 1: the last ones do.
    fn cudaSimSetOrder(order: c_uint) {
        let order = match order {
            0 => Order::Forward,
            1 => Order::Reversed,
            _ => return Err(Status::INVALID_VALUE),
        };
        session(|session| session.order = order);
        Ok(())
    }

    /// What the device says it is: 8, 0 if nothing is set.
    fn cudaSimSetComputeCapability(major: c_uint, minor: c_uint) {
        session(|session| session.capability = (major as i32, minor as i32));
        Ok(())
    }

    /// 0: findings are written to the standard error too. 1: they are not.
    fn cudaSimSetQuiet(quiet: c_uint) {
        session(|session| session.quiet = quiet != 0);
        Ok(())
    }

    /// How many findings there are.
    fn cudaSimFindingCount(count: *mut usize) {
        unsafe { put(count, session(|session| session.findings.len())) }
    }

    /// The check and the message of a finding, with the message's length: it is cut off where `capacity` ends.
    fn cudaSimFinding(index: usize, check: *mut u32, length: *mut usize, message: *mut c_char, capacity: usize) {
        let finding = session(|session| session.findings.get(index).cloned()).ok_or(Status::INVALID_VALUE)?;
        unsafe {
            put(check, finding.check as u32)?;
            put(length, finding.message.len())?;
            put_text(message, capacity, &finding.message);
        }
        Ok(())
    }

    /// How many kernels ran.
    fn cudaSimKernelCount(count: *mut usize) {
        unsafe { put(count, session(|session| session.counters.len())) }
    }

    /// The name of one of these, in alphabetical order, with its length.
    fn cudaSimKernelName(index: usize, length: *mut usize, name: *mut c_char, capacity: usize) {
        let nth = |session: &mut Session| session.counters.keys().nth(index).cloned();
        let found = session(nth).ok_or(Status::INVALID_VALUE)?;
        unsafe {
            put(length, found.len())?;
            put_text(name, capacity, &found);
        }
        Ok(())
    }

    /// The counts of a kernel, or with a null name of all kernels together.
    fn cudaSimCounters(name: *const c_char, counters: *mut Counters) {
        let found = if name.is_null() {
            session(|session| {
                let mut total = Counters::default();
                session.counters.values().for_each(|counters| total += *counters);
                Some(total)
            })
        } else {
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            session(|session| session.counters.get(name.as_ref()).copied())
        };
        unsafe { put(counters, found.ok_or(Status::NOT_FOUND)?) }
    }

    /// What the program asked for.
    fn cudaSimActivity(activity: *mut Activity) {
        unsafe { put(activity, session(|session| session.activity)) }
    }
}
