//! Whether a text matches a pattern, in a time that nobody can make long: the texts are a client's
//! and the patterns those of whoever may write a policy, tens of thousands of characters each.
//!
//! What stands before the first star and behind the last one has its place. The stretches in between
//! are looked for one behind the other, each at the first place where it fits, which leaves most for
//! the next. A long one is looked for with one bit for each of its characters, 64 at a time.

use super::pattern::Piece;
use std::collections::HashMap;

/// A stretch times a text of so many steps is looked for in the plain way, which is quicker.
const FEW_STEPS: usize = 16 * 1024;

/// Whether a text matches; `fold`: without regard to case. Variables must be filled in.
pub(super) fn glob(pattern: &[Piece], text: &[char], fold: bool) -> bool {
    let Some(first) = pattern.iter().position(|piece| *piece == Piece::Any) else {
        return fits(pattern, text, fold);
    };
    let last = pattern.iter().rposition(|piece| *piece == Piece::Any).unwrap_or(first);
    let (head, tail) = (&pattern[..first], &pattern[last + 1..]);
    if text.len() < head.len() + tail.len() {
        return false;
    }
    let (start, text) = text.split_at(head.len());
    let (mut text, end) = text.split_at(text.len() - tail.len());
    if !fits(head, start, fold) || !fits(tail, end, fold) {
        return false;
    }
    for stretch in pattern[first..last].split(|piece| *piece == Piece::Any) {
        let Some(end) = find(stretch, text, fold) else { return false };
        text = &text[end..];
    }
    true
}

/// A character, or what stands for it where case does not matter. The few that become several
/// characters in lower case stand for themselves.
fn folded(c: char, fold: bool) -> char {
    let mut lower = c.to_lowercase();
    match (fold, lower.next(), lower.next()) {
        (true, Some(lower), None) => lower,
        _ => c,
    }
}

/// Whether a stretch without stars is this text.
fn fits(stretch: &[Piece], text: &[char], fold: bool) -> bool {
    let same = |(piece, c): (&Piece, &char)| match piece {
        Piece::One(p) => p == c || (fold && folded(*p, true) == folded(*c, true)),
        Piece::Single => true,
        Piece::Any | Piece::Variable { .. } => false,
    };
    stretch.len() == text.len() && stretch.iter().zip(text).all(same)
}

/// Where the first place ends at which a stretch fits into a text.
fn find(stretch: &[Piece], text: &[char], fold: bool) -> Option<usize> {
    let length = stretch.len();
    if length == 0 || length > text.len() {
        return (length == 0).then_some(0);
    }
    if length * text.len() <= FEW_STEPS {
        let mut at = 0;
        while let Some(part) = text.get(at..at + length) {
            if fits(stretch, part, fold) {
                return Some(at + length);
            }
            at += 1;
            // On to where it may begin: most texts have few such places.
            if let (Piece::One(first), false) = (&stretch[0], fold) {
                at += text[at..].iter().position(|c| c == first)?;
            }
        }
        return None;
    }
    Sought::new(stretch, fold).find(text, fold)
}

/// A stretch, ready to be looked for. Bit `n` is that of its character `n`.
struct Sought {
    /// Places that any character fits.
    any: Vec<u64>,
    /// Places that a character fits beside those: words and their bits, only those that are not 0.
    of: HashMap<char, Vec<(usize, u64)>>,
    /// The last bit, in the last word.
    last: u64,
}

impl Sought {
    fn new(stretch: &[Piece], fold: bool) -> Self {
        let mut any = vec![0; stretch.len().div_ceil(64)];
        let mut of: HashMap<char, Vec<(usize, u64)>> = HashMap::new();
        for (at, piece) in stretch.iter().enumerate() {
            let (word, bit) = (at / 64, 1 << (at % 64));
            match piece {
                Piece::Single => any[word] |= bit,
                Piece::One(c) => {
                    let places = of.entry(folded(*c, fold)).or_default();
                    match places.last_mut().filter(|(known, _)| *known == word) {
                        Some((_, bits)) => *bits |= bit,
                        None => places.push((word, bit)),
                    }
                }
                Piece::Any | Piece::Variable { .. } => {}
            }
        }
        Self { any, of, last: 1 << ((stretch.len() - 1) % 64) }
    }

    fn find(&self, text: &[char], fold: bool) -> Option<usize> {
        // Bit n: the text so far ends with the first n + 1 characters of what is sought.
        let mut begun = vec![0u64; self.any.len()];
        let mut kept = Vec::new();
        for (at, c) in text.iter().enumerate() {
            let mut carry = 1;
            for word in &mut begun {
                let next = *word >> 63;
                *word = *word << 1 | carry;
                carry = next;
            }
            kept.clear();
            let places = self.of.get(&folded(*c, fold)).map_or(&[][..], Vec::as_slice);
            kept.extend(places.iter().map(|(word, bits)| (*word, begun[*word] & bits)));
            begun.iter_mut().zip(&self.any).for_each(|(word, any)| *word &= any);
            kept.iter().for_each(|(word, bits)| begun[*word] |= bits);
            if begun.last().is_some_and(|word| word & self.last != 0) {
                return Some(at + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::{Pattern, Reading};
    use super::*;

    fn stretch(text: &str) -> Vec<Piece> {
        let piece = |c| if c == '?' { Piece::Single } else { Piece::One(c) };
        text.chars().map(piece).collect()
    }

    /// The quick way finds what the plain one does.
    #[test]
    fn both_ways_find_the_same() {
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for round in 0..3000 {
            let fold = round % 2 == 0;
            let length = 1 + next(if round % 3 == 0 { 200 } else { 4 }) as usize;
            let word = |letters: &[char], length: usize, next: &mut dyn FnMut(u64) -> u64| {
                let letter = |_| letters[next(letters.len() as u64) as usize];
                (0..length).map(letter).collect::<Vec<char>>()
            };
            let text = word(&['a', 'A', 'b', 'ß', 'İ'], 1 + next(400) as usize, &mut next);
            // Mostly a part of the text, so that there is something to find.
            let mut sought: Vec<char> = match next(4) {
                0 => word(&['a', 'b', '?'], length, &mut next),
                _ => text.iter().copied().cycle().skip(next(50) as usize).take(length).collect(),
            };
            for _ in 0..next(3) {
                let at = next(sought.len() as u64) as usize;
                sought[at] = ['?', 'b'][next(2) as usize];
            }
            let sought = stretch(&sought.iter().collect::<String>());
            let windows = text.windows(sought.len().min(text.len() + 1));
            let mut plain = windows.map(|part| fits(&sought, part, fold));
            let plain = plain.position(|fits| fits).map(|at| at + sought.len());
            let quick = Sought::new(&sought, fold).find(&text, fold);
            assert_eq!(quick, plain, "{sought:?} {text:?}");
            assert_eq!(find(&sought, &text, fold), plain, "{sought:?} {text:?}");
        }
    }

    /// As long as a policy and a head may be.
    #[test]
    fn no_pattern_and_no_text_take_long() {
        let wild = Reading { wildcards: true, variables: false };
        let letters: String = ('\u{4e00}'..'\u{5200}').collect();
        for pattern in [
            format!("*{}b*", "a".repeat(20_000)),
            format!("*{}?b*", "a".repeat(20_000)),
            format!("*{}{letters}?b*", "a".repeat(15_000)),
            format!("*{}b", "a*".repeat(10_000)),
            format!("*{}b*", "?".repeat(20_000)),
        ] {
            let pattern = Pattern::parse(&pattern, wild).unwrap();
            let text = "a".repeat(60_000);
            let start = std::time::Instant::now();
            assert!(!pattern.matches(&text, true, &|_| None));
            let elapsed = start.elapsed();
            assert!(elapsed < std::time::Duration::from_secs(2), "{elapsed:?}");
        }
    }
}
