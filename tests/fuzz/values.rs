//! Values of headers and queries.

use super::{Rng, fuzz};
use jog::s3::uri::{Query, decode, encode};
use jog::types::{BucketName, ByteRange, ETag, ETagList, ObjectKey, time};

#[test]
fn what_was_encoded_can_be_decoded() {
    let make = |rng: &mut Rng| (rng.text(40), rng.below(2) == 0);
    fuzz(make, |(text, slash)| {
        let encoded = encode(text, *slash);
        assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%/".contains(&b)));
        assert_eq!(decode(&encoded, false).as_ref(), Some(text));
        assert_eq!(decode(&encoded, true).as_ref(), Some(text));
    });
}

#[test]
fn any_text_can_be_decoded_or_is_refused() {
    let make = |rng: &mut Rng| {
        let encoded = encode(&rng.text(30), false);
        rng.damaged(&encoded, &["%", "%2", "%ff", "%C3%A9", "+", "%00", "%%"])
    };
    fuzz(make, |text| {
        for plus in [false, true] {
            if let Some(decoded) = decode(text, plus) {
                assert!(decoded.len() <= text.len());
                assert_eq!(decode(&encode(&decoded, false), plus), Some(decoded));
            }
        }
    });
}

#[test]
fn queries_give_back_what_went_in() {
    let make = |rng: &mut Rng| -> Vec<(String, String)> {
        (0..rng.below(6)).map(|_| (rng.text(8), rng.text(8))).collect()
    };
    fuzz(make, |pairs| {
        let pair = |(n, v): &(String, String)| format!("{}={}", encode(n, false), encode(v, true));
        let text = pairs.iter().map(pair).collect::<Vec<_>>().join("&");
        let query = Query::parse(&text).expect("nothing is malformed");
        let found: Vec<_> = query.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        assert_eq!(&found, pairs);
        for (name, _) in pairs {
            let first = pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
            assert!(query.has(name) && query.get(name) == first);
        }
    });
    let damaged = |rng: &mut Rng| rng.damaged("uploads&prefix=a%2Fb&max-keys=10", &["&", "=", "%"]);
    fuzz(damaged, |text| {
        if let Some(query) = Query::parse(text) {
            assert!(query.iter().count() <= 1 + text.matches('&').count());
        }
    });
}

#[test]
fn ranges_stay_inside_the_object() {
    let make = |rng: &mut Rng| {
        let text = rng.pick(&["bytes=0-9", "bytes=5-", "bytes=-7", "bytes=18446744073709551615-"]);
        let size = match rng.below(4) {
            0 => 0,
            1 => u64::MAX,
            _ => rng.next() % 20,
        };
        let tokens = ["18446744073709551615", "18446744073709551616", "-", "bytes", "=", ",", "é"];
        (rng.damaged(text, &tokens), size)
    };
    fuzz(make, |(text, size)| {
        let Some(span) = ByteRange::parse(text).and_then(|range| range.within(*size)) else {
            return;
        };
        assert!(span.len > 0);
        assert!(span.start.checked_add(span.len).expect("no overflow") <= *size);
    });
}

#[test]
fn lists_of_tags_match_their_own() {
    let make = |rng: &mut Rng| {
        let tags: Vec<ETag> = (0..1 + rng.below(4))
            .map(|n| ETag::from_parts(&[rng.next() as u8; 16], n + rng.below(3)))
            .collect();
        (tags, rng.text(20))
    };
    fuzz(make, |(tags, noise)| {
        let weak = |tag: &ETag| format!("W/{}", tag.quoted());
        for list in [
            tags.iter().map(ETag::quoted).collect::<Vec<_>>().join(","),
            tags.iter().map(weak).collect::<Vec<_>>().join(" , "),
            tags.iter().map(|t| t.as_str().to_owned()).collect::<Vec<_>>().join(", "),
        ] {
            let list = ETagList::parse(&list);
            assert!(tags.iter().all(|tag| list.matches(tag)));
            assert!(!list.matches(&ETag::from_text("none of them")));
        }
        let _ = ETagList::parse(noise).matches(&tags[0]);
        let bare = ETag::from_text(noise);
        assert_eq!(ETag::from_text(&bare.quoted()), bare);
    });
}

/// The last millisecond of the year 9999.
const LAST_MS: u64 = 253_402_300_799_999;

#[test]
fn times_come_back() {
    let make = |rng: &mut Rng| (rng.next() % (LAST_MS + 1)) as i64;
    fuzz(make, |&ms| {
        assert_eq!(time::parse_iso(&time::iso(ms)), Some(ms));
        assert_eq!(time::parse_basic(&time::basic(ms / 1000)), Some(ms / 1000));
        assert_eq!(time::parse_http(&time::http(ms)), Some(ms / 1000));
    });
}

#[test]
fn damaged_times_are_times_or_refused() {
    let make = |rng: &mut Rng| {
        let ms = (rng.next() % LAST_MS) as i64;
        let text = match rng.below(3) {
            0 => time::iso(ms),
            1 => time::basic(ms / 1000),
            _ => time::http(ms),
        };
        rng.damaged(&text, &["99", "00", "-", "Z", ".", "+00:00", "é", "T", "9999", "Feb", "31"])
    };
    fuzz(make, |text| {
        if let Some(ms) = time::parse_iso(text) {
            assert_eq!(time::parse_iso(&time::iso(ms)), Some(ms));
        }
        if let Some(seconds) = time::parse_basic(text) {
            // A leap second is the first second of the next minute.
            assert!(&time::basic(seconds) == text || &text[13..15] == "60");
        }
        if let Some(seconds) = time::parse_http(text) {
            assert_eq!(time::parse_http(&time::http(seconds * 1000)), Some(seconds));
        }
    });
}

#[test]
fn names_and_keys_keep_their_bounds() {
    let make = |rng: &mut Rng| {
        let name = rng.damaged("my-bucket.name-1", &["..", "-", "/", "xn--", "é", "A"]);
        (name, rng.text(600))
    };
    fuzz(make, |(name, key)| {
        if let Some(found) = BucketName::parse(name) {
            assert_eq!(found.as_str(), name);
            assert!(!name.contains(['/', '\\', '\0']) && name != "." && name != "..");
            assert!((3..=63).contains(&name.len()));
        }
        assert_eq!(ObjectKey::parse(key.as_str()).is_ok(), (1..=1024).contains(&key.len()));
    });
}
