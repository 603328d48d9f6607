//! Keeps files of deleted objects while somebody outside of the server reads files: a backup, or a
//! verification. Who reads holds a shared lock (flock) on the folder `buckets/`; the collector
//! takes it exclusively for each of its steps, and leaves everything where it is when it cannot.
//!
//! The kernel gives the lock back when its holder dies. Only a disk under `JOG_TRASH_FLOOR` has
//! files removed all the same.

use super::StoreError;
use std::fs::{File, TryLockError};
use std::path::Path;

/// Keeps the files of a data directory until it is dropped.
#[derive(Debug)]
pub struct Hold(#[allow(dead_code)] File);

fn open(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join("buckets");
    File::open(&path).map_err(|e| StoreError::io("open", &path, e))
}

/// Holds the files; waits while the collector does a step.
pub fn hold(data_dir: &Path) -> Result<Hold, StoreError> {
    let folder = open(data_dir)?;
    folder.lock_shared().map_err(|e| StoreError::io("lock", &data_dir.join("buckets"), e))?;
    Ok(Hold(folder))
}

/// For the collector: keeps others from holding until it is dropped; `None` if somebody holds.
pub fn unless_held(data_dir: &Path) -> Result<Option<Hold>, StoreError> {
    let folder = open(data_dir)?;
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        // A file system without these locks (some of the network) has nobody that holds.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Hold(folder))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_keep_the_collector_away() {
        let dir = std::env::temp_dir().join(format!("jog-hold-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("buckets")).unwrap();
        let (one, two) = (hold(&dir).unwrap(), hold(&dir).unwrap());
        assert!(unless_held(&dir).unwrap().is_none());
        drop(one);
        assert!(unless_held(&dir).unwrap().is_none());
        drop(two);
        assert!(unless_held(&dir).unwrap().is_some());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
