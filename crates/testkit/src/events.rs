//! A stream of events, read as a browser reads it.

use std::{collections::VecDeque, time::Duration};

use tidings_wire::{Decoder, Item, OwnedMessageEvent};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::client::Client;

/// A subscriber.
#[derive(Debug)]
pub struct Events<I> {
    client: Client<I>,
    decoder: Decoder,
    ready: VecDeque<OwnedMessageEvent>,
    raw: String,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Events<I> {
    /// Reads the body whose head `client` has just read.
    pub fn new(client: Client<I>) -> Self {
        Self {
            client,
            decoder: Decoder::new(),
            ready: VecDeque::new(),
            raw: String::new(),
        }
    }

    /// The next event that a page would see. `None`: the stream ended.
    pub async fn next(&mut self) -> Option<OwnedMessageEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The data of the next `count` events, of any type.
    pub async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::with_capacity(count);
        while data.len() < count {
            let event = self.next().await;
            data.push(event.expect("more events").data);
        }
        data
    }

    /// Reads the next bytes. False: the stream ended.
    pub async fn read(&mut self) -> bool {
        let Some(bytes) = self.client.chunk().await else {
            return false;
        };
        self.raw.push_str(&String::from_utf8_lossy(&bytes));
        let mut input = bytes.as_slice();
        while let Some(item) = self.decoder.next(&mut input) {
            if let Item::Event(event) = item.expect("a valid stream") {
                self.ready.push_back(event.to_owned());
            }
        }
        true
    }

    /// Asserts that no event comes for so long. Heartbeats are none.
    pub async fn is_quiet_for(&mut self, time: Duration) {
        let quiet = async {
            while self.ready.is_empty() {
                let deadline = timeout(Duration::from_secs(50), self.read());
                if let Ok(false) = deadline.await {
                    panic!("the stream ended: {}", self.raw);
                }
            }
        };
        let quiet = timeout(time, quiet).await.is_err();
        assert!(quiet, "not quiet: {:?}", self.ready);
    }

    /// The ID that a page would resume after.
    pub fn last_event_id(&self) -> &str {
        let id = self.decoder.last_event_id().as_bytes();
        std::str::from_utf8(id).expect("an ID is UTF-8")
    }

    /// The time after which a page would reconnect.
    pub fn retry_ms(&self) -> Option<u64> {
        self.decoder.retry_ms()
    }

    /// All bytes so far.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Whether the stream came to its proper end.
    pub fn is_whole(&self) -> bool {
        self.client.is_whole()
    }

    /// The connection.
    pub fn into_client(self) -> Client<I> {
        self.client
    }
}
