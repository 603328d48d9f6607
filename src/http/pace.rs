//! Slow clients give way. A client holds a thread for as long as it sends or takes a byte now and
//! then; that is fine while there are threads. When all are busy and others wait, those that hold
//! theirs for next to nothing are cut off, one for each that waits.

use super::server::ServerStats;
use crate::limits::{SLOW_AFTER, SLOW_BYTES_PER_SECOND};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the connections of a server know of one another.
#[derive(Debug)]
pub(super) struct Crowd {
    stats: Arc<ServerStats>,
    threads: usize,
    /// Connections that give way now.
    yielding: AtomicUsize,
    /// How long a client may neither send nor take anything.
    pub(super) patience: Duration,
}

impl Crowd {
    /// Of a server with so many threads.
    pub(super) fn new(stats: Arc<ServerStats>, threads: usize, patience: Duration) -> Self {
        Self { stats, threads, yielding: AtomicUsize::new(0), patience }
    }

    /// True if connections wait and no thread is free.
    pub(super) fn is_crowded(&self) -> bool {
        self.stats.queued.load(Ordering::Relaxed) > 0
            && self.stats.busy.load(Ordering::Relaxed) >= self.threads
    }

    /// Whether one more connection is to give way to one that waits.
    fn wants_room(&self) -> bool {
        let waiting = self.stats.queued.load(Ordering::Relaxed);
        let more = |yielding| (yielding < waiting).then_some(yielding + 1);
        self.is_crowded()
            && self.yielding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }
}

/// How fast the client of one exchange is.
#[derive(Debug)]
pub(super) struct Pace {
    crowd: Arc<Crowd>,
    /// Time spent on waiting for the client, and what it sent or took in that time.
    waited: Duration,
    bytes: u64,
    yields: bool,
}

impl Pace {
    /// Of a connection.
    pub(super) fn new(crowd: Arc<Crowd>) -> Self {
        Self { crowd, waited: Duration::ZERO, bytes: 0, yields: false }
    }

    /// How long the client may neither send nor take anything.
    pub(super) fn patience(&self) -> Duration {
        self.crowd.patience
    }

    /// So long was waited for so many bytes. True if the connection has to give way.
    pub(super) fn note(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < SLOW_AFTER || self.yields {
            return self.yields;
        }
        let due = self.waited.as_secs_f64() * SLOW_BYTES_PER_SECOND;
        if self.bytes as f64 >= due {
            // Past haste is no credit for what comes.
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        } else {
            self.yields = self.crowd.wants_room();
        }
        self.yields
    }

    /// The exchange is over, and with it the thread is as good as free.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.yields) {
            self.crowd.yielding.fetch_sub(1, Ordering::SeqCst);
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(queued: usize, busy: usize) -> Arc<Crowd> {
        let stats = Arc::new(ServerStats::default());
        stats.queued.store(queued, Ordering::Relaxed);
        stats.busy.store(busy, Ordering::Relaxed);
        Arc::new(Crowd::new(stats, 4, Duration::from_secs(60)))
    }

    #[test]
    fn only_as_many_give_way_as_wait() {
        let crowd = crowd(2, 4);
        let mut paces: Vec<Pace> = (0..4).map(|_| Pace::new(Arc::clone(&crowd))).collect();
        let yields: Vec<bool> = paces.iter_mut().map(|pace| pace.note(SLOW_AFTER, 10)).collect();
        assert_eq!(yields, [true, true, false, false]);
        paces[0].end();
        assert!(paces[2].note(Duration::ZERO, 1), "there is room for one more to give way");
        assert!(!paces[3].note(Duration::ZERO, 1));
    }

    #[test]
    fn nobody_gives_way_without_need() {
        for (queued, busy) in [(0, 4), (2, 3)] {
            assert!(!Pace::new(crowd(queued, busy)).note(SLOW_AFTER * 10, 0), "{queued} {busy}");
        }
    }

    #[test]
    fn who_is_quick_stays() {
        let mut pace = Pace::new(crowd(9, 4));
        let enough = (SLOW_AFTER.as_secs_f64() * SLOW_BYTES_PER_SECOND).ceil() as usize;
        assert!(!pace.note(SLOW_AFTER / 2, 0), "it is too early to say");
        assert!(!pace.note(SLOW_AFTER / 2, 1000 * enough));
        assert!(!pace.note(SLOW_AFTER, enough));
        assert!(pace.note(SLOW_AFTER, enough - 1), "what was before does not count");
    }
}
