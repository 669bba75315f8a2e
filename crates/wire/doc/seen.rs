// What the examples of the crate's documentation include: the events of a whole stream, each as
// its type, data and last event ID.
fn seen(stream: impl AsRef<[u8]>) -> Vec<[String; 3]> {
    let mut decoder = tidings_wire::Decoder::new();
    let mut input = stream.as_ref();
    let mut events = Vec::new();
    while let Some(item) = decoder.next(&mut input) {
        if let Ok(tidings_wire::Item::Event(event)) = item {
            events.push([event.event_type, event.data, event.last_event_id].map(|text| text.to_string()));
        }
    }
    events
}
