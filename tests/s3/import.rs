//! `jog import`: files of any folder become objects, as everybody's do.

use super::commands::{fails, ok, on, text};
use super::export::{has, report, shown};
use crate::support::{Dir, Server, elements, md5_hex, noise};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn a_folder_of_files() {
    let server = Server::start();
    let bucket = server.bucket("in");
    let (dir, source, victim) = (server.dir.path(), Dir::new(), Dir::new());
    std::fs::write(victim.join("secret"), "secret").expect("a folder of ours");
    let write = |path: &str, bytes: &[u8]| {
        let path = source.join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder of ours");
        std::fs::write(path, bytes).expect("a folder of ours");
    };
    write("index.html", b"<p>");
    write("a/b/c.JPG", &noise(1, 300_000));
    write("a/none", b"");
    write("100%25", b"its name is its key");
    write("line\nbreak", b"x");
    std::fs::create_dir_all(source.join("empty/folder")).expect("a folder of ours");
    symlink(victim.path(), source.join("a/folder")).expect("a folder of ours");
    symlink(victim.join("secret"), source.join("link")).expect("a folder of ours");
    let pipe = std::process::Command::new("mkfifo").arg(source.join("pipe")).status();
    assert!(pipe.expect("mkfifo is there").success());
    let args = ["import", shown(source.path()), &bucket, "--prefix", "p/"];
    let output = on(dir, &[&args[..], &["--json"]].concat());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for passed in ["a/folder: a symbolic link", "link: a symbolic link", "pipe: a pipe"] {
        assert!(told.contains(&format!("passed over: {passed}")), "{told}");
    }
    let done = serde_json::from_slice(&output.stdout).expect("it is JSON");
    has(&done, &[("new_objects", 5), ("passed_over", 3), ("failed", 0)]);
    assert_eq!(done["complete"], true);
    let listed = server.get(&format!("/{bucket}?list-type=2")).send().expect(200);
    let keys = listed.all("Key");
    assert_eq!(keys, ["p/100%25", "p/a/b/c.JPG", "p/a/none", "p/index.html", "p/line\nbreak"]);
    for (key, kind) in [
        ("p/index.html", "text/html"),
        ("p/a/b/c.JPG", "image/jpeg"),
        ("p/a/none", "binary/octet-stream"),
    ] {
        let got = server.object("GET", &bucket, key).send().expect(200);
        assert_eq!(got.header("content-type"), Some(kind), "{key}");
        assert_eq!(got.etag(), md5_hex(&got.body));
    }
    // Again: only what has changed, also if its size has not.
    write("index.html", b"<q>");
    has(&report(dir, 0, &args), &[("new_objects", 1), ("present_objects", 4)]);
    let got = server.get(&format!("/{bucket}/p/index.html")).send().expect(200);
    assert_eq!(got.body, b"<q>");
    assert!(ok(dir, &args).contains("0 objects are new, 0 bytes; 5 were there"));
    ok(dir, &["verify", "--deep"]);
    fails(dir, &["import", "/nowhere/at/all", &bucket], 2, "/nowhere/at/all");
    fails(dir, &["import", shown(source.path()), "no-such"], 1, "no such bucket");
    fails(dir, &["import", shown(source.path())], 2, "expected 2");
}

#[test]
fn files_that_cannot_be_objects_are_named() {
    let server = Server::start();
    let bucket = server.bucket("named");
    let (dir, source) = (server.dir.path(), Dir::new());
    std::fs::write(source.path().join(OsStr::from_bytes(b"\xff\x1b")), "x").expect("a folder");
    let deep = source.join(&format!("{}/", "d".repeat(200)).repeat(6));
    std::fs::create_dir_all(&deep).expect("a folder of ours");
    std::fs::write(deep.join("file"), "x").expect("a folder of ours");
    std::fs::write(source.join("good"), "x").expect("a folder of ours");
    let told =
        fails(dir, &["import", shown(source.path()), &bucket], 3, "2 files are NOT IMPORTED");
    assert!(told.contains("\\u{1b}: its name is no UTF-8"), "{told}");
    assert!(told.contains("the key would be longer than 1024 bytes"), "{told}");
    let listed = server.get(&format!("/{bucket}?list-type=2")).send().expect(200);
    assert_eq!(listed.all("Key"), ["good"]);
    // The data directory itself is not entered.
    let around = dir.parent().expect("it has one");
    let name = dir.file_name().and_then(OsStr::to_str).expect("a name of ours");
    let inside = Dir::new();
    std::fs::write(inside.join("x"), "x").expect("a folder of ours");
    let told = on(dir, &["import", shown(around), &bucket]);
    let told = text(&told.stderr);
    assert!(told.contains(&format!("passed over: {name}: the data directory of jog")), "{told}");
}

#[test]
fn names_of_an_export_are_read_as_such_or_not_at_all() {
    let server = Server::start();
    let (bucket, other) = (server.bucket("out"), server.bucket("in"));
    server.object("PUT", &bucket, "a%/b").body("x").send().expect(200);
    let (dir, dest) = (server.dir.path(), Dir::new());
    let folder = dest.join(&bucket);
    ok(dir, &["export", shown(dest.path()), "--metadata"]);
    fails(dir, &["import", shown(dest.path()), &other], 1, "import each by itself");
    for wrong in ["%41", "100%", "a%2Eb", "%2f"] {
        std::fs::write(folder.join(wrong), "x").expect("a folder of ours");
    }
    let told = fails(dir, &["import", shown(&folder), &other], 3, "4 files are NOT IMPORTED");
    assert!(told.contains("%41: its name is none that an export gives"), "{told}");
    let listed = server.get(&format!("/{other}?list-type=2")).send().expect(200);
    assert_eq!(listed.all("Key"), ["a%/b"]);
    // Notes that somebody has written: what no request could bring is no metadata.
    let notes = folder.join("%jog-export.jsonl");
    let evil = serde_json::json!({
        "key": "a%/b", "metadata": [["x-amz-meta-a", "v\r\nset-cookie: evil"]], "tags": [],
    });
    std::fs::write(&notes, format!("{{\"jog_export\":1}}\n{evil}\n")).expect("it is ours");
    let third = server.bucket("third");
    let told = fails(dir, &["import", shown(&folder), &third], 3, "InvalidArgument");
    assert!(told.contains("not imported: a%25/b"), "{told}");
    std::fs::write(&notes, "{}\n").expect("it is ours");
    fails(dir, &["import", shown(&folder), &third], 1, "an unknown form in line 1");
}

#[test]
fn buckets_keep_their_rules() {
    let server = Server::with(&[("JOG_SSE_KEY", MASTER)]);
    let (dir, source) = (server.dir.path(), Dir::new());
    std::fs::write(source.join("k"), noise(1, 5000)).expect("a folder of ours");
    std::fs::write(source.join("l"), noise(2, 5000)).expect("a folder of ours");
    // A default retention, and with it versions.
    let locked = server.free_name("locked");
    let make = server.put(&format!("/{locked}")).header("x-amz-bucket-object-lock-enabled", "true");
    make.send().expect(200);
    let retention = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
        </ObjectLockConfiguration>";
    server.put(&format!("/{locked}?object-lock")).body(retention).send().expect(200);
    server.put(&format!("/{locked}/k")).body("before").send().expect(200);
    let import = |bucket: &str| report(dir, 0, &["import", shown(source.path()), bucket]);
    has(&import(&locked), &[("new_objects", 2)]);
    let head = server.head(&format!("/{locked}/k")).send().expect(200);
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("GOVERNANCE"));
    let versions = server.get(&format!("/{locked}?versions")).send().expect(200);
    assert_eq!(elements(versions.xml(), "Version").len(), 3, "what was there is kept");
    // A default encryption.
    let sealed = server.bucket("sealed");
    let document = super::bucket_encryption::configuration(super::bucket_encryption::AES256);
    server.put(&format!("/{sealed}?encryption")).body(document).send().expect(200);
    has(&import(&sealed), &[("new_objects", 2)]);
    let got = server.get(&format!("/{sealed}/k")).send().expect(200);
    assert_eq!(got.header("x-amz-server-side-encryption"), Some("AES256"));
    assert_eq!(got.body, noise(1, 5000));
    let bytes = std::fs::read(&server.blobs(&sealed)[0]).expect("it is there");
    assert!(bytes.len() > 5000 && !bytes.windows(16).any(|w| w == &noise(1, 5000)[..16]));
    // A quota ends it.
    let small = server.bucket("small");
    ok(dir, &["bucket", "quota", &small, "6000"]);
    fails(dir, &["import", shown(source.path()), &small], 1, "QuotaExceeded");
    let listed = server.get(&format!("/{small}?list-type=2")).send().expect(200);
    assert_eq!(listed.all("Key").len(), 1);
    ok(dir, &["bucket", "quota", &small, "none"]);
    has(&import(&small), &[("new_objects", 1), ("present_objects", 1)]);
}
