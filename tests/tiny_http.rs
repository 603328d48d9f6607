//! Why JOG does not stand on tiny_http, shown on its maintained continuation, tiny_http_fork
//! 0.12.17. Both defects lie in front of everything that its caller can see or set, so they can't
//! be held in a layer above it; tests/http.rs shows that our own connection layer has neither.
//!
//! If one of these tests fails after an update, that defect is mended upstream: once both are,
//! weigh tiny_http against src/http again (see issue 2 for what else it would have to hold), and
//! delete this file with the dependency if src/http stays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A tiny_http server that answers every request with "hello", and how many it has seen.
fn start() -> (SocketAddr, Arc<AtomicUsize>) {
    let server = tiny_http::Server::http("127.0.0.1:0").expect("a free port");
    let address = *server.server_addr().to_ip().expect("it listens on TCP");
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        loop {
            match server.recv() {
                Ok(Ok(request)) => {
                    seen.fetch_add(1, Ordering::SeqCst);
                    // The client of a test may have gone.
                    let _ = request.respond(tiny_http::Response::from_string("hello"));
                }
                // A caller that goes on whatever happens, as far as that is up to the caller.
                Ok(Err(_)) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    (address, requests)
}

/// True if the server answers a request on a new connection in time.
fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        std::io::Result::Ok(start == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// Runs the calling test again in a process of its own, where `limits` is in force. True in that
/// process.
fn in_own_process(test: &str, limits: &str) -> bool {
    const MARK: &str = "JOG_TEST_OWN_PROCESS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let this = std::env::current_exe().expect("a test has a file");
    let status = Command::new("sh")
        .args(["-c", &format!("{limits}; exec \"$0\" --exact {test} --nocapture")])
        .arg(this)
        .env(MARK, "1")
        .status()
        .expect("sh is there");
    assert!(status.success(), "{test} failed in its own process");
    false
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).expect("it has seven fields");
    pages.parse::<usize>().expect("a number") * 4
}

/// A header line is gathered in memory, however long it gets, before the caller hears of the
/// request: nothing in a layer above can bound it.
#[test]
fn tiny_http_gathers_a_header_line_of_any_length() {
    if !in_own_process("tiny_http_gathers_a_header_line_of_any_length", "true") {
        return;
    }
    const MIB: usize = 1 << 20;
    let (address, requests) = start();
    assert!(answers(address));
    let before = resident_kib();
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: ").expect("it reads");
    let line = vec![b'x'; MIB];
    let mut grown = 0;
    for _ in 0..64 {
        stream.write_all(&line).expect("tiny_http bounds its header lines now, see above");
        grown = resident_kib().saturating_sub(before);
        if grown > 32 * 1024 {
            break;
        }
    }
    assert!(grown > 32 * 1024, "tiny_http grew by {grown} KiB only, see above");
    assert_eq!(requests.load(Ordering::SeqCst), 1, "the caller has seen the endless request");
}

/// The first connection that comes when descriptors are short ends the accept loop for good, be it
/// by the error of the accept or by a panic of its thread, which wants a second descriptor for
/// every connection. The process stays up and never answers anybody again.
#[test]
fn tiny_http_stops_accepting_after_one_failure() {
    if !in_own_process("tiny_http_stops_accepting_after_one_failure", "ulimit -n 40") {
        return;
    }
    let (address, _) = start();
    assert!(answers(address));
    // Client and server take from the same forty descriptors, so both run out.
    let mut clients = Vec::new();
    while let Ok(stream) = TcpStream::connect(address) {
        clients.push(stream);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(clients.len() > 5);
    std::thread::sleep(Duration::from_millis(100));
    drop(clients);
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(100));
        assert!(!answers(address), "tiny_http survives a failed accept now, see above");
    }
}
