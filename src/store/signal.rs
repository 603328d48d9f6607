//! Wakes the upkeep thread when there is something to do, and only then.

use super::db::lock;
use crate::limits::CHECKPOINT_FRAMES;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
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
    wal_frames: AtomicU64,
    moved_frames: AtomicU64,
    /// When the last checkpoint ended, in milliseconds since 1970; 0: none since the start.
    pub checkpoint_ms: AtomicI64,
    /// The upkeep thread waits without a deadline: nothing was committed since it looked.
    idle: AtomicBool,
    stopping: AtomicBool,
}

impl Signal {
    fn raise(&self, set: impl FnOnce(&mut Work)) {
        set(&mut lock(&self.work));
        self.wake.notify_one();
    }

    /// A transaction was committed and left the WAL this long. Only the writer calls this.
    pub fn committed(&self, wal_frames: u64) {
        let before = self.wal_frames.swap(wal_frames, Ordering::Relaxed);
        if wal_frames < before {
            // The WAL has started over.
            self.moved_frames.store(0, Ordering::Relaxed);
        }
        let due = self.moved_frames.load(Ordering::Relaxed) + CHECKPOINT_FRAMES;
        if wal_frames >= due && !self.checkpoint_asked.swap(true, Ordering::Relaxed) {
            self.raise(|work| work.checkpoint = true);
        }
        if self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::SeqCst) {
            self.raise(|work| work.commits = true);
        }
    }

    /// A checkpoint has moved so many frames of the WAL; the next one is for those after them.
    pub fn checkpointed(&self, frames: u64) {
        self.moved_frames.store(frames, Ordering::Relaxed);
        self.checkpoint_asked.store(false, Ordering::Relaxed);
    }

    /// Frames in the WAL after the last commit.
    pub fn wal_frames(&self) -> u64 {
        self.wal_frames.load(Ordering::Relaxed)
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
        std::mem::take(&mut *work)
    }
}
