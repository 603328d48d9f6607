//! Event notifications: the configuration over HTTP, and deliveries to a webhook of the test's own.

use crate::support::server::run;
use crate::support::{Response, Server, eventually};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a webhook got: heads and bodies.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(String, Value)>>>);

impl Received {
    fn all(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().clone()
    }

    /// The events so far: name and key.
    fn events(&self) -> Vec<String> {
        let text = |(_, body): &(String, Value)| {
            let record = &body["Records"][0];
            let name = record["eventName"].as_str().unwrap();
            let key = record.pointer("/s3/object/key").and_then(Value::as_str).unwrap();
            format!("{name} {key}")
        };
        self.all().iter().map(text).collect()
    }
}

/// Reads a request; `None` if it is cut off.
fn read(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
        if body.len() == length.parse::<usize>().ok()? {
            return Some((head.to_owned(), serde_json::from_str(body).ok()?));
        }
    }
}

/// A webhook at this address that answers with these statuses, one a request, then with 200.
fn webhook(listener: TcpListener, statuses: &'static [u16]) -> Received {
    let received = Received::default();
    let kept = received.clone();
    std::thread::spawn(move || {
        let mut statuses = statuses.iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(request) = read(&mut stream) else { continue };
            let status = *statuses.next().unwrap_or(&200);
            if status == 200 {
                kept.0.lock().unwrap().push(request);
            }
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        }
    });
    received
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server with one webhook.
fn server(address: SocketAddr, vars: &[(&str, &str)]) -> Server {
    let url = format!("http://{address}/events?a=b");
    let mut all = vec![("JOG_WEBHOOK_ONE_URL", url.as_str()), ("JOG_WEBHOOK_ONE_TOKEN", "secret")];
    all.extend_from_slice(vars);
    Server::with(&all)
}

fn queue(arn: &str, inside: &str) -> String {
    format!("<QueueConfiguration><Id>id</Id><Queue>{arn}</Queue>{inside}</QueueConfiguration>")
}

const ONE: &str = "arn:minio:sqs::one:webhook";

fn configure(server: &Server, bucket: &str, inside: &str) -> Response {
    let document = format!("<NotificationConfiguration>{inside}</NotificationConfiguration>");
    server.put(&format!("/{bucket}?notification")).body(document).send()
}

fn put(server: &Server, bucket: &str, key: &str) {
    server.object("PUT", bucket, key).body("body").send().expect(200);
}

#[test]
fn a_configuration_is_kept_and_given_back() {
    let (_listener, address) = listen();
    let server = server(address, &[]);
    let bucket = server.bucket("notification");
    let target = format!("/{bucket}?notification");
    let none = server.get(&target).send().expect(200);
    assert!(none.all("Id").is_empty());
    let events = "<Event>s3:ObjectCreated:*</Event>";
    let good = queue(ONE, events);
    configure(&server, &bucket, &good).expect(200);
    assert!(server.get(&target).send().expect(200).xml().contains(&good));
    let unknown = queue("arn:jog:sqs::TWO:webhook", events);
    configure(&server, &bucket, &unknown).expect_error(400, "InvalidArgument");
    let event = queue(ONE, "<Event>s3:ObjectAccessed:*</Event>");
    configure(&server, &bucket, &event).expect_error(400, "InvalidArgument");
    let event = queue(ONE, "<Event>s3:ObjectTagging:*</Event>");
    configure(&server, &bucket, &event).expect_error(501, "NotImplemented");
    assert!(server.get(&target).send().expect(200).xml().contains(&good));
    configure(&server, &bucket, "").expect(200);
    assert!(server.get(&target).send().expect(200).all("Id").is_empty());
    server.stop();
}

#[test]
fn every_kind_of_event_is_delivered_in_order() {
    let (listener, address) = listen();
    let received = webhook(listener, &[]);
    let server = server(address, &[("JOG_LIFECYCLE_DAY", "1s")]);
    let bucket = server.bucket("notification");
    let filter = "<Filter><S3Key><FilterRule><Name>prefix</Name><Value>in/</Value></FilterRule>\
                  </S3Key></Filter>";
    let all = "<Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event>\
               <Event>s3:LifecycleExpiration:*</Event>";
    configure(&server, &bucket, &queue(ONE, &format!("{all}{filter}"))).expect(200);
    put(&server, &bucket, "in/a b");
    put(&server, &bucket, "out/a");
    let copy = server.put(&format!("/{bucket}/in/copy"));
    copy.header("x-amz-copy-source", format!("/{bucket}/out/a")).send().expect(200);
    let id = server.upload(&bucket, "in/m");
    let etag = server.part(&bucket, "in/m", &id, 1, b"part");
    server.complete(&bucket, "in/m", &id, &[(1, &etag)]).send().expect(200);
    server.delete(&format!("/{bucket}/in/copy")).send().expect(204);
    // Was not there any more: nothing happened.
    server.delete(&format!("/{bucket}/in/copy")).send().expect(204);
    let delete = "<Delete><Object><Key>in/m</Key></Object><Object><Key>out/a</Key></Object>\
                  </Delete>";
    server.post(&format!("/{bucket}?delete")).body(delete).send().expect(200);
    let rule = "<LifecycleConfiguration><Rule><Prefix>in/</Prefix><Status>Enabled</Status>\
                <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    server.put(&format!("/{bucket}?lifecycle")).body(rule).send().expect(200);
    eventually("all events", || received.all().len() >= 6);
    assert_eq!(
        received.events(),
        [
            "ObjectCreated:Put in/a+b",
            "ObjectCreated:Copy in/copy",
            "ObjectCreated:CompleteMultipartUpload in/m",
            "ObjectRemoved:Delete in/copy",
            "ObjectRemoved:Delete in/m",
            "LifecycleExpiration:Delete in/a+b",
        ]
    );
    let all = received.all();
    let (head, first) = &all[0];
    let head: Vec<&str> = head.lines().collect();
    assert_eq!(head[0], "POST /events?a=b HTTP/1.1");
    assert!(head.contains(&"Authorization: Bearer secret"), "{head:?}");
    let record = &first["Records"][0];
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap();
    assert_eq!(text("/eventVersion"), "2.1");
    assert_eq!(text("/s3/bucket/name"), bucket);
    assert_eq!(text("/s3/configurationId"), "id");
    assert_eq!(text("/requestParameters/sourceIPAddress"), "127.0.0.1");
    assert_eq!(text("/s3/object/eTag"), crate::support::md5_hex(b"body"));
    assert_eq!(record.pointer("/s3/object/size"), Some(&Value::from(4)));
    assert_eq!(text("/responseElements/x-amz-request-id").len(), 16);
    let sequence = |(_, body): &(String, Value)| {
        let sequencer = body.pointer("/Records/0/s3/object/sequencer");
        sequencer.and_then(Value::as_str).unwrap().to_owned()
    };
    assert!(all.windows(2).all(|two| sequence(&two[0]) < sequence(&two[1])));
    server.stop();
}

#[test]
fn events_wait_for_a_webhook_that_is_away() {
    let (listener, address) = listen();
    drop(listener);
    let mut server = server(address, &[]);
    let bucket = server.bucket("notification");
    configure(&server, &bucket, &queue(ONE, "<Event>s3:ObjectCreated:Put</Event>")).expect(200);
    for n in 0..150 {
        put(&server, &bucket, &format!("{n}"));
    }
    server.log_line("a failed delivery", |line| line.contains("webhook ONE"));
    assert!(!server.log().contains("secret"));
    // Neither a crash nor an answer that is no success loses one.
    server.crash();
    let received = webhook(TcpListener::bind(address).unwrap(), &[500, 301]);
    eventually("all events", || received.all().len() >= 150);
    let expected: Vec<String> = (0..150).map(|n| format!("ObjectCreated:Put {n}")).collect();
    assert_eq!(received.events(), expected);
    // They are off the queue: nothing comes a second time.
    server.log_line("it works again", |line| line.contains("takes events again"));
    std::thread::sleep(Duration::from_millis(300));
    server.crash();
    put(&server, &bucket, "last");
    eventually("one more", || received.all().len() > 150);
    assert_eq!(received.events()[150..], ["ObjectCreated:Put last"]);
    server.stop();
}

/// A webhook that never answers holds up neither requests nor the end of the server.
#[test]
fn a_webhook_that_hangs_holds_up_nobody() {
    let (_listener, address) = listen();
    let server = server(address, &[]);
    let bucket = server.bucket("notification");
    configure(&server, &bucket, &queue(ONE, "<Event>s3:ObjectCreated:Put</Event>")).expect(200);
    let start = std::time::Instant::now();
    for n in 0..20 {
        put(&server, &bucket, &format!("{n}"));
    }
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn wrong_settings_are_named_at_the_start() {
    let keys = [("JOG_ACCESS_KEY", "access"), ("JOG_SECRET_KEY", "secretsecret")];
    let output = |vars: &[(&str, &str)]| {
        let output = run(&["config"], &[&keys[..], vars].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (good, text) = output(&[("JOG_WEBHOOK_A_URL", "https://example.com/hidden")]);
    assert!(!good && text.contains("JOG_WEBHOOK_A_URL") && text.contains("proxy"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
    let (good, text) =
        output(&[("JOG_WEBHOOK_A_URL", "http://h:81/hidden"), ("JOG_WEBHOOK_A_TOKEN", "hidden")]);
    assert!(good && text.contains("http://h:81/"), "{text}");
    assert!(!text.contains("hidden") && !text.contains("no setting"), "{text}");
}
