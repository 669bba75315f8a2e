//! Who may use the hub from a browser: `Host`, `Origin`, and the CORS headers that answer them.
//!
//! A hub on loopback asks for no token, and any page that the user visits can send requests to
//! loopback. Two checks keep such pages out: a request with the `Origin` of another site is
//! refused unless that origin was allowed, and a `Host` that is a name from the public DNS is
//! refused unless it was allowed, or a page could have its own name point to this machine.

use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use crate::{config::Config, problem::Problem};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a request's `Origin` came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// None, or the hub's own: nothing to add.
    Same,
    /// Another one, which is allowed by name.
    Allowed(HeaderValue),
    /// Any is allowed.
    Any,
}

impl Origin {
    pub(crate) fn of(
        headers: &HeaderMap,
        host: Option<&str>,
        config: &Config,
    ) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::ORIGIN) else {
            return Ok(Self::Same);
        };
        let origin = value.to_str().unwrap_or_default();
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let forwarded = headers
            .get(X_FORWARDED_HOST)
            .and_then(|value| value.to_str().ok());
        let own = [host, forwarded].into_iter().flatten();
        if authority.is_some_and(|a| own.into_iter().any(|own| own.eq_ignore_ascii_case(a))) {
            return Ok(Self::Same);
        }
        if config
            .allow_origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
        {
            return Ok(Self::Allowed(value.clone()));
        }
        if config.allow_origins.iter().any(|allowed| allowed == "*") {
            return Ok(Self::Any);
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "This origin may not use the hub",
            format!(
                "start the hub with `--allow-origin {origin}` to let pages of that origin use it; \
                 behind a proxy, have it pass the `Host` header on"
            ),
        ))
    }

    /// Adds what lets the page read the response.
    pub(crate) fn answer(&self, headers: &mut HeaderMap) {
        match self {
            Self::Same => return,
            Self::Allowed(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                let yes = HeaderValue::from_static("true");
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
            Self::Any => {
                let any = HeaderValue::from_static("*");
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
            }
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Adds what a preflight request asks for.
pub(crate) fn answer_preflight(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, cache-control, content-type, idempotency-key, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "7200"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Refuses a `Host` that neither is an address or local name nor was allowed.
pub(crate) fn check_host(host: Option<&str>, config: &Config) -> Result<(), Problem> {
    let Some(allowed) = &config.allow_hosts else {
        return Ok(());
    };
    let Some(host) = host else { return Ok(()) };
    let name = without_port(host);
    let is_local = !name.contains('.') || name.ends_with(".localhost") || is_address(name);
    if is_local || allowed.iter().any(|a| a.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "The hub does not answer to this name",
        format!("start the hub with `--allow-host {name}` to have it answer to that name"),
    ))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_address(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(headers: &[(&'static str, &str)], host: &str, allow: &[&str]) -> Option<Origin> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let allow_origins = allow.iter().map(ToString::to_string).collect();
        Origin::of(
            &map,
            Some(host),
            &Config {
                allow_origins,
                ..Config::default()
            },
        )
        .ok()
    }

    #[test]
    fn only_the_own_and_allowed_origins_pass() {
        let own = ("origin", "http://localhost:3000");
        assert_eq!(origin(&[], "x", &[]), Some(Origin::Same));
        assert_eq!(origin(&[own], "localhost:3000", &[]), Some(Origin::Same));
        assert_eq!(origin(&[own], "localhost:3001", &[]), None);
        assert_eq!(origin(&[("origin", "null")], "null", &[]), None);
        let behind_proxy = [
            ("origin", "https://a.example"),
            ("x-forwarded-host", "a.example"),
        ];
        assert_eq!(
            origin(&behind_proxy, "127.0.0.1:3000", &[]),
            Some(Origin::Same)
        );
        let other = ("origin", "https://a.example");
        assert_eq!(origin(&[other], "x", &["*"]), Some(Origin::Any));
        let allowed = Origin::Allowed(HeaderValue::from_static("https://a.example"));
        assert_eq!(origin(&[other], "x", &["https://a.example"]), Some(allowed));
    }

    #[test]
    fn a_public_name_must_be_allowed() {
        let config = Config {
            allow_hosts: Some(vec!["hub.example".into()]),
            ..Config::default()
        };
        for host in [
            "localhost:3000",
            "127.0.0.1",
            "[::1]:3000",
            "::1",
            "hub",
            "hub.example:80",
            "a.localhost",
        ] {
            assert!(check_host(Some(host), &config).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:3000",
            "127.0.0.1.evil.example",
        ] {
            assert!(check_host(Some(host), &config).is_err(), "{host}");
        }
        assert!(check_host(Some("evil.example"), &Config::default()).is_ok());
    }
}
