//! Where a request to a website goes: a pure decision about a key and what is known of objects.

use super::super::Code;
use super::{Protocol, Redirect, Replace, RoutingRule, Website};
use crate::s3::uri;
use crate::types::ObjectKey;

/// What the one who asks may know of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// There is an object that may be read, perhaps with x-amz-website-redirect-location.
    Found(Option<String>),
    /// There is none, and that is no secret (404).
    Missing,
    /// There is none, but who may not list the bucket is told that access is denied (403).
    Hidden,
    /// It may not be read, be it there or not (403).
    Denied,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// This object.
    Object(ObjectKey),
    /// A redirect.
    Redirect {
        /// 301 to 399
        status: u16,
        /// Where to.
        to: Destination,
    },
    /// An error, with this object as its page if there is one.
    Error {
        /// Which.
        code: Code,
        /// The page, which may be read.
        page: Option<ObjectKey>,
    },
}

/// Where a redirect leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// A URL as it is.
    Url(String),
    /// A place, by what of it differs from where the request went.
    Place {
        /// Another protocol.
        protocol: Option<Protocol>,
        /// Another host.
        host: Option<String>,
        /// Percent-encoded, without `/` before it.
        path: String,
    },
}

/// Where a request went.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// How.
    pub protocol: Protocol,
    /// Its Host.
    pub host: Option<&'a str>,
    /// What stands before the site's own paths: nothing, or `/bucket`.
    pub mount: &'a str,
}

impl Destination {
    /// The value of Location. As long as the host stays, it is a path.
    pub fn location(&self, base: Base<'_>) -> String {
        match self {
            Self::Url(url) if url.starts_with('/') => format!("{}{url}", base.mount),
            Self::Url(url) => url.clone(),
            Self::Place { protocol, host: Some(host), path } => {
                format!("{}://{host}/{path}", protocol.unwrap_or(base.protocol).as_str())
            }
            Self::Place { protocol: Some(protocol), host: None, path } => match base.host {
                Some(host) => format!("{}://{host}{}/{path}", protocol.as_str(), base.mount),
                None => relative(base.mount, path),
            },
            Self::Place { protocol: None, host: None, path } => relative(base.mount, path),
        }
    }
}

/// A path on the same host. A second `/` at its beginning would make the rest of it a host, which
/// whoever wrote a link to the site could choose.
fn relative(mount: &str, path: &str) -> String {
    match path.strip_prefix('/') {
        Some(rest) => format!("{mount}/%2F{rest}"),
        None => format!("{mount}/{path}"),
    }
}

/// Percent-encodes what cannot stand in a URL, and nothing else: the text of a rule may have a
/// query or a fragment of its own.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c) {
            out.push(c);
        } else {
            uri::push_encoded(&mut out, c.encode_utf8(&mut [0; 4]), true);
        }
    }
    out
}

impl RoutingRule {
    fn fits(&self, key: &str, status: Option<u16>) -> bool {
        self.status == status && self.prefix.as_ref().is_none_or(|p| key.starts_with(p.as_str()))
    }

    fn answer(&self, key: &str) -> Answer {
        let Redirect { host, protocol, code, replace } = &self.redirect;
        let path = match replace {
            Some(Replace::Key(text)) => harmless(text),
            Some(Replace::Prefix(text)) => {
                let rest = key.strip_prefix(self.prefix.as_deref().unwrap_or_default());
                harmless(text) + &uri::encode(rest.unwrap_or(key), true)
            }
            None => uri::encode(key, true),
        };
        // A key that is meant as a path from the root, as in AWS's own examples.
        let path = path.strip_prefix('/').unwrap_or(&path).to_owned();
        let to = Destination::Place { protocol: *protocol, host: host.clone(), path };
        Answer::Redirect { status: code.unwrap_or(301), to }
    }
}

/// Decides. `key`: what the path names, decoded, without its first `/`; empty for the root.
/// `query`: still percent-encoded. `fact`: looks a key up; asked at most three times.
///
/// In AWS's order: redirects without an error, the object (of a folder: its index document), a
/// folder named without `/`, redirects for an error, the error document.
pub fn decide<E>(
    website: &Website,
    key: &str,
    query: &str,
    mut fact: impl FnMut(&ObjectKey) -> Result<Fact, E>,
) -> Result<Answer, E> {
    let (index, error, rules) = match website {
        Website::Site { index, error, rules } => (index, error, rules),
        Website::RedirectAll { host, protocol } => {
            let mut path = uri::encode(key, true);
            if !query.is_empty() {
                path = format!("{path}?{}", harmless(query));
            }
            let to = Destination::Place { protocol: *protocol, host: Some(host.clone()), path };
            return Ok(Answer::Redirect { status: 301, to });
        }
    };
    if let Some(rule) = rules.iter().find(|rule| rule.fits(key, None)) {
        return Ok(rule.answer(key));
    }
    let is_folder = key.is_empty() || key.ends_with('/');
    let wanted = if is_folder { format!("{key}{index}") } else { key.to_owned() };
    let code = match ObjectKey::parse(wanted) {
        Err(_) => Code::KeyTooLongError,
        Ok(wanted) => match fact(&wanted)? {
            Fact::Found(None) => return Ok(Answer::Object(wanted)),
            Fact::Found(Some(url)) => {
                let to = Destination::Url(harmless(&url));
                return Ok(Answer::Redirect { status: 301, to });
            }
            Fact::Denied => Code::AccessDenied,
            missing @ (Fact::Missing | Fact::Hidden) => {
                if !is_folder
                    && let Ok(inside) = ObjectKey::parse(format!("{key}/{index}"))
                    && let Fact::Found(_) = fact(&inside)?
                {
                    let path = format!("{}/", uri::encode(key, true));
                    let to = Destination::Place { protocol: None, host: None, path };
                    return Ok(Answer::Redirect { status: 302, to });
                }
                if missing == Fact::Missing { Code::NoSuchKey } else { Code::AccessDenied }
            }
        },
    };
    if let Some(rule) = rules.iter().find(|rule| rule.fits(key, Some(code.status()))) {
        return Ok(rule.answer(key));
    }
    let page = match error {
        Some(page) if matches!(fact(page)?, Fact::Found(_)) => Some(page.clone()),
        _ => None,
    };
    Ok(Answer::Error { code, page })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn site(rules: Vec<RoutingRule>) -> Website {
        let error = Some(ObjectKey::parse("e.html").unwrap());
        Website::Site { index: "i.html".to_owned(), error, rules }
    }

    fn rule(prefix: Option<&str>, status: Option<u16>, redirect: Redirect) -> RoutingRule {
        RoutingRule { prefix: prefix.map(str::to_owned), status, redirect }
    }

    fn to_key(key: &str) -> Redirect {
        Redirect { replace: Some(Replace::Key(key.to_owned())), ..Redirect::default() }
    }

    fn to_prefix(prefix: &str) -> Redirect {
        Redirect { replace: Some(Replace::Prefix(prefix.to_owned())), ..Redirect::default() }
    }

    /// `denied/…` may not be read; `moved` is an object that redirects; what else has a dot exists,
    /// but for `none.…`; the rest is missing.
    fn decided(website: &Website, key: &str) -> Answer {
        let fact = |key: &ObjectKey| -> Result<Fact, Infallible> {
            Ok(match key.as_str() {
                key if key.starts_with("denied/") => Fact::Denied,
                key if key.starts_with("hidden/") && !key.ends_with("/in/i.html") => Fact::Hidden,
                "moved" => Fact::Found(Some("/new place".to_owned())),
                key if key.contains('.') && !key.contains("none") => Fact::Found(None),
                _ => Fact::Missing,
            })
        };
        let Ok(answer) = decide(website, key, "", fact);
        answer
    }

    const PLAIN: Base<'_> = Base { protocol: Protocol::Http, host: Some("h"), mount: "" };

    /// Status and Location of a redirect.
    fn redirect(website: &Website, key: &str) -> (u16, String) {
        match decided(website, key) {
            Answer::Redirect { status, to } => (status, to.location(PLAIN)),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn object(website: &Website, key: &str) -> String {
        match decided(website, key) {
            Answer::Object(key) => key.as_str().to_owned(),
            other => panic!("{key}: {other:?}"),
        }
    }

    fn failure(website: &Website, key: &str) -> (Code, bool) {
        match decided(website, key) {
            Answer::Error { code, page } => (code, page.is_some()),
            other => panic!("{key}: {other:?}"),
        }
    }

    #[test]
    fn objects_and_index_documents() {
        let site = site(Vec::new());
        assert_eq!(object(&site, ""), "i.html");
        assert_eq!(object(&site, "a.css"), "a.css");
        assert_eq!(object(&site, "docs/"), "docs/i.html");
        assert_eq!(object(&site, "/"), "/i.html");
    }

    #[test]
    fn a_folder_without_its_slash_is_redirected() {
        let site = site(Vec::new());
        assert_eq!(redirect(&site, "docs"), (302, "/docs/".to_owned()));
        assert_eq!(redirect(&site, "a b?"), (302, "/a%20b%3F/".to_owned()));
        assert_eq!(redirect(&site, "hidden/in"), (302, "/hidden/in/".to_owned()));
        assert_eq!(failure(&site, "none"), (Code::NoSuchKey, true));
        assert_eq!(failure(&site, "none/"), (Code::NoSuchKey, true));
    }

    #[test]
    fn errors() {
        let site = site(Vec::new());
        assert_eq!(failure(&site, "denied/a.html"), (Code::AccessDenied, true));
        assert_eq!(failure(&site, "denied/a"), (Code::AccessDenied, true));
        assert_eq!(failure(&site, "hidden/a"), (Code::AccessDenied, true));
        assert_eq!(failure(&site, &"none".repeat(300)), (Code::KeyTooLongError, true));
        let index = "i.html".to_owned();
        for error in [None, Some(ObjectKey::parse("denied/e.html").unwrap())] {
            let site = Website::Site { index: index.clone(), error, rules: Vec::new() };
            assert_eq!(failure(&site, "none"), (Code::NoSuchKey, false));
        }
    }

    #[test]
    fn objects_that_redirect() {
        assert_eq!(redirect(&site(Vec::new()), "moved"), (301, "/new%20place".to_owned()));
        let url = Destination::Url("https://b.example/".to_owned());
        let base = Base { mount: "/b", ..PLAIN };
        assert_eq!(url.location(base), "https://b.example/");
        assert_eq!(Destination::Url("/x".to_owned()).location(base), "/b/x");
    }

    #[test]
    fn rules_by_prefix_come_before_objects() {
        let site = site(vec![
            rule(Some("docs/"), None, to_prefix("documents/")),
            rule(Some("one.html"), None, to_key("two.html")),
            rule(Some("docs/"), None, to_key("never")),
        ]);
        assert_eq!(redirect(&site, "docs/a b.html"), (301, "/documents/a%20b.html".to_owned()));
        assert_eq!(redirect(&site, "one.html"), (301, "/two.html".to_owned()));
        assert_eq!(object(&site, "three.html"), "three.html");
        let all = super::tests::site(vec![rule(None, None, to_prefix("/x/"))]);
        assert_eq!(redirect(&all, "a.html"), (301, "/x/a.html".to_owned()));
        assert_eq!(redirect(&all, ""), (301, "/x/".to_owned()));
    }

    #[test]
    fn rules_by_error_come_after_objects() {
        let far = Redirect {
            host: Some("b.example".to_owned()),
            protocol: Some(Protocol::Https),
            code: Some(307),
            replace: Some(Replace::Prefix("resize?key=".to_owned())),
        };
        let site = site(vec![
            rule(Some("img/"), Some(404), far),
            rule(None, Some(403), to_key("login")),
            rule(None, Some(404), Redirect { host: Some("c".to_owned()), ..Redirect::default() }),
        ]);
        assert_eq!(object(&site, "img/a.png"), "img/a.png");
        let resize = "https://b.example/resize?key=none%3F.png".to_owned();
        assert_eq!(redirect(&site, "img/none?.png"), (307, resize));
        assert_eq!(redirect(&site, "none"), (301, "http://c/none".to_owned()));
        assert_eq!(redirect(&site, "denied/x"), (301, "/login".to_owned()));
        assert_eq!(redirect(&site, "docs"), (302, "/docs/".to_owned()));
    }

    #[test]
    fn everything_to_another_host() {
        let all = Website::RedirectAll { host: "b.example".to_owned(), protocol: None };
        let asked = |key: &str, query: &str| {
            let never =
                |_: &ObjectKey| -> Result<Fact, Infallible> { panic!("nothing to look up") };
            match decide(&all, key, query, never) {
                Ok(Answer::Redirect { status: 301, to }) => to.location(PLAIN),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(asked("", ""), "http://b.example/");
        assert_eq!(asked("a/ü", "x=1&y=%20"), "http://b.example/a/%C3%BC?x=1&y=%20");
    }

    #[test]
    fn locations() {
        let place = |protocol, host: Option<&str>| {
            let host = host.map(str::to_owned);
            Destination::Place { protocol, host, path: "p".to_owned() }
        };
        let base = Base { protocol: Protocol::Https, host: Some("h:1"), mount: "/b" };
        assert_eq!(place(None, None).location(base), "/b/p");
        assert_eq!(place(Some(Protocol::Http), None).location(base), "http://h:1/b/p");
        assert_eq!(place(None, Some("o")).location(base), "https://o/p");
        assert_eq!(place(Some(Protocol::Http), Some("o")).location(base), "http://o/p");
    }

    #[test]
    fn a_link_cannot_choose_the_host() {
        let rules = vec![rule(Some("docs/"), None, to_prefix(""))];
        let moved = redirect(&site(rules), "docs///evil.example");
        assert_eq!(moved, (301, "/%2Fevil.example".to_owned()));
        assert_eq!(redirect(&site(Vec::new()), "/evil"), (302, "/%2Fevil/".to_owned()));
    }

    #[test]
    fn a_rule_cannot_break_out_of_its_header() {
        assert_eq!(harmless("a\r\nSet-Cookie: x=\"ü"), "a%0D%0ASet-Cookie:%20x=%22%C3%BC");
        assert_eq!(harmless("p?a=b&c=%20#!/"), "p?a=b&c=%20#!/");
    }
}
