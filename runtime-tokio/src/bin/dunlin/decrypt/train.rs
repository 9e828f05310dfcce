//! Trains: where the system or the network card cuts a train into packets (GSO), or puts packets together (GRO), a capture
//! has all of it as one datagram, without a word on where to cut.

/// The first byte and the connection id, which all packets of a train share.
const HEADER: usize = 9;
/// The shortest packet of any wire: a Data packet of the native one (docs/PROTOCOL.md, "A Data packet").
const MIN_PACKET: usize = 31;

/// The packets of a captured datagram: mostly one.
pub(crate) fn packets(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    // An empty datagram is a packet too, if a strange one.
    let empty = datagram.is_empty().then_some(datagram);
    empty.into_iter().chain(datagram.chunks(segment_size(datagram).max(1)))
}

/// The size of all packets but the last: the distance at which the header comes again and again. By chance it comes again
/// once in 2^72 places.
fn segment_size(datagram: &[u8]) -> usize {
    let Some(header) = datagram.first_chunk::<HEADER>() else { return datagram.len() };
    let begins = |rest: &[u8]| rest.iter().zip(header).all(|(byte, wanted)| byte == wanted);
    let fits = |size: &usize| {
        let rest = datagram.get(*size..).unwrap_or_default();
        // The last one may be cut short by the capture.
        rest.len() >= HEADER && rest.chunks(*size).all(begins)
    };
    (MIN_PACKET..datagram.len()).find(fits).unwrap_or(datagram.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of `len` bytes that start like those of a connection.
    fn packet(len: usize) -> Vec<u8> {
        let mut bytes = vec![0x90, 1, 2, 3, 4, 5, 6, 7, 8];
        bytes.extend((HEADER..len).map(|at| (at * 7) as u8));
        bytes
    }

    fn lengths(datagram: &[u8]) -> Vec<usize> {
        packets(datagram).map(<[u8]>::len).collect()
    }

    #[test]
    fn trains_are_cut_where_packets_begin() {
        for lens in [vec![1200], vec![1200, 1200, 1200], vec![1200, 1200, 40], vec![40, 31], vec![1452, 9]] {
            let train: Vec<u8> = lens.iter().flat_map(|len| packet(*len)).collect();
            assert_eq!(lengths(&train), lens);
        }
    }

    #[test]
    fn a_train_that_the_capture_cut_off_is_still_one() {
        let train = [packet(100), packet(100), packet(100)].concat();
        for len in 200..300 {
            assert_eq!(
                lengths(&train[..len]),
                if len == 200 { vec![100, 100] } else { vec![100, 100, len - 200] }
            );
        }
    }

    #[test]
    fn what_is_no_train_stays_whole() {
        for len in 0..100 {
            assert_eq!(lengths(&packet(100)[..len]), [len]);
            assert_eq!(lengths(&vec![0xff; len]).iter().sum::<usize>(), len);
        }
        // No train has a longer packet behind a shorter one.
        let odd = [packet(50), packet(60)].concat();
        assert_eq!(lengths(&odd), [110]);
    }
}
