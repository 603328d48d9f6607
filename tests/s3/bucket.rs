//! Buckets.

use crate::support::{Server, at_once, shared};

#[test]
fn create_head_delete() {
    let server = shared();
    let bucket = server.bucket("bucket");
    let target = format!("/{bucket}");
    let again = server.put(&target).send().expect(200);
    assert_eq!(again.header("location"), Some(target.as_str()));
    let head = server.head(&target).send().expect(200);
    assert_eq!(head.header("x-amz-bucket-region"), Some("us-east-1"));
    server.put(&format!("{target}/k")).body("x").send().expect(200);
    server.delete(&target).send().expect_error(409, "BucketNotEmpty");
    assert_eq!(server.get(&format!("{target}/k")).send().expect(200).body, b"x");
    server.delete(&format!("{target}/k")).send().expect(204);
    server.delete(&target).send().expect(204);
    server.delete(&target).send().expect_error(404, "NoSuchBucket");
    server.head(&target).send().expect(404);
    server.put(&format!("{target}/k")).body("x").send().expect_error(404, "NoSuchBucket");
    // A bucket of the same name is a new one.
    server.put(&target).send().expect(200);
    server.get(&format!("{target}/k")).send().expect_error(404, "NoSuchKey");
    server.put(&format!("{target}/k")).body("new").send().expect(200);
    assert_eq!(server.get(&format!("{target}/k")).send().expect(200).body, b"new");
}

#[test]
fn a_version_keeps_a_bucket() {
    let server = shared();
    let bucket = super::versioning::versioned(server, "bucket");
    let marker = server.delete(&format!("/{bucket}/k")).send().expect(204);
    let marker = marker.header("x-amz-version-id").unwrap();
    let target = format!("/{bucket}");
    let error = server.delete(&target).send().expect_error(409, "BucketNotEmpty");
    assert!(error.text("Message").ends_with("You must delete all versions in the bucket."));
    server.delete(&format!("/{bucket}/k?versionId={marker}")).send().expect(204);
    server.delete(&target).send().expect(204);
}

#[test]
fn an_upload_under_way_does_not_keep_a_bucket() {
    let server = shared();
    let bucket = server.bucket("bucket");
    let upload = server.upload(&bucket, "m");
    server.part(&bucket, "m", &upload, 1, b"part");
    server.delete(&format!("/{bucket}")).send().expect(204);
    server.put(&format!("/{bucket}")).send().expect(200);
    let uploads = server.get(&format!("/{bucket}?uploads")).send().expect(200);
    assert!(uploads.elements("Upload").is_empty());
    let late = server.put(&format!("/{bucket}/m?partNumber=1&uploadId={upload}")).body("x");
    late.send().expect_error(404, "NoSuchUpload");
}

#[test]
fn names() {
    let server = shared();
    let long = "a".repeat(64);
    for bad in [
        "ab",
        &long,
        "Upper-Case",
        "under_score",
        "-dash",
        "dash-",
        ".dot",
        "dot.",
        "a..b",
        "192.168.5.4",
        "xn--abc",
        "a-s3alias",
        "a.-b",
        "ü-bucket",
        "a b c",
        "_jog",
    ] {
        let put = server.put(&format!("/{bad}")).send();
        put.expect_error(400, "InvalidBucketName");
    }
    for (good, path) in [("abc", "/abc"), ("a.b-c.d", "/a.b-c.d/"), ("123", "/123")] {
        server.put(path).send().expect(200);
        server.head(&format!("/{good}")).send().expect(200);
        server.delete(&format!("/{good}")).send().expect(204);
    }
    server.put(&format!("/{}", &long[..63])).send().expect(200);
    // Nothing outside of the buckets can be named.
    for path in ["/%2e%2e", "/..%2f..", "/.", "/..", "/a%2fb", "/abc%00"] {
        let put = server.put("/").raw_path(path).send();
        assert!(matches!(put.status, 400 | 404), "{path}: {}", put.status);
    }
}

#[test]
fn locations() {
    let server = shared();
    let bucket = server.bucket("bucket");
    let plain = server.get(&format!("/{bucket}?location")).send().expect(200);
    assert_eq!(plain.text("LocationConstraint"), "");
    let create = |name: &str, inside: &str| {
        let document = format!("<CreateBucketConfiguration>{inside}</CreateBucketConfiguration>");
        server.put(&format!("/{name}")).body(document).send()
    };
    let eu = format!("{bucket}-eu");
    create(&eu, "<LocationConstraint>eu-west-1</LocationConstraint>").expect(200);
    // Only us-east-1 lets its owner create a bucket again.
    for inside in ["", "<LocationConstraint>eu-west-1</LocationConstraint>"] {
        create(&eu, inside).expect_error(409, "BucketAlreadyOwnedByYou");
    }
    server.put(&format!("/{bucket}")).send().expect(200);
    let location = server.get(&format!("/{eu}?location")).send().expect(200);
    assert_eq!(location.text("LocationConstraint"), "eu-west-1");
    let head = server.head(&format!("/{eu}")).send().expect(200);
    assert_eq!(head.header("x-amz-bucket-region"), Some("eu-west-1"));
    let bad = format!("{bucket}-bad");
    create(&bad, "<LocationConstraint>a/b</LocationConstraint>").expect(400);
    create(&bad, "<Nonsense/>").expect_error(400, "MalformedXML");
    let put = server.put(&format!("/{bad}")).body("nonsense").send();
    put.expect_error(400, "MalformedXML");
    server.head(&format!("/{bad}")).send().expect(404);
    let lock = server.put(&format!("/{bad}")).header("x-amz-bucket-object-lock-enabled", "maybe");
    lock.send().expect_error(400, "InvalidArgument");
}

#[test]
fn list_buckets() {
    let server = Server::start();
    let empty = server.get("/").send().expect(200);
    assert!(empty.elements("Bucket").is_empty());
    assert!(empty.get("DisplayName").is_some());
    let mut names: Vec<String> = (0..12).map(|n| format!("bucket-{n}")).collect();
    names.extend(["other-1".to_owned(), "other-2".to_owned()]);
    at_once(14, |n| server.put(&format!("/{}", names[n])).send().expect(200));
    names.sort();
    let all = server.get("/").send().expect(200);
    assert_eq!(all.all("Name"), names);
    assert!(all.all("CreationDate").iter().all(|t| t.ends_with('Z')));
    let some = server.get("/").query("prefix", "other-").send().expect(200);
    assert_eq!(some.all("Name"), ["other-1", "other-2"]);
    assert_eq!(some.text("Prefix"), "other-");
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut page = server.get("/").query("max-buckets", "5");
        if let Some(token) = &token {
            page = page.query("continuation-token", token);
        }
        let page = page.send().expect(200);
        assert!(page.all("Name").len() <= 5);
        seen.extend(page.all("Name"));
        token = page.get("ContinuationToken");
        assert!(seen.len() <= 14);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
    for bad in ["0", "10001", "x", "-1"] {
        let error = server.get("/").query("max-buckets", bad).send();
        error.expect_error(400, "InvalidArgument");
    }
}

#[test]
fn another_owner_is_expected() {
    let server = shared();
    let bucket = server.bucket("bucket");
    server.put(&format!("/{bucket}/k")).body("x").send().expect(200);
    for (method, path) in
        [("GET", "/k"), ("PUT", "/k"), ("DELETE", "/k"), ("DELETE", ""), ("GET", "")]
    {
        let request = server.request(method, &format!("/{bucket}{path}"));
        let denied = request.header("x-amz-expected-bucket-owner", "111122223333").send();
        denied.expect_error(403, "AccessDenied");
    }
    assert_eq!(server.get(&format!("/{bucket}/k")).send().expect(200).body, b"x");
}

#[test]
fn at_once_created_and_deleted() {
    let server = shared();
    let bucket = server.bucket("race");
    for _ in 0..20 {
        let statuses = at_once(8, |n| match n % 3 {
            0 => server.put(&format!("/{bucket}")).send().status,
            1 => server.delete(&format!("/{bucket}")).send().status,
            _ => server.put(&format!("/{bucket}/k")).body("x").send().status,
        });
        let log = server.log();
        let errors: Vec<&str> = log.lines().filter(|l| l.contains("InternalError:")).collect();
        assert!(
            statuses.iter().all(|s| [200, 204, 404, 409].contains(s)),
            "{statuses:?} {errors:?}"
        );
        // Whatever came first, it is of one piece.
        match server.get(&format!("/{bucket}/k")).send() {
            found if found.status == 200 => assert_eq!(found.body, b"x"),
            gone => drop(gone.expect(404)),
        }
        server.put(&format!("/{bucket}")).send().expect(200);
        server.put(&format!("/{bucket}/after")).body("y").send().expect(200);
        assert_eq!(server.get(&format!("/{bucket}/after")).send().expect(200).body, b"y");
        server.delete(&format!("/{bucket}/after")).send().expect(204);
        server.delete(&format!("/{bucket}/k")).send().expect(204);
    }
}
