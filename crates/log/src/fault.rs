//! A disk for tests: it tears, loses and reorders what was not synced, fails when told to, and
//! runs full. The same seed and the same calls give the same bytes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::{copy_in, copy_out};
use crate::storage::{Storage, StorageFile};

/// What a disk keeps or loses as a whole.
const SECTOR_BYTES: usize = 512;

/// The calls that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Storage::list`].
    List,
    /// [`Storage::create`].
    Create,
    /// [`Storage::open`].
    Open,
    /// [`Storage::remove`].
    Remove,
    /// [`Storage::rename`].
    Rename,
    /// [`Storage::sync_directory`]: a created name may be forgotten for good, though it is still
    /// seen; a removed one may come back.
    SyncDirectory,
    /// [`StorageFile::read_at`].
    Read,
    /// [`StorageFile::write_at`]: a part is written.
    Write,
    /// [`StorageFile::sync_data`]: what was not synced is forgotten, but still read back.
    Sync,
    /// [`StorageFile::set_len`].
    SetLen,
    /// [`StorageFile::len`].
    Len,
}

/// A disk in memory that fails as real ones do. Clones are the same disk.
#[derive(Clone)]
pub struct FaultStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    random: u64,
    files: Vec<Inode>,
    /// What programs see.
    names: BTreeMap<String, usize>,
    /// What a power cut would leave.
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    armed: BTreeMap<Call, u64>,
    power_cut_after: Option<u64>,
    bytes_max: Option<usize>,
    calls: u64,
}

/// A change of the directory, which happens as a whole or not at all.
struct NameChange {
    removed: Option<String>,
    added: Option<(String, usize)>,
}

#[derive(Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

struct FaultFile {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
}

impl FaultStorage {
    /// An empty disk whose accidents follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            random: seed,
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// What a power cut leaves: of all that was not synced any part, torn anywhere.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut old = self.lock();
        let mut new = Disk {
            random: old.next_random(),
            ..Disk::default()
        };
        let unsynced: Vec<_> = old.unsynced_names.drain(..).collect();
        for change in unsynced {
            if old.chance(2) {
                change.apply(&mut old.durable_names);
            }
        }
        let names = old.durable_names.clone();
        for (name, place) in names {
            let bytes = old.survive(place);
            new.put(name, bytes);
        }
        Self {
            disk: Arc::new(Mutex::new(new)),
        }
    }

    /// The call of this kind after `skip` others fails, once.
    pub fn fail(&self, call: Call, skip: u64) {
        self.lock().armed.insert(call, skip);
    }

    /// All calls after this many fail, until [`FaultStorage::crash`].
    pub fn cut_power_after(&self, calls: u64) {
        self.lock().power_cut_after = Some(calls);
    }

    /// Whether the power is cut.
    pub fn is_dead(&self) -> bool {
        self.lock().power_cut_after == Some(0)
    }

    /// Takes back what was told by [`FaultStorage::fail`] and the like.
    pub fn mend(&self) {
        let mut disk = self.lock();
        disk.armed.clear();
        disk.power_cut_after = None;
        disk.bytes_max = None;
    }

    /// The disk has room for this many bytes more.
    pub fn leave_room(&self, bytes: usize) {
        let mut disk = self.lock();
        disk.bytes_max = Some(disk.used().saturating_add(bytes));
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// The names and bytes of all files, as programs see them.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let disk = self.lock();
        let bytes = |place: &usize| disk.files.get(*place).map(|file| file.cached.clone());
        disk.names
            .iter()
            .filter_map(|(name, place)| Some((name.clone(), bytes(place)?)))
            .collect()
    }

    /// Puts a file there, durable.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.lock().put(name.to_owned(), bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: usize) -> Arc<dyn StorageFile> {
        Arc::new(FaultFile {
            disk: Arc::clone(&self.disk),
            inode,
        })
    }
}

impl Disk {
    /// splitmix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn chance(&mut self, of: u64) -> bool {
        self.next_random().is_multiple_of(of)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = (bound as u64).max(1);
        usize::try_from(self.next_random() % bound).unwrap_or(0)
    }

    /// Counts a call and says whether it is one that fails.
    fn call(&mut self, call: Call) -> io::Result<()> {
        self.calls += 1;
        if let Some(left) = &mut self.power_cut_after {
            if *left == 0 {
                return Err(io::Error::other("the power is cut"));
            }
            *left -= 1;
        }
        match self.armed.get_mut(&call) {
            Some(0) => {
                self.armed.remove(&call);
                Err(io::Error::other("made to fail"))
            }
            Some(skip) => {
                *skip -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> usize {
        let named = self
            .names
            .values()
            .filter_map(|place| self.files.get(*place));
        named.map(|file| file.cached.len()).sum()
    }

    fn put(&mut self, name: String, bytes: Vec<u8>) {
        let place = self.files.len();
        let file = Inode {
            cached: bytes.clone(),
            durable: bytes,
            unsynced: Vec::new(),
        };
        self.files.push(file);
        self.names.insert(name.clone(), place);
        self.durable_names.insert(name, place);
    }

    fn file(&mut self, inode: usize) -> io::Result<&mut Inode> {
        self.files
            .get_mut(inode)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    /// What is left of a file: of its changes none, all, or any part of each.
    fn survive(&mut self, inode: usize) -> Vec<u8> {
        let Ok(file) = self.file(inode) else {
            return Vec::new();
        };
        let mut bytes = std::mem::take(&mut file.durable);
        let unsynced = std::mem::take(&mut file.unsynced);
        let fate = self.below(4);
        for change in unsynced {
            match fate {
                0 => {}
                1 => change.apply(&mut bytes),
                _ if self.chance(4) => {}
                2 => self.torn(change).apply(&mut bytes),
                _ => self
                    .scattered(change)
                    .iter()
                    .for_each(|change| change.apply(&mut bytes)),
            }
        }
        bytes
    }

    /// The beginning of a write.
    fn torn(&mut self, change: Change) -> Change {
        match change {
            Change::Write { offset, mut bytes } => {
                let kept = self.below(bytes.len() + 1);
                bytes.truncate(kept);
                Change::Write { offset, bytes }
            }
            whole @ Change::SetLen(_) => whole,
        }
    }

    /// Some sectors of a write.
    fn scattered(&mut self, change: Change) -> Vec<Change> {
        let Change::Write { offset, bytes } = change else {
            return vec![change];
        };
        let sectors = (offset..)
            .step_by(SECTOR_BYTES)
            .zip(bytes.chunks(SECTOR_BYTES));
        let writes = sectors.map(|(offset, sector)| Change::Write {
            offset,
            bytes: sector.to_vec(),
        });
        let writes: Vec<_> = writes.collect();
        writes.into_iter().filter(|_| self.chance(2)).collect()
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                if !bytes.is_empty() {
                    copy_in(file, bytes, *offset);
                }
            }
            Self::SetLen(len) => file.resize(usize::try_from(*len).unwrap_or(0), 0),
        }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = self.removed {
            names.remove(&name);
        }
        names.extend(self.added);
    }
}

impl Storage for FaultStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut disk = self.lock();
        disk.call(Call::List)?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.lock();
        disk.call(Call::Create)?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.files.len();
        disk.files.push(Inode::default());
        disk.names.insert(name.to_owned(), inode);
        disk.unsynced_names.push(NameChange {
            removed: None,
            added: Some((name.to_owned(), inode)),
        });
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.lock();
        disk.call(Call::Open)?;
        let inode = disk
            .names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.call(Call::Remove)?;
        disk.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.unsynced_names.push(NameChange {
            removed: Some(name.to_owned()),
            added: None,
        });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        disk.call(Call::Rename)?;
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), inode);
        disk.unsynced_names.push(NameChange {
            removed: Some(from.to_owned()),
            added: Some((to.to_owned(), inode)),
        });
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.lock();
        let called = disk.call(Call::SyncDirectory);
        let dead = disk.power_cut_after == Some(0);
        if called.is_err() && dead {
            return called;
        }
        let unsynced: Vec<_> = disk.unsynced_names.drain(..).collect();
        for change in unsynced {
            if called.is_ok() || disk.chance(2) {
                change.apply(&mut disk.durable_names);
            } else if change.added.is_none() {
                disk.unsynced_names.push(change);
            }
        }
        called
    }

    fn entropy(&self) -> u64 {
        self.lock().next_random()
    }
}

impl FaultFile {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageFile for FaultFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.lock();
        disk.call(Call::Read)?;
        Ok(copy_out(&disk.file(self.inode)?.cached, buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.lock();
        let mut called = disk.call(Call::Write);
        let end = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .saturating_add(bytes.len());
        let grows = end.saturating_sub(disk.file(self.inode)?.cached.len());
        let room = disk
            .bytes_max
            .map_or(usize::MAX, |max| max.saturating_sub(disk.used()));
        let mut kept = bytes.len();
        if called.is_err() {
            kept = disk.below(bytes.len() + 1);
        }
        if grows > room {
            kept = kept.min(bytes.len().saturating_sub(grows - room));
            called = Err(io::ErrorKind::StorageFull.into());
        }
        let bytes = bytes.get(..kept).unwrap_or_default().to_vec();
        let change = Change::Write { offset, bytes };
        let file = disk.file(self.inode)?;
        change.apply(&mut file.cached);
        file.unsynced.push(change);
        called
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.lock();
        let called = disk.call(Call::Sync);
        if called.is_err() {
            if disk.power_cut_after != Some(0) {
                // The pages count as clean from now on, whatever became of them.
                let left = disk.survive(self.inode);
                disk.file(self.inode)?.durable = left;
            }
            return called;
        }
        let file = disk.file(self.inode)?;
        for change in file.unsynced.drain(..) {
            change.apply(&mut file.durable);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.lock();
        disk.call(Call::SetLen)?;
        let file = disk.file(self.inode)?;
        Change::SetLen(len).apply(&mut file.cached);
        file.unsynced.push(Change::SetLen(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut disk = self.lock();
        disk.call(Call::Len)?;
        Ok(disk.file(self.inode)?.cached.len() as u64)
    }
}
