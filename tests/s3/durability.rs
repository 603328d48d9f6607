//! What was acknowledged is there after a crash, and nothing else is left on the disk.

use crate::support::sign::now;
use crate::support::{Connection, Dir, Server, eventually, md5_hex, noise};
use rusqlite::{Connection as Database, OpenFlags};
use rustix::process::Signal;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Numbers of the files that rows name: objects, parts and garbage.
fn named_files(dir: &Dir) -> usize {
    let path = dir.join("metadata.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Database::open_with_flags(path, flags).expect("it is a database");
    let sql = "SELECT count(*) FROM (SELECT blob FROM objects WHERE blob IS NOT NULL
                   UNION SELECT blob FROM parts WHERE blob IS NOT NULL
                   UNION SELECT blob FROM garbage WHERE blob IS NOT NULL)";
    let count: i64 = database.query_row(sql, [], |row| row.get(0)).expect("these tables");
    count as usize
}

/// No file without a row, no row without a file.
#[track_caller]
fn assert_tidy(server: &Server, bucket: &str) {
    let (files, rows) = (server.blobs(bucket).len(), named_files(&server.dir));
    assert_eq!(files, rows, "files under buckets/ and files that rows name");
}

// ---- kill -9 under load ------------------------------------------------------------------

/// What a key may hold: the body's seed, or nothing.
type Body = Option<u64>;

fn body(seed: u64) -> Vec<u8> {
    let size = match seed % 7 {
        0 => 0,
        1 => 300_000,
        n => n as usize * 1500,
    };
    noise(seed, size)
}

/// One client's view: what was acknowledged of its keys, and what was under way at the crash.
#[derive(Default)]
struct Client {
    acknowledged: HashMap<String, Body>,
    under_way: Option<(String, Body)>,
    count: u64,
}

impl Client {
    /// Writes and deletes until the server is gone. Gives the number of acknowledgements.
    fn run(&mut self, server: &Server, bucket: &str, number: usize) -> usize {
        let mut acknowledged = 0;
        let Ok(mut connection) = Connection::try_open(server.address) else { return 0 };
        loop {
            self.count += 1;
            let seed = self.count * 64 + number as u64;
            let key = format!("{number}/{}", seed * 2_654_435_761 % 23);
            let target = format!("/{bucket}/{key}");
            let (request, new) = match self.count % 5 {
                0 => (server.delete(&target), None),
                _ => (server.put(&target).body(body(seed)), Some(seed)),
            };
            self.under_way = Some((key, new));
            match connection.exchange(&request.message()) {
                Ok(answer) => {
                    answer.expect(if new.is_some() { 200 } else { 204 });
                    let (key, new) = self.under_way.take().expect("it was set above");
                    self.acknowledged.insert(key, new);
                    acknowledged += 1;
                }
                Err(_) => return acknowledged,
            }
        }
    }

    /// Compares with what the restarted server has. What was under way may have happened or not.
    fn verify(&mut self, server: &Server, bucket: &str) {
        let mut connection = server.connect();
        if let Some((key, new)) = self.under_way.take() {
            let before = self.acknowledged.get(&key).copied().flatten();
            let answer = connection.send(server.get(&format!("/{bucket}/{key}")));
            let now = match answer.status {
                404 => None,
                _ => [new, before].into_iter().flatten().find(|s| body(*s) == answer.body),
            };
            assert!(now.is_some() || answer.status == 404, "{key}: {}", answer.status);
            assert!([new, before].contains(&now), "{key} is {now:?}, not {new:?} or {before:?}");
            self.acknowledged.insert(key, now);
        }
        for (key, expected) in &self.acknowledged {
            let answer = connection.send(server.get(&format!("/{bucket}/{key}")));
            match expected {
                None => drop(answer.expect_error(404, "NoSuchKey")),
                Some(seed) => {
                    let answer = answer.expect(200);
                    assert_eq!(answer.etag(), md5_hex(&body(*seed)), "{key}");
                    assert!(answer.body == body(*seed), "{key}: the bytes differ");
                }
            }
        }
    }
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged() {
    const ROUNDS: usize = 5;
    let mut server = Server::with(&[("JOG_DURABILITY", "full")]);
    let bucket = server.bucket("load");
    let mut clients: Vec<Client> = (0..8).map(|_| Client::default()).collect();
    let mut total = 0;
    for round in 0..ROUNDS {
        let before = server.pid();
        total += std::thread::scope(|scope| {
            let (server, bucket) = (&server, &bucket);
            let running: Vec<_> = clients
                .iter_mut()
                .enumerate()
                .map(|(number, client)| scope.spawn(move || client.run(server, bucket, number)))
                .collect();
            std::thread::sleep(Duration::from_millis(300 + 70 * round as u64));
            server.signal(Signal::KILL);
            running.into_iter().map(|r| r.join().expect("a client fails")).sum::<usize>()
        });
        server.crash();
        assert_ne!(server.pid(), before);
        assert_tidy(&server, &bucket);
        std::thread::scope(|scope| {
            for client in &mut clients {
                let (server, bucket) = (&server, &bucket);
                scope.spawn(move || client.verify(server, bucket));
            }
        });
    }
    assert!(total > 100, "a test of nothing: {total} acknowledged");
    // A listing agrees with the clients.
    let mut expected: Vec<&String> = clients
        .iter()
        .flat_map(|c| &c.acknowledged)
        .filter(|(_, body)| body.is_some())
        .map(|(key, _)| key)
        .collect();
    expected.sort();
    let listed = server.get(&format!("/{bucket}?list-type=2")).send().expect(200).all("Key");
    assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn kill_9_keeps_a_multipart_upload_and_what_it_became() {
    let mut server = Server::start();
    let bucket = server.bucket("crash");
    let upload = server.upload(&bucket, "m");
    let bodies = [noise(1, 5 << 20), noise(2, 10)];
    let first = server.part(&bucket, "m", &upload, 1, &bodies[0]);
    server.crash();
    let second = server.part(&bucket, "m", &upload, 2, &bodies[1]);
    let complete = |server: &Server| {
        server.complete(&bucket, "m", &upload, &[(1, &first), (2, &second)]).send()
    };
    let etag = complete(&server).expect(200).text("ETag");
    server.crash();
    assert_eq!(server.get(&format!("/{bucket}/m")).send().expect(200).body, bodies.concat());
    assert_eq!(complete(&server).expect(200).text("ETag"), etag, "a retry after the crash");
    server.put(&format!("/{bucket}/new")).body("new").send().expect(200);
    server.crash();
    assert_eq!(server.get(&format!("/{bucket}/new")).send().expect(200).body, b"new");
    assert_tidy(&server, &bucket);
}

// ---- uploads that do not end -------------------------------------------------------------

/// Sends the head and half of the body, and waits until bytes are on the disk.
fn half(server: &Server, bucket: &str, target: &str, body: &[u8]) -> Connection {
    let files = server.blobs(bucket).len();
    let message = server.put(target).body(body).message();
    let mut connection = server.connect();
    connection.write(message.head());
    connection.write(&body[..body.len() / 2]);
    eventually("half of it is on the disk", || server.blobs(bucket).len() > files);
    connection
}

#[test]
fn kill_9_in_the_middle_of_an_upload() {
    let mut server = Server::start();
    let bucket = server.bucket("half");
    server.put(&format!("/{bucket}/kept")).body("kept").send().expect(200);
    server.put(&format!("/{bucket}/k")).body("old").send().expect(200);
    let upload = server.upload(&bucket, "m");
    let part = format!("/{bucket}/m?partNumber=1&uploadId={upload}");
    let large = noise(1, 2 << 20);
    let connections = [
        half(&server, &bucket, &format!("/{bucket}/k"), &large),
        half(&server, &bucket, &format!("/{bucket}/new"), &large),
        half(&server, &bucket, &part, &large),
    ];
    assert_eq!(server.blobs(&bucket).len(), 5);
    server.crash();
    drop(connections);
    assert_eq!(server.blobs(&bucket).len(), 2, "{:?}", server.blobs(&bucket));
    assert_tidy(&server, &bucket);
    assert_eq!(server.get(&format!("/{bucket}/k")).send().expect(200).body, b"old");
    assert_eq!(server.get(&format!("/{bucket}/kept")).send().expect(200).body, b"kept");
    server.get(&format!("/{bucket}/new")).send().expect_error(404, "NoSuchKey");
    let parts = server.get(&format!("/{bucket}/m?uploadId={upload}")).send().expect(200);
    assert!(parts.elements("Part").is_empty());
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let server = Server::start();
    let bucket = server.bucket("half");
    server.put(&format!("/{bucket}/k")).body("old").send().expect(200);
    drop(half(&server, &bucket, &format!("/{bucket}/k"), &noise(1, 2 << 20)));
    eventually("the file of the upload is gone", || server.blobs(&bucket).len() == 1);
    assert_eq!(server.get(&format!("/{bucket}/k")).send().expect(200).body, b"old");
    assert_tidy(&server, &bucket);
}

// ---- SIGTERM -----------------------------------------------------------------------------

#[test]
fn sigterm_finishes_requests_in_flight() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::with(&[("JOG_DURABILITY", "full")]);
        let bucket = server.bucket("term");
        let body = noise(1, 2 << 20);
        let mut connection = half(&server, &bucket, &format!("/{bucket}/k"), &body);
        // One that does nothing delays nobody.
        let mut idle = server.connect();
        idle.send(server.head(&format!("/{bucket}"))).expect(200);
        server.signal(signal);
        server.log_line("stopping", |line| line.contains("stopping"));
        eventually("no new connections", || match Connection::try_open(server.address) {
            Err(_) => true,
            Ok(mut new) => new.exchange(&server.get("/").message()).is_err(),
        });
        assert!(server.is_running());
        connection.write(&body[body.len() / 2..]);
        let answer = connection.response("PUT").expect("the request is finished").expect(200);
        assert_eq!(answer.etag(), md5_hex(&body));
        let start = Instant::now();
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // The WAL has been moved into metadata.db, which is complete by itself.
        let alone = Dir::new();
        let copy = std::fs::copy(server.dir.join("metadata.db"), alone.join("metadata.db"));
        copy.expect("a file of ours");
        assert_eq!(named_files(&alone), 1);

        let server = Server::on(Arc::clone(&server.dir), &[]);
        assert!(server.get(&format!("/{bucket}/k")).send().expect(200).body == body);
        assert_tidy(&server, &bucket);
    }
}

#[test]
fn sigterm_does_not_wait_for_ever() {
    let mut server = Server::with(&[("JOG_SHUTDOWN_TIMEOUT", "1s")]);
    let bucket = server.bucket("term");
    let _slow = half(&server, &bucket, &format!("/{bucket}/k"), &noise(1, 2 << 20));
    let start = now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(now() - start <= 4);
    let server = Server::on(Arc::clone(&server.dir), &[]);
    server.get(&format!("/{bucket}/k")).send().expect_error(404, "NoSuchKey");
    assert!(server.blobs(&bucket).is_empty());
}
