//! The policy and signature of a POST form.
//!
//! A browser sends a form; whoever wrote the form has signed a policy that says what may stand in
//! its fields. Taking the form apart (multipart/form-data) is the handler's work.
//!
//! Source: AWS, "Authenticating Requests in Browser-Based Uploads Using POST (Signature Version
//! 4)" and "POST Policy".

use super::sigv2;
use super::sigv4::{self, ALGORITHM, ALGORITHM_ECDSA, Credential, Place, parse_basic};
use super::{AuthConfig, AuthError, Identity, Keys};
use crate::types::time;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::collections::BTreeMap;

/// The fields of a form, names in lower case, without the file. `${filename}` in `key` is replaced
/// already, since a policy's condition is on the key that will be used.
pub type Fields = BTreeMap<String, String>;

/// Who sent a form, and what its policy says of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormAuth {
    /// Who signed the policy; anonymous if there is none.
    pub identity: Identity,
    /// The smallest and the largest size of the file in bytes, if the policy bounds it.
    pub content_length_range: Option<(u64, u64)>,
}

impl FormAuth {
    /// Checks the size of the file in bytes. While it arrives, call this with what has come so
    /// far and heed only [`FormError::TooLarge`].
    pub fn check_size(&self, size: u64) -> Result<(), FormError> {
        match self.content_length_range {
            Some((_, largest)) if size > largest => Err(FormError::TooLarge { size, largest }),
            Some((smallest, _)) if size < smallest => Err(FormError::TooSmall { size, smallest }),
            _ => Ok(()),
        }
    }
}

/// Why a form is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FormError {
    /// Its signature, or a condition of its policy (AccessDenied).
    Auth(AuthError),
    /// InvalidPolicyDocument (400).
    InvalidPolicyDocument(String),
    /// EntityTooLarge (400): the size and the largest one allowed, in bytes.
    TooLarge {
        /// The file's size.
        size: u64,
        /// The policy's bound.
        largest: u64,
    },
    /// EntityTooSmall (400): the size and the smallest one allowed, in bytes.
    TooSmall {
        /// The file's size.
        size: u64,
        /// The policy's bound.
        smallest: u64,
    },
}

impl From<AuthError> for FormError {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

/// Finds out who signed a form's policy and whether the form keeps to it. `now` in seconds since
/// 1970. A form without policy and signature is anonymous.
pub fn authenticate_form(
    fields: &Fields,
    bucket: &str,
    keys: &dyn Keys,
    config: &AuthConfig,
    now: i64,
) -> Result<FormAuth, FormError> {
    let Some(policy) = fields.get("policy") else {
        if SIGNATURE_FIELDS.iter().any(|name| fields.contains_key(*name)) {
            return Err(missing_field("policy").into());
        }
        return Ok(FormAuth { identity: Identity::Anonymous, content_length_range: None });
    };
    let access_key_id = verify_signature(fields, policy, keys, config)?;
    let policy = PostPolicy::parse(policy)?;
    policy.check(fields, bucket, now)?;
    Ok(FormAuth {
        identity: Identity::Key { access_key_id },
        content_length_range: policy.content_length_range,
    })
}

/// Fields that only a signed form has.
const SIGNATURE_FIELDS: [&str; 6] = [
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-algorithm",
    "x-amz-date",
    "signature",
    "awsaccesskeyid",
];

fn missing_field(name: &str) -> AuthError {
    AuthError::InvalidArgument(format!(
        "Bucket POST must contain a field named '{name}'.  If it is specified, please check the \
         order of the fields."
    ))
}

/// Verifies the signature over the policy as it stands in the form; gives the access key's ID.
fn verify_signature(
    fields: &Fields,
    policy: &str,
    keys: &dyn Keys,
    config: &AuthConfig,
) -> Result<String, AuthError> {
    let need = |name: &str| fields.get(name).map(String::as_str).ok_or_else(|| missing_field(name));
    let is_v2 = fields.contains_key("awsaccesskeyid") || fields.contains_key("signature");
    if is_v2 && !fields.contains_key("x-amz-signature") {
        let (access_key_id, signature) = (need("awsaccesskeyid")?, need("signature")?);
        if !config.sigv2 {
            return Err(sigv4::unsupported());
        }
        super::refuse_token(fields.get("x-amz-security-token").map(String::as_str))?;
        sigv2::prove_form(policy, access_key_id, signature, keys)?;
        return Ok(access_key_id.to_owned());
    }
    let signature = need("x-amz-signature")?;
    match need("x-amz-algorithm")? {
        ALGORITHM => (),
        ALGORITHM_ECDSA => {
            return Err(AuthError::NotImplemented("AWS4-ECDSA-P256-SHA256 (SigV4A)".to_owned()));
        }
        _ => {
            let text = "x-amz-algorithm only supports \"AWS4-HMAC-SHA256\"";
            return Err(AuthError::InvalidArgument(text.to_owned()));
        }
    }
    let credential = Credential::parse(need("x-amz-credential")?, config, Place::Query)?;
    let date = need("x-amz-date")?;
    if parse_basic(date).is_none() {
        let text = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
        return Err(AuthError::InvalidArgument(text.to_owned()));
    }
    credential.check_day(date, Place::Query)?;
    let signer = credential.signer(keys)?;
    super::refuse_token(fields.get("x-amz-security-token").map(String::as_str))?;
    match signer.verify(policy.as_bytes(), signature) {
        true => Ok(credential.access_key_id.to_owned()),
        false => Err(AuthError::SignatureDoesNotMatch {
            access_key_id: credential.access_key_id.to_owned(),
            string_to_sign: policy.to_owned(),
            signature: signature.to_owned(),
            canonical_request: String::new(),
        }),
    }
}

/// What a form may contain and until when it may be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostPolicy {
    /// In milliseconds since 1970.
    expiration_ms: i64,
    conditions: Vec<Condition>,
    /// The smallest and the largest size of the file in bytes.
    pub content_length_range: Option<(u64, u64)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Condition {
    test: Test,
    /// In lower case.
    field: String,
    value: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Test {
    Equal,
    StartsWith,
}

impl PostPolicy {
    /// Parses a policy document in Base64.
    pub fn parse(base64: &str) -> Result<Self, FormError> {
        let text: Vec<u8> = base64.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let json = BASE64_STANDARD.decode(text).map_err(|_| invalid("it is not Base64."))?;
        let json = serde_json::from_slice(&json).map_err(|_| invalid("Invalid JSON."))?;
        let Value::Object(members) = json else {
            return Err(invalid("Expecting an object."));
        };
        if let Some(name) = members.keys().find(|k| *k != "expiration" && *k != "conditions") {
            return Err(invalid(&format!("Unexpected: '{name}'.")));
        }
        let expiration_ms = members
            .get("expiration")
            .ok_or_else(|| invalid("Policy is missing expiration."))?
            .as_str()
            .and_then(time::parse_iso)
            .ok_or_else(|| invalid("Invalid 'expiration' value."))?;
        let conditions = members
            .get("conditions")
            .ok_or_else(|| invalid("Policy is missing conditions."))?
            .as_array()
            .ok_or_else(|| invalid("Invalid 'conditions' value: must be a List."))?;
        let mut policy = Self { expiration_ms, conditions: vec![], content_length_range: None };
        for condition in conditions {
            policy.add(condition)?;
        }
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> Result<(), FormError> {
        match condition {
            Value::Object(members) => {
                let mut members = members.iter();
                let (Some((field, value)), None) = (members.next(), members.next()) else {
                    return Err(invalid(
                        "Invalid Simple-Condition: Simple-Conditions must have exactly one \
                         property specified.",
                    ));
                };
                let value = value.as_str();
                let value = value.ok_or_else(|| invalid("A condition's value is no string."))?;
                self.push(Test::Equal, field, value);
                Ok(())
            }
            Value::Array(parts) => self.add_list(parts),
            _ => Err(invalid("A condition must be an object or a list.")),
        }
    }

    fn add_list(&mut self, parts: &[Value]) -> Result<(), FormError> {
        let [operation, first, second] = parts else {
            return Err(invalid("A condition that is a list must have three members."));
        };
        let operation = operation.as_str().unwrap_or("").to_ascii_lowercase();
        let test = match operation.as_str() {
            "eq" => Test::Equal,
            "starts-with" => Test::StartsWith,
            "content-length-range" => {
                let (Some(smallest), Some(largest)) = (bytes(first), bytes(second)) else {
                    return Err(invalid("content-length-range needs two numbers of bytes."));
                };
                // Several ranges must all hold.
                let (low, high) = self.content_length_range.unwrap_or((0, u64::MAX));
                self.content_length_range = Some((low.max(smallest), high.min(largest)));
                return Ok(());
            }
            _ => return Err(invalid("A condition has an unknown operation.")),
        };
        let field = first.as_str().and_then(|field| field.strip_prefix('$'));
        let (Some(field), Some(value)) = (field, second.as_str()) else {
            return Err(invalid("A condition must name a $field and a string."));
        };
        self.push(test, field, value);
        Ok(())
    }

    fn push(&mut self, test: Test, field: &str, value: &str) {
        let field = field.to_ascii_lowercase();
        self.conditions.push(Condition { test, field, value: value.to_owned() });
    }

    /// Checks everything but the size of the file; `now` in seconds since 1970.
    pub fn check(&self, fields: &Fields, bucket: &str, now: i64) -> Result<(), FormError> {
        if now.saturating_mul(1000) >= self.expiration_ms {
            return Err(denied("Policy expired."));
        }
        for condition in &self.conditions {
            // The bucket is that of the request, whatever the form claims.
            let value = match condition.field.as_str() {
                "bucket" => Some(bucket),
                field => fields.get(field).map(String::as_str),
            };
            if !value.is_some_and(|value| condition.holds(value)) {
                return Err(denied(&format!("Policy Condition failed: {condition}")));
            }
        }
        let covered = |name: &str| self.conditions.iter().any(|c| c.field == name);
        let names = fields.keys().map(String::as_str).filter(|name| *name != "bucket");
        let mut extra = names.chain(["bucket"]).filter(|name| !is_exempt(name) && !covered(name));
        match extra.next() {
            Some(name) => Err(denied(&format!("Extra input fields: {name}"))),
            None => Ok(()),
        }
    }
}

/// Fields that need no condition. Checksums can only restrict what is accepted.
fn is_exempt(name: &str) -> bool {
    matches!(name, "x-amz-signature" | "signature" | "awsaccesskeyid" | "policy" | "file")
        || name.starts_with("x-ignore-")
        || name.starts_with("x-amz-checksum-")
}

/// A size in a policy, as a number or as a string of digits.
fn bytes(value: &Value) -> Option<u64> {
    match value {
        Value::String(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

impl Condition {
    fn holds(&self, value: &str) -> bool {
        match self.test {
            Test::Equal => value == self.value,
            // "Content-Type values for a starts-with condition that include commas are
            // interpreted as lists. Each value in the list must meet the condition."
            Test::StartsWith if self.field == "content-type" => {
                value.split(',').all(|part| part.trim_start().starts_with(&self.value))
            }
            Test::StartsWith => value.starts_with(&self.value),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let operation = match self.test {
            Test::Equal => "eq",
            Test::StartsWith => "starts-with",
        };
        write!(f, "[\"{operation}\", \"${}\", \"{}\"]", self.field, self.value)
    }
}

fn invalid(text: &str) -> FormError {
    FormError::InvalidPolicyDocument(format!("Invalid Policy: {text}"))
}

fn denied(text: &str) -> FormError {
    FormError::Auth(AuthError::AccessDenied(format!("Invalid according to Policy: {text}")))
}
