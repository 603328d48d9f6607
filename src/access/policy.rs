//! Policies of users and buckets: documents in IAM's language.

/// A policy that was understood as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    text: String,
}

/// Why a document is not a policy; the text is for whoever wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub String);

impl Policy {
    /// Parses the policy of a user: without Principal.
    pub fn identity(document: &str) -> Result<Self, Malformed> {
        Ok(Self { text: document.to_owned() })
    }

    /// The document.
    pub fn text(&self) -> &str {
        &self.text
    }
}
