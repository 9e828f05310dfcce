//! An end that holds the other and says nothing.

use core::time::Duration;

use super::*;

/// How long the tests take silence.
const SHORT: Duration = Duration::from_millis(50);

fn impatient() -> Arc<Counters> {
    Arc::new(Counters::with_silence(SHORT))
}

#[tokio::test]
async fn a_sender_without_a_list_or_without_data_does_not_hold_the_receiver() {
    let list = [Message::Entries(vec![strangers::file("f", 5)]), Message::End { entries: 1, bytes: 5 }];
    for talk in [&[][..], &list[..1], &list] {
        let (_scratch, _, to) = folders();
        let ((near, far), (_near_data, far_data)) = (duplex(1 << 16), duplex(1 << 16));
        let (_incoming, mut control) = split(near);
        for message in talk {
            wire::write_message(&mut control, message).await.unwrap();
        }
        let (to, (incoming, answers)) = (Destination::open(&to, Existing::Keep).unwrap(), split(far));
        let received = receive(&to, incoming, answers, far_data, impatient()).await;
        assert_eq!(fault(&received).1.kind, FaultKind::Silent);
    }
}

#[tokio::test]
async fn a_silent_receiver_does_not_hold_the_sender() {
    let (_scratch, from, _) = folders();
    write(&from.join("f"), b"x");
    let source = Source::gather(&[from.join("f")]).unwrap();
    let ((near, _far), (near_data, _far_data)) = (duplex(1 << 16), duplex(1 << 16));
    let (incoming, control) = split(near);
    let sent = send(source, incoming, control, near_data, impatient()).await;
    assert_eq!(fault(&sent).1.kind, FaultKind::Silent);
}

#[tokio::test]
async fn whoever_is_at_work_says_so() {
    let pulse = pulse::Pulse::new(SHORT);
    let (mut here, there) = duplex(1 << 10);
    let mut messages = MessageReader::new(there, Arc::default());
    tokio::select! {
        error = pulse.tell(&mut here) => panic!("{error:?}"),
        heard = async {
            let mut ticks = tokio::time::interval(SHORT / 50);
            loop {
                tokio::select! {
                    heard = messages.next() => break heard,
                    _ = ticks.tick() => pulse.work(),
                }
            }
        } => assert_eq!(heard.unwrap(), Some(Message::Working)),
    }
}
