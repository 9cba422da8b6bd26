//! Who may do what: extractors that a handler cannot get past.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};

use super::{Api, error::ApiError};
use crate::{
    domain::{key::KeyHash, routing::Token, service::Role},
    ingest::RequestedBy,
};

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident $role:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Caller);

        impl FromRequest for $name {
            type Error = ApiError;
            type Future = Ready<Result<Self, ApiError>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(caller(request, $role).map(Self))
            }
        }
    )*};
}

roles! {
    /// A caller that may read.
    Viewer Role::Viewer;
    /// A caller that may also act on alerts and incidents.
    Responder Role::Responder;
    /// A caller that may do everything.
    Admin Role::Admin;
}

/// Who is calling.
#[derive(Clone, Debug)]
pub struct Caller {
    pub token: Arc<Token>,
    /// The client's address, as the connection has it.
    pub address: Option<String>,
}

impl Caller {
    /// As timelines and the audit log name it.
    pub fn actor(&self) -> String {
        format!("token:{}", self.token.name)
    }

    pub fn requested_by(&self) -> RequestedBy {
        RequestedBy { actor: self.actor(), address: self.address.clone() }
    }
}

fn caller(request: &HttpRequest, needed: Role) -> Result<Caller, ApiError> {
    let secret = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim())
        .ok_or(ApiError::Unauthorized)?;
    let api = request.app_data::<web::Data<Api>>().ok_or(ApiError::Unauthorized)?;
    // Looked up by hash: how long that takes says nothing about any token.
    let directory = api.ingest.directory();
    let token = directory.token(&KeyHash::of(secret)).ok_or(ApiError::Unauthorized)?;
    if token.role < needed {
        return Err(ApiError::Forbidden { needed });
    }
    api.token_uses.note(token.id, api.ingest.now());
    let address = request.peer_addr().map(|address| address.ip().to_string());
    Ok(Caller { token: Arc::clone(token), address })
}
