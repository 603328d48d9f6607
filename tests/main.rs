//! The S3 interface from outside: the real binary as a process, requests signed by the tests
//! themselves, and what the server keeps on disk. Modules mirror `src/s3`; `support` is shared.

mod support;

mod s3 {
    mod access;
    mod acl;
    mod auth;
    mod backup;
    mod bucket;
    mod bucket_encryption;
    mod checksum;
    mod cli;
    mod commands;
    mod conditional;
    mod copy;
    mod cors;
    mod delete;
    mod durability;
    mod encryption;
    mod errors;
    mod export;
    mod form;
    mod import;
    mod lifecycle;
    mod list;
    mod lock;
    mod logging;
    mod multipart;
    mod notification;
    mod notify;
    mod object;
    mod operate;
    mod policy;
    mod rename;
    mod replicated;
    mod sigv2;
    mod strangers;
    mod tagging;
    mod throttle;
    mod users;
    mod versioning;
    mod website;
}
