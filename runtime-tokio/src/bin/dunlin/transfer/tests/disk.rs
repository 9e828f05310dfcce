//! What the receiver's disk refuses is told to both sides.

use super::*;

#[tokio::test]
async fn something_in_the_way_is_named_on_both_sides_and_the_rest_is_kept() {
    let (_scratch, from, to) = folders();
    write(&from.join("d/a"), &content("a", 1000));
    write(&from.join("d/b"), &content("b", 1000));
    write(&from.join("d/c/file"), &content("c", 1000));
    fs::create_dir_all(to.join("d/b")).unwrap();
    let (sent, received) = transfer(&[from.join("d")], &to).await;
    let ((here, ours), (there, theirs)) = (fault(&received), fault(&sent));
    assert!(here && !there);
    assert_eq!(ours, theirs);
    assert!(ours.text.contains("d/b") && ours.text.contains("move that away"), "{}", ours.text);
    // What had been received is there, and counts the next time.
    fs::remove_dir(to.join("d/b")).unwrap();
    write(&to.join("d/c"), b"a file where a folder should be");
    let (_, received) = transfer(&[from.join("d")], &to).await;
    assert_eq!(fault(&received).1.kind, FaultKind::Refused);
    fs::remove_file(to.join("d/c")).unwrap();
    must_transfer(&[from.join("d")], &to).await;
    assert_eq!(listing(&to), listing(&from));
}

/// Whether this user may write where the mode says no: then the test below has nothing to test.
#[cfg(unix)]
fn is_above_modes(folder: &Path) -> bool {
    fs::write(folder.join("probe"), b"").is_ok()
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let (_scratch, from, to) = folders();
    write(&from.join("f"), b"x");
    fs::set_permissions(&to, PermissionsExt::from_mode(0o555)).unwrap();
    if is_above_modes(&to) {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    let (sent, received) = transfer(&[from.join("f")], &to).await;
    assert_eq!(fault(&received).1.kind, FaultKind::Denied);
    assert_eq!(fault(&sent), (false, fault(&received).1));
}

#[tokio::test]
async fn a_file_that_another_transfer_writes_is_left_alone() {
    let (_scratch, from, to) = folders();
    write(&from.join("f"), &content("f", 5000));
    let part = fs::File::create(part_of(&from.join("f"), &to)).unwrap();
    part.lock().unwrap();
    let (sent, received) = transfer(&[from.join("f")], &to).await;
    assert_eq!(fault(&received).1.kind, FaultKind::Busy);
    assert_eq!(fault(&sent), (false, fault(&received).1));
    part.unlock().unwrap();
    must_transfer(&[from.join("f")], &to).await;
}

#[test]
fn the_systems_errors_come_with_advice() {
    use std::io::ErrorKind as E;
    for (error, kind, advice) in [
        (E::StorageFull, FaultKind::DiskFull, "make room"),
        (E::QuotaExceeded, FaultKind::DiskFull, "make room"),
        (E::PermissionDenied, FaultKind::Denied, "permissions"),
        (E::ReadOnlyFilesystem, FaultKind::Denied, "another folder"),
        (E::IsADirectory, FaultKind::Refused, "move that away"),
    ] {
        let fault = Fault::system("write", "x", &error.into());
        assert_eq!(fault.kind, kind);
        assert!(fault.text.contains(advice) && !fault.text.contains('\n'), "{}", fault.text);
    }
}
