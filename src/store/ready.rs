//! Files made ahead of need. To make a file costs more than everything else that a small object
//! needs, and in `full` durability its entry costs a sync of its own; for a bucket into which
//! objects come one after another both are done by a thread of its own, several files at a time.
//!
//! Such a file is empty and its number is in flight, as for any file that has no row yet: what a
//! crash leaves of them the next start finds by number. They are for buckets that are being
//! written: whatever was not needed for [`REST`] goes.

use super::StoreError;
use super::blob::Pending;
use super::db::lock;
use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Files of one bucket that are kept ready, at most.
const MOST_FILES: usize = 64;
/// Buckets that have files ready, at most: they are open files.
const MOST_BUCKETS: usize = 4;
/// Files that are kept for a bucket at first; twice as many after each refill.
const FIRST_FILES: usize = 8;
/// So many new files within [`REST`], and a bucket is being written.
const BUSY: u32 = 64;
/// After so long without a new file a bucket is no more being written.
const REST: Duration = Duration::from_secs(1);

/// A new file that nobody writes yet.
#[derive(Debug)]
pub struct ReadyFile {
    pub pending: Pending,
    pub file: File,
}

/// What is kept for one bucket.
struct Stock {
    bucket: String,
    files: VecDeque<ReadyFile>,
    /// How many there should be; 0 until it is busy.
    size: usize,
    /// New files since `since`.
    taken: u32,
    since: Instant,
    last: Instant,
}

impl Stock {
    fn new(bucket: &str, now: Instant) -> Self {
        let (bucket, files) = (bucket.to_owned(), VecDeque::new());
        Self { bucket, files, size: 0, taken: 0, since: now, last: now }
    }

    fn rests(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= REST
    }

    /// How many files are to be made.
    fn lacks(&self) -> usize {
        if self.files.len() * 2 >= self.size { 0 } else { self.size - self.files.len() }
    }
}

#[derive(Default)]
struct State {
    stocks: Vec<Stock>,
    /// A thread fills them.
    filled: bool,
    stopped: bool,
    /// The thread was woken, and has not looked yet.
    woken: bool,
    /// The thread makes files now, for so many rounds so far.
    making: bool,
    rounds: u64,
}

/// See the module's description.
#[derive(Default)]
pub struct Ready {
    state: Mutex<State>,
    wake: Condvar,
    made: Condvar,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

impl Ready {
    /// A file in a bucket's folder, if one is ready.
    pub fn take(&self, bucket: &str) -> Option<ReadyFile> {
        let mut state = lock(&self.state);
        if !state.filled {
            return None;
        }
        let now = Instant::now();
        let (at, displaced) = state.stock(bucket, now);
        let stock = &mut state.stocks[at];
        if now.saturating_duration_since(stock.since) >= REST {
            (stock.since, stock.taken) = (now, 0);
        }
        (stock.taken, stock.last) = (stock.taken + 1, now);
        if stock.size == 0 && stock.taken >= BUSY {
            stock.size = FIRST_FILES;
        }
        let file = stock.files.pop_front();
        let wake = stock.lacks() > 0 && !std::mem::replace(&mut state.woken, true);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        // Not under the lock: its files are removed.
        drop(displaced);
        file
    }

    /// Keeps stocks filled until [`Ready::stop`]; for a thread of its own. `make` makes so many
    /// files in a bucket's folder, each with a durable entry.
    pub fn fill(&self, make: impl Fn(&str, usize) -> Result<Vec<ReadyFile>, StoreError>) {
        {
            let mut state = lock(&self.state);
            state.filled = !state.stopped;
        }
        loop {
            let mut state = self.wait();
            if state.stopped {
                return;
            }
            let now = Instant::now();
            let rested = state.stocks.extract_if(.., |stock| stock.rests(now)).collect::<Vec<_>>();
            let mut lacking = Vec::new();
            for stock in state.stocks.iter_mut().filter(|stock| stock.lacks() > 0) {
                lacking.push((stock.bucket.clone(), stock.lacks()));
                stock.size = (stock.size * 2).min(MOST_FILES);
            }
            state.making = !lacking.is_empty();
            state.rounds += 1;
            drop(state);
            drop(rested);
            let _making = Making(self);
            for (bucket, count) in lacking {
                match make(&bucket, count) {
                    Ok(files) => self.add(&bucket, files),
                    // Whoever needs a file makes it himself, and gets to know what is wrong.
                    Err(error) => {
                        log::debug!("no files made ahead in {bucket}: {error}");
                        let gone = lock(&self.state).remove(&bucket);
                        drop(gone);
                    }
                }
            }
        }
    }

    /// Waits until there is something to do: without a deadline where nothing is kept.
    fn wait(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        if !state.woken && !state.stopped {
            state = if state.stocks.iter().any(|stock| stock.size > 0) {
                self.wake.wait_timeout(state, REST).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
        state.woken = false;
        state
    }

    fn add(&self, bucket: &str, files: Vec<ReadyFile>) {
        let mut state = lock(&self.state);
        let stopped = state.stopped;
        let stock = state.stocks.iter_mut().find(|s| s.bucket == bucket && !stopped);
        // Without one nobody needs the files any more; they are removed when the lock is free.
        match stock {
            Some(stock) => stock.files.extend(files),
            None => {
                drop(state);
                drop(files);
            }
        }
    }

    /// Removes what is kept for a bucket, and what is being made for it now: its folder can go.
    pub fn forget(&self, bucket: &str) {
        let mut state = lock(&self.state);
        let gone = state.remove(bucket);
        // Files that are made for a bucket without a stock are removed when their round ends.
        let round = state.rounds;
        while state.making && state.rounds == round {
            state = self.made.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        drop(gone);
    }

    /// Removes everything and ends [`Ready::fill`]; none is made after this.
    pub fn stop(&self) {
        let mut state = lock(&self.state);
        (state.stopped, state.filled) = (true, false);
        self.wake.notify_one();
        while state.making {
            state = self.made.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let gone = std::mem::take(&mut state.stocks);
        drop(state);
        drop(gone);
    }
}

/// Says in the end that nothing is being made any more, also by a panic.
struct Making<'r>(&'r Ready);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).making = false;
        self.0.made.notify_all();
    }
}

impl State {
    /// What is kept for a bucket, to be dropped without the lock.
    fn remove(&mut self, bucket: &str) -> Vec<Stock> {
        self.stocks.extract_if(.., |stock| stock.bucket == bucket).collect()
    }

    /// The place of a bucket's stock, and the one that had to go for it: that which was not needed
    /// for longest.
    fn stock(&mut self, bucket: &str, now: Instant) -> (usize, Option<Stock>) {
        if let Some(at) = self.stocks.iter().position(|stock| stock.bucket == bucket) {
            return (at, None);
        }
        let displaced = (self.stocks.len() >= MOST_BUCKETS)
            .then(|| self.stocks.iter().enumerate().min_by_key(|(_, stock)| stock.last))
            .flatten()
            .map(|(at, _)| at)
            .map(|at| self.stocks.swap_remove(at));
        self.stocks.push(Stock::new(bucket, now));
        (self.stocks.len() - 1, displaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::blob::{BlobWriter, Blobs};
    use crate::store::fs::Fs;
    use crate::store::ids::Ids;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::thread::JoinHandle;

    /// A folder of files that is filled ahead of need.
    struct Fixture {
        root: PathBuf,
        blobs: Arc<Blobs>,
        filling: Option<JoinHandle<()>>,
    }

    impl Fixture {
        fn new(name: &str) -> Self {
            let tmp = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp"));
            let root = tmp.join(format!("jog-ready-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&root);
            std::fs::create_dir_all(&root).unwrap();
            let fs = Fs { durable: true, fault: None };
            let blobs = Arc::new(Blobs::new(root.clone(), fs, Ids::new(1, 100_000, 7)));
            let filled = Arc::clone(&blobs);
            let filling = std::thread::spawn(move || {
                filled.ready.fill(|bucket, count| {
                    let ids = (0..count).map(|_| Ok(filled.ids.take().unwrap()));
                    filled.make_ready(bucket, ids)
                });
            });
            let fixture = Self { root, blobs, filling: Some(filling) };
            fixture.until(|f| lock(&f.blobs.ready.state).filled);
            fixture
        }

        fn until(&self, holds: impl Fn(&Self) -> bool) {
            let start = Instant::now();
            while !holds(self) {
                assert!(start.elapsed() < 10 * REST, "it never comes to that");
                std::thread::sleep(Duration::from_millis(5));
            }
        }

        fn kept(&self, bucket: &str) -> usize {
            let state = lock(&self.blobs.ready.state);
            state.stocks.iter().filter(|s| s.bucket == bucket).map(|s| s.files.len()).sum()
        }

        /// Makes a bucket a busy one.
        fn press(&self, bucket: &str) {
            (0..BUSY).for_each(|_| assert!(self.blobs.ready.take(bucket).is_none()));
            self.until(|f| f.kept(bucket) == FIRST_FILES);
        }

        fn files(&self) -> usize {
            fn count(dir: &Path) -> usize {
                let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
                entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
            }
            count(&self.root)
        }

        fn stop(&mut self) {
            self.blobs.ready.stop();
            self.filling.take().unwrap().join().unwrap();
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            self.blobs.ready.stop();
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn a_busy_bucket_gets_files_that_have_their_entries() {
        let mut fixture = Fixture::new("busy");
        fixture.press("a");
        let mut written = Vec::new();
        for n in 0..40_u8 {
            fixture.until(|f| f.kept("a") > 0);
            let file = fixture.blobs.ready.take("a").unwrap();
            let mut writer = BlobWriter::new(file, None).unwrap();
            writer.write(&[n]).unwrap();
            let blob = writer.finish().unwrap().unwrap();
            assert!(fixture.blobs.folders_of([&blob.pending]).unwrap().is_empty());
            written.push(blob);
        }
        fixture.stop();
        for (n, blob) in written.into_iter().enumerate() {
            assert_eq!(std::fs::read(fixture.blobs.path("a", blob.id)).unwrap(), [n as u8]);
            blob.keep();
        }
        assert_eq!(fixture.files(), 40, "none is left of those that were not needed");
        let ids = &fixture.blobs.ids;
        assert_eq!(ids.low_water(), ids.next(), "no number is in flight");
    }

    #[test]
    fn few_files_are_made_when_they_are_needed() {
        let fixture = Fixture::new("few");
        for _ in 1..BUSY {
            assert!(fixture.blobs.ready.take("a").is_none());
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(fixture.files(), 0);
    }

    #[test]
    fn they_go_when_nobody_needs_them() {
        let fixture = Fixture::new("rest");
        fixture.press("a");
        fixture.press("b");
        assert_eq!(fixture.files(), 2 * FIRST_FILES);
        fixture.blobs.ready.forget("a");
        assert_eq!(fixture.files(), FIRST_FILES);
        assert!(fixture.blobs.ready.take("a").is_none());
        fixture.until(|f| f.kept("b") == 0 && f.files() == 0);
        // Then the thread sleeps without a deadline.
        fixture.until(|f| lock(&f.blobs.ready.state).stocks.iter().all(|s| s.size == 0));
    }

    /// Also of those that are being made.
    #[test]
    fn a_bucket_that_is_forgotten_has_no_file() {
        let fixture = Fixture::new("forget");
        for _ in 0..50 {
            fixture.press("a");
            // Has the thread make more.
            (0..FIRST_FILES / 2 + 1).for_each(|_| drop(fixture.blobs.ready.take("a")));
            fixture.blobs.ready.forget("a");
            assert_eq!(fixture.files(), 0);
        }
    }

    #[test]
    fn the_bucket_that_was_needed_longest_ago_makes_room() {
        let fixture = Fixture::new("many");
        let names = ["a", "b", "c", "d", "e"];
        names.iter().for_each(|name| fixture.press(name));
        assert_eq!(names.len(), MOST_BUCKETS + 1);
        assert_eq!((fixture.kept("a"), fixture.kept("e")), (0, FIRST_FILES));
        assert_eq!(fixture.files(), MOST_BUCKETS * FIRST_FILES);
    }

    #[test]
    fn a_bucket_for_which_none_can_be_made_has_none() {
        let fixture = Fixture::new("fail");
        std::fs::write(fixture.root.join("a"), "no folder").unwrap();
        (0..BUSY).for_each(|_| assert!(fixture.blobs.ready.take("a").is_none()));
        fixture.until(|f| lock(&f.blobs.ready.state).stocks.is_empty());
        fixture.press("b");
    }
}
