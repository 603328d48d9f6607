//! A full disk: a small file system in memory that is filled to its end. Mounting one needs to be
//! root; where that is not to be had the tests say so and pass.

#[path = "support/store.rs"]
mod support;

use jog::store::backup::{BackupConfig, backup};
use jog::store::verify::{VerifyConfig, verify};
use jog::store::{Bucket, ConfigKind, Entry, ListQuery, Store, StoreConfig, StoreError};
use jog::types::Precondition;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Folder, audit, content, eventually, get, key, put, put_ok, rows};

/// A mounted file system, unmounted at the end.
struct Disk {
    folder: Folder,
}

impl Disk {
    /// `None`, and a line that says why, where nothing can be mounted.
    fn new(size: &str) -> Option<Self> {
        let folder = Folder::new("space");
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(done) if done.status.success() => return Some(Self { folder }),
            Ok(done) => println!("left out: {}", String::from_utf8_lossy(&done.stderr).trim()),
            Err(error) => println!("left out: mount: {error}"),
        }
        None
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The defaults, with files of deleted objects kept for a day.
    fn config(&self) -> StoreConfig {
        StoreConfig { durable: false, ..StoreConfig::new(self.data()) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// A store on a small disk, and what was acknowledged.
struct Filled {
    store: Arc<Store>,
    bucket: Bucket,
    known: BTreeMap<String, (u64, usize)>,
    next: u64,
}

impl Filled {
    fn new(config: StoreConfig) -> Self {
        let store = Arc::new(Store::open(config).unwrap());
        let bucket = support::bucket(&store, "bucket");
        Self { store, bucket, known: BTreeMap::new(), next: 0 }
    }

    /// Writes objects of this size until the disk is full; how many there were.
    fn fill(&mut self, size: usize) -> usize {
        for count in 0..100_000 {
            let (seed, at) = (self.next, format!("key {}", self.next));
            self.next += 1;
            match put(&self.store, &self.bucket, &at, &content(seed, size), Precondition::default())
            {
                Ok(done) => {
                    done.unwrap();
                    self.known.insert(at, (seed, size));
                }
                Err(StoreError::Full) => return count,
                Err(error) => panic!("object {count}: {error}"),
            }
        }
        panic!("the disk never fills");
    }

    /// Everything that was acknowledged is there, and nothing else.
    fn check(&self, dir: &Path) {
        for (at, (seed, size)) in &self.known {
            let bytes = get(&self.store, &self.bucket, at).unwrap_or_else(|| panic!("{at}"));
            assert!(bytes == content(*seed, *size), "{at}");
        }
        let count = rows(dir, "SELECT count(*) FROM objects");
        assert_eq!(count, self.known.len() as i64);
        assert_eq!(audit(dir), Vec::<String>::new());
    }

    fn delete(&mut self, count: usize) {
        for _ in 0..count {
            let (at, _) = self.known.pop_first().expect("there are so many");
            let gone = self.store.delete_object(self.bucket.id, &key(&at), Precondition::default());
            match gone {
                Ok(gone) => assert!(gone.unwrap().existed, "{at}"),
                Err(error) => panic!("{at}, with {} left: {error}", self.known.len()),
            }
        }
    }
}

/// Fills the disk with objects of a size, empties it, and fills it again.
fn fill_and_empty(size: usize) {
    let Some(disk) = Disk::new("24m") else { return };
    let mut filled = Filled::new(disk.config());
    let upkeep = support::upkeep(&filled.store);
    let first = filled.fill(size);
    println!("{first} objects of {size} bytes");
    assert!(matches!(filled.store.ready(), Err(StoreError::Full)));
    filled.check(&disk.data());

    // Room comes back although the files of deleted objects would be kept for a day.
    filled.delete(first / 2);
    eventually("there is room", || filled.store.ready().is_ok());
    filled.check(&disk.data());
    let second = filled.fill(size);
    assert!(second > first / 20, "only {second} objects in the room of {}", first / 2);
    filled.check(&disk.data());

    let all = filled.known.len();
    filled.delete(all);
    put_ok(&filled.store, &filled.bucket, "last", b"last");
    filled.known.insert("last".to_owned(), (0, 0));
    assert_eq!(get(&filled.store, &filled.bucket, "last").unwrap(), b"last");
    filled.store.close().unwrap();
    upkeep.join().unwrap();
    let Filled { store, .. } = filled;
    drop(store);
    let store = Store::open(disk.config()).unwrap();
    assert_eq!(audit(&disk.data()), Vec::<String>::new());
    drop(store);
}

#[test]
fn a_disk_full_of_large_objects() {
    fill_and_empty(700_000);
}

#[test]
fn a_disk_full_of_small_objects() {
    fill_and_empty(3000);
}

/// Without the upkeep thread, room is made by those who need it.
#[test]
fn writers_make_room_themselves() {
    let Some(disk) = Disk::new("24m") else { return };
    let mut filled = Filled::new(disk.config());
    let first = filled.fill(100_000);
    filled.delete(first / 2);
    let second = filled.fill(100_000);
    assert!(second > first / 20, "only {second} objects in the room of {}", first / 2);
    filled.check(&disk.data());
}

/// The disk is really full in the middle of a file: the floor was too low to see it.
#[test]
fn the_end_of_the_disk_inside_a_file() {
    let Some(disk) = Disk::new("24m") else { return };
    let config = StoreConfig { min_free: Some(0), trash_floor: Some(0), ..disk.config() };
    let mut filled = Filled::new(config);
    filled.fill(1_500_000);
    filled.check(&disk.data());
    let upload = support::start(&filled.store, &filled.bucket, "upload");
    if let Ok(upload) = upload {
        let (upload, bytes) = (upload.unwrap(), content(1, 1_500_000));
        let part = support::put_part(&filled.store, &filled.bucket, &upload, 1, &bytes);
        assert!(matches!(part, Err(StoreError::Full)), "{part:?}");
    }
    filled.check(&disk.data());
    filled.delete(5);
    filled.check(&disk.data());
}

/// Others fill the disk: nothing new is taken, what is there can be read and removed, and all
/// goes on once they are gone.
#[test]
fn a_disk_that_others_fill() {
    let Some(disk) = Disk::new("24m") else { return };
    let mut filled = Filled::new(disk.config());
    for _ in 0..5 {
        let at = format!("key {}", filled.next);
        put_ok(&filled.store, &filled.bucket, &at, &content(filled.next, 50_000));
        filled.known.insert(at, (filled.next, 50_000));
        filled.next += 1;
    }
    filled.store.ready().unwrap();
    let other = disk.folder.path().join("other");
    let space = filled.store.space().unwrap();
    std::fs::write(&other, vec![0; (space.free - space.min_free / 2) as usize]).unwrap();
    assert!(matches!(filled.store.ready(), Err(StoreError::Full)));
    assert_eq!(filled.fill(10), 0);
    let full = filled.store.create_blob(&filled.bucket.name, None);
    assert!(matches!(full, Err(StoreError::Full)));
    filled.check(&disk.data());
    filled.delete(2);
    filled.check(&disk.data());
    std::fs::remove_file(&other).unwrap();
    filled.store.ready().unwrap();
    put_ok(&filled.store, &filled.bucket, "again", &content(77, 50_000));
    filled.known.insert("again".to_owned(), (77, 50_000));
    filled.check(&disk.data());
}

/// Small writes without files need room too, and must not take what deletes need.
#[test]
fn rows_alone_fill_no_disk() {
    let Some(disk) = Disk::new("24m") else { return };
    let mut filled = Filled::new(disk.config());
    let upkeep = support::upkeep(&filled.store);
    let count = filled.fill(50_000);
    for n in 0..20_000 {
        match support::start(&filled.store, &filled.bucket, &format!("upload {n}")) {
            Ok(started) => drop(started.unwrap()),
            Err(StoreError::Full) => break,
            Err(error) => panic!("upload {n}: {error}"),
        }
    }
    filled.delete(count);
    eventually("there is room", || filled.store.ready().is_ok());
    let query = ListQuery {
        bucket: filled.bucket.id,
        prefix: String::new(),
        delimiter: None,
        after: None,
        max: 100_000,
    };
    let uploads = filled.store.list_uploads(&query, None).unwrap().entries;
    println!("{} uploads", uploads.len());
    for entry in uploads {
        let Entry::Item(upload) = entry else { panic!("no delimiter, no prefix") };
        let (id, of) = (upload.upload_id, filled.bucket.id);
        filled.store.abort_upload(of, &upload.key, &id).unwrap().unwrap();
    }
    put_ok(&filled.store, &filled.bucket, "last", b"last");
    filled.store.close().unwrap();
    upkeep.join().unwrap();
}

/// There is no room for the undamaged file from the backup: the damaged one stays where it was.
#[test]
fn a_repair_without_room_leaves_what_there_is() {
    let Some(disk) = Disk::new("24m") else { return };
    let (data, backup_dir) = (disk.data(), Folder::in_memory("space-backup"));
    let store = Store::open(disk.config()).unwrap();
    let bucket = support::bucket(&store, "bucket");
    put_ok(&store, &bucket, "large", &content(1, 3_000_000));
    let config = BackupConfig {
        data_dir: data.clone(),
        dest: backup_dir.path().join("b"),
        keep: None,
        link: false,
        trash: true,
        rate: None,
        min_free: Some(0),
        durable: false,
        fault: None,
    };
    backup(&config, &mut |_| ()).unwrap();
    let object = store.object(bucket.id, &key("large")).unwrap().unwrap();
    let file = find(&data.join("buckets"), 3_000_000).expect("it was put");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let other = disk.folder.path().join("other");
    std::fs::write(&other, vec![0; store.space().unwrap().free as usize - 1_000_000]).unwrap();
    let repair = VerifyConfig {
        dir: data.clone(),
        deep: true,
        repair_from: Some(config.dest.clone()),
        ..VerifyConfig::default()
    };
    verify(&repair, &mut |_| ()).unwrap_err();
    assert!(std::fs::read(&file).unwrap() == bytes, "it is where it was");
    assert!(store.open_object(&bucket.name, &object, None, None).unwrap().is_some());
    std::fs::remove_file(&other).unwrap();
    assert_eq!(verify(&repair, &mut |_| ()).unwrap().repaired.len(), 1);
    assert_eq!(get(&store, &bucket, "large").unwrap(), content(1, 3_000_000));
}

/// The file of this size below a folder.
fn find(folder: &Path, size: u64) -> Option<PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => find(&path, size),
            false => (path.metadata().unwrap().len() == size).then_some(path),
        }
    })
}

/// The system has taken writing away, as ext4 does after an error of its disk. Here another file
/// system, which is read-only, covers the data directory.
#[test]
fn a_disk_that_has_become_read_only_is_not_ready() {
    let Some(disk) = Disk::new("24m") else { return };
    let store = Store::open(disk.config()).unwrap();
    store.ready().unwrap();
    let mount = |command: &str, options: &[&str]| {
        let done = Command::new(command).args(options).arg(disk.data()).status();
        assert!(done.unwrap().success());
    };
    mount("mount", &["-t", "tmpfs", "-o", "ro", "tmpfs"]);
    let refused = store.ready();
    mount("umount", &[]);
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    store.ready().unwrap();
}

/// Somebody reads metadata.db for long, and the disk is full: those whose writes are refused take
/// the writer no longer than one of them.
#[test]
fn refused_writes_do_not_hold_up_the_writer() {
    let Some(disk) = Disk::new("24m") else { return };
    let mut filled = Filled::new(disk.config());
    filled.fill(50_000);
    for n in 0..300 {
        let (kind, value) = (ConfigKind::Tagging, Some(format!("{n}")));
        filled.store.set_config(filled.bucket.id, kind, value).unwrap().unwrap();
    }
    let conn = rusqlite::Connection::open(disk.data().join("metadata.db")).unwrap();
    conn.execute_batch("BEGIN; SELECT count(*) FROM objects").unwrap();
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(filled.fill(50_000), 0);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(conn);
}
