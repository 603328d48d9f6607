//! The SQL of buckets.

use super::objects::intern_owner;
use super::{Bucket, ConfigKind, Created, NewBucket, Refused, StoreError, Usage};
use crate::types::{BucketName, VersionId, Versioning, time};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const COLUMNS: &str = "SELECT id, name, created_ms,
    (SELECT canonical FROM owners WHERE id = owner), region, versioning, lock, quota FROM buckets";

/// Number of a state in columns; never changes.
fn versioning_number(versioning: Versioning) -> i64 {
    match versioning {
        Versioning::Unversioned => 0,
        Versioning::Enabled => 1,
        Versioning::Suspended => 2,
    }
}

fn versioning(number: i64) -> Versioning {
    match number {
        0 => Versioning::Unversioned,
        2 => Versioning::Suspended,
        // Keeps everything, whatever a stranger has written there.
        _ => Versioning::Enabled,
    }
}

fn bucket(row: &Row<'_>) -> rusqlite::Result<Option<Bucket>> {
    let Some(name) = BucketName::parse(row.get_ref(1)?.as_str()?) else { return Ok(None) };
    Ok(Some(Bucket {
        id: row.get(0)?,
        name,
        created_ms: row.get(2)?,
        owner: row.get(3)?,
        region: row.get(4)?,
        versioning: versioning(row.get(5)?),
        lock: row.get(6)?,
        quota: row.get::<_, Option<i64>>(7)?.map(|quota| quota as u64),
        configs: BTreeMap::new(),
        parsed: OnceLock::new(),
    }))
}

fn configs(conn: &Connection, id: i64) -> Result<BTreeMap<ConfigKind, String>, StoreError> {
    let sql = "SELECT kind, value FROM configurations WHERE bucket = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?;
        let kind = ConfigKind::ALL.into_iter().find(|kind| name.as_str() == Ok(kind.name()));
        if let Some(kind) = kind {
            found.insert(kind, row.get(1)?);
        }
    }
    Ok(found)
}

/// The bucket of a name.
pub fn find(conn: &Connection, name: &BucketName) -> Result<Option<Bucket>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
    let found = statement.query_row([name.as_str()], bucket).optional()?.flatten();
    let Some(mut bucket) = found else { return Ok(None) };
    bucket.configs = configs(conn, bucket.id)?;
    Ok(Some(bucket))
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
            Some(mut bucket) if bucket.name.as_str().starts_with(prefix) => {
                bucket.configs = configs(conn, bucket.id)?;
                found.push(bucket);
            }
            Some(_) => break,
            None => {}
        }
    }
    Ok(found)
}

/// The names of the buckets with a configuration.
pub fn with_config(conn: &Connection, kind: ConfigKind) -> Result<Vec<BucketName>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT name FROM buckets WHERE id IN (SELECT bucket FROM configurations WHERE kind = ?1)
         ORDER BY name",
    )?;
    let mut rows = statement.query([kind.name()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(BucketName::parse(row.get_ref(0)?.as_str().unwrap_or_default()));
    }
    Ok(found)
}

/// What a writer has to know of a bucket.
pub struct Home {
    pub id: i64,
    /// The folder of its files.
    pub folder: String,
    pub versioning: Versioning,
    pub lock: bool,
    quota: Option<i64>,
}

impl Home {
    /// Whether it has or had versions.
    pub fn is_versioned(&self) -> bool {
        self.versioning != Versioning::Unversioned
    }

    /// What a version that is written now with this number is called.
    pub fn version_id(&self, number: i64) -> Option<VersionId> {
        self.is_versioned().then(|| self.versioning.id(number))
    }
}

/// A bucket for a writer, or that it is gone.
pub fn home(conn: &Connection, id: i64) -> Result<Result<Home, Refused>, StoreError> {
    let sql = "SELECT name, versioning, lock, quota FROM buckets WHERE id = ?1";
    let found = conn.prepare_cached(sql)?.query_row([id], |row| decode_home(row, id)).optional()?;
    Ok(found.ok_or(Refused::NoSuchBucket))
}

/// The columns name, versioning, lock and quota of a bucket, in this order.
pub fn decode_home(row: &Row<'_>, id: i64) -> rusqlite::Result<Home> {
    Ok(Home {
        id,
        folder: row.get(0)?,
        versioning: versioning(row.get(1)?),
        lock: row.get(2)?,
        quota: row.get(3)?,
    })
}

/// What a bucket holds.
pub fn usage(conn: &Connection, id: i64) -> Result<Usage, StoreError> {
    let sql = "SELECT bytes, objects, versions, uploading FROM usage WHERE bucket = ?1";
    let found = conn
        .prepare_cached(sql)?
        .query_row([id], |row| {
            Ok(Usage {
                bytes: row.get(0)?,
                objects: row.get(1)?,
                versions: row.get(2)?,
                uploading: row.get(3)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Adds to what a bucket holds.
pub fn recount(conn: &Connection, id: i64, change: Usage) -> Result<(), StoreError> {
    if change == Usage::default() {
        return Ok(());
    }
    conn.prepare_cached(
        "UPDATE usage SET bytes = bytes + ?2, objects = objects + ?3, versions = versions + ?4,
             uploading = uploading + ?5 WHERE bucket = ?1",
    )?
    .execute(params![id, change.bytes, change.objects, change.versions, change.uploading])?;
    Ok(())
}

/// The same for a write, which the quota may refuse.
pub fn count(
    conn: &Connection,
    home: &Home,
    change: Usage,
) -> Result<Result<(), Refused>, StoreError> {
    let growth = change.bytes + change.uploading;
    if let Some(quota) = home.quota.filter(|_| growth > 0) {
        let usage = usage(conn, home.id)?;
        if growth > quota.saturating_sub(usage.bytes + usage.uploading) {
            return Ok(Err(Refused::QuotaExceeded));
        }
    }
    recount(conn, home.id, change)?;
    Ok(Ok(()))
}

/// Makes a bucket unless there is one of that name.
pub fn create(conn: &Connection, new: &NewBucket) -> Result<Created, StoreError> {
    if let Some(bucket) = find(conn, &new.name)? {
        return Ok(Created::Exists(bucket));
    }
    let created_ms = time::now_ms();
    let owner_id = intern_owner(conn, &new.owner)?;
    let versioning = if new.lock { Versioning::Enabled } else { Versioning::Unversioned };
    conn.prepare_cached(
        "INSERT INTO buckets (name, created_ms, owner, region, versioning, lock)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        new.name.as_str(),
        created_ms,
        owner_id,
        new.region,
        versioning_number(versioning),
        new.lock
    ])?;
    let id = conn.last_insert_rowid();
    conn.prepare_cached("INSERT INTO usage (bucket) VALUES (?1)")?.execute([id])?;
    for (kind, value) in &new.configs {
        configure(conn, id, *kind, Some(value))?;
    }
    Ok(Created::New(Bucket {
        id,
        name: new.name.clone(),
        created_ms,
        owner: new.owner.clone(),
        region: new.region.clone(),
        versioning,
        lock: new.lock,
        quota: None,
        configs: new.configs.clone(),
        parsed: OnceLock::new(),
    }))
}

fn configure(
    conn: &Connection,
    id: i64,
    kind: ConfigKind,
    value: Option<&str>,
) -> Result<(), StoreError> {
    match value {
        Some(value) => conn
            .prepare_cached(
                "INSERT OR REPLACE INTO configurations (bucket, kind, value) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![id, kind.name(), value])?,
        None => conn
            .prepare_cached("DELETE FROM configurations WHERE bucket = ?1 AND kind = ?2")?
            .execute(params![id, kind.name()])?,
    };
    Ok(())
}

/// What is changed of a bucket.
pub enum BucketChange {
    /// A configuration; `None` removes it.
    Config(ConfigKind, Option<String>),
    /// Whether it keeps versions from now on.
    Versioning(Versioning),
    /// Object Lock is enabled, with its configuration. It cannot be taken back.
    Lock(String),
    /// Bytes that it may hold.
    Quota(Option<u64>),
}

/// Changes a bucket.
pub fn change(
    conn: &Connection,
    id: i64,
    change: &BucketChange,
) -> Result<Result<(), Refused>, StoreError> {
    let home = match home(conn, id)? {
        Ok(home) => home,
        Err(refused) => return Ok(Err(refused)),
    };
    match change {
        BucketChange::Config(kind, value) => configure(conn, id, *kind, value.as_deref())?,
        BucketChange::Versioning(versioning) => {
            if home.lock && *versioning != Versioning::Enabled {
                return Ok(Err(Refused::VersioningRequired));
            }
            conn.prepare_cached("UPDATE buckets SET versioning = ?2 WHERE id = ?1")?
                .execute(params![id, versioning_number(*versioning)])?;
        }
        BucketChange::Lock(config) => {
            if home.versioning != Versioning::Enabled {
                return Ok(Err(Refused::VersioningRequired));
            }
            conn.prepare_cached("UPDATE buckets SET lock = 1 WHERE id = ?1")?.execute([id])?;
            configure(conn, id, ConfigKind::ObjectLock, Some(config))?;
        }
        BucketChange::Quota(quota) => {
            conn.prepare_cached("UPDATE buckets SET quota = ?2 WHERE id = ?1")?.execute(
                params![id, quota.map(|quota| i64::try_from(quota).unwrap_or(i64::MAX))],
            )?;
        }
    }
    Ok(Ok(()))
}

/// Removes a bucket without objects and versions, and its uploads.
pub fn delete(conn: &Connection, name: &BucketName) -> Result<Result<(), Refused>, StoreError> {
    let Some(bucket) = find(conn, name)? else { return Ok(Err(Refused::NoSuchBucket)) };
    let occupied: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)
                 OR EXISTS (SELECT 1 FROM versions WHERE bucket = ?1)",
        )?
        .query_row([bucket.id], |row| row.get(0))?;
    if occupied {
        return Ok(Err(Refused::BucketNotEmpty));
    }
    conn.prepare_cached(
        "INSERT INTO garbage (deleted_ms, bucket, manifest, size)
         SELECT ?1, ?2, manifest, 0 FROM uploads WHERE bucket = ?3 AND done_ms IS NULL",
    )?
    .execute(params![time::now_ms(), name.as_str(), bucket.id])?;
    for table in ["uploads", "usage", "configurations", "renames"] {
        let sql = format!("DELETE FROM {table} WHERE bucket = ?1");
        conn.prepare_cached(&sql)?.execute([bucket.id])?;
    }
    conn.prepare_cached("DELETE FROM buckets WHERE id = ?1")?.execute([bucket.id])?;
    Ok(Ok(()))
}
