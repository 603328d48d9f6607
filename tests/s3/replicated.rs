//! The WAL of metadata.db beside Litestream, whose frames nobody else may move away, and without it.
//! The clients' tests run the real Litestream; here its folder stands for it.

use crate::support::{Dir, Server, eventually};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

/// Frames in the WAL, and how many of them are in metadata.db (SQLite, "WAL-Index Header").
fn frames(dir: &Path) -> (u32, u32) {
    let index = std::fs::read(dir.join("metadata.db-shm")).expect("the server has made it");
    let number = |at: usize| {
        u32::from_ne_bytes(index[at..at + 4].try_into().expect("there are four of them"))
    };
    (number(16), number(96))
}

/// Writes until the WAL would have been moved several times.
fn write(server: &Server, bucket: &str) {
    let mut connection = server.connect();
    for n in 0..1500 {
        let request = server.put(&format!("/{bucket}/{n:05}")).body("x");
        connection.send(request).expect(200);
    }
}

#[test]
fn checkpoints_are_made_without_litestream_alone() {
    let server = Server::start();
    let bucket = server.bucket("b");
    write(&server, &bucket);
    eventually("a checkpoint", || {
        let (all, moved) = frames(server.dir.path());
        // Once all of it is moved, the next write lets the WAL start over.
        moved > 0 || all < 3000
    });
    let dir = server.stop();

    // Before the start, which has a WAL of its predecessor's.
    std::fs::create_dir(dir.join(".metadata.db-litestream")).expect("nothing is there");
    // A disk that is nearly full has the WAL cut off, whoever reads it.
    let server = Server::on(dir, &[("JOG_MIN_FREE", "1"), ("JOG_TRASH_FLOOR", "1")]);
    let bucket = server.bucket("c");
    let (before, moved) = frames(server.dir.path());
    write(&server, &bucket);
    let (all, moved_then) = frames(server.dir.path());
    assert!(all > before + 3000, "{all} frames are enough to tell");
    assert_eq!(moved_then, moved, "of {all}");
    server.stop();
}

/// The files of metadata.db.
fn database_files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("the server has made it").map(|entry| {
        let name = entry.expect("it can be read").file_name();
        name.into_string().expect("names of ours are UTF-8")
    });
    let mut names: Vec<_> = names.filter(|name| name.starts_with("metadata.db")).collect();
    names.sort();
    names
}

#[test]
fn an_end_in_order_leaves_no_wal() {
    let manager = Dir::new();
    let path = manager.join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("the name is free");
    // All threads that have the store until the process ends, and a request that does not end.
    let server = Server::with(&[
        ("NOTIFY_SOCKET", path.to_str().expect("a path of ours is UTF-8")),
        ("WATCHDOG_USEC", "20000"),
        ("JOG_SCRUB", "Sun 03:00"),
        ("JOG_WEBHOOK_ONE_URL", "http://127.0.0.1:9/"),
        ("JOG_SHUTDOWN_TIMEOUT", "1"),
    ]);
    let bucket = server.bucket("b");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    server.get(&format!("/{bucket}?list-type=2")).send().expect(200);
    let mut heard = [0; 64];
    while !heard.starts_with(b"WATCHDOG") {
        socket.recv(&mut heard).expect("something is said");
    }
    let mut upload = server.connect();
    let message = server.put(&format!("/{bucket}/cut-off")).body([0; 100_000]).message();
    upload.write(message.head());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        database_files(server.dir.path()),
        ["metadata.db", "metadata.db-shm", "metadata.db-wal"]
    );
    let dir = server.stop();
    assert_eq!(database_files(dir.path()), ["metadata.db"]);

    let server = Server::on(dir, &[]);
    server.get(&format!("/{bucket}/k")).send().expect(200);
    // What Litestream has not copied yet it finds when it comes back.
    std::fs::create_dir(server.dir.join(".metadata.db-litestream")).expect("nothing is there");
    server.put(&format!("/{bucket}/l")).body("x").send().expect(200);
    let dir = server.stop();
    let wal = std::fs::metadata(dir.join("metadata.db-wal")).expect("it stays").len();
    assert!(wal > 0);
    Server::on(dir, &[]).get(&format!("/{bucket}/l")).send().expect(200);
}
