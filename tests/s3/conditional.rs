//! Preconditions of reads, writes and deletes, alone and in a crowd.

use crate::support::sign::now;
use crate::support::{Response, Server, at_once, md5_hex, noise, shared};
use std::time::{Duration, UNIX_EPOCH};

const LONG_AGO: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

fn date(seconds: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds as u64))
}

// ---- reads -------------------------------------------------------------------------------

#[test]
fn reads_follow_rfc_9110() {
    let server = shared();
    let bucket = server.bucket("condition");
    let target = format!("/{bucket}/k");
    server.put(&target).body("body").header("Cache-Control", "no-cache").send().expect(200);
    let head = server.head(&target).send().expect(200);
    let modified = head.header("last-modified").expect("it says when").to_owned();
    let etag = format!("\"{}\"", md5_hex(b"body"));
    let weak = format!("W/{etag}");
    let list = format!("\"a\", {etag}");
    let bare = md5_hex(b"body");
    let future = date(now() + 1000);
    let [im, inm] = ["If-Match", "If-None-Match"];
    let [ims, ius] = ["If-Modified-Since", "If-Unmodified-Since"];
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[(im, &etag)], 200),
        (&[(im, &bare)], 200),
        (&[(im, &list)], 200),
        (&[(im, "*")], 200),
        (&[(im, "\"x\"")], 412),
        (&[(inm, &etag)], 304),
        (&[(inm, &weak)], 304),
        (&[(inm, &list)], 304),
        (&[(inm, "*")], 304),
        (&[(inm, "\"x\"")], 200),
        (&[(ims, &modified)], 304),
        (&[(ims, LONG_AGO)], 200),
        (&[(ims, &future)], 200),
        (&[(ims, "nonsense")], 200),
        (&[(ius, &modified)], 200),
        (&[(ius, LONG_AGO)], 412),
        (&[(ius, "nonsense")], 200),
        // If-Match goes before If-Unmodified-Since, If-None-Match before If-Modified-Since.
        (&[(im, &etag), (ius, LONG_AGO)], 200),
        (&[(im, "\"x\""), (ius, &modified)], 412),
        (&[(inm, &etag), (ims, LONG_AGO)], 304),
        (&[(inm, "\"x\""), (ims, &modified)], 200),
        // A failed If-Match goes before everything.
        (&[(im, "\"x\""), (inm, &etag)], 412),
        (&[(im, &etag), (inm, &etag)], 304),
        (&[(ius, LONG_AGO), (inm, &etag)], 412),
        // Conditions go before ranges.
        (&[(im, "\"x\""), ("Range", "bytes=0-1")], 412),
        (&[(inm, &etag), ("Range", "bytes=100-")], 304),
        (&[(im, &etag), ("Range", "bytes=0-1")], 206),
    ];
    for method in ["GET", "HEAD"] {
        for (headers, status) in cases {
            let mut request = server.request(method, &target);
            for (name, value) in *headers {
                request = request.header(name, *value);
            }
            let answer = request.send();
            assert_eq!(answer.status, *status, "{method} {headers:?}");
            match status {
                304 => {
                    assert!(answer.body.is_empty());
                    assert_eq!(answer.header("etag"), Some(etag.as_str()));
                    assert_eq!(answer.header("cache-control"), Some("no-cache"));
                    assert_eq!(answer.header("last-modified"), Some(modified.as_str()));
                }
                412 if method == "GET" => {
                    let error = answer.expect_error(412, "PreconditionFailed");
                    let condition = error.text("Condition");
                    assert!([im, ius].contains(&condition.as_str()));
                }
                _ => {}
            }
        }
    }
    let gone = server.get(&format!("/{bucket}/nothing")).header(im, "*").send();
    assert!(matches!(gone.status, 404 | 412));
}

// ---- writes ------------------------------------------------------------------------------

/// s3fs knows by Condition that a key exists already, and by the words that it has changed.
#[track_caller]
fn expect_failed(answer: Response, condition: &str) {
    let error = answer.expect_error(412, "PreconditionFailed");
    assert_eq!(error.text("Condition"), condition);
    assert_eq!(
        error.text("Message"),
        "At least one of the pre-conditions you specified did not hold"
    );
}

#[test]
fn put_if_none_match_and_if_match() {
    let server = shared();
    let bucket = server.bucket("condition");
    let target = format!("/{bucket}/k");
    let put = |name: &str, value: &str, body: &str| {
        server.put(&target).header(name, value).body(body).send()
    };
    let quoted = |body: &str| format!("\"{}\"", md5_hex(body.as_bytes()));
    put("If-Match", "\"x\"", "never").expect_error(404, "NoSuchKey");
    put("If-Match", "*", "never").expect_error(404, "NoSuchKey");
    put("If-None-Match", "*", "one").expect(200);
    expect_failed(put("If-None-Match", "*", "two"), "If-None-Match");
    expect_failed(put("If-Match", &quoted("two"), "two"), "If-Match");
    assert_eq!(server.get(&target).send().expect(200).body, b"one");
    put("If-Match", &quoted("one"), "two").expect(200);
    put("If-Match", &md5_hex(b"two"), "three").expect(200);
    put("If-Match", "*", "four").expect(200);
    assert_eq!(server.get(&target).send().expect(200).body, b"four");
    server.delete(&target).send().expect(204);
    put("If-None-Match", "*", "five").expect(200);
    assert_eq!(server.blobs(&bucket).len(), 5, "refused writes leave no file");
}

#[test]
fn a_refused_write_with_a_large_body() {
    let server = shared();
    let bucket = server.bucket("condition");
    let target = format!("/{bucket}/k");
    server.put(&target).body("kept").send().expect(200);
    let mut connection = server.connect();
    for size in [10, 100_000, 5_000_000] {
        let put = server.put(&target).header("If-None-Match", "*").body(noise(1, size));
        match connection.exchange(&put.message()) {
            Ok(answer) => drop(answer.expect_error(412, "PreconditionFailed")),
            Err(error) => panic!("{size}: the answer got lost: {error}"),
        }
        connection = server.connect();
    }
    assert_eq!(server.get(&target).send().expect(200).body, b"kept");
}

#[test]
fn complete_with_conditions() {
    let server = shared();
    let bucket = server.bucket("condition");
    let target = format!("/{bucket}/k");
    let complete = |name: &str, value: &str| {
        let upload = server.upload(&bucket, "k");
        let etag = server.part(&bucket, "k", &upload, 1, b"part");
        let complete = server.complete(&bucket, "k", &upload, &[(1, &etag)]);
        (complete.header(name, value).send(), upload)
    };
    complete("If-Match", "\"x\"").0.expect_error(404, "NoSuchKey");
    complete("If-None-Match", "*").0.expect(200);
    let (refused, upload) = complete("If-None-Match", "*");
    expect_failed(refused, "If-None-Match");
    // The upload is still there.
    server.get(&format!("{target}?uploadId={upload}")).send().expect(200);
    expect_failed(complete("If-Match", "\"x\"").0, "If-Match");
    let etag = server.head(&target).send().expect(200).etag().to_owned();
    complete("If-Match", &format!("\"{etag}\"")).0.expect(200);
}

#[test]
fn copy_with_conditions_on_its_target() {
    let server = shared();
    let bucket = server.bucket("condition");
    server.put(&format!("/{bucket}/from")).body("from").send().expect(200);
    let copy = |name: &str, value: &str| {
        let copy = server.put(&format!("/{bucket}/to"));
        copy.header("x-amz-copy-source", format!("/{bucket}/from")).header(name, value).send()
    };
    copy("If-Match", "\"x\"").expect_error(404, "NoSuchKey");
    copy("If-None-Match", "*").expect(200);
    expect_failed(copy("If-None-Match", "*"), "If-None-Match");
    expect_failed(copy("If-Match", "\"x\""), "If-Match");
    copy("If-Match", &format!("\"{}\"", md5_hex(b"from"))).expect(200);
}

#[test]
fn delete_with_conditions() {
    let server = shared();
    let bucket = server.bucket("condition");
    let target = format!("/{bucket}/k");
    let delete = |name: &str, value: &str| server.delete(&target).header(name, value).send();
    delete("If-Match", "\"x\"").expect(204);
    server.put(&target).body("body").send().expect(200);
    let head = server.head(&target).send().expect(200);
    let modified = head.header("last-modified").expect("it says when").to_owned();
    expect_failed(delete("If-Match", "\"x\""), "If-Match");
    expect_failed(delete("x-amz-if-match-size", "5"), "x-amz-if-match-size");
    delete("x-amz-if-match-size", "x").expect(400);
    let time = "x-amz-if-match-last-modified-time";
    expect_failed(delete(time, LONG_AGO), time);
    delete("If-None-Match", "*").expect_error(501, "NotImplemented");
    server.head(&target).send().expect(200);
    let all = server.delete(&target).header("If-Match", format!("\"{}\"", head.etag()));
    let all = all.header("x-amz-if-match-size", "4");
    all.header("x-amz-if-match-last-modified-time", modified).send().expect(204);
    server.head(&target).send().expect(404);
}

// ---- in a crowd --------------------------------------------------------------------------

/// Sends 16 requests at once and gives the number of those that won; all others must lose with
/// one of these statuses.
fn winners(lose: &[u16], send: impl Fn(usize) -> u16 + Sync) -> usize {
    let statuses = at_once(16, send);
    let other = |s: &&u16| **s != 200 && **s != 204 && !lose.contains(s);
    assert_eq!(statuses.iter().find(other), None, "{statuses:?}");
    statuses.iter().filter(|s| [200, 204].contains(*s)).count()
}

/// As on AWS, one that meets another under way may get 409.
const LOST: [u16; 2] = [412, 409];

#[test]
fn one_of_16_creates() {
    let server = shared();
    let bucket = server.bucket("crowd");
    for round in 0..20 {
        let target = format!("/{bucket}/{round}");
        let body = |number: usize| noise(number as u64, 1000 + number * 5000);
        let won = std::sync::Mutex::new(None);
        let count = winners(&LOST, |number| {
            let put = server.put(&target).header("If-None-Match", "*").body(body(number));
            let status = put.send().status;
            if status == 200 {
                *won.lock().expect("nobody panics with it") = Some(number);
            }
            status
        });
        assert_eq!(count, 1);
        let winner = won.into_inner().expect("nobody panics with it").expect("there is one");
        assert!(server.get(&target).send().expect(200).body == body(winner));
    }
}

#[test]
fn one_of_16_replaces() {
    let server = shared();
    let bucket = server.bucket("crowd");
    let target = format!("/{bucket}/k");
    server.put(&target).body("start").send().expect(200);
    for round in 0..20 {
        let etag = server.head(&target).send().expect(200).etag().to_owned();
        let count = winners(&LOST, |number| {
            let put = server.put(&target).header("If-Match", format!("\"{etag}\""));
            put.body(format!("{round} {number}")).send().status
        });
        assert_eq!(count, 1);
    }
}

#[test]
fn a_counter_that_all_increment() {
    let server = shared();
    let bucket = server.bucket("crowd");
    let target = format!("/{bucket}/counter");
    server.put(&target).body("0").send().expect(200);
    at_once(16, |_| {
        let mut connection = server.connect();
        let mut done = 0;
        while done < 5 {
            let now = connection.send(server.get(&target)).expect(200);
            let next = now.xml().parse::<u32>().expect("a number") + 1;
            let put = server.put(&target).header("If-Match", format!("\"{}\"", now.etag()));
            done += u32::from(connection.send(put.body(next.to_string())).status == 200);
        }
    });
    assert_eq!(server.get(&target).send().expect(200).body, b"80");
}

#[test]
fn one_of_16_completes_copies_and_deletes() {
    let server = shared();
    let bucket = server.bucket("crowd");
    server.put(&format!("/{bucket}/from")).body("from").send().expect(200);
    for round in 0..5 {
        let key = format!("m-{round}");
        let uploads: Vec<(String, String)> = (0..16)
            .map(|number| {
                let upload = server.upload(&bucket, &key);
                let etag = server.part(&bucket, &key, &upload, 1, &noise(number, 100));
                (upload, etag)
            })
            .collect();
        let count = winners(&LOST, |number| {
            let (upload, etag) = &uploads[number];
            let complete = server.complete(&bucket, &key, upload, &[(1, etag)]);
            complete.header("If-None-Match", "*").send().status
        });
        assert_eq!(count, 1);
        let copy = format!("/{bucket}/copy-{round}");
        let count = winners(&LOST, |_| {
            let put = server.put(&copy).header("x-amz-copy-source", format!("{bucket}/from"));
            put.header("If-None-Match", "*").send().status
        });
        assert_eq!(count, 1);
    }
    delete_races_put(server, &bucket);
}

/// Either the delete saw what it expected, and the object is gone or replaced, or it did nothing.
fn delete_races_put(server: &Server, bucket: &str) {
    let target = format!("/{bucket}/k");
    let old = format!("\"{}\"", md5_hex(b"old"));
    for _ in 0..20 {
        server.put(&target).body("old").send().expect(200);
        let statuses = at_once(2, |number| match number {
            0 => server.delete(&target).header("If-Match", &old).send().status,
            _ => server.put(&target).body("new").header("If-Match", &old).send().status,
        });
        let after = server.get(&target).send();
        match statuses[..] {
            // The delete came first, and the put found nothing.
            [204, 404 | 412] => assert_eq!(after.status, 404),
            // The put came first, and the delete found another one.
            [412, 200] => assert_eq!(after.expect(200).body, b"new"),
            _ => panic!("{statuses:?} {}", after.status),
        }
    }
}
