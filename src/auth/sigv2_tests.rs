//! AWS's published examples of Signature Version 2, and what a signature must not stand for.

use super::post_form::{Fields, FormError, authenticate_form};
use super::sigv2::{COVERED, verify};
use super::tests::{ID, OneKey, request};
use super::*;
use crate::http::Method;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// The time of AWS's examples.
const NOW: i64 = 1_175_024_202;

fn config() -> AuthConfig {
    let domains = ["us-west-1.s3.amazonaws.com", "s3.amazonaws.com"].map(str::to_owned).to_vec();
    AuthConfig { sigv2: true, domains, ..AuthConfig::default() }
}

fn check_at(request: &Request, now: i64) -> Result<Authenticated, AuthError> {
    authenticate(request, &OneKey, &config(), now)
}

/// A request with this signature, at the time that it says.
fn signed(
    method: Method,
    target: &str,
    fields: &[(&str, &str)],
    signature: &str,
) -> Result<Authenticated, AuthError> {
    let authorization = format!("AWS {ID}:{signature}");
    let fields = [fields, &[("authorization", authorization.as_str())]].concat();
    let request = request(method, target, &fields);
    let signed = sigv4::signing_time(&request).ok();
    let now = signed.and_then(|text| sigv4::parse_basic(&text)).unwrap_or(NOW);
    check_at(&request, now)
}

const OLD: (&str, &str) = ("host", "johnsmith.s3.amazonaws.com");
const NEW: (&str, &str) = ("host", "awsexamplebucket1.us-west-1.s3.amazonaws.com");
const PLAIN: (&str, &str) = ("host", "s3.amazonaws.com");

/// Method, target, fields, signature.
type Example<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// AWS's document with its old and its new names of buckets.
#[test]
fn aws_examples_of_the_header() {
    let upload = [
        ("host", "static.johnsmith.net:8080"),
        ("date", "Tue, 27 Mar 2007 21:06:08 +0000"),
        ("x-amz-acl", "public-read"),
        ("content-type", "application/x-download"),
        ("content-md5", "4gJE4saaMU4BqNR0kLY+lw=="),
        ("x-amz-meta-reviewedby", "joe@johnsmith.net"),
        ("x-amz-meta-reviewedby", "jane@johnsmith.net"),
        ("x-amz-meta-filechecksum", "0x02661779"),
        ("x-amz-meta-checksumalgorithm", "crc32"),
        ("content-disposition", "attachment; filename=database.dat"),
    ];
    let date = |text| ("date", text);
    let got = date("Tue, 27 Mar 2007 19:36:42 +0000");
    let put = date("Tue, 27 Mar 2007 21:15:45 +0000");
    let listed = date("Tue, 27 Mar 2007 19:42:41 +0000");
    let acl = date("Tue, 27 Mar 2007 19:44:46 +0000");
    let jpeg = ("content-type", "image/jpeg");
    let deleted = [
        PLAIN,
        date("Tue, 27 Mar 2007 21:20:27 +0000"),
        ("x-amz-date", "Tue, 27 Mar 2007 21:20:26 +0000"),
    ];
    let all = [PLAIN, date("Wed, 28 Mar 2007 01:29:59 +0000")];
    let unicode = [PLAIN, date("Wed, 28 Mar 2007 01:49:49 +0000")];
    let listing = "/?prefix=photos&max-keys=50&marker=puppy";
    let puppy = "/photos/puppy.jpg";
    let examples: [Example; 12] = [
        (Method::Get, puppy, &[OLD, got], "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
        (Method::Get, puppy, &[NEW, got], "qgk2+6Sv9/oM7G3qLEjTH1a1l1g="),
        (Method::Put, puppy, &[OLD, put, jpeg], "MyyxeRY7whkBe+bq8fHCL/2kKUg="),
        (Method::Put, puppy, &[NEW, put, jpeg], "iqRzw+ileNPu1fhspnRs8nOjjIA="),
        (Method::Get, listing, &[OLD, listed], "htDYFYduRNen8P9ZfE/s9SuKy0U="),
        (Method::Get, listing, &[NEW, listed], "m0WP8eCtspQl5Ahe6L1SozdX9YA="),
        (Method::Get, "/?acl", &[OLD, acl], "c2WLPFtWHVgbEmeEG93a4cG37dM="),
        (Method::Get, "/?acl", &[NEW, acl], "82ZHiFIjc+WbcwFKGUVEQspPn+0="),
        (
            Method::Delete,
            "/awsexamplebucket1/photos/puppy.jpg",
            &deleted,
            "XbyTlbQdu9Xw5o8P4iMwPktxQd8=",
        ),
        (
            Method::Put,
            "/static.johnsmith.net/db-backup.dat.gz",
            &upload,
            "ilyl83RwaSoYIEdixDQcA4OnAnc=",
        ),
        (Method::Get, "/", &all, "qGdzdERIC03wnaRNKh6OqZehG9s="),
        (
            Method::Get,
            "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re",
            &unicode,
            "DNEZGsoieTZ92F3bUfSPQcbGmlM=",
        ),
    ];
    let identity = Identity::Key { access_key_id: ID.to_owned() };
    for (method, target, fields, signature) in examples {
        let got = signed(method, target, fields, signature).unwrap();
        assert_eq!((&got.identity, got.presigned), (&identity, false), "{target}");
        assert!(matches!(got.payload, PayloadKind::Unsigned));
        // The signature is of this bucket.
        let mut other = fields.to_vec();
        other[0] = ("host", "other.s3.amazonaws.com");
        let error = signed(method, target, &other, signature).unwrap_err();
        assert!(matches!(error, AuthError::SignatureDoesNotMatch { .. }), "{target}");
    }
}

const PRESIGNED: &str = "/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE\
    &Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620";

#[test]
fn aws_example_of_the_query_and_its_end() {
    let get = request(Method::Get, PRESIGNED, &[OLD]);
    let got = check_at(&get, NOW).unwrap();
    assert!(got.presigned && matches!(got.payload, PayloadKind::Unsigned));
    // Long before, and until the very second.
    assert!(check_at(&get, 0).is_ok() && check_at(&get, 1_175_139_620).is_ok());
    let error = check_at(&get, 1_175_139_621).unwrap_err();
    assert_eq!(error, AuthError::AccessDenied("Request has expired".to_owned()));
    let denied = |target: &str| {
        let error = check_at(&request(Method::Get, target, &[OLD]), NOW).unwrap_err();
        assert!(matches!(error, AuthError::AccessDenied(_)), "{target}: {error:?}");
    };
    denied("/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=x");
    for expires in ["", "x", "1e9", "-1", "+1", "1.5"] {
        denied(&format!("/k?AWSAccessKeyId={ID}&Signature=x&Expires={expires}"));
    }
    let far = format!("/k?AWSAccessKeyId={ID}&Signature=x&Expires=99999999999999999999");
    let error = check_at(&request(Method::Get, &far, &[OLD]), NOW).unwrap_err();
    assert!(matches!(error, AuthError::SignatureDoesNotMatch { .. }));
    denied(&format!("{PRESIGNED}&Expires=9999999999"));
    // Off, it is refused as ever.
    let off = authenticate(&get, &OneKey, &AuthConfig::default(), NOW).unwrap_err();
    assert!(matches!(off, AuthError::InvalidRequest(_)));
}

/// What AWS's text calls the signature of a string.
fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(OneKey.secret(ID).unwrap().as_bytes()).unwrap();
    mac.update(text.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

const DATE: &str = "Tue, 27 Mar 2007 19:36:42 GMT";
const LATER: (&str, &str) = ("x-amz-date", "Tue, 27 Mar 2007 19:36:43 GMT");

#[test]
fn what_a_signature_covers_cannot_be_changed() {
    let signature = sign(&format!("PUT\n\ntext/plain\n{DATE}\nx-amz-acl:private\n/b/k"));
    let fields = [PLAIN, ("date", DATE), ("content-type", "text/plain"), ("x-amz-acl", "private")];
    let try_with =
        |method, target: &str, fields: &[(&str, &str)]| signed(method, target, fields, &signature);
    assert!(try_with(Method::Put, "/b/k", &fields).is_ok());
    assert!(try_with(Method::Put, "/b/k?x-id=PutObject&prefix=x", &fields).is_ok());
    let refused = |method, target: &str, fields: &[(&str, &str)]| {
        let error = try_with(method, target, fields).unwrap_err();
        assert!(matches!(error, AuthError::SignatureDoesNotMatch { .. }), "{target} {error:?}");
    };
    refused(Method::Delete, "/b/k", &fields);
    refused(Method::Put, "/b/l", &fields);
    refused(Method::Put, "/b/k/", &fields);
    refused(Method::Put, "//b/k", &fields);
    for name in COVERED {
        refused(Method::Put, &format!("/b/k?{name}"), &fields);
        refused(Method::Put, &format!("/b/k?{name}=1"), &fields);
        let hidden = format!("/b/k?%{:02x}{}", name.as_bytes()[0], &name[1..]);
        refused(Method::Put, &hidden, &fields);
    }
    for (at, changed) in [
        (1, ("date", "Tue, 27 Mar 2007 19:36:43 GMT")),
        (2, ("content-type", "text/html")),
        (3, ("x-amz-acl", "public-read")),
        (3, ("x-amz-meta-a", "private")),
    ] {
        let mut other = fields;
        other[at] = changed;
        refused(Method::Put, "/b/k", &other);
    }
    for extra in [("content-md5", "x"), ("x-amz-meta-a", "b"), LATER] {
        refused(Method::Put, "/b/k", &[&fields[..], &[extra]].concat());
    }
    assert!(COVERED.is_sorted());
    let bucket = sign(&format!("GET\n\n\n{DATE}\n/b/"));
    for other in ["/b//", "//b", "//b/", "/"] {
        assert!(signed(Method::Get, other, &[PLAIN, ("date", DATE)], &bucket).is_err(), "{other}");
    }
}

#[test]
fn clients_differ() {
    let fields = [PLAIN, ("date", DATE)];
    let accepted = |target: &str, resource: &str| {
        let signature = sign(&format!("GET\n\n\n{DATE}\n{resource}"));
        assert!(signed(Method::Get, target, &fields, &signature).is_ok(), "{resource}");
    };
    accepted("/b/a%20b", "/b/a%20b");
    accepted("/b/a+b", "/b/a%2Bb");
    accepted("/b/a%2bb", "/b/a%2Bb");
    accepted("/b", "/b/");
    accepted("/b/", "/b");
    accepted("/b?acl", "/b/?acl");
    accepted("/b/k?acl", "/b/k?acl");
    accepted("/b/k?acl=", "/b/k?acl=");
    accepted("/b/k?acl=", "/b/k?acl");
    accepted("/b/k?versions&prefix=a&acl", "/b/k?acl&versions");
    accepted("/b/k?versionId=x&uploadId=y", "/b/k?uploadId=y&versionId=x");
    let header = "response-content-disposition";
    accepted(&format!("/b/k?{header}=a%3B%20b"), &format!("/b/k?{header}=a; b"));
    accepted(&format!("/b/k?{header}=a+b"), &format!("/b/k?{header}=a b"));
    accepted(&format!("/b/k?{header}=a+b"), &format!("/b/k?{header}=a+b"));
    // x-amz-date in its three ways.
    let both = [PLAIN, ("date", DATE), ("x-amz-date", "20070327T193642Z")];
    for (date, line) in [
        ("", "x-amz-date:20070327T193642Z\n"),
        (DATE, "x-amz-date:20070327T193642Z\n"),
        ("20070327T193642Z", ""),
    ] {
        let signature = sign(&format!("GET\n\n\n{date}\n{line}/b/k"));
        assert!(signed(Method::Get, "/b/k", &both, &signature).is_ok(), "{date}");
    }
}

#[test]
fn forms_dates_and_keys_that_are_refused() {
    let with = |authorization: &str, date: &str| {
        let fields = [PLAIN, ("date", date), ("authorization", authorization)];
        check_at(&request(Method::Get, "/b/k", &fields), NOW).unwrap_err()
    };
    for malformed in ["AWS HAHAHA", "AWS", "AWS "] {
        assert!(matches!(with(malformed, DATE), AuthError::InvalidArgument(_)), "{malformed}");
    }
    assert!(
        matches!(with("AWS nobody:x", DATE), AuthError::InvalidAccessKeyId(id) if id == "nobody")
    );
    let ours = format!("AWS {ID}:x");
    assert!(matches!(with(&ours, DATE), AuthError::SignatureDoesNotMatch { .. }));
    for date in ["", "Bad Date", "Tue, 07 Jul 1950 21:53:04 GMT"] {
        assert!(matches!(with(&ours, date), AuthError::AccessDenied(_)), "{date}");
    }
    for date in ["Tue, 27 Mar 2007 19:21:41 GMT", "Tue, 27 Mar 2007 19:51:43 GMT"] {
        assert!(matches!(with(&ours, date), AuthError::TimeTooSkewed(_)), "{date}");
    }
    for date in ["Tue, 27 Mar 2007 19:21:42 GMT", "Tue, 27 Mar 2007 19:51:42 GMT"] {
        assert!(matches!(with(&ours, date), AuthError::SignatureDoesNotMatch { .. }), "{date}");
    }
    let token = ("x-amz-security-token", "t");
    let error = signed(Method::Get, "/b/k", &[PLAIN, ("date", DATE), token], "x").unwrap_err();
    assert!(matches!(error, AuthError::InvalidToken(_)));
    let both = format!("/b/k?AWSAccessKeyId={ID}&Signature=x&Expires=1");
    let error = signed(Method::Get, &both, &[PLAIN, ("date", DATE)], "x").unwrap_err();
    assert!(matches!(error, AuthError::InvalidArgument(_)));
}

/// AWS, "Upload examples (AWS signature version 2)". The signature there, which comes last, is of
/// another secret than that of the examples of requests, with which OpenSSL computed the first.
#[test]
fn aws_example_of_a_form() {
    let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDA3LTEyLTAxVDEyOjAwOjAwLjAwMFoiLAogICJjb25kaXRpb25zIjog\
        WwogICAgeyJidWNrZXQiOiAiam9obnNtaXRoIn0sCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci9l\
        cmljLyJdLAogICAgeyJhY2wiOiAicHVibGljLXJlYWQifSwKICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3Qi\
        OiAiaHR0cDovL2pvaG5zbWl0aC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwKICAg\
        IFsic3RhcnRzLXdpdGgiLCAiJENvbnRlbnQtVHlwZSIsICJpbWFnZS8iXSwKICAgIHsieC1hbXotbWV0YS11dWlk\
        IjogIjE0MzY1MTIzNjUxMjc0In0sCiAgICBbInN0YXJ0cy13aXRoIiwgIiR4LWFtei1tZXRhLXRhZyIsICIiXQog\
        IF0KfQo=";
    let fields = |signature: &str| -> Fields {
        [
            ("key", "user/eric/MyPicture.jpg"),
            ("acl", "public-read"),
            ("success_action_redirect", "http://johnsmith.s3.amazonaws.com/successful_upload.html"),
            ("content-type", "image/jpeg"),
            ("x-amz-meta-uuid", "14365123651274"),
            ("x-amz-meta-tag", "Some,Tag,For,Picture"),
            ("awsaccesskeyid", ID),
            ("policy", policy),
            ("signature", signature),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    };
    let check = |fields: &Fields| authenticate_form(fields, "johnsmith", &OneKey, &config(), NOW);
    let right = fields("gp42sMsv4L5xLO0OjT+56V64o+A=");
    let identity = Identity::Key { access_key_id: ID.to_owned() };
    assert_eq!(check(&right).unwrap().identity, identity);
    for wrong in ["gp42sMsv4L5xLO0OjT+56V64o+E=", "", "x"] {
        let error = check(&fields(wrong)).unwrap_err();
        let FormError::Auth(AuthError::SignatureDoesNotMatch { .. }) = error else {
            panic!("{error:?}");
        };
    }
    let theirs = "uV3F3YluFJax1cknvbcGwgjvx4QpvB+leU8dUj2o";
    assert!(verify(theirs, policy.as_bytes(), "0RavWzkygo6QX9caELEqKi9kDbU="));
    let mut unknown = right.clone();
    unknown.insert("awsaccesskeyid".to_owned(), "nobody".to_owned());
    let unknown = check(&unknown).unwrap_err();
    assert!(matches!(unknown, FormError::Auth(AuthError::InvalidAccessKeyId(_))));
    let mut changed = right;
    changed.insert("key".to_owned(), "user/other".to_owned());
    assert!(matches!(check(&changed), Err(FormError::Auth(AuthError::AccessDenied(_)))));
}
