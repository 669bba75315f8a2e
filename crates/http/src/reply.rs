//! All bodies that this server sends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::{publish::ReceiptStream, stream::EventStream};

/// A response body. An enum and not a boxed trait object: one less allocation per subscriber.
#[derive(Debug)]
pub(crate) enum Reply {
    Whole(Bytes),
    Events(Box<EventStream>),
    Receipts(ReceiptStream),
}

impl Reply {
    pub(crate) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Whole(Bytes::from(text.into()))
    }
}

impl Body for Reply {
    type Data = Bytes;
    /// The stream cannot go on; the connection is closed without a proper end.
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Events(stream) => stream.poll_next(cx),
            Self::Receipts(stream) => stream.poll_next(cx),
        };
        data.map(|data| data.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
