//! Secrets among the settings: each from its variable, or from a file that another one names.

use super::{ConfigError, Values};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// A credential, from the environment or from a file.
pub(super) fn credential(
    values: &Values,
    env: &'static str,
    file_env: &'static str,
) -> Result<Option<String>, ConfigError> {
    if values.is_set(env) && values.is_set(file_env) {
        return Err(ConfigError(format!("{env} and {file_env} are both set; keep one of them")));
    }
    if !values.is_set(file_env) {
        return Ok(values.is_set(env).then(|| values.get(env).0.to_owned()));
    }
    let path = values.get(file_env).0;
    let text = std::fs::read_to_string(credential_file(path))
        .map_err(|e| ConfigError(format!("{file_env}={path}: cannot read it: {e}")))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(ConfigError(format!("{file_env}={path}: the file is empty")));
    }
    Ok(Some(text.to_owned()))
}

/// A name alone may be one of systemd's credentials, which lie elsewhere for each unit; else a path.
fn credential_file(path: &str) -> PathBuf {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|_| !path.contains('/'));
    let file = dir.map(|dir| PathBuf::from(dir).join(path)).filter(|file| file.exists());
    file.unwrap_or_else(|| PathBuf::from(path))
}

/// 32 bytes as 64 hex digits or in base64. The error does not show the value.
pub(super) fn sse_key(values: &Values) -> Result<Option<Zeroizing<[u8; 32]>>, ConfigError> {
    let (env, file_env) = ("JOG_SSE_KEY", "JOG_SSE_KEY_FILE");
    let Some(text) = credential(values, env, file_env)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let text = text.trim();
    let bytes = match text.len() {
        64 => hex::decode(text).ok(),
        _ => BASE64_STANDARD.decode(text).ok(),
    };
    let key = bytes.map(Zeroizing::new).and_then(|bytes| {
        let bytes: &[u8; 32] = bytes[..].try_into().ok()?;
        Some(Zeroizing::new(*bytes))
    });
    let name = if values.is_set(file_env) { file_env } else { env };
    key.map(Some).ok_or_else(|| {
        ConfigError(format!("{name}: expected a key of 32 bytes, as 64 hex digits or in base64"))
    })
}

/// Refuses a key that is too short, too long, or has white space in it.
pub(super) fn valid_key(name: &str, key: &str, min: usize) -> Result<(), ConfigError> {
    let length = key.chars().count();
    if !(min..=128).contains(&length) {
        return Err(ConfigError(format!("{name}: expected {min} to 128 characters, not {length}")));
    }
    if key.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(ConfigError(format!("{name}: expected no white space in it")));
    }
    Ok(())
}

/// `JOG_METRICS_TOKEN`; long enough that nobody guesses it.
pub(super) fn metrics_token(values: &Values) -> Result<Option<Zeroizing<String>>, ConfigError> {
    let token = credential(values, "JOG_METRICS_TOKEN", "JOG_METRICS_TOKEN_FILE")?;
    if let Some(token) = &token {
        valid_key("JOG_METRICS_TOKEN", token, 16)?;
    }
    Ok(token.map(Zeroizing::new))
}
