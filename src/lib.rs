//! JOG, an S3-compatible object store for one host.
//!
//! The way of a request:
//!
//! ```text
//! socket
//!   -> http/      listener, accept loop, thread pool, limits; Request, Body, Response
//!   -> s3/table   method + path + query + headers -> one row: the operation
//!   -> auth/      who are you?  header, presigned, streaming, POST form, anonymous -> Identity
//!   -> access/    may you?      -> Authorized, which only access/ can make
//!   -> s3/*       one function an operation: parses its input, calls the store, shapes the answer
//!   -> store/     metadata (SQLite) and blobs (files); knows nothing of HTTP and S3
//!   -> Response   request id and access-log line are added once, in s3/mod.rs
//! ```
//!
//! Who may use whom, checked by `tests/tidy.rs`: `types <- store <- access <- s3`,
//! `http <- auth <- s3`; `cli` and `jobs` sit on top; `config` and `limits` may be read by all, and
//! only `config` and `cli` look at the environment.
//!
//! The invariants of the store stand in [`store`], those of the connection layer in [`http`]. Every
//! bound has its name in [`limits`] or, where it is of no interest elsewhere, at the top of the file
//! that keeps it. To add an operation: one row in [`s3::table`], one handler, one test.
//!
//! Every decision on access is made by [`access::Gate::verdict`], whose order stands in [`access`];
//! nothing is allowed elsewhere. Which action a request needs is in its row of [`s3::table`], what
//! its headers ask for beside that in `s3/permit.rs`. A change of access is a change of one of
//! these.
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
