//! The program: its command line decides what it does.

use std::process::ExitCode;

/// See Cargo.toml for the reason.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    jog::cli::run(&args)
}
