//! Listings of objects and of versions against the model: from any place on, page by page.

use super::*;

/// A version as a listing of versions shows it.
#[derive(Clone, PartialEq, Debug)]
struct Shown {
    at: String,
    id: VersionId,
    marker: bool,
    latest: bool,
}

/// A shown entry; `Err`: a common prefix.
type Line<T> = Result<T, String>;

/// Puts what shares a prefix up to the delimiter together.
fn fold<T: Clone + PartialEq>(
    items: impl Iterator<Item = T>,
    at: impl Fn(&T) -> &str,
    (prefix, delimiter): (&str, Option<&str>),
) -> Vec<Line<T>> {
    let mut lines: Vec<Line<T>> = Vec::new();
    for item in items {
        let Some(rest) = at(&item).strip_prefix(prefix) else { continue };
        let cut = delimiter.and_then(|d| rest.find(d).map(|place| place + d.len()));
        let line = cut.map_or(Ok(item.clone()), |end| Err(format!("{prefix}{}", &rest[..end])));
        if line.is_ok() || lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines
}

/// Whether a key comes after the start of a listing, which may be a common prefix: that passes
/// everything under it.
fn is_after(at: &str, query: &ListQuery) -> bool {
    let Some(after) = query.after.as_deref() else { return true };
    let delimiter = query.delimiter.as_deref();
    let place = |text: &str| {
        let rest = text.strip_prefix(&query.prefix)?;
        delimiter.and_then(|d| rest.find(d).map(|at| query.prefix.len() + at + d.len()))
    };
    let passes_all = place(after) == Some(after.len()) && at.starts_with(after);
    at > after && !passes_all
}

impl Run {
    fn query(&mut self, shelf: usize) -> ListQuery {
        let prefix = (*self.rng.pick(&["", "", "", "a", "a/", "z", "é"])).to_owned();
        let delimiter = self.rng.chance(40).then(|| (*self.rng.pick(&["/", "b"])).to_owned());
        let after = match self.rng.below(4) {
            0 => Some((*self.rng.pick(&KEYS)).to_owned()),
            1 => Some((*self.rng.pick(&["", "a/", "aa", "z"])).to_owned()),
            _ => None,
        };
        let max = 1 + self.rng.below(6);
        ListQuery { bucket: self.shelves[shelf].bucket.id, prefix, delimiter, after, max }
    }

    pub fn list(&mut self, shelf: usize) {
        let mut query = self.query(shelf);
        let there = &self.shelves[shelf];
        let objects = there.keys.keys().filter(|at| there.object(at).is_some());
        let due = objects.filter(|at| is_after(at, &query)).map(String::as_str);
        let context = format!("{query:?}");
        let expected = fold(due, |at| at, (&query.prefix, query.delimiter.as_deref()));
        let mut found = Vec::new();
        loop {
            let page = self.store().list(&query).unwrap();
            for entry in &page.entries {
                let (line, after) = match entry {
                    Entry::Item(item) => {
                        (Ok(item.key.as_str().to_owned()), item.key.as_str().to_owned())
                    }
                    Entry::Prefix(prefix) => (Err(prefix.clone()), prefix.clone()),
                };
                found.push(line);
                query.after = Some(after);
            }
            if !page.truncated {
                break;
            }
        }
        let found: Vec<_> = found
            .iter()
            .map(|line| line.as_ref().map(String::as_str).map_err(Clone::clone))
            .collect();
        assert_eq!(found, expected, "{context}");
    }

    /// A version of the key that a listing starts at, and from which of its versions on there is
    /// something to be listed.
    fn place(&mut self, shelf: usize, at: &str) -> (VersionId, usize) {
        let kept = self.shelves[shelf].versions(at);
        let known: Vec<VersionId> = kept.iter().map(|kept| kept.id).collect();
        match self.rng.below(6) {
            // All have greater numbers, or smaller ones.
            0 => (VersionId::Number(0), known.len()),
            1 => (VersionId::Number(i64::MAX), 0),
            // Without a null version it is not known where it was: nothing is left out.
            2 => (
                VersionId::Null,
                known.iter().position(|i| *i == VersionId::Null).map_or(0, |n| n + 1),
            ),
            _ if known.is_empty() => (VersionId::Null, 0),
            _ => {
                let place = self.rng.below(known.len());
                (known[place], place + 1)
            }
        }
    }

    pub fn list_versions(&mut self, shelf: usize) {
        let mut query = self.query(shelf);
        let from = query.after.clone().filter(|at| !at.is_empty());
        let within = from.filter(|_| self.rng.chance(60)).map(|at| {
            let (id, place) = self.place(shelf, &at);
            (at, id, place)
        });
        let context = format!("{query:?}, {within:?}");
        let mut due = Vec::new();
        for (at, kept) in &self.shelves[shelf].keys {
            let passed = match &within {
                Some((start, _, place)) if start == at => *place,
                Some((start, ..)) => {
                    if at > start {
                        0
                    } else {
                        usize::MAX
                    }
                }
                None => {
                    if is_after(at, &query) {
                        0
                    } else {
                        usize::MAX
                    }
                }
            };
            for (place, kept) in kept.iter().enumerate().skip(passed) {
                let (id, marker) = (kept.id, kept.bytes.is_none());
                due.push(Shown { at: at.clone(), id, marker, latest: place == 0 });
            }
        }
        let folding = (query.prefix.as_str(), query.delimiter.as_deref());
        let expected = fold(due.into_iter(), |shown| &shown.at, folding);
        let mut after_version = within.map(|(_, id, _)| id);
        let mut found = Vec::new();
        loop {
            let page = self.store().list_versions(&query, after_version).unwrap();
            assert!(page.entries.len() <= query.max);
            for entry in page.entries {
                found.push(match entry {
                    Entry::Item(version) => {
                        let at = version.summary.key.as_str().to_owned();
                        (query.after, after_version) = (Some(at.clone()), Some(version.version_id));
                        let (id, marker, latest) =
                            (version.version_id, version.marker, version.latest);
                        Ok(Shown { at, id, marker, latest })
                    }
                    Entry::Prefix(prefix) => {
                        (query.after, after_version) = (Some(prefix.clone()), None);
                        Err(prefix)
                    }
                });
            }
            if !page.truncated {
                break;
            }
        }
        assert_eq!(found, expected, "{context}");
    }
}
