//! The current objects of a data directory, read by another process than the one that writes: by an
//! export. metadata.db is read in short steps, so that no transaction stands in the way of
//! checkpoints, and files of deleted objects are held meanwhile: whatever a step has found can be
//! read afterwards. Nothing of the store is changed.

use super::blob::Segment;
use super::census::{Source, Total, path_of};
use super::fs::Fs;
use super::hold::{Hold, hold};
use super::owners::Owners;
use super::{
    Bucket, Data, Kek, Object, ObjectReader, PARTS_PAGE, StoreError, buckets, codec, list, objects,
    schema, uploads,
};
use crate::types::{BucketName, ObjectKey, Span};
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

/// The column behind [`objects::columns`].
const KEY: usize = 17;

/// See the module's description.
pub struct Outside {
    conn: Connection,
    owners: Owners,
    fs: Fs,
    root: PathBuf,
    _held: Hold,
}

/// An object that is ready to be read.
pub struct Readable {
    /// Its bytes, decrypted and verified.
    pub reader: ObjectReader,
    /// The file of the store that has these bytes and no others, if there is one.
    pub file: Option<PathBuf>,
}

impl Outside {
    /// Opens a data directory, whether its server runs or not.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        // In this order: what is read of metadata.db is held.
        let held = hold(dir)?;
        let conn = Source::Live(&dir.join("metadata.db")).connect()?;
        let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version != schema::newest() {
            return Err(StoreError::Corrupt(format!(
                "metadata.db has version {version}, this jog reads {}; a start of its server brings \
                 an older one up to date",
                schema::newest()
            )));
        }
        let fs = Fs { durable: true, fault: None };
        Ok(Self { conn, owners: Owners::default(), fs, root: dir.to_owned(), _held: held })
    }

    /// Buckets in order of their names that sort after `after`; at most `max` of them.
    pub fn buckets(&self, after: &str, max: usize) -> Result<Vec<Bucket>, StoreError> {
        buckets::list(&self.conn, "", after, max)
    }

    /// The bucket of that name.
    pub fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>, StoreError> {
        buckets::find(&self.conn, name)
    }

    /// How many objects of a bucket start with `prefix`, and their bytes.
    pub fn total(&self, bucket: i64, prefix: &str) -> Result<Total, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(size), 0) FROM objects
                   WHERE bucket = ?1 AND key >= ?2 AND key < ?3";
        let bounds = params![bucket, prefix.as_bytes(), list::past(prefix.as_bytes())];
        let (files, bytes): (i64, i64) =
            self.conn.query_row(sql, bounds, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let number = |n| u64::try_from(n).unwrap_or(0);
        Ok(Total { files: number(files), bytes: number(bytes) })
    }

    /// The objects that start with `prefix` and sort after `after`, in order of their keys; at most
    /// `max`.
    pub fn page(
        &self,
        bucket: i64,
        prefix: &str,
        after: Option<&ObjectKey>,
        max: usize,
    ) -> Result<Vec<Object>, StoreError> {
        let mut statement = self.conn.prepare_cached(concat!(
            "SELECT ",
            objects::columns!(),
            ", key FROM objects
             WHERE bucket = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4"
        ))?;
        let from = match after {
            None => prefix.as_bytes().to_vec(),
            Some(after) => [after.as_bytes(), &[0]].concat(),
        };
        let end = list::past(prefix.as_bytes());
        let mut rows = statement.query(params![bucket, from, end, max as i64])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            let key = codec::key(codec::key_text(row, KEY)?)?;
            page.push(objects::object(&self.conn, &self.owners, row, &key)?);
        }
        Ok(page)
    }

    /// Whether there are objects whose keys go on behind this one with a `/`.
    pub fn has_below(&self, bucket: i64, key: &ObjectKey) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM objects
                       WHERE bucket = ?1 AND key >= ?2 AND key < ?3)";
        let below = [key.as_bytes(), b"/"].concat();
        let bounds = params![bucket, below, list::past(&below)];
        Ok(self.conn.prepare_cached(sql)?.query_row(bounds, |row| row.get(0))?)
    }

    /// Opens an object. `None` if a file of it is not there; [`StoreError::WrongKey`] if it is
    /// encrypted and `kek` does not open it.
    pub fn read(
        &self,
        bucket: &BucketName,
        object: &Object,
        kek: Option<&Kek>,
    ) -> Result<Option<Readable>, StoreError> {
        let path = |blob| path_of(&self.root, bucket.as_str(), blob);
        let whole = Span { start: 0, len: object.size };
        let segments = match object.data {
            Data::Empty => Vec::new(),
            Data::Blob(blob) => vec![Segment {
                path: path(blob),
                start: 0,
                len: object.size,
                size: object.size,
                seal: object.extra.seal.clone(),
                crc64: Some(object.crc64),
            }],
            Data::Parts(manifest) => Segment::of_parts(whole, (0, 0), path, |after| {
                uploads::parts(&self.conn, manifest, after, PARTS_PAGE)
            })?,
        };
        if segments.iter().map(|segment| segment.len).sum::<u64>() != object.size {
            return Ok(None);
        }
        let file = match segments.as_slice() {
            [only] if only.seal.is_none() && only.len == only.size => Some(only.path.clone()),
            _ => None,
        };
        let reader = ObjectReader::new(self.fs.clone(), segments, kek.cloned(), None)?;
        Ok(reader.map(|reader| Readable { reader, file }))
    }
}
