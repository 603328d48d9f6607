//! When something is done again and again: each day or each week at a time, in UTC.

/// Milliseconds of a minute.
const MINUTE_MS: i64 = 60_000;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// The days in the order of their numbers; 1970-01-01 was a Thursday.
const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];

/// See the module's description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// The day of the week, in the order of [`DAYS`]; `None`: each day.
    day: Option<i64>,
    /// Minutes since midnight.
    minute: i64,
}

impl Schedule {
    /// `Sun 03:00`, or `03:00` for each day.
    pub fn parse(text: &str) -> Option<Self> {
        let (day, clock) = match text.trim().split_once(' ') {
            Some((day, clock)) => {
                let day = day.to_ascii_lowercase();
                (Some(DAYS.iter().position(|name| *name == day)? as i64), clock.trim())
            }
            None => (None, text.trim()),
        };
        let (hour, minute) = clock.split_once(':')?;
        let number = |text: &str| {
            let digits = text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<i64>().ok())?
        };
        let (hour, minute) = (number(hour)?, number(minute)?);
        (hour < 24 && minute < 60).then_some(Self { day, minute: hour * 60 + minute })
    }

    /// The first time after this one, both in milliseconds since 1970.
    pub fn after(&self, ms: i64) -> i64 {
        let today = ms.div_euclid(DAY_MS);
        let at = |day: i64| day * DAY_MS + self.minute * MINUTE_MS;
        let fits = |day: i64| self.day.is_none_or(|wanted| day.rem_euclid(7) == wanted);
        let next = (today..today + 8).find(|day| fits(*day) && at(*day) > ms);
        next.map_or(ms + DAY_MS, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::{iso, parse_iso};

    #[test]
    fn the_next_time_is_found() {
        let next = |schedule: &str, now: &str| {
            let schedule = Schedule::parse(schedule).unwrap();
            iso(schedule.after(parse_iso(now).unwrap()))
        };
        // 2026-11-24 is a Tuesday.
        for (schedule, now, expected) in [
            ("Sun 03:00", "2026-11-24T10:00:00Z", "2026-11-29T03:00:00.000Z"),
            ("tue 10:00", "2026-11-24T09:59:59Z", "2026-11-24T10:00:00.000Z"),
            ("Tue 10:00", "2026-11-24T10:00:00Z", "2026-12-01T10:00:00.000Z"),
            ("3:5", "2026-11-24T10:00:00Z", "2026-11-25T03:05:00.000Z"),
            ("23:59", "2026-12-31T23:58:00Z", "2026-12-31T23:59:00.000Z"),
        ] {
            assert_eq!(next(schedule, now), expected, "{schedule} after {now}");
        }
        for bad in ["", "Sun", "Sunday 03:00", "24:00", "03:60", "+3:00", "Sun 3", "003:00"] {
            assert_eq!(Schedule::parse(bad), None, "{bad}");
        }
    }
}
