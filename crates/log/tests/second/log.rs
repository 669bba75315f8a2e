//! Which segments a log has, and what opening it refuses.

use super::header::{HEADER_BYTES, Header, NoHeader, header};
use super::index::index;
use super::segment::{File, Segment};
use super::{Fault, Files, Record};

const DIGITS: usize = 20;

/// No log comes as far.
const NAME_MAX: u64 = 1 << 62;

/// What a log holds.
#[derive(Clone, Debug)]
pub(crate) struct Log<'a> {
    /// None before the first segment was finished.
    pub(crate) epoch: Option<String>,
    pub(crate) segments: Vec<Segment<'a>>,
    /// No sequence before this one is given from now on.
    pub(crate) next: u64,
}

impl<'a> Log<'a> {
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record<'a>> {
        self.segments.iter().flat_map(|segment| &segment.records)
    }
}

/// A file that is called as a segment is.
struct Named<'a> {
    name: &'a str,
    first: u64,
    bytes: &'a [u8],
    header: Result<Header, NoHeader>,
}

/// What opening would find, or why it would refuse. The steps are those of "Recovery".
pub(crate) fn open<'a>(files: &Files<'a>) -> Result<Log<'a>, Fault> {
    let mut found: Vec<_> = files.iter().filter_map(named).collect();
    let only = found.len() == 1;
    if let Some(lost) = found.last().and_then(|newest| lost_behind(newest, files)) {
        return Err(Fault::new(lost, 0, "the segment of this index is missing"));
    }
    remove_replaced_by_sparse(&mut found);
    let unfinished = found.pop_if(|newest| is_unfinished(newest, only));
    let unfinished = unfinished.map(|newest| tells_of_nothing(&newest, files));
    let least_next = unfinished.transpose()?;
    let mut sound = Vec::new();
    for Named {
        name,
        bytes,
        header,
        ..
    } in found
    {
        let header = header.map_err(|none| Fault::new(name, 0, none.what()))?;
        sound.push(File {
            name,
            bytes,
            header,
        });
    }
    are_of_one_log(&sound)?;
    remove_replaced_by_next(&mut sound);
    let segments = segments(sound, files)?;
    let newest = segments.last();
    let next = newest.map_or(1, |newest| newest.next);
    Ok(Log {
        epoch: newest.map(|newest| newest.header.epoch.clone()),
        next: next.max(least_next.filter(|it| *it <= NAME_MAX).unwrap_or(0)),
        segments,
    })
}

fn named<'a>((name, bytes): (&&'a str, &&'a [u8])) -> Option<Named<'a>> {
    let first = sequence(name, ".log")?;
    let header = header(bytes, first);
    Some(Named {
        name,
        first,
        bytes,
        header,
    })
}

/// The sequence in a name that ends so.
fn sequence(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let is_name = digits.len() == DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|_| is_name)
}

/// Step 1: the greatest index, if it is that of a segment which came behind all that are there.
fn lost_behind<'a>(newest: &Named, files: &Files<'a>) -> Option<&'a str> {
    let is_index = |name: &&&str| sequence(name, ".idx").is_some();
    let (name, bytes) = files.iter().rfind(|(name, _)| is_index(name))?;
    let is_behind = sequence(name, ".idx") > Some(newest.first);
    let index = index(bytes).filter(|_| is_behind)?;
    let salt = newest.header.as_ref().ok()?.salt;
    (index.salt == salt && index.records > 0).then_some(name)
}

/// Step 1: what a sparse segment holds copies of.
fn remove_replaced_by_sparse(found: &mut Vec<Named>) {
    let mut replaced_before = 0;
    found.retain(|it| {
        let stays = it.first >= replaced_before;
        let end = it.header.as_ref().ok().and_then(|it| it.sparse_end);
        if let Some(end) = end.filter(|_| stays) {
            replaced_before = end;
        }
        stays
    });
}

/// Step 2: a segment whose creation was not finished.
fn is_unfinished(newest: &Named, only: bool) -> bool {
    let is_bad = matches!(newest.header, Err(NoHeader::Bad));
    is_bad && newest.bytes.len() <= HEADER_BYTES && (!only || newest.first == 1)
}

/// What was not finished held nothing when the log was closed. Returns its first sequence.
fn tells_of_nothing(unfinished: &Named, files: &Files) -> Result<u64, Fault> {
    let name = unfinished.name.replace(".log", ".idx");
    let index = files.get(name.as_str()).and_then(|bytes| index(bytes));
    let told = index.filter(|index| index.first == unfinished.first);
    if told.is_some_and(|index| index.records > 0) {
        let what = "no header, and records when it was closed";
        return Err(Fault::new(unfinished.name, 0, what));
    }
    Ok(unfinished.first)
}

/// Step 3, the first half.
fn are_of_one_log(found: &[File]) -> Result<(), Fault> {
    let log = |it: &Header| (it.salt, it.epoch.clone());
    let other = found.windows(2).find_map(|pair| match pair {
        [one, other] if log(&one.header) != log(&other.header) => Some(other.name),
        _ => None,
    });
    other.map_or(Ok(()), |name| {
        Err(Fault::new(name, 0, "a segment of another log"))
    })
}

/// Step 3: a segment that held nothing when the next was begun in its place.
fn remove_replaced_by_next(found: &mut Vec<File>) {
    let follows: Vec<_> = found.iter().map(|it| it.header.follows).collect();
    let mut successors = follows.into_iter().skip(1);
    found.retain(|it| {
        let successor = successors.next();
        it.header.sparse_end.is_some() || successor != Some(it.header.follows)
    });
}

/// Steps 3 to 5: each ends where the next one says.
fn segments<'a>(found: Vec<File<'a>>, files: &Files<'a>) -> Result<Vec<Segment<'a>>, Fault> {
    let mut segments = Vec::new();
    let mut found = found.into_iter().peekable();
    while let Some(file) = found.next() {
        let Some(successor) = found.peek() else {
            segments.push(file.newest(files)?);
            break;
        };
        let until = successor.header.follows;
        let ends = file.header.sparse_end;
        if ends.is_some_and(|end| end != until) || until < file.header.first {
            return Err(Fault::new(
                successor.name,
                0,
                "does not follow the one before",
            ));
        }
        segments.push(file.sealed(files, until)?);
    }
    Ok(segments)
}
