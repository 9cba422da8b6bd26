//! Chat services that answer 200 to what they refuse, and say so in the body only.

use serde_json::Value;

/// What a chat service said in an answer with a good status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) error: String,
    /// It came too soon after others.
    pub(super) too_many: bool,
}

/// Services whose answers are known, by the end of their host: the member that is 0 if all is well,
/// the one with the words, and the codes that mean "too many".
///
/// Sources: 钉钉 "自定义机器人接入", 企业微信 "群机器人配置说明" and "全局错误码", 飞书/Lark "Custom bot usage guide".
const SERVICES: [(&str, &str, &str, &[i64]); 5] = [
    ("dingtalk.com", "errcode", "errmsg", &[130_101, 90_030]),
    ("weixin.qq.com", "errcode", "errmsg", &[45_009, 45_033]),
    ("feishu.cn", "code", "msg", &[11_232]),
    ("larksuite.com", "code", "msg", &[11_232]),
    ("larkoffice.com", "code", "msg", &[11_232]),
];

/// What `host` means by an answer with a good status, if it is a no.
pub(super) fn refusal(host: &str, body: &str) -> Option<Refusal> {
    let is_of = |service: &str| {
        let rest = host.strip_suffix(service);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let (_, code, words, throttled) = SERVICES.into_iter().find(|(service, ..)| is_of(service))?;
    let answer: Value = serde_json::from_str(body).ok()?;
    let code = answer.get(code)?.as_i64().filter(|code| *code != 0)?;
    let words = answer.get(words).and_then(Value::as_str).unwrap_or("no reason given");
    let too_many = throttled.contains(&code);
    let mend = if too_many { "set rate_per_minute" } else { "check the bot and the template" };
    Some(Refusal {
        error: format!("{host} did not take it: {words} (code {code}); {mend}"),
        too_many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_in_a_good_answer_is_a_no() {
        for (host, body, too_many) in [
            (
                "oapi.dingtalk.com",
                r#"{"errcode":310000,"errmsg":"keywords not in content"}"#,
                false,
            ),
            ("oapi.dingtalk.com", r#"{"errcode":130101,"errmsg":"send too fast"}"#, true),
            ("qyapi.weixin.qq.com", r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#, false),
            ("open.feishu.cn", r#"{"code":19024,"msg":"Key Words Not Found","data":{}}"#, false),
            ("open.larksuite.com", r#"{"code":11232,"msg":"frequency limited"}"#, true),
        ] {
            let refusal = refusal(host, body).unwrap_or_else(|| panic!("{host}: {body}"));

            assert_eq!(refusal.too_many, too_many, "{body}");
            assert!(refusal.error.starts_with(host), "{}", refusal.error);
        }
    }

    #[test]
    fn a_yes_is_a_yes_and_others_mean_by_a_code_what_they_like() {
        for (host, body) in [
            ("oapi.dingtalk.com", r#"{"errcode":0,"errmsg":"ok"}"#),
            (
                "open.feishu.cn",
                r#"{"StatusCode":0,"StatusMessage":"success","code":0,"msg":"success"}"#,
            ),
            ("open.feishu.cn", "ok"),
            ("hooks.example.com", r#"{"code":200,"msg":"ok"}"#),
            ("notdingtalk.com", r#"{"errcode":7}"#),
        ] {
            assert_eq!(refusal(host, body), None, "{host}: {body}");
        }
    }
}
