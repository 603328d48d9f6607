//! PostObject: an upload from a browser's form, with a signed policy.

use super::encryption::{self, Key};
use super::multipart_form::{FormFault, FormReader, Preamble, boundary};
use super::object::with_checksum;
use super::receive::{Promised, Received, Sink, drain};
use super::{Call, Code, S3Error, acl, document, metadata, object, tagging, uri, versioning};
use crate::auth::post_form::{self, FormAuth, FormError};
use crate::auth::{self, Trailers};
use crate::http::{Headers, Response};
use crate::limits::{MAX_OBJECT_TAGS, MAX_PUT_BYTES};
use crate::store::{Bucket, Extra, NewData, NewObject};
use crate::types::notification::Event;
use crate::types::{Checksum, ETag, KeyError, ObjectKey, Precondition, Tags, time};
use crate::xml::Writer;

/// Fields that are metadata headers under the same name.
const META_FIELDS: [&str; 6] = [
    "cache-control",
    "content-type",
    "content-disposition",
    "content-encoding",
    "expires",
    "x-amz-website-redirect-location",
];

impl From<FormError> for S3Error {
    fn from(error: FormError) -> Self {
        match error {
            FormError::Auth(error) => error.into(),
            FormError::InvalidPolicyDocument(text) => Code::InvalidPolicyDocument.with(text),
            FormError::TooLarge { size, largest } => S3Error::from(Code::EntityTooLarge)
                .element("ProposedSize", size.to_string())
                .element("MaxSizeAllowed", largest.to_string()),
            FormError::TooSmall { size, smallest } => S3Error::from(Code::EntityTooSmall)
                .element("ProposedSize", size.to_string())
                .element("MinSizeAllowed", smallest.to_string()),
        }
    }
}

impl From<FormFault<S3Error>> for S3Error {
    fn from(fault: FormFault<S3Error>) -> Self {
        match fault {
            FormFault::Malformed(text) => Code::MalformedPOSTRequest.with(text),
            FormFault::TooLarge => Code::MaxPostPreDataLengthExceededError.into(),
            FormFault::Inner(error) => error,
        }
    }
}

/// The type of what browsers send.
const FORM: &str = "multipart/form-data";

/// PostObject
pub fn post_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let kind = call.header("content-type").unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with(FORM) {
        let condition = format!("Bucket POST must be of the enclosure-type {FORM}");
        return Err(S3Error::from(Code::PreconditionFailed).element("Condition", condition));
    }
    let boundary = boundary(kind)
        .ok_or_else(|| Code::MalformedPOSTRequest.with("Content-Type has no boundary."))?;
    let mut payload = call.payload.take().ok_or(Code::MalformedPOSTRequest)?;
    let mut form =
        FormReader::new(&boundary, |buf: &mut [u8]| payload.read(buf).map_err(S3Error::from));
    let mut preamble = form.preamble()?;
    let (key, auth) = admit(call, &mut preamble)?;
    call.stranger = None;
    let bucket = call.bucket()?;
    let meta = metadata_of(&preamble)?;
    let extra = extra_of(&preamble, &bucket)?;
    let (owner, acl) = acl::of_new(call, &bucket, &headers_of(&preamble))?;
    let promised = Promised::from_fields(&preamble.fields)?;

    let encryption = encryption::of_write(call, &bucket, &Headers::new(&preamble.fields))?;

    let writer = call.app.store.create_blob(&bucket.name, Key::sealing(encryption.as_ref()))?;
    let mut sink = Sink::new(writer, promised.algorithm);
    form.file(|piece| {
        sink.write(piece)?;
        if sink.len() > MAX_PUT_BYTES {
            return Err(Code::EntityTooLarge.into());
        }
        match auth.check_size(sink.len()) {
            Err(error @ FormError::TooLarge { .. }) => Err(error.into()),
            _ => Ok(()),
        }
    })?;
    drop(form);
    auth.check_size(sink.len())?;
    drain(&mut payload)?;
    payload.finish()?;
    let received = sink.finish(&promised, &Trailers::new())?;
    let Received { blob, size, md5, crc64, checksum } = received;
    let etag = ETag::from_md5(&md5);
    let new = NewObject {
        key: key.clone(),
        size,
        etag: etag.clone(),
        crc64,
        checksum: checksum.clone(),
        meta,
        owner,
        data: blob.map_or(NewData::Empty, NewData::Blob),
        extra: Extra { seal: Key::empty_seal(encryption.as_ref())?, acl, ..extra },
    };
    let telling = call.creating(&bucket, Event::CreatedPost);
    let stored = telling.put_object(bucket.id, new, Precondition::default())??;
    let response = answer(call, &preamble, &bucket, &key, &etag);
    let response = versioning::name(response, stored.version_id);
    let response = with_checksum(response, Some(&Checksum::of_object(checksum, crc64)));
    Ok(Key::describe(encryption.as_ref(), response))
}

/// The key of the upload, and whether its sender may make it.
fn admit(
    call: &mut Call<'_, '_>,
    preamble: &mut Preamble,
) -> Result<(ObjectKey, FormAuth), S3Error> {
    let Some(template) = preamble.fields.get("key") else {
        return Err(S3Error::argument(
            "key",
            "",
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the \
             order of the fields.",
        ));
    };
    let key = template.replace("${filename}", &preamble.filename);
    preamble.fields.insert("key".to_owned(), key.clone());
    let key = ObjectKey::parse(key).map_err(|error| match error {
        KeyError::TooLong => S3Error::from(Code::KeyTooLongError),
        KeyError::Empty => {
            S3Error::argument("key", "", "User key must have a length greater than 0.")
        }
    })?;
    let name = call.bucket_name()?.to_string();
    let now = time::now_ms() / 1000;
    let app = call.app;
    let auth = app.throttle.watch(
        auth::source(call.request, &app.auth),
        &*app.keys,
        |keys| post_form::authenticate_form(&preamble.fields, &name, keys, &app.auth, now),
        |done| match done {
            Ok(form) => Ok(&form.identity),
            Err(FormError::Auth(error)) => Err(Some(error)),
            Err(_) => Err(None),
        },
    )?;
    call.signer = Some(auth.identity.clone());
    let requester = app.gate.requester(&auth.identity).ok_or(Code::AccessDenied)?;
    let tags = tags_of(preamble)?;
    call.authorize_form(requester, &key, &headers_of(preamble), tags.pairs())?;
    Ok((key, auth))
}

/// The fields, with header names for what they stand for.
fn headers_of(preamble: &Preamble) -> Headers {
    let fields = preamble.fields.iter().map(|(name, value)| match name.as_str() {
        "acl" => ("x-amz-acl", value),
        name => (name, value),
    });
    Headers::new(fields)
}

/// The metadata that the fields give, after refusing those that ask for more than there is. The
/// Content-Type that the file has in the form says nothing, as on AWS: no policy is about it.
fn metadata_of(preamble: &Preamble) -> Result<crate::store::Meta, S3Error> {
    let headers = headers_of(preamble);
    metadata::refuse_unsupported(&headers)?;
    let mut fields: Vec<(String, String)> =
        headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    fields.retain(|(name, _)| {
        META_FIELDS.contains(&name.as_str()) || name.starts_with("x-amz-meta-")
    });
    metadata::collect(fields.iter().map(|(n, v)| (n.as_str(), v.as_str())))
}

/// The tags that the fields give: those of a document, or of what PutObject has as a header.
fn tags_of(preamble: &Preamble) -> Result<Tags, S3Error> {
    let field = |name: &str| preamble.fields.get(name);
    match (field("tagging"), field("x-amz-tagging")) {
        (Some(document), _) => tagging::parse(document.as_bytes(), MAX_OBJECT_TAGS),
        (None, Some(text)) => tagging::parse_header(text),
        (None, None) => Ok(Tags::default()),
    }
}

/// The tags and the lock that the fields give.
fn extra_of(preamble: &Preamble, bucket: &Bucket) -> Result<Extra, S3Error> {
    let extra = object::extra(&Headers::new(&preamble.fields), bucket)?;
    Ok(Extra { tags: tags_of(preamble)?, ..extra })
}

/// The answer that the form asks for: a redirect, a document, or nothing.
fn answer(
    call: &Call<'_, '_>,
    preamble: &Preamble,
    bucket: &Bucket,
    key: &ObjectKey,
    etag: &ETag,
) -> Response {
    let field = |name: &str| preamble.fields.get(name).map(String::as_str);
    let location = location(call, key);
    let plain = |status| {
        Response::new(status).header("etag", etag.quoted()).header("location", location.clone())
    };
    let redirect = field("success_action_redirect").or_else(|| field("redirect"));
    if let Some(url) =
        redirect.filter(|url| url.starts_with("http://") || url.starts_with("https://"))
    {
        let separator = if url.contains('?') { '&' } else { '?' };
        let to = format!(
            "{url}{separator}bucket={}&key={}&etag={}",
            uri::encode(bucket.name.as_str(), false),
            uri::encode(key.as_str(), false),
            uri::encode(&etag.quoted(), false),
        );
        return Response::new(303).header("location", to).header("etag", etag.quoted());
    }
    match field("success_action_status") {
        Some("200") => plain(200),
        Some("201") => {
            let mut xml = Writer::document();
            xml.open("PostResponse");
            xml.text("Location", &location);
            xml.text("Bucket", bucket.name.as_str());
            xml.text("Key", key.as_str());
            xml.text("ETag", &etag.quoted());
            xml.close("PostResponse");
            document(201, xml).header("etag", etag.quoted()).header("location", location)
        }
        _ => plain(204),
    }
}

/// The URL of the object, as the client reached us: the path of the form is that of the bucket, or
/// `/` where the host names the bucket.
fn location(call: &Call<'_, '_>, key: &ObjectKey) -> String {
    let path = call.request.path.trim_end_matches('/');
    format!("{}{path}/{}", origin(call), uri::encode(key.as_str(), true))
}

/// Scheme and host as the client used them, such as `https://s3.example.com`.
fn origin(call: &Call<'_, '_>) -> String {
    let forwarded = |name| call.header(name).filter(|_| call.app.auth.trust_forwarded);
    let scheme = match forwarded("x-forwarded-proto") {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    let host = forwarded("x-forwarded-host").or(call.header("host")).unwrap_or_default();
    format!("{scheme}://{host}")
}
