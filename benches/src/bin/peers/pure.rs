//! This program with dunlin's default cryptography, which needs another build: features are for a whole program.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds it beside this program's own build, in a folder `pure`; `None` if that fails, and says so.
pub(crate) fn build() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    // target/release/peers
    let folder = program.parent()?.parent()?.join("pure");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    eprintln!("building the rows of pure Rust ...");
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--bin", "peers", "--features", "peers-pure"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&folder)
        .status();
    match built {
        Ok(status) if status.success() => Some(folder.join("release").join("peers")),
        _ => {
            eprintln!("cargo does not build it: the table goes without these rows");
            None
        }
    }
}
