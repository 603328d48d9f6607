//! Renaming an object: its row gets another key, its bytes are not touched.

use super::outbox::Notice;
use super::rows::Touched;
use super::{Outcome, Refused, Store, StoreError, Usage, buckets, objects};
use crate::limits::RENAME_TOKEN_MS;
use crate::types::{ObjectKey, Precondition, Versioning, time};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// What is to be renamed.
#[derive(Clone, Debug)]
pub struct Rename {
    /// The key that the object has.
    pub from: ObjectKey,
    /// The version that was looked at, see [`super::Object::version`].
    pub version: i64,
    /// The key that it gets. What is there goes.
    pub to: ObjectKey,
    /// The precondition on what is there.
    pub if_: Precondition,
    /// The name of this rename: whoever repeats it does it once.
    pub token: Option<String>,
}

/// What became of a rename that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renamed {
    /// It is done now, or was with the same token.
    Done,
    /// The object is gone or another; look again.
    SourceChanged,
    /// The token was used for another rename.
    OtherRename,
}

/// Whether this token was used, and for this rename.
pub fn repeated(
    conn: &Connection,
    bucket: i64,
    token: &str,
    from: &ObjectKey,
    to: &ObjectKey,
) -> Result<Option<Renamed>, StoreError> {
    let sql = "SELECT source = ?3 AND target = ?4 FROM renames WHERE bucket = ?1 AND token = ?2";
    let same: Option<bool> = conn
        .prepare_cached(sql)?
        .query_row(params![bucket, token, from.as_bytes(), to.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(same.map(|same| if same { Renamed::Done } else { Renamed::OtherRename }))
}

fn rename(
    conn: &Connection,
    bucket: i64,
    rename: &Rename,
    tell: impl FnOnce(&objects::Moved, i64) -> Result<(), StoreError>,
) -> Outcome<Renamed> {
    let home = match buckets::home(conn, bucket)? {
        Ok(home) => home,
        Err(refused) => return Ok(Err(refused)),
    };
    if home.versioning != Versioning::Unversioned {
        return Ok(Err(Refused::VersionsKept));
    }
    let now_ms = time::now_ms();
    if let Some(token) = &rename.token {
        conn.prepare_cached("DELETE FROM renames WHERE done_ms < ?1")?
            .execute([now_ms - RENAME_TOKEN_MS])?;
        if let Some(known) = repeated(conn, bucket, token, &rename.from, &rename.to)? {
            return Ok(Ok(known));
        }
    }
    let mut usage = Usage::default();
    match objects::rename(conn, &home, rename, now_ms, &mut usage)? {
        Ok(Some(moved)) => tell(&moved, now_ms)?,
        Ok(None) => return Ok(Ok(Renamed::SourceChanged)),
        Err(refused) => return Ok(Err(refused)),
    }
    buckets::recount(conn, bucket, usage)?;
    if let Some(token) = &rename.token {
        conn.prepare_cached(
            "INSERT INTO renames (bucket, token, source, target, done_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            bucket,
            token,
            rename.from.as_bytes(),
            rename.to.as_bytes(),
            now_ms
        ])?;
    }
    Ok(Ok(Renamed::Done))
}

impl Store {
    /// Whether a rename of this token was done, see [`Rename::token`].
    pub fn renamed(
        &self,
        bucket: i64,
        token: &str,
        from: &ObjectKey,
        to: &ObjectKey,
    ) -> Result<Option<Renamed>, StoreError> {
        self.readers.read(|conn| repeated(conn, bucket, token, from, to))
    }

    /// Renames an object of a bucket without versions; `notice`: who is told of it.
    pub(super) fn rename_and_tell(
        &self,
        bucket: i64,
        what: Rename,
        notice: Option<Arc<Notice>>,
    ) -> Outcome<Renamed> {
        let outbox = Arc::clone(&self.outbox);
        let done = self.write_freeing(Touched::All, move |conn| {
            rename(conn, bucket, &what, |moved, now_ms| match notice.as_deref() {
                Some(notice) => notice.renamed(conn, &outbox, &what, moved, now_ms),
                None => Ok(()),
            })
        });
        self.touch(bucket);
        done
    }
}
