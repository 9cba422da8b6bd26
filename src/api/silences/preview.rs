//! What a silence would silence: `POST /api/v1/silences/preview`.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    API_BODY_BYTES, Api,
    alerts::explain_silences,
    auth::Viewer,
    body,
    error::ApiError,
    members::{Members, REQUIRED},
    openapi::policy::PreviewInput,
};
use crate::{
    domain::time::Span,
    store::query::{MatchedAlerts, views::AlertView},
};

/// How far the preview looks back.
const LOOK_BACK: Span = Span::from_secs(7 * 86_400);

/// What a silence would silence, and would have.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SilencePreview)]
pub(super) struct PreviewView {
    open: OpenMatches,
    last_7_days: RecentMatches,
    /// True if looking took too long: there are at least as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at_least: Option<bool>,
    /// There if the matchers hold for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    warning: Option<String>,
}

/// Alerts that are open now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OpenMatches {
    count: u64,
    /// The newest 50.
    alerts: Vec<AlertView>,
}

/// Alerts that were opened in this time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecentMatches {
    count: u64,
}

/// Show what a silence would silence
///
/// Which alerts the matchers hold for: of those that are open, and of those that were opened in the
/// last 7 days. Changes nothing.
#[utoipa::path(
    post, path = "/api/v1/silences/preview", tag = "silences", operation_id = "preview_silence",
    request_body = PreviewInput,
    responses((status = 200, description = "What it would silence", body = PreviewView)),
)]
pub(super) async fn preview(
    _: Viewer,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let directory = api.ingest.directory();
    let mut members = Members::of(object);
    let matches = members.required_matches("matchers");
    let service_id = members.service(&directory);
    members.finish()?;
    let matches = matches.expect(REQUIRED);
    let since = api.ingest.now().minus(LOOK_BACK);
    let MatchedAlerts { open, mut newest_open, recent, complete } =
        api.store.alerts_matching(&matches, service_id, since).await?;
    explain_silences(&api, &mut newest_open);
    let service = service_id.and_then(|id| directory.service(id));
    let service = service.map(|service| service.name.as_str());
    Ok(HttpResponse::Ok().json(PreviewView {
        open: OpenMatches { count: open, alerts: newest_open },
        last_7_days: RecentMatches { count: recent },
        at_least: (!complete).then_some(true),
        warning: matches.accepts_everything().then(|| super::warning(service)),
    }))
}
