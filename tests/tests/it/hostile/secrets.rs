//! What is shown for logs says nothing that is secret.

use core::cell::RefCell;
use core::fmt::{Debug, Write as _};
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    Config, ConnectOptions, ConnectionHandle, Endpoint, Event, Identity, Instant, KeyLogEntry, Peer,
    QotpIdentity, Secret,
};
use dunlin_sim::{ALPN, Host, World, config};

use crate::common::{ms, quick};

/// Texts as a log would have them.
#[derive(Clone, Default)]
struct Shown(Rc<RefCell<String>>);

impl Shown {
    fn add(&self, what: &dyn Debug) {
        writeln!(self.0.borrow_mut(), "{what:?}").unwrap();
    }

    /// Whether four bytes of it in a row can be read: as hexadecimal digits, or as a list of numbers.
    fn tells(&self, secret: &[u8]) -> bool {
        let text = self.0.borrow().to_lowercase();
        secret.windows(4).any(|part| {
            let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = format!("{part:?}");
            text.contains(&digits) || text.contains(list.trim_matches(['[', ']']))
        })
    }
}

fn secret(number: u8) -> [u8; 32] {
    core::array::from_fn(|at| 0x9d_u8.wrapping_mul(number).wrapping_add(0xa7_u8.wrapping_mul(at as u8)))
}

fn logged() -> Config {
    let mut config = config();
    config.key_log = true;
    config
}

/// The secrets that the lines of a key log name.
fn secrets_of(entry: &KeyLogEntry) -> Vec<Vec<u8>> {
    let line = entry.to_string();
    let words: Vec<_> = line.split(' ').filter(|word| word.len() == 64).collect();
    // The first of an entry for a message is its `e`, which everybody sees, and the last one the hash before it.
    let words = if words.len() == 3 { &words[1..2] } else { &words[..] };
    let bytes = |word: &&str| {
        let digits = |at| u8::from_str_radix(&word[at..at + 2], 16).unwrap();
        (0..64).step_by(2).map(digits).collect()
    };
    words.iter().map(bytes).collect()
}

#[test]
fn nothing_that_is_shown_tells_a_secret() {
    let (shown, mut secrets) = (Shown::default(), Vec::new());
    let mut world = World::new(1, quick());
    let [client, server] = [1, 2].map(|number| {
        let identity = Identity::from_secret(secret(number));
        shown.add(&identity);
        shown.add(&identity.qotp());
        shown.add(&logged());
        let watch = shown.clone();
        let app = move |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
            watch.add(event);
            if let Some(incoming) = endpoint.incoming(handle) {
                watch.add(&incoming);
                let _ = incoming.accept(now);
            }
            watch.add(endpoint);
            if let Some(connection) = endpoint.connection(handle) {
                watch.add(&connection);
            }
        };
        let endpoint = Endpoint::new(logged(), identity, secret(number + 2));
        world.add_node("end", &[SocketAddr::from(([10, 0, 0, number], 1_000))], Host::new(endpoint, app))
    });
    secrets.extend((1..=4).map(|number| secret(number).to_vec()));
    let key = *world.node(server).endpoint.public_key();
    let options = ConnectOptions::new(SocketAddr::from(([10, 0, 0, 2], 1_000)), ALPN);
    shown.add(&options);
    let now = world.now();
    let handle = world.node_mut(client).endpoint.connect(now, Peer::Key(key), options).unwrap();
    world.run_for(ms(500));
    let exported: Secret =
        world.node_mut(client).endpoint.connection(handle).unwrap().export(b"label", b"").unwrap().unwrap();
    shown.add(&exported);
    secrets.push(exported.to_vec());
    for node in [client, server] {
        let endpoint = &mut world.node_mut(node).endpoint;
        while let Some(entry) = endpoint.poll_key_log() {
            shown.add(&entry);
            secrets.extend(secrets_of(&entry));
        }
        shown.add(endpoint);
    }
    shown.add(&QotpIdentity::from_seed(secret(5)));
    secrets.push(secret(5).to_vec());
    // Two messages and the traffic of both directions, on both sides.
    assert!(secrets.len() > 4 + 1 + 2 * 4, "{}", secrets.len());
    for secret in &secrets {
        assert!(!shown.tells(secret));
    }
    // The search finds what is there.
    shown.add(&secrets[0]);
    assert!(shown.tells(&secrets[0]));
    shown.add(&format_args!("{}", secrets[5].iter().map(|byte| format!("{byte:02X}")).collect::<String>()));
    assert!(shown.tells(&secrets[5]));
}
