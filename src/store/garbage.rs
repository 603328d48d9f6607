//! Files that no object needs any more. Their rows are written with the delete or overwrite itself;
//! the files go later, after the retention time, so that a reader is never cut off and a copy of
//! metadata.db and then of the files is complete.

use super::blob::Blobs;
use super::db::{Readers, Writer, lock};
use super::rows::Touched;
use super::{BlobId, ManifestId, StoreError, uploads};
use rusqlite::{OptionalExtension, params};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Rows of garbage in one step.
const STEP_ROWS: i64 = 128;
/// Parts of one manifest in one step.
const STEP_PARTS: usize = 1000;

/// Manifests that somebody reads, and those whose parts are being removed: none is both.
#[derive(Default, Debug)]
pub struct Pins {
    pinned: Mutex<Pinned>,
    /// Held by the one that collects.
    collecting: Mutex<()>,
}

#[derive(Default, Debug)]
struct Pinned {
    readers: HashMap<i64, usize>,
    condemned: HashSet<i64>,
}

/// Keeps the parts of a manifest until it is dropped.
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    manifest: ManifestId,
}

impl Pins {
    /// Keeps the parts of a manifest from now on; `None` if they are being removed.
    pub fn pin(self: &Arc<Self>, manifest: ManifestId) -> Option<Pin> {
        let mut pinned = lock(&self.pinned);
        if pinned.condemned.contains(&manifest.0) {
            return None;
        }
        *pinned.readers.entry(manifest.0).or_insert(0) += 1;
        Some(Pin { pins: Arc::clone(self), manifest })
    }

    /// Keeps readers away from a manifest from now on; false if it has some.
    fn condemn(&self, manifest: i64) -> bool {
        let mut pinned = lock(&self.pinned);
        let free = !pinned.readers.contains_key(&manifest);
        if free {
            pinned.condemned.insert(manifest);
        }
        free
    }

    /// The rows of these manifests are gone too, so there is nothing left to keep readers from.
    /// Where removing them failed this is not called: the next try comes to it.
    fn forget(&self, manifests: &[i64]) {
        let mut pinned = lock(&self.pinned);
        for manifest in manifests {
            pinned.condemned.remove(manifest);
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let readers = &mut lock(&self.pins.pinned).readers;
        if let Some(count) = readers.get_mut(&self.manifest.0) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.manifest.0);
            }
        }
    }
}

/// One row of garbage.
struct Item {
    id: i64,
    bucket: String,
    blob: Option<i64>,
    manifest: Option<i64>,
}

/// What is needed to collect.
pub struct Collector<'a> {
    pub blobs: &'a Blobs,
    pub writer: &'a Writer,
    pub readers: &'a Readers,
    pub pins: &'a Pins,
}

/// How far a step came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The last row that was looked at: where the next step starts.
    pub last: i64,
    /// Rows that are gone with their files.
    pub removed: usize,
    /// Rows with a file that cannot be removed.
    pub stuck: usize,
    /// Whether the next step would find more.
    pub more: bool,
}

impl Collector<'_> {
    /// When the oldest garbage was deleted, in milliseconds since 1970.
    pub fn oldest(&self) -> Result<Option<i64>, StoreError> {
        self.readers.read(|conn| {
            Ok(conn
                .prepare_cached("SELECT deleted_ms FROM garbage ORDER BY id LIMIT 1")?
                .query_row([], |row| row.get(0))
                .optional()?)
        })
    }

    /// Whatever was deleted later than now was deleted while the clock was ahead: as if it were
    /// deleted now. What was deleted after it would have to wait for it.
    pub fn redate(&self, now_ms: i64) -> Result<(), StoreError> {
        self.writer.write_after(Vec::new(), Touched::Nothing, move |conn| {
            let sql = "UPDATE garbage SET deleted_ms = ?1 WHERE deleted_ms > ?1";
            conn.prepare_cached(sql)?.execute([now_ms])?;
            Ok(())
        })
    }

    /// Removes some of what was deleted at or before `before_ms`, in the order of deletion, with
    /// rows above `after`. Files first, then their rows: a crash between the two only repeats it.
    /// A file that cannot be removed is left for another time, and logged.
    pub fn step(&self, before_ms: i64, after: i64) -> Result<Step, StoreError> {
        // One at a time: the number of a row may be used again as soon as the row is gone.
        let _one = lock(&self.pins.collecting);
        let (items, more) = self.due(before_ms, after)?;
        let last = items.last().map_or(after, |item| item.id);
        let mut done = Vec::new();
        let mut manifests = Vec::new();
        let mut folders = BTreeSet::new();
        let mut stuck = 0;
        for item in items {
            let gone = match (item.blob, item.manifest) {
                (Some(blob), _) => self.unlink(&item.bucket, BlobId(blob), &mut folders),
                (None, Some(manifest)) => {
                    if !self.pins.condemn(manifest) {
                        continue;
                    }
                    self.unlink_parts(&item.bucket, manifest, &mut folders)
                }
                (None, None) => Ok(()),
            };
            match gone {
                Ok(()) => {
                    manifests.extend(item.manifest);
                    done.push(item.id);
                }
                Err(error @ StoreError::Io { .. }) => {
                    log::warn!("trash: {error}");
                    stuck += 1;
                }
                Err(error) => return Err(error),
            }
        }
        let removed = done.len();
        if removed > 0 {
            let gone = manifests.clone();
            self.writer.write_freeing(Touched::Nothing, move |conn| {
                for manifest in &manifests {
                    conn.prepare_cached("DELETE FROM parts WHERE manifest = ?1")?
                        .execute([manifest])?;
                }
                for id in &done {
                    conn.prepare_cached("DELETE FROM garbage WHERE id = ?1")?.execute([id])?;
                }
                Ok(())
            })?;
            self.pins.forget(&gone);
        }
        self.remove_folders(folders)?;
        Ok(Step { last, removed, stuck, more })
    }

    fn due(&self, before_ms: i64, after: i64) -> Result<(Vec<Item>, bool), StoreError> {
        self.readers.read(|conn| {
            let mut statement = conn.prepare_cached(
                "SELECT id, bucket, blob, manifest, deleted_ms FROM garbage
                 WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after, STEP_ROWS])?;
            let mut items = Vec::new();
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(4)? > before_ms {
                    return Ok((items, false));
                }
                items.push(Item {
                    id: row.get(0)?,
                    bucket: row.get(1)?,
                    blob: row.get(2)?,
                    manifest: row.get(3)?,
                });
            }
            let more = items.len() as i64 == STEP_ROWS;
            Ok((items, more))
        })
    }

    fn unlink(
        &self,
        bucket: &str,
        blob: BlobId,
        folders: &mut BTreeSet<(String, PathBuf)>,
    ) -> Result<(), StoreError> {
        let path = self.blobs.path(bucket, blob);
        self.blobs.fs.unlink(&path)?;
        if let Some(folder) = path.parent() {
            folders.insert((bucket.to_owned(), folder.to_owned()));
        }
        Ok(())
    }

    fn unlink_parts(
        &self,
        bucket: &str,
        manifest: i64,
        folders: &mut BTreeSet<(String, PathBuf)>,
    ) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let read = |conn: &rusqlite::Connection| {
                uploads::parts(conn, ManifestId(manifest), after, STEP_PARTS)
            };
            let parts = self.readers.read(read)?;
            let Some(last) = parts.last() else { return Ok(()) };
            after = last.number;
            for blob in parts.iter().filter_map(|part| part.blob) {
                self.unlink(bucket, blob, folders)?;
            }
        }
    }

    /// Removes folders that have become empty, and those of buckets that are gone.
    fn remove_folders(&self, folders: BTreeSet<(String, PathBuf)>) -> Result<(), StoreError> {
        let mut last_bucket = None;
        for (bucket, folder) in folders {
            self.blobs.remove_empty(folder.ancestors().take(2));
            if last_bucket.as_ref() != Some(&bucket)
                && let Some(bucket) = last_bucket.replace(bucket)
            {
                self.remove_bucket_folder(&bucket)?;
            }
        }
        last_bucket.map_or(Ok(()), |bucket| self.remove_bucket_folder(&bucket))
    }

    /// Removes the folder of a bucket that is gone, if nothing is left in it.
    pub fn remove_bucket_folder(&self, bucket: &str) -> Result<(), StoreError> {
        let exists: bool = self.readers.read(|conn| {
            let sql = "SELECT EXISTS (SELECT 1 FROM buckets WHERE name = ?1)";
            Ok(conn.prepare_cached(sql)?.query_row([bucket], |row| row.get(0))?)
        })?;
        if !exists {
            let objects = self.blobs.bucket_dir(bucket).join("objects");
            self.remove_empty(&objects, 2);
            self.blobs.remove_empty(objects.ancestors().take(2));
        }
        Ok(())
    }

    /// Removes the empty folders below `dir`, so many levels down.
    fn remove_empty(&self, dir: &Path, levels: u32) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            if levels > 1 {
                self.remove_empty(&entry.path(), levels - 1);
            }
            self.blobs.remove_empty([entry.path().as_path()]);
        }
    }
}
