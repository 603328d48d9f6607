//! What the configurations of buckets have in common: each is stored as the document that is given
//! back.

use super::{Call, Code, S3Error};
use crate::http::{Payload, Response};
use crate::store::ConfigKind;
use crate::xml::Writer;

/// The document of a configuration, or the error that there is none.
pub fn get(call: &Call<'_, '_>, kind: ConfigKind, none: Code) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let Some(text) = bucket.config(kind) else {
        return Err(S3Error::from(none).element("BucketName", bucket.name.as_str()));
    };
    Ok(answer(text))
}

/// The answer with a document as it is stored.
pub fn answer(text: &str) -> Response {
    Response::new(200)
        .header("content-type", "application/xml")
        .payload(Payload::Bytes(text.as_bytes().to_vec()))
}

/// Stores a document that was read and written anew, so that only what was understood is kept.
pub fn put(call: &Call<'_, '_>, kind: ConfigKind, xml: Writer) -> Result<(), S3Error> {
    let bucket = call.bucket()?;
    call.app.store.set_config(bucket.id, kind, Some(xml.into_text()))??;
    Ok(())
}

/// Removes a configuration; it is no error if there is none.
pub fn delete(call: &Call<'_, '_>, kind: ConfigKind) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    call.app.store.set_config(bucket.id, kind, None)??;
    Ok(Response::new(204))
}
