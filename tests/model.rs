//! Random operations against a model: a `BTreeMap` of what the store must hold. Each seed is a run
//! of its own on a new store; `JOG_MODEL_SEED=n` runs that one alone.

#[path = "model/listing.rs"]
mod listing;
#[path = "support/store.rs"]
mod support;

use jog::store::{
    Bucket, Created, Data, Delete, Deleted, Entry, ListQuery, NewBucket, Page, Refused, Store,
    StoreConfig, Stored, Upload,
};
use jog::types::{Condition, ETag, ETagList, Precondition, Span, Violation};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use support::{Folder, Rng, audit, collect, content, key, name, new_bucket};

const SEEDS: u64 = 320;
const STEPS: usize = 200;
const BUCKETS: [&str; 3] = ["alpha", "alpha-2", "b.eta"];

/// What a delete in a bucket without versions says.
fn deleted(existed: bool) -> Deleted {
    Deleted { existed, ..Deleted::default() }
}

/// What must be at a key.
#[derive(Clone, PartialEq, Debug)]
struct Thing {
    bytes: Vec<u8>,
    etag: String,
    modified_ms: i64,
    version: i64,
    parts: bool,
}

#[derive(Clone, Debug)]
struct Unfinished {
    upload: Upload,
    parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Shelf {
    bucket: Bucket,
    things: BTreeMap<String, Thing>,
    /// By key and upload id.
    uploads: BTreeMap<(String, String), Unfinished>,
}

/// The keys of a run: few, so that they meet, and nasty.
fn keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "a/",
        "a/b",
        "a//b",
        "a/b/c",
        "a0",
        "/",
        "//",
        "/a",
        "é",
        "e\u{301}",
        "é/é",
        "\u{10FFFF}x",
        "\u{10FFFF}",
        "a\u{0}b",
        "\u{0}",
        " ",
        "a b",
        "..",
        "../x",
        ".",
        "%2F",
        "a+b",
        "ab::cd",
        "ab::",
        "ab:::cd",
        "::",
        "😀/😀",
        "\u{7f}",
        "\r\n",
        "Ａ",
        "z",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("long/".to_owned() + &"x".repeat(1019));
    keys.push("é".repeat(512));
    keys.push("\u{10FFFF}".repeat(256));
    keys
}

struct Run {
    rng: Rng,
    config: StoreConfig,
    store: Option<Store>,
    shelves: BTreeMap<String, Shelf>,
    /// Buckets that are gone: their number must not work any more.
    gone: Vec<Bucket>,
    keys: Vec<String>,
}

impl Run {
    fn new(seed: u64, folder: &Folder) -> Self {
        let config = folder.config();
        let store = Some(Store::open(config.clone()).unwrap());
        let (rng, shelves, keys) = (Rng::new(seed), BTreeMap::new(), keys());
        let mut run = Self { rng, config, store, shelves, gone: Vec::new(), keys };
        // Most seeds work with some of the keys only, so that more happens at each.
        let keep = 3 + run.rng.below(run.keys.len() - 3);
        while run.keys.len() > keep {
            let at = run.rng.below(run.keys.len());
            run.keys.swap_remove(at);
        }
        run
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open between two steps")
    }

    fn key(&mut self) -> String {
        self.rng.pick(&self.keys).clone()
    }

    /// A shelf's name; `None` if there is no bucket.
    fn shelf(&mut self) -> Option<String> {
        let names: Vec<&String> = self.shelves.keys().collect();
        if names.is_empty() { None } else { Some((*self.rng.pick(&names)).clone()) }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = match self.rng.below(10) {
            0 => 0,
            1 => 1,
            2..=8 => self.rng.below(300),
            _ => self.rng.below(20_000),
        };
        content(self.rng.next(), len)
    }

    fn step(&mut self) {
        let dice = self.rng.below(100);
        match dice {
            0..=2 => return self.create_bucket(),
            3 => return self.delete_bucket(),
            4 => return self.use_gone_bucket(),
            5 => return self.reopen(),
            6 if self.rng.chance(30) => return self.collect(),
            7 => return self.list_buckets(),
            _ => {}
        }
        let Some(shelf) = self.shelf() else { return self.create_bucket() };
        match dice {
            8..=27 => self.put(&shelf),
            28..=45 => self.get(&shelf),
            46..=51 => self.delete(&shelf),
            52..=54 => self.delete_many(&shelf),
            55..=61 => self.copy(&shelf),
            62..=71 => self.list(&shelf),
            72..=75 => self.start(&shelf),
            76..=85 => self.put_part(&shelf),
            86..=91 => self.complete(&shelf),
            92..=93 => self.abort(&shelf),
            94..=97 => self.list_uploads(&shelf),
            _ => self.list_parts(&shelf),
        }
    }

    // ---- buckets and the store as a whole ------------------------------------------------

    fn create_bucket(&mut self) {
        let bucket = *self.rng.pick(&BUCKETS);
        match self
            .store()
            .create_bucket(NewBucket {
                owner: "owner".to_owned(),
                region: "eu".to_owned(),
                ..new_bucket(bucket)
            })
            .unwrap()
        {
            Created::New(new) => {
                assert!(!self.shelves.contains_key(bucket));
                assert!(self.gone.iter().all(|old| old.id != new.id), "a number is used again");
                let (things, uploads) = Default::default();
                self.shelves.insert(bucket.to_owned(), Shelf { bucket: new, things, uploads });
            }
            Created::Exists(found) => assert_eq!(found, self.shelves[bucket].bucket),
        }
    }

    fn delete_bucket(&mut self) {
        let bucket = *self.rng.pick(&BUCKETS);
        let done = self.store().delete_bucket(&name(bucket)).unwrap();
        match self.shelves.get(bucket) {
            None => assert_eq!(done, Err(Refused::NoSuchBucket)),
            Some(shelf) if !shelf.things.is_empty() => {
                assert_eq!(done, Err(Refused::BucketNotEmpty));
            }
            Some(_) => {
                assert_eq!(done, Ok(()));
                self.gone.push(self.shelves.remove(bucket).unwrap().bucket);
            }
        }
    }

    /// What is done to a bucket that is gone finds it gone, also if its name is in use again.
    fn use_gone_bucket(&mut self) {
        let Some(old) = self.gone.last().cloned() else { return };
        let (at, bytes) = (self.key(), self.bytes());
        let store = self.store();
        let put = support::put(store, &old, &at, &bytes, Precondition::default()).unwrap();
        assert_eq!(put.err(), Some(Refused::NoSuchBucket));
        let delete = store.delete_object(old.id, &key(&at), Precondition::default()).unwrap();
        assert_eq!(delete, Err(Refused::NoSuchBucket));
        assert_eq!(support::start(store, &old, &at).unwrap(), Err(Refused::NoSuchBucket));
        assert_eq!(store.object(old.id, &key(&at)).unwrap(), None);
    }

    fn reopen(&mut self) {
        let store = self.store.take().unwrap();
        if self.rng.chance(50) {
            store.close().unwrap();
        }
        drop(store);
        self.store = Some(Store::open(self.config.clone()).unwrap());
    }

    fn collect(&mut self) {
        drop(self.store.take());
        collect(&self.config, BUCKETS[0]).unwrap();
        self.store = Some(Store::open(self.config.clone()).unwrap());
    }

    fn list_buckets(&mut self) {
        let prefix = *self.rng.pick(&["", "a", "alpha", "alpha-", "b", "x"]);
        let after = *self.rng.pick(&["", "alpha", "alpha-1", "b", "z"]);
        let max = 1 + self.rng.below(3);
        let found = self.store().buckets(prefix, after, max).unwrap();
        let expected = self
            .shelves
            .values()
            .map(|shelf| &shelf.bucket)
            .filter(|b| b.name.as_str().starts_with(prefix) && b.name.as_str() > after);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected.take(max).collect::<Vec<_>>());
        for bucket in BUCKETS {
            let found = self.store().bucket(&name(bucket)).unwrap();
            assert_eq!(found.as_deref(), self.shelves.get(bucket).map(|shelf| &shelf.bucket));
        }
    }

    // ---- objects -------------------------------------------------------------------------

    /// A precondition, and what the model says of it.
    fn precondition(&mut self, shelf: &str, at: &str) -> (Precondition, Option<Refused>) {
        let now = self.shelves[shelf].things.get(at).cloned();
        let mut tag = || match (&now, self.rng.below(4)) {
            (Some(thing), 0 | 1) => ETagList::parse(&format!("\"no\", \"{}\"", thing.etag)),
            (_, 2) => ETagList::Any,
            _ => ETagList::Tags(vec![ETag::from_text("other")]),
        };
        let (one, other) = (tag(), tag());
        let mut if_ = Precondition::default();
        match self.rng.below(12) {
            0 | 1 => if_.if_match = Some(one),
            2 | 3 => if_.if_none_match = Some(one),
            4 => (if_.if_match, if_.if_none_match) = (Some(one), Some(other)),
            5 => if_.if_size = Some(now.as_ref().map_or(5, |t| t.bytes.len() as u64)),
            6 => if_.if_size = Some(1),
            7 => if_.if_modified_time = now.as_ref().map(|t| t.modified_ms / 1000),
            8 => if_.if_modified_time = Some(1),
            _ => {}
        }
        let matches = |list: &Option<ETagList>, thing: &Thing| {
            list.as_ref().map(|list| match list {
                ETagList::Any => true,
                ETagList::Tags(tags) => tags.iter().any(|tag| tag.as_str() == thing.etag),
            })
        };
        let violation = match &now {
            None => {
                let needs = if_.if_match.is_some() || if_.if_size.is_some();
                (needs || if_.if_modified_time.is_some()).then_some(Violation::Missing)
            }
            Some(thing) => {
                let time = if_.if_modified_time.is_some_and(|t| t != thing.modified_ms / 1000);
                let size = if_.if_size.is_some_and(|s| s != thing.bytes.len() as u64);
                [
                    (matches(&if_.if_match, thing) == Some(false), Condition::Match),
                    (matches(&if_.if_none_match, thing) == Some(true), Condition::NoneMatch),
                    (time, Condition::ModifiedTime),
                    (size, Condition::Size),
                ]
                .into_iter()
                .find_map(|(fails, condition)| fails.then_some(Violation::Failed(condition)))
            }
        };
        (if_, violation.map(Refused::Precondition))
    }

    /// What a write did; the model takes it.
    fn wrote(&mut self, shelf: &str, at: &str, bytes: Vec<u8>, etag: String, stored: &Stored) {
        let parts = etag.contains('-');
        let Stored { modified_ms, version, version_id } = *stored;
        assert_eq!(version_id, None, "the bucket has no versions");
        let thing = Thing { bytes, etag, modified_ms, version, parts };
        let old = self.shelves.get_mut(shelf).unwrap().things.insert(at.to_owned(), thing);
        if let Some(old) = old {
            assert!(version > old.version, "versions grow");
        }
    }

    fn put(&mut self, shelf: &str) {
        let (at, bytes) = (self.key(), self.bytes());
        let (if_, refused) = self.precondition(shelf, &at);
        let bucket = &self.shelves[shelf].bucket;
        match support::put(self.store(), bucket, &at, &bytes, if_).unwrap() {
            Ok(stored) => {
                assert_eq!(refused, None);
                let etag = hex::encode(support::md5(&bytes));
                self.wrote(shelf, &at, bytes, etag, &stored);
            }
            Err(found) => assert_eq!(Some(found), refused),
        }
    }

    fn get(&mut self, shelf: &str) {
        let at = self.key();
        let (step, rare) = (1 + self.rng.below(5000), self.rng.chance(30));
        let (dice, other) = (self.rng.next() as usize, self.rng.next() as usize);
        let Shelf { bucket, things, .. } = &self.shelves[shelf];
        let found = self.store().object(bucket.id, &key(&at)).unwrap();
        let Some(thing) = things.get(&at) else { return assert_eq!(found, None) };
        let found = found.expect("the model has it");
        assert_eq!(found.etag.as_str(), thing.etag);
        assert_eq!((found.version, found.modified_ms), (thing.version, thing.modified_ms));
        assert_eq!(found.size, thing.bytes.len() as u64);
        assert_eq!(matches!(found.data, Data::Parts(_)), thing.parts);
        let (mut span, mut range) = (None, 0..thing.bytes.len());
        if rare && !thing.bytes.is_empty() {
            let start = dice % thing.bytes.len();
            let len = 1 + other % (thing.bytes.len() - start);
            span = Some(Span { start: start as u64, len: len as u64 });
            range = start..start + len;
        }
        let bytes = support::read(self.store(), bucket, &found, span, step).unwrap();
        assert!(bytes.expect("its files are there") == thing.bytes[range], "{at:?}: the bytes");
    }

    fn delete(&mut self, shelf: &str) {
        let at = self.key();
        let (if_, refused) = self.precondition(shelf, &at);
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_object(bucket, &key(&at), if_).unwrap();
        let things = &mut self.shelves.get_mut(shelf).unwrap().things;
        match refused {
            Some(refused) => assert_eq!(done, Err(refused)),
            None => assert_eq!(done, Ok(deleted(things.remove(&at).is_some()))),
        }
    }

    fn delete_many(&mut self, shelf: &str) {
        let count = self.rng.below(5);
        let mut expected = Vec::new();
        let mut keys = Vec::new();
        let mut seen = BTreeSet::new();
        for _ in 0..count {
            let at = self.key();
            // The second time the same key comes, it is gone already.
            let first = seen.insert(at.clone());
            let (if_, refused) = match first {
                true => self.precondition(shelf, &at),
                false => (Precondition::default(), None),
            };
            expected.push((at.clone(), refused));
            keys.push((key(&at), Delete::from(if_)));
        }
        let bucket = self.shelves[shelf].bucket.id;
        let done = self.store().delete_objects(bucket, keys).unwrap().unwrap();
        let things = &mut self.shelves.get_mut(shelf).unwrap().things;
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(at, refused)| {
                refused.map_or_else(|| Ok(deleted(things.remove(&at).is_some())), Err)
            })
            .collect();
        assert_eq!(done, expected);
    }

    fn copy(&mut self, shelf: &str) {
        let (source, at) = (self.key(), self.key());
        let target = self.shelf().expect("there is one");
        let (from, to) = (&self.shelves[shelf].bucket, &self.shelves[&target].bucket);
        let done = support::copy(self.store(), (from, &source), (to, &at)).unwrap();
        match self.shelves[shelf].things.get(&source).cloned() {
            None => assert_eq!(done, None),
            Some(thing) => {
                let stored = done.expect("the source is there");
                self.wrote(&target, &at, thing.bytes, thing.etag, &stored);
            }
        }
    }

    // ---- uploads -------------------------------------------------------------------------

    fn start(&mut self, shelf: &str) {
        let at = self.key();
        let upload = support::start(self.store(), &self.shelves[shelf].bucket, &at);
        let upload = upload.unwrap().unwrap();
        let id = (at, upload.upload_id.clone());
        let new = Unfinished { upload, parts: BTreeMap::new() };
        assert!(self.shelves.get_mut(shelf).unwrap().uploads.insert(id, new).is_none());
    }

    fn any_upload(&mut self, shelf: &str) -> Option<(String, String)> {
        let ids: Vec<_> = self.shelves[shelf].uploads.keys().cloned().collect();
        if ids.is_empty() { None } else { Some(self.rng.pick(&ids).clone()) }
    }

    fn put_part(&mut self, shelf: &str) {
        let Some(id) = self.any_upload(shelf) else { return self.start(shelf) };
        let number = *self.rng.pick(&[1, 2, 3, 4, 7, 9_999, 10_000]);
        let bytes = self.bytes();
        let Shelf { bucket, uploads, .. } = &self.shelves[shelf];
        let upload = &uploads[&id].upload;
        support::put_part(self.store(), bucket, upload, number, &bytes).unwrap().unwrap();
        let uploads = &mut self.shelves.get_mut(shelf).unwrap().uploads;
        uploads.get_mut(&id).unwrap().parts.insert(number, bytes);
    }

    fn complete(&mut self, shelf: &str) {
        let Some(id) = self.any_upload(shelf) else { return self.start(shelf) };
        let Unfinished { upload, parts } = self.shelves[shelf].uploads[&id].clone();
        let all = self.rng.chance(60);
        let numbers: Vec<u32> =
            parts.keys().copied().filter(|_| all || self.rng.chance(60)).collect();
        if numbers.is_empty() {
            return;
        }
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| parts[n].clone()).collect();
        let (if_, mut refused) = self.precondition(shelf, &id.0);
        let bucket = self.shelves[shelf].bucket.clone();
        let stale = self.rng.chance(10);
        let done = if stale {
            // As read before the last part came, which is the same as before.
            refused = Some(Refused::PartsChanged);
            let old = self.store().upload(bucket.id, &key(&id.0), &id.1).unwrap().unwrap();
            let (number, part) = (numbers[0], &parts[&numbers[0]]);
            support::put_part(self.store(), &bucket, &old, number, part).unwrap().unwrap();
            let new = support::new_object(&id.0, &bytes, jog::store::NewData::Empty);
            self.store().complete_upload(bucket.id, &old, numbers.clone(), new, if_).unwrap()
        } else {
            support::complete(self.store(), &bucket, &upload, &numbers, &bytes, if_).unwrap()
        };
        match done {
            Err(found) => assert_eq!(Some(found), refused),
            Ok(stored) => {
                assert_eq!(refused, None);
                let etag = format!("{}-{}", hex::encode(support::md5(&bytes)), numbers.len());
                let found = self.store().completed(bucket.id, &key(&id.0), &id.1).unwrap();
                assert_eq!(found.expect("it is remembered").etag.as_str(), etag);
                self.wrote(shelf, &id.0, bytes, etag, &stored);
                self.shelves.get_mut(shelf).unwrap().uploads.remove(&id);
                self.is_gone(&bucket, &id);
            }
        }
    }

    fn abort(&mut self, shelf: &str) {
        let Some(id) = self.any_upload(shelf) else { return };
        let bucket = self.shelves[shelf].bucket.clone();
        let done = self.store().abort_upload(bucket.id, &key(&id.0), &id.1).unwrap();
        assert_eq!(done, Ok(()));
        self.shelves.get_mut(shelf).unwrap().uploads.remove(&id);
        self.is_gone(&bucket, &id);
    }

    fn is_gone(&self, bucket: &Bucket, (at, id): &(String, String)) {
        assert_eq!(self.store().upload(bucket.id, &key(at), id).unwrap(), None);
        let again = self.store().abort_upload(bucket.id, &key(at), id).unwrap();
        assert_eq!(again, Err(Refused::NoSuchUpload));
    }

    fn list_parts(&mut self, shelf: &str) {
        let Some(id) = self.any_upload(shelf) else { return };
        let (after, max) = (*self.rng.pick(&[0, 1, 2, 7, 10_000]), 1 + self.rng.below(4));
        let Shelf { bucket, uploads, .. } = &self.shelves[shelf];
        let Unfinished { parts, .. } = &uploads[&id];
        let upload = self.store().upload(bucket.id, &key(&id.0), &id.1).unwrap().unwrap();
        let found = self.store().parts(upload.manifest, after, max).unwrap();
        let found: Vec<_> = found.iter().map(|p| (p.number, p.size, p.md5, p.crc64)).collect();
        let expected = parts.iter().filter(|(n, _)| **n > after).take(max);
        let expected: Vec<_> =
            expected.map(|(n, b)| (*n, b.len() as u64, support::md5(b), support::crc(b))).collect();
        assert_eq!(found, expected);
    }
}

fn run(seed: u64) {
    let folder = Folder::in_memory("model");
    let mut run = Run::new(seed, &folder);
    for _ in 0..STEPS {
        run.step();
    }
    run.reopen();
    assert_eq!(audit(folder.path()), Vec::<String>::new());
    for shelf in run.shelves.keys().cloned().collect::<Vec<_>>() {
        run.list(&shelf);
        run.list_uploads(&shelf);
    }
}

#[test]
fn random_operations_agree_with_the_model() {
    if let Ok(seed) = std::env::var("JOG_MODEL_SEED") {
        return run(seed.parse().expect("JOG_MODEL_SEED is a number"));
    }
    let next = Mutex::new(0..SEEDS);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().next() else { return };
                    let done = std::panic::catch_unwind(|| run(seed));
                    if done.is_err() {
                        panic!("the failure is that of JOG_MODEL_SEED={seed}");
                    }
                }
            });
        }
    });
}

#[test]
fn every_span_of_an_object_of_many_parts() {
    let folder = Folder::new("model-spans");
    let store = Store::open(StoreConfig::new(folder.path())).unwrap();
    let bucket = support::bucket(&store, "spans");
    let parts: Vec<Vec<u8>> = (0..40).map(|n| vec![n; usize::from(n) % 5 + 1]).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    support::put_parts(&store, &bucket, "m", &slices).unwrap();
    let (whole, object) = (parts.concat(), store.object(bucket.id, &key("m")).unwrap().unwrap());
    for start in 0..whole.len() {
        for len in [1, 2, 17, whole.len() - start] {
            let len = len.min(whole.len() - start);
            let span = Some(Span { start: start as u64, len: len as u64 });
            let bytes = support::read(&store, &bucket, &object, span, 5).unwrap().unwrap();
            assert_eq!(bytes, whole[start..start + len], "{len} bytes from {start}");
        }
    }
}
