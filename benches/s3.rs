//! How fast JOG is here and now: `make bench`. Each line is one scenario over real connections to
//! the real binary, with a data directory in the system's temporary folder (`TMPDIR`): operations
//! a second, median latency, and processor time of the server for each operation.
//!
//! The client is that of the tests, and shares the machine with the server: compare lines of one
//! run, not runs of two machines.

#![allow(missing_docs, dead_code, unused_imports)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Connection, Server, at_once, noise};

/// How long each scenario is measured.
const SECONDS: u64 = 3;

/// Processor time of a process so far; `/proc/PID/stat` counts it in ticks of 10 ms.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    let fields: Vec<&str> =
        stat.rsplit(')').next().expect("the name is in brackets").split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<u64>().expect("a number");
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Runs `operation(client, count)` on so many connections at once, and prints a line.
fn measure(
    server: &Server,
    name: &str,
    clients: usize,
    operation: impl Fn(&mut Connection, usize, usize) + Sync,
) {
    let (cpu_before, start) = (cpu(server.pid()), Instant::now());
    let end = start + Duration::from_secs(SECONDS);
    let mut times: Vec<Duration> = at_once(clients, |client| {
        let mut connection = server.connect();
        let mut times = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            operation(&mut connection, client, times.len());
            times.push(start.elapsed());
        }
        times
    })
    .into_iter()
    .flatten()
    .collect();
    let wall = start.elapsed();
    let spent = cpu(server.pid()) - cpu_before;
    times.sort_unstable();
    println!(
        "{name:<22} c{clients:<3} {:>8.0} ops/s  p50 {:>7} us  server CPU {:>5.0} us/op",
        times.len() as f64 / wall.as_secs_f64(),
        times[times.len() / 2].as_micros(),
        spent.as_micros() as f64 / times.len() as f64,
    );
}

/// What the disk asks for one durable object without a server: a new file of 1 KiB with fdatasync,
/// then a SQLite commit into a WAL with synchronous=FULL. Beside the same number of clients this is
/// the floor of `put 1 KiB` in `full`.
fn measure_raw(dir: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).expect("a folder");
    let conn = rusqlite::Connection::open(dir.join("raw.db")).expect("a database");
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
         CREATE TABLE IF NOT EXISTS t (key TEXT PRIMARY KEY, etag TEXT) WITHOUT ROWID;",
    )
    .expect("a table");
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let (mut times, start) = (Vec::new(), Instant::now());
    while Instant::now() < end {
        let start = Instant::now();
        let name = format!("{:016x}", times.len());
        let mut file = std::fs::File::create_new(dir.join(&name)).expect("a new file");
        file.write_all(bytes).expect("room");
        file.sync_data().expect("a disk");
        let row = [name.as_str(), "d41d8cd98f00b204e9800998ecf8427e"];
        conn.prepare_cached("INSERT INTO t VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(row))
            .expect("a commit");
        times.push(start.elapsed());
    }
    let wall = start.elapsed();
    times.sort_unstable();
    println!(
        "{:<22} c1   {:>8.0} ops/s  p50 {:>7} us",
        "raw file and commit",
        times.len() as f64 / wall.as_secs_f64(),
        times[times.len() / 2].as_micros(),
    );
}

fn main() {
    for durability in ["full", "os"] {
        println!("JOG_DURABILITY={durability}");
        let server = Server::with(&[("JOG_DURABILITY", durability)]);
        let bucket = server.bucket("bench");
        let (small, large) = (noise(1, 1024), noise(2, 1 << 20));
        let ok = |status: u16| assert_eq!(status, 200);
        if durability == "full" {
            for round in 0..3 {
                measure_raw(&server.dir.join("raw"), &small);
                measure(&server, "put 1 KiB", 1, |connection, _, n| {
                    let key = format!("/{bucket}/raw/{round}/{n}");
                    ok(connection.send(server.put(&key).body(&small)).status);
                });
            }
        }
        for clients in [1, 16] {
            measure(&server, "put 1 KiB", clients, |connection, client, n| {
                let key = format!("/{bucket}/{clients}/{client}/{n}");
                ok(connection.send(server.put(&key).body(&small)).status);
            });
            measure(&server, "get 1 KiB", clients, |connection, client, _| {
                ok(connection.send(server.get(&format!("/{bucket}/{clients}/{client}/0"))).status);
            });
            measure(&server, "head", clients, |connection, client, _| {
                ok(connection.send(server.head(&format!("/{bucket}/{clients}/{client}/0"))).status);
            });
            measure(&server, "list 1000 keys", clients, |connection, _, _| {
                ok(connection
                    .send(server.get(&format!("/{bucket}")).query("list-type", "2"))
                    .status);
            });
        }
        measure(&server, "put 1 MiB", 4, |connection, client, n| {
            let key = format!("/{bucket}/large/{client}/{}", n % 8);
            ok(connection.send(server.put(&key).body(&large)).status);
        });
        measure(&server, "get 1 MiB", 4, |connection, client, _| {
            ok(connection.send(server.get(&format!("/{bucket}/large/{client}/0"))).status);
        });
    }
}
