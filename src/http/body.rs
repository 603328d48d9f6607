//! The body of a request, as the handler reads it.

use std::io::{self, Read};

/// A request's body: the decoded bytes of a `Content-Length` or chunked message.
///
/// The interim response `100 Continue` is sent when it is first read, if the client waits for it.
/// Reading past the end gives 0 bytes. A connection that ends early, a malformed chunk or a
/// client that makes no progress is an error, never an early end.
pub struct Body<'a> {
    length: Option<u64>,
    reader: &'a mut dyn Read,
}

impl<'a> Body<'a> {
    /// A body of `length` bytes (`None`: chunked, so not known before its end).
    pub fn new(length: Option<u64>, reader: &'a mut dyn Read) -> Self {
        Self { length, reader }
    }

    /// Its length in bytes if the head says so; 0 for a request without a body.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}
