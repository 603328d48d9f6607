//! Names of files for keys, and back. What is `/` in a key is `/` in the path, and most keys are
//! their own paths. Where that cannot be, `%` begins an escape:
//!
//! | in the path | in the key |
//! |---|---|
//! | `%25` | `%`, everywhere |
//! | `%00` | NUL |
//! | `%2E`, `%2E%2E` | `.` and `..` as a whole name |
//! | `%2F` | an empty name: `a//b` is `a/%2F/b`, `/a` is `%2F/a`, `a/` is `a/%2F` |
//! | `a%=` | the object `a` where there is a folder `a`, too |
//! | `a%+/b` | `ab`: a name of more than 253 bytes goes on below |
//!
//! No two keys share a path, and every other use of `%` is the path of no key.

/// Longest name that is not divided, in bytes: file systems take 255, and two are for `%=`.
const WHOLE_BYTES: usize = 253;
/// Longest piece of one that is, without the `%+` behind it.
const PIECE_BYTES: usize = 250;
/// An empty name.
const EMPTY: &str = "%2F";
/// Ends a name that goes on below.
const GOES_ON: &str = "%+";
/// Ends the name of an object that shares it with a folder.
const BESIDE_FOLDER: &str = "%=";

/// Names from the top of a bucket's folder to the file of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// The path of a key. `beside_folder`: there are other keys below it, so that its own name is
    /// that of a folder.
    pub fn of(key: &str, beside_folder: bool) -> Self {
        let mut names = Vec::new();
        for segment in key.split('/') {
            push_segment(&mut names, segment);
        }
        if let (Some(last), true) = (names.last_mut(), beside_folder) {
            last.push_str(BESIDE_FOLDER);
        }
        Self(names)
    }

    /// Its names; there is at least one.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The names of the folders, and that of the file.
    pub fn split(&self) -> (&[String], &str) {
        let (last, folders) = self.0.split_last().expect("splitting a key gives a name at least");
        (folders, last)
    }

    /// The path in one text.
    pub fn text(&self) -> String {
        self.0.join("/")
    }

    /// The key of a path; `None` if it is the path of none.
    pub fn key(names: &[&str]) -> Option<String> {
        let (last, folders) = names.split_last()?;
        let (last, beside_folder) = match last.strip_suffix(BESIDE_FOLDER) {
            Some(rest) => (rest, true),
            None => (*last, false),
        };
        let mut key = String::new();
        for name in folders {
            match name.strip_suffix(GOES_ON) {
                Some(piece) => key.push_str(&unescape(piece)?),
                None if *name == EMPTY => key.push('/'),
                None => {
                    key.push_str(&unescape(name)?);
                    key.push('/');
                }
            }
        }
        if last != EMPTY {
            key.push_str(&unescape(last)?);
        }
        // One way of writing each: else two files could be the same object.
        let same = |n: &[String]| n.iter().map(String::as_str).eq(names.iter().copied());
        same(Self::of(&key, beside_folder).names()).then_some(key)
    }
}

/// Adds the names of a part of a key that is between slashes.
fn push_segment(names: &mut Vec<String>, segment: &str) {
    match segment {
        "" => return names.push(EMPTY.to_owned()),
        "." => return names.push("%2E".to_owned()),
        ".." => return names.push("%2E%2E".to_owned()),
        _ => {}
    }
    let mut escaped = String::with_capacity(segment.len());
    for c in segment.chars() {
        push_escaped(&mut escaped, c);
    }
    if escaped.len() <= WHOLE_BYTES {
        return names.push(escaped);
    }
    let mut piece = String::new();
    for c in segment.chars() {
        let before = piece.len();
        push_escaped(&mut piece, c);
        if piece.len() > PIECE_BYTES {
            let rest = piece.split_off(before);
            piece.push_str(GOES_ON);
            names.push(std::mem::replace(&mut piece, rest));
        }
    }
    names.push(piece);
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '%' => out.push_str("%25"),
        '\0' => out.push_str("%00"),
        c => out.push(c),
    }
}

/// Undoes the escapes of one character each; whether they had to be is for the caller to see.
fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut parts = name.split('%');
    out.push_str(parts.next()?);
    for part in parts {
        let (escape, rest) = part.split_at_checked(2)?;
        out.push(match escape {
            "25" => '%',
            "00" => '\0',
            "2E" => '.',
            _ => return None,
        });
        out.push_str(rest);
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn path(key: &str, beside_folder: bool) -> String {
        KeyPath::of(key, beside_folder).text()
    }

    #[test]
    fn paths_of_keys() {
        for (key, expected) in [
            ("2026/cat picture.jpg", "2026/cat picture.jpg"),
            ("日本語/ü", "日本語/ü"),
            ("a\nb\u{1b}", "a\nb\u{1b}"),
            ("100%", "100%25"),
            ("a%2Fb", "a%252Fb"),
            ("a//b", "a/%2F/b"),
            ("/a", "%2F/a"),
            ("a/", "a/%2F"),
            ("/", "%2F/%2F"),
            ("../../etc/x", "%2E%2E/%2E%2E/etc/x"),
            (".", "%2E"),
            ("./..x/...", "%2E/..x/..."),
            ("a\0b", "a%00b"),
            ("%jog-export.jsonl", "%25jog-export.jsonl"),
            ("x%=", "x%25="),
            ("x%+", "x%25+"),
        ] {
            assert_eq!(path(key, false), expected, "{key:?}");
            assert_eq!(path(key, true), format!("{expected}%="), "{key:?}");
        }
        let long = "ü".repeat(300);
        let names = KeyPath::of(&format!("{long}/x"), false);
        assert_eq!(names.names().len(), 4);
        assert_eq!(names.names()[0], format!("{}%+", "ü".repeat(125)));
        assert_eq!(KeyPath::of(&"n".repeat(253), true).names(), [format!("{}%=", "n".repeat(253))]);
        assert_eq!(KeyPath::of(&"n".repeat(254), false).names().len(), 2);
    }

    /// Every text of up to `len` of these characters.
    fn texts(alphabet: &[char], len: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..len {
            let to = all.len();
            for at in from..to {
                all.extend(alphabet.iter().map(|c| format!("{}{c}", all[at])).collect::<Vec<_>>());
            }
            from = to;
        }
        all
    }

    #[test]
    fn no_two_keys_share_a_path_and_each_comes_back() {
        let mut seen: HashMap<String, (String, bool)> = HashMap::new();
        let awkward = ["x".repeat(254), "%".repeat(1024), "/".repeat(1024), "é\0%.".repeat(200)];
        let keys = texts(&['/', '.', '%', '2', '5', 'F', '+', '=', 'é', '\0'], 5);
        for key in keys.into_iter().chain(awkward).filter(|key| !key.is_empty()) {
            for beside in [false, true] {
                let names = KeyPath::of(&key, beside);
                for name in names.names() {
                    let fits = (1..=255).contains(&name.len()) && !matches!(&**name, "." | "..");
                    assert!(fits && !name.contains(['/', '\0']), "{key:?}: {name:?}");
                }
                let parts: Vec<&str> = names.names().iter().map(String::as_str).collect();
                assert_eq!(KeyPath::key(&parts).as_ref(), Some(&key));
                let other = seen.insert(names.text(), (key.clone(), beside));
                assert_eq!(other, None, "{key:?} {beside}");
            }
        }
    }

    #[test]
    fn what_no_key_gives_is_none() {
        let long = "n".repeat(254);
        for names in [
            &["%"][..],
            &["%2"],
            &["%2f"],
            &["%41"],
            &["a%2Eb"],
            &["%2F%2F"],
            &["%+", "a"],
            &["a%+", "b"],
            &["a%+"],
            &["%="],
            &["a%=", "b"],
            &[&long],
            &["%é"],
            &[""],
            &[],
        ] {
            assert_eq!(KeyPath::key(names), None, "{names:?}");
        }
    }
}
