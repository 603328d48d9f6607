//! The line that each request leaves in the server's own log, when its response has been sent.
//!
//! It is a log record with fields. As text its fields are separated by spaces, in this order: method,
//! operation, bucket, key, status, error code, bytes of the body, microseconds, requester, request id,
//! the client's address; `-` stands for nothing, `cut` for a response that did not get through, and
//! names are percent-encoded, so that a line is always a line. In JSON each has its own name.

use super::{Code, Label, uri};
use crate::http::{Request, Response, Sent};
use crate::types::{BucketName, ObjectKey};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

/// The target of these records, by which they are known from others.
pub const TARGET: &str = "access";

/// What is known of a request before its response is sent.
pub(super) struct AccessLine {
    method: &'static str,
    operation: Option<&'static str>,
    bucket: Option<BucketName>,
    key: Option<ObjectKey>,
    status: u16,
    code: Option<&'static str>,
    received: Instant,
    requester: Option<String>,
    id: String,
    address: IpAddr,
}

impl AccessLine {
    /// `None` if nobody wants to read it.
    pub fn new(
        request: &Request,
        label: Label,
        response: &Response,
        code: Option<Code>,
        address: IpAddr,
    ) -> Option<Self> {
        if !log::log_enabled!(target: TARGET, log::Level::Info) {
            return None;
        }
        Some(Self {
            method: request.method.as_str(),
            operation: Some(label.operation).filter(|name| !name.is_empty()),
            bucket: label.bucket,
            key: label.key,
            status: response.status,
            code: code.map(Code::name),
            received: request.received,
            requester: label.requester,
            id: request.id.clone(),
            address: address.to_canonical(),
        })
    }

    /// Writes it, now that the response has been sent.
    pub fn write(self, sent: Sent) {
        let took = u64::try_from(self.received.elapsed().as_micros()).unwrap_or(u64::MAX);
        log::info!(
            target: TARGET,
            method = self.method,
            operation = self.operation,
            bucket = self.bucket.as_ref().map(BucketName::as_str),
            key = self.key.as_ref().map(ObjectKey::as_str),
            status = self.status,
            code = self.code,
            bytes = sent.body_bytes,
            complete = sent.complete,
            duration_us = took,
            requester = self.requester.as_deref(),
            request_id = self.id.as_str(),
            address:% = self.address;
            "{}", Text(&self, sent, took)
        );
    }
}

/// The line as text.
struct Text<'a>(&'a AccessLine, Sent, u64);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(line, sent, took) = self;
        let encoded =
            |text: Option<&str>| text.map_or_else(|| "-".to_owned(), |t| uri::encode(t, true));
        write!(
            f,
            "{} {} {} {} {} {} ",
            line.method,
            line.operation.unwrap_or("-"),
            line.bucket.as_ref().map_or("-", BucketName::as_str),
            encoded(line.key.as_ref().map(ObjectKey::as_str)),
            line.status,
            line.code.unwrap_or("-"),
        )?;
        match sent.complete {
            true => write!(f, "{}", sent.body_bytes)?,
            false => f.write_str("cut")?,
        }
        let requester = encoded(line.requester.as_deref());
        write!(f, " {took} {requester} {} {}", line.id, line.address)
    }
}
