//! The commands of a `console` block.

/// The commands: lines that begin with `$ `, with what follows a backslash at the end, without the
/// prompt.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let part = match line.strip_prefix("$ ") {
            _ if goes_on => {
                let last = found.last_mut().expect("there is one that goes on");
                last.push(' ');
                last.push_str(line.trim().trim_end_matches('\\'));
                goes_on = line.ends_with('\\');
                continue;
            }
            Some(part) => part,
            None => continue,
        };
        goes_on = part.ends_with('\\');
        found.push(part.trim_end_matches('\\').to_owned());
    }
    found
}

/// The words of each program of a command, as far as this needs to know a shell: quotes, comments,
/// and what ends a program.
pub(crate) fn programs(command: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = command.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '<' | ';' | '&') => {
                while letters.next_if(|next| ['|', '>', '&', ' '].contains(next)).is_some() {}
                words.extend(word.take());
                all.push(std::mem::take(&mut words));
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    assert!(quote.is_none(), "`{command}`: a quote is open");
    words.extend(word);
    all.push(words);
    all
}

/// A command without the comment at its end.
pub(crate) fn without_comment(command: &str) -> &str {
    command.split_once(" # ").map_or(command, |(before, _)| before).trim_end()
}

/// The arguments of each `highwater` in a command.
pub(crate) fn of_highwater(command: &str) -> Vec<Vec<String>> {
    let is_ours = |words: &Vec<String>| words.first().is_some_and(|word| word == "highwater");
    let from_checkout = command.replace("cargo run --release -- ", "highwater ");
    programs(&from_checkout).into_iter().filter(is_ours).collect()
}

#[test]
fn words_are_as_a_shell_has_them() {
    let text =
        "$ highwater load -d '{\"a\": 1}' URL | jq .x   # a comment\noutput\n$ a \\\n    b\n";
    let found = commands(text);
    assert_eq!(found.len(), 2);
    let words = ["highwater", "load", "-d", "{\"a\": 1}", "URL"].map(str::to_owned);
    assert_eq!(programs(&found[0])[0], words);
    assert_eq!(programs(&found[0])[1], ["jq", ".x"]);
    assert_eq!(programs(&found[1]), [["a", "b"]]);
    assert_eq!(of_highwater("cargo run --release -- run x.toml"), [["highwater", "run", "x.toml"]]);
}
