//! A follower that is a page: `EventSource` in Chromium, on the hub's own origin.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::tally::Tally;
use crate::browser::Browser;

const SCRIPT: &str = include_str!("page.js");

#[derive(Debug)]
pub(super) struct Page {
    browser: Browser,
    lines: usize,
}

impl Page {
    pub(super) fn open(origin: &str, path: &str, lines: usize) -> Result<Self> {
        let browser = Browser::start()?;
        browser.open(origin)?;
        browser.execute(SCRIPT, &json!([path, lines]))?;
        Ok(Self { browser, lines })
    }

    pub(super) fn tally(&self) -> Result<Tally> {
        let seen = self.look()?;
        let mut tally = Tally::new(self.lines);
        tally.got = count(&seen, "got");
        tally.doubled = count(&seen, "doubled");
        tally.out_of_order = count(&seen, "out_of_order");
        tally.altered = count(&seen, "altered");
        tally.gaps = count(&seen, "gaps");
        tally.ends = count(&seen, "ends");
        let last_id = seen
            .get("last_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        last_id.clone_into(&mut tally.last_id);
        Ok(tally)
    }

    /// How many lines it has, and how many times its stream was opened.
    pub(super) fn got_and_opens(&self) -> Result<(usize, usize)> {
        let seen = self.look()?;
        Ok((count(&seen, "got"), count(&seen, "opens")))
    }

    fn look(&self) -> Result<Value> {
        let seen = self.browser.execute("return window.tally", &json!([]))?;
        let closed = seen.get("closed").and_then(Value::as_bool).unwrap_or(true);
        ensure!(!closed, "the page's EventSource gave up for good: {seen}");
        Ok(seen)
    }
}

fn count(seen: &Value, field: &str) -> usize {
    let number = seen.get(field).and_then(Value::as_u64).unwrap_or_default();
    usize::try_from(number).unwrap_or(usize::MAX)
}
