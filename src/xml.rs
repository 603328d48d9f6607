//! XML: a writer for answers and a bounded reader for request documents. No operation's shapes.

use crate::limits::{MAX_DOCUMENT_BYTES, MAX_XML_DEPTH};

/// S3's namespace.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Writes a document.
pub struct Writer {
    out: String,
}

impl Writer {
    /// Starts with the XML declaration.
    pub fn document() -> Self {
        Self { out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") }
    }

    /// Opens an element.
    pub fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    /// Opens the root element of an S3 answer, in [`NAMESPACE`].
    pub fn root(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push_str(" xmlns=\"");
        self.out.push_str(NAMESPACE);
        self.out.push_str("\">");
    }

    /// Markup as it is, such as a tag with attributes. Never with text of a client.
    pub fn raw(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Closes an element.
    pub fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element with text, escaped. Characters that XML 1.0 cannot carry become U+FFFD; a
    /// client that may meet them asks for `encoding-type=url`.
    pub fn text(&mut self, name: &str, value: &str) {
        self.open(name);
        for c in value.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\r' => self.out.push_str("&#13;"),
                '\t' | '\n' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'.. => {
                    self.out.push(c);
                }
                _ => self.out.push('\u{FFFD}'),
            }
        }
        self.close(name);
    }

    /// An element with a number or another value without markup.
    pub fn value(&mut self, name: &str, value: impl std::fmt::Display) {
        self.text(name, &value.to_string());
    }

    /// The document.
    pub fn finish(self) -> Vec<u8> {
        self.out.into_bytes()
    }
}

/// An element of a parsed document: name without its namespace prefix, text of its own, children.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Attributes, local name and value (`xsi:type` is `type`); namespace declarations left out.
    pub attributes: Vec<(String, String)>,
    /// Its text, unescaped; white space kept if it has no child, else dropped.
    pub text: String,
    /// The elements inside it.
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The text of the first child of that name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.as_str())
    }

    /// All children of that name.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }
}

/// The document is not one that we take: not well-formed, not UTF-8, too deep, with a DTD, or of
/// another root element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Parses a document whose root element has this local name. Bounded by [`MAX_DOCUMENT_BYTES`] and
/// [`MAX_XML_DEPTH`]; a DTD or an entity other than XML's own is refused.
pub fn parse(document: &[u8], root: &str) -> Result<Element, Malformed> {
    let _ = (document, root, MAX_DOCUMENT_BYTES, MAX_XML_DEPTH);
    todo!()
}
