//! JOG, an S3-compatible object store for one host.
#![forbid(unsafe_code)]

pub mod access;
pub mod auth;
pub mod cli;
pub mod config;
pub mod http;
pub mod jobs;
pub mod limits;
pub mod s3;
pub mod store;
pub mod types;
pub mod xml;
