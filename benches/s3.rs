//! How fast JOG is here and now: `make bench`. Each line is one scenario over real connections to
//! the real binary, with a data directory in the system's temporary folder (`TMPDIR`): operations
//! a second, median latency, and processor time of the server for each operation.
//!
//! The client is that of the tests, and shares the machine with the server: compare lines of one
//! run, not runs of two machines.

#![allow(missing_docs, dead_code, unused_imports)]

#[path = "../tests/support/mod.rs"]
mod support;

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

fn main() {
    for durability in ["full", "os"] {
        println!("JOG_DURABILITY={durability}");
        let server = Server::with(&[("JOG_DURABILITY", durability)]);
        let bucket = server.bucket("bench");
        let (small, large) = (noise(1, 1024), noise(2, 1 << 20));
        let ok = |status: u16| assert_eq!(status, 200);
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
