//! What an operator may choose, and every bound on what a stranger may send.

/// Where time and chance come from. Only the binary has the real ones.
#[derive(Debug, Clone, Copy)]
pub struct Environment {
    /// Unix time in milliseconds.
    pub now_ms: fn() -> u64,
    /// A number that a client could not foretell; it spreads reconnects, and guards nothing.
    pub random: fn() -> u64,
}

impl Environment {
    /// A number from `min` to `max`, both included.
    pub(crate) fn between(self, min: u64, max: u64) -> u64 {
        let span = max.saturating_sub(min).saturating_add(1);
        min.saturating_add((self.random)() % span)
    }
}

/// How the server behaves. The name of each bound ends in its unit.
#[derive(Debug, Clone)]
pub struct Config {
    /// A stream that was quiet for this long gets a heartbeat. A subscriber may ask for another
    /// value within [`Config::heartbeat_ms_min`] and [`Config::heartbeat_ms_max`]. Default 15 s.
    pub heartbeat_ms: u64,
    /// The shortest heartbeat that may be asked for. Below: 400. Default 1 s.
    pub heartbeat_ms_min: u64,
    /// The longest heartbeat that may be asked for. Above: 400. Default 1 h.
    pub heartbeat_ms_max: u64,
    /// Clients are told to wait at least this long before they reconnect. Default 1 s.
    pub retry_ms_min: u64,
    /// And at most this long: each is told another time. Default 3 s.
    pub retry_ms_max: u64,
    /// A drain ends the streams spread over this time. Default 5 s.
    pub drain_ms: u64,
    /// What is still open so long after that is closed. Default 5 s.
    pub grace_ms: u64,
    /// A client that takes nothing for so long, though there is something for it, is cut. It can
    /// resume. Default 30 s.
    pub stall_ms_max: u64,
    /// How long a connection that the server closed is still read, so that a client that is
    /// sending gets to read the answer. Default 2 s.
    pub linger_ms_max: u64,
    /// Open connections. Beyond: subscribers are told with `200` and `retry` to come back, all else
    /// but `/healthz` and `/metrics` gets 503. Default 10,000; the binary sets it from the
    /// open-file limit.
    pub connections_max: usize,
    /// Open streams of events. Beyond: as above. Default 1,000,000.
    pub subscribers_max: usize,
    /// Bytes of a request's head. Beyond: 431. Default 16 KiB.
    pub head_bytes_max: usize,
    /// Header fields of a request. Beyond: 431. Default 64.
    pub head_fields_max: usize,
    /// Time for a request's head to arrive, from when it is waited for. Beyond: the connection is
    /// closed. Default 15 s.
    pub head_ms_max: u64,
    /// Bytes of a body that is not a stream. Beyond: 413. Default 16 MiB.
    pub body_bytes_max: usize,
    /// Time for such a body to arrive. Beyond: 408. Default 30 s.
    pub body_ms_max: u64,
    /// Bytes of one line of a stream of NDJSON. Beyond: 413, after the receipts of the lines
    /// before. Default 2 MiB.
    pub line_bytes_max: usize,
    /// How long such a stream may be quiet. Beyond: 408, likewise. Default 5 min.
    pub line_idle_ms_max: u64,
    /// Bytes of a stream of NDJSON that are read but not committed yet. Beyond: reading waits.
    /// Default 4 MiB.
    pub ingest_bytes_max: usize,
    /// How long a stream of NDJSON waits for room in the commit queue. Beyond: 503. Default 10 s.
    pub ingest_busy_ms_max: u64,
    /// Runs of receipts that a publisher has not read. Beyond: reading waits until it does.
    /// A run is as many events as were committed next to each other. Default 65,536.
    pub receipt_runs_max: usize,
    /// Streams of one HTTP/2 connection. Beyond: refused, as RFC 9113 says. Default 1,024.
    pub h2_streams_max: u32,
    /// An HTTP/2 connection without any stream is closed after this. Default 60 s.
    pub h2_idle_ms_max: u64,
    /// The `N` of `from=-N`. Beyond: 400. Default 1,000,000.
    pub from_last_max: u64,
    /// Browsers' origins that may use this hub, beside its own; `*` for any. Default none.
    pub allow_origins: Vec<String>,
    /// Names that the `Host` header may have beside IP addresses, `localhost` and names without a
    /// dot; `None` for any. It keeps a page of a foreign site, whose name was made to point here,
    /// from using a hub that asks for no token. Default `None`.
    pub allow_hosts: Option<Vec<String>>,
    /// Threads that own sockets of plain HTTP/1.1: they write streams and answer publishes. 0: such are
    /// served by hyper, as those of HTTP/2 are, at several times the cost. Default 1; the binary has one for
    /// each processor.
    pub shards: usize,
    /// Whether `/` shows the console. Default true.
    pub console: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat_ms: 15_000,
            heartbeat_ms_min: 1_000,
            heartbeat_ms_max: 3_600_000,
            retry_ms_min: 1_000,
            retry_ms_max: 3_000,
            drain_ms: 5_000,
            grace_ms: 5_000,
            stall_ms_max: 30_000,
            linger_ms_max: 2_000,
            connections_max: 10_000,
            subscribers_max: 1_000_000,
            head_bytes_max: 16 << 10,
            head_fields_max: 64,
            head_ms_max: 15_000,
            body_bytes_max: 16 << 20,
            body_ms_max: 30_000,
            line_bytes_max: 2 << 20,
            line_idle_ms_max: 300_000,
            ingest_bytes_max: 4 << 20,
            ingest_busy_ms_max: 10_000,
            receipt_runs_max: 65_536,
            h2_streams_max: 1_024,
            h2_idle_ms_max: 60_000,
            from_last_max: 1_000_000,
            allow_origins: Vec::new(),
            allow_hosts: None,
            shards: 1,
            console: true,
        }
    }
}
