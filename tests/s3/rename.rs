//! RenameObject.

use super::versioning::versioned;
use crate::support::{Response, Server, noise, shared};

fn rename(
    server: &Server,
    bucket: &str,
    from: &str,
    to: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut put = server.put(&format!("/{bucket}/{to}?renameObject"));
    put = put.header("x-amz-rename-source", format!("/{bucket}/{from}"));
    for (name, value) in headers {
        put = put.header(name, *value);
    }
    put.send()
}

#[test]
fn an_object_moves_with_all_that_it_has() {
    let server = shared();
    let bucket = server.bucket("rename");
    let body = noise(1, 100_000);
    let put = server.put(&format!("/{bucket}/a b")).header("x-amz-meta-m", "1");
    let etag = put.header("x-amz-tagging", "t=1").body(&body).send().expect(200).etag().to_owned();
    let before = server.head(&format!("/{bucket}/a b")).send().expect(200);
    let files = server.blobs(&bucket);
    rename(server, &bucket, "a%20b", "c/d", &[]).expect(200);
    server.get(&format!("/{bucket}/a b")).send().expect_error(404, "NoSuchKey");
    let moved = server.get(&format!("/{bucket}/c/d")).send().expect(200);
    assert!(moved.body == body);
    assert_eq!(moved.etag(), etag);
    assert_eq!(moved.header("x-amz-meta-m"), Some("1"));
    assert_eq!(moved.header("x-amz-tagging-count"), Some("1"));
    assert_eq!(moved.header("last-modified"), before.header("last-modified"));
    assert_eq!(server.blobs(&bucket), files, "no byte was copied");
    let keys = server.get(&format!("/{bucket}?list-type=2")).send().expect(200).all("Key");
    assert_eq!(keys, ["c/d"]);
    rename(server, &bucket, "nothing", "x", &[]).expect_error(404, "NoSuchKey");
    // Onto itself it stays.
    rename(server, &bucket, "c/d", "c/d", &[]).expect(200);
    assert!(server.get(&format!("/{bucket}/c/d")).send().expect(200).body == body);
}

#[test]
fn parts_move_too() {
    let server = shared();
    let bucket = server.bucket("rename");
    let upload = server.upload(&bucket, "k");
    let etag = server.part(&bucket, "k", &upload, 1, b"part");
    server.complete(&bucket, "k", &upload, &[(1, &etag)]).send().expect(200);
    server.put(&format!("/{bucket}/there")).body("goes").send().expect(200);
    rename(server, &bucket, "k", "there", &[]).expect(200);
    assert_eq!(server.get(&format!("/{bucket}/there")).send().expect(200).body, b"part");
}

#[test]
fn conditions() {
    let server = shared();
    let bucket = server.bucket("rename");
    let put = |key: &str| {
        server.put(&format!("/{bucket}/{key}")).body(key).send().expect(200).etag().to_owned()
    };
    let (a, b) = (put("a"), put("b"));
    let refused = |headers: &[(&str, &str)]| {
        rename(server, &bucket, "a", "b", headers).expect_error(412, "PreconditionFailed");
        assert_eq!(server.get(&format!("/{bucket}/a")).send().expect(200).body, b"a");
        assert_eq!(server.get(&format!("/{bucket}/b")).send().expect(200).body, b"b");
    };
    refused(&[("If-None-Match", "*")]);
    refused(&[("If-Match", &a)]);
    refused(&[("x-amz-rename-source-if-match", &b)]);
    refused(&[("x-amz-rename-source-if-none-match", &a)]);
    let past = "Tue, 24 Nov 2020 10:05:34 GMT";
    refused(&[("x-amz-rename-source-if-unmodified-since", past)]);
    refused(&[("If-Unmodified-Since", past)]);
    let all = [("If-Match", b.as_str()), ("x-amz-rename-source-if-match", &a)];
    rename(server, &bucket, "a", "b", &all).expect(200);
    assert_eq!(server.get(&format!("/{bucket}/b")).send().expect(200).body, b"a");
    rename(server, &bucket, "b", "new", &[("If-None-Match", "*")]).expect(200);
}

#[test]
fn a_token_renames_once() {
    let server = Server::start();
    let bucket = server.bucket("rename");
    let put = |key: &str| server.put(&format!("/{bucket}/{key}")).body(key).send().expect(200);
    put("a");
    let token = [("x-amz-client-token", "one")];
    rename(&server, &bucket, "a", "b", &token).expect(200);
    put("a");
    let dir = server.stop();
    let server = Server::on(dir, &[]);
    rename(&server, &bucket, "a", "b", &token).expect(200);
    assert_eq!(server.get(&format!("/{bucket}/a")).send().expect(200).body, b"a", "not again");
    let other = rename(&server, &bucket, "a", "c", &token);
    other.expect_error(400, "IdempotencyParameterMismatch");
    let long = "x".repeat(65);
    let bad = rename(&server, &bucket, "a", "c", &[("x-amz-client-token", &long)]);
    bad.expect_error(400, "InvalidArgument");
    rename(&server, &bucket, "a", "c", &[("x-amz-client-token", "two")]).expect(200);
}

#[test]
fn where_it_cannot_be_done() {
    let server = shared();
    let (bucket, other) = (server.bucket("rename"), server.bucket("rename"));
    server.put(&format!("/{other}/k")).body("k").send().expect(200);
    for source in [format!("/{other}/k"), "k".to_owned(), format!("/{bucket}/"), "%zz".to_owned()] {
        let put = server.put(&format!("/{bucket}/k?renameObject"));
        let put = put.header("x-amz-rename-source", source).send();
        put.expect_error(400, "InvalidArgument");
    }
    let kept = versioned(server, "rename");
    server.put(&format!("/{kept}/k")).body("k").send().expect(200);
    rename(server, &kept, "k", "l", &[]).expect_error(409, "InvalidBucketState");
    assert_eq!(server.get(&format!("/{kept}/k")).send().expect(200).body, b"k");
}
