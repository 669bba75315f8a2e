//! The main job on real input: a text is published line by line while the hub is killed again and
//! again, and every follower's lines are counted.

mod follower;
mod line;
mod page;
mod publisher;
mod report;
mod tally;
mod text;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::follower::{EventStream, Follower, JsonLines};
use self::page::Page;
use self::publisher::Publisher;
use self::report::Report;
use self::tally::Tally;
use crate::hub::{Hub, Setup};
use crate::repository::Build;
use crate::{deadline, packages, process};

const TOPIC: &str = "lines";
const EVENTS: &str = "/events?topic=lines&from=earliest";
/// For anything that is a matter of seconds where all is well.
const LIMIT: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How many lines of text are published
    #[arg(long, default_value_t = 100_000)]
    lines: usize,
    /// How many times the hub is killed with SIGKILL on the way
    #[arg(long, default_value_t = 3)]
    kills: usize,
    /// Without the page in Chromium
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    build: Build,
}

impl Options {
    pub(crate) fn short(lines: usize, profile: &str) -> Self {
        Self {
            lines,
            kills: 3,
            no_browser: false,
            build: Build::with_profile(profile),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        options.lines > options.kills * 100,
        "too few lines for so many kills"
    );
    packages::ensure(&[packages::CURL])?;
    let binary = options.build.hub()?;
    let folder = tempfile::tempdir().context("could not make a folder for the hub")?;
    let outcome = Scene::set(options, &binary, folder.path()).and_then(Scene::play);
    if outcome.is_err() {
        // The folder is gone when this returns.
        report::tell_logs(folder.path());
    }
    outcome
}

/// All who take part. Dropping it ends them.
struct Scene {
    options: Options,
    publisher: Publisher,
    curl: Follower,
    subscribe: Follower,
    page: Option<Page>,
    hub: Hub,
    started: Instant,
}

impl Scene {
    fn set(options: &Options, binary: &Path, folder: &Path) -> Result<Self> {
        let lines = text::lines(options.lines)?;
        let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
        println!("{} lines of source text, {} KiB", lines.len(), bytes / 1024);
        let hub = Hub::start(Setup::new(binary, folder)?)?;
        let page = (!options.no_browser)
            .then(|| Page::open(&hub.url(), EVENTS, options.lines))
            .transpose()
            .context("no page in Chromium (--no-browser does without)")?;
        let tally = Tally::new(options.lines);
        let curl = &mut Command::new("curl");
        curl.args([
            "--no-buffer",
            "--silent",
            "--show-error",
            &(hub.url() + EVENTS),
        ]);
        let curl = Follower::start("curl", curl, folder, tally.clone(), EventStream::default())?;
        let subscribe = &mut hub.command(&["subscribe", TOPIC, "--from", "earliest", "--json"]);
        let subscribe = Follower::start("subscribe", subscribe, folder, tally, JsonLines)?;
        let publish = &mut hub.command(&["publish", TOPIC, "-"]);
        let publisher = Publisher::start(publish, folder, lines)?;
        let (options, started) = (options.clone(), Instant::now());
        Ok(Self {
            options,
            publisher,
            curl,
            subscribe,
            page,
            hub,
            started,
        })
    }

    fn play(mut self) -> Result<()> {
        for kill in 1..=self.options.kills {
            self.kill(kill)?;
        }
        self.publisher.open_to(usize::MAX);
        let said = self.publisher.finish(LIMIT)?;
        let published = self.started.elapsed();
        self.wait_for_followers(self.options.lines, self.options.kills)?;
        let followed = self.started.elapsed();
        self.stop_hub()?;
        let report = self.report()?;
        println!("\n{report}");
        println!("published after {published:.1?}, followed by all after {followed:.1?}");
        println!("the publisher said: {said}");
        report.verdict()
    }

    /// Kills the hub when a follower is amid lines that are still being published, and waits until
    /// the others are back.
    fn kill(&mut self, kill: usize) -> Result<()> {
        let part = self.options.lines / (self.options.kills + 1);
        let at = part * kill;
        self.publisher.open_to(at + part / 2);
        let (subscribe, publisher) = (&self.subscribe, &mut self.publisher);
        let got = deadline::wait_for("a follower to be in the middle", LIMIT, || {
            publisher.must_be_alive()?;
            Ok(Some(subscribe.got()).filter(|got| *got >= at))
        })?;
        self.hub.kill_and_restart()?;
        let fed = self.publisher.fed();
        println!("kill -9 no. {kill}: subscribe had {got} lines, the publisher {fed}; up again");
        self.wait_for_followers(at, kill)
    }

    /// Until those that resume have `lines` lines, the page after it came back `returns` times.
    fn wait_for_followers(&mut self, lines: usize, returns: usize) -> Result<()> {
        let (page, subscribe) = (&self.page, &self.subscribe);
        let caught_up = deadline::wait_for("the followers to catch up", LIMIT, || {
            let page = page.as_ref().map(Page::got_and_opens).transpose()?;
            let page = page.is_none_or(|(got, opens)| got >= lines && opens > returns);
            Ok((page && subscribe.got() >= lines).then_some(()))
        });
        if caught_up.is_err() {
            println!("\n{}", self.report()?);
        }
        caught_up
    }

    /// Drains it, then has it look through its own log.
    fn stop_hub(&mut self) -> Result<()> {
        let status = self.hub.stop()?;
        ensure!(
            status.success(),
            "asked to stop, the hub ended with {status}"
        );
        let setup = self.hub.setup();
        let mut verify = Command::new(&setup.binary);
        process::run(verify.args(["log", "verify"]).arg(setup.data()))
    }

    fn report(&mut self) -> Result<Report> {
        let mut report = Report::default();
        report.add(
            "subscribe",
            true,
            self.subscribe.tally(),
            self.subscribe.said(),
        );
        if let Some(page) = &self.page {
            let (_, opens) = page.got_and_opens()?;
            report.add(
                "page",
                true,
                page.tally()?,
                format!("connected {opens} times"),
            );
        }
        let note = match self.curl.wait(LIMIT)?.code() {
            Some(code) => format!("exit status {code}: {}", self.curl.said().trim()),
            None => "killed".to_owned(),
        };
        report.add("curl", false, self.curl.tally(), note);
        Ok(report)
    }
}
