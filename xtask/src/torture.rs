//! The hub is killed under load, again and again, and every time three accounts of what happened
//! are compared: the publishers' receipts, what the followers were told, and what the log's own
//! tools find on disk.
//!
//! With `--durability interval` sequences are left out at each restart; with `--full-disk` the log lies
//! on a small disk that runs full under it, and is emptied again, before or after the hub dies.
//!
//! What is sent and when the hub dies follow from a seed; how threads and processes take turns does
//! not. So a seed repeats the load and the places of the kills, and not always the failure.

mod disk;
mod exchange;
mod follower;
mod judge;
mod ledger;
mod plan;
mod publisher;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use self::disk::Disk;
use self::follower::Follower;
use self::judge::Judge;
use self::ledger::{Ledger, Look};
use self::plan::{MANNERS, Plan, Random};
use self::publisher::Publisher;
use crate::deadline;
use crate::hub::{self, Hub, Setup};
use crate::repository::Build;
use crate::table::Table;

/// So small that segments of an eighth of it are sealed and forgotten all the time, and so large
/// that no round can outrun it: each event is looked at before it is forgotten.
const RETENTION: &str = "12MiB";
/// Receipts that are waited for before the hub dies; large events make this some MiB.
const RECEIPTS_MAX: usize = 1_500;
/// Events that each publisher may begin to send in a round.
const EVENTS_A_ROUND: usize = 1_200;
/// How late a hub is killed at the most that is not to get through its start, or its drain.
const STARTED_MS_MAX: usize = 25;
const DRAINED_MS_MAX: usize = 150;
/// For what is a matter of seconds where all is well.
const LIMIT: Duration = Duration::from_mins(2);
const BETWEEN_WORDS: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How long, in minutes
    #[arg(long, default_value_t = 1.0, conflicts_with = "rounds")]
    minutes: f64,
    /// How many deaths, instead of a time
    #[arg(long)]
    rounds: Option<usize>,
    /// Repeats the load and the kills of another run
    #[arg(long)]
    seed: Option<u64>,
    /// When the hub acknowledges
    #[arg(long, value_enum, default_value_t = Durability::Always)]
    durability: Durability,
    /// Keep the log on a small disk that runs full now and then; needs the right to mount one
    #[arg(long)]
    full_disk: bool,
    #[command(flatten)]
    build: Build,
    /// A hub that is built already
    #[arg(long)]
    hub: Option<std::path::PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Durability {
    Always,
    Interval,
}

impl Options {
    pub(crate) fn short(rounds: usize, profile: &str) -> Self {
        Self {
            minutes: 0.0,
            rounds: Some(rounds),
            seed: None,
            durability: Durability::Always,
            full_disk: false,
            build: Build::with_profile(profile),
            hub: None,
        }
    }

    pub(crate) fn with_interval(self) -> Self {
        Self {
            durability: Durability::Interval,
            ..self
        }
    }

    pub(crate) fn on_full_disk(self) -> Self {
        Self {
            full_disk: true,
            ..self
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = match &options.hub {
        Some(hub) => hub.canonicalize().context("there is no such hub")?,
        None => options.build.hub()?,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = options.seed.unwrap_or(u64::from(now.subsec_nanos()));
    println!("torture: seed {seed}");
    let folder = tempfile::tempdir().context("could not make a folder for the hub")?;
    let mut disk = None;
    if options.full_disk {
        match Disk::mount(&folder.path().join(hub::DATA)) {
            Ok(mounted) => disk = Some(mounted),
            Err(error) => {
                println!(
                    "torture: SKIPPED, since a small disk could not be mounted ({error:#}): run it as \
                     root, or under `unshare --user --map-root-user --mount`"
                );
                return Ok(());
            }
        }
    }
    let scene = Scene::set(options, seed, &binary, folder.path(), disk.as_ref());
    let outcome = scene.and_then(Scene::play);
    outcome.map_err(|error| {
        let folder = folder.keep();
        disk.into_iter().for_each(Disk::keep);
        println!("0 passed, 1 failed");
        error.context(format!(
            "torture failed; the log and what the hub said are in {}; `cargo xtask torture --seed \
             {seed}` repeats the load, though not how threads take turns",
            folder.display()
        ))
    })
}

/// All who take part.
struct Scene<'a> {
    disk: Option<&'a Disk>,
    plan: Plan,
    random: Random,
    rounds: Option<usize>,
    time: Duration,
    hub: Hub,
    publishers: Vec<Publisher>,
    followers: Vec<(Follower, Judge)>,
    ledger: Ledger,
    tally: Tally,
    started: Instant,
    /// When something was last said about how far it is.
    said: Instant,
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    kills_at_start: usize,
    kills_at_drain: usize,
    drains: usize,
    receipts: usize,
    full: usize,
    starts_refused: usize,
}

impl<'a> Scene<'a> {
    fn set(
        options: &Options,
        seed: u64,
        binary: &Path,
        folder: &Path,
        disk: Option<&'a Disk>,
    ) -> Result<Self> {
        let plan = Plan { seed };
        let lazy = options.durability == Durability::Interval;
        let words = [
            "--durability",
            if lazy { "interval" } else { "always" },
            "--retention-bytes",
            RETENTION,
            "--heartbeat",
            "1",
            "--stall",
            "2s",
            "--drain",
            "100ms",
            "--log-level",
            "warn",
        ];
        let setup = Setup {
            options: words.map(str::to_owned).to_vec(),
            ..Setup::new(binary, folder)?
        };
        let port = setup.port;
        let hub = Hub::start(setup)?;
        let follow = |(index, manner)| {
            let follower = Follower::start(index, manner, plan, port);
            (follower, Judge::default())
        };
        let followers = follower::MANNERS.into_iter().enumerate().map(follow);
        let followers = followers.collect();
        let last = MANNERS.len() - 1; // the fence is published at the end
        let publishers = (0..last).map(|index| Publisher::start(index, plan, port));
        Ok(Self {
            disk,
            plan,
            random: plan.chance(0),
            rounds: options.rounds,
            time: Duration::from_secs_f64(options.minutes * 60.0),
            hub,
            publishers: publishers.collect(),
            followers,
            ledger: Ledger::new(plan, lazy),
            tally: Tally::default(),
            started: Instant::now(),
            said: Instant::now(),
        })
    }

    fn play(mut self) -> Result<()> {
        let mut round = 0;
        while self
            .rounds
            .map_or(self.started.elapsed() < self.time, |rounds| round < rounds)
        {
            round += 1;
            self.round(round)
                .with_context(|| format!("in round {round}"))?;
            if self.said.elapsed() > BETWEEN_WORDS {
                self.said = Instant::now();
                self.say(round);
            }
        }
        self.end().context("at the end")?;
        self.say(round);
        print!("\n{}", self.report());
        println!("1 passed, 0 failed");
        Ok(())
    }

    /// Load, death, comparison, and up again.
    fn round(&mut self, round: usize) -> Result<()> {
        for (follower, _) in &self.followers {
            follower.begin_round(round);
        }
        for publisher in &self.publishers {
            publisher.allow(EVENTS_A_ROUND);
        }
        let wanted = self.acknowledged() + self.random.below(RECEIPTS_MAX);
        self.wait_for_receipts(wanted)?;
        if self.random.below(2) == 0 {
            self.run_full()?;
        }
        match self.random.below(8) {
            0 => self.drain()?,
            1 => self.kill_amid_drain()?,
            _ => self.kill()?,
        }
        self.compare()?;
        while self.random.below(6) == 0 {
            self.kill_amid_start()?;
            self.compare()?;
        }
        self.restart()
    }

    fn wait_for_receipts(&mut self, wanted: usize) -> Result<()> {
        deadline::wait_for("receipts", LIMIT, || {
            self.all_must_be_alive()?;
            Ok((self.acknowledged() >= wanted).then_some(()))
        })
    }

    /// Fills the disk until publishers are refused; sometimes there is room again before the hub dies,
    /// and then it has to go on by itself.
    fn run_full(&mut self) -> Result<()> {
        let Some(disk) = self.disk else {
            return Ok(());
        };
        let refusals = |scene: &Self| scene.publishers.iter().map(Publisher::refusals).sum();
        let before: usize = refusals(self);
        disk.fill()?;
        deadline::wait_for("a refusal", LIMIT, || {
            self.all_must_be_alive()?;
            Ok((refusals(self) > before || self.are_idle()).then_some(()))
        })?;
        self.tally.full += usize::from(refusals(self) > before);
        if self.random.below(2) == 0 {
            disk.free()?;
            let acknowledged = self.acknowledged();
            deadline::wait_for("receipts on a disk with room again", LIMIT, || {
                self.all_must_be_alive()?;
                Ok((self.acknowledged() > acknowledged || self.are_idle()).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Starts the hub again. On a full disk it may refuse to, and has to start once there is room.
    fn restart(&mut self) -> Result<()> {
        let Some(disk) = self.disk else {
            return self.hub.restart();
        };
        if self.random.below(2) == 0 {
            disk.free()?;
        }
        if self.hub.restart().is_err() {
            self.tally.starts_refused += 1;
            disk.free()?;
            self.hub.restart()?;
        }
        disk.free()
    }

    fn are_idle(&self) -> bool {
        self.publishers.iter().all(Publisher::is_idle)
    }

    fn kill_amid_drain(&mut self) -> Result<()> {
        self.tally.kills_at_drain += 1;
        let after = self.random.below(DRAINED_MS_MAX);
        self.hub.stop_and_kill(Duration::from_millis(after as u64))
    }

    fn kill_amid_start(&mut self) -> Result<()> {
        self.tally.kills_at_start += 1;
        let after = self.random.below(STARTED_MS_MAX);
        self.hub.start_and_kill(Duration::from_millis(after as u64))
    }

    fn kill(&mut self) -> Result<()> {
        self.tally.kills += 1;
        self.hub.kill()
    }

    fn drain(&mut self) -> Result<()> {
        self.tally.drains += 1;
        let status = self.hub.stop()?;
        ensure!(
            status.success(),
            "asked to stop, the hub ended with {status}"
        );
        Ok(())
    }

    /// Compares the three accounts while the hub is dead.
    fn compare(&mut self) -> Result<()> {
        // Before the look: what is in them by now has to be in the log.
        let receipts = self.publishers.iter().flat_map(Publisher::take_receipts);
        let receipts: Vec<_> = receipts.collect();
        let refused = self.publishers.iter().flat_map(Publisher::take_refused);
        let refused: Vec<_> = refused.collect();
        let told = self
            .followers
            .iter()
            .map(|(follower, _)| follower.take_told());
        let told: Vec<_> = told.collect();
        let look = Look::take(self.hub.setup())?;
        let sent: Vec<_> = self.publishers.iter().map(Publisher::sent).collect();
        self.ledger.learn(&look, &sent)?;
        self.ledger.check_receipts(&receipts)?;
        self.ledger.check_refused(&refused)?;
        self.tally.receipts += receipts.len();
        for ((follower, judge), told) in self.followers.iter_mut().zip(told) {
            judge.hear(&told, &follower.manner, &self.ledger, self.plan)?;
        }
        Ok(())
    }

    /// Everything is published, everybody catches up, and the hub stops in order.
    fn end(&mut self) -> Result<()> {
        self.publishers.iter().for_each(Publisher::stop);
        self.publishers.iter_mut().try_for_each(Publisher::join)?;
        let port = self.hub.setup().port;
        let mut fence = Publisher::start(self.publishers.len(), self.plan, port);
        fence.allow(1);
        deadline::wait_for("the last receipt", LIMIT, || {
            Ok((fence.acknowledged() > 0).then_some(()))
        })?;
        fence.stop();
        fence.join()?;
        self.publishers.push(fence);
        self.followers
            .iter()
            .for_each(|(follower, _)| follower.hurry());
        deadline::wait_for("the followers to catch up", LIMIT, || {
            let behind = self
                .followers
                .iter_mut()
                .find(|(follower, _)| !follower.is_fenced());
            match behind {
                Some((follower, _)) => follower.must_be_alive().map(|()| None),
                None => Ok(Some(())),
            }
        })?;
        self.followers
            .iter()
            .for_each(|(follower, _)| follower.stop());
        self.drain()?;
        for (follower, _) in &mut self.followers {
            follower.join()?;
        }
        self.compare()?;
        for (follower, judge) in &mut self.followers {
            judge.conclude(&follower.manner, &self.ledger, self.plan)?;
        }
        if self.tally.receipts == 0 {
            bail!("nothing was acknowledged");
        }
        Ok(())
    }

    fn all_must_be_alive(&mut self) -> Result<()> {
        for publisher in &mut self.publishers {
            publisher.must_be_alive()?;
        }
        for (follower, _) in &mut self.followers {
            follower.must_be_alive()?;
        }
        Ok(())
    }

    fn acknowledged(&self) -> usize {
        self.publishers.iter().map(Publisher::acknowledged).sum()
    }

    fn say(&self, round: usize) {
        let Tally {
            kills,
            kills_at_start,
            kills_at_drain,
            drains,
            receipts,
            full,
            starts_refused,
        } = self.tally;
        let (events, forgotten) = self.ledger.count();
        println!(
            "torture: round {round}, {:.0?}: {kills} kills, {kills_at_start} more while starting and \
             {kills_at_drain} while stopping, {drains} drains; {receipts} receipts, {events} events in the \
             log, {forgotten} of them forgotten",
            self.started.elapsed(),
        );
        if self.disk.is_some() {
            println!(
                "torture: the disk was full {full} times; {starts_refused} starts were refused on it"
            );
        }
    }

    fn report(&self) -> Table {
        let mut table = Table::new(&["follower", "events", "streams", "gaps told"]);
        for (follower, judge) in &self.followers {
            let counts = [judge.events, judge.resumes, judge.gaps];
            let counts = counts.iter().map(ToString::to_string);
            table.row(std::iter::once(follower.manner.name.to_owned()).chain(counts));
        }
        table
    }
}

impl Drop for Scene<'_> {
    /// Threads of followers and publishers go on until they see this.
    fn drop(&mut self) {
        self.publishers.iter().for_each(Publisher::stop);
        for (follower, _) in &self.followers {
            follower.stop();
            follower.hurry();
        }
    }
}
