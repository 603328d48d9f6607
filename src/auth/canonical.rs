//! Canonical requests.
