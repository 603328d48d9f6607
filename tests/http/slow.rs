//! Clients that hold what they can: threads by being slow, connections by being idle.

use crate::*;
use std::sync::atomic::AtomicBool;

/// Sets a flag in the end.
struct Set<'a>(&'a AtomicBool);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends a byte now and then, on each of these, until the flag is set.
fn trickle(clients: &[Client], done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        for client in clients {
            // A connection that was cut off fails.
            let _ = (&client.stream).write_all(b"x");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn heads_that_stall_hold_no_thread_whatever_their_length() {
    let server = server_with(2, Bounds { head_timeout: Duration::from_secs(5), ..bounds() });
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(&server)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /hello HTTP/1.1\r\nHost: h\r\nA: {}", "x".repeat(1500 * n)));
    }
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    assert_eq!(Client::connect(&server).get("/hello").status, 200);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    for client in &mut clients {
        client.send("\r\n\r\n");
        assert_eq!(client.answer().text(), "hello");
    }
}

#[test]
fn what_all_heads_that_stall_keep_is_bounded() {
    let server = server_with(2, Bounds { head_timeout: Duration::from_secs(20), ..bounds() });
    let head = format!("GET /hello HTTP/1.1\r\nHost: h\r\nA: {}", "x".repeat(60_000));
    let fit = jog::limits::MAX_HELD_HEAD_BYTES / head.len();
    let mut clients: Vec<Client> = (0..fit + 20).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        client.send(&head);
    }
    let stats = server.stats();
    eventually("some are turned away", || stats.refused.load(Ordering::Relaxed) >= 20);
    assert!(stats.refused.load(Ordering::Relaxed) <= 22);
    // Heads that come in one piece, or are short, are none of these.
    let mut short = Client::connect(&server);
    short.send("GET /hello HTTP/1.1\r\n");
    std::thread::sleep(Duration::from_millis(100));
    short.send("Host: h\r\n\r\n");
    assert_eq!(short.answer().text(), "hello");
    assert_eq!(Client::connect(&server).get("/hello").status, 200);
}

#[test]
fn slow_clients_give_way_when_others_wait() {
    let patient = Bounds { progress_timeout: Duration::from_secs(30), ..bounds() };
    let server = server_with(4, patient);
    let upload = "PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    let mut slow: Vec<Client> = (0..4).map(|_| Client::connect(&server)).collect();
    // Two of them trickle, one sends nothing at all, and one does not take its response.
    for client in &mut slow[..3] {
        client.send(upload);
    }
    // Far more than the socket buffers take.
    slow[3].send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n".repeat(20));
    let stats = server.stats();
    eventually("all threads are held", || stats.busy.load(Ordering::Relaxed) == 4);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| trickle(&slow[..2], &done));
        // A test that fails must end.
        let _end = Set(&done);
        // As long as nobody waits, they may be as slow as they like.
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(stats.busy.load(Ordering::Relaxed), 4);
        let start = Instant::now();
        let mut others: Vec<Client> = (0..8).map(|_| Client::connect(&server)).collect();
        for client in &mut others {
            assert_eq!(client.get("/hello").status, 200);
        }
        let elapsed = start.elapsed();
        assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
    });
    // One had to go for the first that waited; the others could stay.
    assert!(stats.busy.load(Ordering::Relaxed) >= 2, "only as many as needed give way");
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let server = server_with(2, Bounds { max_connections: 10, ..bounds() });
    let mut idle: Vec<Client> = (0..10).map(|_| Client::connect(&server)).collect();
    let stats = server.stats();
    let parked = || stats.busy.load(Ordering::SeqCst) + stats.queued.load(Ordering::SeqCst) == 0;
    eventually("all are parked", || parked() && stats.connections.load(Ordering::SeqCst) == 10);
    for _ in 0..3 {
        assert_eq!(Client::connect(&server).get("/hello").status, 200);
    }
    idle[0].assert_closed();
    assert_eq!(idle[9].get("/hello").status, 200, "the one that came last is still there");
}
