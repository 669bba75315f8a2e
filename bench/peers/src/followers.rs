use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::{MARK, Target};

/// Many connections that count what they are sent, on one thread.
#[derive(Debug)]
pub struct Followers {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    followers: Vec<Follower>,
    /// Connections that have a response.
    pub ready: usize,
    /// Connections that are gone.
    pub closed: usize,
    pub delivered: u64,
}

#[derive(Debug)]
struct Follower {
    stream: TcpStream,
    ready: bool,
    got: u64,
}

impl Followers {
    /// Connects all, one after the other, and asks each for its stream. `headers` end in CRLF each.
    ///
    /// # Errors
    /// A connection is refused, or the limit on open files is too low.
    pub fn connect(count: usize, target: &Target, headers: &str) -> Result<Self> {
        let poll = Poll::new()?;
        let Target { address, path } = target;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{headers}\r\n"
        );
        let mut followers = Vec::with_capacity(count);
        for number in 0..count {
            let mut stream = std::net::TcpStream::connect(address)
                .with_context(|| format!("follower {number} could not connect"))?;
            stream.write_all(request.as_bytes())?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(number), Interest::READABLE)?;
            followers.push(Follower {
                stream,
                ready: false,
                got: 0,
            });
        }
        let (events, buffer) = (Events::with_capacity(1024), vec![0; 1 << 18]);
        Ok(Self {
            poll,
            events,
            buffer,
            followers,
            ready: 0,
            closed: 0,
            delivered: 0,
        })
    }

    /// Until all have a response.
    ///
    /// # Errors
    /// One was refused, or the time is up.
    pub fn wait_until_ready(&mut self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while self.ready < self.followers.len() {
            self.pump(Duration::from_millis(50), |_| {})?;
            let (ready, all) = (self.ready, self.followers.len());
            ensure!(
                Instant::now() < end && self.closed == 0,
                "{ready} of {all} got a response"
            );
        }
        Ok(())
    }

    /// Until `each` events have come to all, or nothing comes any more for `stall`.
    ///
    /// `take` is told of each delivery: the how-manieth event of its follower it is, from 0.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn wait_for(
        &mut self,
        each: u64,
        stall: Duration,
        mut take: impl FnMut(u64),
    ) -> Result<()> {
        let wanted = each * self.followers.len() as u64;
        let mut progress = Instant::now();
        while self.delivered < wanted && progress.elapsed() < stall {
            let before = self.delivered;
            self.pump(Duration::from_millis(50), &mut take)?;
            if self.delivered > before {
                progress = Instant::now();
            }
        }
        Ok(())
    }

    /// Events that did not come, and events too many, where each follower should have `each`.
    #[must_use]
    pub fn lost_and_doubled(&self, each: u64) -> (u64, u64) {
        let followers = self.followers.iter();
        followers.fold((0, 0), |(lost, doubled), follower| {
            let got = follower.got;
            (
                lost + each.saturating_sub(got),
                doubled + got.saturating_sub(each),
            )
        })
    }

    fn pump(&mut self, wait: Duration, mut take: impl FnMut(u64)) -> Result<()> {
        self.poll.poll(&mut self.events, Some(wait))?;
        for event in &self.events {
            let follower = &mut self.followers[event.token().0];
            loop {
                match follower.stream.read(&mut self.buffer) {
                    Ok(0) => break self.closed += 1,
                    Ok(got) => {
                        let bytes = &self.buffer[..got];
                        self.ready += usize::from(!follower.ready);
                        follower.ready = true;
                        for _ in memchr::memchr_iter(MARK, bytes) {
                            take(follower.got);
                            follower.got += 1;
                            self.delivered += 1;
                        }
                        // Edge-triggered: only a short read or `WouldBlock` says that it is dry.
                        if got < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => break self.closed += 1,
                }
            }
        }
        Ok(())
    }
}
