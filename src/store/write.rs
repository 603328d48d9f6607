//! Writes and deletes of objects, each in one transaction with the events that tell of it.

use super::error::{undo, undone};
use super::objects::{self, NewRow};
use super::outbox::{Notice, Outbox};
use super::rows::Touched;
use super::{
    Data, Delete, Deleted, Files, ManifestId, NewData, NewObject, NewPart, Outcome, Refused, Store,
    StoreError, Stored, Upload, WrittenBlob, buckets, uploads,
};
use crate::types::{ObjectKey, Precondition};
use rusqlite::Connection;
use std::sync::Arc;

impl Store {
    /// [`Store::put_object`]; `notice`: who is told of it.
    pub(super) fn put_and_tell(
        &self,
        bucket: i64,
        new: NewObject,
        if_: Precondition,
        notice: Option<Arc<Notice>>,
    ) -> Outcome<Stored> {
        let NewObject { key, size, etag, crc64, checksum, meta, owner, data, mut extra } = new;
        let mut files = Files::new();
        let mut parts = Vec::new();
        let data = match data {
            NewData::Empty => Data::Empty,
            NewData::Blob(blob) => {
                let id = blob.id;
                extra.seal = blob.seal.clone();
                files.push(blob);
                Data::Blob(id)
            }
            NewData::Parts(new_parts) => {
                for NewPart { mut part, blob } in new_parts {
                    part.place(blob.as_ref());
                    files.extend(blob);
                    parts.push(part);
                }
                Data::Parts(ManifestId(self.manifest_id()?))
            }
        };
        let row = NewRow { key, size, etag, crc64, checksum, meta, owner, data, extra };
        if files.is_empty() {
            self.check_space()?;
        }
        let outbox = Arc::clone(&self.outbox);
        let touched = self.writer.rows.one(bucket, &row.key);
        let done = self.write_files(files, touched, move |conn| {
            let stored = objects::put(conn, bucket, &row, &if_)?;
            if let (Ok(stored), Data::Parts(manifest)) = (&stored, row.data) {
                for part in &parts {
                    uploads::insert_part(conn, manifest, part, stored.modified_ms)?;
                }
            }
            tell_stored(conn, &outbox, notice.as_deref(), &row, &stored)?;
            Ok(stored)
        });
        self.touch(bucket);
        done
    }

    /// A number for a manifest: it has no file, so it is settled at once.
    pub(super) fn manifest_id(&self) -> Result<i64, StoreError> {
        let id = self.new_id()?;
        self.blobs.ids.settle(id);
        Ok(id.0)
    }

    /// Runs a writer's job that makes rows for files. The files stay if it commits and go if it is
    /// refused or surely failed; where a commit may or may not have reached the disk they stay
    /// until the next start finds out.
    pub(super) fn write_files<T: Send + 'static>(
        &self,
        files: Files,
        touched: Touched,
        job: impl Fn(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let result =
            self.blobs.folders_of(files.iter().map(|file| &file.pending)).and_then(|folders| {
                self.writer.write_after(folders, touched, move |conn| undo(job(conn)))
            });
        match &result {
            Ok(_) => files.into_iter().for_each(WrittenBlob::keep),
            Err(StoreError::Refused(_) | StoreError::Full | StoreError::Busy) => drop(files),
            Err(_) => files.into_iter().for_each(WrittenBlob::leave),
        }
        undone(result)
    }

    /// [`Store::delete_object`]; `notice`: who is told of it.
    pub(super) fn delete_and_tell(
        &self,
        bucket: i64,
        key: &ObjectKey,
        delete: Delete,
        notice: Option<Arc<Notice>>,
    ) -> Outcome<Deleted> {
        let (key, outbox) = (key.clone(), Arc::clone(&self.outbox));
        let touched = self.writer.rows.one(bucket, &key);
        let done = self.write_freeing(touched, move |conn| {
            delete_one(conn, bucket, &key, &delete, &outbox, notice.as_deref())
        });
        self.touch(bucket);
        done
    }

    /// [`Store::delete_objects`]; `notice`: who is told of it.
    pub(super) fn delete_all_and_tell(
        &self,
        bucket: i64,
        keys: Vec<(ObjectKey, Delete)>,
        notice: Option<Arc<Notice>>,
    ) -> Outcome<Vec<Result<Deleted, Refused>>> {
        let outbox = Arc::clone(&self.outbox);
        let done = self.write_freeing(Touched::All, move |conn| {
            if let Err(refused) = buckets::home(conn, bucket)? {
                return Ok(Err(refused));
            }
            let delete = |(key, delete): &(ObjectKey, Delete)| {
                delete_one(conn, bucket, key, delete, &outbox, notice.as_deref())
            };
            keys.iter().map(delete).collect::<Result<Vec<_>, _>>().map(Ok)
        });
        self.touch(bucket);
        done
    }

    /// [`Store::complete_upload`]; `notice`: who is told of it.
    pub(super) fn complete_and_tell(
        &self,
        bucket: i64,
        upload: &Upload,
        numbers: Vec<u32>,
        new: NewObject,
        if_: Precondition,
        notice: Option<Arc<Notice>>,
    ) -> Outcome<Stored> {
        let NewObject { key, size, etag, crc64, checksum, meta, owner, data: _, extra } = new;
        let data = Data::Parts(upload.manifest);
        let row = NewRow { key, size, etag, crc64, checksum, meta, owner, data, extra };
        let (upload, outbox) = (upload.clone(), Arc::clone(&self.outbox));
        let touched = self.writer.rows.one(bucket, &row.key);
        let done = undone(self.writer.write_after(Vec::new(), touched, move |conn| {
            let stored = uploads::complete(conn, bucket, &upload, &numbers, &row, &if_)?;
            tell_stored(conn, &outbox, notice.as_deref(), &row, &stored)?;
            undo(Ok(stored))
        }));
        self.touch(bucket);
        done
    }
}

/// Notes what a write did, for those who want to know.
fn tell_stored(
    conn: &Connection,
    outbox: &Outbox,
    notice: Option<&Notice>,
    row: &NewRow,
    stored: &Result<Stored, Refused>,
) -> Result<(), StoreError> {
    match (notice, stored) {
        (Some(notice), Ok(stored)) => {
            let content = (row.size, row.etag.as_str());
            notice.stored(conn, outbox, &row.key, content, stored)
        }
        _ => Ok(()),
    }
}

fn delete_one(
    conn: &Connection,
    bucket: i64,
    key: &ObjectKey,
    delete: &Delete,
    outbox: &Outbox,
    notice: Option<&Notice>,
) -> Outcome<Deleted> {
    let done = objects::delete(conn, bucket, key, delete)?;
    if let (Ok(deleted), Some(notice)) = (&done, notice) {
        notice.deleted(conn, outbox, key, delete.version, deleted)?;
    }
    Ok(done)
}
