//! The route table of the JSON API and the pages: which method at which path does what.
//!
//! It is data, so that the description of the API can be held against what is served, and so that
//! a wrong method is told the right ones.

use actix_web::{HttpResponse, ResponseError, Route, http::Method, middleware::Compress, web};

use super::error::ApiError;

/// One method of one path, and who answers it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: &'static str,
    route: fn() -> Route,
}

impl Call {
    /// Answers `HEAD` as well.
    pub const fn get(path: &'static str, route: fn() -> Route) -> Self {
        Self { method: Method::GET, path, route }
    }

    pub const fn post(path: &'static str, route: fn() -> Route) -> Self {
        Self { method: Method::POST, path, route }
    }

    pub const fn put(path: &'static str, route: fn() -> Route) -> Self {
        Self { method: Method::PUT, path, route }
    }

    pub const fn delete(path: &'static str, route: fn() -> Route) -> Self {
        Self { method: Method::DELETE, path, route }
    }
}

/// Adds the routes of a table. All calls of one path must be in the same table.
pub fn mount(config: &mut web::ServiceConfig, calls: &[Call]) {
    let mut rest: Vec<&Call> = calls.iter().collect();
    while let Some(first) = rest.first() {
        let path = first.path;
        let (here, others): (Vec<&Call>, Vec<&Call>) =
            rest.into_iter().partition(|call| call.path == path);
        rest = others;
        let mut resource = web::resource(path);
        for call in &here {
            resource = resource.route((call.route)().method(call.method.clone()));
            if call.method == Method::GET {
                resource = resource.route((call.route)().method(Method::HEAD));
            }
        }
        let allow = allow(&here);
        let resource = resource.default_service(web::to(move || not_allowed(allow)));
        // What is only read is worth compressing, for clients that ask for it. Answers to emitters
        // are short, and those that show a secret once do not go near a compressor.
        if here.iter().all(|call| call.method == Method::GET) {
            config.service(resource.wrap(Compress::default()));
        } else {
            config.service(resource);
        }
    }
}

fn allow(calls: &[&Call]) -> &'static str {
    let has = |method: Method| calls.iter().any(|call| call.method == method);
    let writes = has(Method::PUT) || has(Method::DELETE);
    match (has(Method::GET), has(Method::POST), writes) {
        (true, false, false) => "GET, HEAD",
        (true, true, false) => "GET, HEAD, POST",
        (true, false, true) => "GET, HEAD, PUT, DELETE",
        (true, true, true) => "GET, HEAD, POST, PUT, DELETE",
        (false, true, false) => "POST",
        (false, true, true) => "POST, PUT, DELETE",
        (false, false, _) if has(Method::PUT) => "PUT, DELETE",
        (false, false, _) => "DELETE",
    }
}

#[expect(clippy::unused_async, reason = "handlers are async")]
async fn not_allowed(allow: &'static str) -> HttpResponse {
    ApiError::MethodNotAllowed { allow }.error_response()
}
