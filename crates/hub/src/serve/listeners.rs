//! The sockets that clients connect to.

use std::{fs, io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::Failure;

/// Connections that may wait to be accepted on one address. A client whose SYN finds no room tries
/// again after a second, and again after two: with 15,000 at once and the usual backlog of 4,096
/// that makes the last wait for many seconds.
const WAITING_MIN: usize = 16_384;

/// Each socket is an accept loop: past this, more of them help nobody.
const SOCKETS_MAX: usize = 16;

/// The sockets of one address, and the address with the port that it got.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<std::net::TcpListener>,
}

/// Listens on `address` with as many sockets as it takes for [`WAITING_MIN`], each with the backlog
/// that the system allows.
///
/// The first is bound by itself, so an address that anyone has, another hub too, is refused. Only
/// then may others (of the same user) join, which the kernel spreads connections over.
pub(crate) fn bind(address: SocketAddr) -> Result<Bound, Failure> {
    let refused = |error: io::Error| Failure::failed(explain(address, &error));
    let first = socket(address).map_err(refused)?;
    start(&first, address).map_err(refused)?;
    let bound = first
        .local_addr()
        .map_err(refused)?
        .as_socket()
        .unwrap_or(address);
    let wanted = WAITING_MIN.div_ceil(backlog_max()).min(SOCKETS_MAX);
    let mut sockets = vec![first];
    if let Err(error) = join(&mut sockets, bound, wanted) {
        tracing::warn!(%error, sockets = sockets.len(), "fewer listening sockets than wanted");
    }
    Ok(Bound {
        address: bound,
        sockets: sockets.into_iter().map(Into::into).collect(),
    })
}

fn join(sockets: &mut Vec<Socket>, address: SocketAddr, wanted: usize) -> io::Result<()> {
    if let Some(first) = sockets.first() {
        first.set_reuse_port(true)?;
    }
    while sockets.len() < wanted {
        let next = socket(address)?;
        next.set_reuse_port(true)?;
        start(&next, address)?;
        sockets.push(next);
    }
    Ok(())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of the last run that linger must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn start(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.bind(&address.into())?;
    // The kernel cuts it down to what it allows.
    socket.listen(i32::MAX)
}

/// What the kernel cuts a backlog down to.
fn backlog_max() -> usize {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    text.trim()
        .parse()
        .ok()
        .filter(|max| *max > 0)
        .unwrap_or(128)
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            return format!(
                "cannot listen on {address}: the port is taken, perhaps by another tidings; stop \
                 that (find it with: ss -ltnp 'sport = :{port}'), or choose another port with \
                 --listen {}",
                SocketAddr::new(address.ip(), port.checked_add(1).unwrap_or(0))
            );
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are for root; choose a higher one",
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; choose one \
                                            that `ip address` shows"
        }
        _ => "choose another address with --listen",
    };
    format!("cannot listen on {address}: {error}; {advice}")
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn an_address_that_is_taken_is_refused_whoever_has_it() {
        let other = TcpListener::bind(any_port()).unwrap();
        let failure = bind(other.local_addr().unwrap()).unwrap_err();
        assert!(
            failure.to_string().contains("the port is taken"),
            "{failure}"
        );
        let ours = bind(any_port()).unwrap();
        let failure = bind(ours.address).unwrap_err();
        assert!(
            failure.to_string().contains("the port is taken"),
            "{failure}"
        );
    }

    #[test]
    fn thousands_connect_before_anyone_accepts() {
        let bound = bind(any_port()).unwrap();
        assert!(bound.sockets.len() * backlog_max() >= WAITING_MIN || backlog_max() < 1024);
        let clients: Vec<TcpStream> = (0..200)
            .map(|_| TcpStream::connect(bound.address).unwrap())
            .collect();
        let accepted: usize = bound
            .sockets
            .iter()
            .map(|socket| std::iter::from_fn(|| socket.accept().ok()).count())
            .sum();
        assert_eq!(accepted, clients.len());
    }
}
