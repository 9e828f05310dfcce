//! Transfers between two network namespaces, over a link of the kernel's that the test can change. They take Linux, its tools
//! `ip`, `tc`, `unshare` and `nsenter`, and the permission to use them; where something is missing they say what, and are
//! skipped.

use core::time::Duration;
use std::env;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::support::{DUNLIN, Receiver, Running, Scratch, command, content, in_time, recv_args};

/// Tells a test that it is within a namespace of its own.
const WITHIN: &str = "DUNLIN_TEST_NAMESPACE";

/// One end of the link, and how much it carries: less than the program sends, so that the link is full.
const LINK: &str = "ip link set lo up && ip link set v0 up && ip address add 192.0.2.1/24 dev v0 \
                    && tc qdisc add dev v0 root tbf rate 400mbit burst 256kb latency 50ms";
/// The other end.
const LINK_THERE: &str = "ip link set lo up && ip link set v1 up && ip address add 192.0.2.2/24 dev v1";

/// Tries everything that a test takes, in a namespace that is gone afterwards.
fn probe() -> Result<(), String> {
    let all = format!("ip link add v0 type veth peer name v1 && {LINK} && nsenter --version >/dev/null");
    match Command::new("unshare").args(["--net", "sh", "-c", &all]).output() {
        Ok(probe) if probe.status.success() => Ok(()),
        Ok(probe) => Err(String::from_utf8_lossy(&probe.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// Whether this is a namespace of our own. If not, the `test` is run once more in one, if that is possible.
fn within_a_namespace(test: &str) -> bool {
    if env::var_os(WITHIN).is_some() {
        return true;
    }
    if let Err(why) = probe() {
        println!("skipped: {why}");
        return false;
    }
    let mut again = Command::new("unshare");
    again.arg("--net").arg(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    assert!(again.env(WITHIN, "1").status().unwrap().success());
    false
}

fn shell(line: &str) {
    succeeds(Command::new("sh").args(["-c", line]));
}

fn succeeds(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// Another namespace, at the other end of a link: here it is v0 and we are 192.0.2.1, there it is v1 and they are 192.0.2.2.
struct There(Child);

impl There {
    fn linked() -> Self {
        // It ends with its input, that is with this process at the latest.
        let mut holder = Command::new("unshare");
        let there = Self(holder.args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap());
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        while fs::read_link(there.namespace()).unwrap() == ours {
            thread::sleep(Duration::from_millis(1));
        }
        shell(&format!("ip link add v0 type veth peer name v1 netns {} && {LINK}", there.0.id()));
        succeeds(there.command("sh").args(["-c", LINK_THERE]));
        there
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// A command that runs there.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).arg(program);
        command
    }

    /// Bytes that came over the link so far.
    fn received(&self) -> u64 {
        let devices = fs::read_to_string(format!("/proc/{}/net/dev", self.0.id())).unwrap();
        let counters = devices.lines().find_map(|line| line.trim().strip_prefix("v1:")).unwrap();
        counters.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for There {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", "v0"]).status();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks on while `sender` sends, does `change` once when so many bytes have come, and says for how long nothing came at
/// most, between two bytes.
fn longest_gap(there: &There, sender: &mut Running, amid: u64, change: impl Fn()) -> Duration {
    let (mut changed, mut seen, mut since, mut longest) = (false, 0, None, Duration::ZERO);
    while sender.status().is_none() {
        let received = there.received();
        if received > seen {
            let now = Instant::now();
            longest = longest.max(since.map_or(Duration::ZERO, |since| now - since));
            (seen, since) = (received, Some(now));
        }
        if received >= amid && !changed {
            changed = true;
            change();
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert!(changed, "{seen} bytes came");
    longest
}

/// Nothing is told to the transfer: it finds out by itself.
#[test]
fn path_netns_a_transfer_outlives_the_address_that_it_was_begun_from() {
    const SIZE: usize = 256 << 20;
    let this = "path_netns::path_netns_a_transfer_outlives_the_address_that_it_was_begun_from";
    if !within_a_namespace(this) {
        return;
    }
    in_time(|| {
        let (scratch, there) = (Scratch::new(), There::linked());
        let (file, to, key) = (scratch.file("file", SIZE), scratch.path("to"), scratch.key("key"));
        let mut listen = there.command(DUNLIN);
        let receiver = Receiver::of(listen.args(recv_args("192.0.2.2:0", &key.0, &to)).arg("--once"), &key.1);
        let mut sender = command(&receiver.send_args(&[&file]));
        let gap = longest_gap(&there, &mut sender, SIZE as u64 / 3, || {
            shell("ip address del 192.0.2.1/24 dev v0 && ip address add 192.0.2.9/24 dev v0");
        });
        let (sent, received) = (sender.ended(), receiver.process.ended());
        assert_eq!((sent.code, received.code), (0, 0), "{sent:?} {received:?}");
        let (sent, received) = (sent.json(), received.json());
        assert!(fs::read(to.join("file")).unwrap() == content("file", SIZE));
        assert_eq!(sent["hash"], received["hash"]);
        assert_eq!(sent["path"]["local"], "192.0.2.9");
        assert!(!sent["switches"].as_array().unwrap().is_empty(), "{sent}");
        println!("256 MiB in {} s; for {} ms at most nothing came", sent["seconds"], gap.as_millis());
    });
}
