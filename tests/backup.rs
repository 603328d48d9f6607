//! Backups, restores and verifications of a store in this process: what they hold, what a fault at
//! each file-system call leaves, and what is found of damage.

#[path = "backup/beside.rs"]
mod beside;
#[path = "support/store.rs"]
mod support;
#[path = "backup/verify.rs"]
mod verifications;

use jog::store::backup::{
    BackupConfig, BackupDir, BackupError, BackupReport, RestoreConfig, RestoreReport, Wanted,
    backup, restore,
};
use jog::store::verify::{VerifyConfig, VerifyReport, verify};
use jog::store::{
    BucketChange, Delete, Fault, Kek, NewData, OpenError, SealMode, Sealing, Store, StoreConfig,
};
use jog::types::{Precondition, Versioning};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::{Folder, bucket, content, get, key, new_object, put_ok, put_parts};

fn backup_config(data: &Path, dest: &Path) -> BackupConfig {
    BackupConfig {
        data_dir: data.to_owned(),
        dest: dest.to_owned(),
        keep: None,
        link: false,
        trash: true,
        min_free: None,
        rate: None,
        durable: false,
        fault: None,
    }
}

fn restore_config(from: &Path, dest: &Path) -> RestoreConfig {
    RestoreConfig {
        backup: from.to_owned(),
        dest: dest.to_owned(),
        wanted: Wanted::Newest,
        link: false,
        rate: None,
        durable: false,
        fault: None,
    }
}

fn run(config: &BackupConfig) -> BackupReport {
    backup(config, &mut |_| ()).unwrap()
}

fn bring_back(config: &RestoreConfig) -> RestoreReport {
    restore(config, &mut |_| ()).unwrap()
}

fn look(dir: &Path) -> VerifyReport {
    let config = VerifyConfig { dir: dir.to_owned(), deep: true, ..VerifyConfig::default() };
    verify(&config, &mut |_| ()).unwrap()
}

fn open(dir: &Path) -> Store {
    let config = StoreConfig { trash_retention_ms: 1 << 40, ..config(dir) };
    Store::open(config).unwrap()
}

fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        durable: false,
        trash_retention_ms: 0,
        min_free: Some(0),
        trash_floor: Some(0),
        ..StoreConfig::new(dir)
    }
}

/// A store with one of everything, in a bucket that keeps versions and one that does not.
fn fill(store: &Store) {
    let plain = bucket(store, "plain");
    let kept = bucket(store, "kept");
    store.change_bucket(kept.id, BucketChange::Versioning(Versioning::Enabled)).unwrap().unwrap();
    for n in 0..20 {
        put_ok(store, &plain, &format!("k{n}"), &content(n, 100 + 1000 * n as usize));
    }
    put_ok(store, &plain, "empty", b"");
    put_ok(store, &plain, "k3", &content(103, 5000));
    store.delete_object(plain.id, &key("k4"), Delete::default()).unwrap().unwrap();
    let parts: Vec<Vec<u8>> = (0..3).map(|n| content(200 + n, 3000)).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    put_parts(store, &plain, "parts", &parts).unwrap();
    for n in 0..5 {
        put_ok(store, &kept, "v", &content(300 + n, 2000));
    }
    store.delete_object(kept.id, &key("v"), Delete::default()).unwrap().unwrap();
    let upload = support::start(store, &plain, "open").unwrap().unwrap();
    support::put_part(store, &plain, &upload, 1, &content(400, 700)).unwrap().unwrap();
    let sealing = Sealing { mode: SealMode::Server, kek: Kek::new([7; 32]) };
    let mut writer = store.create_blob(&plain.name, Some(&sealing)).unwrap();
    let bytes = content(500, 200_000);
    writer.write(&bytes).unwrap();
    let data = NewData::Blob(writer.finish().unwrap().unwrap());
    let new = new_object("sealed", &bytes, data);
    store.put_object(plain.id, new, Precondition::default()).unwrap().unwrap();
}

/// Sets the moment of a snapshot forward, as if the clock had been ahead then.
fn from_the_future(dest: &Path, snapshot: &str) -> String {
    let of = |name: &str| dest.join("snapshots").join(name);
    let (later, file) = ("29".to_owned() + &snapshot[2..], of(snapshot).join("manifest.json"));
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let moment = manifest["moment_ms"].as_i64().unwrap() + 900 * 365 * 86_400_000;
    manifest["moment_ms"] = moment.into();
    std::fs::write(&file, manifest.to_string()).unwrap();
    std::fs::rename(of(snapshot), of(&later)).unwrap();
    later
}

/// The clock was ahead when the last snapshot was made, and is right again.
#[test]
fn a_further_snapshot_is_the_newest_whatever_the_clock_says() {
    let folder = Folder::in_memory("backup");
    let (data, dest, back) =
        (folder.path().join("d"), folder.path().join("b"), folder.path().join("r"));
    let store = open(&data);
    let b = bucket(&store, "plain");
    put_ok(&store, &b, "k", b"before");
    let keep = BackupConfig { keep: Some(1), ..backup_config(&data, &dest) };
    let ahead = from_the_future(&dest, &run(&keep).snapshot);
    put_ok(&store, &b, "k", b"after");
    let report = run(&keep);
    assert_eq!(report.removed, [ahead]);
    let names: Vec<String> = BackupDir::open(&dest)
        .unwrap()
        .snapshots()
        .unwrap()
        .into_iter()
        .map(|snapshot| snapshot.name)
        .collect();
    assert_eq!(names, std::slice::from_ref(&report.snapshot));
    assert_eq!(bring_back(&restore_config(&dest, &back)).snapshot, Some(report.snapshot));
    let restored = open(&back);
    assert_eq!(get(&restored, &bucket(&restored, "plain"), "k").unwrap(), b"after");
}

/// The bytes of every file below `buckets/`, by path.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![dir.join("buckets")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// A file of this size below `buckets/`.
fn file_of(dir: &Path, size: usize) -> PathBuf {
    let found = tree(dir).into_iter().find(|(_, bytes)| bytes.len() == size);
    dir.join(found.expect("a file of that size").0)
}

#[test]
fn what_is_restored_is_what_there_was() {
    for link in [false, true] {
        let folder = Folder::in_memory("backup");
        let (data, dest, back) =
            (folder.path().join("d%a?t#a"), folder.path().join("to/b"), folder.path().join("r"));
        let store = open(&data);
        fill(&store);
        let report = run(&BackupConfig { link, ..backup_config(&data, &dest) });
        assert!(report.manifest.is_complete());
        let trash = report.manifest.trash_files;
        assert_eq!(trash, 2, "k3 as it was, and k4");
        assert_eq!(report.new.files, report.manifest.files + trash);
        assert_eq!(report.linked, if link { report.new.files } else { 0 });
        assert!(look(&dest).is_sound());
        // What comes later is not in it.
        let plain = bucket(&store, "plain");
        put_ok(&store, &plain, "k1", b"later");
        store.delete_object(plain.id, &key("k2"), Delete::default()).unwrap().unwrap();
        let restored = bring_back(&RestoreConfig { link, ..restore_config(&dest, &back) });
        assert_eq!(restored.lost, []);
        let report = look(&back);
        assert!(report.is_sound() && report.orphans.is_empty(), "{report:?}");
        let before = store;
        let store = open(&back);
        let there = bucket(&store, "plain");
        assert_eq!(get(&store, &there, "k1").unwrap(), content(1, 1100));
        assert_eq!(get(&store, &there, "k2").unwrap(), content(2, 2100));
        assert_eq!(get(&store, &there, "k3").unwrap(), content(103, 5000));
        assert_eq!(get(&store, &there, "k4"), None);
        assert_eq!(get(&store, &there, "empty").unwrap(), b"");
        let parts: Vec<u8> = (0..3).flat_map(|n| content(200 + n, 3000)).collect();
        assert_eq!(get(&store, &there, "parts").unwrap(), parts);
        let sealed = store.object(there.id, &key("sealed")).unwrap().unwrap();
        let kek = Kek::new([7; 32]);
        let mut reader =
            store.open_object(&there.name, &sealed, None, Some(&kek)).unwrap().unwrap();
        let mut bytes = vec![0; 10];
        reader.read(&mut bytes).unwrap();
        assert_eq!(bytes, content(500, 10));
        assert!(
            store
                .upload(
                    there.id,
                    &key("open"),
                    &support::open_upload(&store, &there, "open").upload_id
                )
                .unwrap()
                .is_some()
        );
        // It lives on.
        put_ok(&store, &there, "new", b"new");
        store.close().unwrap();
        drop((store, before));
    }
}

#[test]
fn a_further_snapshot_copies_what_is_new_and_pruning_takes_what_nobody_needs() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = open(&data);
    let b = bucket(&store, "plain");
    let mut names = Vec::new();
    for n in 0..4_u64 {
        put_ok(&store, &b, "same", &content(n, 1000));
        put_ok(&store, &b, &format!("k{n}"), &content(10 + n, 1000));
        // As the collector does it, but for the file.
        let conn = rusqlite::Connection::open(data.join("metadata.db")).unwrap();
        conn.execute("DELETE FROM garbage", []).unwrap();
        let config = BackupConfig { trash: false, ..backup_config(&data, &dest) };
        let report = run(&config);
        assert_eq!(report.new.files, 2, "{n}");
        assert_eq!(report.manifest.files, n + 2);
        names.push(report.snapshot);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(tree(&dest).len(), 8);
    // The last but one needs what the last one does not.
    store.delete_object(b.id, &key("k0"), Delete::default()).unwrap().unwrap();
    let conn = rusqlite::Connection::open(data.join("metadata.db")).unwrap();
    conn.execute("DELETE FROM garbage", []).unwrap();
    let config = BackupConfig { keep: Some(2), trash: false, ..backup_config(&data, &dest) };
    let report = run(&config);
    assert_eq!(report.removed, names[..3]);
    assert_eq!((report.pruned.files, report.pruned.bytes, report.new.files), (3, 3000, 0));
    assert_eq!(tree(&dest).len(), 5);
    let found = look(&dest);
    assert!(found.is_sound() && found.orphans.is_empty());
    assert_eq!(found.snapshots, Some(2));
    // Each snapshot gives its own time.
    let back = folder.path().join("r");
    let config = restore_config(&dest, &back);
    let named = RestoreConfig { wanted: Wanted::Named(names[3].clone()), ..config.clone() };
    assert_eq!(bring_back(&named).snapshot.as_ref(), Some(&names[3]));
    for wanted in [Wanted::At(1), Wanted::Named(names[0].clone())] {
        let config = RestoreConfig { wanted, dest: folder.path().join("r2"), ..config.clone() };
        assert!(matches!(restore(&config, &mut |_| ()), Err(BackupError::Refused(_))));
    }
}

#[test]
fn a_moment_between_two_changes_is_found_by_its_time() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = open(&data);
    let b = bucket(&store, "plain");
    let mut moments = Vec::new();
    for n in 0..3 {
        put_ok(&store, &b, "k", &content(n, 100));
        moments.push(run(&backup_config(&data, &dest)).manifest.moment_ms);
        std::thread::sleep(Duration::from_millis(3));
    }
    for (n, moment) in moments.iter().enumerate() {
        for at in [*moment, *moment + 1] {
            let back = Folder::in_memory("restored");
            let wanted = Wanted::At(at);
            bring_back(&RestoreConfig { wanted, ..restore_config(&dest, back.path()) });
            let store = open(back.path());
            assert_eq!(get(&store, &bucket(&store, "plain"), "k").unwrap(), content(n as u64, 100));
        }
    }
}

/// Litestream brings metadata.db of a time before the snapshot; the files of that time are in the
/// backup, since those of deleted objects come along.
#[test]
fn another_metadata_of_about_that_time_finds_its_files() {
    let folder = Folder::in_memory("backup");
    let (data, dest, back) =
        (folder.path().join("d"), folder.path().join("b"), folder.path().join("r"));
    let store = open(&data);
    fill(&store);
    let plain = bucket(&store, "plain");
    let then = folder.path().join("then.db");
    let conn = rusqlite::Connection::open(data.join("metadata.db")).unwrap();
    conn.execute("VACUUM INTO ?1", [then.to_str().unwrap()]).unwrap();
    for n in 0..20 {
        store.delete_object(plain.id, &key(&format!("k{n}")), Delete::default()).unwrap().unwrap();
    }
    put_parts(&store, &plain, "parts", &[b"other"]).unwrap();
    run(&backup_config(&data, &dest));
    let wanted = Wanted::Metadata(then.clone());
    let report = bring_back(&RestoreConfig { wanted, ..restore_config(&dest, &back) });
    assert_eq!(report.lost, []);
    assert!(look(&back).is_sound());
    let restored = open(&back);
    assert_eq!(get(&restored, &bucket(&restored, "plain"), "k7").unwrap(), content(7, 7100));
    // Files that were copied as they are do as well; what is newer than metadata.db is listed.
    let other = folder.path().join("r2");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(&then, other.join("metadata.db")).unwrap();
    for (path, bytes) in tree(&data) {
        std::fs::create_dir_all(other.join(&path).parent().unwrap()).unwrap();
        std::fs::write(other.join(path), bytes).unwrap();
    }
    let report = look(&other);
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.orphans.len(), 1, "the part of the other object");
    let kept = open(&other);
    assert_eq!(get(&kept, &bucket(&kept, "plain"), "k19").unwrap(), content(19, 19_100));
}

#[test]
fn a_fault_at_each_call_of_a_backup_leaves_only_whole_snapshots() {
    let folder = Folder::in_memory("backup");
    let data = folder.path().join("d");
    let store = open(&data);
    fill(&store);
    let dest = folder.path().join("b");
    let first = backup_config(&data, &dest);
    run(&BackupConfig { trash: false, ..first.clone() });
    put_ok(&store, &bucket(&store, "plain"), "more", &content(1, 12_345));
    let (mut calls, mut failed) = (0, 0);
    loop {
        let fault = Fault::after(calls);
        let config = BackupConfig {
            fault: Some(Arc::clone(&fault)),
            keep: Some(1),
            durable: true,
            ..first.clone()
        };
        let result = backup(&config, &mut |_| ());
        // Whatever is listed is whole.
        let report = look(&dest);
        assert!(report.is_sound(), "after {calls} calls: {report:?}");
        assert!(report.snapshots >= Some(1), "after {calls} calls");
        if result.is_ok() && !fault.hit() {
            break;
        }
        failed += u32::from(result.is_err());
        calls += 1;
    }
    assert!(failed > 20, "{failed} of {calls} calls failed");
    let snapshots = BackupDir::open(&dest).unwrap().snapshots().unwrap();
    assert_eq!(snapshots.len(), 1);
    // Nothing of those that failed is left.
    assert_eq!(std::fs::read_dir(dest.join("snapshots")).unwrap().count(), 1);
    assert!(look(&dest).orphans.is_empty());
    let back = folder.path().join("r");
    bring_back(&restore_config(&dest, &back));
    let store = open(&back);
    assert_eq!(get(&store, &bucket(&store, "plain"), "more").unwrap(), content(1, 12_345));
}

#[test]
fn the_first_backup_goes_on_after_a_fault_at_each_call() {
    let folder = Folder::in_memory("backup");
    let data = folder.path().join("d");
    let store = open(&data);
    fill(&store);
    for calls in 0.. {
        let dest = Folder::in_memory("faulty");
        let fault = Fault::after(calls);
        let config = backup_config(&data, dest.path());
        let faulty =
            BackupConfig { fault: Some(Arc::clone(&fault)), durable: true, ..config.clone() };
        let broken = backup(&faulty, &mut |_| ());
        if !fault.hit() {
            assert!(broken.is_ok());
            break;
        }
        let files = tree_if_there(dest.path());
        let report = run(&config);
        assert!(report.manifest.is_complete() && look(dest.path()).is_sound());
        // What had arrived is not copied again.
        assert_eq!(report.new.files as usize + files, tree(dest.path()).len());
    }
}

#[test]
fn files_that_have_arrived_before_an_interruption_are_not_copied_again() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = open(&data);
    let b = bucket(&store, "many");
    for n in 0..1100 {
        put_ok(&store, &b, &format!("k{n}"), &content(n, 50));
    }
    let config = backup_config(&data, &dest);
    // Three calls a file and one for its name, so some of the second batch are on their way.
    let fault = Some(Fault::after(3 * 1060 + 1050));
    assert!(backup(&BackupConfig { fault, ..config.clone() }, &mut |_| ()).is_err());
    assert_eq!(tree(&dest).len(), 1024);
    assert!(std::fs::read_dir(dest.join("incoming")).unwrap().count() > 0);
    assert!(BackupDir::open(&dest).unwrap().snapshots().unwrap().is_empty());
    let report = run(&config);
    assert_eq!((report.new.files, report.manifest.files), (76, 1100));
    assert!(look(&dest).is_sound() && !dest.join("incoming").exists());
}

fn tree_if_there(dir: &Path) -> usize {
    if dir.join("buckets").is_dir() { tree(dir).len() } else { 0 }
}

#[test]
fn a_restore_goes_on_after_a_fault_at_each_call_and_nobody_opens_half_of_it() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    fill(&open(&data));
    run(&backup_config(&data, &dest));
    for calls in 0.. {
        let back = Folder::in_memory("restored");
        let dir = back.path().join("data");
        let fault = Fault::after(calls);
        let config = restore_config(&dest, &dir);
        let faulty =
            RestoreConfig { fault: Some(Arc::clone(&fault)), durable: true, ..config.clone() };
        let broken = restore(&faulty, &mut |_| ());
        if !fault.hit() {
            assert!(broken.is_ok());
            break;
        }
        if broken.is_err() && dir.join("buckets").exists() {
            let whole = dir.join("metadata.db").exists() && !dir.join("restoring.json").exists();
            let opened = Store::open(self::config(&dir));
            match opened {
                Err(OpenError::Restoring) => assert!(!whole),
                Ok(_) => {
                    assert!(whole, "after {calls} calls");
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(bring_back(&config).lost, [], "after {calls} calls");
        let report = look(&dir);
        assert!(report.is_sound() && report.orphans.is_empty(), "after {calls} calls");
    }
}

/// It may have looked at the folder just before the restore began there.
#[test]
fn folders_that_are_something_else_are_refused() {
    let folder = Folder::in_memory("backup");
    let data = folder.path().join("d");
    let store = open(&data);
    fill(&store);
    let refused = |config: &BackupConfig| match backup(config, &mut |_| ()) {
        Err(BackupError::Refused(text)) => text,
        other => panic!("{other:?}"),
    };
    let full = folder.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("precious"), b"").unwrap();
    assert!(refused(&backup_config(&data, &full)).contains("not empty"));
    assert!(refused(&backup_config(&data, &data.join("in"))).contains("cannot be in"));
    assert!(refused(&backup_config(&data, folder.path())).contains("cannot be in"));
    let dest = folder.path().join("b");
    run(&backup_config(&data, &dest));
    let other = folder.path().join("other");
    fill(&open(&other));
    assert!(refused(&backup_config(&other, &dest)).contains("another store"));
    let no = |config: &RestoreConfig| match restore(config, &mut |_| ()) {
        Err(BackupError::Refused(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(no(&restore_config(&dest, &full)).contains("not empty"));
    assert!(no(&restore_config(&full, &folder.path().join("r"))).contains("no backup"));
    assert!(no(&restore_config(&dest, &dest.join("in"))).contains("cannot be in"));
    // A snapshot whose metadata.db is damaged is not restored.
    let snapshot = BackupDir::open(&dest).unwrap().snapshots().unwrap().remove(0);
    flip(&snapshot.metadata(), 5000);
    assert!(no(&restore_config(&dest, &folder.path().join("r"))).contains("damaged"));
    assert!(!look(&dest).is_sound());
    // Two at once.
    let mut tried = false;
    let mut inner = None;
    let config = backup_config(&data, &dest);
    backup(&config, &mut |_| {
        if !std::mem::replace(&mut tried, true) {
            inner = Some(refused(&config));
        }
    })
    .unwrap();
    assert!(inner.unwrap().contains("another backup"));
}
