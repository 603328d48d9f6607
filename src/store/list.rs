//! Listings. A common prefix is found by seeking past it in the index, never by reading the keys
//! below it, so a page costs what it returns.

use super::codec;
use super::{Entry, ListQuery, Page, StoreError, Summary, Upload};
use crate::types::ObjectKey;
use rusqlite::{Connection, Row, ToSql};

/// Sorts after every key: no UTF-8 text has this byte.
const AFTER_ALL: &[u8] = &[0xff];

/// The smallest byte string that sorts after everything that starts with `prefix`.
fn past(prefix: &[u8]) -> Vec<u8> {
    // UTF-8 has no 0xff, so the last byte can always be raised.
    let mut bound = prefix.to_vec();
    match bound.last_mut() {
        Some(last) => *last += 1,
        None => bound.extend_from_slice(AFTER_ALL),
    }
    bound
}

/// The common prefix that a key falls under.
fn common_prefix<'k>(key: &'k str, query: &ListQuery) -> Option<&'k str> {
    let delimiter = query.delimiter.as_deref()?;
    let rest = key.get(query.prefix.len()..)?;
    rest.find(delimiter).map(|at| &key[..query.prefix.len() + at + delimiter.len()])
}

/// Where a listing starts: keys at or after this.
pub(super) fn start(query: &ListQuery) -> Vec<u8> {
    let prefix = query.prefix.as_bytes();
    let Some(after) = query.after.as_deref().filter(|a| !a.is_empty()) else {
        return prefix.to_vec();
    };
    let is_prefix = after.starts_with(&query.prefix) && common_prefix(after, query) == Some(after);
    let bound = if is_prefix {
        past(after.as_bytes())
    } else {
        let mut next = after.as_bytes().to_vec();
        next.push(0);
        next
    };
    bound.max(prefix.to_vec())
}

/// Collects a page. `sql` gives rows in order of their keys: column 0 is the key, ?1 the bucket, ?2
/// and ?3 the bounds (from, before); `more` are its further parameters.
pub(super) fn collect<T>(
    conn: &Connection,
    sql: &str,
    query: &ListQuery,
    from: Vec<u8>,
    more: &[&dyn ToSql],
    item: impl Fn(&Row<'_>, ObjectKey) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let mut page = Page { entries: Vec::new(), truncated: false };
    if query.max == 0 {
        return Ok(page);
    }
    let mut statement = conn.prepare_cached(sql)?;
    let end = past(query.prefix.as_bytes());
    let mut from = from;
    loop {
        let mut params: Vec<&dyn ToSql> = vec![&query.bucket, &from, &end];
        params.extend_from_slice(more);
        let mut rows = statement.query(params.as_slice())?;
        let mut past_prefix = None;
        while let Some(row) = rows.next()? {
            if page.entries.len() == query.max {
                page.truncated = true;
                return Ok(page);
            }
            let key = codec::key(row, 0)?;
            if let Some(prefix) = common_prefix(key.as_str(), query) {
                past_prefix = Some(past(prefix.as_bytes()));
                page.entries.push(Entry::Prefix(prefix.to_owned()));
                break;
            }
            page.entries.push(Entry::Item(item(row, key)?));
        }
        drop(rows);
        match past_prefix {
            Some(bound) => from = bound,
            None => return Ok(page),
        }
    }
}

/// A page of objects.
pub fn objects(conn: &Connection, query: &ListQuery) -> Result<Page<Summary>, StoreError> {
    const SQL: &str = "SELECT key, size, modified_ms, etag, checksum,
            (SELECT canonical FROM owners WHERE id = owner)
        FROM objects WHERE bucket = ?1 AND key >= ?2 AND key < ?3 ORDER BY key";
    collect(conn, SQL, query, start(query), &[], codec::summary)
}

/// A page of unfinished uploads; see [`super::Store::list_uploads`].
pub fn uploads(
    conn: &Connection,
    query: &ListQuery,
    after_upload: Option<&str>,
) -> Result<Page<Upload>, StoreError> {
    const SQL: &str = "SELECT key, manifest, upload_id, started_ms,
            (SELECT canonical FROM owners WHERE id = owner), meta, algorithm, kind, revision,
            tags, retention, retain_until_ms, legal_hold, seal, acl
        FROM uploads WHERE bucket = ?1 AND key >= ?2 AND key < ?3 AND done_ms IS NULL
            AND (key, upload_id) > (?4, ?5)
        ORDER BY key, upload_id";
    let (from, key, upload_id) = match (query.after.as_deref(), after_upload) {
        (Some(key), Some(upload_id)) => {
            let from = key.as_bytes().max(query.prefix.as_bytes());
            (from.to_vec(), key.as_bytes(), upload_id)
        }
        _ => (start(query), &[][..], ""),
    };
    collect(conn, SQL, query, from, &[&key, &upload_id], codec::upload)
}
