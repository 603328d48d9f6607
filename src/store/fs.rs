//! The few file-system calls that the store makes. Everything goes through here, so a test can let
//! any of them fail: see [`Fault`].

use super::StoreError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Mode of files: the owner's alone, since nobody else has a permission that JOG could check.
pub const FILE_MODE: u32 = 0o600;
/// Mode of folders.
const DIR_MODE: u32 = 0o700;

/// Files and folders that this process has made durable, without those of SQLite.
pub static SYNCS: AtomicU64 = AtomicU64::new(0);

/// Lets the n-th call fail and every later one with it, as if the machine had stopped. For tests.
#[derive(Debug)]
pub struct Fault {
    left: AtomicI64,
}

impl Fault {
    /// Lets so many calls pass.
    pub fn after(calls: i64) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(calls) })
    }

    /// Whether a call was refused.
    pub fn hit(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    fn check(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.left.store(-1, Ordering::SeqCst);
            return Err(io::Error::other("injected fault"));
        }
        Ok(())
    }
}

/// The calls, with the store's durability.
#[derive(Clone, Debug)]
pub struct Fs {
    /// Whether `sync` calls reach the disk (`JOG_DURABILITY=full`).
    pub durable: bool,
    /// See [`Fault`].
    pub fault: Option<Arc<Fault>>,
}

impl Fs {
    fn call<T>(
        &self,
        op: &'static str,
        path: &Path,
        run: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let checked = self.fault.as_ref().map_or(Ok(()), |fault| fault.check());
        checked.and_then(|()| run()).map_err(|e| StoreError::io(op, path, e))
    }

    /// A new file for writing; fails if there is one.
    pub fn create(&self, path: &Path) -> Result<File, StoreError> {
        self.call("create", path, || {
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
        })
    }

    /// Opens a file for reading.
    pub fn open(&self, path: &Path) -> Result<File, StoreError> {
        self.call("open", path, || File::open(path))
    }

    /// Appends all bytes.
    pub fn write(&self, path: &Path, file: &mut File, bytes: &[u8]) -> Result<(), StoreError> {
        self.call("write", path, || file.write_all(bytes))
    }

    /// Makes a file's bytes durable.
    pub fn sync_file(&self, path: &Path, file: &File) -> Result<(), StoreError> {
        if !self.durable {
            return Ok(());
        }
        SYNCS.fetch_add(1, Ordering::Relaxed);
        self.call("fdatasync", path, || file.sync_data())
    }

    /// Makes the entries of a folder durable.
    pub fn sync_dir(&self, path: &Path, dir: &File) -> Result<(), StoreError> {
        if !self.durable {
            return Ok(());
        }
        SYNCS.fetch_add(1, Ordering::Relaxed);
        self.call("fsync", path, || dir.sync_all())
    }

    /// Makes everything durable that was written to the file system of `path` before this call.
    pub fn sync_all(&self, path: &Path) -> Result<(), StoreError> {
        if !self.durable {
            return Ok(());
        }
        SYNCS.fetch_add(1, Ordering::Relaxed);
        self.call("syncfs", path, || Ok(rustix::fs::syncfs(File::open(path)?)?))
    }

    /// Gives a file another name; what had that name before is gone.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.call("rename", to, || fs::rename(from, to))
    }

    /// Makes a folder unless it is there; whether it is new.
    pub fn mkdir(&self, path: &Path) -> Result<bool, StoreError> {
        self.call("mkdir", path, || match fs::DirBuilder::new().mode(DIR_MODE).create(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        })
    }

    /// Asks ext4 to place each folder in `dir` in a part of the disk of its own (`chattr +T`), so
    /// that the files of one folder are together and folders are apart.
    ///
    /// ext4 gives out no inode that was freed within the last minutes, and looks for another one
    /// by one: 700 microseconds a new file were measured where many had been deleted in the same
    /// part of the disk, and 25 with folders apart. Other file systems refuse; nothing is lost.
    pub fn spread(&self, dir: &Path) {
        let Ok(handle) = File::open(dir) else { return };
        if let Ok(flags) = rustix::fs::ioctl_getflags(&handle) {
            let _ = rustix::fs::ioctl_setflags(&handle, flags | rustix::fs::IFlags::TOPDIR);
        }
    }

    /// A second name for a file.
    pub fn link(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.call("link", to, || fs::hard_link(from, to))
    }

    /// Copies the bytes of a file into a new one (in the kernel where it can).
    pub fn copy(&self, from: &Path, file: &mut File) -> Result<u64, StoreError> {
        self.call("copy", from, || io::copy(&mut File::open(from)?, file))
    }

    /// Removes a file; whether there was one.
    pub fn unlink(&self, path: &Path) -> Result<bool, StoreError> {
        self.call("unlink", path, || match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        })
    }

    /// Removes a folder if it is empty; whether it is gone.
    pub fn rmdir(&self, path: &Path) -> bool {
        self.call("rmdir", path, || fs::remove_dir(path)).is_ok()
    }
}

/// Fails if the file system of `path` is read-only, as the system makes one whose disk has failed.
pub fn check_writable(path: &Path) -> Result<(), StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StoreError::io("statvfs", path, e.into()))?;
    match stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        true => Err(StoreError::io("write", path, io::ErrorKind::ReadOnlyFilesystem.into())),
        false => Ok(()),
    }
}

/// Bytes that an unprivileged process may still write on the file system of `path`, and its size.
pub fn free_space(path: &Path) -> Result<(u64, u64), StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StoreError::io("statvfs", path, e.into()))?;
    Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
}
