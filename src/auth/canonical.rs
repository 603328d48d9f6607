//! Canonical requests: what a signature is computed from.
//!
//! S3 does not normalise paths: `.`, `..` and `//` stay. Clients differ in what they leave
//! unescaped, so path and query are decoded and encoded again with S3's own set. A client that
//! signed its path or query exactly as it sent it, in another encoding, is accepted as well
//! ([`Form`]); both forms mean the same bytes, so this widens what is accepted but not what a
//! signature stands for.
//!
//! Source: AWS, "Authenticating Requests: Using the Authorization Header (Signature Version 4)".

use crate::http::{Headers, Request};
use std::ops::Range;

/// The header that holds the payload's hash.
pub(super) const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// What of a request is taken as it came instead of decoded and encoded again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Form {
    pub raw_path: bool,
    pub raw_query: bool,
}

impl Form {
    /// The forms to try, the usual one first.
    pub(super) const ALL: [Self; 4] = [
        Self { raw_path: false, raw_query: false },
        Self { raw_path: true, raw_query: false },
        Self { raw_path: false, raw_query: true },
        Self { raw_path: true, raw_query: true },
    ];
}

/// Writes the canonical request. `signed_headers` are lower-case names, joined by `;`; `host`
/// is the value that counts as Host. The signature in the query never belongs to it.
pub(super) fn canonical_request(
    out: &mut Vec<u8>,
    request: &Request,
    form: Form,
    signed_headers: &str,
    host: &str,
    payload_hash: &str,
) {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b'\n');
    push_path(out, &request.path, form.raw_path);
    out.push(b'\n');
    push_query(out, &request.query, form.raw_query);
    out.push(b'\n');
    for name in signed_headers.split(';') {
        push_header(out, &request.headers, name, host);
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload_hash.as_bytes());
}

/// Writes the path, which starts with `/`.
pub(super) fn push_path(out: &mut Vec<u8>, path: &str, raw: bool) {
    match raw {
        true => out.extend_from_slice(path.as_bytes()),
        false => recode(out, path, Part::Path),
    }
}

/// Writes the query: sorted by name, then by value; a parameter without `=` gets an empty value.
pub(super) fn push_query(out: &mut Vec<u8>, query: &str, raw: bool) {
    if query.is_empty() {
        return;
    }
    let mut text = Vec::with_capacity(query.len() + query.len() / 4);
    let mut pairs: Vec<(Range<usize>, Range<usize>)> = Vec::with_capacity(8);
    let mut put = |part: &str| {
        let start = text.len();
        match raw {
            true => text.extend_from_slice(part.as_bytes()),
            false => recode(&mut text, part, Part::Query),
        }
        start..text.len()
    };
    for (name, value) in parameters(query) {
        if !name.eq_ignore_ascii_case("X-Amz-Signature") {
            pairs.push((put(name), put(value)));
        }
    }
    let bytes = |range: &Range<usize>| &text[range.clone()];
    pairs.sort_by(|a, b| (bytes(&a.0), bytes(&a.1)).cmp(&(bytes(&b.0), bytes(&b.1))));
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(bytes(name));
        out.push(b'=');
        out.extend_from_slice(bytes(value));
    }
}

/// The parameters of a query, still encoded; empty ones (`&&`) do not count.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Writes `name:value` and a line feed: every value of the field, joined by commas.
fn push_header(out: &mut Vec<u8>, headers: &Headers, name: &str, host: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    if name == "host" {
        push_value(out, host);
    } else {
        for (index, value) in headers.all(name).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_value(out, value);
        }
    }
    out.push(b'\n');
}

/// Writes a header's value: trimmed, and with each run of blanks as one space.
fn push_value(out: &mut Vec<u8>, value: &str) {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let bytes = value.as_bytes();
    if !bytes.contains(&b' ') && !bytes.contains(&b'\t') {
        out.extend_from_slice(bytes);
        return;
    }
    let words = bytes.split(blank).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Query,
}

/// What may stand unescaped: letters, digits and `-._~` (RFC 3986, 2.3).
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        i += 1;
    }
    table
};

/// Decodes and encodes again. A `+` means itself in a path and a space in a query, which is how
/// S3 reads it; a `%` that is not followed by two hex digits means itself.
fn recode(out: &mut Vec<u8>, text: &str, part: Part) {
    let bytes = text.as_bytes();
    let keep = |b: u8| UNRESERVED[usize::from(b)] || (b == b'/' && part == Part::Path);
    let mut rest = bytes;
    while !rest.is_empty() {
        let run = rest.iter().position(|b| !keep(*b)).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..run]);
        rest = &rest[run..];
        let Some(&first) = rest.first() else { break };
        let (byte, used) = match (first, escaped(rest)) {
            (b'%', Some(byte)) => (byte, 3),
            (b'+', _) if part == Part::Query => (b' ', 1),
            (byte, _) => (byte, 1),
        };
        if keep(byte) {
            out.push(byte);
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(&[b'%', digits[0], digits[1]]);
        }
        rest = &rest[used..];
    }
}

/// The byte that `%XX` at the start of `bytes` stands for.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// A query parameter's value, decoded; `None` if it is not UTF-8 then.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(&first) = rest.first() {
        let (byte, used) = match (first, escaped(rest)) {
            (b'%', Some(byte)) => (byte, 3),
            (b'+', _) => (b' ', 1),
            (byte, _) => (byte, 1),
        };
        out.push(byte);
        rest = &rest[used..];
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> String {
        let mut out = Vec::new();
        push_path(&mut out, text, false);
        String::from_utf8(out).unwrap()
    }

    fn query(text: &str) -> String {
        let mut out = Vec::new();
        push_query(&mut out, text, false);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_are_encoded_once_and_not_normalised() {
        assert_eq!(path("/a/../b//./c"), "/a/../b//./c");
        assert_eq!(path("/a+b c$d"), "/a%2Bb%20c%24d");
        assert_eq!(path("/a%2bb%20c%24d%7e"), "/a%2Bb%20c%24d~");
        assert_eq!(path("/\u{e9}%e3%81%82"), "/%C3%A9%E3%81%82");
        assert_eq!(path("/100%/%zz/%2"), "/100%25/%25zz/%252");
        assert_eq!(path("/a%2Fb%252F"), "/a/b%252F");
    }

    #[test]
    fn queries_are_sorted_by_their_encoded_form() {
        assert_eq!(query("b=2&a=1&&a=0&acl"), "a=0&a=1&acl=&b=2");
        assert_eq!(query("prefix=a+b&x=a%2Bb%2f/"), "prefix=a%20b&x=a%2Bb%2F%2F");
        assert_eq!(query("a=b=c&=v"), "=v&a=b%3Dc");
        assert_eq!(query("x-amz-signature=1&X-Amz-Signature=2&a"), "a=");
        assert_eq!(query("A=&a=&%61b=&Z"), "A=&Z=&a=&ab=");
    }

    #[test]
    fn header_values_lose_extra_blanks_only() {
        let headers = Headers::new([("x", "  a   b\t c "), ("x", "\u{3042}  \"d  e\"")]);
        let mut out = Vec::new();
        push_header(&mut out, &headers, "x", "");
        push_header(&mut out, &headers, "absent", "");
        push_header(&mut out, &headers, "host", "h:80");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "x:a b c,\u{3042} \"d e\"\nabsent:\nhost:h:80\n"
        );
    }
}
