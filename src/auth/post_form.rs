//! The policy and signature of a POST form.
