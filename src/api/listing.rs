//! Lists of the few things that the directory holds whole: a page by id, newest first.
//!
//! An id begins with the time it was made, so it is the order and the cursor at once, and a cursor
//! stays good while rows are added. Lists that are read from the database are not here.

use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::ApiError;

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;

/// What a list was asked for.
#[derive(Debug)]
pub(super) struct ListQuery {
    pub(super) limit: usize,
    /// Only what comes after this one.
    pub(super) before: Option<Uuid>,
    pub(super) count: bool,
    /// The other parameters, as far as the list knows them.
    filters: Vec<(String, String)>,
}

impl ListQuery {
    /// Reads the query; `filters` are the parameters of this list besides those of every list.
    pub(super) fn read(request: &HttpRequest, filters: &[&str]) -> Result<Self, ApiError> {
        let mut query =
            Self { limit: LIMIT_DEFAULT, before: None, count: false, filters: Vec::new() };
        let mut errors: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
            let mut wrong = |what: String| errors.push((name.to_string(), what));
            match name.as_ref() {
                "limit" => match value.parse() {
                    Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => query.limit = limit,
                    _ => wrong(format!("must be a number from 1 to {LIMIT_MAX}")),
                },
                "cursor" => match Uuid::try_parse(&value) {
                    Ok(before) => query.before = Some(before),
                    Err(_) => wrong("must be the next_cursor of an earlier answer".to_owned()),
                },
                "count" => match value.as_ref() {
                    "true" => query.count = true,
                    "false" => query.count = false,
                    _ => wrong("must be true or false".to_owned()),
                },
                known if filters.contains(&known) => {
                    query.filters.push((name.into_owned(), value.into_owned()));
                }
                _ => {
                    let known = ["limit", "cursor", "count"].iter().chain(filters);
                    let known: Vec<&str> = known.copied().collect();
                    wrong(format!("is unknown; must be one of {}", known.join(", ")));
                }
            }
        }
        if errors.is_empty() { Ok(query) } else { Err(ApiError::Invalid(errors)) }
    }

    /// The values given for a filter; none: everything passes.
    pub(super) fn values(&self, filter: &str) -> Vec<&str> {
        let given = self.filters.iter().filter(|(name, _)| name == filter);
        given.map(|(_, value)| value.as_str()).collect()
    }

    /// Renders one page of all there is.
    pub(super) fn answer<I, T: Serialize>(
        &self,
        mut all: Vec<I>,
        id: impl Fn(&I) -> Uuid,
        show: impl Fn(&I) -> T,
    ) -> HttpResponse {
        let total = self.count.then_some(all.len() as u64);
        all.sort_unstable_by_key(|item| std::cmp::Reverse(id(item)));
        all.retain(|item| self.before.is_none_or(|before| id(item) < before));
        self.page(all, total, id, show)
    }

    /// As [`ListQuery::answer`] for what has an order of its own: the cursor is the last one shown.
    pub(super) fn answer_in_order<I, T: Serialize>(
        &self,
        mut all: Vec<I>,
        id: impl Fn(&I) -> Uuid,
        show: impl Fn(&I) -> T,
    ) -> Result<HttpResponse, ApiError> {
        let total = self.count.then_some(all.len() as u64);
        if let Some(last) = self.before {
            let Some(at) = all.iter().position(|item| id(item) == last) else {
                let what = "must be the next_cursor of an earlier answer; what it was is deleted";
                return Err(ApiError::field("cursor", what));
            };
            all.drain(..=at);
        }
        Ok(self.page(all, total, id, show))
    }

    fn page<I, T: Serialize>(
        &self,
        mut all: Vec<I>,
        total: Option<u64>,
        id: impl Fn(&I) -> Uuid,
        show: impl Fn(&I) -> T,
    ) -> HttpResponse {
        let more = all.len() > self.limit;
        all.truncate(self.limit);
        let next_cursor = all.last().filter(|_| more).map(|last| id(last).to_string());
        let items = all.iter().map(show).collect();
        HttpResponse::Ok().json(Listing { items, next_cursor, total })
    }
}

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Listing<T> {
    pub(super) items: Vec<T>,
    /// Give it as `cursor` to get the next page; null on the last one.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
    /// How many there are on all pages; only with `count=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) total: Option<u64>,
}
