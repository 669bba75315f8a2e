//! The hub's console page, used as a person would, in a real browser.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::deadline;
use crate::hub::{Hub, Setup};
use crate::repository::{self, Build};

const LIMIT: Duration = Duration::from_secs(20);
const TOPIC: &str = "orders";
const OTHER_TOPIC: &str = "lights/kitchen";
const BEFORE_A_CLICK: &str = "on";
const AFTER_THE_CRASH: &str = "still here";

/// What is published through the page's form: data, and event type where it is not a message.
const PUBLISHED: [(&str, &str); 4] = [
    ("Ada ordered two lamps", ""),
    (r#"{"order":7,"state":"packed"}"#, "order"),
    ("Zürich 21 °C, 東京 27 °C", "weather"),
    ("<b>not bold</b> & not lost", ""),
];

type Check = (&'static str, fn(&mut Console) -> Result<()>);

const CHECKS: [Check; 8] = [
    ("the page opens without an error", Console::opens),
    ("it tails all topics from the start", Console::tails),
    ("follow opens an EventSource", Console::follows),
    (
        "what the form publishes comes back through the stream",
        Console::publishes,
    ),
    (
        "the tail shows each event once, as text, with its type",
        Console::shows,
    ),
    ("subscribers and throughput are shown", Console::counts),
    (
        "the stream resumes after kill -9, without loss or repetition",
        Console::resumes,
    ),
    ("the page fits a desktop and a phone", Console::fits),
];

pub(crate) fn run(build: &Build) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let binary = build.hub()?;
    let hub = Hub::start(Setup::new(&binary, folder.path())?)?;
    let mut console = Console {
        hub,
        browser: Browser::start()?,
        pictures: pictures()?,
    };
    for (name, check) in CHECKS {
        if let Err(error) = check(&mut console) {
            let _ = console.picture("failed"); // the error is what matters
            return Err(error).with_context(|| format!("the console page: {name}: FAILED"));
        }
        println!("console: {name} ... ok");
    }
    println!("{} passed, 0 failed", CHECKS.len());
    Ok(())
}

fn pictures() -> Result<PathBuf> {
    let folder = repository::target()?.join("screenshots");
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    Ok(folder)
}

struct Console {
    hub: Hub,
    browser: Browser,
    pictures: PathBuf,
}

impl Console {
    fn opens(&mut self) -> Result<()> {
        self.browser.resize(1280, 800, false)?;
        self.browser.open(&self.hub.url())?;
        self.browser.element("#follow")?;
        self.picture("empty-desktop")?;
        self.has_no_errors()
    }

    /// What somebody publishes by the first lines of the README is there without a click.
    fn tails(&mut self) -> Result<()> {
        self.wait("the stream to be open", Self::is_connected)?;
        self.publish_to(OTHER_TOPIC, BEFORE_A_CLICK, "")
    }

    fn follows(&mut self) -> Result<()> {
        self.browser.fill("#topic", TOPIC)?;
        // A page gets a named event only where it listens for the name.
        let types: Vec<&str> = PUBLISHED.iter().map(|(_, event)| *event).collect();
        self.browser
            .fill("#types", types.join(",").trim_matches(','))?;
        self.browser.click("#follow")?;
        self.wait("the stream to be open", Self::is_connected)
    }

    fn publishes(&mut self) -> Result<()> {
        PUBLISHED
            .iter()
            .try_for_each(|(data, event)| self.publish(data, event))?;
        self.has_no_errors()
    }

    fn shows(&mut self) -> Result<()> {
        let tail = self.tail()?;
        ensure!(
            tail.len() == PUBLISHED.len(),
            "it shows {} events: {tail:?}",
            tail.len()
        );
        for (data, event) in PUBLISHED {
            let shown = tail.iter().filter(|item| item.contains(&squeezed(data)));
            let shown = shown.filter(|item| item.contains(event)).count();
            ensure!(
                shown == 1,
                "{data:?} of type {event:?} is there {shown} times: {tail:?}"
            );
        }
        Ok(())
    }

    fn counts(&mut self) -> Result<()> {
        for figure in ["#stat-subscribers", "#stat-published", "#stat-delivered"] {
            self.wait(figure, |console| {
                Ok(console
                    .browser
                    .text(figure)?
                    .contains(|c: char| c.is_ascii_digit()))
            })?;
        }
        self.wait("one subscriber to be shown", |console| {
            Ok(console.browser.text("#stat-subscribers")? == "1")
        })?;
        self.picture("desktop")
    }

    fn resumes(&mut self) -> Result<()> {
        self.hub.kill_and_restart()?;
        self.wait("the stream to be open again", Self::is_connected)?;
        self.publish(AFTER_THE_CRASH, "")?;
        let tail = self.tail()?;
        ensure!(
            tail.len() == PUBLISHED.len() + 1,
            "it shows {} events: {tail:?}",
            tail.len()
        );
        self.picture("resumed")?;
        // The page's requests failed while the hub was gone, and the browser rightly says so.
        self.browser.console_errors().map(drop)
    }

    fn fits(&mut self) -> Result<()> {
        for (name, width, height, mobile) in
            [("narrow", 1024, 768, false), ("mobile", 390, 844, true)]
        {
            self.browser.resize(width, height, mobile)?;
            let excess = "return document.documentElement.scrollWidth - arguments[0]";
            let excess = self.browser.execute(excess, &json!([width]))?;
            self.picture(name)?;
            ensure!(
                excess.as_i64() <= Some(0),
                "{excess} pixels too wide for a width of {width}"
            );
        }
        self.has_no_errors()
    }

    fn publish(&self, data: &str, event: &str) -> Result<()> {
        self.publish_to(TOPIC, data, event)
    }

    /// Publishes through the form and waits for the event to come back through the stream.
    fn publish_to(&self, topic: &str, data: &str, event: &str) -> Result<()> {
        self.browser.fill("#publish-topic", topic)?;
        self.browser.fill("#publish-data", data)?;
        self.browser.fill("#publish-event", event)?;
        self.browser.click("#publish-submit")?;
        self.wait(&format!("{data:?} to be in the tail"), |console| {
            Ok(console
                .tail()?
                .iter()
                .any(|item| item.contains(&squeezed(data))))
        })
    }

    fn is_connected(&self) -> Result<bool> {
        let state = "return document.querySelector('#connection-state').dataset.state";
        Ok(self.browser.execute(state, &json!([]))? == "live")
    }

    /// The text of each event that the page shows.
    fn tail(&self) -> Result<Vec<String>> {
        let items = "return [...document.querySelectorAll('#tail li')].map(li => li.textContent)";
        let items = self.browser.execute(items, &json!([]))?;
        let items = items.as_array().context("the page's tail is no list")?;
        Ok(items
            .iter()
            .filter_map(Value::as_str)
            .map(squeezed)
            .collect())
    }

    fn has_no_errors(&self) -> Result<()> {
        let errors = self.browser.console_errors()?;
        ensure!(
            errors.is_empty(),
            "the browser's console holds errors: {errors:?}"
        );
        Ok(())
    }

    fn picture(&self, name: &str) -> Result<()> {
        self.browser
            .screenshot(&self.pictures.join(format!("console-{name}.png")))
    }

    fn wait(&self, what: &str, mut look: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        deadline::wait_for(what, LIMIT, || Ok(look(self)?.then_some(())))
    }
}

/// Without white space, which a page may lay out as it likes.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}
