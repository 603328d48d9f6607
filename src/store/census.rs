//! Which files the rows of metadata.db name, as seen from outside: by a backup, a restore or a
//! verification, none of which is the process that writes. Several databases may be counted into
//! one census, such as all snapshots of a backup.
//!
//! The census is a table of SQLite in a temporary file of its own, so millions of files need no
//! memory, and the database itself is read in one go, without a transaction that lasts.

use super::{BlobId, StoreError, cipher, ids, schema};
use crate::limits::SQLITE_BUSY_MS;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The version of metadata.db from which on it has everything that is looked at.
const OLDEST: i64 = 3;

/// Steps of SQLite, each much less than a microsecond, between two looks at whether it is to end.
const STOP_LOOK: i32 = 10_000;

/// Where an iteration over the files has come to: folder and blob.
pub type At = (i64, i64);

/// A file that rows name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Its place in the order of all files.
    pub at: At,
    /// The bucket in whose folder it is.
    pub bucket: String,
    /// Its number.
    pub blob: BlobId,
    /// Its size on the disk; `None` where the row does not say: an object that was deleted.
    pub size: Option<u64>,
    /// CRC-64/NVME of its bytes on the disk; `None` as above.
    pub crc64: Option<u64>,
    /// Only what was deleted needs it.
    pub trash: bool,
}

impl Named {
    /// Its path below a data directory or a backup.
    pub fn path(&self, root: &Path) -> PathBuf {
        path_of(root, &self.bucket, self.blob)
    }
}

/// The path of a file below a data directory or a backup.
pub fn path_of(root: &Path, bucket: &str, blob: BlobId) -> PathBuf {
    let mut path = root.join("buckets");
    path.push(bucket);
    path.push("objects");
    path.push(ids::folder(blob));
    path.push(ids::file_name(blob));
    path
}

/// How many files, and their bytes on the disk as far as they are known.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Total {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A metadata.db that is to be read.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A server may be writing it.
    Live(&'a Path),
    /// Nobody writes it; the folder may be read-only.
    Still(&'a Path),
}

impl Source<'_> {
    /// Its address for SQLite, which reads it only.
    pub fn uri(self) -> String {
        let (path, how) = match self {
            Self::Live(path) => (path, "mode=ro"),
            Self::Still(path) => (path, "immutable=1"),
        };
        let mut uri = String::from("file:");
        for byte in path.as_os_str().as_encoded_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    uri.push(char::from(*byte));
                }
                // Cannot fail: it is a String.
                other => drop(write!(uri, "%{other:02X}")),
            }
        }
        uri + "?" + how
    }

    /// Opens it by itself.
    pub fn connect(self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(self.uri(), flags)?;
        conn.busy_timeout(Duration::from_millis(SQLITE_BUSY_MS))?;
        Ok(conn)
    }
}

/// See the module's description.
pub struct Census {
    conn: Connection,
}

/// What rows name with its size, its CRC and its seal, by bucket.
const CLAIMS: &str = "
    SELECT bucket, blob, size, crc64, seal FROM m.objects WHERE blob IS NOT NULL
    UNION ALL
    SELECT bucket, blob, size, crc64, seal FROM m.versions WHERE blob IS NOT NULL
    UNION ALL
    SELECT o.bucket, p.blob, p.size, p.crc64, p.seal FROM (
        SELECT bucket, manifest FROM m.objects WHERE manifest IS NOT NULL UNION ALL
        SELECT bucket, manifest FROM m.versions WHERE manifest IS NOT NULL UNION ALL
        SELECT bucket, manifest FROM m.uploads WHERE done_ms IS NULL) o
    JOIN m.parts p ON p.manifest = o.manifest WHERE p.blob IS NOT NULL";

/// What garbage names, by the name of the folder.
const TRASH: &str = "
    SELECT bucket, blob, NULL AS size, NULL AS crc64, NULL AS seal FROM m.garbage
    WHERE blob IS NOT NULL
    UNION ALL
    SELECT g.bucket, p.blob, p.size, p.crc64, p.seal FROM m.garbage g
    JOIN m.parts p ON p.manifest = g.manifest WHERE p.blob IS NOT NULL";

impl Census {
    /// One without a file.
    pub fn new() -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Without a name SQLite takes a temporary file, and that only when it has to.
        let conn = Connection::open_with_flags("", flags)?;
        conn.busy_timeout(Duration::from_millis(SQLITE_BUSY_MS))?;
        conn.execute_batch(
            "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;
             CREATE TABLE folders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
             CREATE TABLE files (folder INTEGER NOT NULL, blob INTEGER NOT NULL, size INTEGER,
                 crc64 INTEGER, seal BLOB, trash INTEGER NOT NULL, PRIMARY KEY (folder, blob)
             ) WITHOUT ROWID;
             CREATE TABLE lost (blob INTEGER PRIMARY KEY);
             CREATE TABLE lost_parts (manifest INTEGER, number INTEGER, blob INTEGER,
                 PRIMARY KEY (manifest, number)) WITHOUT ROWID;",
        )?;
        Ok(Self { conn })
    }

    /// The same; its looks end when `stop` is set, with a failure.
    pub fn until(mut self, stop: &Arc<AtomicBool>) -> Result<Self, StoreError> {
        let stop = Arc::clone(stop);
        let stopped = move || stop.load(Ordering::Relaxed);
        self.conn.progress_handler(STOP_LOOK, Some(stopped))?;
        Ok(self)
    }

    /// Takes a look at a metadata.db.
    pub fn look(&self, source: Source<'_>) -> Result<Look<'_>, StoreError> {
        self.conn.execute("ATTACH ?1 AS m", [source.uri()])?;
        let look = Look { conn: &self.conn };
        self.conn.execute_batch("BEGIN")?;
        let version: i64 = self.conn.query_row("PRAGMA m.user_version", [], |row| row.get(0))?;
        let newest = schema::newest();
        if !(OLDEST..=newest).contains(&version) {
            return Err(StoreError::Corrupt(format!(
                "metadata.db has version {version}; this jog reads {OLDEST} to {newest}"
            )));
        }
        Ok(look)
    }

    /// The files behind `after` in their order, at most `max`; garbage among them if asked for.
    pub fn page(&self, after: At, trash: bool, max: usize) -> Result<Vec<Named>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT f.folder, f.blob, n.name, f.size, f.crc64, f.seal, f.trash
             FROM files f JOIN folders n ON n.id = f.folder
             WHERE (f.folder, f.blob) > (?1, ?2) AND f.trash <= ?3
             ORDER BY f.folder, f.blob LIMIT ?4",
        )?;
        let mut rows = statement.query(params![after.0, after.1, trash, max as i64])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            let size = row.get::<_, Option<i64>>(3)?.map(|n| u64::try_from(n).unwrap_or(0));
            let crc64 = row.get::<_, Option<i64>>(4)?.map(|n| n as u64);
            // The end of a seal's column, which is the CRC of the encrypted bytes.
            let seal: Option<[u8; 8]> = row.get(5)?;
            let (size, crc64) = match seal {
                Some(crc) => (size.map(cipher::stored_len), Some(u64::from_be_bytes(crc))),
                None => (size, crc64),
            };
            page.push(Named {
                at: (row.get(0)?, row.get(1)?),
                bucket: row.get(2)?,
                blob: BlobId(row.get(1)?),
                size,
                crc64,
                trash: row.get(6)?,
            });
        }
        Ok(page)
    }

    /// The place of a file that may not be there any more.
    pub fn behind(&self, bucket: &str, blob: BlobId) -> Result<At, StoreError> {
        // Folders are numbered in the order of their names when one database was counted.
        let sql = "SELECT id, name = ?1 FROM folders WHERE name <= ?1 ORDER BY name DESC LIMIT 1";
        let found: Option<(i64, bool)> = self
            .conn
            .prepare_cached(sql)?
            .query_row([bucket], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(match found {
            Some((folder, true)) => (folder, blob.0),
            Some((folder, false)) => (folder, i64::MAX),
            None => (0, 0),
        })
    }

    /// How much there is without garbage (`false`), or of garbage (`true`).
    pub fn total(&self, trash: bool) -> Result<Total, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(size), 0) FROM files WHERE trash = ?1";
        let (files, bytes): (i64, i64) =
            self.conn.query_row(sql, [trash], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let number = |n| u64::try_from(n).unwrap_or(0);
        Ok(Total { files: number(files), bytes: number(bytes) })
    }

    /// Whether a file is named.
    pub fn contains(&self, bucket: &str, blob: BlobId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM files WHERE blob = ?2
                   AND folder = (SELECT id FROM folders WHERE name = ?1)";
        let found: Option<i64> = self
            .conn
            .prepare_cached(sql)?
            .query_row(params![bucket, blob.0], |row| row.get(0))
            .optional()?;
        Ok(found.is_some())
    }
}

/// A look at one moment of a metadata.db, which ends with it.
pub struct Look<'c> {
    conn: &'c Connection,
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        // Neither can be answered otherwise than by going on: the next look fails if it must.
        if !self.conn.is_autocommit() {
            let _ = self.conn.execute_batch("COMMIT");
        }
        let _ = self.conn.execute_batch("DETACH m");
    }
}

impl Look<'_> {
    /// Counts its files into the census. Gives how many rows name a file that another row of the
    /// same database names, too, which must never be.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.conn.execute_batch(
            "INSERT OR IGNORE INTO folders (name)
                 SELECT name FROM m.buckets UNION SELECT bucket FROM m.garbage",
        )?;
        let sql = format!(
            "INSERT INTO files (folder, blob, size, crc64, seal, trash)
             SELECT f.id, r.blob, r.size, r.crc64, substr(r.seal, -8), 0 FROM ({CLAIMS}) r
             JOIN m.buckets b ON b.id = r.bucket JOIN folders f ON f.name = b.name
             WHERE 1 ORDER BY f.id, r.blob
             ON CONFLICT DO UPDATE SET size = excluded.size, crc64 = excluded.crc64,
                 seal = excluded.seal, trash = 0 WHERE trash = 1"
        );
        self.conn.execute(&sql, [])?;
        let sql = format!(
            "INSERT INTO files (folder, blob, size, crc64, seal, trash)
             SELECT f.id, r.blob, r.size, r.crc64, substr(r.seal, -8), 1 FROM ({TRASH}) r
             JOIN folders f ON f.name = r.bucket WHERE 1 ORDER BY f.id, r.blob
             ON CONFLICT DO NOTHING"
        );
        self.conn.execute(&sql, [])?;
        let sql = format!(
            "SELECT count(*) - count(DISTINCT blob) FROM (
                 SELECT blob FROM ({CLAIMS}) UNION ALL SELECT blob FROM ({TRASH}))"
        );
        let twice: i64 = self.conn.query_row(&sql, [], |row| row.get(0))?;
        Ok(u64::try_from(twice).unwrap_or(0))
    }

    /// The sequence number of blobs below which all are settled: each has its row, or no file.
    pub fn low_water(&self) -> Result<i64, StoreError> {
        let sql = "SELECT value FROM m.settings WHERE name = 'blob_low'";
        Ok(self.conn.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// What tells this store from others, and stays the same when it is restored.
    pub fn store_id(&self) -> Result<String, StoreError> {
        let salt: Vec<u8> =
            self.conn.query_row("SELECT salt FROM m.seal_salt", [], |row| row.get(0))?;
        Ok(hex::encode(
            &Sha256::new().chain_update(b"jog store\0").chain_update(salt).finalize()[..8],
        ))
    }

    /// Runs queries that find what must not be; the first column of each row is text.
    pub fn complaints(&self, sql: &str, most: usize) -> Result<Vec<String>, StoreError> {
        let mut statement = self.conn.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.take(most).collect::<Result<_, _>>()?)
    }

    /// Which of these files are still named by objects, versions or uploads, and by which.
    pub fn owners(&self, blobs: &HashSet<i64>) -> Result<Vec<FileOwner>, StoreError> {
        self.conn.execute_batch("DELETE FROM lost; DELETE FROM lost_parts")?;
        for blob in blobs {
            let sql = "INSERT OR IGNORE INTO lost (blob) VALUES (?1)";
            self.conn.prepare_cached(sql)?.execute([blob])?;
        }
        self.conn.execute_batch(
            "INSERT OR IGNORE INTO lost_parts (manifest, number, blob)
                 SELECT p.manifest, p.number, p.blob FROM m.parts p
                 CROSS JOIN lost l ON l.blob = p.blob",
        )?;
        let mut found = Vec::new();
        for (table, null, kind) in [
            ("objects", "r.null_version", "object"),
            ("versions", "r.null_version", "version"),
            ("uploads", "0", "upload"),
        ] {
            let number = if table == "uploads" { "r.upload_id" } else { "r.version" };
            let mut selects = vec![format!(
                "SELECT b.name, r.key, {number}, {null}, p.number, p.blob FROM m.{table} r
                 CROSS JOIN lost_parts p ON p.manifest = r.manifest
                 JOIN m.buckets b ON b.id = r.bucket"
            )];
            match table {
                "uploads" => selects[0].push_str(" WHERE r.done_ms IS NULL"),
                _ => selects.push(format!(
                    "SELECT b.name, r.key, {number}, {null}, NULL, r.blob FROM m.{table} r
                     CROSS JOIN lost l ON l.blob = r.blob JOIN m.buckets b ON b.id = r.bucket"
                )),
            }
            for sql in selects {
                let mut statement = self.conn.prepare(&sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    found.push(FileOwner::read(row, kind)?);
                }
            }
        }
        Ok(found)
    }
}

/// What needs a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileOwner {
    /// `object`, `version` or `upload`.
    pub kind: &'static str,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The id of the version or of the upload; `null` for a null version.
    pub id: String,
    /// The part, if it has several files.
    pub part: Option<u32>,
    /// The file's number.
    pub blob: BlobId,
}

impl FileOwner {
    fn read(row: &rusqlite::Row<'_>, kind: &'static str) -> Result<Self, StoreError> {
        let key: Vec<u8> = match row.get_ref(1)? {
            rusqlite::types::ValueRef::Text(text) | rusqlite::types::ValueRef::Blob(text) => {
                text.to_vec()
            }
            _ => Vec::new(),
        };
        let id = match row.get_ref(2)? {
            rusqlite::types::ValueRef::Integer(_) if row.get::<_, bool>(3)? => "null".to_owned(),
            rusqlite::types::ValueRef::Integer(number) => {
                crate::types::VersionId::Number(number).to_string()
            }
            _ => row.get(2)?,
        };
        Ok(Self {
            kind,
            bucket: row.get(0)?,
            key: String::from_utf8_lossy(&key).into_owned(),
            id,
            part: row.get(4)?,
            blob: BlobId(row.get(5)?),
        })
    }
}
