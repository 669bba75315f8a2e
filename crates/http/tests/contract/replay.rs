//! Replay of any size, through bounded steps, and the seam to what is live.

use std::time::Duration;

use tidings_testkit::{Kit, Setup};

fn tiny(setup: &mut Setup) {
    setup.limits.window_bytes_max = 16 << 10;
    setup.limits.step_events_max = 400;
    setup.limits.step_bytes_max = 8 << 10;
    setup.log.segment_bytes_max = 1 << 20;
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

/// Peers cut a replay off at a thousand events, or hold all of it in memory.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_events_in_order() {
    const EVENTS: usize = 100_000;
    let kit = Kit::with(tiny);
    for group in numbers(0..EVENTS).chunks(1000) {
        let group: Vec<&str> = group.iter().map(String::as_str).collect();
        kit.publish("t", &group).await;
        kit.publish("other", &["x"]).await;
    }
    assert!(kit.hub.stats().window_bytes <= 16 << 10);
    let (client, _) = kit.connect_through(4096);
    let mut events = client.subscribe("/events?topic=t&from=earliest", &[]).await;
    for i in 0..EVENTS {
        assert_eq!(events.next().await.unwrap().data, i.to_string());
    }
    events.is_quiet_for(Duration::from_secs(20)).await;
    let mut last = kit.subscribe("/events?pattern=*&from=-1500").await;
    let data = last.data(1500).await;
    assert_eq!((&*data[0], &*data[1499]), ("98502", "x"));
}

/// While publishers write, subscribers come from everywhere, read at their own pace, break off and
/// resume: each sees every event once.
#[tokio::test(start_paused = true)]
async fn the_seam_between_replay_and_live_has_neither_loss_nor_duplicate() {
    const EVENTS: usize = 6000;
    let kit = std::sync::Arc::new(Kit::with(tiny));
    let mut subscribers = Vec::new();
    for n in 0..8_usize {
        let kit = kit.clone();
        subscribers.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50 * n as u64)).await;
            let mut id = "e1:0".to_owned();
            let mut got = Vec::new();
            while got.len() < EVENTS {
                let (client, _) = kit.connect_through(1 << (8 + n));
                let fields = [("last-event-id", id.as_str())];
                let target = if n % 2 == 0 {
                    "topic=t"
                } else {
                    "pattern=:any&topic=t"
                };
                let mut events = client
                    .subscribe(&format!("/events?{target}"), &fields)
                    .await;
                let until = (got.len() + 300 * (n + 1)).min(EVENTS);
                while got.len() < until {
                    let event = events.next().await.unwrap();
                    if n % 3 == 0 && got.len() % 50 == 0 {
                        tokio::time::sleep(Duration::from_millis(7)).await;
                    }
                    id = event.last_event_id;
                    got.push(event.data);
                }
            }
            got
        }));
    }
    for group in numbers(0..EVENTS).chunks(7) {
        let group: Vec<&str> = group.iter().map(String::as_str).collect();
        kit.publish("t", &group).await;
    }
    let all = numbers(0..EVENTS);
    for subscriber in subscribers {
        assert!(subscriber.await.unwrap() == all);
    }
    assert_eq!(kit.hub.stats().gaps, 0);
}
