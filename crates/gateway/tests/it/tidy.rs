//! The rules of the house that a search of the tree can check.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Rust sources below `folder`, tests and benches left out, with the part of each before its tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "tests" | "benches" | "target") {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                found.push((path.strip_prefix(root()).unwrap_or(&path).display().to_string(), code));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

fn offenders(folder: &str, is_bad: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in sources(folder) {
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        found.extend(lines.filter(|line| is_bad(&path, line)).map(|line| format!("{path}: {}", line.trim())));
    }
    found
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<String> = sources("crates")
        .into_iter()
        .filter(|(_, code)| !code.starts_with("//!") || code.lines().next().unwrap_or_default().len() < 10)
        .map(|(path, _)| path)
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn no_file_is_named_after_nothing() {
    let nameless = ["utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "service"];
    let found: Vec<String> = sources("crates")
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.split(['/', '.']).any(|part| nameless.contains(&part)))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn pure_crates_touch_neither_network_nor_clock_nor_files() {
    for folder in [
        "crates/wire/src",
        "crates/catalog/src",
        "crates/routing/src",
        "crates/embedding/src",
        "crates/equivalence/src",
    ] {
        let impure = ["tokio", "std::fs", "std::net", "std::env::", "Instant::now", "SystemTime", "reqwest", "hyper"];
        let found = offenders(folder, |_, line| impure.iter().any(|word| line.contains(word)));
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn only_the_upstream_room_sends_requests_to_providers() {
    let allowed = ["src/upstream", "src/simulated/traffic"];
    let found = offenders("crates/gateway/src", |path, line| {
        line.contains("legacy::Client") && !allowed.iter().any(|room| path.contains(room))
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn only_the_configuration_reads_the_environment() {
    let found = offenders("crates/gateway/src", |path, line| {
        // The simulation is a test, and is told how long to run.
        let may = path.contains("src/config") || path.ends_with("src/simulation.rs");
        !may && (line.contains("std::env::") || line.contains("env::var"))
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn no_provider_is_named_in_code() {
    let catalog = catalog::Catalog::embedded();
    // What also names a dialect may stand in `wire`, in headers and marks of the format.
    let dialects = ["openai", "anthropic", "ollama"];
    let names: Vec<String> = catalog
        .providers()
        .iter()
        .filter(|provider| !dialects.contains(&provider.name.as_str()))
        .map(|provider| format!("\"{}", provider.name))
        .collect();
    for folder in ["crates/wire/src", "crates/catalog/src", "crates/routing/src", "crates/gateway/src"] {
        let found = offenders(folder, |path, line| {
            !path.contains("src/simulated") && names.iter().any(|name| line.contains(name.as_str()))
        });
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn the_test_kit_does_not_share_our_parsers() {
    let manifest = std::fs::read_to_string(root().join("crates/testkit/Cargo.toml")).unwrap();
    for ours in ["wire", "catalog", "routing", "gateway"] {
        assert!(!manifest.lines().any(|line| line.starts_with(&format!("{ours}."))), "{ours}");
    }
}

/// Every Rust file below `crates`, tests included.
fn all_sources() -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join("crates")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The comment above a test, where there is one.
fn comments_of(source: &str, test: &str) -> Vec<String> {
    let begins = format!("fn {test}(");
    let lines: Vec<&str> = source.lines().map(|line| line.trim_start().trim_start_matches("async ")).collect();
    let place = lines.iter().position(|line| line.starts_with(&begins)).unwrap_or(0);
    let above = lines.into_iter().take(place).rev();
    above.take_while(|line| line.starts_with("///") || line.starts_with("#[")).map(str::to_owned).collect()
}

/// The list of what must survive a translation names tests that are there, and they name the line that they hold.
#[test]
fn every_line_of_the_list_of_translations_is_held_by_its_tests() {
    let list = std::fs::read_to_string(root().join("docs/translation.md")).unwrap();
    let sources = all_sources();
    let (mut rows, mut wrong) = (0, Vec::new());
    for row in list.lines().filter(|line| line.starts_with("| WIRE") || line.starts_with("| TRAPS")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (kind, number) = cells[0].split_once(' ').unwrap();
        rows += 1;
        for test in cells[2].split('`').skip(1).step_by(2) {
            let names = |comment: &str| {
                let after = comment.split_once(kind).map_or("", |(_, after)| after);
                after
                    .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
                    .any(|one| one.trim_end_matches('.') == number)
            };
            if !sources.iter().any(|source| comments_of(source, test).iter().any(|comment| names(comment))) {
                wrong.push(format!("{}: {test}", cells[0]));
            }
        }
    }
    assert!(rows > 35, "{rows}");
    assert_eq!(wrong, Vec::<String>::new());
}
