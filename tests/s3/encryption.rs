//! Encryption at rest: SSE-S3, SSE-C, and what is on the disk.

use super::bucket_encryption::{AES256, configuration};
use crate::support::server::{for_a_static, run};
use crate::support::sign::{ACCESS_KEY, SECRET_KEY, encode};
use crate::support::{Request, Response, Server, md5_base64, md5_hex, multipart_etag, noise, sum};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, OnceLock};

const MASTER: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CHUNK: usize = 64 * 1024;
const CUSTOMER: &str = "x-amz-server-side-encryption-customer-";
const SOURCE: &str = "x-amz-copy-source-server-side-encryption-customer-";

/// One server with a master key for the tests that need nothing of their own.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<(Server, Child)> = OnceLock::new();
    &SERVER.get_or_init(|| for_a_static(Server::with(&[("JOG_SSE_KEY", MASTER)]))).0
}

/// How an object is encrypted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Plain,
    Server,
    /// With the key of this number.
    Customer(u8),
}

use Kind::{Customer, Plain};

const KINDS: [Kind; 4] = [Plain, Kind::Server, Customer(1), Customer(2)];

fn with_key(request: Request, prefix: &str, number: u8) -> Request {
    let key = [number; 32];
    request
        .header(&format!("{prefix}algorithm"), "AES256")
        .header(&format!("{prefix}key"), BASE64_STANDARD.encode(key))
        .header(&format!("{prefix}key-MD5"), md5_base64(&key))
}

impl Kind {
    /// The headers for making an object of this kind.
    pub fn write(self, request: Request) -> Request {
        match self {
            Plain => request,
            Self::Server => request.header("x-amz-server-side-encryption", "AES256"),
            Customer(number) => with_key(request, CUSTOMER, number),
        }
    }

    /// The headers for reading one, and for the parts of one.
    pub fn read(self, request: Request) -> Request {
        match self {
            Customer(_) => self.write(request),
            _ => request,
        }
    }

    /// The headers for copying one.
    fn source(self, request: Request) -> Request {
        match self {
            Customer(number) => with_key(request, SOURCE, number),
            _ => request,
        }
    }

    /// Checks what an answer says of this kind.
    #[track_caller]
    pub fn named(self, response: Response) -> Response {
        let method = response.header("x-amz-server-side-encryption");
        let algorithm = response.header(&format!("{CUSTOMER}algorithm"));
        let md5 = response.header(&format!("{CUSTOMER}key-MD5"));
        match self {
            Plain => assert_eq!((method, algorithm, md5), (None, None, None)),
            Self::Server => assert_eq!((method, algorithm, md5), (Some("AES256"), None, None)),
            Customer(number) => {
                let own = md5_base64(&[number; 32]);
                assert_eq!((method, algorithm, md5), (None, Some("AES256"), Some(own.as_str())));
            }
        }
        response
    }
}

pub fn put(server: &Server, target: &str, kind: Kind, body: &[u8]) -> Response {
    kind.named(kind.write(server.put(target).body(body)).send().expect(200))
}

pub fn get(server: &Server, target: &str, kind: Kind) -> Response {
    kind.named(kind.read(server.get(target)).send().expect(200))
}

fn contains(file: &Path, bytes: &[u8]) -> bool {
    let stored = std::fs::read(file).expect("it is there");
    stored.windows(bytes.len()).any(|window| window == bytes)
}

/// A piece of the bytes is found in a bucket's files if they are plain, and else not.
#[track_caller]
fn on_disk(server: &Server, bucket: &str, kind: Kind, bytes: &[u8]) {
    let probe = &bytes[bytes.len() / 2..][..16];
    let found = server.blobs(bucket).iter().any(|file| contains(file, probe));
    assert_eq!(found, kind == Plain, "{kind:?}");
}

#[test]
fn objects_of_every_kind() {
    let server = server();
    for kind in KINDS {
        for size in [32, 1000, CHUNK, CHUNK + 1, 1_000_000] {
            let bucket = server.bucket("sse");
            let target = format!("/{bucket}/k");
            let body = noise(7, size);
            let answer = put(server, &target, kind, &body);
            assert_eq!(answer.etag(), md5_hex(&body));
            let read = get(server, &target, kind);
            assert!(read.body == body, "{kind:?} {size}");
            assert_eq!(read.etag(), md5_hex(&body));
            let head = kind.named(kind.read(server.head(&target)).send().expect(200));
            assert_eq!(head.header("content-length"), Some(size.to_string().as_str()));
            on_disk(server, &bucket, kind, &body);
            let listed = server.get(&format!("/{bucket}?list-type=2")).send().expect(200);
            assert_eq!(listed.text("Size"), size.to_string());
        }
    }
}

#[test]
fn an_empty_object_has_a_key_too() {
    let server = server();
    let bucket = server.bucket("sse");
    for kind in KINDS {
        let target = format!("/{bucket}/{kind:?}").replace(['(', ')'], "-");
        put(server, &target, kind, b"");
        assert!(get(server, &target, kind).body.is_empty());
        if let Customer(number) = kind {
            server.get(&target).send().expect_error(400, "InvalidRequest");
            let other = Customer(number + 10).read(server.get(&target));
            other.send().expect_error(400, "InvalidRequest");
        }
    }
}

#[test]
fn ranges() {
    let server = server();
    let bucket = server.bucket("sse");
    let size = 3 * CHUNK + 100;
    let body = noise(3, size);
    for kind in [Kind::Server, Customer(1)] {
        let target = format!("/{bucket}/k");
        put(server, &target, kind, &body);
        let marks = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK, size - 1];
        for first in marks {
            for last in marks.into_iter().filter(|last| *last >= first) {
                let request = server.get(&target).header("Range", format!("bytes={first}-{last}"));
                let part = kind.named(kind.read(request).send().expect(206));
                assert!(part.body == body[first..=last], "{first}-{last}");
            }
        }
        let tail = kind.read(server.get(&target).header("Range", "bytes=-150")).send().expect(206);
        assert!(tail.body == body[size - 150..]);
        let range = format!("bytes={size}-");
        let beyond = kind.read(server.get(&target).header("Range", range)).send();
        beyond.expect_error(416, "InvalidRange");
    }
}

#[test]
fn a_customers_key_is_needed_and_must_be_right() {
    let server = server();
    let bucket = server.bucket("sse");
    let target = format!("/{bucket}/k");
    put(server, &target, Customer(1), b"body");
    let attributes = || {
        server
            .get(&format!("{target}?attributes"))
            .header("x-amz-object-attributes", "ETag,ObjectSize")
    };
    for request in [server.get(&target), attributes()] {
        request.send().expect_error(400, "InvalidRequest");
    }
    for request in [server.get(&target), attributes()] {
        Customer(2).read(request).send().expect_error(400, "InvalidRequest");
    }
    server.head(&target).send().expect(400);
    Customer(2).read(server.head(&target)).send().expect(400);
    assert_eq!(Customer(1).read(attributes()).send().expect(200).text("ObjectSize"), "4");
    // A key where none is needed, and a method where none is chosen.
    for kind in [Plain, Kind::Server] {
        put(server, &target, kind, b"body");
        Customer(1).read(server.get(&target)).send().expect_error(400, "InvalidRequest");
        Kind::Server.write(server.get(&target)).send().expect_error(400, "InvalidArgument");
        Kind::Server.write(server.head(&target)).send().expect(400);
    }
}

#[test]
fn wrong_headers_store_nothing() {
    let server = server();
    let bucket = server.bucket("sse");
    let key = BASE64_STANDARD.encode([1; 32]);
    let md5 = md5_base64(&[1; 32]);
    let customer = |fields: &[(&str, &str)]| {
        let request = server.put(&format!("/{bucket}/k")).body("body");
        fields
            .iter()
            .fold(request, |r, (name, value)| r.header(&format!("{CUSTOMER}{name}"), *value))
    };
    let aes = ("algorithm", "AES256");
    for fields in [
        &[("key", key.as_str()), ("key-MD5", md5.as_str())][..],
        &[aes],
        &[aes, ("key", &key)],
        &[aes, ("key", &key), ("key-MD5", "AAAAAAAAAAAAAAAAAAAAAA==")],
        &[aes, ("key", "AAAA"), ("key-MD5", &md5)],
    ] {
        let answer = customer(fields).send().expect_error(400, "InvalidArgument");
        assert!(!answer.xml().contains(&key));
    }
    let other = customer(&[("algorithm", "AES192"), ("key", &key), ("key-MD5", &md5)]);
    other.send().expect_error(400, "InvalidEncryptionAlgorithmError");
    let method = |value: &str| {
        server
            .put(&format!("/{bucket}/k"))
            .body("body")
            .header("x-amz-server-side-encryption", value)
    };
    let id = "x-amz-server-side-encryption-aws-kms-key-id";
    Customer(1).write(method("AES256")).send().expect_error(400, "InvalidArgument");
    Customer(1).write(method("aws:kms")).send().expect_error(400, "InvalidArgument");
    method("AES256").header(id, "k").send().expect_error(400, "InvalidArgument");
    method("aes:kms").send().expect_error(400, "InvalidArgument");
    method("aws:kms").header(id, "k").send().expect_error(501, "NotImplemented");
    method("aws:kms:dsse").send().expect_error(501, "NotImplemented");
    server.get(&format!("/{bucket}/k")).send().expect_error(404, "NoSuchKey");
    assert!(server.blobs(&bucket).is_empty());
}

#[test]
fn multipart_uploads() {
    let server = server();
    let bodies = [noise(1, 5 << 20), noise(2, 5 << 20), noise(3, 1000)];
    let whole = bodies.concat();
    for kind in KINDS {
        let bucket = server.bucket("sse");
        let target = format!("/{bucket}/m");
        let create = kind.write(server.post(&format!("{target}?uploads"))).send().expect(200);
        let id = kind.named(create).text("UploadId");
        let part = |number: usize| {
            let part = server.put(&format!("{target}?partNumber={number}&uploadId={id}"));
            part.body(&bodies[number - 1])
        };
        if let Customer(number) = kind {
            part(1).send().expect_error(400, "InvalidRequest");
            let other = Customer(number + 1);
            other.read(part(1)).send().expect_error(400, "InvalidRequest");
        } else {
            Customer(1).read(part(1)).send().expect_error(400, "InvalidRequest");
        }
        if kind != Kind::Server {
            Kind::Server.write(part(1)).send().expect_error(400, "InvalidArgument");
        }
        let etags: Vec<String> = (1..=3)
            .map(|n| kind.named(kind.read(part(n)).send().expect(200)).etag().to_owned())
            .collect();
        on_disk(server, &bucket, kind, &whole[..1000]);
        let list = [(1, etags[0].as_str()), (2, &etags[1]), (3, &etags[2])];
        if let Customer(number) = kind {
            let other = Customer(number + 1);
            let wrong = other.read(server.complete(&bucket, "m", &id, &list));
            wrong.send().expect_error(400, "InvalidRequest");
        }
        let complete = kind.read(server.complete(&bucket, "m", &id, &list)).send().expect(200);
        kind.named(complete);
        let read = get(server, &target, kind);
        assert!(read.body == whole);
        assert_eq!(read.etag(), multipart_etag(&[&bodies[0], &bodies[1], &bodies[2]]));
        let (first, last) = ((5 << 20) - 10, (10 << 20) + 10);
        let span = server.get(&target).header("Range", format!("bytes={first}-{last}"));
        assert!(kind.read(span).send().expect(206).body == whole[first..=last]);
        let second = kind.read(server.get(&target).query("partNumber", "2")).send().expect(206);
        assert!(kind.named(second).body == bodies[1]);
        if kind == Customer(1) {
            server.get(&target).send().expect_error(400, "InvalidRequest");
            Customer(2).read(server.get(&target)).send().expect_error(400, "InvalidRequest");
            let part = |number| server.get(&target).query("partNumber", number).send();
            part("2").expect_error(400, "InvalidRequest");
            part("5").expect_error(400, "InvalidPart");
        }
    }
}

/// AWS wants the customer's key again only if the upload has a checksum.
#[test]
fn completing_with_a_customers_key() {
    let server = server();
    let bucket = server.bucket("sse");
    for (of_upload, of_part, status) in
        [(false, false, 200), (true, false, 400), (false, true, 400)]
    {
        let mut create = Customer(1).write(server.post(&format!("/{bucket}/m?uploads")));
        if of_upload {
            create = create.header("x-amz-checksum-algorithm", "CRC32");
        }
        let id = create.send().expect(200).text("UploadId");
        let mut part = server.put(&format!("/{bucket}/m?partNumber=1&uploadId={id}")).body("body");
        if of_part {
            part = part.header("x-amz-checksum-crc32", sum("crc32", b"body"));
        }
        let etag = Customer(1).read(part).send().expect(200).etag().to_owned();
        server.complete(&bucket, "m", &id, &[(1, &etag)]).send().expect(status);
    }
    assert_eq!(get(server, &format!("/{bucket}/m"), Customer(1)).body, b"body");
}

/// minio-go sends the method with each part and once more at the end.
#[test]
fn requests_on_an_upload_may_repeat_its_method() {
    let server = server();
    let bucket = server.bucket("sse");
    let (key, source) = (format!("/{bucket}/m"), format!("/{bucket}/source"));
    put(server, &source, Plain, b"body");
    for (of_upload, method, status) in [
        (Kind::Server, "AES256", 200),
        (Kind::Server, "aws:kms", 400),
        (Plain, "AES256", 400),
        (Customer(1), "AES256", 400),
    ] {
        let create = of_upload.write(server.post(&format!("{key}?uploads")));
        let id = create.send().expect(200).text("UploadId");
        let part = |number: u32| {
            let part = server.put(&format!("{key}?partNumber={number}&uploadId={id}"));
            of_upload.read(part.header("x-amz-server-side-encryption", method))
        };
        part(2).header("x-amz-copy-source", source.as_str()).send().expect(status);
        part(1).body("body").send().expect(status);
        let plain = server.put(&format!("{key}?partNumber=1&uploadId={id}")).body("body");
        let etag = of_upload.read(plain).send().expect(200).etag().to_owned();
        let complete = server.complete(&bucket, "m", &id, &[(1, &etag)]);
        complete.header("x-amz-server-side-encryption", method).send().expect(status);
    }
}

fn inode(server: &Server, bucket: &str) -> u64 {
    let files = server.blobs(bucket);
    assert_eq!(files.len(), 1);
    files[0].metadata().expect("it is there").ino()
}

#[test]
fn copies_between_all_kinds() {
    let server = server();
    let body = noise(5, 200_000);
    for from in KINDS {
        let source = server.bucket("sse");
        put(server, &format!("/{source}/k"), from, &body);
        for to in KINDS {
            let bucket = server.bucket("sse");
            let target = format!("/{bucket}/c");
            let copy = || {
                let copy = server.put(&target);
                to.write(copy.header("x-amz-copy-source", encode(&format!("/{source}/k"), true)))
            };
            if let Customer(number) = from {
                copy().send().expect_error(400, "InvalidRequest");
                let wrong = Customer(number + 10).source(copy());
                wrong.send().expect_error(400, "InvalidRequest");
                server.get(&target).send().expect_error(404, "NoSuchKey");
            } else {
                Customer(1).source(copy()).send().expect_error(400, "InvalidRequest");
            }
            let copied = to.named(from.source(copy()).send().expect(200));
            assert_eq!(copied.text("ETag"), format!("\"{}\"", md5_hex(&body)));
            let read = get(server, &target, to);
            assert!(read.body == body, "{from:?} to {to:?}");
            assert_eq!(read.etag(), md5_hex(&body));
            on_disk(server, &bucket, to, &body);
            // Bytes are moved only between plain and encrypted.
            let shared = inode(server, &source) == inode(server, &bucket);
            assert_eq!(shared, (from == Plain) == (to == Plain), "{from:?} to {to:?}");
            if let Customer(number) = to {
                server.get(&target).send().expect_error(400, "InvalidRequest");
                let other = Customer(number + 10).read(server.get(&target));
                other.send().expect_error(400, "InvalidRequest");
            }
        }
        assert!(get(server, &format!("/{source}/k"), from).body == body);
    }
}

#[test]
fn copies_of_multipart_objects() {
    let server = server();
    let bodies = [noise(1, 5 << 20), noise(2, 70_000)];
    for from in [Plain, Customer(1)] {
        let source = server.bucket("sse");
        let create = from.write(server.post(&format!("/{source}/m?uploads"))).send().expect(200);
        let id = create.text("UploadId");
        let etags = [0, 1].map(|n| {
            let target = format!("/{source}/m?partNumber={}&uploadId={id}", n + 1);
            let part = from.read(server.put(&target).body(&bodies[n])).send().expect(200);
            part.etag().to_owned()
        });
        let list = [(1, etags[0].as_str()), (2, &etags[1])];
        from.read(server.complete(&source, "m", &id, &list)).send().expect(200);
        for to in [Plain, Kind::Server, Customer(2)] {
            let bucket = server.bucket("sse");
            let target = format!("/{bucket}/c");
            let copy = server.put(&target).header("x-amz-copy-source", format!("/{source}/m"));
            let copy = from.source(to.write(copy)).header("x-amz-checksum-algorithm", "SHA256");
            let copied = to.named(copy.send().expect(200));
            assert_eq!(copied.text("ChecksumSHA256"), sum("sha256", &bodies.concat()));
            assert!(get(server, &target, to).body == bodies.concat());
            let second = to.read(server.get(&target).query("partNumber", "2")).send().expect(206);
            assert!(second.body == bodies[1]);
            on_disk(server, &bucket, to, &bodies[1]);
        }
    }
}

#[test]
fn parts_copied_between_all_kinds() {
    let server = server();
    let body = noise(5, 6 << 20);
    for from in [Plain, Kind::Server, Customer(1)] {
        let source = server.bucket("sse");
        put(server, &format!("/{source}/k"), from, &body);
        for to in [Plain, Kind::Server, Customer(2)] {
            let bucket = server.bucket("sse");
            let create = to.write(server.post(&format!("/{bucket}/m?uploads"))).send().expect(200);
            let id = create.text("UploadId");
            let part = |number: u32| {
                let target = format!("/{bucket}/m?partNumber={number}&uploadId={id}");
                from.source(server.put(&target)).header("x-amz-copy-source", format!("/{source}/k"))
            };
            if let Customer(_) = to {
                part(1).send().expect_error(400, "InvalidRequest");
                Customer(1).read(part(1)).send().expect_error(400, "InvalidRequest");
            }
            let all = to.named(to.read(part(1)).send().expect(200));
            let range = part(2).header("x-amz-copy-source-range", "bytes=65000-66000");
            let some = to.named(to.read(range).send().expect(200));
            let etags = [all, some].map(|r| r.text("ETag").trim_matches('"').to_owned());
            let list = [(1, etags[0].as_str()), (2, &etags[1])];
            to.read(server.complete(&bucket, "m", &id, &list)).send().expect(200);
            let read = get(server, &format!("/{bucket}/m"), to);
            assert!(read.body == [&body[..], &body[65000..=66000]].concat(), "{from:?} to {to:?}");
            on_disk(server, &bucket, to, &body[65000..=66000]);
        }
    }
}

#[test]
fn a_copy_onto_itself_changes_the_encryption() {
    let server = server();
    let bucket = server.bucket("sse");
    let target = format!("/{bucket}/k");
    let copy =
        |to: Kind| to.write(server.put(&target).header("x-amz-copy-source", target.as_str()));
    put(server, &target, Plain, b"a body that is long enough");
    copy(Plain).send().expect_error(400, "InvalidRequest");
    let mut before = Plain;
    for to in [Kind::Server, Customer(1), Customer(2), Plain, Customer(1), Kind::Server] {
        to.named(before.source(copy(to)).send().expect(200));
        assert_eq!(get(server, &target, to).body, b"a body that is long enough");
        before = to;
    }
    server.get(&target).send().expect(200);
}

#[test]
fn without_a_master_key_only_customers_encrypt() {
    let server = Server::start();
    let bucket = server.bucket("sse");
    let target = format!("/{bucket}/k");
    let refused = |request: Request| {
        let error = request.send().expect_error(501, "NotImplemented");
        assert!(error.text("Message").contains("JOG_SSE_KEY"));
    };
    refused(Kind::Server.write(server.put(&target).body("body")));
    refused(Kind::Server.write(server.post(&format!("{target}?uploads"))));
    refused(server.put(&format!("/{bucket}?encryption")).body(configuration(AES256)));
    server.get(&format!("/{bucket}?encryption")).send().expect(404);
    server.get(&target).send().expect(404);
    put(&server, &target, Plain, b"body");
    refused(Kind::Server.write(server.put(&target)).header("x-amz-copy-source", target.as_str()));
    put(&server, &target, Customer(1), b"body");
    assert_eq!(get(&server, &target, Customer(1)).body, b"body");
}

#[test]
fn another_master_key() {
    let server = Server::with(&[("JOG_SSE_KEY", MASTER)]);
    let bucket = server.bucket("sse");
    let secret = format!("/{bucket}/secret");
    put(&server, &secret, Kind::Server, b"the body of an object");
    put(&server, &format!("/{bucket}/plain"), Plain, b"plain");
    let dir = server.stop();
    let path = dir.path().to_str().expect("a path of ours is UTF-8").to_owned();
    let other = "ff".repeat(32);
    let vars = [
        ("JOG_ACCESS_KEY", ACCESS_KEY),
        ("JOG_SECRET_KEY", SECRET_KEY),
        ("JOG_PORT", "0"),
        ("JOG_DATA_DIR", path.as_str()),
        ("JOG_SSE_KEY", other.as_str()),
    ];
    let output = run(&["server"], &vars);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("JOG_SSE_KEY is not the key"), "{stderr}");
    assert!(!stderr.contains(&other) && !stderr.contains(MASTER));

    // Without a key the rest is served.
    let server = Server::on(Arc::clone(&dir), &[]);
    server.log_line("a warning", |line| line.contains("JOG_SSE_KEY is not set, but was"));
    let error = server.get(&secret).send().expect_error(500, "InternalError");
    assert!(error.text("Message").contains("master key") && !error.xml().contains("the body of"));
    server.head(&secret).send().expect(500);
    let to = server.put(&format!("/{bucket}/copy"));
    to.header("x-amz-copy-source", secret.as_str()).send().expect_error(500, "InternalError");
    assert_eq!(get(&server, &format!("/{bucket}/plain"), Plain).body, b"plain");
    server.delete(&secret).send().expect(204);
    let dir = server.stop();

    // Nothing is encrypted with the first key any more, so another one may come.
    let server = Server::on(Arc::clone(&dir), &[("JOG_SSE_KEY", &other)]);
    put(&server, &secret, Kind::Server, b"anew");
    let dir = server.stop();
    let file = dir.join("key");
    let base64 = BASE64_STANDARD.encode([0xff; 32]);
    std::fs::write(&file, format!("{base64}\n")).expect("a directory of ours");
    let file = file.to_str().expect("a path of ours is UTF-8");
    let server = Server::on(Arc::clone(&dir), &[("JOG_SSE_KEY_FILE", file)]);
    assert_eq!(get(&server, &secret, Kind::Server).body, b"anew");
}

#[test]
fn damage_on_the_disk_is_found() {
    let server = Server::with(&[("JOG_SSE_KEY", MASTER)]);
    let bucket = server.bucket("sse");
    let body = noise(1, 2 * CHUNK);
    for kind in [Kind::Server, Customer(1)] {
        let target = format!("/{bucket}/{}", if kind == Kind::Server { "s" } else { "c" });
        let before = server.blobs(&bucket);
        put(&server, &target, kind, &body);
        let files = server.blobs(&bucket);
        let file = files.iter().find(|f| !before.contains(f)).expect("a new file");
        let mut bytes = std::fs::read(file).expect("it is there");
        bytes[CHUNK + 16] ^= 1;
        std::fs::write(file, bytes).expect("it can be written");
        kind.read(server.get(&target)).send().expect_error(500, "InternalError");
        let first = kind.read(server.get(&target).header("Range", "bytes=0-65535")).send();
        assert!(first.expect(206).body == body[..CHUNK]);
        let second = kind.read(server.get(&target).header("Range", "bytes=65536-65536")).send();
        second.expect_error(500, "InternalError");
    }
}

#[test]
fn keys_are_in_no_log_and_in_no_database() {
    let server = Server::with(&[("JOG_SSE_KEY", MASTER), ("JOG_LOG_LEVEL", "trace")]);
    let bucket = server.bucket("sse");
    let target = format!("/{bucket}/k");
    put(&server, &target, Customer(0xab), b"body");
    get(&server, &target, Customer(0xab));
    Customer(0xac).read(server.get(&target)).send().expect(400);
    put(&server, &format!("/{bucket}/s"), Kind::Server, b"body");
    // The line of the last request comes after its answer.
    server.log_line("its last request", |line| line.contains(&format!("PutObject {bucket} s")));
    let log = server.log();
    let dir = server.stop();
    let master = hex::decode(MASTER).expect("hex");
    for file in ["metadata.db", "metadata.db-wal"].map(|name| dir.join(name)) {
        if file.exists() {
            assert!(!contains(&file, &[0xab; 32]) && !contains(&file, &master));
        }
    }
    for key in [&[0xab; 32][..], &[0xac; 32], &master] {
        assert!(!log.contains(&hex::encode(key)) && !log.contains(&BASE64_STANDARD.encode(key)));
    }
}
