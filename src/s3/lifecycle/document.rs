//! The LifecycleConfiguration document, validated as AWS does, and back.

use crate::limits::{
    MAX_KEY_BYTES, MAX_LIFECYCLE_ID_CHARS, MAX_LIFECYCLE_RULES, MAX_LIFECYCLE_TAGS,
    MAX_NEWER_NONCURRENT_VERSIONS,
};
use crate::s3::{Code, S3Error};
use crate::types::lifecycle::{DAY_MS, Expiration, Filter, Form, Lifecycle, Noncurrent, Rule};
use crate::types::time;
use crate::xml::{self, Element, Writer};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// Classes that a transition may name on AWS.
const STORAGE_CLASSES: [&str; 6] =
    ["GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"];

fn malformed() -> S3Error {
    Code::MalformedXML.into()
}

fn invalid_argument(text: &'static str) -> S3Error {
    Code::InvalidArgument.with(text)
}

fn invalid_request(text: &'static str) -> S3Error {
    Code::InvalidRequest.with(text)
}

/// The only child of that name, if there is one; MalformedXML if there are several.
fn only<'a>(element: &'a Element, name: &'a str) -> Result<Option<&'a Element>, S3Error> {
    let mut found = element.children(name);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(malformed()),
        (one, None) => Ok(one),
    }
}

/// MalformedXML unless every child has one of these names.
fn known(element: &Element, names: &[&str]) -> Result<(), S3Error> {
    let all = element.children.iter().all(|child| names.contains(&child.name.as_str()));
    if all { Ok(()) } else { Err(malformed()) }
}

/// The text of the only child of that name.
fn text<'a>(element: &'a Element, name: &'a str) -> Result<Option<&'a str>, S3Error> {
    match only(element, name)? {
        Some(child) if !child.children.is_empty() => Err(malformed()),
        child => Ok(child.map(|c| c.text.as_str())),
    }
}

/// A whole number of at least `min`; `message` says what a smaller one is.
fn number(
    element: &Element,
    name: &str,
    min: i64,
    message: &'static str,
) -> Result<Option<u32>, S3Error> {
    let Some(text) = text(element, name)? else { return Ok(None) };
    let number: i64 = text.trim().parse().map_err(|_| malformed())?;
    match i32::try_from(number) {
        Ok(_) if number >= min => Ok(u32::try_from(number).ok()),
        _ => Err(invalid_argument(message)),
    }
}

/// A midnight, in milliseconds since 1970: `2026-11-24T00:00:00Z`, or the date alone.
fn midnight(element: &Element) -> Result<Option<i64>, S3Error> {
    let Some(text) = text(element, "Date")? else { return Ok(None) };
    let text = text.trim();
    let ms = time::parse_iso(text).or_else(|| time::parse_iso(&format!("{text}T00:00:00Z")));
    match ms {
        None => Err(malformed()),
        Some(ms) if ms.rem_euclid(DAY_MS) != 0 => {
            Err(invalid_argument("'Date' must be at midnight GMT"))
        }
        some => Ok(some),
    }
}

// ---- the parts of a rule -----------------------------------------------------------------

fn prefix(element: &Element) -> Result<Option<String>, S3Error> {
    let Some(prefix) = text(element, "Prefix")? else { return Ok(None) };
    if prefix.len() > MAX_KEY_BYTES {
        return Err(invalid_request("The maximum size of a prefix is 1024."));
    }
    Ok(Some(prefix.to_owned()))
}

fn tags(element: &Element) -> Result<Vec<(String, String)>, S3Error> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for tag in element.children("Tag") {
        known(tag, &["Key", "Value"])?;
        let key = text(tag, "Key")?.ok_or_else(malformed)?;
        let value = text(tag, "Value")?.ok_or_else(malformed)?;
        if !(1..=128).contains(&key.chars().count()) {
            return Err(Code::InvalidTag.with("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 {
            return Err(Code::InvalidTag.with("The TagValue you have provided is invalid"));
        }
        if tags.iter().any(|(known, _)| known == key) {
            return Err(invalid_request("Duplicate Tag Keys are not allowed."));
        }
        if tags.len() == MAX_LIFECYCLE_TAGS {
            return Err(invalid_request("Object tags cannot be greater than 10"));
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    Ok(tags)
}

fn size(element: &Element, name: &str, min: u64) -> Result<Option<u64>, S3Error> {
    let Some(text) = text(element, name)? else { return Ok(None) };
    let bytes: i64 = text.trim().parse().map_err(|_| malformed())?;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes >= min => Ok(Some(bytes)),
        _ => Err(invalid_request("The object size of a filter is out of range.")),
    }
}

/// What stands in a Filter or in its And.
fn conditions(element: &Element, form: Form) -> Result<Filter, S3Error> {
    let filter = Filter {
        form,
        prefix: prefix(element)?,
        tags: tags(element)?,
        larger_than: size(element, "ObjectSizeGreaterThan", 0)?,
        smaller_than: size(element, "ObjectSizeLessThan", 1)?,
    };
    if let (Some(larger), Some(smaller)) = (filter.larger_than, filter.smaller_than)
        && larger >= smaller
    {
        return Err(invalid_request(
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        ));
    }
    Ok(filter)
}

/// A Filter has exactly one condition or none; an And has at least two.
fn filter(element: &Element) -> Result<Filter, S3Error> {
    const CONDITIONS: [&str; 4] = ["Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"];
    if element.children.len() > 1 {
        return Err(malformed());
    }
    match only(element, "And")? {
        Some(and) if and.children.len() < 2 => Err(malformed()),
        Some(and) => {
            known(and, &CONDITIONS)?;
            conditions(and, Form::And)
        }
        None => {
            known(element, &CONDITIONS)?;
            conditions(element, Form::Filter)
        }
    }
}

fn expiration_of(element: &Element, filter: &Filter) -> Result<Expiration, S3Error> {
    known(element, &["Days", "Date", "ExpiredObjectDeleteMarker"])?;
    if element.children.len() != 1 {
        return Err(malformed());
    }
    let message = "'Days' for Expiration action must be a positive integer";
    if let Some(days) = number(element, "Days", 1, message)? {
        return Ok(Expiration::Days(days));
    }
    if let Some(date) = midnight(element)? {
        return Ok(Expiration::Date(date));
    }
    let on = match text(element, "ExpiredObjectDeleteMarker")?.map(str::trim) {
        Some("true" | "1") => true,
        Some("false" | "0") => false,
        _ => return Err(malformed()),
    };
    if !filter.tags.is_empty() {
        return Err(invalid_request("ExpiredObjectDeleteMarker cannot be specified with Tags."));
    }
    if filter.has_size() {
        return Err(invalid_request(
            "ExpiredObjectDeleteMarker cannot be specified with Object Size.",
        ));
    }
    Ok(Expiration::Marker(on))
}

fn noncurrent_of(element: &Element, filter: &Filter) -> Result<Noncurrent, S3Error> {
    known(element, &["NoncurrentDays", "NewerNoncurrentVersions"])?;
    let message = "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive \
                   integer";
    let days = number(element, "NoncurrentDays", 1, message)?.ok_or_else(malformed)?;
    let message = "'NewerNoncurrentVersions' must be an integer from 1 to 100";
    let keep = number(element, "NewerNoncurrentVersions", 1, message)?;
    if keep.is_some_and(|keep| keep > MAX_NEWER_NONCURRENT_VERSIONS) {
        return Err(invalid_argument(message));
    }
    if keep.is_some() && filter.form == Form::Prefix {
        return Err(invalid_request("NewerNoncurrentVersions needs a Filter element in its rule."));
    }
    Ok(Noncurrent { days, keep })
}

fn abort(element: &Element, filter: &Filter) -> Result<u32, S3Error> {
    known(element, &["DaysAfterInitiation"])?;
    let message = "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a \
                   positive integer";
    let days = number(element, "DaysAfterInitiation", 1, message)?.ok_or_else(malformed)?;
    if !filter.tags.is_empty() {
        return Err(invalid_request(
            "AbortIncompleteMultipartUpload cannot be specified with Tags.",
        ));
    }
    if filter.has_size() {
        return Err(invalid_request(
            "AbortIncompleteMultipartUpload cannot be specified with Object Size.",
        ));
    }
    Ok(days)
}

/// A transition is validated like the rest, and then not implemented.
fn check_transition(element: &Element, days_name: &str) -> Result<(), S3Error> {
    known(element, &[days_name, "Date", "StorageClass", "NewerNoncurrentVersions"])?;
    let message = "'Days' in Transition action must be nonnegative";
    let days = number(element, days_name, 0, message)?;
    let date = midnight(element)?;
    let class = text(element, "StorageClass")?.ok_or_else(malformed)?;
    let known_class = STORAGE_CLASSES.contains(&class.trim());
    if days.is_some() == date.is_some() || !known_class {
        return Err(malformed());
    }
    Ok(())
}

/// A rule, and whether it has transitions. `number` makes its ID unique if it has none.
fn rule(element: &Element, number: usize) -> Result<(Rule, bool), S3Error> {
    known(
        element,
        &[
            "ID",
            "Status",
            "Prefix",
            "Filter",
            "Expiration",
            "NoncurrentVersionExpiration",
            "AbortIncompleteMultipartUpload",
            "Transition",
            "NoncurrentVersionTransition",
        ],
    )?;
    let id = text(element, "ID")?.unwrap_or_default();
    if id.chars().count() > MAX_LIFECYCLE_ID_CHARS {
        return Err(invalid_argument("ID length should not exceed allowed limit of 255"));
    }
    let enabled = match text(element, "Status")? {
        Some("Enabled") => true,
        Some("Disabled") => false,
        _ => return Err(malformed()),
    };
    let filter = match (prefix(element)?, only(element, "Filter")?) {
        (Some(prefix), None) => {
            Filter { form: Form::Prefix, prefix: Some(prefix), ..Filter::all() }
        }
        (None, Some(element)) => filter(element)?,
        (Some(_), Some(_)) | (None, None) => return Err(malformed()),
    };
    let expiration = only(element, "Expiration")?.map(|e| expiration_of(e, &filter)).transpose()?;
    let noncurrent = only(element, "NoncurrentVersionExpiration")?;
    let noncurrent = noncurrent.map(|e| noncurrent_of(e, &filter)).transpose()?;
    let abort_days = only(element, "AbortIncompleteMultipartUpload")?;
    let abort_days = abort_days.map(|e| abort(e, &filter)).transpose()?;
    let mut transitions = false;
    for (name, days) in [("Transition", "Days"), ("NoncurrentVersionTransition", "NoncurrentDays")]
    {
        for element in element.children(name) {
            check_transition(element, days)?;
            transitions = true;
        }
    }
    if expiration.is_none() && noncurrent.is_none() && abort_days.is_none() && !transitions {
        return Err(invalid_request("At least one action needs to be specified in a rule."));
    }
    let mut rule = Rule { id: id.to_owned(), enabled, filter, expiration, noncurrent, abort_days };
    if rule.id.is_empty() {
        rule.id = made_id(&rule, number);
    }
    Ok((rule, transitions))
}

/// An ID for a rule without one: the same for the same rule, different within a document.
fn made_id(rule: &Rule, number: usize) -> String {
    let rules = Lifecycle { rules: vec![rule.clone()] };
    let hash = Sha256::digest(format!("{number} {}", rules.to_json()));
    hex::encode(&hash[..24])
}

// ---- the document ------------------------------------------------------------------------

/// The rules of a LifecycleConfiguration.
pub fn parse(document: &[u8]) -> Result<Lifecycle, S3Error> {
    let configuration = xml::parse(document, "LifecycleConfiguration").map_err(|_| malformed())?;
    known(&configuration, &["Rule"])?;
    if !(1..=MAX_LIFECYCLE_RULES).contains(&configuration.children.len()) {
        return Err(malformed());
    }
    let (mut rules, mut ids, mut transitions) = (Vec::new(), HashSet::new(), false);
    for (number, element) in configuration.children.iter().enumerate() {
        let (rule, moves) = rule(element, number)?;
        transitions |= moves;
        if !ids.insert(rule.id.clone()) {
            return Err(invalid_argument(
                "Rule ID must be unique. Found same ID for more than one rule",
            ));
        }
        rules.push(rule);
    }
    if transitions {
        let message = "There is one storage class: transitions are not implemented.";
        return Err(Code::NotImplemented.with(message));
    }
    Ok(Lifecycle { rules })
}

fn write_conditions(xml: &mut Writer, filter: &Filter) {
    if let Some(prefix) = &filter.prefix {
        xml.text("Prefix", prefix);
    }
    for (key, value) in &filter.tags {
        xml.open("Tag");
        xml.text("Key", key);
        xml.text("Value", value);
        xml.close("Tag");
    }
    if let Some(bytes) = filter.larger_than {
        xml.value("ObjectSizeGreaterThan", bytes);
    }
    if let Some(bytes) = filter.smaller_than {
        xml.value("ObjectSizeLessThan", bytes);
    }
}

fn write_rule(xml: &mut Writer, rule: &Rule) {
    xml.open("Rule");
    xml.text("ID", &rule.id);
    match rule.filter.form {
        Form::Prefix => write_conditions(xml, &rule.filter),
        Form::Filter => {
            xml.open("Filter");
            write_conditions(xml, &rule.filter);
            xml.close("Filter");
        }
        Form::And => {
            xml.open("Filter");
            xml.open("And");
            write_conditions(xml, &rule.filter);
            xml.close("And");
            xml.close("Filter");
        }
    }
    xml.text("Status", if rule.enabled { "Enabled" } else { "Disabled" });
    if let Some(expiration) = rule.expiration {
        xml.open("Expiration");
        match expiration {
            Expiration::Days(days) => xml.value("Days", days),
            Expiration::Date(ms) => xml.with("Date", |out| time::push_iso(out, ms)),
            Expiration::Marker(on) => xml.value("ExpiredObjectDeleteMarker", on),
        }
        xml.close("Expiration");
    }
    if let Some(noncurrent) = rule.noncurrent {
        xml.open("NoncurrentVersionExpiration");
        xml.value("NoncurrentDays", noncurrent.days);
        if let Some(keep) = noncurrent.keep {
            xml.value("NewerNoncurrentVersions", keep);
        }
        xml.close("NoncurrentVersionExpiration");
    }
    if let Some(days) = rule.abort_days {
        xml.open("AbortIncompleteMultipartUpload");
        xml.value("DaysAfterInitiation", days);
        xml.close("AbortIncompleteMultipartUpload");
    }
    xml.close("Rule");
}

/// The LifecycleConfiguration of rules.
pub fn write(lifecycle: &Lifecycle) -> Writer {
    let mut xml = Writer::document();
    xml.root("LifecycleConfiguration");
    for rule in &lifecycle.rules {
        write_rule(&mut xml, rule);
    }
    xml.close("LifecycleConfiguration");
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inside: &str) -> Result<Lifecycle, (Code, String)> {
        let document = format!("<LifecycleConfiguration>{inside}</LifecycleConfiguration>");
        parse(document.as_bytes()).map_err(|e| {
            let message = e.message.unwrap_or_else(|| e.code.message().into());
            (e.code, message.into_owned())
        })
    }

    fn code(inside: &str) -> Code {
        of(inside).expect_err(inside).0
    }

    /// A rule of these elements, enabled.
    fn rule(inside: &str) -> String {
        format!("<Rule><Status>Enabled</Status>{inside}</Rule>")
    }

    const DAYS: &str = "<Expiration><Days>1</Days></Expiration>";
    const ABORT: &str = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1\
                         </DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    const MARKER: &str = "<Expiration><ExpiredObjectDeleteMarker>true\
                          </ExpiredObjectDeleteMarker></Expiration>";
    const TAG: &str = "<Tag><Key>k</Key><Value>v</Value></Tag>";

    #[test]
    fn what_is_read_is_written_back() {
        let inside = "<Rule><ID>one</ID><Prefix>p/</Prefix><Status>Enabled</Status>\
             <Expiration><Date>2026-11-24T00:00:00.000Z</Date></Expiration></Rule>\
             <Rule><ID>two</ID><Filter></Filter><Status>Disabled</Status>\
             <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
             <NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays>\
             <NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule>\
             <Rule><ID>three</ID><Filter><And><Prefix>&lt;</Prefix>\
             <Tag><Key>k</Key><Value></Value></Tag>\
             <ObjectSizeGreaterThan>0</ObjectSizeGreaterThan>\
             <ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter><Status>Enabled</Status>\
             <Expiration><Days>31</Days></Expiration></Rule>";
        let lifecycle = of(inside).unwrap();
        let written = String::from_utf8(write(&lifecycle).finish()).unwrap();
        assert!(written.contains(inside), "{written}");
        assert_eq!(lifecycle.rules[2].filter.tags, [("k".to_owned(), String::new())]);
        let kept = Lifecycle::from_json(&lifecycle.to_json()).unwrap();
        assert_eq!(kept, lifecycle);
    }

    #[test]
    fn rules_without_id_get_one() {
        let two = rule(&format!("<Prefix/>{DAYS}")).repeat(2);
        let lifecycle = of(&two).unwrap();
        let ids: Vec<_> = lifecycle.rules.iter().map(|r| r.id.as_str()).collect();
        assert!(ids[0] != ids[1] && ids[0].len() == 48, "{ids:?}");
        assert_eq!(of(&two).unwrap(), lifecycle);
    }

    #[test]
    fn ids_and_status() {
        let id = |id: &str| rule(&format!("<ID>{id}</ID><Prefix/>{DAYS}"));
        assert!(of(&id(&"é".repeat(255))).is_ok());
        assert_eq!(code(&id(&"a".repeat(256))), Code::InvalidArgument);
        assert_eq!(code(&id("a").repeat(2)), Code::InvalidArgument);
        for status in ["enabled", "disabled", "invalid", ""] {
            let rule = format!("<Rule><Status>{status}</Status><Prefix/>{DAYS}</Rule>");
            assert_eq!(code(&rule), Code::MalformedXML, "{status}");
        }
    }

    #[test]
    fn what_a_rule_must_have() {
        assert_eq!(code(""), Code::MalformedXML);
        assert_eq!(code(&rule(DAYS)), Code::MalformedXML);
        assert_eq!(code(&rule(&format!("<Prefix/><Filter/>{DAYS}"))), Code::MalformedXML);
        assert_eq!(code(&rule("<Prefix/>")), Code::InvalidRequest);
        assert_eq!(code(&rule(&format!("<Prefix/>{DAYS}{DAYS}"))), Code::MalformedXML);
        assert_eq!(code(&rule(&format!("<Prefix/><Nonsense/>{DAYS}"))), Code::MalformedXML);
        let long = format!("<Prefix>{}</Prefix>{DAYS}", "p".repeat(1025));
        assert_eq!(code(&rule(&long)), Code::InvalidRequest);
        let many = |n| rule(&format!("<Prefix/>{DAYS}")).repeat(n);
        assert_eq!(of(&many(1000)).unwrap().rules.len(), 1000);
        assert_eq!(code(&many(1001)), Code::MalformedXML);
    }

    #[test]
    fn filters() {
        let filter = |inside: &str| rule(&format!("<Filter>{inside}</Filter>{DAYS}"));
        for good in ["", "<Prefix/>", TAG, "<ObjectSizeGreaterThan>0</ObjectSizeGreaterThan>"] {
            assert!(of(&filter(good)).is_ok(), "{good}");
        }
        let and = |inside: &str| filter(&format!("<And>{inside}</And>"));
        assert!(of(&and(&format!("<Prefix>a</Prefix>{TAG}"))).is_ok());
        assert_eq!(code(&filter(&format!("<Prefix>a</Prefix>{TAG}"))), Code::MalformedXML);
        assert_eq!(code(&filter(&TAG.repeat(2))), Code::MalformedXML);
        assert_eq!(code(&filter(&format!("{TAG}<And><Prefix/>{TAG}</And>"))), Code::MalformedXML);
        assert_eq!(code(&and("")), Code::MalformedXML);
        assert_eq!(code(&and(TAG)), Code::MalformedXML);
        assert_eq!(code(&and(&TAG.repeat(2))), Code::InvalidRequest);
        let sizes = "<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan>\
                     <ObjectSizeLessThan>5</ObjectSizeLessThan>";
        assert_eq!(code(&and(sizes)), Code::InvalidRequest);
        let size = |n: &str| filter(&format!("<ObjectSizeLessThan>{n}</ObjectSizeLessThan>"));
        assert_eq!(code(&size("0")), Code::InvalidRequest);
        assert_eq!(code(&size("x")), Code::MalformedXML);
        let tag = |key: &str| filter(&format!("<Tag><Key>{key}</Key><Value/></Tag>"));
        assert!(of(&tag(&"k".repeat(128))).is_ok());
        assert_eq!(code(&tag(&"k".repeat(129))), Code::InvalidTag);
        assert_eq!(code(&tag("")), Code::InvalidTag);
        let eleven: String =
            (0..11).map(|n| format!("<Tag><Key>{n}</Key><Value/></Tag>")).collect();
        assert_eq!(code(&and(&eleven)), Code::InvalidRequest);
    }

    #[test]
    fn expirations() {
        let expiration =
            |inside: &str| rule(&format!("<Prefix/><Expiration>{inside}</Expiration>"));
        let date = |date: &str| expiration(&format!("<Date>{date}</Date>"));
        for good in ["2017-09-27", "2017-09-27T00:00:00Z", "2017-09-27T00:00:00.000Z"] {
            let expected = Some(Expiration::Date(1_506_470_400_000));
            assert_eq!(of(&date(good)).unwrap().rules[0].expiration, expected, "{good}");
        }
        assert_eq!(code(&date("2017-09-27T00:00:01Z")), Code::InvalidArgument);
        assert_eq!(code(&date("20170927")), Code::MalformedXML);
        for days in ["0", "-1", "2147483648"] {
            let days = expiration(&format!("<Days>{days}</Days>"));
            assert_eq!(code(&days), Code::InvalidArgument, "{days}");
        }
        for bad in [
            "",
            "<Days>x</Days>",
            "<Days>1</Days><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker>",
            "<Days>1</Days><Date>2017-09-27</Date>",
            "<Days>1</Days><Days>1</Days>",
            "<ExpiredObjectDeleteMarker>maybe</ExpiredObjectDeleteMarker>",
        ] {
            assert_eq!(code(&expiration(bad)), Code::MalformedXML, "{bad}");
        }
    }

    #[test]
    fn what_does_not_go_together() {
        let size = "<ObjectSizeLessThan>9</ObjectSizeLessThan>";
        for (filter, action) in [(TAG, MARKER), (size, MARKER), (TAG, ABORT), (size, ABORT)] {
            let rule = rule(&format!("<Filter>{filter}</Filter>{action}"));
            assert_eq!(code(&rule), Code::InvalidRequest, "{rule}");
        }
        let noncurrent = |inside: &str, filter: &str| {
            let action = "NoncurrentVersionExpiration";
            rule(&format!("{filter}<{action}>{inside}</{action}>"))
        };
        let days = "<NoncurrentDays>1</NoncurrentDays>";
        let newer = |n| format!("<NewerNoncurrentVersions>{n}</NewerNoncurrentVersions>");
        assert!(of(&noncurrent(&(days.to_owned() + &newer(100)), "<Filter/>")).is_ok());
        for (bad, filter, expected) in [
            (days.to_owned() + &newer(101), "<Filter/>", Code::InvalidArgument),
            (days.to_owned() + &newer(0), "<Filter/>", Code::InvalidArgument),
            (days.to_owned() + &newer(5), "<Prefix/>", Code::InvalidRequest),
            (newer(5), "<Filter/>", Code::MalformedXML),
            ("<NoncurrentDays>0</NoncurrentDays>".to_owned(), "<Filter/>", Code::InvalidArgument),
        ] {
            assert_eq!(code(&noncurrent(&bad, filter)), expected, "{bad}");
        }
    }

    #[test]
    fn transitions_are_checked_and_then_refused() {
        let transition =
            |inside: &str| rule(&format!("<Prefix/>{DAYS}<Transition>{inside}</Transition>"));
        let class = "<StorageClass>GLACIER</StorageClass>";
        let days = format!("<Days>0</Days>{class}");
        assert_eq!(code(&transition(&days)), Code::NotImplemented);
        assert_eq!(code(&transition(&days.replace('0', "-1"))), Code::InvalidArgument);
        let date = format!("<Date>2022-09-27T10:00:00Z</Date>{class}");
        assert_eq!(code(&transition(&date)), Code::InvalidArgument);
        assert_eq!(code(&transition(class)), Code::MalformedXML);
        assert_eq!(code(&transition("<Days>1</Days>")), Code::MalformedXML);
        let unknown = "<Days>1</Days><StorageClass>TAPE</StorageClass>";
        assert_eq!(code(&transition(unknown)), Code::MalformedXML);
        let noncurrent = format!(
            "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays>{class}\
             </NoncurrentVersionTransition>"
        );
        assert_eq!(code(&rule(&format!("<Prefix/>{noncurrent}"))), Code::NotImplemented);
        // What is wrong elsewhere is said first.
        let twice = transition(&days) + &rule("<Prefix/>");
        assert_eq!(code(&twice), Code::InvalidRequest);
    }
}
