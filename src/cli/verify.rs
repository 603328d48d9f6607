//! `jog verify`: compares metadata with files, of a data directory or a backup.

use super::admin::{Arguments, Failure, Opt};
use super::backup::{lost_json, print_lost};
use super::local::{LOST, Local, rate};
use super::progress::{Meter, human};
use crate::config::Config;
use crate::store::backup::BackupDir;
use crate::store::verify::{VerifyConfig, VerifyReport, verify};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Files without a row that are listed; all of them are counted.
const ORPHANS: usize = 100;

/// The command.
pub const COMMAND: Local = Local {
    name: "verify",
    usage: "[DIR|BACKUP] [--deep] [--rate 50MiB] [--resume FILE] [--repair] \
            [--repair-from BACKUP] [--json]",
    help: "compare metadata with files, with --deep every byte; DIR: the data directory if none is \
           given;\n      --repair moves files that nothing names into quarantine/, and damaged ones of \
           a backup, which the\n      next one brings anew; --repair-from brings lost files back",
    options: &[
        Opt::Switch("--deep"),
        Opt::Value("--rate"),
        Opt::Value("--resume"),
        Opt::Switch("--repair"),
        Opt::Value("--repair-from"),
        Opt::Switch("--json"),
    ],
    run,
};

fn run(config: &Config, arguments: &Arguments) -> Result<u8, Failure> {
    let dir = match arguments.positional.as_slice() {
        [] => config.data_dir.clone(),
        [dir] => PathBuf::from(dir),
        _ => return Err(Failure::Usage("expected at most one folder".to_owned())),
    };
    if !BackupDir::is_one(&dir) {
        super::admin::check_owner(&dir).map_err(Failure::Failed)?;
    }
    let settings = VerifyConfig {
        dir,
        deep: arguments.get("--deep").is_some(),
        rate: rate(arguments)?,
        resume: arguments.get("--resume").map(PathBuf::from),
        repair: arguments.get("--repair").is_some(),
        repair_from: arguments.get("--repair-from").map(PathBuf::from),
        ..VerifyConfig::default()
    };
    let mut meter = Meter::new(false);
    let report = verify(&settings, &mut |progress| meter.watch(progress))?;
    drop(meter);
    if arguments.get("--json").is_some() {
        say!("{:#}", as_json(&report));
    } else {
        print(&report, settings.deep);
    }
    Ok(if report.is_sound() { 0 } else { LOST })
}

fn print(report: &VerifyReport, deep: bool) {
    if let Some(snapshots) = report.snapshots {
        say!("{snapshots} snapshots");
    }
    let files = report.files;
    let read = if deep { format!("{} read", human(report.read)) } else { "sizes only".to_owned() };
    say!("{} files, {}; {read}", files.files, human(files.bytes));
    for text in &report.contradictions {
        complain!("{text}");
    }
    for repaired in &report.repaired {
        say!("{}: repaired; {}", repaired.path.display(), repaired.damage);
    }
    print_lost(&report.lost);
    if report.lost_before > 0 {
        complain!("{} files were found lost before the interruption", report.lost_before);
    }
    let bytes = report.orphans.iter().map(|(_, bytes)| bytes).sum();
    if !report.orphans.is_empty() {
        let count = report.orphans.len();
        say!("{count} files, {}, that nothing names:", human(bytes));
        for (path, bytes) in report.orphans.iter().take(ORPHANS) {
            say!("  {} {bytes}", path.display());
        }
        if count > ORPHANS {
            say!("  and {} more", count - ORPHANS);
        }
    }
    if report.unsettled > 0 {
        say!("{} files are new and have no row yet", report.unsettled);
    }
    if let Some(place) = &report.quarantine {
        say!("what was moved is in {}", place.display());
    }
    match report.is_sound() {
        true => say!("sound"),
        false => complain!(
            "jog: NOT SOUND: {} files are lost, {} contradictions",
            report.lost.len() as u64 + report.lost_before,
            report.contradictions.len()
        ),
    }
}

fn as_json(report: &VerifyReport) -> Value {
    let orphans: Vec<Value> = report
        .orphans
        .iter()
        .map(|(path, bytes)| json!({"path": path.to_string_lossy(), "bytes": bytes}))
        .collect();
    json!({
        "sound": report.is_sound(),
        "snapshots": report.snapshots,
        "files": report.files.files,
        "bytes": report.files.bytes,
        "read_bytes": report.read,
        "contradictions": report.contradictions,
        "lost": lost_json(&report.lost),
        "lost_before": report.lost_before,
        "repaired": lost_json(&report.repaired),
        "orphans": orphans,
        "unsettled": report.unsettled,
        "quarantine": report.quarantine.as_ref().map(|path| path.to_string_lossy()),
    })
}
