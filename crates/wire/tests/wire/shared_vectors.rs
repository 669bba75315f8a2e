//! The cases of other projects' test suites, if they are there: whole, byte by byte, split anywhere.
//!
//! They lie beside the repository, not in it: `../shared/vectors/parser-cases.jsonl`.

use std::path::Path;

use serde_json::Value;
use tidings_wire::Decoder;

use crate::base64;
use crate::model::{self, Outcome, Said};
use crate::run::{cut, outcome};

#[test]
fn cases_of_other_suites() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/parser-cases.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    let mut count = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        run_case(&case);
        count += 1;
    }
    assert!(count > 0, "no case in {}", path.display());
    println!("{count} cases");
}

fn run_case(case: &Value) {
    let name = case["name"].as_str().expect("name");
    let stream = base64::decode(case["input_b64"].as_str().expect("input_b64"));
    let seed = case["initial_last_event_id"].as_str().unwrap_or("");
    let check = |chunks: Vec<&[u8]>| {
        let mut decoder = Decoder::new();
        decoder.set_last_event_id(seed);
        check(case, outcome(&mut decoder, chunks));
    };
    check(vec![&stream]);
    check(stream.chunks(1).collect());
    for at in 0..=stream.len().min(600) {
        check(cut(&stream, &[at]));
    }
    if let Some(splits) = case["splits"].as_array() {
        let places: Vec<usize> = splits
            .iter()
            .map(|at| usize::try_from(at.as_u64().expect("offset")).expect("small"))
            .collect();
        check(cut(&stream, &places));
    }
    assert_eq!(
        outcome(&mut Decoder::new(), [&*stream]).said,
        model::interpret(&stream, "").said,
        "the model disagrees: {name}"
    );
}

fn check(case: &Value, outcome: Outcome) {
    let events: Vec<Value> = outcome
        .said
        .into_iter()
        .filter_map(|said| match said {
            Said::Event {
                event_type,
                data,
                last_event_id,
            } => Some(serde_json::json!({"event": event_type, "data": data, "id": last_event_id})),
            _ => None,
        })
        .collect();
    let name = &case["name"];
    assert_eq!(Value::Array(events), case["expect"], "{name}");
    assert_eq!(outcome.last_event_id, case["final_last_event_id"], "{name}");
    if !case["retry_dont_care"].as_bool().unwrap_or(false) {
        assert_eq!(outcome.retry, case["retry"].as_u64(), "{name}");
    }
}
