//! Wakes the upkeep thread when there is something to do, and only then.

use super::db::lock;
use crate::limits::CHECKPOINT_FRAMES;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What there is to do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Work {
    /// The WAL has grown.
    pub checkpoint: bool,
    /// Something was committed after a time without commits.
    pub commits: bool,
    /// The disk is getting full.
    pub space: bool,
    /// The server ends.
    pub stop: bool,
}

/// Shared by those who find work and the one who does it.
#[derive(Default, Debug)]
pub struct Signal {
    work: Mutex<Work>,
    wake: Condvar,
    checkpoint_asked: AtomicBool,
    /// The upkeep thread waits without a deadline: nothing was committed since it looked.
    idle: AtomicBool,
    stopping: AtomicBool,
}

impl Signal {
    fn raise(&self, set: impl FnOnce(&mut Work)) {
        set(&mut lock(&self.work));
        self.wake.notify_one();
    }

    /// A transaction was committed and left the WAL this long.
    pub fn committed(&self, wal_frames: u64) {
        if wal_frames >= CHECKPOINT_FRAMES && !self.checkpoint_asked.swap(true, Ordering::Relaxed) {
            self.raise(|work| work.checkpoint = true);
        }
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::SeqCst) {
            self.raise(|work| work.commits = true);
        }
    }

    /// Free space is low.
    pub fn space(&self) {
        self.raise(|work| work.space = true);
    }

    /// The server ends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.raise(|work| work.stop = true);
    }

    /// Whether the server ends.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// From now on the next commit ends a wait. To be called before looking for work one last
    /// time before a wait without deadline.
    pub fn idle(&self) {
        self.idle.store(true, Ordering::SeqCst);
    }

    /// Waits for work, at most so long if there is a deadline.
    pub fn wait(&self, at_most: Option<Duration>) -> Work {
        let mut work = lock(&self.work);
        if *work == Work::default() {
            work = match at_most {
                Some(time) => {
                    self.wake.wait_timeout(work, time).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(work).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let found = std::mem::take(&mut *work);
        if found.checkpoint {
            self.checkpoint_asked.store(false, Ordering::Relaxed);
        }
        found
    }
}
