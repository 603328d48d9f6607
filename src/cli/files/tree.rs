//! The folder of an exported bucket, as it is written. Every step down is taken from the folder
//! above, which is open, and never through a symbolic link: whatever somebody plants there, nothing
//! is written elsewhere.
//!
//! A file gets its name when its bytes are verified and durable, so what has its name is whole.

use super::names::KeyPath;
use super::notes;
use super::walk::{FOLDER, entries};
use crate::limits::{BACKUP_BATCH_BYTES, BACKUP_BATCH_FILES, BACKUP_BATCH_TIME};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps, linkat,
    mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// Where files are written, at the top of a bucket's folder.
const INCOMING: &str = "%jog-incoming";
/// An open folder and the way to the one that was used last.
struct Folders {
    top: OwnedFd,
    way: Vec<(String, OwnedFd)>,
}

impl Folders {
    /// The folder of these names; `None` if it is not there and `make` is false.
    fn get(&mut self, names: &[String], make: bool) -> io::Result<Option<BorrowedFd<'_>>> {
        let same = self.way.iter().zip(names).take_while(|((a, _), b)| a == *b).count();
        self.way.truncate(same);
        for name in &names[same..] {
            let above = self.way.last().map_or(self.top.as_fd(), |(_, fd)| fd.as_fd());
            let opened = match openat(above, name, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match mkdirat(above, name, Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    openat(above, name, FOLDER, Mode::empty())
                }
                Err(Errno::NOENT) => return Ok(None),
                opened => opened,
            };
            let folder = opened.map_err(|error| match error {
                Errno::NOTDIR | Errno::LOOP => io::Error::new(
                    ErrorKind::NotADirectory,
                    format!("{name} is a file or a symbolic link, and a folder is needed"),
                ),
                other => other.into(),
            })?;
            self.way.push((name.clone(), folder));
        }
        Ok(Some(self.way.last().map_or(self.top.as_fd(), |(_, fd)| fd.as_fd())))
    }
}

/// A file that waits for its name.
struct Waiting<T> {
    temporary: String,
    path: KeyPath,
    what: T,
}

/// What a file must be to be that of an object already.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Its size in bytes.
    pub size: u64,
    /// Its time, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Device and inode of the file of the store that has its bytes.
    pub source: Option<(u64, u64)>,
    /// Whether it is to be a further name of that.
    pub link: bool,
}

impl Looks {
    fn fit(&self, stat: &Stat) -> bool {
        if self.source == Some((stat.st_dev, stat.st_ino)) {
            return self.link;
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let (seconds, millis) = (self.modified_ms.div_euclid(1000), self.modified_ms % 1000);
        // Some file systems keep no fractions of a second.
        size == self.size
            && stat.st_mtime == seconds
            && (nanos == 0 || nanos / 1_000_000 == millis.rem_euclid(1000))
    }
}

/// The folder of a bucket. `T`: what is told of a file when it has its name, or cannot have it.
pub struct BucketFolder<T> {
    folders: Folders,
    incoming: OwnedFd,
    durable: bool,
    number: u64,
    waiting: Vec<Waiting<T>>,
    waiting_bytes: u64,
    waiting_since: Instant,
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The file or folder of a name, itself; `None` if there is none.
fn look(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl<T> BucketFolder<T> {
    /// Makes the folder, or goes on with that of an earlier export. One that holds other things is
    /// refused.
    pub fn open(dir: &Path, bucket: &str, durable: bool) -> io::Result<Self> {
        let above = openat(CWD, dir, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let mut folders = Folders { top: above, way: Vec::new() };
        let top = folders.get(&[bucket.to_owned()], true)?;
        let top = top.ok_or(ErrorKind::NotFound)?.try_clone_to_owned()?;
        let mut folders = Folders { top, way: Vec::new() };
        let is_ours = look(folders.top.as_fd(), notes::NAME)?.is_some();
        if !is_ours {
            let left = entries(folders.top.as_fd())?;
            if left.iter().any(|name| name.to_bytes() != INCOMING.as_bytes()) {
                return Err(io::Error::other(format!(
                    "{bucket} is there, holds something, and is no export; take another folder"
                )));
            }
        }
        let incoming = folders.get(&[INCOMING.to_owned()], true)?;
        let incoming = incoming.ok_or(ErrorKind::NotFound)?.try_clone_to_owned()?;
        rustix::fs::flock(&incoming, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other(format!("{bucket}: another export is writing there")))?;
        // What an interrupted run left.
        for name in entries(incoming.as_fd())? {
            unlinkat(&incoming, &name, AtFlags::empty())?;
        }
        Ok(Self {
            folders,
            incoming,
            durable,
            number: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            waiting_since: Instant::now(),
        })
    }

    /// The notes of an earlier export.
    pub fn notes(&self) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match openat(&self.folders.top, notes::NAME, flags, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A new file without a name that lasts, and what it is called meanwhile.
    pub fn create(&mut self) -> io::Result<(File, String)> {
        let name = self.next();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.incoming, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok((File::from(file), name))
    }

    /// A further name of a file, as [`Self::create`] gives one.
    pub fn link(&mut self, file: &Path) -> io::Result<String> {
        let name = self.next();
        linkat(CWD, file, &self.incoming, &name, AtFlags::empty())?;
        Ok(name)
    }

    fn next(&mut self) -> String {
        self.number += 1;
        self.number.to_string()
    }

    /// Gives up a file of [`Self::create`] or [`Self::link`].
    pub fn discard(&self, temporary: &str) {
        // The next run removes it.
        let _ = unlinkat(&self.incoming, temporary, AtFlags::empty());
    }

    /// Puts the notes in their place.
    pub fn place_notes(&self, file: &File, temporary: &str) -> io::Result<()> {
        if self.durable {
            file.sync_all()?;
        }
        Ok(renameat(&self.incoming, temporary, &self.folders.top, notes::NAME)?)
    }

    /// The path that the file of a key gets. A file that an earlier export has left at the other
    /// path that the key may have moves there. Whether it is there already.
    pub fn path_of(
        &mut self,
        key: &str,
        beside_folder: bool,
        looks: &Looks,
    ) -> io::Result<(KeyPath, bool)> {
        let mut path = KeyPath::of(key, beside_folder);
        let (folders, _) = path.split();
        let Some(folder) = self.folders.get(folders, false)? else { return Ok((path, false)) };
        let mut there = look(folder, path.split().1)?;
        if !beside_folder && there.as_ref().is_some_and(is_folder) {
            // One that nothing is below any more.
            path = KeyPath::of(key, true);
            there = look(folder, path.split().1)?;
        } else {
            let other = KeyPath::of(key, !beside_folder);
            let left = look(folder, other.split().1)?;
            if left.as_ref().is_some_and(|stat| !is_folder(stat)) {
                renameat(folder, other.split().1, folder, path.split().1)?;
                there = left;
            }
        }
        let is_file = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let same = there.is_some_and(|stat| is_file(&stat) && looks.fit(&stat));
        Ok((path, same))
    }

    /// Has a file wait for its name. Gives those that had to wait no longer, with what became of
    /// them.
    pub fn place(
        &mut self,
        temporary: String,
        path: KeyPath,
        bytes: u64,
        what: T,
    ) -> io::Result<Vec<(T, KeyPath, io::Result<()>)>> {
        self.waiting.push(Waiting { temporary, path, what });
        self.waiting_bytes += bytes;
        let full = self.waiting.len() >= BACKUP_BATCH_FILES
            || self.waiting_bytes >= BACKUP_BATCH_BYTES
            || self.waiting_since.elapsed() >= BACKUP_BATCH_TIME;
        if full { self.settle() } else { Ok(Vec::new()) }
    }

    /// Makes what waits durable, and then gives it its names.
    pub fn settle(&mut self) -> io::Result<Vec<(T, KeyPath, io::Result<()>)>> {
        self.waiting_bytes = 0;
        self.waiting_since = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        self.sync()?;
        let mut done = Vec::with_capacity(waiting.len());
        for Waiting { temporary, path, what } in waiting {
            let named = self.give_name(&temporary, &path);
            if named.is_err() {
                self.discard(&temporary);
            }
            done.push((what, path, named));
        }
        Ok(done)
    }

    fn give_name(&mut self, temporary: &str, path: &KeyPath) -> io::Result<()> {
        let (folders, name) = path.split();
        let folder = self.folders.get(folders, true)?.ok_or(ErrorKind::NotFound)?;
        Ok(renameat(&self.incoming, temporary, folder, name)?)
    }

    fn sync(&self) -> io::Result<()> {
        if self.durable { Ok(rustix::fs::syncfs(&self.folders.top)?) } else { Ok(()) }
    }

    /// Ends: what has its name is durable with it, and nothing is left over.
    pub fn finish(self) -> io::Result<()> {
        // It has files only if one could not be removed, which the next run tries again.
        let _ = unlinkat(&self.folders.top, INCOMING, AtFlags::REMOVEDIR);
        self.sync()
    }
}

/// Sets a file's time, in milliseconds since 1970.
pub fn set_time(file: &File, ms: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: ms.div_euclid(1000), tv_nsec: ms.rem_euclid(1000) * 1_000_000 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::futimens(file, &times)?)
}
