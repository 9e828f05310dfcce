//! Transfers between two network namespaces, over links of the kernel's that the test can change. They take Linux, its tools
//! `ip`, `tc`, `unshare` and `nsenter`, and the permission to use them; where something is missing they say what, and are
//! skipped.

use core::cell::Cell;
use core::net::SocketAddr;
use core::time::Duration;
use std::env;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::support::{DUNLIN, Receiver, Running, Scratch, command, content, in_time, recv_args};

/// Tells a test that it is within a namespace of its own.
const WITHIN: &str = "DUNLIN_TEST_NAMESPACE";

/// Nothing here takes so long unless it hangs.
const TOO_LONG: Duration = Duration::from_secs(120);

/// A link between the two namespaces: its end here is `near` and its number, the other one `far`.
#[derive(Clone, Copy)]
struct Line {
    number: usize,
    /// Our address, and how long its prefix is.
    here: &'static str,
    there: &'static str,
    /// What it carries towards the other end, in Mbit/s: less than the program sends, so that it is full.
    rate: u32,
}

const V4: [Line; 2] = [
    Line { number: 0, here: "192.0.2.1/24", there: "192.0.2.2/24", rate: 400 },
    Line { number: 1, here: "198.51.100.1/24", there: "198.51.100.2/24", rate: 400 },
];
const V6: [Line; 2] = [
    Line { number: 0, here: "2001:db8:0:1::1/64", there: "2001:db8:0:1::2/64", rate: 400 },
    Line { number: 1, here: "2001:db8:0:2::1/64", there: "2001:db8:0:2::2/64", rate: 400 },
];

impl Line {
    /// Commands that bring an end up. Addresses of IPv6 are there at once, without anybody being asked whether he has them.
    fn up(end: &str, number: usize, address: &str) -> String {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        format!("ip link set {end}{number} up && ip address replace {address} dev {end}{number} {nodad}")
    }

    fn up_here(self) -> String {
        Self::up("near", self.number, self.here)
    }

    fn up_there(self) -> String {
        Self::up("far", self.number, self.there)
    }

    /// Commands that make it, between here and the namespace of that process.
    fn made(self, there: Option<u32>) -> String {
        let Self { number, rate, .. } = self;
        let there = there.map_or_else(String::new, |process| format!("netns {process}"));
        format!(
            "ip link add near{number} type veth peer name far{number} {there} && {} \
             && tc qdisc add dev near{number} root tbf rate {rate}mbit burst 256kb latency 50ms",
            self.up_here()
        )
    }

    /// Its addresses, here and there.
    fn addresses(self) -> [&'static str; 2] {
        [self.here, self.there].map(|address| address.split_once('/').unwrap().0)
    }
}

/// Tries everything that a test takes, in a namespace that is gone afterwards.
fn probe(lines: &[Line]) -> Result<(), String> {
    let lines: Vec<_> = lines.iter().map(|line| line.made(None)).collect();
    let all = format!("{} && nsenter --version >/dev/null", lines.join(" && "));
    match Command::new("unshare").args(["--net", "sh", "-c", &all]).output() {
        Ok(probe) if probe.status.success() => Ok(()),
        Ok(probe) => Err(String::from_utf8_lossy(&probe.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// Whether this is a namespace of our own. If not, the `test` is run once more in one, if that is possible.
fn within_a_namespace(test: &str, lines: &[Line]) -> bool {
    if env::var_os(WITHIN).is_some() {
        return true;
    }
    if let Err(why) = probe(lines) {
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

/// Another namespace, at the other end of the links.
struct There {
    holder: Child,
    lines: Vec<Line>,
}

impl There {
    fn linked(lines: &[Line]) -> Self {
        // It ends with its input, that is with this process at the latest.
        let mut holder = Command::new("unshare");
        let holder = holder.args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let there = Self { holder, lines: lines.to_vec() };
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        while fs::read_link(there.namespace()).unwrap() == ours {
            thread::sleep(Duration::from_millis(1));
        }
        shell("ip link set lo up");
        there.shell("ip link set lo up");
        for line in lines {
            shell(&line.made(Some(there.holder.id())));
            there.shell(&line.up_there());
        }
        there
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A command that runs there.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).arg(program);
        command
    }

    fn shell(&self, line: &str) {
        succeeds(self.command("sh").args(["-c", line]));
    }

    /// Bytes that came over each link so far.
    fn received(&self) -> Vec<u64> {
        let devices = fs::read_to_string(format!("/proc/{}/net/dev", self.holder.id())).unwrap();
        let of = |line: &Line| {
            let name = format!("far{}:", line.number);
            let counters = devices.lines().find_map(|line| line.trim().strip_prefix(&name)).unwrap();
            counters.split_whitespace().next().unwrap().parse().unwrap()
        };
        self.lines.iter().map(of).collect()
    }

    /// The link over which most comes now.
    fn busiest(&self) -> Line {
        let before = self.received();
        thread::sleep(Duration::from_millis(10));
        let after = self.received();
        *self.lines.iter().max_by_key(|line| after[line.number] - before[line.number]).unwrap()
    }
}

impl Drop for There {
    fn drop(&mut self) {
        for line in &self.lines {
            let _ = Command::new("ip").args(["link", "del", &format!("near{}", line.number)]).status();
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Bytes that a link carries before anybody sends: hosts look for routers and for each other.
const NOISE: u64 = 100_000;
/// Less than a full packet is noise too.
const SOMETHING: u64 = 1000;

/// Looks on while `sender` sends, takes each step once when so many bytes have come, and says for how long nothing came at
/// most, between two packets.
fn look_on(there: &There, sender: &mut Running, steps: &[(u64, &dyn Fn())]) -> Duration {
    let (mut steps, mut seen, mut since, mut longest) =
        (steps.iter().peekable(), NOISE, None, Duration::ZERO);
    let begun = Instant::now();
    while sender.status().is_none() {
        let received = there.received().iter().sum();
        if received >= seen + SOMETHING {
            let now = Instant::now();
            longest = longest.max(since.map_or(Duration::ZERO, |since| now - since));
            (seen, since) = (received, Some(now));
        }
        if let Some((_, step)) = steps.next_if(|(amid, _)| received >= *amid) {
            step();
        }
        assert!(begun.elapsed() < TOO_LONG, "it hangs, {seen} bytes have come");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(steps.next().is_none(), "{seen} bytes came");
    longest
}

/// Nothing is told to the transfer: it finds out by itself.
#[test]
fn path_netns_a_transfer_outlives_the_address_that_it_was_begun_from() {
    const SIZE: usize = 256 << 20;
    let this = "path_netns::path_netns_a_transfer_outlives_the_address_that_it_was_begun_from";
    if !within_a_namespace(this, &V4[..1]) {
        return;
    }
    in_time(|| {
        let (scratch, there) = (Scratch::new(), There::linked(&V4[..1]));
        let (file, to, key) = (scratch.file("file", SIZE), scratch.path("to"), scratch.key("key"));
        let mut listen = there.command(DUNLIN);
        let receiver = Receiver::of(listen.args(recv_args("192.0.2.2:0", &key.0, &to)).arg("--once"), &key.1);
        let mut sender = command(&receiver.send_args(&[&file]));
        let change =
            || shell("ip address del 192.0.2.1/24 dev near0 && ip address add 192.0.2.9/24 dev near0");
        let gap = look_on(&there, &mut sender, &[(SIZE as u64 / 3, &change)]);
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

/// Makes a file of so many bytes with some here and there that are not 0.
fn sparse(path: &Path, size: u64) {
    let mut file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for place in (0..size).step_by(64 << 20) {
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(&content(&place.to_string(), 4096)).unwrap();
    }
}

/// Whether that address with a port is at this one.
fn is_at(address: &Value, ip: &str) -> bool {
    let address: SocketAddr = address.as_str().unwrap().parse().unwrap();
    address.ip().to_string() == ip
}

/// Sends so much over two links at once, from a socket on each. When 30 % have come the link that carries data goes `down`,
/// and comes `up` again when 60 % have: by the other one, or there never would be so much.
fn outlives(lines: [Line; 2], listen: &str, size: u64, down: fn(&There, Line), up: fn(&There, Line)) {
    let (scratch, there) = (Scratch::new(), There::linked(&lines));
    let (file, to, key) = (scratch.path("file"), scratch.path("to"), scratch.key("key"));
    sparse(&file, size);
    let mut recv = there.command(DUNLIN);
    let receiver = Receiver::of(recv.args(recv_args(listen, &key.0, &to)).arg("--once"), &key.1);
    let port = receiver.address().port();
    let mut args =
        ["send", "--json", "--peer", &receiver.key, file.to_str().unwrap()].map(str::to_owned).to_vec();
    for [here, there] in lines.map(Line::addresses) {
        let there = if there.contains(':') { format!("[{there}]:{port}") } else { format!("{there}:{port}") };
        args.extend(["--local", here, "--to", &there].map(str::to_owned));
    }
    let mut sender = command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let used = Cell::new(lines[0]);
    let (go_down, come_up) = (
        || {
            used.set(there.busiest());
            down(&there, used.get());
        },
        || up(&there, used.get()),
    );
    let gap = look_on(&there, &mut sender, &[(size * 3 / 10, &go_down), (size * 6 / 10, &come_up)]);
    let (sent, received) = (sender.ended(), receiver.process.ended());
    assert_eq!((sent.code, received.code), (0, 0), "{sent:?} {received:?}");
    let (sent, received) = (sent.json(), received.json());
    assert_eq!((&sent["hash"], &sent["bytes"]), (&received["hash"], &size.into()));
    // The way that a packet takes depends on where it goes, not on where it comes from.
    let [_, left] = used.get().addresses();
    let switches = sent["switches"].as_array().unwrap();
    assert!(switches.iter().any(|switch| is_at(&switch["from"]["remote"], left)), "{left} is left: {sent}");
    println!(
        "{} MiB in {:.1} s; for {} ms at most nothing came ({:.0} as the sender has it), switches: {}",
        size >> 20,
        sent["seconds"].as_f64().unwrap(),
        gap.as_millis(),
        sent["longest_gap_ms"].as_f64().unwrap(),
        sent["switches"],
    );
}

#[test]
fn path_netns_a_transfer_outlives_a_link_that_goes_down_and_comes_back() {
    let this = "path_netns::path_netns_a_transfer_outlives_a_link_that_goes_down_and_comes_back";
    let lines = V4.map(|line| Line { rate: 1000, ..line });
    if within_a_namespace(this, &lines) {
        let down = |_: &There, line: Line| shell(&format!("ip link set near{} down", line.number));
        let up = |_: &There, line: Line| shell(&line.up_here());
        in_time(|| outlives(lines, "0.0.0.0:0", 1 << 30, down, up));
    }
}

/// The addresses here stay as they are, and all that can be seen is that nothing arrives.
#[test]
fn path_netns_a_transfer_outlives_a_link_of_which_the_far_end_goes_down() {
    let this = "path_netns::path_netns_a_transfer_outlives_a_link_of_which_the_far_end_goes_down";
    if within_a_namespace(this, &V4) {
        let down = |there: &There, line: Line| there.shell(&format!("ip link set far{} down", line.number));
        let up = |there: &There, line: Line| there.shell(&line.up_there());
        in_time(|| outlives(V4, "0.0.0.0:0", 256 << 20, down, up));
    }
}

/// With the link go its addresses.
#[test]
fn path_netns_a_transfer_outlives_a_link_of_ipv6() {
    let this = "path_netns::path_netns_a_transfer_outlives_a_link_of_ipv6";
    if within_a_namespace(this, &V6) {
        let down = |_: &There, line: Line| shell(&format!("ip link set near{} down", line.number));
        let up = |_: &There, line: Line| shell(&line.up_here());
        in_time(|| outlives(V6, "[::]:0", 256 << 20, down, up));
    }
}
