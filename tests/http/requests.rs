//! Requests and responses, one after the other.

use crate::*;

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
fn all_addresses_means_both_families() {
    let config = ServerConfig {
        address: SocketAddr::from(([0_u16; 8], 0)),
        threads: 1,
        shutdown: Duration::from_secs(1),
    };
    let server = match Server::start(config, Arc::new(Echo::default())) {
        // A machine without IPv6.
        Err(error) if error.raw_os_error() == Some(97) => return,
        other => other.expect("a free port"),
    };
    let port = server.address().port();
    for host in ["127.0.0.1", "::1"] {
        let Ok(stream) = TcpStream::connect((host, port)) else {
            assert_eq!(host, "::1", "IPv4 is served by the dual-stack socket");
            continue;
        };
        let mut client = Client { stream, buffer: Vec::new() };
        assert_eq!(client.get("/peer").text(), host);
    }
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
    for (path, sent) in [
        ("/short", Some(5000)),
        ("/early", Some(5000)),
        ("/length", Some(0)),
        ("/panic-late", None),
    ] {
        let mut client = Client::connect(&server);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        while client.receive() > 0 {}
        let head = client.buffer.windows(4).position(|w| w == b"\r\n\r\n");
        assert_eq!(head.map(|at| client.buffer.len() - at - 4), sent, "{path}");
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
