//! A short run of random and damaged input over everything that takes bytes from strangers. No
//! input may panic, and what is accepted must be what was meant. `JOG_FUZZ_SEED` starts elsewhere,
//! `JOG_FUZZ_ROUNDS` runs longer.

mod auth;
mod bodies;
mod values;
mod xml;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Inputs for each target.
const ROUNDS: u64 = 3_000;

/// xorshift64*, seeded: the same numbers in each run.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }

    /// Text of characters that mean something somewhere, and of some that mean nothing.
    fn text(&mut self, most: usize) -> String {
        const ODD: [char; 24] = [
            '%',
            '+',
            '&',
            '=',
            '/',
            '?',
            '"',
            ',',
            '-',
            '<',
            '>',
            ';',
            ':',
            ' ',
            '\t',
            '\r',
            '\n',
            '\0',
            'é',
            '\u{301}',
            '\u{FFFF}',
            '\u{10FFFF}',
            '0',
            'Z',
        ];
        let mut text = String::new();
        for _ in 0..self.below(most + 1) {
            match self.below(3) {
                0 => text.push(ODD[self.below(ODD.len())]),
                1 => text.push((b'a' + self.below(26) as u8) as char),
                _ => text.extend(char::from_u32(self.next() as u32 & 0x1f_ffff)),
            }
        }
        text
    }

    /// Damages bytes in one to four places.
    fn damage(&mut self, bytes: &mut Vec<u8>, tokens: &[&str]) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(8)).min(bytes.len());
            match self.below(8) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.next() as u8,
                2 => bytes.insert(at, self.next() as u8),
                3 => drop(bytes.drain(at..end)),
                4 => bytes.truncate(at),
                5 => {
                    let again = bytes[at..end].to_vec();
                    let _ = bytes.splice(at..at, again);
                }
                6 if at < bytes.len() => bytes[at] = bytes[at].to_ascii_uppercase(),
                _ if !tokens.is_empty() => {
                    let token = self.pick(tokens).bytes();
                    let _ = bytes.splice(at..end, token);
                }
                _ => {}
            }
        }
    }

    /// Damages text; it stays text.
    fn damaged(&mut self, text: &str, tokens: &[&str]) -> String {
        let mut bytes = text.as_bytes().to_vec();
        self.damage(&mut bytes, tokens);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs a target on many inputs. `make` gives the input of a round, `check` fails if it must.
fn fuzz<T: Debug>(make: impl Fn(&mut Rng) -> T, check: impl Fn(&T)) {
    let first = number("JOG_FUZZ_SEED", 0);
    for seed in first..first + number("JOG_FUZZ_ROUNDS", ROUNDS) {
        let input = make(&mut Rng::new(seed));
        if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
            panic!("JOG_FUZZ_SEED={seed} JOG_FUZZ_ROUNDS=1: {input:?}");
        }
    }
}
