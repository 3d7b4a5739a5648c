//! Read-only memory maps, the one place of the index with `unsafe`.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use stable_deref_trait::StableDeref;
use tantivy::directory::OwnedBytes;

struct Map(memmap2::Mmap);

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// SAFETY: the map's address does not change when the value that owns it is moved.
#[expect(unsafe_code, reason = "the trait promises a stable address")]
unsafe impl StableDeref for Map {}

/// The file's bytes, paged in by the operating system as they are read.
#[expect(unsafe_code, reason = "mapping a file is unsafe because another process could change it")]
pub(super) fn map(path: &Path) -> io::Result<OwnedBytes> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(OwnedBytes::empty());
    }
    // SAFETY: files of the index are written once, under the index's lock, and afterwards only unlinked, which
    // leaves a map intact; nobody but the holder of the lock writes in the folder.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(OwnedBytes::new(Map(map)))
}
