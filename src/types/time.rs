//! Times as S3 writes them: ISO 8601 with milliseconds, the basic form of signatures, HTTP dates.
//! All in UTC, all counted from 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in milliseconds.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Year, month and day of a day number (days since 1970-01-01), proleptic Gregorian calendar.
/// After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

/// Day number of a date; the inverse of [`civil`].
fn day_number(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = i64::from((month + 9) % 12);
    let doy = (153 * mp + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// `2026-11-24T10:05:34.123Z`
pub fn iso(ms: i64) -> String {
    let mut text = String::with_capacity(24);
    push_iso(&mut text, ms);
    text
}

/// Appends `2026-11-24T10:05:34.123Z`, without the machinery of format strings: listings write
/// a thousand of them.
pub fn push_iso(out: &mut String, ms: i64) {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    for (separator, number, width) in [
        (None, year.clamp(0, 9999), 4),
        (Some('-'), i64::from(month), 2),
        (Some('-'), i64::from(day), 2),
        (Some('T'), rest / 3_600_000, 2),
        (Some(':'), rest / 60_000 % 60, 2),
        (Some(':'), rest / 1000 % 60, 2),
        (Some('.'), rest % 1000, 3),
    ] {
        out.extend(separator);
        for place in (0..width).rev() {
            let digit = number / 10_i64.pow(place) % 10;
            out.push(char::from(b'0' + digit.unsigned_abs() as u8));
        }
    }
    out.push('Z');
}

/// `20261124T100534Z`, the form of `x-amz-date`.
pub fn basic(seconds: i64) -> String {
    let text = iso(seconds * 1000);
    let mut basic: String = text[..19].chars().filter(|c| *c != '-' && *c != ':').collect();
    basic.push('Z');
    basic
}

/// The last moment that dates of four digits for the year can tell: the end of 9999.
const LAST_MS: i64 = 253_402_300_799_999;

/// An HTTP date, as in Last-Modified; none is before 1970 or after 9999.
pub fn http(ms: i64) -> String {
    let ms = u64::try_from(ms.min(LAST_MS)).unwrap_or(0);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms))
}

/// Seconds of an HTTP date; UTC may also be written as an offset of 0 (RFC 5322, 3.3), as botocore
/// does.
pub fn parse_http(text: &str) -> Option<i64> {
    let text = text.trim();
    let offset = [" -0000", " +0000"].iter().find_map(|zero| text.strip_suffix(zero));
    let time = match offset {
        Some(bare) => httpdate::parse_http_date(&format!("{bare} GMT")),
        None => httpdate::parse_http_date(text),
    };
    let time = time.ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Seconds of `20261124T100534Z`.
pub fn parse_basic(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    if !text.is_ascii() || b.len() != 16 || b[8] != b'T' || b[15] != b'Z' {
        return None;
    }
    seconds(&text[0..4], &text[4..6], &text[6..8], &text[9..11], &text[11..13], &text[13..15])
}

/// Milliseconds of an ISO 8601 time in UTC: `2026-11-24T10:05:34Z`, with or without a fraction of
/// a second, which is kept to the millisecond.
pub fn parse_iso(text: &str) -> Option<i64> {
    let text = text.trim().strip_suffix('Z').or_else(|| text.trim().strip_suffix("+00:00"))?;
    if !text.is_ascii() || text.len() < 19 {
        return None;
    }
    let (main, fraction) = text.split_at(19);
    let b = main.as_bytes();
    if b[4] != b'-' || b[7] != b'-' || b[10] != b'T' || b[13] != b':' || b[16] != b':' {
        return None;
    }
    let secs = seconds(
        &main[0..4],
        &main[5..7],
        &main[8..10],
        &main[11..13],
        &main[14..16],
        &main[17..19],
    )?;
    let millis = match fraction.strip_prefix('.') {
        None if fraction.is_empty() => 0,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{digits:0<3}")[..3].parse::<i64>().ok()?
        }
        _ => return None,
    };
    Some(secs * 1000 + millis)
}

fn seconds(y: &str, mo: &str, d: &str, h: &str, mi: &str, s: &str) -> Option<i64> {
    let number = |text: &str| -> Option<u32> {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
    };
    let (y, mo, d) = (number(y)?, number(mo)?, number(d)?);
    let (h, mi, s) = (number(h)?, number(mi)?, number(s)?);
    let days = day_number(i64::from(y), mo, d);
    let valid = (1..=12).contains(&mo) && d >= 1 && civil(days) == (i64::from(y), mo, d);
    (valid && h < 24 && mi < 60 && s <= 60)
        .then(|| days * 86_400 + i64::from(h * 3600 + mi * 60 + s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_agree() {
        let ms = 1_795_514_734_123;
        assert_eq!(iso(ms), "2026-11-24T10:05:34.123Z");
        assert_eq!(parse_iso(&iso(ms)), Some(ms));
        assert_eq!(basic(ms / 1000), "20261124T100534Z");
        assert_eq!(parse_basic("20261124T100534Z"), Some(ms / 1000));
        assert_eq!(parse_http(&http(ms)), Some(ms / 1000));
        assert_eq!(parse_iso("2026-11-24T10:05:34.1Z"), Some(1_795_514_734_100));
    }

    #[test]
    fn refuses_dates_that_do_not_exist() {
        for bad in [
            "20260230T000000Z",
            "20261301T000000Z",
            "20260101T240000Z",
            "2026",
            "é",
            "012é567T000000Z",
        ] {
            assert_eq!(parse_basic(bad), None, "{bad}");
        }
        for bad in
            ["2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z"]
        {
            assert_eq!(parse_iso(bad), None, "{bad}");
        }
    }
}
