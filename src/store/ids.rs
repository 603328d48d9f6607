//! Numbers of blobs: unique for the life of a data directory and growing, so that a file's name
//! says where it is and a crash leaves its leftovers in a known range.
//!
//! A number is a sequence number and, in its low [`SALT_BITS`] bits, a value drawn at each start.
//! After metadata.db was restored to an earlier time the sequence repeats itself, but the names
//! do not meet those of the files that were written after that time.

use super::BlobId;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SALT_BITS: u32 = 20;
/// Blobs in one folder, as a power of two.
const GROUP_BITS: u32 = 10;

/// The sequence number of a blob.
pub fn sequence(id: i64) -> i64 {
    id >> SALT_BITS
}

/// The smallest number with this sequence number.
pub fn first_of(sequence: i64) -> i64 {
    sequence << SALT_BITS
}

/// The first sequence number of the folder with this number.
pub fn first_in_folder(group: u64) -> i64 {
    (group as i64) << GROUP_BITS
}

/// The folder of a blob below `objects/`: two levels of 1024.
pub fn folder(id: BlobId) -> PathBuf {
    let group = sequence(id.0) >> GROUP_BITS;
    PathBuf::from(format!("{:05x}/{:03x}", group >> 10, group & 0x3ff))
}

/// The first sequence number behind those of the folder `upper/lower`.
pub fn behind_folder(upper: &str, lower: &str) -> Option<i64> {
    let number = |text| i64::from_str_radix(text, 16).ok();
    Some((((number(upper)? << 10) | number(lower)?) + 1) << GROUP_BITS)
}

/// The folders of the sequence numbers `low..high`.
pub fn group_range(low: i64, high: i64) -> std::ops::RangeInclusive<i64> {
    (low >> GROUP_BITS)..=(high >> GROUP_BITS)
}

/// Whether a folder of the upper level can hold some of these groups.
pub fn upper_in(name: &str, groups: &std::ops::RangeInclusive<i64>) -> bool {
    i64::from_str_radix(name, 16)
        .is_ok_and(|upper| (groups.start() >> 10..=groups.end() >> 10).contains(&upper))
}

/// Whether the folder `upper/lower` is one of these groups.
pub fn group_in(upper: &str, lower: &str, groups: &std::ops::RangeInclusive<i64>) -> bool {
    let number = |text| i64::from_str_radix(text, 16);
    match (number(upper), number(lower)) {
        (Ok(upper), Ok(lower)) => groups.contains(&((upper << 10) | lower)),
        _ => false,
    }
}

/// The file name of a blob.
pub fn file_name(id: BlobId) -> String {
    format!("{:016x}", id.0)
}

/// The blob of a file name.
pub fn parse_file_name(name: &str) -> Option<BlobId> {
    let valid = name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| i64::from_str_radix(name, 16).ok().map(BlobId)).flatten()
}

#[derive(Debug)]
struct State {
    next: i64,
    reserved: i64,
    in_flight: BTreeSet<i64>,
}

/// Hands out numbers.
#[derive(Debug)]
pub struct Ids {
    salt: i64,
    state: Mutex<State>,
}

impl Ids {
    /// Starts at a sequence number; the numbers below `reserved` may be handed out.
    pub fn new(next: i64, reserved: i64, salt: u32) -> Self {
        let salt = i64::from(salt) & ((1 << SALT_BITS) - 1);
        let state = State { next, reserved, in_flight: BTreeSet::new() };
        Self { salt, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new number, in flight until [`Ids::settle`]; `None` if more have to be reserved first.
    pub fn take(&self) -> Option<BlobId> {
        let mut state = self.state();
        if state.next >= state.reserved {
            return None;
        }
        let sequence = state.next;
        state.next += 1;
        state.in_flight.insert(sequence);
        Some(BlobId(first_of(sequence) | self.salt))
    }

    /// Goes on with the next folder.
    pub fn skip_folder(&self) {
        let mut state = self.state();
        state.next = ((state.next >> GROUP_BITS) + 1) << GROUP_BITS;
    }

    /// The blob has a row now, or no file any more.
    pub fn settle(&self, id: BlobId) {
        self.state().in_flight.remove(&sequence(id.0));
    }

    /// What has been reserved up to now.
    pub fn reserved(&self) -> i64 {
        self.state().reserved
    }

    /// The next sequence number to be handed out.
    pub fn next(&self) -> i64 {
        self.state().next
    }

    /// More may be handed out.
    pub fn extend(&self, reserved: i64) {
        let mut state = self.state();
        state.reserved = state.reserved.max(reserved);
    }

    /// Every sequence number below is settled.
    pub fn low_water(&self) -> i64 {
        let state = self.state();
        state.in_flight.first().copied().unwrap_or(state.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders() {
        let id = BlobId(first_of(1_048_577 * 1024) | 5);
        assert_eq!(folder(id), PathBuf::from("00400/001"));
        assert_eq!(parse_file_name(&file_name(id)), Some(id));
        assert_eq!(parse_file_name("jog.lock"), None);
    }

    #[test]
    fn low_water_waits_for_what_is_in_flight() {
        let ids = Ids::new(10, 13, 1);
        let (a, b) = (ids.take().unwrap(), ids.take().unwrap());
        assert!(a < b);
        ids.settle(b);
        assert_eq!(ids.low_water(), 10);
        ids.settle(a);
        assert_eq!(ids.low_water(), 12);
        assert!(ids.take().is_some());
        assert_eq!(ids.take(), None);
        ids.extend(20);
        assert!(ids.take().is_some());
        ids.skip_folder();
        assert_eq!((ids.next(), ids.take()), (1024, None));
        ids.extend(5000);
        assert_eq!(ids.take().map(|id| sequence(id.0)), Some(1024));
    }
}
