//! How a server starts and ends.

use crate::*;

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
