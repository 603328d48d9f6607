//! The program: its command line decides what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    jog::cli::run(&args)
}
