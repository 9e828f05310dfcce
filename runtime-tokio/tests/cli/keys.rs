//! `keygen` and `key`.

use std::fs;

use crate::support::{Scratch, run};

#[test]
fn a_key_is_made_once_and_shown_again() {
    let scratch = Scratch::new();
    let (path, public) = scratch.key("key");
    let path = path.to_str().unwrap();
    assert_eq!(public.len(), 64);
    let shown = run(&["key", path]);
    assert_eq!((shown.code, shown.stdout.trim()), (0, &*public));

    let again = run(&["keygen", "--out", path]);
    assert_eq!(again.code, 1);
    assert!(again.error().contains("--force"), "{again:?}");
    assert_eq!(run(&["key", path]).stdout.trim(), public);

    let forced = run(&["keygen", "--force", "--out", path]);
    assert_eq!(forced.code, 0);
    assert_ne!(forced.stdout.trim(), public);
}

#[test]
fn a_seed_gives_the_same_key_everywhere_and_a_warning() {
    let scratch = Scratch::new();
    let make = |name: &str, seed: &str| {
        let made = run(&["keygen", "--seed", seed, "--out", scratch.path(name).to_str().unwrap()]);
        assert_eq!(made.code, 0, "{made:?}");
        assert!(made.error().contains("warning"), "{made:?}");
        made.stdout
    };
    let one = make("a", "correct horse");
    assert_eq!(one, make("b", "correct horse"));
    assert_ne!(one, make("c", "battery staple"));
    assert_eq!(run(&["keygen", "--seed", "", "--out", "unused"]).code, 2);
}

#[test]
fn files_that_are_no_keys_are_bad_usage() {
    let scratch = Scratch::new();
    let (path, _) = scratch.key("key");
    let text = fs::read_to_string(&path).unwrap();
    for (name, damaged) in [("cut", &text[..text.len() / 2]), ("other", "hello"), ("empty", "")] {
        let bad = scratch.path(name);
        fs::copy(&path, &bad).unwrap();
        fs::write(&bad, damaged).unwrap();
        let shown = run(&["key", bad.to_str().unwrap()]);
        assert_eq!(shown.code, 2, "{shown:?}");
        assert!(shown.error().contains("key file"), "{shown:?}");
        assert!(shown.stdout.is_empty());
    }
    let missing = run(&["key", scratch.path("missing").to_str().unwrap()]);
    assert_eq!(missing.code, 2);
    assert!(missing.error().contains("keygen"), "{missing:?}");
}
