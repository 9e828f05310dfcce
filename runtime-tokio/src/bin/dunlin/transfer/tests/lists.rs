//! The list, its order and its limits; messages.

use proptest::prelude::*;

use super::entry::{Entry, Kind, List, MAX_ENTRIES, MAX_PATH_BYTES, Version};
use super::path::{MAX_DEPTH, PathError, RelPath};
use super::wire::{Finish, Have, There, Verdict};
use super::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn folder_at(text: &str) -> Entry {
    Entry { path: path(text), mode: 0o755, kind: Kind::Folder }
}

#[test]
fn what_a_folder_contains_follows_it_at_once() {
    let mut names = ["b", "b/c", "b-b", "b.txt", "a", "b/c/d", "b/a"].map(path);
    names.sort();
    let sorted: Vec<String> = names.iter().map(ToString::to_string).collect();
    assert_eq!(sorted, ["a", "b", "b/a", "b/c", "b/c/d", "b-b", "b.txt"]);
    assert!(
        path("b").contains(&path("b/a"))
            && !path("b").contains(&path("b-b"))
            && !path("b").contains(&path("b"))
    );
}

#[test]
fn a_list_has_an_end() {
    let mut list = List::default();
    for index in 0..MAX_ENTRIES {
        list.push(folder_at(&format!("{index:07}"))).unwrap();
    }
    let error = list.push(folder_at("9999999")).unwrap_err();
    assert_eq!(error.kind, FaultKind::Refused);

    let mut list = List::default();
    let long = vec![b"n".repeat(255); 15].join(&b'/');
    let mut bytes = 0;
    let refused =
        (0..).map(|index| [format!("{index:05}/").as_bytes(), &long].concat()).find(|bytes_of_path| {
            let pushed = list.push(Entry { path: RelPath::new(bytes_of_path).unwrap(), ..folder_at("x") });
            bytes += if pushed.is_ok() { bytes_of_path.len() } else { 0 };
            pushed.is_err()
        });
    assert!(refused.is_some() && bytes <= MAX_PATH_BYTES && bytes > MAX_PATH_BYTES - 5000);
}

#[test]
fn folders_that_are_only_named_on_the_way_count() {
    let branch = vec!["a"; MAX_DEPTH - 1].join("/");
    let mut list = List::default();
    let fits = MAX_ENTRIES / MAX_DEPTH;
    for index in 0..fits {
        list.push(folder_at(&format!("{index:05}/{branch}"))).unwrap();
    }
    let error = list.push(folder_at(&format!("{fits:05}/{branch}"))).unwrap_err();
    assert_eq!(error.kind, FaultKind::Refused);
    assert_eq!(RelPath::new(format!("a/{branch}/b").as_bytes()), Err(PathError::TooDeep));
}

#[test]
fn a_check_for_nobody_makes_nothing() {
    let (_scratch, _, to) = folders();
    let (messages, heard) = tokio::sync::mpsc::channel(1);
    let (plans, _planned) = tokio::sync::mpsc::channel(1);
    let (made, _made) = std::sync::mpsc::channel();
    drop(heard);
    let tree = Destination::open(&to, Existing::Keep).unwrap().tree().unwrap();
    let entries = Arc::new(vec![folder_at("a"), folder_at("b")]);
    let check = check::Check { tree, entries, plans, messages, made, counters: Arc::default() };
    assert!(matches!(check.run(), Err(TransferError::Lost(_))));
    assert!(listing(&to).is_empty());
}

#[test]
fn paths_that_cannot_be_sent_are_named() {
    let scratch = Scratch::new();
    let missing = Source::gather(&[scratch.path().join("nothing")]).unwrap_err();
    assert!(missing.text.contains("there is no file or folder"), "{}", missing.text);
    let root = Source::gather(&[PathBuf::from("/")]).unwrap_err();
    assert!(root.text.contains("has no name"), "{}", root.text);
    write(&scratch.path().join("a/same"), b"1");
    write(&scratch.path().join("b/same"), b"2");
    let twice = Source::gather(&[scratch.path().join("a/same"), scratch.path().join("b/same")]).unwrap_err();
    assert!(twice.text.contains("one after the other"), "{}", twice.text);
    // `.` has a name after all.
    let here = Source::gather(&[scratch.path().join("a/.")]).unwrap();
    assert_eq!(here.entries[1].path.to_string(), "a/same");
    let up = Source::gather(&[scratch.path().join("a/..")]).unwrap();
    assert!(up.entries[2].path.to_string().ends_with("a/same"), "{:?}", up.entries);
}

fn message() -> impl Strategy<Value = Message> {
    let entry =
        ("[a-z]{1,8}(/[a-z]{1,8}){0,3}", 0_u16..=0o777, proptest::option::of(any::<(u64, [u8; 8])>()))
            .prop_map(|(text, mode, size)| Entry {
                path: path(&text),
                mode,
                kind: size
                    .map_or(Kind::Folder, |(size, version)| Kind::File { size, version: Version(version) }),
            });
    prop_oneof![
        proptest::collection::vec(entry, 0..20).prop_map(Message::Entries),
        any::<(u32, u64)>().prop_map(|(entries, bytes)| Message::End { entries, bytes }),
        Just(Message::Working),
        any::<u32>().prop_map(|entry| Message::Have(Have { entry, what: There::Nothing })),
        any::<(u32, u64, [u8; 32])>().prop_map(|(entry, length, hash)| {
            Message::Have(Have { entry, what: There::Beginning { length, hash } })
        }),
        any::<(u32, [u8; 32])>()
            .prop_map(|(entry, nonce)| Message::Have(Have { entry, what: There::File { nonce } })),
        (any::<u32>(), prop_oneof![Just(Verdict::Same), Just(Verdict::Kept), Just(Verdict::Send)])
            .prop_map(|(entry, verdict)| Message::Verdict { entry, verdict }),
        any::<(u32, u64, [u8; 32])>().prop_map(|(files, bytes, hash)| Message::Finish(Finish {
            files,
            bytes,
            hash
        })),
        (1_u8..=9, "[ -~]{0,50}")
            .prop_map(|(kind, text)| Message::Fault(Fault::new(FaultKind::from_code(kind), text))),
    ]
}

fn read_all(bytes: &[u8]) -> Result<Vec<Message>, TransferError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut reader = MessageReader::new(bytes, Arc::default());
        let mut messages = Vec::new();
        while let Some(message) = reader.next().await? {
            messages.push(message);
        }
        Ok(messages)
    })
}

proptest! {
    #[test]
    fn messages_survive_the_wire(messages in proptest::collection::vec(message(), 0..10)) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        prop_assert_eq!(read_all(&bytes).unwrap(), messages);
        if let Some(cut) = bytes.len().checked_sub(1) {
            prop_assert!(read_all(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(&bytes);
    }
}

#[test]
fn a_message_cannot_ask_for_memory() {
    assert!(matches!(read_all(&[5, 0xff, 0xff, 0xff, 0xff]), Err(TransferError::Here(_))));
}

#[tokio::test]
async fn a_long_list_travels_in_pieces() {
    let (_scratch, from, to) = folders();
    for index in 0..400 {
        let name = format!("d/{index:03}{}", "n".repeat(240));
        fs::create_dir_all(from.join(name)).unwrap();
    }
    must_transfer(&[from.join("d")], &to).await;
    assert_eq!(listing(&to), listing(&from));
}

#[test]
fn foreign_explanations_are_made_harmless() {
    let fault = Fault::from_peer(200, b"line\none\x1b[31m");
    assert_eq!(fault.kind, FaultKind::System);
    assert_eq!(fault.text, "line\\u{a}one\\u{1b}[31m");
}
