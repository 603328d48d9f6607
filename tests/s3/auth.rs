//! Who may: signatures in headers and URLs, and everybody else.

use crate::support::sign::{Chunks, now};
use crate::support::{Message, Server, md5_hex, noise, shared};
use jog::http::Method;
use jog::s3::table::{OPERATIONS, Operation, Target, When};

const BODY: &[u8] = b"signed for";

/// A bucket with an object `k`.
fn bucket_with_object(server: &Server) -> String {
    let bucket = server.bucket("auth");
    server.put(&format!("/{bucket}/k")).body(BODY).send().expect(200);
    bucket
}

#[track_caller]
fn assert_unchanged(server: &Server, bucket: &str) {
    assert_eq!(server.get(&format!("/{bucket}/k")).send().expect(200).body, BODY);
    let keys = server.get(&format!("/{bucket}?list-type=2")).send().expect(200).all("Key");
    assert_eq!(keys, ["k"]);
}

// ---- presigned URLs ----------------------------------------------------------------------

#[test]
fn presigned_requests() {
    let server = shared();
    let bucket = server.bucket("auth");
    for key in ["k", "a b+c&d=e?f%20", "ü/日本", "a//b/../c"] {
        let object = |method| server.object(method, &bucket, key).presigned(60);
        let put = object("PUT").body(BODY).send().expect(200);
        assert_eq!(put.etag(), md5_hex(BODY));
        assert_eq!(object("GET").send().expect(200).body, BODY);
        let head = object("HEAD").send().expect(200);
        assert_eq!(head.header("content-length"), Some("10"));
        let part = object("GET").header("Range", "bytes=0-5").send().expect(206);
        assert_eq!(part.body, b"signed");
        let named = object("GET").query("response-content-disposition", "attachment; x=\"ü +\"");
        let named = named.send().expect(200);
        assert_eq!(named.header("content-disposition"), Some("attachment; x=\"ü +\""));
        object("DELETE").send().expect(204);
        object("GET").send().expect_error(404, "NoSuchKey");
    }
    let list = server.get(&format!("/{bucket}?list-type=2&prefix=a%20b")).presigned(604_800);
    list.send().expect(200);
}

#[test]
fn a_presigned_url_ends() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let get = |age: i64, seconds: &str| {
        let get = server.get(&format!("/{bucket}/k")).presigned(seconds);
        get.signer(|s| s.time = now() - age).send()
    };
    get(0, "604800").expect(200);
    get(604_700, "604800").expect(200);
    get(604_810, "604800").expect_error(403, "AccessDenied");
    get(5, "60").expect(200);
    get(70, "60").expect_error(403, "AccessDenied");
    get(-1000, "6000").expect_error(403, "AccessDenied");
    get(-600, "6000").expect(200);
    // AWS answers 400 to these three; s3-tests and other servers know 403.
    for never in ["604801", "0", "-1", "99999999999999999999"] {
        assert!(matches!(get(0, never).status, 400 | 403), "{never}");
    }
    for malformed in ["abc", "1.5", "", "1e3"] {
        get(0, malformed).expect_error(400, "AuthorizationQueryParametersError");
    }
    let put = server.put(&format!("/{bucket}/k")).body("late").presigned(60);
    put.signer(|s| s.time = now() - 70).send().expect_error(403, "AccessDenied");
    assert_unchanged(server, &bucket);
}

#[test]
fn a_presigned_url_is_for_what_it_says() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let sign = |method: &str, target: &str| -> Message {
        let request = server.request(method, target).header("x-amz-meta-a", "1");
        request.presigned(60).message()
    };
    let target = format!("/{bucket}/k");
    let refused = |change: &dyn Fn(&mut Message)| {
        let mut message = sign("PUT", &target);
        message.body = b"tampered".to_vec();
        message.headers.push(("Content-Length".to_owned(), "8".to_owned()));
        message.headers.retain(|(n, v)| n != "Content-Length" || v != "0");
        change(&mut message);
        message.send().expect(403)
    };
    let replace = |from: &'static str, to: &'static str| {
        move |message: &mut Message| {
            assert!(message.target.contains(from));
            message.target = message.target.replace(from, to);
        }
    };
    let wrong = "SignatureDoesNotMatch";
    refused(&replace("/k?", "/other?")).expect_error(403, wrong);
    refused(&replace("X-Amz-Expires=60", "X-Amz-Expires=6000")).expect_error(403, wrong);
    refused(&replace("us-east-1", "us-east-2")).expect_error(403, wrong);
    refused(&replace("TESTACCESSKEY", "OTHERACCESSKEY")).expect_error(403, "InvalidAccessKeyId");
    refused(&|m| m.target.push_str("&x-id=PutObject")).expect_error(403, wrong);
    refused(&|m| m.target.push_str("&acl")).expect(403);
    refused(&|m| m.method = "DELETE".to_owned()).expect_error(403, wrong);
    refused(&|m| m.headers[0].1 = "elsewhere".to_owned()).expect_error(403, wrong);
    refused(&|m| {
        let header = m.headers.iter_mut().find(|(n, _)| n == "x-amz-meta-a");
        header.expect("it is signed").1 = "2".to_owned();
    })
    .expect_error(403, wrong);
    refused(&|m| m.headers.push(("x-amz-meta-b".to_owned(), "1".to_owned())));
    refused(&|m| {
        let last = m.target.pop().expect("the signature stands last");
        m.target.push(if last == '0' { '1' } else { '0' });
    })
    .expect_error(403, wrong);
    assert_unchanged(server, &bucket);
    for missing in ["X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"] {
        let mut message = sign("GET", &target);
        message.target = message.target.replace(missing, "X-Amz-Nothing");
        message.send().expect_error(400, "AuthorizationQueryParametersError");
    }
}

#[test]
fn a_presigned_put_with_a_promise() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let put = || server.put(&format!("/{bucket}/k")).body("other").presigned(60);
    put().header("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==").send().expect_error(400, "BadDigest");
    assert_unchanged(server, &bucket);
    // As the SDKs for JavaScript and Go say it.
    put().query("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD").send().expect(200);
}

// ---- the Authorization header ------------------------------------------------------------

#[test]
fn a_clock_may_be_wrong_by_15_minutes() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let get = |seconds: i64| {
        server.get(&format!("/{bucket}/k")).signer(|s| s.time = now() + seconds).send()
    };
    for seconds in [-890, 890] {
        get(seconds).expect(200);
    }
    for seconds in [-910, 910, -86_400, 86_400, -864_000] {
        get(seconds).expect_error(403, "RequestTimeTooSkewed");
    }
}

#[test]
fn wrong_keys() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let get = || server.get(&format!("/{bucket}/k"));
    let unknown = get().signer(|s| s.access_key = "UNKNOWN".to_owned()).send();
    let unknown = unknown.expect_error(403, "InvalidAccessKeyId");
    assert_eq!(unknown.text("AWSAccessKeyId"), "UNKNOWN");
    let wrong = get().signer(|s| s.secret_key = "wrong/secret".to_owned()).send();
    let wrong = wrong.expect_error(403, "SignatureDoesNotMatch");
    assert!(wrong.text("StringToSign").starts_with("AWS4-HMAC-SHA256\n"));
    assert!(wrong.text("CanonicalRequest").starts_with(&format!("GET\n/{bucket}/k\n\nhost:")));
    assert_eq!(wrong.text("SignatureProvided").len(), 64);
    assert!(!wrong.xml().contains("test/secret"), "the secret stays here");
    let head = server.head(&format!("/{bucket}/k"));
    let head = head.signer(|s| s.secret_key = "wrong/secret".to_owned()).send().expect(403);
    assert!(head.body.is_empty());
    for service in ["ec2", "sts"] {
        let error = get().signer(|s| s.service = service.to_owned()).send();
        error.expect_error(400, "AuthorizationHeaderMalformed");
    }
}

#[test]
fn a_signed_request_is_for_what_it_says() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let put = || {
        let put = server.put(&format!("/{bucket}/k")).header("x-amz-meta-a", "1");
        put.payload_hash("UNSIGNED-PAYLOAD").body("other").message()
    };
    let wrong = |change: &dyn Fn(&mut Message)| {
        let mut message = put();
        change(&mut message);
        message.send().expect_error(403, "SignatureDoesNotMatch");
    };
    wrong(&|m| m.target = format!("/{bucket}/other"));
    wrong(&|m| m.target.push_str("?partNumber=1&uploadId=x"));
    wrong(&|m| m.method = "DELETE".to_owned());
    for name in ["Host", "x-amz-meta-a", "x-amz-date"] {
        let mut message = put();
        let header = message.headers.iter_mut().find(|(n, _)| n == name);
        let value = &mut header.expect("it is signed").1;
        *value = match name {
            "x-amz-date" => crate::support::sign::amz_date(now() - 1),
            _ => format!("{value}0"),
        };
        message.send().expect_error(403, "SignatureDoesNotMatch");
    }
    // What is not signed could have been added by anybody.
    put().header("x-amz-copy-source", "/a/b").send().expect(403);
    put().header("x-amz-meta-b", "1").send().expect(403);
    put().header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").send().expect(403);
    assert_unchanged(server, &bucket);
}

/// A signature is over the values of a field, joined by commas.
#[test]
fn one_value_cannot_be_sent_as_two() {
    let server = shared();
    let bucket = bucket_with_object(server);
    server.put(&format!("/{bucket}/k,of,others")).body("others").send().expect(200);
    let copy = |name: &str, values: &[&str]| {
        let copy = server.put(&format!("/{bucket}/copy"));
        let mut message = copy.header(name, values.join(",")).message().without(name);
        for value in values {
            message = message.header(name, value);
        }
        message.send()
    };
    let source = format!("/{bucket}/k");
    copy("x-amz-copy-source", &[&source, "of", "others"]).expect_error(403, "AccessDenied");
    server.get(&format!("/{bucket}/copy")).send().expect_error(404, "NoSuchKey");
    let whole = format!("{source},of,others");
    copy("x-amz-copy-source", &[&whole]).expect(200);
    assert_eq!(server.get(&format!("/{bucket}/copy")).send().expect(200).body, b"others");
    // Metadata in two lines is one value.
    copy("x-amz-meta-a", &["1", "2"]).expect(200);
    let head = server.head(&format!("/{bucket}/copy")).send().expect(200);
    assert_eq!(head.header("x-amz-meta-a"), Some("1,2"));
    // Whoever has not signed cannot do it either: a condition would see the first.
    let put = server.put(&format!("/{bucket}/k")).anonymous().message();
    let twice = put.header("x-amz-acl", "private").header("x-amz-acl", "public-read");
    let answer = twice.send().expect(403);
    assert_eq!(answer.text("Message"), "The header x-amz-acl was sent twice.");
}

/// What is computed and told of a wrong signature follows the request, however often it names a
/// header as signed.
#[test]
fn a_header_is_signed_once() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let with = |names: &str| {
        let message = server.get(&format!("/{bucket}/k")).message().without("authorization");
        let credential = format!("TESTACCESSKEY/{}/us-east-1/s3/aws4_request", &now_date()[..8]);
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={}",
            "0".repeat(64)
        );
        message.header("a", &"\"".repeat(50_000)).header("Authorization", &value).send()
    };
    let most = format!("a{};host;x-amz-content-sha256;x-amz-date", ";a".repeat(190));
    let refused = with(&most);
    assert!(refused.body.len() < 1000, "{} bytes", refused.body.len());
    refused.expect_error(400, "AuthorizationHeaderMalformed");
    with("a;host;x-amz-content-sha256;x-amz-date").expect_error(403, "SignatureDoesNotMatch");
    let mut url = server.get(&format!("/{bucket}/k")).presigned(60).message();
    let (once, twice) = ("SignedHeaders=host", "SignedHeaders=host%3Bhost");
    assert!(url.target.contains(once));
    url.target = url.target.replace(once, twice);
    url.send().expect_error(400, "AuthorizationQueryParametersError");
}

#[test]
fn malformed_authorization() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let with = |value: &str| {
        let message = server.get(&format!("/{bucket}/k")).message().without("authorization");
        message.header("Authorization", value).send()
    };
    let date = &now_date()[..8];
    let credential = format!("Credential=TESTACCESSKEY/{date}/us-east-1/s3/aws4_request");
    for value in [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 nonsense",
        "AWS4-HMAC-SHA256 Credential=TESTACCESSKEY, SignedHeaders=host, Signature=0",
        &format!("AWS4-HMAC-SHA256 {credential}"),
        &format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host"),
        &format!("AWS4-HMAC-SHA256 {credential}, Signature=0"),
        &format!("AWS4-HMAC-SHA512 {credential}, SignedHeaders=host, Signature=0"),
        "Basic dGVzdDp0ZXN0",
        "Bearer abc",
        "AWS TESTACCESSKEY:frJIUN8DYpKDtOLCwo//yllqDzg=",
    ] {
        let answer = with(value);
        assert!(matches!(answer.status, 400 | 403), "{value}: {}", answer.status);
        assert!(answer.get("Code").is_some());
    }
    let both = server.get(&format!("/{bucket}/k")).presigned(60).message();
    both.header("Authorization", "AWS4-HMAC-SHA256 x").send().expect_error(400, "InvalidArgument");
    let token = server.get(&format!("/{bucket}/k")).header("x-amz-security-token", "abc");
    token.send().expect_error(400, "InvalidToken");
}

fn now_date() -> String {
    crate::support::sign::amz_date(now())
}

#[test]
fn regions() {
    let server = shared();
    let bucket = bucket_with_object(server);
    for region in ["us-east-1", "eu-central-1", "auto", "anything", ""] {
        let get = server.get(&format!("/{bucket}/k")).signer(|s| s.region = region.to_owned());
        get.send().expect(200);
    }
    let server = Server::with(&[("JOG_REGION", "eu-central-1")]);
    let request = |method, target: &str, region: &str| {
        server.request(method, target).signer(|s| s.region = region.to_owned())
    };
    request("PUT", "/bucket", "eu-central-1").send().expect(200);
    let wrong = request("GET", "/bucket", "us-east-1").send();
    let wrong = wrong.expect_error(400, "AuthorizationHeaderMalformed");
    assert_eq!(wrong.text("Region"), "eu-central-1");
    let presigned = request("GET", "/bucket", "us-east-1").presigned(60).send();
    presigned.expect_error(400, "AuthorizationQueryParametersError");
    request("GET", "/bucket", "eu-central-1").presigned(60).send().expect(200);
    let chunks = request("PUT", "/bucket/k", "eu-central-1").body(noise(1, 20_000));
    chunks.chunks(Chunks::signed(8192)).send().expect(200);
    let location = request("GET", "/bucket?location", "eu-central-1").send().expect(200);
    assert_eq!(location.text("LocationConstraint"), "eu-central-1");
}

// ---- without a signature -----------------------------------------------------------------

/// The plainest target and the headers that a row asks for.
pub fn plainest(row: &Operation, bucket: &str) -> (String, Vec<(&'static str, String)>) {
    let (mut query, mut headers) = (Vec::new(), Vec::new());
    for when in row.when {
        match *when {
            When::Query(name) => query.push(format!("{name}=1")),
            When::QueryIs(name, value) => query.push(format!("{name}={value}")),
            When::Header(name) => headers.push((name, format!("/{bucket}/k"))),
        }
    }
    if row.name == "PostObject" {
        headers.push(("content-type", "multipart/form-data; boundary=x".to_owned()));
    }
    let path = match row.target {
        Target::Service => "/".to_owned(),
        Target::Bucket => format!("/{bucket}"),
        Target::Object => format!("/{bucket}/k"),
    };
    (format!("{path}?{}", query.join("&")), headers)
}

#[test]
fn every_operation_is_denied_to_the_unknown() {
    let server = shared();
    let bucket = bucket_with_object(server);
    let empty = server.bucket("auth");
    let form = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nnew\r\n--x\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbody\r\n--x--";
    let keys = "<Delete><Object><Key>k</Key></Object></Delete>";
    let mut denied = 0;
    for row in OPERATIONS.iter().filter(|row| row.method != Method::Options) {
        for bucket in [&bucket, &empty] {
            let (target, headers) = plainest(row, bucket);
            let mut request = server.request(row.method.as_str(), &target).anonymous();
            for (name, value) in headers {
                request = request.header(name, value);
            }
            match row.name {
                "PostObject" => request = request.body(form),
                "DeleteObjects" => request = request.body(keys),
                _ => {}
            }
            let answer = request.send();
            match row.name {
                // Each key is decided on by itself.
                "DeleteObjects" => {
                    assert!(answer.expect(200).all("Deleted").is_empty());
                    continue;
                }
                // Who has not signed has no buckets, and that is no secret.
                "ListBuckets" => {
                    assert!(answer.expect(200).all("Name").is_empty());
                    continue;
                }
                _ => assert_eq!(answer.status, 403, "{} {target}", row.name),
            }
            if row.method != Method::Head {
                assert_eq!(answer.text("Code"), "AccessDenied", "{}", row.name);
            }
            denied += 1;
        }
    }
    assert!(denied > 150, "a test of nothing: {denied}");
    assert_unchanged(server, &bucket);
    server.head(&format!("/{empty}")).send().expect(200);
    server.request("OPTIONS", &format!("/{bucket}/k")).anonymous().send().expect(400);
    let preflight = server.request("OPTIONS", &format!("/{bucket}/k")).anonymous();
    let preflight = preflight.header("Origin", "https://example.com");
    preflight.header("Access-Control-Request-Method", "GET").send().expect(403);
    server.get("/_jog/health").anonymous().send().expect(200);
    server.put("/_jog/health").anonymous().send().expect(404);
}

#[test]
fn a_method_that_nobody_knows() {
    let server = shared();
    let bucket = bucket_with_object(server);
    for method in ["PATCH", "TRACE", "PROPFIND", "get"] {
        let answer = server.request(method, &format!("/{bucket}/k")).message().send();
        assert!(matches!(answer.status, 400 | 405 | 501), "{method}: {}", answer.status);
    }
    server.post("/").send().expect_error(405, "MethodNotAllowed");
    server.delete("/").send().expect_error(405, "MethodNotAllowed");
    server.post(&format!("/{bucket}/k")).send().expect_error(405, "MethodNotAllowed");
}

// ---- names of hosts ----------------------------------------------------------------------

/// A request that was signed for one host and arrives with another, as through a proxy.
fn through_proxy(server: &Server, target: &str) -> Message {
    let mut message = server.get(target).host("files.example.com").message();
    message.headers[0].1 = server.address.to_string();
    message.header("X-Forwarded-Host", "files.example.com").header("X-Forwarded-Proto", "https")
}

#[test]
fn behind_a_proxy() {
    let bucket = bucket_with_object(shared());
    let target = format!("/{bucket}/k");
    through_proxy(shared(), &target).send().expect_error(403, "SignatureDoesNotMatch");
    // A proxy that keeps the Host needs no trust, whatever else it says.
    let kept = shared().get(&target).host("files.example.com").message();
    kept.header("X-Forwarded-Host", "other.example.com").send().expect(200);
    let off = Server::with(&[("JOG_TRUST_PROXY", "off")]);
    through_proxy(&off, "/").send().expect_error(403, "SignatureDoesNotMatch");
    let on = Server::with(&[("JOG_TRUST_PROXY", "on"), ("JOG_DOMAIN", "example.com")]);
    through_proxy(&on, "/").send().expect_error(404, "NoSuchBucket");
    on.put("/files").send().expect(200);
    on.put("/files/k").body(BODY).send().expect(200);
    assert_eq!(through_proxy(&on, "/k").send().expect(200).body, BODY);
    on.get("/files/k").send().expect(200);
}

#[test]
fn virtual_host_style() {
    let server = Server::with(&[("JOG_DOMAIN", "s3.example.test,jog.local")]);
    let bucket = server.bucket("auth");
    let host = format!("{bucket}.s3.example.test");
    let key = "a b/ü+";
    let object = |method, host: &str| {
        let path = crate::support::sign::encode(&format!("/{key}"), true);
        server.request(method, "/").raw_path(&path).host(host)
    };
    object("PUT", &host).body(BODY).send().expect(200);
    // JOG's own paths are only where no bucket is named by the host.
    let own = |method| server.request(method, "/_jog/health").host(&host);
    own("PUT").body(BODY).send().expect(200);
    assert_eq!(own("GET").send().expect(200).body, BODY);
    own("DELETE").send().expect(204);
    server.get("/_jog/health").host("s3.example.test").anonymous().send().expect(200);
    let upper = format!("{bucket}.S3.Example.Test:9000");
    for host in [host.as_str(), &upper, &format!("{bucket}.jog.local:80")] {
        assert_eq!(object("GET", host).send().expect(200).body, BODY, "{host}");
        assert_eq!(object("GET", host).presigned(60).send().expect(200).body, BODY, "{host}");
        let list = server.get("/?list-type=2").host(host).send().expect(200);
        assert_eq!(list.all("Key"), [key]);
        assert_eq!(list.text("Name"), bucket);
    }
    // Path style: at a domain itself, and at hosts that are none of ours.
    for host in ["s3.example.test", "jog.local:9000", "other.test", "xs3.example.test", "[::1]:9"] {
        let get = server.object("GET", &bucket, key).host(host);
        assert_eq!(get.send().expect(200).body, BODY, "{host}");
        let buckets = server.get("/").host(host).send().expect(200);
        assert_eq!(buckets.all("Name"), [bucket.as_str()]);
    }
    let gone = server.get("/").host("nothing-here.jog.local").send();
    gone.expect_error(404, "NoSuchBucket");
    let bad = server.get("/").host("Bad_Name.jog.local").send();
    bad.expect_error(400, "InvalidBucketName");
    object("DELETE", &host).send().expect(204);
    server.delete("/").host(&host).send().expect(204);
    server.head(&format!("/{bucket}")).send().expect(404);
}
