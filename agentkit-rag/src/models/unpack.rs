//! Taking named files out of a zip archive that nobody vouches for.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use agentkit_core::{Error, ErrorKind, Result, RunContext};
use zip::ZipArchive;
use zip::result::ZipError;

use super::progress::Reporter;
use super::spec::ModelSpec;

/// Largest file taken out of an archive, so that a zip bomb ends.
pub(super) const MAX_FILE_BYTES: u64 = 8 << 30;

/// Writes the files of `spec` that lie under `prefix` in `archive` to `folder`.
///
/// Only names that `spec` lists are looked up, so no name in the archive ever becomes a path.
pub(super) fn unpack(
    archive: &Path,
    prefix: &str,
    spec: &ModelSpec,
    folder: &Path,
    task: (&Reporter, &RunContext),
) -> Result<()> {
    let damaged = |error: ZipError| {
        Error::corrupt(format!("{} is not an intact archive", archive.display())).with_source(error)
    };
    let file =
        File::open(archive).map_err(|error| Error::io(format!("open {}", archive.display()), error))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    for wanted in spec.files() {
        let name = format!("{prefix}/{}", wanted.path());
        let mut entry = match zip.by_name(&name) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) if !wanted.is_required() => continue,
            Err(ZipError::FileNotFound) => {
                return Err(Error::not_found(format!("{} has no file {name}", archive.display())));
            }
            Err(error) => return Err(damaged(error)),
        };
        let size = entry.size();
        extract(&mut entry, (wanted.path(), size), &folder.join(wanted.path()), task)?;
    }
    Ok(())
}

fn extract(
    entry: &mut dyn Read,
    (name, size): (&str, u64),
    target: &Path,
    (reporter, ctx): (&Reporter, &RunContext),
) -> Result<()> {
    if size > MAX_FILE_BYTES {
        let message = format!("{name} would unpack to {size} bytes, more than {MAX_FILE_BYTES} allowed");
        return Err(Error::new(ErrorKind::ResourceExhausted, message));
    }
    make_parent(target)?;
    let mut file =
        File::create(target).map_err(|error| Error::io(format!("create {}", target.display()), error))?;
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        ctx.check()?;
        let count = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::corrupt(format!("unpack {name}")).with_source(error)),
        };
        done += count as u64;
        if done > size {
            return Err(Error::corrupt(format!("{name} unpacks to more than the {size} bytes it states")));
        }
        file.write_all(buffer.get(..count).unwrap_or_default())
            .map_err(|error| Error::io(format!("write {}", target.display()), error))?;
        reporter.step(&format!("unpacking {name}"), done, Some(size));
    }
    if done < size {
        return Err(Error::corrupt(format!("{name} ends after {done} of {size} bytes")));
    }
    Ok(())
}

/// Creates the folder `target` lies in.
pub(super) fn make_parent(target: &Path) -> Result<()> {
    match target.parent() {
        None => Ok(()),
        Some(parent) => fs::create_dir_all(parent)
            .map_err(|error| Error::io(format!("create {}", parent.display()), error)),
    }
}
