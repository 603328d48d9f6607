//! What there is to know of a store: for operators and their monitoring.

use super::fs::SYNCS;
use super::{Store, StoreError, backup};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::Ordering;

/// In a data directory: how the last scrub went.
const LAST_SCRUB: &str = "last-scrub.json";

/// How the last backup went, as it noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastBackup {
    /// The moment of its snapshot, in milliseconds since 1970.
    pub moment_ms: i64,
    /// When it was complete, in milliseconds since 1970.
    pub finished_ms: i64,
    /// Whether everything is in it.
    pub complete: bool,
    /// Where it is.
    pub dest: String,
}

/// How the last scrub went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastScrub {
    /// When it ended, in milliseconds since 1970.
    pub finished_ms: i64,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are missing or damaged.
    pub lost: u64,
    /// Contradictions within metadata.db.
    pub contradictions: u64,
    /// Files that nothing names.
    pub orphans: u64,
}

/// See the module's description. Sizes are in bytes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Buckets.
    pub buckets: u64,
    /// Objects that are current.
    pub objects: u64,
    /// Versions and delete markers, the current ones among them.
    pub versions: u64,
    /// Bytes of all versions.
    pub bytes: u64,
    /// Unfinished uploads.
    pub uploads: u64,
    /// Bytes of their parts.
    pub uploading: u64,
    /// Files of deleted objects that are still there.
    pub trash_files: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// When the oldest of them was deleted, in milliseconds since 1970.
    pub trash_oldest_ms: Option<i64>,
    /// Room on the disk for unprivileged users.
    pub disk_free: u64,
    /// Size of the disk.
    pub disk_size: u64,
    /// Free space under which nothing new is taken.
    pub min_free: u64,
    /// Free space under which trash is removed before its time.
    pub trash_floor: u64,
    /// Size of metadata.db.
    pub metadata_bytes: u64,
    /// Size of its WAL.
    pub wal_bytes: u64,
    /// When the last checkpoint ended, since the start; in milliseconds since 1970.
    pub checkpoint_ms: Option<i64>,
    /// Commits since the start.
    pub commits: u64,
    /// Syncs of files and folders since the start, without those of SQLite.
    pub syncs: u64,
    /// Events that wait for their webhooks.
    pub events_queued: u64,
    /// Events that were dropped since the start.
    pub events_dropped: u64,
    /// Bytes of access logs that wait for their delivery.
    pub log_bytes: u64,
    /// The last backup, if there was one.
    pub backup: Option<LastBackup>,
    /// The last scrub, if there was one.
    pub scrub: Option<LastScrub>,
}

/// Numbers of one row.
fn numbers<const N: usize>(conn: &Connection, sql: &str) -> Result<[u64; N], StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = [0; N];
    statement.query_row([], |row| {
        for (at, slot) in found.iter_mut().enumerate() {
            *slot = u64::try_from(row.get::<_, Option<i64>>(at)?.unwrap_or(0)).unwrap_or(0);
        }
        Ok(())
    })?;
    Ok(found)
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// A note in the data directory.
fn note(dir: &Path, name: &str) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(dir.join(name)).ok()?).ok()
}

fn last_backup(dir: &Path) -> Option<LastBackup> {
    let value = note(dir, backup::LAST_BACKUP)?;
    Some(LastBackup {
        moment_ms: value.get("moment_ms")?.as_i64()?,
        finished_ms: value.get("finished_ms")?.as_i64()?,
        complete: value.get("complete")?.as_bool()?,
        dest: value.get("dest")?.as_str()?.to_owned(),
    })
}

impl LastScrub {
    fn read(dir: &Path) -> Option<Self> {
        let value = note(dir, LAST_SCRUB)?;
        let number = |name: &str| value.get(name)?.as_u64();
        Some(Self {
            finished_ms: value.get("finished_ms")?.as_i64()?,
            files: number("files")?,
            bytes: number("bytes")?,
            lost: number("lost")?,
            contradictions: number("contradictions")?,
            orphans: number("orphans")?,
        })
    }

    /// Notes it in the data directory.
    pub fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let value = json!({
            "finished_ms": self.finished_ms,
            "files": self.files,
            "bytes": self.bytes,
            "lost": self.lost,
            "contradictions": self.contradictions,
            "orphans": self.orphans,
        });
        let path = dir.join(LAST_SCRUB);
        let new = path.with_extension("new");
        std::fs::write(&new, format!("{value}\n"))
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|e| StoreError::io("write", &path, e))
    }
}

impl Store {
    /// Looks at everything. Takes longer the more trash there is.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let dir = &self.config.dir;
        let space = self.space()?;
        let mut stats = self.readers.snapshot(|conn| {
            let [buckets, objects, versions, bytes, uploading] = numbers(
                conn,
                "SELECT count(*), sum(objects), sum(versions), sum(bytes), sum(uploading) FROM usage",
            )?;
            let sql = "SELECT count(*) FROM uploads WHERE done_ms IS NULL";
            let [uploads] = numbers(conn, sql)?;
            let sql = "SELECT count(blob), sum(size) FROM garbage WHERE blob IS NOT NULL";
            let [blobs, blob_bytes] = numbers(conn, sql)?;
            let [parts, part_bytes] = numbers(
                conn,
                "SELECT count(p.blob), sum(p.size) FROM garbage g
                 JOIN parts p ON p.manifest = g.manifest",
            )?;
            let (trash_files, trash_bytes) = (blobs + parts, blob_bytes + part_bytes);
            Ok(Stats {
                buckets,
                objects,
                versions,
                bytes,
                uploads,
                uploading,
                trash_files,
                trash_bytes,
                ..Stats::default()
            })
        })?;
        stats.trash_oldest_ms = self.collector().oldest()?;
        (stats.disk_free, stats.disk_size) = (space.free, space.size);
        (stats.min_free, stats.trash_floor) = (space.min_free, space.trash_floor);
        stats.metadata_bytes = length(&dir.join("metadata.db"));
        stats.wal_bytes = length(&dir.join("metadata.db-wal"));
        let at = self.signal.checkpoint_ms.load(Ordering::Relaxed);
        stats.checkpoint_ms = Some(at).filter(|ms| *ms > 0);
        stats.commits = self.writer.commits.load(Ordering::Relaxed);
        stats.syncs = SYNCS.load(Ordering::Relaxed);
        stats.events_queued = self.queued_events()?.iter().map(|(_, count)| count).sum();
        stats.events_dropped = self.dropped_events();
        stats.log_bytes = match std::fs::read_dir(dir.join("logs")) {
            Ok(files) => files.flatten().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum(),
            Err(_) => 0,
        };
        stats.backup = last_backup(dir);
        stats.scrub = LastScrub::read(dir);
        Ok(stats)
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }
}
