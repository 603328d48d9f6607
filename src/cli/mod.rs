//! The command line: one file a command.

/// Prints a line, as `println!` does, for whoever runs a command that has nothing left to do. Ends
/// the process if that cannot be: without a word where nobody reads on, as in `jog help | head`,
/// else with the reason.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::print(format_args!($($text)*)) };
}

/// Prints a line on stderr, if there is one.
macro_rules! complain {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

mod access;
mod admin;
mod backup;
mod bucket;
mod channel;
mod export;
mod files;
mod gauges;
mod grant;
mod healthcheck;
mod import;
mod key;
mod lifecycle;
mod local;
mod logger;
mod notify;
mod progress;
mod restore;
mod server;
mod stats;
mod user;
mod verify;

use crate::config::{self, Config, ConfigError, LogFormat, SETTINGS, Values, describe};
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit status of a command line that is not understood.
const USAGE: u8 = 2;

/// See [`say!`].
fn print(text: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{text}") {
        if error.kind() != io::ErrorKind::BrokenPipe {
            complain!("jog: cannot print: {error}");
        }
        std::process::exit(1);
    }
}

/// Complains about a command line or a setting; gives the exit status.
fn misunderstood(text: impl Display) -> ExitCode {
    complain!("jog: {text}");
    ExitCode::from(USAGE)
}

/// Runs the command line without the program's name.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.map(OsString::into_string).collect::<Result<Vec<String>, OsString>>() {
        Ok(args) => run_words(&args),
        Err(arg) => misunderstood(format_args!("{}: expected UTF-8", arg.display())),
    }
}

fn run_words(args: &[String]) -> ExitCode {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => {
            complain!("{}", help().trim_end());
            return ExitCode::from(USAGE);
        }
    };
    match command {
        // `jog help backup` is `jog backup --help`.
        "help" | "--help" | "-h" if !rest.is_empty() && rest[0] != "help" => {
            run_words(&[rest, &["--help".to_owned()]].concat())
        }
        "help" | "--help" | "-h" => {
            say!("{}", help().trim_end());
            ExitCode::SUCCESS
        }
        "version" | "--version" | "-V" => {
            say!("jog {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        "server" => with_config(rest, |_, config| server::run(config)),
        "healthcheck" => with_config(rest, |_, config| healthcheck::run(config)),
        "config" => with_config(rest, |values, _| {
            for (name, value, source) in describe(values) {
                let value = if value.is_empty() { "-" } else { &value };
                say!("{name:<23} {value:<24} {source}");
            }
            Ok(())
        }),
        other if local::find(other).is_some() => local::run(args),
        other if admin::knows(other) => admin::run(args),
        other => misunderstood(format_args!("{other}: no such command; `jog help` lists them")),
    }
}

fn with_config(
    args: &[String],
    run: impl FnOnce(&Values, &Config) -> Result<(), String>,
) -> ExitCode {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        say!("{}", help().trim_end());
        return ExitCode::SUCCESS;
    }
    let (values, config) = match understand(args) {
        Ok(both) => both,
        Err(error) => return misunderstood(error),
    };
    match run(&values, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            match config.log_format {
                // The log has begun, and a program reads it.
                LogFormat::Json if log::max_level() > log::LevelFilter::Off => {
                    log::error!("{text}");
                }
                _ => complain!("jog: {text}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// The settings of the arguments and the environment.
fn understand(args: &[String]) -> Result<(Values, Config), ConfigError> {
    let environment = config::environment(std::env::vars_os())?;
    let values = Values::collect(args, environment.iter().cloned())?;
    let config = Config::from_values(&values)?;
    for name in config::unknown(environment.into_iter()) {
        complain!("jog: {name} is set but is no setting of jog; `jog help` lists them");
    }
    Ok((values, config))
}

fn help() -> String {
    let mut text = String::from(
        "JOG, an S3-compatible object store for one host\n\n\
         Usage: jog COMMAND [OPTIONS]\n\n\
         Commands:\n  \
           server       serve S3\n  \
           config       print the effective settings, secrets masked, and where each came from\n  \
           healthcheck  ask the running server whether it is ready; exit status 0 if it is\n  \
           version      print the version\n  \
           help         print this text\n\n",
    );
    text.push_str(
        "Commands on the store; they take --data-dir and run inside the server, if one runs:\n",
    );
    for command in admin::commands() {
        let usage = format!("  {} {}", command.name, command.usage);
        text.push_str(&format!("{}\n      {}\n", usage.trim_end(), command.help));
    }
    text.push_str(
        "\nCommands beside the server, which may run meanwhile; they take --data-dir, and end with \
         status 3\nif something is lost:\n",
    );
    for command in local::COMMANDS {
        text.push_str(&format!("  {} {}\n      {}\n", command.name, command.usage, command.help));
    }
    text.push_str(
        "\n\
         Options of server, config and healthcheck, each also a variable of the environment (the\n\
         option wins):\n",
    );
    for setting in SETTINGS {
        let default = if setting.default.is_empty() || setting.env.contains("_KEY") {
            String::new()
        } else {
            format!(" (default: {})", setting.default)
        };
        let flag = config::flag(setting.env);
        text.push_str(&format!("  {flag:<21} {:<23} {}{default}\n", setting.env, setting.help));
    }
    text.push_str(&format!(
        "\n\
         Variables of the environment alone:\n  \
           {:<45} a target of event notifications, called NAME: http://HOST:PORT/PATH\n  \
           {:<45} sent to it as bearer token\n",
        "JOG_WEBHOOK_NAME_URL", "JOG_WEBHOOK_NAME_TOKEN"
    ));
    text
}
