//! Access control lists: who may do what with a bucket or an object, by its owner's grants. Models
//! and decisions; their XML and their headers are in `s3/acl.rs`.

use crate::limits::MAX_GRANTS;
use serde_json::Value;

/// What a grant permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// To list a bucket, or to read an object.
    Read,
    /// To write and delete objects of a bucket; nothing on an object.
    Write,
    /// To read the list.
    ReadAcp,
    /// To write the list.
    WriteAcp,
    /// All of these.
    FullControl,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp, Self::FullControl];

    /// `READ_ACP`
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }

    /// The permission of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }

    /// The header field that grants it.
    pub fn header(self) -> &'static str {
        match self {
            Self::Read => "x-amz-grant-read",
            Self::Write => "x-amz-grant-write",
            Self::ReadAcp => "x-amz-grant-read-acp",
            Self::WriteAcp => "x-amz-grant-write-acp",
            Self::FullControl => "x-amz-grant-full-control",
        }
    }
}

/// To whom a grant is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Grantee {
    /// A user, by its canonical ID.
    User(String),
    /// Everybody.
    AllUsers,
    /// Everybody with a key.
    AuthenticatedUsers,
    /// What writes access logs.
    LogDelivery,
}

impl Grantee {
    /// The groups and their URIs.
    const GROUPS: [(Self, &'static str); 3] = [
        (Self::AllUsers, "http://acs.amazonaws.com/groups/global/AllUsers"),
        (Self::AuthenticatedUsers, "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"),
        (Self::LogDelivery, "http://acs.amazonaws.com/groups/s3/LogDelivery"),
    ];

    /// The group of a URI.
    pub fn group(uri: &str) -> Option<Self> {
        Self::GROUPS.iter().find(|(_, known)| *known == uri).map(|(group, _)| group.clone())
    }

    /// The URI, if it is a group.
    pub fn uri(&self) -> Option<&'static str> {
        Self::GROUPS.iter().find(|(group, _)| group == self).map(|(_, uri)| *uri)
    }

    /// Whether strangers are among them.
    fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }

    /// Whether it is a user of this canonical ID, or anybody without one.
    fn has(&self, id: Option<&str>) -> bool {
        match self {
            Self::AllUsers => true,
            Self::AuthenticatedUsers => id.is_some(),
            Self::User(user) => id == Some(user),
            Self::LogDelivery => false,
        }
    }
}

/// A permission for somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Who.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// A list of grants, in its order, of at most [`MAX_GRANTS`].
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Acl(Vec<Grant>);

/// The canned lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canned {
    /// Nobody but the owner.
    Private,
    /// Everybody may read.
    PublicRead,
    /// Everybody may read and write.
    PublicReadWrite,
    /// Everybody with a key may read.
    AuthenticatedRead,
    /// As private: there is no EC2 here.
    AwsExecRead,
    /// The owner of the bucket may read the object.
    BucketOwnerRead,
    /// The owner of the bucket may do everything with the object.
    BucketOwnerFullControl,
    /// What writes access logs may write to the bucket.
    LogDeliveryWrite,
}

impl Canned {
    /// The list of a name, or `None`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "aws-exec-read" => Self::AwsExecRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            "log-delivery-write" => Self::LogDeliveryWrite,
            _ => return None,
        })
    }

    /// Its grants: those of groups first, then the owner's, as on AWS. For a bucket both owners
    /// are the same.
    pub fn grants(self, owner: &str, bucket_owner: &str) -> Acl {
        use Permission::{FullControl, Read, ReadAcp, Write};
        let user = |id: &str, permission| Grant { grantee: Grantee::User(id.into()), permission };
        let group = |grantee: &Grantee, permission| Grant { grantee: grantee.clone(), permission };
        let mut grants = match self {
            Self::PublicRead => vec![group(&Grantee::AllUsers, Read)],
            Self::PublicReadWrite => {
                vec![group(&Grantee::AllUsers, Read), group(&Grantee::AllUsers, Write)]
            }
            Self::AuthenticatedRead => vec![group(&Grantee::AuthenticatedUsers, Read)],
            Self::LogDeliveryWrite => {
                vec![group(&Grantee::LogDelivery, Write), group(&Grantee::LogDelivery, ReadAcp)]
            }
            _ => Vec::new(),
        };
        grants.push(user(owner, FullControl));
        match self {
            Self::BucketOwnerRead if owner != bucket_owner => grants.push(user(bucket_owner, Read)),
            Self::BucketOwnerFullControl if owner != bucket_owner => {
                grants.push(user(bucket_owner, FullControl));
            }
            _ => {}
        }
        Acl(grants)
    }
}

impl Acl {
    /// `None` if there are more grants than [`MAX_GRANTS`].
    pub fn new(grants: Vec<Grant>) -> Option<Self> {
        (grants.len() <= MAX_GRANTS).then_some(Self(grants))
    }

    /// What there is where nobody has written a list.
    pub fn private(owner: &str) -> Self {
        Canned::Private.grants(owner, owner)
    }

    /// The grants.
    pub fn grants(&self) -> &[Grant] {
        &self.0
    }

    /// The grant that permits something to a user, or to whoever has not signed (`None`).
    /// `no_public`: those of groups do not count.
    pub fn permits(
        &self,
        id: Option<&str>,
        permission: Permission,
        no_public: bool,
    ) -> Option<&Grant> {
        self.0.iter().find(|grant| {
            (grant.permission == permission || grant.permission == Permission::FullControl)
                && grant.grantee.has(id)
                && !(no_public && grant.grantee.is_public())
        })
    }

    /// Whether it gives anything to strangers.
    pub fn is_public(&self) -> bool {
        self.0.iter().any(|grant| grant.grantee.is_public())
    }

    /// The owner of this canonical ID has full control, and nobody else has anything.
    pub fn is_private(&self, owner: &str) -> bool {
        let owners = |grant: &Grant| {
            grant.grantee == Grantee::User(owner.to_owned())
                && grant.permission == Permission::FullControl
        };
        self.0.iter().all(owners)
    }

    /// As it is kept: pairs of a grantee, which is an ID or a URI, and a permission.
    pub fn to_json(&self) -> String {
        let pair = |grant: &Grant| {
            let who = match &grant.grantee {
                Grantee::User(id) => id.clone(),
                group => group.uri().unwrap_or_default().to_owned(),
            };
            Value::from(vec![who, grant.permission.name().to_owned()])
        };
        Value::Array(self.0.iter().map(pair).collect()).to_string()
    }

    /// Reads what [`Self::to_json`] wrote. What cannot be read grants nothing.
    pub fn from_json(text: &str) -> Self {
        let grant = |pair: &Value| {
            let who = pair.get(0)?.as_str()?;
            let grantee = Grantee::group(who).unwrap_or_else(|| Grantee::User(who.to_owned()));
            Some(Grant { grantee, permission: Permission::parse(pair.get(1)?.as_str()?)? })
        };
        let pairs: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        Self(pairs.iter().filter_map(grant).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canned_lists_permit_what_they_say() {
        use Permission::{FullControl, Read, ReadAcp, Write, WriteAcp};
        // list, who, what, whether
        let table = [
            ("private", Some("owner"), FullControl, true),
            ("private", Some("bucket"), Read, false),
            ("private", None, Read, false),
            ("public-read", None, Read, true),
            ("public-read", None, Write, false),
            ("public-read", Some("other"), ReadAcp, false),
            ("public-read-write", None, Write, true),
            ("public-read-write", None, WriteAcp, false),
            ("authenticated-read", None, Read, false),
            ("authenticated-read", Some("other"), Read, true),
            ("aws-exec-read", Some("other"), Read, false),
            ("bucket-owner-read", Some("bucket"), Read, true),
            ("bucket-owner-read", Some("bucket"), WriteAcp, false),
            ("bucket-owner-full-control", Some("bucket"), WriteAcp, true),
            ("bucket-owner-full-control", Some("other"), Read, false),
            ("log-delivery-write", Some("other"), Write, false),
        ];
        for (name, who, what, expected) in table {
            let acl = Canned::parse(name).unwrap().grants("owner", "bucket");
            assert_eq!(
                acl.permits(who, what, false).is_some(),
                expected,
                "{name} {who:?} {what:?}"
            );
            assert!(acl.permits(Some("owner"), what, true).is_some(), "{name}");
            assert_eq!(Acl::from_json(&acl.to_json()), acl, "{name}");
        }
        assert_eq!(Canned::parse("mine"), None);
    }

    #[test]
    fn public_grants_and_their_block() {
        let acl = Canned::PublicReadWrite.grants("o", "o");
        assert!(acl.is_public() && !acl.is_private("o"));
        assert!(acl.permits(Some("x"), Permission::Read, true).is_none());
        let private = Acl::private("o");
        assert!(!private.is_public() && private.is_private("o") && !private.is_private("x"));
        assert!(Acl::default().is_private("o"));
        assert!(!Canned::LogDeliveryWrite.grants("o", "o").is_public());
    }

    #[test]
    fn what_cannot_be_read_grants_nothing() {
        for bad in ["", "{}", "[1]", "[[\"a\"]]", "[[\"a\",\"ALL\"]]", "[[1,\"READ\"]]"] {
            assert_eq!(Acl::from_json(bad), Acl::default(), "{bad}");
        }
        let many = vec![Grant { grantee: Grantee::AllUsers, permission: Permission::Read }; 101];
        assert_eq!(Acl::new(many), None);
    }
}
