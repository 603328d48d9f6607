//! The model: what a bucket must hold, of every key the versions, newest first.

use super::support::md5;
use jog::store::{Bucket, Upload};
use jog::types::{Condition, ETagList, Lock, Precondition, Tags, VersionId, Versioning, Violation};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Kept {
    pub id: VersionId,
    /// `None`: a delete marker.
    pub bytes: Option<Vec<u8>>,
    pub etag: String,
    pub modified_ms: i64,
    pub tags: Tags,
    pub lock: Lock,
    pub acl: Option<String>,
}

impl Kept {
    pub fn marker(id: VersionId) -> Self {
        Self { bytes: None, etag: String::new(), ..Self::of(id, Vec::new(), 0) }
    }

    pub fn of(id: VersionId, bytes: Vec<u8>, modified_ms: i64) -> Self {
        let (tags, lock, acl) = Default::default();
        Self {
            id,
            etag: hex::encode(md5(&bytes)),
            bytes: Some(bytes),
            modified_ms,
            tags,
            lock,
            acl,
        }
    }

    /// What conditions see of it.
    pub fn there(&self) -> There {
        let size = self.bytes.as_ref().map_or(0, Vec::len) as u64;
        There { etag: self.etag.clone(), size, modified_ms: self.modified_ms }
    }
}

/// What conditions look at.
#[derive(Clone, Debug)]
pub struct There {
    pub etag: String,
    pub size: u64,
    pub modified_ms: i64,
}

/// What a condition says of what is there.
pub fn violation(if_: &Precondition, there: Option<&There>) -> Option<Violation> {
    let Some(there) = there else {
        let needs = if_.if_match.is_some() || if_.if_size.is_some();
        return (needs || if_.if_modified_time.is_some()).then_some(Violation::Missing);
    };
    let matches = |list: &ETagList| match list {
        ETagList::Any => true,
        ETagList::Tags(tags) => tags.iter().any(|tag| tag.as_str() == there.etag),
    };
    let time = if_.if_modified_time.is_some_and(|time| time != there.modified_ms / 1000);
    [
        (if_.if_match.as_ref().is_some_and(|list| !matches(list)), Condition::Match),
        (if_.if_none_match.as_ref().is_some_and(matches), Condition::NoneMatch),
        (time, Condition::ModifiedTime),
        (if_.if_size.is_some_and(|size| size != there.size), Condition::Size),
    ]
    .into_iter()
    .find_map(|(fails, condition)| fails.then_some(Violation::Failed(condition)))
}

#[derive(Clone, Debug)]
pub struct Unfinished {
    pub at: String,
    pub upload: Upload,
    pub parts: BTreeMap<u32, Vec<u8>>,
}

impl Unfinished {
    pub fn bytes(&self) -> i64 {
        self.parts.values().map(|part| part.len() as i64).sum()
    }
}

pub struct Shelf {
    pub bucket: Bucket,
    pub state: Versioning,
    pub quota: Option<u64>,
    pub keys: BTreeMap<String, Vec<Kept>>,
    pub uploads: Vec<Unfinished>,
    /// Tokens of renames that were done, with their keys.
    pub tokens: BTreeMap<String, (String, String)>,
}

impl Shelf {
    pub fn new(bucket: Bucket) -> Self {
        let (keys, uploads, tokens) = Default::default();
        Self { state: bucket.versioning, bucket, quota: None, keys, uploads, tokens }
    }

    pub fn versions(&self, at: &str) -> &[Kept] {
        self.keys.get(at).map_or(&[], Vec::as_slice)
    }

    /// The object at a key.
    pub fn object(&self, at: &str) -> Option<&Kept> {
        self.versions(at).first().filter(|kept| kept.bytes.is_some())
    }

    pub fn find(&self, at: &str, id: VersionId) -> Option<&Kept> {
        self.versions(at).iter().find(|kept| kept.id == id)
    }

    pub fn all(&self) -> impl Iterator<Item = &Kept> {
        self.keys.values().flatten()
    }

    pub fn bytes(&self) -> i64 {
        self.all().filter_map(|kept| kept.bytes.as_ref()).map(|b| b.len() as i64).sum()
    }

    pub fn uploading(&self) -> i64 {
        self.uploads.iter().map(Unfinished::bytes).sum()
    }

    /// How many bytes more there are when so many are written at a key: outside of Enabled they
    /// take the place of the null version.
    pub fn growth(&self, at: &str, len: usize) -> i64 {
        let replaced = match self.state {
            Versioning::Enabled => None,
            _ => self.find(at, VersionId::Null).and_then(|kept| kept.bytes.as_ref()),
        };
        len as i64 - replaced.map_or(0, |bytes| bytes.len() as i64)
    }

    /// Whether that is more than the quota allows.
    pub fn over(&self, growth: i64) -> bool {
        let held = self.bytes() + self.uploading();
        growth > 0 && self.quota.is_some_and(|quota| held + growth > quota as i64)
    }

    pub fn remove(&mut self, at: &str, id: VersionId) -> Option<Kept> {
        let kept = self.keys.get_mut(at)?;
        let place = kept.iter().position(|kept| kept.id == id)?;
        let removed = kept.remove(place);
        if kept.is_empty() {
            self.keys.remove(at);
        }
        Some(removed)
    }

    /// A new newest version.
    pub fn add(&mut self, at: &str, kept: Kept) {
        if self.state != Versioning::Enabled {
            self.remove(at, VersionId::Null);
        }
        self.keys.entry(at.to_owned()).or_default().insert(0, kept);
    }
}
