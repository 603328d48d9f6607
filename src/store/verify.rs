//! Compares what metadata.db says with the files that are there: of a data directory, whether its
//! server runs or not, or of a backup. No key is needed for encrypted files: their rows have the
//! CRC of the bytes on the disk.
//!
//! What is found is told, and nothing is changed unless a repair is asked for. A repair deletes
//! nothing: what does not belong goes into `quarantine/`, and a damaged file of a data directory
//! only makes place for an undamaged one from a backup.

use super::backup::{
    self, BackupDir, BackupError, Damage, Lost, Pace, Progress, Watch, name_lost, walk,
};
use super::census::{At, Census, Look, Named, Source, Total};
use super::fs::Fs;
use super::{BlobId, StoreError, hold, ids};
use crate::types::time;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Files that are named by a query at once.
const PAGE: usize = 1000;
/// Contradictions of one kind that are listed.
const MOST: usize = 100;
/// How often the position is noted.
const NOTE: Duration = Duration::from_secs(5);

/// What is to be verified, and how.
#[derive(Clone, Debug, Default)]
pub struct VerifyConfig {
    /// A data directory or a backup.
    pub dir: PathBuf,
    /// Every byte is read.
    pub deep: bool,
    /// Bytes a second that are read of files, at most.
    pub rate: Option<u64>,
    /// A file that keeps the position: a run that was interrupted goes on where it was.
    pub resume: Option<PathBuf>,
    /// What does not belong goes into `quarantine/`: from a data directory, files without a row;
    /// from a backup, damaged files, so that the next run of `jog backup` brings them anew.
    pub repair: bool,
    /// A backup that has undamaged files for those that are lost.
    pub repair_from: Option<PathBuf>,
    /// Ends it when it is set, with a failure. metadata.db is not open any more then.
    pub stop: Arc<AtomicBool>,
}

/// What was found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// Snapshots; `None` if it is a data directory.
    pub snapshots: Option<usize>,
    /// Files that rows need, without those of deleted objects.
    pub files: Total,
    /// Bytes that were read.
    pub read: u64,
    /// Contradictions within metadata.db.
    pub contradictions: Vec<String>,
    /// Files that are needed and not as they must be.
    pub lost: Vec<Lost>,
    /// Files that were lost and are repaired.
    pub repaired: Vec<Lost>,
    /// Files that were found lost by the interrupted runs before this one.
    pub lost_before: u64,
    /// Files that no row names.
    pub orphans: Vec<(PathBuf, u64)>,
    /// Files without a row that may be about to get one, or will be removed by the next start.
    pub unsettled: u64,
    /// Where orphans went.
    pub quarantine: Option<PathBuf>,
}

impl VerifyReport {
    /// Whether everything that there should be is there, as it should be.
    pub fn is_sound(&self) -> bool {
        self.contradictions.is_empty() && self.lost.is_empty() && self.lost_before == 0
    }
}

/// Verifies a data directory or a backup.
pub fn verify(config: &VerifyConfig, watch: &mut Watch<'_>) -> Result<VerifyReport, BackupError> {
    if BackupDir::is_one(&config.dir) {
        return verify_backup(config, watch);
    }
    if !config.dir.join("metadata.db").is_file() {
        let shown = config.dir.display();
        return Err(BackupError::Refused(format!("{shown} is no data directory and no backup")));
    }
    verify_store(config, watch)
}

// ---- metadata.db -------------------------------------------------------------------------

/// Queries that find what must never be, with what it is.
const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "SELECT 'bucket ' || bucket FROM (SELECT bucket FROM m.objects UNION
             SELECT bucket FROM m.versions UNION SELECT bucket FROM m.uploads)
         WHERE bucket NOT IN (SELECT id FROM m.buckets)",
        "it is gone and has objects or uploads",
    ),
    (
        "SELECT 'bucket ' || b.name FROM m.buckets b LEFT JOIN m.usage u ON u.bucket = b.id WHERE
             u.bucket IS NULL
             OR u.objects != (SELECT count(*) FROM m.objects WHERE bucket = b.id)
             OR u.versions != (SELECT count(*) FROM m.objects WHERE bucket = b.id)
                 + (SELECT count(*) FROM m.versions WHERE bucket = b.id)
             OR u.bytes != (SELECT coalesce(sum(size), 0) FROM m.objects WHERE bucket = b.id)
                 + (SELECT coalesce(sum(size), 0) FROM m.versions WHERE bucket = b.id)
             OR u.uploading != (SELECT coalesce(sum(p.size), 0) FROM m.uploads l
                 JOIN m.parts p USING (manifest) WHERE l.bucket = b.id AND l.done_ms IS NULL)",
        "its usage is counted wrong",
    ),
    (
        "SELECT 'key ' || hex(v.key) FROM m.versions v JOIN m.objects o USING (bucket, key)
         WHERE v.version >= o.version",
        "a version is newer than the object",
    ),
    (
        "SELECT 'key ' || hex(key) FROM m.versions v WHERE marker = 0
         AND NOT EXISTS (SELECT 1 FROM m.versions n WHERE n.bucket = v.bucket AND n.key = v.key
             AND n.version > v.version)
         AND NOT EXISTS (SELECT 1 FROM m.objects o WHERE o.bucket = v.bucket AND o.key = v.key)",
        "the newest version is no delete marker and not the object",
    ),
    (
        "SELECT 'key ' || hex(key) FROM (
             SELECT bucket, key FROM m.objects WHERE null_version = 1 UNION ALL
             SELECT bucket, key FROM m.versions WHERE null_version = 1)
         GROUP BY bucket, key HAVING count(*) > 1",
        "it has more than one null version",
    ),
    (
        "SELECT 'key ' || hex(key) FROM (
             SELECT key, size, blob, manifest FROM m.objects UNION ALL
             SELECT key, size, blob, manifest FROM m.versions) o
         WHERE (blob IS NOT NULL AND manifest IS NOT NULL)
             OR (blob IS NULL AND manifest IS NULL AND size > 0)
             OR (manifest IS NOT NULL AND size != (SELECT coalesce(sum(p.size), 0)
                 FROM m.parts p WHERE p.manifest = o.manifest))",
        "its bytes are nowhere, or more than its parts",
    ),
    (
        "SELECT 'parts ' || manifest FROM m.parts WHERE manifest NOT IN (
             SELECT manifest FROM m.objects WHERE manifest IS NOT NULL UNION ALL
             SELECT manifest FROM m.versions WHERE manifest IS NOT NULL UNION ALL
             SELECT manifest FROM m.uploads WHERE done_ms IS NULL UNION ALL
             SELECT manifest FROM m.garbage WHERE manifest IS NOT NULL) GROUP BY manifest",
        "they belong to nothing",
    ),
];

/// What is wrong within metadata.db; counts its files into the census. `thorough`: its indexes
/// are compared with its tables as well.
fn read_database(look: &Look<'_>, thorough: bool) -> Result<Vec<String>, StoreError> {
    let pragma = if thorough { "integrity_check" } else { "quick_check" };
    let found = look.complaints(&format!("PRAGMA m.{pragma}({MOST})"), MOST)?;
    let mut all: Vec<String> = found
        .into_iter()
        .filter(|text| text != "ok")
        .map(|t| format!("metadata.db: {t}"))
        .collect();
    if !all.is_empty() {
        // What follows would read the same damage.
        return Ok(all);
    }
    for (sql, what) in CONTRADICTIONS {
        let found = look.complaints(sql, MOST)?;
        all.extend(found.into_iter().map(|which| format!("{which}: {what}")));
    }
    match look.count()? {
        0 => (),
        twice => all.push(format!("{twice} files are named by more than one row")),
    }
    Ok(all)
}

// ---- files -------------------------------------------------------------------------------

/// A position that outlives an interrupted run.
struct Position<'c> {
    file: Option<&'c Path>,
    noted: Instant,
}

impl<'c> Position<'c> {
    /// Where an interrupted run has come to, and how many files it had found lost.
    fn open(config: &'c VerifyConfig, census: &Census) -> Result<(Self, At, u64), StoreError> {
        let position = Self { file: config.resume.as_deref(), noted: Instant::now() };
        let text = position.file.and_then(|path| std::fs::read_to_string(path).ok());
        let value: Value = text.and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
        let place = |name: &str| value.get(name).and_then(Value::as_i64);
        let (bucket, lost) = (value.get("bucket").and_then(Value::as_str), place("lost"));
        let at = match (bucket, place("blob")) {
            (Some(bucket), Some(blob)) => census.behind(bucket, BlobId(blob))?,
            _ => (0, 0),
        };
        Ok((position, at, lost.and_then(|n| u64::try_from(n).ok()).unwrap_or(0)))
    }

    fn note(&mut self, at: &Named, lost: u64) -> Result<(), StoreError> {
        let Some(path) = self.file.filter(|_| self.noted.elapsed() >= NOTE) else { return Ok(()) };
        self.noted = Instant::now();
        let value = json!({"bucket": at.bucket, "blob": at.blob.0, "lost": lost});
        let new = path.with_extension("new");
        std::fs::write(&new, format!("{value}\n"))
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|e| StoreError::io("write", path, e))
    }

    fn done(&self) -> Result<(), StoreError> {
        match self.file.map(|path| (path, std::fs::remove_file(path))) {
            Some((path, Err(e))) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("unlink", path, e))
            }
            _ => Ok(()),
        }
    }
}

/// Looks at every file of the census; those that are not as they must be.
fn check_files(
    config: &VerifyConfig,
    census: &Census,
    report: &mut VerifyReport,
    watch: &mut Watch<'_>,
) -> Result<Vec<(Named, Damage)>, StoreError> {
    report.files = census.total(false)?;
    let (mut position, mut after, lost_before) = Position::open(config, census)?;
    report.lost_before = lost_before;
    let mut pace = Pace::new(config.rate).until(&config.stop);
    let mut damaged = Vec::new();
    let mut progress = Progress {
        what: if config.deep { "bytes" } else { "files" },
        of_files: report.files.files,
        of_bytes: report.files.bytes,
        ..Progress::default()
    };
    loop {
        let page = census.page(after, false, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.at;
        for named in page {
            if pace.is_stopped() {
                return Err(StoreError::Closed);
            }
            match backup::check(&named.path(&config.dir), &named, config.deep, &mut pace)? {
                Ok(bytes) => report.read += bytes,
                Err(damage) => damaged.push((named.clone(), damage)),
            }
            progress.files += 1;
            progress.bytes += named.size.unwrap_or(0);
            watch(&progress);
            position.note(&named, lost_before + damaged.len() as u64)?;
        }
    }
    position.done()?;
    Ok(damaged)
}

fn places(damaged: &[(Named, Damage)], root: &Path) -> Vec<(BlobId, PathBuf, Damage)> {
    damaged.iter().map(|(named, d)| (named.blob, named.path(root), d.clone())).collect()
}

// ---- a data directory --------------------------------------------------------------------

fn verify_store(config: &VerifyConfig, watch: &mut Watch<'_>) -> Result<VerifyReport, BackupError> {
    let dir = &config.dir;
    let live = dir.join("metadata.db");
    let mut report = VerifyReport::default();
    // In this order: what is read of metadata.db is held.
    let _held = hold::hold(dir)?;
    let census = Census::new()?.until(&config.stop)?;
    let low = {
        let look = census.look(Source::Live(&live))?;
        report.contradictions = read_database(&look, config.deep)?;
        look.low_water()?
    };
    let damaged = check_files(config, &census, &mut report, watch)?;
    report.lost = name_lost(&census, Source::Live(&live), places(&damaged, dir))?;
    let moment = backup::moment_name(time::now_ms());
    let quarantine = dir.join("quarantine").join(moment);
    let fs = Fs { durable: true, fault: None };
    if let Some(from) = &config.repair_from {
        repair(&fs, config, from, &damaged, &quarantine, &mut report)?;
    }
    find_orphans(config, &census, low, &mut report, watch)?;
    if config.repair {
        for (path, _) in &report.orphans {
            set_aside(&fs, dir, path, &quarantine)?;
        }
    }
    report.quarantine = settled(&fs, quarantine)?;
    Ok(report)
}

/// Files that no row names.
fn find_orphans(
    config: &VerifyConfig,
    census: &Census,
    low: i64,
    report: &mut VerifyReport,
    watch: &mut Watch<'_>,
) -> Result<(), BackupError> {
    let dir = &config.dir;
    let (stopped, lock) = keep_stopped(dir);
    let mut found = Vec::new();
    let mut strange = Vec::new();
    let mut progress = Progress { what: "orphans", ..Progress::default() };
    walk(
        dir,
        &mut |bucket, blob, path, bytes| {
            progress.files += 1;
            watch(&progress);
            if config.stop.load(Ordering::Relaxed) {
                return Err(StoreError::Closed);
            }
            if !census.contains(bucket, blob)? {
                found.push((bucket.to_owned(), blob, path.to_owned(), bytes));
            }
            Ok(())
        },
        &mut |path, bytes| strange.push((path.to_owned(), bytes)),
    )?;
    // A first server makes its lock before any file: then some of those may be its own.
    let stopped = stopped && (lock.is_some() || !dir.join("jog.lock").exists());
    if !found.is_empty() {
        // Rows that have come since.
        let fresh = Census::new()?.until(&config.stop)?;
        fresh.look(Source::Live(&dir.join("metadata.db")))?.count()?;
        for (bucket, blob, path, bytes) in found {
            if fresh.contains(&bucket, blob)? || !path.exists() {
                continue;
            }
            if stopped || ids::sequence(blob.0) < low {
                report.orphans.push((path, bytes));
            } else {
                report.unsettled += 1;
            }
        }
    }
    report.orphans.extend(strange);
    Ok(())
}

/// Whether no server runs, and none will as long as the lock is kept: then nothing is about to get
/// a row.
fn keep_stopped(dir: &Path) -> (bool, Option<File>) {
    match File::open(dir.join("jog.lock")) {
        Ok(lock) => (lock.try_lock().is_ok(), Some(lock)),
        // No server has been here yet.
        Err(error) => (error.kind() == std::io::ErrorKind::NotFound, None),
    }
}

/// Puts undamaged files from a backup in the place of lost ones.
fn repair(
    fs: &Fs,
    config: &VerifyConfig,
    from: &Path,
    damaged: &[(Named, Damage)],
    quarantine: &Path,
    report: &mut VerifyReport,
) -> Result<(), BackupError> {
    BackupDir::open(from)?;
    let mut good = HashSet::new();
    let lost: HashSet<&Path> = report.lost.iter().map(|lost| lost.path.as_path()).collect();
    for (named, _) in damaged {
        let path = named.path(&config.dir);
        if !lost.contains(path.as_path()) {
            continue;
        }
        let source = named.path(from);
        let mut pace = Pace::new(config.rate);
        if backup::check(&source, named, true, &mut pace)?.is_err() {
            continue;
        }
        let aside = |path: &Path| match path.exists() {
            true => set_aside(fs, &config.dir, path, quarantine),
            false => Ok(()),
        };
        if backup::replace(fs, from, &config.dir, named, aside)? {
            good.insert(path);
        }
    }
    let (repaired, lost) =
        std::mem::take(&mut report.lost).into_iter().partition(|lost| good.contains(&lost.path));
    (report.repaired, report.lost) = (repaired, lost);
    Ok(())
}

/// Moves a file into the quarantine, where it has the same path as before. Durable after
/// [`settled`].
fn set_aside(fs: &Fs, dir: &Path, path: &Path, quarantine: &Path) -> Result<(), StoreError> {
    let below = path.strip_prefix(dir).unwrap_or(path);
    let to = quarantine.join(below);
    let above = to.parent().unwrap_or(quarantine);
    std::fs::create_dir_all(above).map_err(|e| StoreError::io("mkdir", above, e))?;
    fs.rename(path, &to)
}

/// The quarantine, durable; `None` if nothing came into it.
fn settled(fs: &Fs, quarantine: PathBuf) -> Result<Option<PathBuf>, StoreError> {
    if !quarantine.exists() {
        return Ok(None);
    }
    fs.sync_all(&quarantine)?;
    Ok(Some(quarantine))
}

// ---- a backup ----------------------------------------------------------------------------

fn verify_backup(
    config: &VerifyConfig,
    watch: &mut Watch<'_>,
) -> Result<VerifyReport, BackupError> {
    let dir = BackupDir::open(&config.dir)?;
    let _quiet = if config.repair { Some(dir.lock()?) } else { dir.lock_shared()? };
    if config.repair_from.is_some() {
        let text = "a backup is repaired by the next `jog backup`: it brings what is missing, and \
                    what --deep --repair has found damaged";
        return Err(BackupError::Refused(text.to_owned()));
    }
    let snapshots = dir.snapshots()?;
    let mut report = VerifyReport { snapshots: Some(snapshots.len()), ..VerifyReport::default() };
    let census = Census::new()?.until(&config.stop)?;
    let mut sound = Vec::new();
    for snapshot in &snapshots {
        let name = &snapshot.name;
        if !snapshot.is_sound()? {
            report.contradictions.push(format!("{name}: metadata.db is damaged"));
            continue;
        }
        let look = census.look(Source::Still(&snapshot.metadata()))?;
        let found = read_database(&look, config.deep)?;
        report.contradictions.extend(found.into_iter().map(|text| format!("{name}: {text}")));
        sound.push(snapshot);
    }
    let damaged = check_files(config, &census, &mut report, watch)?;
    if config.repair {
        let fs = Fs { durable: true, fault: None };
        let quarantine = dir.root().join("quarantine").join(backup::moment_name(time::now_ms()));
        for (named, _) in damaged.iter().filter(|(_, damage)| *damage != Damage::Missing) {
            set_aside(&fs, dir.root(), &named.path(dir.root()), &quarantine)?;
        }
        report.quarantine = settled(&fs, quarantine)?;
    }
    // Named after the newest snapshot that needs them.
    let mut left = damaged;
    for snapshot in sound.iter().rev() {
        let lost =
            name_lost(&census, Source::Still(&snapshot.metadata()), places(&left, &config.dir))?;
        left.retain(|(named, _)| !lost.iter().any(|l| l.path == named.path(&config.dir)));
        report.lost.extend(lost);
    }
    walk(
        &config.dir,
        &mut |bucket, blob, path, bytes| {
            if !census.contains(bucket, blob)? {
                report.orphans.push((path.to_owned(), bytes));
            }
            Ok(())
        },
        &mut |_, _| (),
    )?;
    Ok(report)
}
