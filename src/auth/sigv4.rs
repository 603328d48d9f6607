//! Signature Version 4: credential scopes, signing keys, the Authorization header and the
//! comparison of signatures.

use super::canonical::{CONTENT_SHA256, Form, canonical_request, push_path, push_query};
use super::{AuthConfig, AuthError, Keys, host};
use crate::http::Request;
use crate::limits::{MAX_HEADERS, MAX_SKEW};
use crate::types::time;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// The algorithm of Signature Version 4.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The algorithm of its asymmetric sibling, which needs keys that we do not have.
pub(super) const ALGORITHM_ECDSA: &str = "AWS4-ECDSA-P256-SHA256";
const UNSUPPORTED: &str = "The authorization mechanism you have provided is not supported. \
                           Please use AWS4-HMAC-SHA256.";
const DATE_NEEDED: &str = "AWS authentication requires a valid Date or x-amz-date header";

/// Where a credential stood, for the words of an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Header,
    Query,
}

impl Place {
    fn malformed(self, what: &str, region: Option<&str>) -> AuthError {
        match self {
            Self::Header => AuthError::HeaderMalformed(
                format!("The authorization header is malformed; {what}"),
                region.map(str::to_owned),
            ),
            Self::Query => AuthError::QueryMalformed(format!(
                "Error parsing the X-Amz-Credential parameter; {what}"
            )),
        }
    }
}

/// A credential: who signed, and for which day and region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Credential<'a> {
    pub access_key_id: &'a str,
    /// `YYYYMMDD`
    pub day: &'a str,
    pub region: &'a str,
    /// `day/region/s3/aws4_request`
    pub scope: &'a str,
}

impl<'a> Credential<'a> {
    /// Parses `access-key-id/day/region/s3/aws4_request`. Where any region will do, an empty one
    /// does: clients made for MinIO sign so (Apache Libcloud does).
    pub(super) fn parse(
        text: &'a str,
        config: &AuthConfig,
        place: Place,
    ) -> Result<Self, AuthError> {
        let shape = || {
            let what = "the Credential is mal-formed; expecting \
                        \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
            place.malformed(what, None)
        };
        let mut parts = text.rsplitn(5, '/');
        let mut part = || parts.next().ok_or_else(shape);
        let (terminal, service, region, day) = (part()?, part()?, part()?, part()?);
        let access_key_id = part()?;
        let is_day = day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit());
        if access_key_id.is_empty() || !is_day {
            return Err(shape());
        }
        if terminal != "aws4_request" {
            let what =
                format!("incorrect terminal \"{terminal}\". This endpoint uses \"aws4_request\".");
            return Err(place.malformed(&what, None));
        }
        if service != "s3" {
            let what = format!("incorrect service \"{service}\". This endpoint belongs to \"s3\".");
            return Err(place.malformed(&what, None));
        }
        if let Some(ours) = config.region.as_deref().filter(|ours| *ours != region) {
            let what = format!("the region '{region}' is wrong; expecting '{ours}'");
            return Err(place.malformed(&what, Some(ours)));
        }
        let scope = &text[access_key_id.len() + 1..];
        Ok(Self { access_key_id, day, region, scope })
    }

    /// Refuses a time of signing (in basic form) on another day than the scope's.
    pub(super) fn check_day(&self, date: &str, place: Place) -> Result<(), AuthError> {
        if date.get(..8) == Some(self.day) {
            return Ok(());
        }
        let what = format!(
            "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\".",
            self.day,
            date.get(..8).unwrap_or(date)
        );
        Err(place.malformed(&what, None))
    }

    /// The signing key; InvalidAccessKeyId if nobody has this access key.
    pub(super) fn signer(&self, keys: &dyn Keys) -> Result<Signer, AuthError> {
        Ok(cached_signer(self, secret(self.access_key_id, keys)?))
    }
}

/// The secret of an access key; InvalidAccessKeyId if nobody has it.
pub(super) fn secret(access_key_id: &str, keys: &dyn Keys) -> Result<String, AuthError> {
    keys.admit(access_key_id)?;
    keys.secret(access_key_id)
        .ok_or_else(|| AuthError::InvalidAccessKeyId(access_key_id.to_owned()))
}

/// A derived signing key, ready to sign.
#[derive(Clone)]
pub(super) struct Signer {
    /// The key.
    pub key: [u8; 32],
    /// HMAC with that key already taken in, which halves the work of a short message.
    mac: Hmac<Sha256>,
}

impl Signer {
    /// A signer with a derived key.
    pub(super) fn new(key: [u8; 32]) -> Self {
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of any length");
        Self { key, mac }
    }

    /// The key of a day and region: AWS4 + secret, day, region, s3, aws4_request.
    fn derive(secret: &str, day: &str, region: &str) -> Self {
        let first = format!("AWS4{secret}");
        let mut key = hmac(first.as_bytes(), day.as_bytes());
        for part in [region, "s3", "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        Self::new(key)
    }

    /// The signature of a text.
    #[cfg(test)]
    pub(super) fn sign(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// Whether `signature`, in hex, is that of the text; takes the same time wherever they differ.
    pub(super) fn verify(&self, text: &[u8], signature: &str) -> bool {
        let mut bytes = [0; 32];
        if hex::decode_to_slice(signature, &mut bytes).is_err() {
            return false;
        }
        let mut mac = self.mac.clone();
        mac.update(text);
        mac.verify_slice(&bytes).is_ok()
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Derived keys that are remembered: a few access keys, two days around midnight, some regions.
const MAX_SIGNERS: usize = 64;

/// The derived keys of late, the oldest first. The secret is part of the key, so a changed secret
/// never finds what was derived from the old one.
static SIGNERS: RwLock<Vec<(Derived, Signer)>> = RwLock::new(Vec::new());

#[derive(PartialEq, Eq)]
struct Derived {
    access_key_id: String,
    secret: String,
    day: String,
    region: String,
}

impl Derived {
    fn is_for(&self, credential: &Credential<'_>, secret: &str) -> bool {
        self.access_key_id == credential.access_key_id
            && self.day == credential.day
            && self.region == credential.region
            && self.secret == secret
    }
}

/// The signer of a credential, remembered or derived. It is remembered before the signature is
/// proven; what a stranger can do with that is to push out others' keys, which costs a derivation.
fn cached_signer(credential: &Credential<'_>, secret: String) -> Signer {
    let known = SIGNERS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, signer)) = known.iter().rev().find(|(d, _)| d.is_for(credential, &secret)) {
        return signer.clone();
    }
    drop(known);
    let signer = Signer::derive(&secret, credential.day, credential.region);
    let derived = Derived {
        access_key_id: credential.access_key_id.to_owned(),
        secret,
        day: credential.day.to_owned(),
        region: credential.region.to_owned(),
    };
    let mut known = SIGNERS.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MAX_SIGNERS {
        known.remove(0);
    }
    known.push((derived, signer.clone()));
    signer
}

/// What a request says about its own signature, parsed but not proven.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub credential: Credential<'a>,
    /// Lower-case names, joined by `;`.
    pub signed_headers: &'a str,
    /// In hex.
    pub signature: &'a str,
    /// When it was signed, in basic form.
    pub date: &'a str,
    /// What stands for the payload's hash in the canonical request.
    pub payload_hash: &'a str,
}

impl Claim<'_> {
    /// Compares the signature with ours, in every form that a client may have signed.
    pub(super) fn verify(
        &self,
        request: &Request,
        signer: &Signer,
        config: &AuthConfig,
    ) -> Result<(), AuthError> {
        let host = request.headers.get("host").unwrap_or("");
        let forwarded = host::forwarded_host(request, config.trust_forwarded);
        let hosts = [forwarded.unwrap_or(host), host];
        let Err(error) = self.attempt(request, signer, Form::ALL[0], hosts[0]) else {
            return Ok(());
        };
        let differs = differing_forms(request);
        let forms = || Form::ALL.into_iter().filter(|form| differs(*form));
        // A signature over one bucket's host proves nothing of the bucket that another host names,
        // and the request goes to the one that was forwarded.
        let bucket = |host| host::bucket_in(host, config);
        let other = hosts[0] != hosts[1] && bucket(hosts[0]) == bucket(hosts[1]);
        let hosts = if other { &hosts[..] } else { &hosts[..1] };
        let matches = |form, host| self.attempt(request, signer, form, host).is_ok();
        match hosts.iter().any(|host| forms().any(|form| matches(form, host))) {
            true => Ok(()),
            false => Err(error),
        }
    }

    fn attempt(
        &self,
        request: &Request,
        signer: &Signer,
        form: Form,
        host: &str,
    ) -> Result<(), AuthError> {
        let mut canonical = Vec::with_capacity(1024);
        let (signed, hash) = (self.signed_headers, self.payload_hash);
        canonical_request(&mut canonical, request, form, signed, host, hash);
        let mut digest = [0; 64];
        hex::encode_to_slice(Sha256::digest(&canonical), &mut digest)
            .expect("64 digits for 32 bytes");
        let mut text = Vec::with_capacity(192);
        for line in [ALGORITHM, self.date, self.credential.scope] {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        text.extend_from_slice(&digest);
        if signer.verify(&text, self.signature) {
            return Ok(());
        }
        Err(AuthError::SignatureDoesNotMatch {
            access_key_id: self.credential.access_key_id.to_owned(),
            string_to_sign: String::from_utf8_lossy(&text).into_owned(),
            signature: self.signature.to_owned(),
            canonical_request: String::from_utf8_lossy(&canonical).into_owned(),
        })
    }
}

/// Says of a form whether it is worth a try: whether its raw parts differ from the usual ones.
fn differing_forms(request: &Request) -> impl Fn(Form) -> bool {
    let text = |write: &dyn Fn(&mut Vec<u8>, bool), raw| {
        let mut out = Vec::new();
        write(&mut out, raw);
        out
    };
    let path = |out: &mut Vec<u8>, raw| push_path(out, &request.path, raw);
    let query = |out: &mut Vec<u8>, raw| push_query(out, &request.query, raw);
    let path_differs = text(&path, true) != text(&path, false);
    let query_differs = text(&query, true) != text(&query, false);
    move |form| (path_differs || !form.raw_path) && (query_differs || !form.raw_query)
}

/// Refuses a list of signed headers without `host`, or one that leaves out a header which
/// changes what the request does: whoever passes a signed request on could add it.
/// x-amz-content-sha256 may be left out, its value is part of the canonical request.
pub(super) fn check_signed_headers(request: &Request, signed: &str) -> Result<(), AuthError> {
    let is_signed = |name: &str| signed.split(';').any(|s| s == name);
    let mut missing = Vec::new();
    if !is_signed("host") {
        missing.push("host");
    }
    for (name, _) in request.headers.iter() {
        let counts = name.starts_with("x-amz-") && name != CONTENT_SHA256;
        if counts && !is_signed(name) && !missing.contains(&name) {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(AuthError::AccessDenied(format!(
        "There were headers present in the request which were not signed: {}",
        missing.join(", ")
    )))
}

/// Refuses names that cannot be header names in lower case, more of them than a request has, and one
/// that stands there twice: the canonical request would be as much longer than what has arrived.
pub(super) fn valid_signed_headers(signed: &str) -> bool {
    let valid = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase();
    let names = || signed.split(';');
    // They should be sorted, so this is rarely asked twice.
    let different = || {
        let mut seen = HashSet::new();
        names().is_sorted_by(|a, b| a < b) || names().all(|name| seen.insert(name))
    };
    names().count() <= MAX_HEADERS
        && names().all(|name| !name.is_empty() && name.bytes().all(valid))
        && different()
}

/// The parts of an Authorization header of Signature Version 4.
#[derive(Debug)]
pub(super) struct Authorization<'a> {
    pub credential: &'a str,
    pub signed_headers: &'a str,
    pub signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Parses the header; refuses other mechanisms.
    pub(super) fn parse(value: &'a str, request: &Request, now: i64) -> Result<Self, AuthError> {
        if value.is_empty() {
            return Err(AuthError::AccessDenied("Access Denied".to_owned()));
        }
        let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        match scheme {
            ALGORITHM => Self::parse_v4(rest),
            ALGORITHM_ECDSA => {
                Err(AuthError::NotImplemented("AWS4-ECDSA-P256-SHA256 (SigV4A)".to_owned()))
            }
            "AWS" => Err(refuse_v2(rest, request, now)),
            _ => Err(AuthError::InvalidArgument("Unsupported Authorization Type".to_owned())),
        }
    }

    fn parse_v4(rest: &'a str) -> Result<Self, AuthError> {
        let malformed = |what: &str| Place::Header.malformed(what, None);
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| malformed("the authorization component is not Name=Value."))?;
            let place = match name.trim() {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(malformed("it has an unknown component.")),
            };
            if place.replace(value.trim()).is_some() {
                return Err(malformed("a component stands in it twice."));
            }
        }
        let signed_headers = signed_headers.ok_or_else(|| malformed("it has no SignedHeaders."))?;
        if !valid_signed_headers(signed_headers) {
            return Err(malformed("SignedHeaders must be lower-case names, joined by ';'."));
        }
        Ok(Self {
            credential: credential.ok_or_else(|| malformed("it has no Credential."))?,
            signed_headers,
            signature: signature.ok_or_else(|| malformed("it has no Signature."))?,
        })
    }
}

/// What stands behind the scheme in an Authorization header of Signature Version 2.
pub(super) fn v2_credential(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    (scheme == "AWS").then_some(rest)
}

/// The answer to Signature Version 2 where it is off: what is wrong with it by itself comes first.
fn refuse_v2(rest: &str, request: &Request, now: i64) -> AuthError {
    if !rest.contains(':') {
        let text = "AWS authorization header is invalid. Expected AwsAccessKeyId:signature";
        return AuthError::InvalidArgument(text.to_owned());
    }
    match signing_time(request).and_then(|date| check_skew(&date, now)) {
        Ok(()) => unsupported(),
        Err(error) => error,
    }
}

/// The refusal of mechanisms before Signature Version 4.
pub(super) fn unsupported() -> AuthError {
    AuthError::InvalidRequest(UNSUPPORTED.to_owned())
}

/// When a request says it was signed, in basic form: x-amz-date, else Date, each in the basic form
/// or as an HTTP date.
pub(super) fn signing_time(request: &Request) -> Result<String, AuthError> {
    let headers = &request.headers;
    let text = headers.get("x-amz-date").or_else(|| headers.get("date")).unwrap_or("");
    if parse_basic(text).is_some() {
        return Ok(text.to_owned());
    }
    let seconds = parse_http(text);
    seconds.map(time::basic).ok_or_else(|| AuthError::AccessDenied(DATE_NEEDED.to_owned()))
}

/// Refuses a time (in basic form) that is too far from ours.
pub(super) fn check_skew(date: &str, now: i64) -> Result<(), AuthError> {
    let signed =
        parse_basic(date).ok_or_else(|| AuthError::AccessDenied(DATE_NEEDED.to_owned()))?;
    match now.abs_diff(signed) > MAX_SKEW.as_secs() {
        true => Err(AuthError::TimeTooSkewed(date.to_owned())),
        false => Ok(()),
    }
}

/// Seconds of a time in basic form.
pub(super) fn parse_basic(text: &str) -> Option<i64> {
    text.is_ascii().then(|| time::parse_basic(text))?
}

/// Seconds of an HTTP date. A wrong day of the week says nothing about the time and is forgiven.
fn parse_http(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once(", ")?;
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    time::parse_http(text)
        .or_else(|| days.iter().find_map(|day| time::parse_http(&format!("{day}, {rest}"))))
}
