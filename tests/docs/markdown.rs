//! The part of Markdown that these documents use: code blocks, headings and their anchors, links, sentences.

/// A line outside of code blocks with its number, or the whole text of a code block.
pub enum Piece<'a> {
    Line(usize, &'a str),
    Code,
}

/// The lines of a document. Each code block is one piece.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut inside) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            pieces.push(Piece::Code);
        } else if !inside {
            pieces.push(Piece::Line(number, line));
        }
    }
    pieces
}

/// The lines outside of code blocks.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Line(number, line) => Some((number, line)),
        Piece::Code => None,
    })
}

/// A line whose inline code is replaced by one word.
pub fn without_code(line: &str) -> String {
    let mut parts = line.split('`');
    let mut plain = parts.next().expect("split gives one").to_owned();
    while let (Some(_), Some(rest)) = (parts.next(), parts.next()) {
        plain.push_str("CODE");
        plain.push_str(rest);
    }
    plain
}

/// The link targets of a document, with their lines. The text of a link may span two lines.
pub fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in lines(text) {
        let plain = without_code(line);
        for (at, _) in plain.match_indices("](") {
            let rest = &plain[at + 2..];
            let target = rest.split(')').next().expect("split gives one");
            found.push((number, target.to_owned()));
        }
    }
    found
}

/// The anchors of a document: those that GitHub gives its headings, and explicit ones.
pub fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, line) in lines(text) {
        for part in line.split("<a id=\"").skip(1) {
            found.extend(part.split('"').next().map(str::to_owned));
        }
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let before = found.iter().filter(|anchor| **anchor == slug).count();
        found.push(if before == 0 { slug } else { format!("{slug}-{before}") });
    }
    found
}

fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Whether a line belongs to a table.
pub fn is_table(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

/// The sentences of a document's paragraphs and lists, each with its first line. Headings, tables and code are left
/// out.
pub fn sentences(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut start, mut paragraph) = (Vec::new(), 0, String::new());
    let mut end = |start: usize, paragraph: &mut String| {
        for sentence in cut(&std::mem::take(paragraph)) {
            found.push((start, sentence));
        }
    };
    for piece in pieces(text) {
        let Piece::Line(number, line) = piece else {
            end(start, &mut paragraph);
            continue;
        };
        let trimmed = line.trim();
        let item = ["- ", "* "]
            .iter()
            .find_map(|mark| trimmed.strip_prefix(mark))
            .or_else(|| numbered(trimmed));
        if trimmed.is_empty() || trimmed.starts_with('#') || is_table(line) || item.is_some() {
            end(start, &mut paragraph);
        }
        if trimmed.starts_with('#') || is_table(line) {
            continue;
        }
        if paragraph.is_empty() {
            start = number;
        }
        paragraph.push_str(item.unwrap_or(trimmed));
        paragraph.push(' ');
    }
    end(start, &mut paragraph);
    found
}

/// The text after the number of a list item: `1. `.
fn numbered(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(". ")?;
    (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then_some(rest)
}

fn cut(paragraph: &str) -> Vec<String> {
    let plain = without_code(paragraph);
    let mut sentences = vec![String::new()];
    for word in plain.split_whitespace() {
        let sentence = sentences.last_mut().expect("there is always one");
        sentence.push_str(word);
        sentence.push(' ');
        let bare = word.trim_end_matches(['*', ')', '"']);
        if bare.ends_with(['.', '!', '?']) && !bare.ends_with("e.g.") {
            sentences.push(String::new());
        }
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

#[test]
fn anchors_are_those_of_github() {
    let text =
        "# Kafka's errors\n## What `check` says\n## What `check` says\n```\n# no heading\n```\n<a id=\"own\"></a>";
    assert_eq!(
        anchors(text),
        ["kafkas-errors", "what-check-says", "what-check-says-1", "own"]
    );
}

#[test]
fn links_are_found_outside_of_code_alone() {
    let text = "[a](b.md#c) and `[x](y)`\n```\n[d](e)\n```\n[two\nlines](f.md)";
    let targets: Vec<_> = links(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["b.md#c", "f.md"]);
}

#[test]
fn sentences_end_at_stops_items_and_blank_lines_and_code_is_one_word() {
    let text = "One `a. b` two.\nThree\nfour.\n\n- five\n- six\n\n| a. | b |\n";
    let found: Vec<_> = sentences(text).into_iter().map(|(_, sentence)| sentence).collect();
    assert_eq!(found, ["One CODE two. ", "Three four. ", "five ", "six "]);
}
