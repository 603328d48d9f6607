//! The SQL of buckets.

use super::objects::{bucket_folder, intern_owner};
use super::{Bucket, Created, Refused, StoreError};
use crate::types::{BucketName, time};
use rusqlite::{Connection, OptionalExtension, Row, params};

const COLUMNS: &str = "SELECT id, name, created_ms,
    (SELECT canonical FROM owners WHERE id = owner), region FROM buckets";

fn bucket(row: &Row<'_>) -> rusqlite::Result<Option<Bucket>> {
    let Some(name) = BucketName::parse(row.get_ref(1)?.as_str()?) else { return Ok(None) };
    Ok(Some(Bucket {
        id: row.get(0)?,
        name,
        created_ms: row.get(2)?,
        owner: row.get(3)?,
        region: row.get(4)?,
    }))
}

/// The bucket of a name.
pub fn find(conn: &Connection, name: &BucketName) -> Result<Option<Bucket>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
    Ok(statement.query_row([name.as_str()], bucket).optional()?.flatten())
}

/// Buckets that start with `prefix` and sort after `after`, in order.
pub fn list(
    conn: &Connection,
    prefix: &str,
    after: &str,
    max: usize,
) -> Result<Vec<Bucket>, StoreError> {
    let sql = format!("{COLUMNS} WHERE name >= ?1 AND name > ?2 ORDER BY name LIMIT ?3");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![prefix, after, max as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match bucket(row)? {
            Some(bucket) if bucket.name.as_str().starts_with(prefix) => found.push(bucket),
            Some(_) => break,
            None => {}
        }
    }
    Ok(found)
}

/// Makes a bucket unless there is one of that name.
pub fn create(
    conn: &Connection,
    name: &BucketName,
    owner: &str,
    region: &str,
) -> Result<Created, StoreError> {
    if let Some(bucket) = find(conn, name)? {
        return Ok(Created::Exists(bucket));
    }
    let created_ms = time::now_ms();
    let owner_id = intern_owner(conn, owner)?;
    conn.prepare_cached(
        "INSERT INTO buckets (name, created_ms, owner, region) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![name.as_str(), created_ms, owner_id, region])?;
    Ok(Created::New(Bucket {
        id: conn.last_insert_rowid(),
        name: name.clone(),
        created_ms,
        owner: owner.to_owned(),
        region: region.to_owned(),
    }))
}

/// Removes a bucket without objects, and its uploads.
pub fn delete(conn: &Connection, name: &BucketName) -> Result<Result<(), Refused>, StoreError> {
    let Some(bucket) = find(conn, name)? else { return Ok(Err(Refused::NoSuchBucket)) };
    let occupied: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)")?
        .query_row([bucket.id], |row| row.get(0))?;
    if occupied {
        return Ok(Err(Refused::BucketNotEmpty));
    }
    let folder = match bucket_folder(conn, bucket.id)? {
        Ok(folder) => folder,
        Err(refused) => return Ok(Err(refused)),
    };
    conn.prepare_cached(
        "INSERT INTO garbage (deleted_ms, bucket, manifest, size)
         SELECT ?1, ?2, manifest, 0 FROM uploads WHERE bucket = ?3 AND done_ms IS NULL",
    )?
    .execute(params![time::now_ms(), folder, bucket.id])?;
    conn.prepare_cached("DELETE FROM uploads WHERE bucket = ?1")?.execute([bucket.id])?;
    conn.prepare_cached("DELETE FROM buckets WHERE id = ?1")?.execute([bucket.id])?;
    Ok(Ok(()))
}
