//! Policies of users and buckets: documents in IAM's language, parsed once into types that cannot
//! be wrong, and decided without I/O. What JOG does not know (an element, an operator, a condition
//! key, an action of S3) is refused when a policy is written, never ignored.

mod actions;
mod condition;
mod glob;
mod key;
mod pattern;
mod principal;
mod unique;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use actions::actions;
pub use actions::is_action;
pub use condition::{ANONYMOUS, Condition, Context, Network};
pub use key::Key;
pub use principal::{Principal, Who};

use crate::limits::{MAX_POLICY_BYTES, MAX_POLICY_STATEMENTS};
use pattern::{Pattern, Reading};
use serde_json::{Map, Value};

/// A policy that was understood as a whole.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
}

/// Why a document is not a policy; the text is for whoever wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub String);

/// A statement of a policy.
#[derive(Clone, PartialEq, Debug)]
pub struct Statement {
    /// Its Sid, if it has one.
    pub sid: Option<String>,
    /// Its place in the policy, from 0.
    pub index: usize,
    allow: bool,
    /// `None` in the policy of a user: it is about that user.
    principals: Option<OneOf<Principal>>,
    actions: OneOf<Pattern>,
    /// `None` in the policy of a bucket: all of that bucket.
    resources: Option<OneOf<Pattern>>,
    conditions: Vec<Condition>,
}

/// `Action` and `NotAction`, and their like.
#[derive(Clone, PartialEq, Debug)]
enum OneOf<T> {
    These(Vec<T>),
    NotThese(Vec<T>),
}

impl<T> OneOf<T> {
    fn has(&self, is: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::These(these) => these.iter().any(is),
            Self::NotThese(these) => !these.iter().any(is),
        }
    }
}

/// What is asked of policies.
pub struct Request<'a> {
    /// Who asks.
    pub who: Who<'a>,
    /// `s3:GetObject`
    pub action: &'a str,
    /// What it is about, without `arn:aws:s3:::`: `bucket`, `bucket/key`, or nothing.
    pub resource: &'a str,
    /// What conditions and variables look at.
    pub context: &'a dyn Context,
}

/// What policies say of a request.
#[must_use]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Decision<'p> {
    /// This statement allows it, and none denies it.
    Allow(&'p Statement),
    /// This statement denies it, whatever others allow.
    Deny(&'p Statement),
    /// No statement is about it.
    Nothing,
}

/// Decides over statements of any number of policies: a deny wins, whatever their order.
pub fn decide<'p>(
    policies: impl IntoIterator<Item = &'p Policy>,
    request: &Request<'_>,
) -> Decision<'p> {
    let mut decision = Decision::Nothing;
    for statement in policies.into_iter().flat_map(|policy| &policy.statements) {
        // An allow that is not the first adds nothing.
        let known = statement.allow && decision != Decision::Nothing;
        if known || !statement.is_about(request) {
            continue;
        }
        if !statement.allow {
            return Decision::Deny(statement);
        }
        decision = Decision::Allow(statement);
    }
    decision
}

impl Statement {
    fn is_about(&self, request: &Request<'_>) -> bool {
        let variable = |key: &Key| Some(request.context.values(key)?.first()?.to_string());
        let who = |principal: &Principal| principal.is(&request.who);
        self.actions.has(|action| action.matches(request.action, true, &variable))
            && self.principals.as_ref().is_none_or(|principals| principals.has(who))
            && self.resources.as_ref().is_none_or(|resources| {
                let text: Vec<char> = request.resource.chars().collect();
                resources.has(|resource| resource.matches_chars(&text, false, &variable))
            })
            && self.conditions.iter().all(|condition| condition.holds(request.context))
    }

    /// Whether it allows something to everybody, see [`Condition::restricts`].
    fn is_public(&self) -> bool {
        let everybody = match &self.principals {
            None => false,
            Some(principals) => principals.has(|p| *p == Principal::Everybody),
        };
        self.allow && everybody && !self.conditions.iter().any(Condition::restricts)
    }
}

/// Whose policy it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of<'a> {
    User,
    Bucket(&'a str),
}

impl Policy {
    /// Parses the policy of a user: without Principal.
    pub fn identity(document: &str) -> Result<Self, Malformed> {
        Self::parse(document, Of::User)
    }

    /// Parses the policy of a bucket: with Principal, and about that bucket only.
    pub fn bucket(document: &str, bucket: &str) -> Result<Self, Malformed> {
        Self::parse(document, Of::Bucket(bucket))
    }

    /// The document, as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it allows something to everybody, in the sense of AWS's "block public access".
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(Statement::is_public)
    }

    /// The users that it names by their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().filter_map(|statement| statement.principals.as_ref()).flat_map(|p| {
            let (OneOf::These(these) | OneOf::NotThese(these)) = p;
            these.iter().filter_map(Principal::user_name)
        })
    }

    fn parse(document: &str, of: Of<'_>) -> Result<Self, Malformed> {
        if document.len() > MAX_POLICY_BYTES {
            return Err(malformed("Policy is too large"));
        }
        // The parser of JSON bounds how deep it goes.
        let json: Value = serde_json::from_str(document)
            .map_err(|_| malformed("Policies must be valid JSON and the first byte must be '{'"))?;
        if !unique::keys_are_unique(document) {
            return Err(malformed("An element of the policy has the same key twice"));
        }
        let Value::Object(elements) = json else {
            return Err(malformed("Policies must be valid JSON and the first byte must be '{'"));
        };
        only(&elements, &["Version", "Id", "Statement"])?;
        let variables = match elements.get("Version") {
            Some(Value::String(version)) if version == "2012-10-17" => true,
            Some(Value::String(version)) if version == "2008-10-17" => false,
            None => false,
            Some(_) => return Err(malformed("The policy must contain a valid version string")),
        };
        if !matches!(elements.get("Id"), None | Some(Value::String(_))) {
            return Err(malformed("Invalid policy syntax: Id"));
        }
        let statements = match elements.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => return Err(malformed("Missing required field Statement")),
        };
        if statements.len() > MAX_POLICY_STATEMENTS {
            return Err(malformed("Policy has too many statements"));
        }
        let statements: Vec<Statement> = statements
            .iter()
            .enumerate()
            .map(|(index, json)| statement(json, index, of, variables))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: document.to_owned(), statements })
    }
}

fn malformed(text: &str) -> Malformed {
    Malformed(text.to_owned())
}

/// Refuses elements that have no meaning here.
fn only(elements: &Map<String, Value>, known: &[&str]) -> Result<(), Malformed> {
    match elements.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(Malformed(format!("Syntax error in policy: {unknown}"))),
        None => Ok(()),
    }
}

fn statement(
    json: &Value,
    index: usize,
    of: Of<'_>,
    variables: bool,
) -> Result<Statement, Malformed> {
    let Value::Object(elements) = json else {
        return Err(malformed("Invalid policy syntax: Statement"));
    };
    only(
        elements,
        &[
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ],
    )?;
    let sid = match elements.get("Sid") {
        None => None,
        Some(Value::String(sid)) => (!sid.is_empty()).then(|| sid.clone()),
        Some(_) => return Err(malformed("Invalid policy syntax: Sid")),
    };
    let allow = match elements.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        Some(other) => return Err(Malformed(format!("Invalid effect: {other}"))),
        None => return Err(malformed("Missing required field Effect")),
    };
    let actions = one_of(elements, "Action", "NotAction", |text| actions::parse(text, of))?
        .ok_or_else(|| malformed("Missing required field Action"))?;
    let resources = one_of(elements, "Resource", "NotResource", |text| resource(text, variables))?;
    if resources.is_none() && of == Of::User {
        return Err(malformed("Missing required field Resource"));
    }
    if let (Of::Bucket(bucket), Some(OneOf::These(resources))) = (of, &resources)
        && !resources.iter().all(|resource| resource.may_be_in(bucket))
    {
        return Err(malformed("Policy has invalid resource"));
    }
    let principals = principals(elements, of, allow)?;
    let conditions = conditions(elements.get("Condition"), variables)?;
    Ok(Statement { sid, index, allow, principals, actions, resources, conditions })
}

/// The element of one of two names, which excludes the other; a text or a list of texts.
fn one_of<T>(
    elements: &Map<String, Value>,
    these: &str,
    not_these: &str,
    parse: impl Fn(&str) -> Result<T, Malformed>,
) -> Result<Option<OneOf<T>>, Malformed> {
    let list = |name: &str, value: &Value| {
        let syntax = || Malformed(format!("Invalid policy syntax: {name}"));
        let texts = match value {
            Value::Array(values) if !values.is_empty() => values.as_slice(),
            Value::String(_) => std::slice::from_ref(value),
            _ => return Err(syntax()),
        };
        texts.iter().map(|text| parse(text.as_str().ok_or_else(syntax)?)).collect()
    };
    match (elements.get(these), elements.get(not_these)) {
        (None, None) => Ok(None),
        (Some(value), None) => Ok(Some(OneOf::These(list(these, value)?))),
        (None, Some(value)) => Ok(Some(OneOf::NotThese(list(not_these, value)?))),
        (Some(_), Some(_)) => {
            Err(Malformed(format!("A statement has both {these} and {not_these}")))
        }
    }
}

/// `arn:aws:s3:::` and a pattern, or `*`.
fn resource(text: &str, variables: bool) -> Result<Pattern, Malformed> {
    let invalid = || Malformed(format!("Policy has invalid resource: {text}"));
    let rest = match text {
        "*" => "*",
        _ => text.strip_prefix("arn:aws:s3:::").filter(|r| !r.is_empty()).ok_or_else(invalid)?,
    };
    Pattern::parse(rest, Reading { wildcards: true, variables }).map_err(|_| invalid())
}

fn principals(
    elements: &Map<String, Value>,
    of: Of<'_>,
    allow: bool,
) -> Result<Option<OneOf<Principal>>, Malformed> {
    match (of, elements.get("Principal"), elements.get("NotPrincipal")) {
        (Of::User, None, None) => Ok(None),
        (Of::User, ..) => Err(malformed("A policy of a user cannot have a principal")),
        (Of::Bucket(_), Some(these), None) => Ok(Some(OneOf::These(principal::parse(these)?))),
        (Of::Bucket(_), None, Some(these)) if !allow => {
            Ok(Some(OneOf::NotThese(principal::parse(these)?)))
        }
        (Of::Bucket(_), None, Some(_)) => {
            Err(malformed("Allow with NotPrincipal is not supported"))
        }
        (Of::Bucket(_), None, None) => Err(malformed("Missing required field Principal")),
        (Of::Bucket(_), Some(_), Some(_)) => {
            Err(malformed("A statement has both Principal and NotPrincipal"))
        }
    }
}

fn conditions(json: Option<&Value>, variables: bool) -> Result<Vec<Condition>, Malformed> {
    let syntax = || malformed("Invalid policy syntax: Condition");
    let Some(json) = json else { return Ok(Vec::new()) };
    let mut conditions = Vec::new();
    for (operator, keys) in json.as_object().ok_or_else(syntax)? {
        for (key, values) in keys.as_object().ok_or_else(syntax)? {
            conditions.push(Condition::parse(operator, key, values, variables)?);
        }
    }
    Ok(conditions)
}
