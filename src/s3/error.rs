//! S3's errors: one table of wire code, HTTP status and default message.

use crate::auth::{AuthError, PayloadError};
use crate::http::{Payload, Response};
use crate::store::{Refused, StoreError};
use crate::types::Violation;
use crate::xml::Writer;
use std::borrow::Cow;

macro_rules! codes {
    ($($name:ident $status:literal $message:literal)*) => {
        /// The codes that JOG answers with.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs)]
        pub enum Code { $($name,)* }

        impl Code {
            /// The code as it stands in the answer.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The message, unless a better one is at hand.
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

// The messages are AWS's own, word for word as it sends them where that is known: there are clients
// that compare them.
codes! {
    AccessControlListNotSupported 400 "The bucket does not allow ACLs"
    AccessDenied 403 "Access Denied"
    AccessForbidden 403 "CORSResponse: This CORS request is not allowed."
    AuthorizationHeaderMalformed 400 "The authorization header that you provided is not valid."
    AuthorizationQueryParametersError 400 "The authorization query parameters that you provided are not valid."
    BadDigest 400 "The Content-MD5 or checksum value that you specified did not match what the server received."
    BadRequest 400 "Bad Request"
    BucketAlreadyExists 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it."
    BucketNotEmpty 409 "The bucket you tried to delete is not empty"
    ConditionalRequestConflict 409 "The conditional request cannot succeed due to a conflicting operation against this resource."
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed size"
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed size"
    IllegalVersioningConfigurationException 400 "The versioning configuration specified in the request is not valid."
    IdempotencyParameterMismatch 400 "The client token was used for a request with other parameters."
    IllegalLocationConstraintException 400 "The specified location constraint is not valid."
    IncompleteBody 400 "You did not provide the number of bytes specified by the Content-Length HTTP header"
    InternalError 500 "We encountered an internal error. Please try again."
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records."
    InvalidArgument 400 "Invalid Argument"
    InvalidBucketAclWithObjectOwnership 400 "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
    InvalidBucketState 409 "The request is not valid with the current state of the bucket."
    InvalidBucketName 400 "The specified bucket is not valid."
    InvalidDigest 400 "The Content-MD5 or checksum value that you specified is not valid."
    InvalidEncryptionAlgorithmError 400 "The encryption request that you specified is not valid. The valid value is AES256."
    InvalidLocationConstraint 400 "The specified location (Region) constraint is not valid."
    InvalidPart 400 "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    InvalidPartOrder 400 "The list of parts was not in ascending order. Parts must be ordered by part number."
    InvalidPolicyDocument 400 "The content of the form does not meet the conditions specified in the policy document."
    InvalidRange 416 "The requested range is not satisfiable"
    InvalidRedirectLocation 400 "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."
    InvalidRequest 400 "Invalid Request"
    InvalidRetentionPeriod 400 "The retention period specified is not valid."
    InvalidStorageClass 400 "The storage class that you specified is not valid."
    InvalidTag 400 "The tag provided was not a valid tag."
    InvalidTargetBucketForLogging 400 "The target bucket for logging does not exist, or is not owned by you."
    InvalidToken 400 "The provided token is malformed or otherwise not valid."
    InvalidURI 400 "The specified URI couldn't be parsed."
    KeyTooLongError 400 "Your key is too long"
    MalformedACLError 400 "The ACL that you provided was not well formed or did not validate against our published schema."
    MalformedPolicy 400 "The policy is not valid."
    MalformedPOSTRequest 400 "The body of your POST request is not well-formed multipart/form-data."
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema."
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema"
    MaxMessageLengthExceeded 400 "Your request was too large."
    MaxPostPreDataLengthExceededError 400 "Your POST request fields preceding the upload file were too large."
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size."
    MethodNotAllowed 405 "The specified method is not allowed against this resource."
    MissingContentLength 411 "You must provide the Content-Length HTTP header."
    MissingSecurityHeader 400 "Your request is missing a required header."
    NoSuchBucket 404 "The specified bucket does not exist"
    NoSuchBucketPolicy 404 "The bucket policy does not exist"
    NoSuchCORSConfiguration 404 "The CORS configuration does not exist"
    NoSuchKey 404 "The specified key does not exist."
    NoSuchLifecycleConfiguration 404 "The lifecycle configuration does not exist"
    NoSuchObjectLockConfiguration 404 "The specified object does not have a ObjectLock configuration"
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found"
    NoSuchTagSet 404 "The TagSet does not exist"
    NoSuchUpload 404 "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    NoSuchVersion 404 "The specified version does not exist."
    NoSuchWebsiteConfiguration 404 "The specified bucket does not have a website configuration"
    NotImplemented 501 "A header or query parameter that you provided implies functionality that is not implemented."
    ObjectLockConfigurationNotFoundError 404 "Object Lock configuration does not exist for this bucket"
    OwnershipControlsNotFoundError 404 "The bucket ownership controls were not found"
    PreconditionFailed 412 "At least one of the pre-conditions you specified did not hold"
    QuotaExceeded 403 "The bucket would hold more than its quota allows."
    ReplicationConfigurationNotFoundError 404 "The replication configuration was not found"
    RequestHeaderSectionTooLarge 431 "Your request header section exceeds the maximum allowed size."
    RequestTimeTooSkewed 403 "The difference between the request time and the current time is too large."
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed."
    ServerSideEncryptionConfigurationNotFoundError 404 "The server side encryption configuration was not found"
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    SlowDown 503 "Please reduce your request rate."
    StorageFull 507 "The server's disk is full. Delete objects or add space, then try again."
    UnexpectedContent 400 "This request contains unsupported content."
    UnresolvableGrantByEmailAddress 400 "The email address that you provided does not match any account on record."
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed."
}

/// An error on its way to the client.
#[derive(Debug)]
pub struct S3Error {
    /// The code.
    pub code: Code,
    /// Overrides the code's message.
    pub message: Option<Cow<'static, str>>,
    /// Further elements of the answer.
    pub extra: Vec<(&'static str, String)>,
    /// Further header fields of the answer.
    pub headers: Vec<(&'static str, String)>,
    /// What happened inside: for the log, never for the client.
    pub source: Option<String>,
    /// The connection cannot be used any more.
    pub close: bool,
}

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        Self {
            code,
            message: None,
            extra: Vec::new(),
            headers: Vec::new(),
            source: None,
            close: false,
        }
    }
}

impl Code {
    /// The error of this code with a message of its own.
    pub fn with(self, message: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error { message: Some(message.into()), ..self.into() }
    }
}

impl S3Error {
    /// Adds an element to the answer.
    #[must_use]
    pub fn element(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// Whether what is missing is hidden by a delete marker.
    pub fn is_of_marker(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == "x-amz-delete-marker")
    }

    /// InvalidArgument about one argument.
    pub fn argument(name: &str, value: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Code::InvalidArgument
            .with(message)
            .element("ArgumentName", name)
            .element("ArgumentValue", value)
    }

    /// The answer, as XML. `resource`: the path of the request.
    pub fn response(&self, resource: &str, request_id: &str, host_id: &str) -> Response {
        let mut xml = Writer::document();
        xml.open("Error");
        xml.text("Code", self.code.name());
        xml.text("Message", self.message.as_deref().unwrap_or(self.code.message()));
        for (name, value) in &self.extra {
            xml.text(name, value);
        }
        xml.text("Resource", resource);
        xml.text("RequestId", request_id);
        xml.text("HostId", host_id);
        xml.close("Error");
        let mut response = Response::new(self.code.status())
            .header("content-type", "application/xml")
            .payload(Payload::Bytes(xml.finish()));
        for (name, value) in &self.headers {
            response = response.header(*name, value.clone());
        }
        response.close = self.close;
        response
    }
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Refused(refused) => return refused.into(),
            StoreError::Full => Code::StorageFull,
            StoreError::Busy | StoreError::Closed => Code::SlowDown,
            StoreError::Io { .. }
            | StoreError::Sqlite(_)
            | StoreError::Commit(_)
            | StoreError::WrongKey
            | StoreError::Corrupt(_) => Code::InternalError,
        };
        Self { source: Some(error.to_string()), ..code.into() }
    }
}

impl From<Refused> for S3Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuchBucket => Code::NoSuchBucket.into(),
            Refused::BucketNotEmpty => Code::BucketNotEmpty.into(),
            Refused::NoSuchUpload => Code::NoSuchUpload.into(),
            Refused::PartsChanged => Code::ConditionalRequestConflict.into(),
            Refused::Precondition(Violation::Missing) => Code::NoSuchKey.into(),
            Refused::Precondition(Violation::Failed(condition)) => {
                Self::from(Code::PreconditionFailed).element("Condition", condition.header())
            }
            Refused::NoSuchKey => Code::NoSuchKey.into(),
            Refused::NoSuchVersion => Code::NoSuchVersion.into(),
            Refused::DeleteMarker => Code::MethodNotAllowed.into(),
            Refused::Locked => {
                Code::AccessDenied.with("Access Denied because object protected by object lock.")
            }
            Refused::NoObjectLock => {
                Code::InvalidRequest.with("Bucket is missing Object Lock Configuration")
            }
            Refused::VersionsKept => Code::InvalidBucketState
                .with("This cannot be done in a bucket that keeps, or has kept, versions."),
            Refused::VersioningRequired => Code::InvalidBucketState.into(),
            Refused::QuotaExceeded => Code::QuotaExceeded.into(),
        }
    }
}

impl From<PayloadError> for S3Error {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Io(error) => {
                let code = match error.kind() {
                    std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => {
                        Code::RequestTimeout
                    }
                    _ => Code::IncompleteBody,
                };
                Self { source: Some(error.to_string()), close: true, ..code.into() }
            }
            PayloadError::Sha256Mismatch => Code::XAmzContentSHA256Mismatch.into(),
            PayloadError::ChunkSignature => Code::SignatureDoesNotMatch.into(),
            PayloadError::Malformed(text) => Code::IncompleteBody.with(text),
            PayloadError::Trailer(text) => Code::MalformedTrailerError.with(text),
            PayloadError::TooLong => Code::EntityTooLarge.into(),
        }
    }
}

impl From<AuthError> for S3Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::AccessDenied(text) => Code::AccessDenied.with(text),
            AuthError::HeaderMalformed(text, region) => {
                let error = Code::AuthorizationHeaderMalformed.with(text);
                match region {
                    Some(region) => error.element("Region", region),
                    None => error,
                }
            }
            AuthError::QueryMalformed(text) => Code::AuthorizationQueryParametersError.with(text),
            AuthError::InvalidAccessKeyId(id) => {
                S3Error::from(Code::InvalidAccessKeyId).element("AWSAccessKeyId", id)
            }
            AuthError::SignatureDoesNotMatch {
                access_key_id,
                string_to_sign,
                signature,
                canonical_request,
            } => S3Error::from(Code::SignatureDoesNotMatch)
                .element("AWSAccessKeyId", access_key_id)
                .element("StringToSign", string_to_sign)
                .element("SignatureProvided", signature)
                .element("CanonicalRequest", canonical_request),
            AuthError::TimeTooSkewed(time) => {
                S3Error::from(Code::RequestTimeTooSkewed).element("RequestTime", time)
            }
            AuthError::InvalidToken(text) => Code::InvalidToken.with(text),
            AuthError::InvalidRequest(text) => Code::InvalidRequest.with(text),
            AuthError::InvalidArgument(text) => Code::InvalidArgument.with(text),
            AuthError::Throttled => {
                Code::SlowDown.with("Too many failed signatures. Please reduce your request rate.")
            }
            AuthError::NotImplemented(text) => Code::NotImplemented.with(text),
        }
    }
}
