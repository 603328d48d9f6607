//! Objects that an operator brings in from files (`jog import`): what PutObject does, without a
//! request. The bucket's encryption, its default retention, quota, versions and events hold as for
//! everybody.

use super::encryption::{Key, Wanted};
use super::receive::{Promised, Sink, with_buffer};
use super::{Code, S3Error, bucket_encryption::BucketEncryption, object};
use super::{metadata, tagging, uri};
use crate::auth::Trailers;
use crate::http::Headers;
use crate::limits::MAX_OBJECT_BYTES;
use crate::store::{Bucket, Doing, Extra, Kek, NewData, NewObject, Notice, Store};
use crate::types::notification::{Event, Notification, Origin, TargetName};
use crate::types::{ETag, ObjectKey, Precondition, Tags, time};
use std::io::{self, Read};

/// What objects are made with.
pub struct Intake<'a> {
    /// The store.
    pub store: &'a Store,
    /// The master key of SSE-S3.
    pub master: Option<&'a Kek>,
    /// Of buckets that were made without one.
    pub region: &'a str,
    /// The webhooks that are declared.
    pub targets: &'a [TargetName],
}

/// Why there is no object.
#[derive(Debug)]
pub enum IntakeError {
    /// The file cannot be read to its end.
    Read(io::Error),
    /// What PutObject would answer.
    Refused(S3Error),
}

impl<E: Into<S3Error>> From<E> for IntakeError {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl IntakeError {
    /// Whether no other file would fare better.
    pub fn is_end(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        matches!(
            error.code,
            Code::StorageFull
                | Code::QuotaExceeded
                | Code::NoSuchBucket
                | Code::SlowDown
                | Code::InternalError
                | Code::NotImplemented
        )
    }
}

impl std::fmt::Display for IntakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "it cannot be read: {error}"),
            Self::Refused(error) => {
                let message = error.message.as_deref().unwrap_or(error.code.message());
                write!(f, "{}: {message}", error.code.name())?;
                error.source.as_ref().map_or(Ok(()), |source| write!(f, " ({source})"))
            }
        }
    }
}

/// What an object is to have beside its bytes.
#[derive(Clone, Default, Debug)]
pub struct Fields {
    headers: Vec<(String, String)>,
    tags: Tags,
}

impl Fields {
    /// Names and values as PutObject takes them as header fields, and tags. They come from a file
    /// that anybody may have written: what could not have come in a request is refused.
    pub fn new(
        metadata: Vec<(String, String)>,
        tags: Vec<(String, String)>,
    ) -> Result<Self, S3Error> {
        for (name, value) in &metadata {
            let known = name.starts_with("x-amz-meta-") || metadata::is_system(name);
            let token = name.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b)
            });
            let text = !value.chars().any(|c| c.is_ascii_control() && c != '\t');
            if !(known && token && text) {
                let message = format!("{}: no metadata of an object", name.escape_debug());
                return Err(Code::InvalidArgument.with(message));
            }
        }
        let pair = |(k, v): &(String, String)| {
            format!("{}={}", uri::encode(k, false), uri::encode(v, false))
        };
        let header = tags.iter().map(pair).collect::<Vec<_>>().join("&");
        Ok(Self { headers: metadata, tags: tagging::parse_header(&header)? })
    }
}

impl Intake<'_> {
    /// Makes an object of what is read to its end; the number of its bytes. They are durable before
    /// their row is committed.
    pub fn put(
        &self,
        bucket: &Bucket,
        key: ObjectKey,
        fields: Fields,
        file: &mut dyn Read,
    ) -> Result<u64, IntakeError> {
        let headers = Headers::new(fields.headers);
        let meta = metadata::from_headers(&headers)?;
        let encryption = Wanted::Default.resolve(&BucketEncryption::of(bucket)?, self.master)?;
        let extra = Extra { tags: fields.tags, ..object::extra(&headers, bucket)? };
        let writer = self.store.create_blob(&bucket.name, Key::sealing(encryption.as_ref()))?;
        let mut sink = Sink::new(writer, None);
        with_buffer(u64::MAX, |buffer| -> Result<(), IntakeError> {
            loop {
                let n = match file.read(buffer) {
                    Ok(0) => return Ok(()),
                    Ok(n) => n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(IntakeError::Read(error)),
                };
                sink.write(&buffer[..n])?;
                if sink.len() > MAX_OBJECT_BYTES {
                    return Err(Code::EntityTooLarge.into());
                }
            }
        })?;
        let received = sink.finish(&Promised::default(), &Trailers::default())?;
        let size = received.size;
        let new = NewObject {
            key,
            size,
            etag: ETag::from_md5(&received.md5),
            crc64: received.crc64,
            checksum: None,
            meta,
            owner: bucket.owner.clone(),
            data: received.blob.map_or(NewData::Empty, NewData::Blob),
            extra: Extra { seal: Key::empty_seal(encryption.as_ref())?, ..extra },
        };
        let telling = self.store.telling(self.notice(bucket));
        telling.put_object(bucket.id, new, Precondition::default())?.map_err(S3Error::from)?;
        Ok(size)
    }

    fn notice(&self, bucket: &Bucket) -> Option<Notice> {
        let kept = bucket.config(crate::store::ConfigKind::Notification)?;
        let to = Notification::from_json(kept)?.declared(self.targets);
        if to.subscriptions.is_empty() {
            return None;
        }
        let region = if bucket.region.is_empty() { self.region } else { &bucket.region };
        let origin = Origin {
            region: region.to_owned(),
            principal: bucket.owner.clone(),
            source_ip: "127.0.0.1".to_owned(),
            request_id: format!("{:016X}", time::now_ms()),
            host_id: "jog".to_owned(),
            bucket: bucket.name.as_str().to_owned(),
            bucket_owner: bucket.owner.clone(),
        };
        Some(Notice { doing: Doing::Create(Event::CreatedPut), origin, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_request_could_bring() {
        let fields = |name: &str, value: &str| {
            Fields::new(vec![(name.to_owned(), value.to_owned())], Vec::new()).is_ok()
        };
        assert!(fields("content-type", "text/html; charset=utf-8"));
        assert!(fields("x-amz-meta-a.b", "ü\t"));
        for (name, value) in [
            ("x-amz-meta-a", "v\r\nset-cookie: x"),
            ("x-amz-meta-a\r\nset-cookie", "v"),
            ("x-amz-meta-A", "v"),
            ("x-amz-meta- ", "v"),
            ("set-cookie", "v"),
            ("x-amz-object-lock-mode", "COMPLIANCE"),
            ("content-type", "\u{7f}"),
        ] {
            assert!(!fields(name, value), "{name:?}: {value:?}");
        }
        let tags = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            Fields::new(Vec::new(), pairs).map(|fields| fields.tags.len()).ok()
        };
        assert_eq!(tags(&[("a b/ü", "&=+%"), ("k", "")]), None);
        assert_eq!(tags(&[("a b/ü", "=+:"), ("k", "")]), Some(2));
        assert_eq!(tags(&[("k", "\n")]), None);
    }
}
