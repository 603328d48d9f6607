//! `jog backup`: makes a snapshot of the store in another folder while the server runs.

use super::admin::{Arguments, Failure, Opt};
use super::local::{LOST, Local, failed_at, rate};
use super::progress::{Meter, human};
use crate::config::{Config, Durability};
use crate::store::backup::{
    BackupConfig, BackupDir, BackupReport, Lost, Manifest, Snapshot, backup,
};
use crate::types::time;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The command.
pub const COMMAND: Local = Local {
    name: "backup",
    usage: "DEST [--keep N] [--rate 50MiB] [--copy] [--no-trash] [--json] | DEST --list [--json]",
    help: "make a snapshot in the folder DEST, of metadata and of every file that it names; only \
           what is new is copied,\n      or linked on the same file system unless --copy; --keep \
           removes snapshots before the last N complete ones",
    options: &[
        Opt::Value("--keep"),
        Opt::Value("--rate"),
        Opt::Switch("--copy"),
        Opt::Switch("--no-trash"),
        Opt::Switch("--list"),
        Opt::Switch("--json"),
    ],
    run,
};

fn run(config: &Config, arguments: &Arguments) -> Result<u8, Failure> {
    let [dest] = arguments.exactly()?;
    let json = arguments.get("--json").is_some();
    if arguments.get("--list").is_some() {
        return list(Path::new(dest), json);
    }
    let keep = match arguments.get("--keep").map(|text| (text, text.parse::<usize>())) {
        None => None,
        Some((_, Ok(n))) if n > 0 => Some(n),
        Some((text, _)) => {
            return Err(Failure::Usage(format!("--keep={text}: expected a number from 1")));
        }
    };
    let rate = rate(arguments)?;
    let dir = config.data_dir.as_path();
    super::admin::check_owner(dir).map_err(Failure::Failed)?;
    let settings = BackupConfig {
        data_dir: dir.to_owned(),
        dest: PathBuf::from(dest),
        keep,
        link: arguments.get("--copy").is_none(),
        trash: arguments.get("--no-trash").is_none(),
        min_free: config.min_free,
        rate,
        durable: config.durability == Durability::Full,
        fault: None,
    };
    let mut meter = Meter::new(false);
    let report = backup(&settings, &mut |progress| meter.watch(progress))
        .map_err(|error| failed_at(dest, error))?;
    drop(meter);
    if json {
        say!("{:#}", as_json(&report))
    } else {
        print(&report)
    }
    Ok(if report.manifest.is_complete() { 0 } else { LOST })
}

fn print(report: &BackupReport) {
    let BackupReport { snapshot, manifest, new, linked, lost, removed, pruned } = report;
    let Manifest { files, bytes, trash_files, .. } = manifest;
    say!("snapshot {snapshot}: {files} files, {}", human(*bytes));
    say!("{} files are new, {}; {linked} of them are links", new.files, human(new.bytes));
    if *trash_files > 0 {
        say!("{trash_files} files of deleted objects came along");
    }
    for name in removed {
        say!("removed snapshot {name}");
    }
    if pruned.files > 0 {
        say!("removed {} files, {}", pruned.files, human(pruned.bytes));
    }
    print_lost(lost);
    if !manifest.is_complete() {
        complain!("jog: the snapshot is INCOMPLETE: {} files are lost", manifest.lost_files);
    }
}

/// Lists what is lost, and who needs it.
pub fn print_lost(lost: &[Lost]) {
    for Lost { path, damage, owners } in lost {
        complain!("{}: {damage}", path.display());
        for owner in owners {
            let part = owner.part.map_or(String::new(), |n| format!(" part {n}"));
            let key = owner.key.escape_debug();
            complain!("  lost: {} {}/{key} {}{part}", owner.kind, owner.bucket, owner.id);
        }
    }
}

/// The same for programs.
pub fn lost_json(lost: &[Lost]) -> Value {
    let one = |lost: &Lost| {
        let owners: Vec<Value> = lost
            .owners
            .iter()
            .map(|o| {
                json!({"kind": o.kind, "bucket": o.bucket, "key": o.key, "id": o.id, "part": o.part})
            })
            .collect();
        json!({
            "path": lost.path.to_string_lossy(),
            "damage": lost.damage.name(),
            "text": lost.damage.to_string(),
            "owners": owners,
        })
    };
    lost.iter().map(one).collect()
}

fn as_json(report: &BackupReport) -> Value {
    json!({
        "snapshot": report.snapshot,
        "moment": time::iso(report.manifest.moment_ms),
        "complete": report.manifest.is_complete(),
        "files": report.manifest.files,
        "bytes": report.manifest.bytes,
        "trash_files": report.manifest.trash_files,
        "new_files": report.new.files,
        "new_bytes": report.new.bytes,
        "linked_files": report.linked,
        "removed_snapshots": report.removed,
        "removed_files": report.pruned.files,
        "removed_bytes": report.pruned.bytes,
        "lost": lost_json(&report.lost),
    })
}

fn list(dest: &Path, json: bool) -> Result<u8, Failure> {
    let snapshots = BackupDir::open(dest)?.snapshots()?;
    if json {
        let one = |s: &Snapshot| {
            json!({
                "snapshot": s.name,
                "moment": time::iso(s.manifest.moment_ms),
                "complete": s.manifest.is_complete(),
                "files": s.manifest.files,
                "bytes": s.manifest.bytes,
                "lost": s.manifest.lost,
            })
        };
        say!("{:#}", snapshots.iter().map(one).collect::<Value>());
        return Ok(0);
    }
    for Snapshot { name, manifest, .. } in &snapshots {
        let state = match manifest.lost_files {
            0 => "complete".to_owned(),
            n => format!("INCOMPLETE: {n} files are lost"),
        };
        say!("{name}  {} files, {}, {state}", manifest.files, human(manifest.bytes));
    }
    Ok(0)
}
