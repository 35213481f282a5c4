//! The file that a picture is drawn into.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::unistd::{UnlinkatFlags, unlinkat};

/// A file that is opened before the measuring, which would be for nothing if it could not be. What
/// it had before stays until it is written.
pub(super) struct PlotFile {
    path: PathBuf,
    file: File,
    /// Where to remove it from if it is new and was never written: the path itself may lead
    /// elsewhere by then, as the process has moved into a mount namespace of its own.
    new_in: Option<(File, OsString)>,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub(super) struct PlotFileError {
    path: PathBuf,
    source: io::Error,
}

impl PlotFile {
    pub(super) fn open(path: &Path) -> Result<Self, PlotFileError> {
        let failed = |source| PlotFileError { path: path.to_owned(), source };
        let is_new = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new("."))).ok();
        let place = directory.zip(path.file_name().map(OsString::from));
        Ok(Self { path: path.to_owned(), file, new_in: place.filter(|_| is_new) })
    }

    /// Puts the text in place of what was there.
    pub(super) fn write(mut self, text: &str) -> Result<(), PlotFileError> {
        // A pipe or a device has no length to set.
        let is_file = self.file.metadata().is_ok_and(|meta| meta.is_file());
        let cut = if is_file { self.file.set_len(0) } else { Ok(()) };
        match cut.and_then(|()| self.file.write_all(text.as_bytes())) {
            Ok(()) => {
                self.new_in = None;
                Ok(())
            }
            Err(source) => Err(PlotFileError { path: self.path.clone(), source }),
        }
    }
}

impl Drop for PlotFile {
    fn drop(&mut self) {
        if let Some((directory, name)) = self.new_in.take() {
            // Another one has taken it away before: that is as well.
            let _ = unlinkat(directory.as_fd(), name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn text_takes_the_place_of_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.svg");
        fs::write(&path, "a longer text").unwrap();
        PlotFile::open(&path).unwrap().write("short").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    }

    #[test]
    fn file_that_is_not_written_leaves_all_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        fs::write(&old, "text").unwrap();
        drop([PlotFile::open(&old).unwrap(), PlotFile::open(&new).unwrap()]);
        assert_eq!(fs::read_to_string(&old).unwrap(), "text");
        assert!(!new.exists());
    }

    #[test]
    fn path_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/a.svg");
        let error = PlotFile::open(&path).map(drop).unwrap_err();
        let expected = format!("cannot write {}: No such file", path.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}
