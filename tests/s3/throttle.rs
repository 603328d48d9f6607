//! Failed signatures slow an address down, and nobody else.

use super::commands::ok;
use crate::support::{Request, Response, Server};
use std::time::Duration;

const FEW: [(&str, &str); 1] = [("JOG_AUTH_FAILURES", "5")];

fn guess(request: Request, key: &str) -> Response {
    let key = key.to_owned();
    let change = move |signer: &mut crate::support::sign::Signer| {
        signer.access_key = key;
        signer.secret_key = "guessed-secret".to_owned();
    };
    request.signer(change).send()
}

/// Guesses until that is slowed down; gives how many guesses were looked at.
fn guess_until_slow(request: impl Fn() -> Request, key: &str, expected: &str) -> u32 {
    for looked_at in 0..200 {
        let response = guess(request(), key);
        if response.status == 503 {
            response.expect_error(503, "SlowDown");
            return looked_at;
        }
        response.expect_error(403, expected);
    }
    panic!("200 guesses were looked at");
}

/// Whether this comes true soon after an address was slowed down again and again: its allowance
/// may come back in between.
fn soon(again: impl Fn(), holds: impl Fn() -> bool) -> bool {
    (0..20).any(|_| {
        again();
        holds()
    })
}

#[test]
fn guesses_are_slowed_down_and_good_clients_are_not() {
    let server = Server::with(&FEW);
    let key = ok(server.dir.path(), &["user", "add", "new", "--allow", "create"]);
    let field = |name: &str| {
        let line = key.lines().find_map(|line| line.strip_prefix(name));
        line.expect("it is printed").trim().to_owned()
    };
    let (id, secret) = (field("access key"), field("secret key"));
    let newcomer = || {
        let (id, secret) = (id.clone(), secret.clone());
        server.get("/").signer(move |s| (s.access_key, s.secret_key) = (id, secret)).send()
    };
    // Root has proven itself here.
    server.get("/").send().expect(200);
    let looked_at = guess_until_slow(|| server.get("/"), "UNKNOWN", "InvalidAccessKeyId");
    assert!((5..50).contains(&looked_at), "{looked_at}");
    server.log_line("the warning", |line| line.contains("failed signatures from 127.0.0.1"));
    let again = || {
        guess_until_slow(|| server.get("/"), "UNKNOWN", "InvalidAccessKeyId");
    };
    for _ in 0..20 {
        again();
        server.get("/").send().expect(200);
        // Who sends no signature guesses nothing.
        server.get("/no-such-bucket-here").anonymous().send().expect_error(404, "NoSuchBucket");
    }
    // One that nobody knows here yet waits for its turn, which comes.
    assert!(soon(again, || newcomer().status == 503));
    std::thread::sleep(Duration::from_millis(2100));
    newcomer().expect(200);
    again();
    newcomer().expect(200);
    // Guesses at a key that is in use here are counted apart from all others.
    let looked_at = guess_until_slow(|| server.get("/"), &id, "SignatureDoesNotMatch");
    assert!((5..50).contains(&looked_at), "{looked_at}");
    server.get("/").send().expect(200);
    // Presigned URLs and forms are no way around it.
    assert!(soon(again, || guess(server.get("/").presigned(60), "UNKNOWN").status == 503));
}

#[test]
fn a_trusted_proxy_names_the_source() {
    let vars = [FEW[0], ("JOG_TRUST_PROXY", "on")];
    let server = Server::with(&vars);
    let from = |address: &str| {
        let get = server.get("/").header("X-Forwarded-For", format!("203.0.113.9, {address}"));
        get.header("X-Forwarded-Proto", "http")
    };
    guess_until_slow(|| from("192.0.2.1"), "UNKNOWN", "InvalidAccessKeyId");
    let slow = || guess(from("192.0.2.1"), "UNKNOWN").status == 503;
    assert!(soon(|| (), slow));
    guess(from("192.0.2.2"), "UNKNOWN").expect_error(403, "InvalidAccessKeyId");
    from("192.0.2.2").send().expect(200);

    let server = Server::with(&FEW);
    let from = |address: &str| server.get("/").header("X-Forwarded-For", address);
    let numbers = std::cell::Cell::new(0);
    let other_each_time = || {
        numbers.set(numbers.get() + 1);
        from(&format!("192.0.2.{}", numbers.get()))
    };
    guess_until_slow(other_each_time, "UNKNOWN", "InvalidAccessKeyId");
}

#[test]
fn it_can_be_switched_off() {
    let server = Server::with(&[("JOG_AUTH_FAILURES", "0")]);
    for _ in 0..300 {
        guess(server.get("/"), "UNKNOWN").expect_error(403, "InvalidAccessKeyId");
    }
}
