//! CopyObject and UploadPartCopy.

use crate::support::sign::encode;
use crate::support::{Request, Server, md5_hex, multipart_etag, noise, shared, sum};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

fn copy(server: &Server, from: &str, to: &str) -> Request {
    server.put(to).header("x-amz-copy-source", encode(from, true))
}

/// The inodes of a bucket's files, and how many of the files each has.
fn inodes(server: &Server, bucket: &str) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for file in server.blobs(bucket) {
        let inode = file.metadata().expect("it is there").ino();
        *found.entry(inode).or_default() += 1;
    }
    found
}

#[test]
fn a_copy_has_the_bytes_and_the_metadata() {
    let server = shared();
    let (from, to) = (server.bucket("copy"), server.bucket("copy"));
    for (number, key) in ["k", "a b+c%?&ü", "a//b/../c"].into_iter().enumerate() {
        let body = noise(number as u64, number * 200_000);
        let put = server.object("PUT", &from, key).body(&body).header("x-amz-meta-a", "ü");
        put.header("Content-Type", "text/plain").send().expect(200);
        for source in [format!("/{from}/{key}"), format!("{from}/{key}")] {
            let copied = server.object("PUT", &to, key);
            let copied = copied.header("x-amz-copy-source", encode(&source, true));
            let copied = copied.send().expect(200);
            assert_eq!(copied.text("ETag"), format!("\"{}\"", md5_hex(&body)));
            assert!(copied.text("LastModified").ends_with('Z'));
            let get = server.object("GET", &to, key).send().expect(200);
            assert!(get.body == body);
            assert_eq!(get.header("x-amz-meta-a"), Some("ü"));
            assert_eq!(get.header("content-type"), Some("text/plain"));
        }
    }
}

#[test]
fn a_copy_shares_the_bytes() {
    let server = shared();
    let bucket = server.bucket("copy");
    let body = noise(1, 1_000_000);
    server.put(&format!("/{bucket}/k")).body(&body).send().expect(200);
    copy(server, &format!("/{bucket}/k"), &format!("/{bucket}/c")).send().expect(200);
    assert_eq!(inodes(server, &bucket).into_values().collect::<Vec<_>>(), [2]);
    let other = server.bucket("copy");
    copy(server, &format!("/{bucket}/c"), &format!("/{other}/c")).send().expect(200);
    assert!(inodes(server, &bucket).keys().eq(inodes(server, &other).keys()));
    // The source may go.
    server.put(&format!("/{bucket}/k")).body("new").send().expect(200);
    server.delete(&format!("/{bucket}/c")).send().expect(204);
    assert!(server.get(&format!("/{other}/c")).send().expect(200).body == body);
}

#[test]
fn a_copy_of_a_multipart_object() {
    let server = shared();
    let bucket = server.bucket("copy");
    let bodies = [noise(1, 5 << 20), noise(2, 10)];
    let upload = server.upload(&bucket, "m");
    let etags = [
        server.part(&bucket, "m", &upload, 1, &bodies[0]),
        server.part(&bucket, "m", &upload, 2, &bodies[1]),
    ];
    let complete = server.complete(&bucket, "m", &upload, &[(1, &etags[0]), (2, &etags[1])]);
    complete.send().expect(200);
    copy(server, &format!("/{bucket}/m"), &format!("/{bucket}/c")).send().expect(200);
    assert_eq!(inodes(server, &bucket).into_values().collect::<Vec<_>>(), [2, 2]);
    server.delete(&format!("/{bucket}/m")).send().expect(204);
    let get = server.get(&format!("/{bucket}/c")).send().expect(200);
    assert!(get.body == bodies.concat());
    let whole = md5_hex(&bodies.concat());
    assert!([multipart_etag(&[&bodies[0], &bodies[1]]), whole].contains(&get.etag().to_owned()));
}

#[test]
fn onto_itself() {
    let server = shared();
    let bucket = server.bucket("copy");
    let target = format!("/{bucket}/k");
    let put = server.put(&target).body("body").header("x-amz-meta-a", "old");
    put.send().expect(200);
    copy(server, &target, &target).send().expect_error(400, "InvalidRequest");
    let explicit = copy(server, &target, &target).header("x-amz-metadata-directive", "COPY");
    explicit.send().expect_error(400, "InvalidRequest");
    let replace = copy(server, &target, &target).header("x-amz-metadata-directive", "REPLACE");
    replace.header("x-amz-meta-b", "new").send().expect(200);
    let get = server.get(&target).send().expect(200);
    assert_eq!(get.body, b"body");
    assert_eq!((get.header("x-amz-meta-a"), get.header("x-amz-meta-b")), (None, Some("new")));
}

#[test]
fn replaced_metadata() {
    let server = shared();
    let bucket = server.bucket("copy");
    let (from, to) = (format!("/{bucket}/k"), format!("/{bucket}/c"));
    let put = server.put(&from).body("body").header("x-amz-meta-a", "old");
    put.header("Cache-Control", "no-store").send().expect(200);
    // Without REPLACE the headers of the request say nothing.
    copy(server, &from, &to).header("x-amz-meta-a", "new").send().expect(200);
    assert_eq!(server.head(&to).send().expect(200).header("x-amz-meta-a"), Some("old"));
    let replace = copy(server, &from, &to).header("x-amz-metadata-directive", "REPLACE");
    let replace = replace.header("Content-Type", "a/b").header("x-amz-meta-c", "new");
    replace.send().expect(200);
    let head = server.head(&to).send().expect(200);
    assert_eq!((head.header("x-amz-meta-a"), head.header("x-amz-meta-c")), (None, Some("new")));
    assert_eq!((head.header("content-type"), head.header("cache-control")), (Some("a/b"), None));
    let bad = copy(server, &from, &to).header("x-amz-metadata-directive", "NONSENSE");
    bad.send().expect_error(400, "InvalidArgument");
    let large = copy(server, &from, &to).header("x-amz-metadata-directive", "REPLACE");
    large.header("x-amz-meta-c", "v".repeat(2048)).send().expect_error(400, "MetadataTooLarge");
}

#[test]
fn preconditions_on_the_source() {
    let server = shared();
    let bucket = server.bucket("copy");
    let from = format!("/{bucket}/k");
    server.put(&from).body("body").send().expect(200);
    let head = server.head(&from).send().expect(200);
    let modified = head.header("last-modified").expect("it says when");
    let etag = format!("\"{}\"", md5_hex(b"body"));
    let long_ago = "Sat, 01 Jan 2000 00:00:00 GMT";
    let attempt = |conditions: &[(&str, &str)]| {
        let mut request = copy(server, &from, &format!("/{bucket}/c"));
        for (name, value) in conditions {
            request = request.header(&format!("x-amz-copy-source-{name}"), *value);
        }
        request.send()
    };
    for failing in [
        &[("if-match", "\"x\"")][..],
        &[("if-none-match", &etag)],
        &[("if-modified-since", modified)],
        &[("if-unmodified-since", long_ago)],
        &[("if-match", "\"x\""), ("if-unmodified-since", modified)],
        &[("if-none-match", &etag), ("if-modified-since", long_ago)],
    ] {
        attempt(failing).expect_error(412, "PreconditionFailed");
    }
    server.head(&format!("/{bucket}/c")).send().expect(404);
    for holding in [
        &[("if-match", etag.as_str())][..],
        &[("if-none-match", "\"x\"")],
        &[("if-modified-since", long_ago)],
        &[("if-unmodified-since", modified)],
        &[("if-match", &etag), ("if-unmodified-since", long_ago)],
    ] {
        attempt(holding).expect(200);
    }
}

#[test]
fn sources_that_are_none() {
    let server = shared();
    let bucket = server.bucket("copy");
    let attempt = |source: &str| {
        server.put(&format!("/{bucket}/c")).header("x-amz-copy-source", source).send()
    };
    attempt(&format!("/{bucket}/nothing")).expect_error(404, "NoSuchKey");
    attempt("/no-such-bucket-here/k").expect_error(404, "NoSuchBucket");
    for bad in ["", "/", "nonsense", &format!("/{bucket}"), &format!("/{bucket}/"), "/B/k", "%zz"] {
        attempt(bad).expect_error(400, "InvalidArgument");
    }
    server.put(&format!("/{bucket}/k")).body("body").send().expect(200);
    attempt(&format!("/{bucket}/k?versionId=null")).expect(200);
    attempt(&format!("/{bucket}/k?versionId=abc")).expect(400);
    // What cannot be honoured is refused.
    let into = copy(server, &format!("/{bucket}/k"), &format!("/{bucket}/d"));
    into.header("x-amz-server-side-encryption", "AES256")
        .send()
        .expect_error(501, "NotImplemented");
    let gone = copy(server, &format!("/{bucket}/k"), "/no-such-bucket-here/k").send();
    gone.expect_error(404, "NoSuchBucket");
    server.head(&format!("/{bucket}/d")).send().expect(404);
}

#[test]
fn a_checksum_that_the_source_has_not() {
    let server = shared();
    let bucket = server.bucket("copy");
    let body = noise(1, 300_000);
    server.put(&format!("/{bucket}/k")).body(&body).send().expect(200);
    for algorithm in ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] {
        let to = format!("/{bucket}/{algorithm}");
        let upper = algorithm.to_uppercase();
        let request = copy(server, &format!("/{bucket}/k"), &to);
        let copied = request.header("x-amz-checksum-algorithm", &upper).send().expect(200);
        assert_eq!(copied.text(&format!("Checksum{upper}")), sum(algorithm, &body));
        let head = server.head(&to).header("x-amz-checksum-mode", "ENABLED").send().expect(200);
        let header = format!("x-amz-checksum-{algorithm}");
        assert_eq!(head.header(&header), Some(&*sum(algorithm, &body)));
    }
}

// ---- UploadPartCopy ----------------------------------------------------------------------

#[test]
fn parts_from_objects() {
    let server = shared();
    let bucket = server.bucket("copy");
    let source = noise(1, 6 << 20);
    server.put(&format!("/{bucket}/k")).body(&source).send().expect(200);
    let id = server.upload(&bucket, "m");
    let part = |number: u32| {
        let target = format!("/{bucket}/m?partNumber={number}&uploadId={id}");
        server.put(&target).header("x-amz-copy-source", format!("/{bucket}/k"))
    };
    let etag = |request: Request| {
        let copied = request.send().expect(200);
        assert!(copied.text("LastModified").ends_with('Z'));
        copied.text("ETag").trim_matches('"').to_owned()
    };
    let whole = etag(part(1));
    assert_eq!(whole, md5_hex(&source));
    let ranged = etag(part(2).header("x-amz-copy-source-range", "bytes=100-5242979"));
    assert_eq!(ranged, md5_hex(&source[100..5_242_980]));
    let last = etag(part(3).header("x-amz-copy-source-range", "bytes=6291455-6291455"));
    for bad in ["bytes=0-6291456", "bytes=6291456-6291457"] {
        let error = part(4).header("x-amz-copy-source-range", bad).send();
        assert!(matches!(error.status, 400 | 416), "{bad}");
    }
    for bad in ["bytes=5-", "bytes=-5", "bytes=5-2", "0-5", "bytes=0-1,2-3", "nonsense"] {
        part(4).header("x-amz-copy-source-range", bad).send().expect_error(400, "InvalidArgument");
    }
    let failing = part(4).header("x-amz-copy-source-if-match", "\"x\"").send();
    failing.expect_error(412, "PreconditionFailed");
    let wrong = server.put(&format!("/{bucket}/m?partNumber=1&uploadId=x"));
    let wrong = wrong.header("x-amz-copy-source", format!("/{bucket}/k"));
    wrong.send().expect_error(404, "NoSuchUpload");
    let gone = server.put(&format!("/{bucket}/m?partNumber=4&uploadId={id}"));
    let gone = gone.header("x-amz-copy-source", format!("/{bucket}/nothing"));
    gone.send().expect_error(404, "NoSuchKey");
    let complete = server.complete(&bucket, "m", &id, &[(1, &whole), (2, &ranged), (3, &last)]);
    complete.send().expect(200);
    let expected = [&source[..], &source[100..5_242_980], &source[6_291_455..]].concat();
    assert!(server.get(&format!("/{bucket}/m")).send().expect(200).body == expected);
    assert!(inodes(server, &bucket).into_values().any(|n| n == 2), "a whole object is linked");
}

#[test]
fn copies_race_overwrites() {
    let server = shared();
    let bucket = server.bucket("copy");
    let from = format!("/{bucket}/k");
    let bodies: Vec<Vec<u8>> = (0..4).map(|n| noise(n, 50_000)).collect();
    server.put(&from).body(&bodies[0]).send().expect(200);
    crate::support::at_once(4, |number| {
        for round in 0..40 {
            if number < 2 {
                let body = &bodies[number * 2 + round % 2];
                server.put(&from).body(body).send().expect(200);
                continue;
            }
            let to = format!("/{bucket}/{number}");
            let copied = copy(server, &from, &to).send().expect(200).text("ETag");
            let get = server.get(&to).send().expect(200);
            assert_eq!(format!("\"{}\"", md5_hex(&get.body)), copied);
        }
    });
}
