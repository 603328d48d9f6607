//! Lifecycle rules and what they say of an object, a version or an upload. Pure: no clock, no I/O;
//! the XML of these rules is in `s3`, what carries them out is in `jobs`.
//!
//! A rule's time is counted as AWS does it: so many days after an event, rounded up to the next
//! midnight UTC ("Lifecycle configuration elements", User Guide). The length of a day is a
//! parameter, so that tests need not wait for one; a shortened day is rounded to its own length.

use serde_json::{Map, Value, json};

/// Milliseconds of a day, unless a test shortens it.
pub const DAY_MS: i64 = 86_400_000;

/// The rules of a bucket.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Lifecycle {
    /// In the order in which they were given.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Unique in its bucket.
    pub id: String,
    /// A disabled rule is kept and does nothing.
    pub enabled: bool,
    /// What it is about.
    pub filter: Filter,
    /// When current versions and lone delete markers go.
    pub expiration: Option<Expiration>,
    /// When noncurrent versions go.
    pub noncurrent: Option<Noncurrent>,
    /// Days after which an unfinished upload is aborted; at least 1.
    pub abort_days: Option<u32>,
}

/// How a filter was written, so that it is given back in the same form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `Prefix` in the rule itself, the form of before 2016.
    Prefix,
    /// `Filter` with nothing or one condition in it.
    Filter,
    /// `Filter` with an `And`.
    And,
}

/// What a rule is about: what satisfies every condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// How it was written.
    pub form: Form,
    /// The key starts with this.
    pub prefix: Option<String>,
    /// All of these tags, key and value.
    pub tags: Vec<(String, String)>,
    /// More bytes than this.
    pub larger_than: Option<u64>,
    /// Fewer bytes than this.
    pub smaller_than: Option<u64>,
}

/// When current versions go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiration {
    /// So many days after they were written; at least 1.
    Days(u32),
    /// From this moment on, in milliseconds since 1970: a midnight.
    Date(i64),
    /// `ExpiredObjectDeleteMarker`: a delete marker goes when it is all that is left of its key.
    /// `false` is kept and does nothing.
    Marker(bool),
}

/// When noncurrent versions go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noncurrent {
    /// Days after which a version goes, counted from when it became noncurrent; at least 1.
    pub days: u32,
    /// So many of the newest noncurrent versions stay, however old they are.
    pub keep: Option<u32>,
}

/// What is known of an object or a version when it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// Its tags.
    pub tags: &'a [(String, String)],
}

/// When a rule takes something away, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due<'a> {
    /// In milliseconds since 1970.
    pub at_ms: i64,
    /// The rule's ID.
    pub rule: &'a str,
}

/// When so many days after a moment are over: rounded up to a whole day. All in milliseconds.
pub fn days_after(from_ms: i64, days: u32, day_ms: i64) -> i64 {
    round_up(from_ms.saturating_add(i64::from(days).saturating_mul(day_ms)), day_ms)
}

/// The first beginning of a day that is not before a moment. All in milliseconds.
pub fn round_up(ms: i64, day_ms: i64) -> i64 {
    let day_ms = day_ms.max(1);
    let rest = ms.rem_euclid(day_ms);
    if rest == 0 { ms } else { ms.saturating_add(day_ms - rest) }
}

impl Filter {
    /// A filter that everything satisfies.
    pub fn all() -> Self {
        Self {
            form: Form::Filter,
            prefix: None,
            tags: Vec::new(),
            larger_than: None,
            smaller_than: None,
        }
    }

    /// What the keys that it is about start with.
    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }

    /// Whether it has conditions on the size.
    pub fn has_size(&self) -> bool {
        self.larger_than.is_some() || self.smaller_than.is_some()
    }

    fn matches(&self, subject: &Subject<'_>) -> bool {
        subject.key.starts_with(self.prefix())
            && self.larger_than.is_none_or(|bytes| subject.size > bytes)
            && self.smaller_than.is_none_or(|bytes| subject.size < bytes)
            && self.tags.iter().all(|tag| subject.tags.contains(tag))
    }

    /// Whether it is about what has neither tags nor a size: an upload, a delete marker.
    fn matches_bare(&self, key: &str) -> bool {
        key.starts_with(self.prefix()) && self.tags.is_empty() && !self.has_size()
    }
}

fn earliest<'a>(found: impl Iterator<Item = (i64, &'a Rule)>) -> Option<Due<'a>> {
    let first = found.min_by_key(|(at_ms, _)| *at_ms)?;
    Some(Due { at_ms: first.0, rule: &first.1.id })
}

impl Lifecycle {
    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// Whether no rule can ever do anything.
    pub fn is_idle(&self) -> bool {
        self.enabled().all(|rule| {
            matches!(rule.expiration, None | Some(Expiration::Marker(false)))
                && rule.noncurrent.is_none()
                && rule.abort_days.is_none()
        })
    }

    /// Whether a rule looks at tags.
    pub fn asks_for_tags(&self) -> bool {
        self.enabled().any(|rule| !rule.filter.tags.is_empty())
    }

    /// Whether a rule aborts uploads.
    pub fn aborts_uploads(&self) -> bool {
        self.enabled().any(|rule| rule.abort_days.is_some())
    }

    /// What the keys that any enabled rule is about start with; shorter ones cover longer ones.
    pub fn prefixes(&self) -> Vec<&str> {
        let mut prefixes: Vec<&str> = self.enabled().map(|rule| rule.filter.prefix()).collect();
        prefixes.sort_unstable();
        let mut kept: Vec<&str> = Vec::new();
        for prefix in prefixes {
            if !kept.last().is_some_and(|shorter| prefix.starts_with(shorter)) {
                kept.push(prefix);
            }
        }
        kept
    }

    /// When the current version of a key goes that was written at `modified_ms`.
    pub fn expires(&self, subject: &Subject<'_>, modified_ms: i64, day_ms: i64) -> Option<Due<'_>> {
        earliest(self.enabled().filter(|rule| rule.filter.matches(subject)).filter_map(|rule| {
            match rule.expiration? {
                Expiration::Days(days) => Some((days_after(modified_ms, days, day_ms), rule)),
                Expiration::Date(at_ms) => Some((at_ms, rule)),
                Expiration::Marker(_) => None,
            }
        }))
    }

    /// When a delete marker goes that was written at `modified_ms` and is all that is left of its
    /// key: with the first midnight under `ExpiredObjectDeleteMarker`, else with its age, as if it
    /// were an object.
    pub fn lone_marker_expires(&self, key: &str, modified_ms: i64, day_ms: i64) -> Option<Due<'_>> {
        earliest(self.enabled().filter(|rule| rule.filter.matches_bare(key)).filter_map(|rule| {
            match rule.expiration? {
                Expiration::Days(days) => Some((days_after(modified_ms, days, day_ms), rule)),
                Expiration::Date(at_ms) => Some((at_ms, rule)),
                Expiration::Marker(true) => Some((round_up(modified_ms, day_ms), rule)),
                Expiration::Marker(false) => None,
            }
        }))
    }

    /// When a noncurrent version goes. `since_ms`: when the version after it was written; `newer`:
    /// how many noncurrent versions of its key are newer than it. A delete marker (`marker`) has
    /// neither tags nor a size, so only rules without such conditions are about it. Gives as well
    /// how many newer ones the rule needs to be there.
    pub fn noncurrent_expires(
        &self,
        subject: &Subject<'_>,
        marker: bool,
        since_ms: i64,
        newer: u32,
        day_ms: i64,
    ) -> Option<(Due<'_>, u32)> {
        let about = |rule: &&Rule| match marker {
            true => rule.filter.matches_bare(subject.key),
            false => rule.filter.matches(subject),
        };
        let due = self.enabled().filter(about).filter_map(|rule| {
            let Noncurrent { days, keep } = rule.noncurrent?;
            let keep = keep.unwrap_or(0);
            let due = Due { at_ms: days_after(since_ms, days, day_ms), rule: &rule.id };
            (newer >= keep).then_some((due, keep))
        });
        due.min_by_key(|(due, _)| due.at_ms)
    }

    /// When an upload of a key is aborted that was started at `started_ms`.
    pub fn upload_expires(&self, key: &str, started_ms: i64, day_ms: i64) -> Option<Due<'_>> {
        earliest(
            self.enabled()
                .filter(|rule| rule.filter.matches_bare(key))
                .filter_map(|rule| Some((days_after(started_ms, rule.abort_days?, day_ms), rule))),
        )
    }
}

// ---- the form in which a bucket keeps its rules ------------------------------------------

fn put<T: Into<Value>>(map: &mut Map<String, Value>, name: &str, value: Option<T>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.into());
    }
}

impl Rule {
    fn to_value(&self) -> Value {
        let filter = &self.filter;
        let mut map = Map::new();
        put(&mut map, "id", Some(self.id.as_str()));
        put(&mut map, "enabled", Some(self.enabled));
        let form = match filter.form {
            Form::Prefix => "prefix",
            Form::Filter => "filter",
            Form::And => "and",
        };
        put(&mut map, "form", Some(form));
        put(&mut map, "prefix", filter.prefix.as_deref());
        if !filter.tags.is_empty() {
            put(&mut map, "tags", Some(json!(filter.tags)));
        }
        put(&mut map, "larger", filter.larger_than);
        put(&mut map, "smaller", filter.smaller_than);
        match self.expiration {
            Some(Expiration::Days(days)) => put(&mut map, "days", Some(days)),
            Some(Expiration::Date(ms)) => put(&mut map, "date", Some(ms)),
            Some(Expiration::Marker(on)) => put(&mut map, "marker", Some(on)),
            None => {}
        }
        put(&mut map, "noncurrent", self.noncurrent.map(|n| n.days));
        put(&mut map, "keep", self.noncurrent.and_then(|n| n.keep));
        put(&mut map, "abort", self.abort_days);
        Value::Object(map)
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let number = |name: &str| value.get(name)?.as_u64();
        let days = |name: &str| u32::try_from(number(name)?).ok();
        let expiration = match (days("days"), value.get("date"), value.get("marker")) {
            (Some(days), _, _) => Some(Expiration::Days(days)),
            (None, Some(date), _) => Some(Expiration::Date(date.as_i64()?)),
            (None, None, Some(on)) => Some(Expiration::Marker(on.as_bool()?)),
            (None, None, None) => None,
        };
        let tag = |pair: &Value| {
            Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()))
        };
        let tags = match value.get("tags") {
            Some(tags) => tags.as_array()?.iter().map(tag).collect::<Option<_>>()?,
            None => Vec::new(),
        };
        let form = match value.get("form")?.as_str()? {
            "prefix" => Form::Prefix,
            "filter" => Form::Filter,
            "and" => Form::And,
            _ => return None,
        };
        Some(Self {
            id: text("id")?,
            enabled: value.get("enabled")?.as_bool()?,
            filter: Filter {
                form,
                prefix: text("prefix"),
                tags,
                larger_than: number("larger"),
                smaller_than: number("smaller"),
            },
            expiration,
            noncurrent: days("noncurrent")
                .map(|days_| Noncurrent { days: days_, keep: days("keep") }),
            abort_days: days("abort"),
        })
    }
}

impl Lifecycle {
    /// The rules as JSON, for [`Self::from_json`].
    pub fn to_json(&self) -> String {
        Value::from(self.rules.iter().map(Rule::to_value).collect::<Vec<_>>()).to_string()
    }

    /// The rules that [`Self::to_json`] wrote; `None` for anything else.
    pub fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let rules = value.as_array()?.iter().map(Rule::from_value).collect::<Option<_>>()?;
        Some(Self { rules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str) -> Rule {
        Rule {
            id: id.to_owned(),
            enabled: true,
            filter: Filter::all(),
            expiration: None,
            noncurrent: None,
            abort_days: None,
        }
    }

    fn expiring(id: &str, prefix: &str, expiration: Expiration) -> Rule {
        let filter = Filter { prefix: Some(prefix.to_owned()), ..Filter::all() };
        Rule { filter, expiration: Some(expiration), ..rule(id) }
    }

    fn subject(key: &str) -> Subject<'_> {
        Subject { key, size: 100, tags: &[] }
    }

    /// 2026-11-24T10:05:34.123Z
    const NOW: i64 = 1_795_514_734_123;
    /// 2026-11-24
    const TODAY: i64 = 1_795_478_400_000;

    #[test]
    fn a_day_ends_at_midnight() {
        assert_eq!(days_after(NOW, 1, DAY_MS), TODAY + 2 * DAY_MS);
        // Written at midnight exactly: nothing to round.
        assert_eq!(days_after(TODAY, 1, DAY_MS), TODAY + DAY_MS);
        assert_eq!(days_after(TODAY + 1, 1, DAY_MS), TODAY + 2 * DAY_MS);
        assert_eq!(days_after(20_001, 3, 10_000), 60_000);
        assert_eq!(round_up(-1, 10), 0);
        assert_eq!(days_after(NOW, u32::MAX, DAY_MS) % DAY_MS, 0);
    }

    #[test]
    fn the_first_of_several_rules_counts() {
        let rules = vec![
            expiring("slow", "", Expiration::Days(9)),
            expiring("fast", "a/", Expiration::Days(2)),
            Rule { enabled: false, ..expiring("off", "", Expiration::Days(1)) },
            expiring("date", "b/", Expiration::Date(TODAY)),
        ];
        let lifecycle = Lifecycle { rules };
        let due = |key| lifecycle.expires(&subject(key), NOW, DAY_MS).unwrap();
        assert_eq!(due("a/1"), Due { at_ms: TODAY + 3 * DAY_MS, rule: "fast" });
        assert_eq!(due("x"), Due { at_ms: TODAY + 10 * DAY_MS, rule: "slow" });
        assert_eq!(due("b/1"), Due { at_ms: TODAY, rule: "date" });
        assert_eq!(lifecycle.prefixes(), [""]);
    }

    #[test]
    fn filters_ask_for_everything_in_them() {
        let tag = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let filter = Filter {
            form: Form::And,
            prefix: Some("p/".to_owned()),
            tags: vec![tag("a", "1"), tag("b", "2")],
            larger_than: Some(10),
            smaller_than: Some(20),
        };
        let tags = [tag("b", "2"), tag("c", "3"), tag("a", "1")];
        let good = Subject { key: "p/x", size: 15, tags: &tags };
        assert!(filter.matches(&good));
        for bad in [
            Subject { key: "q/x", ..good },
            Subject { size: 10, ..good },
            Subject { size: 20, ..good },
            Subject { tags: &tags[..2], ..good },
            Subject { tags: &[], ..good },
        ] {
            assert!(!filter.matches(&bad), "{bad:?}");
        }
        let other = [tag("a", "1"), tag("b", "3")];
        assert!(!filter.matches(&Subject { tags: &other, ..good }));
    }

    #[test]
    fn noncurrent_versions() {
        let noncurrent = |days, keep| Lifecycle {
            rules: vec![Rule { noncurrent: Some(Noncurrent { days, keep }), ..rule("n") }],
        };
        let at = |l: &Lifecycle, newer| {
            l.noncurrent_expires(&subject("k"), false, NOW, newer, DAY_MS).map(|(d, _)| d.at_ms)
        };
        assert_eq!(at(&noncurrent(3, None), 0), Some(TODAY + 4 * DAY_MS));
        assert_eq!(at(&noncurrent(3, Some(2)), 1), None);
        assert_eq!(at(&noncurrent(3, Some(2)), 2), Some(TODAY + 4 * DAY_MS));
        let needs = |l: &Lifecycle| {
            l.noncurrent_expires(&subject("k"), false, NOW, 9, DAY_MS).map(|(_, needs)| needs)
        };
        assert_eq!(needs(&noncurrent(3, Some(2))), Some(2));
        assert_eq!(needs(&noncurrent(3, None)), Some(0));
        assert_eq!(noncurrent(3, None).expires(&subject("k"), 0, DAY_MS), None);
    }

    #[test]
    fn what_has_neither_tags_nor_size() {
        let filter = Filter { smaller_than: Some(10), ..Filter::all() };
        let noncurrent = Some(Noncurrent { days: 1, keep: None });
        let sized = Rule { filter, noncurrent, ..expiring("s", "", Expiration::Days(1)) };
        let lifecycle = Lifecycle { rules: vec![sized] };
        assert_eq!(lifecycle.lone_marker_expires("k", 0, DAY_MS), None);
        let marker = Subject { key: "k", size: 0, tags: &[] };
        assert_eq!(lifecycle.noncurrent_expires(&marker, true, 0, 0, DAY_MS), None);
        assert!(lifecycle.noncurrent_expires(&marker, false, 0, 0, DAY_MS).is_some());
    }

    #[test]
    fn markers_and_uploads() {
        let of = |rule| Lifecycle { rules: vec![rule] };
        let lone = |rule| of(rule).lone_marker_expires("p/k", NOW, DAY_MS).map(|d| d.at_ms);
        assert_eq!(lone(expiring("m", "p/", Expiration::Marker(true))), Some(TODAY + DAY_MS));
        assert_eq!(lone(expiring("m", "q/", Expiration::Marker(true))), None);
        assert_eq!(lone(expiring("m", "p/", Expiration::Marker(false))), None);
        assert_eq!(lone(expiring("m", "p/", Expiration::Days(5))), Some(TODAY + 6 * DAY_MS));
        let abort = of(Rule { abort_days: Some(2), ..rule("u") });
        assert_eq!(abort.upload_expires("k", NOW, DAY_MS).unwrap().at_ms, TODAY + 3 * DAY_MS);
        assert!(!abort.is_idle() && abort.aborts_uploads());
        assert!(of(expiring("m", "", Expiration::Marker(false))).is_idle());
        assert!(of(Rule { enabled: false, abort_days: Some(1), ..rule("u") }).is_idle());
    }

    #[test]
    fn prefixes_that_cover_others() {
        let rules = ["b/", "a/x", "a/", "b"].map(|p| expiring(p, p, Expiration::Days(1)));
        assert_eq!(Lifecycle { rules: rules.to_vec() }.prefixes(), ["a/", "b"]);
    }

    #[test]
    fn json_gives_back_what_it_got() {
        let filter = Filter {
            form: Form::And,
            prefix: Some("é\"".to_owned()),
            tags: vec![("k".to_owned(), String::new())],
            larger_than: Some(u64::MAX),
            smaller_than: None,
        };
        let full = Rule {
            filter,
            noncurrent: Some(Noncurrent { days: 4, keep: Some(5) }),
            abort_days: Some(7),
            ..expiring("one", "", Expiration::Date(-DAY_MS))
        };
        let old = Filter { form: Form::Prefix, prefix: Some(String::new()), ..Filter::all() };
        let rules = vec![
            full,
            Rule { filter: old, ..rule("two") },
            Rule { enabled: false, ..expiring("three", "", Expiration::Marker(false)) },
            Rule { noncurrent: Some(Noncurrent { days: 1, keep: None }), ..rule("four") },
        ];
        let lifecycle = Lifecycle { rules };
        assert_eq!(Lifecycle::from_json(&lifecycle.to_json()), Some(lifecycle));
        for bad in ["", "{}", "[1]", "[{\"id\":\"a\",\"enabled\":true,\"form\":\"x\"}]"] {
            assert_eq!(Lifecycle::from_json(bad), None, "{bad}");
        }
    }
}
