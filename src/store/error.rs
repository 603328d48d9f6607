//! What can go wrong in the store. Absence is not an error; it is an `Option`.

use super::{Outcome, Refused};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of the store, with what the log needs to know and no client may see.
#[derive(Debug)]
pub enum StoreError {
    /// A file-system call failed.
    Io {
        /// What was tried, such as "open".
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// Stored bytes are not what was stored; the text says which.
    Corrupt(String),
    /// Encrypted bytes were to be read with a key that is not theirs, or with none.
    WrongKey,
    /// The transaction that a write was part of failed; nothing of it was done.
    Commit(String),
    /// metadata.db stayed locked by another process beyond the busy timeout.
    Busy,
    /// The store was closed: the server ends.
    Closed,
    /// A job decided against what was asked, so its transaction is undone. Never seen outside of the
    /// store, see [`undone`].
    Refused(Refused),
    /// The disk is full, or free space is under the floor.
    Full,
}

impl StoreError {
    /// The same failure for one more of the writers that a commit was for.
    pub fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Busy => Self::Busy,
            Self::Closed => Self::Closed,
            Self::WrongKey => Self::WrongKey,
            Self::Refused(refused) => Self::Refused(*refused),
            Self::Corrupt(what) => Self::Corrupt(what.clone()),
            Self::Commit(what) => Self::Commit(what.clone()),
            Self::Io { .. } | Self::Sqlite(_) => Self::Commit(self.to_string()),
        }
    }

    /// Wraps an I/O error; a full disk or an exhausted quota becomes [`StoreError::Full`].
    pub fn io(op: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { op, path: path.to_owned(), source },
        }
    }
}

/// What a job in a transaction gives: one that is refused fails, so that nothing stays of what it
/// had done before it knew.
pub(super) fn undo<T>(outcome: Outcome<T>) -> Result<T, StoreError> {
    outcome?.map_err(StoreError::Refused)
}

/// The outcome of a transaction whose job ended with [`undo`].
pub(super) fn undone<T>(result: Result<T, StoreError>) -> Outcome<T> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Refused(refused)) => Ok(Err(refused)),
        Err(error) => Err(error),
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ if has_no_index(&error) => Self::Full,
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Self::Busy
            }
            _ => Self::Sqlite(error),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { op, path, source } => write!(f, "{op} {}: {source}", path.display()),
            Self::Sqlite(error) if has_no_room(error) => f.write_str(
                "no folder for temporary files can be written: set SQLITE_TMPDIR to one that can",
            ),
            Self::Sqlite(error) => write!(f, "metadata.db: {error}"),
            Self::Corrupt(what) => write!(f, "corrupt: {what}"),
            Self::WrongKey => f.write_str("the bytes are encrypted with another key"),
            Self::Commit(what) => write!(f, "commit: {what}"),
            Self::Busy => f.write_str("metadata.db stayed locked by another process"),
            Self::Closed => f.write_str("the store was closed"),
            Self::Refused(refused) => write!(f, "refused: {refused:?}"),
            Self::Full => f.write_str("the disk is full"),
        }
    }
}

/// Whether SQLite had no room for the index of the WAL, which it calls a "disk I/O error".
fn has_no_index(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    error.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// Whether SQLite has found no folder for a temporary file: what it says itself, "disk I/O error",
/// sounds as if metadata.db were damaged.
fn has_no_room(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    error.sqlite_error().is_some_and(|e| e.extended_code == ffi::SQLITE_IOERR_GETTEMPPATH)
}

impl std::error::Error for StoreError {}

/// Why a data directory cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    InUse,
    /// metadata.db was written by a newer program.
    Newer {
        /// The version of its tables.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// `jog restore` into it has not ended.
    Restoring,
    /// Anything else.
    Store(StoreError),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("it is in use by another jog process"),
            Self::Newer { found, known } => write!(
                f,
                "metadata.db has version {found} and this jog knows versions up to {known}; \
                 use the jog that wrote it, or a newer one"
            ),
            Self::Restoring => f.write_str(
                "a restore into it has not ended; run the same `jog restore` again to go on with it",
            ),
            Self::Store(error) => {
                error.fmt(f)?;
                remedy(error).map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
        }
    }
}

/// What can be done about a data directory that is not as it must be.
fn remedy(error: &StoreError) -> Option<&'static str> {
    use io::ErrorKind;
    use rusqlite::ErrorCode;
    let kind = match error {
        StoreError::Io { source, .. } => source.kind(),
        StoreError::Sqlite(error) => match error.sqlite_error_code()? {
            ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                ErrorKind::PermissionDenied
            }
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => ErrorKind::InvalidData,
            _ => return None,
        },
        _ => return None,
    };
    Some(match kind {
        ErrorKind::PermissionDenied => "it and all in it must belong to the user that runs jog",
        ErrorKind::ReadOnlyFilesystem => "mount it so that it can be written",
        ErrorKind::NotADirectory => "name a folder",
        ErrorKind::InvalidData => "restore metadata.db from a backup",
        _ => return None,
    })
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn a_full_disk_is_one_whatever_sqlite_calls_it() {
        let of =
            |code| StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(of(ffi::SQLITE_FULL), StoreError::Full));
        assert!(matches!(of(ffi::SQLITE_IOERR_SHMSIZE), StoreError::Full));
        assert!(matches!(of(ffi::SQLITE_IOERR_READ), StoreError::Sqlite(_)));
    }

    #[test]
    fn a_directory_that_cannot_be_opened_says_what_to_do() {
        let of = |kind: io::ErrorKind| {
            let error = StoreError::io("open", Path::new("/d/jog.lock"), kind.into());
            OpenError::from(error).to_string()
        };
        assert!(of(io::ErrorKind::PermissionDenied).contains("the user that runs jog"));
        assert!(of(io::ErrorKind::ReadOnlyFilesystem).contains("mount it"));
        let sqlite = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), None);
        let text = OpenError::from(StoreError::from(sqlite)).to_string();
        assert!(text.contains("the user that runs jog"), "{text}");
    }
}
