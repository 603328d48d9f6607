//! Files of bytes.

use super::{BlobId, StoreError};

/// A file being written.
#[derive(Debug)]
pub struct BlobWriter {}

/// A file that is written and durable, and not yet named by a row. Dropped, it is unlinked.
#[derive(Debug)]
pub struct WrittenBlob {
    /// Its number.
    pub id: BlobId,
    /// Its size in bytes; never 0.
    pub size: u64,
    /// CRC-64/NVME of its bytes.
    pub crc64: u64,
}

#[allow(clippy::missing_errors_doc, unused_variables)]
impl BlobWriter {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Makes the file durable. `None` if no byte was written: an empty object has no file.
    pub fn finish(self) -> Result<Option<WrittenBlob>, StoreError> {
        todo!()
    }
}

/// Reads an object's bytes. The last bytes of every blob that is read in full are handed out only
/// after its CRC has been checked, so a damaged object never looks complete.
#[derive(Debug)]
pub struct ObjectReader {}

#[allow(clippy::missing_errors_doc, unused_variables, clippy::len_without_is_empty)]
impl ObjectReader {
    /// Bytes that are still to come.
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// The next bytes; 0 at the end. `buf` should be of [`crate::limits::IO_BUFFER_BYTES`].
    /// [`StoreError::Corrupt`] if they are not what was stored.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, StoreError> {
        todo!()
    }
}
