//! What a verification finds: damage, files that nothing names, contradictions; and what a repair
//! does about it.

use super::support::{Folder, Rng, audit, bucket, content, get, key, new_object, put_ok};
use super::{BackupConfig, backup_config, config, file_of, fill, flip, look, open, run, tree};
use jog::store::backup::Damage;
use jog::store::verify::{VerifyConfig, verify};
use jog::store::{NewData, Store};
use jog::types::Precondition;

#[test]
fn damage_is_found_named_and_repaired_from_a_backup() {
    let folder = Folder::in_memory("backup");
    let (data, dest, second) =
        (folder.path().join("d"), folder.path().join("b"), folder.path().join("b2"));
    let store = open(&data);
    fill(&store);
    run(&backup_config(&data, &dest));
    let good = tree(&data);
    flip(&file_of(&data, 7100), 3);
    let sealed = file_of(&data, 200_064);
    flip(&sealed, 100_000);
    std::fs::remove_file(file_of(&data, 9100)).unwrap();
    let short = std::fs::OpenOptions::new().write(true).open(file_of(&data, 11_100)).unwrap();
    short.set_len(100).unwrap();
    flip(&file_of(&data, 700), 1);
    // Without reading all bytes only what is missing or short is found.
    let quick = VerifyConfig { dir: data.clone(), ..VerifyConfig::default() };
    let report = verify(&quick, &mut |_| ()).unwrap();
    assert_eq!((report.lost.len(), report.read), (2, 0));
    let report = look(&data);
    let mut lost: Vec<(String, &str)> = report
        .lost
        .iter()
        .flat_map(|l| l.owners.iter().map(|o| (format!("{} {}", o.kind, o.key), l.damage.name())))
        .collect();
    lost.sort();
    let expected = [
        ("object k11", "size"),
        ("object k7", "checksum"),
        ("object k9", "missing"),
        ("object sealed", "checksum"),
        ("upload open", "checksum"),
    ];
    assert_eq!(lost, expected.map(|(o, d)| (o.to_owned(), d)));
    assert!(report.lost.iter().any(|l| l.damage == Damage::Size { found: 100, expected: 11_100 }));
    assert!(!report.is_sound() && report.contradictions.is_empty());
    // A backup of it says so, and does not take over what is damaged.
    let partial = run(&backup_config(&data, &second));
    assert_eq!((partial.manifest.lost_files, partial.lost.len()), (5, 5));
    assert!(!look(&second).is_sound());
    let again = run(&backup_config(&data, &dest));
    assert!(again.manifest.is_complete(), "the backup has the files from before");
    let config = VerifyConfig { repair_from: Some(dest), deep: true, ..quick };
    let report = verify(&config, &mut |_| ()).unwrap();
    assert!(report.is_sound() && report.repaired.len() == 5, "{report:?}");
    assert!(look(&data).is_sound());
    assert_eq!(tree(&data), good);
    // Nothing was thrown away: what was damaged is in the quarantine.
    let aside = report.quarantine.unwrap();
    assert_eq!(tree(&aside).len(), 4);
    drop(store);
}

#[test]
fn files_that_nothing_names_are_listed_and_set_aside() {
    let folder = Folder::in_memory("backup");
    let data = folder.path().join("d");
    let store = open(&data);
    let b = bucket(&store, "plain");
    put_ok(&store, &b, "k", &content(1, 1000));
    let file = file_of(&data, 1000);
    let stray = file.with_file_name("0000000000000001");
    std::fs::write(&stray, b"?").unwrap();
    let new = {
        let mut writer = store.create_blob(&b.name, None).unwrap();
        writer.write(b"in flight").unwrap();
        writer
    };
    // A server runs: what has no row yet is left alone.
    let config = VerifyConfig { dir: data.clone(), repair: true, ..VerifyConfig::default() };
    let report = verify(&config, &mut |_| ()).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.orphans, [(stray.clone(), 1)], "it is not where its number belongs");
    assert_eq!(report.unsettled, 1);
    assert!(!stray.exists());
    drop(new);
    drop(store);
    // None runs: everything without a row is one.
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let other = i64::from_str_radix(&name, 16).unwrap() + (1 << 20);
    let other = file.with_file_name(format!("{other:016x}"));
    std::fs::write(&other, b"??").unwrap();
    let report = verify(&config, &mut |_| ()).unwrap();
    assert_eq!((report.orphans, report.unsettled), (vec![(other.clone(), 2)], 0));
    let aside = report.quarantine.unwrap();
    assert_eq!(tree(&aside).into_values().collect::<Vec<_>>(), [b"??"]);
    std::fs::remove_dir_all(data.join("quarantine")).unwrap();
    let store = open(&data);
    assert_eq!(get(&store, &bucket(&store, "plain"), "k").unwrap(), content(1, 1000));
    store.close().unwrap();
    drop(store);
    assert_eq!(audit(&data), Vec::<String>::new());
}

#[test]
fn contradictions_in_metadata_are_found() {
    let folder = Folder::in_memory("backup");
    let data = folder.path().join("d");
    let store = open(&data);
    fill(&store);
    store.close().unwrap();
    drop(store);
    assert!(look(&data).is_sound());
    for (sql, word) in [
        ("UPDATE usage SET bytes = bytes + 1", "usage is counted wrong"),
        (
            "UPDATE objects SET null_version = 1; UPDATE versions SET null_version = 1",
            "null version",
        ),
        (
            "UPDATE objects SET blob = (SELECT max(blob) FROM objects) WHERE key = CAST('k1' AS BLOB)",
            "more than one row",
        ),
        ("UPDATE objects SET bucket = 99 WHERE key = CAST('k1' AS BLOB)", "it is gone"),
        ("UPDATE objects SET size = 5 WHERE key = CAST('empty' AS BLOB)", "nowhere"),
        ("DELETE FROM objects WHERE key = CAST('parts' AS BLOB)", "belong to nothing"),
        ("UPDATE versions SET marker = 0, size = 0", "no delete marker"),
    ] {
        let broken = Folder::in_memory("broken");
        std::fs::create_dir(broken.path().join("buckets")).unwrap();
        let db = broken.path().join("metadata.db");
        std::fs::copy(data.join("metadata.db"), &db).unwrap();
        let conn = rusqlite::Connection::open(&db).unwrap();
        conn.execute_batch(sql).unwrap();
        drop(conn);
        let found = look(broken.path()).contradictions;
        assert!(found.iter().any(|text| text.contains(word)), "{sql}: {found:?}");
    }
}

#[test]
fn an_interrupted_verification_goes_on_where_it_was() {
    let folder = Folder::in_memory("backup");
    let data = folder.path().join("d");
    let store = open(&data);
    let (a, z) = (bucket(&store, "aaa"), bucket(&store, "zzz"));
    let mut rng = Rng::new(1);
    for n in 0..10 {
        put_ok(&store, &a, &format!("k{n}"), &content(n, 1000));
        put_ok(&store, &z, &format!("k{n}"), &content(rng.next(), 1000));
    }
    let resume = folder.path().join("position.json");
    let blob = match store.object(z.id, &key("k3")).unwrap().unwrap().data {
        jog::store::Data::Blob(blob) => blob.0,
        other => panic!("{other:?}"),
    };
    let config = VerifyConfig {
        dir: data.clone(),
        deep: true,
        resume: Some(resume.clone()),
        ..VerifyConfig::default()
    };
    std::fs::write(&resume, format!("{{\"bucket\":\"zzz\",\"blob\":{blob},\"lost\":1}}")).unwrap();
    let report = verify(&config, &mut |_| ()).unwrap();
    assert_eq!((report.read, report.lost_before, report.files.files), (6000, 1, 20));
    assert!(!report.is_sound() && !resume.exists());
    // Of a bucket that is gone, it is the next one.
    std::fs::write(&resume, format!("{{\"bucket\":\"bbb\",\"blob\":{blob},\"lost\":0}}")).unwrap();
    assert_eq!(verify(&config, &mut |_| ()).unwrap().read, 10_000);
    assert_eq!(verify(&config, &mut |_| ()).unwrap().read, 20_000);
}

/// A data directory in which no server has been yet gets its first one during a repair.
#[test]
fn what_a_server_writes_that_starts_during_a_repair_stays_where_it_is() {
    let folder = Folder::in_memory("backup");
    let data = folder.path().join("d");
    let store = open(&data);
    for name in ["one", "two"] {
        put_ok(&store, &bucket(&store, name), "k", &content(1, 1000));
    }
    store.close().unwrap();
    drop(store);
    std::fs::remove_file(data.join("jog.lock")).unwrap();
    let repair = VerifyConfig { dir: data.clone(), repair: true, ..VerifyConfig::default() };
    let mut writing = None;
    let report = verify(&repair, &mut |progress| {
        if progress.what != "orphans" || writing.is_some() {
            return;
        }
        // The bucket that is walked last meets the file of a request in flight.
        let store = Store::open(config(&data)).unwrap();
        let blobs = ["one", "two"].map(|name| {
            let mut writer = store.create_blob(&bucket(&store, name).name, None).unwrap();
            writer.write(b"in flight").unwrap();
            writer.finish().unwrap().unwrap()
        });
        writing = Some((store, blobs));
    })
    .unwrap();
    let (store, blobs) = writing.expect("there are files");
    assert_eq!((report.orphans, report.quarantine), (vec![], None));
    for (name, blob) in ["one", "two"].into_iter().zip(blobs) {
        let b = bucket(&store, name);
        let new = new_object("new", b"in flight", NewData::Blob(blob));
        store.put_object(b.id, new, Precondition::default()).unwrap().unwrap();
        assert_eq!(get(&store, &b, "new").unwrap(), b"in flight");
    }
}

#[test]
fn a_backup_gets_anew_what_is_damaged_in_it() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = open(&data);
    fill(&store);
    run(&backup_config(&data, &dest));
    let good = tree(&dest);
    flip(&file_of(&dest, 7100), 3);
    flip(&file_of(&dest, 200_064), 100_000);
    // It has the right size: a backup that reads no file of before does not see it.
    run(&backup_config(&data, &dest));
    let repair =
        VerifyConfig { dir: dest.clone(), deep: true, repair: true, ..VerifyConfig::default() };
    let report = verify(&repair, &mut |_| ()).unwrap();
    assert_eq!(report.lost.len(), 2);
    assert_eq!(tree(&report.quarantine.unwrap()).len(), 2, "nothing is thrown away");
    run(&backup_config(&data, &dest));
    assert!(look(&dest).is_sound());
    assert_eq!(tree(&dest), good);
    let report = verify(&repair, &mut |_| ()).unwrap();
    assert!(report.is_sound() && report.quarantine.is_none());
}

#[test]
fn what_others_put_among_the_files_is_in_nobodys_way() {
    let folder = Folder::in_memory("backup");
    let (data, dest) = (folder.path().join("d"), folder.path().join("b"));
    let store = open(&data);
    let b = bucket(&store, "plain");
    put_ok(&store, &b, "k", &content(1, 1000));
    let put_strangers = |root: &std::path::Path| {
        let mut places = Vec::new();
        let mut above = file_of(root, 1000);
        for _ in 0..4 {
            above.pop();
            if above.file_name().unwrap() == "plain" {
                above.pop();
            }
            std::fs::write(above.join(".DS_Store"), b"?").unwrap();
            std::fs::create_dir_all(above.join("@eaDir")).unwrap();
            places.push(above.join(".DS_Store"));
        }
        places.sort();
        places
    };
    let places = put_strangers(&data);
    run(&backup_config(&data, &dest));
    put_strangers(&dest);
    let keep = BackupConfig { keep: Some(1), ..backup_config(&data, &dest) };
    assert!(run(&keep).manifest.is_complete());
    assert!(look(&dest).is_sound());
    let config = VerifyConfig { dir: data.clone(), repair: true, ..VerifyConfig::default() };
    let report = verify(&config, &mut |_| ()).unwrap();
    assert!(report.is_sound());
    let mut found: Vec<_> = report.orphans.iter().map(|(path, _)| path.clone()).collect();
    found.retain(|path| path.file_name().unwrap() == ".DS_Store");
    found.sort();
    assert_eq!(found, places);
    assert!(places.iter().all(|path| !path.exists()), "they are in the quarantine");
    drop(store);
    put_strangers(&data);
    assert_eq!(get(&open(&data), &b, "k").unwrap(), content(1, 1000));
}
