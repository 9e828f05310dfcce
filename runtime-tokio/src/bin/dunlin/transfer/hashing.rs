//! BLAKE3 of the beginning of a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use blake3::Hasher;

/// Bytes read at once: enough for BLAKE3 to use the processor's widest instructions.
const PIECE: usize = 256 << 10;

/// The state of the hash after the first `length` bytes of `file`, which is left at that place. `go_on` is asked now
/// and then, since this takes long for long files.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter, `Interrupted` if `go_on` says no.
pub(crate) fn prefix(file: &mut File, length: u64, go_on: impl Fn() -> bool) -> io::Result<Hasher> {
    let mut hasher = Hasher::new();
    let mut left = length;
    let mut piece = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut piece[..want])?;
        hasher.update(&piece[..want]);
        left -= want as u64;
    }
    Ok(hasher)
}
