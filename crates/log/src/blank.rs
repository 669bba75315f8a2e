//! Telling space that was written ahead, and holds nothing yet, from bytes that mean something.

use std::io;
use std::ops::Range;

use crate::storage::StorageFile;

/// What is looked at in one call.
const STEP_BYTES: u64 = 256 * 1024;

/// One past the last byte of the range that is not zero; the range's start if all are.
///
/// From the end backwards: behind a log's last record there is often nothing else, and behind a
/// torn one nothing that has to be searched.
pub(crate) fn written_end(file: &dyn StorageFile, range: Range<u64>) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(STEP_BYTES).unwrap_or(usize::MAX)];
    let mut end = range.end;
    while end > range.start {
        let start = end.saturating_sub(STEP_BYTES).max(range.start);
        let want = usize::try_from(end - start).unwrap_or(usize::MAX);
        let part = buffer.get_mut(..want).unwrap_or_default();
        let count = file.read_at(part, start)?;
        let read = part.get(..count).unwrap_or_default();
        if let Some(last) = last_written(read) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(range.start)
}

/// Sixteen bytes at a time, which the compiler turns into one comparison.
fn last_written(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<16>();
    let behind = rest.iter().rposition(|byte| *byte != 0);
    if let Some(place) = behind {
        return Some(words.len() * 16 + place);
    }
    let word = words.iter().rposition(|word| *word != [0; 16])?;
    let place = words.get(word)?.iter().rposition(|byte| *byte != 0)?;
    Some(word * 16 + place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStorage;
    use crate::storage::Storage;

    #[test]
    fn finds_the_last_byte_wherever_it_is() {
        let storage = MemoryStorage::new();
        let file = storage.create("file").unwrap();
        file.set_len(700_000).unwrap();
        assert_eq!(written_end(&*file, 100..700_000).unwrap(), 100);
        for place in [100, 101, 262_243, 262_244, 437_855, 437_856, 699_999] {
            file.write_at(&[1], place).unwrap();
            assert_eq!(written_end(&*file, 100..700_000).unwrap(), place + 1);
        }
        assert_eq!(written_end(&*file, 100..100).unwrap(), 100);
        assert_eq!(written_end(&*file, 100..437_000).unwrap(), 262_245);
    }
}
