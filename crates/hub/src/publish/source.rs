//! What is to be published.

use super::lines::{Batch, LineError, Receiver};

/// The input's batches, up to its end or to what is wrong with it.
#[derive(Debug)]
pub(crate) struct Source {
    receiver: Receiver,
    error: Option<LineError>,
}

impl Source {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            error: None,
        }
    }

    /// The next batch; `None` when there is no more. Cancel safe: nothing is lost.
    pub(crate) async fn next(&mut self) -> Option<Batch> {
        match self.receiver.recv().await? {
            Ok(batch) => Some(batch),
            Err(error) => {
                // The reader ends with its error, so there is one at the most.
                self.error = Some(error);
                None
            }
        }
    }

    /// What ended the input, if it was not its end.
    pub(crate) fn error(&mut self) -> Option<LineError> {
        self.error.take()
    }
}
