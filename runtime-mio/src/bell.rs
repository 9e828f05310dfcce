//! What ends another shard's wait, whatever it waits with: a pipe. (A [`mio::Waker`] there may be one of for each poll, and
//! it is the application's.)

#[cfg(unix)]
mod system {
    use std::io::{self, Read, Write};

    use mio::event::Source;
    use mio::unix::pipe;
    use mio::{Interest, Registry, Token};

    /// The end that is heard.
    #[derive(Debug)]
    pub(crate) struct Bell(pipe::Receiver);

    /// The end that is pressed, by any thread.
    #[derive(Debug)]
    pub(crate) struct Button(pipe::Sender);

    impl Bell {
        pub(crate) fn new() -> io::Result<(Button, Self)> {
            let (sender, receiver) = pipe::new()?;
            Ok((Button(sender), Self(receiver)))
        }

        /// It was heard.
        pub(crate) fn hush(&mut self) {
            // Nothing left to read is the end of it; nor does any other error keep us from looking.
            while matches!(self.0.read(&mut [0; 16]), Ok(1..)) {}
        }

        pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
            self.0.register(registry, token, Interest::READABLE)
        }

        pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
            self.0.deregister(registry)
        }
    }

    impl Button {
        pub(crate) fn press(&self) {
            // A full pipe rings already, and one without the other end has nobody to hear it.
            let _ = (&self.0).write(&[0]);
        }
    }
}

/// No system without pipes has shards.
#[cfg(not(unix))]
mod system {
    use std::io;

    use mio::{Registry, Token};

    #[derive(Debug)]
    pub(crate) struct Bell;

    #[derive(Debug)]
    pub(crate) struct Button;

    impl Bell {
        pub(crate) fn new() -> io::Result<(Button, Self)> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn hush(&mut self) {}

        pub(crate) fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
            Ok(())
        }

        pub(crate) fn deregister(&mut self, _: &Registry) -> io::Result<()> {
            Ok(())
        }
    }

    impl Button {
        pub(crate) fn press(&self) {}
    }
}

pub(crate) use system::{Bell, Button};
