//! Whether no object of a JSON document has a key twice. A parser takes the last one, so that a
//! reader of the document and whoever enforces it could see different things.

use std::collections::HashSet;

/// `json`: a valid document. Linear in its length but for the sets of keys.
pub(super) fn keys_are_unique(json: &str) -> bool {
    let bytes = json.as_bytes();
    // The keys of each object that is open; of an array there are none.
    let mut open: Vec<HashSet<String>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => open.push(HashSet::new()),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                let start = at;
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let end = (at + 1).min(bytes.len());
                let after = bytes[end..].iter().find(|b| !b.is_ascii_whitespace());
                if after == Some(&b':') {
                    let Ok(key) = serde_json::from_slice::<String>(&bytes[start..end]) else {
                        return false;
                    };
                    if !open.last_mut().is_some_and(|keys| keys.insert(key)) {
                        return false;
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::keys_are_unique;

    #[test]
    fn twice() {
        for yes in [r#"{}"#, r#"{"a":{"a":1},"b":[{"a":1},{"a":2}],"c":"a\"{"}"#, r#"["a","a"]"#] {
            assert!(keys_are_unique(yes), "{yes}");
        }
        for no in [r#"{"a":1,"a":2}"#, r#"{"a" : 1, "\u0061":2}"#, r#"[{"b":[],"b":{}}]"#] {
            assert!(!keys_are_unique(no), "{no}");
        }
    }
}
