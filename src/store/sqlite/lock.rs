//! One gateway a database file: a lock beside it, which the kernel takes back when the process ends.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use fs4::FileExt;

use super::StoreError;

/// Held as long as the gateway runs.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    pub(super) fn take(database: &Path) -> Result<Self, StoreError> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let shown = Path::new(&name).display();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&name)
            .map_err(|error| {
                StoreError::Unusable(format!(
                    "cannot open the lock file {shown}: {error}; check the owner and mode of its \
                     directory"
                ))
            })?;
        match FileExt::try_lock(&file) {
            Ok(()) => Ok(Self { _file: file }),
            Err(_) => Err(StoreError::Unusable(format!(
                "another dutygate is running on the database {}; stop it first, or set \
                 database_url to another file",
                database.display()
            ))),
        }
    }
}
