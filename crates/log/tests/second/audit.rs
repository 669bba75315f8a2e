//! What the index of a segment has to say, from the segment's records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::index::{Index, Place, Posting, Topic};
use super::{Record, Segment};

/// A place behind the last is as far away.
const PLACE_BYTES: usize = 16 << 10;

type Audit = Result<(), String>;

impl Segment<'_> {
    /// Compares all that the index says, if there is one that fits, with the records.
    pub(crate) fn audit(&self) -> Audit {
        let Some(index) = &self.index else {
            return Ok(());
        };
        let audited = self.audit_header(index).and_then(|()| {
            self.audit_topics(index)?;
            self.audit_lists(index)
        });
        audited.map_err(|what| format!("the index of {}: {what}", self.name))
    }

    fn audit_header(&self, index: &Index) -> Audit {
        let count = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let time = |record: Option<&Record>| record.map_or(0, |it| it.time_ms);
        same("records", &index.records, &count)?;
        same("end", &index.end, &self.end)?;
        same(
            "first time",
            &index.first_time_ms,
            &time(self.records.first()),
        )?;
        same("last time", &index.last_time_ms, &time(self.records.last()))
    }

    fn audit_topics(&self, index: &Index) -> Audit {
        let mut lists = BTreeMap::<_, Vec<_>>::new();
        for record in &self.records {
            let topics: BTreeSet<_> = record.topics.iter().copied().collect();
            for topic in topics {
                let list = lists.entry((index.hash(topic), topic)).or_default();
                list.push(self.posting(record));
            }
        }
        let (mut names, mut postings, mut topics) = (Vec::new(), Vec::new(), Vec::new());
        for ((hash, name), list) in lists {
            same(
                "a topic's list",
                &index.postings_of(name),
                &Some(list.clone()),
            )?;
            topics.push(Topic {
                hash,
                name_at: names.len(),
                name: name.into(),
                posting_first: postings.len(),
                postings: list.len(),
            });
            names.extend_from_slice(name.as_bytes());
            postings.extend(list);
        }
        same("topics", &index.topics(), &Some(topics))?;
        same("names", &index.names(), &Some(names))?;
        same("postings", &index.postings(), &Some(postings))
    }

    fn audit_lists(&self, index: &Index) -> Audit {
        let records = self.records.iter();
        let aliases = records.clone().filter_map(|record| {
            let hash = index.hash(record.alias?);
            Some((hash, self.posting(record)))
        });
        let mut aliases: Vec<_> = aliases.collect();
        aliases.sort_by_key(|(hash, posting)| (*hash, posting.ordinal));
        same("aliases", &index.aliases(), &Some(aliases))?;
        let marked = records.clone().filter(|record| record.mark.is_some());
        let marks = marked.map(|record| self.posting(record)).collect();
        same("marks", &index.marks(), &Some(marks))?;
        let expiries = records.filter_map(|it| Some((self.ordinal(it), it.expires_ms?)));
        same("expiries", &index.expiries(), &Some(expiries.collect()))?;
        same("places", &index.places(), &Some(self.places()))
    }

    fn places(&self) -> Vec<Place> {
        let mut places = Vec::<Place>::new();
        for record in &self.records {
            let is_far = |last: &Place| record.offset - last.offset >= PLACE_BYTES;
            if places.last().is_none_or(is_far) {
                places.push(Place {
                    ordinal: self.ordinal(record),
                    offset: record.offset,
                    time_ms: record.time_ms,
                });
            }
        }
        places
    }

    fn posting(&self, record: &Record) -> Posting {
        Posting {
            ordinal: self.ordinal(record),
            offset: record.offset,
            length: record.length,
            expires: record.expires_ms.is_some(),
        }
    }

    fn ordinal(&self, record: &Record) -> u32 {
        let ordinal = record.sequence.saturating_sub(self.header.first);
        u32::try_from(ordinal).unwrap_or(u32::MAX)
    }
}

fn same<T: Debug + PartialEq>(what: &str, found: &T, expected: &T) -> Audit {
    let is_same = found == expected;
    is_same
        .then_some(())
        .ok_or_else(|| format!("its {what} are {found:?}, and by the records {expected:?}"))
}
