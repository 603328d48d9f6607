//! The server's log on stderr, for journald: lines for people, or an object in JSON a line
//! (`JOG_LOG_FORMAT`). Whatever a record has in it, it is one line: control characters are escaped.

use crate::config::LogFormat;
use crate::s3::ACCESS_TARGET;
use crate::types::time;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::WriteLogger;
use std::fmt::{self, Write as _};
use std::io::{self, LineWriter, Write};

/// Room for a line without growing, in bytes.
const LINE_BYTES: usize = 256;

/// Starts the log of this process. In JSON a panic is told in it, too.
pub fn start(level: LevelFilter, format: LogFormat) {
    let logger: Box<dyn Log> = match format {
        LogFormat::Text => Box::new(text(level, io::stderr())),
        LogFormat::Json => Box::new(Json { level }),
    };
    // Fails only if there is a logger already, and then there is one.
    if log::set_boxed_logger(logger).is_ok() {
        log::set_max_level(level);
    }
    if format == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
}

/// Lines for people, by simplelog, which writes messages as they are: it gets escaped ones.
struct Text<W: Write + Send + 'static>(Box<WriteLogger<LineWriter<W>>>);

fn text<W: Write + Send + 'static>(level: LevelFilter, out: W) -> Text<W> {
    let mut config = simplelog::ConfigBuilder::new();
    config
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off);
    // A line is written with one call, so lines of several threads do not mix.
    Text(WriteLogger::new(level, config.build(), LineWriter::new(out)))
}

impl<W: Write + Send + 'static> Log for Text<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut message = String::with_capacity(LINE_BYTES);
        // Cannot fail, here as below: it is a String.
        let _ = write!(OneLine(&mut message), "{}", record.args());
        let metadata = record.metadata().clone();
        let mut escaped = Record::builder();
        self.0.log(&escaped.metadata(metadata).args(format_args!("{message}")).build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// An object a line, for programs.
struct Json {
    level: LevelFilter,
}

impl Log for Json {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = json(record, time::now_ms());
            // As above, one call. Nobody can be told if there is no stderr any more.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Writes control characters as escapes.
struct OneLine<'a>(&'a mut String);

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.chars().any(char::is_control) {
            self.0.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            if c.is_control() { self.0.extend(c.escape_default()) } else { self.0.push(c) }
        }
        Ok(())
    }
}

/// `time`, `level`, `target`, and the record's fields or, if it has none, its `message`.
fn json(record: &Record<'_>, now_ms: i64) -> String {
    let mut line = String::with_capacity(LINE_BYTES);
    line.push_str("{\"time\":\"");
    time::push_iso(&mut line, now_ms);
    line.push_str("\",\"level\":\"");
    line.extend(record.level().as_str().chars().map(|c| c.to_ascii_lowercase()));
    line.push_str("\",\"target\":");
    push_text(&mut line, record.target());
    if record.target() != ACCESS_TARGET {
        line.push_str(",\"message\":\"");
        let _ = write!(Inside(&mut line), "{}", record.args());
        line.push('"');
    }
    let _ = record.key_values().visit(&mut Fields(&mut line));
    line.push_str("}\n");
    line
}

fn push_text(line: &mut String, text: &str) {
    line.push('"');
    let _ = Inside(line).write_str(text);
    line.push('"');
}

/// Escapes what stands between the quotes of a JSON string (RFC 8259, 7). DEL and the C1 controls
/// are escaped as well: terminals obey some of them.
struct Inside<'a>(&'a mut String);

impl fmt::Write for Inside<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                c if c.is_control() => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

struct Fields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push(',');
        push_text(self.0, key.as_str());
        self.0.push(':');
        value.visit(FieldValue(self.0))
    }
}

struct FieldValue<'a>(&'a mut String);

impl VisitValue<'_> for FieldValue<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.0.push('"');
        write!(Inside(self.0), "{value}")?;
        self.0.push('"');
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.0.push_str("null");
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        push_text(self.0, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};

    const MS: i64 = 1_795_514_734_123;
    const EVIL: &str = "a\"b\\c\nd\re\u{1b}[31m\0f\u{7f}g\u{85}\u{2028}ü\u{fffd}";

    fn lines(fields: &[(&str, log::kv::Value<'_>)], target: &str, message: &str) -> [String; 2] {
        let fields = fields.to_vec();
        let args = format_args!("{message}");
        let record = Record::builder()
            .level(log::Level::Warn)
            .target(target)
            .key_values(&fields)
            .args(args)
            .build();
        let out = Out::default();
        let logger = text(LevelFilter::Warn, out.clone());
        logger.log(&record);
        logger.log(&Record::builder().level(log::Level::Info).args(format_args!("-")).build());
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        [text, json(&record, MS)]
    }

    /// What was written.
    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_line_whatever_it_says() {
        let [text, json] = lines(&[], "jog::x", EVIL);
        let (time, message) = text.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time::parse_iso(time).is_some(), "{time}");
        assert!(message.starts_with("[WARN] a\"b\\c\\nd\\re\\u{1b}[31m"), "{message}");
        for line in [&text, &json] {
            assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1, "{line:?}");
            assert!(line.ends_with('\n'));
        }
        let value: Value = serde_json::from_str(&json).unwrap();
        let expected = json!({
            "time": "2026-11-24T10:05:34.123Z", "level": "warn", "target": "jog::x",
            "message": EVIL,
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn fields_keep_their_kinds() {
        let fields = [
            ("key", log::kv::Value::from(EVIL)),
            ("status", log::kv::Value::from(200_u16)),
            ("bytes", log::kv::Value::from(u64::MAX)),
            ("left", log::kv::Value::from(-1_i64)),
            ("complete", log::kv::Value::from(true)),
            ("code", log::kv::Value::null()),
            ("shown", log::kv::Value::from_debug(&EVIL)),
        ];
        let [text, json] = lines(&fields, ACCESS_TARGET, "GET -");
        assert!(text.ends_with("[WARN] GET -\n"), "fields are in the text: {text}");
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["key"], EVIL);
        assert_eq!(value["status"], 200);
        assert_eq!(value["bytes"], u64::MAX);
        assert_eq!((&value["left"], &value["complete"]), (&json!(-1), &json!(true)));
        assert_eq!((&value["code"], value.get("message")), (&Value::Null, None));
        assert_eq!(value["shown"], format!("{EVIL:?}"));
    }
}
