//! Key files: an identity's secret as text, for its owner's eyes only.
//!
//! ```text
//! # A dunlin identity. Whoever can read this file can pass for its owner.
//! dunlin-key-1
//! secret 64 hexadecimal digits
//! public 64 hexadecimal digits
//! ```
//! The public key stands there so that a damaged file is noticed: it must be the secret's.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use dunlin_core::Identity;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::folder::{self, Existing};
use crate::text::hex;

/// What a person who opens the file should know.
const COMMENT: &str = "# A dunlin identity. Whoever can read this file can pass for its owner.\n";

/// First line that is no comment; a later format gets another number.
const FORMAT: &str = "dunlin-key-1";

/// Longest key file read, in bytes; a well-formed one has fewer than 300.
const MAX_LEN: u64 = 4096;

/// What separates secrets derived from text here from all other uses of BLAKE3's key derivation.
const SEED_CONTEXT: &str = "dunlin.net dunlin-tokio 2026 identity secret from a seed string v1";

/// A secret from the operating system's generator.
pub(crate) fn random_secret() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret)
        .map_err(|error| Failure::failed(format!("the system gives no random numbers: {error}")))?;
    Ok(secret)
}

/// The secret that belongs to `seed`: the same on every machine, and known to all who know `seed`.
pub(crate) fn secret_from_seed(seed: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(SEED_CONTEXT, seed.as_bytes()))
}

/// Writes `secret` to `path`, readable by the owner alone.
pub(crate) fn write(path: &Path, secret: &[u8; 32], existing: Existing) -> Result<Identity, Failure> {
    let identity = Identity::from_secret(*secret);
    let digits = Zeroizing::new(hex(secret));
    // All of it at once: a text that grows leaves copies of itself behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_LEN as usize));
    for part in [COMMENT, FORMAT, "\nsecret ", &digits, "\npublic ", &identity.public().to_string(), "\n"] {
        text.push_str(part);
    }
    let written = match existing {
        Existing::Keep => write_new(path, text.as_bytes()),
        Existing::Replace => replace(path, text.as_bytes()),
    };
    written.map_err(|error| cannot_write(path, &error))?;
    Ok(identity)
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    folder::for_owner_only(&mut options);
    let mut file = options.open(path)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key helps nobody and would stand in the way of the next try.
        let _ = fs::remove_file(path);
    }
    written
}

/// Writes beside `path` first, so that the old key is there until the new one is.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().map_or_else(Default::default, std::ffi::OsStr::to_os_string);
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    name.push(format!(".{}.new", hex(&random)));
    let new = path.with_file_name(name);
    write_new(&new, text)?;
    fs::rename(&new, path).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })?;
    folder::sync_parent(path)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::failed(format!(
            "{path} exists already: choose another name, or add --force to replace that key for ever"
        )),
        io::ErrorKind::NotFound => {
            Failure::failed(format!("cannot write {path}: the folder does not exist; create it first"))
        }
        _ => Failure::failed(format!("cannot write {path}: {error}; choose another place with --out")),
    }
}

/// Reads the identity in the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Identity, Failure> {
    let name = path.display();
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::usage(format!("there is no key file {name}: make one with `dunlin keygen --out {name}`"))
        }
        _ => Failure::usage(format!("cannot read the key file {name}: {error}")),
    };
    let file = File::open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err(Failure::usage(format!("{name} is no file: name a key file made by `dunlin keygen`")));
    }
    if folder::is_of_another(&file).map_err(cannot)? {
        return Err(Failure::usage(format!(
            "the key file {name} belongs to another user, who can change it: take a copy of your own"
        )));
    }
    if let Some(mode) = folder::mode_for_others(&file).map_err(cannot)? {
        return Err(Failure::usage(format!(
            "the key file {name} can be read by others (mode {mode:03o}): run `chmod 600 {name}`, \
             and make a new key if anybody else had access to it"
        )));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_LEN + 1).read_to_end(&mut text).map_err(cannot)?;
    parse(&text).map_err(|fault| {
        Failure::usage(format!(
            "{name} {fault}: restore it from a copy, or make another with `dunlin keygen`"
        ))
    })
}

/// The identity in a key file's text, or what is wrong with the file.
fn parse(text: &[u8]) -> Result<Identity, &'static str> {
    const NO_KEY_FILE: &str = "is not a dunlin key file";
    const DAMAGED: &str = "is a damaged key file";

    let text = core::str::from_utf8(text).map_err(|_| NO_KEY_FILE)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some(FORMAT) => {}
        Some(other) if other.starts_with("dunlin-key-") => {
            return Err("is a key file of a later format, which this version cannot read");
        }
        _ => return Err(NO_KEY_FILE),
    }
    let mut field =
        |name| lines.next().and_then(|line| line.strip_prefix(name)).map(str::trim).ok_or(DAMAGED);
    let secret = Zeroizing::new(digits(field("secret ")?).ok_or(DAMAGED)?);
    let public = field("public ")?.parse().map_err(|_| DAMAGED)?;
    if lines.next().is_some() {
        return Err(DAMAGED);
    }
    let identity = Identity::from_secret(*secret);
    if *identity.public() == public { Ok(identity) } else { Err(DAMAGED) }
}

/// 32 bytes from 64 lower-case hexadecimal digits.
fn digits(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        if pair.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
