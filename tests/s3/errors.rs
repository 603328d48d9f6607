//! What every answer has, above all the bad ones.

use crate::support::{Connection, Request, Server, md5_base64, noise, shared};
use std::collections::HashSet;

#[test]
fn every_answer_has_an_id() {
    let server = shared();
    let bucket = server.bucket("errors");
    let mut seen = HashSet::new();
    for (method, target, status) in [
        ("PUT", format!("/{bucket}/k"), 200),
        ("GET", format!("/{bucket}/k"), 200),
        ("HEAD", format!("/{bucket}/k"), 200),
        ("HEAD", format!("/{bucket}/nothing"), 404),
        ("GET", format!("/{bucket}/nothing"), 404),
        ("GET", "/no-such-bucket-here".to_owned(), 404),
        ("PUT", format!("/{bucket}?accelerate"), 501),
        ("DELETE", format!("/{bucket}/k"), 204),
        ("GET", "/Bad_Name".to_owned(), 400),
        ("GET", "/_jog/health".to_owned(), 200),
    ] {
        let answer = server.request(method, &target).send().expect(status);
        let id = answer.header("x-amz-request-id").expect("an id").to_owned();
        assert!(id.len() >= 16, "{id}");
        assert!(answer.header("date").is_some());
        if status >= 400 && method != "HEAD" {
            assert_eq!(answer.text("RequestId"), id);
            assert_eq!(answer.text("Resource"), target.split('?').next().unwrap_or_default());
            assert_eq!(answer.header("content-type"), Some("application/xml"));
            assert!(answer.xml().starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"));
            assert!(answer.xml().contains("<Error>"), "without a namespace, as on AWS");
        }
        assert!(seen.insert(id), "an id of its own");
    }
}

/// minio-go's functional tests compare them, and so do scripts.
#[test]
fn messages_are_those_of_aws() {
    let server = shared();
    let bucket = server.bucket("errors");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    for (method, target, message) in [
        ("GET", "/no-such-bucket-here".to_owned(), "The specified bucket does not exist"),
        ("GET", format!("/{bucket}/nothing"), "The specified key does not exist."),
        ("GET", format!("/{bucket}?policy"), "The bucket policy does not exist"),
        ("GET", format!("/{bucket}?tagging"), "The TagSet does not exist"),
        ("DELETE", format!("/{bucket}"), "The bucket you tried to delete is not empty"),
    ] {
        assert_eq!(server.request(method, &target).send().text("Message"), message, "{target}");
    }
}

#[test]
fn text_of_a_client_is_text_in_an_error() {
    let server = shared();
    let bucket = server.bucket("errors");
    let key = "<script>&\"'\u{1}\r\n</Key><Code>Faked</Code>";
    let error = server.object("GET", &bucket, key).send().expect_error(404, "NoSuchKey");
    assert_eq!(error.all("Code"), ["NoSuchKey"]);
    assert!(!error.xml().contains("<script>"));
    let name = server.put("/").raw_path("/%3Cx%3E%26").send();
    name.expect_error(400, "InvalidBucketName");
}

#[test]
fn paths_and_queries_that_are_none() {
    let server = shared();
    let bucket = server.bucket("errors");
    for path in [format!("/{bucket}/%"), format!("/{bucket}/%zz"), format!("/{bucket}/%4")] {
        let answer = server.get("/").raw_path(&path).send();
        assert!(matches!(answer.status, 400 | 403), "{path}: {}", answer.status);
    }
    let mut message = server.get(&format!("/{bucket}")).message();
    message.target = format!("/{bucket}?prefix=%zz");
    assert!(matches!(message.send().status, 400 | 403));
}

#[test]
fn a_connection_goes_on_after_an_error() {
    let server = shared();
    let bucket = server.bucket("errors");
    let mut connection = server.connect();
    let target = format!("/{bucket}/k");
    for size in [0, 10, 60_000] {
        let body = noise(1, size);
        let put = |t: &str| server.put(t).body(&body);
        connection.send(put("/no-such-bucket-here/k")).expect_error(404, "NoSuchBucket");
        connection.send(put(&format!("{target}?encryption"))).expect_error(501, "NotImplemented");
        let md5 = md5_base64(b"other");
        connection.send(put(&target).header("Content-MD5", md5)).expect_error(400, "BadDigest");
        connection.send(put(&target).anonymous()).expect_error(403, "AccessDenied");
        connection.send(server.get(&target)).expect_error(404, "NoSuchKey");
        connection.send(put(&target)).expect(200);
        assert!(connection.send(server.get(&target)).expect(200).body == body);
        connection.send(server.delete(&target)).expect(204);
    }
}

/// Sends only the head, and the body when it is asked for, as boto3 does on every upload.
fn with_expectation(connection: &mut Connection, message: &crate::support::Message) -> u16 {
    connection.write(message.head());
    let first = connection.response("PUT").expect("an answer to the head");
    if first.status != 100 {
        return first.status;
    }
    connection.write(&message.body);
    connection.response("PUT").expect("an answer").status
}

#[test]
fn expect_100_continue() {
    let server = shared();
    let bucket = server.bucket("errors");
    let target = format!("/{bucket}/k");
    let put = |target: &str| {
        let put = server.put(target).header("Expect", "100-continue").body(noise(1, 20_000));
        put.message()
    };
    let mut connection = server.connect();
    assert_eq!(with_expectation(&mut connection, &put(&target)), 200);
    assert_eq!(connection.send(server.get(&target)).expect(200).body, noise(1, 20_000));
    assert_eq!(with_expectation(&mut server.connect(), &put("/no-such-bucket-here/k")), 404);
    let mut refused = put(&target);
    refused.headers.retain(|(n, _)| n != "Authorization");
    assert_eq!(with_expectation(&mut server.connect(), &refused), 403);
}

#[test]
fn lengths_that_are_none() {
    let server = shared();
    let bucket = server.bucket("errors");
    let put = || server.put(&format!("/{bucket}/k")).body("body").message();
    for length in ["x", "-1", "+4", "4, 4", "0x4", "99999999999999999999"] {
        let message = put().without("content-length").header("Content-Length", length);
        message.send().expect(400);
    }
    put().header("Content-Length", "5").send().expect(400);
    let mut both = server.connect();
    let smuggled = put().header("Transfer-Encoding", "chunked");
    both.exchange(&smuggled).expect("an answer").expect(400);
    assert!(both.is_closed(), "nobody knows where the next request begins");
    let none = put().without("content-length");
    assert!(matches!(none.send().status, 400 | 411));
    server.head(&format!("/{bucket}/k")).send().expect(404);
    // A length that the client does not keep to.
    let mut connection = server.connect();
    let long = put().without("content-length").header("Content-Length", "10");
    connection.write(long.head());
    connection.write("body");
    connection.end();
    connection.response("PUT").expect("an answer").expect_error(400, "IncompleteBody");
    server.head(&format!("/{bucket}/k")).send().expect(404);
    assert!(server.blobs(&bucket).is_empty());
}

#[test]
fn heads_that_are_too_large() {
    let server = shared();
    let large = server.get("/").header("x-amz-meta-a", "v".repeat(70_000)).message();
    assert_eq!(large.send().status, 431);
    let mut many = server.get("/");
    for number in 0..201 {
        many = many.header(&format!("x-a-{number}"), "1");
    }
    assert!(matches!(many.send().status, 400 | 431));
    server.get("/").send().expect(200);
}

/// A file that is missing is lost, not busy: no retry brings it back, and the log names the object.
#[test]
fn an_object_whose_file_is_missing_is_an_internal_error() {
    let server = Server::start();
    let bucket = server.bucket("lost");
    let key = "a\nb";
    server.object("PUT", &bucket, key).body("bytes").send().expect(200);
    for file in server.blobs(&bucket) {
        std::fs::remove_file(file).unwrap();
    }
    server.object("GET", &bucket, key).send().expect_error(500, "InternalError");
    let source = format!("/{bucket}/a%0Ab");
    let copy = |target: Request| target.header("x-amz-copy-source", source.as_str());
    copy(server.object("PUT", &bucket, "copy")).send().expect_error(500, "InternalError");
    let id = server.upload(&bucket, "parts");
    let part = server.object("PUT", &bucket, "parts").query("partNumber", "1");
    copy(part.query("uploadId", &id)).send().expect_error(500, "InternalError");
    let line = format!("{bucket}/a%0Ab InternalError: corrupt: {bucket}/a%0Ab version");
    server.log_line("the loss", |found| found.contains(&line));
    assert!(server.log().lines().all(|line| line.contains(" [") || line.is_empty()), "one a line");
}
