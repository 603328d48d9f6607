//! DeleteObject and DeleteObjects.

use super::{Call, S3Error};
use crate::http::Response;

/// TODO
pub fn delete_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn delete_objects(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}
