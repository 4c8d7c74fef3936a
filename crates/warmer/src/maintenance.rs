//! What happens at its own pace, whether or not anybody asks: counting, waking, forgetting, and looking at each Harbor.

pub(crate) mod survey;
pub(crate) mod upkeep;
