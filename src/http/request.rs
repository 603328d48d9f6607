//! The head of a request.

use std::net::IpAddr;
use std::time::Instant;

/// Request methods that S3 knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// PUT
    Put,
    /// POST
    Post,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// Any other token (405).
    Other,
}

impl Method {
    /// The method of that name; names are case-sensitive.
    pub fn parse(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "OTHER",
        }
    }
}

/// Header fields in the order in which they came; names in lower case, values trimmed.
#[derive(Clone, Default, Debug)]
pub struct Headers {
    /// All names and values, one behind the other.
    text: String,
    fields: Vec<Field>,
}

/// Where in the text a field is: its name begins at `name`, its value at `value` and ends at `end`.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: usize,
    value: usize,
    end: usize,
}

impl Headers {
    /// These fields; names are kept in lower case.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(fields: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            headers.push(name.as_ref(), value.as_ref());
        }
        headers
    }

    /// No fields yet, with room for so many, and for so many bytes of names and values.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Adds a field; its name, which is kept in lower case.
    pub fn push(&mut self, name: &str, value: &str) -> &str {
        let start = self.text.len();
        self.text.push_str(name);
        self.text[start..].make_ascii_lowercase();
        self.text.push_str(value);
        let end = self.text.len();
        let value = start + name.len();
        self.fields.push(Field { name: start, value, end });
        &self.text[start..value]
    }

    fn name(&self, field: &Field) -> &str {
        &self.text[field.name..field.value]
    }

    fn value(&self, field: &Field) -> &str {
        &self.text[field.value..field.end]
    }

    /// The first value of a field; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|f| self.name(f) == name).map(|f| self.value(f))
    }

    /// All values of a field; `name` in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |f| self.name(f) == name).map(|f| self.value(f))
    }

    /// Every field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|f| (self.name(f), self.value(f)))
    }
}

/// The head of a request. Its target is kept as it came, since signatures are over exactly that.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, still percent-encoded, without the query. Starts with `/`, or is `*`.
    pub path: String,
    /// What stands behind the first `?`, still percent-encoded; empty if there is none.
    pub query: String,
    /// The header fields; all values are UTF-8 (a head with other bytes is refused with 400).
    pub headers: Headers,
    /// The address that the connection comes from.
    pub peer: IpAddr,
    /// When the head had been read.
    pub received: Instant,
    /// Unique for the life of the data directory: 16 upper-case hex digits.
    pub id: String,
}
