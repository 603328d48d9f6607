//! Notices when the file system takes long to find room for a new file in a folder.
//!
//! ext4 gives out no inode that was freed within the last minute or so; it looks at each of them
//! first, and prefers groups of blocks that were just emptied for new folders. After many files were
//! deleted a create then costs a millisecond of CPU instead of 20 us, until the group is left.

use rustix::time::{ClockId, clock_gettime};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// CPU time of one create that is far too much.
const SLOW_CREATE: Duration = Duration::from_micros(150);
/// So many of them in a row, and the folder is left.
const SLOW_IN_A_ROW: u32 = 4;
/// Folders that are left within a minute, at most: where it does not help there are not many.
const LEFT_A_MINUTE: u32 = 128;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Pace {
    slow: AtomicU32,
    left: Mutex<Option<(Instant, u32)>>,
}

/// CPU time of this thread so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Pace {
    /// Runs `create`; whether the folder is better left now.
    pub fn watch<T>(&self, create: impl FnOnce() -> T) -> (T, bool) {
        let before = cpu_time();
        let made = create();
        (made, self.took(cpu_time().saturating_sub(before)))
    }

    fn took(&self, cpu: Duration) -> bool {
        if cpu < SLOW_CREATE {
            if self.slow.load(Ordering::Relaxed) != 0 {
                self.slow.store(0, Ordering::Relaxed);
            }
            return false;
        }
        if self.slow.fetch_add(1, Ordering::Relaxed) + 1 < SLOW_IN_A_ROW {
            return false;
        }
        self.slow.store(0, Ordering::Relaxed);
        self.may_leave()
    }

    fn may_leave(&self) -> bool {
        let mut left = super::db::lock(&self.left);
        let (since, count) = left.get_or_insert((Instant::now(), 0));
        if since.elapsed() > Duration::from_secs(60) {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        *count <= LEFT_A_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_left_after_slow_creates_in_a_row() {
        let (pace, slow) = (Pace::default(), SLOW_CREATE);
        for _ in 1..SLOW_IN_A_ROW {
            assert!(!pace.took(slow));
        }
        assert!(!pace.took(Duration::ZERO), "a quick one between");
        for _ in 1..SLOW_IN_A_ROW {
            assert!(!pace.took(slow));
        }
        assert!(pace.took(slow));
    }

    #[test]
    fn not_many_are_left() {
        let pace = Pace::default();
        let left = (0..10_000).filter(|_| pace.took(SLOW_CREATE)).count();
        assert_eq!(left, LEFT_A_MINUTE as usize);
    }
}
