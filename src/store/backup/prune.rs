//! Removes snapshots that are not to be kept, and then the files that no other one needs.

use super::super::StoreError;
use super::super::census::{Census, Source, Total};
use super::manifest;
use super::{BackupDir, BackupError, Progress, Snapshot, Watch, remove_flat, sync_dir, walk};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Parts snapshots, oldest first, into those that go and those that stay: the last `keep` complete
/// ones, and the last `keep` of all. So an incomplete one never drives out a complete one, and
/// those do not pile up while nobody mends what is lost.
fn part(snapshots: Vec<Snapshot>, keep: usize) -> (Vec<Snapshot>, Vec<Snapshot>) {
    let (mut all, mut complete) = (0, 0);
    let mut stays: Vec<bool> = Vec::new();
    for snapshot in snapshots.iter().rev() {
        let whole = snapshot.manifest.is_complete();
        stays.push(all < keep || (whole && complete < keep));
        all += 1;
        complete += usize::from(whole);
    }
    let (mut old, mut kept) = (Vec::new(), Vec::new());
    for (snapshot, stays) in snapshots.into_iter().zip(stays.into_iter().rev()) {
        if stays { kept.push(snapshot) } else { old.push(snapshot) }
    }
    (old, kept)
}

/// Keeps so many complete snapshots, at least one. Gives the names of those that went, and the
/// files.
pub fn prune(
    dir: &BackupDir,
    keep: usize,
    watch: &mut Watch<'_>,
) -> Result<(Vec<String>, Total), BackupError> {
    let (old, kept) = part(dir.snapshots()?, keep.max(1));
    let mut removed = Vec::new();
    for snapshot in &old {
        // First the manifest: a snapshot without one is none.
        dir.fs.unlink(&snapshot.dir.join(manifest::FILE))?;
        sync_dir(&dir.fs, &snapshot.dir)?;
        remove_flat(&dir.fs, &snapshot.dir)?;
        removed.push(snapshot.name.clone());
    }
    sync_dir(&dir.fs, &dir.snapshots_dir())?;
    let census = Census::new()?;
    for snapshot in &kept {
        census.look(Source::Still(&snapshot.metadata()))?.count()?;
    }
    let mut pruned = Total::default();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    let mut progress = Progress { what: "pruning", ..Progress::default() };
    walk(
        &dir.root,
        &mut |bucket, blob, path, bytes| {
            progress.files += 1;
            watch(&progress);
            if !census.contains(bucket, blob)? {
                dir.fs.unlink(path)?;
                pruned.files += 1;
                pruned.bytes += bytes;
                folders.extend(path.parent().map(ToOwned::to_owned));
            }
            Ok::<_, StoreError>(())
        },
        &mut |_, _| (),
    )?;
    for folder in folders {
        // Up to that of the bucket, as far as they are empty.
        for folder in folder.ancestors().take(4) {
            if !dir.fs.rmdir(folder) {
                break;
            }
        }
    }
    Ok((removed, pruned))
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;

    #[test]
    fn complete_snapshots_are_kept() {
        let snapshot = |lost_files| Snapshot {
            name: String::new(),
            dir: PathBuf::new(),
            manifest: Manifest {
                moment_ms: 0,
                finished_ms: 0,
                metadata_bytes: 0,
                metadata_sha256: String::new(),
                files: 0,
                bytes: 0,
                trash_files: 0,
                lost_files,
                lost: Vec::new(),
            },
        };
        let stay = |lost: &[u64], keep| {
            let numbered = lost.iter().enumerate().map(|(at, n)| {
                let snapshot = snapshot(*n);
                Snapshot { name: at.to_string(), ..snapshot }
            });
            let (old, kept) = part(numbered.collect(), keep);
            assert_eq!(old.len() + kept.len(), lost.len());
            kept.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(stay(&[0, 0, 0], 1), "2");
        assert_eq!(stay(&[0, 0, 0], 2), "1 2");
        assert_eq!(stay(&[0, 0, 0], 4), "0 1 2");
        // Never a complete one for one that is not, and no pile of those either.
        assert_eq!(stay(&[0, 1, 1], 1), "0 2");
        assert_eq!(stay(&[1, 0, 1], 1), "1 2");
        assert_eq!(stay(&[0, 0, 1, 1, 1], 2), "0 1 3 4");
        assert_eq!(stay(&[1, 1], 1), "1");
        assert_eq!(stay(&[], 1), "");
    }
}
