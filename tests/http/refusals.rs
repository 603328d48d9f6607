//! Heads that are refused, late or missing.

use crate::*;

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
        client.stream.shutdown(Shutdown::Both).expect("it is open");
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
