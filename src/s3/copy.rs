//! CopyObject and UploadPartCopy. A whole object on the same file system is copied by hard links;
//! bytes are moved only for a range, or where links are not to be had.

use super::conditions::{self, Conditions, Verdict};
use super::encryption::{self, Key};
use super::object::Vanished;
use super::receive::{Promised, Received, Sink, with_buffer};
use super::{
    Call, Code, S3Error, acl, document, lifecycle, metadata, multipart, object, uri, versioning,
};
use crate::auth::Trailers;
use crate::http::Response;
use crate::limits::{IO_BUFFER_BYTES, MAX_PARTS, MAX_PUT_BYTES};
use crate::store::{
    self, BlobId, Bucket, Data, Extra, NewData, NewObject, NewPart, Object, ObjectReader,
    SourceBlob,
};
use crate::types::notification::Event;
use crate::types::{
    BucketName, ByteRange, Checksum, ChecksumAlgorithm, ChecksumHasher, ObjectKey, Span, VersionId,
    Versioning, time,
};
use crate::xml::Writer;
use std::sync::Arc;

/// How often a copy begins anew because its source was overwritten under it.
const COPY_TRIES: u32 = 5;

/// What x-amz-copy-source names.
#[derive(Clone, PartialEq, Eq, Debug)]
struct SourceName {
    bucket: BucketName,
    key: ObjectKey,
    version: Option<VersionId>,
}

/// `/bucket/key` or `bucket/key`, percent-encoded, perhaps with `?versionId=`. `plus`: a `+` is a
/// space, as on AWS; else it stands for itself.
fn parse_source(header: &str, plus: bool) -> Result<SourceName, S3Error> {
    let bad = |message: &'static str| S3Error::argument("x-amz-copy-source", header, message);
    let (path, version) = match header.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version)),
        None => (header, None),
    };
    let version = match version {
        None => None,
        Some(text) => match VersionId::parse(text) {
            Some(id) => Some(id),
            None => return Err(bad("Invalid version id specified")),
        },
    };
    let path = uri::decode(path, plus).ok_or_else(|| bad("Invalid copy source encoding."))?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let (bucket, key) =
        path.split_once('/').ok_or_else(|| bad("Invalid copy source object key"))?;
    let bucket = BucketName::parse(bucket).ok_or_else(|| bad("Invalid copy source bucket name"))?;
    let key = ObjectKey::parse(key).map_err(|_| bad("Invalid copy source object key"))?;
    Ok(SourceName { bucket, key, version })
}

/// A source that the caller may read and whose conditions hold.
fn find_source(
    call: &Call<'_, '_>,
    name: &SourceName,
) -> Result<(Arc<Bucket>, Arc<Object>), S3Error> {
    let store = &call.app.store;
    let bucket = store.bucket(&name.bucket)?.ok_or_else(|| {
        S3Error::from(Code::NoSuchBucket).element("BucketName", name.bucket.as_str())
    })?;
    if call.header("x-amz-source-expected-bucket-owner").is_some_and(|o| o != bucket.owner) {
        return Err(Code::AccessDenied.into());
    }
    let object = object::find_in(call, &bucket, &name.key, name.version).map_err(|error| {
        match error.code {
            Code::MethodNotAllowed => Code::InvalidRequest.with(
                "The source of a copy request may not specifically refer to a delete marker by \
                 version id.",
            ),
            _ => {
                let error = S3Error { headers: Vec::new(), ..error };
                call.missing(error, &name.bucket, &name.key, name.version)
            }
        }
    })?;
    match Conditions::of_source(call.headers()).check(&object) {
        Verdict::Proceed => Ok((bucket, object)),
        Verdict::NotModified => Err(S3Error::from(Code::PreconditionFailed)
            .element("Condition", "x-amz-copy-source-If-None-Match")),
        Verdict::Failed(condition) => Err(S3Error::from(Code::PreconditionFailed)
            .element("Condition", format!("x-amz-copy-source-{condition}"))),
    }
}

fn source_of(call: &Call<'_, '_>) -> Result<SourceName, S3Error> {
    let header = call.header("x-amz-copy-source").unwrap_or_default();
    let mut name = parse_source(header, true)?;
    if header.contains('+') && !is_there(call, &name)? {
        // Clients that do not know AWS's reading of `+` mean the character.
        name = parse_source(header, false)?;
        call.authorize_copy((&name.bucket, &name.key), &[])?;
    }
    if let Err(denied) = call.authorize("s3:GetObject", &name.bucket, Some(&name.key), name.version)
    {
        // Who may list the bucket learns that there is nothing to read.
        if denied.code != Code::AccessDenied || is_there(call, &name)? {
            return Err(denied);
        }
        let missing = S3Error::from(Code::NoSuchKey).element("Key", name.key.as_str());
        return Err(call.missing(missing, &name.bucket, &name.key, name.version));
    }
    Ok(name)
}

fn is_there(call: &Call<'_, '_>, name: &SourceName) -> Result<bool, S3Error> {
    let store = &call.app.store;
    match store.bucket(&name.bucket)? {
        Some(bucket) => Ok(match name.version {
            None => store.object(bucket.id, &name.key)?.is_some(),
            Some(id) => store.version(bucket.id, &name.key, id)?.is_some(),
        }),
        None => Ok(false),
    }
}

/// Whether x-amz-metadata-directive says REPLACE.
fn replaces_metadata(call: &Call<'_, '_>) -> Result<bool, S3Error> {
    match call.header("x-amz-metadata-directive") {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("COPY") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("REPLACE") => Ok(true),
        Some(text) => {
            Err(S3Error::argument("x-amz-metadata-directive", text, "Unknown metadata directive."))
        }
    }
}

/// Whether x-amz-tagging-directive leaves the source's tags as they are.
fn copies_tags(call: &Call<'_, '_>) -> Result<bool, S3Error> {
    match call.header("x-amz-tagging-directive") {
        None => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("COPY") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("REPLACE") => Ok(false),
        Some(text) => {
            Err(S3Error::argument("x-amz-tagging-directive", text, "Unknown tagging directive."))
        }
    }
}

/// Adds which version was copied; AWS does not name the null version.
fn name_source(response: Response, from: &Bucket, source: &Object) -> Response {
    match versioning::shown(from, source.version_id()) {
        Some(id) if id != VersionId::Null => {
            response.header("x-amz-copy-source-version-id", id.to_string())
        }
        _ => response,
    }
}

/// CopyObject
pub fn copy_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    versioning::refuse(call)?;
    metadata::refuse_unsupported(call.headers())?;
    let name = source_of(call)?;
    let replace = replaces_metadata(call)?;
    let bucket = call.bucket()?;
    let key = call.key()?.clone();
    // A version of before may come back this way.
    let itself = name.bucket == bucket.name && name.key == key && name.version.is_none();
    let encryption = encryption::of_write(call, &bucket, call.headers())?;
    // A source with a customer's key becomes a target without one.
    let decrypts = encryption::Key::source_customer(call.headers())?.is_some();
    let changes = replace || encryption.is_some() || decrypts;
    if itself && !changes && call.header("x-amz-website-redirect-location").is_none() {
        return Err(Code::InvalidRequest.with(
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing the object's metadata, storage class, website redirect location \
             or encryption attributes.",
        ));
    }
    let algorithm = match call.header("x-amz-checksum-algorithm") {
        None => None,
        Some(text) => Some(ChecksumAlgorithm::parse(text).ok_or_else(|| {
            Code::InvalidRequest.with("Checksum algorithm provided is unsupported.")
        })?),
    };
    let extra = object::extra(call.headers(), &bucket)?;
    let copies_tags = copies_tags(call)?;
    let (owner, acl) = acl::of_new(call, &bucket, call.headers())?;
    let precondition = conditions::of_write(call);
    let mut vanished = Vanished::default();
    for _ in 0..COPY_TRIES {
        let (from, source) = find_source(call, &name)?;
        check_size(source.size)?;
        if copies_tags && !source.extra.tags.is_empty() {
            // They are read there and written here, as by the operations on tags.
            let action = "s3:GetObjectTagging";
            call.authorize(action, &name.bucket, Some(&name.key), name.version)?;
            call.authorize_copy((&name.bucket, &name.key), source.extra.tags.pairs())?;
        }
        let old = encryption::of_source(call, source.extra.seal.as_ref())?;
        let keys = (old.as_ref(), encryption.as_ref());
        let data = link_all(call, &from, &source, &bucket.name, keys)?;
        let checksum = copied_checksum(call, &from, &source, algorithm, old.as_ref())?;
        let (Some(data), Some(checksum)) = (data, checksum) else {
            vanished.again(&from, &source)?;
            continue;
        };
        let mut meta = source.meta.clone();
        if replace {
            meta = metadata::from_headers(call.headers())?;
        } else {
            metadata::replace_redirect(&mut meta, call.headers())?;
        }
        let new = NewObject {
            key: key.clone(),
            size: source.size,
            etag: source.etag.clone(),
            crc64: source.crc64,
            checksum: checksum.clone(),
            meta,
            owner: owner.clone(),
            data,
            extra: Extra {
                tags: if copies_tags { source.extra.tags.clone() } else { extra.tags.clone() },
                seal: Key::empty_seal(encryption.as_ref())?,
                acl: acl.clone(),
                ..extra.clone()
            },
        };
        let fresh = lifecycle::Fresh::of(call, &bucket, &new);
        let telling = call.creating(&bucket, Event::CreatedCopy);
        let stored = telling.put_object(bucket.id, new, precondition.clone())??;
        let etag = source.etag.quoted();
        let checksum = Checksum::of_object(checksum, source.crc64);
        let response = result("CopyObjectResult", &etag, stored.modified_ms, Some(checksum));
        // Unlike PutObject, a copy is told that it is the null version.
        let null = (bucket.versioning == Versioning::Suspended).then_some(VersionId::Null);
        let response = versioning::name(response, stored.version_id.or(null));
        let response = name_source(response, &from, &source);
        let response = fresh.with_expiration(response, stored.modified_ms);
        return Ok(Key::describe(encryption.as_ref(), response));
    }
    Err(Code::SlowDown.into())
}

/// Refuses to copy more bytes at once than one request may upload.
fn check_size(bytes: u64) -> Result<(), S3Error> {
    match bytes {
        0..=MAX_PUT_BYTES => Ok(()),
        _ => Err(Code::InvalidRequest.with(format!(
            "The specified copy source is larger than the maximum allowable size for a copy \
             source: {MAX_PUT_BYTES}"
        ))),
    }
}

/// The answer to a copy.
fn result(root: &str, etag: &str, modified_ms: i64, checksum: Option<Checksum>) -> Response {
    let mut xml = Writer::document();
    xml.root(root);
    xml.text("LastModified", &time::iso(modified_ms));
    xml.text("ETag", etag);
    if let Some(checksum) = &checksum {
        xml.text(checksum.algorithm.element(), &checksum.text());
        xml.text("ChecksumType", checksum.kind.name());
    }
    xml.close(root);
    document(200, xml)
}

/// The keys of the source and of the copy.
type Keys<'a> = (Option<&'a Key>, Option<&'a Key>);

/// Links every file of an object, or copies it where it is to be encrypted or decrypted; `None` if
/// one of them is gone.
fn link_all(
    call: &Call<'_, '_>,
    from: &Bucket,
    source: &Object,
    to: &BucketName,
    keys: Keys<'_>,
) -> Result<Option<NewData>, S3Error> {
    let store = &call.app.store;
    let sealing = Key::sealing(keys.1);
    let manifest = match source.data {
        Data::Empty => return Ok(Some(NewData::Empty)),
        Data::Blob(blob) => {
            let linked = store.copy_blob(whole(from, source, blob, keys.0), to, sealing)?;
            return Ok(linked.map(NewData::Blob));
        }
        Data::Parts(manifest) => manifest,
    };
    let mut parts = Vec::new();
    for part in store.parts(manifest, 0, MAX_PARTS as usize)? {
        let blob = match part.blob {
            None => None,
            Some(blob) => {
                let file = SourceBlob {
                    bucket: &from.name,
                    blob,
                    size: part.size,
                    crc64: part.crc64,
                    seal: part.seal.as_ref(),
                    kek: Key::kek(keys.0),
                };
                match store.copy_blob(file, to, sealing)? {
                    None => return Ok(None),
                    copied => copied,
                }
            }
        };
        parts.push(NewPart { part, blob });
    }
    let whole = parts.iter().map(|p| p.part.size).sum::<u64>() == source.size;
    Ok(whole.then_some(NewData::Parts(parts)))
}

/// The file of an object that has one.
fn whole<'a>(
    from: &'a Bucket,
    source: &'a Object,
    blob: BlobId,
    key: Option<&'a Key>,
) -> SourceBlob<'a> {
    SourceBlob {
        bucket: &from.name,
        blob,
        size: source.size,
        crc64: source.crc64,
        seal: source.extra.seal.as_ref(),
        kek: Key::kek(key),
    }
}

/// The checksum of the copy: the source's, or one that the client asks for, computed if it is not
/// known. `None` if the source is gone.
fn copied_checksum(
    call: &Call<'_, '_>,
    from: &Bucket,
    source: &Object,
    wanted: Option<ChecksumAlgorithm>,
    key: Option<&Key>,
) -> Result<Option<Option<Checksum>>, S3Error> {
    let Some(algorithm) = wanted else { return Ok(Some(source.checksum.clone())) };
    if let Some(known) = known_checksum(source, algorithm) {
        return Ok(Some(Some(known)));
    }
    let reader = call.app.store.open_object(&from.name, source, None, Key::kek(key))?;
    let Some(mut reader) = reader else { return Ok(None) };
    let mut hasher = ChecksumHasher::new(algorithm);
    each_piece(&mut reader, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(Some(Some(Checksum::full(algorithm, hasher.finish()))))
}

/// A checksum over all bytes that needs no reading.
fn known_checksum(source: &Object, algorithm: ChecksumAlgorithm) -> Option<Checksum> {
    if algorithm == ChecksumAlgorithm::Crc64nvme {
        return Some(Checksum::full(algorithm, source.crc64.to_be_bytes().to_vec()));
    }
    source.checksum.clone().filter(|c| c.algorithm == algorithm && c.parts == 0)
}

fn each_piece(
    reader: &mut ObjectReader,
    mut take: impl FnMut(&[u8]) -> Result<(), S3Error>,
) -> Result<(), S3Error> {
    with_buffer(IO_BUFFER_BYTES as u64, |buffer| {
        loop {
            match reader.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => take(&buffer[..n])?,
                Err(error) => {
                    object::note_corruption(&error, "the source of a copy");
                    return Err(error.into());
                }
            }
        }
    })
}

/// x-amz-copy-source-range: `bytes=first-last`, both given, inside the source.
fn source_range(call: &Call<'_, '_>, size: u64) -> Result<Option<Span>, S3Error> {
    let Some(text) = call.header("x-amz-copy-source-range") else { return Ok(None) };
    match ByteRange::parse(text) {
        Some(ByteRange::From(first, Some(last))) if last < size => {
            Ok(Some(Span { start: first, len: last - first + 1 }))
        }
        Some(ByteRange::From(_, Some(_))) => Err(S3Error::from(Code::InvalidRange)
            .element("RangeRequested", text)
            .element("ActualObjectSize", size.to_string())),
        _ => Err(S3Error::argument(
            "x-amz-copy-source-range",
            text,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy",
        )),
    }
}

/// UploadPartCopy
pub fn upload_part_copy(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    metadata::refuse_unsupported(call.headers())?;
    let number = multipart::part_number(call)?;
    let name = source_of(call)?;
    let bucket = call.bucket()?;
    let upload = multipart::find_upload(call, &bucket)?;
    let encryption = encryption::of_part(call, upload.extra.seal.as_ref())?;
    let algorithm = upload.checksum.map(|(algorithm, _)| algorithm);
    let mut vanished = Vanished::default();
    for _ in 0..COPY_TRIES {
        let (from, source) = find_source(call, &name)?;
        let span = source_range(call, source.size)?;
        check_size(span.map_or(source.size, |s| s.len))?;
        let old = encryption::of_source(call, source.extra.seal.as_ref())?;
        let keys = (old.as_ref(), encryption.as_ref());
        let received = match link_part(call, &from, &source, span, &bucket, algorithm, keys)? {
            Some(received) => Some(received),
            None => copy_part(call, &from, &source, span, &bucket, algorithm, keys)?,
        };
        let Some(received) = received else {
            vanished.again(&from, &source)?;
            continue;
        };
        let checksum = received.checksum.clone();
        let (etag, modified_ms) = multipart::store_part(call, &upload, number, received)?;
        let response = result("CopyPartResult", &etag.quoted(), modified_ms, checksum);
        let response = name_source(response, &from, &source);
        return Ok(Key::describe(encryption.as_ref(), response));
    }
    Err(Code::SlowDown.into())
}

/// A part by hard link, if it is all of an object of one file whose hashes are known.
fn link_part(
    call: &Call<'_, '_>,
    from: &Bucket,
    source: &Object,
    span: Option<Span>,
    to: &Bucket,
    algorithm: Option<ChecksumAlgorithm>,
    keys: Keys<'_>,
) -> Result<Option<Received>, S3Error> {
    let whole_source = span.is_none_or(|s| s.len == source.size);
    let (Data::Blob(blob), Some(md5), true) = (source.data, source.etag.md5(), whole_source) else {
        return Ok(None);
    };
    let checksum = match algorithm {
        None => None,
        Some(algorithm) => match known_checksum(source, algorithm) {
            Some(known) => Some(known),
            None => return Ok(None),
        },
    };
    let file = whole(from, source, blob, keys.0);
    let linked = call.app.store.copy_blob(file, &to.name, Key::sealing(keys.1))?;
    Ok(linked.map(|blob| Received {
        blob: Some(blob),
        size: source.size,
        md5,
        crc64: source.crc64,
        checksum,
    }))
}

/// A part by copying bytes. `None` if the source is gone.
fn copy_part(
    call: &Call<'_, '_>,
    from: &Bucket,
    source: &Object,
    span: Option<Span>,
    to: &Bucket,
    algorithm: Option<ChecksumAlgorithm>,
    keys: Keys<'_>,
) -> Result<Option<Received>, S3Error> {
    let store: &store::Store = &call.app.store;
    let reader = store.open_object(&from.name, source, span, Key::kek(keys.0))?;
    let Some(mut reader) = reader else { return Ok(None) };
    let mut sink = Sink::new(store.create_blob(&to.name, Key::sealing(keys.1))?, algorithm);
    each_piece(&mut reader, |piece| sink.write(piece))?;
    sink.finish(&Promised::default(), &Trailers::new()).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let name =
            |text| parse_source(text, true).map(|s| (s.bucket.to_string(), s.key.to_string()));
        let is = |bucket: &str, key: &str| (bucket.to_owned(), key.to_owned());
        assert_eq!(name("/abc/a%20b").unwrap(), is("abc", "a b"));
        assert_eq!(name("abc/a/b+c%2B").unwrap(), is("abc", "a/b c+"));
        assert_eq!(parse_source("abc/b+c", false).unwrap().key.as_str(), "b+c");
        assert_eq!(name("abc/a%3FversionId=x").unwrap(), is("abc", "a?versionId=x"));
        assert_eq!(name("abc/k?versionId=null").unwrap(), is("abc", "k"));
        for bad in ["", "abc", "abc/", "A_/k", "abc/%zz", "abc/k?versionId=1"] {
            assert_eq!(name(bad).unwrap_err().code, Code::InvalidArgument, "{bad}");
        }
    }
}
