//! Settings: from flags and the environment to one typed [`Config`]. Nobody else reads the
//! environment.

mod credentials;
mod schedule;
mod text;
mod webhooks;

pub use schedule::Schedule;
pub use text::size;
pub use webhooks::Webhook;

use crate::limits;
use credentials::{credential, metrics_token, sse_key, valid_key};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use text::{domains, duration, region, switch};
use zeroize::Zeroizing;

/// A setting, as operators know it.
pub struct Setting {
    /// The name in the environment; the flag is derived from it: `JOG_DATA_DIR`, `--data-dir`.
    pub env: &'static str,
    /// What holds if nothing is set; empty: see `help`.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Masked by `jog config`.
    pub secret: bool,
}

macro_rules! settings {
    ($($env:literal $default:literal $help:literal;)*) => {
        /// Every setting.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            env: $env,
            default: $default,
            help: $help,
            secret: matches!($env.as_bytes(), b"JOG_SECRET_KEY" | b"JOG_SSE_KEY" | b"JOG_METRICS_TOKEN"),
        },)*];
    };
}

settings! {
    "JOG_PORT" "9000" "TCP port; 0 takes a free one";
    "JOG_ADDRESS" "" "address to listen on (default: all; 127.0.0.1 if no credentials are set)";
    "JOG_DATA_DIR" "./data" "where metadata.db and buckets/ are";
    "JOG_ACCESS_KEY" "minioadmin" "access key of the root user";
    "JOG_SECRET_KEY" "minioadmin" "secret key of the root user";
    "JOG_ACCESS_KEY_FILE" "" "file that holds the access key, instead of JOG_ACCESS_KEY";
    "JOG_SECRET_KEY_FILE" "" "file that holds the secret key, instead of JOG_SECRET_KEY";
    "JOG_SSE_KEY" "" "master key for SSE-S3: 32 bytes as 64 hex digits or in base64 (default: no SSE-S3)";
    "JOG_SSE_KEY_FILE" "" "file that holds the master key, instead of JOG_SSE_KEY";
    "JOG_REGION" "" "the only region that signatures may name (default: any; reported as us-east-1)";
    "JOG_DOMAIN" "" "domains, separated by commas, for virtual-host style: BUCKET.DOMAIN";
    "JOG_WEBSITE_PORT" "" "TCP port that serves the websites of buckets; 0 takes a free one (default: none)";
    "JOG_WEBSITE_DOMAIN" "" "domains, separated by commas, for websites: BUCKET.DOMAIN, on both ports";
    "JOG_ACCESS_LOG_INTERVAL" "5m" "how long lines of a bucket's access log are gathered before delivery";
    "JOG_DURABILITY" "full" "full: survives a crash of the machine; os: only a crash of jog";
    "JOG_LOG_LEVEL" "info" "error, warn, info, debug or trace";
    "JOG_LOG_FORMAT" "text" "text, or json: an object a line";
    "JOG_THREADS" "256" "threads that serve connections, 4 to 4096";
    "JOG_SIGV2" "off" "on: take Signature Version 2 as well, for old software";
    "JOG_AUTH_FAILURES" "100" "failed signatures from an address until it is slowed to one a second; 0: any number";
    "JOG_TRUST_PROXY" "off" "on: take X-Forwarded-Host, -For and -Proto from a reverse proxy";
    "JOG_TRASH_RETENTION" "24h" "how long files of deleted objects are kept (30s, 15m, 24h, 7d; 0: not)";
    "JOG_TRASH_FLOOR" "" "free space under which they go earlier (10GiB; default: 5 % of the disk, at most 10GiB)";
    "JOG_MIN_FREE" "" "free space under which nothing new is taken (64MiB; default: 1 % of the disk, 4MiB to 256MiB)";
    "JOG_LIFECYCLE_DAY" "24h" "how long a day of lifecycle rules is; shorter only for tests";
    "JOG_SCRUB" "off" "when every byte is read and verified, in UTC: 'Sun 03:00', or '03:00' for each day";
    "JOG_SCRUB_RATE" "50MiB" "bytes a second that it reads";
    "JOG_METRICS_PUBLIC" "off" "on: everybody may read /_jog/metrics, not only root and the token";
    "JOG_METRICS_TOKEN" "" "bearer token that may read /_jog/metrics, 16 characters or more (default: none)";
    "JOG_METRICS_TOKEN_FILE" "" "file that holds the token, instead of JOG_METRICS_TOKEN";
    "JOG_SHUTDOWN_TIMEOUT" "30s" "how long requests may take to end on SIGTERM";
}

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nothing was set.
    Default,
    /// A flag.
    Flag,
    /// The environment.
    Environment,
}

/// A wrong setting: one line for the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What each setting was set to, before it is understood.
#[derive(Clone, Debug)]
pub struct Values {
    settings: BTreeMap<&'static str, (String, Source)>,
    /// `JOG_WEBHOOK_<NAME>_URL` and `JOG_WEBHOOK_<NAME>_TOKEN`.
    webhooks: BTreeMap<String, String>,
}

/// The flag of a setting.
pub fn flag(env: &str) -> String {
    format!("--{}", env.trim_start_matches("JOG_").to_ascii_lowercase().replace('_', "-"))
}

/// The variables that may be settings. The others are of no concern, whatever is in them.
pub fn environment(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let ours = all.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    ours.filter(|(name, _)| name.starts_with("JOG_"))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(ConfigError(format!("{name}: expected UTF-8"))),
        })
        .collect()
}

impl Values {
    /// Takes `--name value` and `--name=value`, then the environment. An empty value counts as
    /// not set, so that `JOG_REGION=` in a file switches a setting off.
    pub fn collect(
        args: &[String],
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        let mut webhooks = BTreeMap::new();
        for (name, value) in environment.filter(|(_, value)| !value.is_empty()) {
            if let Some(setting) = SETTINGS.iter().find(|s| s.env == name) {
                values.insert(setting.env, (value, Source::Environment));
            } else if webhooks::is_name(&name) {
                webhooks.insert(name, value);
            }
        }
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let setting = SETTINGS.iter().find(|s| flag(s.env) == name).ok_or_else(|| {
                ConfigError(format!("{arg}: no such option; `jog help` lists them"))
            })?;
            let value = match value {
                Some(value) => value,
                None => args
                    .next()
                    .cloned()
                    .ok_or_else(|| ConfigError(format!("{name} needs a value")))?,
            };
            values.insert(setting.env, (value, Source::Flag));
        }
        Ok(Self { settings: values, webhooks })
    }

    fn is_set(&self, env: &str) -> bool {
        self.settings.contains_key(env)
    }

    /// The value of a setting and where it came from.
    pub fn get(&self, env: &'static str) -> (&str, Source) {
        match self.settings.get(env) {
            Some((value, source)) => (value, *source),
            None => {
                let setting = SETTINGS.iter().find(|s| s.env == env);
                (setting.map_or("", |s| s.default), Source::Default)
            }
        }
    }

    /// Understands a value; `expected` says what would have been right.
    fn parse<T>(
        &self,
        env: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let (value, source) = self.get(env);
        parse(value).ok_or_else(|| {
            let name = if source == Source::Flag { flag(env) } else { env.to_owned() };
            ConfigError(format!("{name}={value}: expected {expected}"))
        })
    }
}

/// How hard a write is made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// On the disk before it is acknowledged.
    Full,
    /// With the operating system before it is acknowledged.
    Os,
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// An object in JSON a line, for programs.
    Json,
}

/// The settings, understood.
#[derive(Clone)]
pub struct Config {
    /// `JOG_PORT`
    pub port: u16,
    /// `JOG_ADDRESS`; `None`: all addresses.
    pub address: Option<IpAddr>,
    /// `JOG_DATA_DIR`
    pub data_dir: PathBuf,
    /// The root user's access key.
    pub access_key: String,
    /// The root user's secret key.
    pub secret_key: String,
    /// No credentials are set: the well-known ones hold, on 127.0.0.1 only.
    pub default_credentials: bool,
    /// `JOG_SSE_KEY`: the master key of SSE-S3. Wiped when dropped.
    pub sse_key: Option<Zeroizing<[u8; 32]>>,
    /// `JOG_REGION`
    pub region: Option<String>,
    /// `JOG_DOMAIN`
    pub domains: Vec<String>,
    /// `JOG_WEBSITE_PORT`; `None`: no port of their own.
    pub website_port: Option<u16>,
    /// `JOG_WEBSITE_DOMAIN`
    pub website_domains: Vec<String>,
    /// `JOG_ACCESS_LOG_INTERVAL`
    pub access_log_interval: Duration,
    /// `JOG_DURABILITY`
    pub durability: Durability,
    /// `JOG_LOG_LEVEL`
    pub log_level: log::LevelFilter,
    /// `JOG_LOG_FORMAT`
    pub log_format: LogFormat,
    /// `JOG_THREADS`
    pub threads: usize,
    /// `JOG_AUTH_FAILURES`; 0: no limit.
    pub auth_failures: u32,
    /// `JOG_SIGV2`
    pub sigv2: bool,
    /// `JOG_TRUST_PROXY`
    pub trust_proxy: bool,
    /// `JOG_TRASH_RETENTION`
    pub trash_retention: Duration,
    /// `JOG_TRASH_FLOOR`, in bytes.
    pub trash_floor: Option<u64>,
    /// `JOG_MIN_FREE`, in bytes.
    pub min_free: Option<u64>,
    /// `JOG_LIFECYCLE_DAY`; at least a second.
    pub lifecycle_day: Duration,
    /// `JOG_WEBHOOK_<NAME>_URL`, in order of their names.
    pub webhooks: Vec<Webhook>,
    /// `JOG_SCRUB`; `None`: never.
    pub scrub: Option<Schedule>,
    /// `JOG_SCRUB_RATE`, in bytes a second.
    pub scrub_rate: u64,
    /// `JOG_METRICS_PUBLIC`
    pub metrics_public: bool,
    /// `JOG_METRICS_TOKEN`. Wiped when dropped.
    pub metrics_token: Option<Zeroizing<String>>,
    /// `JOG_SHUTDOWN_TIMEOUT`
    pub shutdown: Duration,
}

impl Config {
    /// Understands all settings; the first wrong one is the error.
    pub fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let access = credential(values, "JOG_ACCESS_KEY", "JOG_ACCESS_KEY_FILE")?;
        let secret = credential(values, "JOG_SECRET_KEY", "JOG_SECRET_KEY_FILE")?;
        let missing = |has: &str, lacks: &str| {
            Err(ConfigError(format!("{has} is set but {lacks} is not; set both or neither")))
        };
        let (access_key, secret_key, default_credentials) = match (access, secret) {
            (Some(access), Some(secret)) => (access, secret, false),
            (None, None) => ("minioadmin".to_owned(), "minioadmin".to_owned(), true),
            (Some(_), None) => return missing("JOG_ACCESS_KEY", "JOG_SECRET_KEY"),
            (None, Some(_)) => return missing("JOG_SECRET_KEY", "JOG_ACCESS_KEY"),
        };
        valid_key("JOG_ACCESS_KEY", &access_key, 3)?;
        valid_key("JOG_SECRET_KEY", &secret_key, 8)?;
        if access_key.contains(['/', ',', '=']) {
            return Err(ConfigError("JOG_ACCESS_KEY: expected none of / , = in it".to_owned()));
        }
        let address = Self::listen_address(values, default_credentials)?;
        let optional = |env| Some(values.get(env).0.to_owned()).filter(|v| !v.is_empty());
        let bytes = |env| match optional(env) {
            Some(_) => values.parse(env, "a size such as 64MiB or 10GiB", size).map(Some),
            None => Ok(None),
        };
        let a_port = "a port from 0 to 65535";
        let port: u16 = values.parse("JOG_PORT", a_port, |v| v.parse().ok())?;
        let website_port = match optional("JOG_WEBSITE_PORT") {
            Some(_) => {
                let other = |v: &str| v.parse().ok().filter(|n| *n == 0 || *n != port);
                let expected = "a port from 0 to 65535 that is not JOG_PORT";
                values.parse("JOG_WEBSITE_PORT", expected, other).map(Some)?
            }
            None => None,
        };
        let some_domains = "host names separated by commas";
        let own_domains = values.parse("JOG_DOMAIN", some_domains, domains)?;
        let website_domains = values.parse("JOG_WEBSITE_DOMAIN", some_domains, domains)?;
        if let Some(both) = website_domains.iter().find(|domain| own_domains.contains(domain)) {
            return Err(ConfigError(format!(
                "JOG_WEBSITE_DOMAIN={both}: the same as JOG_DOMAIN; a host is for one of them"
            )));
        }
        Ok(Self {
            port,
            website_port,
            website_domains,
            access_log_interval: values.parse(
                "JOG_ACCESS_LOG_INTERVAL",
                "a time of at least 1s, such as 30s or 5m",
                |v| duration(v).filter(|interval| !interval.is_zero()),
            )?,
            address,
            data_dir: PathBuf::from(values.get("JOG_DATA_DIR").0),
            access_key,
            secret_key,
            default_credentials,
            sse_key: sse_key(values)?,
            region: values.parse("JOG_REGION", "a region such as eu-central-1", region)?,
            domains: own_domains,
            durability: values.parse("JOG_DURABILITY", "full or os", |v| match v {
                "full" => Some(Durability::Full),
                "os" => Some(Durability::Os),
                _ => None,
            })?,
            log_level: values.parse("JOG_LOG_LEVEL", "error, warn, info, debug or trace", |v| {
                v.parse().ok().filter(|level| *level != log::LevelFilter::Off)
            })?,
            log_format: values.parse("JOG_LOG_FORMAT", "text or json", |v| match v {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            })?,
            threads: values.parse("JOG_THREADS", "a number from 4 to 4096", |v| {
                v.parse().ok().filter(|n| (4..=4096).contains(n))
            })?,
            auth_failures: values.parse(
                "JOG_AUTH_FAILURES",
                "a number from 0 to 4294967295",
                |v| v.parse().ok(),
            )?,
            sigv2: values.parse("JOG_SIGV2", "on or off", switch)?,
            trust_proxy: values.parse("JOG_TRUST_PROXY", "on or off", switch)?,
            trash_retention: values.parse(
                "JOG_TRASH_RETENTION",
                "a time such as 30s, 15m, 24h or 7d, at most 3650d",
                duration,
            )?,
            trash_floor: bytes("JOG_TRASH_FLOOR")?,
            min_free: bytes("JOG_MIN_FREE")?,
            lifecycle_day: values.parse("JOG_LIFECYCLE_DAY", "a time from 1s to 24h", |v| {
                duration(v).filter(|day| (1..=86_400).contains(&day.as_secs()))
            })?,
            webhooks: webhooks::parse(
                values.webhooks.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            )?,
            scrub: values.parse("JOG_SCRUB", "off, 'Sun 03:00' or '03:00'", |v| match v {
                "off" => Some(None),
                text => Schedule::parse(text).map(Some),
            })?,
            scrub_rate: values.parse("JOG_SCRUB_RATE", "a size such as 50MiB", |v| {
                size(v).filter(|bytes| *bytes > 0)
            })?,
            metrics_public: values.parse("JOG_METRICS_PUBLIC", "on or off", switch)?,
            metrics_token: metrics_token(values)?,
            shutdown: values.parse(
                "JOG_SHUTDOWN_TIMEOUT",
                "a time such as 30s or 2m, at most 3650d",
                duration,
            )?,
        })
    }

    fn listen_address(
        values: &Values,
        default_credentials: bool,
    ) -> Result<Option<IpAddr>, ConfigError> {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        if !values.is_set("JOG_ADDRESS") {
            return Ok(default_credentials.then_some(loopback));
        }
        let address = values.parse("JOG_ADDRESS", "an IP address such as 0.0.0.0", |v| {
            let bare = v.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(v);
            if bare == "localhost" { Some(loopback) } else { bare.parse().ok() }
        })?;
        if default_credentials && !address.is_loopback() {
            return Err(ConfigError(format!(
                "JOG_ADDRESS={address}: without credentials JOG listens on 127.0.0.1 only; \
                 set JOG_ACCESS_KEY and JOG_SECRET_KEY"
            )));
        }
        Ok(Some(address))
    }
}

/// The values of `jog config`: setting, value (secrets masked), source.
pub fn describe(values: &Values) -> Vec<(String, String, &'static str)> {
    let source = |source| match source {
        Source::Default => "default",
        Source::Flag => "flag",
        Source::Environment => "environment",
    };
    let webhooks = values.webhooks.iter().map(|(name, value)| {
        (name.clone(), webhooks::shown(name, value), source(Source::Environment))
    });
    SETTINGS
        .iter()
        .map(|setting| {
            let (value, from) = values.get(setting.env);
            let from_file = values.is_set(&format!("{}_FILE", setting.env));
            let (shown, from) = match (from_file, setting.secret && from != Source::Default) {
                (true, _) => ("(from its file)", "file"),
                (false, true) => ("********", source(from)),
                (false, false) => (value, source(from)),
            };
            (setting.env.to_owned(), shown.to_owned(), from)
        })
        .chain(webhooks)
        .collect()
}

/// Variables of the environment that look like settings and are none.
pub fn unknown(environment: impl Iterator<Item = (String, String)>) -> Vec<String> {
    environment
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("JOG_") && SETTINGS.iter().all(|s| s.env != name))
        .filter(|name| !webhooks::is_name(name))
        .collect()
}

// The defaults in the table of settings are text; this keeps them true to the limits.
const _: () = assert!(limits::DEFAULT_THREADS == 256 && limits::DEFAULT_SHUTDOWN.as_secs() == 30);

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, prelude::BASE64_STANDARD};

    fn config(args: &[&str], env: &[(&str, &str)]) -> Result<Config, String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let env = env.iter().map(|(n, v)| (n.to_string(), v.to_string()));
        let values = Values::collect(&args, env).map_err(|e| e.0)?;
        Config::from_values(&values).map_err(|e| e.0)
    }

    const KEYS: [(&str, &str); 2] = [("JOG_ACCESS_KEY", "abc"), ("JOG_SECRET_KEY", "12345678")];

    #[test]
    fn flag_wins_over_environment_over_default() {
        let config =
            config(&["--port=1", "--data-dir", "/d"], &[("JOG_PORT", "2"), ("JOG_REGION", "")])
                .unwrap();
        assert_eq!((config.port, config.data_dir), (1, PathBuf::from("/d")));
        assert_eq!(config.region, None);
    }

    #[test]
    fn without_credentials_only_loopback() {
        let default = config(&[], &[]).unwrap();
        assert!(default.default_credentials && default.address.unwrap().is_loopback());
        assert!(config(&[], &[("JOG_ADDRESS", "0.0.0.0")]).is_err());
        assert!(config(&[], &[("JOG_ADDRESS", "::1")]).is_ok());
        assert_eq!(config(&[], &KEYS).unwrap().address, None);
    }

    #[test]
    fn one_line_says_what_is_wrong() {
        let error = |args: &[&str], env: &[(&str, &str)]| match config(args, env) {
            Ok(_) => panic!("{args:?} {env:?} should be refused"),
            Err(text) => text,
        };
        assert_eq!(error(&["--port", "x"], &[]), "--port=x: expected a port from 0 to 65535");
        assert_eq!(
            error(&[], &[("JOG_DURABILITY", "yes")]),
            "JOG_DURABILITY=yes: expected full or os"
        );
        assert!(error(&[], &KEYS[..1]).contains("JOG_SECRET_KEY is not"));
        assert!(error(&["--nope"], &[]).contains("--nope"));
        assert!(error(&[], &[("JOG_TRASH_RETENTION", "1w")]).contains("24h"));
        assert!(error(&[], &[KEYS[0], ("JOG_SECRET_KEY", "short")]).contains("8 to 128"));
        assert!(error(&[], &[("JOG_LIFECYCLE_DAY", "0")]).contains("1s to 24h"));
        assert!(error(&[], &[("JOG_SCRUB", "Sunday")]).contains("Sun 03:00"));
        assert!(error(&[], &[("JOG_METRICS_TOKEN", "short")]).contains("16 to 128"));
        assert!(error(&[], &[("JOG_WEBHOOK_A_URL", "https://h")]).contains("JOG_WEBHOOK_A_URL"));
    }

    #[test]
    fn master_keys() {
        let key = |text: &str| config(&[], &[("JOG_SSE_KEY", text)]).map(|c| c.sse_key);
        assert!(config(&[], &[]).unwrap().sse_key.is_none());
        assert_eq!(*key(&"0a".repeat(32)).unwrap().unwrap(), [10; 32]);
        assert_eq!(*key(&"0A".repeat(32)).unwrap().unwrap(), [10; 32]);
        let base64 = BASE64_STANDARD.encode([10; 32]);
        assert_eq!(*key(&format!(" {base64} ")).unwrap().unwrap(), [10; 32]);
        let short = BASE64_STANDARD.encode([10; 31]);
        for bad in ["secret", &"0a".repeat(31), &"0g".repeat(32), &short, &base64[..43]] {
            let error = key(bad).unwrap_err();
            assert_eq!(
                error,
                "JOG_SSE_KEY: expected a key of 32 bytes, as 64 hex digits or in base64"
            );
        }
        let both = [("JOG_SSE_KEY", &*base64), ("JOG_SSE_KEY_FILE", "/nowhere")];
        assert!(config(&[], &both).is_err_and(|e| e.contains("JOG_SSE_KEY_FILE")));
        let values = Values::collect(&[], [("JOG_SSE_KEY".to_owned(), base64)].into_iter());
        let shown = describe(&values.map_err(|e| e.0).unwrap());
        let expected = ("JOG_SSE_KEY".to_owned(), "********".to_owned(), "environment");
        assert!(shown.contains(&expected));
    }

    #[test]
    fn websites() {
        let none = config(&[], &[]).unwrap();
        assert_eq!((none.website_port, none.website_domains), (None, Vec::new()));
        let some = [("JOG_WEBSITE_PORT", "0"), ("JOG_WEBSITE_DOMAIN", "web.a, B")];
        let some = config(&["--domain=s3.a"], &some).unwrap();
        assert_eq!(some.website_port, Some(0));
        assert_eq!(some.website_domains, ["web.a", "b"]);
        let both = config(&["--domain=x,a"], &[("JOG_WEBSITE_DOMAIN", "b,A")]);
        assert!(both.err().unwrap().contains("JOG_WEBSITE_DOMAIN=a"));
        assert!(config(&["--website-port=x"], &[]).is_err());
        assert!(config(&["--access-log-interval=0"], &[]).is_err());
    }
}
