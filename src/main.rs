//! JOG, see the library crate.
fn main() {}
