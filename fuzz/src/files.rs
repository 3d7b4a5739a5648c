//! The files of our own formats, as they come and with checksums that match, so that what lies behind is reached.

use std::fs;

use agentkit_core::ErrorKind;
use agentkit_rag::fuzz_support as door;

/// A sealed file and the manifest in it.
pub fn sealed(data: &[u8]) {
    if let Some(content) = door::unseal(data) {
        assert_eq!(door::unseal(&door::seal(&content)).as_deref(), Some(&*content));
    }
    assert_eq!(door::unseal(&door::seal(data)).as_deref(), Some(data));
    if let Some(once) = door::manifest(data) {
        assert_eq!(door::manifest(&once).as_deref(), Some(&*once), "a manifest is written as it was read");
    }
}

/// Components of a vector.
const DIMENSION: usize = 3;

/// A vector log and the commit that names it: either may be anything. The input is the payload of the commit, a NUL, and
/// the log; with a first byte of `r` the log is made of sound records with the given slots.
pub fn log(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (payload, rest) = data.split_at(at);
    let rest = rest.get(1..).unwrap_or_default();
    let file = if *kind == b'r' {
        let mut file = door::log_header(DIMENSION).expect("a small dimension");
        for record in rest.chunks(2) {
            let slot = record.iter().fold(0, |slot, byte| slot << 8 | u32::from(*byte));
            file.extend(door::log_record(slot, &[1.0, 2.0, 3.0]));
        }
        file
    } else {
        rest.to_vec()
    };
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("vectors-000001.log"), &file).expect("room for a file");
    fs::write(folder.path().join("vectors-000002.log"), &file).expect("room for a file");
    match door::logs(folder.path(), DIMENSION, payload) {
        Ok(lengths) => assert!(lengths.iter().all(|length| *length == 0 || *length == DIMENSION)),
        Err(error) => assert_ne!(error.kind(), ErrorKind::Internal, "{}", error.chain()),
    }
}

/// A graph's file. The first byte says whether its checksum is made to match, the next four are slots to be found.
pub fn graph(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<5>() else { return };
    let allowed: Vec<u32> = head[1..].iter().map(|slot| u32::from(*slot)).collect();
    let beyond = door::graph(rest, head[0] % 2 == 1, &allowed).expect("nothing stops the search");
    assert_eq!(beyond.unwrap_or_default(), [0; 0], "slots that the graph does not cover");
}
