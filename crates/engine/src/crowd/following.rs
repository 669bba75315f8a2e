//! Which members follow a channel, and which channels a member follows.
//!
//! Both are listed by number, and a member knows its place in the list of each channel that it
//! follows: it is taken out of a list of many as fast as out of one of few.

use smallvec::SmallVec;

use super::{Crowd, narrow};
use crate::{selection::Selection, span::Source, sync::Arc, window::Channel};

/// A channel that a member follows, and where the channel lists it.
#[derive(Clone, Copy)]
pub(super) struct Follow {
    pub(super) channel: u32,
    index: u32,
}

/// A channel that has members here.
pub(super) struct Followed {
    pub(super) channel: Arc<Channel>,
    pub(super) members: Vec<u32>,
    /// Those who follow only this share what they ask the log for.
    selection: Arc<Selection>,
}

impl Crowd {
    /// Has a member told of all that its selection names. False: too many complex patterns.
    pub(super) fn follow(&mut self, number: u32) -> bool {
        let Some(member) = self.members.get(number as usize) else {
            return false;
        };
        let selection = member.selection.clone();
        let mut follows: SmallVec<[Follow; 1]> = SmallVec::new();
        let shared = self.shared.clone();
        let max = shared.limits.complex_patterns_max;
        let joined = shared.window.join_each(&selection, max, |channel| {
            let at = self.admit(channel, &selection);
            if let Some(followed) = self.followed.get_mut(at as usize) {
                let index = narrow(followed.members.len());
                followed.members.push(number);
                follows.push(Follow { channel: at, index });
            }
        });
        let alone = match follows.as_slice() {
            [only] => self.followed.get(only.channel as usize),
            _ => None,
        };
        let same = alone.map(|followed| followed.selection.clone());
        if let Some(member) = self.members.get_mut(number as usize) {
            member.follows = follows;
            // Alike, and there already.
            member.selection = same.unwrap_or(selection);
        }
        joined
    }

    pub(super) fn unfollow(&mut self, follow: Follow) {
        let Follow { channel, index } = follow;
        let Some(followed) = self.followed.get_mut(channel as usize) else {
            return;
        };
        if (index as usize) < followed.members.len() {
            followed.members.swap_remove(index as usize);
        }
        if followed.members.is_empty() {
            let followed = self.followed.remove(channel as usize);
            self.numbers
                .remove(&(Arc::as_ptr(&followed.channel) as usize));
            self.spans.forget(Source::Channel(channel));
            self.shared
                .window
                .leave_crowd(&followed.channel, &self.bell);
            return;
        }
        // The last of the list has taken the place that became free.
        let moved = followed.members.get(index as usize).copied();
        let moved = moved.and_then(|number| self.members.get_mut(number as usize));
        let listed = moved.and_then(|m| m.follows.iter_mut().find(|f| f.channel == channel));
        if let Some(listed) = listed {
            listed.index = index;
        }
    }

    /// The number of a channel, which it gets with its first member.
    fn admit(&mut self, channel: &Arc<Channel>, selection: &Arc<Selection>) -> u32 {
        let address = Arc::as_ptr(channel) as usize;
        *self.numbers.entry(address).or_insert_with(|| {
            // Only one who follows nothing else can lend its selection.
            let selection = match selection.len() {
                1 => selection.clone(),
                _ => Arc::new(channel.selection()),
            };
            let at = narrow(self.followed.insert(Followed {
                channel: channel.clone(),
                members: Vec::new(),
                selection,
            }));
            channel.admit_crowd(&self.bell, at);
            at
        })
    }
}
