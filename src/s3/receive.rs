//! From the socket to a durable file: the one way in which object bytes come in.

use super::{Call, S3Error};
use crate::auth::Trailers;
use crate::http::Headers;
use crate::store::{Bucket, WrittenBlob};
use crate::types::{Checksum, ChecksumAlgorithm};

/// Bytes that were received, verified and made durable.
#[derive(Debug)]
pub struct Received {
    /// Their file; `None` if there are no bytes.
    pub blob: Option<WrittenBlob>,
    /// Number of bytes.
    pub size: u64,
    /// MD5 of them.
    pub md5: [u8; 16],
    /// CRC-64/NVME of them.
    pub crc64: u64,
    /// The checksum that the client sent (header or trailer), verified; or one computed because
    /// `want` named its algorithm.
    pub checksum: Option<Checksum>,
}

/// Receives the call's body into a new file of the bucket: length and limits, Content-MD5,
/// x-amz-checksum-* as header or trailer, signatures. Nothing is left behind on an error.
pub fn receive(
    call: &mut Call<'_, '_>,
    bucket: &Bucket,
    want: Option<ChecksumAlgorithm>,
) -> Result<Received, S3Error> {
    let _ = (call, bucket, want, Trailers::new());
    todo!()
}

/// Verifies a request document against Content-MD5 and x-amz-checksum-* in head or trailers.
pub fn verify_document(
    headers: &Headers,
    trailers: &Trailers,
    document: &[u8],
) -> Result<(), S3Error> {
    let _ = (headers, trailers, document);
    todo!()
}
