//! What settings are written as: times, sizes, switches, names. `None`: it is not understood.

use std::time::Duration;

/// `30s`, `15m`, `24h`, `7d`, or a number of seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)
        .filter(|s| *s <= 3650 * 86_400)
        .map(Duration::from_secs)
}

/// `64MiB`, `10GiB`, `512KiB`, `1TiB` (also `M`, `MB` and so on, all in powers of 1024), or bytes.
pub fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `on` or `off`, and what else people write.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "on" | "true" | "1" | "yes" => Some(true),
        "off" | "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// What a signature can name; `None` within: any.
pub(super) fn region(text: &str) -> Option<Option<String>> {
    let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    fits.then(|| Some(text.to_owned()).filter(|name| !name.is_empty()))
}

/// Host names separated by commas, in lower case.
pub(super) fn domains(text: &str) -> Option<Vec<String>> {
    let list: Vec<String> =
        text.split(',').map(|d| d.trim().to_ascii_lowercase()).filter(|d| !d.is_empty()).collect();
    let valid = |d: &String| {
        d.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
            && !d.starts_with('.')
    };
    list.iter().all(valid).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1g"), Some(1 << 30));
        assert_eq!(size("7"), Some(7));
        assert_eq!(size("x"), None);
        assert_eq!(duration("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        assert_eq!(duration("é"), None);
    }

    #[test]
    fn regions_and_domains() {
        assert_eq!(region(""), Some(None));
        assert_eq!(region("eu-central-1"), Some(Some("eu-central-1".to_owned())));
        assert_eq!((region("eu west"), region("a/b")), (None, None));
        assert_eq!(domains("S3.a, b,"), Some(vec!["s3.a".to_owned(), "b".to_owned()]));
        assert_eq!((domains("a/b"), domains(".a")), (None, None));
    }
}
