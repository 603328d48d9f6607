//! `jog import`: files of a folder become objects, inside the server if one runs.

use super::admin::{Arguments, Command, Context, Failure, Opt, Out};
use super::channel::Request;
use super::files::names::KeyPath;
use super::files::walk::{FOLDER, Identity, Met, What, entries, walk};
use super::files::{kinds, notes};
use super::progress::{FOUND, human};
use crate::limits::{IO_BUFFER_BYTES, MAX_LISTED};
use crate::s3::intake::{Fields, Intake, IntakeError};
use crate::store::backup::Progress;
use crate::store::{Bucket, Kek, MasterKey};
use crate::types::notification::TargetName;
use crate::types::{BucketName, ObjectKey};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::{Digest, Md5};
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::json;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the command is called.
const NAME: &str = "import";
/// How often it tells how far it has come, and learns that nobody waits any more.
const TELL: Duration = Duration::from_millis(200);

/// The commands of this file.
pub const COMMANDS: &[Command] = &[Command {
    name: NAME,
    usage: "DIR BUCKET [--prefix P] [--json]",
    help: "make an object of every file below DIR, its path the key, with P before it; a bucket's \
           folder of\n      `jog export` comes back as it was; what is there already is passed over; \
           status 3 if a file is left out",
    options: &[Opt::Value("--prefix"), Opt::Switch("--json")],
    run,
}];

/// The folder that a command brings along, opened where the user is.
pub fn folder(request: &Request) -> Result<Option<OwnedFd>, String> {
    match (request.command.as_str(), request.arguments.first()) {
        (NAME, Some(dir)) => {
            let flags = FOLDER.difference(OFlags::NOFOLLOW);
            let opened = openat(CWD, dir, flags, Mode::empty());
            opened.map(Some).map_err(|e| format!("{dir}: {}", io::Error::from(e)))
        }
        _ => Ok(None),
    }
}

fn run(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [dir, name] = arguments.exactly()?;
    let parsed = BucketName::parse(name);
    let bucket = parsed.map(|name| context.store.bucket(&name)).transpose()?.flatten();
    let bucket = bucket.ok_or_else(|| Failure::failed(format!("{name}: no such bucket")))?;
    let folder = context.folder.as_ref().ok_or_else(|| Failure::failed("no folder came along"))?;
    let failed = |e: io::Error| Failure::failed(format!("{dir}: {e}"));
    let data_dir = std::fs::metadata(&context.config.data_dir).map_err(failed)?;
    let config = context.config;
    let master = config.sse_key.as_deref().map(|key| Kek::new(*key));
    if context.store.check_master(master.as_ref())? == MasterKey::Other {
        let text = "JOG_SSE_KEY is not the key that the objects are encrypted with";
        return Err(Failure::failed(text));
    }
    let targets: Vec<TargetName> =
        config.webhooks.iter().filter_map(|webhook| TargetName::parse(&webhook.name)).collect();
    let intake = Intake {
        store: context.store,
        master: master.as_ref(),
        region: config.region.as_deref().unwrap_or("us-east-1"),
        targets: &targets,
    };
    let notes = open_notes(folder.as_fd()).map_err(failed)?;
    if notes.is_none() {
        refuse_exports(folder.as_fd(), dir)?;
    }
    let mut import = Import {
        intake,
        bucket,
        prefix: arguments.get("--prefix").unwrap_or_default(),
        notes,
        out,
        told: Instant::now(),
        progress: Progress { what: FOUND, ..Progress::default() },
        report: Report::default(),
    };
    let not = (data_dir.dev(), data_dir.ino());
    let result = import.all(folder.as_fd(), not).map_err(failed)?;
    let Import { report, out, .. } = import;
    if matches!(result, Err(Failure::Gone)) {
        return result;
    }
    report.print(arguments.get("--json").is_some(), result.is_ok(), out)?;
    match report.failed {
        _ if result.is_err() => result,
        0 => Ok(()),
        n => Err(Failure::LeftOut(format!("{n} files are NOT IMPORTED"))),
    }
}

/// The notes of an export, if the folder is one.
fn open_notes(folder: BorrowedFd<'_>) -> io::Result<Option<notes::Notes>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, notes::NAME, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    let wrong = |e: io::Error| io::Error::other(format!("{}: {e}", notes::NAME));
    notes::Notes::open(file).map(Some).map_err(wrong)
}

/// Refuses a folder of exports: the names below are to be read as each of them says.
fn refuse_exports(folder: BorrowedFd<'_>, dir: &str) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::failed(format!("{dir}: {e}"));
    for name in entries(folder).map_err(failed)? {
        let Ok(below) = openat(folder, &name, FOLDER, Mode::empty()) else { continue };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        if rustix::fs::statat(&below, notes::NAME, flags).is_ok() {
            let name = name.to_string_lossy();
            return Err(Failure::failed(format!(
                "{dir} holds exported buckets; import each by itself, such as {dir}/{name}"
            )));
        }
    }
    Ok(())
}

/// What became of a file.
enum Done {
    New(u64),
    Present,
}

/// Why a file is left out, or all that follow.
enum Trouble {
    File(String),
    End(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::End(failure)
    }
}

impl From<IntakeError> for Trouble {
    fn from(error: IntakeError) -> Self {
        match error.is_end() {
            true => Self::End(Failure::failed(format!("{error}; the next run goes on"))),
            false => Self::File(error.to_string()),
        }
    }
}

struct Import<'a, 'o> {
    intake: Intake<'a>,
    bucket: Arc<Bucket>,
    prefix: &'a str,
    notes: Option<notes::Notes>,
    out: &'a mut Out<'o>,
    told: Instant,
    progress: Progress,
    report: Report,
}

impl Import<'_, '_> {
    fn all(&mut self, folder: BorrowedFd<'_>, not: Identity) -> io::Result<Result<(), Failure>> {
        let mut total = Progress::default();
        let counted = walk(folder, Some(not), &mut |met| {
            if let (What::File(bytes), false) = (&met.what, self.is_ours(met)) {
                total.files += 1;
                total.bytes += bytes;
                self.progress.files += 1;
            }
            self.tell(0)
        })?;
        if counted.is_err() {
            return Ok(counted);
        }
        let (of_files, of_bytes) = (total.files, total.bytes);
        self.progress = Progress { what: "files", of_files, of_bytes, ..Progress::default() };
        walk(folder, Some(not), &mut |met| self.meet(met))
    }

    /// Tells how far it has come, now and then.
    fn tell(&mut self, more: u64) -> Result<(), Failure> {
        if self.told.elapsed() < TELL {
            return Ok(());
        }
        self.told = Instant::now();
        self.out.progress(&Progress { bytes: self.progress.bytes + more, ..self.progress })
    }

    /// Whether it belongs to the export and is no object.
    fn is_ours(&self, met: &Met<'_>) -> bool {
        let ours = |name: &Vec<u8>| name.starts_with(notes::OURS.as_bytes());
        self.notes.is_some() && met.names.first().is_some_and(ours)
    }

    fn meet(&mut self, met: &Met<'_>) -> Result<(), Failure> {
        if self.is_ours(met) {
            return Ok(());
        }
        let bytes = match &met.what {
            What::File(bytes) => *bytes,
            What::Other(what) => {
                self.report.skipped += 1;
                return self.out.complain(format!("passed over: {}: {what}", shown(met)));
            }
            What::Unreadable(error) => return self.fail(met, &error.to_string()),
        };
        let done = self.file(met, bytes);
        self.progress.files += 1;
        self.progress.bytes += bytes;
        match done {
            Ok(Done::New(bytes)) => {
                self.report.new += 1;
                self.report.bytes += bytes;
            }
            Ok(Done::Present) => self.report.present += 1,
            Err(Trouble::File(reason)) => self.fail(met, &reason)?,
            Err(Trouble::End(failure)) => return Err(failure),
        }
        self.tell(0)
    }

    fn fail(&mut self, met: &Met<'_>, reason: &str) -> Result<(), Failure> {
        self.report.failed += 1;
        if self.report.failed_list.len() < MAX_LISTED {
            let path = String::from_utf8_lossy(&met.path()).into_owned();
            self.report.failed_list.push((path, reason.to_owned()));
        }
        self.out.complain(format!("not imported: {}: {reason}", shown(met)))
    }

    /// The key of a file.
    fn key(&self, met: &Met<'_>) -> Result<ObjectKey, Trouble> {
        let wrong = |text: &str| Trouble::File(text.to_owned());
        let no_text = || wrong("its name is no UTF-8");
        let key = match &self.notes {
            None => String::from_utf8(met.path()).map_err(|_| no_text())?,
            Some(_) => {
                let names: Result<Vec<&str>, _> =
                    met.names.iter().map(|name| std::str::from_utf8(name)).collect();
                KeyPath::key(&names.map_err(|_| no_text())?)
                    .ok_or_else(|| wrong("its name is none that an export gives"))?
            }
        };
        ObjectKey::parse(format!("{}{key}", self.prefix))
            .map_err(|_| wrong("the key would be longer than 1024 bytes"))
    }

    fn fields(&self, key: &ObjectKey) -> Result<Fields, Trouble> {
        let note = match &self.notes {
            None => None,
            Some(notes) => {
                let of = &key.as_str()[self.prefix.len()..];
                notes.of(of).map_err(|e| Trouble::File(format!("{}: {e}", notes::NAME)))?
            }
        };
        let note = note.unwrap_or_else(|| {
            let kind = kinds::media_type(key.as_str());
            let field = |kind: &str| ("content-type".to_owned(), kind.to_owned());
            notes::Note { metadata: kind.map(field).into_iter().collect(), tags: Vec::new() }
        });
        Ok(Fields::new(note.metadata, note.tags).map_err(IntakeError::Refused)?)
    }

    fn file(&mut self, met: &Met<'_>, bytes: u64) -> Result<Done, Trouble> {
        let key = self.key(met)?;
        let read = |e: io::Error| Trouble::File(format!("it cannot be read: {e}"));
        let mut file = met.open().map_err(read)?;
        if self.is_there(&key, &mut file, bytes)? {
            return Ok(Done::Present);
        }
        let fields = self.fields(&key)?;
        let mut counted = Counted {
            file: &mut file,
            progress: self.progress,
            told: &mut self.told,
            out: self.out,
            gone: None,
        };
        let result = self.intake.put(&self.bucket, key, fields, &mut counted);
        if let Some(gone) = counted.gone {
            return Err(gone.into());
        }
        let stored = result?;
        match file.metadata() {
            Ok(meta) if meta.len() == stored => Ok(Done::New(stored)),
            _ => Err(Trouble::File("it was changed while it was read".to_owned())),
        }
    }

    /// Whether the object at the key has these bytes.
    fn is_there(&mut self, key: &ObjectKey, file: &mut File, bytes: u64) -> Result<bool, Trouble> {
        let found = self.intake.store.object(self.bucket.id, key).map_err(Failure::from)?;
        let Some(object) = found.filter(|object| object.size == bytes) else { return Ok(false) };
        let read = |e: io::Error| Trouble::File(format!("it cannot be read: {e}"));
        let (mut crc, mut md5) = (Crc::new(CrcAlgorithm::Crc64Nvme), Md5::new());
        let mut buffer = vec![0; IO_BUFFER_BYTES];
        let mut done = 0;
        loop {
            let n = match file.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read_bytes => read_bytes.map_err(read)?,
            };
            crc.update(&buffer[..n]);
            md5.update(&buffer[..n]);
            done += n as u64;
            self.tell(done)?;
        }
        file.rewind().map_err(read)?;
        // The ETag of a multipart object is not that of its bytes; their CRC is.
        let known = object.etag.md5().is_none_or(|known| known == <[u8; 16]>::from(md5.finalize()));
        Ok(known && object.crc64 == crc.finalize())
    }
}

/// Reads a file, tells how far it has come, and ends when nobody waits for the command any more.
struct Counted<'f, 'o> {
    file: &'f mut File,
    progress: Progress,
    told: &'f mut Instant,
    out: &'f mut Out<'o>,
    gone: Option<Failure>,
}

impl Read for Counted<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.progress.bytes += n as u64;
        if self.told.elapsed() >= TELL {
            *self.told = Instant::now();
            if let Err(failure) = self.out.progress(&self.progress) {
                self.gone = Some(failure);
                return Err(io::Error::other("nobody waits"));
            }
        }
        Ok(n)
    }
}

/// A path for people, in one line.
fn shown(met: &Met<'_>) -> String {
    String::from_utf8_lossy(&met.path()).escape_debug().to_string()
}

/// What was done. The list has the first ones only.
#[derive(Default)]
struct Report {
    new: u64,
    bytes: u64,
    present: u64,
    skipped: u64,
    failed: u64,
    failed_list: Vec<(String, String)>,
}

impl Report {
    fn print(&self, as_json: bool, ended: bool, out: &mut Out<'_>) -> Result<(), Failure> {
        let Self { new, bytes, present, skipped, failed, failed_list } = self;
        if as_json {
            let one = |(path, reason): &(String, String)| json!({"path": path, "reason": reason});
            let value = json!({
                "complete": ended && *failed == 0,
                "new_objects": new,
                "new_bytes": bytes,
                "present_objects": present,
                "passed_over": skipped,
                "failed": failed,
                "failed_files": failed_list.iter().map(one).collect::<Vec<_>>(),
            });
            return out.line(format!("{value:#}"));
        }
        out.line(format!("{new} objects are new, {}; {present} were there", human(*bytes)))
    }
}
