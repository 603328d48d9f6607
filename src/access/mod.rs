//! May you? The one place that decides; only it can make an [`Authorized`].
//!
//! Today there is one key, the root key of the settings: it may do everything, and a request
//! without a signature may do nothing. Users, policies and ACLs plug in here.

pub mod policy;
pub mod registry;
pub mod seal;
pub mod users;

use crate::auth::Identity;
use crate::types::{BucketName, ObjectKey};

/// Canonical ID of the root user: SHA-256 of "jog:root".
pub const ROOT_ID: &str = "7441ccc1a35daaa2a1e7af806bb9d1e8010bbee5c5afdd914e27bdcf482deebc";

/// Whom an answer names as Owner or Initiator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// Canonical ID.
    pub id: String,
    /// Display name.
    pub display_name: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// As in policies: `s3:GetObject`.
    pub action: &'a str,
    /// The bucket, unless it is about the service.
    pub bucket: Option<&'a BucketName>,
    /// The key, if it is about an object.
    pub key: Option<&'a ObjectKey>,
}

/// Proof that a request may do what it asks for.
#[derive(Clone, Debug)]
pub struct Authorized {
    identity: Identity,
    _only_made_here: (),
}

/// The answer no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denied;

impl Authorized {
    /// Who was allowed.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The canonical user behind it: who becomes the owner of what it makes.
    pub fn owner(&self) -> Owner {
        owner(ROOT_ID)
    }
}

/// Decides. Deny is the default.
pub fn authorize(identity: &Identity, ask: &Ask<'_>) -> Result<Authorized, Denied> {
    let _ = ask;
    match identity {
        Identity::Key { .. } => Ok(Authorized { identity: identity.clone(), _only_made_here: () }),
        Identity::Anonymous => Err(Denied),
    }
}

/// The user of a canonical ID, as answers show it.
pub fn owner(id: &str) -> Owner {
    let display_name = if id == ROOT_ID { "root" } else { id };
    Owner { id: id.to_owned(), display_name: display_name.to_owned() }
}
