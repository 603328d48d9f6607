//! An HTTP client that sends exactly what a test says and bounds every wait.

use super::sign::{Chunks, Covered, Signer, encode, sha256_hex};
use super::{elements, texts};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A test must fail, not hang.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 << 20;

/// How a request proves who sent it.
#[derive(Clone, Debug)]
enum Auth {
    /// A signature in a header, over the body's SHA-256 or over this text.
    Header(Option<String>),
    /// A signature in the query that lives so many seconds.
    Query(String),
    /// A signature in a header, and a body in chunks.
    Chunks(Chunks),
    /// None.
    Anonymous,
}

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    auth: Auth,
    signer: Signer,
    in_http_chunks: bool,
}

impl Request {
    /// A request to a path, which is percent-encoded here; a query may follow its first `?`.
    pub fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            address,
            method: method.to_owned(),
            path: encode(path, true),
            query: Vec::new(),
            headers: vec![("Host".to_owned(), address.to_string())],
            body: Vec::new(),
            auth: Auth::Header(None),
            signer: Signer::default(),
            in_http_chunks: false,
        };
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            request = request.query(name, value);
        }
        request
    }

    /// Adds a query parameter, which is percent-encoded here.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the path as it goes over the wire.
    pub fn raw_path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    /// Adds a header field; it will be signed.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces the Host.
    pub fn host(mut self, host: &str) -> Self {
        self.headers[0].1 = host.to_owned();
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sends no signature.
    pub fn anonymous(mut self) -> Self {
        self.auth = Auth::Anonymous;
        self
    }

    /// Signs with this text as x-amz-content-sha256.
    pub fn payload_hash(mut self, text: &str) -> Self {
        self.auth = Auth::Header(Some(text.to_owned()));
        self
    }

    /// Signs in the query, for so many seconds.
    pub fn presigned(mut self, seconds: impl ToString) -> Self {
        self.auth = Auth::Query(seconds.to_string());
        self
    }

    /// Sends the body as aws-chunked.
    pub fn chunks(mut self, chunks: Chunks) -> Self {
        self.auth = Auth::Chunks(chunks);
        self
    }

    /// Sends the body with Transfer-Encoding: chunked.
    pub fn in_http_chunks(mut self) -> Self {
        self.in_http_chunks = true;
        self
    }

    /// Changes who signs, where and when.
    pub fn signer(mut self, change: impl FnOnce(&mut Signer)) -> Self {
        change(&mut self.signer);
        self
    }

    /// Signs and sends it on a connection of its own, and reads the answer.
    pub fn send(self) -> Response {
        self.message().send()
    }

    /// Signs it and writes it down; what a test changes then is not covered by the signature.
    pub fn message(mut self) -> Message {
        let payload = match &self.auth {
            Auth::Header(None) => sha256_hex(&self.body),
            Auth::Header(Some(text)) => text.clone(),
            Auth::Chunks(chunks) => chunks.payload().to_owned(),
            Auth::Query(_) | Auth::Anonymous => "UNSIGNED-PAYLOAD".to_owned(),
        };
        if let Auth::Chunks(chunks) = self.auth.clone() {
            self = self
                .header("Content-Encoding", "aws-chunked")
                .with_decoded_length()
                .with_trailer_names(&chunks);
        }
        let query = std::mem::take(&mut self.query);
        let mut query = Query(query);
        match self.auth.clone() {
            Auth::Anonymous => {}
            Auth::Query(seconds) => query.sign(&self, &seconds),
            Auth::Header(_) | Auth::Chunks(_) => {
                let date = self.signer.date();
                self = self.header("x-amz-content-sha256", &payload).header("x-amz-date", date);
                let (value, signature) = self.signer.authorization(&Covered {
                    method: &self.method,
                    path: &self.path,
                    query: &query.0,
                    headers: &self.headers,
                    payload: &payload,
                });
                self = self.header("Authorization", value);
                if let Auth::Chunks(chunks) = &self.auth {
                    self.body = chunks.encode(&self.body, &self.signer, &signature);
                }
            }
        }
        self.write_down(&query)
    }

    fn with_decoded_length(self) -> Self {
        let known = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let length = self.body.len().to_string();
        match known("x-amz-decoded-content-length") {
            true => self,
            false => self.header("x-amz-decoded-content-length", length),
        }
    }

    fn with_trailer_names(self, chunks: &Chunks) -> Self {
        let names: Vec<&str> = chunks.trailers.iter().map(|(n, _)| n.as_str()).collect();
        match names.is_empty() {
            true => self,
            false => self.header("x-amz-trailer", names.join(",")),
        }
    }

    fn write_down(mut self, query: &Query) -> Message {
        let fixed = self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-length"));
        if self.in_http_chunks {
            self.headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
            self.body = http_chunks(&self.body);
        } else if !fixed && (!self.body.is_empty() || ["PUT", "POST"].contains(&&*self.method)) {
            self.headers.push(("Content-Length".to_owned(), self.body.len().to_string()));
        }
        let query = query.text();
        let target = match query.is_empty() {
            true => self.path,
            false => format!("{}?{query}", self.path),
        };
        Message {
            address: self.address,
            method: self.method,
            target,
            headers: self.headers,
            body: self.body,
        }
    }
}

fn http_chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(1000) {
        out.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// The parameters of a query, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn text(&self) -> String {
        let pair = |(n, v): &(String, String)| match v.is_empty() {
            true => encode(n, false),
            false => format!("{}={}", encode(n, false), encode(v, false)),
        };
        self.0.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    fn sign(&mut self, request: &Request, seconds: &str) {
        let signer = &request.signer;
        let mut names: Vec<String> =
            request.headers.iter().map(|(n, _)| n.to_lowercase()).collect();
        names.sort();
        names.dedup();
        for (name, value) in [
            ("X-Amz-Algorithm", super::sign::ALGORITHM),
            ("X-Amz-Credential", &signer.credential()),
            ("X-Amz-Date", &signer.date()),
            ("X-Amz-Expires", seconds),
            ("X-Amz-SignedHeaders", &names.join(";")),
        ] {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        let (_, signature) = signer.signature(&Covered {
            method: &request.method,
            path: &request.path,
            query: &self.0,
            headers: &request.headers,
            payload: "UNSIGNED-PAYLOAD",
        });
        self.0.push(("X-Amz-Signature".to_owned(), signature));
    }
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Message {
    address: SocketAddr,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// Adds a header field that is not signed.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves out a header field.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Request line and header fields.
    pub fn head(&self) -> Vec<u8> {
        let lines: String = self.headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\n{lines}\r\n", self.method, self.target).into_bytes()
    }

    /// Sends it on a connection of its own and reads the answer.
    pub fn send(self) -> Response {
        let what = format!("{} {}", self.method, self.target);
        self.try_send().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// As [`Self::send`]; an error if the connection ends before the answer does.
    pub fn try_send(self) -> io::Result<Response> {
        Connection::try_open(self.address)?.exchange(&self)
    }
}

/// A connection.
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server listens")
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends a request and reads its answer.
    pub fn send(&mut self, request: Request) -> Response {
        let message = request.message();
        self.exchange(&message).unwrap_or_else(|error| panic!("{}: {error}", message.target))
    }

    /// Sends a message and reads its answer. A server may answer and close before it has read
    /// all of a body, so a failed write is no failure yet.
    pub fn exchange(&mut self, message: &Message) -> io::Result<Response> {
        let mut bytes = message.head();
        let sent = if message.body.len() < 65_536 {
            bytes.extend_from_slice(&message.body);
            self.stream.write_all(&bytes)
        } else {
            self.stream.write_all(&bytes).and_then(|()| self.stream.write_all(&message.body))
        };
        self.response(&message.method).map_err(|error| sent.err().unwrap_or(error))
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes it");
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; 65_536];
        let n = self.stream.read(&mut chunk)?;
        self.unread.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    fn head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                return Ok(self.unread.drain(..at + 4).collect());
            }
            if self.receive()? == 0 || self.unread.len() > MAX_ANSWER {
                return Err(cut("without the head of an answer"));
            }
        }
    }

    /// The answer to a request of this method.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let head = String::from_utf8(self.head()?).map_err(io::Error::other)?;
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status line: {first}")))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        if method == "HEAD" || status == 204 || status == 304 || status < 200 {
            return Ok(response);
        }
        let length = response.header("content-length").and_then(|l| l.parse::<usize>().ok());
        let length = length.ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
        assert!(length <= MAX_ANSWER);
        while self.unread.len() < length {
            if self.receive()? == 0 {
                return Err(cut(&format!("{} of {length} bytes of a body", self.unread.len())));
            }
        }
        response.body = self.unread.drain(..length).collect();
        Ok(response)
    }

    /// Whether the server has closed the connection in an orderly way and said nothing more.
    pub fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && matches!(self.receive(), Ok(0))
    }
}

fn cut(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed: {what}"))
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The only header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "{name} stands twice in {self:?}");
        value
    }

    /// The entity tag without its quotes.
    pub fn etag(&self) -> &str {
        let etag = self.header("etag").expect("an ETag");
        etag.strip_prefix('"').and_then(|e| e.strip_suffix('"')).expect("in quotes")
    }

    pub fn xml(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a document is UTF-8")
    }

    /// The text of every element of this name.
    pub fn all(&self, element: &str) -> Vec<String> {
        texts(self.xml(), element)
    }

    /// The text of the first element of this name.
    pub fn get(&self, element: &str) -> Option<String> {
        self.all(element).into_iter().next()
    }

    /// The text of the first element of this name, which must be there.
    #[track_caller]
    pub fn text(&self, element: &str) -> String {
        self.get(element).unwrap_or_else(|| panic!("no {element} in {}", self.xml()))
    }

    /// What stands in every element of this name.
    pub fn elements(&self, name: &str) -> Vec<String> {
        elements(self.xml(), name)
    }

    /// Fails unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        assert_eq!(self.status, status, "{:?}\n{body}", self.headers);
        self
    }

    /// Fails unless this is an error in S3's form with this status and code.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let response = self.expect(status);
        assert_eq!(response.get("Code").as_deref(), Some(code), "{}", response.xml());
        assert!(response.get("Message").is_some_and(|m| !m.is_empty()), "{}", response.xml());
        assert!(response.get("HostId").is_some(), "{}", response.xml());
        assert!(response.get("RequestId").is_some(), "{}", response.xml());
        response
    }
}
