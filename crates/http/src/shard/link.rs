//! What a shard needs of a socket.

use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{connection, hangup::linger, server::Shared, sniff::Rewound};

/// A connection's socket. Nothing here blocks: what cannot be done now is
/// [`WouldBlock`](io::ErrorKind::WouldBlock), and the shard is told when it can.
pub(crate) trait Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// Why a shard lets go of a connection.
#[derive(Debug)]
pub(crate) enum Release {
    /// Its request is for hyper, which has to read these bytes first.
    ToHyper(bytes::Bytes),
    /// All was said. What the client may still be sending is read for a while, then it is closed.
    Linger,
    /// It is over. An error says why, for who cares.
    Closed(io::Result<()>),
}

impl Release {
    /// Does what is left to do for a connection, until it ends.
    pub(crate) async fn carry_out<I>(self, server: Arc<Shared>, io: I) -> io::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self {
            Self::ToHyper(first) => connection::serve(server, Rewound::new(first, io), false).await,
            Self::Linger => linger(io, server.stream.config.linger_ms_max).await,
            Self::Closed(outcome) => outcome,
        }
    }
}

/// Writes until all is written or the socket takes no more, and says how much that is. Only then
/// will the driver be told when it takes more.
pub(crate) fn write_now(link: &mut impl Link, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match link.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// What there is to read now; `None` if there is nothing yet.
pub(crate) fn read_now(link: &mut impl Link, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match link.read(buffer) {
            Ok(read) => return Ok(Some(read)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
