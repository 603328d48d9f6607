//! PostObject: uploads from a browser's form.

use super::access::{User, statement};
use super::encryption::{Kind, get};
use crate::support::sign::{ALGORITHM, Signer, amz_date, now};
use crate::support::{Response, Server, md5_base64, md5_hex, noise, shared};
use base64::{Engine, prelude::BASE64_STANDARD};

/// `2026-11-24T10:05:34.000Z`
fn iso(seconds: i64) -> String {
    let d = amz_date(seconds);
    let (h, m, s) = (&d[9..11], &d[11..13], &d[13..15]);
    format!("{}-{}-{}T{h}:{m}:{s}.000Z", &d[..4], &d[4..6], &d[6..8])
}

/// A form that is being put together.
struct Form<'a> {
    server: &'a Server,
    bucket: String,
    fields: Vec<(String, String)>,
    conditions: Vec<String>,
    expires: i64,
    signer: Signer,
    filename: String,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

impl<'a> Form<'a> {
    /// A form for one bucket whose policy lets any key pass.
    fn new(server: &'a Server, bucket: &str, key: &str) -> Self {
        Self {
            server,
            bucket: bucket.to_owned(),
            fields: vec![("key".to_owned(), key.to_owned())],
            conditions: vec!["[\"starts-with\", \"$key\", \"\"]".to_owned()],
            expires: now() + 600,
            signer: Signer::default(),
            filename: "file.txt".to_owned(),
            body: b"body".to_vec(),
            headers: Vec::new(),
        }
    }

    /// Sends x-amz-copy-source as a header of the request.
    fn copying(mut self, source: &str) -> Self {
        self.headers.push(("x-amz-copy-source", source.to_owned()));
        self
    }

    /// A field that the policy demands as it is.
    fn field(mut self, name: &str, value: &str) -> Self {
        self.conditions.push(format!("{{\"{name}\": \"{value}\"}}"));
        self.extra(name, value)
    }

    /// A field that the policy does not know.
    fn extra(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn condition(mut self, condition: &str) -> Self {
        self.conditions.push(condition.to_owned());
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    fn named(mut self, filename: &str) -> Self {
        self.filename = filename.to_owned();
        self
    }

    fn send(self) -> Response {
        self.send_with(|_| {})
    }

    /// Signs, lets a test change fields, and sends.
    fn send_with(mut self, change: impl FnOnce(&mut Vec<(String, String)>)) -> Response {
        let (credential, date) = (self.signer.credential(), self.signer.date());
        let bucket = self.bucket.clone();
        self.conditions.push(format!("{{\"bucket\": \"{bucket}\"}}"));
        self = self
            .field("x-amz-algorithm", ALGORITHM)
            .field("x-amz-credential", &credential)
            .field("x-amz-date", &date);
        let policy = format!(
            "{{\"expiration\": \"{}\", \"conditions\": [{}]}}",
            iso(self.expires),
            self.conditions.join(", ")
        );
        let policy = BASE64_STANDARD.encode(policy);
        let signature = self.signer.sign(&policy);
        self = self.extra("Policy", &policy).extra("X-Amz-Signature", &signature);
        change(&mut self.fields);
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let head = "--BOUNDARY\r\nContent-Disposition: form-data; name=";
            body.extend_from_slice(format!("{head}\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
        }
        let head = "--BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"; filename=";
        let head = format!("{head}\"{}\"\r\nContent-Type: text/x-file\r\n\r\n", self.filename);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&self.body);
        body.extend_from_slice(b"\r\n--BOUNDARY\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(b"name=\"submit\"\r\n\r\nUpload\r\n--BOUNDARY--\r\n");
        let mut post = self.server.post(&format!("/{}", self.bucket)).anonymous().body(body);
        for (name, value) in self.headers {
            post = post.header(name, value);
        }
        post.header("Content-Type", "multipart/form-data; boundary=BOUNDARY").send()
    }
}

#[test]
fn a_file_from_a_form() {
    let server = shared();
    let bucket = server.bucket("form");
    for size in [0, 4, 300_000] {
        let body = noise(1, size);
        let form = Form::new(server, &bucket, "k").field("x-amz-meta-a", "ü");
        let answer = form.body(&body).send().expect(204);
        assert!(answer.body.is_empty());
        assert_eq!(answer.etag(), md5_hex(&body));
        let get = server.get(&format!("/{bucket}/k")).send().expect(200);
        assert!(get.body == body);
        assert_eq!(get.header("x-amz-meta-a"), Some("ü"));
        // What the form's file says of itself is in no policy.
        assert_eq!(get.header("content-type"), Some("binary/octet-stream"));
    }
    let typed = Form::new(server, &bucket, "k").field("Content-Type", "image/x");
    typed.field("Cache-Control", "no-store").send().expect(204);
    let head = server.head(&format!("/{bucket}/k")).send().expect(200);
    assert_eq!(head.header("content-type"), Some("image/x"));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    // Bytes that look like a boundary are bytes.
    let tricky = b"\r\n--BOUNDAR\r\n--BOUNDARZ--\r\n\r\n-";
    Form::new(server, &bucket, "tricky").body(tricky).send().expect(204);
    assert_eq!(server.get(&format!("/{bucket}/tricky")).send().expect(200).body, tricky);
}

#[test]
fn the_file_names_the_key() {
    let server = shared();
    let bucket = server.bucket("form");
    for (key, filename, expected) in [
        ("up/${filename}", "photo.jpg", "up/photo.jpg"),
        ("${filename}", "ü b+c.txt", "ü b+c.txt"),
        ("${filename}", "C:\\dir\\file.txt", "file.txt"),
        ("${filename}", "/etc/passwd", "passwd"),
        ("a/${filename}/${filename}", "x", "a/x/x"),
        ("${other}", "x", "${other}"),
    ] {
        Form::new(server, &bucket, key).named(filename).body(b"f").send().expect(204);
        let get = server.object("GET", &bucket, expected).send();
        assert_eq!(get.status, 200, "{key} {filename}");
        server.object("DELETE", &bucket, expected).send().expect(204);
    }
    Form::new(server, &bucket, "${filename}").named("").send().expect_error(400, "InvalidArgument");
    let long = "k".repeat(1025);
    Form::new(server, &bucket, &long).send().expect_error(400, "KeyTooLongError");
}

#[test]
fn the_size_of_the_file() {
    let server = shared();
    let bucket = server.bucket("form");
    let send = |size: usize| {
        let form = Form::new(server, &bucket, "k").body(&noise(1, size));
        form.condition("[\"content-length-range\", 10, 1000]").send()
    };
    send(9).expect_error(400, "EntityTooSmall");
    send(1001).expect_error(400, "EntityTooLarge");
    send(200_000).expect_error(400, "EntityTooLarge");
    server.head(&format!("/{bucket}/k")).send().expect(404);
    assert!(server.blobs(&bucket).is_empty());
    send(10).expect(204);
    send(1000).expect(204);
}

#[test]
fn what_the_form_gets_back() {
    let server = shared();
    let bucket = server.bucket("form");
    let status = |status: &str| {
        Form::new(server, &bucket, "a b").field("success_action_status", status).send()
    };
    assert!(status("200").expect(200).body.is_empty());
    assert!(status("204").expect(204).body.is_empty());
    status("404").expect(204);
    let created = status("201").expect(201);
    assert_eq!(created.text("Bucket"), bucket);
    assert_eq!(created.text("Key"), "a b");
    assert_eq!(created.text("ETag"), format!("\"{}\"", md5_hex(b"body")));
    assert_eq!(created.text("Location"), format!("http://{}/{bucket}/a%20b", server.address));
    let url = "http://example.com/done?x=1";
    let form = Form::new(server, &bucket, "k").field("success_action_redirect", url);
    let redirect = form.send().expect(303);
    let etag = md5_hex(b"body");
    let expected = format!("{url}&bucket={bucket}&key=k&etag=%22{etag}%22");
    assert_eq!(redirect.header("location"), Some(&*expected));
}

#[test]
fn a_policy_is_kept() {
    let server = shared();
    let bucket = server.bucket("form");
    let form = || Form::new(server, &bucket, "user/k");
    let denied = |answer: Response| drop(answer.expect_error(403, "AccessDenied"));
    denied(form().extra("x-amz-meta-a", "not in the policy").send());
    denied(form().condition("[\"starts-with\", \"$key\", \"other/\"]").send());
    denied(form().condition("[\"eq\", \"$key\", \"user/other\"]").send());
    denied(form().condition("{\"x-amz-meta-b\": \"demanded\"}").send());
    denied(form().condition("{\"bucket\": \"another\"}").send());
    denied(Form { expires: now() - 5, ..form() }.send());
    denied(form().field("acl", "private").send_with(|fields| {
        let acl = fields.iter_mut().find(|(n, _)| n == "acl").expect("it was set");
        acl.1 = "public-read".to_owned();
    }));
    for invalid in ["nonsense", "[\"nonsense\", \"$key\", \"a\"]", "[\"eq\", \"key\", \"a\"]", "7"]
    {
        form().condition(invalid).send().expect_error(400, "InvalidPolicyDocument");
    }
    server.head(&format!("/{bucket}/user/k")).send().expect(404);
    form().condition("[\"starts-with\", \"$key\", \"user/\"]").send().expect(204);
    form().extra("x-ignore-this", "1").send().expect(204);
}

#[test]
fn a_form_is_signed() {
    let server = shared();
    let bucket = server.bucket("form");
    let form = || Form::new(server, &bucket, "k");
    let without = |name: &'static str| {
        form().send_with(move |fields| fields.retain(|(n, _)| !n.eq_ignore_ascii_case(name)))
    };
    for name in ["x-amz-signature", "x-amz-credential", "x-amz-date", "x-amz-algorithm", "policy"] {
        let answer = without(name);
        assert!(matches!(answer.status, 400 | 403), "{name}: {}", answer.status);
    }
    let none = form().send_with(|fields| fields.truncate(1));
    none.expect_error(403, "AccessDenied");
    let mut wrong = form();
    wrong.signer.secret_key = "another/secret".to_owned();
    wrong.send().expect_error(403, "SignatureDoesNotMatch");
    let mut unknown = form();
    unknown.signer.access_key = "UNKNOWN".to_owned();
    unknown.send().expect_error(403, "InvalidAccessKeyId");
    let tampered = form().send_with(|fields| {
        let policy = fields.iter_mut().find(|(n, _)| n == "Policy").expect("it is there");
        let open = "{\"expiration\": \"2099-01-01T00:00:00.000Z\", \"conditions\": []}";
        policy.1 = BASE64_STANDARD.encode(open);
    });
    tampered.expect_error(403, "SignatureDoesNotMatch");
    server.head(&format!("/{bucket}/k")).send().expect(404);
}

#[test]
fn promises_and_forms_that_are_none() {
    let server = shared();
    let bucket = server.bucket("form");
    let form = || Form::new(server, &bucket, "k");
    let md5 = md5_base64(b"other");
    form().field("Content-MD5", &md5).send().expect_error(400, "BadDigest");
    form().field("Content-MD5", &md5_base64(b"body")).send().expect(204);
    let crc = crate::support::sum("crc32", b"other");
    form().extra("x-amz-checksum-crc32", &crc).send().expect_error(400, "BadDigest");
    let post = |kind: &str, body: &str| {
        let post = server.post(&format!("/{bucket}")).anonymous().header("Content-Type", kind);
        post.body(body).send()
    };
    let kind = "multipart/form-data; boundary=X";
    for body in ["", "nonsense", "--X\r\n", "--X--\r\n", "--X\r\nnonsense\r\n\r\na\r\n--X--\r\n"] {
        assert_eq!(post(kind, body).status, 400, "{body}");
    }
    assert_eq!(post("multipart/form-data", "--X--").status, 400);
    let other = post("application/x-www-form-urlencoded", "a=b");
    let condition = other.expect_error(412, "PreconditionFailed").text("Condition");
    assert_eq!(condition, "Bucket POST must be of the enclosure-type multipart/form-data");
    Form::new(server, "no-such-bucket-here", "k").send().expect_error(404, "NoSuchBucket");
}

#[test]
fn a_form_asks_for_encryption() {
    let server = super::encryption::server();
    let bucket = server.bucket("form");
    let body = noise(1, 70_000);
    let form = || Form::new(server, &bucket, "k").body(&body);
    let answer = form().field("x-amz-server-side-encryption", "AES256").send().expect(204);
    Kind::Server.named(answer);
    assert!(get(server, &format!("/{bucket}/k"), Kind::Server).body == body);
    let customer = "x-amz-server-side-encryption-customer-";
    let key = BASE64_STANDARD.encode([3; 32]);
    let with_key = |md5: &str| {
        form()
            .field(&format!("{customer}algorithm"), "AES256")
            .field(&format!("{customer}key"), &key)
            .field(&format!("{customer}key-md5"), md5)
            .send()
    };
    Kind::Customer(3).named(with_key(&md5_base64(&[3; 32])).expect(204));
    assert!(get(server, &format!("/{bucket}/k"), Kind::Customer(3)).body == body);
    with_key(&md5_base64(&[4; 32])).expect_error(400, "InvalidArgument");
    form()
        .field("x-amz-server-side-encryption", "aws:kms")
        .send()
        .expect_error(501, "NotImplemented");
}

/// A form is worth what its signer may; one that nobody has signed, what everybody may.
#[test]
fn a_form_needs_permission() {
    let server = Server::start();
    let bucket = server.bucket("form");
    let user = User::new(&server, "ann");
    let form = |key: &str| {
        let mut form = Form::new(&server, &bucket, key);
        user.signs(&mut form.signer);
        form
    };
    let put = ["s3:PutObject"];
    form("in/k").send().expect_error(403, "AccessDenied");
    user.may(&statement("Allow", &put, &format!("arn:aws:s3:::{bucket}/in/*")));
    form("in/k").send().expect(204);
    form("out/k").send().expect_error(403, "AccessDenied");
    let public = |key: &str| form(key).field("acl", "public-read").send();
    public("in/k").expect_error(403, "AccessDenied");
    user.may(&statement("Allow", &["s3:PutObject", "s3:PutObjectAcl"], "*"));
    public("in/k").expect(204);
    server.get(&format!("/{bucket}/in/k")).anonymous().send().expect(200);

    let unsigned = || {
        let body = "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nopen\r\n--B\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--B--\r\n";
        let post = server.post(&format!("/{bucket}")).anonymous().body(body);
        post.header("Content-Type", "multipart/form-data; boundary=B").send()
    };
    unsigned().expect_error(403, "AccessDenied");
    // Conditions see the tags of a form, in whichever field they are; and it copies nothing.
    let all = statement("Allow", &["s3:*"], "*");
    let deny = statement("Deny", &["s3:PutObject"], "*");
    let when = |condition: &str| {
        let deny = deny.replace("\"Effect\"", &format!("\"Condition\": {condition}, \"Effect\""));
        user.may(&format!("{all}, {deny}"));
    };
    when("{\"StringEquals\": {\"s3:RequestObjectTag/class\": \"secret\"}}");
    form("in/k").field("x-amz-tagging", "class=open").send().expect(204);
    let tags = server.get(&format!("/{bucket}/in/k?tagging")).send().expect(200);
    assert_eq!(tags.all("Value"), ["open"]);
    let secret = form("in/k").field("x-amz-tagging", "class=secret").send();
    secret.expect_error(403, "AccessDenied");
    when("{\"StringNotLike\": {\"s3:x-amz-copy-source\": \"a/*\"}}");
    form("in/k").copying("/a/b").send().expect_error(403, "AccessDenied");
    let list = server.put(&format!("/{bucket}?acl")).header("x-amz-acl", "public-read-write");
    list.send().expect(200);
    unsigned().expect(204);
}
