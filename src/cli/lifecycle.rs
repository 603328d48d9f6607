//! `jog lifecycle preview`: what the rules of a bucket will take away.

use super::admin::{Arguments, Command, Context, Failure, Out};
use crate::jobs::lifecycle;
use crate::types::{BucketName, time};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[Command {
    name: "lifecycle preview",
    usage: "BUCKET",
    help: "say what the lifecycle rules of a bucket will take away, and when; changes nothing",
    options: &[],
    run: preview,
}];

fn preview(context: &Context<'_>, args: &Arguments, out: &mut Out<'_>) -> Result<(), Failure> {
    let [name] = args.exactly()?;
    let missing = || Failure::failed(format!("there is no bucket {name}"));
    let bucket = BucketName::parse(name).ok_or_else(missing)?;
    let day_ms = i64::try_from(context.config.lifecycle_day.as_millis()).unwrap_or(i64::MAX);
    let lines = lifecycle::preview(context.store, &bucket, day_ms, time::now_ms())?;
    lines.ok_or_else(missing)?.iter().try_for_each(|line| out.line(line))
}
