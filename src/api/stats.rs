//! Statistics: `/api/v1/stats`.

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::{IntoParams, OpenApi};

use super::{Api, auth::Viewer, error::ApiError, params::Params, table::Call};
use crate::{
    domain::time::Span,
    store::query::{NoiseFilter, views::NoiseView},
};

pub(super) const CALLS: &[Call] = &[Call::get("/api/v1/stats/noise", || web::to(noise))];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(noise))]
pub(super) struct Documented;

/// How far back statistics go if nothing is said.
const SINCE_DEFAULT: Span = Span::from_secs(7 * 86_400);
/// Longest time between both ends: ten years, so that the number of buckets is bounded.
const RANGE_MAX: Span = Span::from_secs(3660 * 86_400);

/// What statistics are about.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NoiseParameters {
    /// RFC 3339, inclusive; the hour it lies in counts whole. 7 days before `until` unless given.
    pub since: Option<String>,
    /// RFC 3339, exclusive; the hour it lies in counts whole. Now unless given; at most 3660 days
    /// after `since`.
    pub until: Option<String>,
    /// Name or id; also of one that was deleted. Any of them; all services unless given.
    pub service: Option<Vec<String>>,
}

/// How much noise there was, how much of it was taken out, and where it came from
///
/// A bucket for each hour up to 7 days, else for each day, in UTC. The noisiest sources, classes
/// and dedup keys are those of the events in that time that are still kept: of the newest 100,000,
/// or as many as half a second allows.
#[utoipa::path(get, path = "/api/v1/stats/noise", tag = "stats", operation_id = "noise_stats",
    params(NoiseParameters),
    responses((status = 200, description = "The numbers", body = NoiseView)))]
pub async fn noise(
    _: Viewer,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let mut params = Params::of_call(request.query_string(), &["since", "until", "service"]);
    let until = params.time("until").unwrap_or_else(|| api.ingest.now());
    let since = params.time("since").unwrap_or_else(|| until.minus(SINCE_DEFAULT));
    let services =
        params.owners("service", async |name| api.store.services_called(&name).await).await?;
    if since >= until {
        params.wrong("since", "must be earlier than until");
    } else if until.since(since) > RANGE_MAX {
        params.wrong("since", format!("must be at most {RANGE_MAX} before until"));
    }
    params.finish()?;
    let filter = NoiseFilter { services, since, until };
    Ok(HttpResponse::Ok().json(api.store.noise(&filter).await?))
}
