//! The SQL of multipart uploads and their parts.
//!
//! A part is a row and a file of its own. Completing an upload gives the object the upload's
//! manifest, so no byte and no row of a chosen part is touched.

use super::objects::{self, NewRow, discard, intern_owner};
use super::{
    Completed, Data, ManifestId, NewUpload, Part, Refused, StoreError, Stored, Upload, Usage,
    buckets, codec,
};
use crate::types::{Checksum, ETag, ObjectKey, Precondition, VersionId, time};
use rusqlite::{Connection, OptionalExtension, params};

/// Hex digits of the manifest at the head of an upload id; the rest is random.
const MANIFEST_DIGITS: usize = 16;

/// The id that clients see: sorts by the time of its start, and cannot be guessed.
pub fn upload_id(manifest: ManifestId, random: u64) -> String {
    format!("{:016x}{random:016x}", manifest.0)
}

fn manifest_of(upload_id: &str) -> Option<i64> {
    i64::from_str_radix(upload_id.get(..MANIFEST_DIGITS)?, 16).ok()
}

/// Starts an upload.
pub fn create(
    conn: &Connection,
    bucket: i64,
    upload: &Upload,
) -> Result<Result<(), Refused>, StoreError> {
    if let Err(refused) = buckets::home(conn, bucket)? {
        return Ok(Err(refused));
    }
    let (retention, retain_until_ms) = codec::encode_retention(upload.extra.lock.retention);
    let owner = intern_owner(conn, &upload.owner)?;
    conn.prepare_cached(
        "INSERT INTO uploads (manifest, bucket, key, upload_id, started_ms, owner, meta,
             algorithm, kind, tags, retention, retain_until_ms, legal_hold, seal, acl)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        upload.manifest.0,
        bucket,
        upload.key.as_bytes(),
        upload.upload_id,
        upload.started_ms,
        owner,
        codec::encode_meta(&upload.meta),
        upload.checksum.map(|(algorithm, _)| codec::algorithm_number(algorithm)),
        upload.checksum.map(|(_, kind)| codec::kind_number(kind)),
        codec::encode_tags(&upload.extra.tags),
        retention,
        retain_until_ms,
        upload.extra.lock.legal_hold,
        codec::encode_seal(upload.extra.seal.as_ref()),
        upload.extra.acl,
    ])?;
    Ok(Ok(()))
}

/// What a new upload is stored as.
pub fn fresh(new: NewUpload, manifest: ManifestId, random: u64) -> Upload {
    Upload {
        manifest,
        upload_id: upload_id(manifest, random),
        key: new.key,
        started_ms: time::now_ms(),
        owner: new.owner,
        meta: new.meta,
        checksum: new.checksum,
        revision: 0,
        extra: new.extra,
    }
}

/// An unfinished upload.
pub fn find(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    upload_id: &str,
) -> Result<Option<Upload>, StoreError> {
    let Some(manifest) = manifest_of(upload_id) else { return Ok(None) };
    let mut statement = conn.prepare_cached(
        "SELECT key, manifest, upload_id, started_ms,
                (SELECT canonical FROM owners WHERE id = owner), meta, algorithm, kind, revision,
                tags, retention, retain_until_ms, legal_hold, seal, acl
         FROM uploads
         WHERE manifest = ?1 AND bucket = ?2 AND key = ?3 AND upload_id = ?4
             AND done_ms IS NULL",
    )?;
    let mut rows = statement.query(params![manifest, bucket, key.as_bytes(), upload_id])?;
    match rows.next()? {
        Some(row) => Ok(Some(codec::upload(row, key.clone())?)),
        None => Ok(None),
    }
}

/// A finished upload that is still remembered.
pub fn completed(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    upload_id: &str,
) -> Result<Option<Completed>, StoreError> {
    let Some(manifest) = manifest_of(upload_id) else { return Ok(None) };
    let found: Option<(String, Option<Vec<u8>>, Option<String>)> = conn
        .prepare_cached(
            "SELECT etag, checksum, version_id FROM uploads
             WHERE manifest = ?1 AND bucket = ?2 AND key = ?3 AND upload_id = ?4
                 AND done_ms IS NOT NULL",
        )?
        .query_row(params![manifest, bucket, key.as_bytes(), upload_id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((etag, checksum, version_id)) = found else { return Ok(None) };
    let checksum = codec::decode_checksum(checksum.as_deref())?;
    let version_id = version_id.as_deref().and_then(VersionId::parse);
    Ok(Some(Completed { etag: ETag::from_text(&etag), checksum, version_id }))
}

/// Parts with numbers above `after`, in order.
pub fn parts(
    conn: &Connection,
    manifest: ManifestId,
    after: u32,
    max: usize,
) -> Result<Vec<Part>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT number, size, modified_ms, md5, crc64, checksum, blob, seal
         FROM parts WHERE manifest = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let mut rows = statement.query(params![manifest.0, after, max as i64])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        parts.push(codec::part(row)?);
    }
    Ok(parts)
}

/// How many parts a manifest has, and the bytes of those before a number.
pub fn parts_before(
    conn: &Connection,
    manifest: ManifestId,
    number: u32,
) -> Result<(usize, u64), StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT count(*), coalesce(sum(size) FILTER (WHERE number < ?2), 0)
         FROM parts WHERE manifest = ?1",
    )?;
    let found = statement.query_row(params![manifest.0, number], |row| {
        Ok((row.get::<_, i64>(0)? as usize, row.get::<_, i64>(1)? as u64))
    })?;
    Ok(found)
}

/// The part in which a byte is: the number of the one before it (0: none), and the bytes before it.
pub fn part_of_byte(
    conn: &Connection,
    manifest: ManifestId,
    byte: u64,
) -> Result<(u32, u64), StoreError> {
    if byte == 0 {
        return Ok((0, 0));
    }
    let mut statement =
        conn.prepare_cached("SELECT number, size FROM parts WHERE manifest = ?1 ORDER BY number")?;
    let mut rows = statement.query([manifest.0])?;
    let (mut before, mut at) = (0, 0);
    while let Some(row) = rows.next()? {
        let size = row.get::<_, i64>(1)? as u64;
        if at + size > byte {
            break;
        }
        (before, at) = (row.get(0)?, at + size);
    }
    Ok((before, at))
}

/// The revision of an unfinished upload and the bucket that it is in.
fn open_upload(conn: &Connection, manifest: ManifestId) -> Result<Option<(i64, i64)>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT revision, bucket FROM uploads WHERE manifest = ?1 AND done_ms IS NULL",
        )?
        .query_row([manifest.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Writes the row of a part.
pub fn insert_part(
    conn: &Connection,
    manifest: ManifestId,
    part: &Part,
    now_ms: i64,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO parts (manifest, number, size, modified_ms, md5, crc64,
             checksum, blob, seal)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        manifest.0,
        part.number,
        part.size as i64,
        now_ms,
        &part.md5[..],
        part.crc64 as i64,
        codec::encode_checksum(part.checksum.as_ref()),
        part.blob.map(|blob| blob.0),
        codec::encode_seal(part.seal.as_ref()),
    ])?;
    Ok(())
}

/// Stores a part of an unfinished upload and discards the one that it replaces.
pub fn put_part(
    conn: &Connection,
    manifest: ManifestId,
    part: &Part,
) -> Result<Result<i64, Refused>, StoreError> {
    let Some((_, bucket)) = open_upload(conn, manifest)? else {
        return Ok(Err(Refused::NoSuchUpload));
    };
    let home = match buckets::home(conn, bucket)? {
        Ok(home) => home,
        Err(refused) => return Ok(Err(refused)),
    };
    let now_ms = time::now_ms();
    let old: Option<(Option<i64>, i64)> = conn
        .prepare_cached("SELECT blob, size FROM parts WHERE manifest = ?1 AND number = ?2")?
        .query_row(params![manifest.0, part.number], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let growth = part.size as i64 - old.map_or(0, |(_, size)| size);
    let change = Usage { uploading: growth, ..Usage::default() };
    if let Err(refused) = buckets::count(conn, &home, change)? {
        return Ok(Err(refused));
    }
    if let Some((blob, size)) = old {
        discard(conn, &home.folder, codec::decode_data(blob, None), size as u64, now_ms)?;
    }
    insert_part(conn, manifest, part, now_ms)?;
    conn.prepare_cached("UPDATE uploads SET revision = revision + 1 WHERE manifest = ?1")?
        .execute([manifest.0])?;
    Ok(Ok(now_ms))
}

/// Discards the parts of a manifest that are not in `keep` (ascending).
fn drop_other_parts(
    conn: &Connection,
    folder: &str,
    manifest: ManifestId,
    keep: &[u32],
    now_ms: i64,
) -> Result<(), StoreError> {
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM parts WHERE manifest = ?1")?
        .query_row([manifest.0], |row| row.get(0))?;
    if usize::try_from(count) == Ok(keep.len()) {
        return Ok(());
    }
    for part in parts(conn, manifest, 0, usize::try_from(count).unwrap_or(0))? {
        if keep.binary_search(&part.number).is_err() {
            let data = part.blob.map_or(Data::Empty, Data::Blob);
            discard(conn, folder, data, part.size, now_ms)?;
            conn.prepare_cached("DELETE FROM parts WHERE manifest = ?1 AND number = ?2")?
                .execute(params![manifest.0, part.number])?;
        }
    }
    Ok(())
}

/// Bytes of the parts of a manifest.
fn bytes(conn: &Connection, manifest: ManifestId) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce(sum(size), 0) FROM parts WHERE manifest = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([manifest.0], |row| row.get(0))?)
}

/// Turns an upload into an object.
pub fn complete(
    conn: &Connection,
    bucket: i64,
    upload: &Upload,
    numbers: &[u32],
    new: &NewRow,
    if_: &Precondition,
) -> Result<Result<Stored, Refused>, StoreError> {
    match open_upload(conn, upload.manifest)? {
        Some((revision, of)) if of == bucket => {
            if revision != upload.revision {
                return Ok(Err(Refused::PartsChanged));
            }
        }
        _ => return Ok(Err(Refused::NoSuchUpload)),
    }
    let home = match buckets::home(conn, bucket)? {
        Ok(home) => home,
        Err(refused) => return Ok(Err(refused)),
    };
    let usage = Usage { uploading: -bytes(conn, upload.manifest)?, ..Usage::default() };
    let stored = match objects::put_adding(conn, bucket, new, if_, usage)? {
        Ok(stored) => stored,
        Err(refused) => return Ok(Err(refused)),
    };
    drop_other_parts(conn, &home.folder, upload.manifest, numbers, stored.modified_ms)?;
    conn.prepare_cached(
        "UPDATE uploads SET done_ms = ?2, etag = ?3, checksum = ?4, version_id = ?5
         WHERE manifest = ?1",
    )?
    .execute(params![
        upload.manifest.0,
        stored.modified_ms,
        new.etag.as_str(),
        codec::encode_checksum(Some(&Checksum::of_object(new.checksum.clone(), new.crc64))),
        stored.version_id.map(|id| id.to_string()),
    ])?;
    Ok(Ok(stored))
}

/// Removes an unfinished upload and discards its parts.
pub fn abort(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    upload_id: &str,
) -> Result<Result<(), Refused>, StoreError> {
    let home = match buckets::home(conn, bucket)? {
        Ok(home) => home,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(upload) = find(conn, bucket, key, upload_id)? else {
        return Ok(Err(Refused::NoSuchUpload));
    };
    let usage = Usage { uploading: -bytes(conn, upload.manifest)?, ..Usage::default() };
    buckets::recount(conn, bucket, usage)?;
    discard(conn, &home.folder, Data::Parts(upload.manifest), 0, time::now_ms())?;
    conn.prepare_cached("DELETE FROM uploads WHERE manifest = ?1")?.execute([upload.manifest.0])?;
    Ok(Ok(()))
}
