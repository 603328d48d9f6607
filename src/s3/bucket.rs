//! Buckets: ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.

use super::{Call, S3Error};
use crate::http::Response;

/// TODO
pub fn list_buckets(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn create(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn head(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn location(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}
