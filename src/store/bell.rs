//! Wakes threads that wait for something to happen, without any I/O while nothing does.

use super::db::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What a listener has heard so far; to be given to the next [`Bell::wait`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Heard {
    rings: u64,
    /// The server ends.
    pub stop: bool,
}

/// Rung by those who make work, heard by any number of threads. A ring while nobody waits is heard
/// at the next wait.
#[derive(Default, Debug)]
pub struct Bell {
    state: Mutex<Heard>,
    wake: Condvar,
}

impl Bell {
    /// There is something to do.
    pub fn ring(&self) {
        lock(&self.state).rings += 1;
        self.wake.notify_all();
    }

    /// The server ends. Every wait returns from now on.
    pub fn stop(&self) {
        lock(&self.state).stop = true;
        self.wake.notify_all();
    }

    /// Whether the server ends.
    pub fn stopping(&self) -> bool {
        lock(&self.state).stop
    }

    /// Waits for a ring that `last` has not heard, or the end of the server; at most so long if
    /// there is a time.
    pub fn wait(&self, last: Heard, at_most: Option<Duration>) -> Heard {
        let quiet = |now: &mut Heard| now.rings == last.rings && !now.stop;
        let state = lock(&self.state);
        match at_most {
            None => *self.wake.wait_while(state, quiet).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.wake.wait_timeout_while(state, time, quiet);
                *waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// What was heard up to now.
    pub fn heard(&self) -> Heard {
        *lock(&self.state)
    }

    /// Waits so long, or until the server ends; whether it does.
    pub fn sleep(&self, time: Duration) -> bool {
        let state = lock(&self.state);
        let waited = self.wake.wait_timeout_while(state, time, |now| !now.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ring_is_missed() {
        let bell = Bell::default();
        let before = bell.heard();
        bell.ring();
        let heard = bell.wait(before, None);
        assert!(heard != before && !heard.stop);
        assert_eq!(bell.wait(heard, Some(Duration::from_millis(1))), heard);
        assert!(!bell.sleep(Duration::from_millis(1)));
        bell.stop();
        assert!(bell.wait(heard, None).stop && bell.stopping());
        assert!(bell.sleep(Duration::from_secs(60)));
    }
}
