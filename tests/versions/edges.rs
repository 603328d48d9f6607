//! What the random operations do not meet by chance: ids that must not come back, listings whose
//! marker is gone, refusals half way, buckets that are turned while others write.

use super::support::{Folder, audit, key, name, put, put_ok, read, rows};
use super::*;
use jog::store::{Data, NewData};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store with one bucket in this state.
fn fixture(test: &str, to: Versioning) -> (Folder, Store, Bucket) {
    let folder = Folder::in_memory(test);
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    if to != Versioning::Unversioned {
        turn(&store, &bucket, to);
    }
    (folder, store, bucket)
}

fn turn(store: &Store, bucket: &Bucket, to: Versioning) {
    store.change_bucket(bucket.id, BucketChange::Versioning(to)).unwrap().unwrap();
}

fn put_id(store: &Store, bucket: &Bucket, at: &str, bytes: &[u8]) -> VersionId {
    let stored = put(store, bucket, at, bytes, Precondition::default()).unwrap().unwrap();
    stored.version_id.unwrap_or(VersionId::Null)
}

fn remove(store: &Store, bucket: &Bucket, at: &str, id: VersionId) -> Result<Deleted, Refused> {
    let delete = Delete { version: Some(id), ..Delete::default() };
    store.delete_object(bucket.id, &key(at), delete).unwrap()
}

/// Ids and whether they are the newest, as a listing gives them after this marker.
fn listed(
    store: &Store,
    bucket: &Bucket,
    after: Option<(&str, VersionId)>,
) -> Vec<(VersionId, bool)> {
    let query = ListQuery {
        bucket: bucket.id,
        prefix: String::new(),
        delimiter: None,
        after: after.map(|(at, _)| at.to_owned()),
        max: 100,
    };
    let page = store.list_versions(&query, after.map(|(_, id)| id)).unwrap();
    let entries = page.entries.into_iter().map(|entry| match entry {
        Entry::Item(version) => (version.version_id, version.latest),
        Entry::Prefix(prefix) => panic!("no delimiter was given: {prefix}"),
    });
    entries.collect()
}

#[test]
fn no_id_of_a_removed_version_comes_back() {
    let (_folder, store, bucket) = fixture("ids", Versioning::Enabled);
    let mut ids = BTreeSet::new();
    for n in 0..500 {
        let id = put_id(&store, &bucket, "a", b"");
        assert!(ids.insert(id.to_string()), "{id} is given again, round {n}");
        assert!(remove(&store, &bucket, "a", id).unwrap().existed);
        let marker = store.delete_object(bucket.id, &key("a"), Delete::default()).unwrap().unwrap();
        let id = marker.version_id.unwrap();
        assert!(ids.insert(id.to_string()), "{id} is given again, round {n}");
        assert!(remove(&store, &bucket, "a", id).unwrap().marker);
    }
}

/// Another process gave the numbers below what is saved, with whatever clock.
#[test]
fn no_id_comes_back_after_a_restart_with_another_clock() {
    let (folder, store, bucket) = fixture("restart", Versioning::Enabled);
    let ceiling = || {
        let database = Connection::open(folder.path().join("metadata.db")).unwrap();
        let sql = "SELECT value FROM settings WHERE name = 'version_ceiling'";
        database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let number = |id| match id {
        VersionId::Number(number) => number,
        VersionId::Null => panic!("versions are kept"),
    };
    let first = put_id(&store, &bucket, "a", b"1");
    assert!(ceiling() > number(first), "a crash now must not forget it");
    let second = put_id(&store, &bucket, "b", b"2");
    remove(&store, &bucket, "b", second).unwrap();
    store.close().unwrap();
    assert!(ceiling() > number(second));
    drop(store);
    // Other tests of this process draw from the same numbers; this one is ahead of all.
    let ahead = 8_000_000_000_000_000;
    let database = Connection::open(folder.path().join("metadata.db")).unwrap();
    let sql = "UPDATE settings SET value = ?1 WHERE name = 'version_ceiling'";
    assert_eq!(database.execute(sql, [ahead]).unwrap(), 1);
    drop(database);
    let store = Store::open(folder.config()).unwrap();
    assert!(number(put_id(&store, &bucket, "b", b"3")) >= ahead);
}

/// What was written before the clock went back has greater numbers than the clock gives.
#[test]
fn versions_are_in_order_although_the_clock_went_back() {
    let (folder, store, bucket) = fixture("clock", Versioning::Enabled);
    let old = put_id(&store, &bucket, "a", b"old");
    put_ok(&store, &bucket, "a", b"ahead");
    store.close().unwrap();
    drop(store);
    let ahead = 9_000_000_000_000_000i64;
    let conn = Connection::open(folder.path().join("metadata.db")).unwrap();
    assert_eq!(conn.execute("UPDATE objects SET version = ?1", [ahead]).unwrap(), 1);
    drop(conn);

    let store = Store::open(folder.config()).unwrap();
    let next = put_id(&store, &bucket, "a", b"next");
    // By how much depends on other tests: a process gives no number twice.
    assert!(matches!(next, VersionId::Number(next) if next > ahead), "{next:?}");
    let ahead = VersionId::Number(ahead);
    assert_eq!(listed(&store, &bucket, None), [(next, true), (ahead, false), (old, false)]);
    // The number of what is removed is not that of the next, also here.
    remove(&store, &bucket, "a", next).unwrap();
    assert_eq!(get(&store, &bucket, "a").unwrap(), b"ahead");
    let again = put_id(&store, &bucket, "a", b"again");
    assert!(again != next && again != ahead);
    assert_eq!(listed(&store, &bucket, None), [(again, true), (ahead, false), (old, false)]);
    let marker = store.delete_object(bucket.id, &key("a"), Delete::default()).unwrap().unwrap();
    let marker = marker.version_id.unwrap();
    remove(&store, &bucket, "a", again).unwrap();
    remove(&store, &bucket, "a", ahead).unwrap();
    assert_eq!(listed(&store, &bucket, None), [(marker, true), (old, false)]);
    remove(&store, &bucket, "a", marker).unwrap();
    assert_eq!(get(&store, &bucket, "a").unwrap(), b"old");
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

/// Who empties a bucket page by page removes the version that the next page starts after.
#[test]
fn a_listing_goes_on_where_its_marker_is_gone() {
    let (_folder, store, bucket) = fixture("markers", Versioning::Enabled);
    let first = put_id(&store, &bucket, "a", b"1");
    let second = put_id(&store, &bucket, "a", b"2");
    turn(&store, &bucket, Versioning::Suspended);
    let null = put_id(&store, &bucket, "a", b"null");
    assert_eq!(null, VersionId::Null);
    turn(&store, &bucket, Versioning::Enabled);
    let newest = put_id(&store, &bucket, "a", b"3");

    let all = [(newest, true), (null, false), (second, false), (first, false)];
    assert_eq!(listed(&store, &bucket, None), all);
    assert_eq!(listed(&store, &bucket, Some(("a", newest))), all[1..]);
    assert_eq!(listed(&store, &bucket, Some(("a", null))), all[2..]);
    remove(&store, &bucket, "a", newest).unwrap();
    let rest = [(null, true), (second, false), (first, false)];
    assert_eq!(listed(&store, &bucket, Some(("a", newest))), rest, "the first is the newest now");
    remove(&store, &bucket, "a", null).unwrap();
    let rest = [(second, true), (first, false)];
    assert_eq!(listed(&store, &bucket, Some(("a", null))), rest, "none is left out");
    remove(&store, &bucket, "a", second).unwrap();
    assert_eq!(listed(&store, &bucket, Some(("a", second))), [(first, true)]);
}

/// A null version that is protected stays, and so does the one that is newer.
#[test]
fn who_is_refused_has_changed_nothing() {
    let (folder, store, bucket) = fixture("refused", Versioning::Unversioned);
    let mut new = support::new_object("a", b"", NewData::Empty);
    new.extra.lock.legal_hold = true;
    store.put_object(bucket.id, new, Precondition::default()).unwrap().unwrap();
    turn(&store, &bucket, Versioning::Enabled);
    let newer = put_id(&store, &bucket, "a", b"newer");
    turn(&store, &bucket, Versioning::Suspended);
    let all = [(newer, true), (VersionId::Null, false)];
    let usage = store.usage(bucket.id).unwrap();

    let done = store.delete_object(bucket.id, &key("a"), Delete::default()).unwrap();
    assert_eq!(done, Err(Refused::Locked));
    let many = vec![(key("a"), Delete::default()), (key("b"), Delete::default())];
    let done = store.delete_objects(bucket.id, many).unwrap().unwrap();
    assert_eq!(done[0], Err(Refused::Locked));
    assert!(done[1].is_ok_and(|done| done.marker && !done.existed));
    assert!(remove(&store, &bucket, "b", VersionId::Null).unwrap().marker);
    let done = put(&store, &bucket, "a", b"x", Precondition::default()).unwrap();
    assert_eq!(done, Err(Refused::Locked));
    assert_eq!(listed(&store, &bucket, None), all);
    assert_eq!(store.usage(bucket.id).unwrap(), usage);
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

#[test]
fn a_bucket_leaves_no_renames_behind() {
    let (folder, store, bucket) = fixture("renames", Versioning::Unversioned);
    put_ok(&store, &bucket, "a", b"bytes");
    let version = store.object(bucket.id, &key("a")).unwrap().unwrap().version;
    let rename = Rename {
        from: key("a"),
        version,
        to: key("b"),
        if_: Precondition::default(),
        token: Some("token".to_owned()),
    };
    let done = store.telling(None).rename_object(bucket.id, rename).unwrap();
    assert_eq!(done, Ok(Renamed::Done));
    assert_eq!(rows(folder.path(), "SELECT count(*) FROM renames"), 1);
    remove(&store, &bucket, "b", VersionId::Null).unwrap();
    store.delete_bucket(&name("bucket")).unwrap().unwrap();
    assert_eq!(rows(folder.path(), "SELECT count(*) FROM renames"), 0);
}

#[test]
fn a_quota_beyond_all_numbers_is_none() {
    let (_folder, store, bucket) = fixture("quota", Versioning::Unversioned);
    for quota in [u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1] {
        store.change_bucket(bucket.id, BucketChange::Quota(Some(quota))).unwrap().unwrap();
        put_ok(&store, &bucket, &quota.to_string(), b"some bytes");
    }
}

/// The versions of a thread's own key, newest first, while others turn the bucket's versioning.
fn hammer(store: &Store, bucket: &Bucket, at: &str, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut model: Vec<(VersionId, Option<Vec<u8>>)> = Vec::new();
    for _ in 0..400 {
        let mut add = |id: VersionId, bytes| {
            // Written while the bucket was suspended: it takes the place of the null version.
            model.retain(|(known, _)| id != VersionId::Null || *known != id);
            model.insert(0, (id, bytes));
        };
        match rng.below(4) {
            0 | 1 => {
                let (seed, len) = (rng.next(), rng.below(50));
                let bytes = content(seed, len);
                add(put_id(store, bucket, at, &bytes), Some(bytes));
            }
            2 => {
                let done = store.delete_object(bucket.id, &key(at), Delete::default()).unwrap();
                add(done.unwrap().version_id.unwrap(), None);
            }
            _ if model.is_empty() => {}
            _ => {
                let (id, bytes) = model.remove(rng.below(model.len()));
                let done = remove(store, bucket, at, id).unwrap();
                assert_eq!((done.existed, done.marker), (true, bytes.is_none()));
            }
        }
        // Thrice, so that it comes from memory, too.
        for _ in 0..3 {
            let found = store.object(bucket.id, &key(at)).unwrap();
            let found = found.map(|o| (o.version_id(), read(store, bucket, &o, None, 99).unwrap()));
            let known = model.first().filter(|(_, bytes)| bytes.is_some()).cloned();
            assert_eq!(found, known, "{at}");
        }
    }
    let versions = model.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    let query = ListQuery {
        bucket: bucket.id,
        prefix: at.to_owned(),
        delimiter: None,
        after: None,
        max: 1000,
    };
    let page = store.list_versions(&query, None).unwrap();
    let found = page.entries.iter().map(|entry| match entry {
        Entry::Item(version) => version.version_id,
        Entry::Prefix(prefix) => panic!("no delimiter was given: {prefix}"),
    });
    assert_eq!(found.collect::<Vec<_>>(), versions);
}

#[test]
fn writers_and_a_bucket_that_is_turned() {
    let (folder, store, bucket) = fixture("turned", Versioning::Enabled);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let turning = scope.spawn(|| {
            let mut rng = Rng::new(5);
            while !done.load(Ordering::SeqCst) {
                turn(&store, &bucket, *rng.pick(&[Versioning::Enabled, Versioning::Suspended]));
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let (store, bucket) = (&store, &bucket);
        let writers: Vec<_> = (0..4)
            .map(|n| scope.spawn(move || hammer(store, bucket, &format!("key {n}"), n)))
            .collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::SeqCst);
        turning.join().unwrap();
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(audit(folder.path()), Vec::<String>::new());
}

/// Two puts for which there is room for one.
#[test]
fn a_quota_holds_although_many_write_at_once() {
    let (folder, store, bucket) = fixture("quotas", Versioning::Enabled);
    store.change_bucket(bucket.id, BucketChange::Quota(Some(1050))).unwrap().unwrap();
    let stored: usize = std::thread::scope(|scope| {
        let (store, bucket) = (&store, &bucket);
        let writers: Vec<_> = (0..4u64)
            .map(|n| {
                scope.spawn(move || {
                    let one = |i: u64| {
                        put(store, bucket, "a", &content(n * 9 + i, 100), Default::default())
                    };
                    (0..6).filter(|i| one(*i).unwrap().is_ok()).count()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(stored, 10);
    assert_eq!(store.usage(bucket.id).unwrap().bytes, 1000);
    assert_eq!(audit(folder.path()), Vec::<String>::new());
    assert!(matches!(
        store.object(bucket.id, &key("a")).unwrap().map(|object| object.data),
        Some(Data::Blob(_))
    ));
}
