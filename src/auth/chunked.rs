//! Bodies: plain with a SHA-256, aws-chunked with or without signatures and trailers.

use super::{PayloadError, Trailers};
use crate::http::Body;

/// Reads a request's body, undoes aws-chunked and verifies what the request promised.
///
/// The bytes handed out are proven only when [`PayloadReader::finish`] has succeeded: nothing made
/// of them may be acknowledged before.
pub struct PayloadReader<'a, 'b> {
    body: &'a mut Body<'b>,
}

impl PayloadReader<'_, '_> {
    /// Length of the decoded body in bytes (Content-Length, or x-amz-decoded-content-length);
    /// `None` if the client sends plain chunked and does not say (MissingContentLength for a PUT).
    pub fn length(&self) -> Option<u64> {
        todo!()
    }

    /// The next bytes; 0 at the end.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, PayloadError> {
        let _ = (buf, &self.body);
        todo!()
    }

    /// Verifies hash, signatures, length and trailers; reads the end of the body if that is still
    /// to come (a caller need not have read up to the 0).
    pub fn finish(self) -> Result<Trailers, PayloadError> {
        todo!()
    }
}
