//! One POST to a webhook: HTTP/1.1 over plain TCP, bounded in time and size. A connection serves
//! one request; redirections are not followed.

use crate::config::Webhook;
use crate::limits::{
    MAX_WEBHOOK_HEAD_BYTES, MAX_WEBHOOK_RETRY, WEBHOOK_CONNECT_TIMEOUT, WEBHOOK_RETRY,
    WEBHOOK_TIMEOUT,
};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Addresses of a host that are tried.
const ADDRESSES: usize = 3;

/// Why an event was not delivered.
#[derive(Debug)]
pub enum Failure {
    /// The target could not be reached, or the connection broke.
    Io(io::Error),
    /// What it answered is not HTTP.
    NotHttp,
    /// It answered with another status than 2xx.
    Status(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotHttp => f.write_str("its answer is not HTTP"),
            Self::Status(status) => write!(f, "it answered with status {status}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// How long to wait after so many failures in a row.
pub fn pause(failures: u32) -> Duration {
    let doubled = WEBHOOK_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(MAX_WEBHOOK_RETRY)
}

/// Sends a JSON document. `Ok`: the target answered with a status of 2xx.
pub fn post(webhook: &Webhook, body: &str) -> Result<(), Failure> {
    post_within(webhook, body, WEBHOOK_TIMEOUT)
}

fn post_within(webhook: &Webhook, body: &str, time: Duration) -> Result<(), Failure> {
    let stream = connect(webhook)?;
    let mut wire = Timed { stream, end: Instant::now() + time };
    let mut request = head(webhook, body.len());
    request.push_str(body);
    wire.send(request.as_bytes())?;
    match wire.status()? {
        200..=299 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

fn connect(webhook: &Webhook) -> io::Result<TcpStream> {
    let addresses = (webhook.host.as_str(), webhook.port).to_socket_addrs()?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses.take(ADDRESSES) {
        match TcpStream::connect_timeout(&address, WEBHOOK_CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn head(webhook: &Webhook, length: usize) -> String {
    let Webhook { host, port, path, token, .. } = webhook;
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: JOG\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n"
    );
    if let Some(token) = token {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// A connection that must be done with by a moment.
struct Timed {
    stream: TcpStream,
    end: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error)),
            }
        }
        Ok(())
    }

    /// The status of the answer; those before the final one (1xx) are passed.
    fn status(&mut self) -> Result<u16, Failure> {
        let mut bytes = Vec::new();
        loop {
            while let Some(end) = end_of_head(&bytes) {
                match parse_status(&bytes).ok_or(Failure::NotHttp)? {
                    100..=199 => drop(bytes.drain(..end)),
                    status => return Ok(status),
                }
            }
            if bytes.len() >= MAX_WEBHOOK_HEAD_BYTES {
                return Err(Failure::NotHttp);
            }
            self.stream.set_read_timeout(Some(self.left()?))?;
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed_out(error).into()),
            }
        }
    }
}

/// A time that is over is said so: the system calls it "would block".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Where the first head ends.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn parse_status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    let ends = rest.len() == 3 || rest.as_bytes()[3] == b' ';
    (version.starts_with("HTTP/1.") && ends && (100..=599).contains(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::{JoinHandle, spawn};

    /// A target that takes one request and gives this answer, then keeps the connection open as
    /// long as it is asked to.
    fn target(answer: &'static [u8], stay: Duration) -> (Webhook, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while !request.ends_with(b"}") {
                let n = stream.read(&mut chunk).unwrap();
                assert!(n > 0, "the request has no end");
                request.extend_from_slice(&chunk[..n]);
            }
            // Byte by byte: an answer may come in any pieces.
            for byte in answer {
                let _ = stream.write_all(&[*byte]);
            }
            std::thread::sleep(stay);
            String::from_utf8(request).unwrap()
        });
        (webhook(port), thread)
    }

    fn webhook(port: u16) -> Webhook {
        Webhook {
            name: "ONE".to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            path: "/events?x=1".to_owned(),
            token: Some("secret".to_owned()),
        }
    }

    fn outcome(answer: &'static [u8]) -> Result<(), String> {
        let (webhook, thread) = target(answer, Duration::ZERO);
        let result = post(&webhook, "{}").map_err(|e| e.to_string());
        thread.join().unwrap();
        result
    }

    #[test]
    fn the_request() {
        let (webhook, thread) = target(b"HTTP/1.1 204 No Content\r\n\r\n", Duration::ZERO);
        post(&webhook, "{\"a\":1}").unwrap();
        let request = thread.join().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "{\"a\":1}");
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(lines[0], "POST /events?x=1 HTTP/1.1");
        for line in [
            &format!("Host: 127.0.0.1:{}", webhook.port),
            "Content-Type: application/json",
            "Content-Length: 7",
            "Connection: close",
            "Authorization: Bearer secret",
        ] {
            assert!(lines.contains(&line), "{head}");
        }
        let without = Webhook { token: None, host: "::1".to_owned(), ..webhook };
        let head = super::head(&without, 0);
        assert!(!head.contains("Authorization") && head.contains("Host: [::1]:"), "{head}");
    }

    #[test]
    fn answers() {
        assert_eq!(outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Ok(()));
        assert_eq!(outcome(b"HTTP/1.0 202\r\n\r\n"), Ok(()));
        let continued = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nA: b\r\n\r\n";
        assert_eq!(outcome(continued), Ok(()));
        for (answer, expected) in [
            (&b"HTTP/1.1 500 Broken\r\n\r\n"[..], "status 500"),
            (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "status 301"),
            (b"HTTP/1.1 404\r\n\r\n", "status 404"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 \xC3\xA9\xC3\xA9 OK\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\n", "unexpected end"),
            (b"", "unexpected end"),
        ] {
            let error = outcome(answer).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let long: &'static [u8] = Box::leak(vec![b'a'; MAX_WEBHOOK_HEAD_BYTES + 1].into());
        let (webhook, thread) = target(long, Duration::from_millis(100));
        assert!(matches!(post(&webhook, "{}"), Err(Failure::NotHttp)));
        thread.join().unwrap();
    }

    #[test]
    fn a_target_that_is_silent_is_given_up() {
        let (webhook, thread) = target(b"HTTP/1.1 2", Duration::from_secs(1));
        let start = Instant::now();
        let result = post_within(&webhook, "{}", Duration::from_millis(200));
        let Err(Failure::Io(error)) = result else { panic!("{result:?}") };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_millis(900));
        thread.join().unwrap();
    }

    #[test]
    fn nobody_is_there() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let Err(Failure::Io(error)) = post(&webhook(port), "{}") else { panic!() };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn pauses_grow_and_end() {
        let seconds: Vec<u64> = (1..6).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16]);
        assert_eq!(pause(u32::MAX), MAX_WEBHOOK_RETRY);
        assert_eq!(pause(0), WEBHOOK_RETRY);
    }
}
