//! The connection layer against raw sockets: what it accepts, refuses, bounds and survives.
//!
//! The handler here echoes; what S3 makes of a request is tested elsewhere.

mod bodies;
mod crowds;
mod ends;
mod refusals;
mod requests;
mod slow;

use jog::http::{
    Body, Bounds, Content, Handler, Method, Payload, Request, Response, Server, ServerConfig,
};
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

// ---- the server under test --------------------------------------------------------------

/// Answers by path; see `handle`.
#[derive(Default)]
struct Echo {
    ids: Mutex<HashSet<String>>,
}

impl Handler for Echo {
    fn handle(&self, request: &Request, body: &mut Body<'_>) -> Response {
        assert!(self.ids.lock().expect("no test panics with it").insert(request.id.clone()));
        let text = |text: String| Response::new(200).payload(Payload::Bytes(text.into_bytes()));
        let stream = |length, pieces: Vec<Vec<u8>>| {
            Response::new(200).payload(Payload::Stream(length, Box::new(Pieces(pieces))))
        };
        match request.path.as_str() {
            "/hello" => text("hello".to_owned()),
            "/echo" => echo(body),
            "/count" => match io::copy(body, &mut io::sink()) {
                Ok(count) => text(count.to_string()),
                Err(error) => failed(&error),
            },
            "/some" => match body.read_exact(&mut [0; 3]) {
                Ok(()) => text("some".to_owned()),
                Err(error) => failed(&error),
            },
            "/ignore" => Response::new(403).payload(Payload::Bytes(b"no".to_vec())),
            "/close" => Response { close: true, ..text("bye".to_owned()) },
            "/target" => {
                let host = request.headers.get("host").unwrap_or("-");
                text(format!("{:?} {} {} {host}", request.method, request.path, request.query))
            }
            "/peer" => text(request.peer.to_string()),
            "/meta" => {
                let name = request.headers.get("x-amz-meta-name").unwrap_or_default();
                Response::new(204).header("x-amz-meta-name", name).header("X-Split", "a\r\nb: c")
            }
            "/large" => stream(3_000_000, vec![vec![b'x'; 1_000_000]; 3]),
            "/pieces" => stream(10_000, vec![vec![b'x'; 100]; 100]),
            "/short" => stream(10_000, vec![vec![b'x'; 5_000]; 1]),
            "/early" => stream(10_000, vec![vec![b'x'; 5_000], Vec::new()]),
            "/long" => stream(4, vec![b"12345678".to_vec()]),
            "/length" => Response::new(200).payload(Payload::Length(1234)),
            "/not-modified" => Response::new(304).payload(Payload::Bytes(b"never sent".to_vec())),
            "/panic" => panic!("the panic that a test asked for"),
            "/panic-late" => stream(5, vec![b"panic".to_vec()]),
            "/slow" => {
                std::thread::sleep(Duration::from_millis(400));
                text("slow".to_owned())
            }
            _ => Response::new(404),
        }
    }

    fn refuse(&self, status: u16, reason: &str) -> Response {
        Response::new(status).payload(Payload::Bytes(reason.as_bytes().to_vec()))
    }
}

fn echo(body: &mut Body<'_>) -> Response {
    let mut bytes = Vec::new();
    match body.read_to_end(&mut bytes) {
        Ok(_) => Response::new(200).payload(Payload::Bytes(bytes)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> Response {
    Response::new(400).payload(Payload::Bytes(format!("{:?}", error.kind()).into_bytes()))
}

/// Writes the pieces; an empty one is an error, "panic" a panic.
struct Pieces(Vec<Vec<u8>>);

impl Content for Pieces {
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for piece in &self.0 {
            assert_ne!(piece, b"panic", "the panic that a test asked for");
            if piece.is_empty() {
                return Err(io::Error::other("the content broke"));
            }
            out.write_all(piece)?;
        }
        out.flush()
    }
}

fn bounds() -> Bounds {
    Bounds {
        head_timeout: Duration::from_millis(500),
        progress_timeout: Duration::from_millis(500),
        drain_timeout: Duration::from_millis(200),
        accept_retry: Duration::from_millis(20),
        ..Bounds::default()
    }
}

fn server_with(threads: usize, bounds: Bounds) -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig { address, threads, shutdown: Duration::from_secs(3) };
    Server::start_with(config, bounds, Arc::new(Echo::default())).expect("a free port")
}

fn server() -> Server {
    server_with(4, bounds())
}

// ---- a client that does only what it is told --------------------------------------------

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn closes(&self) -> bool {
        self.head.contains("\r\nConnection: close\r\n")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the handler sends text")
    }
}

impl Client {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        // A test must fail, not hang.
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it is not zero");
        Self { stream, buffer: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes it");
    }

    fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        self.answer()
    }

    fn put(&mut self, path: &str, body: &[u8]) -> Answer {
        let length = body.len();
        self.send(format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"));
        self.send(body);
        self.answer()
    }

    fn receive(&mut self) -> usize {
        let mut chunk = [0; 65536];
        let count = self.stream.read(&mut chunk).expect("the server answers or closes");
        self.buffer.extend_from_slice(&chunk[..count]);
        count
    }

    fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert_ne!(self.receive(), 0, "closed without a head: {:?}", self.buffer);
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is UTF-8");
        let status = head[9..12].parse().expect("a status");
        Answer { status, head, body: Vec::new() }
    }

    fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let field = answer.head.split("Content-Length: ").nth(1);
        let length = field.and_then(|f| f.split("\r\n").next()).map_or("0", |f| f);
        let length: usize = length.parse().expect("a length");
        while self.buffer.len() < length {
            assert_ne!(self.receive(), 0, "closed within the body of {}", answer.head);
        }
        answer.body = self.buffer.drain(..length).collect();
        answer
    }

    /// Nothing more comes, and the connection has been closed in an orderly way.
    fn assert_closed(&mut self) {
        assert_eq!(self.receive(), 0, "{:?}", String::from_utf8_lossy(&self.buffer));
        assert!(self.buffer.is_empty(), "{:?}", String::from_utf8_lossy(&self.buffer));
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// ---- a process of its own ---------------------------------------------------------------

/// Runs the calling test again in a process of its own, where `limits` is in force and no other
/// test uses descriptors, memory or threads. True in that process.
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

/// How often the server's threads have been switched to and from.
fn server_switches() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has it");
    let status = |task: io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("status")).ok()
    };
    tasks
        .filter_map(status)
        .filter(|status| status.starts_with("Name:\tjog-"))
        .flat_map(|status| {
            let lines = status.lines().filter(|l| l.contains("voluntary_ctxt_switches"));
            lines.filter_map(|l| l.rsplit('\t').next()?.parse::<u64>().ok()).collect::<Vec<_>>()
        })
        .sum()
}
