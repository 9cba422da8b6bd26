//! Statements over many rows at once.
//!
//! A statement through sqlx costs a hop to another thread and back (about 20 µs), so a batch uses
//! one statement a table. Their texts come in a few fixed sizes, so that they stay prepared; rows
//! that a size has too many are filled with NULL, which every statement here passes over.

use std::sync::OnceLock;

use sqlx::{
    Arguments, Encode, Sqlite, SqliteConnection, Type,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::StoreError;

/// Steps of at most a half, so that a third of the rows at most is filling. 128 measured best:
/// wider statements gain nothing and their programs grow.
const SIZES: [usize; 14] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];
const WIDEST: usize = SIZES[SIZES.len() - 1];

/// A statement around `VALUES` rows of `columns` parameters each.
pub(super) struct Bulk {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<&'static str>; SIZES.len()],
}

/// The parameters of one statement.
pub(super) struct Binder {
    arguments: SqliteArguments,
    bound: usize,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Binder {
    pub(super) fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        self.bound += 1;
        if let Err(error) = self.arguments.add(value) {
            self.failed.get_or_insert(error);
        }
        self
    }
}

impl Bulk {
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// The text for a number of rows. There are a few dozen texts in all, made once each.
    pub(super) fn text(&self, size: usize) -> &'static str {
        let at = SIZES.iter().position(|s| *s >= size).unwrap_or(SIZES.len() - 1);
        self.texts[at].get_or_init(|| {
            let mut sql = String::from(self.head);
            for row in 0..SIZES[at] {
                sql.push_str(if row == 0 { "VALUES (" } else { ",(" });
                // Without numbers: sqlx asks SQLite for the name of each parameter, and with
                // numbers SQLite looks through all of them to answer.
                for column in 0..self.columns {
                    sql.push_str(if column == 0 { "?" } else { ",?" });
                }
                sql.push(')');
            }
            sql.push_str(self.tail);
            sql.leak()
        })
    }

    fn arguments<T>(
        &self,
        items: &[T],
        bind: &impl Fn(&mut Binder, &T),
    ) -> Result<SqliteArguments, StoreError> {
        let size = SIZES.into_iter().find(|s| *s >= items.len()).unwrap_or(WIDEST);
        let mut binder = Binder { arguments: SqliteArguments::default(), bound: 0, failed: None };
        binder.arguments.reserve(size * self.columns, 0);
        for item in items {
            bind(&mut binder, item);
        }
        debug_assert_eq!(binder.bound, items.len() * self.columns, "{}", self.head);
        while binder.bound < size * self.columns {
            binder.bind(None::<i64>);
        }
        match binder.failed {
            None => Ok(binder.arguments),
            Some(error) => Err(StoreError::Refused(sqlx::Error::Encode(error))),
        }
    }

    /// Runs it for all items.
    pub(super) async fn execute<T>(
        &self,
        connection: &mut SqliteConnection,
        items: &[T],
        bind: impl Fn(&mut Binder, &T),
    ) -> Result<(), StoreError> {
        for chunk in items.chunks(WIDEST) {
            let arguments = self.arguments(chunk, &bind)?;
            sqlx::query_with(self.text(chunk.len()), arguments)
                .execute(&mut *connection)
                .await
                .map_err(super::store_error)?;
        }
        Ok(())
    }

    /// Runs it for all items and returns the rows found.
    pub(super) async fn fetch<T>(
        &self,
        connection: &mut SqliteConnection,
        items: &[T],
        bind: impl Fn(&mut Binder, &T),
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let mut rows = Vec::new();
        for chunk in items.chunks(WIDEST) {
            let arguments = self.arguments(chunk, &bind)?;
            let found = sqlx::query_with(self.text(chunk.len()), arguments)
                .fetch_all(&mut *connection)
                .await
                .map_err(super::store_error)?;
            rows.extend(found);
        }
        Ok(rows)
    }
}
