//! Listings. A common prefix is found by seeking past it in the index, never by reading the keys
//! below it, so a page costs what it returns.

use super::codec;
use super::owners::Owners;
use super::{Entry, ListQuery, Page, StoreError, Summary, Upload};
use crate::types::ObjectKey;
use rusqlite::{CachedStatement, Connection, Row, ToSql};
use std::sync::Arc;

/// Sorts after every key: no UTF-8 text has this byte.
const AFTER_ALL: &[u8] = &[0xff];

/// The smallest byte string that sorts after everything that starts with `prefix`.
pub(super) fn past(prefix: &[u8]) -> Vec<u8> {
    let mut bound = prefix.to_vec();
    match bound.last_mut() {
        // UTF-8 has no 0xff, so the last byte can always be raised.
        Some(last) => *last += 1,
        None => bound.extend_from_slice(AFTER_ALL),
    }
    bound
}

/// Makes `bound` what [`past`] gives for a common prefix, which is never empty.
fn bound_past(bound: &mut Vec<u8>, prefix: &str) {
    bound.clear();
    bound.extend_from_slice(prefix.as_bytes());
    if let Some(last) = bound.last_mut() {
        *last += 1;
    }
}

/// The common prefix that a key falls under, which ends with the first delimiter behind the prefix.
pub fn common_prefix<'k>(key: &'k str, prefix: &str, delimiter: Option<&str>) -> Option<&'k str> {
    let delimiter = delimiter?;
    let rest = key.strip_prefix(prefix)?;
    let found = match delimiter.as_bytes() {
        // Without the preparations for finding a longer one.
        [byte] => rest.bytes().position(|b| b == *byte),
        _ => rest.find(delimiter),
    };
    found.map(|at| &key[..prefix.len() + at + delimiter.len()])
}

fn folder<'k>(key: &'k str, query: &ListQuery) -> Option<&'k str> {
    common_prefix(key, &query.prefix, query.delimiter.as_deref())
}

/// Where a listing starts: keys at or after this.
pub(super) fn start(query: &ListQuery) -> Vec<u8> {
    let prefix = query.prefix.as_bytes();
    let Some(after) = query.after.as_deref().filter(|a| !a.is_empty()) else {
        return prefix.to_vec();
    };
    let bound = if folder(after, query) == Some(after) {
        past(after.as_bytes())
    } else {
        let mut next = after.as_bytes().to_vec();
        next.push(0);
        next
    };
    bound.max(prefix.to_vec())
}

/// The statements of a listing.
pub(super) struct Statements<'s> {
    /// Gives rows in order of their keys: column 0 is the key, ?1 the bucket, ?2 and ?3 the bounds
    /// (from, before); from ?4 on there may be further parameters.
    pub rows: &'s str,
    /// Gives the key of the first row alone, with the same parameters. It is only ever asked for that
    /// row, so it may do without a LIMIT if its rows need no sorting, and without ?3.
    pub next: &'s str,
}

/// Collects a page; `more` are the statements' further parameters.
///
/// Behind a common prefix mostly comes another one, so the next key is looked for alone; the
/// statement that gives whole rows runs when that key is an item, and then goes on up to the next
/// common prefix.
pub(super) fn collect<T>(
    conn: &Connection,
    sql: &Statements<'_>,
    query: &ListQuery,
    mut from: Vec<u8>,
    more: &[&dyn ToSql],
    mut item: impl FnMut(&Row<'_>, ObjectKey) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let mut page = Page { entries: Vec::new(), truncated: false };
    if query.max == 0 {
        return Ok(page);
    }
    let end = past(query.prefix.as_bytes());
    let prepare = |sql| -> Result<CachedStatement<'_>, StoreError> {
        let mut statement = conn.prepare_cached(sql)?;
        statement.raw_bind_parameter(1, query.bucket)?;
        if statement.parameter_count() >= 3 {
            statement.raw_bind_parameter(3, &end)?;
        }
        for (number, value) in (4..).zip(more) {
            statement.raw_bind_parameter(number, value)?;
        }
        Ok(statement)
    };
    let mut whole = prepare(sql.rows)?;
    let mut next = None;
    loop {
        whole.raw_bind_parameter(2, &from)?;
        let mut rows = whole.raw_query();
        loop {
            let Some(row) = rows.next()? else { return Ok(page) };
            if page.entries.len() == query.max {
                page.truncated = true;
                return Ok(page);
            }
            let key = codec::key_text(row, 0)?;
            if let Some(prefix) = folder(key, query) {
                bound_past(&mut from, prefix);
                page.entries.push(Entry::Prefix(prefix.to_owned()));
                break;
            }
            page.entries.push(Entry::Item(item(row, codec::key(key)?)?));
        }
        drop(rows);
        let next = match &mut next {
            Some(next) => next,
            none => none.insert(prepare(sql.next)?),
        };
        if !prefixes(next, query, &mut from, &mut page)? {
            return Ok(page);
        }
    }
}

/// Adds the common prefixes that follow at `from` one after the other. Whether an item comes then,
/// at `from`; else the page is at its end.
fn prefixes<T>(
    next: &mut CachedStatement<'_>,
    query: &ListQuery,
    from: &mut Vec<u8>,
    page: &mut Page<T>,
) -> Result<bool, StoreError> {
    loop {
        next.raw_bind_parameter(2, &*from)?;
        let mut rows = next.raw_query();
        let Some(row) = rows.next()? else { return Ok(false) };
        let key = codec::key_text(row, 0)?;
        if !key.starts_with(&query.prefix) {
            return Ok(false);
        }
        if page.entries.len() == query.max {
            page.truncated = true;
            return Ok(false);
        }
        let Some(prefix) = folder(key, query) else {
            from.clear();
            from.extend_from_slice(key.as_bytes());
            return Ok(true);
        };
        bound_past(from, prefix);
        page.entries.push(Entry::Prefix(prefix.to_owned()));
    }
}

/// A page of objects.
pub fn objects(
    conn: &Connection,
    owners: &Owners,
    query: &ListQuery,
) -> Result<Page<Summary>, StoreError> {
    const SQL: Statements<'_> = Statements {
        rows: "SELECT key, size, modified_ms, etag, checksum, owner
            FROM objects WHERE bucket = ?1 AND key >= ?2 AND key < ?3 ORDER BY key",
        next: "SELECT key FROM objects WHERE bucket = ?1 AND key >= ?2 ORDER BY key",
    };
    // Neighbours mostly have the same owner.
    let mut last: Option<(i64, Arc<str>)> = None;
    collect(conn, &SQL, query, start(query), &[], |row, key| {
        let id = row.get(5)?;
        let owner = match &last {
            Some((known, owner)) if *known == id => Arc::clone(owner),
            _ => Arc::clone(&last.insert((id, owners.canonical(conn, id)?)).1),
        };
        codec::summary(row, key, owner)
    })
}

/// A page of unfinished uploads; see [`super::Store::list_uploads`].
pub fn uploads(
    conn: &Connection,
    query: &ListQuery,
    after_upload: Option<&str>,
) -> Result<Page<Upload>, StoreError> {
    const SQL: Statements<'_> = Statements {
        rows: "SELECT key, manifest, upload_id, started_ms,
                (SELECT canonical FROM owners WHERE id = owner), meta, algorithm, kind, revision,
                tags, retention, retain_until_ms, legal_hold, seal, acl
            FROM uploads WHERE bucket = ?1 AND key >= ?2 AND key < ?3 AND done_ms IS NULL
                AND (key, upload_id) > (?4, ?5)
            ORDER BY key, upload_id",
        next: "SELECT key FROM uploads WHERE bucket = ?1 AND key >= ?2 AND key < ?3
                AND done_ms IS NULL AND (key, upload_id) > (?4, ?5)
            ORDER BY key, upload_id LIMIT 1",
    };
    let (from, key, upload_id) = match (query.after.as_deref(), after_upload) {
        (Some(key), Some(upload_id)) => {
            let from = key.as_bytes().max(query.prefix.as_bytes());
            (from.to_vec(), key.as_bytes(), upload_id)
        }
        _ => (start(query), &[][..], ""),
    };
    collect(conn, &SQL, query, from, &[&key, &upload_id], codec::upload)
}
