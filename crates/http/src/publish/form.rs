//! `application/x-www-form-urlencoded`: what an HTML form and `curl -d` send.

use tidings::NewEvent;

use super::draft::{Defaults, Draft, check_utf8};
use crate::problem::Problem;

pub(crate) fn parse(body: &[u8], defaults: &Defaults) -> Result<NewEvent, Problem> {
    check_utf8(body, "form")?;
    let mut draft = Draft::default();
    for (name, value) in form_urlencoded::parse(body) {
        if !draft.set(&name, value)? {
            return Err(Problem::bad_request(format!(
                "the form has a field `{}` that is not known; it takes topic (repeatable), data, \
                 event, id, retry, key and ttl_s. To send a text as it is, set \
                 `Content-Type: text/plain` and name the topic in the query",
                name.chars().take(64).collect::<String>()
            )));
        }
    }
    draft.into_event(defaults)
}
