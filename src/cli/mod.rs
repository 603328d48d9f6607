//! The command line: one file a command.

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
use std::process::ExitCode;

/// Exit status of a command line that is not understood.
const USAGE: u8 = 2;

/// Runs the command line without the program's name.
pub fn run(args: &[String]) -> ExitCode {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => {
            eprint!("{}", help());
            return ExitCode::from(USAGE);
        }
    };
    match command {
        "help" | "--help" | "-h" => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        "version" | "--version" | "-V" => {
            println!("jog {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        "server" => with_config(rest, |_, config| server::run(config)),
        "healthcheck" => with_config(rest, |_, config| healthcheck::run(config)),
        "config" => with_config(rest, |values, _| {
            for (name, value, source) in describe(values) {
                println!("{name:<22} {:<24} {source}", if value.is_empty() { "-" } else { &value });
            }
            Ok(())
        }),
        other if local::find(other).is_some() => local::run(args),
        other if admin::knows(other) => admin::run(args),
        other => {
            eprintln!("jog: {other}: no such command; `jog help` lists them");
            ExitCode::from(USAGE)
        }
    }
}

fn with_config(
    args: &[String],
    run: impl FnOnce(&Values, &Config) -> Result<(), String>,
) -> ExitCode {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let (values, config) = match understand(args) {
        Ok(both) => both,
        Err(error) => {
            eprintln!("jog: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match run(&values, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            match config.log_format {
                // The log has begun, and a program reads it.
                LogFormat::Json if log::max_level() > log::LevelFilter::Off => {
                    log::error!("{text}");
                }
                _ => eprintln!("jog: {text}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// The settings of the arguments and the environment.
fn understand(args: &[String]) -> Result<(Values, Config), ConfigError> {
    let values = Values::collect(args, std::env::vars())?;
    let config = Config::from_values(&values)?;
    for name in config::unknown(std::env::vars()) {
        eprintln!("jog: {name} is set but is no setting of jog; `jog help` lists them");
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
        text.push_str(&format!("  {} {}\n      {}\n", command.name, command.usage, command.help));
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
        text.push_str(&format!("  {flag:<20} {:<21} {}{default}\n", setting.env, setting.help));
    }
    text
}
