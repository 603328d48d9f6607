//! From the socket to a durable file: the one way in which object bytes come in.

use super::encryption::Key;
use super::{Call, Code, S3Error};
use crate::auth::{PayloadReader, Trailers};
use crate::http::Headers;
use crate::limits::{IO_BUFFER_BYTES, MAX_FORM_BYTES, MAX_PUT_BYTES};
use crate::store::{BlobWriter, Bucket, WrittenBlob};
use crate::types::{Checksum, ChecksumAlgorithm, ChecksumHasher};
use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use std::cell::RefCell;
use std::collections::BTreeMap;

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
/// x-amz-checksum-* as header or trailer, signatures. The file is encrypted with `encryption`.
/// Nothing is left behind on an error.
pub fn receive(
    call: &mut Call<'_, '_>,
    bucket: &Bucket,
    want: Option<ChecksumAlgorithm>,
    encryption: Option<&Key>,
) -> Result<Received, S3Error> {
    let headers = &call.request.headers;
    let promised = Promised::from_headers(headers)?;
    let mut payload = call.payload.take().ok_or(Code::MissingContentLength)?;
    // A chunked body need not say its length; then the limit holds while it arrives.
    let length = payload.length();
    if length.is_some_and(|length| length > MAX_PUT_BYTES) {
        return Err(Code::EntityTooLarge.into());
    }
    let writer = call.app.store.create_blob(&bucket.name, Key::sealing(encryption))?;
    let mut sink = Sink::new(writer, promised.algorithm.or(want));
    with_buffer(length.unwrap_or(u64::MAX), |buffer| -> Result<(), S3Error> {
        loop {
            let n = payload.read(buffer)?;
            if n == 0 {
                return Ok(());
            }
            sink.write(&buffer[..n])?;
            if sink.len() > MAX_PUT_BYTES {
                return Err(Code::EntityTooLarge.into());
            }
        }
    })?;
    let trailers = payload.finish()?;
    sink.finish(&promised, &trailers)
}

/// Lends a buffer for `length` bytes; one a thread, so that a request allocates none.
pub fn with_buffer<T>(length: u64, run: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    /// A buffer up to this size is kept by its thread; larger ones are given back, since there are
    /// many threads and few large objects at a time.
    const KEPT_BYTES: usize = 16 * 1024;
    let want = usize::try_from(length).unwrap_or(IO_BUFFER_BYTES).clamp(1024, IO_BUFFER_BYTES);
    if want > KEPT_BYTES {
        return run(&mut vec![0; want]);
    }
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < want {
            buffer.resize(want, 0);
        }
        run(&mut buffer[..want])
    })
}

/// What the head says that the bytes will be.
#[derive(Default, Debug)]
pub struct Promised {
    /// Content-MD5
    md5: Option<[u8; 16]>,
    /// The one algorithm of x-amz-checksum-*, or of its announced trailer.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// Its value, if it is in the head.
    value: Option<Vec<u8>>,
    /// Its value is in a trailer.
    in_trailer: bool,
}

/// What the names of checksum fields start with.
const CHECKSUM_PREFIX: &str = "x-amz-checksum-";

/// The algorithm whose value a field carries, by its name in lower case. One that JOG cannot
/// compute is refused: a checksum that nobody checks protects nothing.
fn checksum_field(name: &str) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let Some(rest) = name.strip_prefix(CHECKSUM_PREFIX) else { return Ok(None) };
    if matches!(rest, "algorithm" | "mode" | "type") {
        return Ok(None);
    }
    let known = ChecksumAlgorithm::ALL.into_iter().find(|a| a.header() == name);
    known.map(Some).ok_or_else(|| {
        Code::InvalidRequest
            .with("The algorithm type you specified in x-amz-checksum- header is invalid.")
    })
}

/// The value of a checksum field; what is no value of the algorithm matches no bytes.
fn decode(algorithm: ChecksumAlgorithm, text: &str) -> Result<Vec<u8>, S3Error> {
    algorithm.decode(text).ok_or_else(|| {
        Code::BadDigest.with(format!("Value for {} header is invalid.", algorithm.header()))
    })
}

impl Promised {
    /// Reads Content-MD5, x-amz-checksum-*, x-amz-trailer and x-amz-sdk-checksum-algorithm.
    pub fn from_headers(headers: &Headers) -> Result<Self, S3Error> {
        let mut promised = Self {
            md5: headers.get("content-md5").map(content_md5).transpose()?,
            ..Self::default()
        };
        for (name, text) in headers.iter() {
            if let Some(algorithm) = checksum_field(name)? {
                promised.only(algorithm)?;
                promised.value = Some(decode(algorithm, text)?);
            }
        }
        let trailers = headers.all("x-amz-trailer").flat_map(|t| t.split(','));
        for name in trailers.map(|t| t.trim().to_ascii_lowercase()) {
            if let Some(algorithm) = checksum_field(&name)? {
                promised.only(algorithm)?;
                promised.in_trailer = true;
            }
        }
        for header in ["x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm"] {
            let Some(name) = headers.get(header) else { continue };
            let named = ChecksumAlgorithm::parse(name)
                .filter(|named| promised.algorithm.is_none_or(|sent| sent == *named));
            promised.algorithm = Some(named.ok_or_else(|| {
                Code::InvalidRequest.with(format!("Value for {header} header is invalid."))
            })?);
        }
        Ok(promised)
    }

    /// Takes the algorithm of a checksum that comes with the bytes; there may be one.
    fn only(&mut self, algorithm: ChecksumAlgorithm) -> Result<(), S3Error> {
        match self.algorithm.replace(algorithm) {
            None => Ok(()),
            Some(_) => Err(Code::InvalidRequest.with(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            )),
        }
    }

    /// The promises of a POST form: fields instead of headers.
    pub fn from_fields(fields: &BTreeMap<String, String>) -> Result<Self, S3Error> {
        let promises =
            fields.iter().filter(|(n, _)| *n == "content-md5" || n.starts_with(CHECKSUM_PREFIX));
        Self::from_headers(&Headers::new(promises))
    }
}

fn content_md5(text: &str) -> Result<[u8; 16], S3Error> {
    let decoded = BASE64_STANDARD.decode(text.trim()).ok();
    decoded.and_then(|md5| md5.try_into().ok()).ok_or_else(|| Code::InvalidDigest.into())
}

/// Hashes bytes and writes them to a new file.
pub struct Sink {
    writer: BlobWriter,
    md5: Md5,
    algorithm: Option<ChecksumAlgorithm>,
    /// None for CRC64NVME, which the file's writer computes anyway.
    hasher: Option<ChecksumHasher>,
}

impl Sink {
    /// Computes this checksum besides MD5 and CRC-64/NVME.
    pub fn new(writer: BlobWriter, algorithm: Option<ChecksumAlgorithm>) -> Self {
        let own = algorithm.filter(|a| *a != ChecksumAlgorithm::Crc64nvme);
        Self { writer, md5: Md5::new(), algorithm, hasher: own.map(ChecksumHasher::new) }
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), S3Error> {
        self.md5.update(bytes);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(self.writer.write(bytes)?)
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.writer.len()
    }

    /// Verifies every promise, and only then makes the file durable.
    pub fn finish(self, promised: &Promised, trailers: &Trailers) -> Result<Received, S3Error> {
        let Self { writer, md5, algorithm, hasher } = self;
        let (size, crc64) = (writer.len(), writer.crc64());
        let md5: [u8; 16] = md5.finalize().into();
        if promised.md5.is_some_and(|promised| promised != md5) {
            return Err(Code::BadDigest
                .with("The Content-MD5 you specified did not match what we received."));
        }
        let checksum = algorithm.map(|algorithm| {
            let value = match hasher {
                Some(hasher) => hasher.finish(),
                None => crc64.to_be_bytes().to_vec(),
            };
            Checksum::full(algorithm, value)
        });
        if let Some(checksum) = &checksum {
            promised.verify(checksum, trailers)?;
        }
        Ok(Received { blob: writer.finish()?, size, md5, crc64, checksum })
    }
}

impl Promised {
    fn verify(&self, computed: &Checksum, trailers: &Trailers) -> Result<(), S3Error> {
        let algorithm = computed.algorithm;
        let promised = match &self.value {
            Some(value) => Some(value.clone()),
            None if self.in_trailer => {
                let text = trailers.get(algorithm.header()).ok_or(Code::MalformedTrailerError)?;
                Some(decode(algorithm, text)?)
            }
            None => None,
        };
        match promised {
            Some(value) if value != computed.value => Err(Code::BadDigest.with(format!(
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ))),
            _ => Ok(()),
        }
    }
}

/// Verifies a request document against Content-MD5 and x-amz-checksum-* in head or trailers.
pub fn verify_document(
    headers: &Headers,
    trailers: &Trailers,
    document: &[u8],
) -> Result<(), S3Error> {
    let promised = Promised::from_headers(headers)?;
    if promised.md5.is_some_and(|md5| md5 != <[u8; 16]>::from(Md5::digest(document))) {
        return Err(Code::BadDigest.into());
    }
    let Some(algorithm) = promised.algorithm else { return Ok(()) };
    let mut hasher = ChecksumHasher::new(algorithm);
    hasher.update(document);
    promised.verify(&Checksum::full(algorithm, hasher.finish()), trailers)
}

/// Reads and drops what stands behind the file of a form, which is little.
pub fn drain(payload: &mut PayloadReader<'_, '_>) -> Result<(), S3Error> {
    let mut scratch = [0; 4096];
    let mut dropped = 0;
    loop {
        match payload.read(&mut scratch)? {
            0 => return Ok(()),
            n => dropped += n,
        }
        if dropped > MAX_FORM_BYTES {
            return Err(Code::MalformedPOSTRequest.with("Too much follows the file of the form."));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promised(fields: &[(&str, &str)]) -> Result<Promised, S3Error> {
        Promised::from_headers(&Headers::new(fields.iter().copied()))
    }

    #[test]
    fn one_checksum_of_a_known_algorithm() {
        let crc32 = ("x-amz-checksum-crc32", "y/Q5Jg==");
        let algorithm = |fields: &[_]| promised(fields).unwrap().algorithm;
        assert_eq!(algorithm(&[crc32]), Some(ChecksumAlgorithm::Crc32));
        assert_eq!(algorithm(&[("x-amz-checksum-mode", "ENABLED")]), None);
        let trailer = ("x-amz-trailer", "X-Amz-Checksum-SHA256");
        assert_eq!(algorithm(&[trailer]), Some(ChecksumAlgorithm::Sha256));
        for header in ["x-amz-sdk-checksum-algorithm", "x-amz-checksum-algorithm"] {
            assert_eq!(algorithm(&[(header, "sha1")]), Some(ChecksumAlgorithm::Sha1));
            assert_eq!(algorithm(&[crc32, (header, "CRC32")]), Some(ChecksumAlgorithm::Crc32));
            let error = promised(&[crc32, (header, "SHA1")]).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest);
        }
        for refused in [
            &[crc32, crc32][..],
            &[crc32, ("x-amz-checksum-sha1", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=")],
            &[crc32, trailer],
            &[("x-amz-checksum-sha512", "AA==")],
            &[("x-amz-trailer", "x-amz-checksum-xxhash64")],
        ] {
            let error = promised(refused).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest, "{refused:?}");
        }
    }
}
