//! The WAL of metadata.db beside Litestream, whose frames nobody else may move away. The clients'
//! tests run the real Litestream; here its folder stands for it.

use crate::support::{Server, eventually};
use std::path::Path;

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
