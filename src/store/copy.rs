//! Copies of whole files. Bytes are moved only where a copy is to be encrypted and its source is
//! not, or the other way round; a file that is encrypted already keeps its bytes under another key,
//! since only its data key is sealed anew.

use super::blob::{BlobWriter, ObjectReader, Segment, WrittenBlob};
use super::{BlobId, Kek, Seal, Sealing, Store, StoreError};
use crate::limits::IO_BUFFER_BYTES;
use crate::types::BucketName;

/// The file that is to be copied, as its row has it.
#[derive(Clone, Copy, Debug)]
pub struct SourceBlob<'a> {
    /// Its bucket.
    pub bucket: &'a BucketName,
    /// Its number.
    pub blob: BlobId,
    /// Its size in bytes, before encryption.
    pub size: u64,
    /// CRC-64/NVME of its bytes, before encryption.
    pub crc64: u64,
    /// Its sealed key, if it is encrypted.
    pub seal: Option<&'a Seal>,
    /// What opens the seal.
    pub kek: Option<&'a Kek>,
}

impl Store {
    /// A further file with the bytes of an existing one, encrypted as `sealing` says: a hard link
    /// where the file system has them and the bytes stay what they are, else a copy. `None` if the
    /// source is gone (its object was overwritten meanwhile); [`StoreError::WrongKey`] if
    /// `source.kek` does not open it.
    pub fn copy_blob(
        &self,
        source: SourceBlob<'_>,
        to: &BucketName,
        sealing: Option<&Sealing>,
    ) -> Result<Option<WrittenBlob>, StoreError> {
        let seal = match (source.seal, sealing) {
            (None, None) => None,
            (Some(seal), Some(sealing)) => {
                Some(seal.reseal(source.kek.ok_or(StoreError::WrongKey)?, sealing)?)
            }
            (None, Some(_)) | (Some(_), None) => {
                let Some(reader) = self.open_blob(source)? else { return Ok(None) };
                return transfer(reader, self.create_blob(to, sealing)?);
            }
        };
        self.check_space()?;
        let id = self.new_id()?;
        let from = self.blobs.path(source.bucket.as_str(), source.blob);
        self.blobs.link(&from, to.as_str(), id, source.crc64, seal)
    }

    fn open_blob(&self, source: SourceBlob<'_>) -> Result<Option<ObjectReader>, StoreError> {
        let segment = Segment {
            path: self.blobs.path(source.bucket.as_str(), source.blob),
            start: 0,
            len: source.size,
            size: source.size,
            seal: source.seal.cloned(),
            crc64: Some(source.crc64),
        };
        ObjectReader::new(self.blobs.fs.clone(), vec![segment], source.kek.cloned(), None)
    }
}

fn transfer(
    mut reader: ObjectReader,
    mut writer: BlobWriter,
) -> Result<Option<WrittenBlob>, StoreError> {
    let mut buffer = vec![0; IO_BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer)? {
            0 => return writer.finish(),
            n => writer.write(&buffer[..n])?,
        }
    }
}
