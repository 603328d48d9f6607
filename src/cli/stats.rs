//! `jog stats`: what the store has, and how it is.

use super::admin::{Arguments, Command, Context, Failure, Opt, Out};
use super::progress::human;
use crate::s3;
use crate::store::Stats;
use crate::types::time::iso;
use serde_json::{Value, json};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[Command {
    name: "stats",
    usage: "[--json]",
    help: "what the store has, what waits, how much room there is, and when it was last backed up",
    options: &[Opt::Switch("--json")],
    run,
}];

fn run(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [] = arguments.exactly()?;
    let stats = context.store.stats()?;
    if arguments.get("--json").is_some() {
        return out.line(format!("{:#}", as_json(&stats)));
    }
    for (name, value) in lines(&stats) {
        out.line(format!("{name:<16} {value}"))?;
    }
    Ok(())
}

fn lines(stats: &Stats) -> Vec<(&'static str, String)> {
    let at = |ms: Option<i64>, never: &str| ms.map_or_else(|| never.to_owned(), iso);
    let trash = match stats.trash_oldest_ms {
        Some(ms) => format!(
            "{} files, {}, the oldest deleted {}",
            stats.trash_files,
            human(stats.trash_bytes),
            iso(ms)
        ),
        None => "none".to_owned(),
    };
    let backup = stats.backup.as_ref().map_or_else(
        || "never".to_owned(),
        |b| {
            let state = if b.complete { "" } else { ", INCOMPLETE" };
            format!("{} to {}{state}", iso(b.moment_ms), b.dest)
        },
    );
    let scrub = stats.scrub.as_ref().map_or_else(
        || "never".to_owned(),
        |s| {
            format!(
                "{}: {} files, {}; {} lost, {} contradictions, {} that nothing names",
                iso(s.finished_ms),
                s.files,
                human(s.bytes),
                s.lost,
                s.contradictions,
                s.orphans
            )
        },
    );
    vec![
        ("buckets", stats.buckets.to_string()),
        ("objects", stats.objects.to_string()),
        ("versions", stats.versions.to_string()),
        ("bytes", human(stats.bytes)),
        ("uploads", format!("{}, {}", stats.uploads, human(stats.uploading))),
        ("trash", trash),
        (
            "disk",
            format!(
                "{} free of {}; trash goes early under {}, nothing is taken under {}",
                human(stats.disk_free),
                human(stats.disk_size),
                human(stats.trash_floor),
                human(stats.min_free)
            ),
        ),
        ("metadata", format!("{}, WAL {}", human(stats.metadata_bytes), human(stats.wal_bytes))),
        ("last checkpoint", at(stats.checkpoint_ms, "none since the start")),
        ("last backup", backup),
        ("last scrub", scrub),
        ("events", format!("{} wait, {} were dropped", stats.events_queued, stats.events_dropped)),
        ("access logs", format!("{} wait", human(stats.log_bytes))),
        ("corrupt reads", s3::corrupt_reads().to_string()),
    ]
}

fn as_json(stats: &Stats) -> Value {
    let backup = stats.backup.as_ref().map(|b| {
        json!({
            "moment": iso(b.moment_ms),
            "finished": iso(b.finished_ms),
            "complete": b.complete,
            "dest": b.dest,
        })
    });
    let scrub = stats.scrub.as_ref().map(|s| {
        json!({
            "finished": iso(s.finished_ms),
            "files": s.files,
            "bytes": s.bytes,
            "lost": s.lost,
            "contradictions": s.contradictions,
            "orphans": s.orphans,
        })
    });
    json!({
        "buckets": stats.buckets,
        "objects": stats.objects,
        "versions": stats.versions,
        "bytes": stats.bytes,
        "uploads": stats.uploads,
        "uploading_bytes": stats.uploading,
        "trash_files": stats.trash_files,
        "trash_bytes": stats.trash_bytes,
        "trash_oldest": stats.trash_oldest_ms.map(iso),
        "disk_free": stats.disk_free,
        "disk_size": stats.disk_size,
        "min_free": stats.min_free,
        "trash_floor": stats.trash_floor,
        "metadata_bytes": stats.metadata_bytes,
        "wal_bytes": stats.wal_bytes,
        "last_checkpoint": stats.checkpoint_ms.map(iso),
        "commits": stats.commits,
        "syncs": stats.syncs,
        "events_queued": stats.events_queued,
        "events_dropped": stats.events_dropped,
        "log_bytes": stats.log_bytes,
        "corrupt_reads": s3::corrupt_reads(),
        "last_backup": backup,
        "last_scrub": scrub,
    })
}
