//! Who are you? Signature Version 4 in a header, in a presigned URL, in a streaming upload or in a
//! POST form. Knows nothing of buckets, policies or the store; errors are [`AuthError`], which s3/
//! turns into the wire's codes.

mod canonical;
mod chunked;
pub mod post_form;
mod presigned;
mod sigv4;

use crate::http::{Body, Request};
use std::collections::BTreeMap;
use std::io;

pub use chunked::PayloadReader;

/// The secrets behind access keys.
pub trait Keys: Send + Sync {
    /// The secret of an active access key.
    fn secret(&self, access_key_id: &str) -> Option<String>;
}

/// What the settings say about authentication.
#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// The only region that a credential scope may name; any if `None`.
    pub region: Option<String>,
    /// Whether `X-Forwarded-Host` replaces `Host` when a signature is checked.
    pub trust_forwarded: bool,
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
    /// NotImplemented (501), such as SigV4A.
    NotImplemented(String),
}

/// Finds out who sent a request. `now` in seconds since 1970.
pub fn authenticate(
    request: &Request,
    keys: &dyn Keys,
    config: &AuthConfig,
    now: i64,
) -> Result<Authenticated, AuthError> {
    let _ = (request, keys, config, now);
    todo!()
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
    /// The framing of aws-chunked is wrong, or it ends early (IncompleteBody, 400; text for the client).
    Malformed(String),
    /// A trailer that x-amz-trailer announced is missing or malformed (MalformedTrailerError, 400).
    Trailer(String),
    /// More bytes than the decoded length or the limit allows (EntityTooLarge or IncompleteBody).
    TooLong,
}

/// Trailers after a body, names in lower case.
pub type Trailers = BTreeMap<String, String>;

/// The reader for a request's body.
pub fn payload<'a, 'b>(
    request: &Request,
    body: &'a mut Body<'b>,
    kind: PayloadKind,
) -> Result<PayloadReader<'a, 'b>, AuthError> {
    let _ = (request, body, kind);
    todo!()
}
