//! Users and their keys in memory, as requests need them: no request reads the database for them.
//! Whoever changes users does it through [`Registry::change`], which has taken effect for every
//! request that comes after it.
//!
//! A key whose secret does not open, because the root secret is another one, does not work, and
//! neither does that of a user whose policy is not understood: a part that denies may be in it.

use super::policy::Policy;
use super::seal::SealKey;
use super::users::{User, Users};
use crate::auth::Keys;
use crate::store::{
    Identities, KeyRow, NewKey, SharedStore, StoreError, UserChange, UserRefused, UserRow,
};
use crate::types::AccessKeyId;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// See the module's description.
pub struct Registry {
    store: SharedStore,
    root_key: String,
    root_secret: String,
    seal: OnceLock<SealKey>,
    state: RwLock<Arc<State>>,
    loading: Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, Active>,
    by_id: HashMap<String, Arc<User>>,
    by_name: HashMap<String, Arc<User>>,
    by_email: HashMap<String, Arc<User>>,
    broken: Vec<Broken>,
}

struct Active {
    secret: String,
    user: Arc<User>,
}

/// A key that does not work though nobody has disabled it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Its ID.
    pub access_key: AccessKeyId,
    /// The name of its user.
    pub user: String,
    /// Why.
    pub reason: &'static str,
}

/// [`Broken::reason`] of a seal that does not open.
pub const NOT_UNSEALED: &str = "its secret was sealed with another root secret";
const ROOTS: &str = "the root user has an access key of the same ID";
const BAD_POLICY: &str = "the policy of its user is not understood";

impl Registry {
    /// Reads users and keys. Says in the log which keys do not work.
    pub fn load(
        store: &SharedStore,
        root_key: &str,
        root_secret: &str,
    ) -> Result<Self, StoreError> {
        let registry = Self {
            store: Arc::clone(store),
            root_key: root_key.to_owned(),
            root_secret: root_secret.to_owned(),
            seal: OnceLock::new(),
            state: RwLock::default(),
            loading: Mutex::default(),
        };
        registry.reload()?;
        for Broken { access_key, user, reason } in registry.broken() {
            log::warn!("the access key {access_key} of the user {user} does not work: {reason}");
        }
        Ok(registry)
    }

    /// Reads everything anew.
    fn reload(&self) -> Result<(), StoreError> {
        // In turn, so that what was read first does not replace what was read last.
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let identities = self.store.identities()?;
        let state = Arc::new(self.understand(&identities));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }

    fn understand(&self, identities: &Identities) -> State {
        let mut state = State::default();
        let mut users = HashMap::new();
        for row in &identities.users {
            let (user, understood) = user(row);
            let user = Arc::new(user);
            state.by_id.insert(user.canonical_id.clone(), Arc::clone(&user));
            state.by_name.insert(user.name.clone(), Arc::clone(&user));
            if let Some(email) = &user.email {
                state.by_email.insert(email.clone(), Arc::clone(&user));
            }
            users.insert(row.id, (user, row.enabled, understood));
        }
        for row in &identities.keys {
            let Some((user, enabled, understood)) = users.get(&row.user) else { continue };
            if !enabled || !row.enabled {
                continue;
            }
            let reason = match self.open(&identities.salt, row, &user.canonical_id) {
                _ if row.access_key.as_str() == self.root_key => ROOTS,
                _ if !understood => BAD_POLICY,
                None => NOT_UNSEALED,
                Some(secret) => {
                    let active = Active { secret, user: Arc::clone(user) };
                    state.keys.insert(row.access_key.to_string(), active);
                    continue;
                }
            };
            let (access_key, user) = (row.access_key.clone(), user.name.clone());
            state.broken.push(Broken { access_key, user, reason });
        }
        state
    }

    /// The key of the seals, derived when it is first needed.
    fn seal_key(&self, salt: &[u8]) -> &SealKey {
        self.seal.get_or_init(|| SealKey::derive(&self.root_secret, salt))
    }

    fn open(&self, salt: &[u8], row: &KeyRow, user_id: &str) -> Option<String> {
        self.seal_key(salt).open(&row.sealed, row.access_key.as_str(), user_id)
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys that do not work though nobody has disabled them.
    pub fn broken(&self) -> Vec<Broken> {
        self.state().broken.clone()
    }

    /// Users and keys as they are stored.
    pub fn identities(&self) -> Result<Identities, StoreError> {
        self.store.identities()
    }

    /// Seals the secret of a key that is to be stored.
    pub fn seal(
        &self,
        access_key: AccessKeyId,
        secret: &str,
        user_id: &str,
    ) -> Result<io::Result<NewKey>, StoreError> {
        let salt = self.store.identities()?.salt;
        let sealed = self.seal_key(&salt).seal(secret, access_key.as_str(), user_id);
        Ok(sealed.map(|sealed| NewKey { access_key, sealed }))
    }

    /// Changes users or keys; seen by every request that starts after it returned.
    pub fn change(&self, change: UserChange) -> Result<Result<(), UserRefused>, StoreError> {
        let done = self.store.change_users(change);
        // Also after a failure: it may have been committed all the same.
        self.reload()?;
        done
    }

    /// Seals with the present root secret what was sealed with an old one. Gives how many keys
    /// that were, and those that neither secret opens.
    pub fn reseal(&self, old_secret: &str) -> Result<io::Result<Resealed>, StoreError> {
        let identities = self.store.identities()?;
        let old = SealKey::derive(old_secret, &identities.salt);
        let mut sealed = Vec::new();
        let mut lost = Vec::new();
        for row in &identities.keys {
            let user = identities.users.iter().find(|user| user.id == row.user);
            let Some(user) = user.map(|user| user.canonical.as_str()) else { continue };
            if self.open(&identities.salt, row, user).is_some() {
                continue;
            }
            let access_key = row.access_key.as_str();
            let Some(secret) = old.open(&row.sealed, access_key, user) else {
                lost.push(row.access_key.clone());
                continue;
            };
            match self.seal_key(&identities.salt).seal(&secret, access_key, user) {
                Ok(sealed_anew) => {
                    sealed.push(NewKey { access_key: row.access_key.clone(), sealed: sealed_anew });
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        let count = sealed.len();
        // Refuses nothing: a key that was removed meanwhile needs no seal.
        let _ = self.change(UserChange::Reseal(sealed))?;
        Ok(Ok(Resealed { count, lost }))
    }
}

/// What [`Registry::reseal`] did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resealed {
    /// Keys that work again.
    pub count: usize,
    /// Keys that neither secret opens.
    pub lost: Vec<AccessKeyId>,
}

/// A user, and whether its policy is understood.
fn user(row: &UserRow) -> (User, bool) {
    let policy = row.policy.as_deref().map(Policy::identity).transpose();
    let understood = policy.is_ok();
    let user = User {
        name: row.name.to_string(),
        canonical_id: row.canonical.clone(),
        display_name: row.name.to_string(),
        email: row.email.clone(),
        policies: policy.unwrap_or_default().into_iter().collect(),
    };
    (user, understood)
}

impl Keys for Registry {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        if access_key_id == self.root_key {
            return Some(self.root_secret.clone());
        }
        self.state().keys.get(access_key_id).map(|key| key.secret.clone())
    }
}

impl Users for Registry {
    fn by_key(&self, access_key_id: &str) -> Option<Arc<User>> {
        self.state().keys.get(access_key_id).map(|key| Arc::clone(&key.user))
    }

    fn by_id(&self, canonical_id: &str) -> Option<Arc<User>> {
        self.state().by_id.get(canonical_id).cloned()
    }

    fn by_name(&self, name: &str) -> Option<Arc<User>> {
        self.state().by_name.get(name).cloned()
    }

    fn by_email(&self, email: &str) -> Option<Arc<User>> {
        self.state().by_email.get(email).cloned()
    }

    fn is_root(&self, access_key_id: &str) -> bool {
        access_key_id == self.root_key
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal;
    use super::*;
    use crate::store::{NewUser, Store, StoreConfig};
    use crate::types::UserName;
    use std::path::PathBuf;

    struct Dir(PathBuf);

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn store(name: &str) -> (Dir, SharedStore) {
        let dir = std::env::temp_dir().join(format!("jog-registry-{}-{name}", std::process::id()));
        let config = StoreConfig { durable: false, min_free: Some(0), ..StoreConfig::new(&dir) };
        (Dir(dir), Arc::new(Store::open(config).unwrap()))
    }

    fn add(registry: &Registry, name: &str, policy: Option<&str>) -> String {
        let id = seal::new_canonical_id().unwrap();
        let key = AccessKeyId::parse(&format!("key-of-{name}")).unwrap();
        let key = registry.seal(key, &format!("secret of {name}"), &id).unwrap().unwrap();
        let new = NewUser {
            name: UserName::parse(name).unwrap(),
            canonical: id.clone(),
            email: Some(format!("{name}@example.com")),
            policy: policy.map(str::to_owned),
        };
        registry.change(UserChange::AddUser(new, Some(key))).unwrap().unwrap();
        id
    }

    #[test]
    fn changes_hold_at_once_and_a_broken_policy_shuts_its_user_out() {
        let (_dir, store) = store("changes");
        let registry = Registry::load(&store, "root-key", "root secret").unwrap();
        assert_eq!(registry.secret("root-key").as_deref(), Some("root secret"));
        assert!(registry.is_root("root-key") && registry.by_key("root-key").is_none());
        let id = add(&registry, "one", None);
        assert_eq!(registry.secret("key-of-one").as_deref(), Some("secret of one"));
        let user = registry.by_key("key-of-one").unwrap();
        assert_eq!((user.name.as_str(), &user.canonical_id), ("one", &id));
        assert!(user.policies.is_empty());
        assert!(
            registry.by_name("one").is_some() && registry.by_email("one@example.com").is_some()
        );
        let name = || UserName::parse("one").unwrap();
        registry.change(UserChange::EnableUser(name(), false)).unwrap().unwrap();
        // It may own something, so it is still known, but not by its key.
        assert!(registry.secret("key-of-one").is_none() && registry.by_key("key-of-one").is_none());
        assert!(registry.by_id(&id).is_some() && registry.broken().is_empty());
        registry.change(UserChange::EnableUser(name(), true)).unwrap().unwrap();
        let policy = "{\"Statement\": \"what an older or newer jog took\"}".to_owned();
        registry.change(UserChange::Policy(name(), Some(policy))).unwrap().unwrap();
        assert!(registry.secret("key-of-one").is_none());
        assert_eq!(registry.broken()[0].reason, BAD_POLICY);
        registry.change(UserChange::Policy(name(), None)).unwrap().unwrap();
        assert!(registry.secret("key-of-one").is_some());
        registry.change(UserChange::RemoveUser(name())).unwrap().unwrap();
        assert!(registry.by_id(&id).is_none() && registry.secret("key-of-one").is_none());
    }

    #[test]
    fn another_root_secret_opens_nothing_until_all_is_sealed_anew() {
        let (_dir, store) = store("reseal");
        let before = Registry::load(&store, "root-key", "old secret").unwrap();
        add(&before, "one", None);
        add(&before, "two", None);
        let registry = Registry::load(&store, "root-key", "new secret").unwrap();
        assert!(registry.secret("key-of-one").is_none() && registry.by_key("key-of-one").is_none());
        assert_eq!(registry.broken().len(), 2);
        assert!(registry.broken().iter().all(|key| key.reason == NOT_UNSEALED));
        let wrong = registry.reseal("wrong secret").unwrap().unwrap();
        assert_eq!((wrong.count, wrong.lost.len()), (0, 2));
        let done = registry.reseal("old secret").unwrap().unwrap();
        assert_eq!((done.count, done.lost.len()), (2, 0));
        assert_eq!(registry.secret("key-of-two").as_deref(), Some("secret of two"));
        assert!(registry.broken().is_empty());
        let old = Registry::load(&store, "root-key", "old secret").unwrap();
        assert_eq!(old.broken().len(), 2);
        // A key of a user never stands for root's.
        let taken = Registry::load(&store, "key-of-one", "new secret").unwrap();
        assert_eq!(taken.secret("key-of-one").as_deref(), Some("new secret"));
        assert!(taken.by_key("key-of-one").is_none() && taken.broken()[0].reason == ROOTS);
    }
}
