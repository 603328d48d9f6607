//! The rows of objects that are asked for again and again, in memory.
//!
//! What is kept here is never older than the last commit. Every write says before its transaction
//! begins what it may touch ([`Touched`]), and takes that back when it has ended: from the one to
//! the other nothing that it may touch is kept, so nobody can read a row here that the transaction
//! has replaced, nor the new one before the old one. One that says nothing touches everything.
//!
//! A row is kept when it is read for the second time in short order, so reading many rows once
//! costs next to nothing and throws nothing out.

use super::db::lock;
use super::{Object, StoreError};
use crate::limits::CACHED_ROWS;
use crate::types::ObjectKey;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

/// Pieces with a lock of their own.
const SHARDS: usize = 64;
/// Hashes of a piece's last misses that are remembered.
const MISSES: usize = 128;

/// Which objects a transaction may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touched {
    /// Any.
    All,
    /// None.
    Nothing,
    /// The one at a key, see [`Rows::one`].
    One {
        /// Row number of its bucket.
        bucket: i64,
        /// By which [`Rows`] knows it.
        hash: u64,
    },
}

struct Row {
    bucket: i64,
    object: Arc<Object>,
}

struct Shard {
    /// By the hash of bucket and key; of several with one hash the last is kept.
    rows: HashMap<u64, Row>,
    /// Transactions in progress that may write what belongs here.
    writing: usize,
    /// Counts those that have begun.
    begun: u64,
    /// Hashes that were missed, each at its place.
    missed: Box<[u64; MISSES]>,
}

/// See the module's description.
pub struct Rows {
    /// Keeps clients from choosing keys that meet.
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
}

impl Default for Rows {
    fn default() -> Self {
        let shard = || {
            let missed = Box::new([0; MISSES]);
            Mutex::new(Shard { rows: HashMap::new(), writing: 0, begun: 0, missed })
        };
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| shard()).collect() }
    }
}

impl Rows {
    fn hash(&self, bucket: i64, key: &ObjectKey) -> u64 {
        self.hasher.hash_one((bucket, key.as_bytes()))
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // The high bits: a shard's own table looks at the low ones.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// The object at a key, from memory or else from `load`, which must read what is committed.
    pub fn get(
        &self,
        bucket: i64,
        key: &ObjectKey,
        load: impl FnOnce() -> Result<Option<Object>, StoreError>,
    ) -> Result<Option<Arc<Object>>, StoreError> {
        let hash = self.hash(bucket, key);
        let (keep, begun) = {
            let mut shard = lock(self.shard(hash));
            let known = shard.rows.get(&hash);
            if let Some(row) = known.filter(|row| row.bucket == bucket && row.object.key == *key) {
                return Ok(Some(Arc::clone(&row.object)));
            }
            let place = hash as usize % MISSES;
            let again = std::mem::replace(&mut shard.missed[place], hash) == hash;
            (again && shard.writing == 0, shard.begun)
        };
        let found = load()?.map(Arc::new);
        if let (true, Some(object)) = (keep, &found) {
            let row = Row { bucket, object: Arc::clone(object) };
            let mut shard = lock(self.shard(hash));
            // A write that has begun since then may have replaced it, or may be about to.
            if shard.begun == begun {
                if shard.rows.len() >= CACHED_ROWS / SHARDS
                    && let Some(&any) = shard.rows.keys().next()
                {
                    shard.rows.remove(&any);
                }
                shard.rows.insert(hash, row);
            }
        }
        Ok(found)
    }

    /// What a transaction touches that writes the object at one key.
    pub fn one(&self, bucket: i64, key: &ObjectKey) -> Touched {
        Touched::One { bucket, hash: self.hash(bucket, key) }
    }

    /// To be called before a transaction is begun; what it gives is to be dropped when the
    /// transaction has ended, however that was.
    pub fn writing(&self, touched: Touched) -> Writing<'_> {
        let begin = |shard: &mut Shard| {
            shard.writing += 1;
            shard.begun += 1;
        };
        match touched {
            Touched::Nothing => {}
            Touched::One { hash, .. } => {
                let mut shard = lock(self.shard(hash));
                begin(&mut shard);
                shard.rows.remove(&hash);
            }
            Touched::All => {
                for shard in &self.shards {
                    let mut shard = lock(shard);
                    begin(&mut shard);
                    shard.rows.clear();
                }
            }
        }
        Writing { rows: self, touched }
    }
}

/// A transaction in progress, see [`Rows::writing`].
pub struct Writing<'r> {
    rows: &'r Rows,
    touched: Touched,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        match self.touched {
            Touched::Nothing => {}
            Touched::One { hash, .. } => lock(self.rows.shard(hash)).writing -= 1,
            Touched::All => {
                self.rows.shards.iter().for_each(|shard| lock(shard).writing -= 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Data;
    use crate::types::ETag;
    use std::cell::Cell;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::parse(name).unwrap()
    }

    fn object(name: &str, version: i64) -> Object {
        Object {
            key: key(name),
            version,
            size: 0,
            modified_ms: 0,
            etag: ETag::from_text("e"),
            crc64: 0,
            checksum: None,
            meta: Default::default(),
            owner: String::new(),
            data: Data::Empty,
            null_version: true,
            extra: Default::default(),
        }
    }

    fn read_twice(rows: &Rows, name: &str) {
        for _ in 0..2 {
            read(rows, name, 1);
        }
    }

    /// Reads a key whose committed version is `version`; what was found, and whether it was loaded.
    fn read(rows: &Rows, name: &str, version: i64) -> (i64, bool) {
        let loaded = Cell::new(false);
        let load = || {
            loaded.set(true);
            Ok(Some(object(name, version)))
        };
        let found = rows.get(1, &key(name), load).unwrap().unwrap();
        (found.version, loaded.get())
    }

    #[test]
    fn a_row_is_kept_from_its_second_reading_on() {
        let rows = Rows::default();
        assert_eq!(read(&rows, "a", 1), (1, true));
        assert_eq!(read(&rows, "a", 1), (1, true));
        assert_eq!(read(&rows, "a", 1), (1, false));
        let other = rows.get(2, &key("a"), || Ok(None)).unwrap();
        assert_eq!(other, None);
    }

    #[test]
    fn nothing_is_kept_that_a_write_touches() {
        for touch in [|rows: &Rows| rows.one(1, &key("a")), |_: &Rows| Touched::All] {
            let rows = Rows::default();
            read_twice(&rows, "a");
            let writing = rows.writing(touch(&rows));
            // Not committed yet, then committed, each read by others.
            (0..3).for_each(|_| assert_eq!(read(&rows, "a", 1), (1, true)));
            (0..3).for_each(|_| assert_eq!(read(&rows, "a", 2), (2, true)));
            drop(writing);
            assert_eq!(read(&rows, "a", 2), (2, true));
            assert_eq!(read(&rows, "a", 2), (2, false));
        }
    }

    #[test]
    fn what_was_read_before_a_write_is_not_kept_after_it() {
        let rows = Rows::default();
        read(&rows, "a", 1);
        let late = || {
            let found = object("a", 1);
            drop(rows.writing(rows.one(1, &key("a"))));
            Ok(Some(found))
        };
        assert_eq!(rows.get(1, &key("a"), late).unwrap().unwrap().version, 1);
        assert_eq!(read(&rows, "a", 2), (2, true));
    }

    #[test]
    fn other_keys_stay_and_the_number_of_rows_is_bounded() {
        let rows = Rows::default();
        read_twice(&rows, "a");
        drop(rows.writing(Touched::Nothing));
        drop(rows.writing(rows.one(1, &key("b"))));
        assert_eq!(read(&rows, "a", 1), (1, false));
        for n in 0..2 * CACHED_ROWS {
            read_twice(&rows, &n.to_string());
        }
        let kept: usize = rows.shards.iter().map(|shard| lock(shard).rows.len()).sum();
        assert!(kept <= CACHED_ROWS, "{kept}");
    }
}
