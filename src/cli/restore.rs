//! `jog restore`: makes a data directory from a backup.

use super::admin::{Arguments, Failure, Opt};
use super::backup::{lost_json, print_lost};
use super::local::{LOST, Local, failed_at, rate};
use super::progress::{Meter, human};
use crate::config::{Config, Durability};
use crate::store::backup::{RestoreConfig, RestoreReport, Wanted, restore};
use crate::types::time;
use serde_json::json;
use std::path::PathBuf;

/// The command.
pub const COMMAND: Local = Local {
    name: "restore",
    usage: "BACKUP DEST [--at TIME|SNAPSHOT] [--metadata FILE] [--rate 50MiB] [--copy] [--json]",
    help: "make the data directory DEST, which must be empty, from the last snapshot of BACKUP, from \
           the last one\n      at or before TIME (2026-11-24T10:05:34Z), or from the metadata.db FILE, \
           such as Litestream has restored it",
    options: &[
        Opt::Value("--at"),
        Opt::Value("--metadata"),
        Opt::Value("--rate"),
        Opt::Switch("--copy"),
        Opt::Switch("--json"),
    ],
    run,
};

fn wanted(arguments: &Arguments) -> Result<Wanted, Failure> {
    match (arguments.get("--at"), arguments.get("--metadata")) {
        (Some(_), Some(_)) => {
            Err(Failure::Usage("--at and --metadata are both given; keep one".to_owned()))
        }
        (None, Some(path)) => Ok(Wanted::Metadata(PathBuf::from(path))),
        (None, None) => Ok(Wanted::Newest),
        (Some(text), None) => Ok(match time::parse_iso(text) {
            Some(ms) => Wanted::At(ms),
            None => Wanted::Named(text.to_owned()),
        }),
    }
}

fn run(config: &Config, arguments: &Arguments) -> Result<u8, Failure> {
    let [backup, dest] = arguments.exactly()?;
    let settings = RestoreConfig {
        backup: PathBuf::from(backup),
        dest: PathBuf::from(dest),
        wanted: wanted(arguments)?,
        link: arguments.get("--copy").is_none(),
        rate: rate(arguments)?,
        durable: config.durability == Durability::Full,
        fault: None,
    };
    let mut meter = Meter::new(false);
    let report = restore(&settings, &mut |progress| meter.watch(progress))
        .map_err(|error| failed_at(dest, error))?;
    drop(meter);
    let RestoreReport { snapshot, moment_ms, files, lost } = &report;
    if arguments.get("--json").is_some() {
        let value = json!({
            "snapshot": snapshot,
            "moment": moment_ms.map(time::iso),
            "complete": lost.is_empty(),
            "files": files.files,
            "bytes": files.bytes,
            "lost": lost_json(lost),
        });
        say!("{value:#}");
    } else {
        let from = match (snapshot, moment_ms) {
            (Some(name), Some(ms)) => format!("snapshot {name}, the state of {}", time::iso(*ms)),
            _ => format!("the metadata.db {}", arguments.get("--metadata").unwrap_or("-")),
        };
        say!("restored {from}: {} files, {}", files.files, human(files.bytes));
        print_lost(lost);
        if !lost.is_empty() {
            complain!("jog: {} files are lost; all others are there, verified", lost.len());
        }
        if rustix::process::geteuid().is_root() {
            complain!("jog: {dest} belongs to root; give it to the user of the server (chown -R)");
        }
    }
    Ok(if lost.is_empty() { 0 } else { LOST })
}
