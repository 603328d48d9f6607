//! ListObjects, versions 1 and 2.

use crate::support::{Request, Response, Server, at_once, decode, md5_hex, shared, texts};

fn bucket_with(server: &Server, keys: &[&str]) -> String {
    let bucket = server.bucket("list");
    for key in keys {
        server.object("PUT", &bucket, key).body(key).send().expect(200);
    }
    bucket
}

fn v2(server: &Server, bucket: &str, parameters: &[(&str, &str)]) -> Request {
    let mut request = server.get(&format!("/{bucket}?list-type=2"));
    for (name, value) in parameters {
        request = request.query(name, value);
    }
    request
}

fn v1(server: &Server, bucket: &str, parameters: &[(&str, &str)]) -> Request {
    let mut request = server.get(&format!("/{bucket}"));
    for (name, value) in parameters {
        request = request.query(name, value);
    }
    request
}

/// The common prefixes of a page.
fn prefixes(page: &Response) -> Vec<String> {
    page.elements("CommonPrefixes").iter().flat_map(|p| texts(p, "Prefix")).collect()
}

/// All keys and common prefixes, page by page.
fn pages(
    server: &Server,
    bucket: &str,
    max: &str,
    more: &[(&str, &str)],
) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut folders, mut token) = (Vec::new(), Vec::new(), None::<String>);
    for _ in 0..100 {
        let mut request = v2(server, bucket, more).query("max-keys", max);
        if let Some(token) = &token {
            request = request.query("continuation-token", token);
        }
        let page = request.send().expect(200);
        assert_eq!(page.get("ContinuationToken"), token);
        let count = page.all("Key").len() + prefixes(&page).len();
        assert_eq!(page.text("KeyCount"), count.to_string());
        assert!(count <= max.parse().expect("a number"));
        keys.extend(page.all("Key"));
        folders.extend(prefixes(&page));
        token = page.get("NextContinuationToken");
        assert_eq!(page.text("IsTruncated"), token.is_some().to_string());
        if token.is_none() {
            return (keys, folders);
        }
        assert!(count > 0, "a page that is truncated has something");
    }
    panic!("it does not end");
}

const KEYS: [&str; 9] =
    ["a", "a/", "a/b", "a/b/c", "b::x", "b::y::z", "b:x", "photos/2006/1", "photos/2007/2"];

#[test]
fn what_stands_in_a_listing() {
    let server = shared();
    let bucket = bucket_with(server, &KEYS);
    let page = v2(server, &bucket, &[]).send().expect(200);
    assert_eq!(page.header("content-type"), Some("application/xml"));
    assert_eq!(page.all("Key"), KEYS);
    assert_eq!(page.text("Name"), bucket);
    assert_eq!((page.text("MaxKeys"), page.text("IsTruncated")), ("1000".into(), "false".into()));
    assert_eq!(page.all("Size"), KEYS.map(|k| k.len().to_string()));
    assert_eq!(page.all("ETag"), KEYS.map(|k| format!("\"{}\"", md5_hex(k.as_bytes()))));
    assert_eq!(page.all("StorageClass"), ["STANDARD"; 9]);
    assert!(page.all("LastModified").iter().all(|t| t.ends_with('Z') && t.len() == 24));
    assert!(page.elements("Owner").is_empty());
    let owners = v2(server, &bucket, &[("fetch-owner", "true")]).send().expect(200);
    assert_eq!(owners.elements("Owner").len(), 9);
    let first = v1(server, &bucket, &[]).send().expect(200);
    assert_eq!(first.all("Key"), KEYS);
    assert_eq!(first.elements("Owner").len(), 9);
    assert_eq!((first.get("KeyCount"), first.text("Marker")), (None, String::new()));
    for target in ["/no-such-bucket-here?list-type=2", "/no-such-bucket-here"] {
        server.get(target).send().expect_error(404, "NoSuchBucket");
    }
}

#[test]
fn prefixes_and_delimiters() {
    let server = shared();
    let bucket = bucket_with(server, &KEYS);
    let list = |prefix: &str, delimiter: &str| {
        let page = v2(server, &bucket, &[("prefix", prefix), ("delimiter", delimiter)]);
        let page = page.send().expect(200);
        assert_eq!(page.get("Prefix").unwrap_or_default(), prefix);
        let both = (page.all("Key"), prefixes(&page));
        for max in ["1", "2", "3"] {
            let more = [("prefix", prefix), ("delimiter", delimiter)];
            assert_eq!(pages(server, &bucket, max, &more), both, "{prefix} {delimiter} {max}");
        }
        both
    };
    let is = |found: (Vec<String>, Vec<String>), keys: &[&str], folders: &[&str]| {
        assert_eq!((found.0, found.1), (to_vec(keys), to_vec(folders)));
    };
    is(list("", "/"), &["a", "b::x", "b::y::z", "b:x"], &["a/", "photos/"]);
    is(list("a", "/"), &["a"], &["a/"]);
    is(list("a/", "/"), &["a/", "a/b"], &["a/b/"]);
    is(list("a/b", "/"), &["a/b"], &["a/b/"]);
    is(list("photos/", "/"), &[], &["photos/2006/", "photos/2007/"]);
    is(list("photos/200", "/"), &[], &["photos/2006/", "photos/2007/"]);
    is(list("b", "::"), &["b:x"], &["b::"]);
    is(list("b::", "::"), &["b::x"], &["b::y::"]);
    is(list("", "/2"), &KEYS[..7], &["photos/2"]);
    is(list("", "o"), &KEYS[..7], &["pho"]);
    is(list("", "nothing"), &KEYS, &[]);
    is(list("nothing", "/"), &[], &[]);
    is(list("photos/2006/1", "/"), &["photos/2006/1"], &[]);
}

fn to_vec(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_delimiter_in_unicode() {
    let server = shared();
    let keys = ["a→b", "a→c", "a←d", "日本/1", "日月/2", "\u{10ffff}x", "\u{10ffff}y"];
    let bucket = bucket_with(server, &keys);
    let list = |delimiter: &str| {
        let page = v2(server, &bucket, &[("delimiter", delimiter)]).send().expect(200);
        let both = (page.all("Key"), prefixes(&page));
        assert_eq!(pages(server, &bucket, "1", &[("delimiter", delimiter)]), both);
        both
    };
    assert_eq!(list("→").1, ["a→"]);
    assert_eq!(list("日").1, ["日"]);
    // The last character there is: nothing comes after it.
    assert_eq!(list("\u{10ffff}").1, ["\u{10ffff}"]);
    assert_eq!(list("\u{10ffff}").0.len(), 5);
}

#[test]
fn start_after_and_marker() {
    let server = shared();
    let bucket = bucket_with(server, &KEYS);
    let after = |start: &str| {
        let page = v2(server, &bucket, &[("start-after", start)]).send().expect(200);
        assert_eq!(page.get("StartAfter").unwrap_or_default(), start);
        let marker = v1(server, &bucket, &[("marker", start)]).send().expect(200);
        assert_eq!(marker.all("Key"), page.all("Key"));
        page.all("Key")
    };
    assert_eq!(after(""), KEYS);
    assert_eq!(after("a/b"), KEYS[3..]);
    assert_eq!(after("a/bb"), KEYS[4..]);
    assert!(after("zzz").is_empty());
    assert_eq!(after("0"), KEYS);
    // With a delimiter: a folder whose keys all come before is not there, one with a later key is.
    let folders = |start: &str| {
        let page = v2(server, &bucket, &[("start-after", start), ("delimiter", "/")]);
        prefixes(&page.send().expect(200))
    };
    assert_eq!(folders("a/b"), ["a/", "photos/"]);
    assert_eq!(folders("b"), ["photos/"]);
    // A token goes before start-after.
    let first = v2(server, &bucket, &[("max-keys", "3"), ("start-after", "a")]).send().expect(200);
    let token = first.text("NextContinuationToken");
    let more = [("continuation-token", token.as_str()), ("start-after", "a")];
    let second = v2(server, &bucket, &more).send().expect(200);
    assert_eq!([first.all("Key"), second.all("Key")].concat(), KEYS[1..]);
}

/// As on AWS: a marker below a common prefix passes all of it, in every listing that has one.
#[test]
fn a_marker_below_a_common_prefix() {
    let server = shared();
    let bucket = super::versioning::versioned(server, "list");
    for key in ["f/a/1", "f/a/2", "f/one", "f/two"] {
        server.object("PUT", &bucket, key).body(key).send().expect(200);
        server.upload(&bucket, key);
    }
    for (listing, marker) in [("", "marker"), ("versions", "key-marker"), ("uploads", "key-marker")]
    {
        let page = |after: &str| {
            let get = server.get(&format!("/{bucket}?{listing}")).query(marker, after);
            get.query("prefix", "f/").query("delimiter", "/").send().expect(200)
        };
        assert_eq!(prefixes(&page("f/")), ["f/a/"], "{listing}");
        for after in ["f/a/", "f/a/1", "f/a/2", "f/a/3"] {
            let page = page(after);
            assert!(prefixes(&page).is_empty(), "{listing} {after}");
            assert_eq!(page.all("Key"), ["f/one", "f/two"], "{listing} {after}");
        }
    }
    let marked = server.get(&format!("/{bucket}?versions&version-id-marker=null"));
    let marked = marked.query("key-marker", "f/a/1").query("prefix", "f/").query("delimiter", "/");
    assert_eq!(marked.send().expect(200).all("Key"), ["f/one", "f/two"]);
}

#[test]
fn pages_of_version_1() {
    let server = shared();
    let bucket = bucket_with(server, &KEYS);
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page =
            v1(server, &bucket, &[("max-keys", "2"), ("marker", &marker), ("delimiter", "/")]);
        let page = page.send().expect(200);
        seen.extend(page.all("Key"));
        seen.extend(prefixes(&page));
        if page.text("IsTruncated") == "false" {
            break;
        }
        marker = page.text("NextMarker");
        assert!(seen.len() < 10);
    }
    seen.sort();
    assert_eq!(seen, ["a", "a/", "b::x", "b::y::z", "b:x", "photos/"]);
    let plain = v1(server, &bucket, &[("max-keys", "2")]).send().expect(200);
    assert_eq!(plain.get("NextMarker"), None, "only with a delimiter, as on AWS");
    assert_eq!(plain.text("IsTruncated"), "true");
}

#[test]
fn a_listing_of_2500_keys() {
    let server = shared();
    let bucket = server.bucket("list");
    let key = |n: usize| format!("{}/{n:04}", n % 7);
    at_once(8, |thread| {
        let mut connection = server.connect();
        for n in (thread..2500).step_by(8) {
            connection.send(server.put(&format!("/{bucket}/{}", key(n)))).expect(200);
        }
    });
    let mut expected: Vec<String> = (0..2500).map(key).collect();
    expected.sort();
    for max in ["1000", "999", "2500"] {
        let max = if max == "2500" { "1000" } else { max };
        assert_eq!(pages(server, &bucket, max, &[]).0, expected);
    }
    let page = v2(server, &bucket, &[("max-keys", "5000")]).send().expect(200);
    assert_eq!(page.all("Key"), expected[..1000]);
    assert_eq!((page.text("MaxKeys"), page.text("IsTruncated")), ("1000".into(), "true".into()));
    let folders: Vec<String> = (0..7).map(|n| format!("{n}/")).collect();
    assert_eq!(pages(server, &bucket, "2", &[("delimiter", "/")]).1, folders);
    let one = pages(server, &bucket, "100", &[("prefix", "3/"), ("delimiter", "/")]).0;
    assert_eq!(one.len(), 357);
    // What is deleted under a token does no harm.
    let first = v2(server, &bucket, &[("max-keys", "10")]).send().expect(200);
    let token = first.text("NextContinuationToken");
    server.delete(&format!("/{bucket}/{}", expected[9])).send().expect(204);
    server.delete(&format!("/{bucket}/{}", expected[10])).send().expect(204);
    let more = [("max-keys", "3"), ("continuation-token", &*token)];
    let next = v2(server, &bucket, &more).send().expect(200);
    assert_eq!(next.all("Key"), expected[11..14]);
}

#[test]
fn page_sizes() {
    let server = shared();
    let bucket = bucket_with(server, &KEYS);
    for list in [v1, v2] {
        let none = list(server, &bucket, &[("max-keys", "0")]).send().expect(200);
        assert!(none.elements("Contents").is_empty());
        assert_eq!((none.text("MaxKeys"), none.text("IsTruncated")), ("0".into(), "false".into()));
        for exact in ["9", "10", "1000", "2147483647"] {
            let page = list(server, &bucket, &[("max-keys", exact)]).send().expect(200);
            assert_eq!(page.all("Key").len(), 9);
            assert_eq!(page.text("IsTruncated"), "false");
        }
        for bad in ["-1", "x", "1.5", "99999999999"] {
            let error = list(server, &bucket, &[("max-keys", bad)]).send();
            error.expect_error(400, "InvalidArgument");
        }
        let bad = list(server, &bucket, &[("encoding-type", "base64")]).send();
        bad.expect_error(400, "InvalidArgument");
    }
    for token in ["nonsense", "!!", "AAAA", "a%20b"] {
        let error = v2(server, &bucket, &[("continuation-token", token)]).send();
        error.expect_error(400, "InvalidArgument");
    }
}

#[test]
fn names_that_xml_cannot_hold() {
    let server = shared();
    let keys = ["\u{1}\u{1f}", "\t\n\r", "a b+c%", "a&<>\"'", "dir\u{2}/x", "ü日🦀", "\u{fffe}"];
    let bucket = bucket_with(server, &keys);
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    for list in [v1, v2] {
        let page = list(server, &bucket, &[("encoding-type", "url")]).send().expect(200);
        assert_eq!(page.text("EncodingType"), "url");
        assert!(page.body.is_ascii());
        assert!(page.body.iter().all(|b| *b >= b' ' || *b == b'\n'));
        let decoded: Vec<String> = page.all("Key").iter().map(|k| decode(k)).collect();
        assert_eq!(decoded, sorted);
        assert!(
            page.all("Key").contains(&"a%20b%2Bc%25".to_owned())
                || page.all("Key").contains(&"a+b%2Bc%25".to_owned())
        );
        let more = [("encoding-type", "url"), ("delimiter", "\u{2}/"), ("prefix", "dir")];
        let folder = list(server, &bucket, &more).send().expect(200);
        assert_eq!(prefixes(&folder), ["dir%02/"]);
        assert_eq!(decode(&folder.text("Delimiter")), "\u{2}/");
        // Without it, names come as they are: a line break too survives a reader of XML.
        let plain = list(server, &bucket, &[("prefix", "\t")]).send().expect(200);
        assert_eq!(plain.all("Key"), ["\t\n\r"]);
        assert!(!plain.xml().contains('\r'), "a reader of XML would make it a line feed");
    }
    let after = [("encoding-type", "url"), ("start-after", "a&<>\"'")];
    let after = v2(server, &bucket, &after).send().expect(200);
    assert_eq!(decode(&after.text("StartAfter")), "a&<>\"'");
    // Tokens go over any name.
    let more = [("encoding-type", "url")];
    let (paged, _) = pages(server, &bucket, "1", &more);
    assert_eq!(paged.iter().map(|k| decode(k)).collect::<Vec<_>>(), sorted);
}
