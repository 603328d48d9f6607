//! Makes a snapshot of a data directory in a backup.
//!
//! First the moment: files of deleted objects are held, then metadata.db is read in one
//! transaction, which neither waits for writers nor lets them wait. Then the files that it names.
//! Whatever is deleted or overwritten meanwhile, they stay.

use super::super::census::{Census, Named, Source, Total};
use super::super::fs::{Fault, Fs, free_space};
use super::super::open::usual_min_free;
use super::super::{BlobId, StoreError, hold};
use super::carry::{Carried, Carrier, Damage, Pace, place};
use super::manifest::{self, Manifest, name_of, sha256, write_mark};
use super::{
    BackupDir, BackupError, Lost, PAGE, Progress, Watch, make_dirs, name_lost, prune, read_dir,
    remove_flat, sync_dir, write_file,
};
use crate::limits::BACKUP_STEP_PAGES;
use crate::types::time::{iso, now_ms};
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// In a data directory: when it was last backed up, and how that went.
pub const LAST_BACKUP: &str = "last-backup.json";
/// Pause where metadata.db is locked for a moment.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// What is to be backed up, and how.
#[derive(Clone, Debug)]
pub struct BackupConfig {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The backup; made if it is not there.
    pub dest: PathBuf,
    /// So many complete snapshots stay; `None`: all.
    pub keep: Option<usize>,
    /// Files that are on the same file system as the backup get a further name there.
    pub link: bool,
    /// Files of deleted objects come along.
    pub trash: bool,
    /// `JOG_MIN_FREE`, in bytes: what a backup leaves of the disk that the server writes on.
    pub min_free: Option<u64>,
    /// Bytes a second that are read of files, at most.
    pub rate: Option<u64>,
    /// Whether it reaches the disk.
    pub durable: bool,
    /// For tests: lets a file-system call fail.
    pub fault: Option<Arc<Fault>>,
}

/// What a run did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupReport {
    /// The name of the snapshot.
    pub snapshot: String,
    /// What belongs to it.
    pub manifest: Manifest,
    /// Files that are new in the backup, and their bytes.
    pub new: Total,
    /// Those of them that share the disk space of the store.
    pub linked: u64,
    /// What could not be had, with those who need it.
    pub lost: Vec<Lost>,
    /// Snapshots that were removed.
    pub removed: Vec<String>,
    /// Files that no snapshot needed any more, and their bytes.
    pub pruned: Total,
}

/// Makes a snapshot, and prunes.
pub fn backup(config: &BackupConfig, watch: &mut Watch<'_>) -> Result<BackupReport, BackupError> {
    let fs = Fs { durable: config.durable, fault: config.fault.clone() };
    let live = config.data_dir.join("metadata.db");
    let census = Census::new()?;
    let store = census.look(Source::Live(&live))?.store_id()?;
    let dir = prepare(config, &fs, &store)?;
    let _one = dir.lock()?;
    clear(&dir)?;
    // In this order: what the snapshot names is held.
    let held = hold::hold(&config.data_dir)?;
    // After all others, whatever the clock says: the newest is what is restored and kept.
    let moment_ms = now_ms().max(dir.newest_ms()?.map_or(0, |newest| newest.saturating_add(1)));
    let snapshot = name_of(moment_ms);
    let folder = dir.snapshots_dir().join(&snapshot);
    fs.mkdir(&folder)?;
    sync_dir(&fs, &dir.snapshots_dir())?;
    let metadata = folder.join("metadata.db");
    let floor = floor(config)?;
    let size = std::fs::metadata(&live).map_err(|e| StoreError::io("stat", &live, e))?.len();
    if floor > 0 && free_space(&config.dest)?.0 < floor + size {
        return Err(StoreError::Full.into());
    }
    copy_database(&fs, Source::Live(&live), &metadata, watch)?;
    let (metadata_bytes, metadata_sha256) =
        sha256(&metadata).map_err(|e| StoreError::io("read", &metadata, e))?;
    census.look(Source::Still(&metadata))?.count()?;
    let mut copied = copy_files(config, &dir, &census, floor, watch)?;
    drop(held);
    let lost = name_lost(&census, Source::Still(&metadata), std::mem::take(&mut copied.damaged))?;
    let needed = census.total(false)?;
    let mut manifest = Manifest {
        moment_ms,
        finished_ms: now_ms(),
        metadata_bytes,
        metadata_sha256,
        files: needed.files,
        bytes: needed.bytes,
        trash_files: copied.trash,
        lost_files: 0,
        lost: Vec::new(),
    };
    manifest.set_lost(&lost);
    manifest.write(&fs, &folder)?;
    let (removed, pruned) = match config.keep {
        Some(keep) => prune::prune(&dir, keep, watch)?,
        None => Default::default(),
    };
    note(config, &fs, &manifest);
    let Copied { new, linked, .. } = copied;
    Ok(BackupReport { snapshot, manifest, new, linked, lost, removed, pruned })
}

/// Free space in bytes that the backup must leave: on the disk of the data directory what the
/// server needs, which would refuse even to delete.
fn floor(config: &BackupConfig) -> Result<u64, StoreError> {
    let disk = |path: &Path| match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.dev()),
        Err(e) => Err(StoreError::io("stat", path, e)),
    };
    if disk(&config.dest)? != disk(&config.data_dir)? {
        return Ok(0);
    }
    let (_, size) = free_space(&config.dest)?;
    Ok(config.min_free.unwrap_or_else(|| usual_min_free(size)))
}

/// The folder of the backup, made or found, which is of this store.
fn prepare(config: &BackupConfig, fs: &Fs, store: &str) -> Result<BackupDir, BackupError> {
    let dest = &config.dest;
    let shown = dest.display();
    make_dirs(fs, dest)?;
    let real =
        |path: &Path| std::fs::canonicalize(path).map_err(|e| StoreError::io("realpath", path, e));
    let (inner, outer) = (real(dest)?, real(&config.data_dir)?);
    if inner.starts_with(&outer) || outer.starts_with(&inner) {
        return Err(BackupError::refused(format!(
            "{shown}: a backup cannot be in the data directory, nor around it"
        )));
    }
    if BackupDir::is_one(dest) {
        let known = manifest::read_mark(dest)?;
        if known != store {
            return Err(BackupError::refused(format!(
                "{shown} is a backup of another store; take another folder"
            )));
        }
    } else {
        // Such as that of a disk with a file system of its own.
        let ours = |name: &std::ffi::OsStr| name == "lost+found" || name == "jog-backup.new";
        if read_dir(dest)?.iter().any(|entry| !ours(&entry.file_name())) {
            return Err(BackupError::refused(format!(
                "{shown} is not empty and is no backup; take an empty folder"
            )));
        }
        write_mark(fs, dest, store)?;
    }
    let dir = BackupDir { root: dest.clone(), fs: fs.clone() };
    make_dirs(fs, &dir.snapshots_dir())?;
    fs.mkdir(&dest.join("buckets"))?;
    Ok(dir)
}

/// Removes what interrupted runs left: snapshots without a manifest. Their files stay, since the
/// next run needs most of them.
fn clear(dir: &BackupDir) -> Result<(), BackupError> {
    for entry in read_dir(&dir.snapshots_dir())? {
        if !entry.path().join(manifest::FILE).exists() {
            remove_flat(&dir.fs, &entry.path())?;
        }
    }
    Ok(())
}

/// Copies a metadata.db as it is at one moment into a new file, which needs no WAL beside it.
pub fn copy_database(
    fs: &Fs,
    from: Source<'_>,
    to: &Path,
    watch: &mut Watch<'_>,
) -> Result<(), StoreError> {
    let source = from.connect()?;
    // All steps see the moment of this transaction.
    source.execute_batch("BEGIN")?;
    let _: i64 = source.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    // The mode of its owner alone.
    drop(fs.create(to)?);
    let mut target = Connection::open(to)?;
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    {
        let backup = Backup::new(&source, &mut target)?;
        loop {
            let step = backup.step(BACKUP_STEP_PAGES)?;
            let now = backup.progress();
            let pages = |n: i32| u64::try_from(n).unwrap_or(0);
            let (all, left) = (pages(now.pagecount), pages(now.remaining));
            watch(&Progress {
                what: "metadata",
                files: all.saturating_sub(left),
                of_files: all,
                bytes: all.saturating_sub(left) * 4096,
                of_bytes: all * 4096,
            });
            match step {
                StepResult::Done => break,
                StepResult::Busy | StepResult::Locked => std::thread::sleep(LOCKED_PAUSE),
                _ => (),
            }
        }
    }
    source.execute_batch("COMMIT")?;
    drop(target);
    let target = Connection::open(to)?;
    let mode: String = target.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    let found: String = target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if mode != "delete" || found != "ok" {
        return Err(StoreError::Corrupt(format!("the copy of metadata.db: {mode}, {found}")));
    }
    target.close().map_err(|(_, e)| e)?;
    let file = fs.open(to)?;
    fs.sync_file(to, &file)
}

#[derive(Default)]
struct Copied {
    new: Total,
    linked: u64,
    trash: u64,
    damaged: Vec<(BlobId, PathBuf, Damage)>,
}

/// Brings every file of the census into the backup.
fn copy_files(
    config: &BackupConfig,
    dir: &BackupDir,
    census: &Census,
    floor: u64,
    watch: &mut Watch<'_>,
) -> Result<Copied, BackupError> {
    let pace = Pace::new(config.rate);
    let (from, to) = (&config.data_dir, &dir.root);
    let mut carrier = Carrier::new(&dir.fs, from, to, config.link, floor, pace)?;
    let mut copied = Copied::default();
    let needed = census.total(false)?;
    let trash = if config.trash { census.total(true)? } else { Total::default() };
    let mut progress = Progress {
        what: "files",
        of_files: needed.files + trash.files,
        of_bytes: needed.bytes + trash.bytes,
        ..Progress::default()
    };
    let mut after = (0, 0);
    loop {
        let page = census.page(after, config.trash, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.at;
        for named in &page {
            carry_one(&mut carrier, &mut copied, config, named)?;
            progress.files += 1;
            progress.bytes += named.size.unwrap_or(0);
            watch(&progress);
        }
    }
    carrier.finish()?;
    Ok(copied)
}

fn carry_one(
    carrier: &mut Carrier,
    copied: &mut Copied,
    config: &BackupConfig,
    named: &Named,
) -> Result<(), StoreError> {
    let carried = carrier.carry(named)?;
    copied.trash += u64::from(named.trash && !matches!(carried, Carried::Lost(_)));
    match carried {
        Carried::Present => (),
        Carried::New { bytes, linked } => {
            copied.new.files += 1;
            copied.new.bytes += bytes;
            copied.linked += u64::from(linked);
        }
        // Garbage may go at any time.
        Carried::Lost(_) if named.trash => (),
        Carried::Lost(damage) => {
            let (blob, path) = place(named, &config.data_dir);
            copied.damaged.push((blob, path, damage));
        }
    }
    Ok(())
}

/// Notes in the data directory that it was backed up, for `jog stats`. A backup is not less of one
/// when that fails.
fn note(config: &BackupConfig, fs: &Fs, manifest: &Manifest) {
    let value = json!({
        "moment": iso(manifest.moment_ms),
        "moment_ms": manifest.moment_ms,
        "finished_ms": manifest.finished_ms,
        "complete": manifest.is_complete(),
        "dest": config.dest.to_string_lossy(),
    });
    let path = config.data_dir.join(LAST_BACKUP);
    if let Err(error) = write_file(fs, &path, &format!("{value}\n")) {
        log::warn!("cannot note the backup: {error}");
    }
}
