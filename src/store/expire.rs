//! What lifecycle rules look at and take away. What is taken is compared with what was looked at,
//! in the same transaction: nothing goes that was written, tagged or kept meanwhile, or whose rules
//! were changed.

use super::outbox::Notice;
use super::rows::Touched;
use super::{ConfigKind, Delete, Outcome, Refused, Store, StoreError, buckets, codec, objects};
use crate::types::{Lock, ObjectKey, Tags, VersionId};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// What rules ask of a version or a delete marker.
#[derive(Clone, PartialEq, Debug)]
pub struct Aging {
    /// Its key.
    pub key: ObjectKey,
    /// The number of its version.
    pub version: i64,
    /// Whether its id is `null`.
    pub null: bool,
    /// Whether it is a delete marker.
    pub marker: bool,
    /// Size in bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its tags.
    pub tags: Tags,
    /// What protects it.
    pub lock: Lock,
}

impl Aging {
    /// What its version is called.
    pub fn version_id(&self) -> VersionId {
        if self.null { VersionId::Null } else { VersionId::Number(self.version) }
    }
}

/// What a rule found a version to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Age {
    /// The object at its key.
    Current,
    /// Not that any more.
    Noncurrent {
        /// So many rows of its key in `versions` must be newer: those that the rule keeps, and a
        /// delete marker that covers them. More may go in the same transaction.
        above: u32,
    },
    /// A delete marker that is all that is left of its key.
    LoneMarker,
}

/// What is to be taken away, as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// The version.
    pub what: Aging,
    /// What it was found to be.
    pub age: Age,
}

/// What became of a batch.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Expired {
    /// Taken away, or covered with a delete marker.
    pub taken: u64,
    /// Protected by a retention or a legal hold.
    pub protected: u64,
    /// Not any more what they were when they were looked at.
    pub changed: u64,
}

impl Store {
    /// Versions of keys that start with `prefix`, in order of key, of each the newest first, that
    /// come after this one; at most `max`.
    pub fn aging(
        &self,
        bucket: i64,
        prefix: &str,
        after: Option<(&ObjectKey, i64)>,
        max: usize,
    ) -> Result<Vec<Aging>, StoreError> {
        self.readers.snapshot(|conn| page(conn, bucket, prefix, after, max))
    }

    /// Takes away what rules say, in one transaction. `rules`: the lifecycle configuration that was
    /// applied.
    pub fn expire(&self, bucket: i64, rules: &str, due: Vec<Expiry>) -> Outcome<Expired> {
        self.expire_and_tell(bucket, rules, due, None)
    }

    pub(super) fn expire_and_tell(
        &self,
        bucket: i64,
        rules: &str,
        due: Vec<Expiry>,
        notice: Option<Arc<Notice>>,
    ) -> Outcome<Expired> {
        let (rules, outbox) = (rules.to_owned(), Arc::clone(&self.outbox));
        self.write_freeing(Touched::All, move |conn| {
            if let Err(refused) = buckets::home(conn, bucket)? {
                return Ok(Err(refused));
            }
            let mut done = Expired::default();
            if !applies(conn, bucket, &rules)? {
                done.changed = due.len() as u64;
                return Ok(Ok(done));
            }
            for expiry in &due {
                if !still(conn, bucket, expiry)? {
                    done.changed += 1;
                    continue;
                }
                let key = &expiry.what.key;
                let version = match expiry.age {
                    Age::Current => None,
                    Age::Noncurrent { .. } | Age::LoneMarker => Some(expiry.what.version_id()),
                };
                let delete = Delete { version, ..Delete::default() };
                match objects::delete(conn, bucket, key, &delete)? {
                    Ok(deleted) => {
                        done.taken += 1;
                        if let Some(notice) = &notice {
                            notice.deleted(conn, &outbox, key, version, &deleted)?;
                        }
                    }
                    Err(Refused::Locked) => done.protected += 1,
                    Err(_) => done.changed += 1,
                }
            }
            Ok(Ok(done))
        })
    }

    /// The buckets whose objects or rules may have changed since this was asked before.
    pub fn take_touched(&self) -> Vec<i64> {
        std::mem::take(&mut *super::lock(&self.touched)).into_iter().collect()
    }

    /// Notes that a bucket changed. To be called when that is committed: who looks at the bucket
    /// after taking the note sees the change.
    pub(super) fn touch(&self, bucket: i64) {
        super::lock(&self.touched).insert(bucket);
    }
}

fn page(
    conn: &Connection,
    bucket: i64,
    prefix: &str,
    after: Option<(&ObjectKey, i64)>,
    max: usize,
) -> Result<Vec<Aging>, StoreError> {
    let half = |table: &str, marker: &str| {
        format!(
            "SELECT key, version, null_version, {marker}, size, modified_ms, tags, retention,
                 retain_until_ms, legal_hold
             FROM {table} WHERE bucket = ?1 AND key >= ?2 AND key < ?3
                 AND (key > ?4 OR version < ?5)"
        )
    };
    let sql = format!(
        "{} UNION ALL {} ORDER BY 1, 2 DESC LIMIT ?6",
        half("objects", "0"),
        half("versions", "marker")
    );
    let (key, version) = after.map_or((&[][..], 0), |(key, version)| (key.as_bytes(), version));
    let from = key.max(prefix.as_bytes());
    let end = super::list::past(prefix.as_bytes());
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![bucket, from, end, key, version, max as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Aging {
            key: codec::key(codec::key_text(row, 0)?)?,
            version: row.get(1)?,
            null: row.get(2)?,
            marker: row.get(3)?,
            size: row.get::<_, i64>(4)? as u64,
            modified_ms: row.get(5)?,
            tags: codec::tags(row, 6)?,
            lock: codec::lock(row, 7)?,
        });
    }
    Ok(found)
}

/// Whether a bucket still has this lifecycle configuration.
fn applies(conn: &Connection, bucket: i64, rules: &str) -> Result<bool, StoreError> {
    let sql = "SELECT value FROM configurations WHERE bucket = ?1 AND kind = ?2";
    let now: Option<String> = conn
        .prepare_cached(sql)?
        .query_row(params![bucket, ConfigKind::Lifecycle.name()], |row| row.get(0))
        .optional()?;
    Ok(now.as_deref() == Some(rules))
}

/// Whether a version is still what it was when it was looked at.
fn still(conn: &Connection, bucket: i64, expiry: &Expiry) -> Result<bool, StoreError> {
    let what = &expiry.what;
    let key = what.key.as_bytes();
    let table = if expiry.age == Age::Current { "objects" } else { "versions" };
    let sql = format!("SELECT tags FROM {table} WHERE bucket = ?1 AND key = ?2 AND version = ?3");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![bucket, key, what.version])?;
    let tags = match rows.next()? {
        Some(row) => codec::tags(row, 0)?,
        None => return Ok(false),
    };
    let count = |condition: &str, at_most: u32| -> Result<u32, StoreError> {
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM versions
             WHERE bucket = ?1 AND key = ?2 AND version {condition} ?3 LIMIT ?4)"
        );
        let found = conn
            .prepare_cached(&sql)?
            .query_row(params![bucket, key, what.version, at_most], |row| row.get(0))?;
        Ok(found)
    };
    let same = match expiry.age {
        Age::Current => true,
        Age::Noncurrent { above } => count(">", above)? >= above,
        Age::LoneMarker => {
            let occupied: bool = conn
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1 AND key = ?2)",
                )?
                .query_row(params![bucket, key], |row| row.get(0))?;
            !occupied && count("<>", 1)? == 0
        }
    };
    Ok(same && tags == what.tags)
}
