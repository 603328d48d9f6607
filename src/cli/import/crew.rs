//! Files on their way into the store, several at a time: each waits for the disk on its own, and
//! those that wait at the same time share a commit.

use crate::limits::{IMPORT_QUEUE, IMPORT_THREADS, IO_BUFFER_BYTES};
use crate::s3::intake::{Fields, Intake, IntakeError};
use crate::store::{Bucket, StoreError};
use crate::types::ObjectKey;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::{Digest, Md5};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::Duration;

/// A file that is to be an object.
pub struct Job {
    /// The file.
    pub file: File,
    /// Its size when it was met.
    pub bytes: u64,
    /// The key of the object.
    pub key: ObjectKey,
    /// What the object has beside its bytes.
    pub fields: Fields,
    /// Its path, for people and for reports.
    pub path: Vec<u8>,
}

/// What became of a file.
pub enum Done {
    /// It is a new object of so many bytes.
    New(u64),
    /// The object was there.
    Present,
}

/// Why a file is left out.
pub enum Trouble {
    /// It is only this one.
    File(String),
    /// All that follow would be, too.
    End(String),
}

impl From<IntakeError> for Trouble {
    fn from(error: IntakeError) -> Self {
        match error.is_end() {
            true => Self::End(format!("{error}; the next run goes on")),
            false => Self::File(error.to_string()),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::End(error.to_string())
    }
}

fn unreadable(error: io::Error) -> Trouble {
    Trouble::File(format!("it cannot be read: {error}"))
}

/// What the threads share.
pub struct Common<'a> {
    /// What makes objects.
    pub intake: Intake<'a>,
    /// Where they go.
    pub bucket: &'a Bucket,
    /// Bytes that have been read, of files that are done and of those that are not.
    pub bytes: AtomicU64,
    /// Nothing more is wanted.
    pub stop: AtomicBool,
}

/// A file that is done: its path, and what became of it.
type Finished = (Vec<u8>, Result<Done, Trouble>);

/// The threads. They end when this is dropped.
pub struct Crew {
    jobs: SyncSender<Job>,
    results: Receiver<Finished>,
    flying: usize,
}

impl Crew {
    /// Starts the threads.
    pub fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        common: &'env Common<'_>,
        queue: &'env Mutex<Option<Receiver<Job>>>,
    ) -> io::Result<Self> {
        // Nobody waits for a place: see `flying`.
        let (jobs, incoming) = sync_channel(IMPORT_QUEUE);
        *queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(incoming);
        let (done, results) = channel();
        for _ in 0..IMPORT_THREADS {
            let done = done.clone();
            std::thread::Builder::new()
                .name("jog-import".to_owned())
                .spawn_scoped(scope, move || work(common, queue, &done))?;
        }
        Ok(Self { jobs, results, flying: 0 })
    }

    /// Whether a job can be taken.
    pub fn has_room(&self) -> bool {
        self.flying < IMPORT_QUEUE
    }

    /// Whether jobs are not done yet.
    pub fn is_busy(&self) -> bool {
        self.flying > 0
    }

    /// Takes a job, for which there must be room.
    pub fn take(&mut self, job: Job) {
        // Fails when every thread has panicked; then no result comes, either.
        if self.jobs.send(job).is_ok() {
            self.flying += 1;
        }
    }

    /// The next file that is done, if one is within this time; an error if none ever will be.
    pub fn next(&mut self, within: Duration) -> io::Result<Option<Finished>> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.results.recv_timeout(within) {
            Ok(result) => {
                self.flying -= 1;
                Ok(Some(result))
            }
            Err(Timeout) => Ok(None),
            Err(Disconnected) => Err(io::Error::other("a defect: see the log")),
        }
    }
}

fn work(common: &Common<'_>, queue: &Mutex<Option<Receiver<Job>>>, done: &Sender<Finished>) {
    loop {
        let job = {
            let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().map(Receiver::recv)
        };
        let Some(Ok(job)) = job else { return };
        let path = job.path.clone();
        let run = AssertUnwindSafe(|| common.bring_in(job));
        let defect = |_| Err(Trouble::End("a defect: see the log".to_owned()));
        let result = catch_unwind(run).unwrap_or_else(defect);
        if done.send((path, result)).is_err() {
            return;
        }
    }
}

impl Common<'_> {
    fn bring_in(&self, job: Job) -> Result<Done, Trouble> {
        let Job { mut file, bytes, key, fields, .. } = job;
        if self.is_there(&key, &mut file, bytes)? {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            return Ok(Done::Present);
        }
        let mut counted = Counted { file: &mut file, read: 0, common: self };
        let result = self.intake.put(self.bucket, key, fields, &mut counted);
        // However much of it was read, it is done with.
        let left = bytes.saturating_sub(counted.read);
        self.bytes.fetch_add(left, Ordering::Relaxed);
        let stored = result?;
        match file.metadata() {
            Ok(meta) if meta.len() == stored => Ok(Done::New(stored)),
            _ => Err(Trouble::File("it was changed while it was read".to_owned())),
        }
    }

    /// Whether the object at the key has these bytes.
    fn is_there(&self, key: &ObjectKey, file: &mut File, bytes: u64) -> Result<bool, Trouble> {
        let found = self.intake.store.object(self.bucket.id, key)?;
        let Some(object) = found.filter(|object| object.size == bytes) else { return Ok(false) };
        let (mut crc, mut md5) = (Crc::new(CrcAlgorithm::Crc64Nvme), Md5::new());
        let mut buffer = vec![0; IO_BUFFER_BYTES];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Trouble::File("nothing more is wanted".to_owned()));
            }
            let n = match file.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                done => done.map_err(unreadable)?,
            };
            crc.update(&buffer[..n]);
            md5.update(&buffer[..n]);
        }
        file.rewind().map_err(unreadable)?;
        // The ETag of a multipart object is not that of its bytes; their CRC is.
        let known = object.etag.md5().is_none_or(|known| known == <[u8; 16]>::from(md5.finalize()));
        Ok(known && object.crc64 == crc.finalize())
    }
}

/// Reads a file until nothing more is wanted.
struct Counted<'f, 'a> {
    file: &'f mut File,
    read: u64,
    common: &'f Common<'a>,
}

impl Read for Counted<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.common.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("nothing more is wanted"));
        }
        let n = self.file.read(into)?;
        self.read += n as u64;
        self.common.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
