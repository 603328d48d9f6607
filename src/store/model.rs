//! What the store keeps, as its callers see it.

use super::blob::WrittenBlob;
use crate::types::{
    BucketName, Checksum, ChecksumAlgorithm, ChecksumType, Current, ETag, ObjectKey, Violation,
};

/// The number of a blob: unique for the life of a data directory, growing with time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobId(pub i64);

/// A bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Row number; never used again for another bucket.
    pub id: i64,
    /// Its name.
    pub name: BucketName,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Canonical ID of its owner.
    pub owner: String,
    /// The LocationConstraint that it was made with; empty if none.
    pub region: String,
}

/// System and user metadata: header names in lower case (`content-type`, `x-amz-meta-…`) with
/// their values, in the order in which they were given.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Meta(pub Vec<(String, String)>);

impl Meta {
    /// The value of a header; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Where an object's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// Nowhere: it has none.
    Empty,
    /// In one file.
    Blob(BlobId),
    /// In the files of this list of parts, see [`super::Store::parts`].
    Parts(ManifestId),
}

/// The number of a list of parts, drawn from the same numbers as [`BlobId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ManifestId(pub i64);

/// An object.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Its key.
    pub key: ObjectKey,
    /// Grows with each write of the key.
    pub version: i64,
    /// Size in bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its entity tag.
    pub etag: ETag,
    /// CRC-64/NVME of all its bytes.
    pub crc64: u64,
    /// The checksum that its client asked for; else none.
    pub checksum: Option<Checksum>,
    /// System and user metadata.
    pub meta: Meta,
    /// Canonical ID of its owner.
    pub owner: String,
    /// Where its bytes are.
    pub data: Data,
}

impl Object {
    /// What preconditions look at.
    pub fn current(&self) -> Current<'_> {
        Current { etag: &self.etag, modified_ms: self.modified_ms, size: self.size }
    }
}

/// A part of an upload or of a multipart object.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u32,
    /// Size in bytes.
    pub size: u64,
    /// MD5 of its bytes.
    pub md5: [u8; 16],
    /// CRC-64/NVME of its bytes.
    pub crc64: u64,
    /// Its checksum in the upload's algorithm, if it has one.
    pub checksum: Option<Checksum>,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its file; `None` for a part of 0 bytes.
    pub blob: Option<BlobId>,
}

/// What a writer wants to become an object's bytes.
#[derive(Debug)]
pub enum NewData {
    /// None.
    Empty,
    /// A file that is written and durable.
    Blob(WrittenBlob),
    /// The parts of a multipart object, each a durable file, in ascending order of numbers.
    Parts(Vec<NewPart>),
}

/// A part to be stored: what is known of it, and its file (`None`: 0 bytes). `part.blob` is
/// ignored; the store takes it from `blob`.
#[derive(Debug)]
pub struct NewPart {
    /// Its attributes.
    pub part: Part,
    /// Its durable file.
    pub blob: Option<WrittenBlob>,
}

/// An object to be stored. Its time of writing is that of the commit.
#[derive(Debug)]
pub struct NewObject {
    /// Its key.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// Its entity tag.
    pub etag: ETag,
    /// CRC-64/NVME of all its bytes.
    pub crc64: u64,
    /// The checksum that its client asked for.
    pub checksum: Option<Checksum>,
    /// System and user metadata.
    pub meta: Meta,
    /// Canonical ID of its owner.
    pub owner: String,
    /// Its bytes.
    pub data: NewData,
}

/// What became of a write that was not refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    /// When it was committed, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its version.
    pub version: i64,
}

/// A multipart upload that is neither completed nor aborted.
#[derive(Clone, PartialEq, Debug)]
pub struct Upload {
    /// Its list of parts.
    pub manifest: ManifestId,
    /// What clients call it.
    pub upload_id: String,
    /// The key that it will write.
    pub key: ObjectKey,
    /// When it was started, in milliseconds since 1970.
    pub started_ms: i64,
    /// Canonical ID of its initiator and owner.
    pub owner: String,
    /// Metadata of the object to be.
    pub meta: Meta,
    /// The checksum that its parts and the object have.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    /// Counts the parts that were written, so that Complete sees a change.
    pub revision: i64,
}

/// A finished upload, remembered for a while so that Complete may be repeated.
#[derive(Clone, PartialEq, Debug)]
pub struct Completed {
    /// The object's entity tag.
    pub etag: ETag,
    /// The object's checksum.
    pub checksum: Option<Checksum>,
}

/// A multipart upload to be started.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// The key that it will write.
    pub key: ObjectKey,
    /// Canonical ID of its initiator and owner.
    pub owner: String,
    /// Metadata of the object to be.
    pub meta: Meta,
    /// The checksum that its parts and the object have.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// Why the store did not do what was asked; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The bucket is gone.
    NoSuchBucket,
    /// The bucket has objects. Unfinished uploads do not count, see
    /// [`super::Store::delete_bucket`].
    BucketNotEmpty,
    /// The upload is gone: aborted, completed, or never was.
    NoSuchUpload,
    /// The upload's parts changed after they were read; read them again.
    PartsChanged,
    /// A precondition does not hold.
    Precondition(Violation),
}

/// What was found for CreateBucket.
#[derive(Clone, PartialEq, Debug)]
pub enum Created {
    /// It is new.
    New(Bucket),
    /// It was there.
    Exists(Bucket),
}

/// A page of keys to be listed.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Row number of the bucket.
    pub bucket: i64,
    /// Only keys that start with this.
    pub prefix: String,
    /// Keys that share what stands before this, after the prefix, become one entry. Never empty.
    pub delimiter: Option<String>,
    /// Only what sorts after this: a key, or a common prefix (which then is not listed again).
    pub after: Option<String>,
    /// Entries at the most; 0 gives an empty page that is not truncated.
    pub max: usize,
}

/// One entry of a listing.
#[derive(Clone, PartialEq, Debug)]
pub enum Entry<T> {
    /// An item of its own.
    Item(T),
    /// A common prefix.
    Prefix(String),
}

/// A page of a listing in order of the keys' bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Page<T> {
    /// Its entries.
    pub entries: Vec<Entry<T>>,
    /// Whether there are more.
    pub truncated: bool,
}

/// What listings show of an object.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// Its key.
    pub key: ObjectKey,
    /// Size in bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its entity tag.
    pub etag: ETag,
    /// Canonical ID of its owner.
    pub owner: String,
    /// Algorithm and type of its checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}
