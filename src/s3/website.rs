//! Static websites: a bucket's website configuration. Where a request goes is decided in `route`.
//! The rules are those of AWS, "PutBucketWebsite" and "Configuring advanced conditional redirects".

mod route;
mod serve;

pub use serve::Websites;

use super::{Call, Code, S3Error, config};
use crate::http::Response;
use crate::limits::{MAX_ROUTING_RULES, MAX_WEBSITE_BYTES};
use crate::store::ConfigKind;
use crate::types::ObjectKey;
use crate::xml::{self, Element, Writer};

/// The root element of the document.
const ROOT: &str = "WebsiteConfiguration";

/// A valid website configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Website {
    /// Every request goes to another host.
    RedirectAll {
        /// That host.
        host: String,
        /// How it is to be spoken to, if not as before.
        protocol: Option<Protocol>,
    },
    /// Objects are served.
    Site {
        /// What is served for a folder: a name without `/`.
        index: String,
        /// What is served with an error of the client (4xx).
        error: Option<ObjectKey>,
        /// Rules in their order; the first that applies wins.
        rules: Vec<RoutingRule>,
    },
}

/// `http` or `https`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Protocol {
    /// The one of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|protocol| protocol.as_str() == text)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A redirect and when it applies: if all of its conditions hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoutingRule {
    /// The key of the request starts with this.
    pub prefix: Option<String>,
    /// The answer would be an error of this status, 400 to 599.
    pub status: Option<u16>,
    /// Where to.
    pub redirect: Redirect,
}

/// Where a rule leads; what is not set stays as the request had it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Redirect {
    /// The host.
    pub host: Option<String>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// The status, 301 to 399; 301 if not set.
    pub code: Option<u16>,
    /// The key.
    pub replace: Option<Replace>,
}

/// What becomes of the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replace {
    /// The prefix that the rule asks for becomes this.
    Prefix(String),
    /// All of it becomes this.
    Key(String),
}

/// An element without children, once at most.
fn leaf<'a>(parent: &'a Element, name: &str) -> Result<Option<&'a str>, S3Error> {
    let mut found = parent.children.iter().filter(|child| child.name == name);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(child), None) if child.children.is_empty() => Ok(Some(&child.text)),
        _ => Err(Code::MalformedXML.into()),
    }
}

/// Refuses children that are none of these.
fn only(element: &Element, names: &[&str]) -> Result<(), S3Error> {
    let known = element.children.iter().all(|child| names.contains(&child.name.as_str()));
    if known { Ok(()) } else { Err(Code::MalformedXML.into()) }
}

fn invalid(message: impl Into<String>) -> S3Error {
    Code::InvalidRequest.with(message.into())
}

/// A host as it stands in a URL, with or without a port.
fn host(text: &str) -> Result<String, S3Error> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    match !text.is_empty() && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(S3Error::argument("HostName", text, "The HostName is not well formed")),
    }
}

fn protocol(text: &str) -> Result<Protocol, S3Error> {
    Protocol::parse(text).ok_or_else(|| {
        invalid(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will \
             be selected automatically.",
        )
    })
}

impl Website {
    /// Understands the document of PutBucketWebsite, or what [`Self::to_xml`] made of it.
    pub fn parse(document: &[u8]) -> Result<Self, S3Error> {
        if document.len() > MAX_WEBSITE_BYTES {
            return Err(Code::MaxMessageLengthExceeded.into());
        }
        let root = xml::parse(document, ROOT).map_err(|_| S3Error::from(Code::MalformedXML))?;
        only(&root, &["RedirectAllRequestsTo", "IndexDocument", "ErrorDocument", "RoutingRules"])?;
        if let Some(all) = root.child("RedirectAllRequestsTo") {
            if root.children.len() > 1 {
                return Err(invalid(
                    "RedirectAllRequestsTo cannot be provided in conjunction with other Routing \
                     Rules.",
                ));
            }
            only(all, &["HostName", "Protocol"])?;
            let name = leaf(all, "HostName")?.ok_or(Code::MalformedXML)?;
            let protocol = leaf(all, "Protocol")?.map(protocol).transpose()?;
            return Ok(Self::RedirectAll { host: host(name)?, protocol });
        }
        Ok(Self::Site { index: index(&root)?, error: error(&root)?, rules: rules(&root)? })
    }

    /// The document, as GetBucketWebsite gives it.
    pub fn to_xml(&self) -> String {
        let mut xml = Writer::document();
        xml.root(ROOT);
        match self {
            Self::RedirectAll { host, protocol } => {
                xml.open("RedirectAllRequestsTo");
                xml.text("HostName", host);
                protocol.iter().for_each(|p| xml.text("Protocol", p.as_str()));
                xml.close("RedirectAllRequestsTo");
            }
            Self::Site { index, error, rules } => {
                xml.open("IndexDocument");
                xml.text("Suffix", index);
                xml.close("IndexDocument");
                if let Some(key) = error {
                    xml.open("ErrorDocument");
                    xml.text("Key", key.as_str());
                    xml.close("ErrorDocument");
                }
                if !rules.is_empty() {
                    xml.open("RoutingRules");
                    rules.iter().for_each(|rule| rule.write(&mut xml));
                    xml.close("RoutingRules");
                }
            }
        }
        xml.close(ROOT);
        xml.into_text()
    }
}

fn index(root: &Element) -> Result<String, S3Error> {
    let name = "IndexDocument";
    let Some(document) = root.child(name) else {
        let message =
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty";
        return Err(S3Error::argument(name, "null", message));
    };
    only(document, &["Suffix"])?;
    let suffix = leaf(document, "Suffix")?.unwrap_or_default();
    if suffix.is_empty() || suffix.contains('/') || ObjectKey::parse(suffix).is_err() {
        let message = "The IndexDocument Suffix is not well formed";
        return Err(S3Error::argument(name, suffix, message));
    }
    Ok(suffix.to_owned())
}

fn error(root: &Element) -> Result<Option<ObjectKey>, S3Error> {
    let name = "ErrorDocument";
    let Some(document) = root.child(name) else { return Ok(None) };
    only(document, &["Key"])?;
    let key = leaf(document, "Key")?.unwrap_or_default();
    ObjectKey::parse(key)
        .map(Some)
        .map_err(|_| S3Error::argument(name, key, "The ErrorDocument Key is not well formed"))
}

fn rules(root: &Element) -> Result<Vec<RoutingRule>, S3Error> {
    let Some(rules) = root.child("RoutingRules") else { return Ok(Vec::new()) };
    only(rules, &["RoutingRule"])?;
    if rules.children.is_empty() {
        return Err(Code::MalformedXML.into());
    }
    if rules.children.len() > MAX_ROUTING_RULES {
        return Err(invalid(format!(
            "{} routing rules provided, the number of routing rules in a website configuration \
             is limited to {MAX_ROUTING_RULES}.",
            rules.children.len()
        )));
    }
    rules.children.iter().map(RoutingRule::parse).collect()
}

impl RoutingRule {
    fn parse(element: &Element) -> Result<Self, S3Error> {
        only(element, &["Condition", "Redirect"])?;
        let (mut prefix, mut status) = (None, None);
        if let Some(condition) = element.child("Condition") {
            only(condition, &["KeyPrefixEquals", "HttpErrorCodeReturnedEquals"])?;
            prefix = leaf(condition, "KeyPrefixEquals")?.map(str::to_owned);
            status = leaf(condition, "HttpErrorCodeReturnedEquals")?.map(error_code).transpose()?;
            if prefix.is_none() && status.is_none() {
                return Err(invalid(
                    "Condition cannot be empty. To redirect all requests without a condition, \
                     the condition element shouldn't be present.",
                ));
            }
        }
        let redirect = element.child("Redirect").ok_or(Code::MalformedXML)?;
        Ok(Self { prefix, status, redirect: Redirect::parse(redirect)? })
    }

    fn write(&self, xml: &mut Writer) {
        xml.open("RoutingRule");
        if self.prefix.is_some() || self.status.is_some() {
            xml.open("Condition");
            self.prefix.iter().for_each(|prefix| xml.text("KeyPrefixEquals", prefix));
            self.status.iter().for_each(|code| xml.value("HttpErrorCodeReturnedEquals", code));
            xml.close("Condition");
        }
        let Redirect { host, protocol, code, replace } = &self.redirect;
        xml.open("Redirect");
        protocol.iter().for_each(|p| xml.text("Protocol", p.as_str()));
        host.iter().for_each(|host| xml.text("HostName", host));
        match replace {
            Some(Replace::Prefix(text)) => xml.text("ReplaceKeyPrefixWith", text),
            Some(Replace::Key(text)) => xml.text("ReplaceKeyWith", text),
            None => {}
        }
        code.iter().for_each(|code| xml.value("HttpRedirectCode", code));
        xml.close("Redirect");
        xml.close("RoutingRule");
    }
}

fn error_code(text: &str) -> Result<u16, S3Error> {
    text.parse().ok().filter(|code| (400..=599).contains(code)).ok_or_else(|| {
        invalid(format!(
            "The provided HTTP error code ({text}) is not valid. Valid codes are 4XX or 5XX."
        ))
    })
}

fn redirect_code(text: &str) -> Result<u16, S3Error> {
    text.parse().ok().filter(|code| (301..=399).contains(code)).ok_or_else(|| {
        invalid(format!(
            "The provided HTTP redirect code ({text}) is not valid. Valid codes are 3XX except \
             300."
        ))
    })
}

impl Redirect {
    fn parse(element: &Element) -> Result<Self, S3Error> {
        let names =
            ["HostName", "Protocol", "HttpRedirectCode", "ReplaceKeyPrefixWith", "ReplaceKeyWith"];
        only(element, &names)?;
        if element.children.is_empty() {
            return Err(invalid("Redirect cannot be empty."));
        }
        let prefix = leaf(element, "ReplaceKeyPrefixWith")?;
        let key = leaf(element, "ReplaceKeyWith")?;
        let replace = match (prefix, key) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "You can only define ReplaceKeyPrefix or ReplaceKey but not both.",
                ));
            }
            (Some(text), None) => Some(Replace::Prefix(text.to_owned())),
            (None, Some(text)) => Some(Replace::Key(text.to_owned())),
            (None, None) => None,
        };
        Ok(Self {
            host: leaf(element, "HostName")?.map(host).transpose()?,
            protocol: leaf(element, "Protocol")?.map(protocol).transpose()?,
            code: leaf(element, "HttpRedirectCode")?.map(redirect_code).transpose()?,
            replace,
        })
    }
}

/// Whether an object may carry this as x-amz-website-redirect-location.
pub fn is_redirect_location(text: &str) -> bool {
    ["/", "http://", "https://"].iter().any(|start| text.starts_with(start))
}

// ---- operations --------------------------------------------------------------------------

/// GetBucketWebsite
pub fn get(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    config::get(call, ConfigKind::Website, Code::NoSuchWebsiteConfiguration)
}

/// PutBucketWebsite
pub fn put(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let website = Website::parse(&call.document()?)?;
    let bucket = call.bucket()?;
    call.app.store.set_config(bucket.id, ConfigKind::Website, Some(website.to_xml()))??;
    Ok(Response::new(200))
}

/// DeleteBucketWebsite
pub fn delete(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    config::delete(call, ConfigKind::Website)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(inside: &str) -> Result<Website, Code> {
        let document = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
        Website::parse(document.as_bytes()).map_err(|e| e.code)
    }

    const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

    fn with_rule(rule: &str) -> Result<Website, Code> {
        parse(&format!("{INDEX}<RoutingRules><RoutingRule>{rule}</RoutingRule></RoutingRules>"))
    }

    #[test]
    fn a_document_comes_back_as_it_was() {
        for inside in [
            "<RedirectAllRequestsTo><HostName>a.example:8080</HostName></RedirectAllRequestsTo>",
            "<RedirectAllRequestsTo><HostName>a</HostName><Protocol>https</Protocol>\
             </RedirectAllRequestsTo>",
            INDEX,
            &format!(
                "{INDEX}<ErrorDocument><Key>a/e &amp;.html</Key></ErrorDocument><RoutingRules>\
                 <RoutingRule><Condition><KeyPrefixEquals>docs/</KeyPrefixEquals>\
                 <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
                 <Redirect><Protocol>http</Protocol><HostName>b</HostName>\
                 <ReplaceKeyPrefixWith></ReplaceKeyPrefixWith>\
                 <HttpRedirectCode>302</HttpRedirectCode></Redirect></RoutingRule><RoutingRule>\
                 <Redirect><ReplaceKeyWith>x</ReplaceKeyWith></Redirect></RoutingRule>\
                 </RoutingRules>"
            ),
        ] {
            let website = parse(inside).unwrap();
            let document = website.to_xml();
            assert!(document.contains(inside), "{document}");
            assert_eq!(Website::parse(document.as_bytes()).unwrap(), website);
        }
    }

    #[test]
    fn documents_that_are_refused() {
        let index = |suffix: &str| format!("<IndexDocument>{suffix}</IndexDocument>");
        for (bad, code) in [
            (String::new(), Code::InvalidArgument),
            ("<ErrorDocument><Key>e</Key></ErrorDocument>".to_owned(), Code::InvalidArgument),
            (index(""), Code::InvalidArgument),
            (index("<Suffix/>"), Code::InvalidArgument),
            (index("<Suffix>a/b</Suffix>"), Code::InvalidArgument),
            (index("<Suffix>a</Suffix><Suffix>b</Suffix>"), Code::MalformedXML),
            (index("<Other>a</Other>"), Code::MalformedXML),
            (format!("{INDEX}<ErrorDocument/>"), Code::InvalidArgument),
            (format!("{INDEX}<Other/>"), Code::MalformedXML),
            (format!("{INDEX}<RoutingRules/>"), Code::MalformedXML),
            ("<RedirectAllRequestsTo/>".to_owned(), Code::MalformedXML),
            (
                format!(
                    "{INDEX}<RedirectAllRequestsTo><HostName>a</HostName></RedirectAllRequestsTo>"
                ),
                Code::InvalidRequest,
            ),
            (
                "<RedirectAllRequestsTo><HostName>a/b</HostName></RedirectAllRequestsTo>"
                    .to_owned(),
                Code::InvalidArgument,
            ),
            (
                "<RedirectAllRequestsTo><HostName>a</HostName><Protocol>ftp</Protocol>\
                 </RedirectAllRequestsTo>"
                    .to_owned(),
                Code::InvalidRequest,
            ),
        ] {
            assert_eq!(parse(&bad), Err(code), "{bad}");
        }
    }

    #[test]
    fn rules_that_are_refused() {
        let to = "<Redirect><HostName>a</HostName></Redirect>";
        let when = |text: &str| format!("<Condition>{text}</Condition>{to}");
        let status = |code: &str| {
            let name = "HttpErrorCodeReturnedEquals";
            when(&format!("<{name}>{code}</{name}>"))
        };
        let redirect = |text: &str| format!("<Redirect>{text}</Redirect>");
        let code = |code: &str| redirect(&format!("<HttpRedirectCode>{code}</HttpRedirectCode>"));
        for good in [to.to_owned(), status("404"), status("503"), code("301"), code("308")] {
            assert!(with_rule(&good).is_ok(), "{good}");
        }
        let both = "<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith/>";
        for (bad, code) in [
            (when(""), Code::InvalidRequest),
            (status("200"), Code::InvalidRequest),
            (status("600"), Code::InvalidRequest),
            (status("x"), Code::InvalidRequest),
            (code("300"), Code::InvalidRequest),
            (code("200"), Code::InvalidRequest),
            (redirect(""), Code::InvalidRequest),
            (redirect(both), Code::InvalidRequest),
            (redirect("<Other>a</Other>"), Code::MalformedXML),
            (String::new(), Code::MalformedXML),
        ] {
            assert_eq!(with_rule(&bad), Err(code), "{bad}");
        }
        let rules = |n: usize| {
            let rule = format!("<RoutingRule>{to}</RoutingRule>");
            parse(&format!("{INDEX}<RoutingRules>{}</RoutingRules>", rule.repeat(n)))
        };
        assert!(rules(MAX_ROUTING_RULES).is_ok());
        assert_eq!(rules(MAX_ROUTING_RULES + 1), Err(Code::InvalidRequest));
    }

    #[test]
    fn locations() {
        for good in ["/", "/a", "http://a", "https://a/b"] {
            assert!(is_redirect_location(good), "{good}");
        }
        for bad in ["", "a", "ftp://a", "javascript:a", "http:/a"] {
            assert!(!is_redirect_location(bad), "{bad}");
        }
    }
}
