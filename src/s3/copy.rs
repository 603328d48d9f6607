//! CopyObject and UploadPartCopy.

use super::{Call, S3Error};
use crate::http::Response;

/// TODO
pub fn copy_object(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}

/// TODO
pub fn upload_part_copy(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let _ = call;
    todo!()
}
