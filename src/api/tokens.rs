//! API tokens: `/api/v1/tokens`. A token is in the answer of creating it and in no other.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{
    API_BODY_BYTES, Api,
    auth::Admin,
    body,
    error::ApiError,
    listing::{ListQuery, Listing},
    members::{Members, REQUIRED},
    openapi::schemas::{TokenInput, TokenRole},
    table::Call,
};
use crate::{
    domain::{id::TokenId, routing::Token, service::Role, time::Timestamp},
    ingest::ConfigRequest,
};

pub(super) const CALLS: &[Call] = &[
    Call::get("/api/v1/tokens", || web::to(list)),
    Call::post("/api/v1/tokens", || web::to(create)),
    Call::delete("/api/v1/tokens/{id}", || web::to(revoke)),
];

/// What is documented of this file.
#[derive(Debug, OpenApi)]
#[openapi(paths(list, create, revoke))]
pub(super) struct Documented;

/// When each token was last used, since the start of this process: what it costs to keep that on
/// disk is more than it is worth.
#[derive(Debug, Default)]
pub struct TokenUses(Mutex<HashMap<TokenId, Timestamp>>);

impl TokenUses {
    /// Notes a use.
    pub fn note(&self, token: TokenId, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, at);
    }

    fn last(&self, token: TokenId) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&token).copied()
    }

    fn forget(&self, token: TokenId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
    }
}

/// An API token, without the token itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenView {
    #[schema(value_type = String, format = Uuid)]
    id: TokenId,
    #[schema(example = "grafana")]
    name: String,
    #[schema(value_type = TokenRole)]
    role: Role,
    /// How it begins.
    #[schema(example = "dg_3f9c")]
    hint: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Null: not since the gateway was started.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_used_at: Option<Timestamp>,
}

/// A token that was just made, with the token itself: it is not shown again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreatedToken)]
pub(super) struct CreatedView {
    #[schema(value_type = String, format = Uuid)]
    id: TokenId,
    name: String,
    #[schema(value_type = TokenRole)]
    role: Role,
    hint: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// For `Authorization: Bearer …`.
    token: String,
}

/// List API tokens
///
/// Needs the role admin.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", operation_id = "list_tokens",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Items on a page; 50 unless given"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("count" = Option<bool>, Query, description = "Adds `total`"),
    ),
    responses((status = 200, description = "Newest first", body = Listing<TokenView>)),
)]
async fn list(
    _: Admin,
    request: HttpRequest,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let query = ListQuery::read(&request, &[])?;
    let directory = api.ingest.directory();
    let all = directory.tokens().collect();
    let show = |token: &&std::sync::Arc<Token>| TokenView {
        id: token.id,
        name: token.name.clone(),
        role: token.role,
        hint: token.hint.clone(),
        created_at: token.created_at,
        last_used_at: api.token_uses.last(token.id),
    };
    Ok(query.answer(all, |token| token.id.uuid(), show))
}

/// Make an API token
///
/// The token is in this answer and not shown again. Needs the role admin.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", operation_id = "create_token",
    request_body = TokenInput,
    responses(
        (status = 201, description = "Made; with the `token`", body = CreatedView),
        (status = 409, description = "The name is taken"),
    ),
)]
async fn create(
    caller: Admin,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let object = body::read_json(payload, API_BODY_BYTES, api.limits.body_timeout).await?;
    let mut members = Members::of(object);
    let name = members.name();
    let role = members.required_text("role").and_then(|given| {
        let role = Role::parse(&given);
        if role.is_none() {
            members.wrong("role", "must be \"viewer\", \"responder\" or \"admin\"");
        }
        role
    });
    members.finish()?;
    let (name, role) = (name.expect(REQUIRED), role.expect(REQUIRED));
    let request = ConfigRequest::CreateToken { name, role, secret: None };
    let made = api.ingest.configure(request, caller.0.requested_by()).await?.token();
    let (token, secret) = made.ok_or(ApiError::NotFound("token"))?;
    let Token { id, name, role, hint, created_at } = token;
    Ok(HttpResponse::Created()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(CreatedView { id, name, role, hint, created_at, token: secret }))
}

/// Revoke an API token
///
/// At once. Needs the role admin; the last token with that role stays.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    params(("id" = String, Path, description = "Id or name")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 409, description = "It is the last token with the role admin"),
    ),
)]
async fn revoke(
    caller: Admin,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let directory = api.ingest.directory();
    let id = match TokenId::parse(&path) {
        Some(id) => id,
        None => directory
            .tokens()
            .find(|token| token.name == *path)
            .map(|token| token.id)
            .ok_or(ApiError::NotFound("token"))?,
    };
    let request = ConfigRequest::RevokeToken { id };
    api.ingest.configure(request, caller.0.requested_by()).await?;
    api.token_uses.forget(id);
    Ok(HttpResponse::NoContent().finish())
}
