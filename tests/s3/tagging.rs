//! Tags of objects and buckets.

use super::versioning::{put, versioned};
use crate::support::{Response, Server, shared};

fn document(pairs: &[(&str, &str)]) -> String {
    let tag = |(k, v): &(&str, &str)| format!("<Tag><Key>{k}</Key><Value>{v}</Value></Tag>");
    let tags: String = pairs.iter().map(tag).collect();
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

fn tags(answer: &Response) -> Vec<(String, String)> {
    answer.all("Key").into_iter().zip(answer.all("Value")).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn get(server: &Server, target: &str) -> Vec<(String, String)> {
    tags(&server.get(&format!("{target}?tagging")).send().expect(200))
}

#[test]
fn of_objects() {
    let server = shared();
    let bucket = server.bucket("tags");
    let target = format!("/{bucket}/k");
    let header = |text: &str| server.put(&target).header("x-amz-tagging", text).body("x").send();
    header("b=2&a=1%20%2B").expect(200);
    assert_eq!(get(server, &target), pairs(&[("a", "1 +"), ("b", "2")]));
    let head = server.head(&target).send().expect(200);
    assert_eq!(head.header("x-amz-tagging-count"), Some("2"));
    for bad in ["a=1&a=2", "a=1,b=2", "="] {
        header(bad).expect_error(400, "InvalidArgument");
    }
    assert_eq!(get(server, &target).len(), 2, "what was refused changed nothing");

    let set = |pairs: &[(&str, &str)]| {
        server.put(&format!("{target}?tagging")).body(document(pairs)).send()
    };
    set(&[("x", "y")]).expect(200);
    assert_eq!(get(server, &target), pairs(&[("x", "y")]));
    let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let eleven: Vec<(&str, &str)> = eleven.iter().map(|k| (k.as_str(), "")).collect();
    set(&eleven).expect_error(400, "InvalidTag");
    let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
    set(&[(&long_key, "")]).expect_error(400, "InvalidTag");
    set(&[("k", &long_value)]).expect_error(400, "InvalidTag");
    set(&[("aws:k", "v")]).expect_error(400, "InvalidTag");
    let put = server.put(&format!("{target}?tagging")).body("<Tagging/>").send();
    put.expect_error(400, "MalformedXML");
    assert_eq!(get(server, &target), pairs(&[("x", "y")]));
    set(&eleven[..10]).expect(200);
    assert_eq!(get(server, &target).len(), 10);
    server.delete(&format!("{target}?tagging")).send().expect(204);
    assert!(get(server, &target).is_empty());
    assert_eq!(server.get(&target).send().expect(200).body, b"x");
    for method in ["GET", "DELETE"] {
        let gone = server.request(method, &format!("/{bucket}/nothing?tagging")).send();
        gone.expect_error(404, "NoSuchKey");
    }
}

#[test]
fn of_versions() {
    let server = shared();
    let bucket = versioned(server, "tags");
    let target = format!("/{bucket}/k");
    let (one, two) = (put(server, &target, "1"), put(server, &target, "2"));
    let of = |id: &str| format!("{target}?tagging&versionId={id}");
    let set = server.put(&of(&one)).body(document(&[("v", "1")])).send().expect(200);
    assert_eq!(set.header("x-amz-version-id"), Some(one.as_str()));
    server.put(&format!("{target}?tagging")).body(document(&[("v", "2")])).send().expect(200);
    let tagged = |id: &str| tags(&server.get(&of(id)).send().expect(200));
    assert_eq!(tagged(&one), pairs(&[("v", "1")]));
    assert_eq!(tagged(&two), pairs(&[("v", "2")]));
    let marker = server.delete(&target).send().expect(204);
    let marker = marker.header("x-amz-version-id").unwrap();
    server.get(&of(marker)).send().expect_error(405, "MethodNotAllowed");
    let put = server.put(&of(marker)).body(document(&[])).send();
    put.expect_error(405, "MethodNotAllowed");
    // The same if it is not named.
    let latest = format!("{target}?tagging");
    server.get(&latest).send().expect_error(405, "MethodNotAllowed");
    server.put(&latest).body(document(&[])).send().expect_error(405, "MethodNotAllowed");
    server.delete(&latest).send().expect_error(405, "MethodNotAllowed");
    server.get(&format!("{target}-none?tagging")).send().expect_error(404, "NoSuchKey");
    server.delete(&of(&one)).send().expect(204);
    assert!(tagged(&one).is_empty());
}

#[test]
fn of_copies_and_uploads() {
    let server = shared();
    let bucket = server.bucket("tags");
    let source = format!("/{bucket}/k");
    server.put(&source).header("x-amz-tagging", "a=1").body("x").send().expect(200);
    let copy = |to: &str, headers: &[(&str, &str)]| {
        let mut put = server.put(&format!("/{bucket}/{to}")).header("x-amz-copy-source", &source);
        for (name, value) in headers {
            put = put.header(name, *value);
        }
        put.send()
    };
    copy("kept", &[]).expect(200);
    assert_eq!(get(server, &format!("/{bucket}/kept")), pairs(&[("a", "1")]));
    let replace = ("x-amz-tagging-directive", "REPLACE");
    copy("other", &[replace, ("x-amz-tagging", "b=2")]).expect(200);
    assert_eq!(get(server, &format!("/{bucket}/other")), pairs(&[("b", "2")]));
    copy("none", &[replace]).expect(200);
    assert!(get(server, &format!("/{bucket}/none")).is_empty());
    copy("bad", &[("x-amz-tagging-directive", "MAYBE")]).expect_error(400, "InvalidArgument");

    let parts = format!("/{bucket}/parts");
    let create = server.post(&format!("{parts}?uploads")).header("x-amz-tagging", "c=3");
    let upload = create.send().expect(200).text("UploadId");
    let etag = server.part(&bucket, "parts", &upload, 1, b"p");
    server.complete(&bucket, "parts", &upload, &[(1, &etag)]).send().expect(200);
    assert_eq!(get(server, &parts), pairs(&[("c", "3")]));
}

#[test]
fn of_new_buckets() {
    let server = shared();
    let bucket = server.free_name("tags");
    let create = |inside: &str| {
        let configuration = "CreateBucketConfiguration";
        let body = format!("<{configuration}>{inside}</{configuration}>");
        server.put(&format!("/{bucket}")).body(body).send()
    };
    let tags_of = |key: &str| format!("<Tags><Tag><Key>{key}</Key><Value>1</Value></Tag></Tags>");
    create(&tags_of("aws:a")).expect_error(400, "InvalidTag");
    create("<Tags><Tag><Key>a</Key></Tag></Tags>").expect_error(400, "MalformedXML");
    create(&tags_of("a")).expect(200);
    let tagged = || tags(&server.get(&format!("/{bucket}?tagging")).send().expect(200));
    assert_eq!(tagged(), pairs(&[("a", "1")]));
    // Creating it again changes no tags, and does not say so either.
    for key in ["a", "b"] {
        create(&tags_of(key)).expect_error(409, "BucketAlreadyOwnedByYou");
    }
    create("<Tags/>").expect(200);
    assert_eq!(tagged(), pairs(&[("a", "1")]));
}

#[test]
fn of_buckets() {
    let server = shared();
    let bucket = server.bucket("tags");
    let target = format!("/{bucket}?tagging");
    server.get(&target).send().expect_error(404, "NoSuchTagSet");
    server.put(&target).body(document(&[("a", "<1")])).send().expect_error(400, "MalformedXML");
    server.put(&target).body(document(&[("team", "nas")])).send().expect(204);
    assert_eq!(tags(&server.get(&target).send().expect(200)), pairs(&[("team", "nas")]));
    server.delete(&target).send().expect(204);
    server.get(&target).send().expect_error(404, "NoSuchTagSet");
    server.delete(&target).send().expect(204);
}
