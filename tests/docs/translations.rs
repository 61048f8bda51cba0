//! A page in Chinese has as many headings as its page in English, and the same configuration and requests.

use crate::{files, markdown, text};

/// What is the same in every language: TOML and YAML blocks, curl commands, and the number of headings.
fn skeleton(page: &str) -> (Vec<String>, usize) {
    let content = text(page);
    let blocks = content.split("\n```").skip(1).step_by(2);
    let same = blocks.filter(|block| {
        ["toml", "yaml", "sh"]
            .iter()
            .any(|language| block.starts_with(language))
    });
    let told = same.flat_map(|block| {
        let is_shell = block.starts_with("sh");
        let lines = block.lines().skip(1).map(str::to_owned);
        lines.filter(move |line| !is_shell || line.contains("curl") || line.contains("-d '"))
    });
    let headings = markdown::lines(&content)
        .filter(|(_, line)| line.starts_with('#'))
        .count();
    (told.collect(), headings)
}

#[test]
fn a_page_in_chinese_has_the_headings_the_configuration_and_the_requests_of_the_english_one() {
    let pages: Vec<_> = files(".zh-CN.md");
    assert_eq!(pages.len(), 3, "{pages:?}");
    for page in pages {
        let original = page.replace(".zh-CN", "");
        let (told, headings) = skeleton(&original);
        assert!(!told.is_empty() && headings > 3, "{original} says something");
        assert_eq!(skeleton(&page), (told, headings), "{page} beside {original}");
    }
}
