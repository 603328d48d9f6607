//! Data directories that are not as this program left them: flipped bits, files cut short, a
//! newer or a restored metadata.db, a second process.

#[path = "support/store.rs"]
mod support;

use jog::store::{Bucket, Data, Object, OpenError, Store, StoreConfig, StoreError};
use jog::types::{Precondition, Span};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{Folder, audit, collect, content, get, key, put_ok, read, rows};

/// The files below `buckets/`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.join("buckets")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// The file of this size.
fn file_of(dir: &Path, size: usize) -> PathBuf {
    let is = |path: &PathBuf| path.metadata().unwrap().len() == size as u64;
    files(dir).into_iter().find(is).expect("a file of that size")
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn object(store: &Store, bucket: &Bucket, at: &str) -> Arc<Object> {
    store.object(bucket.id, &key(at)).unwrap().expect("it was put")
}

/// Reads until the end or an error; the bytes that were handed out, and whether it was Corrupt.
fn handed_out(
    store: &Store,
    bucket: &Bucket,
    object: &Object,
    span: Option<Span>,
    step: usize,
) -> (Vec<u8>, bool) {
    let mut reader = store.open_object(&bucket.name, object, span, None).unwrap().unwrap();
    let (mut bytes, mut buf) = (Vec::new(), vec![0; step]);
    loop {
        match reader.read(&mut buf) {
            Ok(0) => return (bytes, false),
            Ok(n) => bytes.extend_from_slice(&buf[..n]),
            Err(StoreError::Corrupt(_)) => return (bytes, true),
            Err(error) => panic!("{error}"),
        }
    }
}

const STEPS: [usize; 4] = [1 << 20, 65_536, 1000, 7];

#[test]
fn a_flipped_bit_never_looks_complete() {
    let folder = Folder::new("damage-flip");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let bytes = content(1, 150_001);
    put_ok(&store, &bucket, "one file", &bytes);
    let object = object(&store, &bucket, "one file");
    let path = file_of(folder.path(), bytes.len());
    for at in [0, 65_535, 65_536, 75_000, 150_000] {
        flip(&path, at);
        for step in STEPS {
            let (out, corrupt) = handed_out(&store, &bucket, &object, None, step);
            assert!(corrupt && out.len() < bytes.len(), "byte {at}, {} bytes", out.len());
        }
        flip(&path, at);
    }
    assert_eq!(get(&store, &bucket, "one file").unwrap(), bytes);
}

#[test]
fn a_flipped_bit_in_a_part_is_found_before_its_end() {
    let folder = Folder::new("damage-part");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let parts = [content(1, 70_000), content(2, 50_001), content(3, 3)];
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    support::put_parts(&store, &bucket, "parts", &slices).unwrap();
    let object = object(&store, &bucket, "parts");
    let all = parts.concat();
    flip(&file_of(folder.path(), 50_001), 50_000);

    for step in STEPS {
        let (out, corrupt) = handed_out(&store, &bucket, &object, None, step);
        assert!(corrupt && out.len() < 120_001, "{} bytes", out.len());
        assert_eq!(out, all[..out.len()]);
        // A range that covers the whole damaged part, and pieces of its neighbours.
        let span = Span { start: 69_990, len: 50_012 };
        let (out, corrupt) = handed_out(&store, &bucket, &object, Some(span), step);
        assert!(corrupt && out.len() < 50_011, "{} bytes", out.len());
        // The parts beside it are whole.
        for span in [Span { start: 0, len: 70_000 }, Span { start: 120_001, len: 3 }] {
            let (out, corrupt) = handed_out(&store, &bucket, &object, Some(span), step);
            assert!(!corrupt);
            assert_eq!(out, all[span.start as usize..(span.start + span.len) as usize]);
        }
    }
}

#[test]
fn a_file_cut_short_or_gone_is_no_end() {
    let folder = Folder::new("damage-short");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let bytes = content(1, 100_000);
    put_ok(&store, &bucket, "short", &bytes);
    let object = object(&store, &bucket, "short");
    let path = file_of(folder.path(), bytes.len());
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(99_999).unwrap();
    for span in [None, Some(Span { start: 99_990, len: 10 })] {
        let (out, corrupt) = handed_out(&store, &bucket, &object, span, 65_536);
        assert!(corrupt && out.len() < 100_000);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(store.open_object(&bucket.name, &object, None, None).unwrap().is_none());
}

#[test]
fn a_newer_database_is_refused() {
    let folder = Folder::new("damage-newer");
    drop(Store::open(folder.config()).unwrap());
    let database = folder.path().join("metadata.db");
    let set = |version: i64| {
        let conn = rusqlite::Connection::open(&database).unwrap();
        conn.pragma_update(None, "user_version", version).unwrap();
    };
    let conn = rusqlite::Connection::open(&database).unwrap();
    let known: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap();
    drop(conn);
    set(known + 1);
    let error = Store::open(folder.config()).err().expect("it is newer");
    assert!(
        matches!(error, OpenError::Newer { found, known: k } if found == known + 1 && k == known)
    );
    assert!(error.to_string().contains(&format!("version {}", known + 1)), "{error}");
    set(known);
    drop(Store::open(folder.config()).unwrap());
}

#[test]
fn a_second_process_is_refused() {
    let folder = Folder::new("damage-second");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    let mut running = store.create_blob(&bucket.name, None).unwrap();
    running.write(b"bytes on their way").unwrap();
    for _ in 0..2 {
        assert!(matches!(Store::open(folder.config()), Err(OpenError::InUse)));
    }
    // The refused one has touched nothing.
    assert_eq!(files(folder.path()).len(), 1);
    drop(running);
    drop(store);
    drop(Store::open(folder.config()).unwrap());
}

/// metadata.db as a backup has it, and what was written after the backup.
struct Restored {
    folder: Folder,
    later: PathBuf,
}

/// How a backup was taken and put back.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The program was ended properly before the backup, and before it was put back.
    clean: bool,
    /// The program was started anew between the backup and what came later.
    restart: bool,
    /// The old file was removed and the backup copied to its name, which mostly gives it the same
    /// inode; else the backup was renamed.
    copied: bool,
}

fn ways() -> impl Iterator<Item = Way> {
    (0..8).map(|n| Way { clean: n & 1 > 0, restart: n & 2 > 0, copied: n & 4 > 0 })
}

/// Puts "before", takes a backup of metadata.db, puts "later", and puts the backup back.
fn restored(Way { clean, restart, copied }: Way) -> Restored {
    let folder = Folder::new("damage-restored");
    let config = folder.config();
    let database = folder.path().join("metadata.db");
    let backup = folder.path().join("backup");
    let mut store = Store::open(config.clone()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    put_ok(&store, &bucket, "before", &content(1, 1001));
    if clean && restart {
        store.close().unwrap();
    }
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    drop(conn);
    if restart {
        drop(store);
        store = Store::open(config.clone()).unwrap();
    }
    put_ok(&store, &bucket, "later", &content(2, 1002));
    if clean {
        store.close().unwrap();
    }
    drop(store);
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("metadata.db{end}")));
    }
    if copied {
        std::fs::remove_file(&database).unwrap();
        std::fs::copy(&backup, &database).unwrap();
        std::fs::remove_file(&backup).unwrap();
    } else {
        std::fs::rename(&backup, &database).unwrap();
    }
    let later = file_of(folder.path(), 1002);
    Restored { folder, later }
}

fn only_the_later_file_is_unknown(folder: &Folder) {
    let problems = audit(folder.path());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("no row names"), "{problems:?}");
}

/// Files that a restored metadata.db does not know may be what somebody still wants.
#[test]
fn a_restored_database_leaves_unknown_files_alone() {
    for way in ways() {
        let Restored { folder, later } = restored(way);
        let store = Store::open(folder.config()).unwrap();
        let bucket = support::bucket(&store, "bucket");
        assert_eq!(get(&store, &bucket, "before").unwrap(), content(1, 1001));
        assert!(store.object(bucket.id, &key("later")).unwrap().is_none());
        only_the_later_file_is_unknown(&folder);
        put_ok(&store, &bucket, "new", &content(3, 1003));
        assert_eq!(get(&store, &bucket, "new").unwrap(), content(3, 1003));
        store.close().unwrap();
        drop(store);
        collect(&folder.config(), "bucket").unwrap();
        drop(Store::open(folder.config()).unwrap());
        assert!(later.exists(), "{way:?}");
        only_the_later_file_is_unknown(&folder);
    }
}

/// A crash after the restore must not take them for its own leftovers, either.
#[test]
fn a_crash_after_a_restore_leaves_unknown_files_alone() {
    for way in ways() {
        let Restored { folder, later } = restored(way);
        let store = Store::open(folder.config()).unwrap();
        let bucket = support::bucket(&store, "bucket");
        put_ok(&store, &bucket, "new", &content(3, 1003));
        let mut running = store.create_blob(&bucket.name, None).unwrap();
        running.write(&content(4, 1004)).unwrap();
        std::mem::forget(running);
        drop(store);
        let store = Store::open(folder.config()).unwrap();
        assert_eq!(get(&store, &bucket, "new").unwrap(), content(3, 1003));
        assert!(later.exists(), "{way:?}: the later file is gone");
        only_the_later_file_is_unknown(&folder);
    }
}

/// With the directory as a whole moved or copied elsewhere nothing is lost.
#[test]
fn a_copied_directory_opens() {
    let (folder, other) = (Folder::new("damage-from"), Folder::new("damage-to"));
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    put_ok(&store, &bucket, "key", &content(1, 5000));
    support::put_parts(&store, &bucket, "parts", &[&content(2, 500), &content(3, 50)]).unwrap();
    store.close().unwrap();
    drop(store);
    let target = other.path().join("data");
    let status =
        std::process::Command::new("cp").arg("-a").arg(folder.path()).arg(&target).status();
    assert!(status.unwrap().success());
    let config = StoreConfig { dir: target.clone(), ..other.config() };
    let store = Store::open(config).unwrap();
    assert_eq!(get(&store, &bucket, "key").unwrap(), content(1, 5000));
    let parts = object(&store, &bucket, "parts");
    assert!(matches!(parts.data, Data::Parts(_)));
    assert_eq!(read(&store, &bucket, &parts, None, 99).unwrap().unwrap().len(), 550);
    assert_eq!(audit(&target), Vec::<String>::new());
}

/// A file that cannot be removed, here because a folder has its name, holds up no other one.
#[test]
fn trash_that_cannot_be_removed_keeps_no_other_trash() {
    let folder = Folder::new("damage-trash");
    let store = Store::open(folder.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    for at in ["first", "second"] {
        put_ok(&store, &bucket, at, &content(at.len() as u64, 1000 + at.len()));
        store.delete_object(bucket.id, &key(at), Precondition::default()).unwrap().unwrap();
    }
    let stuck = file_of(folder.path(), 1005);
    std::fs::remove_file(&stuck).unwrap();
    std::fs::create_dir(&stuck).unwrap();
    std::fs::write(stuck.join("in it"), b"").unwrap();
    store.close().unwrap();
    drop(store);
    let trash = || rows(folder.path(), "SELECT count(*) FROM garbage");
    // Where there is no room, it stops no write that needs some.
    collect(&folder.config(), "bucket").unwrap();
    assert_eq!((trash(), files(folder.path()).len()), (1, 1), "only what cannot go is left");
    std::fs::remove_dir_all(&stuck).unwrap();
    collect(&folder.config(), "bucket").unwrap();
    assert_eq!(trash(), 0, "it is tried again");
}

/// What was deleted while the clock was ahead waits no longer than anything else.
#[test]
fn trash_from_the_future_goes_in_its_time() {
    let folder = Folder::new("damage-future");
    let config = StoreConfig { trash_retention_ms: 300, ..folder.config() };
    let store = Store::open(config.clone()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    for at in ["a", "b", "c"] {
        put_ok(&store, &bucket, at, &content(1, 1000));
        store.delete_object(bucket.id, &key(at), Precondition::default()).unwrap().unwrap();
    }
    store.close().unwrap();
    drop(store);
    let conn = rusqlite::Connection::open(folder.path().join("metadata.db")).unwrap();
    conn.execute("UPDATE garbage SET deleted_ms = deleted_ms + 86400000 WHERE id = 2", []).unwrap();
    drop(conn);
    let store = Arc::new(Store::open(config).unwrap());
    let thread = support::upkeep(&store);
    support::eventually("all of it is gone", || {
        rows(folder.path(), "SELECT count(*) FROM garbage") == 0
    });
    store.close().unwrap();
    thread.join().unwrap();
}
