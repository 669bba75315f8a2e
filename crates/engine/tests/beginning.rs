//! A subscriber that begins while the log is changing.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io;
use std::sync::{Arc, Mutex};

use tidings::{
    Committer, Hub, Limits, NewEvent, Progress, Publish, Selector, Start, Step, Subscription,
};
use tidings_log::{
    MemoryStorage, Options, Retention, Storage, StorageFile, TopicRetention, Topics, open,
};

/// What is to be done within the next sync.
type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

struct Hooked {
    inner: MemoryStorage,
    hook: Hook,
}

struct HookedFile {
    inner: Arc<dyn StorageFile>,
    hook: Hook,
}

impl Hooked {
    fn file(&self, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let hook = Arc::clone(&self.hook);
        Arc::new(HookedFile { inner, hook })
    }
}

impl Storage for Hooked {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(self.inner.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }
}

impl StorageFile for HookedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

/// Keeps one event of `a` and three of `b`; each is read from the log, one at a time.
fn hub(hook: &Hook) -> (Hub, Committer) {
    let rule = |topic: &'static str, events| TopicRetention {
        topics: Topics::new(topic, move |other: &str| other == topic),
        bytes_max: None,
        events_max: Some(events),
        age_ms_max: None,
    };
    let retention = Retention {
        topics: vec![rule("a", 1), rule("b", 3)],
        ..Retention::default()
    };
    let options = Options {
        retention,
        ..Options::default()
    };
    let storage = Hooked {
        inner: MemoryStorage::new(),
        hook: Arc::clone(hook),
    };
    let (writer, reader, _) = open(Arc::new(storage), options, "e1", 1000).unwrap();
    let mut limits = Limits::default();
    limits.window_bytes_max = 0;
    limits.step_events_max = 1;
    Hub::new(writer, reader, limits, 1000).unwrap()
}

fn publish(hub: &Hub, committer: &mut Committer, events: &[(&str, &str)]) {
    let events = events.iter().map(|(topic, data)| {
        let topics = [topic.parse().unwrap()];
        NewEvent::with(topics, None, None, data)
    });
    let ticket = hub.publish(Publish::new(events.collect())).unwrap();
    while committer.step(1000) != Progress::Idle {}
    ticket.wait().unwrap();
}

/// What comes next, as text.
fn take(subscription: &mut Subscription) -> Option<String> {
    let step = match subscription.step(1000) {
        Some(Step::Behind(read)) => subscription.accept(read.run(), 1000).unwrap(),
        step => step,
    };
    step.map(|step| match step {
        Step::Frames(frames) => String::from_utf8(frames.concat()).unwrap(),
        Step::Gap(_) => "a gap".to_owned(),
        other => panic!("{other:?}"),
    })
}

/// The commit is in its sync when the subscriber begins, and hides what that has not read yet.
#[test]
fn what_a_commit_hides_from_who_began_meanwhile_is_told() {
    let hook = Hook::default();
    let (hub, mut committer) = hub(&hook);
    let events = [
        ("b", "b1"),
        ("b", "b2"),
        ("b", "b3"),
        ("a", "a1"),
        ("a", "a2"),
    ];
    publish(&hub, &mut committer, &events);
    let began = Arc::new(Mutex::new(None));
    let (other_hub, other_began) = (hub.clone(), Arc::clone(&began));
    *hook.lock().unwrap() = Some(Box::new(move || {
        let both = ["a", "b"].map(|topic| Selector::Topic(topic.parse().unwrap()));
        let mut subscription = other_hub.subscribe(&both, &Start::Earliest, 1000).unwrap();
        let first = take(&mut subscription).unwrap();
        *other_began.lock().unwrap() = Some((subscription, first));
    }));
    publish(&hub, &mut committer, &[("b", "b4"), ("b", "b5")]);
    let (mut subscription, mut all) = began.lock().unwrap().take().unwrap();
    while let Some(next) = take(&mut subscription) {
        all += &next;
    }
    assert!(!all.contains("b2"), "the commit was to hide it");
    assert!(all.contains("a gap"), "{all}");
    assert!(all.contains("b5"));
}
