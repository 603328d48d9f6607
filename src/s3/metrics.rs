//! `GET /_jog/metrics`: counters and gauges in the text format of Prometheus.
//!
//! Every label has few values: operations of the table, the status codes of a fixed list. No name
//! of a bucket, a key or a user is among them.

use super::App;
use super::object::CORRUPT_READS;
use super::table::OPERATIONS;
use crate::access::Requester;
use crate::auth;
use crate::http::{Payload, Request, Response, Sent};
use crate::limits::METRICS_CACHE;
use crate::store::{Stats, StoreError};
use crate::types::time;
use sha2::{Digest, Sha256};
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Upper ends of the histogram's buckets, in microseconds; one more has no end.
const BUCKETS_US: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 30_000_000,
];
/// The status codes that are told apart; any other is `0`.
const STATUSES: [u16; 24] = [
    0, 200, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 411, 412,
    416, 500, 501, 503, 507,
];
/// What is no operation: requests to websites, and requests that are none of S3's.
const OTHERS: [&str; 2] = ["Website", "-"];

/// Who may read the page.
#[derive(Default)]
pub struct MetricsAccess {
    /// Everybody.
    pub public: bool,
    /// Who has this token; root may in any case.
    pub token: Option<Zeroizing<String>>,
}

/// The requests of one operation.
#[derive(Default)]
struct Counts {
    statuses: [AtomicU64; STATUSES.len()],
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    total_us: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    cut: AtomicU64,
}

type More = Box<dyn Fn(&mut Page) + Send + Sync>;

/// What is counted of requests.
pub struct Metrics {
    access: MetricsAccess,
    started_ms: i64,
    operations: Arc<[Counts]>,
    /// What was last seen of the store: looking takes a while.
    stats: Mutex<Option<(Instant, Stats)>>,
    more: OnceLock<More>,
}

impl Metrics {
    /// Nothing is counted yet.
    pub fn new(access: MetricsAccess) -> Self {
        let operations = (0..OPERATIONS.len() + OTHERS.len()).map(|_| Counts::default()).collect();
        let stats = Mutex::default();
        Self { access, started_ms: time::now_ms(), operations, stats, more: OnceLock::new() }
    }

    /// What those tell that this module cannot know, such as the connection layer.
    pub fn also(&self, more: impl Fn(&mut Page) + Send + Sync + 'static) {
        // There is one place that calls this, once.
        let _ = self.more.set(Box::new(more));
    }

    /// Counts a request when its response has been sent. `operation`: its name in the table, or
    /// one of [`OTHERS`].
    pub(super) fn follow(
        &self,
        operation: &'static str,
        request: &Request,
        mut response: Response,
    ) -> Response {
        let known = OPERATIONS.iter().position(|row| std::ptr::eq(row.name, operation));
        let other = || OTHERS.iter().position(|name| *name == operation).unwrap_or(1);
        let slot = known.unwrap_or_else(|| OPERATIONS.len() + other());
        let operations = Arc::clone(&self.operations);
        let (status, began) = (response.status, request.received);
        let length = request.headers.get("content-length").and_then(|text| text.parse().ok());
        let before = response.done.take();
        response.done = Some(Box::new(move |sent| {
            operations[slot].note(status, began.elapsed(), length.unwrap_or(0), sent);
            if let Some(done) = before {
                done(sent);
            }
        }));
        response
    }

    /// What the store has, at most [`METRICS_CACHE`] old.
    fn stats(&self, app: &App) -> Result<Stats, StoreError> {
        let mut last = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stats)) = last.as_ref().filter(|(at, _)| at.elapsed() < METRICS_CACHE) {
            return Ok(stats.clone());
        }
        let stats = app.store.stats()?;
        *last = Some((Instant::now(), stats.clone()));
        Ok(stats)
    }
}

impl Counts {
    fn note(&self, status: u16, took: Duration, received: u64, sent: Sent) {
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(0);
        let bucket = BUCKETS_US.iter().position(|end| micros <= *end);
        add(&self.statuses[status], 1);
        add(&self.buckets[bucket.unwrap_or(BUCKETS_US.len())], 1);
        add(&self.total_us, micros);
        add(&self.received, received);
        add(&self.sent, sent.body_bytes);
        add(&self.cut, u64::from(!sent.complete));
    }
}

/// The page while it is written.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// Begins a metric: `counter`, `gauge` or `histogram`.
    pub fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Cannot fail: it is a String.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A value of it. Values of labels must not need escapes.
    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            // As above.
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// A metric with one value.
    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.begin(name, kind, help);
        self.value(name, &[], value);
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

impl App {
    /// The page, or the refusal of it.
    pub(super) fn metrics_page(&self, request: &Request) -> Response {
        if !self.may_see_metrics(request) {
            let text = "the metrics are for root, or for who has JOG_METRICS_TOKEN\n";
            return plain(403, text.to_owned());
        }
        let stats = match self.metrics.stats(self) {
            Ok(stats) => stats,
            Err(error) => {
                log::error!("{} metrics: {error}", request.id);
                return plain(500, "the store cannot be read\n".to_owned());
            }
        };
        let mut page = Page::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.begin("jog_build_info", "gauge", "The program that runs.");
        page.value("jog_build_info", &version, 1);
        let started = u64::try_from(self.metrics.started_ms).unwrap_or(0) * 1000;
        let (name, help) = ("jog_start_time_seconds", "When it started.");
        page.one(name, "gauge", help, seconds(started));
        requests(&mut page, &self.metrics.operations);
        let (failed, refused) = (self.throttle.failed(), self.throttle.refused());
        let (name, help) = ("jog_auth_failures_total", "Signatures that were not valid.");
        page.one(name, "counter", help, failed);
        let help = "Requests that were refused unseen after too many of them.";
        page.one("jog_auth_throttled_total", "counter", help, refused);
        let help = "Reads that found other bytes than those that were stored.";
        let corrupt = CORRUPT_READS.load(Ordering::Relaxed);
        page.one("jog_corrupt_reads_total", "counter", help, corrupt);
        store(&mut page, &stats);
        if let Some(more) = self.metrics.more.get() {
            more(&mut page);
        }
        plain(200, page.0)
    }

    fn may_see_metrics(&self, request: &Request) -> bool {
        let access = &self.metrics.access;
        if access.public {
            return true;
        }
        let bearer = request.headers.get("authorization").and_then(|v| v.strip_prefix("Bearer "));
        if let Some(given) = bearer {
            // Hashes take the same time to compare, whatever was guessed right.
            let hash = |text: &str| Sha256::digest(text.as_bytes());
            return access.token.as_ref().is_some_and(|token| hash(token) == hash(given.trim()));
        }
        let now = time::now_ms() / 1000;
        let proven = self.throttle.watch(
            auth::source(request, &self.auth),
            &*self.keys,
            |keys| auth::authenticate(request, keys, &self.auth, now),
            |done| done.as_ref().map(|proven| &proven.identity).map_err(Some),
        );
        let requester = proven.ok().and_then(|proven| self.gate.requester(&proven.identity));
        matches!(requester, Some(Requester::Root))
    }
}

fn plain(status: u16, text: String) -> Response {
    Response::new(status)
        .header("content-type", "text/plain; version=0.0.4; charset=utf-8")
        .header("cache-control", "no-store")
        .payload(Payload::Bytes(text.into_bytes()))
}

/// Operations that were asked for, with their names.
fn used(operations: &[Counts]) -> impl Iterator<Item = (&'static str, &Counts, u64)> {
    let names = OPERATIONS.iter().map(|row| row.name).chain(OTHERS);
    let count = |counts: &Counts| counts.buckets.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    let all = names.zip(operations).map(move |(name, counts)| (name, counts, count(counts)));
    all.filter(|(_, _, count)| *count > 0)
}

fn requests(page: &mut Page, operations: &[Counts]) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    page.begin("jog_requests_total", "counter", "Requests by operation and status.");
    for (name, counts, _) in used(operations) {
        for (status, counter) in STATUSES.iter().zip(&counts.statuses) {
            if load(counter) > 0 {
                let labels = [("operation", name), ("status", &status.to_string())];
                page.value("jog_requests_total", &labels, load(counter));
            }
        }
    }
    let name = "jog_request_duration_seconds";
    page.begin(name, "histogram", "From the head of a request to the end of its response.");
    for (operation, counts, count) in used(operations) {
        let mut below = 0;
        for (end, counter) in BUCKETS_US.iter().zip(&counts.buckets) {
            below += load(counter);
            let labels = [("operation", operation), ("le", &seconds(*end))];
            page.value(&format!("{name}_bucket"), &labels, below);
        }
        let labels = [("operation", operation), ("le", "+Inf")];
        page.value(&format!("{name}_bucket"), &labels, count);
        let sum = seconds(load(&counts.total_us));
        page.value(&format!("{name}_sum"), &labels[..1], sum);
        page.value(&format!("{name}_count"), &labels[..1], count);
    }
    type Pick = fn(&Counts) -> &AtomicU64;
    let bytes: [(&str, &str, Pick); 3] = [
        ("jog_received_bytes_total", "Bytes of bodies as requests announced them.", |c| {
            &c.received
        }),
        ("jog_sent_bytes_total", "Bytes of bodies of responses.", |c| &c.sent),
        ("jog_cut_responses_total", "Responses that did not get through.", |c| &c.cut),
    ];
    for (name, help, pick) in bytes {
        page.begin(name, "counter", help);
        for (operation, counts, _) in used(operations) {
            page.value(name, &[("operation", operation)], load(pick(counts)));
        }
    }
}

fn store(page: &mut Page, stats: &Stats) {
    let gauges = [
        ("jog_buckets", "Buckets.", stats.buckets),
        ("jog_objects", "Objects that are current.", stats.objects),
        ("jog_versions", "Versions and delete markers.", stats.versions),
        ("jog_object_bytes", "Bytes of all versions.", stats.bytes),
        ("jog_uploads", "Unfinished uploads.", stats.uploads),
        ("jog_upload_bytes", "Bytes of their parts.", stats.uploading),
        ("jog_trash_files", "Files of deleted objects.", stats.trash_files),
        ("jog_trash_bytes", "Their bytes.", stats.trash_bytes),
        ("jog_disk_free_bytes", "Free space.", stats.disk_free),
        ("jog_disk_size_bytes", "Size of the disk.", stats.disk_size),
        ("jog_disk_min_free_bytes", "Free space under which nothing is taken.", stats.min_free),
        ("jog_metadata_bytes", "Size of metadata.db.", stats.metadata_bytes),
        ("jog_wal_bytes", "Size of its WAL.", stats.wal_bytes),
        ("jog_events_queued", "Events that wait for webhooks.", stats.events_queued),
        ("jog_log_spool_bytes", "Access logs that wait for delivery.", stats.log_bytes),
    ];
    for (name, help, value) in gauges {
        page.one(name, "gauge", help, value);
    }
    let counters = [
        ("jog_commits_total", "Commits of metadata.", stats.commits),
        ("jog_syncs_total", "Syncs of files and folders.", stats.syncs),
        ("jog_events_dropped_total", "Events that were dropped.", stats.events_dropped),
    ];
    for (name, help, value) in counters {
        page.one(name, "counter", help, value);
    }
    let mut at = |name: &str, help: &str, ms: i64| {
        page.one(name, "gauge", help, seconds(u64::try_from(ms).unwrap_or(0) * 1000));
    };
    if let Some(ms) = stats.checkpoint_ms {
        at("jog_checkpoint_time_seconds", "When the last checkpoint ended.", ms);
    }
    if let Some(backup) = &stats.backup {
        at("jog_backup_time_seconds", "The moment of the last backup.", backup.moment_ms);
        let complete = u8::from(backup.complete);
        page.one("jog_backup_complete", "gauge", "Whether everything is in it.", complete);
    }
    if let Some(scrub) = &stats.scrub {
        let (name, help) = ("jog_scrub_time_seconds", "When the last scrub ended.");
        page.one(
            name,
            "gauge",
            help,
            seconds(u64::try_from(scrub.finished_ms).unwrap_or(0) * 1000),
        );
        page.one("jog_scrub_lost_files", "gauge", "Files that it found lost.", scrub.lost);
        page.one("jog_scrub_orphans", "gauge", "Files that nothing names.", scrub.orphans);
        let (name, help) = ("jog_scrub_contradictions", "Contradictions in metadata.db.");
        page.one(name, "gauge", help, scrub.contradictions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_statuses_are_told_apart() {
        let operations: Vec<Counts> =
            (0..OPERATIONS.len() + OTHERS.len()).map(|_| Counts::default()).collect();
        let sent = |complete| Sent { body_bytes: 7, complete };
        operations[0].note(200, Duration::from_micros(500), 3, sent(true));
        operations[0].note(404, Duration::from_micros(501), 0, sent(true));
        operations[0].note(299, Duration::from_secs(99), 0, sent(false));
        let mut page = Page::default();
        requests(&mut page, &operations);
        let name = OPERATIONS[0].name;
        for line in [
            format!("jog_requests_total{{operation=\"{name}\",status=\"200\"}} 1"),
            format!("jog_requests_total{{operation=\"{name}\",status=\"404\"}} 1"),
            format!("jog_requests_total{{operation=\"{name}\",status=\"0\"}} 1"),
            bucket(name, "0.000500", 1),
            bucket(name, "0.001000", 2),
            bucket(name, "30.000000", 2),
            bucket(name, "+Inf", 3),
            format!("jog_request_duration_seconds_sum{{operation=\"{name}\"}} 99.001001"),
            format!("jog_sent_bytes_total{{operation=\"{name}\"}} 21"),
            format!("jog_cut_responses_total{{operation=\"{name}\"}} 1"),
        ] {
            assert!(page.0.lines().any(|l| l == line), "{line}\n{}", page.0);
        }
        assert!(!page.0.contains(OPERATIONS[1].name), "one that nobody asked for is left out");
    }

    fn bucket(name: &str, end: &str, count: u64) -> String {
        let metric = "jog_request_duration_seconds_bucket";
        format!("{metric}{{operation=\"{name}\",le=\"{end}\"}} {count}")
    }
}
