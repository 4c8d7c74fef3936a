use std::fmt;

/// A text with `{variables}` in it. Names of projects, repositories and tags hold no braces, so there is no escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// Why a text is not a [`Template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// A brace without its partner, or with nothing between the two.
    Brace,
    /// `$1`, `${name}` or `\1`, as other tools write it.
    Dollar,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Brace => "a variable is written {name}, with both braces",
            Self::Dollar => "a variable is written {name}; instead of a number, name the pattern's group, `(?<name>…)`",
        })
    }
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains(['$', '\\']) {
            return Err(TemplateError::Dollar);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, variable)) = rest.split_once('{') {
            let (name, after) = variable.split_once('}').ok_or(TemplateError::Brace)?;
            if literal.contains('}') || name.is_empty() || name.contains('{') {
                return Err(TemplateError::Brace);
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(TemplateError::Brace);
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    pub(crate) fn variable(name: &str) -> Self {
        Self(vec![Part::Variable(name.to_owned())])
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Variable(name) => Some(name.as_str()),
        })
    }

    /// The text, where it is the same for every image.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Variables without a value become nothing.
    pub(crate) fn render<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Variable(name) => value(name).unwrap_or_default(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::constant("dockerhub", "dockerhub")]
    #[case::one("{a}", "A")]
    #[case::several("x-{a}/{b}.y", "x-A/B.y")]
    #[case::unknown_is_nothing("x{nothing}y", "xy")]
    fn variables_are_filled_in(#[case] text: &str, #[case] rendered: &str) {
        let value = |name: &str| match name {
            "a" => Some("A"),
            "b" => Some("B"),
            _ => None,
        };
        assert_eq!(Template::parse(text).unwrap().render(value), rendered);
    }

    #[rstest]
    #[case::open("a{b", TemplateError::Brace)]
    #[case::closed("a}b", TemplateError::Brace)]
    #[case::closed_before_open("a}b{c}", TemplateError::Brace)]
    #[case::empty("{}", TemplateError::Brace)]
    #[case::nested("{a{b}}", TemplateError::Brace)]
    #[case::numbered("$1/x", TemplateError::Dollar)]
    #[case::shell("${a}", TemplateError::Dollar)]
    #[case::sed(r"\1/x", TemplateError::Dollar)]
    fn broken_templates_are_refused(#[case] text: &str, #[case] error: TemplateError) {
        assert_eq!(Template::parse(text), Err(error));
    }
}
