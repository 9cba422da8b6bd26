//! The pages for people and what they are made of.

use actix_web::http::Method;

use super::Gateway;

async fn get(gateway: &Gateway, path: &str) -> super::Answer {
    gateway.request(Method::GET, path, &[], "").await
}

#[actix_web::test]
async fn the_first_page_says_where_to_send() {
    let gateway = Gateway::start().await;

    let page = get(&gateway, "/").await;

    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let url = "https://gate.example.com/duty/event/push/alert/pagerduty?integration_key=";
    assert!(page.text.contains(url));
    assert!(!page.text.contains("{{"), "{}", page.text);
    for link in ["/duty/docs", "/duty/metrics", "/duty/readyz", "/duty/assets/page.css"] {
        assert!(page.text.contains(&format!("\"{link}\"")), "{link}");
    }
    assert_eq!(
        get(&gateway, "/assets/page.css").await.header("content-type"),
        "text/css; charset=utf-8"
    );
}

#[actix_web::test]
async fn the_description_can_be_tried_out_without_any_other_site() {
    let gateway = Gateway::start().await;
    for path in ["/docs", "/docs/"] {
        let page = get(&gateway, path).await;
        assert_eq!((page.status.as_u16(), page.text.contains("{{")), (200, false));
        let parts = page.text.split('"').filter_map(|part| part.strip_prefix("/duty"));
        let parts: Vec<&str> = parts.collect();
        assert_eq!(parts.len(), 6);
        for part in parts {
            assert_eq!(get(&gateway, part).await.status, 200, "{part}");
        }
    }
    let start = get(&gateway, "/docs/swagger-initializer.js").await.text;
    assert!(start.contains("\"/duty/api/openapi.json\""), "{start}");
    assert!(start.contains("\"validatorUrl\": \"none\""), "{start}");
    assert!(!start.contains("http"), "{start}");
    assert_eq!(get(&gateway, "/docs/oauth2-redirect.html").await.status, 404);
}
