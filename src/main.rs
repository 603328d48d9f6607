//! The program: its command line decides what it does.

use std::process::ExitCode;

/// See Cargo.toml for the reason.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    jog::cli::run(std::env::args_os().skip(1))
}
