//! The bytes of encrypted files: AES-256-GCM in chunks of a fixed size, so that a range needs only
//! the chunks that it touches.
//!
//! A chunk's nonce is its number and whether it is the last one (the STREAM construction of Hoang,
//! Reyhanitabar, Rogaway and Vizár, 2015): a chunk that is changed, moved, cut off or added fails
//! its tag. A nonce is used once, because every file has a key of its own ([`super::seal`]).

use super::StoreError;
use super::seal::{DataKey, NONCE_BYTES, TAG_BYTES};
use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, Nonce};
use crc_fast::{CrcAlgorithm, Digest};
use std::io::{self, Read};

/// Bytes of plaintext in a chunk; the last one may have less, and never has none.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of a full chunk in the file.
pub const STORED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// Bytes of the file for so many bytes of plaintext.
pub fn stored_len(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK_BYTES as u64) * TAG_BYTES as u64
}

/// Bytes of plaintext in a file of so many bytes.
pub fn plain_len(stored: u64) -> u64 {
    let tags = stored.div_ceil(STORED_CHUNK_BYTES as u64) * TAG_BYTES as u64;
    stored.saturating_sub(tags)
}

fn nonce(number: u64, last: bool) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Encrypts a file from its beginning to its end. Holds one chunk.
pub struct Encryptor {
    cipher: Aes256Gcm,
    chunk: Vec<u8>,
    /// The number of the chunk that is being filled.
    number: u64,
    crc: Digest,
}

impl Encryptor {
    /// Starts a file.
    pub fn new(key: &DataKey) -> Self {
        Self {
            cipher: key.cipher(),
            chunk: Vec::new(),
            number: 0,
            crc: Digest::new(CrcAlgorithm::Crc64Nvme),
        }
    }

    /// Takes plaintext; gives the chunks that are complete to `out`.
    pub fn push(
        &mut self,
        mut plain: &[u8],
        mut out: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        while !plain.is_empty() {
            // A full chunk waits for more, which shows that it is not the last one.
            if self.chunk.len() == CHUNK_BYTES {
                out(self.seal_chunk(false))?;
                self.chunk.clear();
                self.number += 1;
            }
            let (now, rest) = plain.split_at(plain.len().min(CHUNK_BYTES - self.chunk.len()));
            if self.chunk.capacity() < self.chunk.len() + now.len() + TAG_BYTES {
                let full = STORED_CHUNK_BYTES - self.chunk.len();
                let want = if self.chunk.is_empty() { now.len() + TAG_BYTES } else { full };
                self.chunk.reserve_exact(want);
            }
            self.chunk.extend_from_slice(now);
            plain = rest;
        }
        Ok(())
    }

    /// The last chunk, and the CRC-64/NVME of the whole file.
    pub fn finish(
        mut self,
        out: impl FnOnce(&[u8]) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        out(self.seal_chunk(true))?;
        Ok(self.crc.finalize())
    }

    fn seal_chunk(&mut self, last: bool) -> &[u8] {
        let nonce = nonce(self.number, last);
        self.cipher
            .encrypt_in_place(Nonce::from_slice(&nonce), b"", &mut self.chunk)
            .expect("GCM takes any message below 64 GiB");
        self.crc.update(&self.chunk);
        &self.chunk
    }
}

/// Why a chunk cannot be read.
#[derive(Debug)]
pub enum ChunkError {
    /// The file cannot be read, or ends before its time (`UnexpectedEof`).
    Io(io::Error),
    /// It is not the chunk that was written there.
    Tag,
}

/// Decrypts a file from some byte of its plaintext on. Holds one chunk.
pub struct Decryptor {
    cipher: Aes256Gcm,
    chunk: Vec<u8>,
    /// What of the chunk was handed out.
    at: usize,
    /// The number of the chunk that comes next in the file.
    number: u64,
    /// Bytes of plaintext in the whole file.
    size: u64,
    /// Bytes of the next chunk before the first one that is wanted.
    skip: usize,
}

impl Decryptor {
    /// For a file with `size` bytes of plaintext, to be read from byte `start` of it on. The file
    /// must stand at [`Self::offset`].
    pub fn new(key: &DataKey, size: u64, start: u64) -> Self {
        let chunk = CHUNK_BYTES as u64;
        Self {
            cipher: key.cipher(),
            chunk: Vec::new(),
            at: 0,
            number: start / chunk,
            size,
            skip: (start % chunk) as usize,
        }
    }

    /// Where in the file the next chunk is.
    pub fn offset(&self) -> u64 {
        self.number * STORED_CHUNK_BYTES as u64
    }

    /// The next bytes of plaintext; 0 at the end.
    pub fn read(&mut self, file: &mut impl Read, buf: &mut [u8]) -> Result<usize, ChunkError> {
        if self.at == self.chunk.len() && !self.next(file)? {
            return Ok(0);
        }
        let n = buf.len().min(self.chunk.len() - self.at);
        buf[..n].copy_from_slice(&self.chunk[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }

    /// Reads and verifies the next chunk; whether there is one.
    fn next(&mut self, file: &mut impl Read) -> Result<bool, ChunkError> {
        let left = self.size.saturating_sub(self.number * CHUNK_BYTES as u64);
        if left == 0 {
            return Ok(false);
        }
        let plain = left.min(CHUNK_BYTES as u64) as usize;
        self.chunk.clear();
        self.chunk.reserve_exact(plain + TAG_BYTES);
        self.chunk.resize(plain + TAG_BYTES, 0);
        let nonce = nonce(self.number, left <= CHUNK_BYTES as u64);
        let read = file.read_exact(&mut self.chunk).map_err(ChunkError::Io).and_then(|()| {
            self.cipher
                .decrypt_in_place(Nonce::from_slice(&nonce), b"", &mut self.chunk)
                .map_err(|_| ChunkError::Tag)
        });
        if let Err(error) = read {
            // What failed is never handed out, not even to a caller that asks again.
            self.chunk.clear();
            self.at = 0;
            return Err(error);
        }
        self.number += 1;
        self.at = std::mem::take(&mut self.skip).min(plain);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const C: usize = CHUNK_BYTES;
    const S: usize = STORED_CHUNK_BYTES;

    fn plain(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8 ^ (n / C) as u8).collect()
    }

    /// Encrypts in pieces of this size.
    fn encrypt(key: &DataKey, plain: &[u8], piece: usize) -> Vec<u8> {
        let (mut encryptor, mut file) = (Encryptor::new(key), Vec::new());
        for piece in plain.chunks(piece) {
            let sink = |chunk: &[u8]| {
                file.extend_from_slice(chunk);
                Ok(())
            };
            encryptor.push(piece, sink).unwrap();
        }
        let crc = encryptor
            .finish(|chunk| {
                file.extend_from_slice(chunk);
                Ok(())
            })
            .unwrap();
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        digest.update(&file);
        assert_eq!(crc, digest.finalize());
        file
    }

    fn decrypt(
        key: &DataKey,
        file: &[u8],
        size: usize,
        start: usize,
        len: usize,
        piece: usize,
    ) -> Result<Vec<u8>, ChunkError> {
        let mut decryptor = Decryptor::new(key, size as u64, start as u64);
        let offset = (decryptor.offset() as usize).min(file.len());
        let (mut rest, mut out) = (&file[offset..], Vec::new());
        while out.len() < len {
            let mut buf = vec![0; piece.min(len - out.len())];
            match decryptor.read(&mut rest, &mut buf)? {
                0 => break,
                n => out.extend_from_slice(&buf[..n]),
            }
        }
        Ok(out)
    }

    #[test]
    fn round_trips_around_the_limits_of_chunks() {
        let key = DataKey::random().unwrap();
        for len in [1, 2, 15, 16, 17, C - 1, C, C + 1, 2 * C - 1, 2 * C, 2 * C + 1, 5 * C + 9] {
            let bytes = plain(len);
            for piece in [1000, C - 1, C, C + 1, 256 * 1024] {
                let file = encrypt(&key, &bytes, piece);
                assert_eq!(file.len() as u64, stored_len(len as u64));
                assert_eq!(plain_len(file.len() as u64), len as u64);
                assert_eq!(decrypt(&key, &file, len, 0, len, piece).unwrap(), bytes, "{len}");
                // Random bytes contain no run of 16 that is also in the plaintext.
                assert!(len < 32 || !file.windows(16).any(|w| w == &bytes[..16]));
            }
        }
    }

    #[test]
    fn ranges_at_every_limit() {
        let key = DataKey::random().unwrap();
        let len = 3 * C + 100;
        let bytes = plain(len);
        let file = encrypt(&key, &bytes, C);
        let marks = [0, 1, C - 1, C, C + 1, 2 * C - 1, 2 * C, 3 * C - 1, 3 * C, len - 1, len];
        for start in marks {
            for end in marks.into_iter().filter(|end| *end > start) {
                for piece in [7777, 256 * 1024] {
                    let found = decrypt(&key, &file, len, start, end - start, piece).unwrap();
                    assert_eq!(found, bytes[start..end], "{start}..{end}");
                }
            }
        }
    }

    #[test]
    fn a_range_reads_only_its_chunks() {
        let key = DataKey::random().unwrap();
        let bytes = plain(3 * C);
        let mut file = encrypt(&key, &bytes, C);
        file[..S].fill(0);
        file[2 * S..].fill(0);
        let middle = decrypt(&key, &file, 3 * C, C + 5, C - 5, 4096).unwrap();
        assert_eq!(middle, bytes[C + 5..2 * C]);
        assert!(matches!(decrypt(&key, &file, 3 * C, C - 1, 2, 4096), Err(ChunkError::Tag)));
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let key = DataKey::random().unwrap();
        let len = 2 * C + 50;
        let file = encrypt(&key, &plain(len), C);
        let ends = [0, S, 2 * S];
        for start in ends {
            let size = (file.len() - start).min(S);
            for at in [0, size / 2, size - 17, size - 16, size - 1] {
                let mut bent = file.clone();
                bent[start + at] ^= 0x40;
                let result = decrypt(&key, &bent, len, 0, len, 4096);
                assert!(matches!(result, Err(ChunkError::Tag)), "{start} + {at}");
            }
        }
    }

    #[test]
    fn chunks_cannot_be_cut_off_added_or_swapped() {
        let key = DataKey::random().unwrap();
        let file = encrypt(&key, &plain(3 * C), C);
        let tag = |file: &[u8], size| {
            matches!(decrypt(&key, file, size, 0, size, 4096), Err(ChunkError::Tag))
        };
        let swapped = [&file[S..2 * S], &file[..S], &file[2 * S..]].concat();
        assert!(tag(&swapped, 3 * C));
        // Whole chunks gone, with a row that says so.
        assert!(tag(&file[..2 * S], 2 * C));
        assert!(tag(&file[S..], 2 * C));
        // A chunk twice.
        assert!(tag(&[&file[..], &file[2 * S..]].concat(), 4 * C));
        // A file that is shorter than its row says.
        for len in [0, 1, S - 1, S, 3 * S - 1] {
            let result = decrypt(&key, &file[..len], 3 * C, 0, 3 * C, 4096);
            let Err(ChunkError::Io(error)) = result else { panic!("{len}: {result:?}") };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        // Chunks of another file, at their own place.
        let other = encrypt(&DataKey::random().unwrap(), &plain(3 * C), C);
        assert!(tag(&[&file[..S], &other[S..2 * S], &file[2 * S..]].concat(), 3 * C));
        assert!(tag(&other, 3 * C));
    }

    #[test]
    fn nothing_comes_after_a_failed_chunk() {
        let key = DataKey::random().unwrap();
        let mut file = encrypt(&key, &plain(10), C);
        file[0] ^= 1;
        let mut decryptor = Decryptor::new(&key, 10, 0);
        let mut buf = [0; 10];
        assert!(decryptor.read(&mut &file[..], &mut buf).is_err());
        assert!(decryptor.read(&mut &file[..], &mut buf).is_err());
        assert_eq!(buf, [0; 10]);
    }
}
