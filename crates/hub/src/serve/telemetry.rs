//! Log lines: text for people on a terminal, JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::{
    arguments::{LogFormat, Serve},
    failure::Failure,
    notice,
};

/// Starts logging to stderr, and says which form `auto` came to.
pub(crate) fn start(serve: &Serve) -> Result<LogFormat, Failure> {
    let filter = EnvFilter::try_new(&serve.log_level).map_err(|error| {
        let given = &serve.log_level;
        Failure::usage(format!(
            "the log level `{given}` makes no sense: {error}; write error, warn, info, debug or \
             trace, or for a module: tidings_http=debug,info"
        ))
    })?;
    let format = match serve.log_format {
        LogFormat::Auto if notice::is_watched() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    let started = if format == LogFormat::Json {
        builder.json().flatten_event(true).try_init()
    } else {
        let colors = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        builder
            .compact()
            .with_target(false)
            .with_ansi(colors)
            .try_init()
    };
    started.map_err(|error| Failure::failed(format!("could not start logging: {error}")))?;
    Ok(format)
}
