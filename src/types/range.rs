//! Byte ranges (RFC 9110, 14.1.2).

/// What a Range header asks for, before the size is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `first-` or `first-last`, both inclusive.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Last(u64),
}

/// Bytes of an object: `len` of them from `start`; never beyond its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

impl ByteRange {
    /// `None` for what is to be ignored: another unit, several ranges, no valid syntax.
    pub fn parse(value: &str) -> Option<Self> {
        let spec = value.trim().strip_prefix("bytes=")?.trim();
        let (first, last) = spec.split_once('-')?;
        let number = |text: &str| -> Option<u64> {
            let text = text.trim();
            (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                .then(|| text.parse().unwrap_or(u64::MAX))
        };
        match (first.trim().is_empty(), last.trim().is_empty()) {
            (true, true) => None,
            (true, false) => number(last).map(Self::Last),
            (false, true) => number(first).map(|f| Self::From(f, None)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes it means in an object of `size` bytes; `None` if there are none (416).
    pub fn within(self, size: u64) -> Option<Span> {
        let span = match self {
            Self::From(first, last) => {
                let end = last.map_or(size, |l| l.saturating_add(1).min(size));
                Span { start: first, len: end.saturating_sub(first) }
            }
            Self::Last(n) => {
                let len = n.min(size);
                Span { start: size - len, len }
            }
        };
        (span.len > 0).then_some(span)
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, Span};

    #[test]
    fn parses_and_bounds() {
        let span = |text: &str, size| ByteRange::parse(text).unwrap().within(size);
        assert_eq!(span("bytes=0-0", 5), Some(Span { start: 0, len: 1 }));
        assert_eq!(span("bytes=1-", 5), Some(Span { start: 1, len: 4 }));
        assert_eq!(span("bytes=-2", 5), Some(Span { start: 3, len: 2 }));
        assert_eq!(span("bytes=-9", 5), Some(Span { start: 0, len: 5 }));
        assert_eq!(span("bytes=3-99999999999999999999999", 5), Some(Span { start: 3, len: 2 }));
        assert_eq!(span("bytes=5-", 5), None);
        assert_eq!(span("bytes=-0", 5), None);
        assert_eq!(span("bytes=0-", 0), None);
        for bad in ["bytes=2-1", "bytes=a-b", "bytes=-", "items=0-1", "bytes=0-1,3-4", "0-1"] {
            assert_eq!(ByteRange::parse(bad), None, "{bad}");
        }
    }
}
