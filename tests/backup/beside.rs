//! Backups and restores beside a server that lives: neither takes what the other needs.

use super::support::{self, Folder, bucket, content, get, key, put_ok};
use super::{
    backup_config, bring_back, config, file_of, fill, look, open, restore_config, run, tree,
};
use jog::store::backup::{BackupConfig, BackupError, backup, restore};
use jog::store::{Delete, Store, StoreError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_backup_on_the_disk_of_the_data_leaves_the_server_its_room() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = open(&data);
    fill(&store);
    let config = BackupConfig { min_free: Some(1 << 60), ..backup_config(&data, &dest) };
    let refused = backup(&config, &mut |_| ());
    assert!(matches!(refused, Err(BackupError::Store(StoreError::Full))), "{refused:?}");
    assert_eq!(tree(&dest).len(), 0);
    // Another disk is nobody's but the backup's.
    let elsewhere = Folder::new("backup");
    let disk = |path: &Path| std::fs::metadata(path).unwrap().dev();
    if disk(elsewhere.path()) != disk(folder.path()) {
        let config = BackupConfig { dest: elsewhere.path().join("b"), ..config };
        assert!(run(&config).manifest.is_complete());
    }
    drop(store);
}

#[test]
fn a_restore_never_takes_the_place_of_a_server() {
    let folder = Folder::in_memory("backup");
    let (data, dest, back) =
        (folder.path().join("d"), folder.path().join("b"), folder.path().join("r"));
    let store = open(&data);
    fill(&store);
    run(&backup_config(&data, &dest));
    let refused = restore(&restore_config(&dest, &back), &mut |_| {
        std::fs::write(back.join("metadata.db"), b"the server's").unwrap();
        std::fs::write(back.join("jog.lock"), b"").unwrap();
    });
    assert!(matches!(&refused, Err(BackupError::Refused(text)) if text.contains("a server")));
    assert_eq!(std::fs::read(back.join("metadata.db")).unwrap(), b"the server's");
}

#[test]
fn the_collector_waits_for_a_backup() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = Arc::new(Store::open(config(&data)).unwrap());
    let upkeep = support::upkeep(&store);
    let b = bucket(&store, "plain");
    for n in 0..200 {
        put_ok(&store, &b, &format!("k{n}"), &content(n, 1000));
    }
    let rate = Some(200_000);
    let slow = BackupConfig { rate, trash: false, ..backup_config(&data, &dest) };
    let mut deleted = false;
    let report = backup(&slow, &mut |progress| {
        if progress.what == "files" && !deleted {
            deleted = true;
            for n in 0..200 {
                let k = key(&format!("k{n}"));
                store.delete_object(b.id, &k, Delete::default()).unwrap().unwrap();
            }
        }
    })
    .unwrap();
    assert!(deleted && report.manifest.is_complete(), "{} lost", report.manifest.lost_files);
    assert_eq!(report.manifest.files, 200);
    // And then it goes on.
    let left = || support::rows(&data, "SELECT count(*) FROM garbage");
    support::eventually("the files go", || left() == 0);
    store.close().unwrap();
    upkeep.join().unwrap();
    assert_eq!(tree(&data).len(), 0);
    assert!(look(&dest).is_sound());
}

#[test]
fn what_goes_under_a_backup_is_told() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = open(&data);
    let b = bucket(&store, "plain");
    for n in 0..10 {
        put_ok(&store, &b, &format!("k{n}"), &content(n, 1000 + n as usize));
    }
    let mut gone = false;
    let report = backup(&backup_config(&data, &dest), &mut |progress| {
        if progress.what == "metadata" && !gone {
            gone = true;
            std::fs::remove_file(file_of(&data, 1005)).unwrap();
        }
    })
    .unwrap();
    assert_eq!(report.manifest.lost_files, 1);
    assert_eq!(report.lost[0].owners[0].key, "k5");
    assert_eq!(report.manifest.lost, ["object plain/k5 null: the file is missing"]);
    // It is restored with what it has.
    let back = folder.path().join("r");
    let restored = bring_back(&restore_config(&dest, &back));
    assert_eq!(restored.lost.len(), 1);
    let store = open(&back);
    assert_eq!(get(&store, &bucket(&store, "plain"), "k6").unwrap(), content(6, 1006));
}
