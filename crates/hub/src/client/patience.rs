//! How long a command keeps trying.

use std::time::Duration;

/// Someone who mistyped a URL wants to hear of it at once; a pipeline that lost its hub wants to
/// wait for it. So what was not asked for on the command line holds only after a first contact.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    asked: Option<Duration>,
    /// What holds after a first contact; `None`: for ever.
    otherwise: Option<Duration>,
    has_met: bool,
}

impl Patience {
    pub(crate) fn new(asked: Option<Duration>, otherwise: Option<Duration>) -> Self {
        Self {
            asked,
            otherwise,
            has_met: false,
        }
    }

    /// The hub has answered.
    pub(crate) fn meet(&mut self) {
        self.has_met = true;
    }

    /// How much longer to try after `idle` without progress; `None`: no longer.
    pub(crate) fn left(&self, idle: Duration) -> Option<Duration> {
        let whole = match (self.asked, self.otherwise) {
            (Some(asked), _) => asked,
            (None, _) if !self.has_met => return None,
            (None, Some(otherwise)) => otherwise,
            (None, None) => Duration::MAX,
        };
        whole.checked_sub(idle).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_being_asked_it_begins_at_the_first_contact() {
        let mut patience = Patience::new(None, Some(SECOND * 9));
        assert_eq!(patience.left(Duration::ZERO), None);
        patience.meet();
        assert_eq!(patience.left(SECOND), Some(SECOND * 8));
        assert_eq!(patience.left(SECOND * 9), None);
    }

    #[test]
    fn what_was_asked_holds_from_the_start() {
        let patience = Patience::new(Some(SECOND * 3), None);
        assert_eq!(patience.left(SECOND), Some(SECOND * 2));
        assert_eq!(patience.left(SECOND * 4), None);
        assert_eq!(
            Patience::new(Some(Duration::ZERO), None).left(Duration::ZERO),
            None
        );
    }

    #[test]
    fn for_ever_is_for_ever() {
        let mut patience = Patience::new(None, None);
        patience.meet();
        assert!(patience.left(SECOND * 1_000_000).is_some());
    }
}
