//! `%jog-export.jsonl`, at the top of an exported bucket: its first line says that names are as in
//! [`super::names`]; with `--metadata` each object has a line: key, size, time, ETag, metadata and
//! tags.

use crate::limits::MAX_NOTE_BYTES;
use crate::store::Object;
use crate::types::time;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

/// The name of the file; no key has it.
pub const NAME: &str = "%jog-export.jsonl";
/// What names of ours begin with that are no objects.
pub const OURS: &str = "%jog-";
/// The form of the file; a later one gets another number.
const VERSION: u64 = 1;

/// The first line.
pub fn head(bucket: &str) -> String {
    format!("{}\n", json!({"jog_export": VERSION, "bucket": bucket}))
}

/// The line of an object.
pub fn line(object: &Object) -> String {
    let tags: Vec<&(String, String)> = object.extra.tags.pairs().iter().collect();
    let value = json!({
        "key": object.key.as_str(),
        "size": object.size,
        "modified": time::iso(object.modified_ms),
        "etag": object.etag.as_str(),
        "metadata": object.meta.0,
        "tags": tags,
    });
    format!("{value}\n")
}

/// Copies the lines of keys that do not begin so; what is no line of an object is left out.
pub fn copy_others(from: File, prefix: &str, to: &mut dyn Write) -> io::Result<()> {
    for line in lines(from, 0) {
        let (_, line) = line?;
        if key(&line).is_some_and(|key| !key.starts_with(prefix)) {
            to.write_all(line.as_bytes())?;
            to.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn key(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("key")?.as_str().map(str::to_owned)
}

/// The lines from a place on, each with its own place.
fn lines(file: File, from: u64) -> impl Iterator<Item = io::Result<(u64, String)>> {
    let mut reader = BufReader::new(file);
    let mut at = from;
    let mut failed = reader.seek(SeekFrom::Start(from)).err();
    std::iter::from_fn(move || {
        if let Some(error) = failed.take() {
            return Some(Err(error));
        }
        let mut line = Vec::new();
        let n = match reader.by_ref().take(MAX_NOTE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(n) => n as u64,
            Err(error) => return Some(Err(error)),
        };
        if n == MAX_NOTE_BYTES {
            return Some(Err(io::Error::other("a line is too long")));
        }
        let place = at;
        at += n;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Some(String::from_utf8(line).map(|line| (place, line)).map_err(io::Error::other))
    })
}

/// What an export says of an object: names and values of its metadata, and its tags.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Note {
    /// Names of header fields and their values.
    pub metadata: Vec<(String, String)>,
    /// Keys and values.
    pub tags: Vec<(String, String)>,
}

/// The notes of an export. Only the places of its lines are in memory.
pub struct Notes {
    file: File,
    hasher: RandomState,
    places: HashMap<u64, u64>,
}

impl Notes {
    /// Reads the file of an export; an error if it is none, or has a line that makes no sense.
    pub fn open(file: File) -> io::Result<Self> {
        let (hasher, mut places) = (RandomState::new(), HashMap::new());
        let mut known = false;
        for (number, line) in lines(file.try_clone()?, 0).enumerate() {
            let wrong = |what: &str| io::Error::other(format!("{what} in line {}", number + 1));
            let (place, line) = line?;
            if number == 0 {
                let value: Value = serde_json::from_str(&line).unwrap_or_default();
                if value.get("jog_export").and_then(Value::as_u64) != Some(VERSION) {
                    return Err(wrong("an unknown form"));
                }
                known = true;
                continue;
            }
            let key = key(&line).ok_or_else(|| wrong("no object"))?;
            places.insert(hasher.hash_one(&key), place);
        }
        match known {
            true => Ok(Self { file, hasher, places }),
            false => Err(io::Error::other("it is empty")),
        }
    }

    /// What it says of an object.
    pub fn of(&self, key: &str) -> io::Result<Option<Note>> {
        let Some(place) = self.places.get(&self.hasher.hash_one(key)) else { return Ok(None) };
        let line = lines(self.file.try_clone()?, *place).next().transpose()?;
        let value: Value =
            line.and_then(|(_, l)| serde_json::from_str(&l).ok()).unwrap_or_default();
        if value.get("key").and_then(Value::as_str) != Some(key) {
            return Ok(None);
        }
        let pairs = |name: &str| -> Option<Vec<(String, String)>> {
            serde_json::from_value(value.get(name)?.clone()).ok()
        };
        match (pairs("metadata"), pairs("tags")) {
            (Some(metadata), Some(tags)) => Ok(Some(Note { metadata, tags })),
            _ => Err(io::Error::other("its metadata or its tags make no sense")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        let name = format!("jog-notes-{}-{:p}", std::process::id(), text);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    #[test]
    fn notes_are_found_by_their_keys() {
        let text = head("b")
            + "{\"key\":\"a\\n\",\"metadata\":[[\"content-type\",\"x/y\"]],\"tags\":[[\"k\",\"v\"]]}\n\
               {\"key\":\"b\",\"metadata\":[],\"tags\":[]}\n{\"key\":\"c\",\"metadata\":7}\n";
        let notes = Notes::open(file(&text)).unwrap();
        let pair = |n: &str, v: &str| vec![(n.to_owned(), v.to_owned())];
        let expected = Note { metadata: pair("content-type", "x/y"), tags: pair("k", "v") };
        assert_eq!(notes.of("a\n").unwrap(), Some(expected));
        assert_eq!(notes.of("b").unwrap(), Some(Note::default()));
        assert!(notes.of("c").is_err());
        assert_eq!(notes.of("d").unwrap(), None);
        let mut kept = Vec::new();
        copy_others(file(&text), "a", &mut kept).unwrap();
        assert_eq!(String::from_utf8(kept).unwrap().lines().count(), 2);
    }

    #[test]
    fn what_is_no_export() {
        for text in ["", "{}\n", "{\"jog_export\":2}\n", "x", "{\"jog_export\":1}\n{}\n"] {
            assert!(Notes::open(file(text)).is_err(), "{text:?}");
        }
        let long = head("b") + &"x".repeat(MAX_NOTE_BYTES as usize + 1);
        assert!(Notes::open(file(&long)).is_err());
    }
}
