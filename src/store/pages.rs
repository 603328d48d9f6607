//! Pages of listings that are asked for again and again, in memory: mounts, browsers and backup
//! programs list the same small folders every few seconds.
//!
//! What is kept here is never older than the last commit. Every write tells before its transaction
//! begins which bucket it touches and when it has ended, as it does for [`super::rows`]. A page is
//! kept if no write was in progress before it was read, and shown as long as none has begun since.

use super::rows::Touched;
use super::{Entry, ListQuery, Page, StoreError, Summary, db::lock};
use crate::limits::{CACHED_PAGE_BYTES, CACHED_PAGES};
use std::array;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Groups of buckets whose writes are counted together.
const GROUPS: usize = 64;

/// The writes to a group of buckets.
#[derive(Default)]
struct Writes {
    /// Those in progress.
    now: AtomicU64,
    /// Those that have begun since the start.
    begun: AtomicU64,
}

struct Kept {
    query: ListQuery,
    page: Arc<Page<Summary>>,
    /// [`Writes::begun`] before it was read.
    begun: u64,
}

/// See the module's description.
pub struct Pages {
    /// Keeps clients from choosing queries that meet.
    hasher: RandomState,
    /// A page has one place, by its query, and stays there until another one comes.
    places: [Mutex<Option<Kept>>; CACHED_PAGES],
    groups: [Writes; GROUPS],
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            places: array::from_fn(|_| Mutex::new(None)),
            groups: array::from_fn(|_| Writes::default()),
        }
    }
}

impl Pages {
    fn group(&self, bucket: i64) -> &Writes {
        &self.groups[bucket as usize % GROUPS]
    }

    /// A page, from memory or else from `load`, which must read what is committed.
    pub fn get(
        &self,
        query: &ListQuery,
        load: impl FnOnce() -> Result<Page<Summary>, StoreError>,
    ) -> Result<Arc<Page<Summary>>, StoreError> {
        let writes = self.group(query.bucket);
        let place = &self.places[self.hasher.hash_one(query) as usize % CACHED_PAGES];
        // In this order: a write is in progress before it counts as begun.
        let begun = writes.begun.load(Ordering::SeqCst);
        let quiet = writes.now.load(Ordering::SeqCst) == 0;
        if let Some(kept) = &*lock(place)
            && kept.begun == begun
            && kept.query == *query
        {
            return Ok(Arc::clone(&kept.page));
        }
        let page = Arc::new(load()?);
        if quiet && size(query, &page) <= CACHED_PAGE_BYTES {
            let kept = Kept { query: query.clone(), page: Arc::clone(&page), begun };
            *lock(place) = Some(kept);
        }
        Ok(page)
    }

    /// To be called before a transaction is begun; what it gives is to be dropped when the
    /// transaction has ended, however that was.
    pub fn writing(&self, touched: Touched) -> Listed<'_> {
        let groups = match touched {
            Touched::Nothing => &[],
            Touched::One { bucket, .. } => std::slice::from_ref(self.group(bucket)),
            Touched::All => &self.groups[..],
        };
        for writes in groups {
            writes.now.fetch_add(1, Ordering::SeqCst);
            writes.begun.fetch_add(1, Ordering::SeqCst);
        }
        Listed(groups)
    }
}

/// A transaction in progress, see [`Pages::writing`].
pub struct Listed<'p>(&'p [Writes]);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        for writes in self.0 {
            writes.now.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// About what a page takes in memory, in bytes.
fn size(query: &ListQuery, page: &Page<Summary>) -> usize {
    let text = |entry: &Entry<Summary>| match entry {
        Entry::Item(object) => object.key.as_bytes().len() + object.etag.as_str().len(),
        Entry::Prefix(prefix) => prefix.len(),
    };
    let texts: usize = page.entries.iter().map(text).sum();
    let after = query.after.as_ref().map_or(0, String::len);
    page.entries.capacity() * size_of::<Entry<Summary>>() + texts + query.prefix.len() + after
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const ALL: Touched = Touched::All;
    const ONE: Touched = Touched::One { bucket: 1, hash: 7 };

    fn query(bucket: i64, prefix: &str) -> ListQuery {
        let delimiter = Some("/".to_owned());
        ListQuery { bucket, prefix: prefix.to_owned(), delimiter, after: None, max: 1000 }
    }

    fn page(names: impl IntoIterator<Item = String>) -> Page<Summary> {
        Page { entries: names.into_iter().map(Entry::Prefix).collect(), truncated: false }
    }

    /// Lists a bucket whose committed state is `state`; what came, and whether it was loaded.
    fn list(pages: &Pages, query: &ListQuery, state: u32) -> (u32, bool) {
        let loaded = Cell::new(false);
        let load = || {
            loaded.set(true);
            Ok(page([state.to_string()]))
        };
        let page = pages.get(query, load).unwrap();
        let Entry::Prefix(name) = &page.entries[0] else { panic!("no prefix") };
        (name.parse().unwrap(), loaded.get())
    }

    #[test]
    fn a_page_is_kept_for_its_query_alone() {
        let pages = Pages::default();
        let asked = query(1, "a");
        assert_eq!(list(&pages, &asked, 1), (1, true));
        assert_eq!(list(&pages, &asked, 1), (1, false));
        let others = [
            query(2, "a"),
            query(1, "b"),
            ListQuery { delimiter: None, ..asked.clone() },
            ListQuery { after: Some("a".to_owned()), ..asked.clone() },
            ListQuery { max: 999, ..asked.clone() },
        ];
        for other in others {
            assert_eq!(list(&pages, &other, 2), (2, true), "{other:?}");
        }
    }

    #[test]
    fn nothing_is_kept_that_a_write_touches() {
        for touched in [ONE, ALL] {
            let pages = Pages::default();
            let asked = query(1, "a");
            list(&pages, &asked, 1);
            let writing = pages.writing(touched);
            // Not committed yet, then committed, each read by others.
            (0..2).for_each(|_| assert_eq!(list(&pages, &asked, 1), (1, true)));
            (0..2).for_each(|_| assert_eq!(list(&pages, &asked, 2), (2, true)));
            // Another write that has ended meanwhile changes nothing of that.
            drop(pages.writing(touched));
            assert_eq!(list(&pages, &asked, 2), (2, true));
            drop(writing);
            assert_eq!(list(&pages, &asked, 2), (2, true));
            assert_eq!(list(&pages, &asked, 2), (2, false));
        }
    }

    #[test]
    fn what_was_read_before_a_write_is_not_shown_after_it() {
        let pages = Pages::default();
        let asked = query(1, "a");
        let late = || {
            let found = page(["1".to_owned()]);
            drop(pages.writing(ONE));
            Ok(found)
        };
        pages.get(&asked, late).unwrap();
        assert_eq!(list(&pages, &asked, 2), (2, true));
    }

    #[test]
    fn writes_elsewhere_leave_it() {
        let pages = Pages::default();
        let asked = query(1, "a");
        list(&pages, &asked, 1);
        drop(pages.writing(Touched::Nothing));
        drop(pages.writing(Touched::One { bucket: 2, hash: 7 }));
        assert_eq!(list(&pages, &asked, 1), (1, false));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let pages = Pages::default();
        let names = |bytes: usize| page([String::from("0").repeat(bytes)]);
        for (bytes, kept) in [(CACHED_PAGE_BYTES / 2, true), (CACHED_PAGE_BYTES, false)] {
            let asked = query(1, &bytes.to_string());
            pages.get(&asked, || Ok(names(bytes))).unwrap();
            let again = Cell::new(false);
            let load = || {
                again.set(true);
                Ok(names(bytes))
            };
            pages.get(&asked, load).unwrap();
            assert_eq!(again.get(), !kept, "{bytes}");
        }
    }
}
