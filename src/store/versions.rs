//! The SQL of versions: those that are not current, delete markers, and what is done to a version
//! by its id.
//!
//! Invariant: `objects` has a row of a key exactly if the newest version of the key is no delete
//! marker, and that row is the newest version.

use super::buckets::{self, Home};
use super::list::{Statements, collect, start};
use super::objects::{self, Content, columns, discard, object};
use super::owners::Owners;
use super::{
    Delete, Deleted, Entry, Found, ListQuery, Marker, Page, Refused, StoreError, Usage, Version,
    codec,
};
use crate::types::{Current, ETag, ObjectKey, VersionId, time};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// What `objects` and `versions` have both.
const BOTH: &str = "bucket, key, version, size, modified_ms, etag, crc64, checksum, owner, blob,
    manifest, meta, null_version, tags, retention, retain_until_ms, legal_hold, seal, acl";

/// The newest row of a key in `versions`.
pub struct Newest {
    pub version: i64,
    pub null: bool,
    pub marker: bool,
    pub modified_ms: i64,
}

/// The newest version of a key that is not in `objects`.
pub fn newest(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
) -> Result<Option<Newest>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT version, null_version, marker, modified_ms FROM versions
             WHERE bucket = ?1 AND key = ?2 ORDER BY version DESC LIMIT 1",
        )?
        .query_row(params![bucket, key.as_bytes()], |row| {
            Ok(Newest {
                version: row.get(0)?,
                null: row.get(1)?,
                marker: row.get(2)?,
                modified_ms: row.get(3)?,
            })
        })
        .optional()?)
}

/// The number of the newest version of a key, be it an object or a delete marker.
fn newest_number(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT max(version) FROM (
        SELECT version FROM objects WHERE bucket = ?1 AND key = ?2
        UNION ALL SELECT max(version) FROM versions WHERE bucket = ?1 AND key = ?2)";
    Ok(conn.prepare_cached(sql)?.query_row(params![bucket, key.as_bytes()], |row| row.get(0))?)
}

/// The delete marker that is the newest version of a key without an object.
pub fn current_marker(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
) -> Result<Option<Marker>, StoreError> {
    let newest = newest(conn, bucket, key)?.filter(|newest| newest.marker);
    Ok(newest.map(|newest| Marker {
        version_id: if newest.null { VersionId::Null } else { VersionId::Number(newest.version) },
        modified_ms: newest.modified_ms,
    }))
}

/// Moves the row of an object to the versions that are not current. The caller replaces or deletes
/// the row in `objects`.
pub fn archive(conn: &Connection, bucket: i64, key: &ObjectKey) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO versions ({BOTH}, marker) SELECT {BOTH}, 0 FROM objects
         WHERE bucket = ?1 AND key = ?2"
    );
    conn.prepare_cached(&sql)?.execute(params![bucket, key.as_bytes()])?;
    Ok(())
}

/// Makes the newest version of a key without an object its object, unless it is a delete marker;
/// whether there is an object now.
fn promote(conn: &Connection, bucket: i64, key: &ObjectKey) -> Result<bool, StoreError> {
    let Some(newest) = newest(conn, bucket, key)?.filter(|newest| !newest.marker) else {
        return Ok(false);
    };
    let sql = format!(
        "INSERT INTO objects ({BOTH}) SELECT {BOTH} FROM versions
         WHERE bucket = ?1 AND key = ?2 AND version = ?3"
    );
    conn.prepare_cached(&sql)?.execute(params![bucket, key.as_bytes(), newest.version])?;
    drop_row(conn, bucket, key, newest.version)?;
    Ok(true)
}

fn drop_row(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    version: i64,
) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM versions WHERE bucket = ?1 AND key = ?2 AND version = ?3")?
        .execute(params![bucket, key.as_bytes(), version])?;
    Ok(())
}

/// Writes a delete marker.
pub fn insert_marker(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    version: i64,
    null: bool,
    now_ms: i64,
) -> Result<(), StoreError> {
    let owner: i64 = conn
        .prepare_cached("SELECT owner FROM buckets WHERE id = ?1")?
        .query_row([bucket], |row| row.get(0))?;
    conn.prepare_cached(
        "INSERT INTO versions (bucket, key, version, size, modified_ms, etag, crc64, owner, meta,
             null_version, legal_hold, marker)
         VALUES (?1, ?2, ?3, 0, ?4, '', 0, ?5, '[]', ?6, 0, 1)",
    )?
    .execute(params![bucket, key.as_bytes(), version, now_ms, owner, null])?;
    Ok(())
}

/// A row of `objects` or `versions`.
struct At {
    table: &'static str,
    version: i64,
    marker: bool,
    etag: ETag,
    modified_ms: i64,
    content: Content,
}

/// Finds a version in both tables.
fn locate(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    id: VersionId,
) -> Result<Option<At>, StoreError> {
    for (table, marker) in [("objects", "0"), ("versions", "marker")] {
        let (condition, number) = by_id(id);
        let sql = format!(
            "SELECT version, size, modified_ms, etag, blob, manifest, {marker},
                 retention, retain_until_ms, legal_hold
             FROM {table} WHERE bucket = ?1 AND key = ?2 AND {condition}"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![bucket, key.as_bytes(), number])?;
        let Some(row) = rows.next()? else { continue };
        return Ok(Some(At {
            table,
            version: row.get(0)?,
            marker: row.get(6)?,
            etag: ETag::from_text(row.get_ref(3)?.as_str().unwrap_or_default()),
            modified_ms: row.get(2)?,
            content: Content {
                size: row.get::<_, i64>(1)? as u64,
                data: codec::decode_data(row.get(4)?, row.get(5)?),
                lock: codec::lock(row, 7)?,
            },
        }));
    }
    Ok(None)
}

/// The condition on ?3 that finds a version, and ?3.
fn by_id(id: VersionId) -> (&'static str, i64) {
    match id {
        VersionId::Null => ("null_version = 1 AND ?3 = 1", 1),
        VersionId::Number(number) => ("version = ?3 AND null_version = 0", number),
    }
}

/// A version by its id.
pub fn find(
    conn: &Connection,
    owners: &Owners,
    bucket: i64,
    key: &ObjectKey,
    id: VersionId,
) -> Result<Option<Found>, StoreError> {
    let (condition, number) = by_id(id);
    for (table, marker) in [("objects", "0"), ("versions", "marker")] {
        let sql = format!(
            "SELECT {}, {marker} FROM {table} WHERE bucket = ?1 AND key = ?2 AND {condition}",
            columns!()
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![bucket, key.as_bytes(), number])?;
        let Some(row) = rows.next()? else { continue };
        let object = object(conn, owners, row, key)?;
        return Ok(Some(match row.get(17)? {
            false => Found::Object(Arc::new(object)),
            true => Found::Marker(Marker {
                version_id: object.version_id(),
                modified_ms: object.modified_ms,
            }),
        }));
    }
    Ok(None)
}

/// Takes the null version of a key out of the versions that are not current. `None` if there is
/// none, or if it is a delete marker, which then is gone.
pub fn take_null(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    now_ms: i64,
) -> Result<Result<Option<Content>, Refused>, StoreError> {
    let at = locate(conn, bucket, key, VersionId::Null)?;
    let Some(at) = at.filter(|at| at.table == "versions") else { return Ok(Ok(None)) };
    if at.content.lock.protects(now_ms, false) {
        return Ok(Err(Refused::Locked));
    }
    drop_row(conn, bucket, key, at.version)?;
    if at.marker {
        buckets::recount(conn, bucket, Usage { versions: -1, ..Usage::default() })?;
        return Ok(Ok(None));
    }
    Ok(Ok(Some(at.content)))
}

/// Removes a version for good; the newest that is left becomes current.
pub fn remove(
    conn: &Connection,
    home: &Home,
    key: &ObjectKey,
    id: VersionId,
    delete: &Delete,
) -> Result<Result<Deleted, Refused>, StoreError> {
    let at = locate(conn, home.id, key, id)?;
    let current = at.as_ref().filter(|at| !at.marker).map(|at| Current {
        etag: &at.etag,
        modified_ms: at.modified_ms,
        size: at.content.size,
    });
    if let Err(violation) = delete.if_.check(current) {
        return Ok(Err(Refused::Precondition(violation)));
    }
    let version_id = home.is_versioned().then_some(id);
    let Some(at) = at else {
        return Ok(Ok(Deleted { existed: false, version_id, marker: false }));
    };
    let now_ms = time::now_ms();
    if at.content.lock.protects(now_ms, delete.bypass) {
        return Ok(Err(Refused::Locked));
    }
    let mut usage = Usage { versions: -1, bytes: -(at.content.size as i64), ..Usage::default() };
    discard(conn, &home.folder, at.content.data, at.content.size, now_ms)?;
    if at.table == "objects" {
        conn.prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
            .execute(params![home.id, key.as_bytes()])?;
        usage.objects -= 1;
    } else {
        drop_row(conn, home.id, key, at.version)?;
    }
    if home.is_versioned() {
        let occupied: bool = conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1 AND key = ?2)")?
            .query_row(params![home.id, key.as_bytes()], |row| row.get(0))?;
        usage.objects += i64::from(!occupied && promote(conn, home.id, key)?);
    }
    buckets::recount(conn, home.id, usage)?;
    Ok(Ok(Deleted { existed: true, version_id, marker: at.marker }))
}

/// What is changed of a version that is there.
pub enum Change {
    /// Its tags.
    Tags(crate::types::Tags),
    /// Its retention.
    Retention {
        /// What it becomes; `None`: none.
        new: Option<crate::types::Retention>,
        /// Overrules one of governance.
        bypass: bool,
    },
    /// Its legal hold.
    LegalHold(bool),
    /// Its access control list.
    Acl(Option<String>),
}

/// Changes a version (`None`: the object); its id.
pub fn change(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    id: Option<VersionId>,
    change: &Change,
) -> Result<Result<VersionId, Refused>, StoreError> {
    let home = match buckets::home(conn, bucket)? {
        Ok(home) => home,
        Err(refused) => return Ok(Err(refused)),
    };
    let target = match id {
        Some(id) => locate(conn, bucket, key, id)?.map(|at| (id, at)),
        None => match objects::current_id(conn, bucket, key)? {
            Some(id) => locate(conn, bucket, key, id)?.map(|at| (id, at)),
            None if current_marker(conn, bucket, key)?.is_some() => {
                return Ok(Err(Refused::DeleteMarker));
            }
            None => None,
        },
    };
    let Some((id, at)) = target else {
        return Ok(Err(match id {
            None => Refused::NoSuchKey,
            Some(_) => Refused::NoSuchVersion,
        }));
    };
    if at.marker {
        return Ok(Err(Refused::DeleteMarker));
    }
    let now_ms = time::now_ms();
    let set = |columns: &str, values: &[&dyn rusqlite::ToSql]| -> Result<(), StoreError> {
        let table = at.table;
        let sql =
            format!("UPDATE {table} SET {columns} WHERE bucket = ?1 AND key = ?2 AND version = ?3");
        let key = key.as_bytes();
        let mut parameters: Vec<&dyn rusqlite::ToSql> = vec![&bucket, &key, &at.version];
        parameters.extend_from_slice(values);
        conn.prepare_cached(&sql)?.execute(parameters.as_slice())?;
        Ok(())
    };
    match change {
        Change::Tags(tags) => set("tags = ?4", &[&codec::encode_tags(tags)])?,
        Change::Acl(acl) => set("acl = ?4", &[acl])?,
        Change::Retention { .. } | Change::LegalHold(_) if !home.lock => {
            return Ok(Err(Refused::NoObjectLock));
        }
        Change::Retention { new, bypass } => {
            if !at.content.lock.may_become(*new, now_ms, *bypass) {
                return Ok(Err(Refused::Locked));
            }
            let (mode, until_ms) = codec::encode_retention(*new);
            set("retention = ?4, retain_until_ms = ?5", &[&mode, &until_ms])?;
        }
        Change::LegalHold(on) => set("legal_hold = ?4", &[on])?,
    }
    Ok(Ok(id))
}

/// The statements of [`list`]: ?1 the bucket, ?2 and ?3 the bounds, ?4 and ?5 key and number of the
/// version to go on behind.
fn list_statements() -> (String, String) {
    // The versions below the marker's are found by a seek of their own: of a key with many versions
    // a page costs what it returns, too.
    let part = |columns: &str, table: &str, at: &str| {
        format!("SELECT key, {columns} FROM {table} WHERE bucket = ?1 AND {at}")
    };
    // The plus keeps SQLite from walking the bounds of the whole listing instead.
    let below = "key = ?4 AND version < ?5 AND +key >= ?2 AND +key < ?3";
    let behind = "key >= ?2 AND key < ?3 AND key > ?4";
    let columns = "size, modified_ms, etag, checksum, owner, version, null_version";
    let (object, version) = (format!("{columns}, 0"), format!("{columns}, marker"));
    let rows = [
        part(&object, "objects", below),
        part(&version, "versions", below),
        part(&object, "objects", behind),
        part(&version, "versions", behind),
    ];
    let rows = format!("{} ORDER BY 1, 7 DESC", rows.join(" UNION ALL "));
    let next = [
        part("version", "objects", below),
        part("version", "versions", below),
        part("version", "objects", behind),
        part("version", "versions", behind),
    ];
    let next = format!("{} ORDER BY 1, 2 DESC LIMIT 1", next.join(" UNION ALL "));
    (rows, next)
}

/// A page of all versions, of each key the newest first. With `after_version`, the versions of the
/// key `query.after` that are older than that one come first; without it all versions of that key
/// are passed.
pub fn list(
    conn: &Connection,
    owners: &Owners,
    query: &ListQuery,
    after_version: Option<VersionId>,
) -> Result<Page<Version>, StoreError> {
    let (rows, next) = list_statements();
    let after = query.after.as_deref().filter(|a| !a.is_empty());
    let within = match (after, after_version) {
        (Some(key), Some(id)) => ObjectKey::parse(key).ok().map(|key| (key, id)),
        _ => None,
    };
    let (from, key, version) = match &within {
        Some((key, id)) => {
            let from = key.as_bytes().max(query.prefix.as_bytes()).to_vec();
            // A version that is gone: nothing of its key is left out that came after it. Where the
            // null version was is not known, so all that is left of its key comes.
            let gone = match id {
                VersionId::Number(number) => *number,
                VersionId::Null => i64::MAX,
            };
            let number = locate(conn, query.bucket, key, *id)?.map_or(gone, |at| at.version);
            (from, key.as_bytes(), number)
        }
        None => (start(query), &[][..], 0),
    };
    let sql = Statements { rows: &rows, next: &next };
    let mut page = collect(conn, &sql, query, from, &[&key, &version], |row, key| {
        let (version, null): (i64, bool) = (row.get(6)?, row.get(7)?);
        Ok(Version {
            summary: codec::summary(row, key, owners.canonical(conn, row.get(5)?)?)?,
            version,
            version_id: if null { VersionId::Null } else { VersionId::Number(version) },
            latest: false,
            marker: row.get(8)?,
        })
    })?;
    // The page goes on behind a version of its first key, which may be gone since.
    let mut previous = match (within, page.entries.first()) {
        (Some((key, _)), Some(Entry::Item(first))) if first.summary.key == key => {
            (newest_number(conn, query.bucket, &key)? != Some(first.version)).then_some(key)
        }
        _ => None,
    };
    for entry in &mut page.entries {
        let Entry::Item(version) = entry else { continue };
        version.latest = previous.as_ref() != Some(&version.summary.key);
        previous = Some(version.summary.key.clone());
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page costs what it returns: each part is a seek, and nothing is sorted.
    #[test]
    fn listings_are_seeks() {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut conn).unwrap();
        let (rows, next) = list_statements();
        for sql in [rows, next] {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let (bucket, key, number) = (1, b"k".as_slice(), 1);
            let lines = plan
                .query_map(params![bucket, key, key, key, number], |row| row.get::<_, String>(3))
                .unwrap();
            let lines: Vec<String> = lines.map(Result::unwrap).collect();
            let scans = lines.iter().filter(|l| l.contains("SCAN") || l.contains("TEMP B-TREE"));
            assert_eq!(scans.count(), 0, "{lines:?}");
            let within = "SEARCH versions USING PRIMARY KEY (bucket=? AND key=? AND version<?)";
            assert!(lines.iter().any(|line| line == within), "{lines:?}");
        }
    }
}
