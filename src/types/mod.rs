//! Values that cannot be wrong: each is parsed once at the edge and never checked again below.
//! No I/O, no knowledge of HTTP or SQL.

mod bucket_name;
mod checksum;
mod etag;
mod key;
pub mod lifecycle;
pub mod notification;
mod precondition;
mod range;
mod tags;
pub mod time;
mod user;
mod version;

pub use bucket_name::BucketName;
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumHasher, ChecksumType};
pub use etag::{ETag, ETagList};
pub use key::{KeyError, ObjectKey};
pub use precondition::{Condition, Current, Precondition, Violation};
pub use range::{ByteRange, Span};
pub use tags::{TagError, Tags};
pub use user::{AccessKeyId, UserName};
pub use version::{Lock, Retention, RetentionMode, VersionId, Versioning};
