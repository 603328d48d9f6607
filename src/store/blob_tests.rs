//! Encrypted files from the writer to the reader.

use super::blob::{Blobs, ObjectReader, Segment, WrittenBlob};
use super::cipher;
use super::fs::Fs;
use super::ids::Ids;
use super::{KEY_BYTES, Kek, SealMode, Sealing, StoreError};
use crc_fast::{CrcAlgorithm, Digest};
use std::path::PathBuf;
use std::sync::Arc;

const C: u64 = cipher::CHUNK_BYTES as u64;

/// A folder of files, removed in the end.
struct Fixture {
    root: PathBuf,
    blobs: Arc<Blobs>,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let tmp = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp"));
        let root = tmp.join(format!("jog-blob-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        let fs = Fs { durable: false, fault: None };
        let ids = Ids::new(1, 1000, 7);
        let blobs = Arc::new(Blobs::new(root.clone(), fs, ids));
        Self { root, blobs }
    }

    fn write(&self, bytes: &[u8], sealing: Option<&Sealing>) -> WrittenBlob {
        let id = self.blobs.ids.take().unwrap();
        let mut writer = self.blobs.create("bucket", id, sealing).unwrap();
        for piece in bytes.chunks(100_000) {
            writer.write(piece).unwrap();
        }
        assert_eq!(writer.len(), bytes.len() as u64);
        writer.finish().unwrap().unwrap()
    }

    fn segment(&self, blob: &WrittenBlob, start: u64, len: u64) -> Segment {
        Segment {
            path: self.path(blob),
            start,
            len,
            size: blob.size,
            seal: blob.seal.clone(),
            crc64: (len == blob.size).then_some(blob.crc64),
        }
    }

    fn path(&self, blob: &WrittenBlob) -> PathBuf {
        self.blobs.path("bucket", blob.id)
    }

    fn read(&self, segments: Vec<Segment>, kek: &Kek) -> Result<Vec<u8>, StoreError> {
        let fs = self.blobs.fs.clone();
        let mut reader = ObjectReader::new(fs, segments, Some(kek.clone()), None)?.unwrap();
        let (mut out, mut buf) = (Vec::new(), vec![0; 50_000]);
        loop {
            match reader.read(&mut buf)? {
                0 => return Ok(out),
                n => out.extend_from_slice(&buf[..n]),
            }
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn sealing(byte: u8) -> Sealing {
    Sealing { mode: SealMode::Server, kek: Kek::new([byte; KEY_BYTES]) }
}

fn bytes(len: u64) -> Vec<u8> {
    (0..len).map(|n| (n % 253) as u8).collect()
}

fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(bytes);
    digest.finalize()
}

#[test]
fn what_is_written_is_encrypted_and_read_as_it_was() {
    let (fixture, key) = (Fixture::new("roundtrip"), sealing(1));
    for len in [1, C - 1, C, C + 1, 3 * C + 5] {
        let plain = bytes(len);
        let blob = fixture.write(&plain, Some(&key));
        assert_eq!((blob.size, blob.crc64), (len, crc64(&plain)));
        let file = std::fs::read(fixture.path(&blob)).unwrap();
        assert_eq!(file.len() as u64, cipher::stored_len(len));
        assert_eq!(blob.seal.as_ref().unwrap().stored_crc64, crc64(&file));
        assert!(len < 16 || !file.windows(16).any(|w| w == &plain[..16]));
        assert_eq!(fixture.read(vec![fixture.segment(&blob, 0, len)], &key.kek).unwrap(), plain);
    }
}

#[test]
fn a_span_over_files_of_several_kinds() {
    let (fixture, key) = (Fixture::new("span"), sealing(1));
    let plain = bytes(2 * C + 10);
    let (one, two) = (fixture.write(&plain, Some(&key)), fixture.write(&plain, None));
    let segments = vec![
        fixture.segment(&one, C - 1, C + 11),
        fixture.segment(&two, 0, two.size),
        fixture.segment(&one, 0, 1),
    ];
    let expected = [&plain[C as usize - 1..], &plain[..], &plain[..1]].concat();
    assert_eq!(fixture.read(segments, &key.kek).unwrap(), expected);
}

#[test]
fn another_key_or_none_reads_nothing() {
    let (fixture, key) = (Fixture::new("keys"), sealing(1));
    let blob = fixture.write(&bytes(10), Some(&key));
    let segment = || vec![fixture.segment(&blob, 0, 10)];
    let wrong = fixture.read(segment(), &sealing(2).kek);
    assert!(matches!(wrong, Err(StoreError::WrongKey)));
    let none = ObjectReader::new(fixture.blobs.fs.clone(), segment(), None, None);
    assert!(matches!(none, Err(StoreError::WrongKey)));
}

#[test]
fn damage_is_found_before_a_byte_of_its_chunk_is_given() {
    let (fixture, key) = (Fixture::new("damage"), sealing(1));
    let blob = fixture.write(&bytes(2 * C), Some(&key));
    let path = fixture.path(&blob);
    let file = std::fs::read(&path).unwrap();
    let corrupt = |start, len| {
        let result = fixture.read(vec![fixture.segment(&blob, start, len)], &key.kek);
        matches!(result, Err(StoreError::Corrupt(_)))
    };
    let mut bent = file.clone();
    bent[cipher::STORED_CHUNK_BYTES + 3] ^= 1;
    std::fs::write(&path, &bent).unwrap();
    assert!(corrupt(0, 2 * C) && corrupt(2 * C - 1, 1) && !corrupt(0, C));
    std::fs::write(&path, &file[..file.len() - 1]).unwrap();
    assert!(corrupt(0, 2 * C) && corrupt(2 * C - 1, 1) && !corrupt(0, C));
    std::fs::write(&path, &file).unwrap();
    assert!(!corrupt(0, 2 * C));
}

#[test]
fn a_wrong_crc_in_the_row_is_found() {
    let (fixture, key) = (Fixture::new("crc"), sealing(1));
    let blob = fixture.write(&bytes(C), Some(&key));
    let mut segment = fixture.segment(&blob, 0, C);
    segment.crc64 = Some(blob.crc64 ^ 1);
    assert!(matches!(fixture.read(vec![segment], &key.kek), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_link_has_the_bytes_under_another_seal() {
    let (fixture, old, new) = (Fixture::new("link"), sealing(1), sealing(2));
    let plain = bytes(C + 1);
    let blob = fixture.write(&plain, Some(&old));
    let seal = blob.seal.clone().unwrap().reseal(&old.kek, &new).unwrap();
    let id = fixture.blobs.ids.take().unwrap();
    let link = fixture.blobs.link(&fixture.path(&blob), "bucket", id, blob.crc64, Some(seal));
    let link = link.unwrap().unwrap();
    assert_eq!((link.size, link.crc64), (blob.size, blob.crc64));
    let all = vec![fixture.segment(&link, 0, link.size)];
    assert_eq!(fixture.read(all.clone(), &new.kek).unwrap(), plain);
    assert!(matches!(fixture.read(all, &old.kek), Err(StoreError::WrongKey)));
}

#[test]
fn nothing_written_is_no_file() {
    let (fixture, key) = (Fixture::new("empty"), sealing(1));
    let id = fixture.blobs.ids.take().unwrap();
    let writer = fixture.blobs.create("bucket", id, Some(&key)).unwrap();
    assert!(writer.is_empty() && writer.finish().unwrap().is_none());
    assert!(!fixture.blobs.path("bucket", id).exists());
}
