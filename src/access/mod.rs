//! May you? The one place that decides; only it can make an [`Authorized`].
//!
//! The order in which [`Gate::verdict`] decides, and the only place where that order stands:
//!
//! 1. Root may do everything.
//! 2. An explicit deny, of a policy of the user or of the bucket, wins.
//! 3. An allow of a policy of the user's own is enough, whoever owns bucket and object: who gave it
//!    administers this host. What such a user writes belongs to the owner of the bucket.
//! 4. The owner of the bucket, the owner of the object, and who started an upload.
//! 5. An allow of the bucket's policy, unless the public access block restricts it.
//! 6. A grant of the access control list of the bucket or of the object, where object ownership
//!    lets lists count and the public access block does not ignore it.
//! 7. Else no.
//!
//! Each user counts as an account of AWS of its own: it owns the buckets that it makes, and what is
//! allowed by policies of buckets and by lists is "cross-account". Which actions a request needs is
//! told by its row in `s3/table.rs` and by `s3/permit.rs`; nothing else decides.

pub mod acl;
mod ask;
mod gate;
pub mod policy;
pub mod registry;
pub mod seal;
pub mod settings;
pub mod users;

#[cfg(test)]
mod tests;

pub use acl::Permission;
pub use ask::{Ask, Facts, NoFacts, Requester};
pub use gate::{Gate, Named, Verdict, Why};

use crate::store::StoreError;

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

/// Proof that a request may do what it asks for.
#[derive(Clone, Debug)]
pub struct Authorized {
    requester: Requester,
    why: Why,
    _only_made_here: (),
}

/// The answer no.
#[derive(Debug)]
pub enum Denied {
    /// It may not.
    No(Why),
    /// There is no such bucket, which is no secret.
    NoSuchBucket,
    /// It could not be decided.
    Failed(StoreError),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Authorized {
    /// Who was allowed.
    pub fn requester(&self) -> &Requester {
        &self.requester
    }

    /// Why.
    pub fn why(&self) -> &Why {
        &self.why
    }

    /// The canonical ID of who writes for itself: it owns what it writes where objects belong to
    /// who uploads them. `None`: it writes for the owner of the bucket, because a policy of its own
    /// allows it, or has not signed.
    pub fn writer(&self) -> Option<&str> {
        match self.why {
            Why::UserPolicy(..) => None,
            _ => self.requester.id(),
        }
    }
}
