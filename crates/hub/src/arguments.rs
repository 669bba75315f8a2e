//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{size, span, topic_rule::TopicRule};

/// Server-sent events that never miss.
#[derive(Debug, Parser)]
#[command(
    name = "tidings",
    version,
    before_help = "Without a command it serves with all defaults: durable, in ./tidings-data, on \
                   http://127.0.0.1:3000",
    after_help = EXIT_CODES,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line or the configuration file makes no sense
  3  the hub could not be reached

Stdout has only results; all else is on stderr.";

const BENCH_EXIT_CODES: &str = "\
Exit codes:
  0  done, and nothing was lost, doubled, out of order, cut or announced as a gap
  1  something was, or it failed
  2  the command line makes no sense
  3  the hub could not be reached, or went away in the middle

Stdout has only the result; all else is on stderr.";

const LOG_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or verify, dump or stats found damage (repair: it could not be mended)
  2  the command line makes no sense

Stdout has only results; all else is on stderr.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the hub
    #[command(after_help = EXIT_CODES)]
    Serve(Box<Serve>),
    /// Publish an event, or each line of stdin
    #[command(after_help = EXIT_CODES)]
    Publish(Publish),
    /// Follow topics and print their events
    #[command(after_help = EXIT_CODES)]
    Subscribe(Subscribe),
    /// Measure a hub: many subscribers, publishers, and a check of every delivery
    #[command(after_help = BENCH_EXIT_CODES)]
    Bench(Bench),
    /// Look into a log on disk, also while a hub runs on it; or repair it
    #[command(subcommand, after_help = LOG_EXIT_CODES)]
    Log(Log),
}

/// What the hub is to do. Each option but `--config` may also stand in the configuration file, by
/// the same name: TOML like `retention-bytes = "4GiB"`. Options win over the file.
#[derive(Debug, Clone, Parser)]
#[command(name = "serve")]
pub(crate) struct Serve {
    /// Where to listen; repeatable; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000", value_parser = listen_address)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Where events are kept
    #[arg(long, value_name = "DIR", default_value = "./tidings-data")]
    pub(crate) data: PathBuf,
    /// Keep events in memory only: they are gone when the hub stops
    #[arg(long, conflicts_with = "data")]
    pub(crate) memory: bool,
    /// Read options from this TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Threads that write event streams, and as many for all else [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Serve others than this machine without authentication
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Let pages of this origin in, besides the hub's own; `*` for any; repeatable
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Answer to this name in the Host header, besides addresses, `localhost` and names without a
    /// dot; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// When an event is acknowledged: once it is synced, or once it is written
    #[arg(long, value_name = "MODE", default_value = "always")]
    pub(crate) durability: Durability,
    /// With --durability interval: sync so long after an event at the latest
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = span::parse_positive)]
    pub(crate) sync_interval: Duration,
    /// Forget the oldest events beyond this size [default: 4GiB; 256MiB with --memory]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) retention_bytes: Option<u64>,
    /// Forget the oldest events beyond this number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) retention_events: Option<u64>,
    /// Forget events older than this
    #[arg(long, value_name = "DURATION", value_parser = span::parse_positive)]
    pub(crate) retention_age: Option<Duration>,
    /// Keep of each topic that a pattern matches what this says, in the place of the above, like
    /// "orders/* age=7d bytes=1GiB events=1000"; repeatable, the first that matches counts; in the
    /// configuration file: a [[retention]] table with pattern, age, bytes, events for each
    #[arg(long, value_name = "PATTERN LIMITS")]
    pub(crate) retention_topic: Vec<TopicRule>,
    /// How often a quiet stream gets a sign of life
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = span::parse_positive)]
    pub(crate) heartbeat: Duration,
    /// Cut a client that takes nothing for this long; it can resume
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = span::parse_positive)]
    pub(crate) stall: Duration,
    /// Spread the end of all streams over this time when stopping
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = span::parse)]
    pub(crate) drain: Duration,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub(crate) log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, also for single modules
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "TIDINGS_LOG"
    )]
    pub(crate) log_level: String,
}

/// When an event is acknowledged, and so what it survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Once it is synced: it survives crashes of the hub and of the machine, and power loss
    Always,
    /// Once it is written: it survives crashes of the hub; power loss takes the last --sync-interval
    Interval,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise
    Auto,
    /// For people
    Text,
    /// A JSON object per line
    Json,
}

/// Where the hub is, and who is asking.
#[derive(Debug, Args)]
pub(crate) struct Hub {
    /// The hub
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:3000",
        env = "TIDINGS_URL"
    )]
    pub(crate) url: String,
    /// The token to show to it
    #[arg(
        long,
        value_name = "TOKEN",
        env = "TIDINGS_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

/// The same, and how patiently.
#[derive(Debug, Args)]
pub(crate) struct Client {
    #[command(flatten)]
    pub(crate) hub: Hub,
    /// Keep trying for this long while the hub cannot be reached or is busy, also at the start
    #[arg(long, value_name = "DURATION", value_parser = span::parse)]
    pub(crate) retry_for: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
The receipt (the event's ID, given once the event is durable) is printed on stdout. With `-`, only
with --receipts. A broken connection or a hub that restarts loses and doubles nothing: what was not
acknowledged is sent again under the same idempotency key.

Once the hub has answered, `-` keeps trying for 5 minutes without progress; --retry-for changes it.

Exit codes: 0 done, 1 failed, 2 usage, 3 the hub could not be reached")]
pub(crate) struct Publish {
    /// The topic, like orders/42
    pub(crate) topic: String,
    /// The data; `-` publishes each line of stdin as an event; without it all of stdin is one event
    pub(crate) data: Option<String>,
    /// The event type that pages listen for
    #[arg(long, value_name = "TYPE")]
    pub(crate) event: Option<String>,
    /// An ID of your own for the event
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Tell subscribers to wait this long before they reconnect
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) retry: Option<u64>,
    /// Deliver the event only for so long
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
    /// A key to store with the event
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Publish once, however often the command is repeated with this key
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// With `-`: print the ID of each event
    #[arg(long)]
    pub(crate) receipts: bool,
    #[command(flatten)]
    pub(crate) client: Client,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
Prints the data of each event on a line of stdout (as it is, if it has several lines). What cannot
be delivered, and why a stream ends, is told on stderr. When the connection breaks it comes back and
resumes after the last event it got, for ever, or for --retry-for.

Exit codes: 0 done, 1 failed, 2 usage, 3 the hub could not be reached")]
pub(crate) struct Subscribe {
    /// The topics, each exactly as it is written
    #[arg(required_unless_present = "pattern")]
    pub(crate) topic: Vec<String>,
    /// A pattern of topics, like orders/:id or orders/*; repeatable
    #[arg(long, value_name = "PATTERN")]
    pub(crate) pattern: Vec<String>,
    /// Where to begin: latest, earliest, an event ID, -N for the last N events, or a time like
    /// 2026-01-31T12:00:00Z [default: latest]
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Resume after the event of this ID
    #[arg(long, value_name = "ID")]
    pub(crate) last_event_id: Option<String>,
    /// Print a JSON object per event: {"id","event","data"}
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) client: Client,
}

const ABOUT_BENCH: &str = "\
The subscribers are let in first. Then events are published, and each is looked for at each of its
subscribers: lost, doubled or out of order, and how long after it was sent. The events are kept by
the hub like all others; their topics (bench/…) are new ones for each run, so nobody else is told.

Examples:
  tidings bench                                          100 subscribers, 10 events a second
  tidings bench --subscribers 5000 --seconds 30          many subscribers of one topic
  tidings bench --rate 0 --publishers 8                  as fast as it goes
  tidings bench --subscribers 2000 --topics 2000 --rate 500
  tidings bench --subscribers 20000 --http2 --json       100 streams share a connection

Ctrl-C ends it early and still prints the result; twice does not wait for what is under way.";

#[derive(Debug, Args)]
#[command(after_long_help = format!("{ABOUT_BENCH}\n\n{BENCH_EXIT_CODES}"))]
pub(crate) struct Bench {
    /// Subscribers, shared out among the topics
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) subscribers: u32,
    /// Topics
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) topics: u32,
    /// Events per second of all publishers together; 0: each as fast as it is answered
    #[arg(long, value_name = "EVENTS_PER_S", default_value = "10", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub(crate) rate: u64,
    /// Bytes of data of each event
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    pub(crate) size: u32,
    /// Publishers, each with one event at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) publishers: u32,
    /// How long to publish
    #[arg(long, value_name = "S", default_value = "10", value_parser = span::parse_positive)]
    pub(crate) seconds: Duration,
    /// Subscribe over HTTP/2, with 100 streams on a connection
    #[arg(long)]
    pub(crate) http2: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) hub: Hub,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Read every record and check it
    #[command(after_help = LOG_EXIT_CODES)]
    Verify(Inspected),
    /// Print every record
    #[command(after_help = LOG_EXIT_CODES)]
    Dump(Inspected),
    /// Read every record and count them by topic, those with most bytes first
    #[command(after_help = LOG_EXIT_CODES)]
    Stats(Counted),
    /// Make a damaged log whole again, as far as it can be read; not while a hub runs on it
    ///
    /// What cannot be read is left out, and subscribers that ask for it are told. Nothing is deleted:
    /// each file that is written anew stays in the directory under another name, NAME.damaged. Remove
    /// these once you are sure that you don't need them. A repair that was interrupted can be done again.
    #[command(after_help = LOG_EXIT_CODES)]
    Repair(Repairing),
}

#[derive(Debug, Args)]
pub(crate) struct Repairing {
    /// The hub's data directory, which `tidings serve --data` names: ./tidings-data by default
    pub(crate) dir: PathBuf,
    /// Only say what would be done; needs no right to write, and may be used while a hub runs
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Counted {
    #[command(flatten)]
    pub(crate) inspected: Inspected,
    /// Show at most so many topics [default: 20; all with --json]
    #[arg(long, value_name = "N")]
    pub(crate) topics: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspected {
    /// The hub's data directory, which `tidings serve --data` names: ./tidings-data by default
    pub(crate) dir: PathBuf,
    /// Print JSON, an object per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A listener needs a number, not a name that may change: only `localhost` is known.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        "write an IP address and a port, like 127.0.0.1:3000, [::1]:3000 or 0.0.0.0:3000".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_place_may_begin_with_a_hyphen() {
        let parsed = Arguments::try_parse_from(["tidings", "subscribe", "t", "--from", "-5"]);
        let Ok(Some(Command::Subscribe(subscribe))) = parsed.map(|a| a.command) else {
            panic!("not a subscribe")
        };
        assert_eq!(subscribe.from.as_deref(), Some("-5"));
    }

    #[test]
    fn listeners_have_numbers() {
        assert!(listen_address("localhost:0").is_ok_and(|a| a.ip().is_loopback()));
        assert!(listen_address("[::1]:3000").is_ok());
        for text in ["3000", ":3000", "example.com:3000", "127.0.0.1"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}
