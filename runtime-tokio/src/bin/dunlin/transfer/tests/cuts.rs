//! Transfers that break, and the next try.

use super::*;

/// Bytes of all files below `root`, incomplete ones included.
fn bytes_below(root: &Path) -> u64 {
    listing(root).iter().filter_map(|(_, content)| content.as_ref()).map(|content| content.len() as u64).sum()
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_stopped() {
    let (_scratch, from, to) = folders();
    write(&from.join("d/big"), &content("big", 1_500_000));
    for index in 0..40 {
        write(&from.join(format!("d/small/{index}")), &content("s", 1000 + index));
    }
    // Each try gets a little further; what it had written before must not be sent again.
    let mut kept = 0;
    for cut in [1, 40, 2_000, 60_000, 300_001, 700_000] {
        let (sent, received) = transfer_cut(&[from.join("d")], &to, cut).await;
        assert!(sent.is_err() && received.is_err());
        let now = bytes_below(&to);
        assert!(now >= kept, "nothing that was received is lost");
        assert!(
            now + 200 >= kept + cut as u64 - cut.min(4_000) as u64,
            "cut {cut}: {kept} before, {now} after"
        );
        kept = now;
    }
    assert!(part_of(&from.join("d/big"), &to.join("d")).exists() && !to.join("d/big").exists());
    let summary = must_transfer(&[from.join("d")], &to).await;
    assert_eq!(summary.kept, kept);
    assert_eq!(listing(&to), listing(&from));
}

#[tokio::test]
async fn a_cut_at_any_byte_of_a_small_transfer_does_no_harm() {
    let (_scratch, from, to) = folders();
    write(&from.join("d/a"), b"abc");
    write(&from.join("d/b"), b"");
    write(&from.join("d/c"), b"defgh");
    // 3 records: head (12), one piece or none (4 and content), end and hash (36).
    let length = 3 * (12 + 36) + 2 * 4 + 8;
    for cut in 0..length {
        let _ = fs::remove_dir_all(to.join("d"));
        let (sent, received) = transfer_cut(&[from.join("d")], &to, cut).await;
        assert!(sent.is_err() && received.is_err(), "cut {cut}");
        for name in ["a", "b", "c"] {
            let (there, whole) = (to.join("d").join(name), from.join("d").join(name));
            if there.exists() {
                assert_eq!(
                    fs::read(there).unwrap(),
                    fs::read(whole).unwrap(),
                    "only whole files get their name"
                );
            }
        }
        must_transfer(&[from.join("d")], &to).await;
        assert_eq!(listing(&to), listing(&from), "cut {cut}");
    }
    must_transfer(&[from.join("d")], &to).await;
}

#[tokio::test]
async fn a_damaged_or_foreign_beginning_is_thrown_away() {
    let (_scratch, from, to) = folders();
    let whole = content("whole", 200_000);
    write(&from.join("f"), &whole);
    let mut flipped = whole[..150_000].to_vec();
    flipped[77] ^= 1;
    let longer = [&whole[..], b"and more"].concat();
    for part in [&flipped[..], &longer, b"something else"] {
        let _ = fs::remove_file(to.join("f"));
        write(&part_of(&from.join("f"), &to), part);
        assert_eq!(must_transfer(&[from.join("f")], &to).await.kept, 0);
        assert_eq!(listing(&to), listing(&from));
    }
}

#[tokio::test]
async fn a_whole_part_only_gets_its_name() {
    let (_scratch, from, to) = folders();
    let whole = content("whole", 200_000);
    write(&from.join("f"), &whole);
    write(&part_of(&from.join("f"), &to), &whole);
    assert_eq!(must_transfer(&[from.join("f")], &to).await.kept, 200_000);
    assert_eq!(listing(&to), listing(&from));
}

#[tokio::test]
async fn many_beginnings_are_resumed_though_few_are_kept_open() {
    let (_scratch, from, to) = folders();
    for index in 0..100 {
        let whole = content(&index.to_string(), 500);
        let file = from.join(format!("d/{index}"));
        write(&file, &whole);
        write(&part_of(&file, &to.join("d")), &whole[..400]);
    }
    assert_eq!(must_transfer(&[from.join("d")], &to).await.kept, 40_000);
    assert_eq!(listing(&to), listing(&from));
}

#[tokio::test]
async fn an_interrupted_replacement_leaves_the_old_file() {
    let (_scratch, from, to) = folders();
    write(&from.join("f"), &content("new", 400_000));
    write(&to.join("f"), b"old");
    let (sent, received) = transfer_as(&[from.join("f")], &to, Existing::Replace, 100_000).await;
    assert!(sent.is_err() && received.is_err());
    assert_eq!(fs::read(to.join("f")).unwrap(), b"old");
    assert!(must_replace(&[from.join("f")], &to).await.kept > 90_000);
    assert_eq!(listing(&to), listing(&from));
}

#[tokio::test]
async fn a_sender_that_vanishes_before_its_list_is_complete_is_an_error() {
    let (_scratch, _, to) = folders();
    let (received, replies) = {
        let ((near, far), (near_data, far_data)) = (duplex(100), duplex(100));
        drop((near, near_data));
        let (incoming, control) = split(far);
        (
            receive(
                &Destination::open(&to, Existing::Keep).unwrap(),
                incoming,
                control,
                far_data,
                Arc::default(),
            )
            .await,
            (),
        )
    };
    let () = replies;
    assert!(matches!(received, Err(TransferError::Lost(_))), "{received:?}");
}
