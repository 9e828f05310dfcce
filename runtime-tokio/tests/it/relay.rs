//! Something on the way: a relay of UDP, whose addresses change while connections last.

use core::net::SocketAddr;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Passes on what one client and one server tell each other. To the server it has two addresses, and hears on both until it
/// forgets the first.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    ways: Arc<Mutex<Ways>>,
    task: JoinHandle<io::Result<()>>,
}

/// Where things go now.
#[derive(Clone, Copy)]
struct Ways {
    server: SocketAddr,
    /// Which of the two addresses the server sees.
    source: usize,
    /// Whether what comes to the other one is lost.
    forgot: bool,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let bind = || UdpSocket::bind("127.0.0.1:0");
        let (front, backs) = (bind().await.unwrap(), [bind().await.unwrap(), bind().await.unwrap()]);
        let address = front.local_addr().unwrap();
        let ways = Arc::new(Mutex::new(Ways { server, source: 0, forgot: false }));
        let task = tokio::spawn(pass(front, backs, Arc::clone(&ways)));
        Self { address, ways, task }
    }

    /// From now on the server sees another source port.
    pub(crate) fn change_source(&self) {
        self.ways.lock().unwrap().source = 1;
    }

    /// From now on the server sees another source port, and what it sends to the first is lost.
    pub(crate) fn forget_source(&self) {
        let mut ways = self.ways.lock().unwrap();
        (ways.source, ways.forgot) = (1, true);
    }

    /// The server is elsewhere now.
    pub(crate) fn change_server(&self, server: SocketAddr) {
        self.ways.lock().unwrap().server = server;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The client is wherever it was heard last.
async fn pass(front: UdpSocket, backs: [UdpSocket; 2], ways: Arc<Mutex<Ways>>) -> io::Result<()> {
    let mut buffers = [(); 3].map(|()| vec![0; 1 << 16]);
    let [there, back, other] = &mut buffers;
    let mut client = None;
    loop {
        let answer: &[u8] = tokio::select! {
            heard = front.recv_from(there) => {
                let (len, from) = heard?;
                client = Some(from);
                let Ways { server, source, .. } = *ways.lock().unwrap();
                backs[source].send_to(&there[..len], server).await?;
                continue;
            }
            heard = backs[0].recv_from(back) => {
                let (len, _) = heard?;
                if ways.lock().unwrap().forgot {
                    continue;
                }
                &back[..len]
            }
            heard = backs[1].recv_from(other) => &other[..heard?.0],
        };
        if let Some(client) = client {
            front.send_to(answer, client).await?;
        }
    }
}
