//! `tidings serve`: the hub itself.

mod config_file;
mod listeners;
mod open_files;
mod stop;
mod store;
mod telemetry;
mod welcome;

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use tidings::Hub;
use tidings_http::{Config, Environment, Server};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

use self::{
    listeners::Bound, open_files::OpenFiles, stop::Stop, store::Committing, welcome::Welcome,
};
use crate::{
    arguments::{LogFormat, Serve},
    environment,
    failure::Failure,
    notice, span,
};

/// What blocking work may still take when all else has stopped.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(2);

/// Serves with all defaults.
pub(crate) fn run_default() -> Result<(), Failure> {
    run(config_file::defaults()?, &[])
}

/// Serves until a signal comes. `options` are the words that `given` was parsed from.
pub(crate) fn run(given: Serve, options: &[OsString]) -> Result<(), Failure> {
    let serve = match &given.config {
        Some(path) => config_file::complete(path, options)?,
        None => given,
    };
    refuse_strangers(&serve)?;
    let format = telemetry::start(&serve)?;
    serve_with(&serve, format).map_err(|failure| tell(failure, format))
}

/// Whoever reads log lines as JSON wants this one as JSON too.
fn tell(failure: Failure, format: LogFormat) -> Failure {
    if format != LogFormat::Json || !tracing::enabled!(tracing::Level::ERROR) {
        return failure;
    }
    tracing::error!("{failure}");
    failure.told()
}

fn serve_with(serve: &Serve, format: LogFormat) -> Result<(), Failure> {
    let files = raise_open_files();
    let bound: Vec<Bound> = serve
        .listen
        .iter()
        .map(|a| listeners::bind(*a))
        .collect::<Result<_, _>>()?;
    let store = store::open(serve)?;
    let hub = store.hub.clone();
    let committing = Committing::start(store)?;
    let server = Server::new(
        hub.clone(),
        config(serve, files),
        Environment {
            now_ms: environment::now_ms,
            random: environment::random,
        },
    );
    let runtime = runtime(serve)?;
    announce(serve, format, &bound);
    let result = runtime.block_on(serve_until_stopped(&hub, &server, bound, committing));
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    result
}

/// Without authentication only this machine may come in, unless the operator says otherwise.
fn refuse_strangers(serve: &Serve) -> Result<(), Failure> {
    let open = serve
        .listen
        .iter()
        .find(|a| !a.ip().to_canonical().is_loopback());
    match open {
        Some(address) if !serve.insecure => Err(Failure::usage(format!(
            "{address} can be reached by others, and this version cannot ask them for a token: \
             anyone could read and publish everything. Listen on 127.0.0.1 and put a proxy that \
             authenticates in front, or add --insecure if the network itself keeps strangers out"
        ))),
        _ => Ok(()),
    }
}

fn raise_open_files() -> OpenFiles {
    let files = open_files::raise();
    let connections_max = files.connections_max();
    tracing::info!(
        before = files.before,
        now = files.now,
        connections_max,
        "open-file limit"
    );
    if connections_max < 4096 {
        tracing::warn!("few connections fit: raise the hard limit (ulimit -Hn, LimitNOFILE=)");
    }
    files
}

fn config(serve: &Serve, files: OpenFiles) -> Config {
    // Any Host header is fine only where the operator has opened the hub to others.
    let any_host = serve.insecure && serve.allow_host.is_empty();
    Config {
        heartbeat_ms: span::millis(serve.heartbeat),
        stall_ms_max: span::millis(serve.stall),
        drain_ms: span::millis(serve.drain),
        connections_max: files.connections_max(),
        allow_origins: serve.allow_origin.clone(),
        allow_hosts: (!any_host).then(|| serve.allow_host.clone()),
        ..Config::default()
    }
}

fn runtime(serve: &Serve) -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = serve.workers {
        builder.worker_threads(usize::from(workers));
    }
    builder.enable_all().build().map_err(|error| {
        Failure::failed(format!(
            "cannot start worker threads: {error}; try fewer with --workers"
        ))
    })
}

fn announce(serve: &Serve, format: LogFormat, bound: &[Bound]) {
    for Bound { address, sockets } in bound {
        tracing::info!(url = %url(*address), sockets = sockets.len(), "listening");
    }
    // Between lines of JSON it would be noise.
    if let (LogFormat::Text, Some(first)) = (format, bound.first()) {
        let binary = std::env::args_os()
            .next()
            .unwrap_or_else(|| "tidings".into());
        notice::say(Welcome {
            url: &url(first.address),
            keeps: &store::describe(serve),
            binary: &binary.to_string_lossy(),
        });
    }
}

/// Where to look: an address that listens everywhere is reached over loopback.
fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
}

async fn serve_until_stopped(
    hub: &Hub,
    server: &Server,
    bound: Vec<Bound>,
    mut committing: Committing,
) -> Result<(), Failure> {
    let mut stop = Stop::new()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))?;
    let mut accepting = accept(server, bound)?;
    tokio::select! {
        signal = stop.wanted() => tracing::info!(signal, "stopping in good order; again: at once"),
        () = committing.ended() => tracing::error!("the committer has ended; stopping"),
    }
    let finish = async {
        server.drain().await;
        accepting.shutdown().await;
        hub.close_to_publishers();
        tokio::task::spawn_blocking(|| committing.finish()).await
    };
    tokio::select! {
        result = finish => {
            let result = result.unwrap_or_else(|error| Err(Failure::failed(error.to_string())));
            result.inspect(|()| tracing::info!("stopped"))
        }
        signal = stop.wanted() => {
            tracing::warn!(signal, "stopping at once; what was acknowledged is safe");
            // Not even the runtime is waited for.
            std::process::exit(1);
        }
    }
}

/// One accept loop for each socket.
fn accept(server: &Server, bound: Vec<Bound>) -> Result<JoinSet<()>, Failure> {
    let mut accepting = JoinSet::new();
    for socket in bound.into_iter().flat_map(|bound| bound.sockets) {
        let listener = TcpListener::from_std(socket)
            .map_err(|error| Failure::failed(format!("cannot watch a socket: {error}")))?;
        let server = server.clone();
        accepting.spawn(async move { server.serve(listener).await });
    }
    Ok(accepting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_refused_unless_the_operator_insists() {
        let with = |listen: &str, insecure| {
            let mut serve = config_file::defaults().unwrap();
            serve.listen = vec![listen.parse().unwrap()];
            serve.insecure = insecure;
            refuse_strangers(&serve).is_ok()
        };
        assert!(with("127.0.0.1:1", false) && with("127.9.9.9:1", false) && with("[::1]:1", false));
        assert!(with("[::ffff:127.0.0.1]:1", false));
        assert!(!with("0.0.0.0:1", false) && !with("[::]:1", false) && !with("10.0.0.1:1", false));
        assert!(with("0.0.0.0:1", true));
    }

    #[test]
    fn a_url_can_be_opened() {
        assert_eq!(url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(url("10.0.0.1:80".parse().unwrap()), "http://10.0.0.1:80");
    }
}
