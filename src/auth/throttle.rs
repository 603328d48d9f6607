//! Keys cannot be guessed at line rate: failed signatures are counted by source address, and an
//! address with too many gets 503 SlowDown before anything is computed, at the rate at which
//! its allowance comes back.
//!
//! Several clients may share an address (NAT, a proxy that is not trusted to name them). So a
//! client whose key has proven itself at its address of late has an allowance of its own: others'
//! failures at that address do not slow it down. What cannot be helped, since before the
//! signature is computed one request looks like the other: guesses at the very key that a client
//! uses, from its own address, slow that client down as well, and so does the address's state the
//! first request of a client there, until one of its tries finds an allowance.
//!
//! All tables are bounded. Of keys only a hash with a random seed is kept.

use super::{AuthConfig, AuthError, Identity, Keys};
use crate::http::Request;
use crate::limits::{AUTH_FAILURES_PER_SECOND, MAX_PROVEN_CLIENTS, MAX_SLOWED_SOURCES, PROVEN_FOR};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// A proven client is noted again when its note is this old: most requests only read.
const NOTE_AGAIN: Duration = Duration::from_secs(60);

/// Where a request comes from: the connection's address, or what a trusted proxy says of it, which
/// is the last entry of X-Forwarded-For.
pub fn source(request: &Request, config: &AuthConfig) -> IpAddr {
    let forwarded = request.headers.all("x-forwarded-for").last();
    let last = forwarded.filter(|_| config.trust_forwarded).and_then(|all| all.rsplit(',').next());
    let parse = |text: &str| {
        let bare = text.trim_matches(['[', ']']);
        let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
        bare.parse().ok().or_else(with_port)
    };
    last.and_then(|text| parse(text.trim())).unwrap_or(request.peer)
}

/// What counts as one source: an IPv4 address, or the /64 of an IPv6 one, of which a single host
/// mostly has all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Source(bool, u64);

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(false, u64::from(address.to_bits())),
            IpAddr::V6(address) => Self(true, (address.to_bits() >> 64) as u64),
        }
    }
}

/// Failures that are still allowed; comes back with time.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn now(&self, most: f64, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left + gained * AUTH_FAILURES_PER_SECOND).min(most)
    }
}

#[derive(Default)]
struct State {
    /// Sources with failures of late.
    sources: HashMap<Source, Allowance>,
    /// Clients that have proven a key at a source: when, and their failures since.
    proven: HashMap<(Source, u64), (Instant, Allowance)>,
}

/// See the module's description.
pub struct Throttle {
    /// Failures at once; none is counted if it is 0.
    most: f64,
    seed: RandomState,
    state: RwLock<State>,
    failed: AtomicU64,
    refused: AtomicU64,
}

impl Throttle {
    /// Allows so many failures at once; 0 allows any number.
    pub fn new(failures: u32) -> Self {
        Self {
            most: f64::from(failures),
            seed: RandomState::new(),
            state: RwLock::default(),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Failed signatures since the start.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Requests that were refused unseen since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Runs an authentication of something from a source. Its keys refuse to be asked where the
    /// allowance is used up; its result is counted, in which `read` finds who was proven or what
    /// was wrong.
    pub fn watch<T>(
        &self,
        source: IpAddr,
        keys: &dyn Keys,
        authenticate: impl FnOnce(&dyn Keys) -> T,
        read: impl FnOnce(&T) -> Result<&Identity, Option<&AuthError>>,
    ) -> T {
        if self.most == 0.0 {
            return authenticate(keys);
        }
        let place = Source::of(source);
        let done = authenticate(&Watched { throttle: self, keys, place });
        match read(&done) {
            Ok(Identity::Key { access_key_id }) => {
                self.note_proof(place, access_key_id, Instant::now());
            }
            Err(Some(
                AuthError::InvalidAccessKeyId(id)
                | AuthError::SignatureDoesNotMatch { access_key_id: id, .. },
            )) => {
                if self.note_failure(place, id, Instant::now()) {
                    log::warn!("too many failed signatures from {source}: slowed down");
                }
            }
            Ok(Identity::Anonymous) | Err(_) => (),
        }
        done
    }

    fn key(&self, place: Source, access_key_id: &str) -> (Source, u64) {
        (place, self.seed.hash_one(access_key_id))
    }

    /// Whether another try is allowed.
    fn admits(&self, place: Source, access_key_id: &str, now: Instant) -> bool {
        let key = self.key(place, access_key_id);
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let allowance = match state.proven.get(&key) {
            Some((since, allowance)) if is_fresh(*since, now) => Some(allowance),
            _ => state.sources.get(&place),
        };
        let admitted = allowance.is_none_or(|allowance| allowance.now(self.most, now) >= 1.0);
        if !admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    fn note_proof(&self, place: Source, access_key_id: &str, now: Instant) {
        let key = self.key(place, access_key_id);
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let noted = state.proven.get(&key).map(|(since, _)| *since);
        drop(state);
        if noted.is_some_and(|since| now.saturating_duration_since(since) < NOTE_AGAIN) {
            return;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let full = state.proven.len() >= MAX_PROVEN_CLIENTS && !state.proven.contains_key(&key);
        if full {
            shrink(&mut state.proven, MAX_PROVEN_CLIENTS, |(since, _)| is_fresh(*since, now));
        }
        let fresh = Allowance { left: self.most, at: now };
        state.proven.entry(key).or_insert((now, fresh)).0 = now;
    }

    /// True if this failure has used up an allowance.
    fn note_failure(&self, place: Source, access_key_id: &str, now: Instant) -> bool {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let key = self.key(place, access_key_id);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let own = state.proven.get_mut(&key).filter(|(since, _)| is_fresh(*since, now));
        let allowance = match own {
            Some((_, allowance)) => allowance,
            None => {
                let sources = &mut state.sources;
                if sources.len() >= MAX_SLOWED_SOURCES && !sources.contains_key(&place) {
                    let most = self.most;
                    shrink(sources, MAX_SLOWED_SOURCES, |a| a.now(most, now) < most);
                }
                sources.entry(place).or_insert(Allowance { left: self.most, at: now })
            }
        };
        let left = allowance.now(self.most, now);
        *allowance = Allowance { left: (left - 1.0).max(0.0), at: now };
        (1.0..2.0).contains(&left)
    }
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < PROVEN_FOR
}

/// Makes room in a full table: of what is no longer needed, else of any eighth of it.
fn shrink<K: Hash + Eq + Copy, V>(
    table: &mut HashMap<K, V>,
    most: usize,
    needed: impl Fn(&V) -> bool,
) {
    table.retain(|_, value| needed(value));
    if table.len() >= most {
        let some: Vec<K> = table.keys().copied().take(most / 8 + 1).collect();
        some.iter().for_each(|key| drop(table.remove(key)));
    }
}

/// Keys that refuse to be asked where the allowance is used up.
struct Watched<'a> {
    throttle: &'a Throttle,
    keys: &'a dyn Keys,
    place: Source,
}

impl Keys for Watched<'_> {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        self.keys.secret(access_key_id)
    }

    fn admit(&self, access_key_id: &str) -> Result<(), AuthError> {
        match self.throttle.admits(self.place, access_key_id, Instant::now()) {
            true => self.keys.admit(access_key_id),
            false => Err(AuthError::Throttled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;
    use crate::http::Method;

    const MOST: u32 = 5;

    fn place(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn failures_use_up_an_allowance_that_comes_back() {
        let (throttle, start) = (Throttle::new(MOST), Instant::now());
        let (here, there) = (place("192.0.2.1"), place("192.0.2.2"));
        for n in 1..=MOST {
            assert!(throttle.admits(here, "k", start));
            let used_up = throttle.note_failure(here, &format!("guess-{n}"), start);
            assert_eq!(used_up, n == MOST);
        }
        assert!(!throttle.admits(here, "k", start) && !throttle.admits(here, "other", start));
        assert!(throttle.admits(there, "k", start));
        assert_eq!((throttle.failed(), throttle.refused()), (u64::from(MOST), 2));
        let second = Duration::from_secs_f64(1.0 / AUTH_FAILURES_PER_SECOND);
        let later = start + second + Duration::from_millis(1);
        assert!(throttle.admits(here, "k", later));
        throttle.note_failure(here, "k", later);
        assert!(!throttle.admits(here, "k", later));
        // It never grows beyond its first size.
        let much_later = start + second * 1000;
        for _ in 0..MOST {
            assert!(throttle.admits(here, "k", much_later));
            throttle.note_failure(here, "k", much_later);
        }
        assert!(!throttle.admits(here, "k", much_later));
    }

    #[test]
    fn a_proven_client_is_not_slowed_down_by_others_at_its_address() {
        let (throttle, start) = (Throttle::new(MOST), Instant::now());
        let (here, there) = (place("192.0.2.1"), place("192.0.2.2"));
        throttle.note_proof(here, "good", start);
        for _ in 0..100 {
            throttle.note_failure(here, "guess", start);
        }
        assert!(throttle.admits(here, "good", start) && !throttle.admits(here, "guess", start));
        // Guesses at its own key are counted for themselves, and only for a while.
        for _ in 0..MOST {
            assert!(throttle.admits(here, "good", start));
            throttle.note_failure(here, "good", start);
        }
        assert!(!throttle.admits(here, "good", start) && throttle.admits(there, "good", start));
        // A proof gives no guesses back.
        throttle.note_proof(here, "good", start);
        throttle.note_proof(here, "good", start + NOTE_AGAIN / 100);
        assert!(!throttle.admits(here, "good", start));
        let stale = start + PROVEN_FOR;
        for _ in 0..MOST {
            throttle.note_failure(here, "guess", stale);
        }
        assert!(!throttle.admits(here, "good", stale));
    }

    #[test]
    fn tables_are_bounded() {
        let (throttle, start) = (Throttle::new(MOST), Instant::now());
        for n in 0..3 * MAX_SLOWED_SOURCES as u64 {
            throttle.note_failure(Source(true, n), "k", start);
            throttle.note_proof(Source(true, n), "k", start);
            let state = throttle.state.read().unwrap();
            assert!(state.sources.len() <= MAX_SLOWED_SOURCES);
            assert!(state.proven.len() <= MAX_PROVEN_CLIENTS);
        }
        // The last ones are in it, and old ones make room for new ones.
        let last = Source(true, 3 * MAX_SLOWED_SOURCES as u64 - 1);
        assert!(throttle.state.read().unwrap().sources.contains_key(&last));
    }

    #[test]
    fn sources() {
        assert_eq!(place("192.0.2.1"), place("::ffff:192.0.2.1"));
        assert_ne!(place("192.0.2.1"), place("192.0.2.2"));
        assert_eq!(place("2001:db8:1:2::1"), place("2001:db8:1:2:3:4:5:6"));
        assert_ne!(place("2001:db8:1:2::1"), place("2001:db8:1:3::1"));
        let from = |trust_forwarded, value: &str| {
            let config = AuthConfig { trust_forwarded, ..AuthConfig::default() };
            let request = request(Method::Get, "/", &[("x-forwarded-for", value)]);
            source(&request, &config).to_string()
        };
        assert_eq!(from(false, "192.0.2.1"), "127.0.0.1");
        // What the client itself has put there comes first and does not count.
        assert_eq!(from(true, "198.51.100.1, 192.0.2.1"), "192.0.2.1");
        assert_eq!(from(true, "192.0.2.1:4711"), "192.0.2.1");
        assert_eq!(from(true, "2001:db8::1"), "2001:db8::1");
        assert_eq!(from(true, "[2001:db8::1]"), "2001:db8::1");
        assert_eq!(from(true, "[2001:db8::1]:4711"), "2001:db8::1");
        for nonsense in ["", "unknown", "192.0.2.1, "] {
            assert_eq!(from(true, nonsense), "127.0.0.1", "{nonsense}");
        }
    }
}
