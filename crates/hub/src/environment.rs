//! Where time and chance come from. Only here are the real ones asked.

use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::{SystemTime, UNIX_EPOCH},
};

/// Unix time in milliseconds; 0 if the machine's clock is before 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Milliseconds of processor time that this process has used.
pub(crate) fn cpu_ms() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let ms = time.tv_sec.saturating_mul(1000) + time.tv_nsec / 1_000_000;
    u64::try_from(ms).unwrap_or(0)
}

/// A number that nobody can guess.
pub(crate) fn random() -> u64 {
    // The operating system does not fail here but in broken sandboxes; there, the standard
    // library's hasher keys are random enough for jitter and names.
    getrandom::u64().unwrap_or_else(|_| RandomState::new().build_hasher().finish())
}

/// The identity of a new log: a letter, then letters and digits, about 41 bits. Short, since it is
/// a part of every event's ID.
pub(crate) fn new_epoch() -> String {
    let mut rest = random();
    let mut digit = |alphabet: u64| {
        let place = u32::try_from(rest % alphabet).unwrap_or(0);
        rest /= alphabet;
        // Letters first, so that an alphabet of 26 has no digits.
        match place {
            0..26 => char::from_u32(u32::from('a') + place),
            _ => char::from_digit(place - 26, 10),
        }
        .unwrap_or('a')
    };
    std::iter::once(digit(26))
        .chain((0..7).map(|_| digit(36)))
        .collect()
}

/// A key that no other request has: 128 bits.
pub(crate) fn new_key() -> String {
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_epochs() {
        for _ in 0..1000 {
            let epoch = new_epoch();
            assert_eq!(epoch.len(), 8);
            assert!(tidings::is_epoch(&epoch), "{epoch}");
        }
    }
}
