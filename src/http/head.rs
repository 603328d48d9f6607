//! The head of a request: where it ends, and what it says. Strict where two readers of one
//! message could disagree about its length or its host (RFC 9112, 11.2), since JOG may stand
//! behind a proxy; what is refused is refused with 400 and the connection closed.

use super::Method;
use super::request::Headers;
use crate::limits::MAX_HEADERS;
use httparse::{Error, Status};
use std::mem::MaybeUninit;

/// How long the body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// So many bytes; 0 without a body.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// Why a head is refused: the status and a text for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    /// The status code.
    pub(super) status: u16,
    /// The reason, as text for the client.
    pub(super) reason: &'static str,
}

/// The end of a head, looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scan {
    /// The head is the first so many bytes, its empty line included.
    Complete(usize),
    /// It has not ended in the bytes so far; go on at this one.
    Partial(usize),
}

/// What a head says.
#[derive(Debug)]
pub(super) struct Head {
    /// The method.
    pub(super) method: Method,
    /// The path, as it came.
    pub(super) path: String,
    /// The query, as it came.
    pub(super) query: String,
    /// The fields.
    pub(super) headers: Headers,
    /// How long the body is.
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    /// The client is willing to send another request on this connection.
    pub(super) keep_alive: bool,
    /// HTTP/1.0, where keeping the connection must be confirmed.
    pub(super) old: bool,
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: 400, reason }
}

/// Looks for the end of the head in `bytes`, of which the first `seen` were looked at before.
///
/// httparse takes a bare LF for a line end, so line ends are checked here: every CR stands before
/// an LF and every LF behind a CR. `bytes` must not start with an empty line.
pub(super) fn scan(bytes: &[u8], seen: usize) -> Result<Scan, Refusal> {
    const LINE_END: Refusal = bad("lines must end with CR LF");
    let mut at = seen;
    while let Some(offset) = bytes[at..].iter().position(|&b| b == b'\r' || b == b'\n') {
        at += offset;
        if bytes[at] == b'\n' {
            return Err(LINE_END);
        }
        match bytes.get(at + 1) {
            None => return Ok(Scan::Partial(at)),
            Some(b'\n') if bytes[..at].ends_with(b"\r\n") => return Ok(Scan::Complete(at + 2)),
            Some(b'\n') => at += 2,
            Some(_) => return Err(LINE_END),
        }
    }
    Ok(Scan::Partial(bytes.len()))
}

/// Parses a complete head, as [`scan`] found it.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(bad("malformed request")),
        Err(error) => return Err(syntax(error, bytes)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("malformed request line"));
    };
    let method = Method::parse(method);
    let (authority, path, query) = split_target(target, method)?;
    let mut headers = Headers::with_capacity(parsed.headers.len(), bytes.len());
    let mut facts = Facts::default();
    for field in parsed.headers.iter() {
        let value = std::str::from_utf8(field.value)
            .map_err(|_| bad("header values must be UTF-8"))?
            .trim_matches([' ', '\t']);
        facts.add(headers.push(field.name, value), value)?;
    }
    let old = minor == 0;
    if facts.hosts == 0 && !old {
        return Err(bad("a Host header is required"));
    }
    if let Some(authority) = authority {
        // RFC 9112, 3.2.2: the target's host counts and the Host header does not.
        valid_host(authority)?;
        headers = Headers::new(headers.iter().filter(|(name, _)| *name != "host"));
        headers.push("host", authority);
    }
    Ok(Head {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        framing: facts.framing(old)?,
        expects: facts.expects(old),
        keep_alive: !facts.close && (!old || facts.keep_alive),
        headers,
        old,
    })
}

/// The refusal of a head that httparse does not take.
fn syntax(error: Error, bytes: &[u8]) -> Refusal {
    match error {
        Error::TooManyHeaders => Refusal { status: 431, reason: "too many headers" },
        Error::Version => {
            let line = bytes.split(|&b| b == b'\r').next().unwrap_or_default();
            // The third word, with nothing behind it: more are a target with a space in it.
            match line.splitn(3, |&b| b == b' ').nth(2) {
                Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => {
                    Refusal { status: 505, reason: "only HTTP/1.1 and HTTP/1.0 are served" }
                }
                _ => bad("malformed HTTP version"),
            }
        }
        Error::HeaderName => bad("malformed header name"),
        Error::HeaderValue => bad("malformed header value"),
        _ => bad("malformed request line"),
    }
}

/// Authority, path and query of a request target (RFC 9112, 3.2).
fn split_target(target: &str, method: Method) -> Result<(Option<&str>, &str, &str), Refusal> {
    if target == "*" && method == Method::Options {
        return Ok((None, "*", ""));
    }
    if target.starts_with('/') {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        return Ok((None, path, query));
    }
    let rest = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
        .ok_or(bad("the request target must start with a slash"))?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(bad("the request target has no host"));
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Ok((Some(authority), if path.is_empty() { "/" } else { path }, query))
}

/// Refuses a host that another reader could take for something else.
fn valid_host(host: &str) -> Result<(), Refusal> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(&b);
    if host.bytes().all(fits) { Ok(()) } else { Err(bad("malformed host")) }
}

/// What the fields say about the message itself.
#[derive(Default)]
struct Facts {
    hosts: usize,
    length: Option<u64>,
    encoding: bool,
    waits: bool,
    close: bool,
    keep_alive: bool,
}

impl Facts {
    fn add(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "host" => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(bad("more than one Host header"));
                }
                valid_host(value)?;
            }
            "content-length" => {
                // Not even the same length twice: the next reader may take only one of them.
                if self.length.is_some() {
                    return Err(bad("more than one Content-Length header"));
                }
                if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad("malformed Content-Length header"));
                }
                let length = value.parse().map_err(|_| bad("Content-Length is too large"))?;
                self.length = Some(length);
            }
            "transfer-encoding" => {
                if self.encoding || !value.eq_ignore_ascii_case("chunked") {
                    return Err(bad("the only Transfer-Encoding is chunked"));
                }
                self.encoding = true;
            }
            "expect" => {
                // Another expectation is not met, and need not be (RFC 9110, 10.1.1); AWS ignores
                // it too.
                self.waits |= value.eq_ignore_ascii_case("100-continue");
            }
            "connection" => {
                for option in value.split(',').map(|o| o.trim_matches([' ', '\t'])) {
                    self.close |= option.eq_ignore_ascii_case("close");
                    self.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, old: bool) -> Result<Framing, Refusal> {
        match (self.length, self.encoding) {
            (Some(_), true) => Err(bad("Content-Length together with Transfer-Encoding")),
            (None, true) if old => Err(bad("HTTP/1.0 has no Transfer-Encoding")),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }

    fn expects(&self, old: bool) -> bool {
        // RFC 9110, 10.1.1: a 1.0 client does not know interim responses.
        self.waits && !old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, Refusal> {
        head_of(text.as_bytes())
    }

    fn head_of(bytes: &[u8]) -> Result<Head, Refusal> {
        match scan(bytes, 0)? {
            Scan::Complete(length) => parse(&bytes[..length]),
            Scan::Partial(_) => Err(bad("partial")),
        }
    }

    fn with(fields: &str) -> Result<Head, Refusal> {
        head(&format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
    }

    fn status(result: Result<Head, Refusal>) -> u16 {
        result.map_or_else(|refusal| refusal.status, |_| 200)
    }

    #[test]
    fn the_end_is_found_however_it_arrives() {
        let bytes = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET";
        let end = bytes.len() - 3;
        assert_eq!(scan(bytes, 0), Ok(Scan::Complete(end)));
        let mut seen = 0;
        for length in 1..end {
            match scan(&bytes[..length], seen) {
                Ok(Scan::Partial(next)) => seen = next,
                other => panic!("{other:?} at {length}"),
            }
        }
        assert_eq!(scan(&bytes[..end], seen), Ok(Scan::Complete(end)));
        for bad in [&b"GET / HTTP/1.1\n"[..], b"GET / HTTP/1.1\rx", b"GET / HTTP/1.1\r\n\n"] {
            assert!(scan(bad, 0).is_err());
        }
        assert!(scan(b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", 0).is_err());
    }

    #[test]
    fn reads_an_ordinary_head() {
        let head = head(
            "PUT /b/a%20b?x-id=PutObject&a=b?c HTTP/1.1\r\nHost: s3.example:9000\r\n\
             X-Amz-Meta-Name:  J\u{f6}rg \u{65e5}\u{672c}\t \r\nContent-Length: 12\r\n\
             expect: 100-Continue\r\nEmpty:\r\n\r\n",
        )
        .expect("it is well formed");
        assert_eq!(head.method, Method::Put);
        assert_eq!(head.path, "/b/a%20b");
        assert_eq!(head.query, "x-id=PutObject&a=b?c");
        assert_eq!(head.headers.get("host"), Some("s3.example:9000"));
        assert_eq!(head.headers.get("x-amz-meta-name"), Some("J\u{f6}rg \u{65e5}\u{672c}"));
        assert_eq!(head.headers.get("empty"), Some(""));
        assert_eq!(head.framing, Framing::Length(12));
        assert!(head.expects && head.keep_alive && !head.old);
    }

    #[test]
    fn keeps_the_connection_as_the_client_says() {
        assert!(with("").is_ok_and(|h| h.keep_alive));
        assert!(with("Connection: foo, Close\r\n").is_ok_and(|h| !h.keep_alive));
        assert!(head("GET / HTTP/1.0\r\n\r\n").is_ok_and(|h| !h.keep_alive && h.old));
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n";
        assert!(head(old).is_ok_and(|h| h.keep_alive && !h.expects));
    }

    #[test]
    fn targets() {
        let target = |target: &str| {
            head(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).map(|h| {
                (h.path.clone(), h.query.clone(), h.headers.get("host").map(str::to_owned))
            })
        };
        let expect = |path: &str, query: &str, host: &str| {
            Ok((path.to_owned(), query.to_owned(), Some(host.to_owned())))
        };
        assert_eq!(target("/"), expect("/", "", "h"));
        assert_eq!(target("/\u{e4}/\u{65e5}?\u{e9}"), expect("/\u{e4}/\u{65e5}", "\u{e9}", "h"));
        assert_eq!(target("HTTP://other:1/b/k?q"), expect("/b/k", "q", "other:1"));
        assert_eq!(target("http://other"), expect("/", "", "other"));
        assert_eq!(target("http://other?q"), expect("/", "q", "other"));
        for bad in ["b/k", "*", "h:80", "ftp://h/", "http:///b", "http://u@h/b", "", "/a b"] {
            assert_eq!(target(bad).map_err(|r| r.status), Err(400), "{bad}");
        }
        assert!(head("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").is_ok_and(|h| h.path == "*"));
        assert_eq!(status(head_of(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n")), 400);
    }

    #[test]
    fn versions() {
        let version = |text: &str| status(head(&format!("GET / {text}\r\nHost: h\r\n\r\n")));
        assert_eq!(version("HTTP/1.1"), 200);
        assert_eq!(version("HTTP/1.0"), 200);
        assert_eq!(version("HTTP/2.0"), 505);
        assert_eq!(version("HTTP/1.2"), 505);
        for bad in ["HTTP/11", "HTTP/1.1x", "http/1.1", "HTTP/1.", "ICY", "HTTP/ 1.1", ""] {
            assert_eq!(version(bad), 400, "{bad}");
        }
        assert_eq!(status(head("GET /\r\nHost: h\r\n\r\n")), 400);
        assert_eq!(status(head("PRI * HTTP/2.0\r\n\r\n")), 505);
    }

    #[test]
    fn lengths_and_encodings() {
        assert!(with("Content-Length: 007\r\n").is_ok_and(|h| h.framing == Framing::Length(7)));
        let chunked = with("Transfer-Encoding: Chunked\r\n");
        assert!(chunked.is_ok_and(|h| h.framing == Framing::Chunked));
        for bad in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 5x\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length:\r\n",
            "Content-Length: \u{665}\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \u{b}chunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            assert_eq!(status(with(bad)), 400, "{bad:?}");
        }
        let old = "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(status(head(old)), 400);
        let waits = |fields: &str| with(fields).expect("well-formed").expects;
        assert!(!waits("Expect: 200-ok\r\n") && waits("Expect: 100-Continue\r\n"));
    }

    #[test]
    fn fields() {
        for bad in [
            "Name : v\r\n",
            " folded: v\r\n",
            "A: b\r\n folded\r\n",
            "A: b\r\n\tfolded\r\n",
            "A: b\0c\r\n",
            "A: b\u{7f}c\r\n",
            ": v\r\n",
            "NoColon\r\n",
            "N\u{e4}me: v\r\n",
            "Host: second\r\n",
        ] {
            assert_eq!(status(with(bad)), 400, "{bad:?}");
        }
        let latin1 = b"GET / HTTP/1.1\r\nHost: h\r\nA: \xe4\r\n\r\n";
        assert_eq!(status(head_of(latin1)), 400);
        assert_eq!(status(head("GET / HTTP/1.1\r\n\r\n")), 400);
        assert_eq!(status(head("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")), 400);
        assert_eq!(status(head("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")), 400);
        assert!(with(&"A: b\r\n".repeat(MAX_HEADERS - 1)).is_ok());
        assert_eq!(status(with(&"A: b\r\n".repeat(MAX_HEADERS))), 431);
    }

    /// A smoke test of the fuzz target's property: no panic, the end is found at the same place
    /// however it arrives, and what is accepted has one host and no line end in any part.
    #[test]
    fn mutations_are_refused_or_sound() {
        let seed = b"PUT /b/k?x=y HTTP/1.1\r\nHost: h:1\r\nContent-Length: 12\r\nA: b\r\n\r\n";
        let bytes = b"\r\n\0 \t:,;/?*+-019aZ\x7f\x80\xc3\xa4\xff";
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut accepted = 0;
        for _ in 0..50_000 {
            let mut head = seed.to_vec();
            for _ in 0..2 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = random as usize % head.len();
                head[at] = bytes[(random >> 32) as usize % bytes.len()];
            }
            let cut = (random >> 40) as usize % head.len();
            if let Ok(Scan::Partial(seen)) = scan(&head[..cut], 0) {
                assert_eq!(scan(&head, seen), scan(&head, 0));
            }
            if let Ok(head) = head_of(&head) {
                accepted += 1;
                let hosts = head.headers.all("host").count();
                assert!(hosts == 1 || hosts == 0 && head.old);
                let parts = head.headers.iter().flat_map(|(n, v)| [n, v]);
                let clean = |s: &str| !s.contains(['\r', '\n', '\0']);
                assert!(parts.chain([&*head.path, &*head.query]).all(clean));
            }
        }
        assert!(accepted > 1000, "{accepted}");
    }
}
