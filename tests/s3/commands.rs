//! Commands that work on a store: inside the running server by its socket, or by themselves.

use crate::support::server::{jog, run};
use crate::support::sign::{ACCESS_KEY, SECRET_KEY};
use crate::support::{Dir, Server};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

/// `jog` on this data directory, with the root key of the tests' servers.
pub fn on(dir: &Path, args: &[&str]) -> Output {
    let dir = dir.to_str().expect("a path of ours is UTF-8");
    let vars = [
        ("JOG_DATA_DIR", dir),
        ("JOG_ACCESS_KEY", ACCESS_KEY),
        ("JOG_SECRET_KEY", SECRET_KEY),
        ("JOG_DURABILITY", "os"),
    ];
    run(args, &vars)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints UTF-8")
}

/// What `jog` prints, which must succeed.
#[track_caller]
pub fn ok(dir: &Path, args: &[&str]) -> String {
    let output = on(dir, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What `jog` complains about, which must end with this status.
#[track_caller]
pub fn fails(dir: &Path, args: &[&str], status: i32, word: &str) -> String {
    let output = on(dir, args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
    assert!(stderr.contains(word), "{args:?}: {word} in {stderr}");
    stderr
}

/// The fields of the line that begins with this word.
#[track_caller]
pub fn line<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let fields = |line: &'a str| line.split_whitespace().collect::<Vec<_>>();
    let found = text.lines().map(fields).find(|fields| fields.first() == Some(&first));
    found.unwrap_or_else(|| panic!("no {first} in {text}"))
}

#[test]
fn buckets_with_what_they_hold_with_and_without_a_server() {
    let server = Server::start();
    let (one, two) = (server.bucket("one"), server.bucket("two"));
    server.put(&format!("/{one}/a")).body("12345").send().expect(200);
    server.put(&format!("/{one}/b")).body("123").send().expect(200);
    let id = server.upload(&two, "k");
    server.part(&two, "k", &id, 1, b"1234567");
    let check = |text: &str| {
        assert_eq!(line(text, &one)[1..6], ["8", "2", "2", "0", "none"]);
        assert_eq!(line(text, &two)[1..6], ["0", "0", "0", "7", "none"]);
        assert_eq!(line(text, &two)[6].len(), 64);
    };
    let listed = ok(server.dir.path(), &["bucket", "list"]);
    check(&listed);
    assert_eq!(listed.lines().count(), 3);
    assert_eq!(ok(server.dir.path(), &["bucket", "list", &one]).lines().count(), 2);
    fails(server.dir.path(), &["bucket", "list", "no-such"], 1, "no-such");
    // The directory may be named by its option as well.
    let path = server.dir.path().to_str().expect("a path of ours is UTF-8").to_owned();
    check(&text(&run(&["bucket", "--data-dir", &path, "list"], &[]).stdout));
    let dir = server.stop();
    check(&ok(dir.path(), &["bucket", "list"]));
    check(&ok(dir.path(), &["bucket", "list"]));
    // The store was closed in order and serves again.
    let server = Server::on(Arc::clone(&dir), &[]);
    assert_eq!(server.get(&format!("/{one}/a")).send().expect(200).body, b"12345");
}

#[test]
fn a_quota_holds_at_once() {
    let server = Server::start();
    let bucket = server.bucket("quota");
    let dir = server.dir.path();
    let put = |key: &str| server.put(&format!("/{bucket}/{key}")).body([b'x'; 600]).send();
    put("a").expect(200);
    assert_eq!(ok(dir, &["bucket", "quota", &bucket]), "none\n");
    ok(dir, &["bucket", "quota", &bucket, "1KiB"]);
    assert_eq!(ok(dir, &["bucket", "quota", &bucket]), "1024\n");
    assert_eq!(line(&ok(dir, &["bucket", "list"]), &bucket)[5], "1024");
    put("b").expect_error(403, "QuotaExceeded");
    put("a").expect(200);
    ok(dir, &["bucket", "quota", &bucket, "2000"]);
    put("b").expect(200);
    let output = on(dir, &["bucket", "quota", &bucket, "1"]);
    assert!(output.status.success() && text(&output.stderr).contains("1200 bytes"));
    ok(dir, &["bucket", "quota", &bucket, "none"]);
    put("c").expect(200);
    fails(dir, &["bucket", "quota", &bucket, "lots"], 2, "lots");
    fails(dir, &["bucket", "quota", &bucket, "99999999TiB"], 2, "99999999TiB");
    fails(dir, &["bucket", "quota", "no-such", "1"], 1, "no-such");
    fails(dir, &["bucket", "quota"], 2, "Usage: jog bucket quota");
    fails(dir, &["bucket", "quota", "--nonsense"], 2, "--nonsense");
    fails(dir, &["bucket"], 2, "bucket list, bucket quota");
    fails(dir, &["bucket", "remove"], 2, "bucket list, bucket quota");
    let group = text(&on(dir, &["bucket", "--help"]).stdout);
    assert!(group.contains("bucket list [NAME]") && group.contains("bucket quota NAME"), "{group}");
    let help = on(dir, &["bucket", "quota", "--help"]);
    assert!(text(&help.stdout).contains("10GiB|none"));
}

#[test]
fn the_socket_is_private_and_goes_with_the_server() {
    let mut server = Server::start();
    let socket = server.dir.join("jog.sock");
    let meta = std::fs::symlink_metadata(&socket).expect("the server has made it");
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    // Those that say nothing, or talk for too long.
    let silent = UnixStream::connect(&socket).expect("the server listens");
    drop(silent);
    drop(UnixStream::connect(&socket).expect("the server listens"));
    let mut long = UnixStream::connect(&socket).expect("the server listens");
    let _ = long.write_all(&vec![b'x'; 1 << 20]);
    drop(long);
    let mut unknown = UnixStream::connect(&socket).expect("the server listens");
    unknown.write_all(b"[\"no such\",[],[]]\n").expect("the server reads");
    let mut answer = String::new();
    unknown.read_to_string(&mut answer).expect("the server answers");
    assert!(answer.contains("no such") && answer.ends_with("=2\n"), "{answer}");
    ok(server.dir.path(), &["bucket", "list"]);
    let name = server.bucket("logged");
    ok(server.dir.path(), &["bucket", "quota", &name, "1GiB"]);
    server.log_line("the command", |line| line.contains(&format!("bucket quota {name} 1GiB")));

    // What a killed server leaves is in nobody's way.
    server.kill();
    assert!(socket.exists());
    ok(server.dir.path(), &["bucket", "list"]);
    server.crash();
    ok(server.dir.path(), &["bucket", "list"]);
    let dir = server.stop();
    assert!(!socket.exists());

    // A server that starts meanwhile is waited for.
    let starts = std::thread::spawn({
        let dir = Arc::clone(&dir);
        move || Server::on(dir, &[])
    });
    for _ in 0..10 {
        ok(dir.path(), &["bucket", "list"]);
    }
    drop(starts.join().expect("it starts"));
}

#[test]
fn a_directory_without_a_store_stays_as_it_is() {
    let dir = Dir::new();
    fails(dir.path(), &["bucket", "list"], 1, "has no store");
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 0);
    // Nobody reads what a command prints: it ends all the same.
    let server = Server::start();
    let path = server.dir.path().to_str().expect("a path of ours is UTF-8");
    let mut child = jog(&["bucket", "list", "--data-dir", path], &[]).spawn().expect("jog starts");
    drop(child.stdout.take());
    child.wait().expect("it ends");
}
