//! Files of bytes. Each is written once, under a name that was never used before, and never
//! changed: readers need no lock.
//!
//! A file is written under its final name. Until its row is committed nobody can find it, and if
//! that never happens it is removed: on the spot when its owner is dropped, after a crash by
//! [`super::recover`].

use super::cipher::{self, ChunkError, Decryptor, Encryptor};
use super::db::lock;
use super::folder::Folder;
use super::fs::Fs;
use super::ids::{self, Ids};
use super::pace::Pace;
use super::ready::{Ready, ReadyFile};
use super::seal::{DataKey, Kek, Seal, Sealing};
use super::{BlobId, Part, StoreError};
use crate::types::Span;
use crc_fast::{CrcAlgorithm, Digest};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Open folders that are kept for the next fsync.
const OPEN_FOLDERS: usize = 64;

/// The folder `buckets/` and everything in it.
#[derive(Debug)]
pub struct Blobs {
    root: PathBuf,
    pub fs: Fs,
    pub ids: Ids,
    pace: Pace,
    /// Files made ahead of need.
    pub ready: Ready,
    /// Open folders. Each has a durable entry in the one above it.
    folders: Mutex<HashMap<PathBuf, Arc<Folder>>>,
    /// Held while folders are made for a new file, and while empty ones are removed.
    tree: Mutex<()>,
}

impl Blobs {
    /// `root`: the folder `buckets/`, which exists.
    pub fn new(root: PathBuf, fs: Fs, ids: Ids) -> Self {
        let (folders, tree) = (Mutex::new(HashMap::new()), Mutex::new(()));
        let (pace, ready) = (Pace::default(), Ready::default());
        Self { root, fs, ids, pace, ready, folders, tree }
    }

    /// The folder of a bucket.
    pub fn bucket_dir(&self, bucket: &str) -> PathBuf {
        self.root.join(bucket)
    }

    /// The file of a blob.
    pub fn path(&self, bucket: &str, id: BlobId) -> PathBuf {
        let mut path = self.root.join(bucket);
        path.push("objects");
        path.push(ids::folder(id));
        path.push(ids::file_name(id));
        path
    }

    /// Makes `<bucket>/objects`. It becomes durable with the first file below it.
    pub fn make_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let _tree = lock(&self.tree);
        self.make_dirs(&self.root.join(bucket).join("objects"))
    }

    /// Makes a folder and those above it up to the root.
    fn make_dirs(&self, dir: &Path) -> Result<(), StoreError> {
        let Some(parent) = dir.parent().filter(|_| dir != self.root) else { return Ok(()) };
        if dir.is_dir() {
            return Ok(());
        }
        self.make_dirs(parent)?;
        // objects/ and the upper level hold folders; what is two levels below objects/ has files.
        let holds_files = dir.ancestors().nth(2).is_some_and(|d| d.ends_with("objects"));
        if self.fs.mkdir(dir)? && !holds_files {
            self.fs.spread(dir);
        }
        Ok(())
    }

    /// The folders in which these new files have their entries, each once; none where nothing has
    /// to be durable.
    pub fn folders_of<'f>(
        &self,
        files: impl IntoIterator<Item = &'f Pending>,
    ) -> Result<Vec<Arc<Folder>>, StoreError> {
        let mut dirs: Vec<&Path> = Vec::new();
        if self.fs.durable {
            let new = files.into_iter().filter(|file| !file.has_entry);
            for dir in new.filter_map(|file| file.path.parent()) {
                if !dirs.contains(&dir) {
                    dirs.push(dir);
                }
            }
        }
        dirs.into_iter().map(|dir| self.durable_folder(dir)).collect()
    }

    /// Opens a folder that has something in it, and makes its way up to the root durable: whoever
    /// made a folder may not have come to that yet, or may have crashed before.
    fn durable_folder(&self, dir: &Path) -> Result<Arc<Folder>, StoreError> {
        if let Some(handle) = lock(&self.folders).get(dir) {
            return Ok(Arc::clone(handle));
        }
        let handle = Arc::new(Folder::open(&self.fs, dir.to_owned())?);
        if let Some(parent) = dir.parent().filter(|_| dir != self.root) {
            self.durable_folder(parent)?.sync()?;
        }
        let mut folders = lock(&self.folders);
        if folders.len() >= OPEN_FOLDERS {
            folders.clear();
        }
        folders.insert(dir.to_owned(), Arc::clone(&handle));
        Ok(handle)
    }

    /// Removes these folders one after the other, up to the first that is not empty.
    pub fn remove_empty<'p>(&self, dirs: impl IntoIterator<Item = &'p Path>) {
        let _tree = lock(&self.tree);
        for dir in dirs {
            if !self.fs.rmdir(dir) {
                return;
            }
            lock(&self.folders).remove(dir);
        }
    }

    /// Runs `make` on the path of a new blob; makes its folder first if it is not there.
    fn place<T>(
        &self,
        path: &Path,
        make: impl Fn(&Path) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let missing = |e: &StoreError| matches!(e, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        match make(path) {
            Err(error) if missing(&error) => {
                // Nobody removes the folder between the two steps.
                let _tree = lock(&self.tree);
                self.make_dirs(path.parent().unwrap_or(&self.root))?;
                make(path)
            }
            other => other,
        }
    }

    fn pending(self: &Arc<Self>, bucket: &str, id: BlobId) -> Pending {
        Pending {
            blobs: Arc::clone(self),
            path: self.path(bucket, id),
            id,
            armed: true,
            has_entry: false,
        }
    }

    /// Starts the file of a new blob, encrypted with a new key if `sealing` says what seals that.
    pub fn create(
        self: &Arc<Self>,
        bucket: &str,
        id: BlobId,
        sealing: Option<&Sealing>,
    ) -> Result<BlobWriter, StoreError> {
        BlobWriter::new(self.start(bucket, id)?, sealing)
    }

    /// An empty file for a new blob.
    fn start(self: &Arc<Self>, bucket: &str, id: BlobId) -> Result<ReadyFile, StoreError> {
        let pending = self.pending(bucket, id);
        let create = || self.place(&pending.path, |path| self.fs.create(path));
        let (file, leave) = self.pace.watch(create);
        if leave {
            self.ids.skip_folder();
        }
        Ok(ReadyFile { file: file?, pending })
    }

    /// Makes files for new blobs, see [`super::ready`]; their entries are durable.
    pub fn make_ready(
        self: &Arc<Self>,
        bucket: &str,
        ids: impl IntoIterator<Item = Result<BlobId, StoreError>>,
    ) -> Result<Vec<ReadyFile>, StoreError> {
        let made = ids.into_iter().map(|id| self.start(bucket, id?));
        let mut files = made.collect::<Result<Vec<_>, _>>()?;
        let pending: Vec<&Pending> = files.iter().map(|file| &file.pending).collect();
        for folder in self.folders_of(pending)? {
            folder.sync()?;
        }
        files.iter_mut().for_each(|file| file.pending.has_entry = true);
        Ok(files)
    }

    /// A blob with the bytes of another, see [`super::Store::link_blob`]. `None` if it is gone.
    /// `seal`: that of the new blob, which has the data key of the old one.
    pub fn link(
        self: &Arc<Self>,
        from: &Path,
        bucket: &str,
        id: BlobId,
        crc64: u64,
        seal: Option<Seal>,
    ) -> Result<Option<WrittenBlob>, StoreError> {
        let pending = self.pending(bucket, id);
        let size = match std::fs::metadata(from) {
            Ok(meta) if seal.is_some() => cipher::plain_len(meta.len()),
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("stat", from, e)),
        };
        if let Err(error) = self.place(&pending.path, |path| self.fs.link(from, path)) {
            if !from.exists() {
                return Ok(None);
            }
            if !no_links(&error) {
                return Err(error);
            }
            let mut file = self.place(&pending.path, |path| self.fs.create(path))?;
            self.fs.copy(from, &mut file)?;
            self.fs.sync_file(&pending.path, &file)?;
        }
        Ok(Some(WrittenBlob { id, size, crc64, seal, pending }))
    }
}

/// Whether a link failed because there are none to be had here: another file system (EXDEV), too
/// many of the file (EMLINK), or a file system without them (exFAT: EPERM, EOPNOTSUPP).
pub fn no_links(error: &StoreError) -> bool {
    let StoreError::Io { source, .. } = error else { return false };
    matches!(
        source.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
    )
}

/// The name of a file that has no row yet. Dropped, the file is removed.
#[derive(Debug)]
pub struct Pending {
    blobs: Arc<Blobs>,
    path: PathBuf,
    id: BlobId,
    armed: bool,
    /// Its entry in its folder is durable already.
    has_entry: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // A file that cannot be removed now is removed by the recovery after the next start.
        if self.blobs.fs.unlink(&self.path).is_ok() {
            self.blobs.ids.settle(self.id);
        }
    }
}

/// A file being written. Dropped unfinished, it is removed.
pub struct BlobWriter {
    pending: Pending,
    file: File,
    len: u64,
    /// Of the plaintext.
    crc: Digest,
    sealed: Option<Sealed>,
}

/// What makes a file an encrypted one.
struct Sealed {
    encryptor: Encryptor,
    seal: Seal,
}

impl Sealed {
    fn new(sealing: &Sealing) -> Result<Self, StoreError> {
        let key = DataKey::random()?;
        Ok(Self { encryptor: Encryptor::new(&key), seal: sealing.seal(&key, 0)? })
    }
}

impl BlobWriter {
    /// Starts to write an empty file, encrypted with a new key if `sealing` says what seals that.
    pub(super) fn new(start: ReadyFile, sealing: Option<&Sealing>) -> Result<Self, StoreError> {
        let ReadyFile { pending, file } = start;
        let sealed = sealing.map(Sealed::new).transpose()?;
        Ok(Self { pending, file, len: 0, crc: Digest::new(CrcAlgorithm::Crc64Nvme), sealed })
    }

    /// Appends bytes; they are encrypted on their way.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Pending { blobs, path, .. } = &self.pending;
        let file = &mut self.file;
        match &mut self.sealed {
            None => blobs.fs.write(path, file, bytes)?,
            Some(Sealed { encryptor, .. }) => {
                encryptor.push(bytes, |chunk| blobs.fs.write(path, file, chunk))?;
            }
        }
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte was written so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// CRC-64/NVME of the bytes written so far.
    pub fn crc64(&self) -> u64 {
        self.crc.finalize()
    }

    /// Makes the bytes durable; the file's entry in its folder is, when its row is committed. `None`
    /// if no byte was written: an empty object has no file.
    pub fn finish(self) -> Result<Option<WrittenBlob>, StoreError> {
        if self.len == 0 {
            return Ok(None);
        }
        let Self { pending, mut file, len, crc, sealed } = self;
        let seal = match sealed {
            None => None,
            Some(Sealed { encryptor, mut seal }) => {
                let Pending { blobs, path, .. } = &pending;
                seal.stored_crc64 =
                    encryptor.finish(|chunk| blobs.fs.write(path, &mut file, chunk))?;
                Some(seal)
            }
        };
        pending.blobs.fs.sync_file(&pending.path, &file)?;
        let (id, crc64) = (pending.id, crc.finalize());
        Ok(Some(WrittenBlob { id, size: len, crc64, seal, pending }))
    }
}

/// A file whose bytes are durable, and that is not yet named by a row. Dropped, it is removed.
#[derive(Debug)]
pub struct WrittenBlob {
    /// Its number.
    pub id: BlobId,
    /// Its size in bytes, before encryption; never 0.
    pub size: u64,
    /// CRC-64/NVME of its bytes, before encryption.
    pub crc64: u64,
    /// Its sealed key, if it is encrypted.
    pub seal: Option<Seal>,
    pub(super) pending: Pending,
}

impl WrittenBlob {
    /// Its row is committed: the file stays.
    pub(super) fn keep(mut self) {
        self.pending.armed = false;
        self.pending.blobs.ids.settle(self.id);
    }

    /// Nobody knows whether its row is committed: the file stays, and its number stays in flight,
    /// so the recovery after the next start finds out.
    pub(super) fn leave(mut self) {
        self.pending.armed = false;
    }
}

/// A stretch of one file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub start: u64,
    pub len: u64,
    /// Bytes of the whole file, before encryption.
    pub size: u64,
    /// The sealed key of the file, if it is encrypted.
    pub seal: Option<Seal>,
    /// The CRC of the stretch, if it is a whole file.
    pub crc64: Option<u64>,
}

impl Segment {
    /// The stretches of files that make up a span of a multipart object. `from`: the number of a
    /// part before it, and the bytes up to the end of that; `path`: that of a file; `page`: some
    /// parts with numbers above this one, in order.
    pub fn of_parts(
        span: Span,
        from: (u32, u64),
        path: impl Fn(BlobId) -> PathBuf,
        mut page: impl FnMut(u32) -> Result<Vec<Part>, StoreError>,
    ) -> Result<Vec<Self>, StoreError> {
        let (mut segments, (mut after, mut at)) = (Vec::new(), from);
        let end = span.start + span.len;
        loop {
            let parts = page(after)?;
            let Some(last) = parts.last() else { return Ok(segments) };
            after = last.number;
            for part in parts {
                let (start, stop) = (span.start.max(at), end.min(at + part.size));
                if let (Some(blob), true) = (part.blob, start < stop) {
                    let len = stop - start;
                    segments.push(Self {
                        path: path(blob),
                        start: start - at,
                        len,
                        size: part.size,
                        seal: part.seal,
                        crc64: (len == part.size).then_some(part.crc64),
                    });
                }
                at += part.size;
                if at >= end {
                    return Ok(segments);
                }
            }
        }
    }
}

/// A file that is being read.
struct Open {
    file: File,
    /// What of it is still to come.
    segment: Segment,
    decryptor: Option<Decryptor>,
    crc: Digest,
}

impl Open {
    /// `kek`: what opens the file's seal, if it has one.
    fn new(fs: &Fs, segment: Segment, kek: Option<&Kek>) -> Result<Self, StoreError> {
        let decryptor = match &segment.seal {
            None => None,
            Some(seal) => {
                let key = seal.open(kek.ok_or(StoreError::WrongKey)?)?;
                Some(Decryptor::new(&key, segment.size, segment.start))
            }
        };
        let mut file = fs.open(&segment.path)?;
        let start = decryptor.as_ref().map_or(segment.start, Decryptor::offset);
        if start > 0 {
            file.seek(SeekFrom::Start(start))
                .map_err(|e| StoreError::io("seek", &segment.path, e))?;
        }
        Ok(Self { file, segment, decryptor, crc: Digest::new(CrcAlgorithm::Crc64Nvme) })
    }

    /// The next bytes; at least one, at most what is left of the segment.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, StoreError> {
        let Self { file, segment, decryptor, crc } = self;
        let corrupt = |how: &str| StoreError::Corrupt(format!("{} {how}", segment.path.display()));
        let want = usize::try_from(segment.len).unwrap_or(usize::MAX).min(buf.len());
        let read = match decryptor {
            None => read_some(file, &mut buf[..want]),
            Some(decryptor) => match decryptor.read(file, &mut buf[..want]) {
                Ok(n) => Ok(n),
                Err(ChunkError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                Err(ChunkError::Io(e)) => Err(e),
                Err(ChunkError::Tag) => return Err(corrupt("fails the tag of a chunk")),
            },
        };
        let n = match read {
            Ok(0) => return Err(corrupt("is too short")),
            Ok(n) => n,
            Err(e) => return Err(StoreError::io("read", &segment.path, e)),
        };
        segment.len -= n as u64;
        if let Some(expected) = segment.crc64 {
            crc.update(&buf[..n]);
            if segment.len == 0 && crc.finalize() != expected {
                let path = segment.path.display();
                return Err(StoreError::Corrupt(format!("{path} fails its CRC64NVME")));
            }
        }
        Ok(n)
    }
}

fn read_some(file: &mut File, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads an object's bytes, decrypted. The last bytes of every file that is read in full are handed
/// out only after its CRC has been checked, so a damaged object never looks complete; of an
/// encrypted file no byte is handed out before the tag of its chunk was checked.
pub struct ObjectReader {
    fs: Fs,
    segments: std::vec::IntoIter<Segment>,
    current: Option<Open>,
    left: u64,
    kek: Option<Kek>,
    /// Keeps the collector of garbage away from the parts.
    _pin: Option<super::garbage::Pin>,
}

impl ObjectReader {
    /// Opens the first file at once; `None` if it is gone, [`StoreError::WrongKey`] if `kek` does
    /// not open its seal.
    pub(super) fn new(
        fs: Fs,
        segments: Vec<Segment>,
        kek: Option<Kek>,
        pin: Option<super::garbage::Pin>,
    ) -> Result<Option<Self>, StoreError> {
        let left = segments.iter().map(|s| s.len).sum();
        let mut reader =
            Self { fs, segments: segments.into_iter(), current: None, left, kek, _pin: pin };
        match reader.advance() {
            Ok(()) => Ok(Some(reader)),
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Bytes that are still to come.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether no byte is to come.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Opens the next file.
    fn advance(&mut self) -> Result<(), StoreError> {
        self.current = None;
        let Some(segment) = self.segments.next() else { return Ok(()) };
        self.current = Some(Open::new(&self.fs, segment, self.kek.as_ref())?);
        Ok(())
    }

    /// The next bytes; 0 at the end. `buf` should be of [`crate::limits::IO_BUFFER_BYTES`].
    /// [`StoreError::Corrupt`] if they are not what was stored.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, StoreError> {
        if self.left == 0 || buf.is_empty() {
            return Ok(0);
        }
        if self.current.as_ref().is_none_or(|open| open.segment.len == 0) {
            self.advance()?;
        }
        let Some(open) = &mut self.current else {
            return Err(StoreError::Corrupt("an object is shorter than its row says".to_owned()));
        };
        let n = open.read(buf)?;
        self.left -= n as u64;
        Ok(n)
    }
}
