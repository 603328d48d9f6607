//! POST form upload.

use super::{Call, S3Error};
use crate::http::Response;

/// TODO
pub fn post_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}
