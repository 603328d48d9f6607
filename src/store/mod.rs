//! The store: metadata in SQLite, bytes in files. This module is its only public face; it orders
//! blob and row so that a row never names bytes that are not on disk.
//!
//! Knows nothing of HTTP, XML or S3's error codes.
//!
//! The invariants, and where they are kept:
//!
//! 1. A row never names bytes that are not on disk: [`BlobWriter::finish`] makes them durable and
//!    gives the [`WrittenBlob`] that alone can become a row; the entry of its file is made durable
//!    before the transaction of the row begins ([`db`]).
//! 2. A file never changes once it has a row; its name is never used again ([`ids`]).
//! 3. Deletes commit first, files go later ([`garbage`]).
//! 4. No transaction spans network I/O: a writer's job gets values, not readers ([`db`]).
//! 5. Every file has a CRC-64/NVME in its row, checked when it is read in full ([`ObjectReader`]).
//! 6. A crash leaves a store that opens by itself; leftovers, also of files that were made ahead
//!    of need ([`ready`]), are found by number ([`recover`]).
//! 7. One process owns a data directory: `jog.lock` ([`Store::open`]).

pub mod backup;
mod bell;
mod blob;
#[cfg(test)]
mod blob_tests;
mod buckets;
mod cache;
mod census;
mod cipher;
mod codec;
mod copy;
mod db;
mod error;
mod expire;
mod folder;
mod fs;
mod garbage;
mod hold;
mod ids;
mod list;
mod master;
mod model;
mod objects;
mod open;
mod outbox;
mod outside;
mod owners;
mod pace;
mod pages;
mod ready;
mod recover;
mod rename;
mod rows;
mod schema;
mod seal;
mod signal;
mod spool;
mod stats;
mod upkeep;
mod uploads;
mod users;
pub mod verify;
mod versions;
mod write;

pub use bell::{Bell, Heard};
pub use blob::{BlobWriter, ObjectReader, WrittenBlob};
pub use buckets::BucketChange;
pub use census::Total;
pub use copy::SourceBlob;
pub use error::{OpenError, StoreError};
pub use expire::{Age, Aging, Expired, Expiry};
pub use fs::Fault;
pub use list::common_prefix;
pub use master::MasterKey;
pub use model::*;
pub use open::StoreConfig;
pub use outbox::{Doing, Notice, Outbox, QueuedEvent, Telling};
pub use outside::{Outside, Readable};
pub use rename::{Rename, Renamed};
pub use seal::{KEY_BYTES, Kek, Seal, SealMode, Sealing};
pub use spool::{LogBatch, LogKeyFormat, LogSpool, LogTarget};
pub use stats::{LastBackup, LastScrub, Stats};
pub use users::{Identities, KeyRow, NewKey, NewUser, UserChange, UserRefused, UserRow};
pub use versions::Change;

use crate::limits::BLOB_RESERVE;
use crate::types::{BucketName, ObjectKey, Precondition, Span, VersionId, Versioning};
use blob::{Blobs, Segment};
use db::{Readers, Writer, lock};
use error::{undo, undone};
use rows::Touched;
use signal::Signal;
use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a store call gives: done, refused (nothing changed), or failed.
pub type Outcome<T> = Result<Result<T, Refused>, StoreError>;

/// A store that handlers share.
pub type SharedStore = Arc<Store>;

/// Parts that are read with the first query for a span, which is often a short one, and with each
/// further one.
const FIRST_PARTS: usize = 8;
const PARTS_PAGE: usize = 1000;

/// An open data directory. Shared by all threads.
pub struct Store {
    config: StoreConfig,
    blobs: Arc<Blobs>,
    writer: Writer,
    readers: Readers,
    pins: Arc<garbage::Pins>,
    signal: Arc<Signal>,
    cache: cache::BucketCache,
    owners: owners::Owners,
    reserving: Mutex<()>,
    /// When free space was last found low, in milliseconds since 1970.
    low_space_ms: AtomicI64,
    /// When it was last tried in vain to cut off the WAL.
    uncut: Mutex<Option<Instant>>,
    /// When the disk had plenty of room, and how much.
    plenty: Mutex<Option<(Instant, open::Space)>>,
    /// The sequence numbers among which a crash may have left files, until they were looked for.
    leftovers: Mutex<Option<Range<i64>>>,
    outbox: Arc<Outbox>,
    /// Rung when lifecycle rules were changed.
    rules_bell: Bell,
    /// Buckets that changed since the lifecycle rules were applied.
    touched: Mutex<BTreeSet<i64>>,
    ending: Arc<AtomicBool>,
    /// The locked `jog.lock`.
    _lock: File,
}

/// What is known of a write before its job runs: which files are to be kept afterwards.
type Files = Vec<WrittenBlob>;

impl Store {
    // ---- buckets -------------------------------------------------------------------------

    /// Makes a bucket, unless there is one of that name.
    pub fn create_bucket(&self, new: NewBucket) -> Result<Created, StoreError> {
        self.check_space()?;
        self.blobs.make_bucket(new.name.as_str())?;
        self.writer.write(move |conn| buckets::create(conn, &new))
    }

    /// The bucket of that name.
    pub fn bucket(&self, name: &BucketName) -> Result<Option<Arc<Bucket>>, StoreError> {
        self.cache.get(name, || self.readers.read(|conn| buckets::find(conn, name)))
    }

    /// Buckets in order of their names that start with `prefix` and sort after `after`; at most
    /// `max` of them.
    pub fn buckets(
        &self,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<Vec<Bucket>, StoreError> {
        self.readers.read(|conn| buckets::list(conn, prefix, after, max))
    }

    /// The buckets with a configuration, in order of their names.
    pub fn buckets_with(&self, kind: ConfigKind) -> Result<Vec<Arc<Bucket>>, StoreError> {
        let names = self.readers.read(|conn| buckets::with_config(conn, kind))?;
        let mut found = Vec::new();
        for name in names {
            found.extend(self.bucket(&name)?.filter(|b| b.configs.contains_key(&kind)));
        }
        Ok(found)
    }

    /// What a bucket holds.
    pub fn usage(&self, bucket: i64) -> Result<Usage, StoreError> {
        self.readers.read(|conn| buckets::usage(conn, bucket))
    }

    /// Changes a bucket; seen by every request that starts after it returned.
    pub fn change_bucket(&self, bucket: i64, change: BucketChange) -> Outcome<()> {
        let rules = matches!(change, BucketChange::Config(ConfigKind::Lifecycle, _));
        let change =
            move |conn: &rusqlite::Connection| undo(buckets::change(conn, bucket, &change));
        let done = undone(self.writer.write(change));
        // Also after a failure: it may have been committed all the same.
        self.cache.clear();
        self.touch(bucket);
        if rules {
            self.rules_bell.ring();
        }
        done
    }

    /// What wakes those who apply lifecycle rules.
    pub fn rules_bell(&self) -> &Bell {
        &self.rules_bell
    }

    /// Ends the waits of all jobs.
    pub fn stop_jobs(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.rules_bell.stop();
        self.outbox.bell.stop();
    }

    /// Is set when the jobs are to end: for what takes long, see [`verify::VerifyConfig::stop`].
    pub fn ending(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ending)
    }

    /// Sets a configuration of a bucket; `None` removes it.
    pub fn set_config(&self, bucket: i64, kind: ConfigKind, value: Option<String>) -> Outcome<()> {
        self.change_bucket(bucket, BucketChange::Config(kind, value))
    }

    /// Deletes a bucket that has no object. Unfinished uploads go with it; their files become
    /// garbage.
    pub fn delete_bucket(&self, name: &BucketName) -> Outcome<()> {
        let job_name = name.clone();
        let done = self.write_freeing(Touched::All, move |conn| buckets::delete(conn, &job_name));
        // Also after a failure: it may have been committed all the same.
        self.cache.clear();
        let done = done?;
        if done.is_ok() {
            self.blobs.ready.forget(name.as_str());
            self.collector().remove_bucket_folder(name.as_str())?;
        }
        Ok(done)
    }

    // ---- bytes ---------------------------------------------------------------------------

    /// A number for a new blob or manifest.
    fn new_id(&self) -> Result<BlobId, StoreError> {
        loop {
            if let Some(id) = self.blobs.ids.take() {
                return Ok(id);
            }
            let _one = lock(&self.reserving);
            let now = self.blobs.ids.reserved();
            if let Some(id) = self.blobs.ids.take() {
                return Ok(id);
            }
            self.reserve(now + BLOB_RESERVE as i64)?;
        }
    }

    /// Notes in metadata.db which numbers may be handed out, and which are settled.
    fn reserve(&self, reserved: i64) -> Result<(), StoreError> {
        // What was not looked for yet is not settled.
        let pending = lock(&self.leftovers).as_ref().map(|range| range.start);
        let low = self.blobs.ids.low_water().min(pending.unwrap_or(i64::MAX));
        let save = move |conn: &rusqlite::Connection| open::save_numbers(conn, low, reserved);
        self.writer.write_after(Vec::new(), Touched::Nothing, save)?;
        self.blobs.ids.extend(reserved);
        Ok(())
    }

    /// Starts a file for new bytes in a bucket, encrypted as `sealing` says. Dropped unfinished, it
    /// leaves nothing. [`StoreError::Full`] if free space is under the floor.
    pub fn create_blob(
        &self,
        bucket: &BucketName,
        sealing: Option<&Sealing>,
    ) -> Result<BlobWriter, StoreError> {
        self.check_space()?;
        match self.blobs.ready.take(bucket.as_str()) {
            Some(file) => BlobWriter::new(file, sealing),
            None => self.blobs.create(bucket.as_str(), self.new_id()?, sealing),
        }
    }

    /// Makes files ahead of need until [`Store::close`]. For a thread of its own; without it
    /// everything works, and each new file is made when it is needed.
    pub fn make_files(&self) {
        self.blobs
            .ready
            .fill(|bucket, count| self.blobs.make_ready(bucket, (0..count).map(|_| self.new_id())));
    }

    /// Opens an object's bytes, or a span of them. `None` if they are gone (the object was
    /// overwritten meanwhile and its garbage collected: read the row again). `kek`: what opens the
    /// object's seal, if it has one; [`StoreError::WrongKey`] if it does not.
    pub fn open_object(
        &self,
        bucket: &BucketName,
        object: &Object,
        span: Option<Span>,
        kek: Option<&Kek>,
    ) -> Result<Option<ObjectReader>, StoreError> {
        let span = span.unwrap_or(Span { start: 0, len: object.size });
        let name = bucket.as_str();
        let (segments, pin) = match object.data {
            Data::Empty => (Vec::new(), None),
            Data::Blob(id) => {
                let path = self.blobs.path(name, id);
                let whole = span.len == object.size;
                let crc64 = whole.then_some(object.crc64);
                let (size, seal) = (object.size, object.extra.seal.clone());
                let segment = Segment { path, start: span.start, len: span.len, size, seal, crc64 };
                (vec![segment], None)
            }
            Data::Parts(manifest) => {
                // The pin comes first: what is read after it stays.
                let Some(pin) = self.pins.pin(manifest) else { return Ok(None) };
                let path = |blob| self.blobs.path(name, blob);
                let find = |conn: &_| uploads::part_of_byte(conn, manifest, span.start);
                let from = self.readers.read(find)?;
                let mut size = FIRST_PARTS;
                let page =
                    |after| self.parts(manifest, after, std::mem::replace(&mut size, PARTS_PAGE));
                let segments = Segment::of_parts(span, from, path, page)?;
                if segments.iter().map(|s| s.len).sum::<u64>() != span.len {
                    return Ok(None);
                }
                (segments, Some(pin))
            }
        };
        ObjectReader::new(self.blobs.fs.clone(), segments, kek.cloned(), pin)
    }

    // ---- objects -------------------------------------------------------------------------

    /// The object at a key.
    pub fn object(&self, bucket: i64, key: &ObjectKey) -> Result<Option<Arc<Object>>, StoreError> {
        let load = || self.readers.read(|conn| objects::find(conn, &self.owners, bucket, key));
        self.writer.rows.get(bucket, key, load)
    }

    /// What a key is: its object, or the delete marker that is its newest version.
    pub fn latest(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Option<Found>, StoreError> {
        if bucket.versioning == Versioning::Unversioned {
            return Ok(self.object(bucket.id, key)?.map(Found::Object));
        }
        if let Some(object) = self.object(bucket.id, key)? {
            return Ok(Some(Found::Object(object)));
        }
        self.readers.snapshot(|conn| match objects::find(conn, &self.owners, bucket.id, key)? {
            Some(object) => Ok(Some(Found::Object(Arc::new(object)))),
            None => Ok(versions::current_marker(conn, bucket.id, key)?.map(Found::Marker)),
        })
    }

    /// A version by its id.
    pub fn version(
        &self,
        bucket: i64,
        key: &ObjectKey,
        id: VersionId,
    ) -> Result<Option<Found>, StoreError> {
        self.readers.snapshot(|conn| versions::find(conn, &self.owners, bucket, key, id))
    }

    /// Changes a version (`None`: the object at the key); its id.
    pub fn change_version(
        &self,
        bucket: i64,
        key: &ObjectKey,
        id: Option<VersionId>,
        change: Change,
    ) -> Outcome<VersionId> {
        let key = key.clone();
        let touched = self.writer.rows.one(bucket, &key);
        let change = move |conn: &rusqlite::Connection| {
            undo(versions::change(conn, bucket, &key, id, &change))
        };
        let done = undone(self.writer.write_after(Vec::new(), touched, change));
        self.touch(bucket);
        done
    }

    /// A page of all versions and delete markers, of each key the newest first. With
    /// `after_version`, the versions of the key `query.after` that are older than that one come
    /// first; without it all versions of that key are passed.
    pub fn list_versions(
        &self,
        query: &ListQuery,
        after_version: Option<VersionId>,
    ) -> Result<Page<Version>, StoreError> {
        self.readers.snapshot(|conn| versions::list(conn, &self.owners, query, after_version))
    }

    /// Writes an object; what was at its key becomes garbage in the same transaction.
    pub fn put_object(&self, bucket: i64, new: NewObject, if_: Precondition) -> Outcome<Stored> {
        self.put_and_tell(bucket, new, if_, None)
    }

    /// Deletes a key or a version of it.
    pub fn delete_object(
        &self,
        bucket: i64,
        key: &ObjectKey,
        delete: impl Into<Delete>,
    ) -> Outcome<Deleted> {
        self.delete_and_tell(bucket, key, delete.into(), None)
    }

    /// Deletes several in one transaction; one outcome each, in their order.
    pub fn delete_objects(
        &self,
        bucket: i64,
        keys: Vec<(ObjectKey, Delete)>,
    ) -> Outcome<Vec<Result<Deleted, Refused>>> {
        self.delete_all_and_tell(bucket, keys, None)
    }

    /// A page of the objects of a bucket.
    pub fn list(&self, query: &ListQuery) -> Result<Arc<Page<Summary>>, StoreError> {
        let load = || self.readers.snapshot(|conn| list::objects(conn, &self.owners, query));
        self.writer.pages.get(query, load)
    }

    /// The parts of a multipart object or an upload, in order, with numbers above `after`; at
    /// most `max`.
    pub fn parts(
        &self,
        manifest: ManifestId,
        after: u32,
        max: usize,
    ) -> Result<Vec<Part>, StoreError> {
        self.readers.read(|conn| uploads::parts(conn, manifest, after, max))
    }

    /// A part of a multipart object, how many there are, and the bytes before it; `None` if it
    /// has no such part.
    pub fn part(
        &self,
        manifest: ManifestId,
        number: u32,
    ) -> Result<Option<(Part, usize, u64)>, StoreError> {
        self.readers.snapshot(|conn| {
            let found = uploads::parts(conn, manifest, number.saturating_sub(1), 1)?.pop();
            let Some(part) = found.filter(|part| part.number == number) else { return Ok(None) };
            let (count, before) = uploads::parts_before(conn, manifest, number)?;
            Ok(Some((part, count, before)))
        })
    }

    // ---- multipart uploads ---------------------------------------------------------------

    /// Starts an upload.
    pub fn create_upload(&self, bucket: i64, new: NewUpload) -> Outcome<Upload> {
        self.check_space()?;
        let manifest = ManifestId(self.manifest_id()?);
        let upload = uploads::fresh(new, manifest, open::random_u64());
        let row = upload.clone();
        let create = move |conn: &rusqlite::Connection| undo(uploads::create(conn, bucket, &row));
        let done = undone(self.writer.write_after(Vec::new(), Touched::Nothing, create));
        self.touch(bucket);
        done.map(|done| done.map(|()| upload))
    }

    /// An unfinished upload.
    pub fn upload(
        &self,
        bucket: i64,
        key: &ObjectKey,
        upload_id: &str,
    ) -> Result<Option<Upload>, StoreError> {
        self.readers.read(|conn| uploads::find(conn, bucket, key, upload_id))
    }

    /// A completed upload that is still remembered.
    pub fn completed(
        &self,
        bucket: i64,
        key: &ObjectKey,
        upload_id: &str,
    ) -> Result<Option<Completed>, StoreError> {
        self.readers.read(|conn| uploads::completed(conn, bucket, key, upload_id))
    }

    /// Stores a part; one of the same number becomes garbage. Gives the time of the commit.
    pub fn put_part(&self, upload: &Upload, part: NewPart) -> Outcome<i64> {
        let manifest = upload.manifest;
        let NewPart { mut part, blob } = part;
        part.place(blob.as_ref());
        let files = blob.into_iter().collect();
        self.write_files(files, Touched::Nothing, move |conn| {
            uploads::put_part(conn, manifest, &part)
        })
    }

    /// Turns an upload into an object made of the parts with these numbers (ascending); its other
    /// parts become garbage. `upload.revision` must be what the parts were read with, else
    /// [`Refused::PartsChanged`]. `new.data` must be [`NewData::Empty`] and is ignored: the bytes
    /// are the upload's.
    pub fn complete_upload(
        &self,
        bucket: i64,
        upload: &Upload,
        numbers: Vec<u32>,
        new: NewObject,
        if_: Precondition,
    ) -> Outcome<Stored> {
        self.complete_and_tell(bucket, upload, numbers, new, if_, None)
    }

    /// Removes an upload and its parts.
    pub fn abort_upload(&self, bucket: i64, key: &ObjectKey, upload_id: &str) -> Outcome<()> {
        let (key, upload_id) = (key.clone(), upload_id.to_owned());
        self.write_freeing(Touched::Nothing, move |conn| {
            uploads::abort(conn, bucket, &key, &upload_id)
        })
    }

    /// A page of the unfinished uploads in order of key, then of start. With `after_upload`, the
    /// uploads of the key `query.after` that were started after that one come first; without it
    /// all uploads of that key are passed.
    pub fn list_uploads(
        &self,
        query: &ListQuery,
        after_upload: Option<&str>,
    ) -> Result<Page<Upload>, StoreError> {
        self.readers.snapshot(|conn| list::uploads(conn, query, after_upload))
    }

    // ---- inside --------------------------------------------------------------------------

    fn collector(&self) -> garbage::Collector<'_> {
        garbage::Collector {
            blobs: &self.blobs,
            writer: &self.writer,
            readers: &self.readers,
            pins: &self.pins,
        }
    }

    /// Whether free space was found low within the last so many milliseconds.
    fn space_was_low(&self, now_ms: i64, within_ms: i64) -> bool {
        // Not in the future: the clock may have gone back.
        (0..within_ms).contains(&(now_ms - self.low_space_ms.load(Ordering::Relaxed)))
    }
}
