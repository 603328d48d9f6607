//! `jog import`: files of a folder become objects, inside the server if one runs.

mod crew;

use super::admin::{Arguments, Command, Context, Failure, Opt, Out};
use super::channel::Request;
use super::files::names::KeyPath;
use super::files::walk::{FOLDER, Identity, Met, What, entries, walk};
use super::files::{kinds, notes};
use super::progress::{FOUND, human};
use crate::limits::{MAX_KEY_BYTES, MAX_LISTED};
use crate::s3::intake::{Fields, Intake, IntakeError};
use crate::store::backup::Progress;
use crate::store::{Kek, MasterKey};
use crate::types::notification::TargetName;
use crate::types::{BucketName, ObjectKey};
use crew::{Common, Crew, Done, Job, Trouble};
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::json;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    let common =
        Common { intake, bucket: &bucket, bytes: AtomicU64::new(0), stop: AtomicBool::new(false) };
    let (common, queue) = (&common, &Mutex::new(None));
    let (result, report) = std::thread::scope(|scope| {
        let mut import = Import {
            common,
            crew: Crew::start(scope, common, queue)?,
            prefix: arguments.get("--prefix").unwrap_or_default(),
            notes,
            out,
            told: Instant::now(),
            progress: Progress { what: FOUND, ..Progress::default() },
            report: Report::default(),
        };
        let result = import.all(folder.as_fd(), (data_dir.dev(), data_dir.ino()));
        common.stop.store(true, Ordering::Relaxed);
        result.map(|result| (result, import.report))
    })
    .map_err(failed)?;
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

struct Import<'a, 'o> {
    common: &'a Common<'a>,
    crew: Crew,
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
            self.tell()
        })?;
        if counted.is_err() {
            return Ok(counted);
        }
        let (of_files, of_bytes) = (total.files, total.bytes);
        self.progress = Progress { what: "files", of_files, of_bytes, ..Progress::default() };
        let walked = walk(folder, Some(not), &mut |met| self.meet(met))?;
        // Those that are on their way arrive, unless nothing more is wanted.
        self.common.stop.store(walked.is_err(), Ordering::Relaxed);
        Ok(walked.and_then(|()| self.settle(|crew| crew.is_busy())))
    }

    /// Tells how far it has come, now and then.
    fn tell(&mut self) -> Result<(), Failure> {
        if self.told.elapsed() < TELL {
            return Ok(());
        }
        self.told = Instant::now();
        let bytes = self.common.bytes.load(Ordering::Relaxed);
        self.out.progress(&Progress { bytes, ..self.progress })
    }

    /// Takes what is done, as long as this holds.
    fn settle(&mut self, more: impl Fn(&Crew) -> bool) -> Result<(), Failure> {
        while more(&self.crew) {
            let next = self.crew.next(TELL).map_err(|e| Failure::failed(e.to_string()))?;
            if let Some((path, result)) = next {
                self.progress.files += 1;
                match result {
                    Ok(Done::New(bytes)) => {
                        self.report.new += 1;
                        self.report.bytes += bytes;
                    }
                    Ok(Done::Present) => self.report.present += 1,
                    Err(Trouble::File(reason)) => self.fail(&path, &reason)?,
                    Err(Trouble::End(reason)) => return Err(Failure::Failed(reason)),
                }
            }
            self.tell()?;
        }
        Ok(())
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
                return self.out.complain(format!("passed over: {}: {what}", shown(&met.path())));
            }
            What::Unreadable(error) => return self.fail(&met.path(), &error.to_string()),
        };
        match self.job(met, bytes) {
            Ok(job) => {
                self.settle(|crew| !crew.has_room())?;
                self.crew.take(job);
                self.tell()
            }
            Err(reason) => {
                self.progress.files += 1;
                self.fail(&met.path(), &reason)
            }
        }
    }

    fn fail(&mut self, path: &[u8], reason: &str) -> Result<(), Failure> {
        self.report.failed += 1;
        if self.report.failed_list.len() < MAX_LISTED {
            let path = String::from_utf8_lossy(path).into_owned();
            self.report.failed_list.push((path, reason.to_owned()));
        }
        self.out.complain(format!("not imported: {}: {reason}", shown(path)))
    }

    /// The key of a file below the prefix.
    fn key(&self, met: &Met<'_>) -> Result<String, &'static str> {
        let no_text = "its name is no UTF-8";
        let Some(_) = &self.notes else {
            return String::from_utf8(met.path()).map_err(|_| no_text);
        };
        let names: Result<Vec<&str>, _> =
            met.names.iter().map(|name| std::str::from_utf8(name)).collect();
        let key = KeyPath::key(&names.map_err(|_| no_text)?);
        key.ok_or("its name is none that an export gives")
    }

    fn fields(&self, key: &str) -> Result<Fields, String> {
        let note = match &self.notes {
            None => None,
            Some(notes) => notes.of(key).map_err(|e| format!("{}: {e}", notes::NAME))?,
        };
        let note = note.unwrap_or_else(|| {
            let field = |kind: &str| ("content-type".to_owned(), kind.to_owned());
            let metadata = kinds::media_type(key).map(field).into_iter().collect();
            notes::Note { metadata, tags: Vec::new() }
        });
        Fields::new(note.metadata, note.tags).map_err(|e| IntakeError::Refused(e).to_string())
    }

    fn job(&self, met: &Met<'_>, bytes: u64) -> Result<Job, String> {
        let below = self.key(met)?;
        let fields = self.fields(&below)?;
        let key = ObjectKey::parse(format!("{}{below}", self.prefix))
            .map_err(|_| format!("the key would be longer than {MAX_KEY_BYTES} bytes"))?;
        let file = met.open().map_err(|e| format!("it cannot be read: {e}"))?;
        Ok(Job { file, bytes, key, fields, path: met.path() })
    }
}

/// A path for people, in one line.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
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
