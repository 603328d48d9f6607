//! Listings against the model: page by page, with every kind of prefix, delimiter and start.

use super::*;
use std::sync::Arc;

const DELIMITERS: [&str; 8] = ["/", "//", "b", "é", "::", "\u{10FFFF}", "/é", "\u{0}"];
const PREFIXES: [&str; 12] =
    ["", "a", "a/", "a//", "/", "é", "e", "ab:", "\u{10FFFF}", "long/x", "nothing", "\u{0}"];

/// An entry without what it is an entry of.
type Name = Result<String, String>;

/// Names as a listing shows them: `Ok` an item, `Err` a common prefix.
fn shown<'k>(keys: impl Iterator<Item = &'k str>, query: &ListQuery) -> Vec<Name> {
    let mut shown: Vec<Name> = Vec::new();
    for key in keys.filter(|key| key.starts_with(&query.prefix)) {
        let rest = &key[query.prefix.len()..];
        let cut = query.delimiter.as_ref().and_then(|d| rest.find(d).map(|at| at + d.len()));
        let entry = match cut {
            Some(end) => Err(format!("{}{}", query.prefix, &rest[..end])),
            None => Ok(key.to_owned()),
        };
        if shown.last() != Some(&entry) {
            shown.push(entry);
        }
    }
    shown
}

/// Whether `key` comes after the start of a listing. A start that is a common prefix passes
/// everything under it.
fn is_after(key: &str, query: &ListQuery) -> bool {
    let Some(after) = query.after.as_deref() else { return true };
    let one = [after].into_iter();
    let passes_all = shown(one, query) == [Err(after.to_owned())];
    key > after && !(passes_all && key.starts_with(after))
}

/// Walks all pages: `page` gives one, `name` what an entry is called, `next` where to go on.
fn walk<T: Clone>(
    mut query: ListQuery,
    page: impl Fn(&ListQuery, Option<&str>, bool) -> Page<T>,
    item: impl Fn(&T) -> (String, Option<String>),
) -> (Vec<Name>, Vec<T>) {
    let (mut names, mut items, mut after_upload) = (Vec::new(), Vec::new(), None);
    let mut is_first = true;
    loop {
        let Page { entries, truncated } = page(&query, after_upload.as_deref(), is_first);
        is_first = false;
        assert!(entries.len() <= query.max);
        assert!(names.len() < 10_000, "{query:?} has no end");
        assert!(!truncated || entries.len() == query.max, "a page that is not full is the last");
        for entry in &entries {
            (query.after, after_upload) = match entry {
                Entry::Item(found) => {
                    let (key, id) = item(found);
                    names.push(Ok(key.clone()));
                    items.push(found.clone());
                    (Some(key), id)
                }
                Entry::Prefix(prefix) => {
                    names.push(Err(prefix.clone()));
                    (Some(prefix.clone()), None)
                }
            };
        }
        if !truncated {
            return (names, items);
        }
    }
}

impl Run {
    fn query(&mut self, shelf: &str) -> ListQuery {
        let prefix = match self.rng.below(3) {
            0 => String::new(),
            1 => (*self.rng.pick(&PREFIXES)).to_owned(),
            _ => self.key(),
        };
        let delimiter = self.rng.chance(60).then(|| (*self.rng.pick(&DELIMITERS)).to_owned());
        let after = match self.rng.below(4) {
            0 => Some(self.key()),
            1 => Some(self.rng.pick(&["", "a/", "a", "/", "é/", "ab::", "zz"]).to_string()),
            _ => None,
        };
        let max = *self.rng.pick(&[1, 2, 3, 1000]);
        ListQuery { bucket: self.shelves[shelf].bucket.id, prefix, delimiter, after, max }
    }

    pub fn list(&mut self, shelf: &str) {
        let query = self.query(shelf);
        let none = ListQuery { max: 0, ..query.clone() };
        let nothing = Page { entries: Vec::new(), truncated: false };
        assert_eq!(*self.store().list(&none).unwrap(), nothing);
        let page = |query: &ListQuery, _: Option<&str>, _: bool| {
            let page = self.store().list(query).unwrap();
            // From memory it is the same.
            assert_eq!(self.store().list(query).unwrap(), page);
            Arc::unwrap_or_clone(page)
        };
        let (names, items) = walk(query.clone(), page, |s| (s.key.as_str().to_owned(), None));
        let things = &self.shelves[shelf].things;
        let keys = things.keys().map(String::as_str).filter(|key| is_after(key, &query));
        assert_eq!(names, shown(keys, &query), "{query:?}");
        for item in items {
            let thing = &things[item.key.as_str()];
            let found = (item.size, item.modified_ms, item.etag.as_str());
            assert_eq!(found, (thing.bytes.len() as u64, thing.modified_ms, &*thing.etag));
            assert_eq!(&*item.owner, "owner");
        }
    }

    pub fn list_uploads(&mut self, shelf: &str) {
        let mut query = self.query(shelf);
        // To start after an upload, there must be one, and the delimiter must not hide it.
        let start = self.rng.chance(30).then(|| self.any_upload(shelf)).flatten();
        if let Some((key, _)) = &start {
            query.after = Some(key.clone());
            query.delimiter = None;
        }
        // The first page starts after the upload that was picked.
        let first = start.as_ref().map(|(_, id)| id.as_str());
        let page = |query: &ListQuery, after: Option<&str>, is_first: bool| {
            self.store().list_uploads(query, if is_first { first } else { after }).unwrap()
        };
        let item = |u: &Upload| (u.key.as_str().to_owned(), Some(u.upload_id.clone()));
        let (names, items) = walk(query.clone(), page, item);
        let uploads = &self.shelves[shelf].uploads;
        let is_due = |id: &(String, String)| match &start {
            Some(start) => id > start,
            None => is_after(&id.0, &query),
        };
        let due: Vec<_> = uploads.iter().filter(|(id, _)| is_due(id)).collect();
        // Several uploads of one key are several entries.
        let mut expected = Vec::new();
        for (key, _) in due.iter().map(|(id, _)| *id) {
            for entry in shown([key.as_str()].into_iter(), &query) {
                if entry.is_ok() || expected.last() != Some(&entry) {
                    expected.push(entry);
                }
            }
        }
        assert_eq!(names, expected, "{query:?} {start:?}");
        for found in items {
            let known = &uploads[&(found.key.as_str().to_owned(), found.upload_id.clone())];
            assert_eq!(found.manifest, known.upload.manifest);
            assert_eq!(found.started_ms, known.upload.started_ms);
        }
    }
}
