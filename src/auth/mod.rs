//! Who are you? Signature Version 4 in a header, in a presigned URL, in a streaming upload or in a
//! POST form; Version 2 if it is switched on. Knows nothing of buckets, policies or the store; errors are [`AuthError`], which s3/
//! turns into the wire's codes.

mod canonical;
mod chunked;
mod host;
pub mod post_form;
mod presigned;
mod sigv2;
mod sigv4;
mod throttle;

use crate::http::{Body, Request};
use canonical::CONTENT_SHA256;
use presigned::{Parameters, Query};
use sigv4::{Authorization, Claim, Credential, Place};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

pub use chunked::PayloadReader;
pub use host::{before_domain, host_bucket, host_of};
pub use sigv2::covers as is_covered_by_sigv2;
pub use throttle::{Throttle, source};

/// The secrets behind access keys.
pub trait Keys: Send + Sync {
    /// The secret of an active access key.
    fn secret(&self, access_key_id: &str) -> Option<String>;

    /// Asked before [`Self::secret`]: whether a signature with this key is looked at at all.
    fn admit(&self, _access_key_id: &str) -> Result<(), AuthError> {
        Ok(())
    }
}

impl<T: Keys + ?Sized> Keys for Arc<T> {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        (**self).secret(access_key_id)
    }

    fn admit(&self, access_key_id: &str) -> Result<(), AuthError> {
        (**self).admit(access_key_id)
    }
}

/// What the settings say about authentication.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// The only region that a credential scope may name; any if `None`.
    pub region: Option<String>,
    /// Whether `X-Forwarded-Host` replaces `Host` when a signature is checked.
    pub trust_forwarded: bool,
    /// Whether Signature Version 2 is taken.
    pub sigv2: bool,
    /// Requests to `bucket.domain` are virtual-host style.
    pub domains: Vec<String>,
}

/// The proven sender of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// No signature at all.
    Anonymous,
    /// The holder of this access key.
    Key {
        /// The access key's ID.
        access_key_id: String,
    },
}

/// A request whose sender is known, and how its body has to be read.
#[derive(Debug)]
pub struct Authenticated {
    /// Who sent it.
    pub identity: Identity,
    /// How its body is protected.
    pub payload: PayloadKind,
    /// The signature is in the URL (a presigned request).
    pub presigned: bool,
}

impl Authenticated {
    /// A request of which nobody asks who sent it.
    pub fn anonymous() -> Self {
        let payload = PayloadKind::Unsigned;
        Self { identity: Identity::Anonymous, payload, presigned: false }
    }
}

/// How a body is protected, from `x-amz-content-sha256`.
#[derive(Debug)]
pub enum PayloadKind {
    /// UNSIGNED-PAYLOAD, presigned, anonymous without the header.
    Unsigned,
    /// The SHA-256 that the body must have.
    Sha256([u8; 32]),
    /// STREAMING-UNSIGNED-PAYLOAD-TRAILER: chunks without signatures, checksums in trailers.
    UnsignedChunks,
    /// STREAMING-AWS4-HMAC-SHA256-PAYLOAD and its -TRAILER.
    SignedChunks(ChunkSigning),
}

/// What the signatures of chunks are computed from.
#[derive(Clone)]
pub struct ChunkSigning {
    /// The derived signing key.
    pub key: [u8; 32],
    /// `x-amz-date`
    pub date: String,
    /// `date/region/s3/aws4_request`
    pub scope: String,
    /// The signature of the head, in hex.
    pub seed: String,
    /// Whether signed trailers follow.
    pub trailer: bool,
}

impl std::fmt::Debug for ChunkSigning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkSigning").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Why a request is not authenticated; the text is for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthError {
    /// AccessDenied (403): expired, missing date, unsigned where a signature is needed.
    AccessDenied(String),
    /// AuthorizationHeaderMalformed (400), with the region to use if the region was wrong.
    HeaderMalformed(String, Option<String>),
    /// AuthorizationQueryParametersError (400).
    QueryMalformed(String),
    /// InvalidAccessKeyId (403): the ID.
    InvalidAccessKeyId(String),
    /// SignatureDoesNotMatch (403).
    SignatureDoesNotMatch {
        /// The access key's ID.
        access_key_id: String,
        /// What we signed.
        string_to_sign: String,
        /// What the client sent.
        signature: String,
        /// The canonical request.
        canonical_request: String,
    },
    /// RequestTimeTooSkewed (403): the client's time, in basic form.
    TimeTooSkewed(String),
    /// InvalidRequest (400).
    InvalidRequest(String),
    /// MissingSecurityHeader or InvalidArgument (400).
    InvalidArgument(String),
    /// InvalidToken (400): a session token, which nobody here issues.
    InvalidToken(String),
    /// SlowDown (503): too many failures from the same address.
    Throttled,
    /// NotImplemented (501), such as SigV4A.
    NotImplemented(String),
}

/// Finds out who sent a request. `now` in seconds since 1970.
///
/// The order of the checks is S3's: form, region and service, access key, time, signature. A POST
/// form is anonymous here, see [`post_form`].
pub fn authenticate(
    request: &Request,
    keys: &dyn Keys,
    config: &AuthConfig,
    now: i64,
) -> Result<Authenticated, AuthError> {
    refuse_repeated(request)?;
    let mut headers = request.headers.all("authorization");
    let (header, another) = (headers.next(), headers.next());
    let query = match request.query.is_empty() {
        true => Query::Unsigned,
        false => Query::parse(&request.query)?,
    };
    if another.is_some() || (header.is_some() && !matches!(query, Query::Unsigned)) {
        return Err(AuthError::InvalidArgument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
             query string parameter or the Authorization header should be specified"
                .to_owned(),
        ));
    }
    match (header, query) {
        (Some(value), _) => by_header(value, request, keys, config, now),
        (None, Query::V4(parameters)) => by_query(&parameters, request, keys, config, now),
        (None, Query::V2(parameters)) if config.sigv2 => {
            by_v2(&parameters.claim()?, true, request, keys, config, now)
        }
        (None, Query::V2(_)) => Err(sigv4::unsupported()),
        (None, Query::Unsigned) => anonymous(request),
    }
}

fn by_header(
    value: &str,
    request: &Request,
    keys: &dyn Keys,
    config: &AuthConfig,
    now: i64,
) -> Result<Authenticated, AuthError> {
    if let Some(rest) = sigv4::v2_credential(value).filter(|_| config.sigv2) {
        return by_v2(&sigv2::Claim::in_header(rest)?, false, request, keys, config, now);
    }
    let authorization = Authorization::parse(value, request, now)?;
    let credential = Credential::parse(authorization.credential, config, Place::Header)?;
    let date = sigv4::signing_time(request)?;
    credential.check_day(&date, Place::Header)?;
    let payload_hash = request.headers.get(CONTENT_SHA256).ok_or_else(|| {
        let text = "Missing required header for this request: x-amz-content-sha256";
        AuthError::InvalidRequest(text.to_owned())
    })?;
    let protection = Protection::parse(payload_hash)?;
    let signer = credential.signer(keys)?;
    refuse_token(request.headers.get("x-amz-security-token"))?;
    sigv4::check_skew(&date, now)?;
    sigv4::check_signed_headers(request, authorization.signed_headers)?;
    let signature = authorization.signature;
    let signed_headers = authorization.signed_headers;
    let claim = Claim { credential, signed_headers, signature, date: &date, payload_hash };
    claim.verify(request, &signer, config)?;
    let payload = match protection {
        Protection::SignedChunks { trailer } => PayloadKind::SignedChunks(ChunkSigning {
            key: signer.key,
            scope: credential.scope.to_owned(),
            seed: signature.to_ascii_lowercase(),
            date,
            trailer,
        }),
        other => other.without_signing("this request")?,
    };
    let access_key_id = credential.access_key_id.to_owned();
    Ok(Authenticated { identity: Identity::Key { access_key_id }, payload, presigned: false })
}

fn by_query(
    parameters: &Parameters,
    request: &Request,
    keys: &dyn Keys,
    config: &AuthConfig,
    now: i64,
) -> Result<Authenticated, AuthError> {
    parameters.check()?;
    let credential = Credential::parse(&parameters.credential, config, Place::Query)?;
    let date = parameters.date.as_str();
    credential.check_day(date, Place::Query)?;
    // Whatever decides how the body is read is also what the signature is checked with.
    let in_query = parameters.content_sha256.as_deref();
    let in_header = || request.headers.get(CONTENT_SHA256);
    let payload_hash = in_query.or_else(in_header).unwrap_or(UNSIGNED_PAYLOAD);
    let payload = Protection::parse(payload_hash)?.without_signing("a presigned request")?;
    let signer = credential.signer(keys)?;
    refuse_token(parameters.security_token.as_deref())?;
    refuse_token(request.headers.get("x-amz-security-token"))?;
    parameters.check_time(now)?;
    let signed_headers = parameters.signed_headers.as_str();
    sigv4::check_signed_headers(request, signed_headers)?;
    let signature = parameters.signature.as_str();
    let claim = Claim { credential, signed_headers, signature, date, payload_hash };
    claim.verify(request, &signer, config)?;
    let access_key_id = credential.access_key_id.to_owned();
    Ok(Authenticated { identity: Identity::Key { access_key_id }, payload, presigned: true })
}

/// Signature Version 2, which says nothing of the body.
fn by_v2(
    claim: &sigv2::Claim<'_>,
    presigned: bool,
    request: &Request,
    keys: &dyn Keys,
    config: &AuthConfig,
    now: i64,
) -> Result<Authenticated, AuthError> {
    let payload = match request.headers.get(CONTENT_SHA256) {
        Some(value) => Protection::parse(value)?.without_signing("this request")?,
        None => PayloadKind::Unsigned,
    };
    refuse_token(request.headers.get("x-amz-security-token"))?;
    claim.prove(request, keys, config, now)?;
    let access_key_id = claim.access_key_id().to_owned();
    Ok(Authenticated { identity: Identity::Key { access_key_id }, payload, presigned })
}

fn anonymous(request: &Request) -> Result<Authenticated, AuthError> {
    let payload = match request.headers.get(CONTENT_SHA256) {
        Some(value) => Protection::parse(value)?.without_signing("an anonymous request")?,
        None => PayloadKind::Unsigned,
    };
    Ok(Authenticated { identity: Identity::Anonymous, payload, presigned: false })
}

/// Refuses an `x-amz-` field that stands there twice, but for those that are lists. A signature is
/// over the values joined by commas, so whoever passes a request on could send one value that has a
/// comma as two, of which readers take the first.
fn refuse_repeated(request: &Request) -> Result<(), AuthError> {
    const LISTS: [&str; 3] =
        ["x-amz-trailer", "x-amz-object-attributes", "x-amz-optional-object-attributes"];
    let single = |name: &str| {
        name.starts_with("x-amz-") && !name.starts_with("x-amz-meta-") && !LISTS.contains(&name)
    };
    let names = || request.headers.iter().map(|(name, _)| name);
    let before = |at: usize, name: &str| names().take(at).any(|n| n == name);
    match names().enumerate().find(|(at, name)| single(name) && before(*at, name)) {
        None => Ok(()),
        Some((_, name)) => {
            Err(AuthError::AccessDenied(format!("The header {name} was sent twice.")))
        }
    }
}

/// Temporary credentials come from a token service, and there is none here.
fn refuse_token(token: Option<&str>) -> Result<(), AuthError> {
    match token {
        None | Some("") => Ok(()),
        Some(_) => Err(AuthError::InvalidToken(
            "The provided token is malformed or otherwise invalid.".to_owned(),
        )),
    }
}

/// What stands for the hash of a body that is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What `x-amz-content-sha256` may say.
enum Protection {
    Sha256([u8; 32]),
    Unsigned,
    UnsignedChunks,
    SignedChunks { trailer: bool },
}

impl Protection {
    fn parse(value: &str) -> Result<Self, AuthError> {
        match value {
            UNSIGNED_PAYLOAD => Ok(Self::Unsigned),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunks),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks { trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
                Ok(Self::SignedChunks { trailer: true })
            }
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
            | "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER" => {
                Err(AuthError::NotImplemented("AWS4-ECDSA-P256-SHA256 (SigV4A)".to_owned()))
            }
            hash => {
                let mut sha256 = [0; 32];
                hex::decode_to_slice(hash, &mut sha256).map_err(|_| {
                    AuthError::InvalidArgument(
                        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, \
                         STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
                         STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
                            .to_owned(),
                    )
                })?;
                Ok(Self::Sha256(sha256))
            }
        }
    }

    /// Signed chunks go on from the signature of a header; without one there is nothing to go on
    /// from.
    fn without_signing(self, of: &str) -> Result<PayloadKind, AuthError> {
        match self {
            Self::Sha256(sha256) => Ok(PayloadKind::Sha256(sha256)),
            Self::Unsigned => Ok(PayloadKind::Unsigned),
            Self::UnsignedChunks => Ok(PayloadKind::UnsignedChunks),
            Self::SignedChunks { .. } => Err(AuthError::InvalidArgument(format!(
                "x-amz-content-sha256 of {of} cannot announce signed chunks."
            ))),
        }
    }
}

/// What went wrong while a body was read.
#[derive(Debug)]
pub enum PayloadError {
    /// The connection (timeout, early end, malformed framing of HTTP).
    Io(io::Error),
    /// The body is not what x-amz-content-sha256 says (XAmzContentSHA256Mismatch, 400).
    Sha256Mismatch,
    /// A chunk's or the trailer's signature is wrong (SignatureDoesNotMatch, 403).
    ChunkSignature,
    /// The framing of aws-chunked is wrong, or it ends early (IncompleteBody, 400; text for the
    /// client).
    Malformed(String),
    /// A trailer that x-amz-trailer announced is missing or malformed (MalformedTrailerError, 400).
    Trailer(String),
    /// More bytes than the decoded length or the limit allows (EntityTooLarge or IncompleteBody).
    TooLong,
}

/// Trailers after a body, names in lower case.
pub type Trailers = BTreeMap<String, String>;

/// The reader for a request's body. InvalidRequest if the head does not fit the kind: no
/// x-amz-decoded-content-length with chunks, or announced trailers that cannot come.
pub fn payload<'a, 'b>(
    request: &Request,
    body: &'a mut Body<'b>,
    kind: PayloadKind,
) -> Result<PayloadReader<'a, 'b>, AuthError> {
    PayloadReader::new(request, body, kind)
}

#[cfg(test)]
mod chunked_tests;
#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod sigv2_tests;
#[cfg(test)]
mod tests;
