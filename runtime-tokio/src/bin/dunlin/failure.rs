//! How a command ends when it does not end well: one line, and an exit code; and what is no failure but worth a line.

use core::fmt;
use std::io::{self, Write};

/// Prints a line on the standard output. Nobody may read it any more, which ends nothing.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints a line on the standard error; as [`say`].
pub(crate) fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Tells the user something that does not end the command.
pub(crate) fn warn(what: impl fmt::Display) {
    note(format_args!("dunlin: warning: {what}"));
}

/// The end of a command that has printed its report, as text or as JSON, whichever was asked for.
pub(crate) type Reported = Result<(), Failure>;

/// What went wrong, in one line that says what to do.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The command line cannot be carried out as it stands: exit code 2.
    Usage(String),
    /// The work was begun and did not succeed: exit code 1.
    Failed(String),
}

impl Failure {
    /// A mistake on the command line.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self::Usage(line.into())
    }

    /// Work that did not succeed.
    pub(crate) fn failed(line: impl Into<String>) -> Self {
        Self::Failed(line.into())
    }

    /// The process's exit code.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(line) | Self::Failed(line)) = self;
        f.write_str(line)
    }
}
