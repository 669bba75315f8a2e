//! One connection to a hub.

use std::{error::Error, fmt, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use hyper::{
    Method, Request, Response,
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT},
    http::request,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

use super::hub_url::HubUrl;
use crate::{arguments, failure::Failure};

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Where the hub is and how to be let in: makes connections, and requests for them.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    url: HubUrl,
    authorization: Option<HeaderValue>,
}

/// The hub could not be reached.
#[derive(Debug)]
pub(crate) struct ConnectError {
    url: HubUrl,
    source: io::Error,
}

impl Door {
    pub(crate) fn new(hub: &arguments::Hub) -> Result<Self, Failure> {
        let authorization = hub.token.as_deref().map(bearer).transpose()?;
        let url = HubUrl::parse(&hub.url)?;
        Ok(Self { url, authorization })
    }

    /// The hub's URL.
    pub(crate) fn url(&self) -> &impl fmt::Display {
        &self.url
    }

    /// A request for `/events`, with what every request has.
    pub(crate) fn events(&self, method: Method, query: &str) -> request::Builder {
        let separator = if query.is_empty() { "" } else { "?" };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/events{separator}{query}", self.url.prefix))
            .header(HOST, &self.url.authority);
        self.introduce(request)
    }

    /// The same to subscribe over HTTP/2, which has the host in the URL.
    pub(crate) fn events_absolute(&self, query: &str) -> request::Builder {
        self.introduce(Request::get(format!("{}/events?{query}", self.url)))
    }

    fn introduce(&self, request: request::Builder) -> request::Builder {
        let request = request.header(USER_AGENT, concat!("tidings/", env!("CARGO_PKG_VERSION")));
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    /// Connects, to the first of the host's addresses that answers.
    pub(crate) async fn connect<B>(&self) -> Result<Connection<B>, ConnectError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let failed = |source| self.failed(source);
        let stream = self.stream().await.map_err(failed)?;
        // Small requests must not wait for each other's acknowledgement; if not, they are slower.
        let _ = stream.set_nodelay(true);
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(io::Error::other(error)))?;
        // What goes wrong on the connection is told by the response.
        let driver = tokio::spawn(async move { driver.await.unwrap_or_default() });
        Ok(Connection { sender, driver })
    }

    /// The address that [`Door::connect`] finds now.
    pub(crate) async fn address(&self) -> Result<SocketAddr, ConnectError> {
        let stream = self.stream().await;
        let address = stream.and_then(|stream| stream.peer_addr());
        address.map_err(|source| self.failed(source))
    }

    async fn stream(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((&*self.url.host, self.url.port));
        tokio::time::timeout(CONNECT_PATIENCE, stream)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn failed(&self, source: io::Error) -> ConnectError {
        ConnectError {
            url: self.url.clone(),
            source,
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
        Failure::usage("the token has characters that a header cannot carry: copy it again")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// An open connection. It is closed when this is dropped, whatever is still on its way.
#[derive(Debug)]
pub(crate) struct Connection<B> {
    sender: SendRequest<B>,
    driver: JoinHandle<()>,
}

impl<B: Body<Data = Bytes> + Send + 'static> Connection<B> {
    /// Sends the request, and waits for the head of the answer; the body may still be on its way.
    /// That of the one before must not be.
    pub(crate) async fn send(&mut self, request: Request<B>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

impl<B> Drop for Connection<B> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, source } = self;
        write!(f, "cannot connect to {url}: {source}")?;
        match source.kind() {
            io::ErrorKind::ConnectionRefused => f.write_str(
                "; start a hub with `tidings serve`, or say where it is with --url or TIDINGS_URL",
            ),
            _ => f.write_str("; check --url"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// hyper says "connection error"; what it was stands at the end of the chain.
pub(crate) fn root_cause(error: &hyper::Error) -> String {
    if error.is_closed() {
        // hyper's own words are "channel closed", of a channel that is none of the user's.
        return "the connection was closed".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
