//! Objects as plain files, for `jog export` and `jog import`. A bucket becomes a folder of its name,
//! in which each object has its own key as its path:
//!
//! ```text
//! DIR/photos/2026/cat.jpg           the object 2026/cat.jpg of the bucket photos
//! DIR/photos/%jog-export.jsonl      the folder is an export; with --metadata, of each object a line
//! DIR/photos/%jog-incoming/         files that are being written
//! ```
//!
//! A key that is no path, or is not the only one at its path, is changed as [`names`] has it, so
//! that it can be told from its path again. Nothing is ever written through a symbolic link, and
//! nothing outside of the folder.

pub mod kinds;
pub mod names;
pub mod notes;
pub mod tree;
pub mod walk;
