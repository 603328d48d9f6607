//! Multipart uploads, from the first part to the object.

use crate::support::{
    Request, Response, Server, at_once, composite, md5_hex, multipart_etag, noise, shared, sum,
    sum_header,
};

/// The smallest part that is not the last.
const MIN: usize = 5 << 20;

/// An upload that is under way.
struct Upload<'a> {
    server: &'a Server,
    bucket: String,
    id: String,
}

impl<'a> Upload<'a> {
    fn new(server: &'a Server) -> Self {
        let bucket = server.bucket("multipart");
        let id = server.upload(&bucket, "m");
        Self { server, bucket, id }
    }

    fn object(&self) -> String {
        format!("/{}/m", self.bucket)
    }

    fn target(&self) -> String {
        format!("/{}/m?uploadId={}", self.bucket, self.id)
    }

    fn part(&self, number: u32, body: &[u8]) -> String {
        self.server.part(&self.bucket, "m", &self.id, number, body)
    }

    fn put(&self, number: u32, body: &[u8]) -> Request {
        let target = format!("{}&partNumber={number}", self.target());
        self.server.put(&target).body(body)
    }

    fn complete(&self, parts: &[(u32, &str)]) -> Request {
        self.server.complete(&self.bucket, "m", &self.id, parts)
    }

    fn listed(&self) -> Response {
        self.server.get(&self.target()).send().expect(200)
    }

    #[track_caller]
    fn assert_open(&self) {
        self.listed();
        self.server.get(&self.object()).send().expect_error(404, "NoSuchKey");
    }
}

#[test]
fn from_parts_to_an_object() {
    let server = shared();
    let bucket = server.bucket("multipart");
    let create = server.post(&format!("/{bucket}/m?uploads")).header("x-amz-meta-a", "ü");
    let created = create.header("Content-Type", "text/plain").send().expect(200);
    assert_eq!((created.text("Bucket"), created.text("Key")), (bucket.clone(), "m".to_owned()));
    let upload = Upload { server, bucket, id: created.text("UploadId") };
    let bodies = [noise(1, MIN), noise(2, MIN + 1), noise(3, 1)];
    // In any order, and with gaps between the numbers.
    let third = upload.part(10_000, &bodies[2]);
    let first = upload.part(2, &bodies[0]);
    let second = upload.part(7, &bodies[1]);
    assert_eq!(first, md5_hex(&bodies[0]));
    upload.assert_open();
    let parts = [(2, &*first), (7, &*second), (10_000, &*third)];
    let done = upload.complete(&parts).send().expect(200);
    let etag = multipart_etag(&[&bodies[0], &bodies[1], &bodies[2]]);
    assert_eq!(done.text("ETag"), format!("\"{etag}\""));
    assert!(done.text("Location").ends_with(&upload.object()), "{}", done.text("Location"));
    let whole = bodies.concat();
    let get = server.get(&upload.object()).send().expect(200);
    assert!(get.body == whole);
    assert_eq!(get.etag(), etag);
    assert_eq!(get.header("x-amz-meta-a"), Some("ü"));
    assert_eq!(get.header("content-type"), Some("text/plain"));
    assert_eq!(server.blobs(&upload.bucket).len(), 3, "no byte is copied");
    // A range over the end of a part.
    let range = format!("bytes={}-{}", MIN - 5, MIN + 4);
    let range = server.get(&upload.object()).header("Range", range).send().expect(206);
    assert!(range.body == whole[MIN - 5..MIN + 5]);
    // Parts of it.
    let starts = [0, MIN, 2 * MIN + 1];
    for ((number, body), start) in [2, 7, 10_000].iter().zip(&bodies).zip(starts) {
        for method in ["GET", "HEAD"] {
            let part = server.request(method, &format!("{}?partNumber={number}", upload.object()));
            let part = part.send().expect(206);
            assert_eq!(part.header("x-amz-mp-parts-count"), Some("3"));
            let range = format!("bytes {start}-{}/{}", start + body.len() - 1, whole.len());
            assert_eq!(part.header("content-range"), Some(&*range));
            assert_eq!(part.header("content-length"), Some(&*body.len().to_string()));
            assert!(method == "HEAD" || part.body == *body);
        }
    }
    let none = server.get(&format!("{}?partNumber=3", upload.object())).send();
    assert!(matches!(none.status, 400 | 416));
    let attributes = server.get(&format!("{}?attributes", upload.object()));
    let attributes = attributes.header("x-amz-object-attributes", "ObjectParts,ObjectSize");
    let attributes = attributes.send().expect(200);
    assert_eq!(attributes.text("PartsCount"), "3");
    assert_eq!(attributes.text("ObjectSize"), whole.len().to_string());
}

#[test]
fn order_entity_tags_and_sizes() {
    let upload = Upload::new(shared());
    let (one, two) = (upload.part(1, &noise(1, MIN)), upload.part(2, b"two"));
    let three = upload.part(3, b"three");
    let refused = |parts: &[(u32, &str)], code: &str| {
        upload.complete(parts).send().expect_error(400, code);
        upload.assert_open();
    };
    refused(&[(2, &two), (1, &one)], "InvalidPartOrder");
    refused(&[(1, &one), (1, &one)], "InvalidPartOrder");
    refused(&[(1, &two)], "InvalidPart");
    refused(&[(1, &one), (4, &two)], "InvalidPart");
    refused(&[(1, "nonsense")], "InvalidPart");
    refused(&[(2, &two), (3, &three)], "EntityTooSmall");
    refused(&[(1, &one), (2, &two), (3, &three)], "EntityTooSmall");
    for document in [
        "",
        "nonsense",
        "<CompleteMultipartUpload></CompleteMultipartUpload>",
        "<CompleteMultipartUpload><Part></Part></CompleteMultipartUpload>",
        "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>a</ETag></Part>\
         </CompleteMultipartUpload>",
        "<Delete><Object><Key>m</Key></Object></Delete>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><CompleteMultipartUpload/>",
    ] {
        let complete = upload.server.post(&upload.target()).body(document).send();
        assert_eq!(complete.status, 400, "{document}");
        assert_eq!(complete.text("Code"), "MalformedXML", "{document}");
    }
    upload.assert_open();
    // Parts that are left out are not in the object.
    upload.complete(&[(1, &one), (3, &three)]).send().expect(200);
    let object = upload.server.get(&upload.object()).send().expect(200);
    assert!(object.body == [noise(1, MIN), b"three".to_vec()].concat());
    let part = upload.server.get(&format!("{}?partNumber=3", upload.object())).send();
    assert_eq!(part.expect(206).header("x-amz-mp-parts-count"), Some("2"));
}

#[test]
fn complete_twice_and_abort_after() {
    let upload = Upload::new(shared());
    let etag = upload.part(1, b"part");
    let first = upload.complete(&[(1, &etag)]).send().expect(200).text("ETag");
    let again = upload.complete(&[(1, &etag)]).send().expect(200);
    assert_eq!(again.text("ETag"), first);
    let get = || upload.server.get(&upload.object()).send().expect(200);
    let modified = get().header("last-modified").map(str::to_owned);
    let abort = upload.server.delete(&upload.target()).send();
    assert!(matches!(abort.status, 204 | 404), "{}", abort.status);
    assert_eq!(get().body, b"part");
    assert_eq!(get().header("last-modified").map(str::to_owned), modified);
    upload.put(1, b"late").send().expect_error(404, "NoSuchUpload");
    upload.server.get(&upload.target()).send().expect_error(404, "NoSuchUpload");
    // A retry does not bring back what was overwritten or deleted since.
    upload.server.put(&upload.object()).body("new").send().expect(200);
    upload.complete(&[(1, &etag)]).send().expect(200);
    assert_eq!(get().body, b"new");
    upload.server.delete(&upload.object()).send().expect(204);
    let late = upload.complete(&[(1, &etag)]).send();
    assert!(matches!(late.status, 200 | 404));
    upload.server.get(&upload.object()).send().expect_error(404, "NoSuchKey");
}

#[test]
fn abort() {
    let upload = Upload::new(shared());
    let etag = upload.part(1, b"part");
    // An object of the same name is another thing.
    upload.server.put(&upload.object()).body("kept").send().expect(200);
    let header = "x-amz-if-match-initiated-time";
    let abort_if = |time: &str| upload.server.delete(&upload.target()).header(header, time).send();
    abort_if("Tue, 24 Nov 2020 10:05:33 GMT").expect_error(412, "PreconditionFailed");
    abort_if("yesterday").expect_error(400, "InvalidArgument");
    let other = upload.server.upload(&upload.bucket, "other");
    let listed = upload.server.get(&format!("/{}?uploads&prefix=other", upload.bucket));
    let started = listed.send().expect(200).text("Initiated");
    let other = format!("/{}/other?uploadId={other}", upload.bucket);
    // Once it is gone there is nothing that the time could be wrong of.
    for _ in 0..2 {
        upload.server.delete(&other).header(header, &started).send().expect(204);
    }
    upload.server.get(&other).send().expect_error(404, "NoSuchUpload");
    upload.server.delete(&upload.target()).send().expect(204);
    upload.server.delete(&upload.target()).send().expect_error(404, "NoSuchUpload");
    upload.complete(&[(1, &etag)]).send().expect_error(404, "NoSuchUpload");
    upload.put(1, b"late").send().expect_error(404, "NoSuchUpload");
    upload.server.get(&upload.target()).send().expect_error(404, "NoSuchUpload");
    assert_eq!(upload.server.get(&upload.object()).send().expect(200).body, b"kept");
    let uploads = upload.server.get(&format!("/{}?uploads", upload.bucket)).send().expect(200);
    assert!(uploads.elements("Upload").is_empty());
}

#[test]
fn an_upload_belongs_to_its_key() {
    let upload = Upload::new(shared());
    let (server, bucket, id) = (upload.server, &upload.bucket, &upload.id);
    let other = server.bucket("multipart");
    for target in [format!("/{bucket}/other"), format!("/{other}/m")] {
        let target = format!("{target}?uploadId={id}");
        let put = server.put(&format!("{target}&partNumber=1")).body("x").send();
        put.expect_error(404, "NoSuchUpload");
        server.get(&target).send().expect_error(404, "NoSuchUpload");
        server.delete(&target).send().expect_error(404, "NoSuchUpload");
    }
    for id in ["x", "", "0000000000000000", &"f".repeat(32), &"é".repeat(16), "../../x"] {
        let target = format!("/{bucket}/m?uploadId=x");
        let put = server.put(&format!("/{bucket}/m?partNumber=1")).query("uploadId", id).body("x");
        put.send().expect_error(404, "NoSuchUpload");
        server.delete(&target).send().expect_error(404, "NoSuchUpload");
    }
    for number in ["0", "10001", "-1", "x", ""] {
        let put = server.put(&upload.target()).query("partNumber", number).body("x").send();
        put.expect_error(400, "InvalidArgument");
    }
    assert!(upload.listed().elements("Part").is_empty());
    upload.assert_open();
}

#[test]
fn a_part_may_be_uploaded_again() {
    let upload = Upload::new(shared());
    let old = upload.part(1, b"old");
    let new = upload.part(1, b"newer");
    let listed = upload.listed();
    assert_eq!(listed.all("ETag"), [format!("\"{new}\"")]);
    assert_eq!(listed.all("Size"), ["5"]);
    upload.complete(&[(1, &old)]).send().expect_error(400, "InvalidPart");
    upload.complete(&[(1, &new)]).send().expect(200);
    assert_eq!(upload.server.get(&upload.object()).send().expect(200).body, b"newer");
}

#[test]
fn an_upload_without_bytes() {
    let upload = Upload::new(shared());
    let etag = upload.part(1, b"");
    upload.complete(&[(1, &etag)]).send().expect(200);
    let get = upload.server.get(&upload.object()).send().expect(200);
    assert!(get.body.is_empty());
    assert_eq!(get.etag(), multipart_etag(&[b""]));
    let part = upload.server.get(&format!("{}?partNumber=1", upload.object())).send();
    assert!(matches!(part.status, 200 | 206));
}

// ---- races -------------------------------------------------------------------------------

#[test]
fn complete_races_upload_part() {
    let server = shared();
    for round in 0..30 {
        let upload = Upload::new(server);
        let first = noise(round, 1000);
        let etag = upload.part(1, &first);
        let second = noise(round + 1000, 2000);
        let statuses = at_once(4, |number| match number {
            0 => upload.complete(&[(1, &etag)]).send().status,
            _ => upload.put(1, &second).send().status,
        });
        let object = server.get(&upload.object()).send();
        match statuses[0] {
            200 => {
                assert!(object.expect(200).body == first, "a part that nobody named");
                upload.put(1, b"x").send().expect_error(404, "NoSuchUpload");
            }
            400 => {
                object.expect_error(404, "NoSuchKey");
                upload.complete(&[(1, &md5_hex(&second))]).send().expect(200);
                assert!(server.get(&upload.object()).send().expect(200).body == second);
            }
            status => panic!("{status}"),
        }
        assert!(statuses[1..].iter().all(|s| [200, 404].contains(s)), "{statuses:?}");
    }
}

#[test]
fn complete_races_complete_and_abort() {
    let server = shared();
    for round in 0..20 {
        let upload = Upload::new(server);
        let body = noise(round, 1000);
        let etag = upload.part(1, &body);
        let statuses = at_once(6, |number| match number {
            0..4 => upload.complete(&[(1, &etag)]).send().status,
            _ => server.delete(&upload.target()).send().status,
        });
        let object = server.get(&upload.object()).send();
        match statuses[..4] {
            [200, 200, 200, 200] => {
                assert!(object.expect(200).body == body);
                assert!(statuses[4..].iter().all(|s| [204, 404].contains(s)), "{statuses:?}");
            }
            [404, 404, 404, 404] => drop(object.expect_error(404, "NoSuchKey")),
            _ => panic!("{statuses:?}"),
        }
    }
}

#[test]
fn parts_at_once() {
    let upload = Upload::new(shared());
    let bodies: Vec<Vec<u8>> = (0..8).map(|n| noise(n, MIN)).collect();
    let etags = at_once(8, |n| upload.part(n as u32 + 1, &bodies[n]));
    let parts: Vec<(u32, &str)> = (1..).zip(etags.iter().map(String::as_str)).collect();
    upload.complete(&parts).send().expect(200);
    let get = upload.server.get(&upload.object()).send().expect(200);
    assert!(get.body == bodies.concat());
}

// ---- listings ----------------------------------------------------------------------------

#[test]
fn list_parts_by_pages() {
    let upload = Upload::new(shared());
    let numbers = [1, 2, 5, 100, 9999, 10_000];
    let etags: Vec<String> =
        numbers.iter().map(|n| upload.part(*n, &noise(u64::from(*n), *n as usize))).collect();
    let all = upload.listed();
    assert_eq!(all.all("PartNumber"), numbers.map(|n| n.to_string()));
    assert_eq!(all.all("Size"), numbers.map(|n| n.to_string()));
    let quoted: Vec<String> = etags.iter().map(|e| format!("\"{e}\"")).collect();
    assert_eq!(all.all("ETag"), quoted);
    assert_eq!((all.text("Key"), all.text("UploadId")), ("m".to_owned(), upload.id.clone()));
    assert_eq!((all.text("IsTruncated"), all.text("MaxParts")), ("false".into(), "1000".into()));
    assert_eq!(all.text("StorageClass"), "STANDARD");
    let (mut seen, mut marker) = (Vec::new(), "0".to_owned());
    loop {
        let page = upload.server.get(&upload.target()).query("max-parts", "2");
        let page = page.query("part-number-marker", &marker).send().expect(200);
        assert_eq!(page.text("PartNumberMarker"), marker);
        assert!(page.all("PartNumber").len() <= 2);
        seen.extend(page.all("PartNumber"));
        if page.text("IsTruncated") == "false" {
            break;
        }
        marker = page.text("NextPartNumberMarker");
        assert!(seen.len() < 7);
    }
    assert_eq!(seen, numbers.map(|n| n.to_string()));
    let none = upload.server.get(&upload.target()).query("max-parts", "0").send().expect(200);
    assert!(none.elements("Part").is_empty());
    let many = upload.server.get(&upload.target()).query("max-parts", "5000").send().expect(200);
    assert_eq!(many.text("MaxParts"), "1000");
    for (name, value) in [("max-parts", "x"), ("max-parts", "-1"), ("part-number-marker", "x")] {
        let error = upload.server.get(&upload.target()).query(name, value).send();
        error.expect_error(400, "InvalidArgument");
    }
}

#[test]
fn list_uploads_by_pages() {
    let server = shared();
    let bucket = server.bucket("multipart");
    let keys = ["a", "b/1", "b/1", "b/2", "c", "c", "d\u{1}&"];
    let mut expected: Vec<(String, String)> =
        keys.iter().map(|key| (key.to_string(), server.upload(&bucket, key))).collect();
    expected.sort();
    let target = format!("/{bucket}?uploads&encoding-type=url");
    let pairs = |page: &Response| -> Vec<(String, String)> {
        let keys = page.elements("Upload");
        keys.iter()
            .map(|u| {
                let text = |name| crate::support::texts(u, name).remove(0);
                (crate::support::decode(&text("Key")), text("UploadId"))
            })
            .collect()
    };
    let all = server.get(&target).send().expect(200);
    assert_eq!(pairs(&all), expected);
    assert_eq!(all.text("Bucket"), bucket);
    for max in ["1", "2", "3"] {
        let (mut seen, mut key, mut id) = (Vec::new(), String::new(), String::new());
        loop {
            let mut page = server.get(&target).query("max-uploads", max);
            if !key.is_empty() {
                page = page.query("key-marker", &key).query("upload-id-marker", &id);
            }
            let page = page.send().expect(200);
            seen.extend(pairs(&page));
            if page.text("IsTruncated") == "false" {
                break;
            }
            key = crate::support::decode(&page.text("NextKeyMarker"));
            id = page.text("NextUploadIdMarker");
            assert!(seen.len() < 8);
        }
        assert_eq!(seen, expected, "pages of {max}");
    }
    let prefix = server.get(&target).query("prefix", "b/").send().expect(200);
    assert_eq!(prefix.elements("Upload").len(), 3);
    let folders = server.get(&target).query("delimiter", "/").send().expect(200);
    assert_eq!(folders.elements("Upload").len(), 4);
    let common = folders.elements("CommonPrefixes");
    assert_eq!(crate::support::texts(&common[0], "Prefix"), ["b/"]);
    let after = server.get(&target).query("key-marker", "b/2").send().expect(200);
    assert_eq!(after.elements("Upload").len(), 3);
    for max in ["x", "-1"] {
        let error = server.get(&target).query("max-uploads", max).send();
        error.expect_error(400, "InvalidArgument");
    }
}

// ---- checksums ---------------------------------------------------------------------------

/// An upload whose parts have checksums of this algorithm; the whole has one of this type.
fn with_checksums<'a>(server: &'a Server, algorithm: &str, kind: &str) -> Upload<'a> {
    let bucket = server.bucket("multipart");
    let create = server.post(&format!("/{bucket}/m?uploads"));
    let create = create.header("x-amz-checksum-algorithm", algorithm.to_uppercase());
    let created = create.header("x-amz-checksum-type", kind).send().expect(200);
    assert_eq!(created.header("x-amz-checksum-algorithm"), Some(&*algorithm.to_uppercase()));
    assert_eq!(created.header("x-amz-checksum-type"), Some(kind));
    Upload { server, bucket, id: created.text("UploadId") }
}

/// A Complete document with checksums of the parts.
fn document(algorithm: &str, parts: &[&[u8]], wrong: Option<usize>) -> String {
    let element = format!("Checksum{}", algorithm.to_uppercase());
    let part = |(number, body): (usize, &&[u8])| {
        let value = if wrong == Some(number) { sum(algorithm, b"x") } else { sum(algorithm, body) };
        format!(
            "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag><{element}>{value}</{element}></Part>",
            number + 1,
            md5_hex(body)
        )
    };
    let parts: String = parts.iter().enumerate().map(part).collect();
    let xmlns = "http://s3.amazonaws.com/doc/2006-03-01/";
    format!("<CompleteMultipartUpload xmlns=\"{xmlns}\">{parts}</CompleteMultipartUpload>")
}

fn checksummed(algorithm: &str, kind: &str) {
    let server = shared();
    let upload = with_checksums(server, algorithm, kind);
    let bodies = [noise(11, MIN), noise(12, 1234)];
    let parts: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let header = sum_header(algorithm);
    for (number, body) in (1..).zip(&bodies) {
        let value = sum(algorithm, body);
        upload.put(number, body).header(&header, sum(algorithm, b"x")).send().expect(400);
        let put = upload.put(number, body).header(&header, &value).send().expect(200);
        assert_eq!(put.header(&header), Some(&*value));
    }
    let other = if algorithm == "crc32" { "sha1" } else { "crc32" };
    let mixed = upload.put(3, b"x").header(&sum_header(other), sum(other, b"x")).send();
    mixed.expect_error(400, "InvalidRequest");
    let listed = upload.listed();
    let element = format!("Checksum{}", algorithm.to_uppercase());
    assert_eq!(listed.all(&element), [sum(algorithm, &bodies[0]), sum(algorithm, &bodies[1])]);
    assert_eq!(listed.text("ChecksumAlgorithm"), algorithm.to_uppercase());
    assert_eq!(listed.text("ChecksumType"), kind);

    let whole = bodies.concat();
    let value = match kind {
        "COMPOSITE" => format!("{}-2", composite(algorithm, &parts)),
        _ => sum(algorithm, &whole),
    };
    let complete = |wrong| server.post(&upload.target()).body(document(algorithm, &parts, wrong));
    complete(Some(1)).send().expect_error(400, "InvalidPart");
    let wrong = sum(algorithm, b"x");
    let wrong = if kind == "COMPOSITE" { format!("{wrong}-2") } else { wrong };
    complete(None).header(&header, wrong).send().expect_error(400, "BadDigest");
    complete(None).header("x-amz-mp-object-size", "5").send().expect(400);
    upload.assert_open();
    let size = whole.len().to_string();
    let done = complete(None).header(&header, &value).header("x-amz-mp-object-size", size);
    let done = done.send().expect(200);
    assert_eq!(done.text(&element), value);
    assert_eq!(done.text("ChecksumType"), kind);

    let get = server.get(&upload.object()).header("x-amz-checksum-mode", "ENABLED");
    let get = get.send().expect(200);
    assert!(get.body == whole);
    assert_eq!(get.header(&header), Some(&*value));
    assert_eq!(get.header("x-amz-checksum-type"), Some(kind));
    let attributes = server.get(&format!("{}?attributes", upload.object()));
    let attributes = attributes.header("x-amz-object-attributes", "Checksum,ObjectParts");
    let attributes = attributes.send().expect(200);
    let sums = attributes.all(&element);
    // On AWS the value of the whole stands here without the number of parts.
    assert_eq!(sums[0].trim_end_matches("-2"), value.trim_end_matches("-2"));
    assert_eq!(sums[1..], [sum(algorithm, &bodies[0]), sum(algorithm, &bodies[1])]);
}

#[test]
fn composite_checksums() {
    for algorithm in ["crc32", "crc32c", "sha1", "sha256"] {
        checksummed(algorithm, "COMPOSITE");
    }
}

#[test]
fn full_object_checksums() {
    for algorithm in ["crc32", "crc32c", "crc64nvme"] {
        checksummed(algorithm, "FULL_OBJECT");
    }
}

#[test]
fn checksums_that_cannot_be() {
    let server = shared();
    let bucket = server.bucket("multipart");
    let create = |algorithm: &str, kind: &str| {
        let create = server.post(&format!("/{bucket}/m?uploads"));
        create
            .header("x-amz-checksum-algorithm", algorithm)
            .header("x-amz-checksum-type", kind)
            .send()
    };
    create("SHA1", "FULL_OBJECT").expect_error(400, "InvalidRequest");
    create("SHA256", "FULL_OBJECT").expect_error(400, "InvalidRequest");
    create("CRC64NVME", "COMPOSITE").expect_error(400, "InvalidRequest");
    create("MD4", "COMPOSITE").expect_error(400, "InvalidRequest");
    create("CRC32", "NONSENSE").expect(400);
    let uploads = server.get(&format!("/{bucket}?uploads")).send().expect(200);
    assert!(uploads.elements("Upload").is_empty());
    // The types that hold if nobody names one.
    for (algorithm, kind) in [("CRC32", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT")] {
        let create = server.post(&format!("/{bucket}/m?uploads"));
        let created = create.header("x-amz-checksum-algorithm", algorithm).send().expect(200);
        assert_eq!(created.header("x-amz-checksum-type"), Some(kind));
    }
}

#[test]
fn an_upload_without_checksums_gets_crc64nvme() {
    let upload = Upload::new(shared());
    let bodies = [noise(1, MIN), noise(2, 77)];
    let etags = [upload.part(1, &bodies[0]), upload.part(2, &bodies[1])];
    let value = sum("crc64nvme", &bodies.concat());
    // Also where Complete is repeated.
    for _ in 0..2 {
        let done = upload.complete(&[(1, &etags[0]), (2, &etags[1])]).send().expect(200);
        assert_eq!(done.text("ChecksumCRC64NVME"), value);
        assert_eq!(done.text("ChecksumType"), "FULL_OBJECT");
    }
    let head = upload.server.head(&upload.object()).header("x-amz-checksum-mode", "ENABLED");
    let head = head.send().expect(200);
    assert_eq!(head.header("x-amz-checksum-crc64nvme"), Some(&*value));
    assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
}
