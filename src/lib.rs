//! JOG, an S3-compatible object store for one host.
#![forbid(unsafe_code)]

pub mod auth;
pub mod http;
pub mod limits;
pub mod types;
