//! Versions of objects: what they are called, how buckets keep them, and what protects them.

use std::fmt;

/// Hex digits of a version's number in its id.
const ID_DIGITS: usize = 16;

/// What clients call a version of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VersionId {
    /// `null`: written while the bucket's versioning was not enabled.
    Null,
    /// Written while it was; the number of the version.
    Number(i64),
}

impl VersionId {
    /// The id of a text; `None` if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let digits = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != ID_DIGITS || !text.bytes().all(digits) {
            return None;
        }
        i64::from_str_radix(text, 16).ok().map(Self::Number)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Number(number) => write!(f, "{number:016x}"),
        }
    }
}

/// Whether a bucket keeps what is overwritten and deleted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Versioning {
    /// It never has.
    #[default]
    Unversioned,
    /// It does.
    Enabled,
    /// It did; new objects are `null` versions.
    Suspended,
}

impl Versioning {
    /// The id of a version that is written now with this number.
    pub fn id(self, number: i64) -> VersionId {
        match self {
            Self::Enabled => VersionId::Number(number),
            Self::Unversioned | Self::Suspended => VersionId::Null,
        }
    }
}

/// How strictly a retention holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetentionMode {
    /// It may be lifted with s3:BypassGovernanceRetention.
    Governance,
    /// Nobody can lift or shorten it.
    Compliance,
}

impl RetentionMode {
    /// By AWS's name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "GOVERNANCE" => Some(Self::Governance),
            "COMPLIANCE" => Some(Self::Compliance),
            _ => None,
        }
    }

    /// AWS's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// Until when a version must not go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// How strictly.
    pub mode: RetentionMode,
    /// Milliseconds since 1970.
    pub until_ms: i64,
}

/// What protects a version.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Lock {
    /// A time.
    pub retention: Option<Retention>,
    /// A hold without an end.
    pub legal_hold: bool,
}

impl Lock {
    /// Whether the version must stay. `bypass`: the caller may and wants to overrule governance.
    #[must_use]
    pub fn protects(&self, now_ms: i64, bypass: bool) -> bool {
        self.legal_hold
            || self.retention.is_some_and(|r| {
                r.until_ms > now_ms && !(bypass && r.mode == RetentionMode::Governance)
            })
    }

    /// Whether the retention may become `new`: one that runs may only grow, unless it is of
    /// governance and bypassed.
    #[must_use]
    pub fn may_become(&self, new: Option<Retention>, now_ms: i64, bypass: bool) -> bool {
        let Some(old) = self.retention.filter(|r| r.until_ms > now_ms) else { return true };
        let grows = new.is_some_and(|new| new.mode == old.mode && new.until_ms >= old.until_ms);
        grows || (bypass && old.mode == RetentionMode::Governance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for id in [VersionId::Null, VersionId::Number(0), VersionId::Number(i64::MAX)] {
            assert_eq!(VersionId::parse(&id.to_string()), Some(id));
        }
        for bad in ["", "Null", "0", "00000000000000001", "000000000000000A", "ffffffffffffffff"] {
            assert_eq!(VersionId::parse(bad), None, "{bad}");
        }
        assert_eq!(Versioning::Enabled.id(7), VersionId::Number(7));
        assert_eq!(Versioning::Suspended.id(7), VersionId::Null);
    }

    #[test]
    fn what_protects() {
        let of =
            |mode| Lock { retention: Some(Retention { mode, until_ms: 100 }), legal_hold: false };
        let (governance, compliance) =
            (of(RetentionMode::Governance), of(RetentionMode::Compliance));
        assert!(governance.protects(99, false) && !governance.protects(99, true));
        assert!(compliance.protects(99, true) && !compliance.protects(100, false));
        let hold = Lock { retention: None, legal_hold: true };
        assert!(hold.protects(i64::MAX, true) && !Lock::default().protects(0, false));
    }

    #[test]
    fn how_retention_changes() {
        let of = |mode, until_ms| Some(Retention { mode, until_ms });
        use RetentionMode::{Compliance, Governance};
        let lock = |retention| Lock { retention, legal_hold: false };
        let governance = lock(of(Governance, 100));
        assert!(governance.may_become(of(Governance, 100), 50, false));
        assert!(!governance.may_become(of(Governance, 99), 50, false));
        assert!(!governance.may_become(of(Compliance, 200), 50, false));
        assert!(!governance.may_become(None, 50, false) && governance.may_become(None, 50, true));
        assert!(governance.may_become(None, 100, false));
        let compliance = lock(of(Compliance, 100));
        assert!(compliance.may_become(of(Compliance, 101), 50, false));
        assert!(!compliance.may_become(of(Compliance, 99), 50, true));
        assert!(!compliance.may_become(of(Governance, 200), 50, true));
    }
}
