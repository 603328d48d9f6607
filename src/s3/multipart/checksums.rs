//! Checksums of multipart uploads: which there may be, and what an object's is from its parts'.

use crate::s3::{Code, S3Error};
use crate::store::Part;
use crate::types::{Checksum, ChecksumAlgorithm, ChecksumHasher, ChecksumType};

/// The checksum that the headers of CreateMultipartUpload ask for.
pub fn of_upload(
    algorithm: Option<&str>,
    kind: Option<&str>,
) -> Result<Option<(ChecksumAlgorithm, ChecksumType)>, S3Error> {
    let Some(name) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(Code::InvalidRequest.with(
                "The x-amz-checksum-type header can only be used with the \
                 x-amz-checksum-algorithm header.",
            )),
        };
    };
    let algorithm = ChecksumAlgorithm::parse(name).ok_or_else(|| {
        Code::InvalidRequest.with(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid \
             types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
        )
    })?;
    let kind = match kind {
        None => algorithm.default_type(),
        Some(name) => parse_type(name)?,
    };
    if !algorithm.allows(kind) {
        return Err(Code::InvalidRequest.with(format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name().to_ascii_lowercase()
        )));
    }
    Ok(Some((algorithm, kind)))
}

/// The value of x-amz-checksum-type.
pub fn parse_type(name: &str) -> Result<ChecksumType, S3Error> {
    ChecksumType::parse(name).ok_or_else(|| {
        Code::InvalidRequest.with("Value for x-amz-checksum-type header is invalid.")
    })
}

/// The CRC-64/NVME of all bytes of an object made of these parts.
pub fn crc64(parts: &[Part]) -> u64 {
    let sum = combine(ChecksumAlgorithm::Crc64nvme, parts, |part| {
        Some(part.crc64.to_be_bytes().to_vec())
    });
    let bytes = sum.and_then(|bytes| bytes.try_into().ok());
    // The CRC of no bytes at all is 0.
    u64::from_be_bytes(bytes.unwrap_or_default())
}

/// The checksum of an object made of these parts; `None` if a part lacks the one it takes.
pub fn of_parts(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumType,
    parts: &[Part],
) -> Option<Checksum> {
    match kind {
        ChecksumType::FullObject => {
            let value = combine(algorithm, parts, |part| of_part(algorithm, part))?;
            Some(Checksum::full(algorithm, value))
        }
        ChecksumType::Composite => {
            let mut hasher = ChecksumHasher::new(algorithm);
            for part in parts {
                hasher.update(&of_part(algorithm, part)?);
            }
            let count = u32::try_from(parts.len()).ok()?;
            Some(Checksum { algorithm, kind, value: hasher.finish(), parts: count })
        }
    }
}

/// The checksum of a part, if it is known.
pub fn of_part(algorithm: ChecksumAlgorithm, part: &Part) -> Option<Vec<u8>> {
    match &part.checksum {
        Some(checksum) if checksum.algorithm == algorithm => Some(checksum.value.clone()),
        _ if algorithm == ChecksumAlgorithm::Crc64nvme => Some(part.crc64.to_be_bytes().to_vec()),
        _ => None,
    }
}

/// The CRC of all parts' bytes in a row. `None` if there is no part, if one has no value, or for
/// an algorithm that cannot be combined.
fn combine(
    algorithm: ChecksumAlgorithm,
    parts: &[Part],
    value: impl Fn(&Part) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let (first, rest) = parts.split_first()?;
    let mut sum = value(first)?;
    for part in rest {
        sum = algorithm.combine(&sum, &value(part)?, part.size)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChecksumAlgorithm::{Crc32, Crc64nvme, Sha1, Sha256};
    use ChecksumType::{Composite, FullObject};

    fn sum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = ChecksumHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    fn part(number: u32, algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Part {
        Part {
            number,
            size: bytes.len() as u64,
            md5: [0; 16],
            crc64: u64::from_be_bytes(sum(Crc64nvme, bytes).try_into().unwrap()),
            checksum: Some(Checksum::full(algorithm, sum(algorithm, bytes))),
            modified_ms: 0,
            blob: None,
            seal: None,
        }
    }

    #[test]
    fn what_an_upload_may_ask_for() {
        let ask = |algorithm, kind| of_upload(algorithm, kind).map_err(|e| e.code);
        assert_eq!(ask(None, None), Ok(None));
        assert_eq!(ask(Some("crc32"), None), Ok(Some((Crc32, Composite))));
        assert_eq!(ask(Some("CRC32"), Some("FULL_OBJECT")), Ok(Some((Crc32, FullObject))));
        assert_eq!(ask(Some("CRC64NVME"), None), Ok(Some((Crc64nvme, FullObject))));
        for (algorithm, kind) in [
            (None, Some("COMPOSITE")),
            (Some("MD4"), None),
            (Some("SHA1"), Some("FULL_OBJECT")),
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("CRC32"), Some("HALF")),
        ] {
            assert_eq!(ask(algorithm, kind), Err(Code::InvalidRequest), "{algorithm:?} {kind:?}");
        }
    }

    #[test]
    fn full_object_is_the_checksum_of_all_bytes() {
        let bytes = [&b"first part"[..], b"", b"2", &[7; 100_000]];
        for algorithm in [Crc32, ChecksumAlgorithm::Crc32c, Crc64nvme] {
            let parts: Vec<Part> =
                (1..).zip(bytes).map(|(n, bytes)| part(n, algorithm, bytes)).collect();
            let all = sum(algorithm, &bytes.concat());
            let whole = of_parts(algorithm, FullObject, &parts).unwrap();
            assert_eq!(whole, Checksum::full(algorithm, all));
            let crc = sum(Crc64nvme, &bytes.concat());
            assert_eq!(crc64(&parts).to_be_bytes().to_vec(), crc);
            assert_eq!(of_parts(Sha1, FullObject, &parts), None);
        }
        assert_eq!(crc64(&[]), 0);
    }

    #[test]
    fn composite_is_the_checksum_of_checksums() {
        let parts = [part(1, Sha256, b"a"), part(2, Sha256, b"b")];
        let both = [sum(Sha256, b"a"), sum(Sha256, b"b")].concat();
        let got = of_parts(Sha256, Composite, &parts).unwrap();
        assert_eq!(got.value, sum(Sha256, &both));
        assert!(got.text().ends_with("=-2"));
        assert_eq!(of_parts(Crc32, Composite, &parts), None);
    }
}
