//! The lifecycle configuration of a bucket, and what answers say of it. What rules mean is in
//! `types::lifecycle`, what carries them out in `jobs`.

mod document;

use super::{Call, Code, S3Error, uri};
use crate::http::Response;
use crate::store::{Bucket, ConfigKind, NewObject, Object};
use crate::types::lifecycle::{Due, Lifecycle, Subject};
use crate::types::{ObjectKey, Tags, time};
use std::sync::Arc;

/// Says which objects transitions leave where they are; there are no transitions.
const MINIMUM_SIZE: &str = "x-amz-transition-default-minimum-object-size";
/// Its default.
const ALL_CLASSES: &str = "all_storage_classes_128K";

/// PutBucketLifecycleConfiguration. The rules hold from the first midnight UTC on that is at
/// least three hours away.
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    match call.header(MINIMUM_SIZE) {
        None | Some(ALL_CLASSES) => {}
        Some(value @ "varies_by_storage_class") => {
            return Err(Code::NotImplemented.with(format!("{MINIMUM_SIZE}: {value}")));
        }
        Some(value) => return Err(S3Error::argument(MINIMUM_SIZE, value, "Invalid value")),
    }
    let lifecycle = document::parse(&call.document()?)?;
    let bucket = call.bucket()?;
    let kept = Some(lifecycle.to_json());
    call.app.store.set_config(bucket.id, ConfigKind::Lifecycle, kept)??;
    Ok(Response::new(200).header(MINIMUM_SIZE, ALL_CLASSES))
}

/// GetBucketLifecycleConfiguration
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    let lifecycle = bucket.rules().ok_or_else(|| {
        S3Error::from(Code::NoSuchLifecycleConfiguration)
            .element("BucketName", bucket.name.as_str())
    })?;
    Ok(super::document(200, document::write(lifecycle)).header(MINIMUM_SIZE, ALL_CLASSES))
}

/// DeleteBucketLifecycle
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let bucket = call.bucket()?;
    if bucket.config(ConfigKind::Lifecycle).is_some() {
        call.app.store.set_config(bucket.id, ConfigKind::Lifecycle, None)??;
    }
    Ok(Response::new(204))
}

/// What rules have to know of an object that is about to be written.
pub struct Fresh {
    lifecycle: Option<Arc<Lifecycle>>,
    key: ObjectKey,
    size: u64,
    tags: Tags,
    day_ms: i64,
}

impl Fresh {
    /// That of an object for a bucket.
    pub fn of(call: &Call<'_, '_>, bucket: &Bucket, new: &NewObject) -> Self {
        Self {
            lifecycle: bucket.rules().cloned(),
            key: new.key.clone(),
            size: new.size,
            tags: new.extra.tags.clone(),
            day_ms: call.app.lifecycle_day_ms,
        }
    }

    /// Adds x-amz-expiration if a rule will end the object, which was written then.
    pub fn with_expiration(self, response: Response, modified_ms: i64) -> Response {
        let Some(lifecycle) = &self.lifecycle else { return response };
        let (key, tags) = (self.key.as_str(), self.tags.pairs());
        let due =
            lifecycle.expires(&Subject { key, size: self.size, tags }, modified_ms, self.day_ms);
        announce(response, due)
    }
}

/// Adds x-amz-expiration to an answer about the current version of an object, if a rule will end
/// it.
pub fn with_expiration(
    call: &Call<'_, '_>,
    bucket: &Bucket,
    response: Response,
    object: &Object,
) -> Response {
    let Some(lifecycle) = bucket.rules() else { return response };
    let (key, tags) = (object.key.as_str(), object.extra.tags.pairs());
    let subject = Subject { key, size: object.size, tags };
    announce(response, lifecycle.expires(&subject, object.modified_ms, call.app.lifecycle_day_ms))
}

fn announce(response: Response, due: Option<Due<'_>>) -> Response {
    match due {
        Some(due) => {
            let (date, rule) = (time::http(due.at_ms), uri::encode(due.rule, false));
            let value = format!("expiry-date=\"{date}\", rule-id=\"{rule}\"");
            response.header("x-amz-expiration", value)
        }
        None => response,
    }
}
