//! Running the program.

use core::cell::Cell;
use core::net::SocketAddr;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;

use serde_json::Value;

/// The program under test.
pub(crate) const DUNLIN: &str = env!("CARGO_BIN_EXE_dunlin");

/// How the program says that somebody did not do something in time.
const LATE: [&str; 5] = [
    "no answer from",
    "nothing was heard from it",
    "no transfer was begun",
    "ended the transfer too early",
    "before all was done",
];

thread_local! {
    /// Whether it has said so in the test of this thread.
    static LATE_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test, and again if it fails and the program blamed the time: it gives the other side 3 to 10 seconds, which on a
/// machine that pauses say nothing about either side. What fails each time fails.
pub(crate) fn in_time(test: impl Fn()) {
    for _ in 0..9 {
        LATE_HERE.set(false);
        match catch_unwind(AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(panic) if !LATE_HERE.get() => resume_unwind(panic),
            Err(_) => eprintln!("that was the time: once more"),
        }
    }
    test();
}

/// A folder that goes away with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a key file and returns its path and public key.
    pub(crate) fn key(&self, name: &str) -> (PathBuf, String) {
        let path = self.path(name);
        let made = run(&["keygen", "--out", path.to_str().unwrap()]);
        assert_eq!(made.code, 0, "{made:?}");
        (path, made.stdout.trim().to_owned())
    }

    /// Writes a file of `length` bytes that look random and depend on the name.
    pub(crate) fn file(&self, name: &str, length: usize) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content(name, length)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `length` bytes that look random and depend on `seed`.
pub(crate) fn content(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What a finished process has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The JSON object that it printed.
    pub(crate) fn json(&self) -> Value {
        let [line] = self.stdout.lines().collect::<Vec<_>>()[..] else { panic!("not one line: {self:?}") };
        serde_json::from_str(line).unwrap()
    }

    /// The one line of an error.
    pub(crate) fn error(&self) -> &str {
        let lines: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("dunlin: ")).collect();
        let [line] = lines[..] else { panic!("not one line of error: {self:?}") };
        line
    }
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    command(args).ended()
}

/// Starts the program.
pub(crate) fn command(args: &[&str]) -> Running {
    Running::start(Command::new(DUNLIN).args(args))
}

/// A process that runs, and is killed with the test.
pub(crate) struct Running {
    child: Child,
    /// Its lines.
    stdout: mpsc::Receiver<String>,
    stderr: Option<BufReader<std::process::ChildStderr>>,
    seen: Mutex<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, stdout) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines() {
                // Nobody may want to know any more.
                let _ = sender.send(line.unwrap() + "\n");
            }
        });
        let stderr = child.stderr.take().map(BufReader::new);
        Self { child, stdout, stderr, seen: Mutex::default() }
    }

    /// Waits for the next line of the standard output, a JSON object, and takes it.
    pub(crate) fn report(&mut self) -> Value {
        serde_json::from_str(&self.stdout.recv().expect("it still runs")).unwrap()
    }

    /// Reads the standard error up to a line that contains `what`, and returns the line.
    pub(crate) fn line_with(&mut self, what: &str) -> String {
        let stderr = self.stderr.as_mut().unwrap();
        loop {
            let mut line = String::new();
            let read = stderr.read_line(&mut line).unwrap();
            assert!(read > 0, "no line with {what:?} in {:?}", self.seen);
            self.seen.get_mut().unwrap().push_str(&line);
            if line.contains(what) {
                return line.trim().to_owned();
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    #[cfg(unix)]
    pub(crate) fn status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Asks it to end, as Ctrl-C does.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        let killed = Command::new("kill").args(["-INT", &self.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let mut stderr = core::mem::take(self.seen.get_mut().unwrap());
        self.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        // How large this machine lets socket buffers be is not what tests are about.
        let of_limits =
            |line: &&str| line.contains("warning: the system's limits make the socket's buffers small");
        stderr = stderr.split_inclusive('\n').filter(|line| !of_limits(line)).collect();
        let stdout = self.stdout.iter().collect();
        let code = self.child.wait().unwrap().code().expect("it was not killed");
        if LATE.iter().any(|words| stderr.contains(words)) {
            LATE_HERE.set(true);
        }
        Ended { code, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A receiver that listens.
pub(crate) struct Receiver {
    pub(crate) process: Running,
    pub(crate) address: String,
    pub(crate) key: String,
}

impl Receiver {
    /// Starts a receiver with the key file `key`, writing to `out`, with JSON and these arguments too.
    pub(crate) fn start(key: &(PathBuf, String), out: &Path, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", key, out, more)
    }

    pub(crate) fn start_at(listen: &str, key: &(PathBuf, String), out: &Path, more: &[&str]) -> Self {
        Self::of(Command::new(DUNLIN).args(recv_args(listen, &key.0, out)).args(more), &key.1)
    }

    /// A receiver started by `command`.
    pub(crate) fn of(command: &mut Command, key: &str) -> Self {
        let mut process = Running::start(command);
        assert_eq!(process.line_with("public key "), format!("public key {key}"));
        let address = process.line_with("listening on ").replace("listening on ", "");
        Self { process, address, key: key.to_owned() }
    }

    /// Arguments of a `send` to this receiver.
    pub(crate) fn send_args<'a>(&'a self, paths: &[&'a Path]) -> Vec<&'a str> {
        let mut args = vec!["send", "--json", "--to", &self.address, "--peer", &self.key];
        args.extend(paths.iter().map(|path| path.to_str().unwrap()));
        args
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }
}

/// Arguments of a `recv`.
pub(crate) fn recv_args(listen: &str, key: &Path, out: &Path) -> Vec<String> {
    let (key, out) = (key.to_str().unwrap(), out.to_str().unwrap());
    ["recv", "--json", "--listen", listen, "--key", key, "--out", out].map(str::to_owned).into()
}

/// The incomplete file of `name` in the folder `to`, if there is one.
pub(crate) fn part_in(to: &Path, name: &str) -> Option<PathBuf> {
    let beginning = format!("{name}~");
    fs::read_dir(to).ok()?.filter_map(|child| Some(child.ok()?.path())).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&beginning) && name.ends_with(".dunlin-part")
    })
}

/// Bytes of that file; 0 if there is none.
pub(crate) fn part_length(to: &Path, name: &str) -> u64 {
    part_in(to, name).and_then(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.len())
}

/// Everything below `root`: relative path and content, `None` for folders, in order.
pub(crate) fn listing(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for child in fs::read_dir(folder).unwrap() {
            let path = child.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_path_buf();
            if path.is_dir() {
                found.push((relative, None));
                folders.push(path);
            } else {
                found.push((relative, Some(fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}
