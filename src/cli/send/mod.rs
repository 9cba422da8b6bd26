//! `dutygate send`: sends events to any URL of the Events API V2.
//!
//! It deliberately validates nothing that the server validates, so that bad events can be tried.

mod event;
mod load;
mod post;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;

use super::{
    client::{NOT_REACHED, Target},
    ui::{self, Failure, OrNext as _},
};
use crate::domain::time::Span;

const EXAMPLES: &str = "\
Examples:
  export DUTYGATE_ROUTING_KEY=0123456789abcdef0123456789abcdef
  dutygate send trigger --summary 'disk full' --source db1 --severity critical --dedup-key db1/disk
  dutygate send acknowledge --dedup-key db1/disk
  dutygate send resolve --dedup-key db1/disk
  dutygate send --change --summary 'deployed v2' --source ci --link 'https://ci.example.com/7 build 7'
  dutygate send --summary hi --source s --severity info --detail disk=sda --detail used=99%
  dutygate send --summary 'load {i}' --source s --severity info --dedup-key k{i} --count 5000 --rate 500/s
  dutygate send --url https://events.pagerduty.com --summary hi --source s --severity info

Exit status: 0 if every event was accepted, else 1.";

/// Send an event to any Events API V2 URL
///
/// Fields that are not given are not sent. With --count, `{i}` in the summary and the dedup key
/// is the number of the event.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Send {
    /// trigger, acknowledge or resolve [default: trigger]
    #[arg(value_name = "ACTION", conflicts_with_all = ["event_action", "change"])]
    action: Option<String>,
    /// The action as a flag; sent as it is, `''` too
    #[arg(long, value_name = "ACTION", conflicts_with = "change")]
    event_action: Option<String>,
    /// Send a change event
    #[arg(long)]
    change: bool,
    /// Where to: a whole endpoint, or a base, to which /v2/enqueue or /v2/change/enqueue is added
    #[arg(
        long,
        env = "DUTYGATE_URL",
        default_value = "http://127.0.0.1:8080",
        hide_env_values = true
    )]
    url: Target,
    /// Key of the integration
    #[arg(long, value_name = "KEY", env = "DUTYGATE_ROUTING_KEY", hide_env_values = true)]
    routing_key: Option<String>,

    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    load: Load,
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Fields")]
struct Fields {
    /// What it is about: events of one key are one alert
    #[arg(long, value_name = "TEXT")]
    dedup_key: Option<String>,
    /// What happened
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
    /// Where it happened
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// critical, error, warning or info
    #[arg(long, value_name = "TEXT")]
    severity: Option<String>,
    /// When it happened, such as 2026-11-20T10:11:12Z
    #[arg(long, value_name = "TEXT")]
    timestamp: Option<String>,
    /// Part of the source
    #[arg(long, value_name = "TEXT")]
    component: Option<String>,
    /// Group of sources
    #[arg(long, value_name = "TEXT")]
    group: Option<String>,
    /// Kind of event
    #[arg(long, value_name = "TEXT")]
    class: Option<String>,
    /// More about it, any JSON; kept as it is written
    #[arg(long, value_name = "JSON", conflicts_with = "detail")]
    custom_details: Option<Json>,
    /// One entry of the custom details; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    detail: Vec<Detail>,
    /// Name of the sender
    #[arg(long, value_name = "TEXT")]
    client: Option<String>,
    /// Page of the sender
    #[arg(long, value_name = "URL")]
    client_url: Option<String>,
    /// A link, with its text after a space (or after `=` if the link has no `?`); repeatable
    #[arg(long, value_name = "HREF[=TEXT]")]
    link: Vec<Link>,
    /// Address of an image; repeatable
    #[arg(long, value_name = "SRC")]
    image: Vec<String>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "How many, how fast")]
struct Load {
    /// How many events to send
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// At most so many: 50/s, 600/m [default: as fast as the answers come]
    #[arg(long, value_name = "R/s")]
    rate: Option<Rate>,
    /// How many requests at a time
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,
    /// How often to try again after 429 or 503, each time as late as the server asks
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    retries: u8,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = Span::parse)]
    timeout: Span,
}

/// Kept as text, so that numbers arrive as they were written.
#[derive(Clone, Debug)]
struct Json(Box<serde_json::value::RawValue>);

impl FromStr for Json {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        serde_json::from_str(text).map(Self).context("is not JSON")
    }
}

#[derive(Clone, Debug)]
struct Detail {
    key: String,
    value: String,
}

impl FromStr for Detail {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (key, value) = text.split_once('=').context("must be KEY=VALUE")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
struct Link {
    href: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl FromStr for Link {
    type Err = std::convert::Infallible;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        // `=` may be in the query of an address, where it separates nothing; a space cannot.
        let by_sign = given.split_once('=').filter(|(href, _)| !href.contains(['?', ' ']));
        let parts = by_sign.or_else(|| given.split_once(' '));
        let (href, text) = parts.map_or((given, None), |(href, text)| (href, Some(text)));
        Ok(Self { href: href.to_owned(), text: text.map(str::to_owned) })
    }
}

/// Events per second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(f64);

impl FromStr for Rate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => bail!("must be a number a second, minute or hour: 50/s, 600/m, 100/h"),
        };
        match number.parse::<f64>() {
            Ok(number) if number.is_finite() && number / seconds >= 0.0001 => {
                Ok(Self(number / seconds))
            }
            _ => bail!("must be a number above 0 a second, minute or hour: 50/s, 600/m, 100/h"),
        }
    }
}

impl Send {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = if self.change { "/v2/change/enqueue" } else { "/v2/enqueue" };
        let poster = post::Poster {
            client: self.url.client(self.load.timeout.to_std())?,
            url: self.url.or_path(path),
            target: self.url.clone(),
            retries: self.load.retries,
        };
        let template = self.template();
        if self.load.count > 1 {
            return load::run(&poster, &template, &self.load).await;
        }
        let reply = poster.post(template.body(1)?).await.outcome.or_next(NOT_REACHED)?;
        ui::out(format_args!("{}\n{}", reply.status, reply.shown()))?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(anyhow::anyhow!("the event was not accepted ({})", reply.status).into())
    }

    fn template(&self) -> event::Template {
        let action = self.event_action.clone().or_else(|| self.action.clone());
        event::Template {
            routing_key: self.routing_key.clone(),
            action: (!self.change).then(|| action.unwrap_or_else(|| "trigger".to_owned())),
            fields: self.fields.clone(),
        }
    }
}
