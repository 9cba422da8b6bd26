//! Changes of API tokens.

use std::sync::Arc;

use serde_json::json;

use super::{ConfigAnswer, ConfigureError, Planner, TOKEN_PREFIX, new_token};
use crate::domain::{
    configuration::{Configuration, Refused},
    id::TokenId,
    key::KeyHash,
    routing::Token,
    service::Role,
};

const KIND: &str = "token";

impl Planner<'_> {
    pub(super) fn create_token(
        &mut self,
        name: String,
        role: Role,
        secret: Option<String>,
    ) -> Result<ConfigAnswer, ConfigureError> {
        if self.directory.tokens().any(|token| token.name == name) {
            return Err(Refused::NameTaken { kind: KIND, name }.into());
        }
        let secret = secret.unwrap_or_else(new_token);
        let hint: String = secret.chars().take(TOKEN_PREFIX.len() + 4).collect();
        let id = self.ids.token(self.now);
        let token = Token { id, name, role, hint, created_at: self.now };
        let hash = KeyHash::of(&secret);
        let change = Configuration::CreateToken { token: token.clone(), secret: hash };
        self.add(change, "create", (KIND, id.uuid(), &token.name), json!({"role": role}));
        Ok(ConfigAnswer::Token { token, secret })
    }

    pub(super) fn revoke_token(&mut self, id: TokenId) -> Result<ConfigAnswer, ConfigureError> {
        let old = self.directory.tokens().find(|token| token.id == id);
        let old = Arc::clone(old.ok_or(Refused::NotFound(KIND))?);
        let admins = || self.directory.tokens().filter(|token| token.role == Role::Admin);
        if old.role == Role::Admin && admins().count() == 1 {
            let what = "it is the last token with the role admin; make another one first";
            return Err(ConfigureError::Conflict(what.to_owned()));
        }
        let detail = json!({"role": old.role});
        let change = Configuration::RevokeToken(id);
        self.add(change, "revoke", (KIND, id.uuid(), &old.name), detail);
        Ok(ConfigAnswer::Deleted)
    }
}
