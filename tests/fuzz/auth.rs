//! Heads of requests and policies of forms. Requests are signed here by hand, so that damage is
//! done to what was valid.

use super::{Rng, fuzz};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use jog::auth::post_form::{Fields, PostPolicy, authenticate_form};
use jog::auth::{AuthConfig, Identity, Keys, authenticate, is_covered_by_sigv2};
use jog::http::{Headers, Method, Request};
use jog::s3::uri::decode;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

pub const ID: &str = "fuzzer";
pub const DATE: &str = "20261124T100000Z";
pub const SCOPE: &str = "20261124/us-east-1/s3/aws4_request";
/// [`DATE`] in seconds.
const NOW: i64 = 1_795_514_400;
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

struct OneKey;

impl Keys for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        (access_key_id == ID).then(|| "the secret".to_owned())
    }
}

pub fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

pub fn signing_key() -> [u8; 32] {
    let parts = ["20261124", "us-east-1", "s3", "aws4_request"];
    let first = b"AWS4the secret".to_vec();
    let key = parts.iter().fold(first, |key, part| hmac(&key, part.as_bytes()).to_vec());
    key.try_into().unwrap()
}

pub fn request(method: Method, path: &str, query: &str, fields: &[(&str, &str)]) -> Request {
    Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: Headers::new(fields.iter().copied()),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: Instant::now(),
        id: "0000000000000001".to_owned(),
    }
}

const PATH: &str = "/bucket/some%20key/caf%C3%A9";
const QUERY: &str = "list-type=2&prefix=a%2Fb";

fn signature(canonical_headers: &str, query: &str, signed: &str) -> String {
    let canonical =
        format!("GET\n{PATH}\n{query}\n{canonical_headers}\n{signed}\nUNSIGNED-PAYLOAD");
    let hash = hex::encode(Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{DATE}\n{SCOPE}\n{hash}");
    hex::encode(hmac(&signing_key(), text.as_bytes()))
}

fn authorization() -> String {
    let headers =
        format!("host:jog.example\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{DATE}\n");
    let signature = signature(&headers, QUERY, SIGNED);
    format!(
        "AWS4-HMAC-SHA256 Credential={ID}/{SCOPE}, SignedHeaders={SIGNED}, Signature={signature}"
    )
}

fn presigned() -> String {
    let credential = format!("{ID}/{SCOPE}").replace('/', "%2F");
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={DATE}\
         &X-Amz-Expires=600&X-Amz-SignedHeaders=host"
    );
    let signature = signature("host:jog.example\n", &query, "host");
    format!("{query}&X-Amz-Signature={signature}")
}

/// The parts of a request that are damaged.
#[derive(Clone, Debug)]
struct Head {
    path: String,
    query: String,
    fields: Vec<(String, String)>,
}

fn by_header() -> Head {
    let fields = [
        ("host", "jog.example"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("x-amz-date", DATE),
        ("authorization", &authorization()),
    ];
    let fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    Head { path: PATH.to_owned(), query: QUERY.to_owned(), fields }
}

fn by_query() -> Head {
    let fields = vec![("host".to_owned(), "jog.example".to_owned())];
    Head { path: PATH.to_owned(), query: presigned(), fields }
}

/// Whether the request is taken as one that [`ID`] has signed.
fn is_proven(head: &Head) -> bool {
    let fields: Vec<_> = head.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let request = request(Method::Get, &head.path, &head.query, &fields);
    let config = AuthConfig { sigv2: true, ..AuthConfig::default() };
    match authenticate(&request, &OneKey, &config, NOW) {
        Ok(proven) => proven.identity == Identity::Key { access_key_id: ID.to_owned() },
        Err(_) => false,
    }
}

const TOKENS: &[&str] = &[
    "AWS4-HMAC-SHA256",
    "AWS4-ECDSA-P256-SHA256",
    "Credential=",
    "SignedHeaders=",
    "Signature=",
    "/",
    ",",
    ";",
    "=",
    "%2F",
    "%",
    "host",
    "x-amz-date",
    "20261124",
    "aws4_request",
    "X-Amz-Expires=604801",
    "é",
    "&",
    "AWS fuzzer:",
    "X-Amz-Signature",
    "99999999999999999999",
    "-1",
];

#[test]
fn requests_that_were_signed_are_proven() {
    assert!(is_proven(&by_header()));
    assert!(is_proven(&by_query()));
}

/// A path or a signature that means something else is not proven.
#[test]
fn damaged_heads_are_not_proven() {
    let make = |rng: &mut Rng| {
        let mut head = if rng.below(2) == 0 { by_header() } else { by_query() };
        match rng.below(4) {
            0 => head.path = rng.damaged(&head.path, &["/", "%2F", "..", "%", "+"]),
            1 => head.query = rng.damaged(&head.query, TOKENS),
            _ => {
                let at = rng.below(head.fields.len());
                head.fields[at].1 = rng.damaged(&head.fields[at].1, TOKENS);
            }
        }
        head
    };
    fuzz(make, |head| {
        if !is_proven(head) {
            return;
        }
        assert_eq!(decode(&head.path, false), decode(PATH, false), "another path");
        let value = |name: &str| head.fields.iter().find(|(n, _)| n == name).unwrap().1.trim();
        assert_eq!(value("host"), "jog.example");
        if head.fields.len() > 1 {
            assert_eq!(value("x-amz-date"), DATE);
            assert_eq!(pairs(&head.query), pairs(QUERY), "another query");
        }
    });
}

const HTTP_DATE: &str = "Tue, 24 Nov 2026 10:00:00 GMT";
const V2_QUERY: &str = "acl&prefix=a%2Fb&versionId=x";

fn v2(date: &str) -> String {
    let text = format!("GET\n\ntext/plain\n{date}\n{PATH}?acl&versionId=x");
    let mut mac = Hmac::<Sha1>::new_from_slice(b"the secret").unwrap();
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

fn by_v2_header() -> Head {
    let fields = [
        ("authorization", &*format!("AWS {ID}:{}", v2(HTTP_DATE))),
        ("content-type", "text/plain"),
        ("date", HTTP_DATE),
    ];
    let fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    Head { path: PATH.to_owned(), query: V2_QUERY.to_owned(), fields }
}

fn by_v2_query() -> Head {
    let expires = (NOW + 60).to_string();
    let signature = v2(&expires).replace('+', "%2B");
    let query = format!("{V2_QUERY}&AWSAccessKeyId={ID}&Signature={signature}&Expires={expires}");
    let fields = vec![("content-type".to_owned(), "text/plain".to_owned())];
    Head { path: PATH.to_owned(), query, fields }
}

/// Whatever Version 2 covers cannot be changed.
#[test]
fn damaged_heads_of_version_2_are_not_proven() {
    assert!(is_proven(&by_v2_header()) && is_proven(&by_v2_query()));
    let tokens = [
        "acl",
        "&acl",
        "versionId=",
        "retention",
        "&%72etention",
        "&",
        "=",
        "%",
        "%2F",
        "+",
        "/",
        "AWS ",
        ":",
        "Expires=9999999999",
        "&tagging=",
        "\n",
        "x-amz-date",
    ];
    let make = |rng: &mut Rng| {
        let mut head = if rng.below(2) == 0 { by_v2_header() } else { by_v2_query() };
        match rng.below(4) {
            0 => head.path = rng.damaged(&head.path, &["/", "%2F", "..", "%", "+", "?"]),
            1 | 2 => head.query = rng.damaged(&head.query, &tokens),
            _ => {
                let at = rng.below(head.fields.len());
                head.fields[at].1 = rng.damaged(&head.fields[at].1, &tokens);
            }
        }
        head
    };
    let covered = |query: &str| {
        let mut pairs = pairs(query);
        pairs.retain(|(name, _)| name.as_deref().is_some_and(is_covered_by_sigv2));
        pairs
    };
    fuzz(make, |head| {
        if !is_proven(head) {
            return;
        }
        assert_eq!(decode(&head.path, false), decode(PATH, false), "another path");
        assert_eq!(covered(&head.query), covered(V2_QUERY), "another query");
        let value =
            |name: &str| head.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim());
        assert_eq!(value("content-type"), Some("text/plain"));
        assert!(value("date").is_none_or(|date| date == HTTP_DATE));
    });
}

/// The parameters of a query; their order does not matter to a signature.
fn pairs(query: &str) -> Vec<(Option<String>, Option<String>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name, true), decode(value, true)))
        .collect();
    pairs.sort();
    pairs
}

#[test]
fn noise_is_never_proven() {
    let make = |rng: &mut Rng| {
        let mut text = |most| {
            let mut text = rng.text(most);
            for _ in 0..rng.below(6) {
                text.push_str(rng.pick(TOKENS));
            }
            text
        };
        let (path, query) = (text(10), text(20));
        let names = ["authorization", "x-amz-date", "date", "host", "x-amz-content-sha256"];
        let fields = names.map(|name| (name.to_owned(), text(20))).to_vec();
        Head { path, query, fields }
    };
    fuzz(make, |head| assert!(!is_proven(head)));
}

const POLICY: &str = r#"{"expiration": "2026-11-25T00:00:00.000Z", "conditions": [
    {"bucket": "bucket"}, ["starts-with", "$key", "user/"], ["eq", "$acl", "private"],
    ["content-length-range", 1, 1048576], {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    ["starts-with", "$x-amz-credential", ""], ["starts-with", "$x-amz-date", ""]]}"#;

fn form(policy: &str) -> Fields {
    let policy = BASE64_STANDARD.encode(policy);
    let signature = hex::encode(hmac(&signing_key(), policy.as_bytes()));
    let fields = [
        ("key", "user/1"),
        ("acl", "private"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", &format!("{ID}/{SCOPE}")),
        ("x-amz-date", DATE),
        ("policy", &policy),
        ("x-amz-signature", &signature),
    ];
    fields.map(|(n, v)| (n.to_owned(), v.to_owned())).into()
}

fn accepts(fields: &Fields) -> bool {
    authenticate_form(fields, "bucket", &OneKey, &AuthConfig::default(), NOW)
        .is_ok_and(|found| found.identity != Identity::Anonymous)
}

#[test]
fn damaged_policies_are_taken_or_refused() {
    assert!(accepts(&form(POLICY)));
    let tokens = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "-1",
        "1e400",
        "\\u0000",
        "\\ud800",
        "$key",
        "eq",
        "starts-with",
        "content-length-range",
        "99999999999999999999",
        "[[[[[[[[",
        "é",
    ];
    fuzz(
        |rng: &mut Rng| rng.damaged(POLICY, &tokens),
        |policy| {
            let _ = accepts(&form(policy));
            if let Ok(parsed) = PostPolicy::parse(&BASE64_STANDARD.encode(policy)) {
                let _ = parsed.check(&form(policy), "bucket", NOW);
                let late = parsed.check(&form(policy), "bucket", i64::MAX / 1000);
                assert!(late.is_err(), "no policy is for ever");
            }
        },
    );
}

/// Fields that the signature or a condition covers cannot be changed.
#[test]
fn damaged_forms_are_refused() {
    let make = |rng: &mut Rng| {
        let mut fields = form(POLICY);
        let names = ["policy", "x-amz-signature", "acl", "x-amz-algorithm", "key"];
        let name = rng.pick(&names).to_owned();
        let value = rng.damaged(&fields[&name], &["user", "=", "A", "private"]);
        let changed = value != fields[&name];
        fields.insert(name.clone(), value);
        (name, changed, fields)
    };
    fuzz(make, |(name, changed, fields)| {
        let same_signature = name == "x-amz-signature"
            && fields[name].eq_ignore_ascii_case(&form(POLICY)["x-amz-signature"]);
        if *changed && accepts(fields) && !same_signature {
            assert!(name == "key" && fields[name].starts_with("user/"), "{name}");
        }
    });
}
