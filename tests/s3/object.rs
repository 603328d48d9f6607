//! PutObject, GetObject, HeadObject, DeleteObject, GetObjectAttributes.

use crate::support::{Response, Server, md5_hex, noise, shared};
use jog::s3::table::{Body, OPERATIONS, Target, When};

// ---- bytes -------------------------------------------------------------------------------

#[test]
fn bytes_come_back_as_they_went() {
    let server = shared();
    let bucket = server.bucket("object");
    let mut connection = server.connect();
    for size in [0, 1, 1023, 65_536, 262_144, 262_145, 1_000_001] {
        let body = noise(size as u64, size);
        let target = format!("/{bucket}/{size}");
        let put = connection.send(server.put(&target).body(&body)).expect(200);
        assert_eq!(put.etag(), md5_hex(&body));
        assert!(put.body.is_empty());
        let get = connection.send(server.get(&target)).expect(200);
        assert!(get.body == body);
        assert_eq!(get.etag(), md5_hex(&body));
        assert_eq!(get.header("accept-ranges"), Some("bytes"));
        assert_eq!(get.header("content-type"), Some("binary/octet-stream"));
        let head = connection.send(server.head(&target)).expect(200);
        assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(head.header("last-modified"), get.header("last-modified"));
        assert_eq!(head.etag(), get.etag());
        let http_chunks = server.put(&target).body(&body).in_http_chunks();
        connection.send(http_chunks).expect(200);
        assert!(connection.send(server.get(&target)).expect(200).body == body);
    }
}

#[test]
fn an_overwrite_does_not_touch_what_somebody_reads() {
    let server = shared();
    let bucket = server.bucket("object");
    let target = format!("/{bucket}/k");
    let old = noise(1, 8 << 20);
    server.put(&target).body(&old).send().expect(200);
    let mut reader = server.connect();
    reader.write(server.get(&target).message().head());
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.put(&target).body("new").send().expect(200);
    server.delete(&target).send().expect(204);
    let answer = reader.response("GET").expect("it is complete").expect(200);
    assert!(answer.body == old);
    server.get(&target).send().expect_error(404, "NoSuchKey");
}

#[test]
fn what_is_not_there() {
    let server = shared();
    let bucket = server.bucket("object");
    let target = format!("/{bucket}/nothing");
    let error = server.get(&target).send().expect_error(404, "NoSuchKey");
    assert_eq!(error.text("Key"), "nothing");
    assert_eq!(error.text("Resource"), target);
    assert_eq!(error.header("x-amz-request-id"), error.get("RequestId").as_deref());
    server.delete(&target).send().expect(204);
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let answer = server.request(method, "/no-such-bucket-here/k").send().expect(404);
        if method != "HEAD" {
            assert_eq!(
                answer.expect_error(404, "NoSuchBucket").text("BucketName"),
                "no-such-bucket-here"
            );
        }
    }
}

#[test]
fn head_has_no_body_and_the_length_of_one() {
    let server = shared();
    let bucket = server.bucket("object");
    let target = format!("/{bucket}/k");
    server.put(&target).body(noise(1, 12_345)).send().expect(200);
    let mut connection = server.connect();
    // If an answer had a body, the next one on the connection would be garbage.
    for _ in 0..2 {
        let head = connection.send(server.head(&target)).expect(200);
        assert_eq!(head.header("content-length"), Some("12345"));
        let part = connection.send(server.head(&target).header("Range", "bytes=5-9")).expect(206);
        assert_eq!(part.header("content-length"), Some("5"));
        assert_eq!(part.header("content-range"), Some("bytes 5-9/12345"));
        connection.send(server.head(&format!("/{bucket}/nothing"))).expect(404);
        connection.send(server.head("/no-such-bucket-here")).expect(404);
        connection.send(server.head(&target).header("If-Match", "\"x\"")).expect(412);
        connection.send(server.head(&target).header("Range", "bytes=20000-")).expect(416);
    }
}

// ---- keys --------------------------------------------------------------------------------

#[test]
fn keys_of_every_kind_live_side_by_side() {
    let server = shared();
    let bucket = server.bucket("keys");
    let long = "k".repeat(1024);
    let long_unicode = format!("{}{}", "日".repeat(341), "x");
    let keys = [
        "a",
        "a/",
        "a/b",
        "a/b/",
        "//",
        "/",
        "/a",
        "a//b",
        "..",
        ".",
        "../x",
        "a/../b",
        "a/./b",
        "a b+c",
        "a+b",
        "a b",
        "%41",
        "a%2Fb",
        "?",
        "#",
        "&=;:@$,",
        "\"<>'`{}|\\^[]",
        "~-._",
        "ü",
        "u\u{308}",
        "日本語/テスト",
        "🦀",
        "\u{1}\t\n\u{7f}",
        " ",
        " a ",
        "\u{feff}",
        "\u{fffd}",
        "CON",
        "con",
        "a.",
        "acl",
        "uploads",
        &long,
        &long_unicode,
    ];
    for key in keys {
        let put = server.object("PUT", &bucket, key).body(key).send();
        assert_eq!(put.status, 200, "{key:?}: {}", String::from_utf8_lossy(&put.body));
    }
    for key in keys {
        let get = server.object("GET", &bucket, key).send();
        assert_eq!((get.status, get.body.as_slice()), (200, key.as_bytes()), "{key:?}");
    }
    let list = server.get(&format!("/{bucket}?list-type=2&encoding-type=url")).send().expect(200);
    let listed: Vec<String> = list.all("Key").iter().map(|k| crate::support::decode(k)).collect();
    let mut sorted = keys.to_vec();
    sorted.sort_unstable_by_key(|key| key.as_bytes().to_vec());
    assert_eq!(listed, sorted, "UTF-8 order");
    // Deleting one leaves those that look like it.
    for key in keys.iter().step_by(2) {
        server.object("DELETE", &bucket, key).send().expect(204);
    }
    for (number, key) in keys.iter().enumerate() {
        let status = server.object("HEAD", &bucket, key).send().status;
        assert_eq!(status, if number % 2 == 0 { 404 } else { 200 }, "{key:?}");
    }
}

#[test]
fn keys_that_are_none() {
    let server = shared();
    let bucket = server.bucket("keys");
    for key in ["k".repeat(1025), "日".repeat(342), "k".repeat(3000)] {
        let put = server.object("PUT", &bucket, &key).body("x").send();
        put.expect_error(400, "KeyTooLongError");
        server.object("GET", &bucket, &key).send().expect_error(400, "KeyTooLongError");
        server.object("DELETE", &bucket, &key).send().expect_error(400, "KeyTooLongError");
        let create = server.object("POST", &bucket, &key).query("uploads", "");
        create.send().expect_error(400, "KeyTooLongError");
    }
    for path in ["/%FF", "/%C3%28", "/a%ED%A0%80"] {
        let put = server.put("/").raw_path(&format!("/{bucket}{path}")).body("x");
        assert_eq!(put.send().status, 400, "{path}: not UTF-8");
    }
    let list = server.get(&format!("/{bucket}?list-type=2")).send().expect(200);
    assert_eq!(list.text("KeyCount"), "0");
}

#[test]
fn a_bucket_with_a_slash_is_the_bucket() {
    let server = shared();
    let bucket = server.bucket("keys");
    server.get(&format!("/{bucket}/")).send().expect(200).text("ListBucketResult");
    server.head(&format!("/{bucket}/")).send().expect(200);
}

// ---- metadata ----------------------------------------------------------------------------

const SYSTEM: [(&str, &str); 6] = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Encoding", "gzip"),
    ("Content-Language", "de, ja"),
    ("Content-Disposition", "attachment; filename=\"a b.txt\""),
    ("Cache-Control", "max-age=60, public"),
    ("Expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
];

#[test]
fn metadata_comes_back() {
    let server = shared();
    let bucket = server.bucket("meta");
    let target = format!("/{bucket}/k");
    let user = [
        ("x-amz-meta-plain", "value"),
        ("x-amz-meta-utf8", "Größe 日本 🦀"),
        ("x-amz-meta-spaces", "a b"),
        ("x-amz-meta-quotes", "\"=?UTF-8?B?w7w=?="),
    ];
    let mut put = server.put(&target).body("x");
    for (name, value) in SYSTEM.iter().chain(&user) {
        put = put.header(name, *value);
    }
    put.header("X-Amz-Meta-UPPER", "Case").send().expect(200);
    for method in ["GET", "HEAD"] {
        let answer = server.request(method, &target).send().expect(200);
        for (name, value) in SYSTEM.iter().chain(&user) {
            assert_eq!(answer.header(name), Some(*value), "{name}");
        }
        assert_eq!(answer.header("x-amz-meta-upper"), Some("Case"));
    }
    // An overwrite begins anew.
    server.put(&target).body("y").send().expect(200);
    let answer = server.get(&target).send().expect(200);
    assert_eq!(answer.header("x-amz-meta-plain"), None);
    assert_eq!(answer.header("content-language"), None);
}

#[test]
fn metadata_has_2_kib() {
    let server = shared();
    let bucket = server.bucket("meta");
    let target = format!("/{bucket}/k");
    let put = |value: String| server.put(&target).header("x-amz-meta-abcd", value).send();
    put("v".repeat(2044)).expect(200);
    put("v".repeat(2045)).expect_error(400, "MetadataTooLarge");
    put("ü".repeat(1022)).expect(200);
    put("ü".repeat(1023)).expect_error(400, "MetadataTooLarge");
    let mut many = server.put(&target);
    for number in 100..180 {
        many = many.header(&format!("x-amz-meta-{number}"), "v".repeat(30));
    }
    many.send().expect_error(400, "MetadataTooLarge");
    // System metadata does not count.
    let system = server.put(&target).header("x-amz-meta-abcd", "v".repeat(2044));
    system.header("Cache-Control", "c".repeat(1000)).send().expect(200);
    let create = server.post(&format!("{target}?uploads"));
    let create = create.header("x-amz-meta-abcd", "v".repeat(2045)).send();
    create.expect_error(400, "MetadataTooLarge");
}

#[test]
fn overrides_of_the_answer() {
    let server = shared();
    let bucket = server.bucket("meta");
    let target = format!("/{bucket}/k");
    let put = server.put(&target).body("x").header("Content-Type", "text/plain");
    put.header("Cache-Control", "no-store").send().expect(200);
    let overrides = [
        ("response-content-type", "content-type", "application/x-ü"),
        ("response-content-language", "content-language", "ja"),
        ("response-expires", "expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("response-cache-control", "cache-control", "max-age=5"),
        ("response-content-disposition", "content-disposition", "attachment; filename=\"b+c\""),
        ("response-content-encoding", "content-encoding", "br"),
    ];
    for method in ["GET", "HEAD"] {
        let mut request = server.request(method, &target);
        for (parameter, _, value) in overrides {
            request = request.query(parameter, value);
        }
        let answer = request.send().expect(200);
        for (_, header, value) in overrides {
            assert_eq!(answer.header(header), Some(value));
        }
        // A line break would split the answer.
        let split = server.request(method, &target);
        let split = split.query("response-content-type", "a/b\r\nX-Evil: 1\r\n\r\n").send();
        assert_eq!(split.header("x-evil"), None);
    }
    let plain = server.get(&target).send().expect(200);
    assert_eq!(plain.header("content-type"), Some("text/plain"));
    assert_eq!(plain.header("cache-control"), Some("no-store"));
}

#[test]
fn what_is_not_had_is_refused() {
    let server = shared();
    let bucket = server.bucket("meta");
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-write-offset-bytes", "0"),
    ] {
        let put = server.put(&format!("/{bucket}/k")).body("x").header(name, value).send();
        put.expect_error(501, "NotImplemented");
        let create = server.post(&format!("/{bucket}/k?uploads")).header(name, value).send();
        create.expect_error(501, "NotImplemented");
    }
    let class = server.put(&format!("/{bucket}/k")).header("x-amz-storage-class", "NONSENSE");
    class.send().expect_error(400, "InvalidStorageClass");
    server.get(&format!("/{bucket}/k")).send().expect_error(404, "NoSuchKey");
    for (name, value) in [("x-amz-acl", "private"), ("x-amz-storage-class", "STANDARD")] {
        server.put(&format!("/{bucket}/k")).header(name, value).send().expect(200);
    }
}

// ---- ranges ------------------------------------------------------------------------------

fn range(server: &Server, target: &str, range: &str) -> Response {
    server.get(target).header("Range", range).send()
}

#[test]
fn ranges() {
    let server = shared();
    let bucket = server.bucket("range");
    for size in [10, 600_000_usize] {
        let body = noise(1, size);
        let target = format!("/{bucket}/{size}");
        server.put(&target).body(&body).send().expect(200);
        let last = size - 1;
        for (text, start, end) in [
            ("bytes=0-0".to_owned(), 0, 0),
            ("bytes=0-".to_owned(), 0, last),
            ("bytes=2-5".to_owned(), 2, 5),
            (format!("bytes={last}-"), last, last),
            (format!("bytes=3-{}", size + 100), 3, last),
            ("bytes=-4".to_owned(), size - 4, last),
            (format!("bytes=-{}", size + 5), 0, last),
            ("bytes=5-18446744073709551615".to_owned(), 5, last),
        ] {
            let answer = range(server, &target, &text).expect(206);
            assert!(answer.body == body[start..=end], "{text}");
            let expected = format!("bytes {start}-{end}/{size}");
            assert_eq!(answer.header("content-range"), Some(expected.as_str()), "{text}");
            assert_eq!(answer.etag(), md5_hex(&body));
        }
        for text in [format!("bytes={size}-"), format!("bytes={size}-{}", size + 1)] {
            let error = range(server, &target, &text).expect_error(416, "InvalidRange");
            let expected = format!("bytes */{size}");
            assert_eq!(error.header("content-range"), Some(expected.as_str()));
            assert_eq!(error.text("ActualObjectSize"), size.to_string());
        }
        range(server, &target, "bytes=-0").expect_error(416, "InvalidRange");
        // What is no single range of bytes is ignored.
        for text in ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes", "bytes=", "bytes=0-1,3-4"] {
            assert!(range(server, &target, text).expect(200).body == body, "{text}");
        }
    }
    let empty = format!("/{bucket}/empty");
    server.put(&empty).send().expect(200);
    range(server, &empty, "bytes=0-").expect_error(416, "InvalidRange");
    range(server, &empty, "bytes=0-0").expect_error(416, "InvalidRange");
}

#[test]
fn if_range() {
    let server = shared();
    let bucket = server.bucket("range");
    let target = format!("/{bucket}/k");
    server.put(&target).body("0123456789").send().expect(200);
    let head = server.head(&target).send().expect(200);
    let modified = head.header("last-modified").expect("it says when").to_owned();
    let status = |value: &str| {
        server.get(&target).header("Range", "bytes=1-2").header("If-Range", value).send().status
    };
    assert_eq!(status(&format!("\"{}\"", head.etag())), 206);
    assert_eq!(status("\"other\""), 200);
    assert_eq!(status(&modified), 206);
    assert_eq!(status("Sat, 01 Jan 2000 00:00:00 GMT"), 200);
}

#[test]
fn a_part_number_of_an_object_in_one_piece() {
    let server = shared();
    let bucket = server.bucket("range");
    let target = format!("/{bucket}/k");
    server.put(&target).body("0123456789").send().expect(200);
    let part = server.get(&format!("{target}?partNumber=1")).send();
    assert!(matches!(part.status, 200 | 206));
    assert_eq!(part.body, b"0123456789");
    assert_eq!(part.header("x-amz-mp-parts-count"), None);
    let both = server.get(&format!("{target}?partNumber=1")).header("Range", "bytes=0-1");
    both.send().expect_error(400, "InvalidRequest");
    for bad in ["0", "10001", "x", "-1"] {
        let error = server.get(&format!("{target}?partNumber={bad}")).send();
        error.expect_error(400, "InvalidArgument");
    }
    let second = server.get(&format!("{target}?partNumber=2")).send();
    assert!(matches!(second.status, 400 | 416));
}

// ---- sub-resources -----------------------------------------------------------------------

/// Whether there is an operation that deletes this sub-resource.
fn has_row(name: &str) -> bool {
    let names = |when: &When| matches!(when, When::Query(q) if *q == name);
    let deletes = OPERATIONS.iter().filter(|row| row.method == jog::http::Method::Delete);
    deletes.flat_map(|row| row.when).any(names)
}

#[test]
fn a_subresource_never_writes_or_deletes() {
    let server = shared();
    let bucket = server.bucket("sub");
    let target = format!("/{bucket}/k");
    server.put(&target).body("kept").send().expect(200);
    let of_queries = OPERATIONS.iter().flat_map(|row| row.when).filter_map(|when| match when {
        When::Query(name) => Some(*name),
        _ => None,
    });
    let mut names: Vec<&str> = of_queries.collect();
    names.extend(["acl", "retention", "legal-hold", "tagging", "torrent", "restore", "select"]);
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        for method in ["PUT", "DELETE", "POST"] {
            for path in [&target, &format!("/{bucket}")] {
                for query in [name.to_owned(), format!("{name}=x"), format!("a=b&{name}=")] {
                    let answer = server.request(method, &format!("{path}?{query}")).send();
                    let created = method == "POST" && name == "uploads" && *path == target;
                    // What is removed is the sub-resource.
                    let removed = method == "DELETE" && answer.status == 204 && has_row(name);
                    assert!(answer.status >= 400 || created || removed, "{method} {path}?{query}");
                    assert_ne!(answer.status, 500, "{method} {path}?{query}");
                }
            }
        }
    }
    let get = server.get(&target).send().expect(200);
    assert_eq!(get.body, b"kept");
    let keys = server.get(&format!("/{bucket}?list-type=2")).send().expect(200).all("Key");
    assert_eq!(keys, ["k"]);
    // On a key that is not there they make none.
    for query in ["acl", "tagging", "retention", "legal-hold", "renameObject", "encryption"] {
        let put = server.put(&format!("/{bucket}/new?{query}")).body("<X/>").send();
        assert!(matches!(put.status, 400 | 404 | 501), "{query}: {}", put.status);
    }
    server.head(&format!("/{bucket}/new")).send().expect(404);
}

#[test]
fn what_is_not_kept_says_so() {
    let server = shared();
    let bucket = server.bucket("sub");
    server.put(&format!("/{bucket}/k")).send().expect(200);
    let puts = OPERATIONS.iter().filter(|row| row.method == jog::http::Method::Put);
    for row in puts.filter(|row| row.body == Body::None) {
        let [When::Query(name)] = row.when else { continue };
        let path = if row.target == Target::Object { "/k" } else { "" };
        let put = server.put(&format!("/{bucket}{path}?{name}")).body("<X/>").send();
        assert!(matches!(put.status, 400 | 501), "{name}: {}", put.status);
    }
    for (query, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("cors", "NoSuchCORSConfiguration"),
        ("tagging", "NoSuchTagSet"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("ownershipControls", "OwnershipControlsNotFoundError"),
    ] {
        server.get(&format!("/{bucket}?{query}")).send().expect_error(404, code);
        let gone = server.get(&format!("/no-such-bucket-here?{query}")).send();
        gone.expect_error(404, "NoSuchBucket");
    }
    let acl = server.get(&format!("/{bucket}/k?acl")).send().expect(200);
    assert_eq!(acl.all("Permission"), ["FULL_CONTROL"]);
    server.get(&format!("/{bucket}/nothing?acl")).send().expect_error(404, "NoSuchKey");
    let versioning = server.get(&format!("/{bucket}?versioning")).send().expect(200);
    assert_eq!(versioning.get("Status"), None);
}

#[test]
fn versions() {
    let server = shared();
    let bucket = server.bucket("sub");
    let target = format!("/{bucket}/k");
    server.put(&target).body("kept").send().expect(200);
    assert_eq!(server.get(&format!("{target}?versionId=null")).send().expect(200).body, b"kept");
    for method in ["GET", "DELETE"] {
        let answer = server.request(method, &format!("{target}?versionId=abc")).send();
        assert!(matches!(answer.status, 400 | 404), "{}", answer.status);
    }
    server.put(&format!("{target}?versionId=null")).send().expect_error(400, "InvalidArgument");
    assert_eq!(server.get(&target).send().expect(200).body, b"kept");
    server.delete(&format!("{target}?versionId=null")).send().expect(204);
    server.head(&target).send().expect(404);
}

#[test]
fn attributes() {
    let server = shared();
    let bucket = server.bucket("attributes");
    let target = format!("/{bucket}/k");
    server.put(&target).body("0123456789").send().expect(200);
    let get = |names: &str| {
        let get = server.get(&format!("{target}?attributes"));
        get.header("x-amz-object-attributes", names).send()
    };
    let all = get("ETag,Checksum,ObjectParts,StorageClass,ObjectSize").expect(200);
    assert_eq!(all.text("ETag"), md5_hex(b"0123456789"), "without quotes, as AWS");
    assert_eq!(all.text("ObjectSize"), "10");
    assert_eq!(all.get("ObjectParts"), None);
    assert!(all.header("last-modified").is_some());
    let one = get("ObjectSize").expect(200);
    assert_eq!((one.get("ETag"), one.get("StorageClass")), (None, None));
    get("Nonsense").expect_error(400, "InvalidArgument");
    server.get(&format!("{target}?attributes")).send().expect_error(400, "InvalidArgument");
    let gone = server.get(&format!("/{bucket}/nothing?attributes"));
    gone.header("x-amz-object-attributes", "ETag").send().expect_error(404, "NoSuchKey");
}

#[test]
fn too_large() {
    let server = shared();
    let bucket = server.bucket("object");
    let limit = 5_u64 << 30;
    let put = server.put(&format!("/{bucket}/k")).payload_hash("UNSIGNED-PAYLOAD");
    let put = put.header("Content-Length", (limit + 1).to_string()).send();
    put.expect_error(400, "EntityTooLarge");
    let chunks = crate::support::sign::Chunks::unsigned(8192).trailer("x-amz-checksum-crc32", "");
    let put = server.put(&format!("/{bucket}/k")).body("x").chunks(chunks);
    let put = put.header("x-amz-decoded-content-length", (limit + 1).to_string()).send();
    put.expect_error(400, "EntityTooLarge");
    server.head(&format!("/{bucket}/k")).send().expect(404);
}
