//! Reads every byte of the store from time to time and compares it with its CRC, slowly, so that
//! damage is found while a backup still has what was damaged. It tells and repairs nothing.

use crate::config::Schedule;
use crate::store::backup::Progress;
use crate::store::verify::{VerifyConfig, VerifyReport, verify};
use crate::store::{LastScrub, SharedStore};
use crate::types::time;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes that scrubs have passed since the start.
pub static SCRUBBED_BYTES: AtomicU64 = AtomicU64::new(0);

/// Longest sleep, so that a clock that was set is followed.
const MAX_SLEEP: Duration = Duration::from_secs(3600);
/// In the data directory: how far a scrub has come that the end of the server has interrupted.
const POSITION: &str = "scrub-position.json";
/// Lost objects that one scrub logs.
const LOGGED: usize = 1000;

/// Scrubs as the schedule says, until the jobs are to end. One that was interrupted goes on at once.
pub fn run(store: &SharedStore, schedule: &Schedule, rate: u64) {
    let position = store.dir().join(POSITION);
    let mut next = match position.exists() {
        true => time::now_ms(),
        false => schedule.after(time::now_ms()),
    };
    let ending = store.ending();
    while !ending.load(Ordering::Relaxed) {
        let now = time::now_ms();
        // Not later than the schedule says, also where the clock was set back.
        next = next.min(schedule.after(now));
        if now < next {
            let left = Duration::from_millis(u64::try_from(next - now).unwrap_or(0));
            store.rules_bell().sleep(left.min(MAX_SLEEP));
            continue;
        }
        let config = VerifyConfig {
            dir: store.dir().to_owned(),
            deep: true,
            rate: Some(rate),
            resume: Some(position.clone()),
            stop: store.ending(),
            ..VerifyConfig::default()
        };
        let mut seen = 0;
        let result = verify(&config, &mut |progress: &Progress| {
            if progress.what == "bytes" {
                SCRUBBED_BYTES.fetch_add(progress.bytes.saturating_sub(seen), Ordering::Relaxed);
                seen = progress.bytes;
            }
        });
        match result {
            Ok(report) => tell(store, &report),
            Err(_) if ending.load(Ordering::Relaxed) => return,
            Err(error) => log::error!("the scrub failed: {error}"),
        }
        next = schedule.after(time::now_ms());
    }
}

fn tell(store: &SharedStore, report: &VerifyReport) {
    let owners = report.lost.iter().flat_map(|lost| lost.owners.iter().map(move |o| (lost, o)));
    for (lost, owner) in owners.take(LOGGED) {
        let key = owner.key.escape_debug();
        let (kind, bucket, id) = (owner.kind, &owner.bucket, &owner.id);
        log::error!("scrub: {kind} {bucket}/{key} {id} is lost: {}", lost.damage);
    }
    for text in &report.contradictions {
        log::error!("scrub: {text}");
    }
    let last = LastScrub {
        finished_ms: time::now_ms(),
        files: report.files.files,
        bytes: report.files.bytes,
        lost: report.lost.len() as u64 + report.lost_before,
        contradictions: report.contradictions.len() as u64,
        orphans: report.orphans.len() as u64,
    };
    let (files, bytes, lost, orphans) = (last.files, last.bytes, last.lost, last.orphans);
    let text = format!(
        "scrub: {files} files, {bytes} bytes; {lost} files are lost, {} contradictions, \
         {orphans} files that nothing names",
        last.contradictions
    );
    if report.is_sound() {
        log::info!("{text}")
    } else {
        log::error!("{text}")
    }
    if let Err(error) = last.write(store.dir()) {
        log::warn!("cannot note the scrub: {error}");
    }
}
