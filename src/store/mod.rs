//! The store: metadata in SQLite, bytes in files. This module is its only public face; it orders
//! blob and row so that a row never names bytes that are not on disk.
//!
//! Knows nothing of HTTP, XML or S3's error codes.

mod blob;
mod error;
mod model;

pub use blob::{BlobWriter, ObjectReader, WrittenBlob};
pub use error::StoreError;
pub use model::*;

use crate::types::{BucketName, ObjectKey, Precondition, Span};
use std::sync::Arc;

/// What a store call gives: done, refused (nothing changed), or failed.
pub type Outcome<T> = Result<Result<T, Refused>, StoreError>;

/// An open data directory. Shared by all threads.
pub struct Store {}

#[allow(unused_variables, clippy::missing_errors_doc)]
impl Store {
    // ---- buckets -------------------------------------------------------------------------

    /// Makes a bucket, unless there is one of that name.
    pub fn create_bucket(
        &self,
        name: &BucketName,
        owner: &str,
        region: &str,
    ) -> Result<Created, StoreError> {
        todo!()
    }

    /// The bucket of that name.
    pub fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>, StoreError> {
        todo!()
    }

    /// Buckets in order of their names that start with `prefix` and sort after `after`; at most
    /// `max` of them.
    pub fn buckets(
        &self,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<Vec<Bucket>, StoreError> {
        todo!()
    }

    /// Deletes a bucket that has no object. Unfinished uploads go with it, as on AWS... their
    /// files become garbage.
    pub fn delete_bucket(&self, name: &BucketName) -> Outcome<()> {
        todo!()
    }

    // ---- bytes ---------------------------------------------------------------------------

    /// Starts a file for new bytes in a bucket. Dropped unfinished, it leaves nothing.
    /// [`StoreError::Full`] if free space is under the floor.
    pub fn create_blob(&self, bucket: &BucketName) -> Result<BlobWriter, StoreError> {
        todo!()
    }

    /// A further file with the bytes of an existing one: a hard link where the file system has
    /// them, else a copy. `None` if the blob is gone (its object was overwritten meanwhile).
    pub fn link_blob(
        &self,
        from: &BucketName,
        blob: BlobId,
        to: &BucketName,
    ) -> Result<Option<WrittenBlob>, StoreError> {
        todo!()
    }

    /// Opens an object's bytes, or a span of them. `None` if they are gone (the object was
    /// overwritten meanwhile and its garbage collected: read the row again).
    pub fn open(
        &self,
        bucket: &BucketName,
        object: &Object,
        span: Option<Span>,
    ) -> Result<Option<ObjectReader>, StoreError> {
        todo!()
    }

    // ---- objects -------------------------------------------------------------------------

    /// The object at a key.
    pub fn object(&self, bucket: i64, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        todo!()
    }

    /// Writes an object; what was at its key becomes garbage in the same transaction.
    pub fn put_object(&self, bucket: i64, new: NewObject, if_: Precondition) -> Outcome<Stored> {
        todo!()
    }

    /// Removes the object at a key; whether there was one.
    pub fn delete_object(&self, bucket: i64, key: &ObjectKey, if_: Precondition) -> Outcome<bool> {
        todo!()
    }

    /// Removes the objects at several keys in one transaction; one outcome a key, in their order.
    pub fn delete_objects(
        &self,
        bucket: i64,
        keys: Vec<(ObjectKey, Precondition)>,
    ) -> Outcome<Vec<Result<bool, Refused>>> {
        todo!()
    }

    /// A page of the objects of a bucket.
    pub fn list(&self, query: &ListQuery) -> Result<Page<Summary>, StoreError> {
        todo!()
    }

    /// The parts of a multipart object or an upload, in order, with numbers above `after`; at
    /// most `max`.
    pub fn parts(
        &self,
        manifest: ManifestId,
        after: u32,
        max: usize,
    ) -> Result<Vec<Part>, StoreError> {
        todo!()
    }

    // ---- multipart uploads ---------------------------------------------------------------

    /// Starts an upload.
    pub fn create_upload(&self, bucket: i64, new: NewUpload) -> Outcome<Upload> {
        todo!()
    }

    /// An unfinished upload.
    pub fn upload(
        &self,
        bucket: i64,
        key: &ObjectKey,
        upload_id: &str,
    ) -> Result<Option<Upload>, StoreError> {
        todo!()
    }

    /// A completed upload that is still remembered.
    pub fn completed(
        &self,
        bucket: i64,
        key: &ObjectKey,
        upload_id: &str,
    ) -> Result<Option<Completed>, StoreError> {
        todo!()
    }

    /// Stores a part; one of the same number becomes garbage. Gives the time of the commit.
    pub fn put_part(&self, upload: &Upload, part: NewPart) -> Outcome<i64> {
        todo!()
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
        todo!()
    }

    /// Removes an upload and its parts.
    pub fn abort_upload(&self, bucket: i64, key: &ObjectKey, upload_id: &str) -> Outcome<()> {
        todo!()
    }

    /// A page of the unfinished uploads in order of key, then of start. `after`: key and, if
    /// given, the upload id within that key. Without upload id all uploads of that key are passed.
    pub fn list_uploads(
        &self,
        query: &ListQuery,
        after_upload: Option<&str>,
    ) -> Result<Page<Upload>, StoreError> {
        todo!()
    }
}

/// A store that handlers share.
pub type SharedStore = Arc<Store>;
