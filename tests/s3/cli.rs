//! The program as an operator meets it: commands, settings, the log, what it takes while it idles.

use crate::support::server::{jog, run};
use crate::support::sign::{ACCESS_KEY, SECRET_KEY};
use crate::support::{Connection, Dir, Request, Response, Server, at_once, noise};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints UTF-8")
}

/// Fails unless the program ended with this status and said one line that holds these words.
#[track_caller]
fn assert_one_line(output: &Output, code: i32, words: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
    assert!(output.stdout.is_empty());
}

// ---- commands ----------------------------------------------------------------------------

#[test]
fn commands() {
    let version = run(&["version"], &[]);
    assert!(version.status.success());
    assert_eq!(text(&version.stdout), format!("jog {}\n", env!("CARGO_PKG_VERSION")));
    let help = run(&["help"], &[]);
    assert!(help.status.success());
    for word in ["server", "healthcheck", "config", "version", "JOG_DATA_DIR", "--data-dir"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    assert!(text(&help.stdout).contains("JOG_WEBHOOK_NAME_URL"));
    assert_eq!(run(&["server", "--help"], &[]).status.code(), Some(0));
    let backup = run(&["help", "backup"], &[]);
    assert!(text(&backup.stdout).starts_with("Usage: jog backup DEST"));
    assert_eq!(backup.stdout, run(&["backup", "--help"], &[]).stdout);
    assert_one_line(&run(&["help", "nonsense"], &[]), 2, &["nonsense"]);
    assert_eq!(run(&[], &[]).status.code(), Some(2));
    assert_one_line(&run(&["nonsense"], &[]), 2, &["nonsense", "jog help"]);
}

#[test]
fn what_is_not_utf8_is_told() {
    let strange = OsStr::from_bytes(b"caf\xe9");
    let output = |command: &mut Command| command.output().expect("jog can be started");
    assert_one_line(&output(jog(&[], &[]).arg(strange)), 2, &["UTF-8"]);
    let named = output(jog(&["config"], &[]).env("JOG_REGION", strange));
    assert_one_line(&named, 2, &["JOG_REGION", "UTF-8"]);
    // What others have in the environment is theirs.
    let config = output(jog(&["config"], &[]).env("LANGUAGE", strange));
    assert!(config.status.success() && config.stderr.is_empty());
}

#[test]
fn what_cannot_be_printed_ends_the_command() {
    for args in [&["help"][..], &["config"], &["backup", "--help"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let output = jog(args, &[]).stdout(full).output().expect("jog can be started");
        assert_one_line(&output, 1, &["cannot print"]);
        // Nobody reads: not a word about it.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = jog(args, &[]).stdout(writer).output().expect("jog can be started");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = jog(&["nonsense"], &[]).stderr(writer).output().expect("jog can be started");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn wrong_settings_are_one_line() {
    for (name, value) in [
        ("JOG_PORT", "x"),
        ("JOG_PORT", "65536"),
        ("JOG_ADDRESS", "nowhere"),
        ("JOG_LOG_LEVEL", "loud"),
        ("JOG_LOG_FORMAT", "xml"),
        ("JOG_DURABILITY", "some"),
        ("JOG_THREADS", "0"),
        ("JOG_TRUST_PROXY", "maybe"),
        ("JOG_SIGV2", "2"),
        ("JOG_AUTH_FAILURES", "-1"),
        ("JOG_TRASH_RETENTION", "1w"),
        ("JOG_MIN_FREE", "much"),
        ("JOG_SHUTDOWN_TIMEOUT", "-1"),
        ("JOG_DOMAIN", "a/b"),
        ("JOG_REGION", "eu west"),
        ("JOG_WEBSITE_PORT", "9000"),
        ("JOG_ACCESS_KEY", "a"),
    ] {
        for command in ["server", "config", "healthcheck"] {
            let secret = ("JOG_SECRET_KEY", "12345678");
            let pair = if name == "JOG_ACCESS_KEY" {
                vec![(name, value), secret]
            } else {
                vec![(name, value)]
            };
            assert_one_line(&run(&[command], &pair), 2, &[name]);
        }
    }
    assert_one_line(&run(&["server", "--port", "x"], &[]), 2, &["--port=x"]);
    assert_one_line(&run(&["server", "--port"], &[]), 2, &["--port"]);
    assert_one_line(&run(&["server", "--nonsense", "1"], &[]), 2, &["--nonsense"]);
    let half = run(&["server"], &[("JOG_ACCESS_KEY", "abc")]);
    assert_one_line(&half, 2, &["JOG_SECRET_KEY"]);
    let short = run(&["server"], &[("JOG_ACCESS_KEY", "abc"), ("JOG_SECRET_KEY", "1234567")]);
    assert_one_line(&short, 2, &["JOG_SECRET_KEY"]);
    assert!(!text(&short.stderr).contains("1234567"), "a secret is never printed");
}

#[test]
fn the_flag_wins_and_secrets_are_masked() {
    let vars = [
        ("JOG_REGION", "from-env"),
        ("JOG_PORT", "1234"),
        ("JOG_ACCESS_KEY", "operator"),
        ("JOG_SECRET_KEY", "very-secret-key"),
    ];
    let config = run(&["config", "--region", "from-flag", "--threads=8"], &vars);
    assert!(config.status.success());
    let stdout = text(&config.stdout);
    let line = |name: &str| -> Vec<String> {
        let line = stdout.lines().find(|l| l.split_whitespace().next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {stdout}"));
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    assert_eq!(line("JOG_REGION"), ["from-flag", "flag"]);
    assert_eq!(line("JOG_THREADS"), ["8", "flag"]);
    assert_eq!(line("JOG_PORT"), ["1234", "environment"]);
    assert_eq!(line("JOG_DURABILITY"), ["full", "default"]);
    assert_eq!(line("JOG_ACCESS_KEY"), ["operator", "environment"]);
    assert_eq!(line("JOG_SECRET_KEY")[1], "environment");
    assert!(!stdout.contains("very-secret-key"));
    let unknown = run(&["config"], &[("JOG_PROT", "1")]);
    assert!(unknown.status.success());
    assert!(text(&unknown.stderr).contains("JOG_PROT"));
}

// ---- starts that fail --------------------------------------------------------------------

fn start(dir: &str, more: &[(&str, &str)]) -> Output {
    let mut vars = vec![
        ("JOG_DATA_DIR", dir),
        ("JOG_PORT", "0"),
        ("JOG_ADDRESS", "127.0.0.1"),
        ("JOG_ACCESS_KEY", ACCESS_KEY),
        ("JOG_SECRET_KEY", SECRET_KEY),
    ];
    vars.extend(more);
    run(&["server"], &vars)
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let dir = Dir::new();
    let path = dir.path().to_str().expect("a path of ours is UTF-8");
    assert_one_line(&start(path, &[("JOG_PORT", &port)]), 1, &[&port, "JOG_PORT"]);
}

#[test]
fn a_directory_that_is_in_use_or_none() {
    let server = Server::start();
    let bucket = server.bucket("cli");
    let path = server.dir.path().to_str().expect("a path of ours is UTF-8");
    assert_one_line(&start(path, &[]), 1, &[path]);
    server.put(&format!("/{bucket}/k")).body("still there").send().expect(200);

    let dir = Dir::new();
    let file = dir.join("file");
    std::fs::write(&file, "x").expect("a directory of ours");
    let file = file.to_str().expect("a path of ours is UTF-8");
    assert_one_line(&start(file, &[]), 1, &[file, "name a folder"]);
    assert_one_line(&start(&format!("{file}/sub"), &[]), 1, &[file, "name a folder"]);
    assert_one_line(&start("/proc/jog", &[]), 1, &["/proc/jog"]);
    assert_eq!(std::fs::read(file).expect("a file of ours"), b"x");
    // One that is not there is made, with those above it.
    let deep = dir.join("a/b/c");
    let deep = deep.to_str().expect("a path of ours is UTF-8");
    let server = Server::with(&[("JOG_DATA_DIR", deep)]);
    server.get("/").send().expect(200);
    assert!(dir.join("a/b/c/metadata.db").is_file());
}

#[test]
fn a_newer_schema_and_a_file_that_is_no_database() {
    let server = Server::start();
    server.bucket("cli");
    let dir = server.stop();
    let database = dir.join("metadata.db");
    let set = |version: i64| {
        let connection = rusqlite::Connection::open(&database).expect("a database of ours");
        connection.pragma_update(None, "user_version", version).expect("it can be written");
    };
    let version = |path: &std::path::Path| -> i64 {
        let connection = rusqlite::Connection::open(path).expect("a database of ours");
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a number")
    };
    let known = version(&database);
    assert!(known > 0);
    set(known + 1);
    let path = dir.path().to_str().expect("a path of ours is UTF-8");
    assert_one_line(&start(path, &[]), 1, &[path]);
    assert_eq!(version(&database), known + 1);
    set(known);
    let server = Server::on(Arc::clone(&dir), &[]);
    assert_eq!(server.get("/").send().expect(200).elements("Bucket").len(), 1);

    let dir = Dir::new();
    std::fs::write(dir.join("metadata.db"), noise(1, 10_000)).expect("a directory of ours");
    let path = dir.path().to_str().expect("a path of ours is UTF-8");
    assert_one_line(&start(path, &[]), 1, &[path, "from a backup"]);
}

#[test]
fn a_directory_of_somebody_else() {
    let dir = Dir::new();
    // Only root can give something away.
    if std::os::unix::fs::chown(dir.path(), Some(12345), None).is_err() {
        return;
    }
    let server = Server::on(dir, &[]);
    server.log_line("a warning", |line| line.contains("belongs to the user with ID 12345"));
    assert!(!Server::start().log().contains("belongs to"));
}

// ---- credentials -------------------------------------------------------------------------

#[test]
fn secret_files() {
    let dir = Dir::new();
    let file = |name: &str, content: &str| -> String {
        std::fs::write(dir.join(name), content).expect("a directory of ours");
        dir.join(name).to_str().expect("a path of ours is UTF-8").to_owned()
    };
    let access = file("access", &format!("{ACCESS_KEY}\n"));
    let secret = file("secret", &format!("  {SECRET_KEY}\n\n"));
    let server = Server::with(&[
        ("JOG_ACCESS_KEY", ""),
        ("JOG_SECRET_KEY", ""),
        ("JOG_ACCESS_KEY_FILE", &access),
        ("JOG_SECRET_KEY_FILE", &secret),
    ]);
    server.get("/").send().expect(200);
    let wrong = server.get("/").signer(|s| s.secret_key = "minioadmin".to_owned()).send();
    wrong.expect_error(403, "SignatureDoesNotMatch");
    // As systemd's LoadCredential gives it.
    let credentials = dir.path().to_str().expect("a path of ours is UTF-8");
    let vars = [
        ("JOG_ACCESS_KEY", "abc"),
        ("JOG_SECRET_KEY_FILE", "secret"),
        ("CREDENTIALS_DIRECTORY", credentials),
    ];
    assert!(run(&["config"], &vars).status.success());
    let vars = [("JOG_ACCESS_KEY", "abc"), ("JOG_SECRET_KEY_FILE", secret.as_str())];
    let shown = run(&["config"], &vars);
    assert!(shown.status.success());
    assert!(!text(&shown.stdout).contains("test/secret"));
    let gone = dir.join("gone");
    let gone = gone.to_str().expect("a path of ours is UTF-8");
    let vars = |path| [("JOG_ACCESS_KEY", "abc"), ("JOG_SECRET_KEY_FILE", path)];
    assert_one_line(&run(&["server"], &vars(gone)), 2, &["JOG_SECRET_KEY_FILE", gone]);
    let empty = file("empty", "\n");
    assert_one_line(&run(&["server"], &vars(&empty)), 2, &["JOG_SECRET_KEY_FILE", "empty"]);
    let both = [("JOG_SECRET_KEY", "12345678"), ("JOG_SECRET_KEY_FILE", secret.as_str())];
    assert_one_line(&run(&["server"], &both), 2, &["JOG_SECRET_KEY_FILE"]);
}

/// A server without the address, and perhaps without the credentials, that tests set.
fn as_it_comes(credentials: bool) -> Server {
    let mut vars = vec![("JOG_ADDRESS", ""), ("JOG_DURABILITY", "")];
    if !credentials {
        vars.extend([("JOG_ACCESS_KEY", ""), ("JOG_SECRET_KEY", "")]);
    }
    Server::with(&vars)
}

#[test]
fn without_credentials_only_this_host_is_served() {
    let server = as_it_comes(false);
    assert_eq!(server.address.ip().to_string(), "127.0.0.1");
    server.log_line("the warning", |line| line.contains("minioadmin"));
    let get = server.get("/").signer(|s| {
        s.access_key = "minioadmin".to_owned();
        s.secret_key = "minioadmin".to_owned();
    });
    get.send().expect(200);
    // Another address of this host, which a server on all addresses answers at.
    let other = |port| SocketAddr::from(([127, 0, 0, 2], port));
    assert!(Connection::try_open(other(server.address.port())).is_err());
    assert_one_line(&run(&["server"], &[("JOG_ADDRESS", "0.0.0.0")]), 2, &["JOG_ACCESS_KEY"]);

    let server = as_it_comes(true);
    assert!(server.address.ip().is_unspecified());
    let other = other(server.address.port());
    Request::new(other, "GET", "/").send().expect(200);
    assert!(!server.log().contains("minioadmin"));
}

// ---- health and the log ------------------------------------------------------------------

#[test]
fn healthcheck() {
    let mut server = Server::start();
    let port = server.address.port().to_string();
    let check = || run(&["healthcheck", "--port", &port], &[]);
    let healthy = check();
    assert_eq!(healthy.status.code(), Some(0), "{}", text(&healthy.stderr));
    let health = server.get("/_jog/health").anonymous().send().expect(200);
    assert!(health.xml().contains("\"live\":true") && health.xml().contains("\"ready\":true"));
    server.kill();
    assert_one_line(&check(), 1, &[&port]);
    // Another program, whatever it says.
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("it is bound").port().to_string();
    let answers = std::thread::spawn(move || {
        let (mut client, _) = other.accept().expect("somebody asks");
        let _ = client.read(&mut [0; 4096]);
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n<html>\n<b>\xff</b>\n").expect("it reads");
    });
    let output = run(&["healthcheck", "--port", &port], &[]);
    assert_one_line(&output, 1, &["is not jog", "JOG_PORT"]);
    answers.join().expect("it has answered");
    // Not ready: no room on the disk.
    let full = Server::with(&[("JOG_MIN_FREE", "1000TiB")]);
    let health = full.get("/_jog/health").anonymous().send().expect(503);
    assert!(health.xml().contains("\"live\":true") && health.xml().contains("\"ready\":false"));
    let port = full.address.port().to_string();
    assert_one_line(&run(&["healthcheck", "--port", &port], &[]), 1, &["disk is full"]);
}

#[test]
fn a_line_a_request() {
    let server = Server::start();
    let bucket = server.bucket("log");
    let put = server.object("PUT", &bucket, "a b\n/ü").body("12345").send().expect(200);
    let id = put.header("x-amz-request-id").expect("an id").to_owned();
    let line = server.log_line("the PUT", |line| line.contains(&id));
    let fields: Vec<&str> = line.split(' ').skip_while(|f| *f != "PUT").collect();
    let [method, operation, of, key, status, code, bytes, duration, requester, request, address] =
        fields[..]
    else {
        panic!("eleven fields: {line}");
    };
    assert_eq!((method, operation, of), ("PUT", "PutObject", bucket.as_str()));
    assert_eq!((key, status, code), ("a%20b%0A/%C3%BC", "200", "-"));
    assert_eq!((bytes, requester, request), ("0", ACCESS_KEY, id.as_str()));
    assert_eq!(address, "127.0.0.1");
    assert!(duration.parse::<u64>().is_ok_and(|us| us < 30_000_000), "{duration}");
    assert!(!line.contains("5994471abb01112afcc18159f6cc74b4"), "no hash, no signature");

    let get = server.object("GET", &bucket, "a b\n/ü").send().expect(200);
    let id = get.header("x-amz-request-id").expect("an id").to_owned();
    let line = server.log_line("the GET", |line| line.contains(&id));
    assert!(line.contains(" 200 - 5 "), "{line}");
    let gone = server.get(&format!("/{bucket}/gone")).anonymous().send().expect(403);
    let id = gone.header("x-amz-request-id").expect("an id").to_owned();
    let line = server.log_line("the refusal", |line| line.contains(&id));
    assert!(line.contains(&format!("GET GetObject {bucket} gone 403 AccessDenied ")), "{line}");
    assert!(line.contains(" - "), "nobody sent it: {line}");

    let quiet = Server::with(&[("JOG_LOG_LEVEL", "info")]);
    quiet.get("/").send().expect(200);
    assert!(!quiet.log().contains(SECRET_KEY));
    let secrets = Server::with(&[("JOG_LOG_LEVEL", "trace")]);
    secrets.bucket("log");
    secrets.get("/").signer(|s| s.secret_key = "another/secret".to_owned()).send().expect(403);
    assert!(!secrets.log().contains(SECRET_KEY));
}

/// A key that would break lines, objects and terminals.
const EVIL: &str = "a\"b\\c\nd\r\u{1b}[31m%00/\u{7f}\u{2028}ü{}\t";

#[test]
fn the_log_in_json_is_an_object_a_line() {
    let server = Server::with(&[("JOG_LOG_FORMAT", "json"), ("JOG_LOG_LEVEL", "debug")]);
    let bucket = server.bucket("log");
    let put = server.object("PUT", &bucket, EVIL).body("12345").send().expect(200);
    let get = server.object("GET", &bucket, EVIL).send().expect(200);
    let gone = server.get(&format!("/{bucket}/gone")).anonymous().send().expect(403);
    // A warning that names the key.
    let file = server.blobs(&bucket).pop().expect("it was put");
    std::fs::write(&file, "12346").expect("it can be written");
    server.object("GET", &bucket, EVIL).send().expect(500);
    server.log_line("the damage", |line| line.contains("CRC64NVME"));
    let line = |response: &Response, operation: &str| -> serde_json::Value {
        let id = response.header("x-amz-request-id").expect("an id").to_owned();
        let line = server.log_line(operation, |line| line.contains(&id));
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line}"))
    };
    let found = line(&put, "PUT");
    for (name, expected) in [
        ("level", "info"),
        ("target", "access"),
        ("method", "PUT"),
        ("operation", "PutObject"),
        ("bucket", &bucket),
        ("key", EVIL),
        ("requester", ACCESS_KEY),
        ("request_id", put.header("x-amz-request-id").expect("an id")),
    ] {
        assert_eq!(found[name], expected, "{found}");
    }
    assert_eq!((&found["status"], &found["bytes"]), (&200.into(), &0.into()));
    assert_eq!((&found["code"], &found["complete"]), (&serde_json::Value::Null, &true.into()));
    assert!(found["duration_us"].as_u64().is_some_and(|us| us < 30_000_000), "{found}");
    let time = found["time"].as_str().and_then(jog::types::time::parse_iso);
    assert!(time.is_some_and(|ms| (jog::types::time::now_ms() - ms).abs() < 60_000), "{found}");
    assert_eq!(line(&get, "GET")["bytes"], 5);
    let refused = line(&gone, "the refusal");
    assert_eq!((&refused["status"], &refused["code"]), (&403.into(), &"AccessDenied".into()));
    assert_eq!(refused["requester"], serde_json::Value::Null);
    for line in server.log().lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        assert!(value["time"].is_string() && value["level"].is_string(), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    // So does a start that fails.
    let path = server.dir.path().to_str().expect("a path of ours is UTF-8");
    let second = start(path, &[("JOG_LOG_FORMAT", "json")]);
    assert_eq!(second.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&second.stderr).expect("one object");
    assert!(value["message"].as_str().is_some_and(|m| m.contains(path)), "{value}");
    assert_eq!(value["level"], "error");
}

#[test]
fn no_key_breaks_a_line_of_the_log() {
    let server = Server::start();
    let bucket = server.bucket("log");
    server.object("PUT", &bucket, EVIL).body("12345").send().expect(200);
    let file = server.blobs(&bucket).pop().expect("it was put");
    std::fs::write(&file, "12346").expect("it can be written");
    server.object("GET", &bucket, EVIL).send().expect(500);
    let line = server.log_line("the damage", |line| line.contains("CRC64NVME"));
    assert!(line.contains("a%22b%5Cc%0Ad%0D%1B%5B31m%2500/"), "{line}");
    for line in server.log().lines() {
        assert!(line.starts_with("20") && !line.chars().any(char::is_control), "{line:?}");
    }
}

// ---- what it takes -----------------------------------------------------------------------

/// A number of a file of /proc/PID.
fn proc_number(pid: u32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("Linux has it");
    let line = text.lines().find(|l| l.starts_with(name)).expect("this line");
    let number = line.split_whitespace().nth(1).and_then(|n| n.parse().ok());
    number.expect("a number")
}

/// How often threads of a process have given up the CPU by themselves: woke up, in short.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("Linux has it");
    let ids = tasks.map_while(Result::ok).map(|task| task.file_name());
    let status = ids.map(|id| format!("task/{}/status", id.to_string_lossy()));
    status.map(|file| proc_number(pid, &file, "voluntary_ctxt_switches:")).sum()
}

#[test]
fn an_idle_server_sleeps() {
    let server = Server::with(&[("JOG_DURABILITY", "full")]);
    let bucket = server.bucket("idle");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    // An idle client does not wake it either.
    let mut idle = server.connect();
    idle.send(server.get(&format!("/{bucket}/k"))).expect(200);
    // What a write leaves to do is done within this time.
    std::thread::sleep(Duration::from_millis(2500));
    let count = || {
        let io = |name| proc_number(server.pid(), "io", name);
        (switches(server.pid()), io("write_bytes:"), io("syscw:"))
    };
    let before = count();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(count(), before, "switches, bytes and calls of writing");
    idle.send(server.get(&format!("/{bucket}/k"))).expect(200);
}

#[test]
fn memory_at_rest() {
    if cfg!(debug_assertions) {
        return;
    }
    let server = Server::start();
    let rss = proc_number(server.pid(), "status", "VmRSS:");
    assert!(rss <= 8 * 1024, "{rss} KiB after the start");
}

#[test]
fn memory_under_64_uploads() {
    if cfg!(debug_assertions) {
        return;
    }
    let server = Server::start();
    let bucket = server.bucket("memory");
    let body = noise(1, 8 << 20);
    let (body, middle) = (&body, Barrier::new(64));
    at_once(64, |number| {
        let put = server.put(&format!("/{bucket}/{number}")).payload_hash("UNSIGNED-PAYLOAD");
        let message = put.header("Content-Length", body.len().to_string()).message();
        let mut connection = server.connect();
        connection.write(message.head());
        for (number, piece) in body.chunks(1 << 20).enumerate() {
            if number == 4 {
                // All 64 are half done.
                middle.wait();
            }
            connection.write(piece);
        }
        connection.response("PUT").expect("an answer").expect(200);
    });
    let peak = proc_number(server.pid(), "status", "VmHWM:");
    assert!(peak <= 96 * 1024, "{peak} KiB at most");
}

#[test]
fn it_starts_at_once() {
    if cfg!(debug_assertions) {
        return;
    }
    let dir = Server::start().stop();
    let start = Instant::now();
    let server = Server::on(dir, &[]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    server.get("/").send().expect(200);
    // A pipe of its log that nobody reads does not stop it.
    let mut deaf = jog(&["version"], &[]).spawn().expect("jog can be started");
    drop((deaf.stdout.take(), deaf.stderr.take()));
    deaf.wait().expect("it ends");
}
