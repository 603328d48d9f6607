//! `jog export` and `jog import`: everything comes out, and back in as it was, whatever keys are
//! called and whoever plants links in between.

use super::commands::{fails, ok, on, text};
use super::encryption::Kind;
use crate::support::server::{jog, run};
use crate::support::sign::{ACCESS_KEY, SECRET_KEY};
use crate::support::{Dir, Server, noise};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

pub fn shown(path: &Path) -> &str {
    path.to_str().expect("a path of ours is UTF-8")
}

/// The report of a command with `--json`, which ends with this status.
#[track_caller]
pub fn report(dir: &Path, status: i32, args: &[&str]) -> Value {
    let output = on(dir, &[args, &["--json"]].concat());
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"))
}

/// Fails unless a report has these numbers.
#[track_caller]
pub fn has(report: &Value, numbers: &[(&str, u64)]) {
    for (name, number) in numbers {
        assert_eq!(report[name].as_u64(), Some(*number), "{name} in {report:#}");
    }
}

/// Everything below a folder that is no folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of ours").flatten() {
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

/// Keys that are no paths, or not their own, with their paths.
fn awkward() -> Vec<(String, Option<String>)> {
    let own = |key: &str| (key.to_owned(), None);
    let other = |key: &str, path: &str| (key.to_owned(), Some(path.to_owned()));
    let long = "l".repeat(1000);
    let pieces = format!("{}%+/", "l".repeat(250)).repeat(3) + &"l".repeat(250);
    vec![
        own("plain.txt"),
        own("2026/11/cat picture.jpg"),
        own("日本語/ü"),
        own("line\nbreak\t\u{1b}[31m"),
        own("-rf"),
        own("~/.ssh"),
        own("a.b/..c"),
        other("a", "a%="),
        own("a/b"),
        own("a-b"),
        other("a//b", "a/%2F/b"),
        other("a/", "a/%2F%="),
        other("/leading", "%2F/leading"),
        other("/", "%2F/%2F"),
        other("folder/", "folder/%2F"),
        other("../../etc/x", "%2E%2E/%2E%2E/etc/x"),
        other("x/../../y", "x/%2E%2E/%2E%2E/y"),
        other(".", "%2E%="),
        other("./x", "%2E/x"),
        other("..", "%2E%2E%="),
        other("nul\0byte", "nul%00byte"),
        other("100%", "100%25"),
        other("%2E%2E/x", "%252E%252E/x"),
        other("%jog-export.jsonl", "%25jog-export.jsonl"),
        other("%jog-incoming/1", "%25jog-incoming/1"),
        other(&long, &pieces),
    ]
}

/// What a client sees of an object.
fn seen(server: &Server, bucket: &str, key: &str) -> (Vec<u8>, BTreeMap<String, String>, String) {
    let got = server.object("GET", bucket, key).send().expect(200);
    let kept = |name: &str| {
        name.starts_with("x-amz-meta-")
            || ["content-type", "cache-control", "content-encoding", "x-amz-tagging-count"]
                .contains(&name)
    };
    let headers = got.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone()));
    let headers = headers.filter(|(name, _)| kept(name)).collect();
    let tags = server.object("GET", bucket, key).query("tagging", "").send().expect(200);
    (got.body, headers, tags.xml().to_owned())
}

/// A bucket with the awkward keys, metadata, tags and an object of two parts; all its keys.
fn fill(server: &Server) -> (String, Vec<String>) {
    let bucket = server.bucket("out");
    let mut keys = Vec::new();
    for (n, (key, _)) in awkward().into_iter().enumerate() {
        let body = noise(n as u64, n * 1000);
        server.object("PUT", &bucket, &key).body(body).send().expect(200);
        keys.push(key);
    }
    server
        .object("PUT", &bucket, "rich?&=")
        .header("content-type", "text/x-own; charset=ü")
        .header("cache-control", "no-store")
        .header("x-amz-meta-a", "1, \"2\" \\ ö")
        .header("x-amz-tagging", "k%20%2F=v%2B%C3%BC&empty=")
        .body("rich")
        .send()
        .expect(200);
    keys.push("rich?&=".to_owned());
    let id = server.upload(&bucket, "parts.bin");
    let first = server.part(&bucket, "parts.bin", &id, 1, &noise(7, 5 << 20));
    let second = server.part(&bucket, "parts.bin", &id, 2, &noise(8, 1000));
    server.complete(&bucket, "parts.bin", &id, &[(1, &first), (2, &second)]).send().expect(200);
    keys.push("parts.bin".to_owned());
    (bucket, keys)
}

#[test]
fn what_goes_out_comes_back_as_it_was() {
    let server = Server::start();
    let (bucket, keys) = fill(&server);
    let (back, later) = (server.bucket("back"), server.bucket("later"));
    let around = Dir::new();
    let dest = around.join("deep/er/export");
    let dir = server.dir.path().to_owned();
    let args = ["export", shown(&dest), "--bucket", &bucket, "--metadata"];
    let out = report(&dir, 0, &args);
    let escaped = awkward().iter().filter(|(_, path)| path.is_some()).count() as u64;
    has(&out, &[("new_files", keys.len() as u64), ("escaped", escaped), ("failed", 0)]);
    assert_eq!(out["complete"], true);
    // Where they are to be, and nothing elsewhere.
    let folder = dest.join(&bucket);
    for (n, (key, path)) in awkward().into_iter().enumerate() {
        let path = path.unwrap_or_else(|| key.clone());
        let file = std::fs::read(folder.join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(file, noise(n as u64, n * 1000), "{key:?}");
        let listed = out["escaped_keys"].as_array().expect("a list").iter();
        let listed = listed.filter(|e| e["key"] == key.as_str() && e["path"] == path.as_str());
        assert_eq!(listed.count(), usize::from(path != key), "{key:?}");
        let head = server.object("HEAD", &bucket, &key).send().expect(200);
        let modified = jog::types::time::parse_http(head.header("last-modified").expect("a time"));
        let meta = std::fs::symlink_metadata(folder.join(&path)).expect("it is there");
        assert_eq!(Some(meta.mtime()), modified, "{key:?}");
    }
    assert_eq!(files(around.path()).len(), keys.len() + 1, "and the notes");
    // In, with the server running and without; each a second time, which changes nothing.
    let import = |bucket: &str| report(&dir, 0, &["import", shown(&folder), bucket]);
    has(&import(&back), &[("new_objects", keys.len() as u64), ("present_objects", 0)]);
    has(&import(&back), &[("new_objects", 0), ("present_objects", keys.len() as u64)]);
    let kept = server.stop();
    has(&import(&later), &[("new_objects", keys.len() as u64), ("failed", 0)]);
    has(&import(&later), &[("new_objects", 0), ("present_objects", keys.len() as u64)]);
    has(&report(&dir, 0, &args), &[("new_files", 0), ("present_files", keys.len() as u64)]);
    let server = Server::on(kept, &[]);
    for other in [&back, &later] {
        let listing = server.get(&format!("/{other}?list-type=2&encoding-type=url")).send();
        let listed = listing.expect(200).all("Key");
        assert_eq!(listed.len(), keys.len());
        for key in &keys {
            assert_eq!(seen(&server, &bucket, key), seen(&server, other, key), "{key:?}");
        }
    }
    has(&report(&dir, 0, &args), &[("new_files", 0), ("present_files", keys.len() as u64)]);
    // A multipart object has its own ETag, and is known all the same.
    let again = report(&dir, 0, &["import", shown(&folder), &bucket]);
    has(&again, &[("new_objects", 0), ("present_objects", keys.len() as u64)]);
    ok(&dir, &["verify", "--deep"]);
}

#[test]
fn links_are_the_stores_own_files_and_copies_are_not() {
    let server = Server::start();
    let bucket = server.bucket("links");
    server.put(&format!("/{bucket}/k")).body(noise(1, 5000)).send().expect(200);
    let (dir, dest) = (server.dir.path(), Dir::new());
    let file = dest.join(&bucket).join("k");
    let stored = server.blobs(&bucket).pop().expect("it was put");
    let inode = |path: &Path| std::fs::metadata(path).expect("it is there").ino();
    let out = report(dir, 0, &["export", shown(dest.path())]);
    has(&out, &[("new_files", 1), ("linked_files", 1)]);
    assert_eq!(inode(&file), inode(&stored));
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o400, "nobody changes it by mistake");
    has(&report(dir, 0, &["export", shown(dest.path())]), &[("new_files", 0)]);
    // From a link to a copy, which can be changed.
    let copy = ["export", shown(dest.path()), "--copy"];
    has(&report(dir, 0, &copy), &[("new_files", 1), ("linked_files", 0)]);
    has(&report(dir, 0, &copy), &[("new_files", 0), ("present_files", 1)]);
    assert!(inode(&file) != inode(&stored));
    std::fs::write(&file, "changed").expect("it is ours");
    let got = server.get(&format!("/{bucket}/k")).send().expect(200);
    assert_eq!(got.body, noise(1, 5000));
    has(&report(dir, 0, &copy), &[("new_files", 1)]);
    assert_eq!(std::fs::read(&file).expect("it is there"), noise(1, 5000));
    // A deleted object's file stays with its link, an overwritten one is replaced.
    has(&report(dir, 0, &["export", shown(dest.path())]), &[("new_files", 0)]);
    server.put(&format!("/{bucket}/k")).body("new").send().expect(200);
    has(&report(dir, 0, &["export", shown(dest.path())]), &[("new_files", 1)]);
    assert_eq!(std::fs::read(&file).expect("it is there"), b"new");
    ok(dir, &["verify", "--deep"]);
}

#[test]
fn a_key_becomes_a_folder_and_a_file_again() {
    let server = Server::start();
    let bucket = server.bucket("turns");
    let (dir, dest) = (server.dir.path(), Dir::new());
    let folder = dest.join(&bucket);
    let export = || report(dir, 0, &["export", shown(dest.path())]);
    let put =
        |key: &str| drop(server.put(&format!("/{bucket}/{key}")).body(key).send().expect(200));
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).ok();
    put("a");
    export();
    assert_eq!(read("a").as_deref(), Some("a"));
    put("a/b");
    has(&export(), &[("new_files", 1), ("present_files", 1), ("escaped", 1)]);
    assert_eq!((read("a%="), read("a/b")), (Some("a".to_owned()), Some("a/b".to_owned())));
    server.delete(&format!("/{bucket}/a/b")).send().expect(204);
    has(&export(), &[("new_files", 0), ("present_files", 1)]);
    assert_eq!(
        read("a%=").as_deref(),
        Some("a"),
        "the folder of a file that is gone is still there"
    );
    std::fs::remove_dir_all(folder.join("a")).expect("a folder of ours");
    has(&export(), &[("present_files", 1), ("escaped", 0)]);
    assert_eq!((read("a").as_deref(), read("a%=")), (Some("a"), None));
    // What stands where a folder must be, and belongs to no object, is not thrown away.
    server.delete(&format!("/{bucket}/a")).send().expect(204);
    put("a/c");
    let told = fails(dir, &["export", shown(dest.path())], 3, "NOT EXPORTED");
    assert!(told.contains(&format!("not exported: {bucket}/a/c: a is a file")), "{told}");
    assert_eq!(read("a").as_deref(), Some("a"));
}

#[test]
fn planted_links_are_not_followed() {
    let server = Server::start();
    let bucket = server.bucket("planted");
    for key in ["dir/file", "final", "dir2/x", "fine"] {
        server.put(&format!("/{bucket}/{key}")).body(noise(1, 100)).send().expect(200);
    }
    let (dir, dest, victim) = (server.dir.path(), Dir::new(), Dir::new());
    let secret = victim.join("secret");
    std::fs::write(&secret, "secret").expect("a folder of ours");
    let folder = dest.join(&bucket);
    ok(dir, &["export", shown(dest.path()), "--prefix", "none"]);
    symlink(victim.path(), folder.join("dir")).expect("a folder of ours");
    symlink(&secret, folder.join("final")).expect("a folder of ours");
    symlink("/nowhere/at/all", folder.join("dir2")).expect("a folder of ours");
    for mode in ["--copy", "--json"] {
        let told = fails(dir, &["export", shown(dest.path()), mode], 3, "");
        assert!(told.contains("/dir/file: dir is a file or a symbolic link"), "{told}");
        assert!(told.contains("/dir2/x: dir2 is a file or a symbolic link"), "{told}");
    }
    assert_eq!(std::fs::read(&secret).expect("it is there"), b"secret");
    assert_eq!(files(victim.path()), std::slice::from_ref(&secret));
    let meta = std::fs::symlink_metadata(folder.join("final")).expect("it is there");
    assert!(meta.is_file(), "the link made room");
    // A whole bucket's folder, and the one for files that are being written.
    let other = Dir::new();
    symlink(victim.path(), other.join(&bucket)).expect("a folder of ours");
    fails(dir, &["export", shown(other.path())], 1, "symbolic link");
    std::fs::remove_file(other.join(&bucket)).expect("it is there");
    std::fs::create_dir(other.join(&bucket)).expect("a folder of ours");
    symlink(victim.path(), other.join(&bucket).join("%jog-incoming")).expect("a folder of ours");
    fails(dir, &["export", shown(other.path())], 1, "symbolic link");
    assert_eq!(files(victim.path()), [secret]);
}

#[test]
fn where_an_export_cannot_be() {
    let server = Server::start();
    let bucket = server.bucket("where");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    let (dir, dest) = (server.dir.path(), Dir::new());
    std::fs::create_dir(dest.join(&bucket)).expect("a folder of ours");
    std::fs::write(dest.join(&bucket).join("k"), "mine").expect("a folder of ours");
    fails(dir, &["export", shown(dest.path())], 1, "is no export");
    assert_eq!(std::fs::read(dest.join(&bucket).join("k")).expect("it is there"), b"mine");
    fails(dir, &["export", shown(&dir.join("out"))], 1, "data directory");
    fails(dir, &["export", shown(dir)], 1, "data directory");
    fails(dir, &["export", "/dev/null/x"], 1, "/dev/null");
    fails(dir, &["export", shown(dest.path()), "--bucket", "no-such"], 1, "no such bucket");
    fails(dir, &["export"], 2, "expected 1");
    fails(dest.path(), &["export", "x"], 1, "no store");
}

/// `jog` on this data directory with this master key.
fn with_master(dir: &Path, master: &str, args: &[&str]) -> Output {
    let vars = [
        ("JOG_DATA_DIR", shown(dir)),
        ("JOG_ACCESS_KEY", ACCESS_KEY),
        ("JOG_SECRET_KEY", SECRET_KEY),
        ("JOG_SSE_KEY", master),
    ];
    run(args, &vars)
}

#[test]
fn encrypted_objects_come_out_decrypted_or_are_named() {
    let server = Server::with(&[("JOG_SSE_KEY", MASTER)]);
    let bucket = server.bucket("sealed");
    let put = |key: &str, kind: Kind, n: u64| {
        let request = server.object("PUT", &bucket, key).body(noise(n, 200_000));
        kind.write(request).send().expect(200);
    };
    put("server", Kind::Server, 1);
    put("mine\n", Kind::Customer(1), 2);
    put("plain", Kind::Plain, 3);
    let (dir, dest) = (server.dir.path(), Dir::new());
    let told = fails(dir, &["export", shown(dest.path())], 3, "2 objects are NOT EXPORTED");
    assert!(told.contains("/server: it is encrypted, and JOG_SSE_KEY is not set"), "{told}");
    let other = with_master(dir, &"0".repeat(64), &["export", shown(dest.path())]);
    assert_eq!(other.status.code(), Some(3));
    assert!(text(&other.stderr).contains("another key than JOG_SSE_KEY"));
    let output = with_master(dir, MASTER, &["export", shown(dest.path()), "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    has(&report, &[("new_files", 1), ("linked_files", 0), ("present_files", 1), ("failed", 1)]);
    assert_eq!(report["complete"], false);
    assert_eq!(report["failed_keys"][0]["key"], "mine\n");
    let reason = report["failed_keys"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("SSE-C"), "{reason}");
    let told = text(&output.stderr);
    assert!(told.contains(&format!("not exported: {bucket}/mine\\n: ")), "{told}");
    let read = |key: &str| std::fs::read(dest.join(&bucket).join(key)).ok();
    assert_eq!((read("server"), read("mine\n")), (Some(noise(1, 200_000)), None));
    assert_eq!(read("plain"), Some(noise(3, 200_000)));
    let again = with_master(dir, MASTER, &["export", shown(dest.path()), "--json"]);
    let report: Value = serde_json::from_slice(&again.stdout).expect("it is JSON");
    has(&report, &[("new_files", 0), ("present_files", 2), ("failed", 1)]);
}

#[test]
fn damaged_objects_are_named_and_leave_no_file() {
    let server = Server::start();
    let bucket = server.bucket("damaged");
    for (key, size) in [("bad", 6000), ("gone", 7000), ("good", 5000)] {
        server.put(&format!("/{bucket}/{key}")).body(noise(1, size)).send().expect(200);
    }
    let blob = |size: u64| {
        let all = server.blobs(&bucket);
        all.into_iter().find(|f| f.metadata().unwrap().len() == size).expect("it was put")
    };
    let mut bytes = std::fs::read(blob(6000)).expect("it is there");
    bytes[5999] ^= 1;
    std::fs::write(blob(6000), &bytes).expect("it can be written");
    std::fs::remove_file(blob(7000)).expect("it can be removed");
    for mode in ["--copy", "--json"] {
        let dest = Dir::new();
        let told = fails(server.dir.path(), &["export", shown(dest.path()), mode], 3, "");
        assert!(told.contains(&format!("{bucket}/bad: ")) && told.contains("CRC64NVME"), "{told}");
        assert!(told.contains(&format!("{bucket}/gone: a file of it is missing")), "{told}");
        let left = files(dest.path());
        let names: Vec<_> = left.iter().filter_map(|f| f.file_name()?.to_str()).collect();
        assert_eq!(names, ["%jog-export.jsonl", "good"]);
    }
}

#[test]
fn an_export_that_is_killed_goes_on() {
    let server = Server::start();
    let bucket = server.bucket("killed");
    for n in 0..120 {
        server.put(&format!("/{bucket}/k{n}")).body(noise(n, 20_000)).send().expect(200);
    }
    let (dir, dest) = (server.dir.path(), Dir::new());
    let folder = dest.join(&bucket);
    for round in 1..=3_u64 {
        // 2.4 MB at 1 MiB a second; killed earlier and later.
        let args = ["export", shown(dest.path()), "--rate", "1MiB", "--copy"];
        let vars = [("JOG_DATA_DIR", shown(dir)), ("JOG_DURABILITY", "os")];
        let mut child = jog(&args, &vars).spawn().expect("jog can be started");
        std::thread::sleep(std::time::Duration::from_millis(150 * round));
        child.kill().expect("it is our child");
        child.wait().expect("it was killed");
        for file in files(&folder) {
            let name = file.file_name().and_then(|n| n.to_str()).expect("a name of ours");
            let Some(n) = name.strip_prefix('k').and_then(|n| n.parse().ok()) else { continue };
            let found = std::fs::read(&file).expect("it is there");
            assert_eq!(found, noise(n, 20_000), "what has its name is whole");
        }
    }
    std::fs::create_dir_all(folder.join("%jog-incoming")).expect("a folder of ours");
    let busy = std::fs::File::open(folder.join("%jog-incoming")).expect("it is there");
    busy.lock().expect("nobody else has it");
    fails(dir, &["export", shown(dest.path()), "--copy"], 1, "another export");
    drop(busy);
    let out = report(dir, 0, &["export", shown(dest.path()), "--copy"]);
    let number = |name: &str| out[name].as_u64().expect("a number");
    assert_eq!(number("new_files") + number("present_files"), 120);
    assert_eq!(files(&folder).len(), 121, "and nothing is left over");
    assert!(!folder.join("%jog-incoming").exists());
}

#[test]
fn it_does_not_end_the_server_and_notes_of_other_prefixes_stay() {
    let server = Server::start();
    let (one, two) = (server.bucket("one"), server.bucket("two"));
    for (bucket, key) in [(&one, "a/1"), (&one, "b/1"), (&two, "c")] {
        let put = server.put(&format!("/{bucket}/{key}")).header("x-amz-meta-of", key);
        put.body(key).send().expect(200);
    }
    let (dir, dest) = (server.dir.path(), Dir::new());
    let notes = |bucket: &str| -> Vec<String> {
        let text = std::fs::read_to_string(dest.join(bucket).join("%jog-export.jsonl"));
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("it is JSON");
        let keys = text.expect("it is there").lines().skip(1).map(parse).collect::<Vec<_>>();
        let mut keys: Vec<String> =
            keys.iter().map(|line| line["key"].as_str().expect("a key").to_owned()).collect();
        keys.sort();
        keys
    };
    let export = |more: &[&str]| ok(dir, &[&["export", shown(dest.path())], more].concat());
    let said = export(&["--prefix", "a/", "--metadata"]);
    assert!(said.contains("2 buckets: 1 files are new, 3 bytes, 1 of them are links"), "{said}");
    assert!(said.contains("never change them in place"), "{said}");
    assert_eq!((notes(&one), notes(&two)), (vec!["a/1".to_owned()], Vec::new()));
    export(&["--prefix", "b/", "--metadata", "--bucket", &one]);
    assert_eq!(notes(&one), ["a/1", "b/1"]);
    server.delete(&format!("/{one}/a/1")).send().expect(204);
    export(&["--prefix", "a/", "--metadata"]);
    assert_eq!(notes(&one), ["b/1"]);
    export(&["--metadata", "--bucket", &one, "--bucket", &two]);
    assert_eq!((notes(&one), notes(&two)), (vec!["b/1".to_owned()], vec!["c".to_owned()]));
    export(&[]);
    assert_eq!(notes(&one), ["b/1"], "an export without metadata keeps it");
    server.get(&format!("/{two}/c")).send().expect(200);
}

/// A file system in memory; `None`, and a line that says why, where none can be mounted.
struct Disk(Arc<Dir>);

impl Disk {
    fn new(size: &str) -> Option<Self> {
        let dir = Dir::new();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", shown(dir.path())])
            .output();
        match mount {
            Ok(done) if done.status.success() => return Some(Self(dir)),
            other => println!("left out: no tmpfs: {other:?}"),
        }
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_ends_it_and_what_is_there_is_whole() {
    let Some(disk) = Disk::new("1m") else { return };
    let server = Server::start();
    let bucket = server.bucket("full");
    for n in 0..20 {
        server.put(&format!("/{bucket}/k{n:02}")).body(noise(n, 100_000)).send().expect(200);
    }
    let (dir, dest) = (server.dir.path(), disk.0.path());
    let out = report(dir, 1, &["export", shown(dest)]);
    assert_eq!(out["complete"], false);
    assert!(out["error"].as_str().is_some_and(|e| e.contains("No space left")), "{out}");
    has(&out, &[("linked_files", 0)]);
    let arrived = out["new_files"].as_u64().expect("a number");
    assert!((5..20).contains(&arrived), "{out}");
    assert_eq!(files(&dest.join(&bucket)).len() as u64, arrived + 1, "and the mark");
    for n in 0..arrived {
        let file = std::fs::read(dest.join(&bucket).join(format!("k{n:02}")));
        assert_eq!(file.expect("it is there"), noise(n, 100_000));
    }
    for n in 5..20 {
        server.delete(&format!("/{bucket}/k{n:02}")).send().expect(204);
        let _ = std::fs::remove_file(dest.join(&bucket).join(format!("k{n:02}")));
    }
    has(&report(dir, 0, &["export", shown(dest)]), &[("new_files", 0), ("present_files", 5)]);
}
