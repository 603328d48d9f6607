//! Targets of event notifications: `JOG_WEBHOOK_<NAME>_URL` and `JOG_WEBHOOK_<NAME>_TOKEN`. There
//! is no telling which names there are, so they stand in no table of settings.

use super::ConfigError;
use crate::limits::MAX_WEBHOOKS;
use std::collections::BTreeMap;

/// What a name of a variable says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Url,
    Token,
}

/// A target, understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `<NAME>` in upper case.
    pub name: String,
    /// Host name or address, IPv6 without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What stands in the request line: path and query.
    pub path: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
}

impl std::fmt::Debug for Webhook {
    /// Neither the token nor the path, in which other services have theirs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).field("host", &self.host).finish()
    }
}

/// The target and the part of it that a variable is about.
fn parse_name(variable: &str) -> Option<(String, Part)> {
    let rest = variable.strip_prefix("JOG_WEBHOOK_")?;
    let (name, part) = match rest.strip_suffix("_URL") {
        Some(name) => (name, Part::Url),
        None => (rest.strip_suffix("_TOKEN")?, Part::Token),
    };
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = (1..=64).contains(&name.len()) && name.bytes().all(fits);
    valid.then(|| (name.to_ascii_uppercase(), part))
}

/// Whether a variable declares a target.
pub fn is_name(variable: &str) -> bool {
    parse_name(variable).is_some()
}

/// What of a variable's value may be shown: not the token, and of the URL not what follows the
/// host, in which some services have theirs.
pub fn shown(variable: &str, value: &str) -> String {
    const MASK: &str = "********";
    let is_url = parse_name(variable).is_some_and(|(_, part)| part == Part::Url);
    let path = value.match_indices(['/', '?']).map(|(at, _)| at).nth(2);
    match path {
        _ if !is_url => MASK.to_owned(),
        Some(at) => format!("{}/{MASK}", &value[..at]),
        None => value.to_owned(),
    }
}

/// The targets that variables declare, in order of their names.
pub fn parse<'a>(
    variables: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Webhook>, ConfigError> {
    // URL and token of each: variable and value.
    type Declared<'a> = (Option<(&'a str, &'a str)>, Option<(&'a str, &'a str)>);
    let mut targets: BTreeMap<String, Declared<'a>> = BTreeMap::new();
    for (variable, value) in variables {
        let Some((name, part)) = parse_name(variable) else { continue };
        let target = targets.entry(name).or_default();
        let place = if part == Part::Url { &mut target.0 } else { &mut target.1 };
        if let Some((other, _)) = place.replace((variable, value)) {
            return Err(ConfigError(format!("{other} and {variable} name the same webhook")));
        }
    }
    if targets.len() > MAX_WEBHOOKS {
        return Err(ConfigError(format!(
            "JOG_WEBHOOK_…_URL: at most {MAX_WEBHOOKS} webhooks are possible, not {}",
            targets.len()
        )));
    }
    let webhook = |(name, (url, token)): (String, Declared<'a>)| {
        let (token_variable, token) = Option::unzip(token);
        let Some((variable, url)) = url else {
            let variable = token_variable.unwrap_or_default();
            let url = format!("JOG_WEBHOOK_{name}_URL");
            return Err(ConfigError(format!("{variable} is set but {url} is not")));
        };
        let (host, port, path) =
            parse_url(url).map_err(|why| ConfigError(format!("{variable}: {why}")))?;
        if token.is_some_and(|t| t.len() > 4096 || !t.bytes().all(|b| b.is_ascii_graphic())) {
            let variable = token_variable.unwrap_or_default();
            return Err(ConfigError(format!(
                "{variable}: expected at most 4096 visible ASCII characters and no white space"
            )));
        }
        Ok(Webhook { name, host, port, path, token: token.map(str::to_owned) })
    };
    targets.into_iter().map(webhook).collect()
}

/// Host, port and path with query of an `http://` URL. The URL is in no message: it may hold a
/// secret.
fn parse_url(url: &str) -> Result<(String, u16, String), &'static str> {
    const EXPECTED: &str = "expected a URL such as http://127.0.0.1:8080/events";
    let scheme = url.get(..8).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("https://") {
        return Err("https is not spoken here; run a proxy on this host that does (nginx, Caddy, \
                    stunnel) and give its http:// address");
    }
    if !url.bytes().all(|b| b.is_ascii_graphic()) || url.len() > 2048 {
        return Err("expected at most 2048 visible ASCII characters; percent-encode others");
    }
    let rest = match url.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("http://") => &url[7..],
        _ => return Err(EXPECTED),
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err("expected no user and password in the URL; set the webhook's _TOKEN");
    }
    if path.contains('#') {
        return Err("expected no # in the URL");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, port.ok_or("expected a port from 1 to 65535")?)
        }
        _ => (authority, 80),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        None if !host.is_empty() && !host.contains([':', '[', ']']) => host,
        _ => return Err(EXPECTED),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((host.to_owned(), port, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Vec<Webhook>, String> {
        parse(variables.iter().copied()).map_err(|e| e.0)
    }

    #[test]
    fn urls() {
        let good = |url| parse_url(url).map(|(h, p, path)| format!("{h} {p} {path}"));
        assert_eq!(good("http://h"), Ok("h 80 /".to_owned()));
        assert_eq!(good("HTTP://127.0.0.1:8080/a/b?c=d"), Ok("127.0.0.1 8080 /a/b?c=d".to_owned()));
        assert_eq!(good("http://[::1]:81?x"), Ok("::1 81 /?x".to_owned()));
        assert_eq!(good("http://[::1]"), Ok("::1 80 /".to_owned()));
        for bad in [
            "",
            "h",
            "ftp://h",
            "http://",
            "http:///x",
            "http://h:0",
            "http://h:x",
            "http://u:p@h/",
            "http://h/#a",
            "http://h/ b",
            "http://h/é",
            "http://::1/",
            "http://[h]/",
            "http://h/\r\nX: y",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
        assert!(parse_url("https://h").unwrap_err().contains("proxy"));
    }

    #[test]
    fn variables() {
        let found = of(&[
            ("JOG_WEBHOOK_B_URL", "http://b"),
            ("JOG_WEBHOOK_a_1_URL", "http://a"),
            ("JOG_WEBHOOK_A_1_TOKEN", "secret"),
            ("JOG_PORT", "1"),
        ])
        .unwrap();
        let names: Vec<_> = found.iter().map(|w| (w.name.as_str(), w.token.as_deref())).collect();
        assert_eq!(names, [("A_1", Some("secret")), ("B", None)]);
        assert!(!format!("{found:?}").contains("secret"));
        assert_eq!(shown("JOG_WEBHOOK_A_TOKEN", "secret"), "********");
        assert_eq!(shown("JOG_WEBHOOK_A_URL", "http://h:1/sec/ret"), "http://h:1/********");
        assert_eq!(shown("JOG_WEBHOOK_A_URL", "http://h?secret"), "http://h/********");
        assert_eq!(shown("JOG_WEBHOOK_A_URL", "http://h:1"), "http://h:1");
        assert!(!is_name("JOG_WEBHOOK__URL") && !is_name("JOG_WEBHOOK_A_PATH"));
    }

    #[test]
    fn what_is_wrong_is_named_and_not_shown() {
        for (variables, expected) in [
            (&[("JOG_WEBHOOK_A_URL", "https://secret")][..], "JOG_WEBHOOK_A_URL: https"),
            (&[("JOG_WEBHOOK_A_TOKEN", "secret")], "JOG_WEBHOOK_A_URL is not"),
            (
                &[("JOG_WEBHOOK_A_URL", "http://secret"), ("JOG_WEBHOOK_a_URL", "http://b")],
                "same webhook",
            ),
            (
                &[("JOG_WEBHOOK_A_URL", "http://secret"), ("JOG_WEBHOOK_A_TOKEN", "sec ret")],
                "JOG_WEBHOOK_A_TOKEN: expected",
            ),
        ] {
            let error = of(variables).unwrap_err();
            assert!(error.contains(expected) && !error.contains("sec"), "{error}");
        }
        let names: Vec<String> =
            (0..=MAX_WEBHOOKS).map(|n| format!("JOG_WEBHOOK_{n}_URL")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "http://h")).collect();
        assert!(of(&many).is_err() && of(&many[1..]).is_ok());
    }
}
