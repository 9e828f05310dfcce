//! Every input that was kept, through the target that it was kept for; and random ones.

use std::fs;
use std::path::PathBuf;

use dunlin_fuzzing::{Body, TARGETS};
use proptest::prelude::*;

mod seeds;

/// Where `cargo fuzz` keeps the inputs of a target.
fn folder(kind: &str, target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../fuzz", kind, target].iter().collect()
}

/// Runs every input in a folder, and says how many there are.
fn replay(kind: &str, target: &str, body: Body) -> usize {
    let Ok(files) = fs::read_dir(folder(kind, target)) else { return 0 };
    let mut files: Vec<_> = files.map(|file| file.expect("a folder can be read").path()).collect();
    files.sort();
    for file in &files {
        // Shown if the test fails.
        println!("{}", file.display());
        body(&fs::read(file).expect("a file can be read"));
    }
    files.len()
}

fn replay_target(name: &str) {
    let (_, body) = TARGETS.into_iter().find(|(other, _)| *other == name).expect("a target");
    assert!(replay("corpus", name, body) > 0, "no corpus for {name}");
    replay("regressions", name, body);
}

macro_rules! replay {
    ($($test:ident $target:literal,)*) => {
        $(
            #[test]
            fn $test() {
                replay_target($target);
            }
        )*

        #[test]
        fn hostile_replay_leaves_no_target_out() {
            assert!(TARGETS.iter().map(|(name, _)| *name).eq([$($target),*]));
        }
    };
}

replay! {
    hostile_replay_handshake "handshake",
    hostile_replay_header "header",
    hostile_replay_params "params",
    hostile_replay_payload "payload",
    hostile_replay_qotp_session "qotp_session",
    hostile_replay_ranges "ranges",
    hostile_replay_reassembly "reassembly",
    hostile_replay_sealed "sealed",
    hostile_replay_session "session",
}

/// Every target of `cargo fuzz` is one of ours, and the other way round.
#[test]
fn hostile_replay_knows_every_target() {
    let targets = fs::read_dir(folder("fuzz_targets", ".")).expect("the fuzz targets are there");
    let mut names: Vec<String> =
        targets.filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    assert!(names.iter().map(String::as_str).eq(TARGETS.iter().map(|(name, _)| *name)), "{names:?}");
}

/// Random bytes, and runs of small ones among them, which mean something more often.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let run = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..60),
        prop::collection::vec(0..32_u8, 1..60),
        (any::<u8>(), 1..200_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    prop::collection::vec(run, 0..40).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What no fuzzer guided.
    #[test]
    fn hostile_random_bytes_break_nothing(bytes in bytes()) {
        TARGETS.iter().for_each(|(_, body)| body(&bytes));
    }
}
