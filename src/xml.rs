//! XML: a writer for answers and a bounded reader for request documents. No operation's shapes.

use crate::limits::{MAX_DOCUMENT_BYTES, MAX_XML_ATTRIBUTES, MAX_XML_DEPTH, MAX_XML_ELEMENTS};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;
use std::fmt::{self, Write as _};

/// S3's namespace.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Writes a document.
pub struct Writer {
    out: String,
}

impl Writer {
    /// Starts with the XML declaration.
    pub fn document() -> Self {
        Self::with_capacity(512)
    }

    /// Starts with the XML declaration, in a buffer for a document of about so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Self { out }
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
        self.content(value);
        self.close(name);
    }

    /// Text inside the element that is open, escaped like that of [`Self::text`].
    pub fn content(&mut self, value: &str) {
        escape(&mut self.out, value);
    }

    /// An element with a number or another value without markup.
    pub fn value(&mut self, name: &str, value: impl fmt::Display) {
        self.open(name);
        // Writing to a String does not fail.
        let _ = write!(self.out, "{value}");
        self.close(name);
    }

    /// An element whose content `write` appends, already free of markup.
    pub fn with(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        self.open(name);
        write(&mut self.out);
        self.close(name);
    }

    /// An element with an entity tag, in quotes.
    pub fn etag(&mut self, name: &str, etag: &str) {
        self.with(name, |out| {
            out.push_str("&quot;");
            escape(out, etag);
            out.push_str("&quot;");
        });
    }

    /// The document, as text.
    pub fn into_text(self) -> String {
        self.out
    }

    /// The document.
    pub fn finish(self) -> Vec<u8> {
        self.out.into_bytes()
    }
}

/// Appends text, escaped; runs that need no escape are copied as they are.
fn escape(out: &mut String, text: &str) {
    // 0xEF leads U+FFFE and U+FFFF, which XML cannot carry, among others that it can.
    let special = |b: u8| matches!(b, b'&' | b'<' | b'>' | b'"' | 0xEF) || b < b' ';
    let mut rest = text;
    while let Some(at) = rest.bytes().position(special) {
        out.push_str(&rest[..at]);
        let Some(c) = rest[at..].chars().next() else { return };
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' | ' '..='\u{FFFD}' => out.push(c),
            _ => out.push('\u{FFFD}'),
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.push_str(rest);
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

/// Parses a document whose root element has this local name. Bounded by [`MAX_DOCUMENT_BYTES`],
/// [`MAX_XML_DEPTH`], [`MAX_XML_ELEMENTS`] and [`MAX_XML_ATTRIBUTES`]; a DTD or an entity other than
/// XML's own is refused. Control characters are taken, although XML 1.0 has none of them: keys may
/// have them, and clients name such keys in documents.
pub fn parse(document: &[u8], root: &str) -> Result<Element, Malformed> {
    parse_within(document, root, MAX_XML_ELEMENTS)
}

/// The same for a document that never has more than so many elements, nor a tree of more.
pub fn parse_within(document: &[u8], root: &str, most: usize) -> Result<Element, Malformed> {
    if document.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(document).map_err(|_| Malformed)?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut tree = Tree { left: most, ..Tree::default() };
    let mut first = true;
    loop {
        match reader.read_event().map_err(|_| Malformed)? {
            Event::Start(start) => tree.open(&start)?,
            Event::Empty(start) => {
                tree.open(&start)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.data(&text.xml10_content())?,
            Event::GeneralRef(reference) => tree.data(&resolve(&reference)?.to_string())?,
            Event::Decl(_) if first => {}
            Event::Decl(_) | Event::DocType(_) => return Err(Malformed),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
        first = false;
    }
    tree.root.filter(|e| tree.open.is_empty() && e.name == root).ok_or(Malformed)
}

/// The character of a reference: one by number, or one of the five that XML itself knows.
fn resolve(reference: &BytesRef<'_>) -> Result<char, Malformed> {
    if let Some(c) = reference.resolve_char_ref().map_err(|_| Malformed)? {
        return Ok(c);
    }
    match reference.as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(Malformed),
    }
}

/// Whether this can be the local name of an element of a document that we take.
fn is_name(name: &str) -> bool {
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b) || b >= 0x80;
    !name.is_empty() && name.bytes().all(is_name_byte)
}

/// A document while it is parsed.
#[derive(Default)]
struct Tree {
    /// Elements that are not closed, outermost first.
    open: Vec<Element>,
    /// The closed root.
    root: Option<Element>,
    /// Elements that may still come.
    left: usize,
}

impl Tree {
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed)?;
        let name = start.local_name();
        let fits = self.open.len() < MAX_XML_DEPTH && self.root.is_none() && is_name(name.as_ref());
        if !fits {
            return Err(Malformed);
        }
        let mut element = Element { name: name.as_ref().to_owned(), ..Element::default() };
        for (n, attribute) in start.attributes().enumerate() {
            let attribute = attribute.map_err(|_| Malformed)?;
            // Here and not after the loop: looking for doubles costs the square of their number.
            if n >= MAX_XML_ATTRIBUTES {
                return Err(Malformed);
            }
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let value =
                attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|_| Malformed)?;
            let name = attribute.key.local_name();
            element.attributes.push((name.as_ref().to_owned(), value.into_owned()));
        }
        self.open.push(element);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Malformed> {
        let mut element = self.open.pop().ok_or(Malformed)?;
        if !element.children.is_empty() {
            if !element.text.trim().is_empty() {
                return Err(Malformed);
            }
            element.text = String::new();
        }
        match self.open.last_mut() {
            Some(parent) => {
                if parent.children.is_empty() {
                    // Most have one child or none, and a Vec would begin with room for four.
                    parent.children.reserve_exact(1);
                }
                parent.children.push(element);
            }
            None => self.root = Some(element),
        }
        Ok(())
    }

    /// Character data, which between the tags outside the root may be white space.
    fn text(&mut self, text: &str) -> Result<(), Malformed> {
        if self.open.is_empty() && text.bytes().all(|b| b.is_ascii_whitespace()) {
            return Ok(());
        }
        self.data(text)
    }

    /// Character data inside an element.
    fn data(&mut self, text: &str) -> Result<(), Malformed> {
        if text.contains('\0') {
            return Err(Malformed);
        }
        self.open.last_mut().ok_or(Malformed)?.text.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(document: &str) -> Result<Element, Malformed> {
        parse(document.as_bytes(), "A")
    }

    fn text(document: &str) -> Option<String> {
        root(document).ok().map(|e| e.text)
    }

    #[test]
    fn the_elements_of_a_tree_are_bounded() {
        assert!(parse_within(b"<a><b/><b/></a>", "a", 3).is_ok());
        assert!(parse_within(b"<a><b/><b/></a>", "a", 2).is_err());
    }

    #[test]
    fn writes_what_a_reader_takes_back() {
        for value in ["", "a&b<c>\"'", " \t\n\r ", "日本\u{FFFD}\u{10FFFF}\u{F000}", "]]>"] {
            let mut xml = Writer::document();
            xml.root("A");
            xml.text("B", value);
            xml.etag("C", "a\"b");
            xml.value("D", 12);
            xml.close("A");
            let document = parse(&xml.finish(), "A").expect("it is well formed");
            assert_eq!(document.child_text("B"), Some(value));
            assert_eq!(document.child_text("C"), Some("\"a\"b\""));
            assert_eq!(document.child_text("D"), Some("12"));
        }
        let mut xml = Writer::document();
        xml.text("A", "\u{1}\u{FFFE}\u{FFFF}\u{7f}");
        assert_eq!(parse(&xml.finish(), "A").unwrap().text, "\u{FFFD}\u{FFFD}\u{FFFD}\u{7f}");
    }

    #[test]
    fn names_text_and_children() {
        let document = root(
            "\u{FEFF}<?xml version='1.0' encoding='utf-8'?>\n<!-- c --><s3:A xmlns:s3='u'>\n \
             <B x='1'> b </B><B/><s3:C><![CDATA[<&]]>&amp;</s3:C>\n</s3:A>\n<!-- c -->\n",
        )
        .expect("it is well formed");
        assert_eq!(document.text, "");
        assert_eq!(document.children("B").count(), 2);
        assert_eq!(document.child_text("B"), Some(" b "));
        assert_eq!(document.child_text("C"), Some("<&&"));
        assert_eq!(document.child("D"), None);
        assert_eq!(document.attributes, []);
        assert_eq!(document.children[0].attributes, [("x".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn attributes_lose_their_prefix_and_declarations_are_left_out() {
        let document =
            root("<A xmlns='u' xmlns:xsi='v'><B xsi:type=\"Canonical&#x20;User&amp;\"/></A>")
                .expect("it is well formed");
        assert_eq!(
            document.children[0].attributes,
            [("type".to_owned(), "Canonical User&".to_owned())]
        );
        for bad in ["<A x='1' x='2'/>", "<A x/>", "<A x=1/>", "<A x='&e;'/>", "<A x='1/>"] {
            assert_eq!(root(bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn references_and_line_ends() {
        assert_eq!(text("<A>&#65;&#x42;&lt;&gt;&quot;&apos;&#13;</A>").unwrap(), "AB<>\"'\r");
        assert_eq!(text("<A>a\r\nb\rc</A>").unwrap(), "a\nb\nc");
        assert_eq!(text("<A>&#1;\u{2}</A>").unwrap(), "\u{1}\u{2}");
        for bad in ["&e;", "&", "&#0;", "&#xD800;", "&#x110000;", "&#;", "&nbsp;", "\0", "&#1"] {
            assert_eq!(text(&format!("<A>{bad}</A>")), None, "{bad}");
        }
    }

    #[test]
    fn refuses_what_is_no_document() {
        for bad in [
            "",
            " ",
            "text",
            "<A>",
            "</A>",
            "<A></B>",
            "<A/><A/>",
            "<A/>x",
            "x<A/>",
            "<A/>&amp;",
            "<A/><![CDATA[]]>",
            "<B/>",
            "<a/>",
            "<A><B></A></B>",
            "<A>mixed<B/></A>",
            "<A><!-- </A>",
            "<A><![CDATA[</A>",
            "<A/><?xml version='1.0'?>",
            "<!DOCTYPE A><A/>",
            "<!DOCTYPE A [<!ENTITY e 'x'>]><A>&e;</A>",
            "<></>",
            "<A",
        ] {
            assert_eq!(root(bad), Err(Malformed), "{bad}");
        }
        assert_eq!(parse(b"<A>\xff</A>", "A"), Err(Malformed));
        assert_eq!(parse(b"\xff\xfe<\0A\0/\0>\0", "A"), Err(Malformed));
    }

    #[test]
    fn an_entity_bomb_does_not_go_off() {
        let mut bomb = String::from("<!DOCTYPE A [<!ENTITY a0 'ha'>");
        for n in 1..30 {
            bomb.push_str(&format!("<!ENTITY a{n} '&a{0};&a{0};'>", n - 1));
        }
        bomb.push_str("]><A>&a29;</A>");
        assert_eq!(root(&bomb), Err(Malformed));
    }

    #[test]
    fn bounds() {
        let nested = |depth: usize| {
            let inner = depth - 1;
            format!("<A>{}{}</A>", "<B>".repeat(inner), "</B>".repeat(inner))
        };
        assert!(root(&nested(MAX_XML_DEPTH)).is_ok());
        assert_eq!(root(&nested(MAX_XML_DEPTH + 1)), Err(Malformed));
        assert_eq!(root(&"<A>".repeat(300_000)), Err(Malformed));
        let many = |n: usize| format!("<A>{}</A>", "<B/>".repeat(n - 1));
        assert!(root(&many(MAX_XML_ELEMENTS)).is_ok());
        assert_eq!(root(&many(MAX_XML_ELEMENTS + 1)), Err(Malformed));
        let wide = |n: usize| {
            let attributes: String = (0..n).map(|i| format!(" a{i}=''")).collect();
            format!("<A{attributes}/>")
        };
        assert!(root(&wide(MAX_XML_ATTRIBUTES)).is_ok());
        assert_eq!(root(&wide(100_000)), Err(Malformed));
        let long = format!("<A>{}</A>", " ".repeat(MAX_DOCUMENT_BYTES as usize));
        assert_eq!(root(&long), Err(Malformed));
    }

    /// A smoke test of the fuzz target's property: no panic, whatever comes.
    #[test]
    fn mutations_do_not_panic() {
        let seed = b"<?xml version='1.0'?><A x:y='&lt;'><B>t&#65;</B><![CDATA[c]]><!--d--><C/></A>";
        let bytes = b"<>/!?&;#'\"=[]-: xA1\0\x80\xef\xff";
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut document = seed.to_vec();
            for _ in 0..3 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = random as usize % document.len();
                document[at] = bytes[(random >> 32) as usize % bytes.len()];
            }
            let _ = parse(&document, "A");
        }
    }
}
