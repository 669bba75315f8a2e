use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mio::{Events, Poll, Token};

use crate::follower::{Change, Follower};
use crate::{Histogram, Manner, Numbering, Publisher, Tally, Target, Turn, Turns, now_ns};

/// Publishers' tokens begin here, followers' at 0.
const PUBLISHERS: usize = 1 << 30;

/// Followers and publishers on one thread, whose sockets never block.
#[derive(Debug)]
pub struct Load {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    followers: Vec<Follower>,
    publishers: Vec<(Publisher, Turns)>,
    pub tally: Tally,
    /// From sending an event to its receipt.
    pub receipts: Histogram,
    /// Followers that have a response.
    pub ready: usize,
    /// That have another status than 200.
    pub refused: usize,
    /// That the server closed.
    pub closed: usize,
}

/// What to publish, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// In all
    pub events: u64,
    /// Events per second; 0: as fast as they are answered.
    pub rate: u64,
}

impl Load {
    /// # Errors
    /// The kernel gives no more.
    pub fn new(numbering: Numbering) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            buffer: vec![0; 1 << 18],
            followers: Vec::new(),
            publishers: Vec::new(),
            tally: Tally::new(numbering),
            receipts: Histogram::default(),
            ready: 0,
            refused: 0,
            closed: 0,
        })
    }

    /// Connects so many at once, and asks each for its stream. `headers` end in CRLF each.
    ///
    /// # Errors
    /// A socket cannot be made: the limit on open files is too low.
    pub fn follow(&mut self, count: usize, target: &Target, headers: &str) -> Result<()> {
        let numbering = self.tally.numbering();
        for number in 0..count {
            let path = target.path(number as u64 % numbering.topics);
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{headers}\r\n",
                target.address
            );
            let token = Token(self.followers.len());
            let (address, registry) = (target.address, self.poll.registry());
            let request = request.into_bytes();
            let follower = Follower::connect(address, request, numbering, registry, token)?;
            self.followers.push(follower);
            // So that requests go out while others connect.
            if number % 64 == 63 {
                self.step(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Until all followers have a response; tells how long that took since `start`.
    ///
    /// # Errors
    /// One was refused, or the time is up.
    pub fn wait_until_ready(&mut self, start: Instant, limit: Duration) -> Result<f64> {
        while self.ready < self.followers.len() {
            self.step(Duration::from_millis(20))?;
            let (ready, all) = (self.ready, self.followers.len());
            let is_well = start.elapsed() < limit && self.closed + self.refused == 0;
            ensure!(is_well, "{ready} of {all} got a response");
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Only reads, for so long.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn wait(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.step(left)?;
        }
        Ok(())
    }

    /// Only reads, for so long; answers how many followers were sent anything meanwhile.
    ///
    /// # Errors
    /// The poll itself fails.
    pub fn listen(&mut self, time: Duration) -> Result<usize> {
        for follower in &mut self.followers {
            follower.heard = false;
        }
        self.wait(time)?;
        let followers = self.followers.iter();
        Ok(followers.filter(|follower| follower.heard).count())
    }

    /// # Errors
    /// The server cannot be reached.
    pub fn publishers(&mut self, target: &Target, manner: Manner, topic: &str) -> Result<()> {
        let numbering = self.tally.numbering();
        for number in 0..numbering.publishers {
            let token = Token(PUBLISHERS + self.publishers.len());
            let registry = self.poll.registry();
            let publisher = Publisher::connect(target, manner, topic, registry, token)?;
            self.publishers
                .push((publisher, Turns::new(numbering, number, 0)));
        }
        Ok(())
    }

    /// Publishes and waits for all deliveries, or until nothing comes any more for `stall`. Answers
    /// the seconds until the last delivery, or the last receipt where nobody follows.
    ///
    /// # Errors
    /// A connection breaks, or an event is refused.
    pub fn run(&mut self, plan: Plan, expected: u64, stall: Duration) -> Result<f64> {
        for (_, turns) in &mut self.publishers {
            turns.extend(plan.events);
        }
        let (start, start_ns) = (Instant::now(), now_ns());
        let first = self.publishers.iter().filter_map(|(_, turns)| turns.peek());
        let first = first.map(|turn| turn.sequence).min().unwrap_or(0);
        let mut progress = Instant::now();
        loop {
            let wait = self.publish(plan.rate, start_ns, first)?;
            let before = (self.tally.delivered, self.receipts.count());
            self.step(wait)?;
            let after = (self.tally.delivered, self.receipts.count());
            if before != after {
                progress = Instant::now();
            }
            let published = self
                .publishers
                .iter()
                .all(|(p, turns)| p.is_done() && turns.peek().is_none());
            if (published && self.tally.delivered >= expected) || progress.elapsed() > stall {
                return Ok((progress - start).as_secs_f64());
            }
        }
    }

    /// Gives idle publishers what is due; answers how long there is nothing more to do.
    fn publish(&mut self, rate: u64, start_ns: u64, first: u64) -> Result<Duration> {
        let now = now_ns();
        let mut wait = Duration::from_millis(50);
        let mut sent: Vec<Turn> = Vec::new();
        for (publisher, turns) in &mut self.publishers {
            sent.clear();
            let room = publisher.room();
            while let Some(turn) = turns.peek().filter(|_| sent.len() < room) {
                let due = (turn.sequence - first)
                    .saturating_mul(1_000_000_000)
                    .checked_div(rate);
                let early = (start_ns + due.unwrap_or(0)).saturating_sub(now);
                if early > 0 {
                    wait = wait.min(Duration::from_nanos(early));
                    break;
                }
                sent.push(turn);
                turns.take();
            }
            if !sent.is_empty() {
                publisher.send(&sent)?;
            }
        }
        Ok(wait)
    }

    /// Waits for sockets, at most so long, and serves those that are ready.
    ///
    /// # Errors
    /// The poll fails, or a publisher's connection.
    pub fn step(&mut self, wait: Duration) -> Result<()> {
        self.poll.poll(&mut self.events, Some(wait))?;
        for event in &self.events {
            let number = event.token().0;
            if let Some(follower) = self.followers.get_mut(number) {
                match follower.go_on(&mut self.buffer, &mut self.tally) {
                    Change::None => {}
                    Change::Ready => self.ready += 1,
                    Change::Refused => self.refused += 1,
                    Change::Closed => self.closed += 1,
                }
            } else if let Some((publisher, _)) = self.publishers.get_mut(number - PUBLISHERS) {
                publisher.go_on(&mut self.buffer, &mut self.receipts)?;
            }
        }
        Ok(())
    }
}
