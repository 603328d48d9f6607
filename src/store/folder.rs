//! An open folder, kept to make its new entries durable.

use super::StoreError;
use super::fs::Fs;
use std::fs::File;
use std::path::PathBuf;

/// See the module's description.
#[derive(Debug)]
pub struct Folder {
    fs: Fs,
    path: PathBuf,
    file: File,
}

impl Folder {
    /// Opens a folder.
    pub fn open(fs: &Fs, path: PathBuf) -> Result<Self, StoreError> {
        let file = fs.open(&path)?;
        Ok(Self { fs: fs.clone(), path, file })
    }

    /// Makes every entry durable that was made before this call.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.fs.sync_dir(&self.path, &self.file)
    }
}
