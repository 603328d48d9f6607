//! Backups of a data directory, made while its server runs, and what is restored from them.
//!
//! A backup is a folder that holds several snapshots:
//!
//! ```text
//! jog-backup.json                  what it is, and of which store
//! lock                             held by the process that writes it
//! buckets/NAME/objects/..          the files of all snapshots, as in a data directory
//! snapshots/20261124T100534.123Z/  the moment of the snapshot, UTC
//!     metadata.db                  as it was at that moment
//!     manifest.json                what belongs to it, with the SHA-256 of metadata.db
//! incoming/                        files that are being written
//! ```
//!
//! What holds:
//!
//! 1. A snapshot exists from the moment when `manifest.json` has its name. By then metadata.db and
//!    every file that it names are durable. What an interrupted run left is no snapshot; the next
//!    run removes it, and goes on with the files that are there.
//! 2. A file gets its name below `buckets/` when its bytes are durable, and is never changed: the
//!    number in its name is never used again by the store. So a further snapshot only needs what is
//!    new.
//! 3. Every byte is covered: that of a file by the CRC-64/NVME in its row, that of metadata.db by
//!    the SHA-256 in the manifest. Both are checked when a file comes into a backup or out of it.
//! 4. Files of deleted objects come along for as long as the store keeps them, so that another
//!    metadata.db of about that time, such as one of Litestream, finds its files here as well.

mod carry;
mod manifest;
mod prune;
mod restore;
mod run;

pub use carry::{Damage, Pace};
pub(super) use carry::{check, replace};
pub(super) use manifest::name_of as moment_name;
pub use manifest::{Manifest, Snapshot};
pub use restore::{RestoreConfig, RestoreReport, Wanted, restore};
pub use run::{BackupConfig, BackupReport, LAST_BACKUP, backup};

use super::census::{Census, FileOwner, Source};
use super::fs::Fs;
use super::{BlobId, StoreError};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

/// In a data directory: a restore into it has not ended.
pub const RESTORING: &str = "restoring.json";
/// What makes a folder a backup.
pub const MARK: &str = "jog-backup.json";
/// Files that are named by a query at once.
const PAGE: usize = 1000;

/// Why there is no backup, or nothing restored.
#[derive(Debug)]
pub enum BackupError {
    /// It would not be right; the text says why, in one line.
    Refused(String),
    /// Something failed.
    Store(StoreError),
}

impl BackupError {
    fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => f.write_str(text),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BackupError {}

/// How far something that takes long has come.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What is being done.
    pub what: &'static str,
    /// Files that are done.
    pub files: u64,
    /// Files in all.
    pub of_files: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes in all.
    pub of_bytes: u64,
}

/// Is told of progress, often.
pub type Watch<'w> = dyn FnMut(&Progress) + 'w;

/// A file that is needed and is not as it must be, with those who need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// Its path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub damage: Damage,
    /// The objects, versions and uploads that need it.
    pub owners: Vec<FileOwner>,
}

/// Finds who needs these files. Those that nobody needs any more are left out.
pub(super) fn name_lost(
    census: &Census,
    source: Source<'_>,
    damaged: Vec<(BlobId, PathBuf, Damage)>,
) -> Result<Vec<Lost>, StoreError> {
    if damaged.is_empty() {
        return Ok(Vec::new());
    }
    let blobs: HashSet<i64> = damaged.iter().map(|(blob, ..)| blob.0).collect();
    let mut owners: HashMap<i64, Vec<FileOwner>> = HashMap::new();
    for owner in census.look(source)?.owners(&blobs)? {
        owners.entry(owner.blob.0).or_default().push(owner);
    }
    let named = damaged.into_iter().filter_map(|(blob, path, damage)| {
        let owners = owners.remove(&blob.0)?;
        Some(Lost { path, damage, owners })
    });
    Ok(named.collect())
}

/// The folder of a backup.
#[derive(Debug)]
pub struct BackupDir {
    root: PathBuf,
    fs: Fs,
}

impl BackupDir {
    /// A backup that is there, to be read.
    pub fn open(root: &Path) -> Result<Self, BackupError> {
        let fs = Fs { durable: true, fault: None };
        manifest::read_mark(root)?;
        Ok(Self { root: root.to_owned(), fs })
    }

    /// Whether a folder is a backup.
    pub fn is_one(root: &Path) -> bool {
        root.join(MARK).is_file()
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn snapshots_dir(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, BackupError> {
        let dir = self.snapshots_dir();
        let mut found = Vec::new();
        for entry in read_dir(&dir)? {
            let path = entry.path();
            if path.join(manifest::FILE).exists() {
                found.push(Snapshot::read(&path)?);
            }
        }
        found.sort_by_key(|snapshot| snapshot.manifest.moment_ms);
        Ok(found)
    }

    /// The moment of the newest snapshot, in milliseconds since 1970.
    fn newest_ms(&self) -> Result<Option<i64>, StoreError> {
        // One that cannot be read now keeps nobody from making another.
        let read = |entry: &std::fs::DirEntry| Snapshot::read(&entry.path()).ok();
        let found = read_dir(&self.snapshots_dir())?;
        Ok(found.iter().filter_map(read).map(|snapshot| snapshot.manifest.moment_ms).max())
    }

    /// Keeps others from writing it until this is dropped. `None` where there is no lock to take,
    /// as in a copy of a backup.
    pub fn lock_shared(&self) -> Result<Option<File>, BackupError> {
        let Ok(file) = File::open(self.root.join("lock")) else { return Ok(None) };
        match file.try_lock_shared() {
            Err(std::fs::TryLockError::WouldBlock) => {
                let shown = self.root.display();
                Err(BackupError::refused(format!("{shown}: a backup is being made there")))
            }
            _ => Ok(Some(file)),
        }
    }

    /// Locks it for this process, which is going to write.
    pub(super) fn lock(&self) -> Result<File, BackupError> {
        let path = self.root.join("lock");
        let io = |op, e| BackupError::Store(StoreError::io(op, &path, e));
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| io("open", e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                let shown = self.root.display();
                Err(BackupError::refused(format!("{shown}: another backup is being made there")))
            }
            Err(std::fs::TryLockError::Error(e)) => Err(io("lock", e)),
        }
    }
}

/// The entries of a folder; none if it is not there.
pub(super) fn read_dir(dir: &Path) -> Result<Vec<std::fs::DirEntry>, StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("readdir", dir, e)),
    };
    entries.collect::<Result<_, _>>().map_err(|e| StoreError::io("readdir", dir, e))
}

/// Removes the files in a folder, and the folder; nothing if it is not there.
fn remove_flat(fs: &Fs, dir: &Path) -> Result<(), StoreError> {
    for entry in read_dir(dir)? {
        fs.unlink(&entry.path())?;
    }
    if dir.exists() && !fs.rmdir(dir) {
        let source = std::io::Error::from(std::io::ErrorKind::DirectoryNotEmpty);
        return Err(StoreError::io("rmdir", dir, source));
    }
    Ok(())
}

/// Makes a folder and those above it, with durable entries.
fn make_dirs(fs: &Fs, dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dirs(fs, above)?;
    fs.mkdir(dir)?;
    sync_dir(fs, above)
}

fn sync_dir(fs: &Fs, dir: &Path) -> Result<(), StoreError> {
    let handle = fs.open(dir)?;
    fs.sync_dir(dir, &handle)
}

/// Writes a small file so that it is there whole and durable, or not at all.
fn write_file(fs: &Fs, path: &Path, text: &str) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    fs.unlink(&new)?;
    let mut file = fs.create(&new)?;
    fs.write(&new, &mut file, text.as_bytes())?;
    fs.sync_file(&new, &file)?;
    fs.rename(&new, path)?;
    sync_dir(fs, path.parent().unwrap_or(Path::new(".")))
}

/// The folders in a folder. `strange` gets files that somebody has put between them.
fn folders(
    dir: &Path,
    strange: &mut dyn FnMut(&Path, u64),
) -> Result<Vec<std::fs::DirEntry>, StoreError> {
    let mut entries = read_dir(dir)?;
    entries.retain(|entry| {
        let path = entry.path();
        match std::fs::metadata(&path) {
            Ok(meta) if !meta.is_dir() => strange(&path, meta.len()),
            _ => return true,
        }
        false
    });
    Ok(entries)
}

/// Takes a file: its bucket, its number, its path and its size.
pub(super) type Found<'f> = dyn FnMut(&str, BlobId, &Path, u64) -> Result<(), StoreError> + 'f;

/// Every file below `buckets/` that is named as files of the store are. `strange` gets the others.
pub(super) fn walk(
    root: &Path,
    found: &mut Found<'_>,
    strange: &mut dyn FnMut(&Path, u64),
) -> Result<(), StoreError> {
    for bucket in folders(&root.join("buckets"), strange)? {
        let name = bucket.file_name().to_string_lossy().into_owned();
        for upper in folders(&bucket.path().join("objects"), strange)? {
            for lower in folders(&upper.path(), strange)? {
                for file in read_dir(&lower.path())? {
                    let path = file.path();
                    // Gone since the folder was read.
                    let Ok(meta) = file.metadata() else { continue };
                    let id = super::ids::parse_file_name(&file.file_name().to_string_lossy());
                    let id = id.filter(|id| super::census::path_of(root, &name, *id) == path);
                    match id {
                        Some(id) if meta.is_file() => found(&name, id, &path, meta.len())?,
                        _ => strange(&path, meta.len()),
                    }
                }
            }
        }
    }
    Ok(())
}
