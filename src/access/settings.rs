//! What a bucket's configurations say about access: object ownership, the block of public access,
//! and its access control list.

use super::acl::{Acl, Canned};
use crate::store::{Bucket, ConfigKind};

/// Who owns the objects of a bucket, and whether its access control lists count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ownership {
    /// The owner of the bucket owns everything; lists do not count.
    BucketOwnerEnforced,
    /// The owner of the bucket owns what is uploaded with `bucket-owner-full-control`.
    BucketOwnerPreferred,
    /// Who uploads owns.
    ObjectWriter,
    /// A new bucket, for which nobody has decided: who uploads owns, lists count where somebody
    /// asks for them, and beside both the owner of the bucket and its policy reach everything, as
    /// with BucketOwnerEnforced.
    Undecided,
}

impl Ownership {
    /// The ownership of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "BucketOwnerEnforced" => Some(Self::BucketOwnerEnforced),
            "BucketOwnerPreferred" => Some(Self::BucketOwnerPreferred),
            "ObjectWriter" => Some(Self::ObjectWriter),
            _ => None,
        }
    }

    /// Its name; empty for a bucket for which nobody has decided.
    pub fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
            Self::Undecided => "",
        }
    }

    /// That of a bucket.
    pub fn of(bucket: &Bucket) -> Self {
        match bucket.config(ConfigKind::Ownership) {
            None => Self::Undecided,
            // The strictest, if somebody else has written there.
            Some(name) => Self::parse(name).unwrap_or(Self::BucketOwnerEnforced),
        }
    }

    /// Whether access control lists count.
    pub fn has_acls(self) -> bool {
        self != Self::BucketOwnerEnforced
    }

    /// Whether the owner of the bucket, and its policy, reach an object of another owner.
    pub(super) fn bucket_owner_reaches_all(self) -> bool {
        matches!(self, Self::BucketOwnerEnforced | Self::Undecided)
    }

    /// The owner of an object that is written by `writer`, if not with the list `canned`. Whoever
    /// has not signed owns nothing.
    pub fn owner_of_new<'a>(
        self,
        bucket: &'a Bucket,
        writer: Option<&'a str>,
        canned: Option<Canned>,
    ) -> &'a str {
        let given = canned == Some(Canned::BucketOwnerFullControl);
        match (self, writer) {
            (Self::BucketOwnerEnforced, _) | (_, None) => &bucket.owner,
            (Self::BucketOwnerPreferred, _) if given => &bucket.owner,
            (_, Some(writer)) => writer,
        }
    }

    /// The owner of an object that is there.
    pub fn owner_of<'a>(self, bucket: &'a Bucket, owner: &'a str) -> &'a str {
        if self.has_acls() { owner } else { &bucket.owner }
    }
}

/// The switches of the public access block.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Block {
    /// Lists that give anything to strangers are refused.
    pub block_acls: bool,
    /// Grants to strangers do not count.
    pub ignore_acls: bool,
    /// Policies that give anything to everybody are refused.
    pub block_policy: bool,
    /// While the policy is public, it allows nothing to others than the owner of the bucket.
    pub restrict_buckets: bool,
}

impl Block {
    /// That of a bucket.
    pub fn of(bucket: &Bucket) -> Self {
        bucket.config(ConfigKind::PublicAccessBlock).map(Self::from_text).unwrap_or_default()
    }

    /// As it is kept: four times 0 or 1.
    pub fn to_text(self) -> String {
        [self.block_acls, self.ignore_acls, self.block_policy, self.restrict_buckets]
            .map(|on| if on { '1' } else { '0' })
            .iter()
            .collect()
    }

    /// Reads what [`Self::to_text`] wrote. What is not plainly off is on.
    fn from_text(text: &str) -> Self {
        let on = |at: usize| text.as_bytes().get(at) != Some(&b'0');
        Self { block_acls: on(0), ignore_acls: on(1), block_policy: on(2), restrict_buckets: on(3) }
    }
}

/// The access control list of a bucket, whether or not it counts.
pub fn bucket_acl(bucket: &Bucket) -> Acl {
    match bucket.config(ConfigKind::Acl) {
        Some(json) if Ownership::of(bucket).has_acls() => Acl::from_json(json),
        _ => Acl::private(&bucket.owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives_its_text() {
        for n in 0..16 {
            let block = Block {
                block_acls: n & 1 != 0,
                ignore_acls: n & 2 != 0,
                block_policy: n & 4 != 0,
                restrict_buckets: n & 8 != 0,
            };
            assert_eq!(Block::from_text(&block.to_text()), block);
        }
        let all = Block {
            block_acls: true,
            ignore_acls: true,
            block_policy: true,
            restrict_buckets: true,
        };
        assert_eq!(Block::from_text(""), all);
    }

    #[test]
    fn names() {
        for name in ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"] {
            assert_eq!(Ownership::parse(name).unwrap().name(), name);
        }
        assert_eq!(Ownership::parse(""), None);
    }
}
