//! The policy that `--bucket`, `--prefix` and `--allow` stand for.

use super::admin::{Arguments, Failure, Opt};
use crate::access::policy::Policy;
use crate::limits::MAX_USER_POLICY_BYTES;
use crate::types::BucketName;
use serde_json::{Value, json};

/// The options that say what a user may do.
pub const OPTIONS: [Opt; 4] =
    [Opt::Value("--bucket"), Opt::Value("--prefix"), Opt::Value("--allow"), Opt::File("--policy")];

/// What a word of `--allow` stands for.
struct Word {
    name: &'static str,
    /// Actions on objects below the prefix.
    objects: &'static [&'static str],
    /// Actions on a bucket that name a prefix, which must then be that or a longer one.
    listings: &'static [&'static str],
    /// Further actions on a bucket.
    bucket: &'static [&'static str],
    /// Actions on every bucket.
    service: &'static [&'static str],
}

const NONE: &[&str] = &[];

const WORDS: [Word; 6] = [
    Word {
        name: "list",
        objects: NONE,
        listings: &["s3:ListBucket", "s3:ListBucketVersions"],
        bucket: &["s3:GetBucketLocation", "s3:GetBucketVersioning"],
        service: NONE,
    },
    Word {
        name: "read",
        objects: &[
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:GetObjectAttributes",
            "s3:GetObjectVersionAttributes",
            "s3:GetObjectTagging",
            "s3:GetObjectVersionTagging",
            "s3:GetObjectRetention",
            "s3:GetObjectLegalHold",
        ],
        listings: &["s3:ListBucket", "s3:ListBucketVersions"],
        bucket: &["s3:GetBucketLocation", "s3:GetBucketVersioning"],
        service: NONE,
    },
    Word {
        name: "put",
        objects: &[
            "s3:PutObject",
            "s3:PutObjectTagging",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ],
        listings: &["s3:ListBucketMultipartUploads"],
        bucket: &["s3:GetBucketLocation"],
        service: NONE,
    },
    Word {
        name: "write",
        objects: &[
            "s3:PutObject",
            "s3:PutObjectTagging",
            "s3:DeleteObject",
            "s3:DeleteObjectTagging",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ],
        listings: &["s3:ListBucketMultipartUploads"],
        bucket: &["s3:GetBucketLocation"],
        service: NONE,
    },
    Word {
        name: "delete-versions",
        objects: &["s3:DeleteObjectVersion", "s3:DeleteObjectVersionTagging"],
        listings: NONE,
        bucket: NONE,
        service: NONE,
    },
    Word {
        name: "create",
        objects: NONE,
        listings: NONE,
        bucket: NONE,
        service: &["s3:CreateBucket", "s3:ListAllMyBuckets"],
    },
];

/// The policy that the options ask for; `None` if they say nothing.
pub fn policy(arguments: &Arguments) -> Result<Option<String>, Failure> {
    let simple = ["--bucket", "--prefix", "--allow"];
    let document = match arguments.get("--policy") {
        Some(_) if simple.iter().any(|option| arguments.get(option).is_some()) => {
            let text = "--policy stands alone, without --allow, --bucket and --prefix";
            return Err(Failure::Usage(text.to_owned()));
        }
        Some(document) => document.to_owned(),
        None if arguments.get("--allow").is_some() => written(arguments)?,
        None if simple.iter().any(|option| arguments.get(option).is_some()) => {
            let text = format!("--allow is missing; expected of {}", names());
            return Err(Failure::Usage(text));
        }
        None => return Ok(None),
    };
    validate(&document)?;
    Ok(Some(document))
}

/// Refuses a document that the access gate would not understand.
fn validate(document: &str) -> Result<Policy, Failure> {
    if document.len() > MAX_USER_POLICY_BYTES {
        let text = format!("the policy has more than {MAX_USER_POLICY_BYTES} bytes");
        return Err(Failure::Failed(text));
    }
    let malformed = |error: crate::access::policy::Malformed| {
        Failure::Failed(format!("the policy is not understood: {}", error.0))
    };
    Policy::identity(document).map_err(malformed)
}

fn names() -> String {
    WORDS.map(|word| word.name).join(", ")
}

/// The words of `--allow`.
fn words(arguments: &Arguments) -> Result<Vec<&'static Word>, Failure> {
    let mut found = Vec::new();
    for name in arguments.all("--allow").flat_map(|list| list.split(',')) {
        let word = WORDS.iter().find(|word| word.name == name.trim());
        found.push(
            word.ok_or_else(|| Failure::Usage(format!("--allow {name}: expected of {}", names())))?,
        );
    }
    Ok(found)
}

fn written(arguments: &Arguments) -> Result<String, Failure> {
    let words = words(arguments)?;
    let buckets: Vec<&str> = arguments.all("--bucket").collect();
    for bucket in &buckets {
        if BucketName::parse(bucket).is_none() {
            return Err(Failure::Usage(format!("--bucket {bucket}: no name of a bucket")));
        }
    }
    let prefix = arguments.get("--prefix").unwrap_or("");
    if prefix.contains(['*', '?', '$']) {
        // They have a meaning in policies.
        let text = format!("--prefix {prefix}: with * ? or $ in it, write a policy for --policy");
        return Err(Failure::Usage(text));
    }
    let needs_bucket = words.iter().any(|word| word.service.is_empty());
    if needs_bucket == buckets.is_empty() {
        return Err(Failure::Usage(match needs_bucket {
            true => "--bucket is missing".to_owned(),
            false => "--allow create is about all buckets, without --bucket".to_owned(),
        }));
    }
    let collect = |part: fn(&Word) -> &'static [&'static str]| -> Vec<&'static str> {
        let mut actions = Vec::new();
        for action in words.iter().flat_map(|word| part(word)) {
            if !actions.contains(action) {
                actions.push(*action);
            }
        }
        actions
    };
    let arns = |end: &str| -> Vec<String> {
        buckets.iter().map(|bucket| format!("arn:aws:s3:::{bucket}{end}")).collect()
    };
    let mut statements = Vec::new();
    let mut allow = |actions: Vec<&str>, resources: Vec<String>, condition: Option<Value>| {
        if actions.is_empty() {
            return;
        }
        let mut statement = json!({"Effect": "Allow", "Action": actions, "Resource": resources});
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        statements.push(statement);
    };
    allow(collect(|word| word.objects), arns(&format!("/{prefix}*")), None);
    let below = json!({"StringLike": {"s3:prefix": format!("{prefix}*")}});
    allow(collect(|word| word.listings), arns(""), Some(below).filter(|_| !prefix.is_empty()));
    allow(collect(|word| word.bucket), arns(""), None);
    allow(collect(|word| word.service), vec!["arn:aws:s3:::*".to_owned()], None);
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    Ok(format!("{document:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(options: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        let options = options.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        policy(&Arguments::new(Vec::new(), options))
    }

    #[test]
    fn one_line_becomes_a_policy() {
        let options = [("--bucket", "photos"), ("--prefix", "nas1/"), ("--allow", "read,write")];
        let document: Value = serde_json::from_str(&asked(&options).unwrap().unwrap()).unwrap();
        let statements = document["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 3);
        assert_eq!(statements[0]["Resource"], json!(["arn:aws:s3:::photos/nas1/*"]));
        let actions = statements[0]["Action"].as_array().unwrap();
        assert!(
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
                .iter()
                .all(|action| actions.contains(&json!(action)))
        );
        assert!(!actions.contains(&json!("s3:DeleteObjectVersion")));
        assert_eq!(statements[1]["Resource"], json!(["arn:aws:s3:::photos"]));
        assert_eq!(statements[1]["Condition"]["StringLike"]["s3:prefix"], json!("nas1/*"));
        // Listings are bound to the prefix, everything else says nothing of names.
        let listings =
            json!(["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"]);
        assert_eq!(statements[1]["Action"], listings);
        assert_eq!(
            statements[2]["Action"],
            json!(["s3:GetBucketLocation", "s3:GetBucketVersioning"])
        );
        // Without a prefix there is no condition; without a bucket there is nothing else.
        let all = asked(&[("--bucket", "b-1"), ("--bucket", "b-2"), ("--allow", "read")]);
        let all = all.unwrap().unwrap();
        assert!(!all.contains("Condition") && all.contains("arn:aws:s3:::b-2/*"));
        let create = asked(&[("--allow", "create")]).unwrap().unwrap();
        let create: Value = serde_json::from_str(&create).unwrap();
        assert_eq!(create["Statement"].as_array().unwrap().len(), 1);
        assert_eq!(asked(&[]).unwrap(), None);
    }

    #[test]
    fn what_says_too_much_or_too_little_is_refused() {
        for options in [
            &[("--bucket", "photos")][..],
            &[("--prefix", "x")],
            &[("--allow", "read")],
            &[("--allow", "")],
            &[("--bucket", "photos"), ("--allow", "everything")],
            &[("--bucket", "photos"), ("--allow", "create")],
            &[("--bucket", "Photos"), ("--allow", "read")],
            &[("--bucket", "photos"), ("--prefix", "a*"), ("--allow", "read")],
            &[("--policy", "{}"), ("--allow", "read"), ("--bucket", "photos")],
        ] {
            assert!(matches!(asked(options), Err(Failure::Usage(_))), "{options:?}");
        }
        let long = "x".repeat(MAX_USER_POLICY_BYTES + 1);
        assert!(matches!(asked(&[("--policy", &long)]), Err(Failure::Failed(_))));
    }
}
