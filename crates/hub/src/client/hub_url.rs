//! Where a hub is.

use std::fmt;

use hyper::Uri;

use crate::failure::Failure;

/// A hub's URL: `http://HOST[:PORT][/PREFIX]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubUrl {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the `Host` header has it.
    pub(crate) authority: String,
    /// What a proxy has put in front of the hub's paths; without a slash at its end.
    pub(crate) prefix: String,
}

impl HubUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!(
                "the hub's URL `{text}` {why}, like http://127.0.0.1:3000"
            ))
        };
        let with_scheme = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = with_scheme
            .parse()
            .map_err(|_| wrong("makes no sense: write one"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(Failure::usage(format!(
                    "`{text}`: this version speaks no TLS yet; give the hub's http:// URL, or put a \
                     local proxy in between that adds TLS"
                )));
            }
            _ => return Err(wrong("must begin with http://")),
        }
        let authority = uri
            .authority()
            .ok_or_else(|| wrong("has no host: write one"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "must not have a user in it (give a token with --token); write it",
            ));
        }
        if uri.query().is_some() {
            return Err(wrong("must not have a query; write it"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls() {
        for (text, host, port, prefix) in [
            ("http://127.0.0.1:3000", "127.0.0.1", 3000, ""),
            ("http://127.0.0.1:3000/", "127.0.0.1", 3000, ""),
            ("localhost:3000", "localhost", 3000, ""),
            ("http://hub", "hub", 80, ""),
            ("http://[::1]:3000/sse/", "::1", 3000, "/sse"),
        ] {
            let url = HubUrl::parse(text).unwrap();
            assert_eq!(
                (&*url.host, url.port, &*url.prefix),
                (host, port, prefix),
                "{text}"
            );
        }
    }

    #[test]
    fn bad_urls_say_why() {
        for (text, words) in [
            ("https://hub", "no TLS yet"),
            ("ftp://hub", "must begin with http://"),
            ("http://me:pw@hub", "--token"),
            ("http://hub/?x=1", "query"),
            ("http://", "makes no sense"),
            ("", "makes no sense"),
        ] {
            let failure = HubUrl::parse(text).unwrap_err().to_string();
            assert!(failure.contains(words), "{text}: {failure}");
        }
    }
}
