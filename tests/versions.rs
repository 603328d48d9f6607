//! Random operations on buckets with versions, locks, tags, conditions, uploads, renames and
//! quotas, against a model: of every key the list of its versions, newest first. Each seed is a run
//! of its own; `JOG_MODEL_SEED=n` runs that one alone.

#[path = "versions/edges.rs"]
mod edges;
#[path = "versions/listing.rs"]
mod listing;
#[path = "versions/shelf.rs"]
mod shelf;
#[path = "support/store.rs"]
mod support;
#[path = "versions/uploads.rs"]
mod uploads;
#[path = "versions/writes.rs"]
mod writes;

use jog::store::{
    Bucket, BucketChange, Change, Delete, Deleted, Entry, Found, ListQuery, NewBucket, Refused,
    Rename, Renamed, Store, StoreConfig,
};
use jog::types::{
    ETag, ETagList, Lock, Precondition, Retention, RetentionMode, Tags, VersionId, Versioning,
};
use shelf::{Kept, Shelf, There, Unfinished, violation};
use std::collections::BTreeMap;
use std::sync::Mutex;
use support::{Folder, Rng, audit, collect, content, get, key, name, new_bucket};

const SEEDS: u64 = 200;
const STEPS: usize = 200;
const KEYS: [&str; 7] = ["a", "a/", "a/b", "a/c/d", "b", "é", "z/z"];
/// During every run, as far as retentions are concerned.
const NOW_MS: i64 = 2_000_000_000_000;
/// After every run.
const FAR_MS: i64 = 4_000_000_000_000;

struct Run {
    rng: Rng,
    config: StoreConfig,
    store: Option<Store>,
    shelves: Vec<Shelf>,
}

impl Run {
    /// A bucket that never keeps versions, one that is turned, one with locks, and one that is
    /// turned and may get locks.
    fn new(seed: u64, folder: &Folder) -> Self {
        let config = folder.config();
        let store = Store::open(config.clone()).unwrap();
        let mut shelves = Vec::new();
        for (text, lock) in [("plain", false), ("turned", false), ("locked", true), ("late", false)]
        {
            store.create_bucket(NewBucket { lock, ..new_bucket(text) }).unwrap();
            let bucket = store.bucket(&name(text)).unwrap().unwrap().as_ref().clone();
            shelves.push(Shelf::new(bucket));
        }
        Self { rng: Rng::new(seed), config, store: Some(store), shelves }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between two steps")
    }

    fn step(&mut self) {
        let shelf = self.rng.below(self.shelves.len());
        let at = *self.rng.pick(&KEYS);
        match self.rng.below(40) {
            0..=9 => self.put(shelf, at),
            10..=13 => self.upload(shelf, at),
            14..=15 => self.copy(shelf, at),
            16..=19 => self.delete(shelf, at),
            20..=24 => self.delete_version(shelf, at),
            25..=26 => self.delete_many(shelf),
            27..=31 => self.change(shelf, at),
            32..=33 => self.turn(shelf),
            34..=35 => self.rename(shelf, at),
            36..=37 => self.set_quota(shelf),
            38 => self.delete_bucket(shelf),
            _ => self.reopen(),
        }
        self.look(shelf, at);
        self.list(shelf);
        self.list_versions(shelf);
    }

    /// Turns versioning on or off, or locks on.
    fn turn(&mut self, shelf: usize) {
        let to = *self.rng.pick(&[Versioning::Enabled, Versioning::Suspended]);
        let locks = self.rng.chance(15);
        let there = &self.shelves[shelf];
        let change = match there.bucket.name.as_str() {
            "plain" => return,
            "late" if locks => BucketChange::Lock("<locks/>".to_owned()),
            _ => BucketChange::Versioning(to),
        };
        let is_lock = matches!(change, BucketChange::Lock(_));
        let refused = match is_lock {
            true => there.state != Versioning::Enabled,
            false => there.bucket.lock && to == Versioning::Suspended,
        };
        let done = self.store().change_bucket(there.bucket.id, change).unwrap();
        if refused {
            return assert_eq!(done, Err(Refused::VersioningRequired));
        }
        assert_eq!(done, Ok(()));
        let there = &mut self.shelves[shelf];
        if is_lock {
            there.bucket.lock = true;
        } else {
            there.state = to;
        }
    }

    fn set_quota(&mut self, shelf: usize) {
        let spare = self.rng.below(500) as u64;
        let there = &mut self.shelves[shelf];
        let held = (there.bytes() + there.uploading()) as u64;
        // Sometimes less than is there already.
        there.quota = self.rng.chance(40).then(|| (held + spare).saturating_sub(100));
        let (bucket, quota) = (there.bucket.id, there.quota);
        self.store().change_bucket(bucket, BucketChange::Quota(quota)).unwrap().unwrap();
    }

    /// A bucket with anything in it stays, were it a delete marker.
    fn delete_bucket(&mut self, shelf: usize) {
        let there = &self.shelves[shelf];
        if !there.keys.is_empty() {
            let done = self.store().delete_bucket(&there.bucket.name).unwrap();
            assert_eq!(done, Err(Refused::BucketNotEmpty));
        }
    }

    fn reopen(&mut self) {
        let store = self.store.take().expect("open between two steps");
        if self.rng.chance(50) {
            store.close().unwrap();
        }
        drop(store);
        if self.rng.chance(30) {
            collect(&self.config, "plain").unwrap();
        }
        self.store = Some(Store::open(self.config.clone()).unwrap());
    }

    /// What can be seen of a bucket, and of one key in it.
    fn look(&self, shelf: usize, at: &str) {
        let there = &self.shelves[shelf];
        let store = self.store();
        let bucket = store.bucket(&there.bucket.name).unwrap().unwrap();
        let seen = (bucket.versioning, bucket.lock, bucket.quota);
        assert_eq!(seen, (there.state, there.bucket.lock, there.quota));

        match (store.latest(&bucket, &key(at)).unwrap(), there.versions(at).first()) {
            (None, None) => {}
            (Some(Found::Object(found)), Some(kept)) => {
                self.same(there, &found, kept);
                // The second and the third time it may come from memory.
                for _ in 0..2 {
                    let current = store.object(bucket.id, &key(at)).unwrap();
                    assert_eq!(current.as_ref(), Some(&found));
                }
            }
            (Some(Found::Marker(marker)), Some(kept)) => {
                assert_eq!((marker.version_id, &kept.bytes), (kept.id, &None));
                assert_eq!(store.object(bucket.id, &key(at)).unwrap(), None);
            }
            (found, kept) => panic!("{at}: {found:?} for {kept:?}"),
        }
        for kept in there.versions(at) {
            match store.version(bucket.id, &key(at), kept.id).unwrap() {
                Some(Found::Object(found)) => self.same(there, &found, kept),
                Some(Found::Marker(_)) => assert_eq!(kept.bytes, None),
                None => panic!("{at} {} is gone", kept.id),
            }
        }
        for id in [VersionId::Null, VersionId::Number(1)] {
            let found = store.version(bucket.id, &key(at), id).unwrap();
            assert_eq!(found.is_some(), there.find(at, id).is_some(), "{at} {id}");
        }
        let usage = store.usage(bucket.id).unwrap();
        let objects = there.keys.keys().filter(|at| there.object(at).is_some()).count() as i64;
        let counted = (usage.bytes, usage.objects, usage.versions, usage.uploading);
        let versions = there.all().count() as i64;
        assert_eq!(counted, (there.bytes(), objects, versions, there.uploading()));
    }

    /// Everything of a version is as the model has it.
    fn same(&self, there: &Shelf, found: &jog::store::Object, kept: &Kept) {
        let bytes = support::read(self.store(), &there.bucket, found, None, 4096).unwrap();
        assert_eq!(bytes.as_ref().expect("its files are there"), kept.bytes.as_ref().unwrap());
        let seen = (found.version_id(), found.etag.as_str(), found.modified_ms);
        assert_eq!(seen, (kept.id, &*kept.etag, kept.modified_ms));
        let extra = &found.extra;
        let seen = (&extra.tags, extra.lock, &extra.acl);
        assert_eq!(seen, (&kept.tags, kept.lock, &kept.acl));
    }
}

fn run(seed: u64) {
    let folder = Folder::in_memory("versions");
    let mut run = Run::new(seed, &folder);
    for _ in 0..STEPS {
        run.step();
    }
    run.store.take().expect("open between two steps").close().unwrap();
    collect(&run.config, "plain").unwrap();
    assert_eq!(audit(folder.path()), Vec::<String>::new(), "seed {seed}");
    run.store = Some(Store::open(run.config.clone()).unwrap());
    for shelf in 0..run.shelves.len() {
        KEYS.iter().for_each(|at| run.look(shelf, at));
    }
}

#[test]
fn random_operations_on_versions_agree_with_the_model() {
    if let Ok(seed) = std::env::var("JOG_MODEL_SEED") {
        return run(seed.parse().expect("JOG_MODEL_SEED is a number"));
    }
    let next = Mutex::new(1..=SEEDS);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().next() else { return };
                    let done = std::panic::catch_unwind(|| run(seed));
                    assert!(done.is_ok(), "JOG_MODEL_SEED={seed} repeats it");
                }
            });
        }
    });
}
