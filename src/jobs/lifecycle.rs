//! Applies lifecycle rules.
//!
//! A bucket with rules is looked at when the server starts, when something in it falls due, and at
//! the first midnight UTC after something in it changed: nothing can fall due sooner, since every
//! rule counts in whole days. In between the thread sleeps and reads nothing, so that a disk can
//! sleep as well. Rules that were changed are applied from the first midnight on that is at least
//! three hours away, which leaves time to look at what they will do ([`preview`]), or from the next
//! start on.
//!
//! Nothing of this is kept on disk. After a crash all buckets with rules are looked at once more,
//! and what is due is still due.

use crate::limits::{
    LIFECYCLE_BATCH, LIFECYCLE_MAX_SLEEP, LIFECYCLE_PAGE, LIFECYCLE_RETRY, MAX_PREVIEW_LINES,
};
use crate::store::{
    Age, Aging, Bucket, ConfigKind, Doing, Entry, Expired, Expiry, ListQuery, Notice, Store,
    StoreError, Upload,
};
use crate::types::lifecycle::{Due, Lifecycle, Subject, round_up};
use crate::types::notification::{Notification, Origin, TargetName};
use crate::types::{BucketName, Versioning, time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Versions and delete markers that rules took away, and objects that they covered with a delete
/// marker, since the start.
pub static EXPIRED: AtomicU64 = AtomicU64::new(0);
/// Uploads that rules aborted, since the start.
pub static ABORTED: AtomicU64 = AtomicU64::new(0);
/// How often a rule met a version that Object Lock protects, since the start.
pub static PROTECTED: AtomicU64 = AtomicU64::new(0);

/// Between a change of rules and the midnight from which they hold is at least this part of a day.
const DAY_PARTS: i64 = 8;

/// How rules are applied.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Milliseconds of a day.
    pub day_ms: i64,
    /// The region of buckets that were made without one.
    pub region: String,
    /// The webhooks that are declared.
    pub targets: Vec<TargetName>,
}

// ---- looking -----------------------------------------------------------------------------

/// What a rule is about.
#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Version(&'a Aging, Age),
    Upload(&'a Upload),
}

/// Something that a rule takes away some day.
struct Finding<'a> {
    what: What<'a>,
    due: Due<'a>,
    /// Until when Object Lock protects it, in milliseconds since 1970; 0 if it does not.
    held_until_ms: i64,
}

/// What a key was found to be so far, its versions coming newest first.
#[derive(Default)]
struct Walk {
    /// The version before: its key, number and time.
    last: Option<Aging>,
    /// The newest version, if it is a delete marker and none of its key followed yet.
    marker: Option<Aging>,
    /// Noncurrent versions of the key so far.
    newer: u32,
    /// Whether the newest version is a delete marker.
    covered: bool,
}

/// One look at a bucket.
struct Look<'a> {
    store: &'a Store,
    bucket: &'a Bucket,
    lifecycle: &'a Lifecycle,
    day_ms: i64,
}

type Visit<'v> = dyn FnMut(&Finding<'_>) -> Result<(), StoreError> + 'v;

impl Look<'_> {
    /// Shows everything that rules take away, now or later. Ends early when the server does.
    fn run(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        for prefix in self.lifecycle.prefixes() {
            self.versions(prefix, visit)?;
            if self.lifecycle.aborts_uploads() {
                self.uploads(prefix, visit)?;
            }
        }
        Ok(())
    }

    fn stopping(&self) -> bool {
        self.store.rules_bell().stopping()
    }

    fn versions(&self, prefix: &str, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut walk = Walk::default();
        loop {
            let after = walk.last.as_ref().map(|last| (&last.key, last.version));
            let page = self.store.aging(self.bucket.id, prefix, after, LIFECYCLE_PAGE)?;
            let more = page.len() == LIFECYCLE_PAGE && !self.stopping();
            for version in page {
                self.step(&mut walk, version, visit)?;
            }
            if !more {
                return self.lone_marker(&mut walk, visit);
            }
        }
    }

    fn step(
        &self,
        walk: &mut Walk,
        version: Aging,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let subject =
            Subject { key: version.key.as_str(), size: version.size, tags: version.tags.pairs() };
        match walk.last.take().filter(|last| last.key == version.key) {
            Some(newer) => {
                walk.marker = None;
                let since_ms = newer.modified_ms;
                let due = self.lifecycle.noncurrent_expires(
                    &subject,
                    version.marker,
                    since_ms,
                    walk.newer,
                    self.day_ms,
                );
                if let Some((due, keep)) = due {
                    let age = Age::Noncurrent { above: keep + u32::from(walk.covered) };
                    let held_until_ms = match version.lock.retention {
                        _ if version.lock.legal_hold => i64::MAX,
                        Some(retention) => retention.until_ms,
                        None => 0,
                    };
                    let what = What::Version(&version, age);
                    visit(&Finding { what, due, held_until_ms })?;
                }
                walk.newer += 1;
            }
            None => {
                self.lone_marker(walk, visit)?;
                walk.newer = 0;
                walk.covered = version.marker;
                if version.marker {
                    walk.marker = Some(version.clone());
                } else if let Some(due) =
                    self.lifecycle.expires(&subject, version.modified_ms, self.day_ms)
                {
                    let what = What::Version(&version, Age::Current);
                    visit(&Finding { what, due, held_until_ms: 0 })?;
                }
            }
        }
        walk.last = Some(version);
        Ok(())
    }

    /// The versions of a key are all known: a delete marker without others is alone.
    fn lone_marker(&self, walk: &mut Walk, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let Some(marker) = walk.marker.take() else { return Ok(()) };
        let (key, written) = (marker.key.as_str(), marker.modified_ms);
        match self.lifecycle.lone_marker_expires(key, written, self.day_ms) {
            Some(due) => {
                let what = What::Version(&marker, Age::LoneMarker);
                visit(&Finding { what, due, held_until_ms: 0 })
            }
            None => Ok(()),
        }
    }

    fn uploads(&self, prefix: &str, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut query = ListQuery {
            bucket: self.bucket.id,
            prefix: prefix.to_owned(),
            delimiter: None,
            after: None,
            max: LIFECYCLE_PAGE,
        };
        let mut after_upload: Option<String> = None;
        loop {
            let page = self.store.list_uploads(&query, after_upload.as_deref())?;
            for entry in page.entries {
                let Entry::Item(upload) = entry else { continue };
                let (key, started) = (upload.key.as_str(), upload.started_ms);
                if let Some(due) = self.lifecycle.upload_expires(key, started, self.day_ms) {
                    let what = What::Upload(&upload);
                    visit(&Finding { what, due, held_until_ms: 0 })?;
                }
                query.after = Some(upload.key.as_str().to_owned());
                after_upload = Some(upload.upload_id);
            }
            if !page.truncated || self.stopping() {
                return Ok(());
            }
        }
    }
}

// ---- taking away -------------------------------------------------------------------------

/// One run over a bucket.
struct Sweep<'a> {
    look: &'a Look<'a>,
    rules: &'a str,
    notice: Option<Notice>,
    now_ms: i64,
    batch: Vec<Expiry>,
    done: Expired,
    aborted: u64,
    /// When something falls due next, in milliseconds since 1970.
    next_ms: i64,
}

impl Sweep<'_> {
    fn visit(&mut self, finding: &Finding<'_>) -> Result<(), StoreError> {
        let held = finding.held_until_ms > self.now_ms;
        if finding.due.at_ms > self.now_ms || held {
            self.done.protected += u64::from(held && finding.due.at_ms <= self.now_ms);
            let at_ms = finding.due.at_ms.max(round_up(finding.held_until_ms, self.look.day_ms));
            self.next_ms = self.next_ms.min(at_ms);
            return Ok(());
        }
        match finding.what {
            What::Version(version, age) => {
                self.batch.push(Expiry { what: version.clone(), age });
                if self.batch.len() >= LIFECYCLE_BATCH { self.flush() } else { Ok(()) }
            }
            What::Upload(upload) => {
                let (store, bucket) = (self.look.store, self.look.bucket.id);
                let now = store.bucket(&self.look.bucket.name)?.filter(|now| now.id == bucket);
                if now.is_none_or(|now| now.config(ConfigKind::Lifecycle) != Some(self.rules)) {
                    self.done.changed += 1;
                    return Ok(());
                }
                // Refused: it was completed or aborted meanwhile.
                let done = store.abort_upload(bucket, &upload.key, &upload.upload_id)?;
                self.aborted += u64::from(done.is_ok());
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let telling = self.look.store.telling(self.notice.clone());
        // Refused: the bucket is gone.
        let done = telling.expire(self.look.bucket.id, self.rules, batch)?.unwrap_or_default();
        self.done.taken += done.taken;
        self.done.protected += done.protected;
        self.done.changed += done.changed;
        Ok(())
    }
}

/// What is known of a bucket with rules.
struct Plan {
    name: BucketName,
    /// Its rules as they are kept.
    rules: String,
    /// When its rules begin to hold, in milliseconds since 1970.
    from_ms: i64,
    /// When it is to be looked at, in milliseconds since 1970.
    next_ms: i64,
}

/// The thread that applies rules.
struct Worker<'a> {
    store: &'a Store,
    settings: &'a Settings,
    /// By row number of the bucket.
    plans: BTreeMap<i64, Plan>,
    /// Buckets that changed since they were looked at.
    touched: BTreeSet<i64>,
}

/// Applies rules until the server ends. For a thread of its own.
pub fn run(store: &Store, settings: &Settings) {
    let mut worker = Worker { store, settings, plans: BTreeMap::new(), touched: BTreeSet::new() };
    let bell = store.rules_bell();
    let day_ms = settings.day_ms;
    let mut heard = bell.heard();
    let mut load_at = Some(0);
    // What fell due while the server was not running is due now.
    let mut new_at = 0;
    let mut midnight = round_up(time::now_ms() + 1, day_ms);
    while !heard.stop {
        let now = time::now_ms();
        midnight = not_later(midnight, now, day_ms);
        if load_at.is_some_and(|at| at <= now) {
            load_at = match worker.load(new_at) {
                Ok(()) => {
                    new_at = i64::MAX;
                    None
                }
                Err(error) => {
                    log::warn!("lifecycle: {error}");
                    Some(now + millis(LIFECYCLE_RETRY))
                }
            };
        }
        if now >= midnight {
            worker.at_midnight(now);
            midnight = round_up(now + 1, day_ms);
        }
        worker.sweep_due(now);
        let due = worker.plans.values().map(|plan| plan.next_ms).min();
        // With rules, the next midnight is looked at for changes, which are known without I/O.
        let next = due.map(|due| due.min(midnight)).into_iter().chain(load_at).min();
        let sleep = next.map(|at| {
            let ms = u64::try_from(at.saturating_sub(time::now_ms())).unwrap_or(0);
            Duration::from_millis(ms).min(LIFECYCLE_MAX_SLEEP)
        });
        let before = heard;
        heard = bell.wait(before, sleep);
        if heard != before {
            load_at = Some(0);
        }
    }
}

/// The next midnight, unless it was passed meanwhile: not a later one, where the clock was set back.
fn not_later(midnight: i64, now_ms: i64, day_ms: i64) -> i64 {
    midnight.min(round_up(now_ms + 1, day_ms))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Worker<'_> {
    /// Reads which buckets have rules. Those that are new or have other rules than before are
    /// looked at at `new_at`, at the latest when there was time to look at them.
    fn load(&mut self, new_at: i64) -> Result<(), StoreError> {
        let day_ms = self.settings.day_ms;
        let from_ms = new_at.min(round_up(time::now_ms() + day_ms / DAY_PARTS, day_ms));
        let buckets = self.store.buckets_with(ConfigKind::Lifecycle)?;
        let mut before = std::mem::take(&mut self.plans);
        for bucket in buckets {
            let Some(rules) = bucket.config(ConfigKind::Lifecycle) else { continue };
            let plan = before.remove(&bucket.id).filter(|plan| plan.rules == rules);
            let fresh = || Plan {
                name: bucket.name.clone(),
                rules: rules.to_owned(),
                from_ms,
                next_ms: from_ms,
            };
            self.plans.insert(bucket.id, plan.unwrap_or_else(fresh));
        }
        Ok(())
    }

    /// Looks at what changed since the last midnight.
    fn at_midnight(&mut self, now_ms: i64) {
        self.touched.extend(self.store.take_touched());
        for bucket in std::mem::take(&mut self.touched) {
            if let Some(plan) = self.plans.get_mut(&bucket) {
                plan.next_ms = plan.next_ms.min(now_ms).max(plan.from_ms);
            }
        }
    }

    fn sweep_due(&mut self, now_ms: i64) {
        let due: Vec<i64> = self
            .plans
            .iter()
            .filter(|(_, plan)| plan.next_ms <= now_ms)
            .map(|(bucket, _)| *bucket)
            .collect();
        for id in due {
            if self.store.rules_bell().stopping() {
                return;
            }
            // Changes from here on are in what is looked at, or noted anew.
            self.touched.extend(self.store.take_touched());
            self.touched.remove(&id);
            let Some(plan) = self.plans.get(&id) else { continue };
            match self.sweep(id, plan) {
                Ok(Some((next_ms, again))) => {
                    if again {
                        self.touched.insert(id);
                    }
                    self.plans.entry(id).and_modify(|plan| plan.next_ms = next_ms);
                }
                Ok(None) => {
                    self.plans.remove(&id);
                }
                Err(error) => {
                    log::warn!("lifecycle of bucket {}: {error}", plan.name);
                    let next_ms = now_ms + millis(LIFECYCLE_RETRY);
                    self.plans.entry(id).and_modify(|plan| plan.next_ms = next_ms);
                }
            }
        }
    }

    /// Takes away what is due. Gives when something falls due next, and whether the bucket is to be
    /// looked at again after the next midnight; `None` if it is gone or has no rules.
    fn sweep(&self, id: i64, plan: &Plan) -> Result<Option<(i64, bool)>, StoreError> {
        let bucket = self.store.bucket(&plan.name)?.filter(|bucket| bucket.id == id);
        let Some(bucket) = bucket else { return Ok(None) };
        let Some(lifecycle) = Lifecycle::from_json(&plan.rules) else {
            log::error!("lifecycle of bucket {}: its rules cannot be read", plan.name);
            return Ok(None);
        };
        let now_ms = time::now_ms();
        let day_ms = self.settings.day_ms;
        let look = Look { store: self.store, bucket: &bucket, lifecycle: &lifecycle, day_ms };
        let mut sweep = Sweep {
            look: &look,
            rules: &plan.rules,
            notice: self.notice(&bucket, now_ms),
            now_ms,
            batch: Vec::new(),
            done: Expired::default(),
            aborted: 0,
            next_ms: i64::MAX,
        };
        let result = look.run(&mut |finding| sweep.visit(finding)).and_then(|()| sweep.flush());
        let Sweep { done, aborted, next_ms, .. } = sweep;
        EXPIRED.fetch_add(done.taken, Ordering::Relaxed);
        ABORTED.fetch_add(aborted, Ordering::Relaxed);
        PROTECTED.fetch_add(done.protected, Ordering::Relaxed);
        if done.taken + aborted + done.protected > 0 {
            log::info!(
                "lifecycle of bucket {}: {} expired, {aborted} uploads aborted, {} protected",
                plan.name,
                done.taken,
                done.protected
            );
        }
        result?;
        // Where versions are kept, what was taken away makes other things noncurrent or alone.
        let versioned = bucket.versioning != Versioning::Unversioned;
        Ok(Some((next_ms, done.changed > 0 || (versioned && done.taken > 0))))
    }

    /// Who is told of what rules take away.
    fn notice(&self, bucket: &Bucket, now_ms: i64) -> Option<Notice> {
        let kept = bucket.config(ConfigKind::Notification)?;
        let to = Notification::from_json(kept)?.declared(&self.settings.targets);
        if to.subscriptions.is_empty() {
            return None;
        }
        let region = match bucket.region.as_str() {
            "" => &self.settings.region,
            region => region,
        };
        let run = format!("{now_ms:016X}");
        let origin = Origin::lifecycle(region, bucket.name.as_str(), &bucket.owner, run);
        Some(Notice { doing: Doing::Expire, origin, to })
    }
}

// ---- preview -----------------------------------------------------------------------------

/// What the rules of a bucket will take away, a line each: when, what, and by which rule. `None` if
/// there is no such bucket. Changes nothing.
pub fn preview(
    store: &Store,
    name: &BucketName,
    day_ms: i64,
    now_ms: i64,
) -> Result<Option<Vec<String>>, StoreError> {
    let Some(bucket) = store.bucket(name)? else { return Ok(None) };
    let Some(lifecycle) = bucket.rules() else {
        return Ok(Some(vec![format!("bucket {name} has no lifecycle rules")]));
    };
    let look = Look { store, bucket: &bucket, lifecycle, day_ms };
    let (mut lines, mut more) = (Vec::new(), 0_u64);
    look.run(&mut |finding| {
        if lines.len() < MAX_PREVIEW_LINES {
            lines.push(line(finding, &bucket, now_ms));
        } else {
            more += 1;
        }
        Ok(())
    })?;
    match (lines.is_empty(), more) {
        (true, _) => lines.push(format!("nothing in bucket {name} falls under its rules")),
        (false, 0) => {}
        (false, more) => lines.push(format!("and {more} more")),
    }
    Ok(Some(lines))
}

fn line(finding: &Finding<'_>, bucket: &Bucket, now_ms: i64) -> String {
    let when = match finding.due.at_ms {
        at_ms if at_ms <= now_ms => "next run".to_owned(),
        at_ms => time::iso(at_ms),
    };
    let what = match finding.what {
        What::Version(version, Age::Current) => {
            let verb = match bucket.versioning {
                Versioning::Unversioned => "delete",
                _ => "mark deleted",
            };
            format!("{verb} {:?}", version.key.as_str())
        }
        What::Version(version, age) => {
            let kind = match age {
                Age::LoneMarker => "delete marker",
                _ if version.marker => "delete marker",
                _ => "version",
            };
            let id = version.version_id();
            format!("remove {kind} {id} of {:?}", version.key.as_str())
        }
        What::Upload(upload) => {
            format!("abort upload {} of {:?}", upload.upload_id, upload.key.as_str())
        }
    };
    let held = match finding.held_until_ms {
        i64::MAX => ", not while its legal hold stands".to_owned(),
        until_ms if until_ms > finding.due.at_ms.max(now_ms) => {
            format!(", not before its retention ends {}", time::iso(until_ms))
        }
        _ => String::new(),
    };
    format!("{when}: {what} (rule {:?}{held})", finding.due.rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_brings_the_next_midnight_with_it() {
        assert_eq!(not_later(200, 199, 100), 200);
        assert_eq!(not_later(200, 200, 100), 200, "it has come");
        assert_eq!(not_later(200, 950, 100), 200, "it was slept through");
        assert_eq!(not_later(1000, 150, 100), 200);
    }
}
