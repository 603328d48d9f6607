//! kill -9 under load. A child process hammers a store from several threads and says after each
//! acknowledged operation that it was; the parent kills it at a random moment, opens the same
//! directory, and compares. What each thread does follows from a seed, so the parent knows what
//! its first so many operations were: those that were acknowledged must have happened, the one
//! after them may have, and nothing else.

#[path = "support/store.rs"]
mod support;

use jog::store::{
    Bucket, BucketChange, Delete, Entry, Found, ListQuery, Store, StoreConfig, Version,
};
use jog::types::{Precondition, Versioning};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use support::{Rng, audit, collect, content, crc, key};

const THREADS: usize = 8;
const ROUNDS: u64 = 12;
const KEYS: usize = 6;
/// Tells a process of this binary that it is the child: directory, seed, durability.
const ROLE: &str = "JOG_TEST_KILL9";

/// A version: length and CRC of its bytes; `None`: a delete marker.
type Print = Option<(usize, u64)>;

/// What is at a thread's keys: the versions, newest first. Without versions at most one.
type World = BTreeMap<usize, Vec<Print>>;

/// An operation of one thread. Keys are numbers below [`KEYS`].
#[derive(Clone, Debug)]
enum Op {
    Put(usize, u64, usize),
    /// The same, encrypted.
    Seal(usize, u64, usize),
    /// Parts of which the second is written twice.
    Multipart(usize, u64, [usize; 3]),
    Aborted(usize, u64),
    Copy(usize, usize),
    Delete(usize),
    DeleteAll(Vec<usize>),
    /// The newest version is removed for good.
    DropNewest(usize),
    /// All versions are removed at once.
    Purge(usize),
}

fn op(rng: &mut Rng) -> Op {
    let at = rng.below(KEYS);
    let seed = rng.next();
    let len = match rng.below(6) {
        0 => 0,
        1 | 2 => rng.below(200),
        3 | 4 => rng.below(20_000),
        _ => rng.below(300_000),
    };
    match rng.below(24) {
        0..=7 => Op::Put(at, seed, len),
        8 | 9 => Op::Seal(at, seed, len),
        10..=12 => Op::Multipart(at, seed, [1 + len / 3, rng.below(5000), rng.below(10)]),
        13 => Op::Aborted(at, seed),
        14 | 15 => Op::Copy(at, rng.below(KEYS)),
        16..=18 => Op::Delete(at),
        19 => Op::DeleteAll((0..KEYS).filter(|n| (seed >> n) & 1 == 1).collect()),
        20..=22 => Op::DropNewest(at),
        _ => Op::Purge(at),
    }
}

/// The operations of a thread in a round.
fn ops(seed: u64, thread: usize) -> impl Iterator<Item = Op> {
    let mut rng = Rng::new(seed * 1000 + thread as u64);
    std::iter::repeat_with(move || op(&mut rng))
}

fn parts_of(seed: u64, sizes: [usize; 3]) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|n| content(seed + n as u64, sizes[n]))
}

/// Whether the bucket of a thread keeps versions.
fn keeps(thread: usize) -> bool {
    thread / 2 == THREADS / 2 - 1
}

/// The world of a thread after an operation.
fn apply(world: &World, op: &Op, thread: usize) -> World {
    let print = |bytes: &[u8]| Some((bytes.len(), crc(bytes)));
    let mut next = world.clone();
    let mut add = |at: &usize, print: Print| {
        let versions = next.entry(*at).or_default();
        if !keeps(thread) {
            versions.clear();
        }
        if keeps(thread) || print.is_some() {
            versions.insert(0, print);
        }
    };
    match op {
        Op::Put(at, seed, len) | Op::Seal(at, seed, len) => {
            add(at, print(&content(*seed, *len)));
        }
        Op::Multipart(at, seed, sizes) => add(at, print(&parts_of(*seed, *sizes).concat())),
        Op::Aborted(..) => {}
        Op::Copy(from, to) => {
            if let Some(newest @ Some(_)) = world.get(from).and_then(|all| all.first()) {
                add(to, *newest);
            }
        }
        Op::Delete(at) => add(at, None),
        Op::DeleteAll(keys) => keys.iter().for_each(|at| add(at, None)),
        Op::DropNewest(at) => {
            if let Some(versions) = next.get_mut(at).filter(|all| !all.is_empty()) {
                versions.remove(0);
            }
        }
        Op::Purge(at) => drop(next.remove(at)),
    }
    next.retain(|_, versions| !versions.is_empty());
    next
}

fn key_of(thread: usize, at: usize) -> String {
    format!("thread {thread}/key {at}")
}

/// Threads share buckets two by two; the last of them keeps versions.
fn bucket_of(store: &Store, thread: usize) -> Bucket {
    let bucket = support::bucket(store, &format!("bucket-{}", thread / 2));
    if keeps(thread) && bucket.versioning != Versioning::Enabled {
        let keep = BucketChange::Versioning(Versioning::Enabled);
        store.change_bucket(bucket.id, keep).unwrap().unwrap();
    }
    bucket
}

/// The versions of a key, newest first.
fn versions(store: &Store, bucket: &Bucket, at: &str) -> Vec<Version> {
    let query = ListQuery {
        bucket: bucket.id,
        prefix: at.to_owned(),
        delimiter: None,
        after: None,
        max: 100_000,
    };
    let entries = store.list_versions(&query, None).unwrap().entries;
    let item = |entry| match entry {
        Entry::Item(version) => version,
        Entry::Prefix(prefix) => panic!("no delimiter was given: {prefix}"),
    };
    entries.into_iter().map(item).collect()
}

fn multipart(store: &Store, bucket: &Bucket, at: &str, parts: [Vec<u8>; 3]) {
    let upload = support::start(store, bucket, at).unwrap().unwrap();
    let [first, second, third] = &parts;
    let written: [(u32, &[u8]); 5] =
        [(3, third), (2, b"replaced"), (1, first), (4, b"left out"), (2, second)];
    for (number, bytes) in written {
        support::put_part(store, bucket, &upload, number, bytes).unwrap().unwrap();
    }
    let if_ = Precondition::default();
    support::complete(store, bucket, &upload, &[1, 2, 3], &parts.concat(), if_).unwrap().unwrap();
}

fn run(store: &Store, bucket: &Bucket, thread: usize, op: Op) {
    let at = |n: usize| key_of(thread, n);
    match op {
        Op::Put(n, seed, len) => support::put_ok(store, bucket, &at(n), &content(seed, len)),
        Op::Seal(n, seed, len) => {
            support::put_sealed(store, bucket, &at(n), &content(seed, len)).unwrap().unwrap();
        }
        Op::Multipart(n, seed, sizes) => multipart(store, bucket, &at(n), parts_of(seed, sizes)),
        Op::Aborted(n, seed) => {
            let upload = support::start(store, bucket, &at(n)).unwrap().unwrap();
            let bytes = content(seed, 3000);
            support::put_part(store, bucket, &upload, 1, &bytes).unwrap().unwrap();
            store.abort_upload(bucket.id, &upload.key, &upload.upload_id).unwrap().unwrap();
        }
        Op::Copy(from, to) => {
            support::copy(store, (bucket, &at(from)), (bucket, &at(to))).unwrap();
        }
        Op::Delete(n) => {
            store.delete_object(bucket.id, &key(&at(n)), Precondition::default()).unwrap().unwrap();
        }
        Op::DeleteAll(numbers) => {
            let keys = numbers.iter().map(|n| (key(&at(*n)), Delete::default())).collect();
            store.delete_objects(bucket.id, keys).unwrap().unwrap();
        }
        Op::DropNewest(n) | Op::Purge(n) => {
            let count = if matches!(op, Op::Purge(_)) { usize::MAX } else { 1 };
            let versions = versions(store, bucket, &at(n)).into_iter().take(count);
            let delete = |version: Version| {
                let version_id = Some(version.version_id);
                (version.summary.key, Delete { version: version_id, ..Delete::default() })
            };
            let done = store.delete_objects(bucket.id, versions.map(delete).collect());
            assert!(done.unwrap().unwrap().iter().all(|done| done.is_ok_and(|d| d.existed)));
        }
    }
}

fn config(dir: &Path, durable: bool) -> StoreConfig {
    StoreConfig {
        durable,
        trash_retention_ms: 0,
        min_free: Some(0),
        trash_floor: Some(0),
        ..StoreConfig::new(dir)
    }
}

/// The child: ends by itself only if an operation fails.
fn hammer(role: &str) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("the child: {panic}");
        std::process::exit(70);
    }));
    let mut fields = role.split('\n');
    let mut field = || fields.next().unwrap().to_owned();
    let (dir, seed, durable) = (field(), field().parse().unwrap(), field() == "true");
    let store = Arc::new(Store::open(config(Path::new(&dir), durable)).unwrap());
    let upkeep = support::upkeep(&store);
    let maker = Arc::clone(&store);
    std::thread::spawn(move || maker.make_files());
    for thread in 0..THREADS {
        let store = Arc::clone(&store);
        std::thread::spawn(move || {
            let bucket = bucket_of(&store, thread);
            for op in ops(seed, thread) {
                run(&store, &bucket, thread, op);
                // One write a line, so a kill cannot tear it and no acknowledgement is held back.
                let line = format!("ack {thread}\n");
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        });
    }
    upkeep.join().unwrap();
    unreachable!("nobody closes the store");
}

fn start_child(dir: &Path, seed: u64, durable: bool) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill_9_loses_nothing", "--nocapture", "--test-threads", "1"])
        .env(ROLE, format!("{}\n{seed}\n{durable}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How many operations each thread had acknowledged.
fn acknowledged(child: &mut Child) -> std::thread::JoinHandle<[usize; THREADS]> {
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut counts = [0; THREADS];
        for line in out.lines() {
            // The first one stands behind what the test harness has written.
            if let Some((_, thread)) = line.unwrap().split_once("ack ") {
                counts[thread.parse::<usize>().unwrap()] += 1;
            }
        }
        counts
    })
}

/// What a store holds at the keys of a thread.
fn observe(store: &Store, thread: usize) -> World {
    let bucket = bucket_of(store, thread);
    let print = |version: &Version| -> Print {
        let key = &version.summary.key;
        match store.version(bucket.id, key, version.version_id).unwrap().expect("it is listed") {
            Found::Marker(_) => None,
            Found::Object(object) => {
                let bytes = support::read(store, &bucket, &object, None, 65_536).unwrap();
                let bytes = bytes.expect("its file is there");
                Some((bytes.len(), crc(&bytes)))
            }
        }
    };
    let all = |at| versions(store, &bucket, &key_of(thread, at)).iter().map(print).collect();
    (0..KEYS).map(|at| (at, all(at))).filter(|(_, all): &(usize, Vec<_>)| !all.is_empty()).collect()
}

/// Aborts what the kill left of multipart uploads; at most one a thread.
fn abort_all(store: &Store) {
    let mut count = 0;
    for bucket in store.buckets("", "", 100).unwrap() {
        let query = ListQuery {
            bucket: bucket.id,
            prefix: String::new(),
            delimiter: None,
            after: None,
            max: 100,
        };
        for entry in store.list_uploads(&query, None).unwrap().entries {
            let Entry::Item(upload) = entry else { panic!("no delimiter, no prefix") };
            store.abort_upload(bucket.id, &upload.key, &upload.upload_id).unwrap().unwrap();
            count += 1;
        }
    }
    assert!(count <= THREADS, "{count} uploads were left");
}

/// One round; gives the number of acknowledged operations.
fn round(dir: &Path, seed: u64, worlds: &mut [World; THREADS]) -> usize {
    let durable = seed.is_multiple_of(2);
    let mut child = start_child(dir, seed, durable);
    let acks = acknowledged(&mut child);
    let time = 50 + (Rng::new(seed ^ u64::from(std::process::id())).next() % 350);
    std::thread::sleep(Duration::from_millis(time));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "seed {seed}: the child ended by itself: {status}");
    let acks = acks.join().unwrap();
    let context = format!("seed {seed}, killed after {time} ms, acknowledged {acks:?}");

    let store = Store::open(config(dir, durable)).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(audit(dir), Vec::<String>::new(), "{context}");
    for (thread, world) in worlds.iter_mut().enumerate() {
        let mut all = ops(seed, thread);
        let sure =
            all.by_ref().take(acks[thread]).fold(world.clone(), |w, op| apply(&w, &op, thread));
        let next = all.next().unwrap();
        let found = observe(&store, thread);
        if found != sure && found != apply(&sure, &next, thread) {
            panic!("{context}, thread {thread}, {next:?}:\nfound {found:?}\nsure  {sure:?}");
        }
        *world = found;
    }
    abort_all(&store);
    drop(store);
    acks.iter().sum()
}

#[test]
fn kill_9_loses_nothing() {
    if let Ok(role) = std::env::var(ROLE) {
        hammer(&role);
    }
    let folder = support::Folder::new("kill9");
    let mut worlds: [World; THREADS] = Default::default();
    let mut total = 0;
    for seed in 0..ROUNDS {
        total += round(folder.path(), seed, &mut worlds);
    }
    assert!(total > 100, "only {total} operations were acknowledged in all rounds");
    println!("{total} operations acknowledged in {ROUNDS} rounds");
    collect(&folder.config(), "bucket-0").unwrap();
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}
