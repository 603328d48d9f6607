//! ListObjects in both versions.

use super::{Call, S3Error};
use crate::http::Response;

/// TODO
pub fn v1(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn v2(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}
