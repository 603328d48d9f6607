//! The body of a request: as the handler reads it, and as it stands on the wire.

use super::chunked::{Chunked, Malformed};
use super::head::Framing;
use super::wire::{Wait, Wire};
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Buffer for a body that nobody wants, in bytes (on the stack).
const DRAIN_BUFFER_BYTES: usize = 16 * 1024;

/// A request's body: the decoded bytes of a `Content-Length` or chunked message.
///
/// The interim response `100 Continue` is sent when it is first read, if the client waits for it.
/// Reading past the end gives 0 bytes. A connection that ends early (`UnexpectedEof`), a malformed
/// chunk (`InvalidData`) or a client that makes no progress (`TimedOut`) is an error, never an
/// early end; the error stays, and the connection is closed after the response.
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

/// What of the body is still to come.
enum Left {
    Length(u64),
    Chunked(Chunked),
}

/// Reads one body off the wire and stops at its end.
pub(super) struct BodyReader<'w> {
    wire: &'w mut Wire,
    left: Left,
    /// The client waits for `100 Continue`.
    expects: bool,
    failed: Option<io::ErrorKind>,
    progress: Duration,
}

impl<'w> BodyReader<'w> {
    /// The body that stands next on the wire. `progress`: how long the client may send nothing.
    pub(super) fn new(
        wire: &'w mut Wire,
        framing: Framing,
        expects: bool,
        progress: Duration,
    ) -> Self {
        let left = match framing {
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(Chunked::new()),
        };
        Self { wire, left, expects, failed: None, progress }
    }

    /// True if the whole body has been read, so that the next request follows.
    pub(super) fn is_done(&self) -> bool {
        match &self.left {
            Left::Length(left) => *left == 0,
            Left::Chunked(chunked) => chunked.is_done(),
        }
    }

    /// Drops what is left of the body, within bounds. True if the next request follows.
    pub(super) fn drain(&mut self, bytes: u64, time: Duration) -> bool {
        if self.is_done() {
            return self.go_on().is_ok();
        }
        // A client that waits for 100 may send the body or leave it out once it sees the final
        // response: what comes next on this connection can't be told apart.
        if self.expects || self.failed.is_some() {
            return false;
        }
        if matches!(self.left, Left::Length(left) if left > bytes) {
            return false;
        }
        let deadline = Instant::now() + time;
        let mut budget = bytes;
        let mut scratch = [0; DRAIN_BUFFER_BYTES];
        loop {
            match self.read_next(&mut scratch, deadline.saturating_duration_since(Instant::now())) {
                Ok(0) => return self.is_done(),
                Ok(count) if count as u64 <= budget => budget -= count as u64,
                Ok(_) | Err(_) => return false,
            }
            if self.is_done() {
                return true;
            }
        }
    }

    /// Sends `100 Continue` if the client waits for it.
    ///
    /// Also where the body has begun to arrive, or there is none: botocore takes a final response
    /// that comes without it for an early refusal, and then misreads the next response on the
    /// connection.
    fn go_on(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.expects) {
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n", b"")?;
        }
        Ok(())
    }

    fn read_next(&mut self, buf: &mut [u8], patience: Duration) -> io::Result<usize> {
        self.go_on()?;
        match &mut self.left {
            Left::Length(left) => {
                let count = read_part(self.wire, buf, *left, patience)?;
                *left -= count as u64;
                Ok(count)
            }
            Left::Chunked(chunked) => loop {
                if chunked.is_done() {
                    return Ok(0);
                }
                if chunked.data_left() > 0 {
                    let count = read_part(self.wire, buf, chunked.data_left(), patience)?;
                    chunked.took(count as u64);
                    return Ok(count);
                }
                if self.wire.buffered().is_empty() && self.wire.fill(Wait::UpTo(patience))? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let used = chunked.advance(self.wire.buffered())?;
                self.wire.consume(used);
            },
        }
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.is_done() {
            return Ok(0);
        }
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        let result = self.read_next(buf, self.progress);
        if let Err(error) = &result {
            self.failed = Some(error.kind());
        }
        result
    }
}

/// Reads at least one and at most `most` bytes into `buf`.
fn read_part(wire: &mut Wire, buf: &mut [u8], most: u64, time: Duration) -> io::Result<usize> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(buf.len());
    match wire.read(&mut buf[..most], time)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, malformed.0)
    }
}
