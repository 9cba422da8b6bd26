//! Texts by their words: the full-text slices, and the tail that is not in them yet.

use sqlx::SqliteConnection;

use super::{
    super::{StoreError, maintenance, rows::Columns, store_error},
    walk::{Sql, json_list},
};
use crate::{
    domain::search::{self, Query},
    store::query::TextField,
};

/// As many texts are looked at one by one. A word that is in more of them is found quickly by
/// walking through the newest rows instead: of a million rows it is in every hundredth.
const CANDIDATES_MAX: usize = 10_000;

/// As many texts that are not indexed yet are looked through. The index follows within a second,
/// so there are more only after a flood.
const TAIL_MAX: i64 = 20_000;

/// Words of one value that are looked up. More make the answer no smaller.
const WORDS_MAX: usize = 32;

/// Which texts can fit a filter.
#[derive(Debug)]
pub(super) enum Candidates {
    /// The filter asks for no words.
    NotAsked,
    /// Too many to look at each; how they are asked for, unless the index cannot be.
    Common(Option<Words>),
    /// These, by their numbers; no others.
    Complete(Vec<i64>),
}

/// A question to the index, and its answer for what is not indexed yet.
#[derive(Debug)]
pub(super) struct Words {
    expression: String,
    slices: Vec<i64>,
    tail: Vec<i64>,
}

impl Words {
    /// Adds `AND column IN (…)` over the numbers of all texts that have the words. SQLite collects
    /// them once in a statement, about half a second for a million.
    pub(super) fn push(&self, sql: &mut Sql, column: &str) {
        sql.push(" AND ").push(column).push(" IN (SELECT value FROM json_each(");
        sql.push_bind(json_list(&self.tail)).push(")");
        for slice in &self.slices {
            let table = maintenance::slice_table(*slice);
            sql.push(format!(" UNION ALL SELECT rowid FROM {table} WHERE {table} MATCH "));
            sql.push_bind(self.expression.clone());
        }
        sql.push(")");
    }
}

/// What a filter says about words, as FTS5 takes it. `None` if it says nothing.
fn expression(texts: &[(TextField, Vec<String>)], q: &[Query]) -> Option<String> {
    let quote = |words: &[String], suffix: &str| {
        let words = words.iter().map(|word| format!("\"{word}\"{suffix}")).collect::<Vec<_>>();
        format!("({})", words.join(" AND "))
    };
    let mut all = Vec::new();
    for (_, values) in texts {
        let alternatives: Vec<String> = values
            .iter()
            .map(|value| {
                let mut words = search::tokens(value);
                words.sort();
                words.dedup();
                words.truncate(WORDS_MAX);
                words
            })
            .map(|words| if words.is_empty() { String::new() } else { quote(&words, "") })
            .collect();
        // A value without words can be anywhere.
        if !alternatives.iter().any(String::is_empty) {
            all.push(format!("({})", alternatives.join(" OR ")));
        }
    }
    let asked: Vec<String> =
        q.iter().filter(|q| !q.words().is_empty()).map(|q| quote(q.words(), " *")).collect();
    if !asked.is_empty() {
        all.push(format!("({})", asked.join(" OR ")));
    }
    (!all.is_empty()).then(|| all.join(" AND "))
}

/// The slices, newest first.
async fn slices(connection: &mut SqliteConnection) -> Result<Vec<i64>, StoreError> {
    sqlx::query_scalar("SELECT slice FROM search_slices ORDER BY slice DESC")
        .fetch_all(connection)
        .await
        .map_err(store_error)
}

/// The texts (`contents.seq` where it is `text_seq`) that can fit, newest slice first.
pub(super) async fn candidates(
    connection: &mut SqliteConnection,
    texts: &[(TextField, Vec<String>)],
    q: &[Query],
) -> Result<Candidates, StoreError> {
    let Some(expression) = expression(texts, q) else { return Ok(Candidates::NotAsked) };
    let watermark = maintenance::indexed_up_to(&mut *connection).await?;
    let Some(tail) = tail(connection, watermark, texts, q).await? else {
        return Ok(Candidates::Common(None));
    };
    let slices = slices(connection).await?;
    let mut found = tail.clone();
    for slice in &slices {
        let table = maintenance::slice_table(*slice);
        let sql = format!(
            "SELECT rowid FROM {table} WHERE {table} MATCH ?1 ORDER BY rowid DESC LIMIT ?2"
        );
        let room = CANDIDATES_MAX.saturating_sub(found.len()) + 1;
        let rows: Result<Vec<i64>, _> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(expression.as_str())
            .bind(i64::try_from(room).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await
            .map_err(store_error);
        match rows {
            Ok(rows) => found.extend(rows),
            // A word of letters that FTS5 does not know as such: walk instead.
            Err(StoreError::Refused(_)) => return Ok(Candidates::Common(None)),
            Err(error) => return Err(error),
        }
        if found.len() > CANDIDATES_MAX {
            return Ok(Candidates::Common(Some(Words { expression, slices, tail })));
        }
    }
    Ok(Candidates::Complete(found))
}

/// Looks through what is not indexed yet; `None` if that is too much.
async fn tail(
    connection: &mut SqliteConnection,
    watermark: i64,
    texts: &[(TextField, Vec<String>)],
    q: &[Query],
) -> Result<Option<Vec<i64>>, StoreError> {
    let rows = sqlx::query(TAIL)
        .bind(watermark)
        .bind(TAIL_MAX)
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    if i64::try_from(rows.len()).unwrap_or(TAIL_MAX) >= TAIL_MAX {
        return Ok(None);
    }
    let mut found = Vec::new();
    for row in &rows {
        let mut c = Columns::of(row, "contents");
        let seq: i64 = c.read("seq")?;
        let mut values = [""; 6];
        for (value, column) in
            values.iter_mut().zip(["summary", "source", "component", "group", "class", "dedup_key"])
        {
            *value = c.read::<Option<&str>>(column)?.unwrap_or("");
        }
        let [_, source, component, group, class, dedup_key] = values;
        let equal = texts.iter().all(|(field, wanted)| {
            let value = match field {
                TextField::DedupKey => dedup_key,
                TextField::Source => source,
                TextField::Component => component,
                TextField::Group => group,
                TextField::Class => class,
            };
            wanted.iter().any(|wanted| wanted == value)
        });
        if equal && (q.is_empty() || q.iter().any(|q| q.found_in(values))) {
            found.push(seq);
        }
    }
    Ok(Some(found))
}

pub(super) const TAIL: &str = "SELECT c.seq, c.summary, c.source, c.component, c.\"group\", \
     c.class, a.dedup_key FROM contents c CROSS JOIN alerts a ON a.seq = c.alert_seq \
     WHERE c.seq > ?1 AND c.text_seq = c.seq ORDER BY c.seq DESC LIMIT ?2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_tokens_and_values_are_whole() {
        let texts = [(TextField::Class, vec!["disk full".into(), "cpu".into()])];
        let q = [Query::parse("99% DISK")];

        assert_eq!(
            expression(&texts, &q).unwrap(),
            r#"(("disk" AND "full") OR ("cpu")) AND (("99" * AND "disk" *))"#
        );
    }

    #[test]
    fn a_value_without_words_says_nothing() {
        let texts = [(TextField::Class, vec!["!!!".into(), "cpu".into()])];

        assert_eq!(expression(&texts, &[]), None);
    }
}
