//! What the pages about receivers say is true.

use crate::policy::{Known, PolicyFile};

/// The policies in a page: its blocks of YAML, as far as they are whole files.
fn policies(page: &str) -> Vec<String> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| {
        let (block, after) = rest.split_once("```")?;
        assert!(!after.is_empty());
        // One that belongs to a step of a list is indented with it.
        let indent = block.len() - block.trim_start_matches(' ').len();
        let lines = block.lines().map(|line| line.get(indent..).unwrap_or_default());
        Some(lines.collect::<Vec<_>>().join("\n"))
    });
    blocks.filter(|block| block.contains("receivers:")).collect()
}

#[test]
fn every_policy_in_the_pages_is_taken() {
    for (page, count) in [
        (include_str!("../../../docs/receivers/webhook.md"), 7),
        (include_str!("../../../docs/receivers/email.md"), 1),
    ] {
        let policies = policies(page);

        assert_eq!(policies.len(), count);
        for policy in policies {
            let read = PolicyFile::parse(&policy, &Known::default());
            assert!(read.is_ok(), "{policy}\n{:?}", read.err());
        }
    }
}
