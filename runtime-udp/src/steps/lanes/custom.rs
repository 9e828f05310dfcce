//! A lane to a custom transport.

use std::io;

use dunlin_core::{CustomAddr, LocalAddr, TransportAddr, Tuple};

use crate::stats::{add, count};
use crate::steps::Sending;
use crate::transports::Line;

use super::Lane;

impl Lane<CustomAddr> {
    /// Sends the trains, or what is left of them.
    pub(in crate::steps) fn send(&mut self, line: &Line) -> Sending {
        let counters = &line.counters;
        if self.overflowed > 0 {
            add(&counters.lost_overflow, core::mem::take(&mut self.overflowed) as usize);
        }
        let mut transport = line.lock();
        while let Some(train) = self.trains.get_mut(self.gone) {
            let datagrams = train.len.div_ceil(train.segment_size);
            if train.segment_size > usize::from(line.profile.max_datagram) {
                add(&counters.lost_too_big, datagrams);
                self.gone += 1;
                let remote = TransportAddr::Custom { transport: line.id, address: train.destination };
                let ends = Tuple { local: LocalAddr::default(), remote };
                return Sending::TooLarge { connection: train.connection, ends, size: train.segment_size };
            }
            let Some(transport) = &mut *transport else {
                add(&counters.lost, datagrams);
                self.gone += 1;
                continue;
            };
            while let Some(datagram) = train.bytes(&self.bytes).chunks(train.segment_size).next() {
                match transport.try_send(&train.destination, datagram, train.ecn) {
                    Ok(()) => count(&counters.sent),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        count(&counters.blocked);
                        return Sending::Blocked;
                    }
                    Err(_) => count(&counters.lost),
                }
                train.advance(datagram.len());
            }
            self.gone += 1;
        }
        Sending::Done
    }
}
