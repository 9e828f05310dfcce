//! What the documents say in numbers and code is what is there.

use std::fs;
use std::path::Path;

use dunlin_core::{Config, Duration, EarlyData};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// 12,345.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let groups = (head..digits.len()).step_by(3).map(|at| &digits[at..at + 3]);
    let parts: Vec<&str> = (head > 0).then(|| &digits[..head]).into_iter().chain(groups).collect();
    parts.join(",")
}

/// A size in the largest unit that divides it.
fn size(bytes: u64) -> String {
    let (number, unit) = match bytes {
        _ if bytes.is_multiple_of(1 << 30) => (bytes >> 30, "GiB"),
        _ if bytes.is_multiple_of(1 << 20) => (bytes >> 20, "MiB"),
        _ if bytes.is_multiple_of(1 << 10) => (bytes >> 10, "KiB"),
        _ => (bytes, "bytes"),
    };
    format!("{} {unit}", count(number))
}

fn time(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{} ms", duration.as_millis()),
    }
}

#[test]
fn the_table_of_limits_has_the_defaults() {
    let config = Config::default();
    let limits = &config.limits;
    let design = read("docs/DESIGN.md");
    for (name, default) in [
        ("limits.per_connection", size(limits.per_connection)),
        ("limits.per_endpoint", size(limits.per_endpoint)),
        ("limits.connections", count(limits.connections.into())),
        ("limits.half_open", count(limits.half_open.into())),
        ("limits.half_open_lifetime", time(limits.half_open_lifetime)),
        ("early_data", if config.early_data == EarlyData::Hold { "held" } else { "acted on" }.into()),
        ("limits.streams_bidi", count(limits.streams_bidi.into())),
        ("limits.streams_uni", count(limits.streams_uni.into())),
        ("limits.initial_window", size(limits.initial_window)),
        ("limits.max_window", size(limits.max_window)),
        ("limits.max_stream_window", size(limits.max_stream_window)),
        ("limits.send_buffer", size(limits.send_buffer)),
        ("limits.stream_gaps", count(limits.stream_gaps as u64)),
        ("idle_timeout", config.idle_timeout.map_or_else(|| "off".into(), time)),
        ("keep_alive", config.keep_alive.map_or_else(|| "off".into(), time)),
        ("connect_timeout", time(config.connect_timeout)),
        ("packet_size", size(config.packet_size.into())),
        ("mtu_discovery.enabled", if config.mtu_discovery.enabled { "on" } else { "off" }.into()),
        ("mtu_discovery.max", size(config.mtu_discovery.max.into())),
        ("mtu_discovery.interval", time(config.mtu_discovery.interval)),
        ("max_receive_size", size(config.max_receive_size.into())),
        ("ecn", if config.ecn { "on" } else { "off" }.into()),
        ("max_ack_delay", time(config.max_ack_delay)),
        ("qotp.mtu", size(config.qotp.mtu.into())),
        ("qotp.max_in_flight", size(config.qotp.max_in_flight)),
        ("datagrams.receive_buffer", size(config.datagrams.receive_buffer.into())),
        ("datagrams.send_buffer", size(config.datagrams.send_buffer.into())),
        ("key_log", if config.key_log { "on" } else { "off" }.into()),
    ] {
        let row = format!("| `{name}` | {default} |");
        assert!(design.contains(&row), "docs/DESIGN.md has no row {row}");
    }
}

/// The README's promise about the loops that it lists.
#[test]
fn the_examples_of_loops_are_short_and_run_as_tests() {
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| [")?.split_once("/examples/"));
    let mut listed = 0;
    for (folder, rest) in rows {
        let (name, _) = rest.split_once(".rs](").expect("a link to the file");
        let code = read(&format!("{folder}/examples/{name}.rs"));
        assert!(code.lines().count() < 150, "{name} is too long");
        assert!(code.contains("#[test]"), "{name} is no test");
        let manifest = read(&format!("{folder}/Cargo.toml"));
        assert!(
            manifest.contains(&format!("name = \"{name}\"\ntest = true")),
            "{name} does not run as a test"
        );
        listed += 1;
    }
    assert!(listed >= 5, "README.md lists {listed} examples");
}

/// A block of the README that names its example, `<!-- path -->` in the line above, is a part of it to the letter.
#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = read("README.md");
    let mut shown = 0;
    for part in readme.split("<!-- example: ").skip(1) {
        let (path, rest) = part.split_once(" -->\n```rust\n").expect("a block of Rust behind the name");
        let (code, _) = rest.split_once("```").expect("an end of the block");
        assert!(read(path).contains(code), "README.md shows what is not in {path}");
        shown += 1;
    }
    assert!(shown >= 1, "README.md shows no example");
}
