//! The lines of an access log. A line is that of AWS, "Amazon S3 server access log format".

use crate::http::{Headers, Method};
use crate::limits::MAX_LOGGED_BYTES;
use crate::s3::{shortened, uri};
use crate::types::time;
use std::fmt::Write;
use std::net::IpAddr;

/// What a line says of a request. What is `None`, 0 or empty becomes `-`, unless it says 0.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Canonical ID of the bucket's owner.
    pub owner: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// When the request was received, in milliseconds since 1970.
    pub received_ms: i64,
    /// Where it came from.
    pub peer: IpAddr,
    /// Canonical ID of who sent it.
    pub requester: Option<&'a str>,
    /// The request's ID.
    pub request_id: &'a str,
    /// See [`operation`].
    pub operation: &'a str,
    /// The key.
    pub key: Option<&'a str>,
    /// The method.
    pub method: Method,
    /// Path and query as they came; `None` for one object of a batch.
    pub target: Option<&'a str>,
    /// Status of the answer.
    pub status: u16,
    /// Error code of the answer.
    pub error: Option<&'a str>,
    /// Bytes of the answer's body.
    pub bytes_sent: u64,
    /// Size of the object, in bytes.
    pub object_size: Option<u64>,
    /// From the head of the request to the end of the answer.
    pub total_ms: u128,
    /// From the head of the request to the beginning of the answer.
    pub turn_around_ms: u128,
    /// The request's header fields.
    pub headers: &'a Headers,
    /// The version that was read, written or deleted.
    pub version: Option<&'a str>,
    /// The server.
    pub host_id: &'a str,
    /// How the request was signed.
    pub signed: Signed,
}

/// How a request was signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signed {
    /// `SigV4` or `SigV2`; empty if not at all.
    version: &'static str,
    /// `AuthHeader` or `QueryString`; empty if not at all.
    place: &'static str,
}

impl Signed {
    /// What the fields of a request say, whether or not its signature is right.
    pub fn of(headers: &Headers, query: &str) -> Self {
        let in_query = |name: &str| query.split('&').any(|p| p.starts_with(name));
        let (version, place) = match headers.get("authorization") {
            Some(value) if value.starts_with("AWS ") => ("SigV2", "AuthHeader"),
            Some(_) => ("SigV4", "AuthHeader"),
            None if in_query("X-Amz-Signature=") => ("SigV4", "QueryString"),
            None if in_query("Signature=") => ("SigV2", "QueryString"),
            None => ("", ""),
        };
        Self { version, place }
    }
}

/// A field; empty becomes `-`, and what would end it or the line is percent-encoded.
fn push_field(line: &mut String, text: &str) {
    line.push(' ');
    if text.is_empty() {
        line.push('-');
    }
    let special = |c: char| c.is_control() || c.is_whitespace() || c == '"';
    push_encoded(line, text, special);
}

/// A field in quotes.
fn push_quoted(line: &mut String, text: &str) {
    line.push_str(" \"");
    line.push_str(if text.is_empty() { "-" } else { "" });
    push_encoded(line, text, |c| c.is_control() || c == '"');
    line.push('"');
}

fn push_encoded(line: &mut String, text: &str, special: impl Fn(char) -> bool) {
    for c in text.chars() {
        if special(c) {
            uri::push_encoded(line, c.encode_utf8(&mut [0; 4]), false);
        } else {
            line.push(c);
        }
    }
}

fn push_number(line: &mut String, number: Option<u64>) {
    // Writing to a String does not fail.
    let _ = match number {
        Some(number) => write!(line, " {number}"),
        None => write!(line, " -"),
    };
}

/// `24/Nov/2026:10:05:34 +0000`
fn push_time(line: &mut String, ms: i64) {
    // An HTTP date is `Tue, 24 Nov 2026 10:05:34 GMT`.
    let date = time::http(ms);
    let mut parts = date.split(' ').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    let (day, month, year, clock) = (next(), next(), next(), next());
    let _ = write!(line, "{day}/{month}/{year}:{clock} +0000");
}

impl Record<'_> {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let mut line = String::with_capacity(512);
        line.push_str(self.owner);
        push_field(&mut line, self.bucket);
        line.push_str(" [");
        push_time(&mut line, self.received_ms);
        line.push(']');
        push_field(&mut line, &self.peer.to_string());
        push_field(&mut line, self.requester.unwrap_or_default());
        push_field(&mut line, self.request_id);
        push_field(&mut line, self.operation);
        push_field(&mut line, &uri::encode(self.key.unwrap_or_default(), true));
        match self.target {
            Some(target) => {
                let uri = format!("{} {target} HTTP/1.1", self.method.as_str());
                push_quoted(&mut line, &uri);
            }
            None => push_field(&mut line, ""),
        }
        push_number(&mut line, Some(self.status.into()));
        push_field(&mut line, self.error.unwrap_or_default());
        push_number(&mut line, Some(self.bytes_sent).filter(|bytes| *bytes > 0));
        push_number(&mut line, self.object_size);
        push_number(&mut line, u64::try_from(self.total_ms).ok());
        push_number(&mut line, u64::try_from(self.turn_around_ms).ok());
        let field = |name| self.headers.get(name).unwrap_or_default();
        let said = |name| shortened(field(name), MAX_LOGGED_BYTES);
        push_quoted(&mut line, said("referer"));
        push_quoted(&mut line, said("user-agent"));
        push_field(&mut line, self.version.unwrap_or_default());
        push_field(&mut line, self.host_id);
        push_field(&mut line, self.signed.version);
        // No TLS here, hence no cipher suite.
        push_field(&mut line, "");
        push_field(&mut line, self.signed.place);
        push_field(&mut line, said("host"));
        // TLS version, access point ARN, aclRequired.
        line.push_str(" - - -\n");
        line
    }
}

/// Operations whose name in the log is not made of their own, with what AWS calls the resource.
const RESOURCES: &[(&str, &str)] = &[
    ("ListObjects", "BUCKET"),
    ("ListObjectsV2", "BUCKET"),
    ("ListObjectVersions", "BUCKETVERSIONS"),
    ("ListMultipartUploads", "UPLOADS"),
    ("DeleteObjects", "MULTI_OBJECT_DELETE"),
    ("CreateMultipartUpload", "UPLOADS"),
    ("UploadPart", "PART"),
    ("CompleteMultipartUpload", "UPLOAD"),
    ("AbortMultipartUpload", "UPLOAD"),
    ("ListParts", "UPLOAD"),
    ("GetBucketPolicy", "BUCKETPOLICY"),
    ("PutBucketPolicy", "BUCKETPOLICY"),
    ("DeleteBucketPolicy", "BUCKETPOLICY"),
    ("GetBucketLogging", "LOGGING_STATUS"),
    ("PutBucketLogging", "LOGGING_STATUS"),
    ("GetObjectTagging", "OBJECT_TAGGING"),
    ("PutObjectTagging", "OBJECT_TAGGING"),
    ("DeleteObjectTagging", "OBJECT_TAGGING"),
    ("GetObjectLockConfiguration", "OBJECT_LOCK_CONFIGURATION"),
    ("PutObjectLockConfiguration", "OBJECT_LOCK_CONFIGURATION"),
    ("GetPublicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
    ("PutPublicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
    ("DeletePublicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
    ("PreflightBucket", "PREFLIGHT"),
    ("PreflightObject", "PREFLIGHT"),
];

/// The operation as the log names it: `REST.GET.OBJECT`. `name`: as in the table of operations,
/// empty for a request that is none.
pub fn operation(method: Method, name: &str) -> String {
    match name {
        "CopyObject" => return "REST.COPY.OBJECT".to_owned(),
        "UploadPartCopy" => return "REST.COPY.PART".to_owned(),
        "Website" => return format!("WEBSITE.{}.OBJECT", method.as_str()),
        _ => {}
    }
    let method = method.as_str();
    if let Some((_, resource)) = RESOURCES.iter().find(|(known, _)| *known == name) {
        return format!("REST.{method}.{resource}");
    }
    // `PutBucketRequestPayment` is about the REQUEST_PAYMENT.
    let start = name.find(|c: char| c.is_ascii_uppercase() && !name.starts_with(c)).unwrap_or(0);
    let rest = &name[start..];
    let rest = rest.strip_suffix("Configuration").unwrap_or(rest);
    let rest = ["Bucket", "Object"]
        .iter()
        .find_map(|of| rest.strip_prefix(of).filter(|rest| !rest.is_empty()))
        .unwrap_or(rest);
    let mut resource = String::new();
    for c in rest.chars() {
        if c.is_ascii_uppercase() && !resource.is_empty() {
            resource.push('_');
        }
        resource.push(c.to_ascii_uppercase());
    }
    if resource.is_empty() {
        format!("REST.{method}.-")
    } else {
        format!("REST.{method}.{resource}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let fields =
            [("host", "s3.example:9000"), ("user-agent", "a \"b\"\u{85}c"), ("referer", "")];
        let record = Record {
            owner: "owner",
            bucket: "bkt",
            received_ms: 1_795_514_734_123,
            peer: [192, 0, 2, 3].into(),
            requester: Some("me"),
            request_id: "0123456789ABCDEF",
            operation: "REST.GET.OBJECT",
            key: Some("a/ü b\""),
            method: Method::Get,
            target: Some("/bkt/a/%C3%BC%20b\"?x=1"),
            status: 200,
            error: None,
            bytes_sent: 10,
            object_size: Some(100),
            total_ms: 7,
            turn_around_ms: 0,
            headers: &Headers::new(fields.iter().copied()),
            version: None,
            host_id: "jog",
            signed: Signed { version: "SigV4", place: "AuthHeader" },
        };
        assert_eq!(
            record.line(),
            "owner bkt [24/Nov/2026:10:05:34 +0000] 192.0.2.3 me 0123456789ABCDEF REST.GET.OBJECT \
             a/%C3%BC%20b%22 \"GET /bkt/a/%C3%BC%20b%22?x=1 HTTP/1.1\" 200 - 10 100 7 0 \"-\" \
             \"a %22b%22%C2%85c\" - jog SigV4 - AuthHeader s3.example:9000 - - -\n"
        );
        let none = Record {
            requester: None,
            key: None,
            error: Some("AccessDenied"),
            bytes_sent: 0,
            object_size: None,
            headers: &Headers::default(),
            version: Some("v1"),
            signed: Signed { version: "", place: "" },
            ..record
        };
        let line = none.line();
        let (start, end) = line.split_once("HTTP/1.1\"").unwrap();
        assert!(
            start.contains(" 192.0.2.3 - 0123456789ABCDEF REST.GET.OBJECT - \"GET "),
            "{start}"
        );
        assert_eq!(end, " 200 AccessDenied - - 7 0 \"-\" \"-\" v1 jog - - - - - - -\n");
    }

    #[test]
    fn operations() {
        for (method, name, log) in [
            (Method::Get, "GetObject", "REST.GET.OBJECT"),
            (Method::Head, "HeadObject", "REST.HEAD.OBJECT"),
            (Method::Put, "CopyObject", "REST.COPY.OBJECT"),
            (Method::Put, "CreateBucket", "REST.PUT.BUCKET"),
            (Method::Get, "ListObjectsV2", "REST.GET.BUCKET"),
            (Method::Post, "DeleteObjects", "REST.POST.MULTI_OBJECT_DELETE"),
            (Method::Put, "UploadPart", "REST.PUT.PART"),
            (Method::Get, "GetBucketVersioning", "REST.GET.VERSIONING"),
            (Method::Put, "PutBucketRequestPayment", "REST.PUT.REQUEST_PAYMENT"),
            (Method::Get, "GetObjectAcl", "REST.GET.ACL"),
            (Method::Get, "GetBucketLifecycleConfiguration", "REST.GET.LIFECYCLE"),
            (Method::Options, "PreflightObject", "REST.OPTIONS.PREFLIGHT"),
            (Method::Get, "Website", "WEBSITE.GET.OBJECT"),
            (Method::Post, "", "REST.POST.-"),
        ] {
            assert_eq!(operation(method, name), log, "{name}");
        }
        let table = crate::s3::table::OPERATIONS.iter().map(|row| row.name);
        for known in RESOURCES {
            assert!(table.clone().any(|name| name == known.0), "{}", known.0);
        }
    }

    #[test]
    fn what_clients_say_is_cut_between_characters() {
        assert_eq!(shortened("aé", 3), "aé");
        assert_eq!(shortened("aé", 2), "a");
        assert_eq!(shortened("é", 0), "");
    }

    #[test]
    fn signatures() {
        let of = |value: &str, query: &str| {
            let fields = [("authorization", value)].into_iter().filter(|(_, v)| !v.is_empty());
            let signed = Signed::of(&Headers::new(fields), query);
            (signed.version, signed.place)
        };
        assert_eq!(of("AWS4-HMAC-SHA256 Credential=a", ""), ("SigV4", "AuthHeader"));
        assert_eq!(of("AWS a:b", ""), ("SigV2", "AuthHeader"));
        assert_eq!(of("", "a=1&X-Amz-Signature=b"), ("SigV4", "QueryString"));
        assert_eq!(of("", "AWSAccessKeyId=a&Signature=b"), ("SigV2", "QueryString"));
        assert_eq!(of("", "a=X-Amz-Signature=b"), ("", ""));
    }
}
