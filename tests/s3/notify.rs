//! What a service manager hears from the running server, and what signals do to it.

use crate::support::{Dir, Server};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

fn manager(dir: &Dir) -> (UnixDatagram, String) {
    let path = dir.join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("the name is free");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a time");
    (socket, path.to_str().expect("a path of ours is UTF-8").to_owned())
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).expect("something is said");
    String::from_utf8(buffer[..length].to_vec()).expect("it is text")
}

#[test]
fn ready_alive_and_stopping() {
    let dir = Dir::new();
    let (socket, path) = manager(&dir);
    let vars = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "100000")];
    let mut server = Server::with(&vars);
    assert_eq!(heard(&socket), "READY=1\n");
    server.get("/").send().expect(200);
    for _ in 0..3 {
        assert_eq!(heard(&socket), "WATCHDOG=1\n");
    }
    server.signal(Signal::TERM);
    let end = Instant::now() + Duration::from_secs(20);
    while heard(&socket) != "STOPPING=1\n" {
        assert!(Instant::now() < end);
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let mut server = Server::start();
    let mut upload = server.connect();
    let message = server.put(&format!("/{}/k", server.bucket("b"))).body([0; 1000]).message();
    upload.write(message.head());
    server.signal(Signal::INT);
    server.signal(Signal::TERM);
    server.log_line("stopping", |line| line.contains("stopping: "));
    drop(upload);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}

#[test]
fn a_later_signal_ends_it_at_once() {
    let mut server = Server::start();
    let mut upload = server.connect();
    let message = server.put(&format!("/{}/k", server.bucket("b"))).body([0; 1000]).message();
    upload.write(message.head());
    server.signal(Signal::TERM);
    server.log_line("stopping", |line| line.contains("stopping: "));
    std::thread::sleep(Duration::from_millis(1500));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(1), "{}", server.log());
}
