//! Preconditions of writes: a pure decision on what is there now.

use super::{ETag, ETagList};

/// What stands at a key at the moment of a write.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// Its entity tag.
    pub etag: &'a ETag,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its size in bytes.
    pub size: u64,
}

/// The conditions of PutObject, CopyObject (on its target), CompleteMultipartUpload, DeleteObject.
/// Evaluated inside the writing transaction, so they hold under concurrency.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Precondition {
    /// If-Match
    pub if_match: Option<ETagList>,
    /// If-None-Match
    pub if_none_match: Option<ETagList>,
    /// x-amz-if-match-last-modified-time, in seconds since 1970.
    pub if_modified_time: Option<i64>,
    /// x-amz-if-match-size, in bytes.
    pub if_size: Option<u64>,
}

/// Why a precondition does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// If-Match on a key that does not exist.
    Missing,
    /// The condition on what exists is false.
    Failed,
}

impl Precondition {
    /// Whether there is no condition at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Decides for what is there now (`None`: no such key, or a delete marker).
    pub fn check(&self, current: Option<Current<'_>>) -> Result<(), Violation> {
        let Some(now) = current else {
            let needs_one = self.if_match.is_some()
                || self.if_modified_time.is_some()
                || self.if_size.is_some();
            return if needs_one { Err(Violation::Missing) } else { Ok(()) };
        };
        let holds = self.if_match.as_ref().is_none_or(|list| list.matches(now.etag))
            && self.if_none_match.as_ref().is_none_or(|list| !list.matches(now.etag))
            && self.if_modified_time.is_none_or(|t| t == now.modified_ms.div_euclid(1000))
            && self.if_size.is_none_or(|s| s == now.size);
        if holds { Ok(()) } else { Err(Violation::Failed) }
    }
}
