//! Request documents.

use super::{Rng, fuzz};
use jog::limits::MAX_XML_DEPTH;
use jog::xml::{Element, Writer, parse};

const TOKENS: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "<a>",
    "</a>",
    "&amp;",
    "&lt;",
    "&#0;",
    "&#x110000;",
    "&#xD800;",
    "&x;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE a [",
    "<?",
    "?>",
    "xmlns=",
    " a=\"1\"",
    "\u{FEFF}",
    "\0",
    "ns:",
    "<Delete>",
    "<Key>",
];

const DOCUMENTS: &[&str] = &[
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete \
     xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>a&amp;b</Key></Object>\
     <Quiet>true</Quiet></Delete>",
    "<Delete><Object><Key><![CDATA[a<b]]></Key><VersionId/></Object></Delete>",
    "<s3:Delete xmlns:s3=\"x\"><s3:Object a='1' xsi:type=\"t\"><s3:Key> é </s3:Key></s3:Object>\
     </s3:Delete>",
];

fn depth(element: &Element) -> usize {
    1 + element.children.iter().map(depth).max().unwrap_or(0)
}

fn is_sound(element: &Element) {
    assert!(!element.name.is_empty() && !element.name.contains([':', '<', '>', '/', ' ']));
    element.children.iter().for_each(is_sound);
}

#[test]
fn damaged_documents_are_taken_or_refused() {
    let make = |rng: &mut Rng| {
        let mut document = rng.pick(DOCUMENTS).as_bytes().to_vec();
        rng.damage(&mut document, TOKENS);
        document
    };
    fuzz(make, |document| {
        if let Ok(root) = parse(document, "Delete") {
            assert_eq!(root.name, "Delete");
            assert!(depth(&root) <= MAX_XML_DEPTH);
            is_sound(&root);
        }
    });
}

#[test]
fn noise_is_no_document() {
    let make = |rng: &mut Rng| {
        let mut bytes = rng.bytes(40);
        for _ in 0..rng.below(10) {
            bytes.extend_from_slice(rng.pick(TOKENS).as_bytes());
        }
        bytes
    };
    fuzz(make, |document| {
        let _ = parse(document, "Delete").map(|root| is_sound(&root));
    });
}

/// A tree that the writer can write and that comes back from the reader.
fn tree(rng: &mut Rng, levels: usize) -> Element {
    let name = rng.pick(&["Key", "Object", "A", "long-Name.1"]).to_owned();
    let mut element = Element { name, ..Default::default() };
    if levels > 0 && rng.below(3) > 0 {
        element.children = (0..1 + rng.below(3)).map(|_| tree(rng, levels - 1)).collect();
    } else {
        // What XML cannot carry becomes U+FFFD.
        let carried = |c: &char| matches!(*c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
        element.text = rng.text(12).chars().filter(carried).collect();
    }
    element
}

fn write(out: &mut Writer, element: &Element) {
    if element.children.is_empty() {
        return out.text(&element.name, &element.text);
    }
    out.open(&element.name);
    element.children.iter().for_each(|child| write(out, child));
    out.close(&element.name);
}

#[test]
fn what_was_written_can_be_read() {
    let make = |rng: &mut Rng| (0..rng.below(4)).map(|_| tree(rng, 4)).collect::<Vec<_>>();
    fuzz(make, |children| {
        let mut out = Writer::document();
        out.root("Root");
        children.iter().for_each(|child| write(&mut out, child));
        out.close("Root");
        let document = out.finish();
        let root = parse(&document, "Root").expect("our own documents are well-formed");
        assert_eq!(&root.children, children, "{}", String::from_utf8_lossy(&document));
    });
}
