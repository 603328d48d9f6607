//! What operators see: `jog stats`, `/_jog/metrics`, and the scheduled scrub.

use super::commands::{ok, on, text};
use super::users::Key;
use crate::support::{Dir, Response, Server, eventually, noise};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn stats(dir: &Path) -> Value {
    serde_json::from_str(&ok(dir, &["stats", "--json"])).expect("it is JSON")
}

#[test]
fn stats_say_what_there_is_with_and_without_a_server() {
    let server = Server::start();
    let bucket = server.bucket("stats");
    let dir = server.dir.path();
    for n in 0..3 {
        server.put(&format!("/{bucket}/k{n}")).body(noise(n, 1000)).send().expect(200);
    }
    server.put(&format!("/{bucket}/k0")).body("12345").send().expect(200);
    server.delete(&format!("/{bucket}/k1")).send().expect(204);
    let id = server.upload(&bucket, "u");
    server.part(&bucket, "u", &id, 1, b"1234567");
    let id = server.upload(&bucket, "gone");
    server.part(&bucket, "gone", &id, 1, b"123");
    server.part(&bucket, "gone", &id, 2, b"123");
    server.delete(&format!("/{bucket}/gone?uploadId={id}")).send().expect(204);
    let found = stats(dir);
    for (name, expected) in [
        ("buckets", 1),
        ("objects", 2),
        ("versions", 2),
        ("bytes", 1005),
        ("uploads", 1),
        ("uploading_bytes", 7),
        ("trash_files", 4),
        ("trash_bytes", 2006),
        ("corrupt_reads", 0),
        ("events_queued", 0),
    ] {
        assert_eq!(found[name].as_u64(), Some(expected), "{name} in {found}");
    }
    assert!(found["wal_bytes"].as_u64() > Some(0) && found["commits"].as_u64() > Some(5));
    assert!(found["disk_free"].as_u64() > Some(0) && found["last_backup"].is_null());
    let dest = Dir::new();
    let backup = on(dir, &["backup", dest.path().to_str().expect("UTF-8")]);
    assert!(backup.status.success(), "{}", text(&backup.stderr));
    let found = stats(dir);
    assert_eq!(found["last_backup"]["complete"], true);
    let shown = ok(dir, &["stats"]);
    assert!(shown.contains("trash            4 files, 2.0 KiB"), "{shown}");
    assert!(shown.contains(&*dest.path().to_string_lossy()), "{shown}");
    let dir = server.stop();
    assert_eq!(stats(dir.path())["trash_files"].as_u64(), Some(4));
}

/// The samples of a page, which must be well formed: each metric is announced once, before its
/// values; every line is one; histograms grow up to their count.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut below = f64::NEG_INFINITY;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a name and a value");
        let name = series.split('{').next().expect("a name");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let histogram = base.filter(|base| types.get(*base).is_some_and(|t| t == "histogram"));
        assert!(types.contains_key(histogram.unwrap_or(name)), "{name} has no type");
        if name.ends_with("_bucket") {
            below = if series.contains("le=\"0.000500\"") { value } else { below };
            assert!(value >= below, "{line}");
            below = value;
        }
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} twice");
    }
    samples
}

fn page(response: Response) -> BTreeMap<String, f64> {
    let response = response.expect(200);
    assert!(response.header("content-type").is_some_and(|t| t.starts_with("text/plain")));
    samples(&text(&response.body))
}

#[test]
fn metrics_count_requests_with_few_labels() {
    let server = Server::start();
    let bucket = server.bucket("counted");
    for n in 0..5 {
        server.put(&format!("/{bucket}/key-{n}")).body(noise(n, 1000)).send().expect(200);
    }
    server.get(&format!("/{bucket}/key-1")).send().expect(200);
    server.get(&format!("/{bucket}/nothing")).send().expect(404);
    server.get(&format!("/{bucket}/key-1")).anonymous().send().expect(403);
    server.get("/_jog/nothing").send().expect(404);
    let metrics = || page(server.get("/_jog/metrics").send());
    // The last request is counted when its response has been sent.
    eventually("all are counted", || metrics().get(&get("403")) == Some(&1.0));
    let found = metrics();
    let put = "jog_requests_total{operation=\"PutObject\",status=\"200\"}";
    assert_eq!(found.get(put), Some(&5.0));
    assert_eq!(found.get(&get("200")), Some(&1.0));
    assert_eq!(found.get(&get("404")), Some(&1.0));
    let received = "jog_received_bytes_total{operation=\"PutObject\"}";
    assert_eq!(found.get(received), Some(&5000.0));
    let sent = found.get("jog_sent_bytes_total{operation=\"GetObject\"}");
    assert!(sent.is_some_and(|bytes| *bytes >= 1000.0), "{sent:?}");
    let count = "jog_request_duration_seconds_count{operation=\"PutObject\"}";
    let last = "jog_request_duration_seconds_bucket{operation=\"PutObject\",le=\"+Inf\"}";
    assert_eq!((found.get(count), found.get(last)), (Some(&5.0), Some(&5.0)));
    for name in ["jog_connections", "jog_threads_busy", "jog_commits_total", "jog_disk_free_bytes"]
    {
        assert!(found.get(name).is_some_and(|n| *n >= 1.0), "{name}");
    }
    // No name of anything, and no more series however many names there are.
    let series = |found: &BTreeMap<String, f64>| found.keys().cloned().collect::<BTreeSet<_>>();
    assert!(!found.keys().any(|name| name.contains(&bucket) || name.contains("key-")));
    for n in 0..20 {
        server.get(&format!("/{bucket}/other-{n}")).send().expect(404);
    }
    assert_eq!(series(&metrics()), series(&found));
}

fn get(status: &str) -> String {
    format!("jog_requests_total{{operation=\"GetObject\",status=\"{status}\"}}")
}

#[test]
fn metrics_are_for_root_and_the_token() {
    const TOKEN: &str = "a-token-that-is-long";
    let server = Server::with(&[("JOG_METRICS_TOKEN", TOKEN)]);
    let ask = || server.get("/_jog/metrics");
    ask().send().expect(200);
    ask().presigned(60).send().expect(200);
    ask().anonymous().send().expect(403);
    let bearer = |token: &str| ask().anonymous().header("authorization", token).send().status;
    assert_eq!(bearer(&format!("Bearer {TOKEN}")), 200);
    for wrong in ["Bearer a-token-that-is-lonG", "Bearer ", "Bearer", TOKEN, "Basic YTpi"] {
        assert_eq!(bearer(wrong), 403, "{wrong}");
    }
    // A user is not root, whatever its policy says.
    let printed = ok(server.dir.path(), &["user", "add", "ann", "--allow", "create"]);
    Key::printed(&printed).signs(ask()).send().expect(403);
    ask().signer(|signer| signer.secret_key = "not the secret".to_owned()).send().expect(403);
    let without = Server::start();
    let bearer = |token: &str| {
        let ask = without.get("/_jog/metrics").anonymous();
        ask.header("authorization", token).send().status
    };
    assert_eq!((bearer("Bearer "), bearer(&format!("Bearer {TOKEN}"))), (403, 403));
    let public = Server::with(&[("JOG_METRICS_PUBLIC", "on")]);
    public.get("/_jog/metrics").anonymous().send().expect(200);
    // The token is not shown.
    let shown = crate::support::server::run(&["config"], &[("JOG_METRICS_TOKEN", TOKEN)]);
    assert!(!text(&shown.stdout).contains(TOKEN), "{}", text(&shown.stdout));
}

/// A scrub that was interrupted goes on at the start, so the test need not wait for its time.
#[test]
fn a_scrub_finds_a_flipped_byte() {
    let server = Server::start();
    let bucket = server.bucket("scrubbed");
    server.put(&format!("/{bucket}/bad")).body(noise(1, 9000)).send().expect(200);
    server.put(&format!("/{bucket}/good")).body(noise(2, 9001)).send().expect(200);
    let file = server.blobs(&bucket).into_iter().find(|f| f.metadata().unwrap().len() == 9000);
    let dir = server.stop();
    let file = file.expect("it was put");
    let mut bytes = std::fs::read(&file).expect("it is there");
    bytes[8999] ^= 0x80;
    std::fs::write(&file, bytes).expect("it can be written");
    std::fs::write(dir.join("scrub-position.json"), "{}").expect("it can be written");
    let server = Server::on(Arc::clone(&dir), &[("JOG_SCRUB", "Sun 03:00")]);
    let lost = format!("scrub: object {bucket}/bad null is lost");
    server.log_line("what is lost", |line| line.contains("ERROR") && line.contains(&lost));
    server.log_line("a summary", |line| {
        line.contains("scrub: 2 files, 18001 bytes; 1 files are lost")
    });
    eventually("the scrub is noted", || dir.join("last-scrub.json").exists());
    let found = stats(dir.path());
    assert_eq!(found["last_scrub"]["lost"].as_u64(), Some(1), "{found}");
    assert!(!dir.join("scrub-position.json").exists());
    // The object that is not damaged is served all the while.
    server.get(&format!("/{bucket}/good")).send().expect(200);
    let metrics = page(server.get("/_jog/metrics").send());
    assert_eq!(metrics.get("jog_scrub_lost_files"), Some(&1.0));
    assert_eq!(metrics.get("jog_scrubbed_bytes_total"), Some(&18_001.0));
}

/// Objects without bytes, so many that metadata.db is read for a while.
fn many_objects(dir: &Path, count: u32) {
    let conn = rusqlite::Connection::open(dir.join("metadata.db")).expect("it is there");
    conn.execute_batch(&format!(
        "BEGIN;
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
         INSERT INTO objects (bucket, key, version, size, modified_ms, etag, crc64, owner, meta)
             SELECT (SELECT max(id) FROM buckets), CAST(printf('k%09d', n) AS BLOB), n, 0, 1, 'e', 0,
                 (SELECT max(id) FROM owners), '[]' FROM n;
         UPDATE usage SET objects = {count}, versions = {count};
         COMMIT"
    ))
    .expect("they can be written");
}

#[test]
fn a_scrub_that_reads_metadata_ends_with_the_server() {
    let server = Server::start();
    server.bucket("scrubbed");
    let dir = server.stop();
    many_objects(dir.path(), 400_000);
    std::fs::write(dir.join("scrub-position.json"), "{}").expect("it can be written");
    let server = Server::on(Arc::clone(&dir), &[("JOG_SCRUB", "Sun 03:00")]);
    let told = Instant::now();
    server.stop();
    assert!(told.elapsed() < Duration::from_secs(3), "it was not waited for");
    assert!(!dir.join("last-scrub.json").exists(), "it had not come to its end");
    assert!(!dir.join("metadata.db-wal").exists() && !dir.join("metadata.db-shm").exists());
    // The next start goes on with it.
    assert!(dir.join("scrub-position.json").exists());
    let server = Server::on(Arc::clone(&dir), &[("JOG_SCRUB", "Sun 03:00")]);
    server.log_line("a summary", |line| line.contains("scrub: 0 files, 0 bytes; 0 files are lost"));
}
