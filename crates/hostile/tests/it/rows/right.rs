//! Nothing is wrong: what the other rows are measured by.

use crate::registry::Registry;
use crate::row::{Row, holding};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        holding("an index behind a Harbor", Registry::add_usual_image).at_most(40),
        holding("an index behind a Distribution cache", Registry::add_usual_image).distribution().at_most(40),
        holding("a single manifest behind a Harbor", Registry::add_single_image).at_most(40),
        holding("a single manifest behind a Distribution cache", Registry::add_single_image).distribution().at_most(40),
    ]
}
