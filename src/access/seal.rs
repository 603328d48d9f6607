//! Secrets at rest: the secret of an access key is stored sealed, so that metadata.db, which
//! travels to backups, hands out no keys.
//!
//! The sealing key comes from the root secret and the salt of the database by PBKDF2 with
//! HMAC-SHA-256 (RFC 8018, 5.2): a root secret may be a password, and each guess at it must cost
//! whoever has a stolen backup. A secret is sealed with AES-256-GCM, bound to its access key and
//! its user, so that a seal moved to another row does not open.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hmac::{Hmac, Mac};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use std::io;
use zeroize::Zeroizing;

/// Rounds of PBKDF2; OWASP's "Password Storage Cheat Sheet" of 2023 says 600,000.
const ROUNDS: u32 = 600_000;
/// The first byte of a seal: how it was made.
const FORM: u8 = 1;
/// Bytes of the nonce behind it.
const NONCE_BYTES: usize = 12;
/// Letters and digits of a secret that is made here: 238 bits.
const SECRET_CHARS: usize = 40;
/// The same of the ID of an access key.
const ID_CHARS: usize = 20;

/// The key of all seals of a database.
pub struct SealKey(Aes256Gcm);

impl SealKey {
    /// Derives it, which takes some tenths of a second.
    pub fn derive(root_secret: &str, salt: &[u8]) -> Self {
        Self::with_rounds(root_secret, salt, ROUNDS)
    }

    fn with_rounds(root_secret: &str, salt: &[u8], rounds: u32) -> Self {
        let key = pbkdf2(root_secret.as_bytes(), salt, rounds);
        Self(Aes256Gcm::new(key.as_slice().into()))
    }

    /// Seals a secret. Fails only where the system has no random bytes.
    pub fn seal(&self, secret: &str, access_key: &str, user_id: &str) -> io::Result<Vec<u8>> {
        let mut sealed = vec![FORM; 1 + NONCE_BYTES];
        random(&mut sealed[1..])?;
        let bound = bound_to(access_key, user_id);
        let payload = Payload { msg: secret.as_bytes(), aad: &bound };
        let nonce = Nonce::from_slice(&sealed[1..]);
        let text = self.0.encrypt(nonce, payload);
        sealed.extend(text.map_err(|_| io::Error::other("the secret is too long"))?);
        Ok(sealed)
    }

    /// The secret in a seal; `None` if it was sealed with another root secret, or for another key
    /// or user, or was changed.
    pub fn open(&self, sealed: &[u8], access_key: &str, user_id: &str) -> Option<String> {
        let (&FORM, rest) = sealed.split_first()? else { return None };
        let (nonce, msg) = rest.split_at_checked(NONCE_BYTES)?;
        let bound = bound_to(access_key, user_id);
        let payload = Payload { msg, aad: &bound };
        let secret = self.0.decrypt(Nonce::from_slice(nonce), payload).ok()?;
        String::from_utf8(secret).ok()
    }
}

fn bound_to(access_key: &str, user_id: &str) -> Vec<u8> {
    format!("jog access key\n{access_key}\n{user_id}").into_bytes()
}

/// One block of PBKDF2 with HMAC-SHA-256.
fn pbkdf2(password: &[u8], salt: &[u8], rounds: u32) -> Zeroizing<[u8; 32]> {
    let keyed =
        <Hmac<Sha256> as Mac>::new_from_slice(password).expect("HMAC takes keys of any length");
    let mac = |parts: &[&[u8]]| -> [u8; 32] {
        let mut mac = keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut last = mac(&[salt, &1u32.to_be_bytes()]);
    let mut key = Zeroizing::new(last);
    for _ in 1..rounds {
        last = mac(&[&last]);
        key.iter_mut().zip(last).for_each(|(byte, next)| *byte ^= next);
    }
    key
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(())
}

/// Random characters out of at most 64, each as likely as the others.
fn random_text(alphabet: &[u8], length: usize) -> io::Result<String> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        random(&mut bytes)?;
        let drawn = bytes.iter().filter_map(|byte| alphabet.get(usize::from(byte & 63)));
        text.extend(drawn.take(length - text.len()).map(|&letter| char::from(letter)));
    }
    Ok(text)
}

/// A new secret. Letters and digits only, so that no program has to quote it.
pub fn new_secret() -> io::Result<String> {
    random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", SECRET_CHARS)
}

/// The ID of a new access key.
pub fn new_access_key() -> io::Result<String> {
    Ok(format!("JOG{}", random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ID_CHARS - 3)?))
}

/// The canonical ID of a new user: 64 hexadecimal digits.
pub fn new_canonical_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    random(&mut bytes)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7914, 11, for the first 32 bytes.
    #[test]
    fn pbkdf2_is_right() {
        let hex = |password: &str, salt: &str, rounds| {
            hex::encode(*pbkdf2(password.as_bytes(), salt.as_bytes(), rounds))
        };
        assert_eq!(
            hex("passwd", "salt", 1),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
        assert_eq!(
            hex("Password", "NaCl", 80_000),
            "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
        );
    }

    /// What a start pays for having users.
    #[test]
    fn deriving_takes_a_moment() {
        let start = std::time::Instant::now();
        SealKey::derive("root secret", b"salt");
        println!("{:?}", start.elapsed());
        assert!(start.elapsed().as_secs() < 10);
    }

    #[test]
    fn a_seal_opens_only_in_its_own_place() {
        let key = |secret: &str, salt: &[u8]| SealKey::with_rounds(secret, salt, 2);
        let own = key("root secret", b"salt");
        let sealed = own.seal("the secret", "key", "user").unwrap();
        assert_eq!(own.open(&sealed, "key", "user").as_deref(), Some("the secret"));
        let again = own.seal("the secret", "key", "user").unwrap();
        assert_ne!(sealed, again);
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(key("Root secret", b"salt").open(&sealed, "key", "user"), None);
        assert_eq!(key("root secret", b"Salt").open(&sealed, "key", "user"), None);
        assert_eq!(own.open(&sealed, "kez", "user"), None);
        assert_eq!(own.open(&sealed, "key", "uses"), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(own.open(&changed, "key", "user"), None, "{at}");
            assert_eq!(own.open(&sealed[..at], "key", "user"), None, "{at}");
        }
    }

    #[test]
    fn what_is_made_here_has_its_form_and_differs() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert!(one != two && one.len() == 40 && one.bytes().all(|b| b.is_ascii_alphanumeric()));
        let id = new_access_key().unwrap();
        assert!(id.len() == 20 && id.starts_with("JOG") && id != new_access_key().unwrap());
        let canonical = new_canonical_id().unwrap();
        assert!(canonical.len() == 64 && canonical.bytes().all(|b| b.is_ascii_hexdigit()));
        // Every letter comes up.
        let many: String = (0..50).map(|_| new_secret().unwrap()).collect();
        let letters: std::collections::BTreeSet<char> = many.chars().collect();
        assert_eq!(letters.len(), 62);
    }
}
