//! Whole transfers of files and folders.

use super::*;

#[tokio::test]
async fn a_folder_arrives_with_names_sizes_contents_and_empty_folders() {
    let (_scratch, from, to) = folders();
    let tree = from.join("tree");
    write(&tree.join("a"), b"");
    write(&tree.join("b/c/deep.bin"), &content("deep", 700_001));
    write(&tree.join("b/c.txt"), b"sorts between the folder and what is in it");
    write(&tree.join("b-b"), b"sorts before b/ as bytes, after b as a name");
    write(&tree.join("Ünïcode ✓"), b"x");
    fs::create_dir_all(tree.join("empty/inner")).unwrap();
    let summary = must_transfer(&[tree], &to).await;
    assert_eq!(listing(&to), listing(&from));
    assert_eq!((summary.files, summary.kept), (5, 0));
    assert!(summary.failed.is_empty());
}

#[tokio::test]
async fn the_hash_is_the_files_own_or_that_of_all_lines() {
    let (_scratch, from, to) = folders();
    write(&from.join("one"), b"first");
    write(&from.join("two"), b"second");
    let single = must_transfer(&[from.join("one")], &to).await;
    assert_eq!(single.hash, *blake3::hash(b"first").as_bytes());
    let both = must_transfer(&[from.join("one"), from.join("two")], &to).await;
    let lines = format!("{}  one\n{}  two\n", blake3::hash(b"first"), blake3::hash(b"second"));
    assert_eq!(both.hash, *blake3::hash(lines.as_bytes()).as_bytes());
}

#[cfg(unix)]
#[tokio::test]
async fn modes_are_kept_but_nothing_gains_rights() {
    use std::os::unix::fs::PermissionsExt;
    let (_scratch, from, to) = folders();
    let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let get = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    write(&from.join("d/run"), b"#!/bin/sh\n");
    write(&from.join("d/closed/read-only"), b"r");
    set(&from.join("d/run"), 0o4755);
    set(&from.join("d/closed/read-only"), 0o440);
    set(&from.join("d/closed"), 0o500);
    set(&from.join("d"), 0o750);
    for _ in 0..2 {
        must_transfer(&[from.join("d")], &to).await;
        assert_eq!(get(&to.join("d/run")), 0o755);
        assert_eq!(get(&to.join("d/closed/read-only")), 0o440);
        assert_eq!(get(&to.join("d/closed")), 0o500);
        assert_eq!(get(&to.join("d")), 0o750);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn names_that_are_no_text_arrive_as_they_are() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let (_scratch, from, to) = folders();
    let odd: [&[u8]; 4] = [b"\xff\xfe", b"tab\tand\nnewline", b"-rf", &[b'n'; 255]];
    for name in odd {
        write(&from.join("odd").join(OsStr::from_bytes(name)), name);
    }
    must_transfer(&[from.join("odd")], &to).await;
    assert_eq!(listing(&to), listing(&from));
}

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let (_scratch, from, to) = folders();
    write(&from.join("same"), &content("same", 300_000));
    write(&from.join("other"), &content("other", 300_000));
    write(&from.join("longer"), &content("longer", 10));
    write(&to.join("same"), &content("same", 300_000));
    write(&to.join("other"), &content("something else", 300_000));
    write(&to.join("longer"), &content("longer", 20));
    let paths = ["same", "other", "longer"].map(|name| from.join(name));
    let summary = must_replace(&paths, &to).await;
    assert_eq!(summary.kept, 300_000);
    assert_eq!(listing(&to), listing(&from));
    assert_eq!(must_transfer(&paths, &to).await.kept, 600_010);
}

#[tokio::test]
async fn a_thousand_small_files_arrive() {
    let (_scratch, from, to) = folders();
    for index in 0..1000 {
        let name = format!("many/{}/{index}", index % 7);
        write(&from.join(name), &content("small", index));
    }
    let summary = must_transfer(&[from.join("many")], &to).await;
    assert_eq!((summary.files, summary.bytes), (1000, (0..1000).sum()));
    assert_eq!(listing(&to), listing(&from));
}

#[cfg(unix)]
#[tokio::test]
async fn links_and_pipes_are_left_out_and_named() {
    let (_scratch, from, to) = folders();
    write(&from.join("d/file"), b"x");
    std::os::unix::fs::symlink("/etc/passwd", from.join("d/link")).unwrap();
    std::os::unix::fs::symlink("file", from.join("d/inner")).unwrap();
    nix::sys::stat::mknod(
        &from.join("d/pipe"),
        nix::sys::stat::SFlag::S_IFIFO,
        nix::sys::stat::Mode::S_IRUSR,
        0,
    )
    .unwrap();
    write(&from.join("d/old.dunlin-part"), b"half");
    let source = Source::gather(&[from.join("d")]).unwrap();
    assert_eq!(source.left_out.len(), 4, "{:?}", source.left_out);
    must_transfer(&[from.join("d")], &to).await;
    assert_eq!(listing(&to).len(), 2);
    // A link that the user names is followed, and keeps its own name.
    must_transfer(&[from.join("d/inner")], &to).await;
    assert_eq!(fs::read(to.join("inner")).unwrap(), b"x");
}

#[tokio::test]
async fn a_file_that_shrinks_or_vanishes_fails_alone() {
    let (_scratch, from, to) = folders();
    for name in ["gone", "shrunk", "stays"] {
        write(&from.join("d").join(name), &content(name, 1000));
    }
    let source = Source::gather(&[from.join("d")]).unwrap();
    let shrunk = part_of(&from.join("d/shrunk"), Path::new("d"));
    fs::remove_file(from.join("d/gone")).unwrap();
    fs::write(from.join("d/shrunk"), b"less").unwrap();
    let ((near, far), (near_data, far_data)) = (duplex(1 << 20), duplex(1 << 20));
    let ((near_in, near_out), (far_in, far_out)) = (split(near), split(far));
    let to_here = Destination::open(&to, Existing::Keep).unwrap();
    let (sent, received) = tokio::join!(
        send(source, near_in, near_out, near_data, Arc::default()),
        receive(&to_here, far_in, far_out, far_data, Arc::default())
    );
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.files, sent.bytes, sent.failed.len()), (1, 1000, 2));
    assert_eq!((received.files, received.failed.len()), (1, 2));
    assert_eq!(sent.hash, *blake3::hash(&content("stays", 1000)).as_bytes());
    let there: Vec<PathBuf> = listing(&to).into_iter().map(|(path, _)| path).collect();
    // What came of the shrunk file is kept as incomplete; of the other nothing came.
    let there: Vec<PathBuf> =
        there.into_iter().map(|path| if path == shrunk { "d/shrunk".into() } else { path }).collect();
    assert_eq!(there, [PathBuf::from("d"), "d/shrunk".into(), "d/stays".into()]);
}
