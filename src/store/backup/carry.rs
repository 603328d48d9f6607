//! Carries files from one tree to another: from a data directory to a backup, or back. What
//! arrives is what its row says, byte for byte, and has its name only when it is durable.

use super::super::census::{Named, path_of};
use super::super::fs::{Fs, free_space};
use super::super::{BlobId, StoreError};
use super::{make_dirs, remove_flat};
use crate::limits::{BACKUP_BATCH_BYTES, BACKUP_BATCH_FILES, BACKUP_BATCH_TIME, IO_BUFFER_BYTES};
use crc_fast::{CrcAlgorithm, Digest};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a wait looks at whether it is to end.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// What is wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It has another size, in bytes.
    Size {
        /// What it has.
        found: u64,
        /// What its row says.
        expected: u64,
    },
    /// Its bytes are not those that were stored.
    Checksum,
    /// The disk does not give it.
    Unreadable(String),
}

impl Damage {
    /// A word for it that stays the same.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Size { .. } => "size",
            Self::Checksum => "checksum",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the file is missing"),
            Self::Size { found, expected } => {
                write!(f, "the file has {found} bytes instead of {expected}")
            }
            Self::Checksum => f.write_str("the bytes of the file are not those that were stored"),
            Self::Unreadable(error) => write!(f, "the file cannot be read: {error}"),
        }
    }
}

/// Reads no faster than so many bytes a second, and not at all once it is to end.
#[derive(Debug)]
pub struct Pace {
    rate: Option<u64>,
    next: Instant,
    stop: Arc<AtomicBool>,
}

impl Pace {
    /// `None`: as fast as it goes.
    pub fn new(bytes_per_s: Option<u64>) -> Self {
        let rate = bytes_per_s.filter(|rate| *rate > 0);
        Self { rate, next: Instant::now(), stop: Arc::default() }
    }

    /// The same, and it ends when `stop` is set.
    pub fn until(self, stop: &Arc<AtomicBool>) -> Self {
        Self { stop: Arc::clone(stop), ..self }
    }

    /// So many bytes were read: waits until as many may be read again.
    pub fn spend(&mut self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        self.next = self.next.max(now) + Duration::from_secs_f64(bytes as f64 / rate as f64);
        while !self.is_stopped() {
            let left = self.next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(STOP_LOOK));
        }
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Reads a file to its end and compares it with what its row says; each piece goes to `to`.
/// [`StoreError::Closed`] if it is to end before.
pub fn check_bytes(
    file: &mut File,
    size: Option<u64>,
    crc64: Option<u64>,
    pace: &mut Pace,
    to: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<Result<u64, Damage>, StoreError> {
    let mut buf = vec![0; IO_BUFFER_BYTES];
    let mut crc = Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut found = 0;
    loop {
        let n = match file.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Ok(Err(Damage::Unreadable(e.to_string()))),
        };
        crc.update(&buf[..n]);
        found += n as u64;
        to(&buf[..n])?;
        pace.spend(n as u64);
        if pace.is_stopped() {
            return Err(StoreError::Closed);
        }
    }
    Ok(match (size, crc64) {
        (Some(expected), _) if expected != found => Err(Damage::Size { found, expected }),
        (_, Some(expected)) if expected != crc.finalize() => Err(Damage::Checksum),
        _ => Ok(found),
    })
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carried {
    /// It was there already.
    Present,
    /// It is new: its bytes, and whether they share the disk space of the source.
    New {
        /// Its size.
        bytes: u64,
        /// It is a further name of the source.
        linked: bool,
    },
    /// It cannot be had.
    Lost(Damage),
}

/// See the module's description.
pub struct Carrier {
    fs: Fs,
    from: PathBuf,
    to: PathBuf,
    incoming: PathBuf,
    link: bool,
    pace: Pace,
    /// Files that wait for their names, and their bytes.
    batch: Vec<(PathBuf, PathBuf)>,
    batch_bytes: u64,
    batch_since: Instant,
    /// Free space that is left to others, in bytes.
    floor: u64,
    /// Folders that are there.
    made: HashSet<PathBuf>,
}

impl Carrier {
    /// `link`: further names of the same bytes where the file system has them, else copies, as long
    /// as they leave `floor` bytes of space.
    pub fn new(
        fs: &Fs,
        from: &Path,
        to: &Path,
        link: bool,
        floor: u64,
        pace: Pace,
    ) -> Result<Self, StoreError> {
        let incoming = to.join("incoming");
        remove_flat(fs, &incoming)?;
        make_dirs(fs, &incoming)?;
        Ok(Self {
            fs: fs.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
            incoming,
            link,
            pace,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_since: Instant::now(),
            floor,
            made: HashSet::new(),
        })
    }

    /// Carries a file, unless it is there.
    pub fn carry(&mut self, named: &Named) -> Result<Carried, StoreError> {
        let to = named.path(&self.to);
        match std::fs::metadata(&to) {
            Ok(meta) if named.size.is_none_or(|size| size == meta.len()) => {
                return Ok(Carried::Present);
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("stat", &to, e));
            }
            // What is there is not it: it is replaced.
            _ => (),
        }
        let from = path_of(&self.from, &named.bucket, named.blob);
        let mut source = match self.fs.open(&from) {
            Ok(source) => source,
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Carried::Lost(Damage::Missing));
            }
            Err(error) => return Err(error),
        };
        let new = self.incoming.join(super::super::ids::file_name(named.blob));
        let linked = self.link && self.try_link(&from, &new)?;
        let (size, crc64) = (named.size, named.crc64);
        let result = if linked {
            check_bytes(&mut source, size, crc64, &mut self.pace, &mut |_| Ok(()))?
        } else {
            if self.floor > 0 && free_space(&self.to)?.0 < self.floor + size.unwrap_or(0) {
                return Err(StoreError::Full);
            }
            let mut file = self.fs.create(&new)?;
            let fs = &self.fs;
            let mut write = |bytes: &[u8]| fs.write(&new, &mut file, bytes);
            check_bytes(&mut source, size, crc64, &mut self.pace, &mut write)?
        };
        match result {
            Err(damage) => {
                self.fs.unlink(&new)?;
                Ok(Carried::Lost(damage))
            }
            Ok(bytes) => {
                self.batch.push((new, to));
                self.batch_bytes += if linked { 0 } else { bytes };
                let full = self.batch.len() >= BACKUP_BATCH_FILES
                    || self.batch_bytes >= BACKUP_BATCH_BYTES
                    || self.batch_since.elapsed() >= BACKUP_BATCH_TIME;
                if full {
                    self.settle()?;
                }
                Ok(Carried::New { bytes, linked })
            }
        }
    }

    /// Whether there is a link now; after the first that cannot be had none is tried again.
    fn try_link(&mut self, from: &Path, new: &Path) -> Result<bool, StoreError> {
        match self.fs.link(from, new) {
            Ok(()) => Ok(true),
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::TooManyLinks => {
                Ok(false)
            }
            Err(error) if super::super::blob::no_links(&error) => {
                self.link = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes what has arrived durable, and then gives it its names. The names are durable after
    /// the next [`Fs::sync_all`].
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.fs.sync_all(&self.to)?;
        for (new, to) in std::mem::take(&mut self.batch) {
            let dir = to.parent().unwrap_or(&self.to).to_owned();
            if !self.made.contains(&dir) {
                self.make(&dir)?;
                self.made.insert(dir);
            }
            self.fs.rename(&new, &to)?;
        }
        self.batch_bytes = 0;
        self.batch_since = Instant::now();
        Ok(())
    }

    fn make(&self, dir: &Path) -> Result<(), StoreError> {
        if dir.is_dir() {
            return Ok(());
        }
        self.make(dir.parent().unwrap_or(&self.to))?;
        self.fs.mkdir(dir).map(|_| ())
    }

    /// Ends: everything is durable with its name, and nothing is left over.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.settle()?;
        remove_flat(&self.fs, &self.incoming)?;
        self.fs.sync_all(&self.to)
    }
}

/// Puts a file in the place of one that is damaged or missing: for repairs. Whether `from` has a
/// good one. `aside` takes away what is there: only when the other one is durable.
pub fn replace(
    fs: &Fs,
    from: &Path,
    to: &Path,
    named: &Named,
    aside: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let source = named.path(from);
    let Ok(mut file) = File::open(&source) else { return Ok(false) };
    let target = path_of(to, &named.bucket, named.blob);
    let dir = target.parent().unwrap_or(to).to_owned();
    make_dirs(fs, &dir)?;
    let new = target.with_extension("new");
    fs.unlink(&new)?;
    let mut copy = fs.create(&new)?;
    let mut write = |bytes: &[u8]| fs.write(&new, &mut copy, bytes);
    let mut pace = Pace::new(None);
    let checked = check_bytes(&mut file, named.size, named.crc64, &mut pace, &mut write);
    let copied = checked.and_then(|checked| match checked {
        Ok(_) => fs.sync_file(&new, &copy).map(|()| true),
        Err(_) => Ok(false),
    });
    if !matches!(copied, Ok(true)) {
        // It would take the room that is lacking, if that is why.
        fs.unlink(&new)?;
        return copied;
    }
    aside(&target)?;
    fs.rename(&new, &target)?;
    super::sync_dir(fs, &dir)?;
    Ok(true)
}

/// Whether this process lacks something (descriptors, memory), which says nothing about the file.
fn is_own_lack(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    lacks.iter().any(|lack| error.raw_os_error() == Some(lack.raw_os_error()))
}

/// Whether a file is there and, with `deep`, what its row says in every byte. Gives the bytes that
/// were read.
pub fn check(
    path: &Path,
    named: &Named,
    deep: bool,
    pace: &mut Pace,
) -> Result<Result<u64, Damage>, StoreError> {
    let opened = if deep { File::open(path).map(Some) } else { Ok(None) };
    let meta = opened.and_then(|file| match &file {
        Some(open) => open.metadata().map(|meta| (meta, file)),
        None => std::fs::metadata(path).map(|meta| (meta, None)),
    });
    let (meta, file) = match meta {
        Ok(both) => both,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err(Damage::Missing)),
        Err(e) if is_own_lack(&e) => return Err(StoreError::io("open", path, e)),
        Err(e) => return Ok(Err(Damage::Unreadable(e.to_string()))),
    };
    match (named.size, file) {
        (Some(expected), _) if expected != meta.len() => {
            Ok(Err(Damage::Size { found: meta.len(), expected }))
        }
        (size, Some(mut file)) => check_bytes(&mut file, size, named.crc64, pace, &mut |_| Ok(())),
        (_, None) => Ok(Ok(0)),
    }
}

/// The file's number with its path, for those who list what is lost.
pub fn place(named: &Named, root: &Path) -> (BlobId, PathBuf) {
    (named.blob, named.path(root))
}
