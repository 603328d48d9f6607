//! A way through a folder that never leaves it: every step down is taken from the folder above,
//! which is open; symbolic links are seen and not followed.

use crate::limits::MAX_IMPORT_DEPTH;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How a folder is opened: itself, and only if it is one.
pub const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The names in a folder, in order of their bytes.
pub fn entries(folder: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What is met.
pub enum What {
    /// A file of so many bytes.
    File(u64),
    /// What is no file and no folder, or a folder that is not entered.
    Other(&'static str),
    /// It cannot be looked at.
    Unreadable(io::Error),
}

/// Something on the way.
pub struct Met<'w> {
    /// The names down to it.
    pub names: &'w [Vec<u8>],
    /// What it is.
    pub what: What,
    folder: BorrowedFd<'w>,
    name: &'w CString,
}

impl Met<'_> {
    /// Its path below the folder.
    pub fn path(&self) -> Vec<u8> {
        self.names.join(&b'/')
    }

    /// Opens it, if it is still a file.
    pub fn open(&self) -> io::Result<File> {
        // What has become a pipe meanwhile must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(self.folder, self.name, flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is no file any more")),
        }
    }
}

/// Device and inode: what a folder is known by.
pub type Identity = (u64, u64);

/// Shows everything below a folder that is no folder, in order. One that is `not` is not entered.
pub fn walk<E>(
    top: BorrowedFd<'_>,
    not: Option<Identity>,
    show: &mut dyn FnMut(&Met<'_>) -> Result<(), E>,
) -> io::Result<Result<(), E>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut way = vec![(top.try_clone_to_owned()?, entries(top)?.into_iter())];
    while let Some((folder, left)) = way.last_mut() {
        let Some(name) = left.next() else {
            way.pop();
            names.pop();
            continue;
        };
        names.push(name.to_bytes().to_vec());
        let what = match look(folder, &name, not, names.len()) {
            Ok(Step::Down(below, inside)) => {
                way.push((below, inside.into_iter()));
                continue;
            }
            Ok(Step::Show(what)) => what,
            Err(error) => What::Unreadable(error),
        };
        let met = Met { names: &names, what, folder: folder.as_fd(), name: &name };
        if let Err(error) = show(&met) {
            return Ok(Err(error));
        }
        names.pop();
    }
    Ok(Ok(()))
}

enum Step {
    Down(OwnedFd, Vec<CString>),
    Show(What),
}

fn look(folder: &OwnedFd, name: &CString, not: Option<Identity>, depth: usize) -> io::Result<Step> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let other = |what| Ok(Step::Show(What::Other(what)));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            Ok(Step::Show(What::File(u64::try_from(stat.st_size).unwrap_or(0))))
        }
        FileType::Directory if not == Some((stat.st_dev, stat.st_ino)) => {
            other("the data directory of jog")
        }
        FileType::Directory if depth > MAX_IMPORT_DEPTH => {
            Err(io::Error::other("too many folders are inside one another"))
        }
        FileType::Directory => {
            let below = openat(folder, name, FOLDER, Mode::empty()).map_err(|e| match e {
                Errno::NOTDIR | Errno::LOOP => io::Error::other("it is no folder any more"),
                other => other.into(),
            })?;
            let inside = entries(below.as_fd())?;
            Ok(Step::Down(below, inside))
        }
        FileType::Symlink => other("a symbolic link"),
        FileType::Fifo => other("a pipe"),
        FileType::Socket => other("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => other("a device"),
        _ => other("neither file nor folder"),
    }
}
