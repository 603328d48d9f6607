//! Whom the access gate knows. Where users and their keys are kept is not its business: it asks
//! a [`Users`].

use super::Owner;
use super::policy::Policy;
use std::sync::Arc;

/// A user beside root. Nothing is allowed to it but what its policies, the policies of buckets and
/// ACLs allow, and what it owns.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name: `aws:username`, and the end of its ARN `arn:aws:iam:::user/NAME`.
    pub name: String,
    /// Canonical ID, 64 hexadecimal digits in lower case; never changes and is never given to
    /// another user, because it owns buckets and objects and stands in ACLs.
    pub canonical_id: String,
    /// What answers show beside the canonical ID.
    pub display_name: String,
    /// Where ACLs may name it by, if it has one.
    pub email: Option<String>,
    /// Its policies, parsed with [`Policy::identity`].
    pub policies: Vec<Policy>,
}

impl User {
    /// How answers name it.
    pub fn owner(&self) -> Owner {
        Owner { id: self.canonical_id.clone(), display_name: self.display_name.clone() }
    }
}

/// The users beside root. A user or a key that is disabled or removed is not found by its key from
/// then on; by its ID a user is found as long as it exists, because it may own something.
pub trait Users: Send + Sync {
    /// The user of an active access key, or `None`: no such key, or that of root.
    fn by_key(&self, access_key_id: &str) -> Option<Arc<User>>;
    /// The user of a canonical ID.
    fn by_id(&self, canonical_id: &str) -> Option<Arc<User>>;
    /// The user of a name.
    fn by_name(&self, name: &str) -> Option<Arc<User>>;
    /// The user of an email address.
    fn by_email(&self, email: &str) -> Option<Arc<User>>;
    /// Whether an access key is the root key.
    fn is_root(&self, access_key_id: &str) -> bool;
}

impl<U: Users + ?Sized> Users for &U {
    fn by_key(&self, access_key_id: &str) -> Option<Arc<User>> {
        (**self).by_key(access_key_id)
    }

    fn by_id(&self, canonical_id: &str) -> Option<Arc<User>> {
        (**self).by_id(canonical_id)
    }

    fn by_name(&self, name: &str) -> Option<Arc<User>> {
        (**self).by_name(name)
    }

    fn by_email(&self, email: &str) -> Option<Arc<User>> {
        (**self).by_email(email)
    }

    fn is_root(&self, access_key_id: &str) -> bool {
        (**self).is_root(access_key_id)
    }
}

impl<U: Users + ?Sized> Users for Arc<U> {
    fn by_key(&self, access_key_id: &str) -> Option<Arc<User>> {
        (**self).by_key(access_key_id)
    }

    fn by_id(&self, canonical_id: &str) -> Option<Arc<User>> {
        (**self).by_id(canonical_id)
    }

    fn by_name(&self, name: &str) -> Option<Arc<User>> {
        (**self).by_name(name)
    }

    fn by_email(&self, email: &str) -> Option<Arc<User>> {
        (**self).by_email(email)
    }

    fn is_root(&self, access_key_id: &str) -> bool {
        (**self).is_root(access_key_id)
    }
}
