//! The tables of metadata.db. Migrations are append-only: what stands here is never edited.

use super::{OpenError, StoreError};
use rusqlite::Connection;

/// Migration n takes a database from version n to n + 1.
const MIGRATIONS: &[&str] = &[
    // 0: the first layout.
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

     CREATE TABLE owners (id INTEGER PRIMARY KEY, canonical TEXT NOT NULL UNIQUE);

     CREATE TABLE buckets (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         name TEXT NOT NULL UNIQUE,
         created_ms INTEGER NOT NULL,
         owner INTEGER NOT NULL,
         region TEXT NOT NULL
     );

     -- The current objects. key: UTF-8, compared byte by byte. blob and manifest: at most one of
     -- them is set; neither for an object without bytes. meta: JSON, pairs of header and value.
     -- checksum: see store/codec.rs.
     CREATE TABLE objects (
         bucket INTEGER NOT NULL,
         key BLOB NOT NULL,
         version INTEGER NOT NULL,
         size INTEGER NOT NULL,
         modified_ms INTEGER NOT NULL,
         etag TEXT NOT NULL,
         crc64 INTEGER NOT NULL,
         checksum BLOB,
         owner INTEGER NOT NULL,
         blob INTEGER,
         manifest INTEGER,
         meta TEXT NOT NULL,
         PRIMARY KEY (bucket, key)
     ) WITHOUT ROWID;

     -- Uploads; a finished one (done_ms) is remembered for a while with its result.
     CREATE TABLE uploads (
         manifest INTEGER PRIMARY KEY,
         bucket INTEGER NOT NULL,
         key BLOB NOT NULL,
         upload_id TEXT NOT NULL,
         started_ms INTEGER NOT NULL,
         owner INTEGER NOT NULL,
         meta TEXT NOT NULL,
         algorithm INTEGER,
         kind INTEGER,
         revision INTEGER NOT NULL DEFAULT 0,
         done_ms INTEGER,
         etag TEXT,
         checksum BLOB
     );
     CREATE UNIQUE INDEX uploads_open ON uploads (bucket, key, upload_id) WHERE done_ms IS NULL;
     CREATE INDEX uploads_done ON uploads (done_ms) WHERE done_ms IS NOT NULL;

     -- Parts of uploads and of multipart objects.
     CREATE TABLE parts (
         manifest INTEGER NOT NULL,
         number INTEGER NOT NULL,
         size INTEGER NOT NULL,
         modified_ms INTEGER NOT NULL,
         md5 BLOB NOT NULL,
         crc64 INTEGER NOT NULL,
         checksum BLOB,
         blob INTEGER,
         PRIMARY KEY (manifest, number)
     ) WITHOUT ROWID;

     -- Files that no object needs any more, in the order of their deletion: one blob, or all
     -- parts of a manifest. bucket: the name of the folder.
     CREATE TABLE garbage (
         id INTEGER PRIMARY KEY,
         deleted_ms INTEGER NOT NULL,
         bucket TEXT NOT NULL,
         blob INTEGER,
         manifest INTEGER,
         size INTEGER NOT NULL
     );",
];

/// Brings the database to the newest version; refuses one that is newer than this program.
pub fn migrate(conn: &mut Connection) -> Result<(), OpenError> {
    let known = MIGRATIONS.len() as i64;
    let tx = conn
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(StoreError::from)?;
    let version: i64 =
        tx.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(StoreError::from)?;
    if version > known {
        return Err(OpenError::Newer { found: version, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        tx.execute_batch(migration).map_err(StoreError::from)?;
    }
    if version < known {
        tx.pragma_update(None, "user_version", known).map_err(StoreError::from)?;
    }
    tx.commit().map_err(StoreError::from)?;
    Ok(())
}
