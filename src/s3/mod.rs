//! S3: from a request to an operation, and from its result to the answer.

mod absent;
mod access_line;
mod acl;
mod attributes;
mod bucket;
pub mod bucket_encryption;
mod conditions;
mod config;
mod copy;
mod cors;
mod delete;
pub mod encryption;
mod error;
mod form;
pub mod intake;
mod lifecycle;
mod list;
mod lock;
mod logging;
mod metadata;
mod metrics;
mod multipart;
mod multipart_form;
mod notification;
mod object;
mod ownership;
mod permit;
mod policy;
mod public_access_block;
mod receive;
mod rename;
mod room;
pub mod table;
mod tagging;
pub mod uri;
mod versioning;
mod website;

pub use access_line::TARGET as ACCESS_TARGET;
pub use error::{Code, S3Error};
pub use metrics::{Metrics, MetricsAccess, Page};
pub use room::Rooms;
pub use website::Websites;

use crate::access::{Authorized, Gate, Owner, Requester};
use crate::auth::{
    self, AuthConfig, Authenticated, Identity, Keys, PayloadReader, Throttle, Trailers,
};
use crate::http::{Body, Handler, Headers, Method, Payload, Request, Response};
use crate::limits::{MAX_DOCUMENT_BYTES, MAX_UNDECIDED_BYTES};
use crate::store::{self, ConfigKind, LogSpool, SharedStore};
use crate::types::notification::TargetName;
use crate::types::{BucketName, KeyError, ObjectKey, VersionId, time};
use access_line::AccessLine;
use permit::RequestFacts;
use room::Taken;
use std::sync::Arc;
use table::Target;
use uri::Query;

/// What every operation can reach.
pub struct App {
    /// The store.
    pub store: SharedStore,
    /// Who may what.
    pub gate: Gate<'static>,
    /// The secrets of access keys.
    pub keys: Box<dyn Keys>,
    /// How to authenticate.
    pub auth: AuthConfig,
    /// Slows down who guesses at keys.
    pub throttle: Throttle,
    /// `JOG_SSE_KEY`: the master key of SSE-S3.
    pub master: Option<store::Kek>,
    /// `JOG_REGION`: what GetBucketLocation says of buckets that were made without one.
    pub region: String,
    /// `JOG_WEBSITE_DOMAIN`: requests to `bucket.domain` are for a website.
    pub website_domains: Vec<String>,
    /// What is counted of requests.
    pub metrics: Metrics,
    /// Where the lines of access logs wait for their delivery.
    pub logs: Arc<LogSpool>,
    /// HostId of every answer.
    pub host_id: String,
    /// `JOG_LIFECYCLE_DAY`, in milliseconds.
    pub lifecycle_day_ms: i64,
    /// The webhooks that are declared.
    pub targets: Vec<TargetName>,
    /// What requests may hold all together.
    pub rooms: Rooms,
}

/// One request on its way through an operation.
pub struct Call<'a, 'b> {
    /// The application.
    pub app: &'a App,
    /// The head of the request.
    pub request: &'a Request,
    /// Its query.
    pub query: &'a Query,
    /// Who sent it.
    pub requester: Requester,
    /// Proof that it may do what its row says; a POST form brings its own.
    authorized: Option<Authorized>,
    /// The body's reader, until somebody takes it.
    pub payload: Option<PayloadReader<'a, 'b>>,
    /// The body, if it had to be read before the decision.
    read: Option<(Vec<u8>, Trailers)>,
    /// Who signed the form in the body, if there is one.
    signer: Option<Identity>,
    bucket: Option<&'a BucketName>,
    /// The number of the bucket that was there when the request came.
    home: Option<i64>,
    key: Option<&'a ObjectKey>,
    /// Objects that a request names in its document, for the bucket's access log.
    batch: Vec<logging::Batched>,
    /// Its share of the memory for documents.
    memory: Option<Taken<'a>>,
    /// Its place among those whose bodies are read before it is known who sent them.
    stranger: Option<Taken<'a>>,
}

impl Call<'_, '_> {
    /// A header field of the request; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers.get(name)
    }

    /// All header fields.
    pub fn headers(&self) -> &Headers {
        &self.request.headers
    }

    /// A query parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name)
    }

    /// The name of the bucket in the request.
    pub fn bucket_name(&self) -> Result<&BucketName, S3Error> {
        self.bucket.ok_or_else(|| Code::InvalidBucketName.into())
    }

    /// The key in the request.
    pub fn key(&self) -> Result<&ObjectKey, S3Error> {
        self.key.ok_or_else(|| Code::MethodNotAllowed.into())
    }

    /// The bucket of the request, or NoSuchBucket; AccessDenied if the client expects another owner.
    /// One that was made under the same name after the request came is not the one that was decided
    /// on.
    pub fn bucket(&self) -> Result<Arc<store::Bucket>, S3Error> {
        let name = self.bucket_name()?;
        let bucket = self.app.store.bucket(name)?.filter(|bucket| self.home == Some(bucket.id));
        let bucket = bucket.ok_or_else(|| {
            S3Error::from(Code::NoSuchBucket).element("BucketName", name.as_str())
        })?;
        match self.header("x-amz-expected-bucket-owner") {
            Some(owner) if owner != bucket.owner => Err(Code::AccessDenied.into()),
            _ => Ok(bucket),
        }
    }

    /// Who sent the request, as answers show it; who has not signed has an empty ID.
    pub fn user(&self) -> Owner {
        self.app.gate.owner(self.requester.id().unwrap_or_default())
    }

    /// Reads the body of an operation whose row says [`table::Body::Document`]: at most
    /// [`MAX_DOCUMENT_BYTES`], verified against every checksum that the client sent with it.
    pub fn document(&mut self) -> Result<Vec<u8>, S3Error> {
        let (document, trailers) = self.whole_body()?;
        receive::verify_document(&self.request.headers, &trailers, &document)?;
        Ok(document)
    }

    /// As [`Self::document`], but verified only against its signature: for a document beside which
    /// the client's checksums are about something else.
    pub fn whole_body(&mut self) -> Result<(Vec<u8>, Trailers), S3Error> {
        match self.read.take() {
            Some(read) => Ok(read),
            None => self.read_body(MAX_DOCUMENT_BYTES),
        }
    }

    /// Reads a body of at most so many bytes.
    fn read_body(&mut self, most: u64) -> Result<(Vec<u8>, Trailers), S3Error> {
        let Some(mut payload) = self.payload.take() else { return Ok(Default::default()) };
        let mut document = Vec::new();
        let mut chunk = [0u8; 8192];
        let rooms = &self.app.rooms;
        let room = if self.stranger.is_some() { &rooms.unsigned } else { &rooms.documents };
        let mut memory = room.take(0)?;
        loop {
            let n = payload.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            if (document.len() + n) as u64 > most {
                return Err(Code::MaxMessageLengthExceeded.into());
            }
            memory.grow(n as u64)?;
            document.extend_from_slice(&chunk[..n]);
        }
        // As long as the request lasts: what is made of a document is larger than itself.
        self.memory = Some(memory);
        self.stranger = None;
        Ok((document, payload.finish()?))
    }
}

/// A request that has been taken apart: what it is addressed to.
struct Address {
    bucket: Option<BucketName>,
    key: Option<ObjectKey>,
    target: Target,
}

impl App {
    fn address(&self, request: &Request) -> Result<Address, S3Error> {
        let path = request.path.strip_prefix('/').unwrap_or(&request.path);
        let (bucket, key) = match auth::host_bucket(request, &self.auth) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        if bucket.is_empty() {
            return Ok(Address { bucket: None, key: None, target: Target::Service });
        }
        let name = uri::decode(bucket, false).ok_or(Code::InvalidURI)?;
        let name = BucketName::parse(&name)
            .ok_or_else(|| S3Error::from(Code::InvalidBucketName).element("BucketName", name))?;
        let key = uri::decode(key, false).ok_or(Code::InvalidURI)?;
        match ObjectKey::parse(key) {
            Ok(key) => Ok(Address { bucket: Some(name), key: Some(key), target: Target::Object }),
            Err(KeyError::Empty) => {
                Ok(Address { bucket: Some(name), key: None, target: Target::Bucket })
            }
            Err(KeyError::TooLong) => Err(Code::KeyTooLongError.into()),
        }
    }

    /// JOG's own resources, below a path that no bucket can have. Where the host names a bucket, it
    /// is a key like any other.
    fn operate(&self, request: &Request) -> Option<Response> {
        let name = request.path.strip_prefix("/_jog/")?;
        if auth::host_bucket(request, &self.auth).is_some() {
            return None;
        }
        if name == "metrics" && request.method == Method::Get {
            return Some(self.metrics_page(request));
        }
        if name != "health" || !matches!(request.method, Method::Get | Method::Head) {
            return Some(Response::new(404));
        }
        let (status, text) = match self.store.ready() {
            Ok(()) => (200, "{\"live\":true,\"ready\":true}\n".to_owned()),
            Err(error) => {
                log::error!("{} not ready: {error}", request.id);
                let reason = match error {
                    store::StoreError::Full => "the disk is full",
                    _ => "metadata.db cannot be written",
                };
                (503, format!("{{\"live\":true,\"ready\":false,\"reason\":\"{reason}\"}}\n"))
            }
        };
        let response = Response::new(status).header("content-type", "application/json");
        Some(response.payload(Payload::Bytes(text.into_bytes())))
    }

    /// Runs a request; on the way `label` learns what it was, for the log.
    fn run(
        &self,
        request: &Request,
        body: &mut Body<'_>,
        label: &mut Label,
    ) -> Result<Response, S3Error> {
        let query = Query::parse(&request.query).ok_or(Code::InvalidURI)?;
        let address = self.address(request)?;
        label.bucket = address.bucket.clone();
        label.key = address.key.clone();
        label.home = match &address.bucket {
            Some(name) => self.store.bucket(name)?,
            None => None,
        };
        let row = table::route(request, address.target, &query).ok_or(Code::MethodNotAllowed)?;
        label.operation = row.name;
        let now = time::now_ms() / 1000;
        let proven = match request.method {
            // A preflight for a presigned URL carries a signature that is of another method.
            Method::Options => Authenticated::anonymous(),
            _ => self.throttle.watch(
                auth::source(request, &self.auth),
                &*self.keys,
                |keys| auth::authenticate(request, keys, &self.auth, now),
                |done| done.as_ref().map(|proven| &proven.identity).map_err(Some),
            )?,
        };
        let requester = self.gate.requester(&proven.identity);
        label.sent_by(&proven.identity, requester.as_ref());
        let requester = requester.ok_or(Code::AccessDenied)?;
        let facts = RequestFacts::new(request, &query, &self.auth);
        let first = permit::reads_first(row);
        let authorized = match first {
            true => None,
            false => self.may(&requester, row, &address, facts, None)?,
        };
        let payload = match row.body {
            table::Body::None => None,
            table::Body::Document | table::Body::Stream => {
                Some(auth::payload(request, body, proven.payload)?)
            }
        };
        let mut call = Call {
            app: self,
            request,
            query: &query,
            requester,
            authorized,
            payload,
            read: None,
            signer: None,
            bucket: address.bucket.as_ref(),
            home: label.home.as_ref().map(|bucket| bucket.id),
            key: address.key.as_ref(),
            batch: Vec::new(),
            memory: None,
            stranger: None,
        };
        let anonymous = matches!(call.requester, Requester::Anonymous);
        if anonymous && call.payload.is_some() && (first || permit::decides_itself(row)) {
            call.stranger = Some(self.rooms.strangers.take(1)?);
        }
        if row.body == table::Body::Document {
            let most = if first { MAX_UNDECIDED_BYTES } else { MAX_DOCUMENT_BYTES };
            let read = call.read_body(most)?;
            // It may have been on its way for long: who may send it is decided now.
            call.requester = self.gate.requester(&proven.identity).ok_or(Code::AccessDenied)?;
            let facts = RequestFacts::new(request, &query, &self.auth);
            let document = first.then_some(&read.0[..]);
            call.authorized = self.may(&call.requester, row, &address, facts, document)?;
            call.read = Some(read);
        }
        let result = (row.run)(&mut call);
        label.batch = std::mem::take(&mut call.batch);
        if let Some(signer) = &call.signer {
            label.sent_by(signer, Some(&call.requester));
        }
        match (result, &address) {
            // The source of a copy or of a rename answers for itself.
            (Err(error), Address { bucket: Some(bucket), key: Some(key), .. })
                if call.header("x-amz-copy-source").is_none() && row.name != "RenameObject" =>
            {
                let version = call.param("versionId").and_then(VersionId::parse);
                Err(call.missing(error, bucket, key, version))
            }
            (result, _) => result,
        }
    }
}

/// What logs say of a request.
#[derive(Default)]
struct Label {
    operation: &'static str,
    bucket: Option<BucketName>,
    /// The bucket as it was when the request came.
    home: Option<Arc<store::Bucket>>,
    key: Option<ObjectKey>,
    /// The access key of who sent it.
    requester: Option<String>,
    /// The canonical ID of who sent it.
    canonical: Option<String>,
    /// See [`Call::batch`].
    batch: Vec<logging::Batched>,
}

impl Label {
    /// What a line that tells of a failure names: `bucket/key`, percent-encoded.
    fn name(&self) -> String {
        let text = |text: Option<&str>| uri::encode(text.unwrap_or("-"), true);
        let key = text(self.key.as_ref().map(ObjectKey::as_str));
        format!("{}/{key}", text(self.bucket.as_ref().map(BucketName::as_str)))
    }

    fn sent_by(&mut self, identity: &Identity, requester: Option<&Requester>) {
        if let Identity::Key { access_key_id } = identity {
            self.requester = Some(access_key_id.clone());
            self.canonical = requester.and_then(Requester::id).map(str::to_owned);
        }
    }
}

impl Handler for App {
    fn handle(&self, request: &Request, body: &mut Body<'_>) -> Response {
        if let Some(response) = self.operate(request) {
            return response.header("x-amz-request-id", request.id.as_str());
        }
        if let Some(response) = self.website(request) {
            return self.metrics.follow("Website", request, response);
        }
        let mut label = Label::default();
        let result = self.run(request, body, &mut label);
        let (response, code) = match result {
            Ok(response) => (response, None),
            Err(error) => {
                if let Some(source) = &error.source {
                    let level = match error.code {
                        Code::InternalError => log::Level::Error,
                        _ => log::Level::Warn,
                    };
                    let (id, code) = (&request.id, error.code.name());
                    log::log!(level, "{id} {} {}: {source}", label.name(), code);
                }
                let path = request.path.as_str();
                (error.response(path, &request.id, &self.host_id), Some(error.code))
            }
        };
        self.finish(request, label, response, code)
    }

    fn refuse(&self, status: u16, reason: &str) -> Response {
        let code = match status {
            408 => Code::RequestTimeout,
            431 => Code::RequestHeaderSectionTooLarge,
            500 => Code::InternalError,
            503 => Code::SlowDown,
            _ => Code::InvalidRequest,
        };
        let mut response = code.with(reason.to_owned()).response("", "", &self.host_id);
        response.status = status;
        response
    }
}

impl App {
    /// What every answer gets, be it a success or an error: the fields that all have in common,
    /// those of CORS, and its lines in the logs, which are written when it has been sent.
    fn finish(
        &self,
        request: &Request,
        mut label: Label,
        mut response: Response,
        code: Option<Code>,
    ) -> Response {
        let cors = label.home.as_ref().and_then(|bucket| bucket.config(ConfigKind::Cors));
        if let Some(cors) = cors {
            response = cors::decorate(response, request, cors);
        }
        let operation = label.operation;
        let bucket = logging::note(self, request, &mut label, &response, code);
        let address = auth::source(request, &self.auth);
        let own = AccessLine::new(request, label, &response, code, address);
        if own.is_some() || bucket.is_some() {
            response.done = Some(Box::new(move |sent| {
                own.into_iter().for_each(|own| own.write(sent));
                bucket.into_iter().for_each(|bucket| bucket(sent));
            }));
        }
        self.metrics
            .follow(operation, request, response)
            .header("x-amz-request-id", request.id.as_str())
            .header("x-amz-id-2", self.host_id.as_str())
            .header("server", "JOG")
    }
}

/// The beginning of a text, at most so many bytes long.
fn shortened(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// An answer with a document.
pub(crate) fn document(status: u16, xml: crate::xml::Writer) -> Response {
    Response::new(status)
        .header("content-type", "application/xml")
        .payload(Payload::Bytes(xml.finish()))
}

/// Reads since the start that found other bytes than those that were stored.
pub fn corrupt_reads() -> u64 {
    object::CORRUPT_READS.load(std::sync::atomic::Ordering::Relaxed)
}
