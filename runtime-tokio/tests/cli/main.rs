//! The program `dunlin` as its users meet it: processes, exit codes, lines, files.

mod capture;
mod decrypt;
mod errors;
mod keys;
#[cfg(target_os = "linux")]
mod path_netns;
mod paths;
mod perf;
mod qotp;
#[cfg(unix)]
mod stopping;
mod support;
mod transfers;
