//! What the operating system says of this process's memory.

use serde::{Deserialize, Serialize};

/// Resident memory in bytes; the kinds are told apart because mapped files can be dropped and read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Not backed by a file.
    #[serde(rename = "anonymous_bytes")]
    pub(super) anonymous: u64,
    /// Pages of mapped files.
    #[serde(rename = "mapped_bytes")]
    pub(super) mapped: u64,
    /// The most that both together have been.
    #[serde(rename = "peak_bytes")]
    pub(super) peak: u64,
}

impl Memory {
    /// The memory now; `None` where there is no `/proc`.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?.strip_prefix(':')?;
            Some(value.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        Some(Self { anonymous: bytes("RssAnon")?, mapped: bytes("RssFile")?, peak: bytes("VmHWM")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_status_are_read() {
        let status = "Name:\tx\nVmHWM:\t     300 kB\nRssAnon:\t     100 kB\nRssFile:\t     50 kB\n";
        let memory = Memory::parse(status).unwrap();
        assert_eq!(memory.anonymous, 100 << 10);
        assert_eq!((memory.mapped, memory.peak), (50 << 10, 300 << 10));
        assert_eq!(Memory::parse("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_is_used_is_seen() {
        let before = Memory::now().unwrap().anonymous;
        let used = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = Memory::now().unwrap().anonymous;
        assert!(after > before + (32 << 20), "{before} to {after}");
        drop(used);
    }
}
