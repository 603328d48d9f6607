//! Multipart uploads: CreateMultipartUpload, UploadPart, AbortMultipartUpload. Completing one is
//! in [`complete`], listing in [`listing`].

mod checksums;
mod complete;
mod listing;

pub use complete::complete;
pub use listing::{list_parts, list_uploads};

use super::encryption::{self, Key};
use super::receive::{Promised, Received, receive};
use super::{Call, Code, S3Error, acl, conditions, document, metadata, object};
use crate::http::Response;
use crate::limits::MAX_PARTS;
use crate::store::{Bucket, Extra, NewPart, NewUpload, Part, Upload};
use crate::types::{ChecksumAlgorithm, ChecksumType, ETag};
use crate::xml::Writer;

/// CreateMultipartUpload
pub fn create(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    metadata::refuse_unsupported(call.headers())?;
    let meta = metadata::from_headers(call.headers())?;
    let checksum = checksums::of_upload(
        call.header("x-amz-checksum-algorithm"),
        call.header("x-amz-checksum-type"),
    )?;
    let bucket = call.bucket()?;
    let extra = object::extra(call.headers(), &bucket)?;
    let (owner, acl) = acl::of_new(call, &bucket, call.headers())?;
    let encryption = encryption::of_write(call, &bucket, call.headers())?;
    let new = NewUpload {
        key: call.key()?.clone(),
        owner,
        meta,
        checksum,
        extra: Extra { seal: Key::empty_seal(encryption.as_ref())?, acl, ..extra },
    };
    let upload = call.app.store.create_upload(bucket.id, new)??;
    let mut xml = Writer::document();
    xml.root("InitiateMultipartUploadResult");
    xml.text("Bucket", bucket.name.as_str());
    xml.text("Key", upload.key.as_str());
    xml.text("UploadId", &upload.upload_id);
    xml.close("InitiateMultipartUploadResult");
    let response = Key::describe(encryption.as_ref(), document(200, xml));
    Ok(match checksum {
        Some((algorithm, kind)) => response
            .header("x-amz-checksum-algorithm", algorithm.name())
            .header("x-amz-checksum-type", kind.name()),
        None => response,
    })
}

/// UploadPart
pub fn upload_part(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    metadata::refuse_unsupported(call.headers())?;
    let number = part_number(call)?;
    let bucket = call.bucket()?;
    let upload = find_upload(call, &bucket)?;
    let encryption = encryption::of_part(call, upload.extra.seal.as_ref())?;
    let want = upload.checksum.map(|(algorithm, _)| algorithm);
    // Before the body: a part that cannot be taken is not worth receiving.
    let sent = Promised::from_headers(call.headers())?.algorithm;
    if let (Some(want), Some(sent)) = (want, sent)
        && want != sent
    {
        return Err(another_algorithm(want, sent));
    }
    let received = receive(call, &bucket, want, encryption.as_ref())?;
    let checksum = received.checksum.clone();
    let (etag, _) = store_part(call, &upload, number, received)?;
    let response = Response::new(200).header("etag", etag.quoted());
    let mut response = Key::describe(encryption.as_ref(), response);
    if let Some(checksum) = &checksum {
        response = response.header(checksum.algorithm.header(), checksum.text());
    }
    Ok(response)
}

/// A part has a checksum of another algorithm than its upload.
fn another_algorithm(want: ChecksumAlgorithm, sent: ChecksumAlgorithm) -> S3Error {
    Code::InvalidRequest.with(format!(
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        want.name().to_ascii_lowercase(),
        sent.name().to_ascii_lowercase()
    ))
}

/// AbortMultipartUpload
pub fn abort(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let upload_id = call.param("uploadId").unwrap_or_default();
    let header = "x-amz-if-match-initiated-time";
    if let Some(text) = call.header(header) {
        let wanted = conditions::seconds(text).ok_or_else(|| {
            S3Error::argument(header, text, format!("Value for {header} header is invalid."))
        })?;
        // As AWS documents it, what is not there is no failure here. The time of an upload never
        // changes, so it may be looked at beforehand.
        match call.app.store.upload(bucket.id, call.key()?, upload_id)? {
            None => return Ok(Response::new(204)),
            Some(upload) if upload.started_ms.div_euclid(1000) == wanted => {}
            Some(_) => {
                return Err(S3Error::from(Code::PreconditionFailed).element("Condition", header));
            }
        }
    }
    call.app.store.abort_upload(bucket.id, call.key()?, upload_id)??;
    Ok(Response::new(204))
}

/// The number of the part that a call is about.
pub(super) fn part_number(call: &Call<'_, '_>) -> Result<u32, S3Error> {
    let text = call.param("partNumber").unwrap_or_default();
    parse_part_number(text).ok_or_else(|| {
        S3Error::argument(
            "partNumber",
            text,
            "Part number must be an integer between 1 and 10000, inclusive",
        )
    })
}

fn parse_part_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|n| (1..=MAX_PARTS).contains(n))
}

/// The unfinished upload that a call is about, or NoSuchUpload.
pub(super) fn find_upload(call: &Call<'_, '_>, bucket: &Bucket) -> Result<Upload, S3Error> {
    let upload_id = call.param("uploadId").unwrap_or_default();
    let upload = call.app.store.upload(bucket.id, call.key()?, upload_id)?;
    upload.ok_or_else(|| no_such_upload(upload_id))
}

fn no_such_upload(upload_id: &str) -> S3Error {
    S3Error::from(Code::NoSuchUpload).element("UploadId", upload_id)
}

/// Makes what was received a part of an upload. Gives its entity tag, and when it was committed in
/// milliseconds since 1970.
pub(super) fn store_part(
    call: &Call<'_, '_>,
    upload: &Upload,
    number: u32,
    received: Received,
) -> Result<(ETag, i64), S3Error> {
    let etag = ETag::from_md5(&received.md5);
    let part = Part {
        number,
        size: received.size,
        md5: received.md5,
        crc64: received.crc64,
        checksum: received.checksum,
        // The store sets these: the time is that of the commit, the others are the file's.
        modified_ms: 0,
        blob: None,
        seal: None,
    };
    let modified_ms = call.app.store.put_part(upload, NewPart { part, blob: received.blob })??;
    Ok((etag, modified_ms))
}

/// ChecksumAlgorithm and ChecksumType of an upload.
fn write_algorithm(xml: &mut Writer, checksum: Option<(ChecksumAlgorithm, ChecksumType)>) {
    if let Some((algorithm, kind)) = checksum {
        xml.text("ChecksumAlgorithm", algorithm.name());
        xml.text("ChecksumType", kind.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers() {
        assert_eq!(parse_part_number("1"), Some(1));
        assert_eq!(parse_part_number("0010000"), Some(10_000));
        for bad in ["", "0", "10001", "-1", "+1", "1.0", " 1", "99999999999999999999"] {
            assert_eq!(parse_part_number(bad), None, "{bad}");
        }
    }
}
