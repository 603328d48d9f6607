//! Rules of the source tree that no compiler checks: which module may know which, how long a file
//! may be, where the environment and the network are touched, that no file is dead, and that every
//! dependency has its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a file, at most.
const MAX_LINES: usize = 600;
/// Files that may be longer, with their reason. None so far.
const LONGER: &[(&str, &str)] = &[];
/// Crates in the whole tree of dependencies, at most.
const MAX_CRATES: usize = 70;

/// What each module at the top may name with `crate::`. Everybody may read `config` and `limits`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("xml", &[]),
    ("config", &[]),
    ("limits", &[]),
    ("http", &[]),
    ("store", &["types"]),
    ("auth", &["types", "http"]),
    // Who is asking comes from auth; see `access::Ask`.
    ("access", &["types", "store", "auth"]),
    ("s3", &["types", "xml", "store", "access", "http", "auth"]),
    ("jobs", &["types", "store"]),
    ("cli", &["types", "store", "access", "http", "auth", "s3", "jobs"]),
];

struct Source {
    /// Below `src/`.
    path: String,
    text: String,
}

impl Source {
    /// The module at the top that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs")
    }

    /// Its lines with their numbers, without comments and without the unit tests at its end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_tests = |line: &str| line.trim() == "#[cfg(test)]";
        let tests = self.text.lines().zip(self.text.lines().skip(1));
        let end = tests.enumerate().find(|(_, (line, next))| {
            is_tests(line) && next.starts_with("mod ") && next.ends_with('{')
        });
        let end = end.map_or(usize::MAX, |(at, _)| at);
        let lines = self.text.lines().enumerate().take_while(move |(at, _)| *at < end);
        lines.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn find(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn files_below(dir: &str) -> Vec<Source> {
    let base = root().join(dir);
    let mut found = Vec::new();
    if base.is_dir() {
        find(&base, &mut found);
    }
    found.sort();
    let read = |path: PathBuf| Source {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(&base).unwrap().to_str().unwrap().to_owned(),
    };
    found.into_iter().map(read).collect()
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// The modules that a line names with `crate::`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let parts = line.split("crate::").skip(1);
    parts.map(move |part| part.split(|c| !is_name(c)).next().unwrap_or_default())
}

#[test]
fn modules_know_only_those_below_them() {
    let may_use: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut problems = Vec::new();
    for source in files_below("src") {
        let module = source.module();
        if matches!(module, "lib" | "main") {
            continue;
        }
        let Some(allowed) = may_use.get(module) else {
            problems.push(format!("{}: {module} is not in MAY_USE", source.path));
            continue;
        };
        for (number, line) in source.code() {
            if line.contains("crate::{") {
                problems.push(format!("{}:{number}: one `use crate::…` a module", source.path));
            }
            for name in named(line) {
                let own = name == module || matches!(name, "config" | "limits" | "");
                if may_use.contains_key(name) && !own && !allowed.contains(&name) {
                    problems.push(format!("{}:{number}: {module} uses {name}", source.path));
                }
            }
        }
    }
    none(problems);
}

#[test]
fn the_environment_and_the_network_have_their_places() {
    // What is named, and the beginnings of the paths that may name it.
    const PLACES: &[(&str, &[&str])] = &[
        ("env::var", &["config.rs", "config/", "cli/"]),
        ("env::args", &["config.rs", "cli/", "main.rs"]),
        ("std::env", &["config.rs", "config/", "cli/", "main.rs"]),
        ("httparse", &["http/"]),
        ("TcpListener", &["http/"]),
        ("TcpStream", &["http/", "cli/healthcheck.rs", "jobs/webhook.rs"]),
        ("rustix::event", &["http/"]),
        ("rusqlite", &["store/"]),
        ("quick_xml", &["xml.rs"]),
        ("process::exit", &["main.rs", "cli/"]),
    ];
    let mut problems = Vec::new();
    for source in files_below("src").into_iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            for (what, places) in PLACES {
                if line.contains(what) && !places.iter().any(|p| source.path.starts_with(p)) {
                    problems.push(format!("{}:{number}: {what}", source.path));
                }
            }
        }
    }
    none(problems);
}

#[test]
fn nothing_unfinished_and_nothing_that_panics() {
    const NEVER: [&str; 6] =
        [".unwrap()", "unsafe {", "unsafe fn", "todo!(", "unimplemented!(", "dbg!("];
    let mut problems = Vec::new();
    for source in files_below("src").iter().filter(|s| !s.is_test()) {
        for (number, line) in source.code() {
            for never in NEVER.iter().filter(|never| line.contains(**never)) {
                problems.push(format!("{}:{number}: {never}", source.path));
            }
        }
    }
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    if !lib.contains("#![forbid(unsafe_code)]") && !manifest.contains("unsafe_code = \"forbid\"") {
        problems.push("unsafe code is not forbidden".to_owned());
    }
    none(problems);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut problems = Vec::new();
    for dir in ["src", "tests", "benches"] {
        for source in files_below(dir) {
            let path = format!("{dir}/{}", source.path);
            let lines = source.text.lines().count();
            if lines > MAX_LINES && !LONGER.iter().any(|(longer, _)| *longer == path) {
                problems.push(format!("{path}: {lines} lines"));
            }
            if !source.text.starts_with("//!") && path != "src/main.rs" {
                problems.push(format!("{path}: no line at its head says what it is for"));
            }
        }
    }
    none(problems);
}

/// The files that a file's `mod` declarations name, below `src/`.
fn declared(source: &Source) -> Vec<[String; 2]> {
    let dir = match source.path.as_str() {
        "lib.rs" | "main.rs" => String::new(),
        path => path.strip_suffix("mod.rs").map_or_else(
            || format!("{}/", path.strip_suffix(".rs").unwrap_or(path)),
            str::to_owned,
        ),
    };
    let name = |line: &str| {
        let line = line.trim();
        let line =
            line.strip_prefix("pub(super) ").or(line.strip_prefix("pub(crate) ")).unwrap_or(line);
        let line = line.strip_prefix("pub ").unwrap_or(line);
        Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
    };
    let names = source.text.lines().filter_map(name);
    names.map(|name| [format!("{dir}{name}.rs"), format!("{dir}{name}/mod.rs")]).collect()
}

#[test]
fn every_file_is_part_of_the_program() {
    let sources = files_below("src");
    let mut reached: BTreeSet<String> = ["lib.rs", "main.rs"].map(str::to_owned).into();
    let mut queue: Vec<String> = reached.iter().cloned().collect();
    while let Some(path) = queue.pop() {
        let Some(source) = sources.iter().find(|s| s.path == path) else { continue };
        for path in declared(source).into_iter().flatten() {
            if reached.insert(path.clone()) {
                queue.push(path);
            }
        }
    }
    let dead = sources.iter().filter(|s| !reached.contains(&s.path));
    none(dead.map(|s| format!("src/{} is in no module", s.path)).collect());
}

/// A dependency has its reason behind it or in the comment above it.
#[test]
fn every_dependency_has_a_reason() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (mut problems, mut inside, mut above) = (Vec::new(), false, false);
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.starts_with('#') {
            above = true;
            continue;
        } else {
            let starts_one = inside && line.starts_with(|c: char| c.is_ascii_alphabetic());
            if starts_one && !above && !line.contains("# ") {
                problems.push(format!("no reason: {line}"));
            }
        }
        above = false;
    }
    none(problems);
}

#[test]
fn the_tree_of_dependencies_is_small() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    let crates: BTreeSet<&str> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    println!("{} crates", crates.len());
    assert!(crates.len() > 10, "{text}");
    assert!(crates.len() <= MAX_CRATES, "{} crates: {crates:?}", crates.len());
}

/// The operations by what is answered, as README gives them.
fn support_list() -> String {
    use jog::s3::table::OPERATIONS;
    let names = |implemented: bool| {
        let rows = OPERATIONS.iter().filter(|row| row.is_implemented() == implemented);
        let mut names: Vec<&str> = rows.map(|row| row.name).collect();
        names.sort_unstable();
        let mut lines = vec![String::new()];
        for name in names {
            let last = lines.last_mut().expect("there is always one");
            match last.len() + name.len() > 120 {
                true => lines.push(format!("{name},")),
                false if last.is_empty() => last.push_str(&format!("{name},")),
                false => last.push_str(&format!(" {name},")),
            }
        }
        lines.join("\n").trim_end_matches(',').to_owned()
    };
    format!("Operations:\n{}.\n\nAnswered with `NotImplemented`:\n{}.\n", names(true), names(false))
}

#[test]
fn readme_lists_the_operations_of_the_table() {
    let path = root().join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once("src/s3/table.rs -->\n").expect("README has the mark");
    let (found, tail) = rest.split_once("<!-- operations end -->").expect("and its end");
    let list = support_list();
    if std::env::var("JOG_README").as_deref() == Ok("write") {
        let text = format!("{head}src/s3/table.rs -->\n{list}<!-- operations end -->{tail}");
        std::fs::write(&path, text).unwrap();
    } else {
        assert_eq!(found, list, "JOG_README=write cargo test --test tidy brings it up to date");
    }
}

/// The names in a file below `tests/conformance`: what stands before a colon on each line.
fn conformance(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("tests/conformance").join(file)).unwrap();
    text.lines().map(|l| l.split(':').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn conformance_lists_are_whole() {
    let (passes, fails) = (conformance("passes.txt"), conformance("fails.txt"));
    assert!(passes.is_sorted() && fails.is_sorted(), "the lists are in order");
    let all: BTreeSet<&String> = passes.iter().chain(&fails).collect();
    assert_eq!(all.len(), passes.len() + fails.len(), "no test is listed twice");
    assert!(all.iter().all(|name| name.starts_with("test_")));
    let text = std::fs::read_to_string(root().join("tests/conformance/fails.txt")).unwrap();
    let bare = text.lines().find(|line| line.split_once(": ").is_none_or(|(_, r)| r.len() < 10));
    assert_eq!(bare, None, "every failure has a reason");
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let count = format!("Of the {} tests", all.len());
    assert!(readme.contains(&count), "README says: {count}");
    assert!(readme.contains(&format!("{} pass;", passes.len())), "README: {}", passes.len());
}

/// What SECURITY.md says is tested is tested: each name in it that could be a test's is one.
#[test]
fn security_names_tests_that_exist() {
    let tests: BTreeSet<String> = ["src", "tests"]
        .into_iter()
        .flat_map(files_below)
        .flat_map(|source| {
            let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
            let marked = lines.windows(2).filter(|pair| pair[0] == "#[test]");
            let name = |pair: &[&str]| Some(pair[1].strip_prefix("fn ")?.split('(').next()?.into());
            marked.filter_map(name).collect::<Vec<String>>()
        })
        .collect();
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    assert!(text.lines().count() <= 200);
    let (_, part) = text.split_once("## What is defended").expect("the part is there");
    let (part, _) = part.split_once("## What is not defended").expect("and ends");
    let is_name =
        |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b));
    let named: Vec<&str> = part.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 80, "{} names", named.len());
    let missing = named.into_iter().filter(|name| !tests.contains(*name));
    none(missing.map(|name| format!("SECURITY.md: there is no test {name}")).collect());
}
