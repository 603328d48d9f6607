//! Access logging of buckets: its configuration, its lines, and that they arrive.

use super::access::{User, statement};
use crate::support::{Server, shared};
use std::time::{Duration, Instant};

/// Lines are delivered after a second.
const SOON: (&str, &str) = ("JOG_ACCESS_LOG_INTERVAL", "1s");
/// They wait for longer than any test.
const LATER: (&str, &str) = ("JOG_ACCESS_LOG_INTERVAL", "1h");

fn status(target: &str, prefix: &str, format: &str) -> String {
    format!(
        "<BucketLoggingStatus><LoggingEnabled><TargetBucket>{target}</TargetBucket>\
         <TargetPrefix>{prefix}</TargetPrefix>{format}</LoggingEnabled></BucketLoggingStatus>"
    )
}

fn enable(server: &Server, source: &str, target: &str, format: &str) {
    let body = status(target, "log/", format);
    server.put(&format!("/{source}?logging")).body(body).send().expect(200);
}

/// Keys and texts of the objects in a bucket, once they have so many lines.
fn delivered(server: &Server, bucket: &str, lines: usize) -> Vec<(String, String)> {
    let start = Instant::now();
    loop {
        let list = server.get(&format!("/{bucket}?list-type=2")).send().expect(200);
        let read = |key: String| {
            let text = server.object("GET", bucket, &key).send().expect(200).xml().to_owned();
            (key, text)
        };
        let found: Vec<_> = list.all("Key").into_iter().map(read).collect();
        let count: usize = found.iter().map(|(_, text)| text.lines().count()).sum();
        if count >= lines || start.elapsed() > Duration::from_secs(15) {
            assert_eq!(count, lines, "{found:?}\n{}", server.log());
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The fields of a line; what is in quotes or brackets is one.
fn fields(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (end, skip) = match rest.as_bytes()[0] {
            b'"' => (rest[1..].find('"').unwrap() + 2, 1),
            b'[' => (rest.find(']').unwrap() + 1, 1),
            _ => (rest.find(' ').unwrap_or(rest.len()), 1),
        };
        found.push(rest[..end].to_owned());
        rest = rest.get(end + skip..).unwrap_or_default();
    }
    found
}

#[test]
fn a_configuration_is_kept_given_back_and_removed() {
    let server = shared();
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    let resource = format!("/{source}?logging");
    let put = |body: &str| server.put(&resource).body(body).send();
    let off = server.get(&resource).send().expect(200);
    assert!(off.elements("LoggingEnabled").is_empty());
    put(&status(&target, "log/", "")).expect(200);
    let kept = server.get(&resource).send().expect(200);
    assert_eq!(
        (kept.text("TargetBucket"), kept.text("TargetPrefix")),
        (target.clone(), "log/".into())
    );
    assert_eq!(kept.elements("SimplePrefix").len(), 1);
    let partitioned = |source: &str| {
        format!(
            "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>{source}\
             </PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>"
        )
    };
    put(&status(&target, "log/", &partitioned("DeliveryTime"))).expect(200);
    let kept = server.get(&resource).send().expect(200);
    assert_eq!(kept.text("PartitionDateSource"), "DeliveryTime");
    for (body, code, status) in [
        (status("no-such-bucket-here", "", ""), "InvalidTargetBucketForLogging", 400),
        (status(&target, "", &partitioned("kaboom")), "MalformedXML", 400),
        (status(&target, "", "<TargetGrants><Grant/></TargetGrants>"), "NotImplemented", 501),
        ("<Other/>".to_owned(), "MalformedXML", 400),
    ] {
        put(&body).expect_error(status, code);
    }
    assert_eq!(server.get(&resource).send().expect(200).body, kept.body);
    let body = status(&target, "", "");
    let gone = server.put("/no-such-bucket-here?logging").body(body).send();
    gone.expect_error(404, "NoSuchBucket");
    put("<BucketLoggingStatus/>").expect(200);
    assert!(server.get(&resource).send().expect(200).elements("LoggingEnabled").is_empty());
}

#[test]
fn lines_arrive_in_the_target_bucket() {
    let server = Server::with(&[SOON]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    server.put(&format!("/{source}/before")).body("x").send().expect(200);
    enable(&server, &source, &target, "");
    let key = "a b/ü\"x";
    let put = server.object("PUT", &source, key).header("User-Agent", "my \"agent\"");
    put.header("Referer", "https://a.example/").body("12345").send().expect(200);
    let read = server.object("GET", &source, key).header("Range", "bytes=1-2").send().expect(206);
    server.get(&format!("/{source}/none")).anonymous().send().expect(403);
    server.get(&format!("/{source}/none")).presigned(60).send().expect(404);
    server.get(&format!("/{source}?list-type=2")).send().expect(200);
    server.put(&format!("/{source}?accelerate")).send().expect(501);
    let form = server.post(&format!("/{source}")).anonymous().body("--b\r\n");
    form.header("Content-Type", "multipart/form-data; boundary=b").send().expect(400);
    let found = delivered(&server, &target, 7);
    for (key, _) in &found {
        let rest = key.strip_prefix("log/").expect("the prefix");
        let parts: Vec<&str> = rest.split('-').collect();
        assert_eq!(
            parts.iter().map(|p| p.len()).collect::<Vec<_>>(),
            [4, 2, 2, 2, 2, 2, 16],
            "{key}"
        );
    }
    let text: String = found.into_iter().map(|(_, text)| text).collect();
    let lines: Vec<Vec<String>> = text.lines().map(fields).collect();
    let line = |operation: &str, status: &str| -> &Vec<String> {
        let fits = |l: &&Vec<String>| l[6] == operation && l[9] == status;
        lines.iter().find(fits).unwrap_or_else(|| panic!("no {operation} {status} in {text}"))
    };
    let put = line("REST.PUT.OBJECT", "200");
    assert_eq!(put.len(), 26, "{put:?}");
    assert_eq!((put[0].len(), &put[1], &put[4]), (64, &source, &put[0]));
    assert_eq!((&*put[3], &*put[7]), ("127.0.0.1", "a%20b/%C3%BC%22x"));
    assert_eq!(put[8], format!("\"PUT /{source}/a%20b/%C3%BC%22x HTTP/1.1\""));
    assert_eq!((&*put[10], &*put[11], &*put[12]), ("-", "-", "5"));
    assert_eq!((&*put[15], &*put[16]), ("\"https://a.example/\"", "\"my %22agent%22\""));
    assert_eq!((&*put[19], &*put[21]), ("SigV4", "AuthHeader"));
    assert_eq!(put[22], server.address.to_string());
    let get = line("REST.GET.OBJECT", "206");
    assert_eq!((&*get[11], &*get[12]), ("2", "5"));
    assert_eq!(get[5], read.header("x-amz-request-id").unwrap());
    let denied = line("REST.GET.OBJECT", "403");
    assert_eq!((&*denied[4], &*denied[10], &*denied[19]), ("-", "AccessDenied", "-"));
    let missing = line("REST.GET.OBJECT", "404");
    assert_eq!((&*missing[10], &*missing[21]), ("NoSuchKey", "QueryString"));
    line("REST.GET.BUCKET", "200");
    assert_eq!(line("REST.POST.OBJECT", "400")[4], "-");
    assert_eq!(line("REST.PUT.ACCELERATE", "501")[10], "NotImplemented");
}

#[test]
fn each_object_of_a_batch_has_its_line() {
    let server = Server::with(&[SOON]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    enable(&server, &source, &target, "");
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let wrong = "<Object><Key>c</Key><VersionId>no-version</VersionId></Object>";
    let body = format!("<Delete>{}{}{wrong}</Delete>", object("a b"), object("b"));
    server.post(&format!("/{source}?delete")).body(body).send().expect(200);
    let found = delivered(&server, &target, 4);
    let lines: Vec<_> = found[0].1.lines().map(fields).collect();
    let told: Vec<_> = lines.iter().map(|l| (&*l[6], &*l[7], &*l[9], &*l[10])).collect();
    let batch = "BATCH.DELETE.OBJECT";
    let expected = [
        ("REST.POST.MULTI_OBJECT_DELETE", "-", "200", "-"),
        (batch, "a%20b", "204", "-"),
        (batch, "b", "204", "-"),
        (batch, "c", "404", "NoSuchVersion"),
    ];
    assert_eq!(told, expected);
    assert_eq!((&*lines[1][8], lines[1].len()), ("-", 26));
    assert_eq!(lines[1][5], lines[0][5], "the same request");
}

/// What a client says of itself is bounded, and not told again for each object of a batch.
#[test]
fn a_short_request_makes_no_long_log() {
    let server = Server::with(&[SOON]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    enable(&server, &source, &target, "");
    let body = format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(1000));
    let delete = server.post(&format!("/{source}?delete")).anonymous().body(body);
    delete.header("User-Agent", "\"".repeat(50_000)).send().expect(200);
    let log = &delivered(&server, &target, 1001)[0].1;
    assert!(log.len() < 1_000_000, "{} bytes", log.len());
    let said = log.lines().filter(|line| line.contains("%22%22")).count();
    assert_eq!(said, 1);
}

/// Where the log goes is decided by who may write there.
#[test]
fn a_log_goes_where_its_sender_may_write() {
    let server = Server::with(&[SOON]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    let user = User::new(&server, "ann");
    let put = statement("Allow", &["s3:PutBucketLogging"], &format!("arn:aws:s3:::{source}"));
    user.may(&put);
    let send = |prefix: &str| {
        let body = status(&target, prefix, "");
        user.put(&format!("/{source}?logging")).body(body).send()
    };
    send("logs/").expect_error(403, "AccessDenied");
    let write = statement("Allow", &["s3:PutObject"], &format!("arn:aws:s3:::{target}/logs/*"));
    user.may(&format!("{put}, {write}"));
    send("logs/").expect(200);
    send("other/").expect_error(403, "AccessDenied");
}

/// A bucket that is its own target: each request gives one line, and the delivery none.
#[test]
fn delivery_does_not_log_itself() {
    let server = Server::with(&[SOON]);
    let source = server.bucket("src");
    enable(&server, &source, &source, "");
    server.put(&format!("/{source}/a")).body("x").send().expect(200);
    let logs = || -> Vec<String> {
        let files = server.dir.path().join("buckets").join(&source);
        assert!(files.exists());
        server.blobs(&source).iter().map(|p| std::fs::read_to_string(p).unwrap()).collect()
    };
    let count = || logs().iter().filter(|text| text.contains("REST.PUT.OBJECT")).count();
    crate::support::eventually("a delivery", || count() > 0);
    std::thread::sleep(Duration::from_millis(2500));
    // The object and its log; a log about the log would be a third.
    assert_eq!(logs().len(), 2, "{:?}", logs());
    assert!(std::fs::read_dir(server.dir.path().join("logs")).unwrap().next().is_none());
}

#[test]
fn partitions() {
    let server = Server::with(&[SOON]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    let by_event = "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime\
        </PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>";
    enable(&server, &source, &target, by_event);
    server.get(&format!("/{source}")).send().expect(200);
    let found = delivered(&server, &target, 1);
    let parts: Vec<&str> = found[0].0.split('/').collect();
    assert_eq!((parts[0], parts[1].len(), parts[2], parts[3]), ("log", 64, "us-east-1", &*source));
    let [year, month, day] = [parts[4], parts[5], parts[6]];
    assert!(parts[7].starts_with(&format!("{year}-{month}-{day}-00-00-00-")), "{}", found[0].0);
}

#[test]
fn a_crash_loses_no_line() {
    let mut server = Server::with(&[LATER]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    enable(&server, &source, &target, "");
    for n in 0..20 {
        server.put(&format!("/{source}/{n}")).body("x").send().expect(200);
    }
    // A line is written when its answer has been sent.
    let spooled = || -> usize {
        let files = std::fs::read_dir(server.dir.path().join("logs")).unwrap();
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        texts.map(|text| text.lines().count()).sum()
    };
    crate::support::eventually("all lines and a head", || spooled() == 21);
    server.crash();
    // What the crash left is delivered at once, long before its time.
    let found = delivered(&server, &target, 20);
    let text = &found[0].1;
    for n in 0..20 {
        assert!(text.contains(&format!(" REST.PUT.OBJECT {n} ")), "{text}");
    }
    let waiting = || std::fs::read_dir(server.dir.path().join("logs")).unwrap().count();
    crate::support::eventually("an empty spool", || waiting() == 0);
}

#[test]
fn an_orderly_end_keeps_lines_for_the_next_start() {
    let server = Server::with(&[LATER]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    enable(&server, &source, &target, "");
    server.get(&format!("/{source}")).send().expect(200);
    // The last request of a bucket is logged, too.
    server.delete(&format!("/{source}")).send().expect(204);
    let server = Server::on(server.stop(), &[LATER]);
    let found = delivered(&server, &target, 2);
    assert!(found[0].1.contains(" REST.DELETE.BUCKET - "), "{}", found[0].1);
}

#[test]
fn a_target_that_is_gone_stops_nothing() {
    let server = Server::with(&[SOON]);
    let (source, target) = (server.bucket("src"), server.bucket("logs"));
    enable(&server, &source, &target, "");
    server.delete(&format!("/{target}")).send().expect(204);
    server.put(&format!("/{source}/a")).body("x").send().expect(200);
    server.log_line("a loss", |line| line.contains("lost") && line.contains(&source));
    server.put(&format!("/{target}")).send().expect(200);
    server.put(&format!("/{source}/b")).body("x").send().expect(200);
    let found = delivered(&server, &target, 1);
    assert!(found[0].1.contains(" REST.PUT.OBJECT b "));
}

/// Objects of a log are written without a lock, so a bucket that locks each of its objects gets
/// none.
#[test]
fn a_target_with_a_default_retention_is_refused() {
    let server = Server::with(&[SOON]);
    let (source, target) = (server.bucket("src"), "locked-target");
    let create = server.put(&format!("/{target}"));
    create.header("x-amz-bucket-object-lock-enabled", "true").send().expect(200);
    enable(&server, &source, target, "");
    let retention = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
        <DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>\
        </ObjectLockConfiguration>";
    server.put(&format!("/{target}?object-lock")).body(retention).send().expect(200);
    let refused = server.put(&format!("/{source}?logging")).body(status(target, "", "")).send();
    refused.expect_error(400, "InvalidTargetBucketForLogging");
    server.log_line("a loss", |line| line.contains("lost") && line.contains("retention"));
}

#[test]
fn without_logging_there_is_no_spool() {
    let server = Server::with(&[SOON]);
    let bucket = server.bucket("src");
    server.put(&format!("/{bucket}/a")).body("x").send().expect(200);
    assert!(!server.dir.path().join("logs").exists());
}

#[test]
fn who_pays() {
    let server = shared();
    let bucket = server.bucket("pays");
    let target = format!("/{bucket}?requestPayment");
    assert_eq!(server.get(&target).send().expect(200).text("Payer"), "BucketOwner");
    let put = |payer: &str| {
        let inside = format!("<Payer>{payer}</Payer>");
        let root = "RequestPaymentConfiguration";
        server.put(&target).body(format!("<{root}>{inside}</{root}>")).send()
    };
    put("BucketOwner").expect(200);
    put("Requester").expect_error(501, "NotImplemented");
    put("Nobody").expect_error(400, "MalformedXML");
    assert_eq!(server.get(&target).send().expect(200).text("Payer"), "BucketOwner");
    let accelerate = server.get(&format!("/{bucket}?accelerate")).send().expect(200);
    assert_eq!(accelerate.get("Status"), None);
}
