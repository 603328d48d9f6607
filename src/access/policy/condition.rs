//! Conditions of statements: operators over the values that a request has for a key.

use super::Malformed;
use super::key::Key;
use super::pattern::{Pattern, Reading, Values};
use crate::types::time;
use serde_json::Value;
use std::borrow::Cow;
use std::net::IpAddr;

/// `aws:userid` of whoever has not signed.
pub const ANONYMOUS: &str = "anonymous";

/// What a request has: the values of a key; `None` if it has none.
pub trait Context {
    /// The values of a key.
    fn values(&self, key: &Key) -> Option<Vec<Cow<'_, str>>>;
}

/// One operator over one key. All conditions of a statement have to hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Condition {
    key: Key,
    test: Test,
    /// It also holds if one of the values of the request is not what is named.
    negated: bool,
    /// It also holds if the request does not have the key.
    if_exists: bool,
    over: Over,
}

/// Which of several values of the request are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Over {
    One,
    All,
    Any,
}

/// What is tested of one value.
#[derive(Clone, PartialEq, Debug)]
enum Test {
    Text {
        patterns: Vec<Pattern>,
        fold: bool,
    },
    Arn(Vec<[Pattern; 6]>),
    Number(Compare, Vec<f64>),
    /// Milliseconds since 1970.
    Date(Compare, Vec<i64>),
    Bool(Vec<bool>),
    Address(Vec<Network>),
    Missing(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// Addresses whose first bits are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `192.0.2.0/24`, `2001:db8::/32`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok()?,
            Some(_) => return None,
        };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether an address is one of its own. An IPv4 address may come as one of IPv6.
    pub fn has(&self, address: IpAddr) -> bool {
        let wide = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (true, u128::from(u32::from(v4)) << 96),
            IpAddr::V6(v6) => (false, u128::from(v6)),
        };
        let ((v4, own), (other_v4, other)) = (wide(self.address), wide(address));
        let differ = own ^ other;
        v4 == other_v4 && (self.bits == 0 || differ >> (128 - u32::from(self.bits)) == 0)
    }

    /// Whether it has so many addresses that it is no restriction: AWS's bounds, see
    /// "The meaning of public" in its guide.
    pub fn is_wide(&self) -> bool {
        self.bits < if self.address.is_ipv4() { 8 } else { 32 }
    }
}

/// What an operator's name says, without IfExists and the qualifier of sets.
struct Operator {
    test: fn(&Key, &[String], bool) -> Result<Test, Malformed>,
    negated: bool,
}

fn operator(name: &str) -> Option<Operator> {
    let operator = |test, negated| Some(Operator { test, negated });
    macro_rules! compares {
        ($of:ident, $compare:ident) => {
            |_: &Key, values: &[String], _: bool| $of(Compare::$compare, values)
        };
    }
    match name {
        "StringEquals" => operator(|_, v, vars| text(v, false, false, vars), false),
        "StringNotEquals" => operator(|_, v, vars| text(v, false, false, vars), true),
        "StringEqualsIgnoreCase" => operator(|_, v, vars| text(v, false, true, vars), false),
        "StringNotEqualsIgnoreCase" => operator(|_, v, vars| text(v, false, true, vars), true),
        "StringLike" => operator(|_, v, vars| text(v, true, false, vars), false),
        "StringNotLike" => operator(|_, v, vars| text(v, true, false, vars), true),
        "ArnEquals" | "ArnLike" => operator(|_, v, vars| arn(v, vars), false),
        "ArnNotEquals" | "ArnNotLike" => operator(|_, v, vars| arn(v, vars), true),
        "NumericEquals" => operator(compares!(number, Equal), false),
        "NumericNotEquals" => operator(compares!(number, Equal), true),
        "NumericLessThan" => operator(compares!(number, Less), false),
        "NumericLessThanEquals" => operator(compares!(number, LessOrEqual), false),
        "NumericGreaterThan" => operator(compares!(number, Greater), false),
        "NumericGreaterThanEquals" => operator(compares!(number, GreaterOrEqual), false),
        "DateEquals" => operator(compares!(date, Equal), false),
        "DateNotEquals" => operator(compares!(date, Equal), true),
        "DateLessThan" => operator(compares!(date, Less), false),
        "DateLessThanEquals" => operator(compares!(date, LessOrEqual), false),
        "DateGreaterThan" => operator(compares!(date, Greater), false),
        "DateGreaterThanEquals" => operator(compares!(date, GreaterOrEqual), false),
        "Bool" => operator(|_, v, _| Ok(Test::Bool(each(v, parse_bool)?)), false),
        "IpAddress" => operator(address, false),
        "NotIpAddress" => operator(address, true),
        "Null" => operator(missing, false),
        _ => None,
    }
}

fn each<T>(values: &[String], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Malformed> {
    let value = |text: &String| {
        parse(text).ok_or_else(|| Malformed(format!("Invalid value in a condition: {text}")))
    };
    values.iter().map(value).collect()
}

fn text(values: &[String], wild: bool, fold: bool, variables: bool) -> Result<Test, Malformed> {
    let reading = Reading { wildcards: wild, variables };
    let patterns = each(values, |text| Pattern::parse(text, reading).ok())?;
    Ok(Test::Text { patterns, fold })
}

/// Each of the six parts of an ARN is a pattern of its own.
fn arn(values: &[String], variables: bool) -> Result<Test, Malformed> {
    let reading = Reading { wildcards: true, variables };
    let parse = |text: &str| {
        let parts: Vec<Pattern> = arn_parts(text)?
            .iter()
            .map(|part| Pattern::parse(part, reading).ok())
            .collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    Ok(Test::Arn(each(values, parse)?))
}

/// `arn`, partition, service, region, account, resource.
fn arn_parts(text: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    parts.try_into().ok()
}

fn number(compare: Compare, values: &[String]) -> Result<Test, Malformed> {
    Ok(Test::Number(compare, each(values, parse_number)?))
}

fn date(compare: Compare, values: &[String]) -> Result<Test, Malformed> {
    Ok(Test::Date(compare, each(values, parse_date)?))
}

fn address(key: &Key, values: &[String], _: bool) -> Result<Test, Malformed> {
    if *key != Key::SourceIp {
        return Err(Malformed("IpAddress and NotIpAddress are about aws:SourceIp".to_owned()));
    }
    Ok(Test::Address(each(values, Network::parse)?))
}

fn missing(_: &Key, values: &[String], _: bool) -> Result<Test, Malformed> {
    match each(values, parse_bool)?.as_slice() {
        [missing] => Ok(Test::Missing(*missing)),
        _ => Err(Malformed("Null takes one value".to_owned())),
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn parse_number(text: &str) -> Option<f64> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.');
    text.bytes().all(plain).then(|| text.parse().ok())?
}

/// Milliseconds of an ISO 8601 date or time in UTC, or of seconds since 1970.
fn parse_date(text: &str) -> Option<i64> {
    let epoch = || text.parse::<i64>().ok()?.checked_mul(1000);
    let day = || time::parse_iso(&format!("{text}T00:00:00Z"));
    let minute = || time::parse_iso(&format!("{}:00Z", text.strip_suffix('Z')?));
    time::parse_iso(text).or_else(day).or_else(minute).or_else(epoch)
}

/// A value as policies write it: a text, a number or a truth value.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

impl Condition {
    /// `operator`: its name as it stands in the policy, `key` and `values` what it is about.
    /// `variables`: whether `${…}` is a variable.
    pub fn parse(
        operator_name: &str,
        key_name: &str,
        values: &Value,
        variables: bool,
    ) -> Result<Self, Malformed> {
        let (over, rest) = match operator_name.split_once(':') {
            None => (Over::One, operator_name),
            Some(("ForAllValues", rest)) => (Over::All, rest),
            Some(("ForAnyValue", rest)) => (Over::Any, rest),
            Some(_) => return Err(unknown_operator(operator_name)),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) if name != "Null" => (name, true),
            _ => (rest, false),
        };
        let operator = operator(name).ok_or_else(|| unknown_operator(operator_name))?;
        let key = Key::parse(key_name)
            .ok_or_else(|| Malformed(format!("Policy has an invalid condition key: {key_name}")))?;
        let invalid = || Malformed(format!("Invalid value in a condition of {key_name}"));
        let values: Vec<String> = match values {
            Value::Array(values) if !values.is_empty() => {
                values.iter().map(scalar).collect::<Option<_>>().ok_or_else(invalid)?
            }
            value => vec![scalar(value).ok_or_else(invalid)?],
        };
        // Values of this key never start with a slash; AWS's own examples have it both ways.
        let bare = |text: String| match key {
            Key::CopySource => text.strip_prefix('/').map(str::to_owned).unwrap_or(text),
            _ => text,
        };
        let values: Vec<String> = values.into_iter().map(bare).collect();
        let test = (operator.test)(&key, &values, variables)?;
        Ok(Self { key, test, negated: operator.negated, if_exists, over })
    }

    /// Whether it holds for a request.
    pub fn holds(&self, context: &dyn Context) -> bool {
        let values = context.values(&self.key);
        if let Test::Missing(missing) = self.test {
            return values.is_none() == missing;
        }
        let Some(values) = values else {
            // Absent is not what is named, and all of nothing is whatever one likes.
            return self.if_exists
                || match self.over {
                    Over::One => self.negated,
                    Over::All => true,
                    Over::Any => false,
                };
        };
        let variable = |key: &Key| context.values(key)?.first().map(|value| value.to_string());
        let named = |value: &Cow<'_, str>| self.test.names(value, &variable);
        match self.over {
            Over::One => values.iter().any(named) != self.negated,
            Over::All => values.iter().all(|value| named(value) != self.negated),
            Over::Any => values.iter().any(|value| named(value) != self.negated),
        }
    }

    /// Whether it leaves so few that a statement for everybody is not public: AWS's list, as far
    /// as JOG has its keys, with fixed values.
    pub fn restricts(&self) -> bool {
        if self.negated || self.if_exists || self.over != Over::One {
            return false;
        }
        let listed = matches!(
            self.key,
            Key::SourceArn | Key::SourceAccount | Key::UserId | Key::Username | Key::PrincipalArn
        );
        match &self.test {
            Test::Address(networks) => !networks.iter().any(Network::is_wide),
            // Whoever has not signed has the user ID `anonymous`.
            Test::Text { patterns, fold } => {
                let few = |p: &Pattern| p.is_fixed() && !p.matches(ANONYMOUS, *fold, &|_| None);
                listed && patterns.iter().all(few)
            }
            Test::Arn(arns) => listed && arns.iter().flatten().all(Pattern::is_fixed),
            _ => false,
        }
    }

    /// The key that it is about.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

fn unknown_operator(name: &str) -> Malformed {
    Malformed(format!("Invalid condition operator: {name}"))
}

impl Test {
    /// Whether a value is one of those that are named.
    fn names(&self, value: &str, variable: &Values<'_>) -> bool {
        match self {
            Self::Text { patterns, fold } => {
                let text: Vec<char> = value.chars().collect();
                patterns.iter().any(|pattern| pattern.matches_chars(&text, *fold, variable))
            }
            Self::Arn(arns) => arn_parts(value).is_some_and(|parts| {
                let same = |arn: &[Pattern; 6]| {
                    arn.iter().zip(parts).all(|(p, part)| p.matches(part, false, variable))
                };
                arns.iter().any(same)
            }),
            Self::Number(compare, numbers) => parse_number(value)
                .is_some_and(|value| numbers.iter().any(|n| compare.holds(&value, n))),
            Self::Date(compare, dates) => parse_date(value)
                .is_some_and(|value| dates.iter().any(|date| compare.holds(&value, date))),
            Self::Bool(truths) => parse_bool(value).is_some_and(|value| truths.contains(&value)),
            Self::Address(networks) => value
                .parse()
                .is_ok_and(|address| networks.iter().any(|network| network.has(address))),
            Self::Missing(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A request with one key, perhaps of several values.
    struct One(&'static str, Vec<&'static str>);

    impl Context for One {
        fn values(&self, key: &Key) -> Option<Vec<Cow<'_, str>>> {
            let mine = Key::parse(self.0).as_ref() == Some(key);
            mine.then(|| self.1.iter().map(|v| Cow::Borrowed(*v)).collect())
        }
    }

    fn holds(operator: &str, key: &'static str, named: Value, has: &[&'static str]) -> bool {
        let condition = Condition::parse(operator, key, &named, true).unwrap();
        let absent = One("aws:EpochTime", vec!["0"]);
        match has {
            [] => condition.holds(&absent),
            has => condition.holds(&One(key, has.to_vec())),
        }
    }

    #[test]
    fn operators() {
        const REFERER: &str = "aws:Referer";
        // operator, key, what the policy names, what the request has, whether it holds
        let table: &[(&str, &'static str, Value, &[&'static str], bool)] = &[
            ("StringEquals", REFERER, json!("a*"), &["a*"], true),
            ("StringEquals", REFERER, json!("a*"), &["ab"], false),
            ("StringEquals", REFERER, json!(["x", "y"]), &["y"], true),
            ("StringEquals", REFERER, json!("x"), &[], false),
            ("StringEqualsIfExists", REFERER, json!("x"), &[], true),
            ("StringEqualsIfExists", REFERER, json!("x"), &["y"], false),
            ("StringNotEquals", REFERER, json!(["x", "y"]), &["y"], false),
            ("StringNotEquals", REFERER, json!(["x", "y"]), &["z"], true),
            ("StringNotEquals", REFERER, json!("x"), &[], true),
            ("StringEqualsIgnoreCase", REFERER, json!("ÄB"), &["äb"], true),
            ("StringNotEqualsIgnoreCase", REFERER, json!("AB"), &["ab"], false),
            ("StringLike", REFERER, json!("http://a/*"), &["http://a/b/c"], true),
            ("StringNotLike", REFERER, json!("http://a/*"), &["http://a/b/c"], false),
            ("NumericLessThanEquals", "s3:max-keys", json!(10), &["10"], true),
            ("NumericLessThanEquals", "s3:max-keys", json!("10"), &["11"], false),
            ("NumericLessThanEquals", "s3:max-keys", json!("10"), &["many"], false),
            ("NumericEquals", "s3:max-keys", json!("1.0"), &["1"], true),
            ("NumericNotEquals", "s3:max-keys", json!("1"), &["2"], true),
            ("NumericLessThan", "s3:max-keys", json!("1"), &["1"], false),
            ("NumericGreaterThan", "s3:max-keys", json!("1"), &["2"], true),
            ("NumericGreaterThanEquals", "s3:max-keys", json!("2"), &["1"], false),
            (
                "DateLessThan",
                "aws:CurrentTime",
                json!("2026-11-25"),
                &["2026-11-24T23:00:00Z"],
                true,
            ),
            (
                "DateGreaterThan",
                "aws:CurrentTime",
                json!("2026-11-25T00:00Z"),
                &["2026-11-24T23:00:00Z"],
                false,
            ),
            ("DateEquals", "aws:CurrentTime", json!("1970-01-02T00:00:00Z"), &["86400"], true),
            ("DateNotEquals", "aws:CurrentTime", json!(86400), &["86400"], false),
            ("DateLessThanEquals", "aws:CurrentTime", json!(86400), &["86400"], true),
            ("DateGreaterThanEquals", "aws:CurrentTime", json!(86401), &["86400"], false),
            ("Bool", "aws:SecureTransport", json!(false), &["false"], true),
            ("Bool", "aws:SecureTransport", json!("true"), &["false"], false),
            ("IpAddress", "aws:SourceIp", json!("10.0.0.0/8"), &["10.255.0.1"], true),
            ("IpAddress", "aws:SourceIp", json!("10.0.0.0/8"), &["11.0.0.1"], false),
            ("IpAddress", "aws:SourceIp", json!(["::1", "10.1.2.3"]), &["::ffff:10.1.2.3"], true),
            ("IpAddress", "aws:SourceIp", json!("::/0"), &["10.1.2.3"], false),
            ("NotIpAddress", "aws:SourceIp", json!("2001:db8::/32"), &["2001:db8::1"], false),
            ("NotIpAddress", "aws:SourceIp", json!("0.0.0.0/0"), &["::1"], true),
            ("Null", REFERER, json!(true), &[], true),
            ("Null", REFERER, json!("true"), &["x"], false),
            ("Null", REFERER, json!(false), &["x"], true),
            ("ArnLike", "aws:SourceArn", json!("arn:aws:s3:::*"), &["arn:aws:s3:::b"], true),
            ("ArnLike", "aws:SourceArn", json!("arn:*:*:*:*:a*"), &["arn:aws:s3:::b"], false),
            ("ArnNotEquals", "aws:SourceArn", json!("arn:aws:s3:::a"), &["arn:aws:s3:::b"], true),
            (
                "ForAllValues:StringEquals",
                "s3:RequestObjectTagKeys",
                json!(["a", "b"]),
                &["a"],
                true,
            ),
            (
                "ForAllValues:StringEquals",
                "s3:RequestObjectTagKeys",
                json!(["a", "b"]),
                &["a", "c"],
                false,
            ),
            ("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", json!("a"), &[], true),
            ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", json!("a"), &["c", "a"], true),
            ("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", json!("a"), &[], false),
            (
                "ForAnyValue:StringNotEquals",
                "s3:RequestObjectTagKeys",
                json!("a"),
                &["a", "c"],
                true,
            ),
            (
                "ForAllValues:StringNotLike",
                "s3:RequestObjectTagKeys",
                json!("a*"),
                &["b", "ab"],
                false,
            ),
        ];
        for (operator, key, named, has, expected) in table {
            let found = holds(operator, key, named.clone(), has);
            assert_eq!(found, *expected, "{operator} {named} {has:?}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        for (operator, key, values) in [
            ("StringEqual", "aws:Referer", json!("x")),
            ("stringequals", "aws:Referer", json!("x")),
            ("NullIfExists", "aws:Referer", json!("true")),
            ("ForSomeValues:StringEquals", "aws:Referer", json!("x")),
            ("StringEquals", "aws:Nothing", json!("x")),
            ("StringEquals", "aws:Referer", json!([])),
            ("StringEquals", "aws:Referer", json!({"a": "b"})),
            ("StringEquals", "aws:Referer", json!(null)),
            ("StringLike", "aws:Referer", json!("${aws:nothing}")),
            ("NumericEquals", "s3:max-keys", json!("ten")),
            ("NumericEquals", "s3:max-keys", json!("inf")),
            ("DateEquals", "aws:CurrentTime", json!("tomorrow")),
            ("Bool", "aws:SecureTransport", json!("yes")),
            ("IpAddress", "aws:SourceIp", json!("10.0.0.0/33")),
            ("IpAddress", "aws:SourceIp", json!("10.0.0/8")),
            ("IpAddress", "aws:SourceIp", json!("10.0.0.0/+8")),
            ("IpAddress", "aws:Referer", json!("10.0.0.0/8")),
            ("ArnLike", "aws:SourceArn", json!("bucket")),
            ("Null", "aws:Referer", json!(["true", "false"])),
        ] {
            assert!(Condition::parse(operator, key, &values, true).is_err(), "{operator} {values}");
        }
    }
}
