//! PutObject, GetObject, HeadObject, GetObjectAttributes.

use super::{Call, S3Error};
use crate::http::Response;

/// TODO
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn head(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn attributes(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}
