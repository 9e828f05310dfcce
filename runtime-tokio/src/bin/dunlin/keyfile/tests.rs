use std::fs;

use super::*;
use crate::testing::Scratch;

#[test]
fn a_written_key_reads_back_and_only_its_owner_can_read_it() {
    let dir = Scratch::new();
    let path = dir.path().join("key");
    let written = write(&path, &[7; 32], Existing::Keep).unwrap();
    assert_eq!(read(&path).unwrap().public(), written.public());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn an_existing_key_is_replaced_only_on_demand() {
    let dir = Scratch::new();
    let path = dir.path().join("key");
    write(&path, &[1; 32], Existing::Keep).unwrap();
    let error = write(&path, &[2; 32], Existing::Keep).unwrap_err();
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(read(&path).unwrap().public(), Identity::from_secret([1; 32]).public());
    write(&path, &[2; 32], Existing::Replace).unwrap();
    assert_eq!(read(&path).unwrap().public(), Identity::from_secret([2; 32]).public());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the key");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_with_the_cure() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Scratch::new();
    let path = dir.path().join("key");
    write(&path, &[1; 32], Existing::Keep).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn what_a_killed_process_has_left_does_not_stand_in_the_way() {
    let dir = Scratch::new();
    let path = dir.path().join("key");
    fs::write(dir.path().join(format!("key.{}.new", std::process::id())), b"half").unwrap();
    write(&path, &[2; 32], Existing::Replace).unwrap();
    assert_eq!(read(&path).unwrap().public(), Identity::from_secret([2; 32]).public());
}

#[cfg(unix)]
#[test]
fn a_key_of_another_user_is_refused() {
    let dir = Scratch::new();
    let path = dir.path().join("key");
    write(&path, &[1; 32], Existing::Keep).unwrap();
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
        eprintln!("skipped: this needs root");
        return;
    }
    let error = read(&path).unwrap_err();
    assert!(error.to_string().contains("belongs to another user"), "{error}");
}

#[test]
fn every_damage_is_noticed() {
    let dir = Scratch::new();
    let path = dir.path().join("key");
    write(&path, &[0x3c; 32], Existing::Keep).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    assert!(parse(good.as_bytes()).is_ok());
    // One digit of either key changed, at every place.
    for (at, byte) in good.bytes().enumerate().skip(good.find("secret").unwrap()) {
        if byte.is_ascii_hexdigit() {
            let mut bad = good.clone().into_bytes();
            bad[at] = if byte == b'0' { b'1' } else { b'0' };
            // X25519 ignores 5 bits of the secret (RFC 7748 section 5): those may change without harm.
            let same_key =
                parse(&bad).is_ok_and(|key| key.public() == Identity::from_secret([0x3c; 32]).public());
            assert!(parse(&bad).is_err() || same_key, "byte {at}");
        }
    }
    for cut in 0..good.len() - 1 {
        assert!(parse(&good.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    for bad in ["", "hello", "dunlin-key-2\n", &format!("{good}more\n"), "-----BEGIN PRIVATE KEY-----"] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(parse(&[0xff; 100]).is_err());
}

#[test]
fn missing_files_folders_and_places_are_told_apart() {
    let dir = Scratch::new();
    assert!(read(&dir.path().join("none")).unwrap_err().to_string().contains("keygen"));
    assert!(read(dir.path()).unwrap_err().to_string().contains("is no file"));
    let error = write(&dir.path().join("no/key"), &[1; 32], Existing::Keep).unwrap_err();
    assert!(error.to_string().contains("create it first"), "{error}");
}

#[test]
fn a_seed_gives_one_secret() {
    assert_eq!(secret_from_seed("a"), secret_from_seed("a"));
    assert_ne!(secret_from_seed("a"), secret_from_seed("b"));
    // Changing the derivation would lock out everybody who relies on a seed: it is fixed here.
    assert_eq!(hex(&*secret_from_seed("dunlin")), FIXED);
}

/// `derive_key` of the seed `dunlin`, computed once.
const FIXED: &str = "b22cc4dd70a944cdabe672c59f93a9b9dfa883aa3dce43d844f96bf757954d7f";
