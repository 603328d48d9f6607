//! metadata.db: one writing connection behind a mutex, with group commit, and a few that read.

use super::StoreError;
use super::folder::Folder;
use super::pages::Pages;
use super::rows::{Rows, Touched};
use crate::limits::{
    MAX_GROUP_COMMIT, READ_CONNECTIONS, SQLITE_BUSY_MS, SQLITE_CACHE_KIB, SQLITE_CUT_MS,
};
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A poisoned lock is taken all the same: what it guards is left consistent by transactions, and
/// one panicking request must not end the server.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens metadata.db for writing, and makes it if it is not there.
pub fn open_writer(path: &Path, durable: bool) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_millis(SQLITE_BUSY_MS))?;
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Corrupt(format!("metadata.db: journal_mode is {mode}, not wal")));
    }
    conn.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
    tune(&conn)?;
    // Checkpoints are the checkpointer's: a commit never pays for one.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

fn tune(conn: &Connection) -> Result<(), StoreError> {
    conn.pragma_update(None, "cache_size", -SQLITE_CACHE_KIB)?;
    // No mapping: SQLite gives it up and makes it anew each time somebody else has committed.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // The stable plan: without it SQLite compiles a statement anew when the small numbers in its
    // parameters change, such as that of the first bucket, which is once each time it is used.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_millis(SQLITE_BUSY_MS))?;
    tune(&conn)?;
    Ok(conn)
}

/// Connections that read.
pub struct Readers {
    path: PathBuf,
    state: Mutex<Pool>,
    free: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    in_use: usize,
    waiting: usize,
    closed: bool,
}

impl Readers {
    /// None is open yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), state: Mutex::default(), free: Condvar::new() }
    }

    /// Runs on a connection of its own; waits while [`READ_CONNECTIONS`] are in use.
    pub fn read<T>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lent = Lent { readers: self, conn: self.take()? };
        let conn = match lent.conn.take() {
            Some(conn) => conn,
            None => open_reader(&self.path)?,
        };
        let result = run(&conn);
        lent.conn = Some(conn);
        result
    }

    /// The same inside one transaction: several statements see one moment, and lock the database
    /// once.
    pub fn snapshot<T>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read(|conn| {
            conn.prepare_cached("BEGIN")?.execute([])?;
            let _transaction = Reading(conn);
            run(conn)
        })
    }

    fn take(&self) -> Result<Option<Connection>, StoreError> {
        let mut pool = lock(&self.state);
        while pool.in_use >= READ_CONNECTIONS && !pool.closed {
            pool.waiting += 1;
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
            pool.waiting -= 1;
        }
        if pool.closed {
            return Err(StoreError::Closed);
        }
        pool.in_use += 1;
        Ok(pool.idle.pop())
    }

    /// Closes the connections, those in use when they are given back, for which it waits at most
    /// so long. From now on there are none.
    pub fn close(&self, patience: Duration) {
        let mut pool = lock(&self.state);
        pool.closed = true;
        pool.idle.clear();
        self.free.notify_all();
        let end = Instant::now() + patience;
        while pool.in_use > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            pool.waiting += 1;
            pool = self.free.wait_timeout(pool, left).unwrap_or_else(PoisonError::into_inner).0;
            pool.waiting -= 1;
        }
    }
}

/// A transaction that only reads. It ends when this is dropped, also by a panic.
struct Reading<'c>(&'c Connection);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let ended = self.0.prepare_cached("COMMIT").and_then(|mut end| end.execute([]));
        if ended.is_err() && !self.0.is_autocommit() {
            // Nothing is left to do if even this fails: the next BEGIN says so.
            let _ = self.0.execute_batch("ROLLBACK");
        }
    }
}

/// One use of a connection, which is given back when it ends, also by a panic. A panic in the use
/// itself loses the connection and nothing else.
struct Lent<'a> {
    readers: &'a Readers,
    conn: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.readers.state);
        if pool.closed {
            // Before anybody learns that it is not in use any more.
            self.conn = None;
        }
        pool.in_use -= 1;
        pool.idle.extend(self.conn.take());
        let waiting = pool.waiting > 0;
        drop(pool);
        // Only then: waking nobody costs a system call, too.
        if waiting {
            self.readers.free.notify_one();
        }
    }
}

type Work = Box<dyn Fn(&Connection) -> Result<(), StoreError> + Send>;

/// How a waiting writer learns what became of its job. Parking costs no system call where nobody
/// waits yet.
struct Ticket {
    state: Mutex<Progress>,
    owner: Thread,
}

#[derive(Default)]
enum Progress {
    #[default]
    Waiting,
    Lead,
    Done(Result<(), StoreError>),
}

impl Ticket {
    fn of_this_thread() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), owner: std::thread::current() })
    }

    fn set(&self, progress: Progress) {
        *lock(&self.state) = progress;
        self.owner.unpark();
    }

    /// `None`: this thread has to lead.
    fn wait(&self) -> Option<Result<(), StoreError>> {
        loop {
            // A statement of its own: the lock must not be held while this thread is parked.
            let progress = std::mem::take(&mut *lock(&self.state));
            match progress {
                // May return without cause; then the loop looks again.
                Progress::Waiting => std::thread::park(),
                Progress::Lead => return None,
                Progress::Done(result) => return Some(result),
            }
        }
    }
}

struct Job {
    work: Work,
    folders: Vec<Arc<Folder>>,
    ticket: Arc<Ticket>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    led: bool,
}

/// The one that writes. Whoever finds nobody writing leads: it takes all jobs that wait, runs them
/// in one transaction and commits once; jobs that come meanwhile wait for the next leader.
pub struct Writer {
    /// `None`: closed.
    conn: Mutex<Option<Connection>>,
    queue: Mutex<Queue>,
    /// What is known of objects; each write tells it what it touches.
    pub rows: Rows,
    /// What is known of listings, likewise.
    pub pages: Pages,
    /// Commits since the start.
    pub commits: AtomicU64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Takes a connection from [`open_writer`]. `committed` learns after each commit how many
    /// frames the WAL has.
    pub fn new(
        mut conn: Connection,
        mut committed: impl FnMut(u64) + Send + 'static,
    ) -> Result<Self, StoreError> {
        conn.wal_hook(Some(move |_: &mut Wal, frames| {
            committed(u64::try_from(frames).unwrap_or(0));
            Ok(())
        }))?;
        Ok(Self {
            conn: Mutex::new(Some(conn)),
            queue: Mutex::new(Queue::default()),
            rows: Rows::default(),
            pages: Pages::default(),
            commits: AtomicU64::new(0),
        })
    }

    /// Runs a job in a transaction and returns when that is durable. A job that fails is undone
    /// alone. Nothing slow belongs into a job: everybody else waits for it. It may run twice, if
    /// another one fails with which it shares the transaction.
    pub fn write<T: Send + 'static>(
        &self,
        job: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_after(Vec::new(), Touched::All, job)
    }

    /// The same for a job that writes no other objects than those that `touched` says, and for
    /// rows that name new files: the entries in these folders are durable before the transaction
    /// begins. Jobs that wait together share the fsync of a folder, too.
    pub fn write_after<T: Send + 'static>(
        &self,
        folders: Vec<Arc<Folder>>,
        touched: Touched,
        job: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _writing = (self.rows.writing(touched), self.pages.writing(touched));
        let slot = Arc::new(Mutex::new(None));
        let result = Arc::clone(&slot);
        let work: Work = Box::new(move |conn| {
            let value = job(conn)?;
            *lock(&result) = Some(value);
            Ok(())
        });
        let ticket = Ticket::of_this_thread();
        let lead = {
            let mut queue = lock(&self.queue);
            queue.jobs.push_back(Job { work, folders, ticket: Arc::clone(&ticket) });
            !std::mem::replace(&mut queue.led, true)
        };
        let done = if lead { None } else { ticket.wait() };
        match done {
            Some(done) => done?,
            None => {
                self.lead();
                ticket.wait().expect("the leader's own job is in its batch")?;
            }
        }
        let value = lock(&slot).take();
        Ok(value.expect("a job that succeeded has left its value"))
    }

    /// Runs a job that gives room back. On a full disk it may need the room that the WAL takes: then
    /// that is moved into metadata.db and cut off, and the job runs once more.
    pub fn write_freeing<T: Send + 'static>(
        &self,
        touched: Touched,
        job: impl Fn(&Connection) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.write_after(Vec::new(), touched, job.clone()) {
            Err(StoreError::Full) => {
                self.cut_wal()?;
                self.write_after(Vec::new(), touched, job)
            }
            other => other,
        }
    }

    /// Moves the WAL into metadata.db and gives its room back to the disk, unless somebody reads
    /// for longer than [`SQLITE_CUT_MS`]; whether it is cut off.
    pub fn cut_wal(&self) -> Result<bool, StoreError> {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.exclusive(|conn| {
            conn.busy_timeout(Duration::from_millis(SQLITE_CUT_MS))?;
            let busy = conn.query_row(sql, [], |row| row.get::<_, i64>(0));
            conn.busy_timeout(Duration::from_millis(SQLITE_BUSY_MS))?;
            Ok(busy? == 0)
        })
    }

    /// Runs on the writing connection outside of any transaction, with nobody else writing. For
    /// what writes no rows.
    pub fn exclusive<T>(
        &self,
        run: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        run(lock(&self.conn).as_ref().ok_or(StoreError::Closed)?)
    }

    /// Closes the connection. The last one to metadata.db moves the WAL into it and removes that,
    /// unless `keep_wal`. What is written from now on fails.
    pub fn close(&self, keep_wal: bool) -> Result<(), StoreError> {
        let Some(conn) = lock(&self.conn).take() else { return Ok(()) };
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep_wal)?;
        conn.close().map_err(|(_, error)| error.into())
    }

    /// Runs one batch, then hands the lead to the first who waits, if any.
    fn lead(&self) {
        let batch: Vec<Job> = {
            let mut queue = lock(&self.queue);
            let n = queue.jobs.len().min(MAX_GROUP_COMMIT);
            queue.jobs.drain(..n).collect()
        };
        let (mut works, mut tickets) = (Vec::new(), Vec::new());
        let mut synced = Vec::new();
        for job in batch {
            match sync_once(&mut synced, &job.folders) {
                Ok(()) => {
                    works.push(job.work);
                    tickets.push(job.ticket);
                }
                Err(error) => job.ticket.set(Progress::Done(Err(error))),
            }
        }
        let results = if works.is_empty() { Vec::new() } else { self.commit(&works) };
        for (ticket, result) in tickets.iter().zip(results) {
            ticket.set(Progress::Done(result));
        }
        let mut queue = lock(&self.queue);
        match queue.jobs.front() {
            Some(next) => next.ticket.set(Progress::Lead),
            None => queue.led = false,
        }
    }

    /// One transaction for all; a result for each.
    fn commit(&self, works: &[Work]) -> Vec<Result<(), StoreError>> {
        let guard = lock(&self.conn);
        let Some(conn) = guard.as_ref() else {
            return works.iter().map(|_| Err(StoreError::Closed)).collect();
        };
        let mut results = Vec::with_capacity(works.len());
        let mut run = || -> Result<(), StoreError> {
            if !run_all(conn, works, false, &mut results)? {
                roll_back(conn);
                results.clear();
                run_all(conn, works, true, &mut results)?;
            }
            let end = if results.iter().any(Result::is_ok) { "COMMIT" } else { "ROLLBACK" };
            conn.prepare_cached(end)?.execute([])?;
            Ok(())
        };
        let committed = run();
        self.commits.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = committed {
            roll_back(conn);
            results.resize_with(works.len(), || Ok(()));
            for result in results.iter_mut().filter(|r| r.is_ok()) {
                *result = Err(error.again());
            }
        }
        results
    }
}

/// Ends a transaction, if there is one, that is not to be.
fn roll_back(conn: &Connection) {
    if !conn.is_autocommit() {
        // Nothing is left to do if even this fails: the next BEGIN says so.
        let _ = conn.execute_batch("ROLLBACK");
    }
}

/// Syncs those of the folders that this batch has not synced yet.
fn sync_once(
    synced: &mut Vec<(Arc<Folder>, Result<(), StoreError>)>,
    folders: &[Arc<Folder>],
) -> Result<(), StoreError> {
    for folder in folders {
        let known = synced.iter().position(|(known, _)| Arc::ptr_eq(known, folder));
        let at = known.unwrap_or_else(|| {
            synced.push((Arc::clone(folder), folder.sync()));
            synced.len() - 1
        });
        if let Err(error) = &synced[at].1 {
            return Err(error.again());
        }
    }
    Ok(())
}

/// Begins a transaction and runs jobs in it. Mostly none of them fails, or only before it has
/// changed anything: so they go without savepoints first. `false`: one has failed later than that,
/// and all have to run again, each with a savepoint that undoes it alone.
fn run_all(
    conn: &Connection,
    works: &[Work],
    guarded: bool,
    results: &mut Vec<Result<(), StoreError>>,
) -> Result<bool, StoreError> {
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for work in works {
        if guarded {
            conn.prepare_cached("SAVEPOINT job")?.execute([])?;
        }
        let before = conn.total_changes();
        let result = run_one(conn, work);
        // SQLite ends the transaction by itself after some errors.
        let ended = conn.is_autocommit();
        let harmless = result.is_ok() || (conn.total_changes() == before && !ended);
        match result {
            Err(error) if ended && guarded => return Err(error),
            // The only one: what it did goes with the transaction.
            _ if guarded || harmless || works.len() == 1 => {}
            _ => return Ok(false),
        }
        if guarded {
            if result.is_err() {
                conn.prepare_cached("ROLLBACK TO job")?.execute([])?;
            }
            conn.prepare_cached("RELEASE job")?.execute([])?;
        }
        results.push(result);
    }
    Ok(true)
}

/// A job that panics has failed.
fn run_one(conn: &Connection, work: &Work) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| work(conn)))
        .unwrap_or_else(|_| Err(StoreError::Corrupt("a write panicked".to_owned())))
}

#[cfg(test)]
mod tests;
