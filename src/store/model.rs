//! What the store keeps, as its callers see it.

use super::blob::WrittenBlob;
use super::seal::Seal;
use crate::types::lifecycle::Lifecycle;
use crate::types::{
    BucketName, Checksum, ChecksumAlgorithm, ChecksumType, Current, ETag, Lock, ObjectKey,
    Precondition, Tags, VersionId, Versioning, Violation,
};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

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
    /// Whether it keeps versions.
    pub versioning: Versioning,
    /// Whether versions may be locked (Object Lock).
    pub lock: bool,
    /// Bytes that it may hold, if there is a limit.
    pub quota: Option<u64>,
    /// What clients configured.
    pub configs: BTreeMap<ConfigKind, String>,
    /// What [`Self::rules`] has read.
    pub parsed: OnceLock<Option<Arc<Lifecycle>>>,
}

impl Bucket {
    /// Its lifecycle rules; `None` if it has none, or none that this program understands. They are
    /// read when they are first asked for: 1000 of them take milliseconds.
    pub fn rules(&self) -> Option<&Arc<Lifecycle>> {
        let read = || Lifecycle::from_json(self.config(ConfigKind::Lifecycle)?).map(Arc::new);
        self.parsed.get_or_init(read).as_ref()
    }

    /// A configuration, as it was given to [`super::Store::set_config`].
    pub fn config(&self, kind: ConfigKind) -> Option<&str> {
        self.configs.get(&kind).map(String::as_str)
    }

    /// The id of a version in answers; `None` if the bucket never had versions.
    pub fn version_id(&self, null: bool, number: i64) -> Option<VersionId> {
        match self.versioning {
            Versioning::Unversioned => None,
            _ if null => Some(VersionId::Null),
            _ => Some(VersionId::Number(number)),
        }
    }
}

/// The kinds of configurations of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConfigKind {
    /// Access control list.
    Acl,
    /// Cross-origin resource sharing.
    Cors,
    /// Default encryption.
    Encryption,
    /// Lifecycle rules.
    Lifecycle,
    /// Server access logging.
    Logging,
    /// Event notifications.
    Notification,
    /// Default retention of Object Lock.
    ObjectLock,
    /// Object ownership.
    Ownership,
    /// Bucket policy.
    Policy,
    /// Public access block.
    PublicAccessBlock,
    /// Tags.
    Tagging,
    /// Website.
    Website,
}

impl ConfigKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Acl,
        Self::Cors,
        Self::Encryption,
        Self::Lifecycle,
        Self::Logging,
        Self::Notification,
        Self::ObjectLock,
        Self::Ownership,
        Self::Policy,
        Self::PublicAccessBlock,
        Self::Tagging,
        Self::Website,
    ];

    /// Its name in metadata.db; never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Cors => "cors",
            Self::Encryption => "encryption",
            Self::Lifecycle => "lifecycle",
            Self::Logging => "logging",
            Self::Notification => "notification",
            Self::ObjectLock => "object-lock",
            Self::Ownership => "ownership",
            Self::Policy => "policy",
            Self::PublicAccessBlock => "public-access-block",
            Self::Tagging => "tagging",
            Self::Website => "website",
        }
    }
}

/// A bucket to be made.
#[derive(Clone, Debug)]
pub struct NewBucket {
    /// Its name.
    pub name: BucketName,
    /// Canonical ID of its owner.
    pub owner: String,
    /// The LocationConstraint; empty if none.
    pub region: String,
    /// Whether versions may be locked; then it keeps versions, too.
    pub lock: bool,
    /// What it is configured with from the start.
    pub configs: BTreeMap<ConfigKind, String>,
}

/// What a bucket holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Bytes of all versions.
    pub bytes: i64,
    /// Objects that are current.
    pub objects: i64,
    /// Versions and delete markers, the current ones among them.
    pub versions: i64,
    /// Bytes of the parts of unfinished uploads.
    pub uploading: i64,
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

/// What a version has beside its bytes and its metadata.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Extra {
    /// Its tags.
    pub tags: Tags,
    /// What protects it.
    pub lock: Lock,
    /// The sealed key of its file, if it is encrypted; the store takes it from a
    /// [`NewData::Blob`]. Without a file of its own, a seal that its key can be checked with.
    pub seal: Option<Seal>,
    /// Its access control list as JSON; `None`: its owner has full control.
    pub acl: Option<String>,
}

/// A version of an object; the current one, unless it was asked for by its id.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// Its key.
    pub key: ObjectKey,
    /// Grows with each write of the key.
    pub version: i64,
    /// Whether its id is `null`.
    pub null_version: bool,
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
    /// Tags, locks and the like.
    pub extra: Extra,
}

impl Object {
    /// What its version is called.
    pub fn version_id(&self) -> VersionId {
        if self.null_version { VersionId::Null } else { VersionId::Number(self.version) }
    }

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
    /// The sealed key of its file, if it is encrypted.
    pub seal: Option<Seal>,
}

impl Part {
    /// Takes from the part's file what the row has of it.
    pub(super) fn place(&mut self, file: Option<&WrittenBlob>) {
        self.blob = file.map(|file| file.id);
        self.seal = file.and_then(|file| file.seal.clone());
    }
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

/// A part to be stored: what is known of it, and its file (`None`: 0 bytes). `part.blob` and
/// `part.seal` are ignored; the store takes them from `blob`.
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
    /// Tags, locks and the like.
    pub extra: Extra,
}

/// What became of a write that was not refused.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    /// When it was committed, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its version.
    pub version: i64,
    /// What its version is called; `None` if versioning is not enabled.
    pub version_id: Option<VersionId>,
}

/// What is to be deleted, and when.
#[derive(Clone, Default, Debug)]
pub struct Delete {
    /// A version, to be removed for good; `None`: the key, which in a bucket with versions gets a
    /// delete marker.
    pub version: Option<VersionId>,
    /// The precondition on what is deleted.
    pub if_: Precondition,
    /// Overrules a retention of governance.
    pub bypass: bool,
}

impl From<Precondition> for Delete {
    fn from(if_: Precondition) -> Self {
        Self { if_, ..Self::default() }
    }
}

/// What a delete did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Deleted {
    /// Whether there was something to delete: an object or, for a version, that version.
    pub existed: bool,
    /// The delete marker that was made or removed, or the version that was removed; `None` if the
    /// bucket never had versions.
    pub version_id: Option<VersionId>,
    /// Whether that is a delete marker.
    pub marker: bool,
}

/// A delete marker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marker {
    /// What it is called.
    pub version_id: VersionId,
    /// When it was made, in milliseconds since 1970.
    pub modified_ms: i64,
}

/// What a key or a version of it is.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    /// An object.
    Object(Arc<Object>),
    /// A delete marker.
    Marker(Marker),
}

/// What listings show of a version.
#[derive(Clone, PartialEq, Debug)]
pub struct Version {
    /// What an object's listing shows; of a delete marker, key, time and owner mean something.
    pub summary: Summary,
    /// The number of the version.
    pub version: i64,
    /// What it is called.
    pub version_id: VersionId,
    /// Whether it is the newest of its key.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub marker: bool,
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
    /// Tags, locks and the like of the object to be.
    pub extra: Extra,
}

/// A finished upload, remembered for a while so that Complete may be repeated.
#[derive(Clone, PartialEq, Debug)]
pub struct Completed {
    /// The object's entity tag.
    pub etag: ETag,
    /// The object's checksum.
    pub checksum: Option<Checksum>,
    /// What its version is called; `None` if the bucket never had versions.
    pub version_id: Option<VersionId>,
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
    /// Tags, locks and the like of the object to be.
    pub extra: Extra,
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
    /// There is no object at the key.
    NoSuchKey,
    /// The key has no version of that id.
    NoSuchVersion,
    /// The version is a delete marker.
    DeleteMarker,
    /// A retention or a legal hold protects the version.
    Locked,
    /// The bucket has no Object Lock.
    NoObjectLock,
    /// What is asked for cannot be done where versions are kept.
    VersionsKept,
    /// A bucket with Object Lock keeps its versions.
    VersioningRequired,
    /// The bucket would hold more than its quota.
    QuotaExceeded,
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
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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
    pub owner: Arc<str>,
    /// Algorithm and type of its checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}
