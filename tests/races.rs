//! Many threads on one store: conditional writes are atomic, commits are shared, and readers are
//! never cut off by what is written or collected meanwhile.

#[path = "support/store.rs"]
mod support;

use jog::store::{
    Bucket, Data, Entry, ListQuery, Object, Refused, Store, StoreConfig, StoreError, Summary,
};
use jog::types::{Condition, ETagList, Precondition, Span, Violation};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{Folder, audit, content, eventually, get, key, put, put_ok, rows};

const THREADS: usize = 16;

fn if_none_match_any() -> Precondition {
    Precondition { if_none_match: Some(ETagList::Any), ..Default::default() }
}

fn if_match(tag: &str) -> Precondition {
    Precondition { if_match: Some(ETagList::parse(tag)), ..Default::default() }
}

/// Runs on [`THREADS`] threads that start together; gives their results.
fn together<T: Send>(run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(THREADS);
    let (run, barrier) = (&run, &barrier);
    thread::scope(|scope| {
        let spawn = |n| {
            scope.spawn(move || {
                barrier.wait();
                run(n)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

#[test]
fn one_of_many_creates_an_object() {
    let folder = Folder::new("races-create");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    for round in 0..20 {
        let at = format!("round {round}");
        let won = together(|n| {
            let bytes = content(n as u64, 100 + n);
            if n % 2 == 0 {
                return put(&store, &bucket, &at, &bytes, if_none_match_any()).unwrap();
            }
            let upload = support::start(&store, &bucket, &at).unwrap().unwrap();
            support::put_part(&store, &bucket, &upload, 1, &bytes).unwrap().unwrap();
            support::complete(&store, &bucket, &upload, &[1], &bytes, if_none_match_any()).unwrap()
        });
        let winners: Vec<usize> = (0..THREADS).filter(|n| won[*n].is_ok()).collect();
        let [winner] = winners[..] else { panic!("{winners:?} have won") };
        let lost = won.iter().filter_map(|r| r.as_ref().err());
        assert!(
            lost.clone()
                .all(|r| *r == Refused::Precondition(Violation::Failed(Condition::NoneMatch)))
        );
        assert_eq!(get(&store, &bucket, &at).unwrap(), content(winner as u64, 100 + winner));
    }
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

#[test]
fn no_increment_is_lost() {
    const EACH: usize = 20;
    let folder = Folder::new("races-count");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    put_ok(&store, &bucket, "count", b"0");
    together(|_| {
        let mut done = 0;
        while done < EACH {
            let object = store.object(bucket.id, &key("count")).unwrap().unwrap();
            let Some(bytes) = support::read(&store, &bucket, &object, None, 64).unwrap() else {
                continue;
            };
            let count: usize = String::from_utf8(bytes).unwrap().parse().unwrap();
            let next = (count + 1).to_string();
            let if_ = if_match(&object.etag.quoted());
            match put(&store, &bucket, "count", next.as_bytes(), if_).unwrap() {
                Ok(_) => done += 1,
                Err(refused) => {
                    assert_eq!(refused, Refused::Precondition(Violation::Failed(Condition::Match)));
                }
            }
        }
    });
    let count = get(&store, &bucket, "count").unwrap();
    assert_eq!(String::from_utf8(count).unwrap(), (THREADS * EACH).to_string());
}

#[test]
fn one_of_many_deletes_an_object() {
    let folder = Folder::new("races-delete");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    for round in 0..20 {
        put_ok(&store, &bucket, "key", &content(round, 100));
        let done = together(|_| {
            store.delete_object(bucket.id, &key("key"), Precondition::default()).unwrap().unwrap()
        });
        assert_eq!(done.iter().filter(|gone| gone.existed).count(), 1);
    }
    assert_eq!(rows(folder.path(), "SELECT count(*) FROM garbage"), 20);
}

/// The keys of a listing that all ask for, so that its pages are in memory.
fn listed(store: &Store, bucket: &Bucket) -> Vec<String> {
    let query = ListQuery {
        bucket: bucket.id,
        prefix: "folder/".to_owned(),
        delimiter: Some("/".to_owned()),
        after: None,
        max: 1000,
    };
    let name = |entry: &Entry<Summary>| match entry {
        Entry::Item(object) => object.key.as_str().to_owned(),
        Entry::Prefix(prefix) => panic!("a common prefix: {prefix}"),
    };
    store.list(&query).unwrap().entries.iter().map(name).collect()
}

#[test]
fn a_listing_shows_what_was_acknowledged() {
    let folder = Folder::new("races-listing");
    let store = Store::open(StoreConfig { durable: false, ..folder.config() }).unwrap();
    let bucket = support::bucket(&store, "bucket");
    together(|n| {
        let name = format!("folder/{n:02}");
        for round in 0..50 {
            // Only some write at a time, so that there are moments in which nobody does.
            for _ in 0..n {
                listed(&store, &bucket);
            }
            put_ok(&store, &bucket, &name, b"");
            assert!(listed(&store, &bucket).contains(&name), "round {round}");
            store.delete_object(bucket.id, &key(&name), Precondition::default()).unwrap().unwrap();
            assert!(!listed(&store, &bucket).contains(&name), "round {round}");
        }
    });
    assert_eq!(listed(&store, &bucket), Vec::<String>::new());
}

/// Parts that come while the upload is completed either are in the object, or are refused.
#[test]
fn a_part_beside_complete() {
    let folder = Folder::new("races-complete");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    for round in 0..20 {
        let upload = support::start(&store, &bucket, "key").unwrap().unwrap();
        let bytes = content(round, 1000);
        support::put_part(&store, &bucket, &upload, 1, &bytes).unwrap().unwrap();
        let results = together(|n| {
            if n == 0 {
                let if_ = Precondition::default();
                return support::complete(&store, &bucket, &upload, &[1], &bytes, if_)
                    .unwrap()
                    .err();
            }
            let other = content(round, 1000);
            support::put_part(&store, &bucket, &upload, 1 + n as u32 % 3, &other).unwrap().err()
        });
        let allowed = |refused: &Option<Refused>| {
            matches!(refused, None | Some(Refused::PartsChanged | Refused::NoSuchUpload))
        };
        assert!(results.iter().all(allowed), "{results:?}");
        if results[0].is_none() {
            assert_eq!(get(&store, &bucket, "key").unwrap(), bytes);
        } else {
            let id = upload.upload_id;
            store.abort_upload(bucket.id, &upload.key, &id).unwrap().unwrap();
        }
    }
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

fn garbage_gone(folder: &Folder) -> bool {
    rows(folder.path(), "SELECT count(*) FROM garbage") == 0
}

/// Opens `object`, overwrites it, lets the upkeep thread collect all that may go, and reads on.
fn read_across_an_overwrite(folder: &Folder, store: &Arc<Store>, object: &Object, old: &[u8]) {
    let bucket = store.bucket(&support::name("bucket")).unwrap().unwrap();
    let mut reader = store.open_object(&bucket.name, object, None, None).unwrap().unwrap();
    let mut bytes = vec![0; 100];
    reader.read(&mut bytes).unwrap();
    put_ok(store, &bucket, object.key.as_str(), b"new bytes");
    put_ok(store, &bucket, "other", b"1");
    store.delete_object(bucket.id, &key("other"), Precondition::default()).unwrap().unwrap();
    let pinned = i64::from(matches!(object.data, Data::Parts(_)));
    eventually("what nobody reads is collected", || {
        rows(folder.path(), "SELECT count(*) FROM garbage") == pinned
    });
    let mut buf = vec![0; 1000];
    loop {
        match reader.read(&mut buf).unwrap() {
            0 => break,
            n => bytes.extend_from_slice(&buf[..n]),
        }
    }
    assert!(bytes == old, "the old bytes, whole");
    drop(reader);
    eventually("the old parts are collected too", || garbage_gone(folder));
    assert_eq!(get(store, &bucket, object.key.as_str()).unwrap(), b"new bytes");
}

#[test]
fn an_overwrite_never_cuts_off_a_reader() {
    let folder = Folder::new("races-reader");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let thread = support::upkeep(&store);
    let bucket = support::bucket(&store, "bucket");
    let old = content(1, 50_000);
    put_ok(&store, &bucket, "file", &old);
    let object = store.object(bucket.id, &key("file")).unwrap().unwrap();
    read_across_an_overwrite(&folder, &store, &object, &old);

    let parts: Vec<&[u8]> = old.chunks(9_999).collect();
    support::put_parts(&store, &bucket, "parts", &parts).unwrap();
    let object = store.object(bucket.id, &key("parts")).unwrap().unwrap();
    read_across_an_overwrite(&folder, &store, &object, &old);
    store.close().unwrap();
    thread.join().unwrap();
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

/// For so long the races below are run.
const STRESS: Duration = Duration::from_secs(2);

/// Runs until the time is over or one has failed.
fn for_a_while(stop: &AtomicBool, mut run: impl FnMut(u64)) {
    let end = Instant::now() + STRESS;
    let mut n = 0;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        run(n);
        n += 1;
    }
    stop.store(true, Ordering::Relaxed);
}

/// A reader that opens while the collector is at work gets all that it asked for or nothing: it
/// is never cut off later. The objects that it asks for were overwritten before.
#[test]
fn a_reader_that_comes_with_the_collector() {
    let folder = Folder::new("races-collector");
    let store = Arc::new(Store::open(folder.config()).unwrap());
    let thread = support::upkeep(&store);
    let bucket = support::bucket(&store, "bucket");
    let bytes = content(1, 4000);
    let parts: Vec<&[u8]> = bytes.chunks(100).collect();
    let recent = Mutex::new(VecDeque::new());
    let write = |_| {
        support::put_parts(&store, &bucket, "parts", &parts).unwrap();
        let mut recent = recent.lock().unwrap();
        recent.push_back(store.object(bucket.id, &key("parts")).unwrap().unwrap());
        if recent.len() > 100 {
            recent.pop_front();
        }
    };
    (0..50).for_each(write);
    let (stop, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let read = &|thread: u64| {
        let (mut rng, mut failures) = (support::Rng::new(thread), Vec::new());
        for_a_while(&stop, |_| {
            let object = {
                let recent = recent.lock().unwrap();
                recent[rng.below(recent.len())].clone()
            };
            let start = 1000 + rng.below(2800);
            let span = Span { start: start as u64, len: (bytes.len() - start) as u64 };
            match support::read(&store, &bucket, &object, Some(span), 4096) {
                Ok(Some(got)) => {
                    assert!(got == bytes[start..]);
                    opened.fetch_add(1, Ordering::Relaxed);
                }
                Ok(None) => {}
                Err(error) => failures.push(error.to_string()),
            }
        });
        failures
    };
    let failures: Vec<String> = thread::scope(|scope| {
        scope.spawn(|| for_a_while(&stop, write));
        let readers: Vec<_> = (0..3).map(|n| scope.spawn(move || read(n))).collect();
        readers.into_iter().flat_map(|r| r.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} readers were cut off: {}", failures.len(), failures[0]);
    assert!(opened.into_inner() > 0);
    store.close().unwrap();
    thread.join().unwrap();
}

/// Several collect at once while garbage comes: no file is forgotten.
#[test]
fn collectors_beside_each_other() {
    const OBJECTS: usize = 1500;
    let folder = Folder::new("races-collectors");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    for n in 0..OBJECTS {
        put_ok(&store, &bucket, &n.to_string(), b"bytes");
    }
    store.close().unwrap();
    drop(store);
    // With a floor that no disk keeps to, whoever wants to write collects, and is refused.
    let floor = Some(u64::MAX / 2);
    let config = StoreConfig { min_free: floor, trash_floor: floor, ..folder.config() };
    let store = Store::open(config).unwrap();
    let collect =
        || assert!(matches!(store.create_blob(&bucket.name, None), Err(StoreError::Full)));
    let left = AtomicUsize::new(OBJECTS);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while left.load(Ordering::Relaxed) > 0 {
                    collect();
                }
            });
        }
        for first in 0..2 {
            let (store, bucket, left) = (&store, &bucket, &left);
            scope.spawn(move || {
                for n in (first..OBJECTS).step_by(2) {
                    let at = key(&n.to_string());
                    store.delete_object(bucket.id, &at, Precondition::default()).unwrap().unwrap();
                    left.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
    });
    collect();
    assert!(garbage_gone(&folder));
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

/// Buckets, objects and folders come and go beside each other; nobody sees more of it than that
/// the bucket is gone.
#[test]
fn writers_beside_folders_that_are_removed() {
    let folder = Folder::new("races-folders");
    let config = StoreConfig { trash_floor: Some(u64::MAX), ..folder.config() };
    let store = Arc::new(Store::open(config).unwrap());
    let upkeep = support::upkeep(&store);
    let stop = AtomicBool::new(false);
    let failed = |error: StoreError| panic!("{error}");
    thread::scope(|scope| {
        for n in 0..4 {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                let bucket = support::bucket(store, &format!("bucket-{n}"));
                for_a_while(stop, |seed| {
                    let bytes = content(seed, 50);
                    let if_ = Precondition::default();
                    put(store, &bucket, "key", &bytes, if_.clone()).unwrap_or_else(failed).unwrap();
                    store.delete_object(bucket.id, &key("key"), if_).unwrap().unwrap();
                })
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let name = support::name("comes-and-goes");
                for_a_while(&stop, |seed| {
                    let bucket = support::bucket(&store, name.as_str());
                    let (bytes, if_) = (content(seed, 50), Precondition::default());
                    match put(&store, &bucket, "key", &bytes, if_.clone()).unwrap_or_else(failed) {
                        Ok(_) | Err(Refused::NoSuchBucket) => {}
                        Err(refused) => panic!("{refused:?}"),
                    }
                    let _ = store.delete_object(bucket.id, &key("key"), if_).unwrap();
                    let _ = store.delete_bucket(&name).unwrap();
                })
            });
        }
    });
    store.close().unwrap();
    upkeep.join().unwrap();
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

/// Writers that wait together are committed together. Commits are counted as transactions in the
/// WAL: frames that end one have a size of the database in them.
#[test]
fn waiting_writers_share_a_commit() {
    const EACH: usize = 25;
    let folder = Folder::new("races-group");
    let store = Store::open(StoreConfig { durable: true, ..folder.config() }).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let before = commits_in_wal(&folder);
    together(|n| {
        for i in 0..EACH {
            // Without a file, so that only commits make a thread wait.
            let new = support::new_object(&format!("{n}/{i}"), b"", jog::store::NewData::Empty);
            store.put_object(bucket.id, new, Precondition::default()).unwrap().unwrap();
        }
    });
    let commits = commits_in_wal(&folder) - before;
    println!("{} writes in {commits} commits", THREADS * EACH);
    assert!(commits >= EACH, "{commits} commits cannot hold them");
    assert!(commits <= THREADS * EACH / 3, "{commits} commits for {} writes", THREADS * EACH);
}

/// The transactions in metadata.db-wal (SQLite, "WAL-mode File Format": a header of 32 bytes, then
/// frames of a header of 24 bytes and a page; bytes 4 to 8 of a frame are not 0 if it commits).
fn commits_in_wal(folder: &Folder) -> usize {
    let wal = std::fs::read(folder.path().join("metadata.db-wal")).unwrap();
    let page = u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize;
    let salt = &wal[16..24];
    let frames = wal[32..].chunks_exact(24 + page).take_while(|frame| &frame[8..16] == salt);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}
