//! Makes a data directory from a backup.
//!
//! Until all of it is there a data directory has `restoring.json`, and no server opens it; the
//! same restore may be run again and goes on. metadata.db comes last.

use super::super::census::{Census, Source, Total};
use super::super::fs::{Fault, Fs};
use super::super::{BlobId, StoreError};
use super::carry::{Carried, Carrier, Damage, Pace, place};
use super::run::copy_database;
use super::{
    BackupDir, BackupError, Lost, PAGE, Progress, RESTORING, Snapshot, Watch, make_dirs, name_lost,
    read_dir, remove_flat, sync_dir, write_file,
};
use crate::types::time::iso;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which snapshot is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// The last one.
    Newest,
    /// The last one that was made at or before this time, in milliseconds since 1970.
    At(i64),
    /// The one of this name.
    Named(String),
    /// None: this metadata.db, such as Litestream has restored it, with the files of the backup.
    Metadata(PathBuf),
}

/// What is to be restored, and how.
#[derive(Clone, Debug)]
pub struct RestoreConfig {
    /// The backup.
    pub backup: PathBuf,
    /// The data directory: empty, or not there.
    pub dest: PathBuf,
    /// What of the backup.
    pub wanted: Wanted,
    /// Files that are on the same file system as the backup get a further name there.
    pub link: bool,
    /// Bytes a second that are read of files, at most.
    pub rate: Option<u64>,
    /// Whether it reaches the disk.
    pub durable: bool,
    /// For tests: lets a file-system call fail.
    pub fault: Option<Arc<Fault>>,
}

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestoreReport {
    /// The snapshot; `None` for a metadata.db from elsewhere.
    pub snapshot: Option<String>,
    /// The moment of the snapshot, in milliseconds since 1970.
    pub moment_ms: Option<i64>,
    /// Its files.
    pub files: Total,
    /// What the backup does not have, or not undamaged, with those who need it.
    pub lost: Vec<Lost>,
}

/// Finds the wanted snapshot.
fn find(dir: &BackupDir, wanted: &Wanted) -> Result<Option<Snapshot>, BackupError> {
    let snapshots = dir.snapshots()?;
    let shown = dir.root().display();
    let known = || {
        let names: Vec<&str> = snapshots.iter().map(|s| s.name.as_str()).collect();
        if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        }
    };
    let missing = |what: String| {
        Err(BackupError::refused(format!("{shown} has no snapshot {what}; {}", known())))
    };
    let found = match wanted {
        Wanted::Metadata(_) => return Ok(None),
        Wanted::Newest => snapshots.last(),
        Wanted::At(ms) => snapshots.iter().rev().find(|s| s.manifest.moment_ms <= *ms),
        Wanted::Named(name) => snapshots.iter().find(|s| s.name == *name),
    };
    match (found, wanted) {
        (Some(found), _) => Ok(Some(found.clone())),
        (None, Wanted::At(ms)) => missing(format!("of {} or before", iso(*ms))),
        (None, Wanted::Named(name)) => missing(name.clone()),
        (None, _) => missing("that is complete".to_owned()),
    }
}

/// Restores.
pub fn restore(
    config: &RestoreConfig,
    watch: &mut Watch<'_>,
) -> Result<RestoreReport, BackupError> {
    let fs = Fs { durable: config.durable, fault: config.fault.clone() };
    let dir = BackupDir::open(&config.backup)?;
    let _quiet = dir.lock_shared()?;
    let snapshot = find(&dir, &config.wanted)?;
    if let Some(snapshot) = &snapshot
        && !snapshot.is_sound()?
    {
        let name = &snapshot.name;
        return Err(BackupError::refused(format!(
            "the metadata.db of the snapshot {name} is damaged; take another one with --at"
        )));
    }
    let dest = &config.dest;
    prepare(&fs, dest, &config.backup, snapshot.as_ref())?;
    let metadata = dest.join("metadata.db.new");
    fs.unlink(&metadata)?;
    match (&snapshot, &config.wanted) {
        (Some(snapshot), _) => {
            copy_database(&fs, Source::Still(&snapshot.metadata()), &metadata, watch)?;
        }
        (None, Wanted::Metadata(path)) => {
            copy_database(&fs, Source::Live(path), &metadata, watch)?;
        }
        (None, _) => return Err(BackupError::refused("there is no snapshot")),
    }
    let census = Census::new()?;
    census.look(Source::Still(&metadata))?.count()?;
    let damaged = copy_files(config, &fs, &census, watch)?;
    let lost = name_lost(&census, Source::Still(&metadata), damaged)?;
    // One that has looked for restoring.json before it was there. It has a metadata.db of its own.
    if dest.join("jog.lock").exists() {
        return Err(BackupError::refused(format!(
            "{}: a server has been started there meanwhile; stop it, empty the folder, and restore \
             again",
            dest.display()
        )));
    }
    fs.rename(&metadata, &dest.join("metadata.db"))?;
    sync_dir(&fs, dest)?;
    fs.unlink(&dest.join(RESTORING))?;
    sync_dir(&fs, dest)?;
    Ok(RestoreReport {
        moment_ms: snapshot.as_ref().map(|s| s.manifest.moment_ms),
        snapshot: snapshot.map(|s| s.name),
        files: census.total(false)?,
        lost,
    })
}

/// Makes the data directory ready: it is empty, or the same restore has begun there.
fn prepare(
    fs: &Fs,
    dest: &Path,
    backup: &Path,
    snapshot: Option<&Snapshot>,
) -> Result<(), BackupError> {
    make_dirs(fs, dest)?;
    let real =
        |path: &Path| std::fs::canonicalize(path).map_err(|e| StoreError::io("realpath", path, e));
    let (inner, outer) = (real(dest)?, real(backup)?);
    let shown = dest.display();
    if inner.starts_with(&outer) || outer.starts_with(&inner) {
        return Err(BackupError::refused(format!(
            "{shown}: a data directory cannot be in a backup, nor around it"
        )));
    }
    let what = serde_json::json!({
        "backup": outer.to_string_lossy(),
        "snapshot": snapshot.map(|s| s.name.as_str()),
    });
    let what = format!("{what}\n");
    let mark = dest.join(RESTORING);
    match std::fs::read_to_string(&mark) {
        Ok(before) if before == what => return Ok(()),
        Ok(_) => {
            return Err(BackupError::refused(format!(
                "{shown}: a restore of something else has not ended there; empty it first"
            )));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (),
        Err(e) => return Err(StoreError::io("read", &mark, e).into()),
    }
    // Such as a volume with a file system of its own, or what a crash left of our first file.
    let ours = |name: &std::ffi::OsStr| name == "lost+found" || name == "restoring.new";
    if read_dir(dest)?.iter().any(|entry| !ours(&entry.file_name())) {
        return Err(BackupError::refused(format!("{shown} is not empty; take an empty folder")));
    }
    write_file(fs, &mark, &what)?;
    fs.mkdir(&dest.join("buckets"))?;
    Ok(())
}

fn copy_files(
    config: &RestoreConfig,
    fs: &Fs,
    census: &Census,
    watch: &mut Watch<'_>,
) -> Result<Vec<(BlobId, PathBuf, Damage)>, BackupError> {
    fs.mkdir(&config.dest.join("buckets"))?;
    let pace = Pace::new(config.rate);
    let (from, to) = (&config.backup, &config.dest);
    let mut carrier = Carrier::new(fs, from, to, config.link, 0, pace)?;
    let needed = census.total(false)?;
    let mut progress = Progress {
        what: "files",
        of_files: needed.files,
        of_bytes: needed.bytes,
        ..Progress::default()
    };
    let (mut damaged, mut after) = (Vec::new(), (0, 0));
    loop {
        let page = census.page(after, false, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.at;
        for named in &page {
            if let Carried::Lost(damage) = carrier.carry(named)? {
                let (blob, path) = place(named, &config.backup);
                damaged.push((blob, path, damage));
            }
            progress.files += 1;
            progress.bytes += named.size.unwrap_or(0);
            watch(&progress);
        }
    }
    carrier.finish()?;
    remove_flat(fs, &config.dest.join("incoming"))?;
    Ok(damaged)
}
