//! Commands that work on files beside the server, in a process of their own: so they may write
//! where the server may not, can be slowed down or ended by themselves, and take no memory from it.

use super::admin::{Arguments, Failure, Opt, parse, split_settings};
use super::{backup, export, misunderstood, restore, understand, verify};
use crate::config::{Config, size};
use crate::store::StoreError;
use crate::store::backup::BackupError;
use std::process::ExitCode;

/// A command.
pub struct Local {
    /// How it is called.
    pub name: &'static str,
    /// What follows the name.
    pub usage: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// The options that it takes.
    pub options: &'static [Opt],
    /// Does it; gives the exit status.
    pub run: fn(&Config, &Arguments) -> Result<u8, Failure>,
}

/// Exit status of a command that has ended and has found that something is lost.
pub const LOST: u8 = 3;

/// All of them, in the order of `jog help`.
pub const COMMANDS: &[Local] =
    &[backup::COMMAND, restore::COMMAND, verify::COMMAND, export::COMMAND];

/// The command of this name.
pub fn find(name: &str) -> Option<&'static Local> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Why nothing more could be written to `dest`.
pub fn failed_at(dest: &str, error: BackupError) -> Failure {
    match error {
        BackupError::Store(StoreError::Full) => Failure::Failed(format!(
            "{dest}: the disk is full; once there is room the same command goes on"
        )),
        other => other.into(),
    }
}

/// The value of an option for bytes a second, such as `50MiB`.
pub fn rate(arguments: &Arguments) -> Result<Option<u64>, Failure> {
    let Some(text) = arguments.get("--rate") else { return Ok(None) };
    let bytes = size(text).filter(|bytes| *bytes > 0);
    let wrong = || Failure::Usage(format!("--rate={text}: expected a size a second such as 50MiB"));
    bytes.map(Some).ok_or_else(wrong)
}

/// Runs `jog` with these arguments, whose first word [`find`] knows.
pub fn run(args: &[String]) -> ExitCode {
    let (settings, words) = match split_settings(args) {
        Ok(parts) => parts,
        Err(text) => return misunderstood(text),
    };
    let Some((command, rest)) =
        words.split_first().and_then(|(first, rest)| Some((find(first)?, rest)))
    else {
        return misunderstood("the name of a command comes first; `jog help` lists them");
    };
    if rest.iter().any(|arg| arg == "--help" || arg == "-h") {
        say!("Usage: jog {} {}\n\n{}", command.name, command.usage, command.help);
        return ExitCode::SUCCESS;
    }
    let arguments = match parse(command.name, command.usage, command.options, rest) {
        Ok(arguments) => arguments,
        Err(text) => return misunderstood(text),
    };
    let (_, config) = match understand(&settings) {
        Ok(both) => both,
        Err(error) => return misunderstood(error),
    };
    match (command.run)(&config, &arguments) {
        Ok(status) => ExitCode::from(status),
        Err(Failure::Usage(text)) => {
            misunderstood(format_args!("{text}\nUsage: jog {} {}", command.name, command.usage))
        }
        Err(Failure::Failed(text)) => {
            complain!("jog: {text}");
            ExitCode::FAILURE
        }
        Err(Failure::LeftOut(text)) => {
            complain!("jog: {text}");
            ExitCode::from(LOST)
        }
        Err(Failure::Gone) => ExitCode::FAILURE,
    }
}
