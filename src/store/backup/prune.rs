//! Removes snapshots that are not to be kept, and then the files that no other one needs.

use super::super::StoreError;
use super::super::census::{Census, Source, Total};
use super::manifest;
use super::{BackupDir, BackupError, Progress, Snapshot, Watch, remove_flat, sync_dir, walk};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The snapshots before the last `keep` complete ones. An incomplete one counts for nothing: it
/// never drives out a complete one, and goes when all that are kept are newer.
fn superfluous(snapshots: &[Snapshot], keep: usize) -> &[Snapshot] {
    let complete = |(at, s): (usize, &Snapshot)| s.manifest.is_complete().then_some(at);
    let oldest = snapshots.iter().enumerate().rev().filter_map(complete).nth(keep.max(1) - 1);
    &snapshots[..oldest.unwrap_or(0)]
}

/// Keeps so many complete snapshots, at least one. Gives the names of those that went, and the
/// files.
pub fn prune(
    dir: &BackupDir,
    keep: usize,
    watch: &mut Watch<'_>,
) -> Result<(Vec<String>, Total), BackupError> {
    let snapshots = dir.snapshots()?;
    let old = superfluous(&snapshots, keep);
    let mut removed = Vec::new();
    for snapshot in old {
        // First the manifest: a snapshot without one is none.
        dir.fs.unlink(&snapshot.dir.join(manifest::FILE))?;
        sync_dir(&dir.fs, &snapshot.dir)?;
        remove_flat(&dir.fs, &snapshot.dir)?;
        removed.push(snapshot.name.clone());
    }
    sync_dir(&dir.fs, &dir.snapshots_dir())?;
    let census = Census::new()?;
    for snapshot in &snapshots[old.len()..] {
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
        let count = |lost: &[u64], keep| {
            superfluous(&lost.iter().map(|n| snapshot(*n)).collect::<Vec<_>>(), keep).len()
        };
        assert_eq!(count(&[0, 0, 0], 1), 2);
        assert_eq!(count(&[0, 0, 0], 2), 1);
        assert_eq!(count(&[0, 0, 0], 4), 0);
        // Never less than one, and never a complete one for one that is not.
        assert_eq!(count(&[0, 0, 0], 0), 2);
        assert_eq!(count(&[0, 1, 1], 1), 0);
        assert_eq!(count(&[1, 0, 1], 1), 1);
        assert_eq!(count(&[1, 1], 1), 0);
        assert_eq!(count(&[], 1), 0);
    }
}
