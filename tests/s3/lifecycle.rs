//! The lifecycle configuration over HTTP, the header that announces an end, and rules at work in
//! the real server with a day of 2 seconds. What rules do to versions is in `tests/expiry.rs`.

use super::commands;
use crate::support::{Response, Server, at_once, eventually, shared};
use std::time::{Duration, Instant};

/// The length of a day where rules are at work.
const DAY: (&str, &str) = ("JOG_LIFECYCLE_DAY", "2s");

fn configure(server: &Server, bucket: &str, rules: &str) -> Response {
    let document = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    server.put(&format!("/{bucket}?lifecycle")).body(document).send()
}

fn days(id: &str, filter: &str, days: u32) -> String {
    format!(
        "<Rule><ID>{id}</ID><Filter>{filter}</Filter><Status>Enabled</Status>\
         <Expiration><Days>{days}</Days></Expiration></Rule>"
    )
}

fn keys(server: &Server, bucket: &str) -> Vec<String> {
    server.get(&format!("/{bucket}?list-type=2")).send().expect(200).all("Key")
}

#[test]
fn a_configuration_is_kept_and_given_back() {
    let server = shared();
    let bucket = server.bucket("lifecycle");
    let target = format!("/{bucket}?lifecycle");
    server.get(&target).send().expect_error(404, "NoSuchLifecycleConfiguration");
    server.delete(&target).send().expect(204);
    let rules = "<Rule><ID>old</ID><Prefix>a/</Prefix><Status>Disabled</Status>\
                 <AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload></Rule>"
        .to_owned()
        + &days("new", "<Tag><Key>k</Key><Value>v</Value></Tag>", 31);
    let minimum = "x-amz-transition-default-minimum-object-size";
    let answer = configure(server, &bucket, &rules).expect(200);
    assert_eq!(answer.header(minimum), Some("all_storage_classes_128K"));
    let answer = server.get(&target).send().expect(200);
    assert!(answer.xml().contains(&rules), "{}", answer.xml());
    assert_eq!(answer.header(minimum), Some("all_storage_classes_128K"));
    // A document that is refused changes nothing.
    configure(server, &bucket, &days("zero", "", 0)).expect_error(400, "InvalidArgument");
    configure(server, &bucket, "").expect_error(400, "MalformedXML");
    let transition = days("t", "", 1).replace(
        "</Rule>",
        "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>",
    );
    configure(server, &bucket, &transition).expect_error(501, "NotImplemented");
    server.put(&target).header(minimum, "varies_by_storage_class").send().expect(501);
    assert!(server.get(&target).send().expect(200).xml().contains(&rules));
    server.delete(&target).send().expect(204);
    server.get(&target).send().expect_error(404, "NoSuchLifecycleConfiguration");
    server.get("/no-such-bucket?lifecycle").send().expect_error(404, "NoSuchBucket");
}

#[test]
fn answers_announce_the_end_of_an_object() {
    let server = shared();
    let bucket = server.bucket("lifecycle");
    let rules = days("a rule/1", "<Prefix>a/</Prefix>", 3)
        + &days("sizes", "<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan>", 1);
    configure(server, &bucket, &rules).expect(200);
    let seconds = |response: &Response| {
        let value = response.header("x-amz-expiration")?.to_owned();
        let date = value.strip_prefix("expiry-date=\"")?.split('"').next()?;
        let rule = value.split("rule-id=\"").nth(1)?.split('"').next()?;
        let date = httpdate::parse_http_date(date).unwrap();
        let since = date.duration_since(std::time::UNIX_EPOCH).unwrap();
        Some((since.as_secs(), rule.to_owned()))
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let midnight = |days: u64| (now.as_secs() / 86_400 + 1 + days) * 86_400;
    let target = format!("/{bucket}/a/1");
    let put = server.put(&target).body("x").send().expect(200);
    let expected = Some((midnight(3), "a%20rule%2F1".to_owned()));
    assert_eq!(seconds(&put), expected);
    assert_eq!(seconds(&server.get(&target).send().expect(200)), expected);
    assert_eq!(seconds(&server.head(&target).send().expect(200)), expected);
    let source = format!("/{bucket}/a/1");
    let copy = |to: &str| {
        let copy = server.put(&format!("/{bucket}/{to}"));
        copy.header("x-amz-copy-source", source.clone()).send().expect(200)
    };
    assert_eq!(seconds(&copy("a/2")), expected);
    assert_eq!(seconds(&copy("b/2")), None);
    // Of two rules the earlier one is announced.
    let large = server.put(&target).body("longer").send().expect(200);
    assert_eq!(seconds(&large), Some((midnight(1), "sizes".to_owned())));
    let id = server.upload(&bucket, "a/m");
    let etag = server.part(&bucket, "a/m", &id, 1, b"x");
    let complete = server.complete(&bucket, "a/m", &id, &[(1, &etag)]).send().expect(200);
    assert_eq!(seconds(&complete), expected);
    server.delete(&format!("/{bucket}?lifecycle")).send().expect(204);
    assert_eq!(seconds(&server.head(&target).send().expect(200)), None);
}

/// An end that no date of four digits for the year can tell.
#[test]
fn an_end_in_the_far_future_is_announced() {
    let server = shared();
    let bucket = server.bucket("lifecycle");
    configure(server, &bucket, &days("far", "", i32::MAX as u32)).expect(200);
    let target = format!("/{bucket}/k");
    server.put(&target).body("x").send().expect(200);
    let get = server.get(&target).send().expect(200);
    let expiration = get.header("x-amz-expiration").expect("the rule is about it");
    assert_eq!(expiration, "expiry-date=\"Fri, 31 Dec 9999 23:59:59 GMT\", rule-id=\"far\"");
}

#[test]
fn objects_go_when_their_days_are_over() {
    let server = Server::with(&[DAY]);
    let bucket = server.bucket("lifecycle");
    for key in ["a/1", "b/1", "c/1"] {
        server.put(&format!("/{bucket}/{key}")).body("x").send().expect(200);
    }
    let start = Instant::now();
    let rules = days("one", "<Prefix>a/</Prefix>", 1) + &days("three", "<Prefix>b/</Prefix>", 3);
    configure(&server, &bucket, &rules).expect(200);
    eventually("the first one goes", || keys(&server, &bucket) == ["b/1", "c/1"]);
    // A day is rounded up: from two to four seconds.
    assert!(start.elapsed() >= Duration::from_millis(1900), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_millis(5500), "{:?}", start.elapsed());
    eventually("the second one goes", || keys(&server, &bucket) == ["c/1"]);
    assert!(start.elapsed() >= Duration::from_millis(5900), "{:?}", start.elapsed());
    let gone = server.get(&format!("/{bucket}/a/1")).send();
    gone.expect_error(404, "NoSuchKey");
    // What is written later is subject to the same rules.
    server.put(&format!("/{bucket}/a/2")).send().expect(200);
    assert!(keys(&server, &bucket).contains(&"a/2".to_owned()));
    eventually("the later one goes", || keys(&server, &bucket) == ["c/1"]);
    server.stop();
}

/// Killed while the rules are applied, the server goes on where it was.
#[test]
fn a_crash_does_not_stop_the_rules() {
    let mut server = Server::with(&[DAY]);
    let bucket = server.bucket("lifecycle");
    let count = 900;
    at_once(8, |thread| {
        let mut connection = server.connect();
        for n in (thread..count).step_by(8) {
            connection.send(server.put(&format!("/{bucket}/x/{n}")).body("x")).expect(200);
        }
    });
    server.put(&format!("/{bucket}/y")).body("y").send().expect(200);
    configure(&server, &bucket, &days("one", "<Prefix>x/</Prefix>", 1)).expect(200);
    let start = Instant::now();
    while keys(&server, &bucket).len() > count && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.crash();
    eventually("all of it goes", || keys(&server, &bucket) == ["y"]);
    server.get(&format!("/{bucket}/y")).send().expect(200);
    server.stop();
}

/// System calls that read or write, and the bytes that they moved.
fn io(server: &Server) -> String {
    let path = format!("/proc/{}/io", server.pid());
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().take(4).collect::<Vec<_>>().join(" ")
}

/// With rules and objects, but nothing due, a disk can sleep: for several days nothing is read and
/// nothing is written.
#[test]
fn nothing_is_read_or_written_while_nothing_is_due() {
    let server = Server::with(&[("JOG_LIFECYCLE_DAY", "1s")]);
    let bucket = server.bucket("lifecycle");
    server.put(&format!("/{bucket}/a")).body("x").send().expect(200);
    configure(&server, &bucket, &days("late", "", 1000)).expect(200);
    // Until after the look at what just changed.
    std::thread::sleep(Duration::from_millis(2500));
    let before = io(&server);
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(io(&server), before);
    // A change is looked at after the next midnight, and then it is quiet again.
    server.put(&format!("/{bucket}/b")).body("x").send().expect(200);
    std::thread::sleep(Duration::from_millis(1500));
    let before = io(&server);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(io(&server), before);
    server.stop();
}

#[test]
fn a_preview_says_what_would_go_and_takes_nothing() {
    let server = Server::start();
    let bucket = server.bucket("preview");
    server.put(&format!("/{bucket}/logs/a")).body("x").send().expect(200);
    server.put(&format!("/{bucket}/kept")).body("x").send().expect(200);
    let preview = || commands::ok(server.dir.path(), &["lifecycle", "preview", &bucket]);
    assert!(preview().contains("no lifecycle rules"));
    let document = "<LifecycleConfiguration><Rule><ID>old-logs</ID><Status>Enabled</Status>\
                    <Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>1</Days></Expiration>\
                    </Rule></LifecycleConfiguration>";
    server.put(&format!("/{bucket}?lifecycle")).body(document).send().expect(200);
    let lines = preview();
    assert!(lines.contains("logs/a") && lines.contains("old-logs"), "{lines}");
    assert!(!lines.contains("kept"), "{lines}");
    server.head(&format!("/{bucket}/logs/a")).send().expect(200);
    let args = ["lifecycle", "preview", "no-such-bucket"];
    commands::fails(server.dir.path(), &args, 1, "no bucket");
}
