//! Many clients at once, and those that want too much.

use crate::*;

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
    let server = server_with(16, Bounds { max_connections: 10, ..bounds() });
    // None of them is idle, so none makes room.
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        client.send("PUT /count HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
    }
    let stats = server.stats();
    eventually("all are served", || stats.busy.load(Ordering::Relaxed) == 10);
    for _ in 0..3 {
        let mut client = Client::connect(&server);
        client.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.answer().status, 503);
        client.assert_closed();
    }
    clients[9].send("x");
    assert_eq!(clients[9].answer().text(), "1");
    clients.clear();
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

#[test]
fn idle_connections_hold_no_thread_and_cause_no_wake_ups() {
    let limits = "ulimit -n 4096 2>/dev/null || ulimit -n $(ulimit -Hn)";
    if !in_own_process("crowds::idle_connections_hold_no_thread_and_cause_no_wake_ups", limits) {
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
    std::thread::sleep(Duration::from_millis(100));
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
    if !in_own_process("crowds::memory_does_not_follow_what_clients_announce", "true") {
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
    if !in_own_process("crowds::accepting_goes_on_after_the_descriptors_ran_out", limits) {
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
