//! Small files that are replaced as a whole: written to the side, checksummed, synced, renamed, folder synced.

use std::io;
use std::path::Path;

use agentkit_core::{Error, Result};

use super::storage::Storage;

/// Starts the last line of a sealed file, followed by eight hexadecimal digits of CRC-32 and a line feed.
const SEAL: &str = "\n#crc32:";
/// Bytes of the whole last line.
const SEAL_BYTES: usize = SEAL.len() + 8 + 1;
/// Ends the name of a file that is still being written; a leftover of a crash is written anew.
const SIDE: &str = ".tmp";

/// Replaces `path` by `data` and its checksum. After it returns, the new content survives a power loss;
/// if it fails or the process dies, the old content is still there.
pub(super) fn write(storage: &dyn Storage, path: &Path, data: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a sealed file needs a folder"))?;
    let mut side = path.as_os_str().to_owned();
    side.push(SIDE);
    let side = Path::new(&side);
    if storage.length(side)?.is_some() {
        storage.remove(side)?;
    }
    let mut file = storage.create(side)?;
    file.write_all(data)?;
    file.write_all(last_line(data).as_bytes())?;
    file.sync()?;
    drop(file);
    storage.rename(side, path)?;
    storage.sync_folder(folder)
}

/// The data of a sealed file.
///
/// # Errors
/// Not found, unavailable, or corrupt if the checksum does not match.
pub(super) fn read(storage: &dyn Storage, path: &Path) -> Result<Vec<u8>> {
    let bytes = storage.read(path).map_err(|error| Error::io(format!("read {}", path.display()), error))?;
    unseal(bytes)
        .ok_or_else(|| Error::corrupt(format!("{} is damaged: its checksum does not match", path.display())))
}

fn last_line(data: &[u8]) -> String {
    format!("{SEAL}{:08x}\n", crc32fast::hash(data))
}

/// The data with its seal.
pub(super) fn seal(data: &[u8]) -> Vec<u8> {
    [data, last_line(data).as_bytes()].concat()
}

/// The sealed data, or `None` if the seal is missing or does not match.
pub(super) fn unseal(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let length = bytes.len().checked_sub(SEAL_BYTES)?;
    let (data, seal) = bytes.split_at(length);
    let digits = seal.strip_prefix(SEAL.as_bytes())?.strip_suffix(b"\n")?;
    let expected = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    if crc32fast::hash(data) != expected {
        return None;
    }
    bytes.truncate(length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::storage::Disk;
    use super::*;

    #[test]
    fn any_flipped_bit_or_truncation_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.json");
        write(&Disk, &path, b"{\"a\": 1}").unwrap();
        assert_eq!(read(&Disk, &path).unwrap(), b"{\"a\": 1}");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                let same_digits = unseal(damaged).is_some_and(|data| data != b"{\"a\": 1}");
                assert!(!same_digits, "bit {bit} of byte {at}");
            }
            assert!(unseal(whole[..at].to_vec()).is_none(), "cut at {at}");
        }
    }
}
