//! Random operations on buckets with versions, locks, tags, renames and quotas, against a model:
//! of every key the list of its versions, newest first. Each seed is a run of its own;
//! `JOG_MODEL_SEED=n` runs that one alone.

#[path = "versions/edges.rs"]
mod edges;
#[path = "support/store.rs"]
mod support;

use jog::store::{
    Bucket, BucketChange, Change, Delete, Deleted, Entry, Found, ListQuery, NewBucket, Refused,
    Rename, Renamed, Store, StoreConfig,
};
use jog::types::{
    ETagList, Lock, Precondition, Retention, RetentionMode, Tags, VersionId, Versioning, Violation,
};
use std::collections::BTreeMap;
use support::{Folder, Rng, audit, collect, content, get, key, name, new_bucket, put_parts};

const SEEDS: u64 = 160;
const STEPS: usize = 160;
const KEYS: [&str; 7] = ["a", "a/", "a/b", "a/c/d", "b", "é", "z/z"];
/// After every run.
const FAR_MS: i64 = 4_000_000_000_000;

#[derive(Clone, Debug)]
struct Kept {
    id: VersionId,
    /// `None`: a delete marker.
    bytes: Option<Vec<u8>>,
    tags: Tags,
    lock: Lock,
}

struct Shelf {
    bucket: Bucket,
    state: Versioning,
    quota: Option<u64>,
    keys: BTreeMap<String, Vec<Kept>>,
}

impl Shelf {
    fn versions(&self, at: &str) -> &[Kept] {
        self.keys.get(at).map_or(&[], Vec::as_slice)
    }

    /// The bytes of the object at a key.
    fn object(&self, at: &str) -> Option<&Kept> {
        self.versions(at).first().filter(|kept| kept.bytes.is_some())
    }

    fn all(&self) -> impl Iterator<Item = &Kept> {
        self.keys.values().flatten()
    }

    fn bytes(&self) -> i64 {
        self.all().filter_map(|kept| kept.bytes.as_ref()).map(|b| b.len() as i64).sum()
    }

    fn remove(&mut self, at: &str, id: VersionId) -> Option<Kept> {
        let kept = self.keys.get_mut(at)?;
        let place = kept.iter().position(|kept| kept.id == id)?;
        let removed = kept.remove(place);
        if kept.is_empty() {
            self.keys.remove(at);
        }
        Some(removed)
    }

    /// A new newest version; outside of Enabled it takes the place of the null version.
    fn add(&mut self, at: &str, kept: Kept) {
        if self.state != Versioning::Enabled {
            self.remove(at, VersionId::Null);
        }
        self.keys.entry(at.to_owned()).or_default().insert(0, kept);
    }
}

struct Run {
    rng: Rng,
    config: StoreConfig,
    store: Option<Store>,
    shelves: Vec<Shelf>,
}

impl Run {
    fn new(seed: u64, folder: &Folder) -> Self {
        let config = folder.config();
        let store = Store::open(config.clone()).unwrap();
        let mut shelves = Vec::new();
        for (text, lock) in [("plain", false), ("turned", false), ("locked", true)] {
            store.create_bucket(NewBucket { lock, ..new_bucket(text) }).unwrap();
            let bucket = store.bucket(&name(text)).unwrap().unwrap().as_ref().clone();
            let state = if lock { Versioning::Enabled } else { Versioning::Unversioned };
            shelves.push(Shelf { bucket, state, quota: None, keys: BTreeMap::new() });
        }
        Self { rng: Rng::new(seed), config, store: Some(store), shelves }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between two steps")
    }

    /// An id of a version: mostly one that is there.
    fn id(&mut self, shelf: usize, at: &str) -> VersionId {
        let known: Vec<VersionId> = self.shelves[shelf].versions(at).iter().map(|k| k.id).collect();
        match self.rng.below(8) {
            0 => VersionId::Null,
            1 => VersionId::Number(self.rng.next() as i64),
            _ if known.is_empty() => VersionId::Null,
            _ => *self.rng.pick(&known),
        }
    }

    fn step(&mut self) {
        let shelf = self.rng.below(self.shelves.len());
        let at = *self.rng.pick(&KEYS);
        match self.rng.below(20) {
            0..=5 => self.put(shelf, at),
            6 => self.parts(shelf, at),
            7..=8 => self.delete(shelf, at),
            9..=11 => self.delete_version(shelf, at),
            12 => self.delete_many(shelf),
            13..=15 => self.change(shelf, at),
            16 => self.turn(shelf),
            17 => self.rename(shelf, at),
            18 => self.set_quota(shelf),
            _ => self.reopen(),
        }
        self.look(shelf, at);
    }

    fn put(&mut self, shelf: usize, at: &str) {
        let (seed, len) = (self.rng.next(), self.rng.below(400));
        let bytes = content(seed, len);
        let only_new = self.rng.chance(15);
        let if_none_match = only_new.then_some(ETagList::Any);
        let if_ = Precondition { if_none_match, ..Precondition::default() };
        let bucket = self.shelves[shelf].bucket.clone();
        let done = support::put(self.store(), &bucket, at, &bytes, if_).unwrap();
        let there = &mut self.shelves[shelf];
        if only_new && there.object(at).is_some() {
            assert_eq!(done.unwrap_err(), Refused::Precondition(Violation::Failed));
            return;
        }
        if self.over(shelf, at, bytes.len()) {
            assert_eq!(done.unwrap_err(), Refused::QuotaExceeded);
            return;
        }
        let there = &mut self.shelves[shelf];
        let id = done.unwrap().version_id;
        assert_eq!(id.is_some(), there.state == Versioning::Enabled);
        let id = id.unwrap_or(VersionId::Null);
        let kept = Kept { id, bytes: Some(bytes), tags: Tags::default(), lock: Lock::default() };
        there.add(at, kept);
    }

    /// Whether so many new bytes at a key would be too many.
    fn over(&self, shelf: usize, at: &str, len: usize) -> bool {
        let there = &self.shelves[shelf];
        let replaced = match there.state {
            Versioning::Enabled => None,
            _ => there.versions(at).iter().find(|kept| kept.id == VersionId::Null),
        };
        let freed = replaced.and_then(|kept| kept.bytes.as_ref()).map_or(0, Vec::len);
        let growth = len as i64 - freed as i64;
        growth > 0 && there.quota.is_some_and(|quota| there.bytes() + growth > quota as i64)
    }

    fn parts(&mut self, shelf: usize, at: &str) {
        if self.shelves[shelf].quota.is_some() {
            return;
        }
        let parts = [content(self.rng.next(), 150), content(self.rng.next(), 50)];
        let bucket = self.shelves[shelf].bucket.clone();
        put_parts(self.store(), &bucket, at, &[&parts[0], &parts[1]]).unwrap();
        let found = self.store().object(bucket.id, &key(at)).unwrap().unwrap();
        let bytes = Some(parts.concat());
        let id = found.version_id();
        let kept = Kept { id, bytes, tags: Tags::default(), lock: Lock::default() };
        self.shelves[shelf].add(at, kept);
    }

    fn delete(&mut self, shelf: usize, at: &str) {
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_object(bucket, &key(at), Delete::default()).unwrap();
        self.deleted(shelf, at, done.unwrap());
    }

    /// What a delete without a version did.
    fn deleted(&mut self, shelf: usize, at: &str, done: Deleted) {
        let there = &mut self.shelves[shelf];
        assert_eq!(done.existed, there.object(at).is_some(), "{at}");
        if there.state == Versioning::Unversioned {
            assert_eq!((done.version_id, done.marker), (None, false));
            there.remove(at, VersionId::Null);
            return;
        }
        let id = done.version_id.expect("a marker was made");
        assert!(done.marker && (id == VersionId::Null) == (there.state == Versioning::Suspended));
        let kept = Kept { id, bytes: None, tags: Tags::default(), lock: Lock::default() };
        there.add(at, kept);
    }

    fn delete_version(&mut self, shelf: usize, at: &str) {
        let id = self.id(shelf, at);
        let bypass = self.rng.chance(30);
        let delete = Delete { version: Some(id), bypass, ..Delete::default() };
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_object(bucket, &key(at), delete).unwrap();
        self.deleted_version(shelf, at, id, bypass, done);
    }

    fn deleted_version(
        &mut self,
        shelf: usize,
        at: &str,
        id: VersionId,
        bypass: bool,
        done: Result<Deleted, Refused>,
    ) {
        let there = &mut self.shelves[shelf];
        let known = there.versions(at).iter().find(|kept| kept.id == id).cloned();
        if known.as_ref().is_some_and(|kept| kept.lock.protects(0, bypass)) {
            assert_eq!(done, Err(Refused::Locked), "{at} {id}");
            return;
        }
        let done = done.unwrap();
        assert_eq!(done.existed, known.is_some(), "{at} {id}");
        assert_eq!(done.marker, known.is_some_and(|kept| kept.bytes.is_none()));
        there.remove(at, id);
    }

    fn delete_many(&mut self, shelf: usize) {
        let mut jobs = Vec::new();
        for at in KEYS.iter().take(4) {
            let version = self.rng.chance(60).then(|| self.id(shelf, at));
            jobs.push((*at, version));
        }
        let keys = jobs
            .iter()
            .map(|(at, version)| (key(at), Delete { version: *version, ..Delete::default() }))
            .collect();
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_objects(bucket, keys).unwrap().unwrap();
        for ((at, version), done) in jobs.into_iter().zip(done) {
            match version {
                Some(id) => self.deleted_version(shelf, at, id, false, done),
                None => self.deleted(shelf, at, done.unwrap()),
            }
        }
    }

    fn change(&mut self, shelf: usize, at: &str) {
        let asked = self.rng.chance(70).then(|| self.id(shelf, at));
        let mode = *self.rng.pick(&[RetentionMode::Governance, RetentionMode::Compliance]);
        let until_ms = FAR_MS + self.rng.below(3) as i64;
        let new = self.rng.chance(70).then_some(Retention { mode, until_ms });
        let bypass = self.rng.chance(40);
        let on = self.rng.chance(40);
        let tags = Tags::new(vec![("k".to_owned(), self.rng.below(9).to_string())], 10).unwrap();
        let what = self.rng.below(3);
        let change = match what {
            0 => Change::Tags(tags.clone()),
            1 => Change::Retention { new, bypass },
            _ => Change::LegalHold(on),
        };
        let bucket = self.shelves[shelf].bucket.clone();
        let done = self.store().change_version(bucket.id, &key(at), asked, change).unwrap();
        let there = &mut self.shelves[shelf];
        let id = asked.or_else(|| there.object(at).map(|kept| kept.id));
        let kept = there.keys.get_mut(at).and_then(|all| all.iter_mut().find(|k| Some(k.id) == id));
        let Some(kept) = kept else {
            let none = if asked.is_some() { Refused::NoSuchVersion } else { Refused::NoSuchKey };
            assert_eq!(done, Err(none), "{at} {asked:?}");
            return;
        };
        if kept.bytes.is_none() {
            assert_eq!(done, Err(Refused::DeleteMarker));
        } else if what == 0 {
            assert_eq!(done, Ok(kept.id));
            kept.tags = tags;
        } else if !bucket.lock {
            assert_eq!(done, Err(Refused::NoObjectLock));
        } else if what == 2 {
            assert_eq!(done, Ok(kept.id));
            kept.lock.legal_hold = on;
        } else if kept.lock.may_become(new, 0, bypass) {
            assert_eq!(done, Ok(kept.id));
            kept.lock.retention = new;
        } else {
            assert_eq!(done, Err(Refused::Locked));
        }
    }

    /// Turns versioning on or off.
    fn turn(&mut self, shelf: usize) {
        let to = *self.rng.pick(&[Versioning::Enabled, Versioning::Suspended]);
        let bucket = self.shelves[shelf].bucket.clone();
        if bucket.name.as_str() == "plain" {
            return;
        }
        let done = self.store().change_bucket(bucket.id, BucketChange::Versioning(to)).unwrap();
        if bucket.lock && to == Versioning::Suspended {
            assert_eq!(done, Err(Refused::VersioningRequired));
        } else {
            assert_eq!(done, Ok(()));
            self.shelves[shelf].state = to;
            self.shelves[shelf].bucket.versioning = to;
        }
    }

    fn rename(&mut self, shelf: usize, at: &str) {
        let to = *self.rng.pick(&KEYS);
        let bucket = self.shelves[shelf].bucket.id;
        let Some(found) = self.store().object(bucket, &key(at)).unwrap() else { return };
        let stale = self.rng.chance(10);
        let rename = Rename {
            from: key(at),
            version: found.version + i64::from(stale),
            to: key(to),
            if_: Precondition::default(),
            token: None,
        };
        let done = self.store().telling(None).rename_object(bucket, rename).unwrap();
        let there = &mut self.shelves[shelf];
        if there.state != Versioning::Unversioned {
            assert_eq!(done, Err(Refused::VersionsKept));
        } else if stale {
            assert_eq!(done, Ok(Renamed::SourceChanged));
        } else {
            assert_eq!(done, Ok(Renamed::Done));
            let kept = there.remove(at, VersionId::Null).expect("it was found");
            there.add(to, kept);
        }
    }

    fn set_quota(&mut self, shelf: usize) {
        let spare = self.rng.below(500) as u64;
        let there = &mut self.shelves[shelf];
        there.quota = self.rng.chance(40).then(|| there.bytes() as u64 + spare);
        let (bucket, quota) = (there.bucket.id, there.quota);
        self.store().change_bucket(bucket, BucketChange::Quota(quota)).unwrap().unwrap();
    }

    fn reopen(&mut self) {
        self.store.take().expect("open between two steps").close().unwrap();
        self.store = Some(Store::open(self.config.clone()).unwrap());
    }

    /// Everything that can be seen of a bucket, and of one key in it.
    fn look(&mut self, shelf: usize, at: &str) {
        let page = 1 + self.rng.below(6);
        let prefix = *self.rng.pick(&["", "", "a", "a/", "z"]);
        let there = &self.shelves[shelf];
        let store = self.store();
        let bucket = store.bucket(&there.bucket.name).unwrap().unwrap();
        assert_eq!(bucket.versioning, there.state);

        let latest = store.latest(&bucket, &key(at)).unwrap();
        match (latest, there.versions(at).first()) {
            (None, None) => {}
            (Some(Found::Object(found)), Some(kept)) => {
                assert_eq!(Some(&self.read(there, &found)), kept.bytes.as_ref());
                assert_eq!(found.version_id(), kept.id);
                let current = store.object(bucket.id, &key(at)).unwrap();
                assert_eq!(current.as_ref(), Some(&*found));
            }
            (Some(Found::Marker(marker)), Some(kept)) => {
                assert_eq!((marker.version_id, &kept.bytes), (kept.id, &None));
                assert_eq!(store.object(bucket.id, &key(at)).unwrap(), None);
            }
            (found, kept) => panic!("{at}: {found:?} for {kept:?}"),
        }
        for kept in there.versions(at) {
            match store.version(bucket.id, &key(at), kept.id).unwrap() {
                Some(Found::Object(found)) => {
                    assert_eq!(Some(&self.read(there, &found)), kept.bytes.as_ref());
                    assert_eq!((&found.extra.tags, found.extra.lock), (&kept.tags, kept.lock));
                }
                Some(Found::Marker(_)) => assert_eq!(kept.bytes, None),
                None => panic!("{at} {} is gone", kept.id),
            }
        }
        self.list(there, prefix, page);
        let usage = store.usage(bucket.id).unwrap();
        let objects = there.keys.keys().filter(|at| there.object(at).is_some()).count();
        let counted = (usage.bytes, usage.objects, usage.versions, usage.uploading);
        assert_eq!(counted, (there.bytes(), objects as i64, there.all().count() as i64, 0));
    }

    fn read(&self, there: &Shelf, object: &jog::store::Object) -> Vec<u8> {
        let bytes = support::read(self.store(), &there.bucket, object, None, 4096).unwrap();
        bytes.expect("its files are there")
    }

    fn list(&self, there: &Shelf, prefix: &str, page: usize) {
        let (mut found, mut after) = (Vec::new(), (None, None));
        loop {
            let query = ListQuery {
                bucket: there.bucket.id,
                prefix: prefix.to_owned(),
                delimiter: None,
                after: after.0.clone(),
                max: page,
            };
            let got = self.store().list_versions(&query, after.1).unwrap();
            for entry in got.entries {
                let Entry::Item(version) = entry else { panic!("no delimiter was given") };
                let at = version.summary.key.as_str().to_owned();
                after = (Some(at.clone()), Some(version.version_id));
                found.push((at, version.version_id, version.marker, version.latest));
            }
            if !got.truncated {
                break;
            }
        }
        let mut expected = Vec::new();
        for (at, kept) in there.keys.iter().filter(|(at, _)| at.starts_with(prefix)) {
            for (place, kept) in kept.iter().enumerate() {
                expected.push((at.clone(), kept.id, kept.bytes.is_none(), place == 0));
            }
        }
        assert_eq!(found, expected, "prefix {prefix:?}, pages of {page}");
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
}

#[test]
fn random_operations_on_versions_agree_with_the_model() {
    let one = std::env::var("JOG_MODEL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = one.map_or_else(|| (1..=SEEDS).collect(), |seed| vec![seed]);
    for seed in seeds {
        let done = std::panic::catch_unwind(|| run(seed));
        assert!(done.is_ok(), "JOG_MODEL_SEED={seed} repeats it");
    }
}
