//! After a crash: removes the files that were being written and never got a row.
//!
//! Blob numbers tell where to look: everything below the low-water mark that metadata.db holds is
//! settled, so only the few folders from there on are read, whatever the size of the store.
//!
//! Files without a row are left alone when metadata.db is not the one that this data directory
//! last ran with (restored from a backup, copied from elsewhere): they may be objects of a later
//! time that somebody still wants. `jog verify` lists them. Numbers then go on behind theirs, so a
//! later crash does not take them for its own leftovers.

use super::StoreError;
use super::blob::Blobs;
use super::db::Readers;
use super::ids;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The first sequence number behind every folder of files, read from the names of the folders.
pub fn behind_all(root: &Path) -> Result<i64, StoreError> {
    let mut behind = 0;
    for bucket in read(root)? {
        let objects = bucket.path().join("objects");
        if !objects.is_dir() {
            continue;
        }
        // Names have leading zeros, so the last one has the highest number. What a NAS or a desktop
        // puts beside them (`@eaDir`, `.DS_Store`) is not one.
        let ours = |upper: &fs::DirEntry| ids::behind_folder(&name(upper), "0").is_some();
        let uppers = read(&objects)?.into_iter().filter(|upper| ours(upper) && is_dir(upper));
        let Some(upper) = uppers.max_by_key(fs::DirEntry::file_name) else { continue };
        for lower in read(&upper.path())? {
            let found = ids::behind_folder(&name(&upper), &name(&lower));
            behind = behind.max(found.unwrap_or(0));
        }
    }
    Ok(behind)
}

fn read(dir: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    let entries = fs::read_dir(dir).map_err(|e| StoreError::io("readdir", dir, e))?;
    entries.collect::<Result<_, _>>().map_err(|e| StoreError::io("readdir", dir, e))
}

fn is_dir(entry: &fs::DirEntry) -> bool {
    entry.path().is_dir()
}

fn name(entry: &fs::DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

/// Removes the unreferenced files with sequence numbers in `low..high`; how many there were.
pub fn run(
    root: &Path,
    blobs: &Blobs,
    readers: &Readers,
    low: i64,
    high: i64,
) -> Result<usize, StoreError> {
    let mut found = Vec::new();
    let groups = ids::group_range(low, high);
    for bucket in read(root)? {
        let objects = bucket.path().join("objects");
        if !objects.is_dir() {
            continue;
        }
        for upper in read(&objects)? {
            if !ids::upper_in(&name(&upper), &groups) || !is_dir(&upper) {
                continue;
            }
            for lower in read(&upper.path())? {
                if !ids::group_in(&name(&upper), &name(&lower), &groups) || !is_dir(&lower) {
                    continue;
                }
                for file in read(&lower.path())? {
                    let id = ids::parse_file_name(&name(&file));
                    let id = id.filter(|id| (low..high).contains(&ids::sequence(id.0)));
                    found.extend(id.map(|id| (id, file.path())));
                }
            }
        }
    }
    if found.is_empty() {
        return Ok(0);
    }
    let known = referenced(readers, ids::first_of(low), ids::first_of(high))?;
    let mut removed = 0;
    for (id, path) in found {
        if !known.contains(&id.0) {
            blobs.fs.unlink(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Every blob in a range that a row names.
fn referenced(readers: &Readers, low: i64, high: i64) -> Result<HashSet<i64>, StoreError> {
    readers.read(|conn| {
        let mut statement = conn.prepare(
            "SELECT blob FROM objects WHERE blob >= ?1 AND blob < ?2
             UNION ALL SELECT blob FROM versions WHERE blob >= ?1 AND blob < ?2
             UNION ALL SELECT blob FROM parts WHERE blob >= ?1 AND blob < ?2
             UNION ALL SELECT blob FROM garbage WHERE blob >= ?1 AND blob < ?2",
        )?;
        let rows = statement.query_map([low, high], |row| row.get(0))?;
        Ok(rows.collect::<Result<HashSet<i64>, _>>()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_put_between_the_folders_is_not_counted() {
        let root = std::env::temp_dir().join(format!("jog-recover-{}", std::process::id()));
        let objects = root.join("bucket/objects");
        for folder in ["0001f/002", "00020/00a", "@eaDir/x", "00020/@eaDir"] {
            fs::create_dir_all(objects.join(folder)).unwrap();
        }
        for file in [root.join(".DS_Store"), objects.join("00021"), objects.join("thumbs.db")] {
            fs::write(file, "?").unwrap();
        }
        assert_eq!(behind_all(&root).unwrap(), ids::behind_folder("00020", "00a").unwrap());
        fs::remove_dir_all(root).unwrap();
    }
}
