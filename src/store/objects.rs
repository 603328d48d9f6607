//! The SQL of objects. Functions on a [`Connection`]; the writing ones run inside the writer's
//! transaction.

use super::codec;
use super::{Data, Meta, Object, Refused, StoreError, Stored};
use crate::types::{Checksum, Current, ETag, ObjectKey, Precondition, time};
use rusqlite::{Connection, OptionalExtension, params};

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
}

/// What is at a key before a write.
struct Before {
    version: i64,
    size: u64,
    modified_ms: i64,
    etag: ETag,
    data: Data,
}

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

/// The object at a key.
pub fn find(conn: &Connection, bucket: i64, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT version, size, modified_ms, etag, crc64, checksum,
                (SELECT canonical FROM owners WHERE id = owner), blob, manifest, meta
         FROM objects WHERE bucket = ?1 AND key = ?2",
    )?;
    let mut rows = statement.query(params![bucket, key.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let checksum = row.get_ref(5)?.as_blob_or_null().unwrap_or(None);
    Ok(Some(Object {
        key: key.clone(),
        version: row.get(0)?,
        size: row.get::<_, i64>(1)? as u64,
        modified_ms: row.get(2)?,
        etag: ETag::from_text(row.get_ref(3)?.as_str().unwrap_or_default()),
        crc64: row.get::<_, i64>(4)? as u64,
        checksum: codec::decode_checksum(checksum)?,
        owner: row.get(6)?,
        data: codec::decode_data(row.get(7)?, row.get(8)?),
        meta: codec::decode_meta(row.get_ref(9)?.as_str().unwrap_or_default())?,
    }))
}

fn before(conn: &Connection, bucket: i64, key: &ObjectKey) -> Result<Option<Before>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT version, size, modified_ms, etag, blob, manifest
         FROM objects WHERE bucket = ?1 AND key = ?2",
    )?;
    let found = statement
        .query_row(params![bucket, key.as_bytes()], |row| {
            Ok(Before {
                version: row.get(0)?,
                size: row.get::<_, i64>(1)? as u64,
                modified_ms: row.get(2)?,
                etag: ETag::from_text(row.get_ref(3)?.as_str()?),
                data: codec::decode_data(row.get(4)?, row.get(5)?),
            })
        })
        .optional()?;
    Ok(found)
}

fn check(if_: &Precondition, before: Option<&Before>) -> Result<(), Refused> {
    let current =
        before.map(|b| Current { etag: &b.etag, modified_ms: b.modified_ms, size: b.size });
    if_.check(current).map_err(Refused::Precondition)
}

/// The folder of a bucket's files, or that the bucket is gone.
pub fn bucket_folder(
    conn: &Connection,
    bucket: i64,
) -> Result<Result<String, Refused>, StoreError> {
    let name = conn
        .prepare_cached("SELECT name FROM buckets WHERE id = ?1")?
        .query_row([bucket], |row| row.get(0))
        .optional()?;
    Ok(name.ok_or(Refused::NoSuchBucket))
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

/// Writes an object and discards what it replaces.
pub fn put(
    conn: &Connection,
    bucket: i64,
    new: &NewRow,
    if_: &Precondition,
) -> Result<Result<Stored, Refused>, StoreError> {
    let folder = match bucket_folder(conn, bucket)? {
        Ok(folder) => folder,
        Err(refused) => return Ok(Err(refused)),
    };
    let before = before(conn, bucket, &new.key)?;
    if let Err(refused) = check(if_, before.as_ref()) {
        return Ok(Err(refused));
    }
    let now_ms = time::now_ms();
    // Microseconds, so that numbers grow with time; one more than before where a clock went back.
    let version = before.as_ref().map_or(0, |b| b.version + 1).max(now_ms * 1000);
    if let Some(before) = &before {
        discard(conn, &folder, before.data, before.size, now_ms)?;
    }
    let owner = intern_owner(conn, &new.owner)?;
    let (blob, manifest) = codec::encode_data(new.data);
    conn.prepare_cached(
        "INSERT OR REPLACE INTO objects (bucket, key, version, size, modified_ms, etag, crc64,
             checksum, owner, blob, manifest, meta)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
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
    ])?;
    Ok(Ok(Stored { modified_ms: now_ms, version }))
}

/// Removes an object; whether there was one.
pub fn delete(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    if_: &Precondition,
) -> Result<Result<bool, Refused>, StoreError> {
    let folder = match bucket_folder(conn, bucket)? {
        Ok(folder) => folder,
        Err(refused) => return Ok(Err(refused)),
    };
    let before = before(conn, bucket, key)?;
    if let Err(refused) = check(if_, before.as_ref()) {
        return Ok(Err(refused));
    }
    let Some(before) = before else { return Ok(Ok(false)) };
    discard(conn, &folder, before.data, before.size, time::now_ms())?;
    conn.prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
        .execute(params![bucket, key.as_bytes()])?;
    Ok(Ok(true))
}
