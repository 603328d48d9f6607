//! What a handler answers.

use std::borrow::Cow;
use std::io::{self, Write};

/// The bytes of a body that is produced while it is sent.
pub trait Content: Send {
    /// Writes all of it. An error closes the connection, so the client sees that the body is not
    /// complete; the implementation logs why.
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// A response's body.
pub enum Payload {
    /// None; Content-Length is 0, or left out where the status forbids it (204, 304).
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes, produced while they are sent.
    Stream(u64, Box<dyn Content>),
    /// For HEAD: the length that GET would send.
    Length(u64),
}

/// A response. Date, Content-Length and Connection are added when it is sent.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields; control characters in a value are replaced by spaces when it is sent.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body; never sent for HEAD, but its length is.
    pub payload: Payload,
    /// Close the connection after it.
    pub close: bool,
    /// Called once when the response has been sent, or has failed to be.
    pub done: Option<Done>,
}

/// What became of a response: the bytes of its body that were sent, and whether that was all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Bytes of the body; 0 if the response was cut off.
    pub body_bytes: u64,
    /// The client's socket took all of it.
    pub complete: bool,
}

/// See [`Response::done`].
pub type Done = Box<dyn FnOnce(Sent) + Send>;

impl Response {
    /// A response without header fields and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), payload: Payload::Empty, close: false, done: None }
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// The length of the body, in bytes.
    pub fn length(&self) -> u64 {
        match &self.payload {
            Payload::Empty => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Stream(len, _) | Payload::Length(len) => *len,
        }
    }
}
