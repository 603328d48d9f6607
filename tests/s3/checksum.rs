//! What is stored is what was sent, and what arrives is what was stored.

use crate::support::sign::{Chunks, sha256_hex};
use crate::support::{
    ALGORITHMS, Response, Server, eventually, md5_base64, md5_hex, noise, shared, sum, sum_header,
};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

const OLD: &[u8] = b"the object that was there before";

/// A bucket with an object `k` that no failed write may touch.
fn bucket_with_old(server: &Server) -> String {
    let bucket = server.bucket("checksum");
    server.put(&format!("/{bucket}/k")).body(OLD).send().expect(200);
    bucket
}

#[track_caller]
fn assert_old(server: &Server, bucket: &str) {
    let response = server.get(&format!("/{bucket}/k")).send().expect(200);
    assert_eq!(response.body, OLD);
    assert_eq!(response.etag(), md5_hex(OLD));
    assert_eq!(server.blobs(bucket).len(), 1, "a failed write leaves no file");
}

/// The value of a checksum's element in a document: `ChecksumCRC32`.
fn element(algorithm: &str) -> String {
    format!("Checksum{}", algorithm.to_uppercase())
}

#[track_caller]
fn assert_checksum(server: &Server, target: &str, algorithm: &str, value: &str) {
    for method in ["GET", "HEAD"] {
        let with = server.request(method, target).header("x-amz-checksum-mode", "ENABLED");
        let with = with.send().expect(200);
        assert_eq!(with.header(&sum_header(algorithm)), Some(value));
        assert_eq!(with.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        for other in ALGORITHMS.into_iter().filter(|a| *a != algorithm) {
            assert_eq!(with.header(&sum_header(other)), None);
        }
        let without = server.request(method, target).send().expect(200);
        assert_eq!(without.header(&sum_header(algorithm)), None, "nobody asked");
    }
    let attributes = server
        .get(&format!("{target}?attributes"))
        .header("x-amz-object-attributes", "Checksum,ObjectSize,ETag,StorageClass")
        .send()
        .expect(200);
    assert_eq!(attributes.text(&element(algorithm)), value);
    assert_eq!(attributes.text("ChecksumType"), "FULL_OBJECT");
    assert_eq!(attributes.text("StorageClass"), "STANDARD");
}

// ---- in a header -------------------------------------------------------------------------

#[test]
fn every_algorithm_in_a_header() {
    let server = shared();
    let bucket = server.bucket("checksum");
    for (seed, algorithm) in ALGORITHMS.into_iter().enumerate() {
        for size in [0, 1, 100_000] {
            let body = noise(seed as u64, size);
            let target = format!("/{bucket}/{algorithm}-{size}");
            let value = sum(algorithm, &body);
            let put = server.put(&target).header(&sum_header(algorithm), &value).body(&body);
            let put = put.send().expect(200);
            assert_eq!(put.header(&sum_header(algorithm)), Some(value.as_str()));
            assert_eq!(put.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
            assert_checksum(server, &target, algorithm, &value);
            assert_eq!(server.get(&target).send().expect(200).body, body);
        }
    }
}

#[test]
fn a_wrong_checksum_in_a_header() {
    let server = shared();
    let bucket = bucket_with_old(server);
    for algorithm in ALGORITHMS {
        for body in [b"new".to_vec(), noise(1, 300_000)] {
            let put = server.put(&format!("/{bucket}/k")).body(&body);
            let wrong = sum(algorithm, b"something else");
            put.header(&sum_header(algorithm), wrong).send().expect_error(400, "BadDigest");
            assert_old(server, &bucket);
        }
    }
}

#[test]
fn a_malformed_checksum_in_a_header() {
    let server = shared();
    let bucket = bucket_with_old(server);
    for algorithm in ALGORITHMS {
        let short = sum("crc32", b"new")[..4].to_owned();
        for value in ["", "not base64!", "AAAA", &short] {
            let put = server.put(&format!("/{bucket}/k")).body("new");
            put.header(&sum_header(algorithm), value).send().expect(400);
            assert_old(server, &bucket);
        }
    }
}

#[test]
fn two_checksums_or_one_that_nobody_can_compute() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let put = || server.put(&format!("/{bucket}/k")).body("new");
    put()
        .header("x-amz-checksum-crc32", sum("crc32", b"new"))
        .header("x-amz-checksum-sha1", sum("sha1", b"new"))
        .send()
        .expect_error(400, "InvalidRequest");
    put().header("x-amz-checksum-sha512", "AAAA").send().expect_error(400, "InvalidRequest");
    put()
        .header("x-amz-sdk-checksum-algorithm", "SHA1")
        .header("x-amz-checksum-crc32", sum("crc32", b"new"))
        .send()
        .expect_error(400, "InvalidRequest");
    assert_old(server, &bucket);
}

#[test]
fn without_a_checksum_there_is_crc64nvme() {
    let server = shared();
    let bucket = server.bucket("checksum");
    for size in [0, 10, 300_000] {
        let body = noise(size as u64, size);
        let target = format!("/{bucket}/{size}");
        let put = server.put(&target).body(&body).send().expect(200);
        let value = sum("crc64nvme", &body);
        assert_eq!(put.header("x-amz-checksum-crc64nvme"), Some(&*value));
        assert_eq!(put.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        assert_checksum(server, &target, "crc64nvme", &value);
        let copy = server.put(&format!("{target}.copy")).header("x-amz-copy-source", &target);
        let copy = copy.send().expect(200);
        assert_eq!(copy.text("ChecksumCRC64NVME"), value);
        assert_eq!(copy.text("ChecksumType"), "FULL_OBJECT");
    }
}

// ---- in a trailer ------------------------------------------------------------------------

fn chunked(signed: bool) -> Chunks {
    if signed { Chunks::signed(8192) } else { Chunks::unsigned(8192) }
}

#[test]
fn every_algorithm_in_a_trailer() {
    let server = shared();
    let bucket = server.bucket("checksum");
    for algorithm in ALGORITHMS {
        for signed in [true, false] {
            for size in [0, 1, 8192, 100_000] {
                let body = noise(7, size);
                let value = sum(algorithm, &body);
                let target = format!("/{bucket}/{algorithm}-{signed}-{size}");
                let chunks = chunked(signed).trailer(&sum_header(algorithm), &value);
                let put = server.put(&target).body(&body).chunks(chunks).send().expect(200);
                assert_eq!(put.header(&sum_header(algorithm)), Some(value.as_str()));
                assert_eq!(put.etag(), md5_hex(&body));
                let get = server.get(&target).header("x-amz-checksum-mode", "ENABLED");
                let get = get.send().expect(200);
                assert_eq!(get.body, body);
                assert_eq!(get.header(&sum_header(algorithm)), Some(value.as_str()));
                assert_eq!(get.header("content-encoding"), None, "aws-chunked is no encoding");
            }
        }
    }
}

#[test]
fn a_wrong_checksum_in_a_trailer() {
    let server = shared();
    let bucket = bucket_with_old(server);
    for algorithm in ALGORITHMS {
        for signed in [true, false] {
            let wrong = sum(algorithm, b"something else");
            let chunks = chunked(signed).trailer(&sum_header(algorithm), &wrong);
            let put = server.put(&format!("/{bucket}/k")).body(noise(3, 20_000)).chunks(chunks);
            put.send().expect_error(400, "BadDigest");
            assert_old(server, &bucket);
        }
    }
}

#[test]
fn a_trailer_that_was_announced_and_does_not_come() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let name = "x-amz-checksum-crc32";
    for signed in [true, false] {
        let chunks = chunked(signed).trailer(name, &sum("crc32", b"new"));
        let mut message = server.put(&format!("/{bucket}/k")).body("new").chunks(chunks).message();
        let text = String::from_utf8(message.body.clone()).expect("this body is text");
        message.body = text.replace(name, "x-amz-checksum-crc99").into_bytes();
        assert!(matches!(message.send().status, 400 | 403));
        assert_old(server, &bucket);
    }
}

#[test]
fn a_flipped_trailer_signature() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let chunks = Chunks::signed(8192).trailer("x-amz-checksum-crc32", &sum("crc32", b"new"));
    let mut message = server.put(&format!("/{bucket}/k")).body("new").chunks(chunks).message();
    message.body = flip(message.body, b"x-amz-trailer-signature:", 0);
    message.send().expect_error(403, "SignatureDoesNotMatch");
    assert_old(server, &bucket);
}

// ---- signed chunks -----------------------------------------------------------------------

/// Changes the hex digit that follows the nth occurrence of a text.
fn flip(mut body: Vec<u8>, text: &[u8], nth: usize) -> Vec<u8> {
    let found = body.windows(text.len()).enumerate().filter(|(_, w)| *w == text);
    let at = found.map(|(at, _)| at).nth(nth).expect("it occurs so often") + text.len();
    body[at] = if body[at] == b'0' { b'1' } else { b'0' };
    body
}

#[test]
fn signed_chunks_of_all_sizes() {
    let server = shared();
    let bucket = server.bucket("checksum");
    for (size, chunk) in [(0, 8192), (1, 8192), (8192, 8192), (8193, 8192), (500_000, 65_536)] {
        let body = noise(size as u64, size);
        let target = format!("/{bucket}/{size}");
        let put = server.put(&target).body(&body).chunks(Chunks::signed(chunk)).send();
        assert_eq!(put.expect(200).etag(), md5_hex(&body));
        assert_eq!(server.get(&target).send().expect(200).body, body);
    }
}

#[test]
fn a_flipped_chunk_signature() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let upload = server.upload(&bucket, "m");
    let part = format!("/{bucket}/m?partNumber=1&uploadId={upload}");
    for target in [format!("/{bucket}/k"), part] {
        // The chunks are the first, one in the middle, and the empty one at the end.
        for nth in [0, 1, 3] {
            let put = server.put(&target).body(noise(1, 20_000)).chunks(Chunks::signed(8192));
            let mut message = put.message();
            message.body = flip(message.body, b";chunk-signature=", nth);
            message.send().expect_error(403, "SignatureDoesNotMatch");
            assert_old(server, &bucket);
        }
    }
    let parts = server.get(&format!("/{bucket}/m?uploadId={upload}")).send().expect(200);
    assert!(parts.elements("Part").is_empty());
}

#[test]
fn a_flipped_byte_in_a_signed_chunk() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let put = server.put(&format!("/{bucket}/k")).body(noise(1, 20_000));
    let mut message = put.chunks(Chunks::signed(8192)).message();
    let middle = message.body.len() / 2;
    message.body[middle] ^= 1;
    message.send().expect_error(403, "SignatureDoesNotMatch");
    assert_old(server, &bucket);
}

#[test]
fn chunks_that_do_not_add_up() {
    let server = shared();
    let bucket = bucket_with_old(server);
    for signed in [true, false] {
        let chunks = || match signed {
            true => Chunks::signed(8192),
            false => Chunks::unsigned(8192).trailer("x-amz-checksum-crc32", "AAAAAA=="),
        };
        for length in ["19999", "20001"] {
            let put = server.put(&format!("/{bucket}/k")).body(noise(1, 20_000)).chunks(chunks());
            put.header("x-amz-decoded-content-length", length).send().expect(400);
            assert_old(server, &bucket);
        }
        for end in [10_000, 20_000] {
            let put = server.put(&format!("/{bucket}/k")).body(noise(1, 20_000)).chunks(chunks());
            let mut message = put.message().without("content-length");
            message.body.truncate(end);
            let message = message.header("Content-Length", &end.to_string());
            message.send().expect(400);
            assert_old(server, &bucket);
        }
    }
}

// ---- Content-MD5 and x-amz-content-sha256 ------------------------------------------------

#[test]
fn content_md5() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let put = |md5: &str| {
        let put = server.put(&format!("/{bucket}/k")).body("new").header("Content-MD5", md5);
        put.send()
    };
    put(&md5_base64(b"other")).expect_error(400, "BadDigest");
    for invalid in ["", "AAAA", "not base64", &md5_hex(b"new")] {
        put(invalid).expect_error(400, "InvalidDigest");
    }
    assert_old(server, &bucket);
    put(&md5_base64(b"new")).expect(200);
    assert_eq!(server.get(&format!("/{bucket}/k")).send().expect(200).body, b"new");
}

#[test]
fn content_sha256() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let target = format!("/{bucket}/k");
    let put = |hash: &str, body: &[u8]| server.put(&target).body(body).payload_hash(hash).send();
    let other = sha256_hex("other");
    for body in [b"new".to_vec(), noise(1, 300_000)] {
        put(&other, &body).expect_error(400, "XAmzContentSHA256Mismatch");
        assert_old(server, &bucket);
    }
    put(&other, b"").expect_error(400, "XAmzContentSHA256Mismatch");
    for malformed in ["", "abc", "STREAMING-NONSENSE"] {
        put(malformed, b"new").expect(400);
    }
    assert_old(server, &bucket);
    put("UNSIGNED-PAYLOAD", b"new").expect(200);
}

#[test]
fn wrong_promises_about_a_part_and_a_document() {
    let server = shared();
    let bucket = bucket_with_old(server);
    let upload = server.upload(&bucket, "m");
    let part =
        |body: &[u8]| server.put(&format!("/{bucket}/m?partNumber=1&uploadId={upload}")).body(body);
    part(b"new")
        .payload_hash(&sha256_hex("x"))
        .send()
        .expect_error(400, "XAmzContentSHA256Mismatch");
    part(b"new").header("Content-MD5", md5_base64(b"x")).send().expect_error(400, "BadDigest");
    for algorithm in ALGORITHMS {
        let wrong = sum(algorithm, b"x");
        part(b"new").header(&sum_header(algorithm), &wrong).send().expect_error(400, "BadDigest");
        for signed in [true, false] {
            let chunks = chunked(signed).trailer(&sum_header(algorithm), &wrong);
            part(b"new").chunks(chunks).send().expect_error(400, "BadDigest");
        }
    }
    let parts = server.get(&format!("/{bucket}/m?uploadId={upload}")).send().expect(200);
    assert!(parts.elements("Part").is_empty());
    assert_eq!(server.blobs(&bucket).len(), 1);

    let document = "<Delete><Object><Key>k</Key></Object></Delete>";
    let delete = || server.post(&format!("/{bucket}?delete")).body(document);
    delete().payload_hash(&sha256_hex("x")).send().expect_error(400, "XAmzContentSHA256Mismatch");
    delete().header("Content-MD5", md5_base64(b"x")).send().expect_error(400, "BadDigest");
    let crc = sum("crc32", b"x");
    delete().header("x-amz-checksum-crc32", crc).send().expect_error(400, "BadDigest");
    assert_old(server, &bucket);
}

// ---- on the disk -------------------------------------------------------------------------

/// Flips one bit of a file.
fn damage(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).expect("a file of ours");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("it can be written");
}

/// What GET gives: a body only if it is complete.
fn read(server: &Server, target: &str) -> std::io::Result<Response> {
    server.get(target).message().try_send()
}

#[test]
fn a_flipped_bit_of_a_small_object() {
    let server = shared();
    let body = noise(5, 10_000);
    for at in [0, 5000, 9999] {
        let bucket = server.bucket("damage");
        let target = format!("/{bucket}/small-{at}");
        server.put(&target).body(&body).send().expect(200);
        damage(&server.blobs(&bucket)[0], at);
        let error = server.get(&target).send().expect_error(500, "InternalError");
        assert!(!error.xml().contains("buckets/"), "no path goes to a client");
        server.log_line("the damage", |line| {
            line.contains("ERROR") && line.contains(&format!("{bucket}/small-{at}"))
        });
        server.head(&target).send().expect(200);
        // It can be replaced and deleted.
        server.put(&target).body("whole").send().expect(200);
        assert_eq!(server.get(&target).send().expect(200).body, b"whole");
    }
}

#[test]
fn a_flipped_bit_of_a_large_object() {
    let server = shared();
    let body = noise(6, 3_000_000);
    for at in [0, 1_500_000, 2_999_999] {
        let bucket = server.bucket("damage");
        let target = format!("/{bucket}/large-{at}");
        server.put(&target).body(&body).send().expect(200);
        damage(&server.blobs(&bucket)[0], at);
        let answer = read(server, &target);
        assert!(answer.is_err(), "the connection is cut: {:?}", answer.map(|a| a.status));
        server.log_line("the damage", |line| {
            line.contains("ERROR") && line.contains(&format!("{bucket}/large-{at}"))
        });
        server.log_line("the cut", |line| {
            line.contains(&format!("GetObject {bucket} large-{at} 200 - cut "))
        });
        // The server goes on.
        server.head(&target).send().expect(200);
    }
}

#[test]
fn a_flipped_bit_in_a_part() {
    let server = shared();
    let bucket = server.bucket("damage");
    let upload = server.upload(&bucket, "m");
    let bodies = [noise(1, 5 << 20), noise(2, 1000)];
    let etags: Vec<String> = (1..)
        .zip(&bodies)
        .map(|(number, body)| server.part(&bucket, "m", &upload, number, body))
        .collect();
    let complete = server.complete(&bucket, "m", &upload, &[(1, &etags[0]), (2, &etags[1])]);
    complete.send().expect(200);
    let target = format!("/{bucket}/m");
    assert_eq!(server.get(&target).send().expect(200).body, bodies.concat());
    let last = server
        .blobs(&bucket)
        .into_iter()
        .find(|file| file.metadata().is_ok_and(|m| m.len() == 1000))
        .expect("parts stay files of their own");
    damage(&last, 500);
    assert!(read(server, &target).is_err());
    let part = server.get(&format!("{target}?partNumber=2")).message().try_send();
    assert!(part.is_err() || part.is_ok_and(|p| p.status == 500));
    let first = server.get(&format!("{target}?partNumber=1")).send().expect(206);
    assert_eq!(first.body, bodies[0]);
}

#[test]
fn a_file_that_is_too_short_or_gone() {
    let server = shared();
    for size in [10_000, 1_000_000] {
        let bucket = server.bucket("damage");
        let target = format!("/{bucket}/k");
        server.put(&target).body(noise(1, size)).send().expect(200);
        let file = server.blobs(&bucket).remove(0);
        let open = OpenOptions::new().write(true).open(&file).expect("a file of ours");
        open.set_len(size as u64 - 1).expect("it can be shortened");
        match read(server, &target) {
            Ok(answer) => drop(answer.expect_error(500, "InternalError")),
            Err(_) => assert!(size > 100_000),
        }
        std::fs::remove_file(&file).expect("a file of ours");
        let gone = server.get(&target).send();
        assert!(gone.status >= 500, "not {}: NoSuchKey would hide a loss", gone.status);
    }
}

#[test]
fn a_damaged_source_is_not_copied_by_bytes() {
    let server = shared();
    let bucket = server.bucket("damage");
    let target = format!("/{bucket}/k");
    server.put(&target).body(noise(1, 400_000)).send().expect(200);
    damage(&server.blobs(&bucket)[0], 3);
    // A checksum that is not known has to be computed from the bytes.
    let copy = server.put(&format!("/{bucket}/copy"));
    let copy = copy.header("x-amz-copy-source", target).header("x-amz-checksum-algorithm", "SHA1");
    assert!(copy.send().status >= 500);
    server.get(&format!("/{bucket}/copy")).send().expect_error(404, "NoSuchKey");
    eventually("no file is left behind", || server.blobs(&bucket).len() == 1);
}
