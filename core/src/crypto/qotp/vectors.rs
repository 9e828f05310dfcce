//! Packets, payloads and whole conversations that QOTP's reference implementation v0.2.19 made, for tests.

use std::string::String;
use std::sync::LazyLock;
use std::vec::Vec;

use serde_json::Value;

use super::packet::Sequence;
use crate::crypto::testing::{unhex, unhex_array};
use crate::{Duration, Role};

static FILE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../testdata/qotp-v0.json")).unwrap());

/// The objects, or numbers, of a section of the file.
pub(crate) fn section(name: &str) -> &'static [Value] {
    FILE[name].as_array().unwrap()
}

/// The names of all keys.
pub(crate) fn key_names() -> impl Iterator<Item = &'static String> {
    FILE["keys"].as_object().unwrap().keys()
}

/// The private key with this name, not clamped.
pub(crate) fn private_key(name: &Value) -> [u8; 32] {
    unhex_array(text(&FILE["keys"][text(name)]["prv"]))
}

/// The public key with this name.
pub(crate) fn public_key(name: &Value) -> [u8; 32] {
    unhex_array(text(&FILE["keys"][text(name)]["pub"]))
}

/// A text.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A byte string.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    unhex(text(value))
}

/// A number, written as such or, where it may be larger than 2^48, as a text.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| text(value).parse().unwrap())
}

/// A number that is small enough for a `usize` of 16 bits.
pub(crate) fn len(value: &Value) -> usize {
    usize::from(u16::try_from(number(value)).unwrap())
}

/// Which side.
pub(crate) fn role(value: &Value) -> Role {
    match text(value) {
        "initiator" => Role::Initiator,
        "responder" => Role::Responder,
        other => panic!("no role: {other}"),
    }
}

/// The two private keys of a side, not clamped.
pub(crate) struct Keys {
    pub(crate) identity: [u8; 32],
    pub(crate) ephemeral: [u8; 32],
}

/// A complete exchange between two reference endpoints.
pub(crate) struct Conversation {
    pub(crate) name: &'static str,
    /// Whether the initiator knows the responder's key and opens with InitCryptoSnd.
    pub(crate) known: bool,
    /// Size of the first datagram and limit of all, in bytes.
    pub(crate) mtu: usize,
    pub(crate) one_way_latency: Duration,
    pub(crate) initiator: Keys,
    pub(crate) responder: Keys,
    /// In the order of sending.
    pub(crate) datagrams: Vec<Datagram>,
    /// In the order in which they happened.
    pub(crate) events: Vec<AppEvent>,
}

/// A datagram of a conversation.
pub(crate) struct Datagram {
    /// When it was sent, since the start.
    pub(crate) at: Duration,
    pub(crate) from: Role,
    /// `false`: lost on its way.
    pub(crate) delivered: bool,
    pub(crate) packet: Vec<u8>,
    /// What was sealed; InitSnd has nothing.
    pub(crate) sealed: Option<Sealed>,
}

/// The sealed part of a packet, in clear.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Sealed {
    pub(crate) sequence: Sequence,
    /// Without filler.
    pub(crate) payload: Vec<u8>,
}

/// What an application did or saw in a conversation.
pub(crate) struct AppEvent {
    /// When, since the start.
    pub(crate) at: Duration,
    pub(crate) side: Role,
    pub(crate) stream: u32,
    pub(crate) action: AppAction,
}

/// What an application did or saw on a stream.
pub(crate) enum AppAction {
    Write(Vec<u8>),
    /// A write of these bytes after the stream had closed.
    RefusedWrite(Vec<u8>),
    Close,
    Ping,
    Read(Vec<u8>),
    EndOfStream,
}

/// All conversations.
pub(crate) fn conversations() -> Vec<Conversation> {
    section("conversations").iter().map(conversation).collect()
}

fn conversation(value: &'static Value) -> Conversation {
    let keys = &value["keys"];
    Conversation {
        name: text(&value["id"]),
        known: number(&value["flow"]) == 2,
        mtu: len(&value["mtu"]),
        one_way_latency: micros(&value["one_way_latency_us"]),
        initiator: Keys {
            identity: private_key(&keys["initiator_id"]),
            ephemeral: private_key(&keys["initiator_ep"]),
        },
        responder: Keys {
            identity: private_key(&keys["responder_id"]),
            ephemeral: private_key(&keys["responder_ep"]),
        },
        datagrams: value["datagrams"].as_array().unwrap().iter().map(datagram).collect(),
        events: value["app_events"].as_array().unwrap().iter().map(app_event).collect(),
    }
}

fn datagram(value: &Value) -> Datagram {
    let packet = bytes(&value["packet"]);
    assert_eq!(packet.len(), len(&value["len"]));
    Datagram {
        at: micros(&value["t_us"]),
        from: role(&value["from"]),
        delivered: value["delivered"].as_bool().unwrap(),
        packet,
        sealed: value.get("payload").map(|payload| Sealed {
            sequence: Sequence { epoch: number(&value["epoch"]), number: number(&value["sn"]) },
            payload: bytes(payload),
        }),
    }
}

fn app_event(value: &Value) -> AppEvent {
    let data = || bytes(&value["data"]);
    let action = match text(&value["event"]) {
        "write" if value.get("refused").is_some_and(|refused| refused == true) => {
            AppAction::RefusedWrite(data())
        }
        "write" => AppAction::Write(data()),
        "close" => AppAction::Close,
        "ping" => AppAction::Ping,
        "read" => AppAction::Read(data()),
        "end_of_stream" => AppAction::EndOfStream,
        other => panic!("no event: {other}"),
    };
    AppEvent {
        at: micros(&value["t_us"]),
        side: role(&value["side"]),
        stream: u32::try_from(number(&value["stream"])).unwrap(),
        action,
    }
}

fn micros(value: &Value) -> Duration {
    Duration::from_micros(number(value))
}
