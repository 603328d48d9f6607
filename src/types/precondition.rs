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
    /// This condition on what exists is false.
    Failed(Condition),
}

/// One of the conditions of a [`Precondition`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// If-Match
    Match,
    /// If-None-Match
    NoneMatch,
    /// x-amz-if-match-last-modified-time
    ModifiedTime,
    /// x-amz-if-match-size
    Size,
}

impl Condition {
    /// The header that states it, as AWS names it in an error's element Condition. Clients tell a
    /// key that exists already from one that has changed by it.
    pub fn header(self) -> &'static str {
        match self {
            Self::Match => "If-Match",
            Self::NoneMatch => "If-None-Match",
            Self::ModifiedTime => "x-amz-if-match-last-modified-time",
            Self::Size => "x-amz-if-match-size",
        }
    }
}

impl Precondition {
    /// Whether there is no condition at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Decides for what is there now (`None`: no such key, or a delete marker). Of several false
    /// conditions the first in the order of [`Condition`] is told.
    pub fn check(&self, current: Option<Current<'_>>) -> Result<(), Violation> {
        let Some(now) = current else {
            let needs_one = self.if_match.is_some()
                || self.if_modified_time.is_some()
                || self.if_size.is_some();
            return if needs_one { Err(Violation::Missing) } else { Ok(()) };
        };
        let failed = |condition| Err(Violation::Failed(condition));
        if self.if_match.as_ref().is_some_and(|list| !list.matches(now.etag)) {
            return failed(Condition::Match);
        }
        if self.if_none_match.as_ref().is_some_and(|list| list.matches(now.etag)) {
            return failed(Condition::NoneMatch);
        }
        if self.if_modified_time.is_some_and(|t| t != now.modified_ms.div_euclid(1000)) {
            return failed(Condition::ModifiedTime);
        }
        if self.if_size.is_some_and(|s| s != now.size) {
            return failed(Condition::Size);
        }
        Ok(())
    }
}
