//! Shows how far a command has come, on stderr: on a terminal one line that changes, else a line
//! now and then.

use crate::store::backup::Progress;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a terminal is written to.
const TERMINAL: Duration = Duration::from_millis(200);
/// How often a line is written elsewhere.
const LINES: Duration = Duration::from_secs(30);

/// Files are being counted.
pub const FOUND: &str = "found";

/// See the module's description.
pub struct Meter {
    terminal: bool,
    quiet: bool,
    what: &'static str,
    since: Instant,
    shown: Instant,
    drawn: bool,
}

impl Meter {
    /// `quiet`: shows nothing.
    pub fn new(quiet: bool) -> Self {
        let (terminal, now) = (io::stderr().is_terminal(), Instant::now());
        Self { terminal, quiet, what: "", since: now, shown: now, drawn: false }
    }

    /// Takes the state of things; it is called often and shows little of it.
    pub fn watch(&mut self, progress: &Progress) {
        let now = Instant::now();
        if self.what != progress.what {
            (self.what, self.since) = (progress.what, now);
        }
        let pause = if self.terminal { TERMINAL } else { LINES };
        if self.quiet || now - self.shown < pause {
            return;
        }
        self.shown = now;
        let text = line(progress, now - self.since);
        // Nobody looks: nothing is lost.
        let _ = if self.terminal {
            self.drawn = true;
            write!(io::stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(io::stderr(), "{text}")
        };
    }
}

impl Meter {
    /// Takes the line away, so that something else can be said.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            // As above.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Progress for another process.
pub fn to_words(progress: &Progress) -> String {
    let Progress { what, files, of_files, bytes, of_bytes } = progress;
    format!("{what} {files} {of_files} {bytes} {of_bytes}")
}

/// What [`to_words`] gave; of what may be done only two things have names here.
pub fn of_words(text: &str) -> Option<Progress> {
    let mut words = text.split(' ');
    let what = if words.next()? == FOUND { FOUND } else { "files" };
    let mut number = || words.next()?.parse().ok();
    let [files, of_files, bytes, of_bytes] = [number()?, number()?, number()?, number()?];
    Some(Progress { what, files, of_files, bytes, of_bytes })
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let Progress { what, files, of_files, bytes, of_bytes } = *progress;
    if of_files == 0 {
        return format!("{what}: {files}");
    }
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = bytes as f64 / seconds;
    let mut text = format!(
        "{what}: {files} of {of_files}, {} of {}, {}/s",
        human(bytes),
        human(of_bytes),
        human(rate as u64),
    );
    let share = match of_bytes {
        0 => files as f64 / of_files as f64,
        all => bytes as f64 / all as f64,
    };
    if share > 0.0 && share < 1.0 {
        let left = Duration::from_secs_f64((seconds / share - seconds).min(1e9));
        text.push_str(&format!(", {} left", time(left)));
    }
    text
}

fn time(left: Duration) -> String {
    match left.as_secs() {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

/// A number of bytes for people.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_much_and_how_long() {
        let progress =
            Progress { what: "files", files: 10, of_files: 40, bytes: 1 << 20, of_bytes: 4 << 20 };
        let text = line(&progress, Duration::from_secs(1));
        assert_eq!(text, "files: 10 of 40, 1.0 MiB of 4.0 MiB, 1.0 MiB/s, 3 s left");
        let done = Progress { bytes: 4 << 20, files: 40, ..progress };
        assert!(!line(&done, Duration::from_secs(1)).contains("left"));
        let unknown = Progress { of_files: 0, of_bytes: 0, ..progress };
        assert_eq!(line(&unknown, Duration::ZERO), "files: 10");
        assert_eq!(of_words(&to_words(&progress)), Some(progress));
        assert_eq!(of_words("files 1 2 3"), None);
        assert_eq!((human(1023), human(1536)), ("1023 bytes".into(), "1.5 KiB".into()));
        assert_eq!(time(Duration::from_secs(3725)), "1 h 2 min");
    }
}
