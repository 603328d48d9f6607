//! Commands that work on a store: inside the server if one runs on the data directory, else here,
//! with the same code.
//!
//! To add one: a file beside this one with a `pub const COMMANDS: &[Command]`, and its line in
//! [`GROUPS`]. A command prints with [`Out::line`], which reaches the user at once, also from a
//! command that takes long.

use super::channel::{self, Kind, Request, Sink};
use super::local::LOST;
use super::progress::{self, Meter};
use super::{
    USAGE, access, bucket, import, key, lifecycle, misunderstood, stats, understand, user,
};
use crate::access::registry::Registry;
use crate::config::Config;
use crate::limits::{ADMIN_PATIENCE, MAX_ADMIN_FILE_BYTES};
use crate::store::backup::Progress;
use crate::store::{OpenError, SharedStore, StoreError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The commands of each file, in the order of `jog help`.
const GROUPS: &[&[Command]] = &[
    bucket::COMMANDS,
    lifecycle::COMMANDS,
    user::COMMANDS,
    key::COMMANDS,
    access::COMMANDS,
    stats::COMMANDS,
    import::COMMANDS,
];

/// What a command works on.
pub struct Context<'a> {
    /// The open store.
    pub store: &'a SharedStore,
    /// Users and their keys.
    pub users: &'a Registry,
    /// The settings: the server's, if one runs.
    pub config: &'a Config,
    /// The folder that the command was called with.
    pub folder: Option<OwnedFd>,
}

/// A command.
pub struct Command {
    /// How it is called: `user add`.
    pub name: &'static str,
    /// What follows the name.
    pub usage: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// The options that it takes.
    pub options: &'static [Opt],
    /// Does it.
    pub run: fn(&Context<'_>, &Arguments, &mut Out<'_>) -> Result<(), Failure>,
}

/// An option, with its dashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opt {
    /// With a value.
    Value(&'static str),
    /// With the name of a file, or `-` for stdin. It is read where the user is, not where the
    /// server runs; the command gets its content.
    File(&'static str),
    /// Without a value.
    Switch(&'static str),
}

impl Opt {
    fn name(self) -> &'static str {
        match self {
            Self::Value(name) | Self::File(name) | Self::Switch(name) => name,
        }
    }
}

/// What a command was called with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arguments {
    /// What is no option, in order.
    pub positional: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    /// What is no option, and the options with their values.
    pub fn new(positional: Vec<String>, options: Vec<(String, String)>) -> Self {
        Self { positional, options }
    }

    /// The value of an option, the content of its file, or an empty text for a switch; the last
    /// one if it was given several times.
    pub fn get(&self, option: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| name == option).map(|(_, v)| v.as_str())
    }

    /// Every value of an option, in order.
    pub fn all<'a>(&'a self, option: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(name, _)| name == option).map(|(_, v)| v.as_str())
    }

    /// The arguments if there are `N` of them.
    pub fn exactly<const N: usize>(&self) -> Result<[&str; N], Failure> {
        let all: Vec<&str> = self.positional.iter().map(String::as_str).collect();
        let wrong = |all: Vec<&str>| {
            let s = if N == 1 { "" } else { "s" };
            Failure::Usage(format!("expected {N} argument{s} beside options, not {}", all.len()))
        };
        all.try_into().map_err(wrong)
    }
}

/// Why a command does not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It was not called as it must be.
    Usage(String),
    /// What it was to do cannot be done.
    Failed(String),
    /// It has ended, and something is left out.
    LeftOut(String),
    /// Whoever called it has gone, or the server stops.
    Gone,
}

impl Failure {
    /// What cannot be done, in one line.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Where a command prints.
pub struct Out<'a>(&'a mut Sink<'a>);

impl Out<'_> {
    /// A line of output, which is sent at once.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        (self.0)(Kind::Output, text.as_ref()).map_err(|_| Failure::Gone)
    }

    /// A line for stderr.
    pub fn complain(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        (self.0)(Kind::Complaint, text.as_ref()).map_err(|_| Failure::Gone)
    }

    /// How far the command has come; fails when nobody waits for it any more.
    pub fn progress(&mut self, progress: &Progress) -> Result<(), Failure> {
        (self.0)(Kind::Progress, &progress::to_words(progress)).map_err(|_| Failure::Gone)
    }

    /// Lines in columns, the first of which are the headings.
    pub fn table(&mut self, rows: &[Vec<String>]) -> Result<(), Failure> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|t| t.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Every command that works on a store.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|group| group.iter())
}

/// Whether `jog WORD …` is a command that works on a store.
pub fn knows(word: &str) -> bool {
    commands().any(|command| command.name.split(' ').next() == Some(word))
}

fn find(name: &str) -> Option<&'static Command> {
    commands().find(|command| command.name == name)
}

/// Runs a command in this process; gives its exit status.
pub fn execute(context: &Context<'_>, request: &Request, sink: &mut Sink<'_>) -> u8 {
    let Some(command) = find(&request.command) else {
        let text = format!("jog: {}: the server has no such command", request.command);
        // Whoever does not hear it does not miss it.
        let _ = sink(Kind::Complaint, &text);
        return USAGE;
    };
    let arguments = Arguments::new(request.arguments.clone(), request.options.clone());
    let mut forward = |kind, text: &str| sink(kind, text);
    let run = AssertUnwindSafe(|| (command.run)(context, &arguments, &mut Out(&mut forward)));
    let result = catch_unwind(run).unwrap_or_else(|_| {
        log::error!("the command {} panicked", command.name);
        Err(Failure::failed("a defect: see the server's log"))
    });
    let (status, text) = match result {
        Ok(()) => return 0,
        Err(Failure::Gone) => return 1,
        Err(Failure::Usage(text)) => {
            (USAGE, format!("{text}\nUsage: jog {} {}", command.name, command.usage))
        }
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::LeftOut(text)) => (LOST, text),
    };
    // As above.
    let _ = sink(Kind::Complaint, &format!("jog: {text}"));
    status
}

/// The same as the server does it: with a line in its log, without the values of options, since a
/// secret may be among them.
pub fn serve(context: &Context<'_>, request: &Request, sink: &mut Sink<'_>) -> u8 {
    let status = execute(context, request, sink);
    let arguments: Vec<String> =
        request.arguments.iter().map(|a| a.escape_default().to_string()).collect();
    let (name, arguments) = (request.command.escape_default(), arguments.join(" "));
    let space = if arguments.is_empty() { "" } else { " " };
    log::info!("command {name}{space}{arguments}: exit status {status}");
    status
}

/// Runs `jog` with these arguments, whose first word [`knows`] knows.
pub fn run(args: &[String]) -> ExitCode {
    let (settings, words) = match split_settings(args) {
        Ok(parts) => parts,
        Err(text) => return misunderstood(text),
    };
    let wants_help = words.iter().any(|arg| arg == "--help" || arg == "-h");
    let Some((command, rest)) = called(&words) else {
        return no_command(&words, wants_help);
    };
    if wants_help {
        say!("Usage: jog {} {}\n\n{}", command.name, command.usage, command.help);
        return ExitCode::SUCCESS;
    }
    let request = match request(command, rest) {
        Ok(request) => request,
        Err(text) => return misunderstood(text),
    };
    let (_, config) = match understand(&settings) {
        Ok(both) => both,
        Err(error) => return misunderstood(error),
    };
    let folder = match import::folder(&request) {
        Ok(folder) => folder,
        Err(text) => return misunderstood(text),
    };
    let mut meter = Meter::new(false);
    let mut sink = |kind, text: &str| print(&mut meter, kind, text);
    let result = run_somewhere(&config, &request, folder, &mut sink);
    drop(meter);
    match result {
        Ok(status) => ExitCode::from(status),
        Err(text) => {
            complain!("jog: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Says which commands begin with the first of these words, which [`knows`] knows.
fn no_command(words: &[String], wants_help: bool) -> ExitCode {
    let first = words.first().map_or("", String::as_str);
    let group = || commands().filter(|command| command.name.split(' ').next() == Some(first));
    if wants_help {
        for Command { name, usage, help, .. } in group() {
            say!("{}\n      {help}", format!("Usage: jog {name} {usage}").trim_end());
        }
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = group().map(|command| command.name).collect();
    let (called, names) = (words.join(" "), names.join(", "));
    misunderstood(format_args!("{called}: no such command; there are: {names}"))
}

/// A closed pipe ends the command: there is nobody to print for.
fn print(meter: &mut Meter, kind: Kind, text: &str) -> io::Result<()> {
    if kind != Kind::Progress {
        meter.clear();
    }
    match kind {
        Kind::Output => writeln!(io::stdout(), "{text}"),
        Kind::Complaint => writeln!(io::stderr(), "{text}"),
        Kind::Progress => {
            progress::of_words(text).iter().for_each(|progress| meter.watch(progress));
            Ok(())
        }
    }
}

/// Of the settings only `--data-dir` may be given to a command: it says which server is meant.
pub fn split_settings(args: &[String]) -> Result<(Vec<String>, Vec<String>), String> {
    let (mut settings, mut rest) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--data-dir" {
            let value = args.next().ok_or("--data-dir needs a value")?;
            settings.extend([arg.clone(), value.clone()]);
        } else if arg.starts_with("--data-dir=") {
            settings.push(arg.clone());
        } else {
            rest.push(arg.clone());
        }
    }
    Ok((settings, rest))
}

/// The command whose name these words begin with, and the words behind it.
fn called(words: &[String]) -> Option<(&'static Command, &[String])> {
    commands().find_map(|command| {
        let names: Vec<&str> = command.name.split(' ').collect();
        let (start, rest) = words.split_at_checked(names.len())?;
        (start == names.as_slice()).then_some((command, rest))
    })
}

/// What the user typed behind the name of a command; files are read.
fn request(command: &Command, args: &[String]) -> Result<Request, String> {
    let Arguments { positional, options } =
        parse(command.name, command.usage, command.options, args)?;
    Ok(Request { command: command.name.to_owned(), arguments: positional, options })
}

/// The arguments of a command that takes these options; files are read.
pub fn parse(
    command: &str,
    usage: &str,
    known: &[Opt],
    args: &[String],
) -> Result<Arguments, String> {
    let (mut arguments, mut options) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "-" || !arg.starts_with('-') {
            arguments.push(arg.clone());
            continue;
        }
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let option = known.iter().find(|option| option.name() == name);
        let option = option.ok_or_else(|| {
            format!("{name}: no such option of jog {command}\nUsage: jog {command} {usage}")
        })?;
        let mut needed = || {
            let value = value.clone().or_else(|| args.next().cloned());
            value.ok_or_else(|| format!("{name} needs a value"))
        };
        let value = match option {
            Opt::Switch(_) if value.is_some() => return Err(format!("{name} takes no value")),
            Opt::Switch(_) => String::new(),
            Opt::Value(_) => needed()?,
            Opt::File(_) => {
                let path = needed()?;
                read_file(&path).map_err(|e| format!("{name} {path}: {e}"))?
            }
        };
        options.push((name.to_owned(), value));
    }
    Ok(Arguments::new(arguments, options))
}

fn read_file(path: &str) -> io::Result<String> {
    let source: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin()),
        path => Box::new(std::fs::File::open(path)?),
    };
    let mut text = String::new();
    source.take(MAX_ADMIN_FILE_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_ADMIN_FILE_BYTES {
        true => Err(io::Error::other(format!("it has more than {MAX_ADMIN_FILE_BYTES} bytes"))),
        false => Ok(text),
    }
}

/// Pause between two tries to reach a server that is starting or stopping.
const RETRY: Duration = Duration::from_millis(100);

/// Runs a command in the server of the data directory, or here if there is none.
fn run_somewhere(
    config: &Config,
    request: &Request,
    folder: Option<OwnedFd>,
    sink: &mut Sink<'_>,
) -> Result<u8, String> {
    let dir = config.data_dir.as_path();
    let shown = dir.display();
    check_owner(dir)?;
    let deadline = Instant::now() + ADMIN_PATIENCE;
    loop {
        let server = channel::reach(dir)
            .map_err(|e| format!("cannot reach the server of JOG_DATA_DIR={shown}: {e}"))?;
        if let Some(stream) = server {
            let asked = channel::ask(&stream, request, folder.as_ref().map(AsFd::as_fd), sink);
            return asked.map_err(|e| format!("{}: {e}", request.command));
        }
        match super::server::open_store(config) {
            Ok(store) => return run_here(config, store.into(), request, folder, sink),
            // A server that is not listening yet, or not any more.
            Err(OpenError::InUse) if Instant::now() < deadline => std::thread::sleep(RETRY),
            Err(error) => return Err(format!("cannot open JOG_DATA_DIR={shown}: {error}")),
        }
    }
}

fn run_here(
    config: &Config,
    store: SharedStore,
    request: &Request,
    folder: Option<OwnedFd>,
    sink: &mut Sink<'_>,
) -> Result<u8, String> {
    let users = Registry::load(&store, &config.access_key, &config.secret_key)
        .map_err(|e| format!("reading the users: {e}"))?;
    let context = Context { store: &store, users: &users, config, folder };
    let status = execute(&context, request, sink);
    let closed = store.close().and_then(|()| store.disconnect());
    closed.map_err(|e| format!("closing {}: {e}", config.data_dir.display()))?;
    Ok(status)
}

/// Refuses a directory without a store, which would be a new one by mistake, and one of another
/// user, since the files of the database that are made here would then not be the server's.
pub fn check_owner(dir: &Path) -> Result<(), String> {
    let shown = dir.display();
    let meta = std::fs::metadata(dir.join("metadata.db")).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            format!("JOG_DATA_DIR={shown} has no store; start `jog server` once, or set --data-dir")
        }
        _ => format!("JOG_DATA_DIR={shown}: {e}"),
    })?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() == me {
        return Ok(());
    }
    let owner = meta.uid();
    Err(format!("JOG_DATA_DIR={shown} belongs to the user with ID {owner}; run jog as that user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn names_are_unique_and_options_have_dashes() {
        let mut names: Vec<&str> = commands().map(|command| command.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for command in commands() {
            assert!(command.options.iter().all(|option| option.name().starts_with("--")));
            assert!(called(&words(command.name)).is_some_and(|(c, _)| c.name == command.name));
            assert!(knows(command.name.split(' ').next().unwrap()));
        }
        assert!(called(&words("bucket")).is_none() && !knows("server"));
    }

    const PROBE: Command = Command {
        name: "probe it",
        usage: "NAME",
        help: "",
        options: &[Opt::Value("--a"), Opt::Switch("--s"), Opt::File("--f")],
        run: |_, _, _| Ok(()),
    };

    #[test]
    fn options_are_told_from_arguments() {
        let request = |text: &str| super::request(&PROBE, &words(text));
        let got = request("x --a=1=2 --s y --a --s -").unwrap();
        assert_eq!(got.arguments, ["x", "y", "-"]);
        let arguments = Arguments::new(got.arguments, got.options);
        assert_eq!(arguments.all("--a").collect::<Vec<_>>(), ["1=2", "--s"]);
        assert_eq!((arguments.get("--a"), arguments.get("--s")), (Some("--s"), Some("")));
        assert_eq!(arguments.get("--f"), None);
        assert!(arguments.exactly::<3>().is_ok() && arguments.exactly::<2>().is_err());
        for bad in ["--b 1", "--a", "--s=1", "--f", "--f /nowhere/at/all", "-x"] {
            assert!(request(bad).is_err(), "{bad}");
        }
        assert!(request(&format!("--f {}", env!("CARGO_MANIFEST_PATH"))).is_ok());
    }

    #[test]
    fn the_data_directory_may_stand_anywhere() {
        let (settings, rest) =
            split_settings(&words("bucket --data-dir /d list --data-dir=/e")).unwrap();
        assert_eq!(settings, ["--data-dir", "/d", "--data-dir=/e"]);
        assert_eq!(rest, ["bucket", "list"]);
        assert!(split_settings(&words("bucket list --data-dir")).is_err());
    }
}
