//! Multipart uploads.

use super::receive::Received;
use super::{Call, Code, S3Error};
use crate::http::Response;
use crate::limits::MAX_PARTS;
use crate::store::{Bucket, NewPart, Part, Upload};
use crate::types::ETag;

/// TODO
pub fn create(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn upload_part(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn complete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn abort(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn list_parts(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn list_uploads(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// The part number of UploadPart and UploadPartCopy.
pub fn part_number(call: &Call<'_, '_>) -> Result<u32, S3Error> {
    let text = call.param("partNumber").unwrap_or_default();
    text.parse().ok().filter(|n| (1..=MAX_PARTS).contains(n)).ok_or_else(|| {
        S3Error::argument(
            "partNumber",
            text,
            "Part number must be an integer between 1 and 10000, inclusive",
        )
    })
}

/// The unfinished upload that a call names, or NoSuchUpload.
pub fn find_upload(call: &Call<'_, '_>, bucket: &Bucket) -> Result<Upload, S3Error> {
    let id = call.param("uploadId").unwrap_or_default();
    let found = call.app.store.upload(bucket.id, call.key()?, id)?;
    found.ok_or_else(|| S3Error::from(Code::NoSuchUpload).element("UploadId", id))
}

/// Stores what was received as a part; gives its entity tag and the time of the commit.
pub fn store_part(
    call: &Call<'_, '_>,
    upload: &Upload,
    number: u32,
    received: Received,
) -> Result<(ETag, i64), S3Error> {
    let Received { blob, size, md5, crc64, checksum } = received;
    let part = Part { number, size, md5, crc64, checksum, modified_ms: 0, blob: None };
    let modified_ms = call.app.store.put_part(upload, NewPart { part, blob })??;
    Ok((ETag::from_md5(&md5), modified_ms))
}
