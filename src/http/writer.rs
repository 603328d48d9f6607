//! Writes a response: its head and the first bytes of its body go out with one call.

use super::response::{Payload, Response};
use super::wire::Wire;
use std::cell::RefCell;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Pieces of a body below this size are gathered, in bytes: copying them is cheaper than handing
/// the kernel one more slice.
const SMALL_PIECE_BYTES: usize = 4 * 1024;
/// Gathered bytes, the head among them, that are sent without waiting for more.
const GATHER_BYTES: usize = 32 * 1024;

/// How the connection goes on after the response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Persistence {
    /// Another request may follow.
    Keep,
    /// The same, said to a HTTP/1.0 client, which does not expect it.
    KeepOld,
    /// It is closed.
    Close,
}

/// Sends a response on `wire`. `bodiless`: to a HEAD request. `buffer` is scratch memory.
///
/// An error means that the response is not complete, so the connection must be closed.
pub(super) fn write(
    wire: &mut Wire,
    response: Response,
    persistence: Persistence,
    bodiless: bool,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    buffer.clear();
    append_head(buffer, &response, persistence);
    if bodiless || forbids_body(response.status) {
        return wire.send(buffer, b"");
    }
    match response.payload {
        Payload::Empty | Payload::Length(0) => wire.send(buffer, b""),
        Payload::Bytes(bytes) if bytes.len() < SMALL_PIECE_BYTES => {
            buffer.extend_from_slice(&bytes);
            wire.send(buffer, b"")
        }
        Payload::Bytes(bytes) => wire.send(buffer, &bytes),
        Payload::Stream(length, mut content) => {
            let mut gather = Gather { wire, pending: buffer, left: length };
            content.write_to(&mut gather)?;
            gather.finish()
        }
        Payload::Length(length) => {
            wire.send(buffer, b"")?;
            Err(short(length))
        }
    }
}

/// A whole response as bytes, for a client that is not worth a thread. A streamed body is left
/// out, with the length that it would have had.
pub(super) fn render(response: &Response) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    append_head(&mut bytes, response, Persistence::Close);
    if let Payload::Bytes(body) = &response.payload {
        bytes.extend_from_slice(body);
    }
    bytes
}

fn forbids_body(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

fn short(left: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the body ended {left} bytes early"))
}

/// Sends what a [`super::Content`] writes, exactly as many bytes as were promised.
struct Gather<'a> {
    wire: &'a mut Wire,
    /// The head, then small pieces of the body: not sent yet.
    pending: &'a mut Vec<u8>,
    left: u64,
}

impl Gather<'_> {
    fn finish(mut self) -> io::Result<()> {
        // What is too short is not even sent as far as it goes: no client may take it for whole.
        if self.left > 0 {
            return Err(short(self.left));
        }
        self.flush()
    }
}

impl Write for Gather<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.left == 0 && !piece.is_empty() {
            // The client gets what it was promised, and then the connection ends.
            self.flush()?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than promised"));
        }
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        let piece = &piece[..count];
        if count < SMALL_PIECE_BYTES && self.pending.len() + count <= GATHER_BYTES {
            self.pending.extend_from_slice(piece);
        } else {
            self.wire.send(self.pending, piece)?;
            self.pending.clear();
        }
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.send(self.pending, b"")?;
        self.pending.clear();
        Ok(())
    }
}

fn append_head(out: &mut Vec<u8>, response: &Response, persistence: Persistence) {
    let status = response.status;
    out.extend_from_slice(b"HTTP/1.1 ");
    append_number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\nDate: ");
    append_date(out);
    for (name, value) in &response.headers {
        append_field(out, name, value);
    }
    if !forbids_body(status) {
        out.extend_from_slice(b"\r\nContent-Length: ");
        append_number(out, response.length());
    }
    out.extend_from_slice(match persistence {
        Persistence::Keep => b"",
        Persistence::KeepOld => b"\r\nConnection: keep-alive",
        Persistence::Close => b"\r\nConnection: close",
    });
    out.extend_from_slice(b"\r\n\r\n");
}

/// Leaves out fields that are ours to send and names that are not tokens (they may come from the
/// fields of a form): either would let a stored name or value shape the message.
fn append_field(out: &mut Vec<u8>, name: &str, value: &str) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let ours = ["date", "content-length", "connection", "transfer-encoding"];
    if name.is_empty() || !name.bytes().all(token) {
        return;
    }
    if ours.iter().any(|o| o.eq_ignore_ascii_case(name)) {
        return;
    }
    out.extend_from_slice(b"\r\n");
    append_name(out, name);
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value.as_bytes());
    for byte in &mut out[start..] {
        // RFC 9110, 5.5: of the control characters only the tab may stand in a value.
        if byte.is_ascii_control() && *byte != b'\t' {
            *byte = b' ';
        }
    }
}

/// Appends a field's name as AWS spells it: Content-Type, ETag, but x-amz-request-id. Names do not
/// depend on case (RFC 9110, 5.1), yet scripts look for the spelling that they have always seen.
fn append_name(out: &mut Vec<u8>, name: &str) {
    let start = out.len();
    out.extend_from_slice(if name.eq_ignore_ascii_case("etag") {
        b"ETag"
    } else {
        name.as_bytes()
    });
    let written = &mut out[start..];
    if written.starts_with(b"x-") {
        return;
    }
    let mut first = true;
    for byte in written {
        if first {
            byte.make_ascii_uppercase();
        }
        first = *byte == b'-';
    }
}

fn append_number(out: &mut Vec<u8>, number: u64) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "{number}");
}

/// Appends the date; it is formatted once a second.
fn append_date(out: &mut Vec<u8>) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(of, text)| {
        if *of != seconds || text.is_empty() {
            *text = httpdate::fmt_http_date(now);
            *of = seconds;
        }
        out.extend_from_slice(text.as_bytes());
    });
}

/// The reason phrase; clients don't look at it, people do.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response) -> String {
        String::from_utf8(render(response)).expect("all parts are UTF-8")
    }

    #[test]
    fn values_and_names_cannot_shape_the_message() {
        let response = Response::new(200)
            .header("x-amz-meta-a", "b\r\nSet-Cookie: c\0d\u{1b}[e\tf\u{7f}")
            .header("x-amz-meta-\u{e4}", "v")
            .header("x-amz-meta-b\r\nEvil: 1", "v")
            .header("Content-Length", "99")
            .header("x-amz-meta-name", "J\u{f6}rg")
            .payload(Payload::Bytes(b"body".to_vec()));
        let text = text(&response);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{text}");
        assert!(text.contains("\r\nx-amz-meta-a: b  Set-Cookie: c d [e\tf \r\n"), "{text}");
        assert!(text.contains("\r\nx-amz-meta-name: J\u{f6}rg\r\n"), "{text}");
        assert!(text.ends_with("\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"), "{text}");
        assert!(!text.contains("99") && !text.contains("Evil") && !text.contains(": v"), "{text}");
    }

    #[test]
    fn names_are_spelled_as_scripts_look_for_them() {
        let mut response = Response::new(200);
        for name in ["etag", "content-type", "last-modified", "server", "x-amz-version-id"] {
            response = response.header(name, "v");
        }
        let text = text(&response.header("WWW-Authenticate", "v"));
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(": v")).collect();
        let wanted = [
            "ETag",
            "Content-Type",
            "Last-Modified",
            "Server",
            "x-amz-version-id",
            "WWW-Authenticate",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn a_status_without_a_body_has_no_length() {
        for status in [204, 304] {
            assert!(!text(&Response::new(status)).contains("Content-Length"));
        }
        assert!(text(&Response::new(200)).contains("\r\nContent-Length: 0\r\n"));
        assert!(
            text(&Response::new(200).payload(Payload::Length(7))).contains("Content-Length: 7\r\n")
        );
    }
}
