//! How values stand in columns.

use super::{BlobId, Data, Extra, ManifestId, Meta, Part, Seal, StoreError, Summary, Upload};
use crate::types::{
    Checksum, ChecksumAlgorithm, ChecksumType, ETag, Lock, ObjectKey, Retention, RetentionMode,
    Tags,
};
use rusqlite::Row;
use std::sync::Arc;

/// A column whose content this program would not have written.
fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("metadata.db: {what}"))
}

/// Number of an algorithm in columns; never changes.
pub fn algorithm_number(algorithm: ChecksumAlgorithm) -> u8 {
    match algorithm {
        ChecksumAlgorithm::Crc32 => 1,
        ChecksumAlgorithm::Crc32c => 2,
        ChecksumAlgorithm::Crc64nvme => 3,
        ChecksumAlgorithm::Sha1 => 4,
        ChecksumAlgorithm::Sha256 => 5,
    }
}

/// Number of a checksum's type in columns; never changes.
pub fn kind_number(kind: ChecksumType) -> u8 {
    match kind {
        ChecksumType::FullObject => 0,
        ChecksumType::Composite => 1,
    }
}

/// The algorithm and type of two numbers.
pub fn algorithm_and_kind(
    algorithm: u8,
    kind: u8,
) -> Result<(ChecksumAlgorithm, ChecksumType), StoreError> {
    let found = ChecksumAlgorithm::ALL.into_iter().find(|a| algorithm_number(*a) == algorithm);
    let kind = match kind {
        0 => ChecksumType::FullObject,
        1 => ChecksumType::Composite,
        _ => return Err(corrupt("checksum type")),
    };
    Ok((found.ok_or_else(|| corrupt("checksum algorithm"))?, kind))
}

/// A checksum as a column: algorithm, type, number of parts (4 bytes, big-endian), value.
pub fn encode_checksum(checksum: Option<&Checksum>) -> Option<Vec<u8>> {
    checksum.map(|c| {
        let mut out = vec![algorithm_number(c.algorithm), kind_number(c.kind)];
        out.extend_from_slice(&c.parts.to_be_bytes());
        out.extend_from_slice(&c.value);
        out
    })
}

/// The checksum of a column.
pub fn decode_checksum(column: Option<&[u8]>) -> Result<Option<Checksum>, StoreError> {
    let Some(bytes) = column else { return Ok(None) };
    let Some((head, value)) = bytes.split_at_checked(6) else {
        return Err(corrupt("checksum"));
    };
    let (algorithm, kind) = algorithm_and_kind(head[0], head[1])?;
    let parts = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    Ok(Some(Checksum { algorithm, kind, value: value.to_vec(), parts }))
}

/// Metadata as a column.
pub fn encode_meta(meta: &Meta) -> String {
    serde_json::to_string(&meta.0).expect("pairs of strings are always JSON")
}

/// The metadata of a column.
pub fn decode_meta(column: &str) -> Result<Meta, StoreError> {
    serde_json::from_str(column).map(Meta).map_err(|_| corrupt("object metadata"))
}

/// Tags as a column.
pub fn encode_tags(tags: &Tags) -> Option<String> {
    let json = || serde_json::to_string(tags.pairs()).expect("pairs of strings are always JSON");
    (!tags.is_empty()).then(json)
}

/// A retention as two columns: mode and end.
pub fn encode_retention(retention: Option<Retention>) -> (Option<u8>, Option<i64>) {
    let mode = retention.map(|r| match r.mode {
        RetentionMode::Governance => 1,
        RetentionMode::Compliance => 2,
    });
    (mode, retention.map(|r| r.until_ms))
}

/// The lock of three columns: retention, retain_until_ms, legal_hold.
pub fn lock(row: &Row<'_>, at: usize) -> Result<Lock, StoreError> {
    let mode = match row.get::<_, Option<i64>>(at)? {
        None => None,
        Some(1) => Some(RetentionMode::Governance),
        Some(2) => Some(RetentionMode::Compliance),
        Some(_) => return Err(corrupt("retention")),
    };
    let until_ms: Option<i64> = row.get(at + 1)?;
    Ok(Lock {
        retention: mode.zip(until_ms).map(|(mode, until_ms)| Retention { mode, until_ms }),
        legal_hold: row.get(at + 2)?,
    })
}

/// The tags of a column.
pub fn tags(row: &Row<'_>, at: usize) -> Result<Tags, StoreError> {
    match row.get_ref(at)?.as_str_or_null().map_err(|_| corrupt("tags"))? {
        None => Ok(Tags::default()),
        Some(json) => Ok(Tags::stored(serde_json::from_str(json).map_err(|_| corrupt("tags"))?)),
    }
}

/// Six columns: tags, those of [`lock`], seal, acl.
pub fn extra(row: &Row<'_>, at: usize) -> Result<Extra, StoreError> {
    let (seal, acl) = (seal(row, at + 4)?, row.get(at + 5)?);
    Ok(Extra { tags: tags(row, at)?, lock: lock(row, at + 1)?, seal, acl })
}

/// A seal as a column.
pub fn encode_seal(seal: Option<&Seal>) -> Option<Vec<u8>> {
    seal.map(Seal::encode)
}

/// The seal of a column.
fn seal(row: &Row<'_>, at: usize) -> Result<Option<Seal>, StoreError> {
    match row.get_ref(at)?.as_blob_or_null().map_err(|_| corrupt("seal"))? {
        None => Ok(None),
        Some(column) => Seal::decode(column).map(Some).ok_or_else(|| corrupt("seal")),
    }
}

/// A key that was stored.
pub fn key(text: &str) -> Result<ObjectKey, StoreError> {
    ObjectKey::parse(text).map_err(|_| corrupt("key"))
}

/// The text of the key in a column.
pub fn key_text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| corrupt("key"))?;
    std::str::from_utf8(bytes).map_err(|_| corrupt("key"))
}

/// Where the bytes of two columns are.
pub fn decode_data(blob: Option<i64>, manifest: Option<i64>) -> Data {
    match (blob, manifest) {
        (Some(blob), _) => Data::Blob(BlobId(blob)),
        (None, Some(manifest)) => Data::Parts(ManifestId(manifest)),
        (None, None) => Data::Empty,
    }
}

/// The two columns of where bytes are.
pub fn encode_data(data: Data) -> (Option<i64>, Option<i64>) {
    match data {
        Data::Empty => (None, None),
        Data::Blob(blob) => (Some(blob.0), None),
        Data::Parts(manifest) => (None, Some(manifest.0)),
    }
}

/// A row of [`Summary`]: key, size, modified_ms, etag, checksum.
pub fn summary(row: &Row<'_>, key: ObjectKey, owner: Arc<str>) -> Result<Summary, StoreError> {
    let checksum = match row.get_ref(4)?.as_blob_or_null().map_err(|_| corrupt("checksum"))? {
        Some([algorithm, kind, ..]) => Some(algorithm_and_kind(*algorithm, *kind)?),
        _ => None,
    };
    Ok(Summary {
        key,
        size: row.get::<_, i64>(1)? as u64,
        modified_ms: row.get(2)?,
        etag: ETag::from_text(row.get_ref(3)?.as_str().map_err(|_| corrupt("etag"))?),
        checksum,
        owner,
    })
}

/// A row of [`Part`]: number, size, modified_ms, md5, crc64, checksum, blob, seal.
pub fn part(row: &Row<'_>) -> Result<Part, StoreError> {
    let md5: Vec<u8> = row.get(3)?;
    let checksum: Option<Vec<u8>> = row.get(5)?;
    Ok(Part {
        number: row.get(0)?,
        size: row.get::<_, i64>(1)? as u64,
        modified_ms: row.get(2)?,
        md5: md5.try_into().map_err(|_| corrupt("md5 of a part"))?,
        crc64: row.get::<_, i64>(4)? as u64,
        checksum: decode_checksum(checksum.as_deref())?,
        blob: row.get::<_, Option<i64>>(6)?.map(BlobId),
        seal: seal(row, 7)?,
    })
}

/// A row of [`Upload`]: key, manifest, upload_id, started_ms, owner, meta, algorithm, kind,
/// revision, then those of [`extra`].
pub fn upload(row: &Row<'_>, key: ObjectKey) -> Result<Upload, StoreError> {
    let checksum = match (row.get::<_, Option<u8>>(6)?, row.get::<_, Option<u8>>(7)?) {
        (Some(algorithm), Some(kind)) => Some(algorithm_and_kind(algorithm, kind)?),
        _ => None,
    };
    Ok(Upload {
        key,
        manifest: ManifestId(row.get(1)?),
        upload_id: row.get(2)?,
        started_ms: row.get(3)?,
        owner: row.get(4)?,
        meta: decode_meta(row.get_ref(5)?.as_str().map_err(|_| corrupt("meta"))?)?,
        checksum,
        revision: row.get(8)?,
        extra: extra(row, 9)?,
    })
}
