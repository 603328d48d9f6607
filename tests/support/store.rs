//! What the tests of the store share: folders, random numbers, contents that can be made again,
//! and short forms of what a handler does with the store. [`audit`] looks at a data directory from
//! outside.
#![allow(dead_code)] // No test uses all of it.

#[path = "audit.rs"]
mod audit;

#[allow(unused_imports)]
pub use audit::{audit, rows};

use crc_fast::{CrcAlgorithm, checksum};
use jog::store::{
    Bucket, Created, Data, Entry, Kek, ListQuery, NewBucket, NewData, NewObject, NewPart,
    NewUpload, Object, Outcome, Part, Seal, SealMode, Sealing, SourceBlob, Store, StoreConfig,
    StoreError, Stored, Upload, WrittenBlob,
};
use jog::types::{BucketName, ETag, ObjectKey, Precondition, Span};
use md5::{Digest, Md5};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Owner of everything in these tests.
pub const OWNER: &str = "owner";

/// A folder that is removed at the end of its test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// In memory where that is to be had: for tests that make many files and need no disk.
    pub fn in_memory(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory, name) } else { Self::new(name) }
    }

    fn below(dir: &Path, name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = dir.join(format!("jog-{name}-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Settings for a data directory in it: no retention, not durable.
    pub fn config(&self) -> StoreConfig {
        StoreConfig {
            durable: false,
            trash_retention_ms: 0,
            min_free: Some(0),
            trash_floor: Some(0),
            ..StoreConfig::new(&self.0)
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// xorshift64*, seeded: the same numbers in each run.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The bytes that belong to a seed.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub fn crc(bytes: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

pub fn name(text: &str) -> BucketName {
    BucketName::parse(text).expect("a bucket's name")
}

pub fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).expect("a key")
}

/// A bucket to be, without anything special.
pub fn new_bucket(text: &str) -> NewBucket {
    NewBucket {
        name: name(text),
        owner: OWNER.to_owned(),
        region: String::new(),
        lock: false,
        configs: Default::default(),
    }
}

pub fn bucket(store: &Store, text: &str) -> Bucket {
    match store.create_bucket(new_bucket(text)).unwrap() {
        Created::New(bucket) | Created::Exists(bucket) => bucket,
    }
}

/// What seals files in these tests.
pub fn sealing() -> Sealing {
    Sealing { mode: SealMode::Server, kek: Kek::new([7; 32]) }
}

/// A durable file of these bytes, in pieces as a request would bring them.
pub fn blob(store: &Store, to: &Bucket, bytes: &[u8]) -> Result<Option<WrittenBlob>, StoreError> {
    blob_sealed(store, to, bytes, None)
}

/// The same, encrypted if there is something to seal with.
pub fn blob_sealed(
    store: &Store,
    to: &Bucket,
    bytes: &[u8],
    sealing: Option<&Sealing>,
) -> Result<Option<WrittenBlob>, StoreError> {
    let mut writer = store.create_blob(&to.name, sealing)?;
    for piece in bytes.chunks(100_000) {
        writer.write(piece)?;
    }
    assert_eq!(writer.len(), bytes.len() as u64);
    assert_eq!(writer.crc64(), crc(bytes));
    writer.finish()
}

/// An object to be, with what can be said of its bytes.
pub fn new_object(at: &str, bytes: &[u8], data: NewData) -> NewObject {
    NewObject {
        key: key(at),
        size: bytes.len() as u64,
        etag: ETag::from_md5(&md5(bytes)),
        crc64: crc(bytes),
        checksum: None,
        meta: Default::default(),
        owner: OWNER.to_owned(),
        data,
        extra: Default::default(),
    }
}

pub fn put(
    store: &Store,
    to: &Bucket,
    at: &str,
    bytes: &[u8],
    if_: Precondition,
) -> Outcome<Stored> {
    let data = blob(store, to, bytes)?.map_or(NewData::Empty, NewData::Blob);
    store.put_object(to.id, new_object(at, bytes, data), if_)
}

/// A put of an encrypted object. Of no bytes there is no file.
pub fn put_sealed(store: &Store, to: &Bucket, at: &str, bytes: &[u8]) -> Outcome<Stored> {
    let blob = blob_sealed(store, to, bytes, Some(&sealing()))?;
    let data = blob.map_or(NewData::Empty, NewData::Blob);
    store.put_object(to.id, new_object(at, bytes, data), Precondition::default())
}

/// A put that must succeed.
pub fn put_ok(store: &Store, to: &Bucket, at: &str, bytes: &[u8]) {
    put(store, to, at, bytes, Precondition::default()).unwrap().unwrap();
}

pub fn start(store: &Store, to: &Bucket, at: &str) -> Outcome<Upload> {
    let owner = OWNER.to_owned();
    let new = NewUpload {
        key: key(at),
        owner,
        meta: Default::default(),
        checksum: None,
        extra: Default::default(),
    };
    store.create_upload(to.id, new)
}

/// What is known of a part, without its file.
pub fn describe_part(number: u32, bytes: &[u8]) -> Part {
    Part {
        number,
        size: bytes.len() as u64,
        md5: md5(bytes),
        crc64: crc(bytes),
        checksum: None,
        modified_ms: 0,
        blob: None,
        seal: None,
    }
}

pub fn put_part(
    store: &Store,
    to: &Bucket,
    upload: &Upload,
    number: u32,
    bytes: &[u8],
) -> Outcome<i64> {
    let blob = blob(store, to, bytes)?;
    store.put_part(upload, NewPart { part: describe_part(number, bytes), blob })
}

/// Completes an upload with these parts; `bytes` are those of the object.
pub fn complete(
    store: &Store,
    to: &Bucket,
    upload: &Upload,
    numbers: &[u32],
    bytes: &[u8],
    if_: Precondition,
) -> Outcome<Stored> {
    let upload = match store.upload(to.id, &upload.key, &upload.upload_id)? {
        Some(upload) => upload,
        None => return Ok(Err(jog::store::Refused::NoSuchUpload)),
    };
    let new = NewObject {
        etag: ETag::from_parts(&md5(bytes), numbers.len()),
        ..new_object(upload.key.as_str(), bytes, NewData::Empty)
    };
    store.complete_upload(to.id, &upload, numbers.to_vec(), new, if_)
}

/// A multipart object of these parts, numbered from 1.
pub fn put_parts(store: &Store, to: &Bucket, at: &str, parts: &[&[u8]]) -> Result<(), StoreError> {
    let upload = start(store, to, at)?.unwrap();
    for (number, bytes) in (1..).zip(parts) {
        put_part(store, to, &upload, number, bytes)?.unwrap();
    }
    let numbers: Vec<u32> = (1..).take(parts.len()).collect();
    let if_ = Precondition::default();
    complete(store, to, &upload, &numbers, &parts.concat(), if_)?.unwrap();
    Ok(())
}

/// Copies an object the way CopyObject does: every file gets a further name. `None` if there is
/// no such object.
pub fn copy(
    store: &Store,
    (from, source): (&Bucket, &str),
    (to, at): (&Bucket, &str),
) -> Result<Option<Stored>, StoreError> {
    let Some(object) = store.object(from.id, &key(source))? else { return Ok(None) };
    let new = copy_of(store, from, &object, (to, at))?;
    Ok(Some(store.put_object(to.id, new, Precondition::default())?.unwrap()))
}

/// The copy of an object or a version that is to be stored.
pub fn copy_of(
    store: &Store,
    from: &Bucket,
    object: &Object,
    (to, at): (&Bucket, &str),
) -> Result<NewObject, StoreError> {
    let gone = || StoreError::Corrupt(format!("the file of {:?} is gone", object.key));
    let sealing = sealing();
    let link = |blob, size, crc64, seal: Option<&Seal>| -> Result<WrittenBlob, StoreError> {
        let kek = Some(&sealing.kek);
        let file = SourceBlob { bucket: &from.name, blob, size, crc64, seal, kek };
        store.copy_blob(file, &to.name, seal.map(|_| &sealing))?.ok_or_else(gone)
    };
    let data = match object.data {
        Data::Empty => NewData::Empty,
        Data::Blob(blob) => {
            let seal = object.extra.seal.as_ref();
            NewData::Blob(link(blob, object.size, object.crc64, seal)?)
        }
        Data::Parts(manifest) => {
            let mut parts = Vec::new();
            for part in store.parts(manifest, 0, 10_000)? {
                let seal = part.seal.as_ref();
                let blob = part.blob.map(|blob| link(blob, part.size, part.crc64, seal));
                let blob = blob.transpose()?;
                parts.push(NewPart { part, blob });
            }
            NewData::Parts(parts)
        }
    };
    Ok(NewObject {
        key: key(at),
        size: object.size,
        etag: object.etag.clone(),
        crc64: object.crc64,
        checksum: object.checksum.clone(),
        meta: object.meta.clone(),
        owner: object.owner.clone(),
        data,
        extra: object.extra.clone(),
    })
}

/// An object's bytes, or a span of them, read through a buffer of `step` bytes; what is encrypted
/// with the key of [`sealing`].
pub fn read(
    store: &Store,
    from: &Bucket,
    object: &Object,
    span: Option<Span>,
    step: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut reader) = store.open_object(&from.name, object, span, Some(&sealing().kek))?
    else {
        return Ok(None);
    };
    let (mut bytes, mut buf) = (Vec::new(), vec![0; step]);
    let announced = reader.len();
    loop {
        match reader.read(&mut buf)? {
            0 => break,
            n => bytes.extend_from_slice(&buf[..n]),
        }
    }
    assert_eq!(bytes.len() as u64, announced);
    Ok(Some(bytes))
}

/// The bytes at a key; `None` if there is no such object.
pub fn get(store: &Store, from: &Bucket, at: &str) -> Option<Vec<u8>> {
    let object = store.object(from.id, &key(at)).unwrap()?;
    Some(read(store, from, &object, None, 65_536).unwrap().expect("its file is there"))
}

/// Removes all garbage without waiting for the upkeep thread: with a floor that no disk can keep
/// to, room is made before the file of a new object.
pub fn collect(config: &StoreConfig, any_bucket: &str) -> Result<(), StoreError> {
    let floor = Some(u64::MAX / 2);
    let config = StoreConfig { min_free: floor, trash_floor: floor, ..config.clone() };
    let store = match Store::open(config) {
        Ok(store) => store,
        Err(jog::store::OpenError::Store(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    };
    match store.create_blob(&name(any_bucket), None) {
        Err(StoreError::Full) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => panic!("there is never that much room"),
    }
}

/// The upkeep thread of a store.
pub fn upkeep(store: &Arc<Store>) -> std::thread::JoinHandle<()> {
    let store = Arc::clone(store);
    std::thread::spawn(move || store.upkeep())
}

/// Waits until something holds; fails the test if it does not within ten seconds.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first unfinished upload of a key.
pub fn open_upload(store: &Store, of: &Bucket, at: &str) -> Upload {
    let query =
        ListQuery { bucket: of.id, prefix: at.to_owned(), delimiter: None, after: None, max: 1 };
    match store.list_uploads(&query, None).unwrap().entries.pop() {
        Some(Entry::Item(upload)) if upload.key.as_str() == at => upload,
        other => panic!("{other:?} is no upload of {at:?}"),
    }
}
