//! What an error of the database means for whoever asked.

use std::path::Path;

use crate::store::StoreError;

/// Sorts an error by what can be done about it.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    // Primary result codes. Source: https://www.sqlite.org/rescode.html
    const FULL_OR_UNREACHABLE: [i32; 8] = [5, 6, 7, 8, 10, 13, 14, 15];
    const DAMAGED: [i32; 2] = [11, 26];
    let primary = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<i32>().ok())
        .map(|code| code & 0xff);
    match primary {
        Some(code) if FULL_OR_UNREACHABLE.contains(&code) || DAMAGED.contains(&code) => {
            StoreError::Unavailable(error)
        }
        Some(_) => StoreError::Refused(error),
        None => match error {
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_) => StoreError::Refused(error),
            other => StoreError::Unavailable(other),
        },
    }
}

/// What to do about a database that cannot be opened.
pub(super) fn open_error(path: &Path, error: &sqlx::Error) -> StoreError {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<i32>().ok())
        .map(|code| code & 0xff);
    let path = path.display();
    StoreError::Unusable(match code {
        Some(11) => format!(
            "the database {path} is damaged ({error}); stop here, keep a copy of it and of the \
             files {path}-wal and {path}-shm, and restore the last `dutygate backup`"
        ),
        Some(26) => format!(
            "{path} is not a SQLite database; set database_url to another file, or move this one away"
        ),
        Some(8 | 14) => format!(
            "the database {path} cannot be opened ({error}); check the owner and mode of the file \
             and its directory"
        ),
        Some(13) => format!("the disk of the database {path} is full; make room and start again"),
        _ => format!("the database {path} cannot be opened: {error}"),
    })
}
