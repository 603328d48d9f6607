//! POST forms: AWS's published example, every condition, every malformed policy.

use super::post_form::*;
use super::sigv4::{ALGORITHM, ALGORITHM_ECDSA, Credential, Place, Signer};
use super::*;
use base64::{Engine, prelude::BASE64_STANDARD};

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const NOW: i64 = 1_451_433_600; // 2015-12-30T00:00:00Z
const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request";

struct OneKey;

impl Keys for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        (access_key_id == ID).then(|| "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned())
    }
}

fn signer() -> Signer {
    let credential = Credential::parse(CREDENTIAL, &AuthConfig::default(), Place::Query);
    credential.unwrap().signer(&OneKey).unwrap()
}

fn authenticate(fields: &Fields) -> Result<FormAuth, FormError> {
    authenticate_form(fields, "bucket", &OneKey, &AuthConfig::default(), NOW)
}

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A form with this policy, signed.
fn signed(policy: &str, more: &[(&str, &str)]) -> Fields {
    let policy = BASE64_STANDARD.encode(policy);
    let signature = hex::encode(signer().sign(policy.as_bytes()));
    let mut form = fields(&[
        ("key", "foo.txt"),
        ("x-amz-algorithm", ALGORITHM),
        ("x-amz-credential", CREDENTIAL),
        ("x-amz-date", "20151229T000000Z"),
        ("policy", &policy),
        ("x-amz-signature", &signature),
    ]);
    form.extend(fields(more));
    form
}

/// A policy that covers the fields of [`signed`], with more conditions.
fn policy(conditions: &str) -> String {
    format!(
        r#"{{"expiration": "2015-12-30T12:00:00.000Z", "conditions": [
            {{"bucket": "bucket"}}, ["starts-with", "$key", "foo"],
            {{"x-amz-algorithm": "{ALGORITHM}"}}, {{"x-amz-credential": "{CREDENTIAL}"}},
            {{"x-amz-date": "20151229T000000Z"}}{conditions}]}}"#
    )
}

fn try_conditions(conditions: &str, more: &[(&str, &str)]) -> Result<FormAuth, FormError> {
    authenticate(&signed(&policy(conditions), more))
}

fn is_denied(result: Result<FormAuth, FormError>, text: &str) -> bool {
    matches!(result, Err(FormError::Auth(AuthError::AccessDenied(t))) if t.contains(text))
}

fn is_invalid(result: &Result<FormAuth, FormError>) -> bool {
    matches!(result, Err(FormError::InvalidPolicyDocument(_)))
}

#[test]
fn aws_example_of_a_form() {
    let policy = "\
        eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCi\
        AgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXki\
        LCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3\
        Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nl\
        c3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2\
        UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNl\
        cnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbW\
        V0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUv\
        MjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIk\
        FXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBd\
        DQp9";
    let redirect = "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html";
    let form = fields(&[
        ("key", "user/user1/photo.jpg"),
        ("acl", "public-read"),
        ("success_action_redirect", redirect),
        ("content-type", "image/jpeg"),
        ("x-amz-meta-uuid", "14365123651274"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-credential", CREDENTIAL),
        ("x-amz-algorithm", ALGORITHM),
        ("x-amz-date", "20151229T000000Z"),
        ("x-amz-meta-tag", ""),
        ("policy", policy),
        ("x-amz-signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"),
    ]);
    let config = AuthConfig::default();
    let got = authenticate_form(&form, "sigv4examplebucket", &OneKey, &config, NOW).unwrap();
    assert_eq!(got.identity, Identity::Key { access_key_id: ID.to_owned() });
    assert!(is_denied(
        authenticate_form(&form, "another", &OneKey, &config, NOW),
        "Policy Condition failed"
    ));
    let late = NOW + 12 * 3600;
    let got = authenticate_form(&form, "sigv4examplebucket", &OneKey, &config, late);
    assert!(is_denied(got, "Policy expired."));
}

#[test]
fn forms_without_policy_are_anonymous() {
    let got = authenticate(&fields(&[("key", "a"), ("acl", "public-read")])).unwrap();
    assert_eq!(got.identity, Identity::Anonymous);
    for name in [
        "x-amz-signature",
        "x-amz-credential",
        "x-amz-algorithm",
        "x-amz-date",
        "signature",
        "awsaccesskeyid",
    ] {
        let got = authenticate(&fields(&[("key", "a"), (name, "x")]));
        assert!(matches!(got, Err(FormError::Auth(AuthError::InvalidArgument(_)))), "{name}");
    }
}

#[test]
fn signatures_are_checked() {
    let good = signed(&policy(""), &[]);
    authenticate(&good).unwrap();
    let auth_error = |form: &Fields| match authenticate(form) {
        Err(FormError::Auth(error)) => error,
        other => panic!("{other:?}"),
    };
    let needed = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];
    for name in needed {
        let mut form = good.clone();
        form.remove(name);
        assert!(matches!(auth_error(&form), AuthError::InvalidArgument(_)), "{name}");
    }
    let changed = |name: &str, value: &str| {
        let mut form = good.clone();
        form.insert(name.to_owned(), value.to_owned());
        auth_error(&form)
    };
    let bad_signature = |error| matches!(error, AuthError::SignatureDoesNotMatch { .. });
    assert!(bad_signature(changed("x-amz-signature", &"0".repeat(64))));
    assert!(bad_signature(changed("x-amz-signature", "")));
    assert!(bad_signature(changed("policy", &BASE64_STANDARD.encode("{}"))));
    let nobody = CREDENTIAL.replace(ID, "nobody");
    assert!(matches!(
        changed("x-amz-credential", &nobody),
        AuthError::InvalidAccessKeyId(id) if id == "nobody"
    ));
    assert!(matches!(changed("x-amz-credential", "x"), AuthError::QueryMalformed(_)));
    let other_day = changed("x-amz-date", "20151230T000000Z");
    assert!(matches!(other_day, AuthError::QueryMalformed(_)));
    assert!(matches!(changed("x-amz-date", "today"), AuthError::InvalidArgument(_)));
    let sha1 = changed("x-amz-algorithm", "AWS4-HMAC-SHA1");
    assert!(matches!(sha1, AuthError::InvalidArgument(_)));
    let ecdsa = changed("x-amz-algorithm", ALGORITHM_ECDSA);
    assert!(matches!(ecdsa, AuthError::NotImplemented(_)));
    assert!(matches!(changed("x-amz-security-token", "t"), AuthError::InvalidToken(_)));
    // Signature Version 2: incomplete or not supported.
    let v2 = |list: &[(&str, &str)]| auth_error(&fields(list));
    let incomplete = v2(&[("policy", "e30="), ("awsaccesskeyid", ID)]);
    assert!(matches!(incomplete, AuthError::InvalidArgument(_)));
    let whole = v2(&[("policy", "e30="), ("awsaccesskeyid", ID), ("signature", "c2ln")]);
    assert!(matches!(whole, AuthError::InvalidRequest(_)));
}

#[test]
fn conditions_are_kept_to() {
    let tag = [("x-amz-meta-tag", "blue")];
    assert!(is_denied(try_conditions("", &tag), "Extra input fields: x-amz-meta-tag"));
    for (condition, good) in [
        (r#", {"x-amz-meta-tag": "blue"}"#, true),
        (r#", {"X-AMZ-Meta-Tag": "blue"}"#, true),
        (r#", ["eq", "$x-amz-meta-tag", "blue"]"#, true),
        (r#", ["EQ", "$X-Amz-Meta-Tag", "blue"]"#, true),
        (r#", ["StArTs-WiTh", "$x-amz-meta-tag", "bl"]"#, true),
        (r#", ["starts-with", "$x-amz-meta-tag", ""]"#, true),
        (r#", {"x-amz-meta-tag": "Blue"}"#, false),
        (r#", ["eq", "$x-amz-meta-tag", ""]"#, false),
        (r#", ["starts-with", "$x-amz-meta-tag", "lue"]"#, false),
        (r#", {"x-amz-meta-tag": "blue"}, {"x-amz-meta-tag": "red"}"#, false),
    ] {
        let got = try_conditions(condition, &tag);
        match good {
            true => assert!(got.is_ok(), "{condition}: {got:?}"),
            false => assert!(is_denied(got, "Policy Condition failed"), "{condition}"),
        }
    }
    // A field that a condition names must be there.
    let missing = r#", ["starts-with", "$x-amz-meta-tag", ""]"#;
    assert!(is_denied(try_conditions(missing, &[]), "Policy Condition failed"));
    // Fields that need no condition.
    let free = [("x-ignore-me", "1"), ("x-amz-checksum-crc32", "AAAAAA=="), ("file", "")];
    assert!(try_conditions("", &free).is_ok());
    // Lists of media types.
    let types = r#", ["starts-with", "$Content-Type", "image/"]"#;
    assert!(try_conditions(types, &[("content-type", "image/a, image/b")]).is_ok());
    let mixed = [("content-type", "image/a,text/html")];
    assert!(is_denied(try_conditions(types, &mixed), "Policy Condition failed"));
}

#[test]
fn the_bucket_is_that_of_the_request() {
    let form = signed(&policy(""), &[("bucket", "another")]);
    assert!(authenticate(&form).is_ok());
    let config = AuthConfig::default();
    let got = authenticate_form(&form, "another", &OneKey, &config, NOW);
    assert!(is_denied(got, "Policy Condition failed: [\"eq\", \"$bucket\", \"bucket\"]"));
    let without = policy("").replace(r#"{"bucket": "bucket"}, "#, "");
    assert!(is_denied(authenticate(&signed(&without, &[])), "Extra input fields: bucket"));
}

#[test]
fn sizes_are_bounded() {
    let range = |condition: &str| try_conditions(condition, &[]).unwrap();
    let got = range(r#", ["content-length-range", 2, "10"]"#);
    assert_eq!(got.content_length_range, Some((2, 10)));
    assert_eq!(got.check_size(1), Err(FormError::TooSmall { size: 1, smallest: 2 }));
    assert_eq!((got.check_size(2), got.check_size(10)), (Ok(()), Ok(())));
    assert_eq!(got.check_size(11), Err(FormError::TooLarge { size: 11, largest: 10 }));
    let got = range(r#", ["content-length-range", 2, 10], ["content-length-range", 0, 5]"#);
    assert_eq!(got.content_length_range, Some((2, 5)));
    assert_eq!(range("").check_size(u64::MAX), Ok(()));
}

#[test]
fn malformed_policies_are_refused() {
    for condition in [
        r#", {}"#,
        r#", []"#,
        r#", 1"#,
        r#", null"#,
        r#", "a""#,
        r#", {"a": "1", "b": "2"}"#,
        r#", {"a": 1}"#,
        r#", ["eq", "a", "1"]"#,
        r#", ["eq", "$a"]"#,
        r#", ["eq", "$a", 1]"#,
        r#", ["eq", "$a", "1", "2"]"#,
        r#", ["ends-with", "$a", "1"]"#,
        r#", [1, "$a", "1"]"#,
        r#", ["content-length-range", 0]"#,
        r#", ["content-length-range", -1, 0]"#,
        r#", ["content-length-range", 0, 1.5]"#,
        r#", ["content-length-range", "", 1]"#,
        r#", ["content-length-range", "+1", 1]"#,
        r#","#,
    ] {
        assert!(is_invalid(&try_conditions(condition, &[])), "{condition}");
    }
    let good = policy("");
    for (from, to) in [
        ("expiration", "EXPIRATION"),
        ("conditions", "CONDITIONS"),
        ("2015-12-30T12:00:00.000Z", "2015-12-30 12:00:00+00:00"),
        ("\"2015-12-30T12:00:00.000Z\"", "1451476800"),
        ("\"expiration\"", "\"more\": 1, \"expiration\""),
    ] {
        let got = authenticate(&signed(&good.replace(from, to), &[]));
        assert!(is_invalid(&got), "{to}: {got:?}");
    }
    for text in ["", "[]", "{", "{}", r#"{"expiration": "2015-12-30T12:00:00Z"}"#] {
        assert!(is_invalid(&authenticate(&signed(text, &[]))), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(is_invalid(&authenticate(&signed(&deep, &[]))));
    let mut form = signed(&good, &[]);
    form.insert("policy".to_owned(), "%%%".to_owned());
    let signature = hex::encode(signer().sign(b"%%%"));
    form.insert("x-amz-signature".to_owned(), signature);
    assert!(is_invalid(&authenticate(&form)));
}
