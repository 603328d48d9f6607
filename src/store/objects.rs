//! The SQL of objects. Functions on a [`Connection`]; the writing ones run inside the writer's
//! transaction.
//!
//! The newest version of a key has a row in `objects`, unless it is a delete marker; all others are
//! in `versions`, see [`super::versions`].

use super::buckets::{self, Home};
use super::owners::Owners;
use super::{
    Data, Delete, Deleted, Extra, Meta, Object, Refused, Rename, StoreError, Stored, Usage, codec,
    versions,
};
use crate::types::{
    Checksum, Current, ETag, Lock, ObjectKey, Precondition, VersionId, Versioning, time,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::atomic::{AtomicI64, Ordering};

/// The row of an object to be written.
pub struct NewRow {
    pub key: ObjectKey,
    pub size: u64,
    pub etag: ETag,
    pub crc64: u64,
    pub checksum: Option<Checksum>,
    pub meta: Meta,
    pub owner: String,
    pub data: Data,
    pub extra: Extra,
}

/// What is at a key before a write.
struct Before {
    version: i64,
    null: bool,
    modified_ms: i64,
    etag: ETag,
    content: Content,
}

/// What goes when a version goes.
pub struct Content {
    pub size: u64,
    pub data: Data,
    pub lock: Lock,
}

/// The columns of [`object`], of `objects` as of `versions`.
macro_rules! columns {
    () => {
        "version, size, modified_ms, etag, crc64, checksum, owner, blob, manifest, meta,
         null_version, tags, retention, retain_until_ms, legal_hold, seal, acl"
    };
}
pub(super) use columns;

/// The number of a canonical ID.
pub fn intern_owner(conn: &Connection, canonical: &str) -> Result<i64, StoreError> {
    let known = conn
        .prepare_cached("SELECT id FROM owners WHERE canonical = ?1")?
        .query_row([canonical], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    conn.prepare_cached("INSERT INTO owners (canonical) VALUES (?1)")?.execute([canonical])?;
    Ok(conn.last_insert_rowid())
}

/// A row of [`columns`].
pub fn object(
    conn: &Connection,
    owners: &Owners,
    row: &Row<'_>,
    key: &ObjectKey,
) -> Result<Object, StoreError> {
    let checksum = row.get_ref(5)?.as_blob_or_null().unwrap_or(None);
    Ok(Object {
        key: key.clone(),
        version: row.get(0)?,
        size: row.get::<_, i64>(1)? as u64,
        modified_ms: row.get(2)?,
        etag: ETag::from_text(row.get_ref(3)?.as_str().unwrap_or_default()),
        crc64: row.get::<_, i64>(4)? as u64,
        checksum: codec::decode_checksum(checksum)?,
        owner: owners.canonical(conn, row.get(6)?)?.as_ref().to_owned(),
        data: codec::decode_data(row.get(7)?, row.get(8)?),
        meta: codec::decode_meta(row.get_ref(9)?.as_str().unwrap_or_default())?,
        null_version: row.get(10)?,
        extra: codec::extra(row, 11)?,
    })
}

/// The object at a key.
pub fn find(
    conn: &Connection,
    owners: &Owners,
    bucket: i64,
    key: &ObjectKey,
) -> Result<Option<Object>, StoreError> {
    let mut statement = conn.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM objects WHERE bucket = ?1 AND key = ?2"
    ))?;
    let mut rows = statement.query(params![bucket, key.as_bytes()])?;
    rows.next()?.map(|row| object(conn, owners, row, key)).transpose()
}

fn before(conn: &Connection, bucket: i64, key: &ObjectKey) -> Result<Option<Before>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT version, size, modified_ms, etag, blob, manifest, null_version,
             retention, retain_until_ms, legal_hold
         FROM objects WHERE bucket = ?1 AND key = ?2",
    )?;
    let mut rows = statement.query(params![bucket, key.as_bytes()])?;
    rows.next()?.map(|row| decode_before(row, 0)).transpose()
}

fn decode_before(row: &Row<'_>, at: usize) -> Result<Before, StoreError> {
    Ok(Before {
        version: row.get(at)?,
        null: row.get(at + 6)?,
        modified_ms: row.get(at + 2)?,
        etag: ETag::from_text(row.get_ref(at + 3)?.as_str().unwrap_or_default()),
        content: Content {
            size: row.get::<_, i64>(at + 1)? as u64,
            data: codec::decode_data(row.get(at + 4)?, row.get(at + 5)?),
            lock: codec::lock(row, at + 7)?,
        },
    })
}

/// What is at a key, and its bucket, with one statement: each write begins with it.
fn home_and_before(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
) -> Result<Result<(Home, Option<Before>), Refused>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT b.name, b.versioning, b.lock, b.quota, o.version, o.size, o.modified_ms, o.etag,
             o.blob, o.manifest, o.null_version, o.retention, o.retain_until_ms, o.legal_hold
         FROM buckets b LEFT JOIN objects o ON o.bucket = b.id AND o.key = ?2 WHERE b.id = ?1",
    )?;
    let mut rows = statement.query(params![bucket, key.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(Err(Refused::NoSuchBucket)) };
    let home = buckets::decode_home(row, bucket)?;
    let before = match row.get::<_, Option<i64>>(4)? {
        Some(_) => Some(decode_before(row, 4)?),
        None => None,
    };
    Ok(Ok((home, before)))
}

fn check(if_: &Precondition, before: Option<&Before>) -> Result<(), Refused> {
    let current =
        before.map(|b| Current { etag: &b.etag, modified_ms: b.modified_ms, size: b.content.size });
    if_.check(current).map_err(Refused::Precondition)
}

/// Notes that nobody needs these bytes any more.
pub fn discard(
    conn: &Connection,
    folder: &str,
    data: Data,
    size: u64,
    now_ms: i64,
) -> Result<(), StoreError> {
    if data == Data::Empty {
        return Ok(());
    }
    let (blob, manifest) = codec::encode_data(data);
    conn.prepare_cached(
        "INSERT INTO garbage (deleted_ms, bucket, blob, manifest, size)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![now_ms, folder, blob, manifest, size as i64])?;
    Ok(())
}

/// The number of the next version of a key: microseconds, so that numbers grow with time; more than
/// the newest where a clock went back. No number is given twice where versions are kept, not even
/// after a restart with another clock, so that the id of a version that was removed never comes to
/// mean another one.
fn next_version(
    conn: &Connection,
    home: &Home,
    key: &ObjectKey,
    before: Option<&Before>,
    now_ms: i64,
) -> Result<i64, StoreError> {
    let newest = match (before, home.versioning) {
        (Some(before), _) => before.version + 1,
        (None, Versioning::Unversioned) => 0,
        (None, _) => versions::newest(conn, home.id, key)?.map_or(0, |newest| newest.version + 1),
    };
    let number = unused(newest.max(now_ms * 1000));
    if home.versioning != Versioning::Unversioned && number >= ceiling(conn)? {
        save_ceiling(conn, number + NUMBERS_AHEAD)?;
    }
    Ok(number)
}

/// The number that is given next, at least, by this process.
static NEXT: AtomicI64 = AtomicI64::new(0);
/// How far the saved bound of numbers is ahead of the last one that was given: a minute, so that
/// saving it costs nothing.
const NUMBERS_AHEAD: i64 = 60_000_000;

/// A number that this process has not given yet: `least` or the next that is greater.
fn unused(least: i64) -> i64 {
    let mut next = NEXT.load(Ordering::Relaxed);
    loop {
        let number = least.max(next);
        match NEXT.compare_exchange_weak(next, number + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return number,
            Err(now) => next = now,
        }
    }
}

/// All numbers of versions that were ever given are less than this one.
fn ceiling(conn: &Connection) -> Result<i64, StoreError> {
    let sql = "SELECT value FROM settings WHERE name = 'version_ceiling'";
    let found = conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

fn save_ceiling(conn: &Connection, ceiling: i64) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO settings (name, value) VALUES ('version_ceiling', ?1)";
    conn.prepare_cached(sql)?.execute([ceiling])?;
    Ok(())
}

/// No number that an earlier process has given is given again.
pub fn begin_numbers(conn: &Connection) -> Result<(), StoreError> {
    NEXT.fetch_max(ceiling(conn)?, Ordering::Relaxed);
    Ok(())
}

/// No more numbers are given: the next process may begin where this one has ended.
pub fn end_numbers(conn: &Connection) -> Result<(), StoreError> {
    match ceiling(conn)? {
        0 => Ok(()),
        // Another store of this process may have given them, which does no harm.
        _ => save_ceiling(conn, NEXT.load(Ordering::Relaxed)),
    }
}

/// Makes room for a new newest version of a key: what must be kept goes to `versions`, the null
/// version that is replaced is discarded.
fn supersede(
    conn: &Connection,
    home: &Home,
    key: &ObjectKey,
    before: Option<Before>,
    now_ms: i64,
    usage: &mut Usage,
) -> Result<Result<(), Refused>, StoreError> {
    usage.objects -= i64::from(before.is_some());
    let keep = before.as_ref().is_some_and(|b| !b.null || home.versioning == Versioning::Enabled);
    let replaced = match before {
        Some(before) if !keep => Some(before.content),
        _ if home.versioning == Versioning::Suspended => {
            match versions::take_null(conn, home.id, key, now_ms)? {
                Ok(replaced) => replaced,
                Err(refused) => return Ok(Err(refused)),
            }
        }
        _ => None,
    };
    if let Some(content) = replaced {
        if content.lock.protects(now_ms, false) {
            return Ok(Err(Refused::Locked));
        }
        usage.bytes -= content.size as i64;
        usage.versions -= 1;
        discard(conn, &home.folder, content.data, content.size, now_ms)?;
    }
    // Only now: who is refused has changed nothing.
    if keep {
        versions::archive(conn, home.id, key)?;
    }
    Ok(Ok(()))
}

/// Writes an object. What it replaces is discarded or, in a bucket with versions, kept.
pub fn put(
    conn: &Connection,
    bucket: i64,
    new: &NewRow,
    if_: &Precondition,
) -> Result<Result<Stored, Refused>, StoreError> {
    put_adding(conn, bucket, new, if_, Usage::default())
}

/// The same, where other bytes of the bucket change with it.
pub fn put_adding(
    conn: &Connection,
    bucket: i64,
    new: &NewRow,
    if_: &Precondition,
    mut usage: Usage,
) -> Result<Result<Stored, Refused>, StoreError> {
    let (home, before) = match home_and_before(conn, bucket, &new.key)? {
        Ok(both) => both,
        Err(refused) => return Ok(Err(refused)),
    };
    if let Err(refused) = check(if_, before.as_ref()) {
        return Ok(Err(refused));
    }
    let now_ms = time::now_ms();
    let version = next_version(conn, &home, &new.key, before.as_ref(), now_ms)?;
    if let Err(refused) = supersede(conn, &home, &new.key, before, now_ms, &mut usage)? {
        return Ok(Err(refused));
    }
    usage.bytes += new.size as i64;
    usage.objects += 1;
    usage.versions += 1;
    if let Err(refused) = buckets::count(conn, &home, usage)? {
        return Ok(Err(refused));
    }
    let owner = intern_owner(conn, &new.owner)?;
    let (blob, manifest) = codec::encode_data(new.data);
    let (retention, retain_until_ms) = codec::encode_retention(new.extra.lock.retention);
    conn.prepare_cached(
        "INSERT OR REPLACE INTO objects (bucket, key, version, size, modified_ms, etag, crc64,
             checksum, owner, blob, manifest, meta, null_version, tags, retention,
             retain_until_ms, legal_hold, seal, acl)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
             ?18, ?19)",
    )?
    .execute(params![
        bucket,
        new.key.as_bytes(),
        version,
        new.size as i64,
        now_ms,
        new.etag.as_str(),
        new.crc64 as i64,
        codec::encode_checksum(new.checksum.as_ref()),
        owner,
        blob,
        manifest,
        codec::encode_meta(&new.meta),
        home.versioning != Versioning::Enabled,
        codec::encode_tags(&new.extra.tags),
        retention,
        retain_until_ms,
        new.extra.lock.legal_hold,
        codec::encode_seal(new.extra.seal.as_ref()),
        new.extra.acl,
    ])?;
    // A null version is not named in the answer to its write.
    let version_id = home.version_id(version).filter(|id| *id != VersionId::Null);
    Ok(Ok(Stored { modified_ms: now_ms, version, version_id }))
}

/// Deletes a key or a version.
pub fn delete(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    delete: &Delete,
) -> Result<Result<Deleted, Refused>, StoreError> {
    let Some(id) = delete.version else { return delete_key(conn, bucket, key, &delete.if_) };
    match buckets::home(conn, bucket)? {
        Ok(home) => versions::remove(conn, &home, key, id, delete),
        Err(refused) => Ok(Err(refused)),
    }
}

fn delete_key(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    if_: &Precondition,
) -> Result<Result<Deleted, Refused>, StoreError> {
    let (home, before) = match home_and_before(conn, bucket, key)? {
        Ok(both) => both,
        Err(refused) => return Ok(Err(refused)),
    };
    let home = &home;
    let versioned = home.versioning != Versioning::Unversioned;
    let marker = match versioned && before.is_none() && !if_.is_empty() {
        true => versions::current_marker(conn, home.id, key)?,
        false => None,
    };
    let checked = match marker {
        // A delete marker is there, although it has neither tag nor bytes.
        Some(marker) => {
            let etag = ETag::from_text("");
            let current = Current { etag: &etag, modified_ms: marker.modified_ms, size: 0 };
            if_.check(Some(current)).map_err(Refused::Precondition)
        }
        None => check(if_, before.as_ref()),
    };
    if let Err(refused) = checked {
        return Ok(Err(refused));
    }
    let existed = before.is_some();
    if !existed && !versioned {
        return Ok(Ok(Deleted::default()));
    }
    let (now_ms, mut usage) = (time::now_ms(), Usage::default());
    let version = next_version(conn, home, key, before.as_ref(), now_ms)?;
    if let Err(refused) = supersede(conn, home, key, before, now_ms, &mut usage)? {
        return Ok(Err(refused));
    }
    if existed {
        conn.prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
            .execute(params![home.id, key.as_bytes()])?;
    }
    let version_id = home.version_id(version);
    if let Some(id) = version_id {
        usage.versions += 1;
        versions::insert_marker(conn, home.id, key, version, id == VersionId::Null, now_ms)?;
    }
    buckets::recount(conn, home.id, usage)?;
    Ok(Ok(Deleted { existed, version_id, marker: versioned }))
}

/// What the version of an object is called.
pub fn current_id(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
) -> Result<Option<VersionId>, StoreError> {
    Ok(before(conn, bucket, key)?
        .map(|b| if b.null { VersionId::Null } else { VersionId::Number(b.version) }))
}

/// What was renamed.
pub struct Moved {
    pub size: u64,
    pub etag: ETag,
}

/// Gives an object another key; what is there goes. `None` if the object is not the one that was
/// looked at.
pub fn rename(
    conn: &Connection,
    home: &Home,
    rename: &Rename,
    now_ms: i64,
    usage: &mut Usage,
) -> Result<Result<Option<Moved>, Refused>, StoreError> {
    let source = before(conn, home.id, &rename.from)?.filter(|b| b.version == rename.version);
    let Some(source) = source else { return Ok(Ok(None)) };
    let target = before(conn, home.id, &rename.to)?;
    if let Err(refused) = check(&rename.if_, target.as_ref()) {
        return Ok(Err(refused));
    }
    let version = next_version(conn, home, &rename.to, target.as_ref(), now_ms)?;
    if rename.from != rename.to {
        if let Err(refused) = supersede(conn, home, &rename.to, target, now_ms, usage)? {
            return Ok(Err(refused));
        }
        conn.prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
            .execute(params![home.id, rename.to.as_bytes()])?;
        conn.prepare_cached(
            "UPDATE objects SET key = ?3, version = ?4 WHERE bucket = ?1 AND key = ?2",
        )?
        .execute(params![
            home.id,
            rename.from.as_bytes(),
            rename.to.as_bytes(),
            version
        ])?;
    }
    Ok(Ok(Some(Moved { size: source.content.size, etag: source.etag })))
}
