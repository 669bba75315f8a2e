//! What a run is to do, and how it divides the work.

use std::time::Duration;

use crate::{arguments, environment, failure::Failure, open_files::OpenFiles};

/// Streams that share a connection over HTTP/2.
pub(crate) const STREAMS_PER_CONNECTION: usize = 100;

/// Open files beside connections: the terminal, the runtime.
const RESERVE: usize = 32;

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    pub(crate) topics: usize,
    pub(crate) publishers: usize,
    /// Events per second; 0: as fast as they are answered.
    pub(crate) rate: u64,
    pub(crate) size: usize,
    pub(crate) time: Duration,
    pub(crate) http2: bool,
    /// Begins the names of the topics, which no other run has.
    prefix: String,
}

impl Plan {
    pub(crate) fn new(bench: &arguments::Bench) -> Self {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            subscribers: number(bench.subscribers),
            topics: number(bench.topics),
            publishers: number(bench.publishers),
            rate: bench.rate,
            size: number(bench.size),
            time: bench.seconds,
            http2: bench.http2,
            prefix: format!("bench/{}", environment::new_epoch()),
        }
    }

    pub(crate) fn topic(&self, topic: usize) -> String {
        format!("{}/{topic}", self.prefix)
    }

    /// The topic of a subscriber, by their numbers.
    pub(crate) fn topic_of(&self, subscriber: usize) -> usize {
        subscriber % self.topics
    }

    /// Publishers that share a topic: each has its own order.
    pub(crate) fn lanes(&self) -> usize {
        self.publishers.div_ceil(self.topics)
    }

    /// Where a lane of a topic stands in a list of all.
    pub(crate) fn place(&self, turn: Turn) -> usize {
        turn.lane * self.topics + turn.topic
    }

    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        self.lanes() * self.topics
    }

    pub(crate) fn turns(&self, publisher: usize) -> Turns {
        Turns {
            topics: self.topics,
            publishers: self.publishers,
            topic: publisher % self.topics,
            lane: publisher / self.topics,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        if self.http2 {
            self.subscribers.div_ceil(STREAMS_PER_CONNECTION)
        } else {
            self.subscribers
        }
    }

    /// That there are files enough for all connections.
    pub(crate) fn check(&self, files: OpenFiles) -> Result<(), Failure> {
        let wanted = self.connections() + self.publishers + RESERVE;
        let has = files.now;
        if u64::try_from(wanted).is_ok_and(|wanted| wanted <= has) {
            return Ok(());
        }
        let (subscribers, publishers) = (self.subscribers, self.publishers);
        let instead = if self.http2 {
            ""
        } else {
            ", share connections with --http2"
        };
        Err(Failure::failed(format!(
            "{subscribers} subscribers and {publishers} publishers need {wanted} open files, and \
             this process may have {has}: raise the limit (`ulimit -Hn {wanted}`; LimitNOFILE= for \
             a service){instead}, or take fewer --subscribers; the hub needs as many"
        )))
    }
}

/// An event that is to be sent, but for its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) topic: usize,
    pub(crate) lane: usize,
}

/// The topics that a publisher publishes to, round and round. No other has the same lane of them.
#[derive(Debug)]
pub(crate) struct Turns {
    topics: usize,
    publishers: usize,
    topic: usize,
    lane: usize,
}

impl Turns {
    pub(crate) fn next(&mut self) -> Turn {
        let turn = Turn {
            topic: self.topic,
            lane: self.lane,
        };
        if self.publishers < self.topics {
            self.topic += self.publishers;
            if self.topic >= self.topics {
                self.topic %= self.publishers;
            }
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn plan(words: &[&str]) -> Plan {
        let words = ["tidings", "bench"].iter().chain(words);
        match Arguments::try_parse_from(words).unwrap().command {
            Some(Command::Bench(bench)) => Plan::new(&bench),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_lane_has_one_publisher_and_every_topic_is_published_to() {
        for (topics, publishers) in [(1, 1), (1, 3), (7, 3), (3, 7), (4, 4), (5, 2)] {
            let (topics, publishers) = (topics.to_string(), publishers.to_string());
            let plan = plan(&["--topics", &topics, "--publishers", &publishers]);
            let mut owners = vec![HashSet::new(); plan.places()];
            for publisher in 0..plan.publishers {
                let mut turns = plan.turns(publisher);
                for _ in 0..plan.topics * 2 {
                    owners[plan.place(turns.next())].insert(publisher);
                }
            }
            assert!(owners.iter().all(|owners| owners.len() <= 1), "{plan:?}");
            let first = owners.iter().take(plan.topics);
            assert!(
                first.into_iter().all(|owners| owners.len() == 1),
                "{plan:?}"
            );
        }
    }

    #[test]
    fn too_few_files_are_told_before_anything_is_opened() {
        let plan = plan(&["--subscribers", "2000"]);
        let files = |now| OpenFiles { before: now, now };
        assert!(plan.check(files(4096)).is_ok());
        let told = plan.check(files(1024)).unwrap_err().to_string();
        assert!(
            told.contains("need 2033 open files") && told.contains("may have 1024"),
            "{told}"
        );
        assert!(told.contains("--http2"), "{told}");
    }

    #[test]
    fn streams_share_connections_over_http2() {
        assert_eq!(plan(&["--subscribers", "250", "--http2"]).connections(), 3);
        assert_eq!(plan(&["--subscribers", "250"]).connections(), 250);
    }
}
