//! A headless Chromium, driven over the W3C's `WebDriver` protocol through chromedriver.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::{packages, process};

const REQUEST_LIMIT: Duration = Duration::from_mins(1);
/// The key under which `WebDriver` hands out an element; the standard names it so.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one tab and an empty profile; both are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    agent: ureq::Agent,
    session: String,
    // Dropped after `drop` has closed the session, in this order.
    _driver: process::Guard,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start() -> Result<Self> {
        packages::ensure(&[packages::CHROMIUM, packages::CHROMEDRIVER])?;
        let profile = tempfile::tempdir().context("could not make a browser profile")?;
        let (driver, port) = start_driver()?;
        let agent = agent();
        let base = format!("http://127.0.0.1:{port}/session");
        let opened = send(
            agent
                .post(&base)
                .send(capabilities(profile.path()).to_string()),
        )?;
        let id = opened.get("sessionId").and_then(Value::as_str);
        let session = format!("{base}/{}", id.context("chromedriver opened no session")?);
        Ok(Self {
            agent,
            session,
            _driver: driver,
            _profile: profile,
        })
    }

    pub(crate) fn open(&self, url: &str) -> Result<()> {
        self.post("url", &json!({ "url": url })).map(drop)
    }

    /// Runs a function body in the page; it finds `arguments` and returns JSON.
    pub(crate) fn execute(&self, script: &str, arguments: &Value) -> Result<Value> {
        self.post(
            "execute/sync",
            &json!({ "script": script, "args": arguments }),
        )
    }

    pub(crate) fn click(&self, selector: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.post(&format!("element/{element}/click"), &json!({}))
            .map(drop)
    }

    /// Replaces what is in a field, by key strokes.
    pub(crate) fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.post(&format!("element/{element}/clear"), &json!({}))?;
        self.post(
            &format!("element/{element}/value"),
            &json!({ "text": text }),
        )
        .map(drop)
    }

    pub(crate) fn text(&self, selector: &str) -> Result<String> {
        let script = "return document.querySelector(arguments[0])?.textContent ?? null";
        let text = self.execute(script, &json!([selector]))?;
        let text = text
            .as_str()
            .with_context(|| format!("the page has no {selector}"))?;
        Ok(text.trim().to_owned())
    }

    /// The size of what a page can fill, as a screen of that size has it.
    pub(crate) fn resize(&self, width: u32, height: u32, mobile: bool) -> Result<()> {
        // A window cannot be narrower than 500 pixels; an emulated screen can.
        let parameters =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": parameters });
        self.post("goog/cdp/execute", &command).map(drop)
    }

    pub(crate) fn screenshot(&self, file: &Path) -> Result<()> {
        let encoded = send(
            self.agent
                .get(format!("{}/screenshot", self.session))
                .call(),
        )?;
        let encoded = encoded
            .as_str()
            .context("chromedriver sent no screenshot")?;
        let image = base64::engine::general_purpose::STANDARD.decode(encoded)?;
        fs::write(file, image).with_context(|| format!("could not write {}", file.display()))
    }

    /// What the browser's console holds at level SEVERE since the last call: failed requests,
    /// uncaught exceptions, `console.error`.
    pub(crate) fn console_errors(&self) -> Result<Vec<String>> {
        let log = self.post("se/log", &json!({ "type": "browser" }))?;
        let entries = log.as_array().context("chromedriver sent no console log")?;
        let severe = |entry: &&Value| entry.get("level").is_some_and(|level| level == "SEVERE");
        let text = |entry: &Value| entry.get("message")?.as_str().map(str::to_owned);
        Ok(entries.iter().filter(severe).filter_map(text).collect())
    }

    /// The browser's name for an element; an error where the page has none.
    pub(crate) fn element(&self, selector: &str) -> Result<String> {
        let found = self
            .post(
                "element",
                &json!({ "using": "css selector", "value": selector }),
            )
            .with_context(|| format!("the page has no {selector}"))?;
        let id = found.get(ELEMENT).and_then(Value::as_str);
        Ok(id.context("chromedriver sent no element")?.to_owned())
    }

    fn post(&self, command: &str, body: &Value) -> Result<Value> {
        send(
            self.agent
                .post(format!("{}/{command}", self.session))
                .send(body.to_string()),
        )
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // This is what ends Chromium itself; killing only the driver would leave it behind.
        let _ = self.agent.delete(&self.session).call();
    }
}

/// Starts chromedriver on a port of its own choosing, which it prints.
fn start_driver() -> Result<(process::Guard, u16)> {
    let mut command = Command::new("chromedriver");
    command
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut driver = process::Guard::spawn("chromedriver", &mut command)?;
    let stdout = driver
        .child()
        .stdout
        .take()
        .context("chromedriver has no stdout")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let Some((_, port)) = line.split_once("started successfully on port ") else {
            continue;
        };
        let port = port.trim_end_matches('.').parse();
        return Ok((driver, port.context("chromedriver printed no port")?));
    }
    bail!("chromedriver ended at its start");
}

fn capabilities(profile: &Path) -> Value {
    let arguments = [
        "--headless",
        // Chromium's sandbox does not start for root, and CI is root.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        // None of these has a place in a test, and some look for hosts outside.
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        &format!("--user-data-dir={}", profile.display()),
    ];
    let wanted = json!({
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    });
    json!({ "capabilities": { "alwaysMatch": wanted } })
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false) // chromedriver explains itself in the body
        .timeout_global(Some(REQUEST_LIMIT))
        .build();
    config.into()
}

/// The `value` of a `WebDriver` answer, or its error.
fn send(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
    let mut answer = answer.context("chromedriver does not answer")?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_to_string()?;
    let mut body: Value = serde_json::from_str(&text).context("chromedriver sent no JSON")?;
    let value = body.get_mut("value").map(Value::take).unwrap_or_default();
    if !answer.status().is_success() {
        let message = value
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or(&text);
        bail!(
            "the browser refused: {}",
            message.lines().next().unwrap_or_default()
        );
    }
    Ok(value)
}
