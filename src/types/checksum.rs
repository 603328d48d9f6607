//! The checksums that S3 clients may ask for, and their combination over the parts of an upload.

use base64::{Engine, prelude::BASE64_STANDARD};
use crc_fast::{CrcAlgorithm, Digest as Crc, checksum_combine};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The algorithms of `x-amz-checksum-*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC)
    Crc32,
    /// CRC-32C (iSCSI)
    Crc32c,
    /// CRC-64/NVME
    Crc64nvme,
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
}

/// What a checksum of a multipart object is taken of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChecksumType {
    /// All bytes of the object.
    FullObject,
    /// The checksums of its parts, concatenated.
    Composite,
}

/// A checksum and what it is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checksum {
    /// Its algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// FULL_OBJECT or COMPOSITE.
    pub kind: ChecksumType,
    /// Its bytes, big-endian for the CRCs.
    pub value: Vec<u8>,
    /// Number of parts of a composite checksum, else 0.
    pub parts: u32,
}

impl ChecksumAlgorithm {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64nvme, Self::Sha1, Self::Sha256];

    /// The name in documents and in `x-amz-checksum-algorithm`, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// The name in documents, as in `ChecksumAlgorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The element that carries a value in documents.
    pub fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// The header that carries a value.
    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Length of a value, in bytes.
    pub fn value_len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Decodes a value in base64; `None` if it is not one of this algorithm.
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(text.trim()).ok().filter(|v| v.len() == self.value_len())
    }

    /// The type that a multipart upload has when its creator names none.
    pub fn default_type(self) -> ChecksumType {
        match self {
            Self::Crc64nvme => ChecksumType::FullObject,
            _ => ChecksumType::Composite,
        }
    }

    /// Whether a multipart object can have this type of checksum: CRC64NVME only FULL_OBJECT, the
    /// SHAs only COMPOSITE.
    pub fn allows(self, kind: ChecksumType) -> bool {
        match self {
            Self::Crc64nvme => kind == ChecksumType::FullObject,
            Self::Sha1 | Self::Sha256 => kind == ChecksumType::Composite,
            Self::Crc32 | Self::Crc32c => true,
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// The CRC of two byte strings in a row from the CRC of each and the second's length. `None`
    /// for the SHAs, which cannot be combined.
    pub fn combine(self, first: &[u8], second: &[u8], second_len: u64) -> Option<Vec<u8>> {
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, &b| (n << 8) | u64::from(b));
        let sum = checksum_combine(self.crc()?, number(first), number(second), second_len);
        Some(sum.to_be_bytes()[8 - self.value_len()..].to_vec())
    }
}

impl ChecksumType {
    /// `FULL_OBJECT` or `COMPOSITE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The type of that name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|t| t.name().eq_ignore_ascii_case(name))
    }
}

impl Checksum {
    /// A checksum of all bytes of an object.
    pub fn full(algorithm: ChecksumAlgorithm, value: Vec<u8>) -> Self {
        Self { algorithm, kind: ChecksumType::FullObject, value, parts: 0 }
    }

    /// The checksum of an object that may have been sent with one; else AWS gives it, as we do, the
    /// CRC-64/NVME of its bytes.
    pub fn of_object(sent: Option<Self>, crc64: u64) -> Self {
        let own = || Self::full(ChecksumAlgorithm::Crc64nvme, crc64.to_be_bytes().to_vec());
        sent.unwrap_or_else(own)
    }

    /// The value as clients see it: base64, with `-N` behind a composite one.
    pub fn text(&self) -> String {
        let text = BASE64_STANDARD.encode(&self.value);
        if self.parts > 0 { format!("{text}-{}", self.parts) } else { text }
    }
}

/// One checksum being computed.
pub enum ChecksumHasher {
    /// A CRC of this algorithm.
    Crc(ChecksumAlgorithm, Crc),
    /// SHA-1
    Sha1(Sha1),
    /// SHA-256
    Sha256(Sha256),
}

impl ChecksumHasher {
    /// Starts with no bytes.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        match (algorithm.crc(), algorithm) {
            (Some(crc), _) => Self::Crc(algorithm, Crc::new(crc)),
            (None, ChecksumAlgorithm::Sha1) => Self::Sha1(Sha1::new()),
            (None, _) => Self::Sha256(Sha256::new()),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, crc) => crc.update(bytes),
            Self::Sha1(sha) => sha.update(bytes),
            Self::Sha256(sha) => sha.update(bytes),
        }
    }

    /// The checksum's bytes.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(algorithm, crc) => {
                crc.finalize().to_be_bytes()[8 - algorithm.value_len()..].to_vec()
            }
            Self::Sha1(sha) => sha.finalize().to_vec(),
            Self::Sha256(sha) => sha.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChecksumAlgorithm, ChecksumHasher};
    use base64::{Engine, prelude::BASE64_STANDARD};

    fn sum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = ChecksumHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Check values of the CRC catalogue (crc-32, crc-32c, crc-64/nvme) and FIPS 180 for "abc".
    #[test]
    fn known_values() {
        let digits = b"123456789";
        assert_eq!(hex::encode(sum(ChecksumAlgorithm::Crc32, digits)), "cbf43926");
        assert_eq!(hex::encode(sum(ChecksumAlgorithm::Crc32c, digits)), "e3069283");
        assert_eq!(hex::encode(sum(ChecksumAlgorithm::Crc64nvme, digits)), "ae8b14860a799888");
        assert_eq!(
            hex::encode(sum(ChecksumAlgorithm::Sha1, b"abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            BASE64_STANDARD.encode(sum(ChecksumAlgorithm::Sha256, b"abc")),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
    }

    #[test]
    fn combined_crc_is_the_crc_of_all_bytes() {
        for algorithm in
            [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64nvme]
        {
            let (a, b) = (vec![1u8; 70_001], vec![2u8; 31]);
            let all = [a.clone(), b.clone()].concat();
            let got = algorithm.combine(&sum(algorithm, &a), &sum(algorithm, &b), b.len() as u64);
            assert_eq!(got, Some(sum(algorithm, &all)));
        }
        assert_eq!(ChecksumAlgorithm::Sha1.combine(&[0; 20], &[0; 20], 1), None);
    }
}
