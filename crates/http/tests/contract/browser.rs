//! What a browser is allowed to do, and a page of a stranger's is not.

use tidings_testkit::Kit;

/// The `access-control-*` and `vary` fields of the answer.
async fn cors(kit: &Kit, line: &str, fields: &[(&str, &str)]) -> (u16, Vec<(String, String)>) {
    let mut client = kit.connect();
    client.request(line, fields, b"").await;
    let head = client.head().await;
    let mut fields = head.fields;
    fields.retain(|(name, _)| name.starts_with("access-control") || name == "vary");
    fields.sort();
    (head.status, fields)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

/// Any page that the user visits can send requests to loopback: only the hub's own origin and those
/// that were allowed may, and the page reads only what it may.
#[tokio::test(start_paused = true)]
async fn only_allowed_origins_come_in() {
    let kit = Kit::with(|setup| setup.config.allow_origins = vec!["https://app.example".into()]);
    let allowed = pairs(&[
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", "https://app.example"),
        ("vary", "origin"),
    ]);
    let origin = [("origin", "https://app.example")];
    assert_eq!(
        cors(&kit, "GET /events?topic=t", &origin).await,
        (200, allowed.clone())
    );
    // A page must be able to read what is wrong.
    assert_eq!(cors(&kit, "GET /events", &origin).await, (400, allowed));
    let own = [
        ("host", "localhost:3000"),
        ("origin", "http://localhost:3000"),
    ];
    assert_eq!(cors(&kit, "GET /events?topic=t", &own).await, (200, vec![]));
    let proxied = [
        ("origin", "https://hub.example"),
        ("x-forwarded-host", "hub.example"),
    ];
    assert_eq!(
        cors(&kit, "GET /events?topic=t", &proxied).await,
        (200, vec![])
    );
    for stranger in [
        "https://evil.example",
        "null",
        "http://app.example",
        "https://app.example.evil",
    ] {
        let fields = [("origin", stranger), ("content-type", "text/plain")];
        for line in [
            "GET /events?topic=t",
            "POST /events?topic=t",
            "GET /",
            "OPTIONS /events",
        ] {
            let (status, fields) = cors(&kit, line, &fields).await;
            assert_eq!((status, fields), (403, vec![]), "{stranger} {line}");
        }
    }
    assert_eq!(kit.everything().await, [""; 0]);
    let response = kit
        .ask("GET /", &[("origin", "https://evil.example")], b"")
        .await;
    assert!(
        response
            .detail()
            .contains("--allow-origin https://evil.example")
    );
}

/// JSON and the headers that this contract has need a preflight.
#[tokio::test(start_paused = true)]
async fn a_preflight_is_answered() {
    let kit = Kit::with(|setup| setup.config.allow_origins = vec!["*".into()]);
    let fields = [
        ("origin", "https://any.example"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "content-type,idempotency-key",
        ),
    ];
    let expected = pairs(&[
        (
            "access-control-allow-headers",
            "authorization, cache-control, content-type, idempotency-key, last-event-id",
        ),
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-origin", "*"),
        ("access-control-max-age", "7200"),
        ("vary", "origin"),
    ]);
    assert_eq!(
        cors(&kit, "OPTIONS /events", &fields).await,
        (204, expected)
    );
    let any = pairs(&[("access-control-allow-origin", "*"), ("vary", "origin")]);
    let origin = &fields[..1];
    assert_eq!(cors(&kit, "GET /events?topic=t", origin).await, (200, any));
}

/// A page whose name was made to point to this machine is of the hub's own origin; its name tells.
#[tokio::test(start_paused = true)]
async fn a_name_that_was_not_allowed_is_refused() {
    let kit = Kit::with(|setup| setup.config.allow_hosts = Some(vec!["hub.example".into()]));
    for (host, status) in [
        ("localhost:3000", 200),
        ("127.0.0.1:3000", 200),
        ("[::1]:3000", 200),
        ("Hub.Example", 200),
        ("evil.example", 421),
        ("evil.example:3000", 421),
    ] {
        let origin = format!("http://{host}");
        let fields = [("host", host), ("origin", origin.as_str())];
        let got = cors(&kit, "GET /events?topic=t", &fields).await.0;
        assert_eq!(got, status, "{host}");
    }
    let response = kit.ask("GET /", &[("host", "evil.example")], b"").await;
    assert!(response.detail().contains("--allow-host evil.example"));
}

/// The console is the hub's own page: nobody frames it, and it runs nothing but its own script.
#[tokio::test(start_paused = true)]
async fn the_console_is_there_unless_switched_off() {
    let kit = Kit::start();
    let page = kit.ask("GET /", &[], b"").await;
    assert_eq!(page.status(), 200);
    let policy = page.head.field("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.head.field("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    for asset in ["console/app.js", "console/style.css", "console/favicon.svg"] {
        assert!(text.contains(asset), "{asset}");
        assert_eq!(
            kit.ask(&format!("GET /{asset}"), &[], b"").await.status(),
            200
        );
    }
    let kit = Kit::with(|setup| setup.config.console = false);
    let gone = kit.ask("GET /", &[], b"").await;
    assert_eq!(gone.status(), 404);
    assert!(gone.detail().contains("/events?topic="));
}
