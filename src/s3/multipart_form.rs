//! multipart/form-data (RFC 7578), read as a stream: a file in it is never held in memory.

use crate::limits::{MAX_FORM_BYTES, MAX_FORM_FIELDS};
use std::collections::BTreeMap;

/// Longest head of one part, in bytes.
const MAX_PART_HEAD_BYTES: usize = 8 * 1024;
/// Longest boundary (RFC 2046, 5.1.1), in bytes.
const MAX_BOUNDARY_BYTES: usize = 70;
/// How much is read at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Why a form cannot be read.
#[derive(Debug)]
pub enum FormFault<E> {
    /// It is not well-formed, or ends early.
    Malformed(&'static str),
    /// Its fields are too many or too large.
    TooLarge,
    /// The reader or the taker of bytes failed.
    Inner(E),
}

impl<E> From<E> for FormFault<E> {
    fn from(error: E) -> Self {
        Self::Inner(error)
    }
}

/// What stands before the file: fields with names in lower case, and what the file's own head says.
#[derive(Debug)]
pub struct Preamble {
    /// The fields; of several with one name the first.
    pub fields: BTreeMap<String, String>,
    /// The name that the file has on the client's side, without folders.
    pub filename: String,
}

/// The boundary in a Content-Type header.
pub fn boundary(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let (_, value) = parameters
        .filter_map(|p| p.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let valid = (1..=MAX_BOUNDARY_BYTES).contains(&bare.len()) && bare.is_ascii();
    valid.then(|| bare.to_owned())
}

/// Reads a form from a source of bytes; `read` gives 0 at the end.
pub struct FormReader<R> {
    read: R,
    buffer: Vec<u8>,
    start: usize,
    delimiter: Vec<u8>,
    ended: bool,
}

impl<E, R: FnMut(&mut [u8]) -> Result<usize, E>> FormReader<R> {
    /// A form whose parts are divided by this boundary.
    pub fn new(boundary: &str, read: R) -> Self {
        Self {
            read,
            // The first boundary may stand at the very start: as if a line had ended before it.
            buffer: b"\r\n".to_vec(),
            start: 0,
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            ended: false,
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads more into the buffer; false at the end.
    fn fill(&mut self) -> Result<bool, FormFault<E>> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + READ_BYTES, 0);
        let n = match (self.read)(&mut self.buffer[len..]) {
            Ok(n) => n,
            Err(error) => {
                self.buffer.truncate(len);
                return Err(FormFault::Inner(error));
            }
        };
        self.buffer.truncate(len + n);
        self.ended = n == 0;
        Ok(n > 0)
    }

    /// Hands everything up to the next delimiter to `take`, and passes the delimiter.
    fn until_delimiter(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), FormFault<E>>,
    ) -> Result<(), FormFault<E>> {
        loop {
            let unread = &self.buffer[self.start..];
            if let Some(at) = find(unread, &self.delimiter) {
                take(&unread[..at])?;
                self.start += at + self.delimiter.len();
                return Ok(());
            }
            // The end of what is there may be the beginning of a delimiter.
            let sure = unread.len().saturating_sub(self.delimiter.len() - 1);
            take(&unread[..sure])?;
            self.start += sure;
            if !self.fill()? {
                return Err(FormFault::Malformed("the form ends before its last boundary"));
            }
        }
    }

    /// A line up to CRLF, without it.
    fn line(&mut self) -> Result<Vec<u8>, FormFault<E>> {
        loop {
            if let Some(at) = find(self.unread(), b"\r\n") {
                let line = self.unread()[..at].to_vec();
                self.start += at + 2;
                return Ok(line);
            }
            if self.unread().len() > MAX_PART_HEAD_BYTES {
                return Err(FormFault::TooLarge);
            }
            if !self.fill()? {
                return Err(FormFault::Malformed("the form ends inside a part's head"));
            }
        }
    }

    /// Reads all fields up to the file, which is next for [`FormReader::file`].
    pub fn preamble(&mut self) -> Result<Preamble, FormFault<E>> {
        let mut fields = BTreeMap::new();
        let (mut bytes, mut count) = (0, 0);
        self.until_delimiter(|piece| {
            bytes += piece.len();
            if bytes > MAX_FORM_BYTES { Err(FormFault::TooLarge) } else { Ok(()) }
        })?;
        loop {
            // Behind a delimiter: the end of the form, or white space and the end of the line.
            let rest = self.line()?;
            if rest.starts_with(b"--") {
                return Err(FormFault::Malformed("the form has no file"));
            }
            let Part { name, filename } = self.part_head()?;
            if name.eq_ignore_ascii_case("file") {
                let filename = filename.unwrap_or_default();
                let base = filename.rsplit(['/', '\\']).next().unwrap_or_default();
                return Ok(Preamble { fields, filename: base.to_owned() });
            }
            let mut value = Vec::new();
            self.until_delimiter(|piece| {
                bytes += piece.len();
                if bytes > MAX_FORM_BYTES {
                    return Err(FormFault::TooLarge);
                }
                value.extend_from_slice(piece);
                Ok(())
            })?;
            bytes += name.len();
            count += 1;
            if count > MAX_FORM_FIELDS || bytes > MAX_FORM_BYTES {
                return Err(FormFault::TooLarge);
            }
            let value = String::from_utf8(value)
                .map_err(|_| FormFault::Malformed("a field is not UTF-8"))?;
            fields.entry(name.to_ascii_lowercase()).or_insert(value);
        }
    }

    /// Streams the file; what follows it in the form is left unread.
    pub fn file(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), FormFault<E>> {
        self.until_delimiter(|piece| {
            if piece.is_empty() { Ok(()) } else { take(piece).map_err(FormFault::Inner) }
        })
    }

    fn part_head(&mut self) -> Result<Part, FormFault<E>> {
        let mut part = Part::default();
        let mut named = false;
        let mut bytes = 0;
        loop {
            let line = self.line()?;
            bytes += line.len();
            if bytes > MAX_PART_HEAD_BYTES {
                return Err(FormFault::TooLarge);
            }
            if line.is_empty() {
                break;
            }
            let line = String::from_utf8(line)
                .map_err(|_| FormFault::Malformed("a part's head is not UTF-8"))?;
            let Some((field, value)) = line.split_once(':') else {
                return Err(FormFault::Malformed("a part's head is malformed"));
            };
            if field.trim().eq_ignore_ascii_case("content-disposition") {
                part.filename = parameter(value, "filename");
                if let Some(name) = parameter(value, "name") {
                    part.name = name;
                    named = true;
                }
            }
        }
        if named { Ok(part) } else { Err(FormFault::Malformed("a part has no name")) }
    }
}

/// The head of one part.
#[derive(Default)]
struct Part {
    name: String,
    filename: Option<String>,
}

/// A parameter of a Content-Disposition. Browsers escape a quote as `%22` or `\"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => {
                let (value, next) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), next)
            }
        };
        if name.trim().trim_start_matches(';').trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next.trim_start().trim_start_matches(';');
    }
}

/// A quoted string whose opening quote is passed: its value, and what follows it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if text[at + 1..].starts_with('"') => {
                chars.next();
                value.push('"');
            }
            _ => value.push(c),
        }
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|&b| b == first) {
        let at = from + at;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"--X\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na;\r\n--Y\r\n\
        --X\r\ncontent-disposition: form-data; filename=\"C:\\d\\f\\\"1.txt\"; name=file\r\n\
        Content-Type: text/plain\r\n\r\nby\r\n--Xtes\r\n--X--\r\n";

    /// Reads the form in pieces of so many bytes.
    fn run(form: &[u8], step: usize) -> Result<(Preamble, Vec<u8>), FormFault<()>> {
        let mut rest = form;
        let mut reader = FormReader::new("X", |buf: &mut [u8]| {
            let n = step.min(rest.len()).min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            Ok::<usize, ()>(n)
        });
        let preamble = reader.preamble()?;
        let mut file = Vec::new();
        reader.file(|piece| {
            file.extend_from_slice(piece);
            Ok(())
        })?;
        Ok((preamble, file))
    }

    #[test]
    fn the_same_for_every_size_of_pieces() {
        for step in [1, 2, 3, 5, 7, 1000] {
            let (preamble, file) = run(FORM, step).unwrap();
            assert_eq!(preamble.fields["key"], "a;\r\n--Y");
            assert_eq!(preamble.filename, "f\"1.txt");
            assert_eq!(file, b"by");
        }
    }

    #[test]
    fn a_cut_form_is_malformed() {
        let file_at = FORM.windows(2).position(|w| w == b"by").unwrap();
        for cut in 0..file_at + 4 {
            assert!(matches!(run(&FORM[..cut], 4), Err(FormFault::Malformed(_))), "{cut}");
        }
        let no_file = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--X--\r\n";
        assert!(matches!(run(no_file, 9), Err(FormFault::Malformed(_))));
    }

    #[test]
    fn fields_are_bounded() {
        let mut form = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_vec();
        form.resize(form.len() + MAX_FORM_BYTES + 1, b'x');
        form.extend_from_slice(b"\r\n--X--\r\n");
        assert!(matches!(run(&form, 100_000), Err(FormFault::TooLarge)));
    }

    #[test]
    fn what_stands_before_the_first_boundary_is_bounded() {
        let before = |n: usize| [&vec![b'x'; n][..], b"\r\n", FORM].concat();
        assert!(run(&before(100), 7).is_ok());
        let long = before(MAX_FORM_BYTES + 1);
        assert!(matches!(run(&long, 100_000), Err(FormFault::TooLarge)));
        assert!(matches!(run(&long, 100), Err(FormFault::TooLarge)));
    }

    #[test]
    fn boundaries() {
        let is = |text: &str| boundary(text);
        assert_eq!(is("multipart/form-data; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(is("multipart/form-data; charset=x; Boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(is("multipart/form-data"), None);
        assert_eq!(is(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }
}
