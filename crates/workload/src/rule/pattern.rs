//! Regular expressions, and what can be told of one without any image.

use regex_lite::Regex;

/// A regular expression that some image fits.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    source: String,
}

/// Docker Hub's names that no normal form has.
const OTHER_NAMES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

impl Pattern {
    /// Reads one. `is_for_any_text`: it may be for what is no image, which a rule that skips can silence.
    ///
    /// # Errors
    /// What to write instead, to stand behind the pattern.
    pub(super) fn parse(source: &str, is_for_any_text: bool) -> Result<Self, String> {
        if source.is_empty() {
            return Err(" matches every image; write .* if that is meant".to_owned());
        }
        let regex = Regex::new(source).map_err(|error| format!(" is not a regular expression: {error}"))?;
        match sample(source) {
            Err('@') => {
                Err(" matches nothing: patterns see no digest. Leave out the `@` and what follows it; a digest is \
                             carried over by itself"
                    .to_owned())
            }
            _ if is_for_any_text => Ok(Self { regex, source: source.to_owned() }),
            Err(character) => Err(format!(" matches nothing: no image has a `{character}` in it")),
            // As one character, a scheme is found where it has to stand.
            Ok(_) if source.contains("://") && sample(&source.replace("://", "@")).is_err() => {
                Err(" matches nothing: an image has no scheme. Leave out what ends in `://`".to_owned())
            }
            Ok(_) => {
                let plain = source.replace('\\', "");
                match OTHER_NAMES.iter().find(|name| plain.trim_start_matches(['^', '(']).starts_with(*name)) {
                    Some(name) => Err(format!(" matches nothing: patterns see docker.io instead of {name}")),
                    None => Ok(Self { regex, source: source.to_owned() }),
                }
            }
        }
    }

    /// The names of its groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.regex.capture_names().flatten()
    }

    /// The groups that take part in its match, with their values. None where it doesn't match.
    pub(super) fn groups_in<'t>(&'t self, text: &'t str) -> Option<Vec<(&'t str, &'t str)>> {
        let captures = self.regex.captures(text)?;
        Some(self.groups().filter_map(|name| Some((name, captures.name(name)?.as_str()))).collect())
    }

    /// Whether it matches.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// A short text that it matches, as far as its meaning is understood here.
    pub(super) fn sample(&self) -> String {
        sample(&self.source).unwrap_or_default()
    }

    /// Whether it matches every image, as the usual ways to write that do.
    pub(super) fn is_for_all(&self) -> bool {
        [".*", ".+", "^.*$", "^.+$", "^.*", ".*$", "^", "$"].contains(&self.source.as_str())
    }

    /// Whether it is written alike.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.source == other.source
    }

    /// The text with which all that it matches begins, up to the first character that means something else. Empty where
    /// it is not anchored.
    pub(super) fn literal_start(&self) -> String {
        let Some(rest) = self.source.strip_prefix('^') else { return String::new() };
        // An alternative at the outermost level begins anew.
        if rest.contains('|') {
            return String::new();
        }
        let mut literal = String::new();
        let mut characters = rest.chars().peekable();
        while let Some(character) = characters.next() {
            let plain = match character {
                '\\' => characters.next().filter(|next| !next.is_ascii_alphanumeric()),
                c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | ':') => Some(c),
                _ => None,
            };
            let quantified = characters.peek().is_some_and(|next| matches!(next, '*' | '?' | '{' | '+'));
            match plain {
                Some(plain) if !quantified => literal.push(plain),
                _ => break,
            }
        }
        literal
    }
}

/// What images are made of.
fn is_of_images(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '/' | ':')
}

/// A text that the pattern matches, made of what images are made of; or the character that it asks for and that no image
/// has. Knows the syntax of `regex-lite` as far as people use it, and takes what it doesn't know for possible.
fn sample(pattern: &str) -> Result<String, char> {
    Walk { rest: pattern.chars().peekable(), depth: 0 }.alternatives()
}

struct Walk<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
    depth: usize,
}

/// Deeper nesting is not looked into: `regex-lite` refuses what is much deeper.
const DEPTH_MAX: usize = 60;

impl Walk<'_> {
    /// The first alternative that is possible; otherwise what is wrong with the last.
    fn alternatives(&mut self) -> Result<String, char> {
        let mut chosen = self.sequence();
        while self.rest.next_if_eq(&'|').is_some() {
            let next = self.sequence();
            chosen = chosen.or(next);
        }
        chosen
    }

    fn sequence(&mut self) -> Result<String, char> {
        let mut text = Ok(String::new());
        while self.rest.peek().is_some_and(|next| !matches!(next, '|' | ')')) {
            let any = self.rest.peek() == Some(&'.');
            let mut atom = self.atom();
            // A dot by itself mostly means one; several are a name.
            if any && self.rest.peek().is_some_and(|next| matches!(next, '*' | '+' | '?' | '{')) {
                atom = Ok("a".to_owned());
            }
            let times = self.times();
            match (&mut text, atom) {
                (Ok(text), Ok(atom)) => text.push_str(&atom.repeat(times.clamp(1, 64))),
                (Ok(_), Err(character)) if times > 0 => text = Err(character),
                _ => {}
            }
        }
        text
    }

    /// How often at least the atom before it has to stand there.
    fn times(&mut self) -> usize {
        let mut least = 1;
        while let Some(quantifier) = self.rest.next_if(|c| matches!(c, '*' | '?' | '+' | '{')) {
            match quantifier {
                '*' | '?' => least = 0,
                '{' => {
                    let bounds: String = std::iter::from_fn(|| self.rest.next_if(|c| *c != '}')).collect();
                    self.rest.next();
                    least *= bounds.split(',').next().and_then(|number| number.trim().parse().ok()).unwrap_or(0);
                }
                _ => {}
            }
        }
        least
    }

    fn atom(&mut self) -> Result<String, char> {
        match self.rest.next() {
            Some('(') => self.group(),
            Some('[') => self.class(),
            Some('.') => Ok(".".to_owned()),
            Some('^' | '$') | None => Ok(String::new()),
            Some('\\') => match self.rest.next() {
                Some('d') => Ok("1".to_owned()),
                Some('w' | 'D' | 'S') => Ok("a".to_owned()),
                Some('W') => Ok("/".to_owned()),
                Some('s') => Err(' '),
                // Places rather than characters, and what is not looked into.
                Some(other) if other.is_ascii_alphanumeric() => Ok(String::new()),
                Some(literal) => one(literal),
                None => Ok(String::new()),
            },
            Some(literal) => one(literal),
        }
    }

    fn group(&mut self) -> Result<String, char> {
        if self.rest.next_if_eq(&'?').is_some() {
            // Flags, or a name in angle brackets.
            let mut flags = String::new();
            while let Some(next) = self.rest.next() {
                match next {
                    ':' => break,
                    ')' => return Ok(String::new()),
                    '<' => {
                        while self.rest.next().is_some_and(|c| c != '>') {}
                        break;
                    }
                    flag => flags.push(flag),
                }
            }
            if flags.contains('x') {
                self.rest.by_ref().for_each(drop);
                return Ok(String::new());
            }
        }
        self.depth += 1;
        let inner = if self.depth > DEPTH_MAX { Ok(String::new()) } else { self.alternatives() };
        self.depth -= 1;
        self.rest.next_if_eq(&')');
        inner
    }

    fn class(&mut self) -> Result<String, char> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut first = true;
        let mut certain = true;
        while let Some(next) = self.rest.next() {
            let from = match next {
                ']' if !first => break,
                '[' => {
                    // `[:alpha:]`, or a class within the class.
                    certain = false;
                    continue;
                }
                '\\' => match self.rest.next() {
                    Some('d') => {
                        ranges.push(('0', '9'));
                        first = false;
                        continue;
                    }
                    Some('w') => {
                        ranges.extend([('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')]);
                        first = false;
                        continue;
                    }
                    Some(letter) if letter.is_ascii_alphanumeric() => {
                        certain = false;
                        continue;
                    }
                    Some(literal) => literal,
                    None => break,
                },
                literal => literal,
            };
            first = false;
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            let to = if is_range {
                self.rest.next();
                self.rest.next().filter(|c| *c != '\\').or_else(|| self.rest.next()).unwrap_or(from)
            } else {
                from
            };
            ranges.push((from, to));
        }
        let holds = |c: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != negated;
        // A letter looks most like an image.
        let candidates = ('a'..='z').chain('0'..='9').chain('A'..='Z').chain(['.', '-', '_', '/', ':']);
        let found = candidates.into_iter().find(|c| is_of_images(*c) && holds(*c));
        match (found, ranges.first()) {
            (Some(found), _) => Ok(found.to_string()),
            (None, Some((from, _))) if certain && !negated => Err(*from),
            _ => Ok(String::new()),
        }
    }
}

fn one(literal: char) -> Result<String, char> {
    if is_of_images(literal) { Ok(literal.to_string()) } else { Err(literal) }
}

#[cfg(test)]
mod tests;
