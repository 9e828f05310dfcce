//! BLAKE3 of a file, or of its beginning.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use blake3::{Hash, Hasher};

/// Bytes read at once: enough for BLAKE3 to use the processor's widest instructions.
const PIECE: usize = 256 << 10;

/// The state of the hash after the first `length` bytes of `file`, which is left at that place. `go_on` is asked now
/// and then, since this takes long for long files.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter, `Interrupted` if `go_on` says no.
pub(crate) fn prefix(file: &mut File, length: u64, go_on: impl Fn() -> bool) -> io::Result<Hasher> {
    let mut hasher = Hasher::new();
    read(file, length, go_on, |piece| {
        hasher.update(piece);
    })?;
    Ok(hasher)
}

/// What a whole file amounts to.
pub(crate) struct Shown {
    /// Its hash.
    pub(crate) hash: Hash,
    /// Its hash keyed with the receiver's nonce, which only who has the file can tell.
    pub(crate) proof: Hash,
}

/// Both hashes of the first `length` bytes of `file`.
///
/// # Errors
/// As [`prefix`].
pub(crate) fn shown(
    file: &mut File,
    length: u64,
    nonce: &[u8; 32],
    go_on: impl Fn() -> bool,
) -> io::Result<Shown> {
    let (mut hasher, mut keyed) = (Hasher::new(), Hasher::new_keyed(nonce));
    read(file, length, go_on, |piece| {
        hasher.update(piece);
        keyed.update(piece);
    })?;
    Ok(Shown { hash: hasher.finalize(), proof: keyed.finalize() })
}

fn read(
    file: &mut File,
    length: u64,
    go_on: impl Fn() -> bool,
    mut seen: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut left = length;
    let mut piece = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut piece[..want])?;
        seen(&piece[..want]);
        left -= want as u64;
    }
    Ok(())
}
