//! What has to be done beside the requests: checkpoints of the WAL, collecting garbage, room on
//! the disk. One thread runs [`Store::upkeep`]; it sleeps without a deadline while nothing is
//! written, so an idle server wakes nobody and touches no disk.

use super::db::{lock, open_writer};
use super::error::{undo, undone};
use super::fs::check_writable;
use super::open::Space;
use super::rows::Touched;
use super::{Store, StoreError};
use crate::limits::{CHECKPOINT_FRAMES, REPLICATED_CHECKPOINT_FRAMES, SQLITE_BUSY_MS};
use crate::types::time::now_ms;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a completed upload is remembered for a repeated Complete, in milliseconds.
const COMPLETED_MS: i64 = 24 * 3600 * 1000;
/// Completed uploads forgotten with one commit.
const FORGET_ROWS: i64 = 500;
/// After a failure of upkeep, the pause before the next try.
const RETRY: Duration = Duration::from_secs(30);
/// Frames of a WAL that is worth cutting off where there is little room.
const CUT_FRAMES: u64 = 250;
/// How long a WAL that could not be cut off is left as it is.
const CUT_PAUSE: Duration = Duration::from_secs(5);
/// How long a disk with plenty of room is not looked at again: it takes a system call that searches
/// for a path.
const PLENTY_PAUSE: Duration = Duration::from_millis(100);
/// Bytes over the floors that are plenty: more than is written in that time.
const PLENTY_BYTES: u64 = 2 << 30;
/// How often low space is noted, in milliseconds.
const LOW_SPACE_MS: i64 = 1000;

fn report(result: Result<(), StoreError>) {
    if let Err(error) = result {
        log::warn!("upkeep: {error}");
    }
}

impl Store {
    /// Does the upkeep until [`Store::close`]. For a thread of its own.
    pub fn upkeep(&self) {
        report(self.recover());
        // When garbage is to be looked for; `None`: some time after the next commit.
        let mut look_at = Some(Instant::now());
        loop {
            let now = Instant::now();
            let work = self.signal.wait(look_at.map(|at| at.saturating_duration_since(now)));
            if work.stop {
                return;
            }
            if work.checkpoint {
                let done = self.checkpoint();
                if done.is_err() {
                    // Tried again when as much has been written once more.
                    self.signal.checkpointed(self.signal.wal_frames());
                }
                report(done);
            }
            if work.space {
                report(self.cut_wal());
                report(self.make_room(|s| s.trash_floor).map(|_| ()));
            }
            let now = Instant::now();
            if work.commits && look_at.is_none() {
                look_at = Some(now + self.look_interval());
            }
            if look_at.is_some_and(|at| at <= now) {
                look_at = match self.collect() {
                    Ok(pause) => pause.map(|pause| now + pause),
                    Err(error) => {
                        report(Err(error));
                        Some(now + RETRY)
                    }
                };
            }
        }
    }

    /// How long after a write garbage is looked for.
    fn look_interval(&self) -> Duration {
        let tenth = u64::try_from(self.config.trash_retention_ms / 10).unwrap_or(0);
        Duration::from_millis(tenth.clamp(200, 60_000))
    }

    /// Removes all garbage whose time has come. Gives the time until there is more to do; `None`
    /// if that is not known before the next write.
    fn collect(&self) -> Result<Option<Duration>, StoreError> {
        let now = now_ms();
        let before = now - self.config.trash_retention_ms;
        let collector = self.collector();
        let (mut after, mut stuck) = (0, 0);
        // While somebody holds the files none goes.
        while let Some(_free) = super::hold::unless_held(&self.config.dir)? {
            let step = collector.step(before, after)?;
            after = step.last;
            stuck += step.stuck;
            if !step.more || self.signal.stopping() {
                break;
            }
        }
        let later = now_ms();
        if collector.oldest()?.is_some_and(|oldest| oldest > later) {
            collector.redate(later)?;
        }
        self.make_room(|s| s.trash_floor)?;
        self.forget_completed(now - COMPLETED_MS)?;
        let mut due = self.next_due()?;
        if due.is_none() {
            // In this order: what is committed from here on is seen by the look or ends the wait.
            self.signal.idle();
            due = self.next_due()?;
        }
        Ok(due.map(|ms| {
            let wait = Duration::from_millis(u64::try_from(ms - now).unwrap_or(0));
            wait.max(if stuck > 0 { RETRY } else { self.look_interval() })
        }))
    }

    /// When the next garbage or completed upload is due, in milliseconds since 1970.
    fn next_due(&self) -> Result<Option<i64>, StoreError> {
        let garbage = self.collector().oldest()?.map(|ms| ms + self.config.trash_retention_ms);
        let completed = self.oldest_completed()?.map(|ms| ms + COMPLETED_MS);
        Ok(garbage.into_iter().chain(completed).min())
    }

    fn oldest_completed(&self) -> Result<Option<i64>, StoreError> {
        self.readers.read(|conn| {
            let sql = "SELECT min(done_ms) FROM uploads WHERE done_ms IS NOT NULL";
            Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
    }

    /// Forgets uploads that were completed before that time; their objects are not touched.
    fn forget_completed(&self, before_ms: i64) -> Result<(), StoreError> {
        if self.oldest_completed()?.is_none_or(|oldest| oldest >= before_ms) {
            return Ok(());
        }
        loop {
            let gone = self.writer.write(move |conn| {
                Ok(conn
                    .prepare_cached(
                        "DELETE FROM uploads WHERE manifest IN (SELECT manifest FROM uploads
                             WHERE done_ms IS NOT NULL AND done_ms < ?1 LIMIT ?2)",
                    )?
                    .execute([before_ms, FORGET_ROWS])?)
            })?;
            if (gone as i64) < FORGET_ROWS {
                return Ok(());
            }
        }
    }

    /// Removes garbage before its time, oldest first, until there is the room that `floor` picks.
    /// Whether there is.
    fn make_room(&self, floor: impl Fn(Space) -> u64) -> Result<bool, StoreError> {
        let collector = self.collector();
        let mut after = 0;
        loop {
            let space = self.space()?;
            if space.free >= floor(space) {
                return Ok(true);
            }
            let step = collector.step(i64::MAX, after)?;
            if step.removed > 0 {
                log::info!(
                    "the disk is getting full: removed {} deleted files early",
                    step.removed
                );
            }
            if !step.more && step.removed == 0 {
                return Ok(false);
            }
            after = step.last;
        }
    }

    /// Runs a job that gives room back, be the disk as full as it may.
    ///
    /// Under the floor its own commits must not fill the disk: a long WAL is cut off while
    /// metadata.db can still grow. If there is no room all the same, files of garbage go first,
    /// which needs none.
    pub(super) fn write_freeing<T: Send + 'static>(
        &self,
        touched: Touched,
        job: impl Fn(&rusqlite::Connection) -> super::Outcome<T> + Clone + Send + 'static,
    ) -> super::Outcome<T> {
        if self.signal.wal_frames() >= CUT_FRAMES {
            let space = self.recent_space()?;
            if space.free < space.min_free {
                report(self.cut_wal());
            }
        }
        let job = move |conn: &rusqlite::Connection| undo(job(conn));
        let done = match self.writer.write_freeing(touched, job.clone()) {
            Err(StoreError::Full) => {
                self.make_room(|s| s.min_free)?;
                self.writer.write_freeing(touched, job)
            }
            other => other,
        };
        undone(done)
    }

    /// Gives the room of a long WAL back. Where somebody reads metadata.db for long, each try would
    /// hold up all who write in vain: then none is made for [`CUT_PAUSE`].
    fn cut_wal(&self) -> Result<(), StoreError> {
        if self.signal.wal_frames() < CUT_FRAMES {
            return Ok(());
        }
        // Also those who have come meanwhile wait for this try alone.
        let mut uncut = lock(&self.uncut);
        if uncut.is_none_or(|since| since.elapsed() >= CUT_PAUSE) {
            *uncut = if self.writer.cut_wal()? { None } else { Some(Instant::now()) };
        }
        Ok(())
    }

    /// The room on the disk; if there was plenty, as it was [`PLENTY_PAUSE`] ago at most.
    fn recent_space(&self) -> Result<Space, StoreError> {
        let known = *lock(&self.plenty);
        if let Some((_, space)) = known.filter(|(since, _)| since.elapsed() < PLENTY_PAUSE) {
            return Ok(space);
        }
        let (now, space) = (Instant::now(), self.space()?);
        let plenty = space.free >= space.trash_floor.saturating_add(PLENTY_BYTES);
        *lock(&self.plenty) = plenty.then_some((now, space));
        Ok(space)
    }

    /// Whether there is room for new bytes. Garbage goes first.
    pub(super) fn check_space(&self) -> Result<(), StoreError> {
        let space = self.recent_space()?;
        if space.free >= space.trash_floor {
            return Ok(());
        }
        if space.free < space.min_free && !self.make_room(|s| s.min_free)? {
            self.cut_wal()?;
            let space = self.space()?;
            if space.free < space.min_free {
                return Err(StoreError::Full);
            }
        }
        let now = now_ms();
        if !self.space_was_low(now, LOW_SPACE_MS) {
            self.low_space_ms.store(now, Ordering::Relaxed);
            self.signal.space();
        }
        Ok(())
    }

    /// Moves the WAL into metadata.db, without ever waiting for a reader and without holding up
    /// the writer: PASSIVE, on a connection of its own.
    ///
    /// Under a load that never pauses the WAL cannot start over, since there is always a frame
    /// that is not moved yet; so once it is much too long the last of it is moved with the writer
    /// held, which takes no longer than a usual commit.
    ///
    /// Litestream copies frames out of the WAL and makes the checkpoints itself; one of ours at the
    /// wrong moment would let the WAL start over with frames that it has not seen, and it would have
    /// to replicate the whole database anew. So beside it there is one only if the WAL has become so
    /// long that it cannot be running.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let frames = self.signal.wal_frames();
        if frames < REPLICATED_CHECKPOINT_FRAMES && self.is_replicated() {
            self.signal.checkpointed(frames);
            return Ok(());
        }
        let conn = open_writer(&self.config.dir.join("metadata.db"), self.config.durable)?;
        conn.busy_timeout(Duration::from_millis(SQLITE_BUSY_MS))?;
        let passive = || -> Result<(u64, u64), StoreError> {
            Ok(conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                let frames = |n: i64| u64::try_from(n).unwrap_or(0);
                Ok((frames(row.get(1)?), frames(row.get(2)?)))
            })?)
        };
        let (log, moved) = passive()?;
        self.signal.checkpointed(moved);
        self.signal.checkpoint_ms.store(now_ms(), Ordering::Relaxed);
        if log > moved && log >= 4 * CHECKPOINT_FRAMES {
            self.writer.exclusive(|_| passive())?;
        }
        Ok(())
    }

    /// Whether Litestream replicates metadata.db, or has done so: its folder is there.
    pub(super) fn is_replicated(&self) -> bool {
        self.config.dir.join(".metadata.db-litestream").is_dir()
    }

    /// Whether the store can be read and written now: for health checks. Writes nothing.
    pub fn ready(&self) -> Result<(), StoreError> {
        self.readers.read(|conn| Ok(conn.query_row("SELECT 1", [], |_| Ok(()))?))?;
        self.writer.exclusive(|conn| Ok(conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?))?;
        // A transaction that writes nothing does not notice.
        check_writable(&self.config.dir)?;
        let space = self.space()?;
        if space.free >= space.min_free {
            return Ok(());
        }
        // There may be garbage since the last write that was refused.
        self.signal.space();
        Err(StoreError::Full)
    }
}
