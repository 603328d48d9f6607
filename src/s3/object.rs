//! PutObject, GetObject, HeadObject.

use super::conditions::{self, Conditions, Verdict};
use super::encryption::{self, Key};
use super::receive::{receive, with_buffer};
use super::{
    Call, Code, S3Error, acl, lifecycle, lock, metadata, multipart, tagging, uri, versioning,
};
use crate::access::Requester;
use crate::http::{Content, Headers, Payload, Response};
use crate::limits::IO_BUFFER_BYTES;
use crate::store::{
    self, Bucket, Change, Data, Extra, Found, NewData, NewObject, Object, ObjectReader,
};
use crate::types::notification::Event;
use crate::types::{ByteRange, Checksum, ETag, ObjectKey, Span, Tags, VersionId, time};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects whose bytes were not what was stored, since the start.
pub static CORRUPT_READS: AtomicU64 = AtomicU64::new(0);

/// How often a read begins anew because its object was overwritten under it.
const READ_TRIES: u32 = 5;

/// PutObject
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    versioning::refuse(call)?;
    metadata::refuse_unsupported(call.headers())?;
    let meta = metadata::from_headers(call.headers())?;
    let precondition = conditions::of_write(call);
    let bucket = call.bucket()?;
    let extra = extra(call.headers(), &bucket)?;
    let key = call.key()?.clone();
    if !precondition.is_empty() {
        // Spares the body of a write that cannot succeed; the decision is the store's, below.
        let now = call.app.store.object(bucket.id, &key)?;
        precondition
            .check(now.as_deref().map(Object::current))
            .map_err(|violation| S3Error::from(store::Refused::Precondition(violation)))?;
    }
    let (owner, acl) = acl::of_new(call, &bucket, call.headers())?;
    let encryption = encryption::of_write(call, &bucket, call.headers())?;
    let received = receive(call, &bucket, None, encryption.as_ref())?;
    let etag = ETag::from_md5(&received.md5);
    let new = NewObject {
        key,
        size: received.size,
        etag: etag.clone(),
        crc64: received.crc64,
        checksum: received.checksum.clone(),
        meta,
        owner,
        data: received.blob.map_or(NewData::Empty, NewData::Blob),
        extra: Extra { seal: Key::empty_seal(encryption.as_ref())?, acl, ..extra },
    };
    let fresh = lifecycle::Fresh::of(call, &bucket, &new);
    let telling = call.creating(&bucket, Event::CreatedPut);
    let stored = telling.put_object(bucket.id, new, precondition)??;
    let response = Response::new(200).header("etag", etag.quoted());
    let response = fresh.with_expiration(response, stored.modified_ms);
    let response = versioning::name(response, stored.version_id);
    let response = Key::describe(encryption.as_ref(), response);
    let checksum = Checksum::of_object(received.checksum, received.crc64);
    Ok(with_checksum(response, Some(&checksum)))
}

/// The tags and the lock of an object to be, from headers.
pub fn extra(headers: &Headers, bucket: &Bucket) -> Result<Extra, S3Error> {
    let tags = match headers.get("x-amz-tagging") {
        Some(text) => tagging::parse_header(text)?,
        None => Tags::default(),
    };
    Ok(Extra { tags, lock: lock::of_new(headers, bucket)?, ..Extra::default() })
}

/// Adds x-amz-checksum-* and x-amz-checksum-type.
pub fn with_checksum(response: Response, checksum: Option<&Checksum>) -> Response {
    match checksum {
        Some(checksum) => response
            .header(checksum.algorithm.header(), checksum.text())
            .header("x-amz-checksum-type", checksum.kind.name()),
        None => response,
    }
}

/// The bucket and the object of a call, or the version that it names; else NoSuchBucket, NoSuchKey,
/// NoSuchVersion or, for a delete marker, what AWS says of it.
pub fn find(call: &Call<'_, '_>) -> Result<(Arc<Bucket>, Arc<Object>), S3Error> {
    let version = versioning::asked(call)?;
    let bucket = call.bucket()?;
    let object = find_in(call, &bucket, call.key()?, version)?;
    Ok((bucket, object))
}

/// The same for a bucket and a key that are not those of the request.
pub fn find_in(
    call: &Call<'_, '_>,
    bucket: &Bucket,
    key: &ObjectKey,
    version: Option<VersionId>,
) -> Result<Arc<Object>, S3Error> {
    let store = &call.app.store;
    let found = match version {
        None => store.latest(bucket, key)?,
        Some(id) => store.version(bucket.id, key, id)?,
    };
    let error = match (found, version) {
        (Some(Found::Object(object)), _) => return Ok(object),
        (Some(Found::Marker(marker)), asked) => {
            let code = if asked.is_some() { Code::MethodNotAllowed } else { Code::NoSuchKey };
            let mut error = S3Error::from(code);
            error.headers.push(("x-amz-delete-marker", "true".to_owned()));
            error.headers.push(("x-amz-version-id", marker.version_id.to_string()));
            if asked.is_some() {
                error.headers.push(("last-modified", time::http(marker.modified_ms)));
            }
            error
        }
        (None, None) => Code::NoSuchKey.into(),
        (None, Some(id)) => S3Error::from(Code::NoSuchVersion).element("VersionId", id.to_string()),
    };
    Err(error.element("Key", key.as_str()))
}

/// Changes the version that a call names; its id in the answer.
pub fn change(call: &Call<'_, '_>, change: Change) -> Result<Option<VersionId>, S3Error> {
    let version = versioning::asked(call)?;
    let bucket = call.bucket()?;
    let id = call.app.store.change_version(bucket.id, call.key()?, version, change)??;
    Ok(versioning::shown(&bucket, id))
}

/// HeadObject
pub fn head(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    read(call, false)
}

/// GetObject
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    read(call, true)
}

/// What of an object is asked for.
struct Selection {
    /// Its bytes, unless all.
    span: Option<Span>,
    /// How many parts it has, and the checksum of the one that was asked for.
    part: Option<(usize, Option<Checksum>)>,
}

/// Tells an object whose file is gone from one that was overwritten while it was read.
#[derive(Default)]
pub struct Vanished {
    /// The version whose file was last not there.
    version: Option<i64>,
}

impl Vanished {
    /// The file of this object is not there. InternalError, counted and logged, if it is still the
    /// same object: it is lost, and no further try finds it.
    pub fn again(&mut self, bucket: &Bucket, object: &Object) -> Result<(), S3Error> {
        if self.version.replace(object.version) != Some(object.version) {
            return Ok(());
        }
        let (bucket, key) = (bucket.name.as_str(), uri::encode(object.key.as_str(), true));
        let lost = format!("{bucket}/{key} version {}: its file is missing", object.version);
        let error = store::StoreError::Corrupt(lost);
        note_corruption(&error, "a lost object");
        Err(error.into())
    }
}

fn read(call: &mut Call<'_, '_>, with_body: bool) -> Result<Response, S3Error> {
    let mut vanished = Vanished::default();
    for _ in 0..READ_TRIES {
        let (bucket, object) = find(call)?;
        let encryption = match encryption::of_read(call, object.extra.seal.as_ref()) {
            // That a part is not there is said first, as Ceph's s3-tests have it.
            Err(error) if call.param("partNumber").is_some() => {
                select(call, &object)?;
                return Err(error);
            }
            encryption => encryption?,
        };
        match Conditions::of_read(call.headers()).check(&object) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(describe(Response::new(304), &bucket, &object)),
            Verdict::Failed(condition) => {
                return Err(S3Error::from(Code::PreconditionFailed).element("Condition", condition));
            }
        }
        let selection = select(call, &object)?;
        let response = respond(call, &bucket, &object, &selection)?;
        let mut response = Key::describe(encryption.as_ref(), response);
        if call.param("versionId").is_none() {
            response = lifecycle::with_expiration(call, &bucket, response, &object);
        }
        if !with_body {
            let len = selection.span.map_or(object.size, |s| s.len);
            return Ok(response.payload(Payload::Length(len)));
        }
        let kek = Key::kek(encryption.as_ref());
        let reader = call.app.store.open_object(&bucket.name, &object, selection.span, kek)?;
        let Some(reader) = reader else {
            vanished.again(&bucket, &object)?;
            continue;
        };
        response.payload = content(call, &object, reader)?;
        return Ok(response);
    }
    Err(Code::SlowDown.into())
}

fn select(call: &Call<'_, '_>, object: &Object) -> Result<Selection, S3Error> {
    let range = call.header("range").filter(|_| range_holds(call, object));
    if call.param("partNumber").is_some() {
        if range.is_some() {
            return Err(Code::InvalidRequest
                .with("Cannot specify both Range header and partNumber query parameter."));
        }
        return select_part(call, object);
    }
    let span = match range.and_then(ByteRange::parse) {
        None => None,
        Some(range) => Some(range.within(object.size).ok_or_else(|| {
            let asked = call.header("range").unwrap_or_default();
            let mut error = S3Error::from(Code::InvalidRange)
                .element("RangeRequested", asked)
                .element("ActualObjectSize", object.size.to_string());
            error.headers.push(("content-range", format!("bytes */{}", object.size)));
            error
        })?),
    };
    Ok(Selection { span, part: None })
}

/// If-Range (RFC 9110, 13.1.5): an entity tag or a date; if it does not hold, Range is ignored.
fn range_holds(call: &Call<'_, '_>, object: &Object) -> bool {
    match call.header("if-range") {
        None => true,
        Some(value) => match crate::types::time::parse_http(value) {
            Some(date) => object.modified_ms.div_euclid(1000) <= date,
            None => ETag::from_text(value) == object.etag,
        },
    }
}

/// The bytes of a part. An empty object has none that a Content-Range could name, so all of it is
/// given, as 200.
fn select_part(call: &Call<'_, '_>, object: &Object) -> Result<Selection, S3Error> {
    let number = multipart::part_number(call)?;
    let manifest = match object.data {
        Data::Parts(manifest) => manifest,
        Data::Blob(_) | Data::Empty if number == 1 => {
            let span = Span { start: 0, len: object.size };
            return Ok(Selection {
                span: (object.size > 0).then_some(span),
                part: Some((0, None)),
            });
        }
        Data::Blob(_) | Data::Empty => return Err(Code::InvalidPart.into()),
    };
    let found = call.app.store.part(manifest, number)?;
    let (part, count, start) = found.ok_or(Code::InvalidPart)?;
    let span = Span { start, len: part.size };
    Ok(Selection { span: (object.size > 0).then_some(span), part: Some((count, part.checksum)) })
}

/// Query parameters of GET that replace headers of the answer.
const OVERRIDES: [(&str, &str); 6] = [
    ("response-content-type", "content-type"),
    ("response-content-language", "content-language"),
    ("response-expires", "expires"),
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
];

/// What GET, HEAD and 304 say of a version.
fn describe(response: Response, bucket: &Bucket, object: &Object) -> Response {
    let mut response = metadata::describe(response, object);
    response = versioning::name(response, versioning::shown(bucket, object.version_id()));
    let tags = object.extra.tags.len();
    if tags > 0 {
        response = response.header("x-amz-tagging-count", tags.to_string());
    }
    lock::describe(response, &object.extra.lock)
}

/// The head of the answer.
fn respond(
    call: &Call<'_, '_>,
    bucket: &Bucket,
    object: &Object,
    selection: &Selection,
) -> Result<Response, S3Error> {
    let status = if selection.span.is_some() { 206 } else { 200 };
    let mut response = describe(Response::new(status), bucket, object);
    for (parameter, header) in OVERRIDES {
        let Some(value) = call.param(parameter) else { continue };
        if matches!(call.requester, Requester::Anonymous) {
            return Err(Code::InvalidRequest.with(
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        response.headers.retain(|(name, _)| name != header);
        response = response.header(header, value);
    }
    if let Some(Span { start, len }) = selection.span {
        let range = format!("bytes {start}-{}/{}", start + len.max(1) - 1, object.size);
        response = response.header("content-range", range);
    }
    let wants_checksum =
        call.header("x-amz-checksum-mode").is_some_and(|m| m.eq_ignore_ascii_case("enabled"));
    match &selection.part {
        Some((count, checksum)) => {
            if *count > 0 {
                response = response.header("x-amz-mp-parts-count", count.to_string());
            }
            if wants_checksum {
                response = match checksum {
                    // The part's value; the type is the object's, as on AWS.
                    Some(part) => {
                        let kind = object.checksum.as_ref().map_or(part.kind, |c| c.kind);
                        with_checksum(response, Some(&Checksum { kind, ..part.clone() }))
                    }
                    None if *count == 0 => with_checksum(response, object.checksum.as_ref()),
                    None => response,
                };
            }
        }
        None if wants_checksum && selection.span.is_none() => {
            response = with_checksum(response, Some(&stored_checksum(object)));
        }
        None => {}
    }
    Ok(response)
}

/// The checksum that a client may ask for: its own, or the CRC-64/NVME that every object has.
pub fn stored_checksum(object: &Object) -> Checksum {
    Checksum::of_object(object.checksum.clone(), object.crc64)
}

/// The body of the answer. A small one is read and verified before its head goes out; a large one
/// is verified before its last bytes do.
fn content(
    call: &Call<'_, '_>,
    object: &Object,
    mut reader: ObjectReader,
) -> Result<Payload, S3Error> {
    let len = reader.len();
    let what = || {
        let bucket = call.bucket_name().map_or_else(|_| String::new(), ToString::to_string);
        let key = uri::encode(object.key.as_str(), true);
        format!("{} {bucket}/{key} version {}", call.request.id, object.version)
    };
    if len > IO_BUFFER_BYTES as u64 {
        return Ok(Payload::Stream(len, Box::new(Streamed { reader, what: what() })));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let mut at = 0;
    while at < bytes.len() {
        match reader.read(&mut bytes[at..]) {
            Ok(n) => at += n,
            Err(error) => {
                note_corruption(&error, &what());
                return Err(error.into());
            }
        }
    }
    Ok(Payload::Bytes(bytes))
}

/// Counts and logs bytes that are not what was stored.
pub fn note_corruption(error: &store::StoreError, what: &str) {
    if matches!(error, store::StoreError::Corrupt(_)) {
        CORRUPT_READS.fetch_add(1, Ordering::Relaxed);
        log::error!("{what}: {error}");
    }
}

/// A large body.
struct Streamed {
    reader: ObjectReader,
    what: String,
}

impl Content for Streamed {
    fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        with_buffer(IO_BUFFER_BYTES as u64, |buffer| {
            loop {
                let n = self.reader.read(buffer).map_err(|error| {
                    note_corruption(&error, &self.what);
                    io::Error::other(error)
                })?;
                if n == 0 {
                    return Ok(());
                }
                out.write_all(&buffer[..n])?;
            }
        })
    }
}
