//! Bodies: framed, refused, unread, slow.

use crate::*;

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
fn a_slow_reader_gets_everything() {
    let server = server_with(1, bounds());
    let mut client = Client::connect(&server);
    for _ in 0..5 {
        client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    // Slower than the server's patience for one write, but never without progress for so long.
    let mut chunk = [0; 50_000];
    let mut got = 0;
    for _ in 0..30 {
        got += client.stream.read(&mut chunk).expect("the server sends");
        std::thread::sleep(Duration::from_millis(60));
    }
    while got < 15_000_000 {
        let count = client.stream.read(&mut chunk).expect("the server sends");
        assert_ne!(count, 0, "the server gave up after {got} bytes");
        got += count;
    }
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
    assert_eq!(client.answer().head, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.answer().text(), "hello");
    // There is nothing to wait for.
    client
        .send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().head, "HTTP/1.1 100 Continue\r\n\r\n");
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
