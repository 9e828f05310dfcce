//! The list of cases, and that it speaks of tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const LIST: &str = include_str!("../../../../docs/HOSTILE.md");

/// The names of all functions below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let found = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn "));
            names.extend(found.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

fn all_functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    functions(&root.join("tests"), &mut names);
    functions(&root.join("../core/src"), &mut names);
    functions(&root.join("../runtime-udp/src"), &mut names);
    names
}

/// The words of the list that are names of tests: longer than any name of a file, a type or a setting there.
fn named() -> impl Iterator<Item = &'static str> {
    LIST.split('`').skip(1).step_by(2).filter(|word| {
        word.len() > 16 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

#[test]
fn hostile_cases_name_tests_that_exist() {
    let names = all_functions();
    let missing: Vec<_> = named().filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/HOSTILE.md names no tests: {missing:?}");
    assert!(named().count() > 60);
}

#[test]
fn hostile_tests_belong_to_cases_of_the_list() {
    for name in all_functions() {
        if let Some((number, _)) = name.strip_prefix("ac_").and_then(|rest| rest.split_once('_')) {
            let number: u32 = number.parse().expect("the number of a case");
            assert!(LIST.contains(&format!("| AC-{number} |")), "{name} is of no case");
        }
    }
}
