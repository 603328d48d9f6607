//! AWS's published examples and every way to refuse a request.

use super::sigv4::{Credential, Place, Signer};
use super::*;
use crate::http::{Headers, Method};
use crate::types::time;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

pub(super) const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(super) const DATE: &str = "20130524T000000Z";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub(super) struct OneKey;

impl Keys for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        (access_key_id == ID).then(|| SECRET.to_owned())
    }
}

pub(super) fn now() -> i64 {
    time::parse_basic(DATE).unwrap()
}

pub(super) fn request(method: Method, target: &str, headers: &[(&str, &str)]) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: Headers::new(headers.iter().copied()),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: Instant::now(),
        id: "0000000000000001".to_owned(),
    }
}

fn with(request: &Request, name: &str, value: Option<&str>) -> Request {
    let mut fields: Vec<(String, String)> = request
        .headers
        .iter()
        .filter(|(n, _)| *n != name)
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    Request { headers: Headers::new(fields), ..request.clone() }
}

fn header(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={ID}/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={signed},Signature={signature}"
    )
}

fn check(request: &Request) -> Result<Authenticated, AuthError> {
    authenticate(request, &OneKey, &AuthConfig::default(), now())
}

fn refused(request: &Request) -> AuthError {
    check(request).unwrap_err()
}

pub(super) fn signer() -> Signer {
    let scope = format!("{ID}/20130524/us-east-1/s3/aws4_request");
    Credential::parse(&scope, &AuthConfig::default(), Place::Header)
        .unwrap()
        .signer(&OneKey)
        .unwrap()
}

/// Signs a request as a client would; `canonical` is written out by the caller, so that it does
/// not come from the code under test.
fn sign(canonical: &str) -> String {
    use sha2::{Digest, Sha256};
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{DATE}\n20130524/us-east-1/s3/aws4_request\n{hash}");
    hex::encode(signer().sign(text.as_bytes()))
}

const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");

fn get_range() -> Request {
    let authorization = header(
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    );
    request(
        Method::Get,
        "/test.txt",
        &[
            HOST,
            ("authorization", &authorization),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", DATE),
        ],
    )
}

const PRESIGNED: &str = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

#[test]
fn aws_examples_of_the_authorization_header() {
    let id = Identity::Key { access_key_id: ID.to_owned() };
    let got = check(&get_range()).unwrap();
    assert_eq!((got.identity, got.presigned), (id, false));
    assert!(matches!(got.payload, PayloadKind::Sha256(hash) if hex::encode(hash) == EMPTY));

    let sha256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let authorization = header(
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    );
    let put = request(
        Method::Put,
        "/test$file.text",
        &[
            HOST,
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("authorization", &authorization),
            ("x-amz-date", DATE),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", sha256),
        ],
    );
    check(&put).unwrap();

    let signatures = [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            "/?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        (
            "/?prefix=J&max-keys=2",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (target, signature) in signatures {
        let authorization = header("host;x-amz-content-sha256;x-amz-date", signature);
        let authorization = authorization.replace(',', ", ");
        let fields = [
            HOST,
            ("authorization", authorization.as_str()),
            ("x-amz-date", DATE),
            ("x-amz-content-sha256", EMPTY),
        ];
        check(&request(Method::Get, target, &fields)).unwrap();
    }
}

#[test]
fn aws_example_of_a_presigned_url() {
    let get = request(Method::Get, PRESIGNED, &[HOST]);
    let got = check(&get).unwrap();
    assert_eq!(got.identity, Identity::Key { access_key_id: ID.to_owned() });
    assert!(got.presigned && matches!(got.payload, PayloadKind::Unsigned));
    // Valid from 15 minutes before its date until 86400 seconds after it.
    for (offset, text) in [
        (-901, Some("Request is not yet valid")),
        (-900, None),
        (86_400, None),
        (86_401, Some("Request has expired")),
    ] {
        let got = authenticate(&get, &OneKey, &AuthConfig::default(), now() + offset);
        let want = text.map(|text| AuthError::AccessDenied(text.to_owned()));
        assert_eq!(got.err(), want, "{offset}");
    }
}

#[test]
fn presigned_parameters_are_checked() {
    let changed = |from: &str, to: &str| {
        assert!(PRESIGNED.contains(from));
        refused(&request(Method::Get, &PRESIGNED.replace(from, to), &[HOST]))
    };
    for expires in ["0", "-7", "-1000", "604801", "99999999999999999999999"] {
        let error = changed("Expires=86400", &format!("Expires={expires}"));
        assert!(matches!(error, AuthError::AccessDenied(_)), "{expires}: {error:?}");
    }
    for (from, to) in [
        ("Expires=86400", "Expires=x"),
        ("Expires=86400", "Expires="),
        ("Expires=86400", "Expires=-"),
        ("Expires=86400", "Expires=1&X-Amz-Expires=2"),
        ("&X-Amz-Expires=86400", ""),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=Fri"),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=20130525T000000Z"),
        ("&X-Amz-SignedHeaders=host", "&X-Amz-SignedHeaders="),
        ("&X-Amz-SignedHeaders=host", "&X-Amz-SignedHeaders=Host"),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        ("%2Fs3%2F", "%2Fec2%2F"),
        ("aws4_request", "aws4_reques"),
        ("%2F20130524%2F", "%2F"),
        ("AKIAIOSFODNN7EXAMPLE", "%ff"),
    ] {
        let error = changed(from, to);
        assert!(matches!(error, AuthError::QueryMalformed(_)), "{to}: {error:?}");
    }
    let not_implemented = changed("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256");
    assert!(matches!(not_implemented, AuthError::NotImplemented(_)));
    assert_eq!(
        changed("AKIAIOSFODNN7EXAMPLE", "nobody"),
        AuthError::InvalidAccessKeyId("nobody".to_owned())
    );
    for (from, to) in [
        ("/test.txt", "/test.txu"),
        ("Expires=86400", "Expires=86401"),
        ("604d404", "604d405"),
        ("604d404", "604d40"),
        ("&X-Amz-Signature", "&versionId=1&X-Amz-Signature"),
        ("&X-Amz-Signature", "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&X-Amz-Signature"),
    ] {
        let error = changed(from, to);
        assert!(matches!(error, AuthError::SignatureDoesNotMatch { .. }), "{to}: {error:?}");
    }
    let put = request(Method::Put, PRESIGNED, &[HOST]);
    assert!(matches!(refused(&put), AuthError::SignatureDoesNotMatch { .. }));
}

#[test]
fn a_presigned_url_cannot_be_given_more_headers() {
    let get = request(Method::Get, PRESIGNED, &[HOST]);
    let denied = refused(&with(&get, "x-amz-copy-source", Some("b/k")));
    let text = "There were headers present in the request which were not signed: x-amz-copy-source";
    assert_eq!(denied, AuthError::AccessDenied(text.to_owned()));
    // Names that are not S3's do no harm.
    for name in ["x-amzn-trace-id", "range", "user-agent", "content-type"] {
        check(&with(&get, name, Some("1"))).unwrap();
    }
    // The way the body is read is bound to the signature.
    check(&with(&get, CONTENT_SHA256, Some(UNSIGNED_PAYLOAD))).unwrap();
    for value in [EMPTY, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        let error = refused(&with(&get, CONTENT_SHA256, Some(value)));
        assert!(matches!(error, AuthError::SignatureDoesNotMatch { .. }), "{value}: {error:?}");
    }
    for value in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x"] {
        let error = refused(&with(&get, CONTENT_SHA256, Some(value)));
        assert!(matches!(error, AuthError::InvalidArgument(_)), "{value}: {error:?}");
    }
    let token = refused(&with(&get, "x-amz-security-token", Some("t")));
    assert!(matches!(token, AuthError::InvalidToken(_)));
    let both = with(&get, "authorization", Some("AWS4-HMAC-SHA256 x"));
    assert!(matches!(refused(&both), AuthError::InvalidArgument(_)));
}

#[test]
fn presigned_bodies_may_be_protected() {
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Content-Sha256={EMPTY}\
         &X-Amz-Credential={ID}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date={DATE}&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    );
    let signature = sign(&format!("PUT\n/b/k\n{query}\nhost:h\n\nhost\n{EMPTY}"));
    let target = format!("/b/k?{query}&X-Amz-Signature={signature}");
    let got = check(&request(Method::Put, &target, &[("host", "h")])).unwrap();
    assert!(matches!(got.payload, PayloadKind::Sha256(_)));
    // A header that says something else is not what decides.
    let fields = [("host", "h"), (CONTENT_SHA256, UNSIGNED_PAYLOAD)];
    let got = check(&request(Method::Put, &target, &fields)).unwrap();
    assert!(matches!(got.payload, PayloadKind::Sha256(_)));
}

#[test]
fn authorization_headers_are_checked() {
    let with_header = |value: &str| refused(&with(&get_range(), "authorization", Some(value)));
    let good = header("host;range;x-amz-content-sha256;x-amz-date", &"0".repeat(64));
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from));
        with_header(&good.replace(from, to))
    };
    assert!(matches!(with_header(&good), AuthError::SignatureDoesNotMatch { .. }));
    assert!(matches!(with_header(""), AuthError::AccessDenied(_)));
    for value in ["Bearer x", "AWS HAHAHA", "AWS", "x", "AWS4-HMAC-SHA256-X Credential=a"] {
        assert!(matches!(with_header(value), AuthError::InvalidArgument(_)), "{value}");
    }
    assert!(matches!(with_header("AWS id:c2ln"), AuthError::InvalidRequest(_)));
    let ecdsa = with_header("AWS4-ECDSA-P256-SHA256 Credential=a");
    assert!(matches!(ecdsa, AuthError::NotImplemented(_)));
    assert!(matches!(with_header("AWS4-HMAC-SHA256"), AuthError::HeaderMalformed(_, None)));
    for (from, to) in [
        ("Signature=", "Sig="),
        ("Signature=", "Signature=0,Signature="),
        ("SignedHeaders=", "SignedHeaders:"),
        ("SignedHeaders=host;", "SignedHeaders=Host;"),
        ("SignedHeaders=host;", "SignedHeaders=;"),
        ("Credential=", "Credentials="),
        ("/20130524/", "/2013052/"),
        ("/20130524/", "/20130525/"),
        ("/20130524/", "/2013052\u{e9}/"),
        ("/s3/", "/ec2/"),
        ("/aws4_request", "/aws4_reques"),
        (&format!("{ID}/"), "/"),
    ] {
        let error = changed(from, to);
        assert!(matches!(error, AuthError::HeaderMalformed(_, None)), "{to}: {error:?}");
    }
    assert_eq!(changed(ID, "nobody"), AuthError::InvalidAccessKeyId("nobody".to_owned()));
    // An access key may contain slashes.
    assert_eq!(changed(ID, "a/b"), AuthError::InvalidAccessKeyId("a/b".to_owned()));
    let many = format!("SignedHeaders={}host;", "a;".repeat(crate::limits::MAX_HEADERS));
    assert!(matches!(changed("SignedHeaders=host;", &many), AuthError::HeaderMalformed(..)));
    let both = [("authorization", good.as_str()), ("authorization", good.as_str())];
    let twice = request(Method::Get, "/", &both);
    assert!(matches!(refused(&twice), AuthError::InvalidArgument(_)));
}

#[test]
fn the_region_is_checked_only_if_there_is_one() {
    let config =
        |region: &str| AuthConfig { region: Some(region.to_owned()), ..Default::default() };
    let get = get_range();
    assert!(authenticate(&get, &OneKey, &config("us-east-1"), now()).is_ok());
    let error = authenticate(&get, &OneKey, &config("eu-west-1"), now()).unwrap_err();
    let text = "The authorization header is malformed; the region 'us-east-1' is wrong; \
                expecting 'eu-west-1'";
    assert_eq!(error, AuthError::HeaderMalformed(text.to_owned(), Some("eu-west-1".to_owned())));
    let get = request(Method::Get, PRESIGNED, &[HOST]);
    let error = authenticate(&get, &OneKey, &config("eu-west-1"), now()).unwrap_err();
    assert!(matches!(error, AuthError::QueryMalformed(_)));
}

#[test]
fn dates_are_checked() {
    let get = get_range();
    for value in [None, Some(""), Some("Bad Date"), Some("0123\u{e9}67T00000Z")] {
        let error = refused(&with(&get, "x-amz-date", value));
        assert!(matches!(error, AuthError::AccessDenied(_)), "{value:?}: {error:?}");
    }
    for (offset, fails) in [(-901, true), (-900, false), (900, false), (901, true)] {
        let got = authenticate(&get, &OneKey, &AuthConfig::default(), now() + offset);
        let want = fails.then(|| AuthError::TimeTooSkewed(DATE.to_owned()));
        assert_eq!(got.err(), want, "{offset}");
    }
    // The same for Signature Version 2, before it is refused as such.
    let v2 = with(&get, "authorization", Some("AWS id:c2ln"));
    let error = |date: &str| refused(&with(&v2, "x-amz-date", Some(date)));
    assert!(matches!(error("Tue, 07 Jul 2010 21:53:04 GMT"), AuthError::TimeTooSkewed(_)));
    assert!(matches!(error("Tue, 07 Jul 9999 21:53:04 GMT"), AuthError::TimeTooSkewed(_)));
    assert!(matches!(error("Tue, 07 Jul 1950 21:53:04 GMT"), AuthError::AccessDenied(_)));
    assert!(matches!(error(""), AuthError::AccessDenied(_)));
}

#[test]
fn the_date_header_will_do() {
    let canonical = format!(
        "GET\n/\n\ndate:Fri, 24 May 2013 00:00:00 GMT\nhost:h\n\ndate;host\n{UNSIGNED_PAYLOAD}"
    );
    let authorization = header("date;host", &sign(&canonical));
    let fields = [
        ("host", "h"),
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("authorization", authorization.as_str()),
        (CONTENT_SHA256, UNSIGNED_PAYLOAD),
    ];
    check(&request(Method::Get, "/", &fields)).unwrap();
}

#[test]
fn the_payload_hash_is_needed_and_known() {
    let get = get_range();
    let missing = refused(&with(&get, CONTENT_SHA256, None));
    assert!(matches!(missing, AuthError::InvalidRequest(_)));
    for value in ["", "x", "unsigned-payload", &EMPTY[1..], &format!("{EMPTY}0")] {
        let error = refused(&with(&get, CONTENT_SHA256, Some(value)));
        assert!(matches!(error, AuthError::InvalidArgument(_)), "{value}: {error:?}");
    }
    for value in [
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
    ] {
        let error = refused(&with(&get, CONTENT_SHA256, Some(value)));
        assert!(matches!(error, AuthError::NotImplemented(_)), "{value}: {error:?}");
    }
}

#[test]
fn headers_that_matter_must_be_signed() {
    let get = get_range();
    let error = refused(&with(&get, "x-amz-meta-a", Some("1")));
    assert!(matches!(error, AuthError::AccessDenied(_)));
    let unsigned_host = header("range;x-amz-content-sha256;x-amz-date", &"0".repeat(64));
    let error = refused(&with(&get, "authorization", Some(&unsigned_host)));
    assert!(matches!(error, AuthError::AccessDenied(_)));
    for (name, value) in
        [("host", "other"), ("range", "bytes=0-8"), ("x-amz-date", "20130524T000001Z")]
    {
        let error = refused(&with(&get, name, Some(value)));
        assert!(matches!(error, AuthError::SignatureDoesNotMatch { .. }), "{name}: {error:?}");
    }
    let token = refused(&with(&get, "x-amz-security-token", Some("t")));
    assert!(matches!(token, AuthError::InvalidToken(_)));
}

#[test]
fn a_mismatch_says_what_was_signed() {
    let error = refused(&with(&get_range(), "range", Some("bytes=0-8")));
    let AuthError::SignatureDoesNotMatch {
        access_key_id,
        string_to_sign,
        signature,
        canonical_request,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(access_key_id, ID);
    assert!(signature.starts_with("f0e8bdb8"));
    assert!(string_to_sign.starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/"));
    let start = "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-8\n";
    assert!(canonical_request.starts_with(start), "{canonical_request}");
}

/// Signs a GET of a path and query in the given canonical form and sends it as `target`.
fn sent_as(target: &str, path: &str, query: &str) -> Result<Authenticated, AuthError> {
    let lines = format!("host:h\nx-amz-date:{DATE}\n");
    let signature =
        sign(&format!("GET\n{path}\n{query}\n{lines}\nhost;x-amz-date\n{UNSIGNED_PAYLOAD}"));
    let authorization = header("host;x-amz-date", &signature);
    let fields = [
        ("host", "h"),
        ("x-amz-date", DATE),
        ("authorization", authorization.as_str()),
        (CONTENT_SHA256, UNSIGNED_PAYLOAD),
    ];
    check(&request(Method::Get, target, &fields))
}

#[test]
fn other_encodings_of_the_same_bytes_are_accepted() {
    sent_as("/b/a%20b+c", "/b/a%20b%2Bc", "").unwrap();
    sent_as("/b/(a)", "/b/%28a%29", "").unwrap();
    sent_as("/b/(a)", "/b/(a)", "").unwrap();
    sent_as("/b/a%2fb", "/b/a%2fb", "").unwrap();
    sent_as("/b/%7Ea", "/b/~a", "").unwrap();
    sent_as("/b//../c", "/b//../c", "").unwrap();
    sent_as("/b?prefix=a+b&x", "/b", "prefix=a%20b&x=").unwrap();
    sent_as("/b?x=(1)&a=*", "/b", "a=*&x=(1)").unwrap();
    sent_as("/b/(a)?x=(1)", "/b/(a)", "x=(1)").unwrap();
    // What means something else is not.
    for (target, path, query) in [
        ("/b/../c", "/c", ""),
        ("/b//c", "/b/c", ""),
        ("/b/a+b", "/b/a%20b", ""),
        ("/b?prefix=a+b", "/b", "prefix=a%2Bb"),
        ("/b?a=1&b=2", "/b", "a=1"),
        ("/b?a=1", "/b", "a=1&b=2"),
        ("/b?a=1&a=2", "/b", "a=2"),
    ] {
        let error = sent_as(target, path, query).unwrap_err();
        assert!(matches!(error, AuthError::SignatureDoesNotMatch { .. }), "{target}");
    }
}

#[test]
fn a_forwarded_host_counts_only_if_trusted() {
    let get = get_range();
    let behind = with(&get, "host", Some("127.0.0.1:9000"));
    let behind = with(&behind, "x-forwarded-host", Some("examplebucket.s3.amazonaws.com, proxy"));
    let trusting = AuthConfig { trust_forwarded: true, ..Default::default() };
    assert!(authenticate(&behind, &OneKey, &trusting, now()).is_ok());
    assert!(matches!(refused(&behind), AuthError::SignatureDoesNotMatch { .. }));
    // A proxy that keeps Host as it came is fine with both.
    let kept = with(&get, "x-forwarded-host", Some("other"));
    assert!(authenticate(&kept, &OneKey, &trusting, now()).is_ok());
    assert!(check(&kept).is_ok());
}

/// The request goes to the bucket of the forwarded host, so no other bucket may be what was signed.
#[test]
fn a_forwarded_host_cannot_turn_a_request_to_another_bucket() {
    let get = get_range();
    let config = AuthConfig {
        trust_forwarded: true,
        domains: vec!["s3.amazonaws.com".to_owned()],
        ..Default::default()
    };
    let sent = |forwarded| {
        let request = with(&get, "x-forwarded-host", forwarded);
        let bucket = host_bucket(&request, &config).map(str::to_owned);
        authenticate(&request, &OneKey, &config, now()).ok().map(|_| bucket)
    };
    let ours = Some("examplebucket".to_owned());
    assert_eq!(sent(None), Some(ours.clone()));
    assert_eq!(sent(Some("examplebucket.s3.amazonaws.com")), Some(ours.clone()));
    assert_eq!(sent(Some("examplebucket.s3.amazonaws.com:443, proxy")), Some(ours));
    for other in ["other.s3.amazonaws.com", "s3.amazonaws.com", "elsewhere", ""] {
        assert_eq!(sent(Some(other)), None, "{other}");
    }
    let last = "other.s3.amazonaws.com, examplebucket.s3.amazonaws.com";
    assert_eq!(sent(Some(last)), None);
}

#[test]
fn without_a_signature_nobody_is_known() {
    let get = request(Method::Get, "/b/k?prefix=a&Signature=1", &[("host", "h")]);
    let got = check(&get).unwrap();
    assert_eq!((got.identity, got.presigned), (Identity::Anonymous, false));
    assert!(matches!(got.payload, PayloadKind::Unsigned));
    for (value, good) in [
        (EMPTY, true),
        (UNSIGNED_PAYLOAD, true),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", true),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", false),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", false),
        ("nonsense", false),
    ] {
        assert_eq!(check(&with(&get, CONTENT_SHA256, Some(value))).is_ok(), good, "{value}");
    }
    let v2 = request(Method::Get, "/b/k?AWSAccessKeyId=a&Expires=1&Signature=s", &[]);
    assert!(matches!(refused(&v2), AuthError::InvalidRequest(_)));
}

#[test]
fn a_new_secret_ends_the_old_one() {
    struct Secret(&'static str);
    impl Keys for Secret {
        fn secret(&self, _: &str) -> Option<String> {
            Some(self.0.to_owned())
        }
    }
    let config = AuthConfig::default();
    let get = get_range();
    for _ in 0..2 {
        assert!(authenticate(&get, &Secret(SECRET), &config, now()).is_ok());
        assert!(authenticate(&get, &Secret("another"), &config, now()).is_err());
    }
    // More keys than are remembered.
    for index in 0..200 {
        let id = format!("id{index}");
        let value = header("host", "0").replace(ID, &id);
        let other = with(&get, "authorization", Some(&value));
        assert!(authenticate(&other, &Secret(SECRET), &config, now()).is_err());
    }
    assert!(authenticate(&get, &Secret(SECRET), &config, now()).is_ok());
}

/// `cargo test --release -- --ignored --nocapture time_of`
#[test]
#[ignore = "a measurement"]
fn time_of_a_verification() {
    let config = AuthConfig::default();
    let presigned = request(Method::Get, PRESIGNED, &[HOST]);
    let mut wide = get_range();
    for index in 0..15 {
        wide = with(&wide, &format!("header-{index}"), Some("some value of some length"));
    }
    let cases = [("header", get_range()), ("header of 20", wide), ("presigned", presigned)];
    for (name, request) in cases {
        let start = Instant::now();
        let rounds = 100_000;
        for _ in 0..rounds {
            std::hint::black_box(authenticate(&request, &OneKey, &config, now()).unwrap());
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
        println!("{name}: {each:.2} microseconds");
    }
}
