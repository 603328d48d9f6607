//! Delivers the lines of access logs: an object in the target bucket for each batch. It goes to
//! the store directly, so its own work is in no log.

use crate::limits::LOG_RETRY;
use crate::store::{
    Bucket, ConfigKind, Extra, Kek, LogBatch, LogKeyFormat, LogSpool, LogTarget, Meta, NewData,
    NewObject, Refused, SealMode, Sealing, Store, StoreError,
};
use crate::types::{ETag, ObjectKey, Precondition, time};
use md5::{Digest, Md5};

/// Delivers until the spool is stopped. Sleeps as long as there are no lines. `master`: the key for
/// buckets that encrypt what comes in.
pub fn run(store: &Store, spool: &LogSpool, master: Option<&Kek>) {
    while let Some(batch) = spool.next() {
        match deliver(store, &batch, master) {
            Ok(Delivery::Done) => spool.done(&batch),
            Ok(Delivery::Unwanted(why)) => {
                let LogTarget { source, target, .. } = &batch.target;
                log::warn!("lines of the access log of {source} are lost: {target} {why}");
                spool.done(&batch);
            }
            Err(error) => {
                log::warn!("the access log of {} waits: {error}", batch.target.source);
                spool.put_back(&batch, LOG_RETRY);
            }
        }
    }
}

/// What became of a batch that need not be tried again.
#[derive(PartialEq, Eq, Debug)]
enum Delivery {
    Done,
    /// Its target does not want it any more.
    Unwanted(&'static str),
}

/// Why a batch has to wait.
#[derive(Debug)]
enum Failed {
    Store(StoreError),
    Refused(Refused),
    NoMasterKey,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Refused(refused) => write!(f, "{refused:?}"),
            Self::NoMasterKey => f.write_str("its target encrypts, and JOG_SSE_KEY is not set"),
        }
    }
}

/// Whether a bucket's default is SSE-S3; JOG wrote the document itself.
fn encrypts(bucket: &Bucket) -> bool {
    let document = bucket.config(ConfigKind::Encryption).unwrap_or_default();
    document.contains("<SSEAlgorithm>AES256</SSEAlgorithm>")
}

/// Whether each new object of a bucket gets a retention.
fn locks(bucket: &Bucket) -> bool {
    let document = bucket.config(ConfigKind::ObjectLock).unwrap_or_default();
    document.contains("<DefaultRetention>")
}

fn deliver(store: &Store, batch: &LogBatch, master: Option<&Kek>) -> Result<Delivery, Failed> {
    let target = &batch.target;
    let Some(bucket) = store.bucket(&target.target)? else {
        return Ok(Delivery::Unwanted("does not exist"));
    };
    if bucket.owner != target.owner {
        return Ok(Delivery::Unwanted("belongs to somebody else"));
    }
    // As on AWS; PutBucketLogging refuses such a target, but it may have become one since.
    if locks(&bucket) {
        return Ok(Delivery::Unwanted("has a default retention"));
    }
    let Ok(key) = ObjectKey::parse(key(target, batch.time_ms, &batch.unique)) else {
        return Ok(Delivery::Unwanted("would get a key that is too long"));
    };
    let sealing = match encrypts(&bucket) {
        true => Some(Sealing {
            mode: SealMode::Server,
            kek: master.cloned().ok_or(Failed::NoMasterKey)?,
        }),
        false => None,
    };
    let mut writer = store.create_blob(&bucket.name, sealing.as_ref())?;
    writer.write(&batch.lines)?;
    let new = NewObject {
        key,
        size: writer.len(),
        etag: ETag::from_md5(&Md5::digest(&batch.lines).into()),
        crc64: writer.crc64(),
        checksum: None,
        meta: Meta(vec![("content-type".to_owned(), "text/plain".to_owned())]),
        owner: bucket.owner.clone(),
        data: writer.finish()?.map_or(NewData::Empty, NewData::Blob),
        extra: Extra::default(),
    };
    match store.put_object(bucket.id, new, Precondition::default())? {
        Ok(_) => Ok(Delivery::Done),
        Err(Refused::NoSuchBucket) => Ok(Delivery::Unwanted("does not exist")),
        Err(refused) => Err(Failed::Refused(refused)),
    }
}

/// `prefix2026-11-24-10-05-34-UNIQUE`, with folders before it if the format has them (AWS, "Log
/// object key format"). An owner's canonical ID stands for AWS's account.
fn key(target: &LogTarget, time_ms: i64, unique: &str) -> String {
    let iso = time::iso(time_ms);
    let (date, clock) = (&iso[..10], iso[11..19].replace(':', "-"));
    let LogTarget { source, owner, region, prefix, .. } = target;
    let folders = match target.format {
        LogKeyFormat::Simple => String::new(),
        LogKeyFormat::PartitionedByEvent | LogKeyFormat::PartitionedByDelivery => {
            format!("{owner}/{region}/{source}/{}/", date.replace('-', "/"))
        }
    };
    format!("{prefix}{folders}{date}-{clock}-{unique}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_KEY_BYTES, MAX_LOG_PREFIX_BYTES};
    use crate::types::BucketName;

    fn target(format: LogKeyFormat) -> LogTarget {
        LogTarget {
            source: BucketName::parse("src").unwrap(),
            owner: "me".to_owned(),
            region: "eu-west-1".to_owned(),
            target: BucketName::parse("logs").unwrap(),
            prefix: "p/".to_owned(),
            format,
        }
    }

    #[test]
    fn keys() {
        let key = |format, ms| key(&target(format), ms, "U");
        assert_eq!(key(LogKeyFormat::Simple, 1_795_514_734_123), "p/2026-11-24-10-05-34-U");
        let day = 1_795_514_734_123 / 86_400_000 * 86_400_000;
        for (format, ms, clock) in [
            (LogKeyFormat::PartitionedByEvent, day, "00-00-00"),
            (LogKeyFormat::PartitionedByDelivery, 1_795_514_734_123, "10-05-34"),
        ] {
            let expected = format!("p/me/eu-west-1/src/2026/11/24/2026-11-24-{clock}-U");
            assert_eq!(key(format, ms), expected);
        }
    }

    #[test]
    fn the_longest_key_fits() {
        let longest = LogTarget {
            source: BucketName::parse(&"b".repeat(63)).unwrap(),
            owner: "o".repeat(64),
            region: "r".repeat(64),
            prefix: "p".repeat(MAX_LOG_PREFIX_BYTES),
            ..target(LogKeyFormat::PartitionedByEvent)
        };
        assert!(key(&longest, 0, &"U".repeat(16)).len() <= MAX_KEY_BYTES);
    }
}
