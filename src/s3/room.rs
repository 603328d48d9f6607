//! What requests may hold all together: memory for documents, and threads for bodies that are read
//! before anybody knows who sends them. Without these bounds whoever can connect could have as much
//! of both as there are threads.

use super::{Code, S3Error};
use crate::limits::{MAX_DOCUMENTS_BYTES, MAX_STRANGERS, MAX_UNSIGNED_DOCUMENTS_BYTES};
use std::sync::atomic::{AtomicU64, Ordering};

/// An amount of something, of which requests take some for a time.
#[derive(Debug)]
pub struct Room {
    taken: AtomicU64,
    most: u64,
}

impl Room {
    fn new(most: u64) -> Self {
        Self { taken: AtomicU64::new(0), most }
    }

    /// Takes so much; SlowDown, and the connection is closed, if there is not enough.
    pub fn take(&self, amount: u64) -> Result<Taken<'_>, S3Error> {
        let mut taken = Taken { room: self, amount: 0 };
        taken.grow(amount)?;
        Ok(taken)
    }
}

/// What a request has taken; given back when this is dropped.
#[derive(Debug)]
pub struct Taken<'a> {
    room: &'a Room,
    amount: u64,
}

impl Taken<'_> {
    /// Takes so much more.
    pub fn grow(&mut self, amount: u64) -> Result<(), S3Error> {
        let more = |taken: u64| taken.checked_add(amount).filter(|sum| *sum <= self.room.most);
        let done = self.room.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        // What of the body is still to come would keep the thread that is so scarce.
        done.map_err(|_| S3Error { close: true, ..Code::SlowDown.into() })?;
        self.amount += amount;
        Ok(())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.amount, Ordering::SeqCst);
    }
}

/// The rooms of a server.
#[derive(Debug)]
pub struct Rooms {
    /// Bytes of documents.
    pub documents: Room,
    /// Bytes of documents of which it is not known who sent them.
    pub unsigned: Room,
    /// Requests whose bodies are read before it is known who sent them.
    pub strangers: Room,
}

impl Rooms {
    /// For a server with so many threads.
    pub fn new(threads: usize) -> Self {
        let threads = u64::try_from(threads).unwrap_or(u64::MAX);
        let strangers = (threads / 2).clamp(1, MAX_STRANGERS);
        Self {
            documents: Room::new(MAX_DOCUMENTS_BYTES),
            unsigned: Room::new(MAX_UNSIGNED_DOCUMENTS_BYTES),
            strangers: Room::new(strangers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let room = Room::new(10);
        let mut first = room.take(4).unwrap();
        first.grow(6).unwrap();
        let refused = room.take(1).unwrap_err();
        assert_eq!((refused.code, refused.close), (Code::SlowDown, true));
        assert_eq!(first.grow(u64::MAX).unwrap_err().code, Code::SlowDown);
        drop(first);
        drop(room.take(10).unwrap());
    }

    #[test]
    fn strangers_never_have_all_threads_but_one() {
        for (threads, most) in [(1, 1), (2, 1), (16, 8), (256, 128), (4096, MAX_STRANGERS)] {
            assert_eq!(Rooms::new(threads).strangers.most, most, "{threads}");
        }
    }
}
