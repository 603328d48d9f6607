//! Keys of encrypted files. Every file has a random data key of its own; the row of the file keeps
//! it sealed with a key-encryption key, which is the server's master key or the customer's key and
//! is never stored. How bytes are encrypted with a data key is in [`super::cipher`].
//!
//! To put a file under another key only its data key is sealed anew; the bytes stay.
//!
//! A key-encryption key seals with random nonces of 96 bits, so it is good for 2^32 files
//! (NIST SP 800-38D, 8.3).

use super::StoreError;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a key of AES-256.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce of GCM.
pub(super) const NONCE_BYTES: usize = 12;
/// Bytes of a tag of GCM.
pub(super) const TAG_BYTES: usize = 16;

/// The form of [`Seal::encode`]; a later form gets another number.
const VERSION: u8 = 1;
/// Nonce, sealed data key, tag.
const SEALED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// Version, mode, sealed key, CRC.
const COLUMN_BYTES: usize = 2 + SEALED_BYTES + 8;

/// Fills a buffer with random bytes of the system.
fn random(buffer: &mut [u8]) -> Result<(), StoreError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => {
                let source = io::Error::from(e);
                return Err(StoreError::Io { op: "getrandom", path: Path::new("").into(), source });
            }
        }
    }
    Ok(())
}

/// A key-encryption key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Kek(Zeroizing<[u8; KEY_BYTES]>);

impl Kek {
    /// A key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.0).into())
    }

    /// A number by which this key is known again.
    pub(super) fn fingerprint(&self) -> i64 {
        let hash = Sha256::new().chain_update(b"jog master key\0").chain_update(&self.0[..]);
        let hash: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = hash;
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek")
    }
}

/// The key of one file. Wiped when dropped, never printed.
pub(super) struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// A new key.
    pub fn random() -> Result<Self, StoreError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random(&mut *key)?;
        Ok(Self(key))
    }

    pub fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.0).into())
    }
}

/// Whose key seals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealMode {
    /// The server's master key (SSE-S3).
    Server,
    /// The customer's key, which comes with each request (SSE-C).
    Customer,
}

impl SealMode {
    /// Its number in columns; never changes.
    fn number(self) -> u8 {
        match self {
            Self::Server => 1,
            Self::Customer => 2,
        }
    }
}

/// What seals: whose key, and the key.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// Whose key.
    pub mode: SealMode,
    /// The key.
    pub kek: Kek,
}

impl Sealing {
    /// A seal over no bytes: for an object, a part or an upload without a file, so that its key
    /// can be checked all the same.
    pub fn empty(&self) -> Result<Seal, StoreError> {
        self.seal(&DataKey::random()?, 0)
    }

    /// Seals the key of a file whose encrypted bytes have this CRC-64/NVME.
    pub(super) fn seal(&self, key: &DataKey, stored_crc64: u64) -> Result<Seal, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce)?;
        let payload = Payload { msg: &key.0[..], aad: &bound(self.mode) };
        let boxed = self
            .kek
            .cipher()
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("GCM takes any message below 64 GiB");
        let mut sealed = [0; SEALED_BYTES];
        sealed[..NONCE_BYTES].copy_from_slice(&nonce);
        sealed[NONCE_BYTES..].copy_from_slice(&boxed);
        Ok(Seal { mode: self.mode, sealed, stored_crc64 })
    }
}

/// What the tag of a sealed key covers besides the key, and what its column starts with.
pub(super) fn bound(mode: SealMode) -> [u8; 2] {
    [VERSION, mode.number()]
}

/// The sealed data key of a file, as its row keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// Whose key opens it.
    pub mode: SealMode,
    sealed: [u8; SEALED_BYTES],
    /// CRC-64/NVME of the file as it is on the disk: checks a file without its key. 0 without one.
    pub stored_crc64: u64,
}

impl Seal {
    /// Whether this is the key that opens it.
    #[must_use]
    pub fn opens_with(&self, kek: &Kek) -> bool {
        self.open(kek).is_ok()
    }

    /// The data key; [`StoreError::WrongKey`] if it was sealed with another key.
    pub(super) fn open(&self, kek: &Kek) -> Result<DataKey, StoreError> {
        let (nonce, msg) = self.sealed.split_at(NONCE_BYTES);
        let opened = kek
            .cipher()
            .decrypt(Nonce::from_slice(nonce), Payload { msg, aad: &bound(self.mode) })
            .map(Zeroizing::new)
            .map_err(|_| StoreError::WrongKey)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        key.copy_from_slice(&opened);
        Ok(DataKey(key))
    }

    /// The same data key, sealed with another key.
    pub fn reseal(&self, from: &Kek, to: &Sealing) -> Result<Self, StoreError> {
        to.seal(&self.open(from)?, self.stored_crc64)
    }

    /// Its column: version, mode, nonce, sealed key, tag, CRC (big-endian).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(COLUMN_BYTES);
        out.extend_from_slice(&bound(self.mode));
        out.extend_from_slice(&self.sealed);
        out.extend_from_slice(&self.stored_crc64.to_be_bytes());
        out
    }

    /// The seal of a column; `None` if it is not one.
    pub fn decode(column: &[u8]) -> Option<Self> {
        let (head, rest) = column.split_first_chunk::<2>()?;
        let (sealed, crc) = rest.split_first_chunk::<SEALED_BYTES>()?;
        let mode = [SealMode::Server, SealMode::Customer]
            .into_iter()
            .find(|mode| bound(*mode) == *head)?;
        let stored_crc64 = u64::from_be_bytes(crc.try_into().ok()?);
        Some(Self { mode, sealed: *sealed, stored_crc64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(mode: SealMode, byte: u8) -> Sealing {
        Sealing { mode, kek: Kek::new([byte; KEY_BYTES]) }
    }

    #[test]
    fn only_its_key_opens_a_seal() {
        let (right, wrong) = (sealing(SealMode::Server, 1), sealing(SealMode::Server, 2));
        let key = DataKey::random().unwrap();
        let seal = right.seal(&key, 7).unwrap();
        assert_eq!(*seal.open(&right.kek).unwrap().0, *key.0);
        assert!(matches!(seal.open(&wrong.kek), Err(StoreError::WrongKey)));
        assert!(seal.opens_with(&right.kek) && !seal.opens_with(&wrong.kek));
    }

    #[test]
    fn a_seal_is_moved_to_another_key() {
        let (old, new) = (sealing(SealMode::Server, 1), sealing(SealMode::Customer, 2));
        let key = DataKey::random().unwrap();
        let moved = old.seal(&key, 7).unwrap().reseal(&old.kek, &new).unwrap();
        assert_eq!((moved.mode, moved.stored_crc64), (SealMode::Customer, 7));
        assert_eq!(*moved.open(&new.kek).unwrap().0, *key.0);
        assert!(!moved.opens_with(&old.kek));
        assert!(matches!(moved.reseal(&old.kek, &new), Err(StoreError::WrongKey)));
    }

    #[test]
    fn columns() {
        let sealing = sealing(SealMode::Customer, 3);
        let seal = sealing.seal(&DataKey::random().unwrap(), 0x0102).unwrap();
        let column = seal.encode();
        assert_eq!(column.len(), COLUMN_BYTES);
        assert_eq!(Seal::decode(&column).unwrap(), seal);
        for at in 0..COLUMN_BYTES - 8 {
            let mut bent = column.clone();
            bent[at] ^= 1;
            let opens = Seal::decode(&bent).is_some_and(|seal| seal.opens_with(&sealing.kek));
            assert!(!opens, "byte {at} is not covered");
        }
        // The other mode is a seal too, but not this one.
        let mut other = column.clone();
        other[1] = SealMode::Server.number();
        assert!(!Seal::decode(&other).unwrap().opens_with(&sealing.kek));
        for bad in
            [&[][..], &column[1..], &column[..COLUMN_BYTES - 1], &[&column[..], &[0]].concat()]
        {
            assert_eq!(Seal::decode(bad), None);
        }
    }

    #[test]
    fn no_two_seals_and_no_two_keys_are_the_same() {
        let sealing = sealing(SealMode::Server, 1);
        let key = DataKey::random().unwrap();
        assert_ne!(sealing.seal(&key, 0).unwrap(), sealing.seal(&key, 0).unwrap());
        assert_ne!(*key.0, *DataKey::random().unwrap().0);
    }

    #[test]
    fn keys_are_not_printed() {
        let sealing = sealing(SealMode::Server, 0xab);
        let text = format!("{sealing:?}");
        assert!(!text.contains("171") && !text.contains("ab, "), "{text}");
    }
}
