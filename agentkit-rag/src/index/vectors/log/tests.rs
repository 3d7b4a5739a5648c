//! The log files against reopening, damage, and being rewritten.

use std::sync::Arc;

use agentkit_core::ErrorKind;

use super::*;
use crate::index::storage::Disk;

fn on_disk(folder: &tempfile::TempDir) -> Folder {
    Folder::new(Arc::new(Disk), folder.path())
}

fn logs_of(folder: &Folder, rows: u16) -> (Logs, Vectors) {
    let (mut logs, mut vectors) = Logs::open(folder, 3, &[]).unwrap();
    for row in 0..rows {
        logs.append(&mut vectors, &[vec![f32::from(row), 1.0, 2.0]]).unwrap();
    }
    logs.sync().unwrap();
    (logs, vectors)
}

fn check(vectors: &Vectors, live: impl Fn(u16) -> bool, rows: u16) {
    for row in 0..rows {
        let expected: &[f32] = if live(row) { &[f32::from(row), 1.0, 2.0] } else { &[] };
        assert_eq!(vectors.row(row.into()), expected, "row {row}");
    }
}

#[test]
fn rows_come_back_after_reopening_and_an_uncommitted_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let folder = on_disk(&dir);
    let (mut logs, mut vectors) = logs_of(&folder, 600);
    let committed = logs.extents();
    logs.append(&mut vectors, &[vec![9.0; 3]]).unwrap();
    logs.sync().unwrap();
    drop(logs);
    let (mut logs, mut vectors) = Logs::open(&folder, 3, &committed).unwrap();
    assert_eq!(vectors.len(), 600);
    check(&vectors, |_| true, 600);
    logs.append(&mut vectors, &[vec![600.0, 1.0, 2.0]]).unwrap();
    logs.sync().unwrap();
    check(&load(&folder, 3, &logs.extents()).unwrap(), |_| true, 601);
}

#[test]
fn full_files_are_followed_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let folder = on_disk(&dir);
    let (mut logs, mut vectors) = Logs::open(&folder, 3, &[]).unwrap();
    logs.full = 1000;
    let rows: Vec<Vec<f32>> = (0..1000_u16).map(|row| vec![f32::from(row), 1.0, 2.0]).collect();
    for batch in rows.chunks(90) {
        logs.append(&mut vectors, batch).unwrap();
    }
    logs.sync().unwrap();
    assert_eq!(logs.extents().len(), 4);
    check(&vectors, |_| true, 1000);
    check(&load(&folder, 3, &logs.extents()).unwrap(), |_| true, 1000);
}

#[test]
fn a_rewrite_leaves_the_live_rows_in_their_slots_and_appending_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = on_disk(&dir);
    let (mut logs, mut vectors) = logs_of(&folder, 600);
    let live = |row: u16| row.is_multiple_of(3);
    let slots: Vec<u32> = (0..600).filter(|row| live(*row)).map(u32::from).collect();
    let rewrite = logs.plan_rewrite(&mut vectors, &slots, 0.3).unwrap().unwrap();
    let new: Vec<Vec<f32>> = vec![vec![600.0, 1.0, 2.0]];
    logs.append(&mut vectors, &new).unwrap();
    let written = rewrite.write(&folder, &vectors, &RunContext::new()).unwrap();
    logs.replace(&rewrite, written, &mut vectors).unwrap();
    logs.sync().unwrap();
    check(&vectors, |row| row == 600 || live(row), 601);
    check(&load(&folder, 3, &logs.extents()).unwrap(), |row| row == 600 || live(row), 601);
    assert!(logs.plan_rewrite(&mut vectors, &[slots, vec![600]].concat(), 0.0).unwrap().is_none());
}

#[test]
fn files_no_commit_names_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = on_disk(&dir);
    let (logs, _) = logs_of(&folder, 3);
    std::fs::write(folder.at("vectors-000009.log"), b"left by a crash").unwrap();
    std::fs::write(folder.at("graph"), b"not a log").unwrap();
    Logs::open(&folder, 3, &logs.extents()).unwrap();
    assert_eq!(folder.storage.list(&folder.path).unwrap(), ["graph", "vectors-000001.log"]);
}

#[test]
fn every_flipped_bit_and_truncation_is_a_corrupt_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = on_disk(&dir);
    let extents = logs_of(&folder, 3).0.extents();
    let path = folder.at(&extents[0].file);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(&path, &damaged).unwrap();
        let error = load(&folder, 3, &extents).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
        assert!(error.message().contains("vectors-000001.log"));
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(load(&folder, 3, &extents).is_err(), "cut at {at}");
        assert!(Logs::open(&folder, 3, &extents).is_err(), "cut at {at}");
    }
}

#[test]
fn a_snapshot_does_not_see_later_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (mut logs, mut vectors) = logs_of(&on_disk(&dir), 10);
    let snapshot = vectors.clone();
    logs.append(&mut vectors, &[vec![7.0; 3]]).unwrap();
    assert_eq!((snapshot.len(), vectors.len()), (10, 11));
    assert!(snapshot.row(10).is_empty());
}
