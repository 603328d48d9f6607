//! The documents of a backup: what the folder is, and what belongs to a snapshot.

use super::super::StoreError;
use super::super::fs::Fs;
use super::{BackupError, Lost, MARK, write_file};
use crate::limits::MANIFEST_LOST;
use crate::types::time;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The manifest's name in the folder of a snapshot.
pub const FILE: &str = "manifest.json";
/// The form of a backup; one that is not understood by this program gets another number.
const FORMAT: u64 = 1;

/// What belongs to a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// All that was acknowledged before this moment is in it; milliseconds since 1970. After that
    /// of every snapshot before it, also where the clock was set back.
    pub moment_ms: i64,
    /// When it was complete, in milliseconds since 1970.
    pub finished_ms: i64,
    /// Size of metadata.db, in bytes.
    pub metadata_bytes: u64,
    /// SHA-256 of metadata.db, in hex.
    pub metadata_sha256: String,
    /// Files that its objects, versions and uploads need.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of deleted objects that came along.
    pub trash_files: u64,
    /// Files that could not be had. 0: the snapshot is complete.
    pub lost_files: u64,
    /// Those who need them, one text each; at most [`MANIFEST_LOST`].
    pub lost: Vec<String>,
}

impl Manifest {
    /// Whether everything is in it.
    pub fn is_complete(&self) -> bool {
        self.lost_files == 0
    }

    fn to_json(&self) -> String {
        let value = json!({
            "format": FORMAT,
            "jog": env!("CARGO_PKG_VERSION"),
            "complete": self.is_complete(),
            "moment": time::iso(self.moment_ms),
            "moment_ms": self.moment_ms,
            "finished": time::iso(self.finished_ms),
            "finished_ms": self.finished_ms,
            "metadata_bytes": self.metadata_bytes,
            "metadata_sha256": self.metadata_sha256,
            "files": self.files,
            "bytes": self.bytes,
            "trash_files": self.trash_files,
            "lost_files": self.lost_files,
            "lost": self.lost,
        });
        format!("{value:#}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| value.get(name)?.as_u64();
        let signed = |name: &str| value.get(name)?.as_i64();
        if number("format") != Some(FORMAT) {
            return None;
        }
        let lost = value.get("lost")?.as_array()?.iter();
        Some(Self {
            moment_ms: signed("moment_ms")?,
            finished_ms: signed("finished_ms")?,
            metadata_bytes: number("metadata_bytes")?,
            metadata_sha256: value.get("metadata_sha256")?.as_str()?.to_owned(),
            files: number("files")?,
            bytes: number("bytes")?,
            trash_files: number("trash_files")?,
            lost_files: number("lost_files")?,
            lost: lost.map(|text| text.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        })
    }

    /// Notes what is lost.
    pub fn set_lost(&mut self, lost: &[Lost]) {
        self.lost_files = lost.len() as u64;
        let names = lost.iter().flat_map(|l| {
            l.owners
                .iter()
                .map(|o| format!("{} {}/{} {}: {}", o.kind, o.bucket, o.key, o.id, l.damage))
        });
        self.lost = names.take(MANIFEST_LOST).collect();
    }

    /// Writes it into the folder of its snapshot, which exists from then on.
    pub fn write(&self, fs: &Fs, dir: &Path) -> Result<(), StoreError> {
        write_file(fs, &dir.join(FILE), &self.to_json())
    }
}

/// A snapshot of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its name: the moment in the basic form of ISO 8601.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// What belongs to it.
    pub manifest: Manifest,
}

impl Snapshot {
    /// Reads the one in this folder.
    pub fn read(dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| StoreError::io("read", &path, e))?;
        let manifest = Manifest::parse(&text).ok_or_else(|| {
            BackupError::refused(format!("{}: this jog does not understand it", path.display()))
        })?;
        let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, dir: dir.to_owned(), manifest })
    }

    /// Its metadata.db.
    pub fn metadata(&self) -> PathBuf {
        self.dir.join("metadata.db")
    }

    /// Whether metadata.db is what it was when the snapshot was made.
    pub fn is_sound(&self) -> Result<bool, StoreError> {
        let path = self.metadata();
        match sha256(&path) {
            Ok(found) => {
                Ok(found == (self.manifest.metadata_bytes, self.manifest.metadata_sha256.clone()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(StoreError::io("read", &path, e)),
        }
    }
}

/// The name of the snapshot of a moment.
pub fn name_of(moment_ms: i64) -> String {
    time::iso(moment_ms).chars().filter(|c| *c != '-' && *c != ':').collect()
}

/// Size and SHA-256 of a file.
pub fn sha256(path: &Path) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut File::open(path)?, &mut hash)?;
    Ok((bytes, hex::encode(hash.finalize())))
}

/// The store that a backup is of.
pub fn read_mark(root: &Path) -> Result<String, BackupError> {
    let path = root.join(MARK);
    let shown = root.display();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(BackupError::refused(format!("{shown} is no backup: it has no {MARK}")));
        }
        Err(e) => return Err(StoreError::io("read", &path, e).into()),
    };
    let value: Option<Value> = serde_json::from_str(&text).ok();
    let value = value.filter(|v| v.get("format").and_then(Value::as_u64) == Some(FORMAT));
    let store = value.and_then(|v| Some(v.get("store")?.as_str()?.to_owned()));
    store.ok_or_else(|| {
        BackupError::refused(format!("{}: this jog does not understand it", path.display()))
    })
}

/// Makes a folder a backup of a store.
pub fn write_mark(fs: &Fs, root: &Path, store: &str) -> Result<(), StoreError> {
    let value = json!({"format": FORMAT, "store": store});
    write_file(fs, &root.join(MARK), &format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = Manifest {
            moment_ms: 1_795_514_734_123,
            finished_ms: 1_795_514_735_000,
            metadata_bytes: 4096,
            metadata_sha256: "ab".repeat(32),
            files: 3,
            bytes: 1 << 40,
            trash_files: 1,
            lost_files: 1,
            lost: vec!["object b/k null: the file is missing".to_owned()],
        };
        assert_eq!(Manifest::parse(&manifest.to_json()), Some(manifest.clone()));
        assert_eq!(name_of(manifest.moment_ms), "20261124T100534.123Z");
        let other = manifest.to_json().replace("\"format\": 1", "\"format\": 2");
        assert_eq!(Manifest::parse(&other), None);
        assert_eq!(Manifest::parse("{}"), None);
    }
}
