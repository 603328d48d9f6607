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
    // 1: versions, locks, tags, encryption, configurations, usage.
    "ALTER TABLE buckets ADD COLUMN versioning INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE buckets ADD COLUMN lock INTEGER NOT NULL DEFAULT 0;
     -- Bytes that the bucket may hold; NULL: no limit.
     ALTER TABLE buckets ADD COLUMN quota INTEGER;

     -- What clients configured: the document as it is given back.
     CREATE TABLE configurations (
         bucket INTEGER NOT NULL,
         kind TEXT NOT NULL,
         value TEXT NOT NULL,
         PRIMARY KEY (bucket, kind)
     ) WITHOUT ROWID;

     -- null_version: its id is null. tags: JSON, pairs of key and value. retention: mode and end
     -- of it. seal: how its bytes are encrypted. acl: JSON.
     ALTER TABLE objects ADD COLUMN null_version INTEGER NOT NULL DEFAULT 1;
     ALTER TABLE objects ADD COLUMN tags TEXT;
     ALTER TABLE objects ADD COLUMN retention INTEGER;
     ALTER TABLE objects ADD COLUMN retain_until_ms INTEGER;
     ALTER TABLE objects ADD COLUMN legal_hold INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE objects ADD COLUMN seal BLOB;
     ALTER TABLE objects ADD COLUMN acl TEXT;

     ALTER TABLE uploads ADD COLUMN tags TEXT;
     ALTER TABLE uploads ADD COLUMN retention INTEGER;
     ALTER TABLE uploads ADD COLUMN retain_until_ms INTEGER;
     ALTER TABLE uploads ADD COLUMN legal_hold INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE uploads ADD COLUMN seal BLOB;
     ALTER TABLE uploads ADD COLUMN acl TEXT;
     -- What the version is called that a finished upload has made.
     ALTER TABLE uploads ADD COLUMN version_id TEXT;

     ALTER TABLE parts ADD COLUMN seal BLOB;

     -- Versions that are not current, and delete markers. The newest version of a key is in
     -- objects, unless it is a delete marker: then it is here and objects has no row of the key.
     -- So listings of what there is never meet what was.
     CREATE TABLE versions (
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
         null_version INTEGER NOT NULL,
         tags TEXT,
         retention INTEGER,
         retain_until_ms INTEGER,
         legal_hold INTEGER NOT NULL,
         seal BLOB,
         acl TEXT,
         marker INTEGER NOT NULL,
         PRIMARY KEY (bucket, key, version DESC)
     ) WITHOUT ROWID;
     CREATE INDEX versions_null ON versions (bucket, key) WHERE null_version = 1;

     -- What a bucket holds: bytes of all versions, objects that are current, versions with delete
     -- markers, bytes of the parts of unfinished uploads.
     CREATE TABLE usage (
         bucket INTEGER PRIMARY KEY,
         bytes INTEGER NOT NULL DEFAULT 0,
         objects INTEGER NOT NULL DEFAULT 0,
         versions INTEGER NOT NULL DEFAULT 0,
         uploading INTEGER NOT NULL DEFAULT 0
     );
     INSERT INTO usage (bucket, bytes, objects, versions, uploading)
         SELECT id, coalesce(sum(size), 0), count(size), count(size),
             (SELECT coalesce(sum(p.size), 0) FROM uploads u JOIN parts p USING (manifest)
              WHERE u.bucket = buckets.id AND u.done_ms IS NULL)
         FROM buckets LEFT JOIN objects ON objects.bucket = buckets.id GROUP BY id;",
    // 2: users and their keys.
    "CREATE TABLE users (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         name TEXT NOT NULL UNIQUE,
         canonical TEXT NOT NULL UNIQUE,
         email TEXT UNIQUE,
         -- A document in IAM's language; NULL: none.
         policy TEXT,
         enabled INTEGER NOT NULL,
         created_ms INTEGER NOT NULL
     );

     -- sealed: the secret, see access/seal.rs.
     CREATE TABLE access_keys (
         access_key TEXT PRIMARY KEY,
         user INTEGER NOT NULL,
         sealed BLOB NOT NULL,
         enabled INTEGER NOT NULL,
         created_ms INTEGER NOT NULL
     ) WITHOUT ROWID;
     CREATE INDEX access_keys_user ON access_keys (user);

     -- What the key of all seals is derived from beside the root secret.
     CREATE TABLE seal_salt (one INTEGER PRIMARY KEY CHECK (one = 1), salt BLOB NOT NULL);
     INSERT INTO seal_salt (one, salt) VALUES (1, randomblob(32));",
    // 3: event notifications. The queue of each target in order; events leave it at its front.
    "CREATE TABLE events (
         target TEXT NOT NULL,
         id INTEGER NOT NULL,
         created_ms INTEGER NOT NULL,
         body TEXT NOT NULL,
         PRIMARY KEY (target, id)
     ) WITHOUT ROWID;",
    // 4: renames that were done, so that one with the same token is done once.
    "CREATE TABLE renames (
         bucket INTEGER NOT NULL,
         token TEXT NOT NULL,
         source BLOB NOT NULL,
         target BLOB NOT NULL,
         done_ms INTEGER NOT NULL,
         PRIMARY KEY (bucket, token)
     ) WITHOUT ROWID;
     CREATE INDEX renames_done ON renames (done_ms);",
];

/// The version that [`migrate`] brings a database to.
pub fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

/// Brings the database to the newest version; refuses one that is newer than this program.
pub fn migrate(conn: &mut Connection) -> Result<(), OpenError> {
    let known = newest();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A database of the first layout, with a bucket that has objects and an unfinished upload, and
    /// an empty one.
    fn first_layout() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(MIGRATIONS[0]).unwrap();
        conn.execute_batch(
            "INSERT INTO owners VALUES (1, 'somebody');
             INSERT INTO buckets VALUES (1, 'full', 5, 1, ''), (2, 'empty', 6, 1, 'eu');
             INSERT INTO objects VALUES
                 (1, x'61', 7000, 10, 7, 'e', 1, NULL, 1, 77, NULL, '[]'),
                 (1, x'62', 8000, 5, 8, 'f', 2, NULL, 1, NULL, 88, '[]');
             INSERT INTO uploads (manifest, bucket, key, upload_id, started_ms, owner, meta)
                 VALUES (99, 1, x'63', 'u', 9, 1, '[]');
             INSERT INTO parts VALUES (88, 1, 5, 8, x'00', 2, NULL, 78),
                 (99, 1, 3, 9, x'00', 3, NULL, 79), (99, 2, 4, 9, x'00', 4, NULL, 80);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        conn
    }

    #[test]
    fn a_database_of_the_first_layout_is_brought_up_to_date() {
        let mut conn = first_layout();
        migrate(&mut conn).unwrap();
        let version: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
        assert_eq!(version, MIGRATIONS.len() as i64);
        fn numbers(conn: &Connection, sql: &str) -> (i64, i64, i64, i64) {
            let row = |r: &rusqlite::Row<'_>| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?));
            conn.query_row(sql, [], row).unwrap()
        }
        let usage = "SELECT bytes, objects, versions, uploading FROM usage WHERE bucket = ";
        assert_eq!(numbers(&conn, &format!("{usage}1")), (15, 2, 2, 7));
        assert_eq!(numbers(&conn, &format!("{usage}2")), (0, 0, 0, 0));
        let objects = "SELECT count(*), sum(null_version), sum(legal_hold), sum(size) FROM objects
                       WHERE tags IS NULL AND seal IS NULL AND acl IS NULL AND retention IS NULL";
        assert_eq!(numbers(&conn, objects), (2, 2, 0, 15));
        let buckets = "SELECT count(*), sum(versioning), sum(lock), count(quota) FROM buckets";
        assert_eq!(numbers(&conn, buckets), (2, 0, 0, 0));
        // Once is enough.
        migrate(&mut conn).unwrap();
        assert_eq!(numbers(&conn, &format!("{usage}1")), (15, 2, 2, 7));
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut conn = first_layout();
        conn.pragma_update(None, "user_version", MIGRATIONS.len() as i64 + 1).unwrap();
        let refused = migrate(&mut conn).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { .. }));
        let tables: i64 = conn
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'versions'", [], |r| {
                r.get(0)
            })
            .unwrap();
        assert_eq!(tables, 0, "it was not touched");
    }
}
