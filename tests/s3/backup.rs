//! `jog backup`, `jog restore` and `jog verify` beside a running server: under load, under
//! `kill -9`, and back to a moment.

use super::commands::{fails, ok, on, text};
use crate::support::server::jog;
use crate::support::{Dir, Server, noise};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path of ours is UTF-8")
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    since.as_millis() as i64
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

/// What was done to a key: its bytes after it (`None`: deleted), when it began and when it was
/// acknowledged.
struct Step {
    state: Option<(u64, usize)>,
    began_ms: i64,
    acknowledged_ms: i64,
}

type History = BTreeMap<String, Vec<Step>>;

/// Changes its own keys until it is told to stop.
fn churn(server: &Server, bucket: &str, thread: u64, stop: &AtomicBool) -> History {
    let mut history = History::new();
    let mut n = thread * 1_000_000;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let dice = noise(n, 8);
        let key = format!("t{thread}-{}", dice[0] % 8);
        let len = usize::from(dice[1]) * 40;
        let began_ms = now_ms();
        let object = |method| server.object(method, bucket, &key);
        let state = match dice[2] % 10 {
            0..=5 => {
                object("PUT").body(noise(n, len)).send().expect(200);
                Some((n, len))
            }
            6 | 7 => {
                let id = server.upload(bucket, &key);
                let body = noise(n, len);
                let etag = server.part(bucket, &key, &id, 1, &body);
                server.complete(bucket, &key, &id, &[(1, &etag)]).send().expect(200);
                Some((n, len))
            }
            8 => {
                let id = server.upload(bucket, &key);
                server.part(bucket, &key, &id, 1, &noise(n, len));
                continue;
            }
            _ => {
                object("DELETE").send().expect(204);
                None
            }
        };
        // Load, but not more than a backup at its rate can follow.
        std::thread::sleep(Duration::from_millis(5));
        history.entry(key).or_default().push(Step { state, began_ms, acknowledged_ms: now_ms() });
    }
    history
}

/// Ends the load, also when the test fails.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Whether a restored server has, of every key, what was acknowledged before the moment or
/// something that was begun before `end_ms`.
fn compare(server: &Server, bucket: &str, history: &History, moment_ms: i64, end_ms: i64) {
    for (key, steps) in history {
        let sure = steps.iter().take_while(|s| s.acknowledged_ms < moment_ms).count();
        let begun = steps.iter().take_while(|s| s.began_ms <= end_ms).count();
        let before = |n: usize| if n == 0 { None } else { steps[n - 1].state };
        let allowed: Vec<Option<Vec<u8>>> =
            (sure..=begun).map(|n| before(n).map(|(seed, len)| noise(seed, len))).collect();
        let response = server.object("GET", bucket, key).send();
        let found = match response.status {
            404 => None,
            _ => Some(response.expect(200).body),
        };
        let len = found.as_ref().map(Vec::len);
        assert!(allowed.contains(&found), "{key}: {len:?} is none of {} states", allowed.len());
    }
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before_it() {
    // No retention at all: only the hold keeps what is deleted while the backup copies.
    let server = Server::with(&[("JOG_TRASH_RETENTION", "0")]);
    let (plain, kept) = (server.bucket("plain"), server.bucket("kept"));
    let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    server.put(&format!("/{kept}?versioning")).body(enable).send().expect(200);
    let dest = Dir::new();
    let stop = AtomicBool::new(false);
    let mut moments = Vec::new();
    let histories = std::thread::scope(|scope| {
        let _end = AtEnd(&stop);
        let threads: Vec<_> = [&plain, &kept, &plain, &kept]
            .into_iter()
            .zip(1..)
            .map(|(bucket, number)| {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || (bucket, churn(server, bucket, number, stop)))
            })
            .collect();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(300));
            let args = ["backup", shown(dest.path()), "--json", "--rate", "10MiB", "--keep", "2"];
            let report = parse(&ok(server.dir.path(), &args));
            assert_eq!(report["complete"], true, "{report}");
            moments.push((report["snapshot"].as_str().expect("a name").to_owned(), now_ms()));
        }
        stop.store(true, Ordering::SeqCst);
        threads.into_iter().map(|t| t.join().expect("no request failed")).collect::<Vec<_>>()
    });
    ok(server.dir.path(), &["verify", "--deep"]);
    ok(server.dir.path(), &["verify", shown(dest.path()), "--deep"]);
    for (name, end_ms) in &moments[1..] {
        let back = Dir::new();
        let args = ["restore", shown(dest.path()), shown(back.path()), "--at", name, "--json"];
        let report = parse(&ok(server.dir.path(), &args));
        let moment_ms = report["moment"].as_str().expect("a time");
        let moment_ms = jog::types::time::parse_iso(moment_ms).expect("ISO 8601");
        ok(back.path(), &["verify", "--deep"]);
        let restored = Server::on(Arc::clone(&back), &[]);
        for (bucket, history) in &histories {
            compare(&restored, bucket, history, moment_ms, *end_ms);
        }
        let report = parse(&ok(back.path(), &["verify", "--deep", "--json"]));
        assert_eq!(
            (report["sound"].as_bool(), report["orphans"].as_array()),
            (Some(true), Some(&Vec::new()))
        );
    }
    let gone = &moments[0].0;
    fails(server.dir.path(), &["restore", shown(dest.path()), "r", "--at", gone], 1, "no snapshot");
}

/// The files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path())
            } else {
                found.push(entry.path())
            }
        }
    }
    found
}

#[test]
fn a_backup_that_is_killed_is_none_and_the_next_one_goes_on() {
    let server = Server::start();
    let bucket = server.bucket("killed");
    for n in 0..120 {
        server.put(&format!("/{bucket}/k{n}")).body(noise(n, 20_000)).send().expect(200);
    }
    let dest = Dir::new();
    let pool = dest.join("buckets");
    let mut arrived = 0;
    for round in 1..=3_u64 {
        // 2.4 MB at 1 MiB a second; killed earlier and later.
        let args = ["backup", shown(dest.path()), "--rate", "1MiB", "--copy"];
        let vars = [("JOG_DATA_DIR", shown(server.dir.path())), ("JOG_DURABILITY", "os")];
        let mut child = jog(&args, &vars).spawn().expect("jog can be started");
        std::thread::sleep(Duration::from_millis(150 * round));
        child.kill().expect("it is our child");
        child.wait().expect("it was killed");
        let listed = on(server.dir.path(), &["backup", shown(dest.path()), "--list"]);
        assert_eq!(text(&listed.stdout), "", "no snapshot is listed");
        fails(server.dir.path(), &["restore", shown(dest.path()), "r"], 1, "");
        arrived = files(&pool).len();
    }
    let report = parse(&ok(server.dir.path(), &["backup", shown(dest.path()), "--json", "--copy"]));
    assert_eq!((report["complete"].as_bool(), report["files"].as_u64()), (Some(true), Some(120)));
    assert_eq!(report["new_files"].as_u64(), Some(120 - arrived as u64));
    let back = Dir::new();
    ok(server.dir.path(), &["restore", shown(dest.path()), shown(back.path())]);
    let restored = Server::on(back, &[]);
    for n in 0..120 {
        let found = restored.get(&format!("/{bucket}/k{n}")).send().expect(200).body;
        assert_eq!(found, noise(n, 20_000));
    }
}

#[test]
fn a_restore_that_is_killed_is_no_store_and_the_next_one_goes_on() {
    let server = Server::start();
    let bucket = server.bucket("killed");
    for n in 0..60 {
        server.put(&format!("/{bucket}/k{n}")).body(noise(n, 20_000)).send().expect(200);
    }
    let (dest, back) = (Dir::new(), Dir::new());
    let dir = server.dir.path();
    ok(dir, &["backup", shown(dest.path())]);
    let args = ["restore", shown(dest.path()), shown(back.path()), "--rate", "1MiB", "--copy"];
    let mut child = jog(&args, &[("JOG_DURABILITY", "os")]).spawn().expect("jog can be started");
    std::thread::sleep(Duration::from_millis(400));
    child.kill().expect("it is our child");
    child.wait().expect("it was killed");
    let serve = on(back.path(), &["server", "--port=0"]);
    assert_eq!(serve.status.code(), Some(1), "{}", text(&serve.stderr));
    assert!(text(&serve.stderr).contains("restore into it has not ended"));
    fails(
        dir,
        &["restore", shown(dest.path()), shown(back.path()), "--at", "2000-01-01T00:00:00Z"],
        1,
        "no snapshot",
    );
    ok(dir, &["restore", shown(dest.path()), shown(back.path())]);
    let restored = Server::on(back, &[]);
    assert_eq!(restored.get(&format!("/{bucket}/k59")).send().expect(200).body, noise(59, 20_000));
}

#[test]
fn a_flipped_byte_is_found_on_a_running_and_on_a_stopped_server() {
    let server = Server::start();
    let bucket = server.bucket("bits");
    server.put(&format!("/{bucket}/good")).body(noise(1, 5000)).send().expect(200);
    server.put(&format!("/{bucket}/bad\n\u{1b}")).body(noise(2, 6000)).send().expect(200);
    let dest = Dir::new();
    let dir = server.dir.path().to_owned();
    ok(&dir, &["backup", shown(dest.path()), "--copy"]);
    let file = server.blobs(&bucket).into_iter().find(|f| f.metadata().unwrap().len() == 6000);
    let file = file.expect("it was put");
    let mut bytes = std::fs::read(&file).expect("it is there");
    bytes[17] ^= 1;
    std::fs::write(&file, &bytes).expect("it can be written");
    let check = || {
        assert!(ok(&dir, &["verify"]).contains("sound"), "sizes are right");
        let told = fails(&dir, &["verify", "--deep"], 3, "NOT SOUND: 1 files are lost");
        assert!(told.contains(&format!("lost: object {bucket}/bad\\n\\u{{1b}} null")), "{told}");
        let output = on(&dir, &["verify", "--deep", "--json", "--rate", "100MiB"]);
        let report = parse(&text(&output.stdout));
        assert_eq!(report["lost"][0]["damage"], "checksum");
        assert_eq!(report["lost"][0]["owners"][0]["key"], "bad\n\u{1b}");
        // A further backup has the good file from before; a new one cannot have it.
        let output = on(&dir, &["backup", shown(dest.path()), "--json"]);
        assert_eq!(output.status.code(), Some(0));
        let other = Dir::new();
        fails(&dir, &["backup", shown(other.path())], 3, "INCOMPLETE");
        assert!(ok(&dir, &["backup", shown(other.path()), "--list"]).contains("INCOMPLETE"));
    };
    check();
    let dir_kept = server.stop();
    check();
    let args = ["verify", "--deep", "--repair-from", shown(dest.path())];
    assert!(ok(&dir, &args).contains("repaired"));
    ok(&dir, &["verify", "--deep"]);
    let server = Server::on(dir_kept, &[]);
    let got = server.object("GET", &bucket, "bad\n\u{1b}").send().expect(200);
    assert_eq!(got.body, noise(2, 6000));
}

/// metadata.db of a moment (as Litestream's restore gives it) and files that were copied later
/// without stopping anything: within the retention time nothing is missing.
#[test]
fn metadata_of_a_moment_and_later_files_make_that_moment() {
    let server = Server::start();
    let bucket = server.bucket("moment");
    for n in 0..30 {
        server.put(&format!("/{bucket}/k{n}")).body(noise(n, 3000)).send().expect(200);
    }
    let back = Dir::new();
    let copy = |to: &Path| {
        let db = server.dir.join("metadata.db");
        let conn = rusqlite::Connection::open(db).expect("it can be read");
        conn.execute("VACUUM INTO ?1", [shown(to)]).expect("it can be copied");
    };
    copy(&back.join("metadata.db"));
    for n in 0..30 {
        match n % 3 {
            0 => drop(server.delete(&format!("/{bucket}/k{n}")).send().expect(204)),
            1 => drop(server.put(&format!("/{bucket}/k{n}")).body(noise(n, 9)).send().expect(200)),
            _ => (),
        }
    }
    // Those of nobody, which the server makes ahead while it is busy, would be counted, too.
    server.blobs(&bucket);
    let cp = std::process::Command::new("cp")
        .args(["-a", shown(&server.dir.join("buckets")), shown(back.path())])
        .status();
    assert!(cp.expect("cp is there").success());
    let report = parse(&ok(back.path(), &["verify", "--deep", "--json"]));
    assert_eq!(report["files"].as_u64(), Some(30));
    assert_eq!(report["orphans"].as_array().map(Vec::len), Some(10), "those of after the moment");
    let restored = Server::on(Arc::clone(&back), &[]);
    for n in 0..30 {
        let found = restored.get(&format!("/{bucket}/k{n}")).send().expect(200).body;
        assert_eq!(found, noise(n, 3000));
    }
    drop(restored);
    // What does not belong to that moment is set aside, not thrown away.
    ok(back.path(), &["verify", "--repair"]);
    assert_eq!(files(&back.join("quarantine")).len(), 10);
    // With a file less, verify says which object it was.
    let server = Server::on(Arc::clone(&back), &[]);
    std::fs::remove_file(&server.blobs(&bucket)[0]).expect("it is there");
    fails(back.path(), &["verify"], 3, "the file is missing");
}

#[test]
fn the_commands_say_what_is_wrong() {
    let (dir, other) = (Dir::new(), Dir::new());
    let fail = |args: &[&str], status, word| fails(dir.path(), args, status, word);
    fail(&["backup"], 2, "Usage");
    fail(&["backup", shown(other.path())], 1, "no store");
    fail(&["backup", shown(other.path()), "--keep", "0"], 2, "--keep=0");
    fail(&["backup", shown(other.path()), "--rate", "fast"], 2, "--rate=fast");
    fail(&["backup", shown(other.path()), "--nope"], 2, "--nope");
    fail(&["restore", shown(other.path())], 2, "Usage");
    fail(&["restore", shown(other.path()), "r"], 1, "is no backup");
    fail(&["verify", "a", "b"], 2, "at most one folder");
    fail(&["verify"], 1, "no store");
    assert!(ok(dir.path(), &["help"]).contains("restore BACKUP DEST"));
    assert!(ok(dir.path(), &["verify", "--help"]).contains("--repair"));
    // A server can start while a slow verification of its directory runs.
    let server = Server::start();
    let bucket = server.bucket("slow");
    server.put(&format!("/{bucket}/k")).body(noise(1, 300_000)).send().expect(200);
    let kept = server.stop();
    let args = ["verify", "--deep", "--rate", "100KiB", "--data-dir", shown(kept.path())];
    let mut child = jog(&args, &[]).spawn().expect("jog can be started");
    let start = Instant::now();
    drop(Server::on(kept, &[]));
    assert!(
        start.elapsed() < Duration::from_secs(2) || child.try_wait().is_ok_and(|s| s.is_some())
    );
    assert!(child.wait().is_ok_and(|status| status.success()));
}

/// Without descriptors nothing is known of a file, so none is called lost.
#[test]
fn files_are_not_lost_for_want_of_descriptors() {
    let server = Server::start();
    let bucket = server.bucket("descriptors");
    server.object("PUT", &bucket, "key").body("bytes").send().expect(200);
    let verify = |limit: u32| {
        let script = format!("ulimit -n {limit} && exec \"$0\" verify --deep");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_jog")]).env_clear();
        let output = command.env("JOG_DATA_DIR", server.dir.path()).output().expect("a shell");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (good, bad): (Vec<_>, Vec<_>) = (4..32).map(verify).partition(|(good, _)| *good);
    assert!(!good.is_empty(), "{bad:?}");
    assert!(bad.iter().all(|(_, said)| !said.contains("lost")), "{bad:?}");
    let file = |said: &str| said.contains("Too many open files") && said.contains("/objects/");
    assert!(bad.iter().any(|(_, said)| file(said)), "{bad:?}");
}
