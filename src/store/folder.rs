//! An open folder whose entries are made durable, for several writers with one fsync.

use super::StoreError;
use super::db::lock;
use super::fs::Fs;
use std::fs::File;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

/// See the module's description.
#[derive(Debug)]
pub struct Folder {
    file: File,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default, Debug)]
struct State {
    /// How many fsyncs have begun, and the last of them that succeeded.
    begun: u64,
    done: u64,
    running: bool,
}

impl Folder {
    /// An open folder.
    pub fn new(file: File) -> Self {
        Self { file, state: Mutex::default(), ended: Condvar::new() }
    }

    /// Returns when an fsync has succeeded that began after this call: then every entry that the
    /// caller has made is durable. Those who call while one runs share the next.
    pub fn sync(&self, fs: &Fs, path: &Path) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        // One that runs now may have begun before the caller's entry was made.
        let wanted = state.begun + 1;
        loop {
            if state.done >= wanted {
                return Ok(());
            }
            if !state.running {
                break;
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        state.begun += 1;
        let mine = state.begun;
        drop(state);
        let result = fs.sync_dir(path, &self.file);
        let mut state = lock(&self.state);
        state.running = false;
        if result.is_ok() {
            state.done = mine;
        }
        // After a failure each of those who wait tries for itself.
        self.ended.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Fault;
    use std::sync::Arc;

    #[test]
    fn many_share_a_few_syncs_and_a_failure_is_everybodys() {
        let dir = std::env::temp_dir();
        let folder = Arc::new(Folder::new(File::open(&dir).unwrap()));
        let run = |fault: Option<Arc<Fault>>| {
            let fs = Fs { durable: true, fault };
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    let (folder, fs, dir) = (Arc::clone(&folder), fs.clone(), dir.clone());
                    std::thread::spawn(move || folder.sync(&fs, &dir).is_ok())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
        };
        assert!(run(None).into_iter().all(|ok| ok));
        assert!(lock(&folder.state).begun <= 16);
        assert!(run(Some(Fault::after(0))).into_iter().all(|ok| !ok));
    }
}
