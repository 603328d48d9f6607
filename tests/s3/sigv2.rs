//! Signature Version 2 over the wire, signed here from AWS's text.

use super::commands::ok;
use crate::support::sign::{ACCESS_KEY, SECRET_KEY, now};
use crate::support::{Request, Server};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha1::Sha1;

const ON: [(&str, &str); 1] = [("JOG_SIGV2", "on")];

fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET_KEY.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// An HTTP date so many seconds from now, made of the client's other form of dates.
fn date(offset: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs((now() + offset) as u64);
    httpdate::fmt_http_date(time)
}

/// Signs in the header; `resource` is what the client thinks it asks for.
fn by_header(request: Request, method: &str, resource: &str, date: &str) -> Request {
    let signature = sign(&format!("{method}\n\n\n{date}\n{resource}"));
    let credential = format!("AWS {ACCESS_KEY}:{signature}");
    request.anonymous().header("Date", date).header("Authorization", credential)
}

fn by_query(request: Request, method: &str, resource: &str, expires: i64) -> Request {
    let signature = sign(&format!("{method}\n\n\n{expires}\n{resource}"));
    let request = request.anonymous().query("AWSAccessKeyId", ACCESS_KEY);
    request.query("Signature", &signature).query("Expires", &expires.to_string())
}

#[test]
fn it_is_off_unless_switched_on() {
    let server = Server::start();
    let bucket = server.bucket("v2-off");
    let path = format!("/{bucket}/k");
    server.put(&path).body("x").send().expect(200);
    let get = by_header(server.get(&path), "GET", &path, &date(0));
    get.send().expect_error(400, "InvalidRequest");
    let get = by_query(server.get(&path), "GET", &path, now() + 60);
    get.send().expect_error(400, "InvalidRequest");
    assert!(!server.log().contains("JOG_SIGV2"));
}

#[test]
fn header_and_query_and_what_they_do_not_cover() {
    let server = Server::with(&ON);
    server.log_line("the warning", |line| line.contains("JOG_SIGV2=on"));
    let bucket = server.bucket("v2");
    let path = format!("/{bucket}/a b+c");
    let wire = format!("/{bucket}/a%20b%2Bc");
    by_header(server.put(&path), "PUT", &wire, &date(0)).body("12345").send().expect(200);
    let got = by_header(server.get(&path), "GET", &wire, &date(0)).send().expect(200);
    assert_eq!(got.body, b"12345");
    by_header(server.head(&path), "HEAD", &wire, &date(-800)).send().expect(200);
    for offset in [-1000, 1000] {
        let get = by_header(server.get(&path), "GET", &wire, &date(offset));
        get.send().expect_error(403, "RequestTimeTooSkewed");
    }
    let get = by_header(server.get(&path), "GET", &format!("/{bucket}/other"), &date(0));
    get.send().expect_error(403, "SignatureDoesNotMatch");
    // One for the object is none for its retention, nor for its deletion.
    for sub in ["retention", "tagging", "legal-hold", "acl"] {
        let put = by_header(server.put(&path).query(sub, ""), "PUT", &wire, &date(0));
        put.send().expect_error(403, "SignatureDoesNotMatch");
    }
    let delete = by_header(server.delete(&path), "PUT", &wire, &date(0));
    delete.send().expect_error(403, "SignatureDoesNotMatch");

    let got = by_query(server.get(&path), "GET", &wire, now() + 60).send().expect(200);
    assert_eq!(got.body, b"12345");
    let late = by_query(server.get(&path), "GET", &wire, now() - 1).send();
    assert!(late.expect_error(403, "AccessDenied").text("Message").contains("expired"));
    let text = "response-content-type=text/x";
    let get = by_query(
        server.get(&path).query("response-content-type", "text/x"),
        "GET",
        &format!("{wire}?{text}"),
        now() + 60,
    );
    assert_eq!(get.send().expect(200).header("content-type"), Some("text/x"));
    let free = by_query(server.get(&path), "GET", &wire, now() + 60);
    let free = free.query("response-content-type", "text/x").send();
    free.expect_error(403, "SignatureDoesNotMatch");
    // The clock of Version 4 goes on beside it.
    server.get(&path).send().expect(200);
}

#[test]
fn one_identity_whatever_the_signature() {
    let server = Server::with(&ON);
    let files = crate::support::Dir::new();
    let secret = files.join("secret");
    std::fs::write(&secret, SECRET_KEY).expect("a directory of ours");
    let secret = secret.to_str().expect("a path of ours is UTF-8");
    let dir = server.dir.path();
    let import = ["--access-key", "v2.user", "--secret-file", secret];
    ok(dir, &[&["user", "add", "old-nas", "--allow", "create"], &import[..]].concat());
    let list = || {
        let date = date(0);
        let signature = sign(&format!("GET\n\n\n{date}\n/"));
        let request = server.get("/").anonymous().header("Date", date);
        request.header("Authorization", format!("AWS v2.user:{signature}")).send()
    };
    list().expect(200);
    ok(dir, &["user", "disable", "old-nas"]);
    list().expect_error(403, "InvalidAccessKeyId");
}
