//! `jog bucket`: what buckets hold, and how much they may hold.

use super::admin::{Arguments, Command, Context, Failure, Out};
use crate::config::size;
use crate::store::{Bucket, BucketChange};
use crate::types::BucketName;
use std::sync::Arc;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "bucket list",
        usage: "[NAME]",
        help: "buckets with what they hold: bytes of all versions, objects, versions, bytes of \
               unfinished uploads, quota in bytes, and the ID of the owner",
        options: &[],
        run: list,
    },
    Command {
        name: "bucket quota",
        usage: "NAME [10GiB|none]",
        help: "set how many bytes a bucket may hold, versions and uploads among them, or print it",
        options: &[],
        run: quota,
    },
];

/// Buckets that are read at once.
const PAGE: usize = 1000;

fn list(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let headings = ["BUCKET", "BYTES", "OBJECTS", "VERSIONS", "UPLOADING", "QUOTA", "OWNER"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    match arguments.positional.as_slice() {
        [] => {
            let mut after = String::new();
            loop {
                let page = context.store.buckets("", &after, PAGE)?;
                let Some(last) = page.last() else { break };
                after = last.name.to_string();
                for bucket in &page {
                    rows.push(row(context, bucket)?);
                }
            }
        }
        [name] => rows.push(row(context, &*find(context, name)?)?),
        _ => return Err(Failure::Usage("expected at most one bucket".to_owned())),
    }
    out.table(&rows)
}

fn row(context: &Context<'_>, bucket: &Bucket) -> Result<Vec<String>, Failure> {
    let usage = context.store.usage(bucket.id)?;
    let mut row = vec![bucket.name.to_string()];
    row.extend(
        [usage.bytes, usage.objects, usage.versions, usage.uploading].map(|n| n.to_string()),
    );
    row.push(shown(bucket.quota));
    row.push(bucket.owner.clone());
    Ok(row)
}

fn shown(quota: Option<u64>) -> String {
    quota.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string())
}

fn find(context: &Context<'_>, name: &str) -> Result<Arc<Bucket>, Failure> {
    let wrong = || Failure::failed(format!("{name}: no name of a bucket"));
    let parsed = BucketName::parse(name).ok_or_else(wrong)?;
    let found = context.store.bucket(&parsed)?;
    found.ok_or_else(|| Failure::failed(format!("{name}: no such bucket")))
}

fn quota(context: &Context<'_>, arguments: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let (name, value) = match arguments.positional.as_slice() {
        [name] => (name, None),
        [name, value] => (name, Some(value)),
        _ => return Err(Failure::Usage("expected a bucket and its quota".to_owned())),
    };
    let bucket = find(context, name)?;
    let Some(value) = value else { return out.line(shown(bucket.quota)) };
    let quota = match value.as_str() {
        "none" => None,
        text => {
            Some(size(text).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(|| {
                Failure::Usage(format!("{text}: expected a size such as 500MiB or 10GiB, or none"))
            })?)
        }
    };
    let changed = context.store.change_bucket(bucket.id, BucketChange::Quota(quota))?;
    changed.map_err(|_| Failure::failed(format!("{name}: no such bucket")))?;
    let usage = context.store.usage(bucket.id)?;
    let held = usage.bytes + usage.uploading;
    match quota.filter(|quota| held as u64 > *quota) {
        Some(_) => out.complain(format!("{name} holds {held} bytes: more than that already")),
        None => Ok(()),
    }
}
