//! README and guides must be short, with short sentences and short lines.

use crate::{assert_none, files, markdown, text};

const WORDS_OF_README: usize = 1500;
/// Three screens.
const LINES_OF_README: usize = 170;
const COLUMNS: usize = 100;
const WORDS_OF_SENTENCE: usize = 35;

/// README and guides in both languages, and other pages for the same readers.
fn pages() -> Vec<String> {
    const OTHERS: [&str; 5] = [
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/explain/guarantees.md",
        "docs/reference/answers.md",
        "docs/reference/headers.md",
    ];
    let is_one = |page: &String| {
        page.starts_with("README") || page.starts_with("docs/guide/") || OTHERS.contains(&page.as_str())
    };
    files(".md").into_iter().filter(is_one).collect()
}

/// Whether a line may be longer: a table, or a link or piece of code that cannot be broken.
fn may_be_long(line: &str) -> bool {
    let code = line.split('`').skip(1).step_by(2);
    let longest = code
        .chain(line.split_whitespace())
        .map(|part| part.chars().count())
        .max();
    markdown::is_table(line) || line.contains("](") || longest > Some(60)
}

fn long_lines(text: &str) -> Vec<usize> {
    let lines = markdown::lines(text).filter(|(_, line)| line.chars().count() > COLUMNS && !may_be_long(line));
    lines.map(|(number, _)| number).collect()
}

fn long_sentences(text: &str) -> Vec<(usize, String)> {
    let sentences = markdown::sentences(text).into_iter();
    sentences
        .filter(|(_, sentence)| sentence.split_whitespace().count() > WORDS_OF_SENTENCE)
        .collect()
}

#[test]
fn the_readme_is_short() {
    for page in files(".md").into_iter().filter(|page| page.starts_with("README")) {
        let text = text(&page);
        let (words, lines) = (text.split_whitespace().count(), text.lines().count());
        assert!(words <= WORDS_OF_README, "{page} has {words} words");
        assert!(lines <= LINES_OF_README, "{page} has {lines} lines");
    }
}

#[test]
fn lines_and_sentences_of_readme_and_guides_are_short() {
    let mut faults = Vec::new();
    for page in pages() {
        let text = text(&page);
        for line in long_lines(&text) {
            faults.push(format!("{page}:{line}: more than {COLUMNS} columns"));
        }
        for (line, sentence) in long_sentences(&text) {
            faults.push(format!(
                "{page}:{line}: more than {WORDS_OF_SENTENCE} words: {sentence}"
            ));
        }
    }
    assert_none(faults);
}

#[test]
fn long_lines_and_sentences_are_found() {
    let word = "word ";
    assert_eq!(long_lines(&word.repeat(21)), [1]);
    assert!(long_lines(&format!("| {} |\n```\n{}\n```\n", word.repeat(30), word.repeat(30))).is_empty());
    assert_eq!(long_sentences(&format!("Short. {}.", word.repeat(36))).len(), 1);
    assert!(long_sentences(&format!("{}. {}.", word.repeat(20), word.repeat(20))).is_empty());
}
