//! What a measurement found.

use core::time::Duration;

use dunlin_tokio::CRYPTO_BACKEND;
use serde_json::{Value, json};

use crate::args::Mode;
use crate::failure::Failure;
use crate::report::Link;
use crate::text;

use super::histogram::Histogram;

/// A measurement that is over, or was broken off.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) mode: Mode,
    /// Of all connections.
    pub(crate) streams: u64,
    /// Of our endpoint, each with a connection.
    pub(crate) shards: usize,
    /// Bytes that arrived; of a ping, messages that came back.
    pub(crate) amount: u64,
    pub(crate) seconds: Duration,
    /// Of a ping: round-trip times.
    pub(crate) times: Histogram,
    pub(crate) link: Link,
    /// Cipher and backend, for people.
    pub(crate) crypto: String,
    /// The cipher's name.
    pub(crate) suite: &'static str,
    pub(crate) outcome: Result<(), Failure>,
}

impl Summary {
    fn packet_size(&self) -> u16 {
        self.link.path.map_or(0, |path| path.packet_size)
    }

    /// The measurement for people.
    pub(crate) fn text(&self) -> String {
        let mut streams = text::counted(self.streams, "stream");
        if self.shards > 1 {
            streams = format!("{streams} of {} connections", self.shards);
        }
        let seconds = text::time(self.seconds);
        let what = match self.mode {
            Mode::Upload | Mode::Download => {
                let way = if self.mode == Mode::Upload { "up" } else { "down" };
                let (bytes, rate) = (text::bytes(self.amount), text::rate(self.amount, self.seconds));
                format!("{bytes} {way} in {seconds} over {streams}: {rate}")
            }
            Mode::Ping => {
                let [min, half, worst, max, mean] = [
                    self.times.min(),
                    self.times.percentile(50),
                    self.times.percentile(99),
                    self.times.max(),
                    self.times.mean(),
                ]
                .map(text::time);
                let rate = text::bytes_per_second(self.amount, self.seconds);
                format!(
                    "{} round trips in {seconds} over {streams}: {rate:.0}/s\n\
                     min {min}, half below {half}, 99 % below {worst}, max {max}, mean {mean}",
                    self.times.count()
                )
            }
        };
        format!(
            "{what}\n{}\nwaited for {} before sending more\npackets of {} bytes, protected with {}",
            self.link.line(),
            self.link.limiter_text(),
            self.packet_size(),
            self.crypto
        )
    }

    /// The measurement for programs.
    pub(crate) fn json(&self) -> Value {
        let rate = text::bytes_per_second(self.amount, self.seconds);
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        let mut object = json!({
            "mode": match self.mode {
                Mode::Upload => "upload",
                Mode::Download => "download",
                Mode::Ping => "ping",
            },
            "bytes": 0,
            "seconds": self.seconds.as_secs_f64(),
            "hash": null,
            "rtt_us": self.link.rtt().map(|rtt| rtt.as_micros() as u64),
            "retransmits": self.link.stats.packets_lost,
            "bytes_retransmitted": self.link.stats.bytes_retransmitted,
            "packets_sent": self.link.stats.packets_sent,
            "loss": self.link.loss(),
            "path": self.link.path_json(),
            "limiter_seconds": self.link.limiter_json(),
            "streams": self.streams,
            "shards": self.shards,
            "packet_size": self.packet_size(),
            "aead": self.suite,
            "crypto_backend": CRYPTO_BACKEND,
            "error": self.outcome.as_ref().err().map(ToString::to_string),
        });
        if self.mode == Mode::Ping {
            object["round_trips"] = self.amount.into();
            object["round_trips_per_second"] = rate.into();
            object["round_trip_us"] = json!({
                "min": micros(self.times.min()),
                "mean": micros(self.times.mean()),
                "p50": micros(self.times.percentile(50)),
                "p99": micros(self.times.percentile(99)),
                "max": micros(self.times.max()),
            });
        } else {
            object["bytes"] = self.amount.into();
            object["bytes_per_second"] = rate.into();
            object["bits_per_second"] = (rate * 8.0).into();
        }
        object
    }
}
