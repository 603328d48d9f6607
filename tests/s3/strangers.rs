//! What those can hold who have not said who they are: neither threads nor memory beyond a bound.

use crate::support::Server;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Connections that have sent this and then say nothing more.
fn stalled(server: &Server, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(server.address).expect("the server listens");
        // A server that turns it away may have closed it already.
        let _ = stream.write_all(bytes);
        stream
    };
    (0..count).map(open).collect()
}

/// Resident memory of the server, in MiB.
fn resident_mib(server: &Server) -> usize {
    let path = format!("/proc/{}/statm", server.pid());
    let statm = std::fs::read_to_string(path).expect("it runs");
    statm.split(' ').nth(1).expect("it has seven fields").parse::<usize>().expect("pages") / 256
}

fn begun(method: &str, target: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n{fields}\r\n{body}")
        .into_bytes()
}

#[test]
fn bodies_of_strangers_leave_threads_for_others() {
    let server = Server::with(&[("JOG_THREADS", "8")]);
    let bucket = server.bucket("strangers");
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    for bytes in [
        begun("POST", &format!("/{bucket}"), form, "--x\r\n"),
        begun("POST", "/no-such-bucket", form, "--x\r\n"),
        begun("POST", &format!("/{bucket}?delete"), "", "<Delete>"),
        begun("PUT", &format!("/{bucket}/k?tagging"), "", "<Tagging>"),
        begun("PUT", &format!("/{bucket}/k?retention"), "", "<Retention>"),
        begun("PUT", &format!("/{bucket}/k?legal-hold"), "", "<LegalHold>"),
    ] {
        let mut held = stalled(&server, 40, &bytes);
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        for _ in 0..5 {
            server.get(&format!("/{bucket}")).send().expect(200);
        }
        let elapsed = start.elapsed();
        assert!(elapsed < Duration::from_secs(1), "{elapsed:?} with {}", bytes.escape_ascii());
        // One more of them is told so. On a busy machine all threads may have been busy for a moment,
        // and those that held some for nothing have been cut off: then others come.
        comes_to(&server, &bucket, 503, || held.extend(stalled(&server, 4, &bytes)));
    }
    // They are gone, and so are the places that they held.
    comes_to(&server, &bucket, 400, || ());
}

/// Waits until a stranger's document is answered so: on a busy machine the server gets to know late
/// who has come and gone.
fn comes_to(server: &Server, bucket: &str, status: u16, mut meanwhile: impl FnMut()) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = server.post(&format!("/{bucket}?delete")).anonymous().body("<D/>").send();
        if answer.status == status || Instant::now() > end {
            let code = if status == 503 { "SlowDown" } else { "MalformedXML" };
            answer.expect_error(status, code);
            return;
        }
        meanwhile();
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn documents_take_bounded_memory() {
    let server = Server::start();
    let bucket = server.bucket("documents");
    server.object("PUT", &bucket, "k").body("x").send().expect(200);
    // Not even read where it is not decided yet whether it may be sent.
    let large = format!("<Tagging>{}", " ".repeat(100_000));
    let tags = server.put(&format!("/{bucket}/k?tagging")).body(&large);
    tags.send().expect_error(400, "MaxMessageLengthExceeded");
    // 100 documents of 2 MiB.
    let before = resident_mib(&server);
    let head = format!(
        "POST /{bucket}?delete HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n{}",
        " ".repeat(1_990_000)
    );
    let held = stalled(&server, 100, head.as_bytes());
    std::thread::sleep(Duration::from_millis(300));
    let grown = resident_mib(&server).saturating_sub(before);
    assert!(grown < 64, "grew by {grown} MiB");
    // Small documents find room again as soon as the large ones are gone.
    drop(held);
    std::thread::sleep(Duration::from_millis(300));
    let body = "<Delete><Object><Key>k</Key></Object></Delete>";
    server.post(&format!("/{bucket}?delete")).body(body).send().expect(200);
}

/// Those who have not signed and stall keep no room from those who have.
#[test]
fn documents_of_strangers_leave_room_for_others() {
    let server = Server::start();
    let bucket = server.bucket("documents");
    let head =
        format!("POST /{bucket}?delete HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n");
    let mut held = Vec::new();
    // The small ones fill the room that the large ones leave.
    for bytes in [1_990_000, 100_000, 10_000, 1000] {
        let begun = format!("{head}{}", " ".repeat(bytes));
        held.extend(stalled(&server, 20, begun.as_bytes()));
        std::thread::sleep(Duration::from_millis(200));
    }
    let body = format!("<Delete><Object><Key>k</Key></Object></Delete>{}", " ".repeat(2000));
    server.post(&format!("/{bucket}?delete")).body(body).send().expect(200);
}
