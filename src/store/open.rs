//! Opening and closing a data directory.

use super::blob::Blobs;
use super::db::{self, Readers, Writer};
use super::fs::{Fault, Fs, free_space};
use super::ids::{self, Ids};
use super::signal::Signal;
use super::{OpenError, Store, StoreError, garbage, recover, schema};
use crate::limits::{BLOB_RESERVE, SQLITE_CLOSE_MS};
use rusqlite::{Connection, OptionalExtension, params};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A metadata.db below this size is searched for the leftovers of a crash before the store is
/// opened, which takes milliseconds; in a larger one the upkeep does it, since it reads all of it.
const RECOVER_AT_ONCE_BYTES: u64 = 16 << 20;

/// How long a directory may be locked before it counts as in use: a process that is just ending,
/// or one of its children between fork and exec, still holds the lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// Pause between two tries.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `JOG_DATA_DIR`; made if it is not there.
    pub dir: PathBuf,
    /// `JOG_DURABILITY=full`: acknowledged bytes survive a crash of the machine.
    pub durable: bool,
    /// How long the files of deleted objects are kept, in milliseconds.
    pub trash_retention_ms: i64,
    /// Free space in bytes under which garbage is removed before its time; `None`: the larger of
    /// twice `min_free` and 5 % of the file system, at most 10 GiB.
    pub trash_floor: Option<u64>,
    /// Free space in bytes under which nothing new is taken, so that deletes still have room;
    /// `None`: 1 % of the file system, at least 4 MiB, at most 256 MiB.
    pub min_free: Option<u64>,
    /// For tests: lets a file-system call fail.
    pub fault: Option<Arc<Fault>>,
}

impl StoreConfig {
    /// The defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durable: true,
            trash_retention_ms: 24 * 3600 * 1000,
            trash_floor: None,
            min_free: None,
            fault: None,
        }
    }
}

/// Eight random bytes from the kernel.
pub fn random_u64() -> u64 {
    let mut bytes = [0u8; 8];
    // Fails only where the system call does not exist; the clock then keeps names apart.
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        return crate::types::time::now_ms() as u64;
    }
    u64::from_ne_bytes(bytes)
}

/// Sequence numbers: below `low` everything is settled, below `reserved` any may be in use. `run`
/// is drawn at each start.
struct Numbers {
    low: i64,
    reserved: i64,
    run: i64,
}

fn load_numbers(conn: &Connection) -> Result<Numbers, StoreError> {
    let get = |name: &str| -> Result<Option<i64>, StoreError> {
        let found = conn
            .query_row("SELECT value FROM settings WHERE name = ?1", [name], |row| row.get(0))
            .optional()?;
        Ok(found)
    };
    let (low, reserved) = (get("blob_low")?, get("blob_reserved")?);
    // A new directory starts anywhere: ext4 places a folder by its name, so the first folders of
    // two directories, or of one that was made anew, are not in the same part of the disk.
    let first = ids::first_in_folder(random_u64() & 0xf_ffff);
    Ok(Numbers {
        low: low.unwrap_or(first),
        reserved: reserved.unwrap_or(first),
        run: get("run")?.unwrap_or(0),
    })
}

/// Notes that another run begins.
fn save_run(conn: &Connection, run: i64) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES ('run', ?1)")?
        .execute([run])?;
    Ok(())
}

/// Notes sequence numbers, see [`Numbers`].
pub fn save_numbers(conn: &Connection, low: i64, reserved: i64) -> Result<(), StoreError> {
    let mut statement =
        conn.prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)")?;
    statement.execute(params!["blob_low", low])?;
    statement.execute(params!["blob_reserved", reserved])?;
    Ok(())
}

/// Which metadata.db a data directory last ran with. A restored one is another file, which may
/// have got the same inode, and mostly it is from another run. The device is left out: its number
/// may change when the machine starts.
fn identity(database: &Path, run: i64) -> Result<String, StoreError> {
    let meta = std::fs::metadata(database).map_err(|e| StoreError::io("stat", database, e))?;
    let born = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let born = born.map_or(0, |t| t.as_nanos());
    Ok(format!("metadata.db {} {born} {run:x}", meta.ino()))
}

/// Locks the directory for this process.
fn lock_directory(path: &Path) -> Result<File, OpenError> {
    let io = |op, e| OpenError::Store(StoreError::io(op, path, e));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| io("open", e))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse),
            Err(TryLockError::Error(e)) => return Err(io("lock", e)),
        }
    }
}

impl Store {
    /// Opens a data directory: locks it, makes or migrates metadata.db, and removes what a crash
    /// left behind.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let fs = Fs { durable: config.durable, fault: config.fault.clone() };
        make_root(&fs, &config.dir)?;
        if config.dir.join(super::backup::RESTORING).exists() {
            return Err(OpenError::Restoring);
        }
        let mut lock = lock_directory(&config.dir.join("jog.lock"))?;
        let buckets = config.dir.join("buckets");
        fs.mkdir(&buckets)?;
        let database = config.dir.join("metadata.db");
        make_private(&database)?;
        let mut conn = db::open_writer(&database, config.durable)?;
        schema::migrate(&mut conn)?;
        let handle = fs.open(&config.dir)?;
        fs.sync_dir(&config.dir, &handle)?;

        let numbers = load_numbers(&conn)?;
        super::objects::begin_numbers(&conn)?;
        let signal = Arc::new(Signal::default());
        let hook = Arc::clone(&signal);
        let writer = Writer::new(conn, move |frames| hook.committed(frames))?;
        let readers = Readers::new(&database);
        let mut before = String::new();
        let known =
            lock.read_to_string(&mut before).is_ok() && before == identity(&database, numbers.run)?;
        let next = match known {
            true => numbers.reserved,
            false => numbers.reserved.max(recover::behind_all(&buckets)?),
        };
        let run = (random_u64() >> 1) as i64;
        let blobs = Arc::new(Blobs::new(buckets, fs, Ids::new(next, next, run as u32)));
        let leftovers =
            (known && numbers.low < numbers.reserved).then_some(numbers.low..numbers.reserved);
        let small = std::fs::metadata(&database).is_ok_and(|m| m.len() < RECOVER_AT_ONCE_BYTES);
        let store = Self {
            config,
            blobs,
            writer,
            readers,
            pins: Arc::new(garbage::Pins::default()),
            signal,
            cache: super::cache::BucketCache::default(),
            owners: super::owners::Owners::default(),
            reserving: Mutex::new(()),
            low_space_ms: AtomicI64::new(i64::MIN / 2),
            plenty: Mutex::default(),
            uncut: Mutex::default(),
            leftovers: Mutex::new(leftovers),
            outbox: Arc::default(),
            rules_bell: super::Bell::default(),
            touched: Mutex::default(),
            ending: Arc::default(),
            _lock: lock,
        };
        if small {
            store.recover()?;
        }
        store.writer.write(move |conn| save_run(conn, run))?;
        store.reserve(next + BLOB_RESERVE as i64)?;
        store
            .remember(&identity(&database, run)?)
            .map_err(|e| StoreError::io("write", Path::new("jog.lock"), e))?;
        Ok(store)
    }

    /// Removes the files that a crash left without a row, if there was one.
    pub(super) fn recover(&self) -> Result<(), StoreError> {
        let Some(range) = db::lock(&self.leftovers).clone() else { return Ok(()) };
        let root = self.config.dir.join("buckets");
        let (low, high) = (range.start, range.end);
        let removed = recover::run(&root, &self.blobs, &self.readers, low, high)?;
        *db::lock(&self.leftovers) = None;
        if removed > 0 {
            log::info!("removed {removed} files of uploads that a crash interrupted");
        }
        Ok(())
    }

    fn remember(&self, identity: &str) -> std::io::Result<()> {
        let mut lock = &self._lock;
        lock.seek(SeekFrom::Start(0))?;
        lock.set_len(0)?;
        lock.write_all(identity.as_bytes())?;
        if self.config.durable { lock.sync_data() } else { Ok(()) }
    }

    /// Notes that nothing is in flight and moves the WAL into metadata.db. To be called when no
    /// request is running any more.
    pub fn close(&self) -> Result<(), StoreError> {
        self.signal.stop();
        self.stop_jobs();
        self.blobs.ready.stop();
        let ids = &self.blobs.ids;
        let pending = db::lock(&self.leftovers).as_ref().map(|range| range.start);
        let next = ids.next();
        let low = ids.low_water().min(pending.unwrap_or(i64::MAX));
        // With nothing in flight both are equal, and the next start has nothing to look for.
        self.writer.write(move |conn| {
            super::objects::end_numbers(conn)?;
            save_numbers(conn, low, next)
        })?;
        self.checkpoint()
    }

    /// Closes metadata.db, by which the WAL goes away: a copy of the data directory then needs one
    /// file less. Beside Litestream it stays, with the frames that are not replicated yet. To be
    /// called after [`Store::close`]; whoever still has the store finds it closed.
    pub fn disconnect(&self) -> Result<(), StoreError> {
        // First: only a connection that writes can remove the WAL, and only the last one does.
        self.readers.close(Duration::from_millis(SQLITE_CLOSE_MS));
        self.writer.close(self.is_replicated())
    }

    /// Free space and size of the file system, in bytes, and the two floors.
    pub fn space(&self) -> Result<Space, StoreError> {
        let (free, size) = free_space(&self.config.dir)?;
        let percent = |n: u64| size / 100 * n;
        let min_free = self.config.min_free.unwrap_or_else(|| usual_min_free(size));
        let usual = percent(5).min(10 << 30).max(min_free.saturating_mul(2));
        let trash_floor = self.config.trash_floor.unwrap_or(usual).max(min_free);
        Ok(Space { free, size, min_free, trash_floor })
    }
}

/// `JOG_MIN_FREE` if it is not set, of a file system of this size, in bytes.
pub(super) fn usual_min_free(size: u64) -> u64 {
    (size / 100).clamp(4 << 20, 256 << 20)
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.disconnect() {
            log::warn!("closing metadata.db: {error}");
        }
    }
}

/// The room on the disk, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// The size of the file system.
    pub size: u64,
    /// Under this nothing new is taken.
    pub min_free: u64,
    /// Under this garbage is removed before its time.
    pub trash_floor: u64,
}

/// Makes the database's file, for its owner alone; SQLite gives its other files the same mode.
fn make_private(database: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(database)
        .map(|_| ())
        .map_err(|e| StoreError::io("create", database, e))
}

/// Makes the data directory and those above it.
fn make_root(fs: &Fs, dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_root(fs, parent)?;
    }
    fs.mkdir(dir)?;
    let above = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let handle = fs.open(above)?;
    fs.sync_dir(above, &handle)
}
