//! The framing of `Transfer-Encoding: chunked` (RFC 9112, 7.1), decoded byte by byte, so that it
//! needs no buffer of its own. Extensions and trailers are checked for form and dropped.

use crate::limits::{MAX_CHUNK_LINE_BYTES, MAX_TRAILER_BYTES};

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the size, which has so many digits so far.
    Size { digits: usize },
    /// In white space between size and extension.
    Gap,
    /// In the chunk extension.
    Extension,
    /// The LF of the size line.
    SizeLf,
    /// In the data.
    Data,
    /// The CR behind the data.
    DataCr,
    /// The LF behind the data.
    DataLf,
    /// At the first byte of a trailer line.
    TrailerStart,
    /// In a trailer line.
    Trailer,
    /// The LF of a trailer line.
    TrailerLf,
    /// The LF of the empty line.
    EndLf,
    /// Behind the empty line.
    Done,
}

/// A body that breaks the rules, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed(pub(super) &'static str);

/// Decodes the framing of one body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// The size as read so far, then what is left of the chunk's data.
    left: u64,
    /// Bytes of the size line, or of all trailers, so far.
    line: usize,
}

impl Chunked {
    /// At the start of a body.
    pub(super) fn new() -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, line: 0 }
    }

    /// True when the whole body, with its trailers, has been decoded.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// So many bytes of data come next; 0 if framing does.
    pub(super) fn data_left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// `count` bytes of data, at most [`Self::data_left`], were taken.
    pub(super) fn took(&mut self, count: u64) {
        debug_assert!(count <= self.data_left());
        self.left -= count;
        if self.left == 0 {
            self.state = State::DataCr;
        }
    }

    /// Decodes framing up to the next data or the end of the body; returns how many bytes of
    /// `input` that were. All of them means that more are needed, unless it is done or there is
    /// data left.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        for (at, &byte) in input.iter().enumerate() {
            if matches!(self.state, State::Data | State::Done) {
                return Ok(at);
            }
            self.step(byte)?;
        }
        Ok(input.len())
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match (self.state, byte) {
            (State::Size { digits: 1.. }, b'\r') => State::SizeLf,
            (State::Size { digits: 1.. } | State::Gap, b' ' | b'\t') => {
                self.count(MAX_CHUNK_LINE_BYTES, "chunk extension too long")?;
                State::Gap
            }
            (State::Size { digits: 1.. } | State::Gap, b';') => State::Extension,
            (State::Size { digits }, _) => {
                self.count(MAX_CHUNK_LINE_BYTES, "chunk size too long")?;
                let digit = char::from(byte).to_digit(16).ok_or(Malformed("bad chunk size"))?;
                let size = self.left.checked_mul(16).ok_or(Malformed("chunk size overflows"))?;
                self.left = size | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) => {
                self.count(MAX_CHUNK_LINE_BYTES, "chunk extension too long")?;
                visible(byte).map(|()| State::Extension)?
            }
            (State::SizeLf, b'\n') => {
                self.line = 0;
                if self.left == 0 { State::TrailerStart } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line = 0;
                State::Size { digits: 0 }
            }
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, _) => {
                self.count(MAX_TRAILER_BYTES, "trailers too long")?;
                visible(byte).map(|()| State::Trailer)?
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            (State::Data | State::Done, _) => unreachable!("advance stops at data and at the end"),
            _ => return Err(Malformed("bad line end in the chunked body")),
        };
        Ok(())
    }

    fn count(&mut self, limit: usize, reason: &'static str) -> Result<(), Malformed> {
        self.line += 1;
        if self.line > limit { Err(Malformed(reason)) } else { Ok(()) }
    }
}

/// Refuses control characters, bare line feeds among them.
fn visible(byte: u8) -> Result<(), Malformed> {
    match byte {
        b'\t' | b' '..=b'~' | 0x80.. => Ok(()),
        _ => Err(Malformed("control character in the chunked body")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input`, given `step` bytes at a time; the data and what follows the body.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let mut chunked = Chunked::new();
        let mut data = Vec::new();
        let mut rest = Vec::new();
        for mut piece in input.chunks(step) {
            while !piece.is_empty() {
                if chunked.is_done() {
                    rest.extend_from_slice(piece);
                    break;
                }
                let take = chunked.data_left().min(piece.len() as u64) as usize;
                if take > 0 {
                    data.extend_from_slice(&piece[..take]);
                    chunked.took(take as u64);
                    piece = &piece[take..];
                } else {
                    let used = chunked.advance(piece)?;
                    piece = &piece[used..];
                }
            }
        }
        if chunked.is_done() { Ok((data, rest)) } else { Err(Malformed("not at its end")) }
    }

    fn both(input: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let whole = decode(input, input.len());
        for step in 1..input.len().min(20) {
            assert_eq!(whole, decode(input, step), "in steps of {step}");
        }
        whole
    }

    #[test]
    fn decodes_data_extensions_and_trailers() {
        let body = b"5\r\nhello\r\n00A;name=\"v\"\r\n, chunked!\r\n6 ; x\r\n world\r\n\
            0\r\nx-sum: 1\r\ny: 2\r\n\r\nGET";
        assert_eq!(both(body), Ok((b"hello, chunked! world".to_vec(), b"GET".to_vec())));
        assert_eq!(both(b"0\r\n\r\n"), Ok((Vec::new(), Vec::new())));
        assert_eq!(both(b"0;a=b\r\n\r\n"), Ok((Vec::new(), Vec::new())));
    }

    #[test]
    fn refuses_what_is_malformed() {
        for bad in [
            &b"\r\n"[..],
            b";x\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"5 5\r\nhello\r\n0\r\n\r\n",
            b"5\rhello\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"0\r\nx: 1\n\r\n",
            b"0\r\n\n",
            b"0\r\nx\0y\r\n\r\n",
            b"5\r\nhello\r\n",
            b"0\r\n",
        ] {
            assert!(both(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn bounds_sizes_lines_and_trailers() {
        let mut chunked = Chunked::new();
        assert_eq!(chunked.advance(b"ffffffffffffffff\r\n"), Ok(18));
        assert_eq!(chunked.data_left(), u64::MAX);
        assert!(Chunked::new().advance(b"10000000000000000\r\n").is_err());

        let zeros = vec![b'0'; MAX_CHUNK_LINE_BYTES];
        assert!(Chunked::new().advance(&zeros).is_ok());
        assert!(Chunked::new().advance(&[&zeros[..], b"0"].concat()).is_err());
        let extension = vec![b'x'; MAX_CHUNK_LINE_BYTES];
        assert!(Chunked::new().advance(&[b"5;", &extension[..]].concat()).is_err());

        let line = [&vec![b'x'; 998][..], b"\r\n"].concat();
        let most = [&b"0\r\n"[..], &line.repeat(MAX_TRAILER_BYTES / 998)[..]].concat();
        assert!(Chunked::new().advance(&most).is_ok());
        assert!(Chunked::new().advance(&[most, line].concat()).is_err());
    }

    /// A smoke test of the fuzz target's property: whatever comes, in whatever pieces, there is no
    /// panic and one result.
    #[test]
    fn pieces_make_no_difference_to_mutations() {
        let seed = b"5\r\nhello\r\na;n=v\r\n0123456789\r\n0\r\nx: 1\r\n\r\nGET /";
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            let mut body = seed.to_vec();
            for _ in 0..3 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = random as usize % body.len();
                body[at] = b"\r\n0159afF;: \tx\0"[(random >> 32) as usize % 15];
            }
            let step = 1 + (random >> 48) as usize % 7;
            assert_eq!(decode(&body, body.len()), decode(&body, step));
        }
    }
}
