//! `jog export`: the objects as plain files.

use super::admin::{Arguments, Failure, Opt};
use super::files::names::KeyPath;
use super::files::notes;
use super::files::tree::{BucketFolder, Looks, set_time};
use super::local::{LOST, Local, rate};
use super::progress::{Meter, human};
use crate::config::{Config, Durability};
use crate::limits::{EXPORT_PAGE, IO_BUFFER_BYTES, MAX_LISTED};
use crate::store::backup::{Pace, Progress};
use crate::store::{Bucket, Kek, Object, ObjectReader, Outside, Readable, SealMode, StoreError};
use crate::types::BucketName;
use serde_json::{Value, json};
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The command.
pub const COMMAND: Local = Local {
    name: "export",
    usage: "DIR [--bucket NAME]... [--prefix P] [--metadata] [--copy] [--rate 50MiB] [--json]",
    help: "write the current objects as plain files to DIR/BUCKET/KEY, or link them on the same \
           file system unless\n      --copy: a linked file is the store's own, read-only, and \
           must never be changed; a further run takes what is new",
    options: &[
        Opt::Value("--bucket"),
        Opt::Value("--prefix"),
        Opt::Switch("--metadata"),
        Opt::Switch("--copy"),
        Opt::Value("--rate"),
        Opt::Switch("--json"),
    ],
    run,
};

/// Mode of a file of the store that has a name in an export: who changes it by mistake would change
/// the store. The store itself never does.
const LINKED_MODE: u32 = 0o400;

/// Why no further object can be exported.
enum Stop {
    Store(StoreError),
    /// The place to write to.
    Dest(io::Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why an object is not exported.
type Reason = String;

fn run(config: &Config, arguments: &Arguments) -> Result<u8, Failure> {
    let [dest] = arguments.exactly()?;
    let dest = Path::new(dest);
    super::admin::check_owner(&config.data_dir).map_err(Failure::Failed)?;
    super::server::raise_open_files();
    let outside = Outside::open(&config.data_dir)?;
    let buckets = chosen(&outside, arguments)?;
    prepare(dest, &config.data_dir)?;
    let mut export = Export {
        outside,
        dest,
        prefix: arguments.get("--prefix").unwrap_or_default(),
        notes: arguments.get("--metadata").is_some(),
        link: arguments.get("--copy").is_none(),
        durable: config.durability == Durability::Full,
        kek: config.sse_key.as_deref().map(|key| Kek::new(*key)),
        pace: Pace::new(rate(arguments)?),
        meter: Meter::new(false),
        progress: Progress { what: "objects", ..Progress::default() },
        report: Report::default(),
    };
    let result = export.all(&buckets);
    let Export { meter, report, .. } = export;
    drop(meter);
    let stopped = match result {
        Ok(()) => None,
        Err(Stop::Store(error)) => Some(error.to_string()),
        Err(Stop::Dest(error)) if is_end(&error) => {
            Some(format!("{}: {error}; the next run goes on", dest.display()))
        }
        Err(Stop::Dest(error)) => Some(format!("{}: {error}", dest.display())),
    };
    match arguments.get("--json") {
        Some(_) => say!("{:#}", report.as_json(stopped.as_deref())),
        None => report.print(),
    }
    match stopped {
        Some(error) => Err(Failure::Failed(error)),
        None if report.failed == 0 => Ok(0),
        None => Ok(LOST),
    }
}

/// The buckets that were asked for, or all.
fn chosen(outside: &Outside, arguments: &Arguments) -> Result<Vec<Bucket>, Failure> {
    let mut chosen = Vec::new();
    for name in arguments.all("--bucket") {
        let found = BucketName::parse(name).map(|name| outside.bucket(&name)).transpose()?;
        let missing = || Failure::failed(format!("{name}: no such bucket"));
        chosen.push(found.flatten().ok_or_else(missing)?);
    }
    if arguments.get("--bucket").is_some() {
        return Ok(chosen);
    }
    loop {
        let after = chosen.last().map_or(String::new(), |bucket| bucket.name.to_string());
        let page = outside.buckets(&after, EXPORT_PAGE)?;
        if page.is_empty() {
            return Ok(chosen);
        }
        chosen.extend(page);
    }
}

/// Makes the folder, unless it is there. It must be outside of the data directory.
fn prepare(dest: &Path, data_dir: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, e: io::Error| Failure::failed(format!("{}: {e}", path.display()));
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dest);
    made.map_err(|e| failed(dest, e))?;
    let real = |path: &Path| std::fs::canonicalize(path).map_err(|e| failed(path, e));
    let (inner, outer) = (real(dest)?, real(data_dir)?);
    if inner.starts_with(&outer) || outer.starts_with(&inner) {
        let shown = dest.display();
        let text = format!("{shown}: an export cannot be in the data directory, nor around it");
        return Err(Failure::Failed(text));
    }
    Ok(())
}

struct Export<'a> {
    outside: Outside,
    dest: &'a Path,
    prefix: &'a str,
    notes: bool,
    link: bool,
    durable: bool,
    kek: Option<Kek>,
    pace: Pace,
    meter: Meter,
    progress: Progress,
    report: Report,
}

/// An object whose file waits for its name.
struct Carried {
    key: String,
    bytes: u64,
    linked: bool,
}

impl Export<'_> {
    fn all(&mut self, buckets: &[Bucket]) -> Result<(), Stop> {
        for bucket in buckets {
            let total = self.outside.total(bucket.id, self.prefix)?;
            self.progress.of_files += total.files;
            self.progress.of_bytes += total.bytes;
        }
        for bucket in buckets {
            self.report.buckets += 1;
            let name = bucket.name.as_str();
            let mut folder =
                BucketFolder::open(self.dest, name, self.durable).map_err(Stop::Dest)?;
            let result = self.bucket(bucket, &mut folder);
            // Also after a failure: what has arrived stays.
            let settled = folder.settle().map(|done| self.settled(name, done));
            result?;
            settled.map_err(Stop::Dest)?.map_err(Stop::Dest)?;
            folder.finish().map_err(Stop::Dest)?;
        }
        Ok(())
    }

    fn bucket(&mut self, bucket: &Bucket, folder: &mut BucketFolder<Carried>) -> Result<(), Stop> {
        let name = bucket.name.as_str();
        let before = folder.notes().map_err(Stop::Dest)?;
        if before.is_none() {
            // From here on the folder is an export, also if this run does not end.
            let (mut file, temporary) = folder.create().map_err(Stop::Dest)?;
            let written = file.write_all(notes::head(name).as_bytes());
            written.and_then(|()| folder.place_notes(&file, &temporary)).map_err(Stop::Dest)?;
        }
        let mut notes = match self.notes {
            true => Some(self.begin_notes(name, before, folder).map_err(Stop::Dest)?),
            false => None,
        };
        let mut after = None;
        loop {
            let after_key = after.as_ref();
            let page = self.outside.page(bucket.id, self.prefix, after_key, EXPORT_PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for object in &page {
                if let Some((file, _)) = &mut notes {
                    let line = notes::line(object);
                    file.write_all(line.as_bytes()).map_err(Stop::Dest)?;
                }
                if let Err(reason) = self.object(bucket, object, folder)? {
                    self.fail(name, object.key.as_str(), &reason);
                }
                self.progress.files += 1;
                self.progress.bytes += object.size;
                self.meter.watch(&self.progress);
            }
        }
        if let Some((file, temporary)) = notes {
            let file = file.into_inner().map_err(|e| Stop::Dest(e.into_error()))?;
            folder.place_notes(&file, &temporary).map_err(Stop::Dest)?;
        }
        Ok(())
    }

    /// New notes, with what those before say of keys that are not asked for.
    fn begin_notes(
        &self,
        bucket: &str,
        before: Option<File>,
        folder: &mut BucketFolder<Carried>,
    ) -> io::Result<(io::BufWriter<File>, String)> {
        let (file, temporary) = folder.create()?;
        let mut file = io::BufWriter::new(file);
        file.write_all(notes::head(bucket).as_bytes())?;
        if let (Some(before), false) = (before, self.prefix.is_empty()) {
            notes::copy_others(before, self.prefix, &mut file)?;
        }
        Ok((file, temporary))
    }

    /// Exports an object, unless it is there.
    fn object(
        &mut self,
        bucket: &Bucket,
        object: &Object,
        folder: &mut BucketFolder<Carried>,
    ) -> Result<Result<(), Reason>, Stop> {
        let readable = match self.open(bucket, object)? {
            Ok(readable) => readable,
            Err(reason) => return Ok(Err(reason)),
        };
        let Readable { reader, file } = readable;
        let source = file.as_deref().and_then(|path| std::fs::metadata(path).ok());
        let looks = Looks {
            size: object.size,
            modified_ms: object.modified_ms,
            source: source.map(|meta| (meta.dev(), meta.ino())),
            link: self.link,
        };
        let below = self.outside.has_below(bucket.id, &object.key)?;
        let key = object.key.as_str();
        let path = match folder.path_of(key, below, &looks) {
            Ok((path, true)) => {
                self.note_path(bucket.name.as_str(), key, &path);
                self.report.present += 1;
                return Ok(Ok(()));
            }
            Ok((path, false)) => path,
            Err(error) => return destination(error),
        };
        let linked = match file.as_deref().filter(|_| self.link) {
            Some(file) => match folder.link(file) {
                Ok(temporary) => Some((file, temporary)),
                Err(error) if no_links(&error) => {
                    self.link = error.kind() == ErrorKind::TooManyLinks;
                    None
                }
                Err(error) => return destination(error),
            },
            None => None,
        };
        let (temporary, done) = match &linked {
            Some((file, temporary)) => (temporary.clone(), self.check(reader, file, object)),
            None => match folder.create() {
                Ok((file, temporary)) => (temporary, self.copy(reader, file, object)),
                Err(error) => return destination(error),
            },
        };
        match done {
            Ok(Ok(())) => {
                let linked = linked.is_some();
                let bytes = if linked { 0 } else { object.size };
                let carried = Carried { key: key.to_owned(), bytes: object.size, linked };
                let done = folder.place(temporary, path, bytes, carried).map_err(Stop::Dest)?;
                self.settled(bucket.name.as_str(), done).map_err(Stop::Dest)?;
                Ok(Ok(()))
            }
            other => {
                folder.discard(&temporary);
                other
            }
        }
    }

    fn open(
        &self,
        bucket: &Bucket,
        object: &Object,
    ) -> Result<Result<Readable, Reason>, StoreError> {
        let mode = object.extra.seal.as_ref().map(|seal| seal.mode);
        if mode == Some(SealMode::Customer) {
            return Ok(Err("it is encrypted with a customer's key (SSE-C)".to_owned()));
        }
        match self.outside.read(&bucket.name, object, self.kek.as_ref()) {
            Ok(Some(readable)) => Ok(Ok(readable)),
            Ok(None) => Ok(Err("a file of it is missing".to_owned())),
            Err(StoreError::WrongKey) if self.kek.is_none() => {
                Ok(Err("it is encrypted, and JOG_SSE_KEY is not set".to_owned()))
            }
            Err(StoreError::WrongKey) => {
                Ok(Err("it is encrypted with another key than JOG_SSE_KEY".to_owned()))
            }
            Err(error @ (StoreError::Io { .. } | StoreError::Corrupt(_))) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Verifies a file that was linked, and sees to its time and its mode, which it shares with the
    /// store.
    fn check(
        &mut self,
        reader: ObjectReader,
        file: &Path,
        object: &Object,
    ) -> Result<Result<(), Reason>, Stop> {
        if let Err(reason) = self.read(reader, &mut |_| Ok(()))? {
            return Ok(Err(reason));
        }
        let seen_to = || -> io::Result<()> {
            let file = File::open(file)?;
            let meta = file.metadata()?;
            // Not for a fraction: who copies the store by times would copy the file again.
            if meta.mtime() != object.modified_ms.div_euclid(1000) {
                set_time(&file, object.modified_ms)?;
            }
            match meta.mode() & 0o777 == LINKED_MODE {
                true => Ok(()),
                false => file.set_permissions(Permissions::from_mode(LINKED_MODE)),
            }
        };
        Ok(seen_to().map_err(|e| format!("its file in the store: {e}")))
    }

    fn copy(
        &mut self,
        reader: ObjectReader,
        mut file: File,
        object: &Object,
    ) -> Result<Result<(), Reason>, Stop> {
        if let Err(reason) = self.read(reader, &mut |bytes| file.write_all(bytes))? {
            return Ok(Err(reason));
        }
        match set_time(&file, object.modified_ms) {
            Ok(()) => Ok(Ok(())),
            Err(error) => destination(error),
        }
    }

    /// Reads to the end and verifies.
    fn read(
        &mut self,
        mut reader: ObjectReader,
        to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<Result<(), Reason>, Stop> {
        let mut buffer = vec![0; IO_BUFFER_BYTES.min(usize::try_from(reader.len()).unwrap_or(0))];
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok(Ok(())),
                Ok(n) => n,
                Err(error) => return Ok(Err(error.to_string())),
            };
            if let Err(error) = to(&buffer[..n]) {
                return destination(error);
            }
            self.pace.spend(n as u64);
            let now = Progress { bytes: self.progress.bytes + n as u64, ..self.progress };
            self.meter.watch(&now);
        }
    }

    /// Counts files that have got their names, and those that could not.
    fn settled(
        &mut self,
        bucket: &str,
        done: Vec<(Carried, KeyPath, io::Result<()>)>,
    ) -> io::Result<()> {
        let mut stop = None;
        for (Carried { key, bytes, linked }, path, named) in done {
            match named {
                Ok(()) => {
                    self.note_path(bucket, &key, &path);
                    self.report.files += 1;
                    self.report.bytes += bytes;
                    self.report.linked += u64::from(linked);
                }
                Err(error) => {
                    self.fail(bucket, &key, &error.to_string());
                    stop = stop.or(Some(error).filter(is_end));
                }
            }
        }
        stop.map_or(Ok(()), Err)
    }

    fn note_path(&mut self, bucket: &str, key: &str, path: &KeyPath) {
        let path = path.text();
        if path != key {
            self.report.escaped += 1;
            if self.report.escaped_list.len() < MAX_LISTED {
                let entry = [bucket.to_owned(), key.to_owned(), path];
                self.report.escaped_list.push(entry);
            }
        }
    }

    fn fail(&mut self, bucket: &str, key: &str, reason: &str) {
        self.meter.clear();
        complain!("not exported: {bucket}/{}: {reason}", key.escape_debug());
        self.report.failed += 1;
        if self.report.failed_list.len() < MAX_LISTED {
            let entry = [bucket.to_owned(), key.to_owned(), reason.to_owned()];
            self.report.failed_list.push(entry);
        }
    }
}

/// Whether a failure of the place to write to is that of every further file, too.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
    )
}

/// Of one file, or the end.
fn destination(error: io::Error) -> Result<Result<(), Reason>, Stop> {
    if is_end(&error) { Err(Stop::Dest(error)) } else { Ok(Err(error.to_string())) }
}

/// See [`crate::store`]: another file system, too many names of the file, or none to be had.
fn no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::CrossesDevices
            | ErrorKind::TooManyLinks
            | ErrorKind::PermissionDenied
            | ErrorKind::Unsupported
    )
}

/// What was done. Lists have the first ones only.
#[derive(Default)]
struct Report {
    buckets: u64,
    /// Files that are new, their bytes, and how many of them are links.
    files: u64,
    bytes: u64,
    linked: u64,
    /// Files that were there.
    present: u64,
    escaped: u64,
    escaped_list: Vec<[String; 3]>,
    failed: u64,
    failed_list: Vec<[String; 3]>,
}

impl Report {
    fn print(&self) {
        /// Names that are listed for people.
        const SHOWN: usize = 100;
        let Self { buckets, files, bytes, linked, present, .. } = self;
        say!(
            "{buckets} buckets: {files} files are new, {}, {linked} of them are links",
            human(*bytes)
        );
        if *present > 0 {
            say!("{present} were there");
        }
        if *linked > 0 {
            say!("links are the store's own files: never change them in place");
        }
        if self.escaped > 0 {
            say!("{} keys could not be paths as they are:", self.escaped);
            for [bucket, key, path] in self.escaped_list.iter().take(SHOWN) {
                say!("  {bucket}/{} is {}", key.escape_debug(), path.escape_debug());
            }
            let more = self.escaped.saturating_sub(SHOWN as u64);
            if more > 0 {
                say!("  and {more} more");
            }
        }
        if self.failed > 0 {
            complain!("jog: {} objects are NOT EXPORTED", self.failed);
        }
    }

    fn as_json(&self, error: Option<&str>) -> Value {
        let list = |entries: &[[String; 3]], third: &str| -> Value {
            let one = |[bucket, key, text]: &[String; 3]| json!({"bucket": bucket, "key": key, third: text});
            entries.iter().map(one).collect()
        };
        json!({
            "complete": self.failed == 0 && error.is_none(),
            "error": error,
            "buckets": self.buckets,
            "new_files": self.files,
            "new_bytes": self.bytes,
            "linked_files": self.linked,
            "present_files": self.present,
            "escaped": self.escaped,
            "escaped_keys": list(&self.escaped_list, "path"),
            "failed": self.failed,
            "failed_keys": list(&self.failed_list, "reason"),
        })
    }
}
