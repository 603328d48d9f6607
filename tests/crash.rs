//! A crash at each file-system call. A fixed script runs on a store whose n-th call fails, and all
//! later ones with it; then the store is dropped as it is and opened again. What was acknowledged
//! must be there, what failed must be there wholly or not at all, and nothing may be left behind.

#[path = "support/store.rs"]
mod support;

use jog::store::{
    Bucket, BucketChange, Data, Delete, Entry, Fault, Found, ListQuery, OpenError, Store,
    StoreConfig, StoreError,
};
use jog::types::{Precondition, Versioning};
use std::collections::{BTreeMap, BTreeSet};
use support::{Folder, audit, collect, content, crc, get, key, name, rows};

/// Bytes, told apart by length and CRC.
type Print = (usize, u64);

/// A part: its number, and seed and length of its content.
type PartOf = (u32, u64, usize);

/// What clients can see of a store.
#[derive(Clone, Default, PartialEq, Debug)]
struct World {
    buckets: BTreeSet<String>,
    objects: BTreeMap<(String, String), Print>,
    uploads: BTreeMap<(String, String), BTreeMap<u32, Print>>,
    /// Buckets that keep versions.
    kept: BTreeSet<String>,
    /// The versions in them, newest first; `None`: a delete marker.
    versions: BTreeMap<(String, String), Vec<Option<Print>>>,
}

/// One acknowledged operation.
#[derive(Clone, Copy, Debug)]
enum Step {
    CreateBucket(&'static str),
    DeleteBucket(&'static str),
    Put(&'static str, &'static str, u64, usize),
    /// The same, encrypted.
    Seal(&'static str, &'static str, u64, usize),
    /// Bytes whose request is still running when the crash comes.
    InFlight(&'static str, usize),
    Start(&'static str, &'static str),
    PutPart(&'static str, &'static str, PartOf),
    Complete(&'static str, &'static str, &'static [PartOf]),
    Abort(&'static str, &'static str),
    Copy(&'static str, &'static str, &'static str, &'static str),
    Delete(&'static str, &'static str),
    DeleteAll(&'static str, &'static [&'static str]),
    /// The bucket keeps versions from now on.
    Keep(&'static str),
    /// The newest version of a key is removed for good.
    DropNewest(&'static str, &'static str),
    Reopen,
    Collect,
}

use Step::*;

const PARTS: &[PartOf] = &[(1, 21, 70_000), (2, 25, 40_000), (3, 23, 1)];

const SCRIPT: &[Step] = &[
    CreateBucket("one"),
    CreateBucket("two"),
    Put("one", "small", 1, 10),
    Put("one", "large", 2, 300 * 1024),
    Put("one", "empty", 3, 0),
    InFlight("one", 5000),
    Put("one", "small", 4, 11),
    Start("one", "parts"),
    PutPart("one", "parts", (1, 21, 70_000)),
    PutPart("one", "parts", (2, 22, 50_000)),
    PutPart("one", "parts", (3, 23, 1)),
    PutPart("one", "parts", (4, 24, 7)),
    PutPart("one", "parts", (5, 0, 0)),
    PutPart("one", "parts", (2, 25, 40_000)),
    Complete("one", "parts", PARTS),
    Copy("one", "large", "two", "copy"),
    Copy("one", "parts", "two", "parts copy"),
    Copy("one", "empty", "two", "empty copy"),
    Delete("one", "small"),
    Put("one", "parts", 5, 12),
    Reopen,
    InFlight("two", 200_000),
    Start("two", "aborted"),
    PutPart("two", "aborted", (7, 31, 9)),
    Start("two", "left"),
    PutPart("two", "left", (2, 32, 900)),
    Abort("two", "aborted"),
    Delete("two", "no such key"),
    DeleteAll("two", &["copy", "no such key", "empty copy"]),
    Collect,
    Put("one", "after", 6, 100),
    Put("two", "parts copy", 7, 100),
    DeleteAll("two", &["parts copy"]),
    DeleteBucket("two"),
    Collect,
    CreateBucket("two"),
    Put("two", "again", 8, 13),
    Reopen,
    Keep("two"),
    Put("two", "again", 9, 14),
    Put("two", "again", 10, 0),
    Delete("two", "again"),
    Copy("one", "large", "two", "again"),
    DropNewest("two", "again"),
    DropNewest("two", "again"),
    DropNewest("two", "again"),
    Delete("two", "never"),
    Seal("two", "sealed", 11, 70_000),
    Seal("two", "sealed", 12, 30),
    Copy("two", "sealed", "two", "again"),
    DropNewest("two", "sealed"),
    Seal("one", "large", 13, 200),
    Collect,
];

fn at(bucket: &str, key: &str) -> (String, String) {
    (bucket.to_owned(), key.to_owned())
}

fn print(bytes: &[u8]) -> Print {
    (bytes.len(), crc(bytes))
}

fn of_parts(parts: &[PartOf]) -> Vec<u8> {
    parts.iter().flat_map(|(_, seed, len)| content(*seed, *len)).collect()
}

impl World {
    /// The world after a step.
    fn after(&self, step: Step) -> Self {
        let mut next = self.clone();
        match step {
            CreateBucket(bucket) => {
                next.buckets.insert(bucket.to_owned());
            }
            DeleteBucket(bucket) => {
                next.buckets.remove(bucket);
                next.uploads.retain(|(of, _), _| of != bucket);
            }
            Put(bucket, key, seed, len) | Seal(bucket, key, seed, len) => {
                next.add(bucket, key, print(&content(seed, len)));
            }
            Start(bucket, key) => {
                next.uploads.insert(at(bucket, key), BTreeMap::new());
            }
            PutPart(bucket, key, (number, seed, len)) => {
                let upload = next.uploads.get_mut(&at(bucket, key)).unwrap();
                upload.insert(number, print(&content(seed, len)));
            }
            Complete(bucket, key, parts) => {
                next.uploads.remove(&at(bucket, key));
                next.add(bucket, key, print(&of_parts(parts)));
            }
            Abort(bucket, key) => {
                next.uploads.remove(&at(bucket, key));
            }
            Copy(from, source, to, target) => {
                let bytes = next.objects[&at(from, source)];
                next.add(to, target, bytes);
            }
            Delete(bucket, key) => {
                next.objects.remove(&at(bucket, key));
                if next.kept.contains(bucket) {
                    next.versions.entry(at(bucket, key)).or_default().insert(0, None);
                }
            }
            Keep(bucket) => {
                next.kept.insert(bucket.to_owned());
                for (of, bytes) in next.objects.iter().filter(|((of, _), _)| of == bucket) {
                    next.versions.insert(of.clone(), vec![Some(*bytes)]);
                }
            }
            DropNewest(bucket, key) => {
                let versions = next.versions.get_mut(&at(bucket, key)).unwrap();
                versions.remove(0);
                match versions.first() {
                    Some(Some(bytes)) => next.objects.insert(at(bucket, key), *bytes),
                    _ => next.objects.remove(&at(bucket, key)),
                };
            }
            DeleteAll(bucket, keys) => {
                next.objects.retain(|(of, key), _| of != bucket || !keys.contains(&key.as_str()));
            }
            InFlight(..) | Reopen | Collect => {}
        }
        next
    }

    /// An object is written.
    fn add(&mut self, bucket: &str, key: &str, bytes: Print) {
        self.objects.insert(at(bucket, key), bytes);
        if self.kept.contains(bucket) {
            self.versions.entry(at(bucket, key)).or_default().insert(0, Some(bytes));
        }
    }

    /// Reads the versions of a bucket that keeps them.
    fn read_versions(&mut self, store: &Store, bucket: &Bucket, all: &ListQuery) {
        self.kept.insert(bucket.name.as_str().to_owned());
        for entry in store.list_versions(all, None).unwrap().entries {
            let Entry::Item(version) = entry else { panic!("no delimiter, no prefix") };
            let key = &version.summary.key;
            let bytes = match store.version(bucket.id, key, version.version_id).unwrap() {
                Some(Found::Object(object)) => {
                    let bytes = support::read(store, bucket, &object, None, 4096).unwrap();
                    Some(print(&bytes.expect("its file is there")))
                }
                Some(Found::Marker(_)) => None,
                None => panic!("it is listed"),
            };
            let at = at(bucket.name.as_str(), key.as_str());
            self.versions.entry(at).or_default().push(bytes);
        }
    }

    /// The world that a store shows.
    fn of(store: &Store) -> Self {
        let mut world = Self::default();
        for bucket in store.buckets("", "", 100).unwrap() {
            let all = || ListQuery {
                bucket: bucket.id,
                prefix: String::new(),
                delimiter: None,
                after: None,
                max: 1000,
            };
            for entry in &store.list(&all()).unwrap().entries {
                let Entry::Item(item) = entry else { panic!("no delimiter, no prefix") };
                let bytes = get(store, &bucket, item.key.as_str()).expect("it is listed");
                world.objects.insert(at(bucket.name.as_str(), item.key.as_str()), print(&bytes));
            }
            for entry in store.list_uploads(&all(), None).unwrap().entries {
                let Entry::Item(upload) = entry else { panic!("no delimiter, no prefix") };
                let parts = store.parts(upload.manifest, 0, 1000).unwrap();
                let parts = parts.iter().map(|p| (p.number, (p.size as usize, p.crc64))).collect();
                world.uploads.insert(at(bucket.name.as_str(), upload.key.as_str()), parts);
            }
            if bucket.versioning != Versioning::Unversioned {
                world.read_versions(store, &bucket, &all());
            }
            world.buckets.insert(bucket.name.as_str().to_owned());
        }
        world
    }
}

/// A run of the script. The store is there unless opening it failed.
struct Run {
    config: StoreConfig,
    store: Option<Store>,
}

fn open(config: &StoreConfig) -> Result<Store, StoreError> {
    match Store::open(config.clone()) {
        Ok(store) => Ok(store),
        Err(OpenError::Store(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

impl Run {
    fn step(&mut self, step: Step) -> Result<(), StoreError> {
        match step {
            Reopen => {
                self.store.take().unwrap().close()?;
                self.store = Some(open(&self.config)?);
                return Ok(());
            }
            Collect => {
                self.store.take().unwrap().close()?;
                collect(&self.config, "one")?;
                self.store = Some(open(&self.config)?);
                return Ok(());
            }
            _ => {}
        }
        let store = self.store.as_ref().unwrap();
        let bucket = |text: &str| store.bucket(&name(text)).unwrap().expect("it was made");
        let upload = |of: &str, at: &str| support::open_upload(store, &bucket(of), at);
        match step {
            CreateBucket(b) => store.create_bucket(support::new_bucket(b)).map(|_| ()),
            DeleteBucket(b) => store.delete_bucket(&name(b)).map(|done| done.unwrap()),
            Put(b, k, seed, len) => {
                let bytes = content(seed, len);
                support::put(store, &bucket(b), k, &bytes, Precondition::default())?.unwrap();
                Ok(())
            }
            Seal(b, k, seed, len) => {
                support::put_sealed(store, &bucket(b), k, &content(seed, len))?.unwrap();
                Ok(())
            }
            InFlight(b, len) => {
                let mut writer = store.create_blob(&name(b), None)?;
                let written = writer.write(&content(99, len));
                std::mem::forget(writer);
                written
            }
            Start(b, k) => support::start(store, &bucket(b), k).map(|done| drop(done.unwrap())),
            PutPart(b, k, (number, seed, len)) => {
                let bytes = content(seed, len);
                support::put_part(store, &bucket(b), &upload(b, k), number, &bytes)?.unwrap();
                Ok(())
            }
            Complete(b, k, parts) => {
                let numbers: Vec<u32> = parts.iter().map(|(number, ..)| *number).collect();
                let (bytes, if_) = (of_parts(parts), Precondition::default());
                support::complete(store, &bucket(b), &upload(b, k), &numbers, &bytes, if_)?
                    .unwrap();
                Ok(())
            }
            Abort(b, k) => {
                let id = upload(b, k).upload_id;
                store.abort_upload(bucket(b).id, &key(k), &id).map(|done| done.unwrap())
            }
            Copy(from, source, to, target) => {
                let (from, to) = (bucket(from), bucket(to));
                support::copy(store, (&from, source), (&to, target))?.expect("it is there");
                Ok(())
            }
            Keep(b) => {
                let keep = BucketChange::Versioning(Versioning::Enabled);
                store.change_bucket(bucket(b).id, keep).map(|done| done.unwrap())
            }
            DropNewest(b, k) => {
                let bucket = bucket(b);
                let version = match store.latest(&bucket, &key(k))? {
                    Some(Found::Object(object)) => object.version_id(),
                    Some(Found::Marker(marker)) => marker.version_id,
                    None => panic!("it was made"),
                };
                let delete = Delete { version: Some(version), ..Delete::default() };
                store.delete_object(bucket.id, &key(k), delete)?.unwrap();
                Ok(())
            }
            Delete(b, k) => {
                store.delete_object(bucket(b).id, &key(k), Precondition::default())?.unwrap();
                Ok(())
            }
            DeleteAll(b, keys) => {
                let keys = keys.iter().map(|k| (key(k), Delete::default())).collect();
                store.delete_objects(bucket(b).id, keys).map(|done| drop(done.unwrap()))
            }
            Reopen | Collect => unreachable!("done above"),
        }
    }

    /// Runs the script up to the first failure; gives the worlds before and after the step that
    /// failed, or the same world twice.
    fn script(&mut self) -> (World, World, Option<Step>) {
        let mut world = World::default();
        match open(&self.config) {
            Ok(store) => self.store = Some(store),
            Err(_) => return (world.clone(), world, None),
        }
        for &step in SCRIPT {
            let next = world.after(step);
            if self.step(step).is_err() {
                return (world, next, Some(step));
            }
            world = next;
        }
        (world.clone(), world, None)
    }
}

/// New objects can be written, read and removed.
fn still_works(store: &Store) {
    let bucket = support::bucket(store, "usable");
    support::put_ok(store, &bucket, "new", b"new bytes");
    assert_eq!(get(store, &bucket, "new").as_deref(), Some(&b"new bytes"[..]));
    support::put_parts(store, &bucket, "parts", &[b"a", b"b"]).unwrap();
    assert_eq!(get(store, &bucket, "parts").as_deref(), Some(&b"ab"[..]));
    for at in ["new", "parts"] {
        store.delete_object(bucket.id, &key(at), Precondition::default()).unwrap().unwrap();
    }
    store.delete_bucket(&bucket.name).unwrap().unwrap();
}

/// A crash at call `n`; whether there was such a call.
fn crash_at(n: i64, durable: bool) -> bool {
    let folder = if durable { Folder::new("crash") } else { Folder::in_memory("crash") };
    let fault = Fault::after(n);
    let faulty = StoreConfig { durable, fault: Some(fault.clone()), ..folder.config() };
    let mut run = Run { config: faulty, store: None };
    let (before, after, step) = run.script();
    drop(run);
    let context = format!("call {n}, durable {durable}, step {step:?}");
    assert!(fault.hit() || step.is_none(), "{context}: it failed without a fault");

    // A crash while the store recovers from the crash.
    let config = folder.config();
    drop(open(&StoreConfig { fault: Some(Fault::after(n % 9)), ..config.clone() }));

    let store = open(&config).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(audit(folder.path()), Vec::<String>::new(), "{context}");
    let world = World::of(&store);
    if world != before && world != after {
        panic!("{context}:\nfound  {world:?}\nbefore {before:?}\nafter  {after:?}");
    }
    still_works(&store);
    assert_eq!(World::of(&store), world, "{context}");
    store.close().unwrap();
    drop(store);

    collect(&config, "one").unwrap();
    let store = open(&config).unwrap();
    assert_eq!(audit(folder.path()), Vec::<String>::new(), "{context}");
    assert_eq!(rows(folder.path(), "SELECT count(*) FROM garbage"), 0, "{context}");
    assert_eq!(World::of(&store), world, "{context}");
    fault.hit()
}

fn crash_everywhere(durable: bool) {
    let calls = (0..).take_while(|n| crash_at(*n, durable)).count();
    println!("{calls} calls, durable: {durable}");
    assert!(calls > SCRIPT.len(), "only {calls} calls were seen");
}

#[test]
fn a_crash_at_any_call_durable() {
    crash_everywhere(true);
}

#[test]
fn a_crash_at_any_call_not_durable() {
    crash_everywhere(false);
}

/// The upkeep thread meets the fault while it removes files.
#[test]
fn a_crash_while_garbage_is_collected() {
    for n in 0.. {
        let folder = Folder::new("crash-upkeep");
        let config = folder.config();
        let store = open(&config).unwrap();
        let bucket = support::bucket(&store, "one");
        for seed in 0..5 {
            support::put_ok(&store, &bucket, "over", &content(seed, 1000));
            let (a, b) = (content(seed + 10, 500), content(seed + 20, 300));
            support::put_parts(&store, &bucket, "parts", &[&a, &b]).unwrap();
        }
        store.close().unwrap();
        let world = World::of(&store);
        drop(store);

        let fault = Fault::after(n);
        let failing = StoreConfig { fault: Some(fault.clone()), ..config.clone() };
        if let Ok(store) = open(&failing) {
            let store = std::sync::Arc::new(store);
            let thread = support::upkeep(&store);
            support::eventually("all garbage is gone, or the fault came", || {
                fault.hit() || rows(folder.path(), "SELECT count(*) FROM garbage") == 0
            });
            store.close().unwrap();
            thread.join().unwrap();
        }
        let store = open(&config).unwrap();
        assert_eq!(audit(folder.path()), Vec::<String>::new(), "call {n}");
        assert_eq!(World::of(&store), world, "call {n}");
        drop(store);
        collect(&config, "one").unwrap();
        assert_eq!(audit(folder.path()), Vec::<String>::new(), "call {n}");
        assert_eq!(rows(folder.path(), "SELECT count(*) FROM garbage"), 0, "call {n}");
        if !fault.hit() {
            break;
        }
    }
}

/// Without a fault the script ends in the world that the crashes are compared with.
#[test]
fn the_script_ends_as_planned() {
    let folder = Folder::new("crash-none");
    let mut run = Run { config: folder.config(), store: None };
    let (world, _, step) = run.script();
    assert!(step.is_none());
    let store = run.store.unwrap();
    assert_eq!(World::of(&store), world);
    let two = store.bucket(&name("two")).unwrap().unwrap();
    let object = store.object(two.id, &key("again")).unwrap().unwrap();
    assert!(matches!(object.data, Data::Blob(_)));
}
