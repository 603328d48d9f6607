//! Patterns of policies: text in which `*` stands for any characters and `?` for one, and in which
//! `${aws:username}` and its like stand for what the request has.

use super::glob::glob;
use super::key::Key;

/// A pattern, taken apart once.
#[derive(Clone, PartialEq, Debug)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

/// A piece of a pattern.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Piece {
    /// This character.
    One(char),
    /// `*`: any characters.
    Any,
    /// `?`: any one character.
    Single,
    /// `${…}`
    Variable {
        /// What stands for it.
        key: Key,
        /// What stands for it if the request has nothing.
        default: Option<String>,
    },
}

/// How the wildcards of a text are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// `*` and `?` are wildcards.
    pub wildcards: bool,
    /// `${…}` is a variable: in policies of version 2012-10-17.
    pub variables: bool,
}

impl Pattern {
    /// Takes a text apart. `Err`: the variable that is not one.
    pub fn parse(text: &str, reading: Reading) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if reading.variables && rest.starts_with("${") {
                let end = rest.find('}').ok_or_else(|| rest.to_owned())?;
                pieces.push(variable(&rest[2..end])?);
                rest = &rest[end + 1..];
                continue;
            }
            pieces.push(match c {
                // Stars in a row say no more than one.
                '*' if reading.wildcards && pieces.last() == Some(&Piece::Any) => {
                    rest = &rest[1..];
                    continue;
                }
                '*' if reading.wildcards => Piece::Any,
                '?' if reading.wildcards => Piece::Single,
                c => Piece::One(c),
            });
            rest = &rest[c.len_utf8()..];
        }
        Ok(Self { pieces })
    }

    /// Whether it is one text and no other.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::One(_)))
    }

    /// Whether a text matches. `fold`: without regard to case. A variable without a value, and
    /// without a default, matches nothing.
    pub fn matches(&self, text: &str, fold: bool, value: &Values<'_>) -> bool {
        self.matches_chars(&text.chars().collect::<Vec<_>>(), fold, value)
    }

    /// The same for a text that many patterns are compared with.
    pub fn matches_chars(&self, text: &[char], fold: bool, value: &Values<'_>) -> bool {
        self.filled(value).is_some_and(|pieces| glob(&pieces, text, fold))
    }

    /// Whether what stands before the first `/` matches the name of a bucket; a variable may stand
    /// for anything.
    pub fn may_be_in(&self, bucket: &str) -> bool {
        let slash = self.pieces.iter().position(|piece| *piece == Piece::One('/'));
        let mut head = self.pieces[..slash.unwrap_or(self.pieces.len())].to_vec();
        for piece in &mut head {
            if matches!(piece, Piece::Variable { .. }) {
                *piece = Piece::Any;
            }
        }
        let name: Vec<char> = bucket.chars().collect();
        let inside: Vec<char> = format!("{bucket}/").chars().collect();
        // A star before any slash may swallow the slash as well.
        glob(&head, &name, false) || (slash.is_none() && glob(&head, &inside, false))
    }

    /// Its variables replaced by what they stand for, which is taken as it is.
    fn filled(&self, value: &Values<'_>) -> Option<std::borrow::Cow<'_, [Piece]>> {
        if !self.pieces.iter().any(|piece| matches!(piece, Piece::Variable { .. })) {
            return Some(self.pieces.as_slice().into());
        }
        let mut filled = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            match piece {
                Piece::Variable { key, default } => {
                    let text = value(key).or_else(|| default.clone())?;
                    filled.extend(text.chars().map(Piece::One));
                }
                other => filled.push(other.clone()),
            }
        }
        Some(filled.into())
    }
}

/// What a variable stands for in a request.
pub type Values<'a> = dyn Fn(&Key) -> Option<String> + 'a;

/// What stands between `${` and `}`.
fn variable(text: &str) -> Result<Piece, String> {
    let (name, default) = match text.split_once(',') {
        None => (text, None),
        Some((name, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|d| d.strip_suffix('\''));
            (name, Some(quoted.ok_or_else(|| text.to_owned())?.to_owned()))
        }
    };
    match name.trim() {
        "*" => Ok(Piece::One('*')),
        "?" => Ok(Piece::One('?')),
        "$" => Ok(Piece::One('$')),
        name => match Key::parse(name) {
            Some(key) if key.is_single() => Ok(Piece::Variable { key, default }),
            _ => Err(name.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WILD: Reading = Reading { wildcards: true, variables: true };

    fn matches(pattern: &str, text: &str) -> bool {
        let name = |key: &Key| (*key == Key::Username).then(|| "an*n".to_owned());
        Pattern::parse(pattern, WILD).unwrap().matches(text, false, &name)
    }

    #[test]
    fn wildcards() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("a*", "a/b/c"),
            ("a*c", "abbc"),
            ("*a*b*", "xxaxxbxx"),
            ("?", "ü"),
            ("a***b", "ab"),
            ("${*}${?}${$}", "*?$"),
            ("h/${aws:username}/*", "h/an*n/x"),
            ("${aws:userid, 'none'}", "none"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", "A"),
            ("?", ""),
            ("a*c", "abcd"),
            ("*ab", "aab?"),
            ("${*}", "x"),
            ("h/${aws:username}/*", "h/anxn/x"),
            ("${aws:userid}", ""),
            ("${aws:userid}*", "x"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        for bad in ["${", "${aws:nothing}", "${aws:username, x}", "${}"] {
            assert!(Pattern::parse(bad, WILD).is_err(), "{bad}");
        }
        let plain = Reading { wildcards: false, variables: false };
        let literal = Pattern::parse("*${aws:username}", plain).unwrap();
        assert!(literal.matches("*${aws:username}", false, &|_| None));
        assert!(literal.matches("*${AWS:username}", true, &|_| None));
        assert!(!literal.matches("x", false, &|_| None));
    }

    /// Against the definition, on all short texts of two letters.
    #[test]
    fn as_the_definition_says() {
        fn slow(p: &[char], t: &[char]) -> bool {
            match (p.first(), t.first()) {
                (None, None) => true,
                (Some('*'), _) => slow(&p[1..], t) || (!t.is_empty() && slow(p, &t[1..])),
                (Some('?'), Some(_)) => slow(&p[1..], &t[1..]),
                (Some(a), Some(b)) if a == b => slow(&p[1..], &t[1..]),
                _ => false,
            }
        }
        let words = |letters: &[char], length: usize| {
            let mut all = vec![Vec::new()];
            for at in 0..length {
                let longer: Vec<Vec<char>> = all
                    .iter()
                    .filter(|w: &&Vec<char>| w.len() == at)
                    .flat_map(|w| letters.iter().map(|c| [w.as_slice(), &[*c]].concat()))
                    .collect();
                all.extend(longer);
            }
            all
        };
        for pattern in words(&['a', 'b', '*', '?'], 5) {
            let text: String = pattern.iter().collect();
            let parsed = Pattern::parse(&text, WILD).unwrap();
            for word in words(&['a', 'b'], 5) {
                let name: String = word.iter().collect();
                let found = parsed.matches(&name, false, &|_| None);
                assert_eq!(found, slow(&pattern, &word), "{text} {name}");
            }
        }
    }

    #[test]
    fn the_worst_pattern_takes_no_time() {
        let pattern = "a*".repeat(5000) + "b";
        let text = "a".repeat(1024);
        let start = std::time::Instant::now();
        assert!(!matches(&pattern, &text));
        assert!(start.elapsed() < std::time::Duration::from_secs(2));
    }

    #[test]
    fn buckets_of_resources() {
        let inside = |pattern: &str| Pattern::parse(pattern, WILD).unwrap().may_be_in("photos");
        for yes in ["photos", "photos/*", "*", "ph*", "phot?s/x", "*/*", "${aws:username}/x"] {
            assert!(inside(yes), "{yes}");
        }
        for no in ["photo", "photo/*", "other/photos", "phot?", ""] {
            assert!(!inside(no), "{no}");
        }
    }
}
