//! Presigned URLs: the signature and what it is over stand in the query.

use super::canonical::{decode, parameters};
use super::sigv4::{ALGORITHM, ALGORITHM_ECDSA, parse_basic, valid_signed_headers};
use super::{AuthError, sigv2};
use crate::limits::{MAX_PRESIGNED_SECONDS, MAX_SKEW};

/// What a query says about a signature.
#[derive(Debug)]
pub(super) enum Query {
    /// Nothing.
    Unsigned,
    /// Signature Version 2.
    V2(sigv2::Parameters),
    /// Signature Version 4.
    V4(Parameters),
}

/// The parameters of a presigned URL, decoded.
#[derive(Debug)]
pub(super) struct Parameters {
    algorithm: String,
    pub credential: String,
    pub date: String,
    expires: String,
    pub signed_headers: String,
    pub signature: String,
    pub security_token: Option<String>,
    pub content_sha256: Option<String>,
}

/// Names of [`Parameters`], in its order; the first six must be there.
const NAMES: [&str; 8] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

impl Query {
    /// Finds the parameters of a signature. Their names may be in any case, as S3 takes them; one
    /// that stands there twice is refused, since the parties could read different ones.
    pub(super) fn parse(query: &str) -> Result<Self, AuthError> {
        let mut found: [Option<String>; NAMES.len()] = Default::default();
        let mut v2 = sigv2::Parameters::default();
        for (name, value) in parameters(query) {
            v2.take(name, value);
            let known = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
            let Some(known) = known else { continue };
            let value = decode(value).ok_or_else(|| malformed("a parameter is not UTF-8."))?;
            if found[known].replace(value).is_some() {
                return Err(malformed("a parameter of the signature stands in the query twice."));
            }
        }
        let [algorithm, credential, date, expires, signed_headers, signature, token, sha256] =
            found;
        if algorithm.is_none() && credential.is_none() && signature.is_none() {
            return Ok(if v2.claim_something() { Self::V2(v2) } else { Self::Unsigned });
        }
        let need = |value: Option<String>| {
            let text = "Query-string authentication version 4 requires the X-Amz-Algorithm, \
                        X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and \
                        X-Amz-Expires parameters.";
            value.ok_or_else(|| malformed(text))
        };
        Ok(Self::V4(Parameters {
            algorithm: need(algorithm)?,
            credential: need(credential)?,
            date: need(date)?,
            expires: need(expires)?,
            signed_headers: need(signed_headers)?,
            signature: need(signature)?,
            security_token: token.filter(|token| !token.is_empty()),
            content_sha256: sha256,
        }))
    }
}

impl Parameters {
    /// Checks everything that does not need a key.
    pub(super) fn check(&self) -> Result<(), AuthError> {
        match self.algorithm.as_str() {
            ALGORITHM => (),
            ALGORITHM_ECDSA => {
                return Err(AuthError::NotImplemented("AWS4-ECDSA-P256-SHA256 (SigV4A)".into()));
            }
            _ => {
                return Err(malformed("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
            }
        }
        if !valid_signed_headers(&self.signed_headers) {
            return Err(malformed("X-Amz-SignedHeaders must be lower-case names, joined by ';'."));
        }
        let text = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
        parse_basic(&self.date).map(drop).ok_or_else(|| malformed(text))?;
        self.lifetime_seconds().map(drop)
    }

    /// How long the URL is valid, in seconds.
    fn lifetime_seconds(&self) -> Result<i64, AuthError> {
        let digits = self.expires.strip_prefix('-').unwrap_or(&self.expires);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed("X-Amz-Expires should be a number"));
        }
        // S3 answers these with 400; s3-tests and others' servers know 403 for all three.
        let denied = |text: &str| Err(AuthError::AccessDenied(text.to_owned()));
        if self.expires.starts_with('-') {
            return denied("X-Amz-Expires must be non-negative");
        }
        match digits.parse() {
            Ok(0) => denied("Request has expired"),
            Ok(seconds) if seconds <= MAX_PRESIGNED_SECONDS => {
                Ok(i64::try_from(seconds).expect("a week in seconds fits"))
            }
            _ => denied(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given \
                 X-Amz-Expires must be less than 604800 seconds",
            ),
        }
    }

    /// Refuses a URL that is not yet or no longer valid.
    pub(super) fn check_time(&self, now: i64) -> Result<(), AuthError> {
        let denied = |text: &str| Err(AuthError::AccessDenied(text.to_owned()));
        let age = parse_basic(&self.date).map_or(i64::MAX, |signed| now.saturating_sub(signed));
        if age < 0 && age.unsigned_abs() > MAX_SKEW.as_secs() {
            return denied("Request is not yet valid");
        }
        match age > self.lifetime_seconds()? {
            true => denied("Request has expired"),
            false => Ok(()),
        }
    }
}

fn malformed(text: &str) -> AuthError {
    AuthError::QueryMalformed(text.to_owned())
}
