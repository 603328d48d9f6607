//! Bodies: plain with a SHA-256, aws-chunked with or without signatures and trailers.
//!
//! Memory is bounded: data goes from the body into the caller's buffer, and only what stands
//! between chunks passes through a small buffer here. A chunk's signature is over the whole chunk,
//! so it is checked at the chunk's end, when the caller has long seen its bytes; that is why
//! nothing is proven before [`PayloadReader::finish`].
//!
//! Source: AWS, "Signature Calculations for the Authorization Header: Transferring Payload in
//! Multiple Chunks" and "... Including Trailing Headers".

use super::sigv4::Signer;
use super::{AuthError, ChunkSigning, PayloadError, PayloadKind, Trailers};
use crate::http::{Body, Request};
use crate::limits::{MAX_CHUNK_LINE_BYTES, MAX_HEADERS, MAX_SIGNED_CHUNK_BYTES, MAX_TRAILER_BYTES};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read};

/// Holds lines and the data that came with them, in bytes; longer than any line.
const BUFFER_BYTES: usize = 8 * 1024;
/// SHA-256 of nothing, in hex.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The trailer that signs the others.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Reads a request's body, undoes aws-chunked and verifies what the request promised.
///
/// The bytes handed out are proven only when [`PayloadReader::finish`] has succeeded: nothing made
/// of them may be acknowledged before.
pub struct PayloadReader<'a, 'b> {
    body: &'a mut Body<'b>,
    length: Option<u64>,
    decoder: Decoder,
    failed: bool,
}

enum Decoder {
    Plain(Plain),
    Chunked(Box<Chunked>),
}

impl<'a, 'b> PayloadReader<'a, 'b> {
    pub(super) fn new(
        request: &Request,
        body: &'a mut Body<'b>,
        kind: PayloadKind,
    ) -> Result<Self, AuthError> {
        let announced = announced_trailers(request)?;
        let signing = match kind {
            PayloadKind::UnsignedChunks => None,
            PayloadKind::SignedChunks(signing) => Some(signing),
            PayloadKind::Unsigned | PayloadKind::Sha256(_) => {
                refuse_trailers(&announced)?;
                let sha256 = match kind {
                    PayloadKind::Sha256(expected) => Some((Sha256::new(), expected)),
                    _ => None,
                };
                let length = body.length();
                let decoder = Decoder::Plain(Plain { sha256, left: length, ended: false });
                return Ok(Self { body, length, decoder, failed: false });
            }
        };
        if signing.as_ref().is_some_and(|signing| !signing.trailer) {
            refuse_trailers(&announced)?;
        }
        let length = decoded_length(request)?;
        let decoder = Decoder::Chunked(Box::new(Chunked::new(length, signing, announced)));
        Ok(Self { body, length: Some(length), decoder, failed: false })
    }

    /// Length of the decoded body in bytes (Content-Length, or x-amz-decoded-content-length);
    /// `None` if the client sends plain chunked and does not say (MissingContentLength for a PUT).
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next bytes; 0 at the end (or for an empty `buf`). After an error everything is an
    /// error.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, PayloadError> {
        if self.failed {
            return Err(malformed("The body was refused before."));
        }
        let result = match &mut self.decoder {
            Decoder::Plain(plain) => plain.read(self.body, buf),
            Decoder::Chunked(chunked) => chunked.read(self.body, buf),
        };
        self.failed = result.is_err();
        result
    }

    /// Verifies hash, signatures, length and trailers; reads the end of the body if that is still
    /// to come (a caller need not have read up to the 0). TooLong if there are bytes that the
    /// caller has not taken.
    pub fn finish(self) -> Result<Trailers, PayloadError> {
        if self.failed {
            return Err(malformed("The body was refused before."));
        }
        match self.decoder {
            Decoder::Plain(plain) => plain.finish(self.body),
            Decoder::Chunked(chunked) => chunked.finish(self.body),
        }
    }
}

/// The names in x-amz-trailer, in lower case.
fn announced_trailers(request: &Request) -> Result<Vec<String>, AuthError> {
    let mut names = Vec::new();
    let values = request.headers.all("x-amz-trailer");
    for name in values.flat_map(|v| v.split(',')).map(str::trim).filter(|n| !n.is_empty()) {
        let name = name.to_ascii_lowercase();
        if name == TRAILER_SIGNATURE || names.len() == MAX_HEADERS {
            let text = "The value specified in the x-amz-trailer header is not supported";
            return Err(AuthError::InvalidRequest(text.to_owned()));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn refuse_trailers(announced: &[String]) -> Result<(), AuthError> {
    match announced.is_empty() {
        true => Ok(()),
        false => Err(AuthError::InvalidRequest(
            "x-amz-trailer needs an x-amz-content-sha256 of STREAMING-UNSIGNED-PAYLOAD-TRAILER or \
             STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
                .to_owned(),
        )),
    }
}

fn decoded_length(request: &Request) -> Result<u64, AuthError> {
    let text = request.headers.get("x-amz-decoded-content-length").ok_or_else(|| {
        let text = "You must provide the x-amz-decoded-content-length HTTP header.";
        AuthError::InvalidRequest(text.to_owned())
    })?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits);
    length.ok_or_else(|| {
        let text = "The x-amz-decoded-content-length header is not a number of bytes.";
        AuthError::InvalidArgument(text.to_owned())
    })
}

fn malformed(text: &str) -> PayloadError {
    PayloadError::Malformed(text.to_owned())
}

fn ended_early() -> PayloadError {
    malformed("The body ended before the length that its head announced.")
}

/// Reads at least one byte, or 0 at the end of the body.
fn read_some(body: &mut Body<'_>, buf: &mut [u8]) -> Result<usize, PayloadError> {
    loop {
        match body.read(buf) {
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            result => return result.map_err(PayloadError::Io),
        }
    }
}

/// A body as it is, with its SHA-256 if that is known.
struct Plain {
    sha256: Option<(Sha256, [u8; 32])>,
    /// Bytes still to come, if the head says so.
    left: Option<u64>,
    ended: bool,
}

impl Plain {
    fn read(&mut self, body: &mut Body<'_>, buf: &mut [u8]) -> Result<usize, PayloadError> {
        let most = self.left.map_or(buf.len(), |left| at_most(buf.len(), left));
        if most == 0 || self.ended {
            return Ok(0);
        }
        let n = read_some(body, &mut buf[..most])?;
        self.ended = n == 0;
        if let Some(left) = &mut self.left {
            *left -= n as u64;
            if n == 0 {
                return Err(ended_early());
            }
        }
        if let Some((sha256, _)) = &mut self.sha256 {
            sha256.update(&buf[..n]);
        }
        Ok(n)
    }

    fn finish(mut self, body: &mut Body<'_>) -> Result<Trailers, PayloadError> {
        if self.read(body, &mut [0])? > 0 {
            return Err(PayloadError::TooLong);
        }
        if let Some((sha256, expected)) = self.sha256
            && sha256.finalize()[..] != expected
        {
            return Err(PayloadError::Sha256Mismatch);
        }
        Ok(Trailers::new())
    }
}

fn at_most(len: usize, left: u64) -> usize {
    usize::try_from(left).map_or(len, |left| left.min(len))
}

/// Where in the framing we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a chunk's first line.
    Line,
    /// In a chunk's data, with so many bytes to come, or at the line end behind it.
    Data(u64),
    /// Behind the last byte of the body.
    End,
}

/// An aws-chunked body.
struct Chunked {
    buffer: Box<[u8; BUFFER_BYTES]>,
    start: usize,
    end: usize,
    state: State,
    /// Decoded bytes still to be announced by chunks.
    left: u64,
    signatures: Option<Signatures>,
    /// Names of trailers that have not come yet.
    announced: Vec<String>,
    trailers: Trailers,
}

impl Chunked {
    fn new(length: u64, signing: Option<ChunkSigning>, announced: Vec<String>) -> Self {
        Self {
            buffer: Box::new([0; BUFFER_BYTES]),
            start: 0,
            end: 0,
            state: State::Line,
            left: length,
            signatures: signing.map(Signatures::new),
            announced,
            trailers: Trailers::new(),
        }
    }

    fn read(&mut self, body: &mut Body<'_>, buf: &mut [u8]) -> Result<usize, PayloadError> {
        let mut n = 0;
        while n < buf.len() {
            match self.state {
                State::End => break,
                State::Data(left) if left > 0 => n += self.data(body, &mut buf[n..], left)?,
                State::Data(_) | State::Line => self.step(body)?,
            }
        }
        Ok(n)
    }

    fn finish(mut self, body: &mut Body<'_>) -> Result<Trailers, PayloadError> {
        loop {
            match self.state {
                State::End => return Ok(self.trailers),
                State::Data(left) if left > 0 => return Err(PayloadError::TooLong),
                State::Data(_) | State::Line => self.step(body)?,
            }
        }
    }

    /// Data of a chunk: from our buffer, or in large pieces right from the body.
    fn data(
        &mut self,
        body: &mut Body<'_>,
        buf: &mut [u8],
        left: u64,
    ) -> Result<usize, PayloadError> {
        let most = at_most(buf.len(), left);
        let n = if self.start == self.end && most >= BUFFER_BYTES / 2 {
            match read_some(body, &mut buf[..most])? {
                0 => return Err(ended_early()),
                n => n,
            }
        } else {
            if self.start == self.end {
                self.fill(body)?;
            }
            let n = most.min(self.end - self.start);
            buf[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
            self.start += n;
            n
        };
        if let Some(signatures) = &mut self.signatures {
            signatures.chunk.update(&buf[..n]);
        }
        self.state = State::Data(left - n as u64);
        Ok(n)
    }

    /// What stands between the data of two chunks, or behind the last one.
    fn step(&mut self, body: &mut Body<'_>) -> Result<(), PayloadError> {
        if matches!(self.state, State::Data(_)) {
            self.line_end(body)?;
            if let Some(signatures) = &mut self.signatures {
                signatures.end_chunk()?;
            }
            self.state = State::Line;
            return Ok(());
        }
        if self.is_bare_end(body) {
            self.state = State::End;
            return Ok(());
        }
        let size = self.chunk_line(body)?;
        if size > self.left {
            return Err(malformed("The chunks exceed x-amz-decoded-content-length."));
        }
        self.left -= size;
        if size > 0 {
            self.state = State::Data(size);
            return Ok(());
        }
        if self.left > 0 {
            return Err(malformed("The chunks end before x-amz-decoded-content-length."));
        }
        if let Some(signatures) = &mut self.signatures {
            signatures.end_chunk()?;
        }
        self.trailers(body)?;
        if self.start != self.end || read_some(body, &mut self.buffer[..1])? > 0 {
            return Err(malformed("There are bytes behind the end of the chunks."));
        }
        self.state = State::End;
        Ok(())
    }

    /// Whether the body of an empty object has no bytes at all, not even the last chunk: some
    /// clients send it so, and there is nothing that a signature would protect.
    fn is_bare_end(&self, body: &Body<'_>) -> bool {
        let trailing = self.signatures.as_ref().is_some_and(|s| s.signing.trailer);
        body.length() == Some(0) && self.left == 0 && self.announced.is_empty() && !trailing
    }

    /// A chunk's first line: its size in hex, and its signature if chunks are signed.
    fn chunk_line(&mut self, body: &mut Body<'_>) -> Result<u64, PayloadError> {
        let line = self.line(body, MAX_CHUNK_LINE_BYTES)?;
        let line = std::str::from_utf8(&self.buffer[line.start..line.end])
            .ok()
            .and_then(|line| line.strip_suffix('\r'))
            .ok_or_else(|| malformed("A chunk's first line is malformed."))?;
        let (size, signature) = match &self.signatures {
            None => (line, None),
            Some(_) => line
                .split_once(";chunk-signature=")
                .map(|(size, signature)| (size, Some(signature)))
                .ok_or_else(|| malformed("A chunk has no signature."))?,
        };
        // from_str_radix alone would take a sign.
        let is_size = (1..=16).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| is_size);
        let size = size.ok_or_else(|| malformed("A chunk's size is malformed."))?;
        if let (Some(signatures), Some(signature)) = (&mut self.signatures, signature) {
            if size > MAX_SIGNED_CHUNK_BYTES {
                return Err(PayloadError::TooLong);
            }
            signatures.begin_chunk(signature)?;
        }
        Ok(size)
    }

    /// The trailers and the empty line behind them.
    ///
    /// A line ends with CRLF. AWS's own example, and minio-go after it, also end one with LF and
    /// CRLF, so that is one line end too.
    fn trailers(&mut self, body: &mut Body<'_>) -> Result<(), PayloadError> {
        let mut left = MAX_TRAILER_BYTES;
        let mut signed = String::new();
        let mut proven = !self.signatures.as_ref().is_some_and(|s| s.signing.trailer);
        loop {
            let range = self.line(body, MAX_CHUNK_LINE_BYTES.min(left))?;
            left -= range.end - range.start + 1;
            let line = std::str::from_utf8(&self.buffer[range.start..range.end])
                .map_err(|_| trailer("A trailer is not UTF-8."))?;
            if line == "\r" {
                break;
            }
            let (text, bare) = match line.strip_suffix('\r') {
                Some(text) => (text, false),
                None => (line, true),
            };
            let (name, value) =
                text.split_once(':').ok_or_else(|| trailer("A trailer is not name:value."))?;
            if text.contains(|c: char| c.is_control() && c != '\t') {
                return Err(trailer("A trailer has control characters."));
            }
            let name = name.to_ascii_lowercase();
            let value = value.trim_matches([' ', '\t']).to_owned();
            if bare {
                self.line_end(body)?;
            }
            match &mut self.signatures {
                Some(signatures) if !proven && name == TRAILER_SIGNATURE => {
                    signatures.verify_trailers(&signed, &value)?;
                    proven = true;
                }
                Some(_) if proven => return Err(trailer("A trailer follows their signature.")),
                _ => {
                    signed.push_str(&format!("{name}:{value}\n"));
                    self.accept_trailer(name, value)?;
                }
            }
        }
        match self.announced.first() {
            Some(name) => Err(trailer(&format!("The trailer {name} is missing."))),
            None if !proven => Err(trailer("The signature of the trailers is missing.")),
            None => Ok(()),
        }
    }

    fn accept_trailer(&mut self, name: String, value: String) -> Result<(), PayloadError> {
        let Some(index) = self.announced.iter().position(|announced| *announced == name) else {
            return Err(trailer("A trailer came twice or was not announced by x-amz-trailer."));
        };
        self.announced.swap_remove(index);
        self.trailers.insert(name, value);
        Ok(())
    }

    /// Takes a line out of the buffer, without its LF; `most` bytes at most.
    fn line(
        &mut self,
        body: &mut Body<'_>,
        most: usize,
    ) -> Result<std::ops::Range<usize>, PayloadError> {
        let mut seen = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(at) = unread[seen..].iter().position(|b| *b == b'\n') {
                let line = self.start..self.start + seen + at;
                self.start = line.end + 1;
                return match line.end - line.start < most {
                    true => Ok(line),
                    false => Err(malformed("A line between chunks is too long.")),
                };
            }
            seen = unread.len();
            if seen >= most {
                return Err(malformed("A line between chunks is too long."));
            }
            self.fill(body)?;
        }
    }

    /// Takes CRLF out of the buffer.
    fn line_end(&mut self, body: &mut Body<'_>) -> Result<(), PayloadError> {
        while self.end - self.start < 2 {
            self.fill(body)?;
        }
        if self.buffer[self.start..self.start + 2] != *b"\r\n" {
            return Err(malformed("A line end (CRLF) is missing."));
        }
        self.start += 2;
        Ok(())
    }

    /// Reads more into the buffer, at least one byte. The buffer is never full here, since a line
    /// is much shorter.
    fn fill(&mut self, body: &mut Body<'_>) -> Result<(), PayloadError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match read_some(body, &mut self.buffer[self.end..])? {
            0 => Err(ended_early()),
            n => {
                self.end += n;
                Ok(())
            }
        }
    }
}

fn trailer(text: &str) -> PayloadError {
    PayloadError::Trailer(text.to_owned())
}

/// The chain of signatures: each is over the one before it.
struct Signatures {
    signing: ChunkSigning,
    signer: Signer,
    /// The last proven signature, in hex; at first that of the head.
    previous: String,
    /// The signature that the chunk at hand must have, in hex.
    expected: String,
    /// The hash of the chunk at hand.
    chunk: Sha256,
}

impl Signatures {
    fn new(signing: ChunkSigning) -> Self {
        let signer = Signer::new(signing.key);
        let previous = signing.seed.clone();
        Self { signing, signer, previous, expected: String::new(), chunk: Sha256::new() }
    }

    fn begin_chunk(&mut self, signature: &str) -> Result<(), PayloadError> {
        let is_hex = signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hex {
            return Err(malformed("A chunk's signature is malformed."));
        }
        self.expected.clear();
        self.expected.push_str(signature);
        self.expected.make_ascii_lowercase();
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), PayloadError> {
        let hash = hex::encode(self.chunk.finalize_reset());
        let text = self.text("AWS4-HMAC-SHA256-PAYLOAD", &[EMPTY_SHA256, &hash]);
        if !self.signer.verify(text.as_bytes(), &self.expected) {
            return Err(PayloadError::ChunkSignature);
        }
        std::mem::swap(&mut self.previous, &mut self.expected);
        Ok(())
    }

    /// Verifies the signature of the trailers, which are given as `name:value` lines.
    fn verify_trailers(&self, lines: &str, signature: &str) -> Result<(), PayloadError> {
        let hash = hex::encode(Sha256::digest(lines));
        let text = self.text("AWS4-HMAC-SHA256-TRAILER", &[&hash]);
        match self.signer.verify(text.as_bytes(), signature) {
            true => Ok(()),
            false => Err(PayloadError::ChunkSignature),
        }
    }

    fn text(&self, algorithm: &str, hashes: &[&str]) -> String {
        let ChunkSigning { date, scope, .. } = &self.signing;
        let mut text = format!("{algorithm}\n{date}\n{scope}\n{}", self.previous);
        for hash in hashes {
            text.push('\n');
            text.push_str(hash);
        }
        text
    }
}
