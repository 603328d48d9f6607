//! RenameObject: what AWS offers in directory buckets, in every bucket without versions.

use super::conditions::{self, Conditions, Verdict};
use super::{Call, Code, S3Error, object, uri};
use crate::http::Response;
use crate::limits::MAX_RENAME_TOKEN_CHARS;
use crate::store::{Object, Rename, Renamed};
use crate::types::ObjectKey;

/// How often it begins anew because its object was overwritten under it.
const TRIES: u32 = 5;

/// The key that x-amz-rename-source names: `/bucket/key`, percent-encoded, in the same bucket.
fn source(call: &Call<'_, '_>) -> Result<ObjectKey, S3Error> {
    let header = call.header("x-amz-rename-source").unwrap_or_default();
    let bad = |message: &'static str| S3Error::argument("x-amz-rename-source", header, message);
    let path = uri::decode(header, false).ok_or_else(|| bad("Invalid rename source encoding."))?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let (bucket, key) = path
        .split_once('/')
        .ok_or_else(|| bad("The rename source must be of the form /bucket/key."))?;
    if bucket != call.bucket_name()?.as_str() {
        return Err(bad("The rename source must be in the same bucket."));
    }
    ObjectKey::parse(key).map_err(|_| bad("Invalid rename source object key."))
}

/// Refuses if the conditions on an object do not hold.
fn check(conditions: &Conditions<'_>, object: &Object) -> Result<(), S3Error> {
    match conditions.check(object) {
        Verdict::Proceed => Ok(()),
        Verdict::NotModified => Err(Code::PreconditionFailed.into()),
        Verdict::Failed(condition) => {
            Err(S3Error::from(Code::PreconditionFailed).element("Condition", condition))
        }
    }
}

fn token(call: &Call<'_, '_>) -> Result<Option<String>, S3Error> {
    match call.header("x-amz-client-token") {
        None | Some("") => Ok(None),
        Some(text) if text.chars().count() > MAX_RENAME_TOKEN_CHARS => {
            let message = "The client token is too long.";
            Err(S3Error::argument("x-amz-client-token", text, message))
        }
        Some(text) => Ok(Some(text.to_owned())),
    }
}

/// RenameObject
pub fn rename(call: &mut Call<'_, '_>) -> Result<Response, S3Error> {
    let (from, to) = (source(call)?, call.key()?.clone());
    call.authorize("s3:GetObject", call.bucket_name()?, Some(&from), None)?;
    call.authorize("s3:DeleteObject", call.bucket_name()?, Some(&from), None)?;
    let token = token(call)?;
    let bucket = call.bucket()?;
    let store = &call.app.store;
    for _ in 0..TRIES {
        if let Some(token) = &token {
            match store.renamed(bucket.id, token, &from, &to)? {
                Some(Renamed::Done) => return Ok(Response::new(200)),
                Some(_) => return Err(Code::IdempotencyParameterMismatch.into()),
                None => {}
            }
        }
        let object = object::find_in(call, &bucket, &from, None)
            .map_err(|error| call.missing(error, &bucket.name, &from, None))?;
        check(&Conditions::of_rename_source(call.headers()), &object)?;
        let mut if_ = conditions::of_write(call);
        let dates =
            Conditions { match_: None, none_match: None, ..Conditions::of_read(call.headers()) };
        if dates.modified_since.or(dates.unmodified_since).is_some()
            && let Some(there) = store.object(bucket.id, &to)?
        {
            check(&dates, &there)?;
            if_.if_modified_time = Some(there.modified_ms.div_euclid(1000));
        }
        let rename = Rename {
            from: from.clone(),
            version: object.version,
            to: to.clone(),
            if_,
            token: token.clone(),
        };
        match call.renaming(&bucket).rename_object(bucket.id, rename)?? {
            Renamed::Done => return Ok(Response::new(200)),
            Renamed::SourceChanged => {}
            Renamed::OtherRename => return Err(Code::IdempotencyParameterMismatch.into()),
        }
    }
    Err(Code::SlowDown.into())
}
