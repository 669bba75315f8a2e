//! The hub behind nginx as it comes: buffering on, HTTP/1.0 to the hub, compression on. What the
//! README promises of proxies is tried here with the real one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::hub::{Hub, LOOPBACK, Setup, free_port};
use crate::repository::Build;
use crate::{deadline, packages, process};

const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn run(build: &Build) -> Result<()> {
    packages::ensure(&[packages::NGINX, packages::CURL])?;
    let folder = tempfile::tempdir()?;
    let binary = build.hub()?;
    let hub = Hub::start(Setup::new(&binary, folder.path())?)?;
    let nginx = Nginx::start(&hub, folder.path())?;
    each_event_arrives_at_once(&hub, &nginx, "plain", &[])?;
    each_event_arrives_at_once(&hub, &nginx, "compressed", &["--compressed"])?;
    println!("2 passed, 0 failed");
    Ok(())
}

/// An event that stays in a buffer of the proxy arrives with the next one or never: so each is
/// published only when the one before has arrived. When the client goes, the hub has to notice,
/// though it is the proxy's connection that it sees.
fn each_event_arrives_at_once(hub: &Hub, nginx: &Nginx, name: &str, how: &[&str]) -> Result<()> {
    let mut client = Client::start(&nginx.url(), name, how)?;
    client.wait_for("retry: ")?;
    for i in 0..5 {
        let data = format!("{name} {i}");
        ureq::post(format!("{}/events", nginx.url()))
            .send_form([("topic", name), ("data", data.as_str())])
            .context("could not publish through nginx")?;
        client.wait_for(&format!("data: {data}"))?;
    }
    drop(client);
    deadline::wait_for("the hub to notice that the client has gone", LIMIT, || {
        let metrics = ureq::get(format!("{}/metrics", hub.url())).call()?;
        let text = metrics.into_body().read_to_string()?;
        let gone = text.lines().any(|line| line == "tidings_subscribers 0");
        Ok(gone.then_some(()))
    })?;
    println!("nginx: each event arrives at once, {name} ... ok");
    Ok(())
}

/// nginx with the least that makes it a proxy.
struct Nginx {
    port: u16,
    _process: process::Guard,
}

impl Nginx {
    fn start(hub: &Hub, folder: &Path) -> Result<Self> {
        let port = free_port()?;
        let file = folder.join("nginx.conf");
        let logs = folder.display();
        let upstream = hub.url();
        let configuration = format!(
            "daemon off; master_process off; pid {logs}/nginx.pid; error_log {logs}/nginx.log;
             events {{ worker_connections 64; }}
             http {{
                 access_log off;
                 client_body_temp_path {logs}/body; proxy_temp_path {logs}/proxy;
                 fastcgi_temp_path {logs}/f; uwsgi_temp_path {logs}/u; scgi_temp_path {logs}/s;
                 gzip on; gzip_proxied any; gzip_types text/event-stream; gzip_min_length 0;
                 server {{
                     listen {LOOPBACK}:{port};
                     location / {{ proxy_pass {upstream}; }}
                 }}
             }}"
        );
        fs::write(&file, configuration)?;
        let mut command = Command::new(packages::find("nginx").context("nginx is not installed")?);
        command.arg("-c").arg(&file).stdout(Stdio::null());
        let process = process::Guard::spawn("nginx", &mut command)?;
        let nginx = Self {
            port,
            _process: process,
        };
        deadline::wait_for("nginx to be ready", LIMIT, || {
            let ready = ureq::get(format!("{}/readyz", nginx.url())).call();
            Ok(ready.is_ok().then_some(()))
        })?;
        Ok(nginx)
    }

    fn url(&self) -> String {
        format!("http://{LOOPBACK}:{}", self.port)
    }
}

/// curl, following a topic.
struct Client {
    lines: Receiver<String>,
    _process: process::Guard,
}

impl Client {
    fn start(url: &str, topic: &str, how: &[&str]) -> Result<Self> {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--no-buffer"])
            .args(how)
            .arg(format!("{url}/events?topic={topic}"))
            .stdout(Stdio::piped());
        let mut process = process::Guard::spawn("curl", &mut command)?;
        let stdout = process
            .child()
            .stdout
            .take()
            .context("curl has no stdout")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines
                .take_while(|line| send.send(line.clone()).is_ok())
                .count()
        });
        Ok(Self {
            lines,
            _process: process,
        })
    }

    fn wait_for(&mut self, start: &str) -> Result<()> {
        loop {
            let line = self
                .lines
                .recv_timeout(LIMIT)
                .with_context(|| format!("`{start}` did not arrive through nginx"))?;
            ensure!(!line.starts_with("<html"), "nginx answered an error page");
            if line.starts_with(start) {
                return Ok(());
            }
        }
    }
}
