//! The hub over its log, and the thread that writes it.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tidings::{Committer, Hub, Limits, Report};
use tidings_log::{
    CommitError, DirectoryError, DirectoryStorage, MemoryStorage, Options, Recovery, Retention,
    Storage, TopicRetention, Topics, Unread, Upkeep,
};
use tokio::sync::oneshot;

use crate::{
    arguments::{Durability, Serve},
    environment,
    failure::Failure,
    size, span,
    topic_rule::TopicRule,
};

const RETENTION_BYTES: u64 = 4 << 30;
const RETENTION_BYTES_IN_MEMORY: u64 = 256 << 20;

/// An open log.
pub(crate) struct Store {
    pub(crate) hub: Hub,
    committer: Committer,
    /// For a log on a disk.
    upkeep: Option<Upkeep>,
}

/// Opens the log, or begins it.
pub(crate) fn open(serve: &Serve) -> Result<Store, Failure> {
    let storage: Arc<dyn Storage> = if serve.memory {
        Arc::new(MemoryStorage::new())
    } else {
        Arc::new(directory(&serve.data)?)
    };
    let options = Options {
        durability: durability(serve),
        retention: retention(serve),
        ..Options::default()
    };
    let now_ms = environment::now_ms();
    let failed = |error: &dyn std::fmt::Display| {
        let data = serve.data.display();
        Failure::failed(format!("cannot open the log in {data}: {error}"))
    };
    let (mut writer, reader, recovery) =
        tidings_log::open(storage, options, &environment::new_epoch(), now_ms)
            .map_err(|error| failed(&error))?;
    report_recovery(serve, reader.epoch(), &recovery);
    let upkeep = (!serve.memory).then(|| writer.upkeep());
    let (hub, committer) =
        Hub::new(writer, reader, Limits::default(), now_ms).map_err(|error| failed(&error))?;
    Ok(Store {
        hub,
        committer,
        upkeep,
    })
}

/// What is kept and where, for people.
pub(crate) fn describe(serve: &Serve) -> String {
    if serve.memory {
        return "events are in memory only and gone when it stops".to_owned();
    }
    let path = fs::canonicalize(&serve.data).unwrap_or_else(|_| serve.data.clone());
    format!("events are kept in {}", path.display())
}

fn directory(path: &Path) -> Result<DirectoryStorage, Failure> {
    DirectoryStorage::open(path).map_err(|error| {
        let advice = match &error {
            DirectoryError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "; let this user write there, choose another directory with --data DIR, or keep \
                     events in memory only with --memory"
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "; free some space, or choose another directory with --data DIR"
                }
                _ => "; choose another directory with --data DIR",
            },
            _ => " with --data DIR",
        };
        Failure::failed(format!("{error}{advice}"))
    })
}

fn durability(serve: &Serve) -> tidings_log::Durability {
    match serve.durability {
        Durability::Always => tidings_log::Durability::Always,
        Durability::Interval => tidings_log::Durability::Interval {
            unsynced_ms_max: span::millis(serve.sync_interval),
        },
    }
}

fn retention(serve: &Serve) -> Retention {
    let bytes = if serve.memory {
        RETENTION_BYTES_IN_MEMORY
    } else {
        RETENTION_BYTES
    };
    Retention {
        bytes_max: Some(serve.retention_bytes.unwrap_or(bytes)),
        events_max: serve.retention_events,
        age_ms_max: serve.retention_age.map(span::millis),
        topics: serve.retention_topic.iter().map(topic_retention).collect(),
    }
}

fn topic_retention(rule: &TopicRule) -> TopicRetention {
    let pattern = rule.pattern.clone();
    TopicRetention {
        topics: Topics::new(rule.pattern.as_str(), move |topic| pattern.matches(topic)),
        bytes_max: rule.bytes,
        events_max: rule.events,
        age_ms_max: rule.age.map(span::millis),
    }
}

fn report_recovery(serve: &Serve, epoch: &str, recovery: &Recovery) {
    let data = if serve.memory {
        "memory".to_owned()
    } else {
        serve.data.display().to_string()
    };
    if recovery.created {
        tracing::info!(%data, epoch, "began a new log");
        return;
    }
    let (segments, events) = (recovery.segments, recovery.records);
    tracing::info!(%data, epoch, segments, events, "opened the log");
    if let Some(cut) = &recovery.cut {
        let (segment, bytes) = (&cut.segment, cut.bytes);
        tracing::warn!(%segment, bytes, "cut off what a crash left unfinished; it was never acknowledged");
    }
    if recovery.left_out.is_some() {
        tracing::warn!(
            "the hub did not stop in good order: what it acknowledged within --sync-interval before \
             may be lost if the machine went down; subscribers that were there are told"
        );
    }
    if recovery.indexes_rebuilt > 0 {
        tracing::info!(indexes = recovery.indexes_rebuilt, "built indexes again");
    }
}

/// The committer at work on its thread, and beside it what it need not wait for.
#[derive(Debug)]
pub(crate) struct Committing {
    thread: JoinHandle<Result<(), CommitError>>,
    upkeep: Option<JoinHandle<()>>,
    /// Resolves when the thread is about to end, for whatever reason.
    ended: oneshot::Receiver<()>,
}

impl Committing {
    /// Starts both.
    pub(crate) fn start(store: Store) -> Result<Self, Failure> {
        let Store {
            committer, upkeep, ..
        } = store;
        let upkeep = upkeep.map(|upkeep| spawn("upkeep", || upkeep.run()));
        let upkeep = upkeep.transpose()?;
        let (running, ended) = oneshot::channel();
        let work = move || {
            // Dropped also when the committer panics.
            let _running: oneshot::Sender<()> = running;
            committer.run(environment::now_ms, report)
        };
        let thread = spawn("committer", work)?;
        Ok(Self {
            thread,
            upkeep,
            ended,
        })
    }

    /// Waits until it ends, which it should not before the hub is closed. Cancel safe.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Waits for all that was accepted to be committed, and the log to be closed. Blocks.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let closed = self.thread.join();
        // The writer is gone with its thread, and so this one ends.
        let kept = self.upkeep.map_or(Ok(()), JoinHandle::join);
        if kept.is_err() {
            tracing::error!("the thread beside the committer crashed; nothing is lost by that");
        }
        match closed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::failed(format!(
                "the log was not closed in good order (what was acknowledged is safe): {error}"
            ))),
            Err(_) => Err(Failure::failed(
                "the committer's thread crashed; what was acknowledged is safe: start again, and \
                 please report the message above",
            )),
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder
        .spawn(work)
        .map_err(|error| Failure::failed(format!("cannot start the {name}'s thread: {error}")))
}

fn report(report: Report) {
    match report {
        Report::Retained(retained) => {
            tracing::info!(
                segments = retained.segments,
                events = retained.records,
                bytes = %size::show(retained.bytes),
                first = retained.first,
                "retention forgot the oldest events"
            );
            if retained.damaged > 0 {
                tracing::error!(
                    events = retained.damaged,
                    "some events that a topic's rule keeps were damaged, and are gone: subscribers \
                     that ask for them are told of a gap; `tidings log verify DIR` looks for more damage"
                );
            }
        }
        Report::RetentionFailed(error) => {
            tracing::warn!(%error, "could not forget old events; trying again");
        }
        Report::LogFailed(error) => {
            tracing::error!(%error, "the log has failed: nothing more can be published until a restart");
        }
        Report::CommitFailed(error) => {
            tracing::error!(%error, "a commit failed; its publishers were told");
        }
        Report::KeysUnread(Unread { damage, marks }) => tracing::warn!(
            %damage,
            keys = %marks.map_or_else(|| "an unknown number".to_owned(), |marks| marks.to_string()),
            "idempotency keys cannot be read: what is published again with one of them is stored a \
             second time; see: tidings log verify"
        ),
        other => tracing::info!(?other, "the committer reports"),
    }
}
