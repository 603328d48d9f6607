//! The connection layer against raw sockets: what it accepts, refuses, bounds and survives.
//!
//! The handler here echoes; what S3 makes of a request is tested elsewhere.

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

// ---- the server under test ---------------------------------------------------------------

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

// ---- requests and responses --------------------------------------------------------------

#[test]
fn keeps_the_connection_for_the_next_request() {
    let server = server();
    let mut client = Client::connect(&server);
    for pause in [0, 5, 60, 0] {
        std::thread::sleep(Duration::from_millis(pause));
        let answer = client.get("/hello");
        assert_eq!((answer.status, answer.text()), (200, "hello"));
        assert!(!answer.head.contains("Connection:"), "{}", answer.head);
        assert!(answer.head.contains(" GMT\r\n"), "{}", answer.head);
        assert_eq!(client.put("/echo", b"body").text(), "body");
    }
    assert_eq!(server.stats().connections.load(Ordering::Relaxed), 1);
    drop(client);
    let stats = server.stats();
    eventually("it is closed", || stats.connections.load(Ordering::Relaxed) == 0);
}

#[test]
fn old_clients_keep_the_connection_only_if_they_say_so() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer().head.contains("\r\nConnection: keep-alive\r\n"));
    client.send("GET /hello HTTP/1.0\r\n\r\n");
    assert!(client.answer().closes());
    client.assert_closed();
}

#[test]
fn closes_when_either_side_says_so() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send("GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(client.answer().closes());
    client.assert_closed();
    let mut client = Client::connect(&server);
    assert!(client.get("/close").closes());
    client.assert_closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = server();
    let mut client = Client::connect(&server);
    let mut requests = String::new();
    for n in 0..50 {
        let body = format!("{n}");
        let length = body.len();
        requests += &format!(
            "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}\r\n\
             PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
             {length}\r\n{body}\r\n0\r\n\r\n"
        );
    }
    client.send(requests);
    for n in 0..50 {
        assert_eq!(client.answer().text(), n.to_string());
        assert_eq!(client.answer().text(), n.to_string());
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = server();
    let mut client = Client::connect(&server);
    let request = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx: y\r\n\r\n";
    client.stream.set_nodelay(true).expect("TCP has it");
    for byte in request.bytes() {
        client.send([byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.answer().text(), "hello world");
}

#[test]
fn targets_and_values_arrive_as_they_were_sent() {
    let server = server();
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/target?a=%20&b").text(), "Get /target a=%20&b h");
    assert_eq!(client.get("/target?\u{e4}").text(), "Get /target \u{e4} h");
    client.send("GET http://other:80/target HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().text(), "Get /target  other:80");
    client.send("GET /meta HTTP/1.1\r\nHost: h\r\nX-Amz-Meta-Name: J\u{f6}rg \u{65e5}\r\n\r\n");
    let answer = client.answer();
    assert!(answer.head.contains("\r\nx-amz-meta-name: J\u{f6}rg \u{65e5}\r\n"));
    assert!(answer.head.contains("\r\nX-Split: a  b: c\r\n"), "{}", answer.head);
}

#[test]
fn responses_without_a_body() {
    let server = server();
    let mut client = Client::connect(&server);
    for (path, length) in [("/hello", "5"), ("/large", "3000000"), ("/length", "1234")] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = client.head().head;
        assert!(head.contains(&format!("\r\nContent-Length: {length}\r\n")), "{head}");
    }
    for (path, status) in [("/not-modified", 304), ("/meta", 204)] {
        let answer = client.get(path);
        assert_eq!(answer.status, status);
        assert!(!answer.head.contains("Content-Length"), "{}", answer.head);
    }
    assert_eq!(client.get("/hello").text(), "hello");
}

#[test]
fn streamed_bodies() {
    let server = server();
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/large").body, vec![b'x'; 3_000_000]);
    assert_eq!(client.get("/pieces").body, vec![b'x'; 10_000]);
}

#[test]
fn a_body_that_is_not_as_promised_ends_the_connection() {
    let server = server();
    for path in ["/short", "/early", "/length", "/panic-late"] {
        let mut client = Client::connect(&server);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        while client.receive() > 0 {}
        let text = String::from_utf8_lossy(&client.buffer);
        assert!(!text.contains("\r\n\r\n") || client.buffer.len() < 6_000, "{path}: {text}");
    }
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/long").text(), "1234");
    client.assert_closed();
}

#[test]
fn a_panic_is_an_internal_error_and_no_more() {
    let server = server_with(1, bounds());
    for _ in 0..3 {
        let mut client = Client::connect(&server);
        let answer = client.put("/panic", &[0; 1000]);
        assert_eq!(answer.status, 500);
        assert!(answer.closes());
        client.assert_closed();
    }
    assert_eq!(Client::connect(&server).get("/hello").status, 200);
}

// ---- bodies ------------------------------------------------------------------------------

#[test]
fn a_body_ends_where_its_framing_says() {
    let server = server();
    let mut client = Client::connect(&server);
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(client.put("/echo", &body).body, body);
    assert_eq!(client.put("/echo", b"").body, b"");
    client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(70_001) {
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().body, body);
}

#[test]
fn a_broken_body_is_an_error_and_the_end() {
    let server = server();
    let chunked = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bad in ["zz\r\n", "5\r\nhello!\r\n", "5\nhello\n", "11111111111111111\r\n"] {
        let mut client = Client::connect(&server);
        client.send(format!("{chunked}{bad}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (400, "InvalidData"), "{bad:?}");
        assert!(answer.closes());
        client.assert_closed();
    }
    for early in ["5\r\nhel", "5\r\nhello\r\n", "0\r\n"] {
        let mut client = Client::connect(&server);
        client.send(format!("{chunked}{early}"));
        client.stream.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(client.answer().text(), "UnexpectedEof", "{early:?}");
        client.assert_closed();
    }
    let mut client = Client::connect(&server);
    client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello");
    client.stream.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(client.answer().text(), "UnexpectedEof");
    client.assert_closed();
}

#[test]
fn a_client_without_progress_is_given_up() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    // Slow is all right.
    for byte in b"1234" {
        std::thread::sleep(Duration::from_millis(200));
        client.send([*byte]);
    }
    let answer = client.answer();
    assert_eq!(answer.text(), "TimedOut");
    client.assert_closed();
}

#[test]
fn a_reader_without_progress_is_given_up() {
    let server = server_with(1, bounds());
    let mut stuck = Client::connect(&server);
    // Far more than the socket buffers take.
    for _ in 0..20 {
        stuck.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/hello").text(), "hello");
}

#[test]
fn continue_is_sent_when_the_body_is_read() {
    let server = server();
    let mut client = Client::connect(&server);
    let head = "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for _ in 0..2 {
        client.send(head);
        assert_eq!(client.answer().head, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hello");
        assert_eq!(client.answer().text(), "hello");
    }
    // The client did not wait.
    client.send(format!("{head}hello"));
    assert_eq!(client.answer().text(), "hello");
    // There is nothing to wait for.
    client
        .send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.closes()), (200, false));
}

#[test]
fn a_refused_upload_is_not_invited_and_closes() {
    let server = server();
    let mut client = Client::connect(&server);
    client.send(
        "PUT /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.status, 403);
    assert!(answer.closes());
    // What the client sends all the same is never taken for a request.
    client.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    client.assert_closed();
    assert_eq!(Client::connect(&server).get("/hello").status, 200);
}

#[test]
fn a_small_unread_body_is_dropped_and_the_connection_goes_on() {
    let server = server();
    let mut client = Client::connect(&server);
    for path in ["/ignore", "/some"] {
        let answer = client.put(path, &[b'x'; 100_000]);
        assert!(!answer.closes(), "{}", answer.head);
        client.send(format!(
            "PUT {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n64\r\n{}\r\n0\r\n\r\n",
            "x".repeat(100)
        ));
        let answer = client.answer();
        assert!(!answer.closes(), "{}", answer.head);
    }
    assert_eq!(client.get("/hello").text(), "hello");
}

#[test]
fn a_large_or_slow_unread_body_closes_the_connection_after_the_response() {
    let server = server();
    let mut client = Client::connect(&server);
    let body = vec![b'x'; 4_000_000];
    let answer = client.put("/ignore", &body);
    assert_eq!((answer.status, answer.text()), (403, "no"));
    assert!(answer.closes());
    client.assert_closed();

    let mut client = Client::connect(&server);
    client.send("PUT /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nslow");
    let start = Instant::now();
    let answer = client.answer();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(answer.closes());
    client.send("late");
    client.assert_closed();

    // Chunked: the size is known only when it is over.
    let mut client = Client::connect(&server);
    client.send("PUT /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3d0900\r\n");
    client.send(&body);
    assert!(client.answer().closes());
    client.assert_closed();
}

// ---- what is refused ---------------------------------------------------------------------

#[test]
fn malformed_heads_are_refused_and_close() {
    let server = server();
    let put = |fields: &str| format!("PUT /echo HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let mut cases = vec![
        "GET /hello HTTP/1.1\nHost: h\n\n".to_owned(),
        "GET /hello HTTP/1.1\r\nHost: h\n\r\n".to_owned(),
        "GET /hello HTTP/1.1\rHost: h\r\r".to_owned(),
        "GET /hello HTTP/1.1\r\n\r\n".to_owned(),
        "GET /hello\r\n\r\n".to_owned(),
        "GET hello HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /hello HTTP/x\r\nHost: h\r\n\r\n".to_owned(),
        "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n".to_owned(),
    ];
    cases.extend(
        [
            "Host: h\r\n",
            "Name : v\r\n",
            "A: b\r\n folded\r\n",
            "A: b\0c\r\n",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: -4\r\n",
            "Content-Length: 4a\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
        ]
        .map(put),
    );
    for case in cases {
        let mut client = Client::connect(&server);
        client.send(&case);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{case:?}");
        assert!(answer.closes(), "{case:?}");
        client.assert_closed();
    }
    let mut client = Client::connect(&server);
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\nA: \xff\r\n\r\n");
    assert_eq!(client.answer().status, 400);
}

#[test]
fn other_refusals_have_their_own_status() {
    let server = server();
    for (request, status) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        ("PUT / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n".to_owned(), 417),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(200)), 431),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "b".repeat(70_000)), 431),
        (format!("GET /{} HTTP/1.1\r\n", "b".repeat(70_000)), 431),
    ] {
        let mut client = Client::connect(&server);
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{:.60}", request);
        assert!(answer.closes());
        client.assert_closed();
    }
    // As large as it may be.
    let mut client = Client::connect(&server);
    client.send(format!("GET /hello HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "b".repeat(65_000)));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_head_that_trickles_is_late() {
    let server = server_with(1, bounds());
    for size in [0, 10_000] {
        let mut client = Client::connect(&server);
        client.send(format!("GET /hello HTTP/1.1\r\nA: {}", "x".repeat(size)));
        let start = Instant::now();
        let mut sender = client.stream.try_clone().expect("a free descriptor");
        let trickle = std::thread::spawn(move || {
            // Ends with an error when the connection does.
            while sender.write_all(b"x").is_ok() && start.elapsed() < Duration::from_secs(3) {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        assert_eq!(client.answer().status, 408);
        let elapsed = start.elapsed();
        assert!(elapsed > Duration::from_millis(400), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(1500), "{elapsed:?}");
        drop(client);
        trickle.join().expect("it does not panic");
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let idle_timeout = Duration::from_millis(200);
    let server = server_with(1, Bounds { idle_timeout, ..bounds() });
    let mut fresh = Client::connect(&server);
    let mut used = Client::connect(&server);
    assert_eq!(used.get("/hello").status, 200);
    let start = Instant::now();
    fresh.assert_closed();
    used.assert_closed();
    assert!(start.elapsed() < Duration::from_secs(2));
}

// ---- many clients ------------------------------------------------------------------------

#[test]
fn beyond_threads_and_queue_clients_are_told_to_slow_down() {
    let server = server_with(2, Bounds { queued_connections: 3, ..bounds() });
    let stats = server.stats();
    let begin = "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n";
    let mut clients: Vec<Client> = (0..5)
        .map(|_| {
            let mut client = Client::connect(&server);
            client.send(begin);
            client
        })
        .collect();
    let full =
        || stats.busy.load(Ordering::Relaxed) == 2 && stats.queued.load(Ordering::Relaxed) == 3;
    eventually("two are served and three wait", full);
    for n in 1..20 {
        let mut client = Client::connect(&server);
        client.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.closes()), (503, true));
        client.assert_closed();
        assert_eq!(stats.refused.load(Ordering::Relaxed), n);
    }
    for client in &mut clients {
        client.send([b'x'; 100]);
        assert_eq!(client.answer().text(), "100");
    }
    assert_eq!(Client::connect(&server).get("/hello").status, 200);
}

#[test]
fn beyond_the_limit_of_connections_clients_are_told_to_slow_down() {
    let server = server_with(2, Bounds { max_connections: 10, ..bounds() });
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(&server)).collect();
    for _ in 0..3 {
        let mut client = Client::connect(&server);
        client.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.answer().status, 503);
        client.assert_closed();
    }
    assert_eq!(clients[9].get("/hello").status, 200);
    clients.clear();
    let stats = server.stats();
    eventually("all are closed", || stats.connections.load(Ordering::Relaxed) == 0);
    assert_eq!(Client::connect(&server).get("/hello").status, 200);
}

#[test]
fn uploads_that_trickle_leave_threads_for_others() {
    let server = server_with(16, bounds());
    let mut slow: Vec<Client> = (0..12).map(|_| Client::connect(&server)).collect();
    for client in &mut slow {
        client.send("PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    }
    for _ in 0..10 {
        for client in &mut slow {
            client.send("x");
        }
        let start = Instant::now();
        let mut others: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
        for client in &mut others {
            assert_eq!(client.get("/hello").status, 200);
        }
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    for client in &mut slow {
        assert_eq!(client.answer().text(), "10");
    }
}

#[test]
fn more_busy_clients_than_threads_are_all_served() {
    let server = server_with(2, bounds());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = Client::connect(&server);
                for _ in 0..200 {
                    assert_eq!(client.get("/hello").status, 200);
                }
            });
        }
    });
}

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

#[test]
fn idle_connections_hold_no_thread_and_cause_no_wake_ups() {
    let limits = "ulimit -n 4096";
    if !in_own_process("idle_connections_hold_no_thread_and_cause_no_wake_ups", limits) {
        return;
    }
    let server = server_with(4, bounds());
    let stats = server.stats();
    let before = resident_kib();
    let mut clients: Vec<Client> = (0..600).map(|_| Client::connect(&server)).collect();
    // Half of them have been used.
    for client in &mut clients[..300] {
        assert_eq!(client.get("/hello").status, 200);
    }
    let idle = || stats.busy.load(Ordering::SeqCst) + stats.queued.load(Ordering::SeqCst) == 0;
    eventually("all are parked", idle);
    assert_eq!(stats.connections.load(Ordering::SeqCst), 600);
    let switches = server_switches();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(server_switches(), switches);
    let grown = resident_kib() - before;
    assert!(grown < 4 * 1024, "600 idle connections take {grown} KiB");
    for client in clients.iter_mut().step_by(7) {
        assert_eq!(client.get("/hello").status, 200);
    }
    drop(clients);
    eventually("all are closed", || stats.connections.load(Ordering::SeqCst) == 0);
}

#[test]
fn memory_does_not_follow_what_clients_announce() {
    if !in_own_process("memory_does_not_follow_what_clients_announce", "true") {
        return;
    }
    let server = server();
    let before = resident_kib();
    for path in ["/ignore", "/count", "/echo", "/some"] {
        let mut client = Client::connect(&server);
        client.send(format!(
            "PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000000000000000\r\n\r\nbody"
        ));
        assert!(client.answer().closes());
        let mut client = Client::connect(&server);
        client.send(format!(
            "PUT {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
             7fffffffffffffff\r\nbody"
        ));
        assert!(client.answer().closes());
    }
    // A header line without end.
    let mut client = Client::connect(&server);
    client.send("GET / HTTP/1.1\r\nA: ");
    let line = vec![b'x'; 1 << 20];
    let sent = (0..64).take_while(|_| client.stream.write_all(&line).is_ok()).count();
    assert!(sent < 64, "the server went on reading");
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "grew by {grown} KiB");
    assert_eq!(Client::connect(&server).get("/hello").status, 200);
}

#[test]
fn accepting_goes_on_after_the_descriptors_ran_out() {
    let limits = "ulimit -n 40";
    if !in_own_process("accepting_goes_on_after_the_descriptors_ran_out", limits) {
        return;
    }
    let server = server();
    for _ in 0..3 {
        // Client and server take from the same forty, so both run out.
        let mut clients = Vec::new();
        while let Ok(stream) = TcpStream::connect(server.address()) {
            clients.push(stream);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(clients.len() > 10);
        std::thread::sleep(Duration::from_millis(100));
        clients.truncate(3);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(Client::connect(&server).get("/hello").status, 200);
    }
}

// ---- the end -----------------------------------------------------------------------------

#[test]
fn shutdown_lets_requests_end_and_closes_the_rest() {
    let server = server();
    let address = server.address();
    let mut parked = Client::connect(&server);
    assert_eq!(parked.get("/hello").status, 200);
    let mut begun = Client::connect(&server);
    begun.send("GET /hel");
    let mut busy = Client::connect(&server);
    busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    let ended = std::thread::spawn(move || server.shutdown());
    parked.assert_closed();
    begun.assert_closed();
    assert!(start.elapsed() < Duration::from_millis(250), "idle ones don't wait for busy ones");
    let answer = busy.answer();
    assert_eq!((answer.text(), answer.closes()), ("slow", true));
    busy.assert_closed();
    drop(busy);
    assert!(ended.join().expect("it does not panic"));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn shutdown_is_bounded() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig { address, threads: 2, shutdown: Duration::from_millis(200) };
    let server = Server::start_with(config, bounds(), Arc::new(Echo::default()));
    let server = server.expect("a free port");
    let mut client = Client::connect(&server);
    client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    assert!(!server.shutdown());
    assert!(start.elapsed() < Duration::from_millis(350));
}

#[test]
fn an_address_in_use_is_an_error() {
    let server = server();
    let config =
        ServerConfig { address: server.address(), threads: 1, shutdown: Duration::from_secs(1) };
    let second = Server::start(config, Arc::new(Echo::default()));
    assert_eq!(second.err().map(|e| e.kind()), Some(io::ErrorKind::AddrInUse));
}

#[test]
fn methods_are_known_by_name() {
    assert_eq!(Method::parse("GET"), Method::Get);
    assert_eq!(Method::parse("get"), Method::Other);
}
