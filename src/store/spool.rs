//! The spool of access logs: lines wait here, in files below `logs/`, until they are delivered to
//! the bucket that gets them. Knows nothing of what a line says.
//!
//! A line is with the operating system when [`LogSpool::append`] returns, so it survives a crash of
//! JOG; [`LogSpool::next`] has it synced within [`LOG_SYNC`], so that a crash of the machine takes
//! the last ones at most. A file goes when its lines are in their bucket, not before: a crash in
//! between delivers them again, to the same key.

use super::StoreError;
use super::db::lock;
use super::fs::{FILE_MODE, Fs};
use super::open::random_u64;
use crate::limits::{LOG_BATCH_BYTES, LOG_OPEN_FILES, LOG_SPOOL_BYTES, LOG_SYNC};
use crate::types::{BucketName, time};
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Which lines belong together, and where they go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LogTarget {
    /// The bucket that was used.
    pub source: BucketName,
    /// Canonical ID of its owner, and of the target's.
    pub owner: String,
    /// The region that it is in.
    pub region: String,
    /// The bucket that gets the lines.
    pub target: BucketName,
    /// What the keys of their objects start with.
    pub prefix: String,
    /// How the keys go on.
    pub format: LogKeyFormat,
}

/// How the key of a log's object is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogKeyFormat {
    /// By the time of delivery.
    Simple,
    /// In folders by owner, region, bucket and day; the day is that of the requests.
    PartitionedByEvent,
    /// The same; the day is that of the delivery.
    PartitionedByDelivery,
}

impl LogKeyFormat {
    const ALL: [Self; 3] = [Self::Simple, Self::PartitionedByEvent, Self::PartitionedByDelivery];

    /// Its number in files; never changes.
    fn number(self) -> u64 {
        match self {
            Self::Simple => 0,
            Self::PartitionedByEvent => 1,
            Self::PartitionedByDelivery => 2,
        }
    }
}

/// Lines that are to be delivered together.
#[derive(Debug)]
pub struct LogBatch {
    path: PathBuf,
    /// Where they go.
    pub target: LogTarget,
    /// The time in the key, in milliseconds since 1970: the end of the batch, or the day of its
    /// requests. It is the same each time the batch is read.
    pub time_ms: i64,
    /// What makes the key unique: 16 upper-case hex digits.
    pub unique: String,
    /// The lines, whole ones only.
    pub lines: Vec<u8>,
}

/// A file that takes lines.
struct Open {
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
    since: Instant,
    /// Not all of it is synced.
    dirty: bool,
}

#[derive(Default)]
struct State {
    /// By target and by the day of the requests (0 where it does not matter).
    open: HashMap<(LogTarget, i64), Open>,
    /// Files that take no more lines, oldest first, and the bytes in them.
    closed: VecDeque<(PathBuf, u64)>,
    /// Bytes in all files.
    bytes: u64,
    /// Lines were dropped since the last one that was not.
    dropping: bool,
    stopping: bool,
}

/// See the module's description.
pub struct LogSpool {
    dir: PathBuf,
    /// How long a line waits at most.
    interval: Duration,
    durable: bool,
    state: Mutex<State>,
    wake: Condvar,
}

fn failed(op: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::io(op, path, source)
}

impl LogSpool {
    /// Opens the spool of a data directory, whose lock the caller holds. What an earlier process
    /// left is delivered at once. `interval`: how long a line waits at most. `durable`: lines are
    /// synced.
    pub fn open(data_dir: &Path, interval: Duration, durable: bool) -> Result<Self, StoreError> {
        let dir = data_dir.join("logs");
        let spool = Self { dir, interval, durable, state: Mutex::default(), wake: Condvar::new() };
        let entries = match fs::read_dir(&spool.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(spool),
            Err(error) => return Err(failed("read", &spool.dir, error)),
        };
        let mut state = State::default();
        for entry in entries {
            let entry = entry.map_err(|error| failed("read", &spool.dir, error))?;
            let (path, extension) = (entry.path(), entry.path().extension().map(|e| e.to_owned()));
            let bytes = entry.metadata().map_err(|error| failed("stat", &path, error))?.len();
            match extension.as_ref().and_then(|e| e.to_str()) {
                Some("open") => spool.close(&mut state, &path, bytes),
                Some("log") => state.closed.push_back((path, bytes)),
                _ => continue,
            }
            state.bytes += bytes;
        }
        state.closed.make_contiguous().sort();
        *lock(&spool.state) = state;
        Ok(spool)
    }

    /// Takes a line or several, each with its end. Never fails: an access log that cannot be written must not fail
    /// the requests that it is about. What is lost is logged.
    pub fn append(&self, target: &LogTarget, event_ms: i64, line: &str) {
        let mut state = lock(&self.state);
        let result = match state.bytes + line.len() as u64 > LOG_SPOOL_BYTES {
            true => Err("the spool is full".to_owned()),
            false => self.try_append(&mut state, target, event_ms, line).map_err(|e| e.to_string()),
        };
        let dropping = result.is_err();
        let was_dropping = std::mem::replace(&mut state.dropping, dropping);
        drop(state);
        if let (Err(error), false) = (result, was_dropping) {
            log::error!("lines of the access log of {} are lost: {error}", target.source);
        }
    }

    fn try_append(
        &self,
        state: &mut State,
        target: &LogTarget,
        event_ms: i64,
        line: &str,
    ) -> Result<(), StoreError> {
        let by_day = target.format == LogKeyFormat::PartitionedByEvent;
        let day = if by_day { event_ms.div_euclid(DAY_MS) } else { 0 };
        let key = (target.clone(), day);
        if !state.open.contains_key(&key) {
            if state.open.len() >= LOG_OPEN_FILES {
                self.close_due(state, Duration::ZERO);
            }
            let open = self.start(target, day)?;
            state.bytes += open.bytes;
            state.open.insert(key.clone(), open);
            // The deliverer has a time to wait for now.
            self.wake.notify_all();
        }
        let Some(open) = state.open.get_mut(&key) else { return Ok(()) };
        if let Err(error) = (&*open.file).write_all(line.as_bytes()) {
            // What was written of it would be the beginning of the next one.
            let _ = open.file.set_len(open.bytes);
            return Err(failed("write", &open.path, error));
        }
        open.bytes += line.len() as u64;
        let (full, clean) = (open.bytes >= LOG_BATCH_BYTES, !open.dirty);
        open.dirty = true;
        state.bytes += line.len() as u64;
        if full && let Some(open) = state.open.remove(&key) {
            self.close(state, &open.path, open.bytes);
        }
        if full || (clean && self.durable) {
            self.wake.notify_all();
        }
        Ok(())
    }

    /// A new file, with its head.
    fn start(&self, target: &LogTarget, day: i64) -> Result<Open, StoreError> {
        Fs { durable: self.durable, fault: None }.mkdir(&self.dir)?;
        let path = self.dir.join(format!("{:016X}.open", random_u64()));
        let mut head = json!([
            target.source.as_str(),
            target.owner,
            target.region,
            target.target.as_str(),
            target.prefix,
            target.format.number(),
            day
        ])
        .to_string();
        head.push('\n');
        let create = || -> io::Result<File> {
            let mut options = OpenOptions::new();
            let mut file = options.create_new(true).append(true).mode(FILE_MODE).open(&path)?;
            file.write_all(head.as_bytes())?;
            Ok(file)
        };
        let file = create().map_err(|error| failed("create", &path, error))?;
        let (bytes, since) = (head.len() as u64, Instant::now());
        Ok(Open { path, file: Arc::new(file), bytes, since, dirty: true })
    }

    /// Ends a file: its name gets the time, so that its batch has the same key whenever it is
    /// delivered.
    fn close(&self, state: &mut State, path: &Path, bytes: u64) {
        let unique = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let closed = self.dir.join(format!("{:013}-{unique}.log", time::now_ms()));
        match fs::rename(path, &closed) {
            Ok(()) => state.closed.push_back((closed, bytes)),
            // The next start finds it.
            Err(error) => log::error!("{}", failed("rename", path, error)),
        }
    }

    /// Ends the files that are at least so old.
    fn close_due(&self, state: &mut State, age: Duration) {
        let due = |open: &Open| open.since.elapsed() >= age;
        let keys: Vec<_> =
            state.open.iter().filter(|(_, open)| due(open)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(open) = state.open.remove(&key) {
                self.close(state, &open.path, open.bytes);
            }
        }
    }

    /// Waits for a batch to be delivered; `None` when the server ends. To be called by one thread.
    pub fn next(&self) -> Option<LogBatch> {
        loop {
            let path = self.next_closed()?;
            match read(&path) {
                Ok(Some(batch)) => return Some(batch),
                Ok(None) => self.remove(&path),
                Err(error) => {
                    log::error!("{}", failed("read", &path, error));
                    self.forget(&path);
                }
            }
        }
    }

    fn next_closed(&self) -> Option<PathBuf> {
        let mut state = lock(&self.state);
        loop {
            if state.stopping {
                return None;
            }
            self.close_due(&mut state, self.interval);
            if let Some((path, _)) = state.closed.front() {
                return Some(path.clone());
            }
            let mut pause = state
                .open
                .values()
                .map(|open| self.interval.saturating_sub(open.since.elapsed()))
                .min();
            if self.durable && state.open.values().any(|open| open.dirty) {
                pause = Some(pause.unwrap_or(LOG_SYNC).min(LOG_SYNC));
            }
            state = match pause {
                // Nobody logs: no work.
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let result = self.wake.wait_timeout(state, pause);
                    result.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            if self.durable && !state.stopping {
                drop(state);
                self.sync();
                state = lock(&self.state);
            }
        }
    }

    /// Makes the lines durable, without holding up those who append.
    fn sync(&self) {
        let dirty: Vec<(PathBuf, Arc<File>)> = {
            let mut state = lock(&self.state);
            let files = state.open.values_mut().filter(|open| open.dirty);
            let clean = |open: &mut Open| {
                open.dirty = false;
                (open.path.clone(), Arc::clone(&open.file))
            };
            files.map(clean).collect()
        };
        for (path, file) in dirty {
            if let Err(error) = file.sync_data() {
                log::error!("{}", failed("sync", &path, error));
            }
        }
    }

    /// The lines of a batch are in their bucket, or nobody wants them any more.
    pub fn done(&self, batch: &LogBatch) {
        self.remove(&batch.path);
    }

    fn remove(&self, path: &Path) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::error!("{}", failed("unlink", path, error));
            }
            _ => {}
        }
        self.forget(path);
    }

    fn forget(&self, path: &Path) {
        let mut state = lock(&self.state);
        if let Some(at) = state.closed.iter().position(|(closed, _)| closed == path) {
            let (_, bytes) = state.closed.remove(at).unwrap_or_default();
            state.bytes = state.bytes.saturating_sub(bytes);
        }
    }

    /// A batch cannot be delivered now: others come first. Waits for so long, or for the end.
    pub fn put_back(&self, batch: &LogBatch, pause: Duration) {
        let mut state = lock(&self.state);
        if let Some(at) = state.closed.iter().position(|(closed, _)| *closed == batch.path) {
            let batch = state.closed.remove(at);
            state.closed.extend(batch);
        }
        let end = Instant::now() + pause;
        while !state.stopping {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let result = self.wake.wait_timeout(state, left);
            state = result.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends [`Self::next`]. Lines that wait are delivered after the next start.
    pub fn stop(&self) {
        lock(&self.state).stopping = true;
        self.wake.notify_all();
        if self.durable {
            self.sync();
        }
    }
}

/// The batch of a file; `None` if it has no whole line.
fn read(path: &Path) -> io::Result<Option<LogBatch>> {
    let mut bytes = fs::read(path)?;
    // What a crash has cut off is no line.
    let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    bytes.truncate(end);
    let Some(head_end) = bytes.iter().position(|b| *b == b'\n') else { return Ok(None) };
    let head = serde_json::from_slice(&bytes[..head_end]).ok();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let (closed, unique) = stem.split_once('-').unwrap_or_default();
    let lines = bytes.split_off(head_end + 1);
    let parts = head.and_then(|head| parse_head(&head)).zip(closed.parse().ok());
    let Some(((target, day), closed_ms)) = parts.filter(|_| !lines.is_empty()) else {
        return Ok(None);
    };
    let by_day = target.format == LogKeyFormat::PartitionedByEvent;
    let time_ms = if by_day { day * DAY_MS } else { closed_ms };
    let (path, unique) = (path.to_owned(), unique.to_owned());
    Ok(Some(LogBatch { path, target, time_ms, unique, lines }))
}

fn parse_head(head: &serde_json::Value) -> Option<(LogTarget, i64)> {
    let text = |at: usize| head.get(at)?.as_str().map(str::to_owned);
    let format = head.get(5)?.as_u64()?;
    let target = LogTarget {
        source: BucketName::parse(&text(0)?)?,
        owner: text(1)?,
        region: text(2)?,
        target: BucketName::parse(&text(3)?)?,
        prefix: text(4)?,
        format: LogKeyFormat::ALL.into_iter().find(|f| f.number() == format)?,
    };
    Some((target, head.get(6)?.as_i64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            let dir = std::env::temp_dir().join(format!("jog-spool-{:016x}", random_u64()));
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        fn spool(&self, interval_ms: u64) -> LogSpool {
            LogSpool::open(&self.0, Duration::from_millis(interval_ms), true).unwrap()
        }

        fn files(&self) -> Vec<PathBuf> {
            let entries = fs::read_dir(self.0.join("logs")).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn target(name: &str, format: LogKeyFormat) -> LogTarget {
        LogTarget {
            source: BucketName::parse(name).unwrap(),
            owner: "owner".to_owned(),
            region: "us-east-1".to_owned(),
            target: BucketName::parse("logs").unwrap(),
            prefix: "p/\n\"".to_owned(),
            format,
        }
    }

    #[test]
    fn lines_come_back_together_and_once() {
        let dir = Dir::new();
        let spool = dir.spool(50);
        assert!(!dir.0.join("logs").exists());
        let (one, two) = (target("one", LogKeyFormat::Simple), target("two", LogKeyFormat::Simple));
        for line in ["a\n", "b\n"] {
            spool.append(&one, 0, line);
        }
        spool.append(&two, 0, "c\n");
        let start = Instant::now();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let batch = spool.next().unwrap();
            let lines: &[u8] = if batch.target == one { b"a\nb\n" } else { b"c\n" };
            assert_eq!(batch.lines, lines);
            assert!((time::now_ms() - batch.time_ms).abs() < 10_000);
            assert_eq!(batch.unique.len(), 16);
            spool.done(&batch);
            seen.push(batch.unique);
        }
        assert_ne!(seen[0], seen[1]);
        assert!(start.elapsed() >= Duration::from_millis(20), "it waits for more lines");
        assert_eq!(dir.files(), Vec::<PathBuf>::new());
        spool.stop();
        assert!(spool.next().is_none());
    }

    #[test]
    fn a_day_has_a_batch_of_its_own_where_days_matter() {
        let dir = Dir::new();
        let spool = dir.spool(0);
        let by_event = target("one", LogKeyFormat::PartitionedByEvent);
        for (day, line) in [(0, "a\n"), (1, "b\n"), (0, "c\n")] {
            spool.append(&by_event, day * DAY_MS + 5, line);
        }
        let mut found: Vec<_> = (0..2)
            .map(|_| {
                let batch = spool.next().unwrap();
                spool.done(&batch);
                (batch.time_ms, String::from_utf8(batch.lines).unwrap())
            })
            .collect();
        found.sort();
        assert_eq!(found, [(0, "a\nc\n".to_owned()), (DAY_MS, "b\n".to_owned())]);
    }

    #[test]
    fn what_a_crash_left_is_delivered_and_to_the_same_key() {
        let dir = Dir::new();
        let one = target("one", LogKeyFormat::Simple);
        let spool = dir.spool(60_000);
        spool.append(&one, 0, "a\n");
        spool.append(&one, 0, "b\n");
        drop(spool);
        let file = dir.files().pop().unwrap();
        let mut torn = fs::read(&file).unwrap();
        torn.extend_from_slice(b"torn");
        fs::write(&file, torn).unwrap();
        let first = dir.spool(60_000).next().unwrap();
        assert_eq!(first.lines, b"a\nb\n");
        // It was delivered, but not done when the next crash came.
        let spool = dir.spool(60_000);
        let again = spool.next().unwrap();
        assert_eq!(
            (&again.unique, again.time_ms, &again.lines),
            (&first.unique, first.time_ms, &first.lines)
        );
        spool.done(&again);
        assert_eq!(dir.files().len(), 0);
    }

    #[test]
    fn files_without_a_line_just_go() {
        let dir = Dir::new();
        fs::create_dir(dir.0.join("logs")).unwrap();
        for (name, text) in
            [("1-A.log", "[\"x\"]\na\n"), ("2-B.log", ""), ("3-C.log", "x"), ("4-D.log", "\0\n\0")]
        {
            fs::write(dir.0.join("logs").join(name), text).unwrap();
        }
        let spool = dir.spool(0);
        let one = target("one", LogKeyFormat::Simple);
        spool.append(&one, 0, "a\n");
        assert_eq!(spool.next().unwrap().lines, b"a\n");
        assert_eq!(dir.files().len(), 1);
    }

    #[test]
    fn the_bounds_hold() {
        let dir = Dir::new();
        let spool = dir.spool(60_000);
        let line = format!("{}\n", "x".repeat(1 << 20));
        let one = target("one", LogKeyFormat::Simple);
        for _ in 0..5 {
            spool.append(&one, 0, &line);
        }
        // Long before its time, since it is large.
        let batch = spool.next().unwrap();
        assert!(batch.lines.len() as u64 + 1000 >= LOG_BATCH_BYTES);
        assert!((batch.lines.len() as u64) < LOG_BATCH_BYTES + line.len() as u64);
        spool.done(&batch);
        lock(&spool.state).bytes = LOG_SPOOL_BYTES;
        let before = dir.files();
        spool.append(&target("two", LogKeyFormat::Simple), 0, "a\n");
        assert_eq!(dir.files(), before, "a full spool takes nothing");
        lock(&spool.state).bytes = 0;
        for n in 0..LOG_OPEN_FILES {
            spool.append(&target(&format!("n{n}0"), LogKeyFormat::Simple), 0, "a\n");
        }
        assert!(lock(&spool.state).open.len() <= LOG_OPEN_FILES);
    }

    #[test]
    fn a_batch_that_cannot_go_lets_others_pass() {
        let dir = Dir::new();
        let spool = dir.spool(0);
        spool.append(&target("one", LogKeyFormat::Simple), 0, "a\n");
        spool.append(&target("two", LogKeyFormat::Simple), 0, "b\n");
        let first = spool.next().unwrap();
        spool.put_back(&first, Duration::ZERO);
        let second = spool.next().unwrap();
        assert_ne!(first.lines, second.lines);
        spool.done(&second);
        assert_eq!(spool.next().unwrap().lines, first.lines);
    }
}
