//! Signature Version 2, which old NAS and backup software still speaks: HMAC-SHA1 in a header, a
//! presigned URL or a POST form. Only with `JOG_SIGV2=on`.
//!
//! Its signature is over method, Content-MD5, Content-Type, date, the `x-amz-` fields, the path
//! and some parameters of the query: those in [`COVERED`]. Host, body and all else are free, which
//! is why it is off by default. Every parameter that says what a request is about is among the
//! covered ones, whether AWS's list of old has it or not: else whoever sees a signed `PUT /b/k`
//! could make a `PUT /b/k?retention` of it.
//!
//! Source: AWS, "Signing and authenticating REST requests (AWS signature version 2)".

use super::canonical::{decode, push_path};
use super::{AuthConfig, AuthError, Keys, host_bucket, sigv4};
use crate::http::Request;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// The parameters of the query that belong to what is signed, in order.
pub(super) const COVERED: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Whether a parameter of the query belongs to what is signed.
pub fn covers(parameter: &str) -> bool {
    COVERED.binary_search(&parameter).is_ok()
}

/// What a request says about its signature.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    access_key_id: &'a str,
    /// In Base64.
    signature: &'a str,
    /// What stands for the date.
    date: Date<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Date<'a> {
    /// In the header; checked against the clock.
    Header,
    /// When a presigned URL expires, in seconds since 1970.
    Expires(&'a str),
}

impl<'a> Claim<'a> {
    /// Parses what stands behind `AWS ` in an Authorization header.
    pub(super) fn in_header(rest: &'a str) -> Result<Self, AuthError> {
        let text = "AWS authorization header is invalid. Expected AwsAccessKeyId:signature";
        let (access_key_id, signature) = rest
            .trim()
            .rsplit_once(':')
            .ok_or_else(|| AuthError::InvalidArgument(text.to_owned()))?;
        Ok(Self { access_key_id, signature, date: Date::Header })
    }

    /// The access key.
    pub(super) fn access_key_id(&self) -> &'a str {
        self.access_key_id
    }

    /// Proves the claim; `now` in seconds since 1970.
    pub(super) fn prove(
        &self,
        request: &Request,
        keys: &dyn Keys,
        config: &AuthConfig,
        now: i64,
    ) -> Result<(), AuthError> {
        match self.date {
            Date::Header => {
                let signed = sigv4::signing_time(request)?;
                let secret = sigv4::secret(self.access_key_id, keys)?;
                sigv4::check_skew(&signed, now)?;
                self.compare(request, &secret, config)
            }
            Date::Expires(text) => {
                let expires = check_expires(text, now)?;
                let secret = sigv4::secret(self.access_key_id, keys)?;
                match now > expires {
                    true => Err(AuthError::AccessDenied("Request has expired".to_owned())),
                    false => self.compare(request, &secret, config),
                }
            }
        }
    }

    fn compare(
        &self,
        request: &Request,
        secret: &str,
        config: &AuthConfig,
    ) -> Result<(), AuthError> {
        let texts = strings_to_sign(request, self.date, host_bucket(request, config));
        if texts.iter().any(|text| verify(secret, text.as_bytes(), self.signature)) {
            return Ok(());
        }
        Err(mismatch(self.access_key_id, texts.into_iter().next(), self.signature))
    }
}

fn mismatch(access_key_id: &str, text: Option<String>, signature: &str) -> AuthError {
    AuthError::SignatureDoesNotMatch {
        access_key_id: access_key_id.to_owned(),
        string_to_sign: text.unwrap_or_default(),
        signature: signature.to_owned(),
        canonical_request: String::new(),
    }
}

/// Whether a signature, in Base64, is that of the text; takes the same time wherever they differ.
pub(super) fn verify(secret: &str, text: &[u8], signature: &str) -> bool {
    let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.verify_slice(&signature).is_ok()
}

/// Seconds since 1970 in a presigned URL.
fn check_expires(text: &str, now: i64) -> Result<i64, AuthError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(seconds) if digits => Ok(seconds),
        // Further away than can be counted, or before 1970.
        Err(_) if digits => Ok(i64::MAX),
        _ if text.starts_with('-') => Ok(now.saturating_sub(1)),
        _ => {
            let text = format!("Invalid date (should be seconds since epoch): {text}");
            Err(AuthError::AccessDenied(text))
        }
    }
}

/// The parameters of a presigned URL, decoded.
#[derive(Default, Debug)]
pub(super) struct Parameters {
    access_key_id: Option<String>,
    signature: Option<String>,
    expires: Option<String>,
    twice: bool,
}

impl Parameters {
    /// Takes a parameter of the query if it is one of the signature's.
    pub(super) fn take(&mut self, name: &str, value: &str) {
        let place = match name {
            "AWSAccessKeyId" => &mut self.access_key_id,
            "Signature" => &mut self.signature,
            "Expires" => &mut self.expires,
            _ => return,
        };
        // One that is not UTF-8 cannot be right.
        self.twice |= place.replace(decode(value).unwrap_or_default()).is_some();
    }

    /// Whether the query claims a signature.
    pub(super) fn claim_something(&self) -> bool {
        self.access_key_id.is_some() && self.signature.is_some()
    }

    /// The claim, all of whose parts must be there.
    pub(super) fn claim(&self) -> Result<Claim<'_>, AuthError> {
        let text = "Query-string authentication requires the Signature, Expires and \
                    AWSAccessKeyId parameters";
        let (Some(access_key_id), Some(signature), Some(expires)) =
            (&self.access_key_id, &self.signature, &self.expires)
        else {
            return Err(AuthError::AccessDenied(text.to_owned()));
        };
        if self.twice {
            // The parties could read different ones.
            let text = "A parameter of the signature stands in the query twice.";
            return Err(AuthError::AccessDenied(text.to_owned()));
        }
        Ok(Claim { access_key_id, signature, date: Date::Expires(expires) })
    }
}

/// Proves the signature of a POST form, which is over its policy as it stands there.
pub(super) fn prove_form(
    policy: &str,
    access_key_id: &str,
    signature: &str,
    keys: &dyn Keys,
) -> Result<(), AuthError> {
    let secret = sigv4::secret(access_key_id, keys)?;
    match verify(&secret, policy.as_bytes(), signature) {
        true => Ok(()),
        false => Err(mismatch(access_key_id, Some(policy.to_owned()), signature)),
    }
}

// ---- what is signed ----------------------------------------------------------------------

/// What the client may have signed, the usual text first. Clients differ in small things, none of
/// which changes what a signature stands for: how they treat a date in x-amz-date, an escape in
/// the path, a `+` and an empty value in the query.
fn strings_to_sign(request: &Request, date: Date<'_>, host_bucket: Option<&str>) -> Vec<String> {
    let header = |name| request.headers.get(name).unwrap_or("").trim();
    let amz_date = request.headers.get("x-amz-date").map(str::trim);
    // The line of the date, and whether x-amz-date is among the x-amz- fields.
    let mut dates = Vec::new();
    match (date, amz_date) {
        (Date::Expires(expires), _) => dates.push((expires, true)),
        (Date::Header, None) => dates.push((header("date"), true)),
        // As AWS's text has it, as botocore does it, and as AWS's example has it.
        (Date::Header, Some(amz_date)) => {
            dates.extend([("", true), (header("date"), true), (amz_date, false)]);
        }
    }
    let resources = resources(request, host_bucket);
    let mut texts: Vec<String> = Vec::new();
    for (date, with_amz_date) in dates {
        let head = format!(
            "{}\n{}\n{}\n{date}\n{}",
            request.method.as_str(),
            header("content-md5"),
            header("content-type"),
            amz_fields(request, with_amz_date),
        );
        for resource in &resources {
            let text = format!("{head}{resource}");
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    texts
}

/// The x-amz- fields: a line each, in order of their names.
fn amz_fields(request: &Request, with_date: bool) -> String {
    let counts = |name: &&str| name.starts_with("x-amz-") && (with_date || *name != "x-amz-date");
    let mut names: Vec<&str> = request.headers.iter().map(|(n, _)| n).filter(counts).collect();
    names.sort_unstable();
    names.dedup();
    let mut out = String::new();
    for name in names {
        let values: Vec<&str> = request.headers.all(name).map(str::trim).collect();
        out.push_str(name);
        out.push(':');
        out.push_str(&values.join(","));
        out.push('\n');
    }
    out
}

/// The path with its bucket, and the covered parameters in order of their names.
fn resources(request: &Request, host_bucket: Option<&str>) -> Vec<String> {
    let bucket = host_bucket.map_or_else(String::new, |bucket| format!("/{bucket}"));
    let mut recoded = Vec::new();
    push_path(&mut recoded, &request.path, false);
    let recoded = String::from_utf8_lossy(&recoded).into_owned();
    let mut paths = vec![request.path.clone(), recoded];
    // That of a bucket may be signed with the slash behind it or without it, as botocore does.
    if host_bucket.is_none() {
        let name = request.path.strip_prefix('/').unwrap_or_default();
        let name = name.strip_suffix('/').unwrap_or(name);
        if !name.is_empty() && !name.contains('/') {
            paths.extend([format!("/{name}"), format!("/{name}/")]);
        }
    }
    let mut found = Vec::new();
    for path in &paths {
        for plus_is_space in [true, false] {
            for keep_empty in [false, true] {
                let query = covered(request, plus_is_space, keep_empty);
                let mark = if query.is_empty() { "" } else { "?" };
                let resource = format!("{bucket}{path}{mark}{query}");
                if !found.contains(&resource) {
                    found.push(resource);
                }
            }
        }
    }
    found
}

/// The covered parameters with their values decoded. `keep_empty`: an empty value has its `=` if
/// it has one in the query.
fn covered(request: &Request, plus_is_space: bool, keep_empty: bool) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in request.query.split('&') {
        let (raw_name, value) = part.split_once('=').unwrap_or((part, ""));
        // Routing reads the decoded name, too: an escape in it must not hide it from here.
        let Some(name) = decode(raw_name).filter(|name| covers(name)) else { continue };
        let decoded = match plus_is_space {
            true => decode(value),
            false => decode(&value.replace('+', "%2B")),
        };
        let decoded = decoded.unwrap_or_else(|| value.to_owned());
        let bare = decoded.is_empty() && !(keep_empty && part.contains('='));
        let text = if bare { name.clone() } else { format!("{name}={decoded}") };
        pairs.push((name, text));
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("&")
}
