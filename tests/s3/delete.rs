//! DeleteObjects; DeleteObject is tested where objects are.

use crate::support::{Response, Server, at_once, md5_base64, md5_hex, shared};

fn delete(server: &Server, bucket: &str, inside: &str) -> Response {
    let document = format!("<Delete>{inside}</Delete>");
    let post = server.post(&format!("/{bucket}?delete"));
    post.header("Content-MD5", md5_base64(document.as_bytes())).body(document).send()
}

fn count(server: &Server, bucket: &str) -> String {
    server.get(&format!("/{bucket}?list-type=2")).send().expect(200).text("KeyCount")
}

fn fill(server: &Server, bucket: &str, count: usize) {
    at_once(8, |thread| {
        let mut connection = server.connect();
        for n in (thread..count).step_by(8) {
            connection.send(server.put(&format!("/{bucket}/{n}")).body("x")).expect(200);
        }
    });
}

#[test]
fn a_thousand_keys() {
    let server = shared();
    let bucket = server.bucket("delete");
    fill(server, &bucket, 1000);
    assert_eq!(count(server, &bucket), "1000");
    let object = |n: usize| format!("<Object><Key>{n}</Key></Object>");
    let over: String = (0..1001).map(object).collect();
    delete(server, &bucket, &over).expect_error(400, "MalformedXML");
    assert_eq!(count(server, &bucket), "1000");
    let all: String = (0..1000).map(object).collect();
    let deleted = delete(server, &bucket, &all).expect(200);
    let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(deleted.all("Key"), names);
    assert_eq!(deleted.elements("Deleted").len(), 1000);
    assert_eq!(count(server, &bucket), "0");
    // What is not there is deleted as well.
    let again = delete(server, &bucket, &all).expect(200);
    assert_eq!(again.elements("Deleted").len(), 1000);
}

#[test]
fn quiet() {
    let server = shared();
    let bucket = server.bucket("delete");
    fill(server, &bucket, 2);
    let long = "k".repeat(1025);
    let inside = format!(
        "<Quiet>true</Quiet><Object><Key>0</Key></Object><Object><Key>{long}</Key></Object>"
    );
    let answer = delete(server, &bucket, &inside).expect(200);
    assert!(answer.elements("Deleted").is_empty());
    assert_eq!(answer.all("Code"), ["KeyTooLongError"]);
    assert_eq!(count(server, &bucket), "1");
    let loud = "<Quiet>false</Quiet><Object><Key>1</Key></Object>";
    let answer = delete(server, &bucket, loud).expect(200);
    assert_eq!(answer.all("Key"), ["1"]);
    assert_eq!(count(server, &bucket), "0");
}

#[test]
fn each_with_its_condition() {
    let server = shared();
    let bucket = server.bucket("delete");
    fill(server, &bucket, 6);
    let etag = md5_hex(b"x");
    let wrong = md5_hex(b"y");
    let inside = format!(
        "<Object><Key>0</Key><ETag>{etag}</ETag></Object>\
         <Object><Key>1</Key><ETag>\"{etag}\"</ETag><Size>1</Size></Object>\
         <Object><Key>2</Key><ETag>{wrong}</ETag></Object>\
         <Object><Key>3</Key><Size>2</Size></Object>\
         <Object><Key>4</Key>\
         <LastModifiedTime>Sat, 01 Jan 2000 00:00:00 GMT</LastModifiedTime></Object>\
         <Object><Key>5</Key><VersionId>null</VersionId></Object>"
    );
    let answer = delete(server, &bucket, &inside).expect(200);
    let keys = |element: &str| -> Vec<String> {
        let found = answer.elements(element);
        found.iter().flat_map(|e| crate::support::texts(e, "Key")).collect()
    };
    assert_eq!(keys("Deleted"), ["0", "1", "5"]);
    assert_eq!(keys("Error"), ["2", "3", "4"]);
    assert_eq!(answer.all("Code"), ["PreconditionFailed"; 3]);
    let left = server.get(&format!("/{bucket}?list-type=2")).send().expect(200);
    assert_eq!(left.all("Key"), ["2", "3", "4"]);
}

#[test]
fn strange_keys() {
    let server = shared();
    let bucket = server.bucket("delete");
    for key in ["a b+c", "ü/日本", "<&>", "\u{1}", " a ", "..", "//", "a\r\n"] {
        server.object("PUT", &bucket, key).send().expect(200);
    }
    let inside = "<Object><Key>a b+c</Key></Object><Object><Key>ü/日本</Key></Object>\
        <Object><Key>&lt;&amp;&gt;</Key></Object><Object><Key>&#x1;</Key></Object>\
        <Object><Key> a </Key></Object><Object><Key>..</Key></Object>\
        <Object><Key>//</Key></Object><Object><Key>a&#13;&#10;</Key></Object>";
    let answer = delete(server, &bucket, inside).expect(200);
    assert_eq!(answer.elements("Error"), [""; 0]);
    assert_eq!(count(server, &bucket), "0");
}

#[test]
fn documents_that_are_none() {
    let server = shared();
    let bucket = server.bucket("delete");
    fill(server, &bucket, 1);
    for bad in [
        "",
        "<Quiet>true</Quiet>",
        "<Object></Object>",
        "<Object><Key></Key></Object>",
        "<Object><Key>0</Key>",
        "<Object><Key>0</Key></Object><Nonsense/>",
        "<Object><Key>0</Key><Size>x</Size></Object>",
        "<Object><Key>&nothing;</Key></Object>",
    ] {
        delete(server, &bucket, bad).expect_error(400, "MalformedXML");
    }
    let post = |body: Vec<u8>| server.post(&format!("/{bucket}?delete")).body(body).send();
    post(Vec::new()).expect_error(400, "MalformedXML");
    post(b"<Delete><Object><Key>\xff</Key></Object></Delete>".to_vec()).expect(400);
    let bomb = "<!DOCTYPE D [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>\
                <Delete><Object><Key>&b;</Key></Object></Delete>";
    post(bomb.into()).expect_error(400, "MalformedXML");
    post("<a>".repeat(100_000).into()).expect_error(400, "MalformedXML");
    let large = format!("<Delete>{}</Delete>", " ".repeat(2 << 20));
    post(large.into()).expect(400);
    assert_eq!(count(server, &bucket), "1");
    let gone = delete(server, "no-such-bucket-here", "<Object><Key>0</Key></Object>");
    gone.expect_error(404, "NoSuchBucket");
}
